"""Referrals, aliases and subentries (RFC 3296, 4512 section 2.6, 3672): the same questions to nhsdir and to Debian's slapd must get the same answers.

  information_model.py [PATH-OF-nhsdir]   VERBOSE=1 prints every answer

What may differ is said in DIFFERENT, with its reason. Ends with status 1 where anything else differs.
"""
import os, shutil, signal, sys, tempfile
import ldap, ldap.controls, ldap.dn
import started
from ldap.controls import RequestControl
from ldap.controls.simple import BooleanControl, ManageDSAITControl

HERE = os.path.dirname(os.path.abspath(__file__))
NHSDIR = os.path.realpath(sys.argv[1] if len(sys.argv) > 1 else HERE + "/../../target/release/nhsdir")
VERBOSE = os.environ.get("VERBOSE")
BASE, ROOT = "dc=test", "cn=root,dc=test"

LDIF = """
dn: dc=test
objectClass: domain
dc: test

dn: ou=People,dc=test
objectClass: organizationalUnit
ou: People

dn: cn=Ann,ou=People,dc=test
objectClass: person
cn: Ann
sn: Smith

dn: cn=Bob,ou=People,dc=test
objectClass: person
cn: Bob
sn: Jones

dn: ou=Elsewhere,dc=test
objectClass: referral
objectClass: extensibleObject
ou: Elsewhere
ref: ldap://hostb/ou=There,dc=other
ref: ldap://hostc/ou=There,dc=other??one?(cn=x)

dn: ou=Plain,dc=test
objectClass: referral
objectClass: extensibleObject
ou: Plain
ref: ldap://hostd a label
ref: http://hoste/page

dn: ou=Deep,ou=People,dc=test
objectClass: referral
objectClass: extensibleObject
ou: Deep
ref: ldap://hostf/ou=Deep,ou=People,dc=test

dn: ou=Links,dc=test
objectClass: organizationalUnit
ou: Links

dn: cn=To Ann,ou=Links,dc=test
objectClass: alias
objectClass: extensibleObject
cn: To Ann
aliasedObjectName: cn=Ann,ou=People,dc=test

dn: cn=To Ann again,ou=Links,dc=test
objectClass: alias
objectClass: extensibleObject
cn: To Ann again
aliasedObjectName: cn=Ann,ou=People,dc=test

dn: cn=To alias,ou=Links,dc=test
objectClass: alias
objectClass: extensibleObject
cn: To alias
aliasedObjectName: cn=To Ann,ou=Links,dc=test

dn: cn=To People,ou=Links,dc=test
objectClass: alias
objectClass: extensibleObject
cn: To People
aliasedObjectName: ou=People,dc=test

dn: ou=Lost,dc=test
objectClass: organizationalUnit
ou: Lost

dn: cn=Nowhere,ou=Lost,dc=test
objectClass: alias
objectClass: extensibleObject
cn: Nowhere
aliasedObjectName: cn=Nobody,ou=People,dc=test

dn: cn=Away,ou=Lost,dc=test
objectClass: alias
objectClass: extensibleObject
cn: Away
aliasedObjectName: cn=x,dc=other

dn: ou=Loops,dc=test
objectClass: organizationalUnit
ou: Loops

dn: cn=Self,ou=Loops,dc=test
objectClass: alias
objectClass: extensibleObject
cn: Self
aliasedObjectName: cn=Self,ou=Loops,dc=test

dn: cn=One,ou=Loops,dc=test
objectClass: alias
objectClass: extensibleObject
cn: One
aliasedObjectName: cn=Two,ou=Loops,dc=test

dn: cn=Two,ou=Loops,dc=test
objectClass: alias
objectClass: extensibleObject
cn: Two
aliasedObjectName: cn=One,ou=Loops,dc=test

dn: cn=Up,ou=Loops,dc=test
objectClass: alias
objectClass: extensibleObject
cn: Up
aliasedObjectName: dc=test

dn: ou=Bridge,dc=test
objectClass: organizationalUnit
ou: Bridge

dn: cn=To referral,ou=Bridge,dc=test
objectClass: alias
objectClass: extensibleObject
cn: To referral
aliasedObjectName: ou=Elsewhere,dc=test

dn: ou=Admin,dc=test
objectClass: organizationalUnit
ou: Admin

dn: cn=Rules,ou=Admin,dc=test
objectClass: subentry
objectClass: extensibleObject
cn: Rules
subtreeSpecification: {}

dn: cn=Member,ou=Admin,dc=test
objectClass: person
cn: Member
sn: Member
"""

