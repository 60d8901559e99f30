"""What clients in use ask that is out of the ordinary, and what they cannot do without: one case each, titled by client.

Environment: see run.
"""
from raw import *

PAGED, SORT, EXTENDED_DN, MANAGE_DSA_IT = "1.2.840.113556.1.4.319", "1.2.840.113556.1.4.473", "1.2.840.113556.1.4.529", "2.16.840.1.113730.3.4.2"
PEOPLE = "ou=People," + BASE


def paged(size, cookie=b"", critical=True):
    return control(PAGED, critical, sequence(integer(size), octets(cookie)))


def cookie_of(answer):
    """The cookie of the paged results control, which must be there."""
    for oid, value in answer.controls:
        if oid == PAGED:
            return elements(elements(value)[0][1])[1][1]
    raise AssertionError("the paged results control is missing")


@case("SSSD reads the root DSE for everything at once")
def _():
    names = ["*", "altServer", "namingContexts", "supportedControl", "supportedExtension", "supportedFeatures", "supportedLDAPVersion",
             "supportedSASLMechanisms", "domainControllerFunctionality", "defaultNamingContext", "lastUSN", "highestCommittedUSN"]
    values = Line().find(base="", names=names)[0][0].values
    assert {"namingContexts", "supportedControl", "supportedLDAPVersion"} <= set(values)


@case("SSSD asks for 36 attributes and more, some of them unknown, in pages")
def _():
    names = ["objectClass", "uid", "userPassword", "uidNumber", "gidNumber", "gecos", "homeDirectory", "loginShell", "krbPrincipalName", "cn", "memberOf",
             "nsUniqueId", "modifyTimestamp", "entryUSN", "shadowLastChange", "shadowMin", "shadowMax", "shadowWarning", "shadowInactive", "shadowExpire",
             "shadowFlag", "krbLastPwdChange", "krbPasswordExpiration", "pwdAttribute", "authorizedService", "accountExpires", "userAccountControl",
             "nsAccountLock", "host", "rhost", "loginDisabled", "loginExpirationTime", "loginAllowedTimeMap", "sshPublicKey", "userCertificate;binary", "mail"]
    found, answer = Line().find(paged(1000), base=PEOPLE, scope=2, wanted=every(present("uid"), equal("objectClass", "nhsPerson")), names=names, size=0)
    assert code(answer, 0) and len(found) == min(1000, int(os.environ["PEOPLE"])) and "userPassword" not in found[0].values
    cookie_of(answer)


@case("Keycloak walks by pages of 1000 with createTimestamp and modifyTimestamp, two terms for object classes")
def _():
    line, cookie, total = Line(), b"", 0
    wanted = every(equal("objectClass", "nhsPerson"), equal("objectClass", "person"))
    while True:
        found, answer = line.find(paged(1000, cookie), base=PEOPLE, scope=2, wanted=wanted, names=["uid", "createTimestamp", "modifyTimestamp"])
        assert code(answer, 0) and all({"createTimestamp", "modifyTimestamp"} <= set(entry.values) for entry in found)
        total, cookie = total + len(found), cookie_of(answer)
        if not cookie:
            break
    assert total >= int(os.environ["PEOPLE"]), total


@case("Keycloak meets a size limit within its pages: it ends with a code and no cookie, and does not begin again")
def _():
    line, cookie, total = Line(), b"", 0
    for _ in range(10):
        found, answer = line.find(paged(100, cookie), base=PEOPLE, scope=2, wanted=present("uid"), names=["1.1"], size=250)
        total, cookie = total + len(found), cookie_of(answer)
        if not cookie:
            break
    assert (total, answer.code) == (250, 4), (total, answer.code)


@case("Nextcloud looks an entry up by entryUUID, in a page, and asks for `dn`")
def _():
    line = Line()
    one = line.find(base=PEOPLE, scope=2, wanted=present("uid"), names=["entryUUID"], size=1)[0][0]
    found, answer = line.find(paged(500), scope=2, wanted=equal("entryUUID", one.values["entryUUID"][0]), names=["dn"])
    assert code(answer, 0) and [entry.name for entry in found] == [one.name] and found[0].values == {}
    assert cookie_of(answer) == b""


@case("Nextcloud asks whether there is memberOf by asking for it")
def _():
    found, answer = Line().find(base=PEOPLE, scope=2, wanted=present("memberOf"), names=["memberOf"], size=1)
    assert code(answer, 0, 4) and all("memberOf" in entry.values for entry in found)


@case("ldapjs ends in an error where any page's result lacks the control, an empty one's too")
def _():
    found, answer = Line().find(paged(10), base=PEOPLE, scope=2, wanted=equal("uid", "nobody"), names=["1.1"])
    assert code(answer, 0) and not found and cookie_of(answer) == b""


