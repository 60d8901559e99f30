"""What RFC 4511, 4512, 4513, 4514 and 4515 say a server MUST do, as far as a client can see it: one case each, titled by section.

Filters as text (RFC 4515) go through libldap. Environment: see run.
"""
import os
import ldap
from raw import *

# --- RFC 4511 section 4.1: elements ----------------------------------------------------------------------------------------


@case("4511 4.1.1 what is no LDAPMessage ends the connection with a notice and protocolError")
def _():
    line = Line()
    line.raw(b"\x04\x03abc")
    assert line.ended(notice=2)


@case("4511 4.1.1 an operation tag nobody defined ends the connection with a notice and protocolError")
def _():
    line = Line()
    line.send(tlv(0x7d, b""))
    assert line.ended(notice=2)


@case("4511 4.1.1.1 the message id of a request is not zero")
def _():
    line = Line()
    line.send(search(), number=0)
    assert line.ended(notice=2)


@case("4511 4.1.1.1 an answer carries the message id of its request")
def _():
    line = Line()
    for number in (2147483647, 7, 127, 128, 65536):
        line.send(search(), number=number)
        assert line.read().number == number and line.read().number == number


@case("4511 4.1.1.1 a message id may be used again once its operation is done")
def _():
    line = Line()
    for _ in range(3):
        line.send(search(), number=9)
        assert line.read().tag == 0x64 and code(line.read(), 0).number == 9


@case("4511 4.1.2 an LDAPString that is not UTF-8 is refused")
def _():
    line = Line()
    answer = line.ask(search(base=b"o=\xff\xfe"))
    assert answer is None or answer.code in (2, 34)


@case("4511 4.1.3 a base that is no DN is invalidDNSyntax")
def _():
    line = Line()
    for wrong in ("nonsense", "o=nhs,,", "=nhs", "o=nhs,ou"):
        code(line.ask(search(base=wrong)), 34)
    assert line.lives()


@case("4511 4.1.4 attribute descriptions are matched without regard to case, and by OID")
def _():
    line = Line()
    found, _ = line.find(wanted=equal("2.5.4.10", "NHS"), names=["O", "OBJECTCLASS"])
    assert len(found) == 1 and {name.lower() for name in found[0].values} == {"o", "objectclass"}


@case("4511 4.1.9 noSuchObject names the nearest entry that is there")
def _():
    answer = code(Line().ask(search(base="cn=a,cn=b,ou=Lists," + BASE)), 32)
    assert answer.matched.lower() == LISTS.lower(), answer.matched


@case("4511 4.1.11 an unknown critical control is unavailableCriticalExtension, and nothing is done")
def _():
    line = Line()
    code(line.ask(group("MUST"), control("1.2.3.4", True)), 12)
    code(line.ask(delete("cn=MUST," + LISTS)), 32)


@case("4511 4.1.11 an unknown control that is not critical is passed over")
def _():
    line = Line()
    for critical in (None, False):
        assert code(line.find(control("1.2.3.4", critical, b"x"))[1], 0)


@case("4511 4.1.11 criticality has no meaning on abandon and unbind")
def _():
    line = Line()
    line.send(integer(1, 0x50), control("1.2.3.4", True))
    assert line.lives()
    line.send(UNBIND, control("1.2.3.4", True))
    assert line.ended()


# --- 4.2 bind --------------------------------------------------------------------------------------------------------------


@case("4511 4.2 a version the server does not speak is protocolError")
def _():
    for version in (2, 4, 127):
        code(Line(bound=False).ask(bind(version=version)), 2)


@case("4511 4.2 a version outside 1..127 is protocolError")
def _():
    answer = Line(bound=False).ask(bind(version=0))
    assert answer is None or answer.code == 2


@case("4511 4.2 an authentication choice nobody defined is authMethodNotSupported")
def _():
    code(Line(bound=False).ask(sequence(integer(3), octets(DN), octets("x", 0x85), tag=0x60)), 7)