MANAGE = ManageDSAITControl(True)
SUBENTRIES = "1.3.6.1.4.1.4203.1.10.1"
SHOWN, HIDDEN = BooleanControl(SUBENTRIES, True, True), BooleanControl(SUBENTRIES, True, False)
NEVER, SEARCHING, FINDING, ALWAYS = range(4)
B, ONE, SUB = ldap.SCOPE_BASE, ldap.SCOPE_ONELEVEL, ldap.SCOPE_SUBTREE
PEOPLE, LINKS, ELSEWHERE = "ou=People,dc=test", "ou=Links,dc=test", "ou=Elsewhere,dc=test"


def search(base, scope, text="(objectClass=*)", deref=NEVER, controls=(), attributes=("cn", "ou", "sn")):
    return ("search", base, scope, text, deref, controls, attributes)


def person(dn):
    name = ldap.dn.str2dn(dn)[0][0][1]
    return ("add", dn, [("objectClass", [b"person"]), ("cn", [name.encode()]), ("sn", [b"New"])])


def alias(dn, to):
    name = ldap.dn.str2dn(dn)[0][0][1]
    return ("add", dn, [("objectClass", [b"alias", b"extensibleObject"]), ("cn", [name.encode()]), ("aliasedObjectName", [to.encode()])])