@case("PSOpenAD sends the paging control with base searches and to the root DSE")
def _():
    for base in (BASE, ""):
        found, answer = Line().find(paged(1000, critical=False), base=base)
        assert code(answer, 0) and len(found) == 1 and cookie_of(answer) == b""


@case("S.DS.P sends Active Directory's ExtendedDN control and does not mean it")
def _():
    assert len(Line().find(control(EXTENDED_DN, None, sequence(integer(1))))[0]) == 1
    assert len(Line().find(control(EXTENDED_DN))[0]) == 1


@case("Apache Directory Studio follows subschemaSubentry from the root DSE and reads everything there by name")
def _():
    line = Line()
    where = line.find(base="", names=["subschemaSubentry"])[0][0].values["subschemaSubentry"][0].decode()
    names = ["objectClasses", "attributeTypes", "ldapSyntaxes", "matchingRules", "matchingRuleUse", "createTimestamp", "modifyTimestamp"]
    found, _ = line.find(base=where, wanted=equal("objectClass", "subschema"), names=names)
    assert {"objectClasses", "attributeTypes"} <= set(found[0].values)
    found, _ = line.find(scope=1, wanted=present("objectClass"), names=["hasSubordinates", "numSubordinates", "subordinateCount", "objectClass"], deref=3)
    assert all(entry.values.get("hasSubordinates") in ([b"TRUE"], [b"FALSE"]) for entry in found)


@case("Grafana follows nested groups with the in-chain rule, and reads memberOf without +")
def _():
    line = Line()
    person = line.find(base=PEOPLE, scope=2, wanted=every(equal("objectClass", "nhsPerson"), present("uid")), names=["1.1"], size=1)[0][0].name
    inner, outer = "cn=QUIRK inner," + LISTS, "cn=QUIRK outer," + LISTS
    try:
        for dn, member in ((inner, person), (outer, inner)):
            code(line.ask(add(dn, [("objectClass", ["groupOfNames"]), ("cn", [dn[3:dn.index(",")]]), ("member", [member])])), 0)
        rule = "1.2.840.113556.1.4.1941"
        wanted = sequence(octets(rule, 0x81), octets("memberOf", 0x82), octets(outer, 0x83), tag=0xa9)
        found, answer = line.find(base=PEOPLE, scope=2, wanted=wanted, names=["memberOf"])
        assert code(answer, 0) and [entry.name for entry in found] == [person], [entry.name for entry in found]
        assert inner.lower() in [value.decode().lower() for value in found[0].values["memberOf"]]
    finally:
        for dn in (outer, inner):
            line.ask(delete(dn))


@case("Outlook sorts by cn whatever it looks for")
def _():
    key = sequence(sequence(octets("cn")))
    found, answer = Line().find(control(SORT, False, key), base=PEOPLE, scope=2, wanted=every(present("mail"), present("cn")), names=["cn", "mail"], size=20)
    names = [entry.values["cn"][0].decode().lower() for entry in found]
    assert code(answer, 4) and len(names) == 20 and names == sorted(names), names


@case("Outlook's typeahead: five terms over four attributes, nested")
def _():
    starts = lambda name: pieces(name, (0x80, "sm"))
    wanted = every(present("mail"), some(starts("mail"), some(starts("cn"), some(starts("sn"), starts("givenName")))))
    code(Line().find(base=PEOPLE, scope=2, wanted=wanted, names=["cn", "mail"], size=100)[1], 0, 4)


@case("printers: a blank search root, attribute names in another case, a name and a secret of a hundred octets")
def _():
    found, answer = Line().find(base="", scope=2, wanted=equal("OBJECTCLASS", "NHSPERSON"), names=["CN", "MAIL", "FACSIMILETELEPHONENUMBER"], size=10)
    assert code(answer, 4) and len(found) == 10
    code(Line(bound=False).ask(bind("x" * 255, "y" * 127)), 49, 34)


@case("JNDI dereferences always, marks ManageDsaIT critical, and asks for types only")
def _():
    found, answer = Line().find(control(MANAGE_DSA_IT, True), base=PEOPLE, scope=1, deref=3, types=True, size=3)
    assert code(answer, 4) and len(found) == 3 and found[0].values["cn"] == []


@case("people at a command line: * and + together, ;binary, 1.1 with others, a password attribute that never comes")
def _():
    line = Line()
    found = {name.lower() for name in line.find(names=["*", "+"])[0][0].values}
    assert {"o", "entryuuid", "createtimestamp"} <= found
    for names in (["userPassword"], ["userPassword;binary"], ["nhsPuSecret"], ["jpegPhoto;binary"]):
        assert line.find(base=PEOPLE, scope=1, names=names, size=1)[0][0].values == {}


@case("PostgreSQL asks for 1.1 and needs the entry's name all the same")
def _():
    found, answer = Line().find(base=PEOPLE, scope=2, wanted=present("uid"), names=["1.1"], size=1)
    assert code(answer, 4) and found[0].name and found[0].values == {}


run_cases("")