@case("4511 4.2.1 a failed bind leaves the connection anonymous, whoever was bound before")
def _():
    line = Line()
    code(line.ask(bind(secret="wrong-secret-wrong-secret")), 49)
    assert line.find()[1].code != 0
    code(line.ask(bind()), 0)
    assert line.lives()


@case("4511 4.2.1 a new bind takes the place of the one before")
def _():
    line = Line()
    code(line.ask(bind(READER, READER_SECRET)), 0)
    code(line.ask(delete("cn=nobody," + LISTS)), 50)


@case("4511 4.2.1 before a bind there is no data, and no update")
def _():
    line = Line(bound=False)
    for operation in (search(), search(scope=2), compare(BASE, "o", "nhs"), delete(LISTS), group(), modify(BASE, (ADD, "description", ["x"])),
                      modify_dn(LISTS, "ou=x")):
        answer = line.ask(operation)
        assert answer.tag != 0x64 and answer.code in (1, 8, 50), answer.code


@case("4511 4.2.2 a simple bind's answer has no SASL credentials")
def _():
    assert all(tag != 0x87 for tag, _ in code(Line(bound=False).ask(bind()), 0).parts)


@case("4511 4.2 a SASL mechanism nobody knows is authMethodNotSupported")
def _():
    code(Line(bound=False).ask(sasl("NO-SUCH-MECHANISM", "x")), 7)


@case("4511 4.2 SASL PLAIN (RFC 4616) binds, and its failure is invalidCredentials")
def _():
    line = Line(bound=False)
    code(line.ask(sasl("PLAIN", "\0" + DN + "\0wrong-secret-wrong-secret")), 49)
    code(line.ask(sasl("PLAIN", "\0" + DN + "\0" + SECRET)), 0)
    assert line.lives()


# --- 4.3, 4.4 --------------------------------------------------------------------------------------------------------------


@case("4511 4.3 unbind has no answer and ends the connection")
def _():
    line = Line()
    line.send(UNBIND)
    assert line.ended()


@case("4511 4.4.1 the notice of disconnection has message id 0 and its OID")
def _():
    line = Line()
    line.raw(b"\x30\x80\x02\x01\x01\x42\x00\x00\x00")
    assert line.ended(notice=2)


# --- 4.5 search ------------------------------------------------------------------------------------------------------------


@case("4511 4.5.1.2 scopes: the base alone, one level, the whole subtree with the base")
def _():
    line = Line()
    base, one = line.find(scope=0, names=["1.1"])[0], line.find(scope=1, names=["1.1"])[0]
    names = [entry.name.lower() for entry in one]
    assert len(base) == 1 and base[0].name.lower() == BASE and BASE not in names and LISTS.lower() in names
    assert all(name.count(",") == 1 for name in names), names
    whole = line.find(base="ou=ReferenceData," + BASE, scope=2, names=["1.1"])[0]
    assert "ou=referencedata," + BASE in [entry.name.lower() for entry in whole]


@case("4511 4.5.1.2 a scope nobody defined is protocolError")
def _():
    answer = Line().ask(search(scope=9))
    assert answer is None or answer.code == 2


@case("4511 4.5.1.3 a way to dereference aliases that nobody defined is protocolError")
def _():
    answer = Line().ask(search(deref=7))
    assert answer is None or answer.code == 2


@case("4511 4.5.1.3 every way to dereference aliases finds what is no alias")
def _():
    for deref in range(4):
        assert len(Line().find(deref=deref)[0]) == 1


@case("4511 4.5.1.4 a size limit gives that many entries, then sizeLimitExceeded")
def _():
    found, answer = Line().find(scope=2, wanted=present("uid"), names=["1.1"], size=5)
    assert len(code(answer, 4) and found) == 5


@case("4511 4.5.1.4 as many entries as the size limit are no excess")
def _():
    code(Line().find(size=1)[1], 0)


