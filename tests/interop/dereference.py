"""The dereference control (draft-masarati-ldap-deref-00) beside slapd's deref overlay: the same directory, the same questions, the same answers.

  dereference.py [PATH-OF-nhsdir]

Ends with status 1 where an answer differs, but for what EXPLAINED says.
"""
import os, shutil, sys, tempfile
import ldap
from ldap.controls import RequestControl
from ldap.controls.deref import DEREF_CONTROL_OID, DereferenceControl
import started

HERE = os.path.dirname(os.path.abspath(__file__))
NHSDIR = os.path.realpath(sys.argv[1] if len(sys.argv) > 1 else HERE + "/../../target/release/nhsdir")
BASE, ROOT = "dc=test", "cn=root,dc=test"
LDIF = """dn: dc=test
objectClass: organization
objectClass: dcObject
o: test
dc: test

dn: ou=people,dc=test
objectClass: organizationalUnit
ou: people

dn: cn=Ann,ou=people,dc=test
objectClass: inetOrgPerson
cn: Ann
sn: Smith
sn;lang-cy: Smyth
mail: ann@test
mail: smith@test
userPassword: secret

dn: cn=Bob,ou=people,dc=test
objectClass: inetOrgPerson
cn: Bob
sn: Jones
manager: cn=ann,ou=People,dc=test
secretary: cn=Bob,ou=people,dc=test
seeAlso: cn=gone,dc=test
seeAlso: cn=Ann,ou=people,dc=test

dn: cn=staff,dc=test
objectClass: groupOfNames
cn: staff
member: cn=Ann,ou=people,dc=test
member: cn=Bob,ou=people,dc=test
member: cn=nobody,ou=people,dc=test
member: dc=elsewhere

dn: cn=unique,dc=test
objectClass: groupOfUniqueNames
cn: unique
uniqueMember: cn=Ann,ou=people,dc=test
"""
QUESTIONS = [(specs, critical, filter) for critical in (False, True) for filter in ("(objectClass=*)", "(cn=staff)") for specs in (
    {"member": ["cn"]}, {"MEMBER": ["SN", "mail"]}, {"member": ["cn", "sn", "sn;lang-cy", "objectClass"]},
    {"member": ["mail"], "manager": ["cn"], "seeAlso": ["sn", "seeAlso"]}, {"2.5.4.31": ["2.5.4.4"]}, {"manager": ["description"]}, {"secretary": ["manager"]},
    {"member": ["entryUUID"]}, {"creatorsName": ["cn"]}, {"member": []}, {}, {"nonsense": ["cn"]}, {"member": ["nonsense"]}, {"member": ["cn", "nonsense"]},
    {"cn": ["sn"]}, {"member": ["cn"], "cn": ["sn"]}, {"uniqueMember": ["cn"]}, {"member": ["*"]}, {"member": ["1.1"]}, {"member;lang-en": ["cn"]},
    {"member": ["userPassword"]}, {"member": ["member"]}, {"structuralObjectClass": ["cn"]}, {"member": ["cn", "cn"]},
)]
RAW = [(value, critical) for critical in (False, True) for value in (None, b"", b"\x30\x00", b"nonsense", b"\x30\x02\x30\x00", b"\x30\x05\x30\x03\x04\x01m")]
# What differs, and why.
EXPLAINED = {
    "({},": "a control that asks for nothing is no list of specifications",
    "b'0": "a control that asks for nothing is no list of specifications",
    ";lang-en": "an attribute of names with options is none that is known",
    "nonsense'": "an attribute that no schema knows is passed over, as in any list of attributes (RFC 4511 section 4.5.1.8)",
    "['*']": "all user attributes may be asked for, as in any list of attributes",
    "['1.1']": "no attribute may be asked for, as in any list of attributes",
    "b'nonsense'": "a value that is no list of specifications is a protocol error (RFC 4511 section 4.1.11)",
}


class Nhsdir(started.Nhsdir):
    def __init__(self, work, ldif):
        os.makedirs(work)
        super().__init__(NHSDIR, work)
        with open(self.config, "w") as out:
            # No secret of the manager's is among them, as slapd's root sees one; here nobody does.
            out.write("[general]\nenabled = true\n")
        self.run("init", "--suffix", BASE, "--no-entries")
        self.run("import", ldif)
        self.start()


def told(attributes):
    """Each server gives an entry a UUID of its own."""
    return sorted((name, ["some"] if name == "entryUUID" else sorted(values)) for name, values in attributes.items())


def ask(connection, control, filter):
    """Result code, and for each entry what its names lead to."""
    entries, code = [], 0
    try:
        number = connection.search_ext(BASE, ldap.SCOPE_SUBTREE, filter, ["cn"], serverctrls=[control])
        while True:
            kind, data, _, _ = connection.result4(number, all=0, timeout=30, add_ctrls=1)[:4]
            for dn, _, controls in data or []:
                found = {}
                for one in controls:
                    if one.controlType == DEREF_CONTROL_OID:
                        for attribute, names in one.derefRes.items():
                            found[attribute] = [(name, told(attributes)) for name, attributes in names]
                entries.append((dn, found))
            if kind == ldap.RES_SEARCH_RESULT:
                break
    except ldap.LDAPError as fault:
        code = fault.args[0].get("result", fault.__class__.__name__)
    return code, sorted(entries) if code == 0 else []


def main(work):
    with open(work + "/test.ldif", "w") as out:
        out.write(LDIF)
    servers = [started.Slapd(work + "/slapd", BASE, ROOT, work + "/test.ldif", "moduleload deref\n", "overlay deref\n"), Nhsdir(work + "/nhsdir", work + "/test.ldif")]
    different, said = 0, set()
    try:
        asked = [(str((specs, critical, filter)), DereferenceControl(critical, specs), filter) for specs, critical, filter in QUESTIONS]
        asked += [(str((value, critical)), RequestControl(DEREF_CONTROL_OID, critical, value), "(cn=staff)") for value, critical in RAW]
        for text, control, filter in asked:
            slapds, ours = [ask(server.connection, control, filter) for server in servers]
            if slapds != ours:
                why = next((why for part, why in EXPLAINED.items() if part in text), None)
                if why:
                    said.add(why)
                    continue
                different += 1
                print("FAIL  %s\n  slapd   %s\n  nhsdir  %s" % (text, slapds, ours))
    finally:
        for server in servers:
            server.child.kill()
            server.child.wait()
    for why in sorted(said):
        print("differs: " + why)
    print("%d questions, %d different" % (len(asked), different))
    return different


if __name__ == "__main__":
    folder = tempfile.mkdtemp(prefix="nhsdir-dereference-")
    try:
        different = main(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if different else 0)