TITLE = [(ldap.MOD_REPLACE, "description", [b"changed"])]
QUESTIONS = [
    # RFC 3296 section 5.2: targets of other operations.
    *[(operation, dn, *rest) for dn in (ELSEWHERE, "cn=x," + ELSEWHERE, "cn=y,cn=x," + ELSEWHERE, "ou=Plain,dc=test", "cn=x,ou=Plain,dc=test")
      for operation, *rest in (("compare", "ou", b"Elsewhere"), ("modify", TITLE), ("delete",), ("rename", "cn=new"))],
    person("cn=x," + ELSEWHERE), person("cn=y,cn=x," + ELSEWHERE), person(ELSEWHERE.replace("ou=", "cn=")),
    ("rename", "cn=Bob," + PEOPLE, "cn=Bob", ELSEWHERE), ("rename", "cn=Bob," + PEOPLE, "cn=Bob", "cn=x," + ELSEWHERE),
    # Section 5.3: the base object.
    *[search(dn, scope) for dn in (ELSEWHERE, "cn=x," + ELSEWHERE, "cn=y,cn=x," + ELSEWHERE, "ou=Plain,dc=test", "cn=x,ou=Plain,dc=test", "dc=other", "cn=x,dc=other")
      for scope in (B, ONE, SUB)],
    # Section 5.4: continuation.
    *[search(base, scope, text) for base in (BASE, PEOPLE) for scope in (B, ONE, SUB) for text in ("(objectClass=*)", "(cn=Ann)", "(cn=nobody)", "(ref=*)")],
    # Section 3: ManageDsaIT makes them entries.
    *[search(base, scope, text, controls=[MANAGE], attributes=["ou", "ref"]) for base in (BASE, ELSEWHERE, "cn=x," + ELSEWHERE) for scope in (B, ONE, SUB)
      for text in ("(objectClass=*)", "(objectClass=referral)", "(ref=*)")],
    ("compare", ELSEWHERE, "ou", b"elsewhere", [MANAGE]), ("modify", ELSEWHERE, TITLE, [MANAGE]), ("delete", "cn=x," + ELSEWHERE, [MANAGE]),
    ("modify", "ou=Deep," + PEOPLE, [(ldap.MOD_REPLACE, "ref", [b"ldap://hostg/ou=Deep,dc=g"])], [MANAGE]),
    search(PEOPLE, SUB, "(cn=Ann)"),
    ("rename", "ou=Deep," + PEOPLE, "ou=Deeper", None, [MANAGE]),
    search(PEOPLE, ONE), ("delete", "ou=Deeper," + PEOPLE, [MANAGE]), search(PEOPLE, SUB),
    person("cn=Held," + ELSEWHERE) + ([MANAGE],),
    # RFC 4511 section 4.5.1.3: the four ways with aliases.
    *[search(base, scope, text, deref) for base in (LINKS, "cn=To Ann," + LINKS, "cn=To alias," + LINKS, "cn=To People," + LINKS, "cn=Ann,cn=To People," + LINKS,
                                                    "cn=Nobody,cn=To People," + LINKS, "cn=x,cn=To Ann," + LINKS)
      for scope in (B, ONE, SUB) for deref in range(4) for text in ("(objectClass=*)", "(sn=Smith)", "(cn=To*)")],
    *[search(BASE, scope, text, deref) for scope in (ONE, SUB) for deref in range(4) for text in ("(objectClass=*)", "(sn=*)", "(objectClass=alias)")],
    # Aliases that lead nowhere, or round in a circle.
    *[search(base, scope, deref=deref) for base in ("ou=Lost,dc=test", "cn=Nowhere,ou=Lost,dc=test", "cn=Away,ou=Lost,dc=test", "cn=x,cn=Nowhere,ou=Lost,dc=test", "ou=Loops,dc=test",
                                                    "cn=Self,ou=Loops,dc=test", "cn=One,ou=Loops,dc=test", "cn=x,cn=One,ou=Loops,dc=test", "cn=Up,ou=Loops,dc=test")
      for scope in (B, ONE, SUB) for deref in range(4)],
    # An alias to a referral.
    *[search(base, scope, deref=deref) for base in ("ou=Bridge,dc=test", "cn=To referral,ou=Bridge,dc=test", "cn=x,cn=To referral,ou=Bridge,dc=test") for scope in (B, ONE, SUB) for deref in range(4)],
    # RFC 4512 section 2.6.2 and RFC 4511: updates and compares do not dereference, aliases have nothing below.
    *[(operation, dn, *rest) for dn in ("cn=To Ann," + LINKS, "cn=Ann,cn=To People," + LINKS, "cn=x,cn=To Ann," + LINKS)
      for operation, *rest in (("compare", "cn", b"Ann"), ("compare", "cn", b"To Ann"), ("modify", TITLE), ("rename", "cn=To Ann"))],
    person("cn=x,cn=To Ann," + LINKS), person("cn=x,cn=To People," + LINKS), person("cn=y,cn=x,cn=To People," + LINKS),
    ("rename", "cn=Bob," + PEOPLE, "cn=Bob", "cn=To People," + LINKS), ("delete", "cn=x,cn=To Ann," + LINKS), ("delete", "cn=Ann,cn=To People," + LINKS),
    alias("cn=Fresh," + LINKS, "cn=Bob," + PEOPLE), search("cn=Fresh," + LINKS, B, deref=ALWAYS), alias("cn=Bad," + LINKS, "no name"),
    ("add", "cn=Aimless," + LINKS, [("objectClass", [b"alias", b"extensibleObject"]), ("cn", [b"Aimless"])]),
    ("delete", "cn=Fresh," + LINKS), search(LINKS, SUB, deref=ALWAYS),
    # RFC 3672: subentries.
    *[search(base, scope, text, controls=controls) for base in ("ou=Admin,dc=test", "cn=Rules,ou=Admin,dc=test", BASE) for scope in (B, ONE, SUB)
      for text in ("(objectClass=*)", "(objectClass=subentry)", "(cn=Rules)") for controls in ((), [SHOWN], [HIDDEN])],
    search("ou=Admin,dc=test", SUB, controls=[RequestControl(SUBENTRIES, True, None)]),
    search("ou=Admin,dc=test", SUB, controls=[RequestControl(SUBENTRIES, True, b"\x01\x01")]),
    person("cn=x,cn=Rules,ou=Admin,dc=test"), ("modify", "cn=Rules,ou=Admin,dc=test", TITLE), ("compare", "cn=Rules,ou=Admin,dc=test", "cn", b"rules"),
    # OpenLDAP's names of approximate matching, each for one syntax.
    *[search(BASE, SUB, "(%s:=%s)" % (rule, value)) for value in ("smith", "jones") for rule in (
        "cn:directoryStringApproxMatch", "cn:1.3.6.1.4.1.4203.666.4.4", "sn:directorystringapproxmatch", "cn:IA5StringApproxMatch", "cn:1.3.6.1.4.1.4203.666.4.5",
        "cn:dn:directoryStringApproxMatch", "seeAlso:directoryStringApproxMatch", ":directoryStringApproxMatch", ":IA5StringApproxMatch", "aliasedObjectName:directoryStringApproxMatch")],
    *[search(BASE, SUB, "(!(%s:=nobody))" % rule) for rule in ("cn:directoryStringApproxMatch", "cn:IA5StringApproxMatch", "ref:directoryStringApproxMatch")],
    *[search(BASE, SUB, "(%s:=ann)" % rule) for rule in ("cn:rdnMatch", "cn:certificateMatch")],
    # What is counted below an entry.
    *[search(BASE, SUB, text) for text in ("(hasSubordinates=TRUE)", "(!(hasSubordinates=FALSE))", "(hasSubordinates=*)", "(entryDN=ou=people,dc=test)", "(structuralObjectClass=person)")],
]