@case("4511 4.5.1.4 a negative size limit is protocolError")
def _():
    answer = Line().ask(search(size=-1))
    assert answer is None or answer.code == 2


@case("4511 4.5.1.6 typesOnly gives names and no values")
def _():
    found = Line().find(types=True)[0][0].values
    assert found and all(values == [] for values in found.values()), found


@case("4511 4.5.1.7 AND is false where one is false, OR true where one is true, whatever else is Undefined")
def _():
    line, undefined = Line(), equal("noSuchAttribute", "x")
    yes, no = present("objectClass"), present("mail")
    for wanted, count in [(every(yes, undefined), 0), (some(yes, undefined), 1), (every(no, undefined), 0), (negated(every(no, undefined)), 1),
                          (negated(undefined), 0), (negated(some(no, undefined)), 0), (negated(no), 1), (some(negated(undefined), yes), 1)]:
        found, answer = line.find(wanted=wanted)
        assert len(code(answer, 0) and found) == count, wanted


@case("4511 4.5.1.7 an assertion that is not of its attribute's syntax is Undefined, not an error")
def _():
    line, wrong = Line(), equal("createTimestamp", "yesterday")
    for wanted in (wrong, negated(wrong), equal("createTimestamp", "x", 0xa5), negated(equal("seeAlso", "no name"))):
        found, answer = line.find(wanted=wanted)
        assert code(answer, 0) and not found


@case("4511 4.5.1.7 a filter of a kind nobody defined is Undefined or protocolError")
def _():
    answer = Line().ask(search(wanted=tlv(0xae, b"")))
    assert answer is None or answer.code in (0, 2)


@case("4511 4.5.1.7 an attribute without a value of the filter's is false under presence, Undefined for no type")
def _():
    line = Line()
    assert not line.find(wanted=present("mail"))[0] and not line.find(wanted=negated(present("noSuchAttribute")))[0]


@case("4511 4.5.1.7.1 equality is by the attribute's rule")
def _():
    for value in ("nhs", "NHS", " nhs ", "Nhs"):
        assert len(Line().find(wanted=equal("o", value))[0]) == 1, value


@group_case("4511 4.5.1.7.2 initial, any and final pieces come in that order and do not overlap", ("description", ["abcabd"]))
def _(line, dn):
    i, a, f = 0x80, 0x81, 0x82
    for parts, count in [([(i, "abc")], 1), ([(i, "bc")], 0), ([(f, "abd")], 1), ([(a, "ca")], 1), ([(i, "ab"), (a, "ca"), (f, "bd")], 1),
                         ([(i, "abca"), (f, "abd")], 0), ([(a, "abd"), (a, "abc")], 0), ([(a, "ab"), (a, "ab")], 1), ([(a, "ABC")], 1)]:
        assert len(line.find(base=dn, wanted=pieces("description", *parts))[0]) == count, parts


@case("4511 4.5.1.7.2 an initial piece after another, a final piece before another, no piece: protocolError")
def _():
    for parts in ([(0x81, "a"), (0x80, "b")], [(0x82, "a"), (0x81, "b")], [(0x80, "a"), (0x80, "b")], []):
        answer = Line().ask(search(wanted=pieces("o", *parts)))
        assert answer is None or answer.code == 2, (parts, answer.code)


@case("4511 4.5.1.7.3 greaterOrEqual and lessOrEqual include equality")
def _():
    line = Line()
    stamp = line.find(names=["createTimestamp"])[0][0].values["createTimestamp"][0]
    for wanted, count in [(equal("createTimestamp", stamp, 0xa5), 1), (equal("createTimestamp", stamp, 0xa6), 1),
                          (equal("createTimestamp", "19700101000000Z", 0xa6), 0), (equal("createTimestamp", "19700101000000Z", 0xa5), 1)]:
        assert len(line.find(wanted=wanted)[0]) == count


@case("4511 4.5.1.7.7 an extensible match with an unknown rule is Undefined")
def _():
    wanted = sequence(octets("noSuchRule", 0x81), octets("o", 0x82), octets("nhs", 0x83), tag=0xa9)
    for asked in (wanted, negated(wanted)):
        found, answer = Line().find(wanted=asked)
        assert code(answer, 0) and not found


@group_case("4511 4.5.1.7.7 dnAttributes looks at the attributes of the name too")
def _(line, dn):
    for whole, count in ((True, 1), (False, 0)):
        wanted = sequence(octets("ou", 0x82), octets("lists", 0x83), tlv(0x84, b"\xff" if whole else b"\x00"), tag=0xa9)
        assert len(line.find(base=dn, wanted=wanted)[0]) == count


@case("4511 4.5.1.8 no list and * give all user attributes, no operational ones")
def _():
    line = Line()
    for names in ([], ["*"]):
        found = {name.lower() for name in line.find(names=names)[0][0].values}
        assert {"o", "objectclass"} <= found and not found & {"createtimestamp", "entryuuid", "creatorsname"}, found


@case("4511 4.5.1.8 1.1 alone gives no attributes; beside others it is passed over")
def _():
    line = Line()
    assert line.find(names=["1.1"])[0][0].values == {}
    assert list(line.find(names=["1.1", "o"])[0][0].values) == ["o"]


@case("4511 4.5.1.8 an attribute asked for twice comes once; one nobody knows is passed over")
def _():
    found = Line().find(names=["o", "O", "2.5.4.10", "noSuchAttribute", "o;lang-en", "no such name"])[0][0]
    assert [name for _, each in elements(found.parts[1][1]) for name in [elements(each)[0][1]]] == [b"o"], found.values


@case("4511 4.5.1.8 an operational attribute comes where it is named, with * beside it too")
def _():
    found = {name.lower() for name in Line().find(names=["*", "createTimestamp"])[0][0].values}
    assert {"o", "createtimestamp"} <= found and "modifytimestamp" not in found


@case("4511 4.5.2 one result ends a search, after its entries")
def _():
    line = Line()
    line.send(search(scope=1, names=["1.1"]))
    tags = [line.read().tag]
    while tags[-1] == 0x64:
        tags.append(line.read().tag)
    assert tags[-1] == 0x65 and line.lives()


@case("4511 4.5 searches that run together each get their own answers")
def _():
    line = Line()
    numbers = [line.send(search(scope=1, names=["1.1"])) for _ in range(20)]
    open_, entries = set(numbers), {}
    while open_:
        answer = line.read()
        assert answer.number in open_
        entries[answer.number] = entries.get(answer.number, 0) + (answer.tag == 0x64)
        if answer.tag == 0x65:
            open_.remove(answer.number)
    assert len(set(entries.values())) == 1


# --- 4.6 to 4.10 updates and compare ---------------------------------------------------------------------------------------


@group_case("4511 4.6 modifications are done in order, all or none")
def _(line, dn):
    code(line.ask(modify(dn, (ADD, "description", ["a"]), (DELETE, "description", ["a"]), (ADD, "description", ["b"]))), 0)
    code(line.ask(modify(dn, (REPLACE, "description", ["c"]), (DELETE, "seeAlso", []))), 16)
    assert line.find(base=dn, names=["description"])[0][0].values == {"description": [b"b"]}


@group_case("4511 4.6 a value added twice is attributeOrValueExists", ("description", ["a"]))
def _(line, dn):
    code(line.ask(modify(dn, (ADD, "description", ["A"]))), 20)
    code(line.ask(modify(dn, (ADD, "description", ["x", "X "]))), 20)