class Nhsdir(started.Nhsdir):
    def __init__(self, work, ldif):
        os.makedirs(work)
        super().__init__(NHSDIR, work)
        with open(self.config, "w") as out:
            out.write('[directory]\nreferrals = ["ldap://superior/"]\n')
        self.run("init", "--suffix", BASE)
        self.run("import", ldif)
        self.start()
        # What `init` makes of its own accord.
        for unit in ("Lists", "Organisations", "ReferenceData", "Services", "Workgroups"):
            self.connection.delete_s("ou=%s,%s" % (unit, BASE))


def ask(connection, question):
    """The answer as text: result code, matched name, referral, references and entries."""
    operation, dn, *rest = question
    connection.set_option(ldap.OPT_REFERRALS, 0)
    found = []
    controls = rest.pop() if rest and isinstance(rest[-1], list) and rest[-1] and isinstance(rest[-1][0], RequestControl) else None
    try:
        if operation == "search":
            scope, text, deref, _, attributes = question[2:]
            connection.set_option(ldap.OPT_DEREF, deref)
            number = connection.search_ext(dn, scope, text, list(attributes), serverctrls=list(question[5]) or None)
            while True:
                kind, data = connection.result(number, all=0, timeout=60)
                for name, values in data or []:
                    if name is None:
                        found.append("-> " + " ".join(sorted(values)))
                    else:
                        found.append(name + " " + str(sorted((a.lower(), sorted(v)) for a, v in values.items())))
                if kind == ldap.RES_SEARCH_RESULT:
                    break
            code = 0
        elif operation == "compare":
            code = 6 if connection.compare_ext_s(dn, *rest, serverctrls=controls) else 5
        else:
            call = {"add": connection.add_ext, "modify": connection.modify_ext, "delete": connection.delete_ext, "rename": connection.rename}[operation]
            connection.result(call(dn, *rest, serverctrls=controls), timeout=60)
            code = 0
    except ldap.LDAPError as error:
        about = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        code = "%s matched=%s" % (about.get("result", repr(error)), about.get("matched", ""))
        if about.get("result") == 10:
            code += " " + " ".join(sorted(about.get("info", "").split("\n")[1:]))
    return "\n      ".join([str(code), *sorted(set(found))])


def both(slapd, nhsdir, code):
    """Both answered with this result code, whatever else."""
    return slapd.split()[0] == nhsdir.split()[0] == code


# Each says of (question, slapd's answer, nhsdir's) whether this is the reason why they differ.
DIFFERENT = {
    "RFC 3296 section 5.2: the name in a referral is not trimmed, and is given where the URL has none": lambda q, s, n: q[0] != "search" and both(s, n, "10") and "hostd" in n,
    "RFC 3296 section 5.6: a new superior elsewhere is affectsMultipleDSAs; slapd says other, or noSuchObject": lambda q, s, n: q[0] == "rename" and n.split()[0] == "71" and s.split()[0] in ("80", "32"),
    "slapd asks the frontend's default referral where modifyDN names what lies deeper below a referral object": lambda q, s, n: q[0] == "rename" and both(s, n, "10") and "superior" in s,
    "RFC 3296 section 5.3: after an alias the name in the referral is that of the aliased object; slapd gives the alias": lambda q, s, n: "To referral" in q[1] and both(s, n, "10"),
}


def main():
    work = tempfile.mkdtemp(prefix="information-model-")
    path = work + "/start.ldif"
    with open(path, "w") as out:
        out.write(LDIF.lstrip())
    servers = []
    differences = 0
    try:
        servers.append(started.Slapd(work + "/slapd", BASE, ROOT, path, "sizelimit unlimited\nreferral ldap://superior/\n", "index objectClass eq\n"))
        if NHSDIR != "/":
            servers.append(Nhsdir(work + "/nhsdir", path))
        for question in QUESTIONS:
            shown = repr(question)
            answers = [ask(server.connection, question) for server in servers]
            if VERBOSE:
                print(shown + "\n   " + "\n   ".join(answers))
            if len(set(answers)) > 1 and not any(reason(question, *answers) for reason in DIFFERENT.values()):
                differences += 1
                print("DIFFERENT %s\n   slapd %s\n   nhsdir %s" % (shown, *answers))
    finally:
        for server in servers:
            server.child.send_signal(signal.SIGTERM)
            server.child.wait()
        shutil.rmtree(work)
    print("%d questions, %d differences" % (len(QUESTIONS), differences))
    sys.exit(1 if differences else 0)


main()