@group_case("4511 4.6 delete without values takes the attribute away, and needs one to be there", ("description", ["a", "b"]))
def _(line, dn):
    code(line.ask(modify(dn, (DELETE, "description", []))), 0)
    code(line.ask(modify(dn, (DELETE, "description", []))), 16)
    code(line.ask(modify(dn, (DELETE, "description", ["a"]))), 16)


@group_case("4511 4.6 replace without values takes away, and needs nothing to be there", ("description", ["a"]))
def _(line, dn):
    for _ in range(2):
        code(line.ask(modify(dn, (REPLACE, "description", []))), 0)
    assert "description" not in line.find(base=dn)[0][0].values


@group_case("4511 4.6 add without values is protocolError")
def _(line, dn):
    code(line.ask(modify(dn, (ADD, "description", []))), 2)


@group_case("4511 4.6 a kind of modification nobody defined is refused")
def _(line, dn):
    answer = line.ask(modify(dn, (9, "description", ["x"])))
    assert answer is None or answer.code in (2, 21, 80)


@group_case("4511 4.6 the naming value stays: notAllowedOnRDN")
def _(line, dn):
    code(line.ask(modify(dn, (REPLACE, "cn", ["other"]))), 67, 64)
    # Where it is the last value, its object class needs one too.
    code(line.ask(modify(dn, (DELETE, "cn", ["must"]))), 67, 64, 65)


@group_case("4511 4.6 what the schema forbids is refused and not done")
def _(line, dn):
    for change, expected in [((ADD, "mail", ["a@b.test"]), 65), ((ADD, "noSuchAttribute", ["x"]), 17), ((DELETE, "member", []), 65),
                             ((ADD, "member", ["no name"]), 21), ((REPLACE, "createTimestamp", ["20200101000000Z"]), 19),
                             ((REPLACE, "objectClass", ["device"]), 69)]:
        code(line.ask(modify(dn, change)), expected)


@case("4511 4.6 modify of what is not there is noSuchObject")
def _():
    answer = code(Line().ask(modify("cn=nobody," + LISTS, (ADD, "description", ["x"]))), 32)
    assert answer.matched.lower() == LISTS.lower()


@group_case("4511 4.7 an entry that is there is entryAlreadyExists, in any spelling")
def _(line, dn):
    code(line.ask(group("must")), 68)
    code(line.ask(group(" MUST ")), 68)


@case("4511 4.7 the entry above must be there")
def _():
    answer = code(Line().ask(add("cn=a,cn=nobody," + LISTS, [("objectClass", ["device"]), ("cn", ["a"])])), 32)
    assert answer.matched.lower() == LISTS.lower()


@case("4511 4.7 an entry obeys the schema")
def _():
    line, dn = Line(), "cn=MUST," + LISTS
    for values, expected in [([("cn", ["MUST"])], 65), ([("objectClass", ["groupOfNames"]), ("cn", ["MUST"])], 65),
                             ([("objectClass", ["noSuchClass"]), ("cn", ["MUST"])], 21), ([("objectClass", ["top"]), ("cn", ["MUST"])], 65),
                             ([("objectClass", ["device", "person"]), ("cn", ["MUST"]), ("sn", ["x"])], 65),
                             ([("objectClass", ["device"]), ("cn", ["MUST"]), ("entryUUID", ["597ae2f6-16a6-1027-98f4-d28b5365dc14"])], 19)]:
        code(line.ask(add(dn, values)), expected)


@case("4511 4.7 the naming value is added where it is left out, or asked for: never missing")
def _():
    line, dn = Line(), "cn=MUST," + LISTS
    answer = line.ask(add(dn, [("objectClass", ["device"]), ("cn", ["other"])]))
    if answer.code == 0:
        assert sorted(line.find(base=dn)[0][0].values["cn"]) == [b"MUST", b"other"]
        code(line.ask(delete(dn)), 0)
    else:
        code(answer, 64)


@group_case("4511 4.8 only a leaf can be deleted")
def _(line, dn):
    child = "cn=child," + dn
    code(line.ask(add(child, [("objectClass", ["device"]), ("cn", ["child"])])), 0)
    code(line.ask(delete(dn)), 66)
    code(line.ask(delete(child)), 0)
    code(line.ask(delete(child)), 32)


@group_case("4511 4.9 deleteoldrdn takes the old naming value away, or keeps it")
def _(line, dn):
    code(line.ask(modify_dn(dn, "cn=MUST2", delete=False)), 0)
    moved = "cn=MUST2," + LISTS
    assert sorted(line.find(base=moved)[0][0].values["cn"]) == [b"MUST", b"MUST2"]
    code(line.ask(modify_dn(moved, "cn=MUST", delete=True)), 0)
    assert line.find(base=dn)[0][0].values["cn"] == [b"MUST"]
    code(line.ask(search(base=moved)), 32)


@group_case("4511 4.9 a new superior must be there, and not below the entry")
def _(line, dn):
    code(line.ask(modify_dn(dn, "cn=MUST", superior="ou=nowhere," + BASE)), 32)
    assert line.ask(modify_dn(dn, "cn=MUST", superior=dn)).code not in (0, 80)
    code(line.ask(modify_dn(dn, "cn=MUST", superior="ou=Workgroups," + BASE)), 0)
    code(line.ask(modify_dn("cn=MUST,ou=Workgroups," + BASE, "cn=MUST", superior=LISTS)), 0)


@group_case("4511 4.9 a name that is taken is entryAlreadyExists")
def _(line, dn):
    code(line.ask(group("MUST2")), 0)
    code(line.ask(modify_dn(dn, "cn=must2")), 68)


@group_case("4511 4.9 a subtree moves with its top")
def _(line, dn):
    child = "cn=child,"
    code(line.ask(add(child + dn, [("objectClass", ["device"]), ("cn", ["child"])])), 0)
    code(line.ask(modify_dn(dn, "cn=MUST2")), 0)
    moved = "cn=MUST2," + LISTS
    assert line.find(base=child + moved, names=["entryDN"])[0][0].values["entryDN"][0].decode().lower() == (child + moved).lower()
    code(line.ask(delete(child + moved)), 0)


@group_case("4511 4.10 compare is true or false by the attribute's rule, and says where there is none")
def _(line, dn):
    for name, value, expected in [("cn", " must", 6), ("CN", "other", 5), ("description", "x", 16), ("member", BASE.upper(), 6), ("noSuchAttribute", "x", 17)]:
        code(line.ask(compare(dn, name, value)), expected)
    code(line.ask(compare("cn=nobody," + LISTS, "cn", "x")), 32)
    for name, attribute, value, expected in [("", "objectClass", "top", 6), ("", "supportedLDAPVersion", "3", 18), ("", "vendorName", "x", 5), ("", "sn", "x", 16),
                                             ("cn=subschema", "cn", "subSchema", 6), ("cn=subschema", "attributeTypes", "2.5.4.3", 6), ("cn=subschema", "sn", "x", 16)]:
        code(line.ask(compare(name, attribute, value)), expected)


# --- 4.11 to 4.14 ----------------------------------------------------------------------------------------------------------


@case("4511 4.11 abandon has no answer, of any message id")
def _():
    line = Line()
    for number in (1, 999, 2147483647):
        line.send(integer(number, 0x50))
    assert line.lives()


@case("4511 4.12 an extended operation nobody knows is protocolError, and the connection lives on")
def _():
    line = Line()
    code(line.ask(extended("1.2.3.4.5", b"x")), 2)
    assert line.lives()


@case("4511 4.14.1 StartTLS within TLS is operationsError")
def _():
    line = Line()
    code(line.ask(extended("1.3.6.1.4.1.1466.20037")), 1)
    assert line.lives()


@case("4511 5.1 lengths are definite")
def _():
    line = Line()
    line.raw(b"\x30\x80" + integer(5) + UNBIND + b"\x00\x00")
    assert line.ended(notice=2)


# --- RFC 4512 --------------------------------------------------------------------------------------------------------------


@case("4512 2.4.1 an object class of the entry matches, and so do those above it")
def _():
    found, _ = Line().find(scope=2, wanted=every(equal("objectClass", "person"), equal("objectClass", "nhsPerson")), names=["objectClass"], size=1)
    assert len(found) == 1


@group_case("4512 2.5.1 a supertype finds the values of its subtypes")
def _(line, dn):
    assert len(line.find(base=dn, wanted=equal("name", "must"))[0]) == 1
    assert list(line.find(base=dn, names=["name"])[0][0].values) == ["cn"]


@group_case("4512 2.5.2 a description with options is a subtype of the one without", ("description;lang-fr", ["bonjour"]), ("description", ["hello"]))
def _(line, dn):
    assert len(line.find(base=dn, wanted=equal("description", "bonjour"))[0]) == 1
    assert not line.find(base=dn, wanted=equal("description;lang-fr", "hello"))[0]
    assert set(line.find(base=dn, names=["description"])[0][0].values) == {"description", "description;lang-fr"}
    assert list(line.find(base=dn, names=["description;lang-fr"])[0][0].values) == ["description;lang-fr"]


@case("4512 3.4 operational attributes say who made and changed an entry, and when")
def _():
    line, dn = Line(), "cn=MUST," + LISTS
    code(line.ask(group("MUST")), 0)
    values = line.find(base=dn, names=["+"])[0][0].values
    for name in ("creatorsName", "createTimestamp", "modifiersName", "modifyTimestamp", "entryUUID", "structuralObjectClass", "subschemaSubentry"):
        assert len(values[name]) == 1, name
    assert values["creatorsName"][0].decode().lower() == DN.lower() and values["structuralObjectClass"] == [b"groupOfNames"]
    code(line.ask(delete(dn)), 0)


@case("4512 4.4 the subschema subentry holds every kind of definition")
def _():
    line = Line()
    where = line.find(names=["subschemaSubentry"])[0][0].values["subschemaSubentry"][0].decode()
    kinds = ["attributeTypes", "objectClasses", "matchingRules", "matchingRuleUse", "ldapSyntaxes"]
    found, _ = line.find(base=where, wanted=equal("objectClass", "subschema"), names=kinds)
    assert set(found[0].values) == set(kinds)


@case("4512 4.4 the subschema subentry gives its definitions only where they are asked for")
def _():
    assert "attributeTypes" not in Line().find(base="cn=Subschema")[0][0].values


@case("4512 5.1 the root DSE is read with an empty base, by name or by +, and says what the server can do")
def _():
    line = Line()
    values = line.find(base="", names=["+"])[0][0].values
    assert values["supportedLDAPVersion"] == [b"3"] and BASE.encode() in [name.lower() for name in values["namingContexts"]]
    for name in ("supportedControl", "supportedExtension", "supportedFeatures", "supportedSASLMechanisms", "subschemaSubentry"):
        assert values[name], name
    assert list(line.find(base="", names=["supportedLDAPVersion"])[0][0].values) == ["supportedLDAPVersion"]


@case("4512 5.1 the root DSE is in no other search")
def _():
    for scope in (1, 2):
        found, _ = Line().find(base="", scope=scope, wanted=present("supportedLDAPVersion"), names=["1.1"])
        assert not [entry for entry in found if entry.name == ""]


# --- RFC 4513 --------------------------------------------------------------------------------------------------------------


@case("4513 5.1.1 an anonymous bind is refused here: inappropriateAuthentication")
def _():
    code(Line(bound=False).ask(bind("", "")), 48)


@case("4513 5.1.2 a name without a password is refused: unwillingToPerform")
def _():
    line = Line(bound=False)
    code(line.ask(bind(DN, "")), 53)
    assert line.find()[1].code != 0


@case("4513 5.1.3 a wrong password and a name nobody has are told the same")
def _():
    answers = [Line(bound=False).ask(bind(name, "wrong-secret-wrong-secret")) for name in (DN, "cn=nobody,ou=Applications," + BASE)]
    assert {(code(answer, 49).matched, answer.message) for answer in answers} == {("", answers[0].message)}


@case("4513 5.2.3 EXTERNAL without a client certificate is not accepted")
def _():
    assert Line(bound=False).ask(sasl("EXTERNAL", "")).code in (7, 48, 49)


# --- RFC 4514 --------------------------------------------------------------------------------------------------------------


@case("4514 2.4 and 3 one name in every spelling")
def _():
    line, dn = Line(), "cn=MUST \\2C \\+\\C3\\A9," + LISTS
    code(line.ask(add(dn, [("objectClass", ["device"]), ("cn", ["MUST , +\u00e9"])])), 0)
    try:
        for spelling in ("cn=must \\, \\+\u00e9", "CN=MUST \\2c \\2b\u00c9", "2.5.4.3=MUST\\20\\2C\\20\\2B\\c3\\a9", "commonName = must \\, \\+\u00e9 ",
                         "cn=#" + octets("MUST , +\u00e9", 0x0c).hex()):
            assert len(line.find(base=spelling + "," + LISTS)[0]) == 1, spelling
    finally:
        code(line.ask(delete(dn)), 0)


@case("4514 2.2 the values of an RDN are a set")
def _():
    line = Line()
    values = [("objectClass", ["device"]), ("cn", ["MUST"]), ("serialNumber", ["1"])]
    code(line.ask(add("cn=MUST+serialNumber=1," + LISTS, values)), 0)
    assert len(line.find(base="serialNumber=1 + CN=must," + LISTS)[0]) == 1
    code(line.ask(delete("serialNumber=1+cn=MUST," + LISTS)), 0)


# --- RFC 4515, through libldap ---------------------------------------------------------------------------------------------


@case("4515 3 and 4 escapes and every form of filter")
def _():
    line, dn = Line(), "cn=MUST," + LISTS
    code(line.ask(group("MUST", ("description", ["Parens R Us (for all your parenthetical needs)", "a*b", "c:\\d", "Luk\u00e1\u010d", b"\x00\x04"]))), 0)
    client = ldap.initialize(os.environ["URL"])
    client.set_option(ldap.OPT_X_TLS_CACERTFILE, CA)
    client.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    client.simple_bind_s(DN, SECRET)
    try:
        for text, count in [("(description=parens r us \\28for all your parenthetical needs\\29)", 1), ("(description=*\\2a*)", 1), ("(description=*\\5c*)", 1),
                            ("(description=Luk\\c3\\a1\\c4\\8d)", 1), ("(description=Luk\u00e1\u010d)", 1), ("(description=\\00\\04)", 1), ("(description=a*b)", 1),
                            ("(cn:caseExactMatch:=MUST)", 1), ("(cn:caseExactMatch:=must)", 0), ("(cn:=must)", 1), ("(ou:dn:=lists)", 1),
                            ("(:caseExactMatch:=MUST)", 1), ("(:dn:2.5.13.2:=lists)", 1), ("(&)", 1), ("(|)", 0), ("(!(cn=x))", 1), ("(cn~=must)", 1),
                            ("(createTimestamp>=20200101000000Z)", 1), ("(createTimestamp<=20200101000000Z)", 0), ("(cn>=a)", 0), ("(cn=*)", 1), ("(cn=M*S*T)", 1), ("(&(cn=must)(|(cn=x)(member=%s)))" % BASE, 1)]:
            assert len(client.search_s(dn, ldap.SCOPE_BASE, text, ["1.1"])) == count, text
    finally:
        code(line.ask(delete(dn)), 0)


run_cases("RFC ")
