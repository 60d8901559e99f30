"""The same random directory, searches and updates for nhsdir and for Debian's slapd: results and result codes must be equal.

  differential.py [PATH-OF-nhsdir]   SEED=n (else random, printed)  SEARCHES=n  UPDATES=n  ENTRIES=n  SHOW=n (differences printed)

What may differ is in differential_allowed.py, with its reason. Ends with status 1 where anything else differs.
"""
import base64, os, random, re, shlex, shutil, signal, subprocess, sys, tempfile, time, unicodedata
import ldap, ldap.dn, ldap.filter
from ldap.controls.libldap import MatchedValuesControl
from differential_allowed import allowed

HERE = os.path.dirname(os.path.abspath(__file__))
NHSDIR = os.path.realpath(sys.argv[1] if len(sys.argv) > 1 else HERE + "/../../target/release/nhsdir")
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
SEARCHES, UPDATES = int(os.environ.get("SEARCHES", 1000)), int(os.environ.get("UPDATES", 300))
ENTRIES, SHOW = int(os.environ.get("ENTRIES", 250)), int(os.environ.get("SHOW", 20))
BASE, ROOT = "dc=test", "cn=root,dc=test"
rng = random.Random(SEED)
one = rng.choice


def chance(share):
    return rng.random() < share


# --- values -----------------------------------------------------------------------------------------------------------------

WORDS = ["Smith", "smith", "SMITH", "Smyth", "O'Brien", "M\u00fcller", "Mu\u0308ller", "m\u00dcller", "Jos\u00e9", "a b", "a  b", "A B",
         " a b ", "ab", "abc", "abcabc", "x,y", "x\\y", "x+y", "#hash", "a=b", "<tag>", "\"q\"", "semi;colon", "*star*", "(par)", "\u65e5\u672c",
         "\u0416\u0443\u043a\u043e\u0432", "\u0436\u0443\u043a\u043e\u0432", "10", "9", "010", "a", "b", "  ", " ", "a$b", "Ward 12", "ward  12", "\u00c5ngstr\u00f6m", "-", ".", "zz top",
         "end ", " begin", "two  inner  gaps", "\\20", "\\2a", "nul\\00", "TRUE"]
IA5 = ["a@b.test", "A@B.TEST", "smith@nhs.test", "Smith@NHS.test", " a@b.test", "x y@b.test", "x  y@b.test", "o'brien@b.test", "a+b@b.test"]
PHONES = ["+44 20 7946 0000", "+442079460000", "+44-20-7946-0000", "020 7946", "0207946", "1 2", "12", "123", "(020) 7946"]
NUMBERS = ["0", "1", "-1", "7", "10", "9", "255", "256", "4294967296", "18446744073709551616", "-18446744073709551617", "99999999999999999999999"]
TIMES = ["20240101000000Z", "20240101010000+0100", "2024010100Z", "202401010000Z", "20240101000000.0Z", "20240101000000.5Z", "20231231235959Z",
         "19700101000000Z", "20380119031408Z", "20240229120000Z", "20240101000000,5Z"]
NUMERIC = ["12", "1 2", "123", "0012", "9", "1 2 3", "10"]
BITS = ["'0'B", "'1'B", "'01'B", "'0101'B", "'101'B", "'1010'B"]
OIDS = ["2.5.6.6", "2.5.4.3", "1.2.3.4", "2.5.6.0", "1.3.6.1.4.1.32473.1"]
BAD = {"int": ["", "one", "1.5", "+1", "01", "-0", "- 1", " 1", "1 "], "time": ["2024", "20241301000000Z", "20240101000000", "20230229000000Z", "x", "20240101240000Z"],
       "flag": ["true", "yes", "1", "True"], "numeric": ["1a", "", "x", "1-2"], "bits": ["0101", "'2'B", "''"], "oid": ["no such thing", "1..2", "nosuch", "2.5.6.", ""],
       "phone": ["", "\u00e9", "  "], "ia5": ["\u00e9@b", ""], "word": ["", b"\xff\xfe", b"\xc3\x28"], "dn": ["nonsense", "cn=a,,", "nosuch=a", "cn", "=a"],
       "octets": [b""], "address": [""]}


def respelled(text):
    """The same value, to most rules, as another hand writes it."""
    if isinstance(text, bytes):
        return text
    for _ in range(rng.randrange(3)):
        way = rng.randrange(6)
        if way == 0:
            text = text.upper() if text.upper().lower() == text.lower() else text
        elif way == 1:
            text = text.lower()
        elif way == 2:
            text = text.replace(" ", "  ")
        elif way == 3:
            text = " " + text if chance(0.5) else text + " "
        elif way == 4:
            text = unicodedata.normalize(one(["NFC", "NFD"]), text)
        else:
            text = text.swapcase() if text.swapcase().lower() == text.lower() else text
    return text


def respelled_dn(dn):
    """The same name in another spelling (RFC 4514 section 3 as clients stretch it)."""
    try:
        parts = ldap.dn.str2dn(dn)
    except ldap.LDAPError:
        return dn
    out = []
    for rdn in parts:
        pieces = []
        for name, value, _ in rdn:
            name = one([name, name.upper(), name.lower()] + {"cn": ["commonName", "2.5.4.3"], "ou": ["2.5.4.11"], "uid": ["userid"]}.get(name.lower(), []))
            if chance(0.3):
                value = value.upper() if value.upper().lower() == value.lower() else value
            if chance(0.2):
                value = value.replace(" ", "  ")
            text = ldap.dn.escape_dn_chars(value)
            if chance(0.2) and text:
                first = value.encode()
                text = "".join("\\%02x" % octet for octet in first)
            pieces.append(name + one(["=", "=", " = ", "= "]) + text)
        if chance(0.3):
            pieces.reverse()
        out.append(one(["+", " + "]).join(pieces))
    return one([",", ", ", " , "]).join(out)


def octets():
    return one([b"\x00", b"\x00\x01", b"abc", b"ABC", b" abc", b"\xff\xfe", b"\xff", bytes(range(40)), b"\x00\xff" * 20, b"a*b(c)\\"])


def a_dn():
    if chance(0.75) and names:
        return respelled_dn(one(names))
    return one(["cn=nobody,dc=test", "cn=a,dc=elsewhere", "uid=1+cn=b,ou=People,dc=test"])


KINDS = {
    "cn": "word", "sn": "word", "givenName": "word", "description": "word", "title": "word", "ou": "word", "l": "word", "st": "word",
    "displayName": "word", "employeeType": "word", "departmentNumber": "word", "employeeNumber": "word", "uid": "word", "mail": "ia5",
    "telephoneNumber": "phone", "mobile": "phone", "homePhone": "phone", "manager": "dn", "seeAlso": "dn", "secretary": "dn", "member": "dn",
    "owner": "dn", "uniqueMember": "dn", "jpegPhoto": "octets", "postalAddress": "address", "registeredAddress": "address",
    "roomNumber": "word", "serialNumber": "printable", "c": "country", "preferredLanguage": "word", "x121Address": "numeric",
    "xInt": "int", "xTime": "time", "xFlag": "flag", "xExact": "word", "xFold": "word", "xFoldSub": "word", "xOctets": "octets", "xNumeric": "numeric",
    "xBits": "bits", "xOid": "oid", "xNone": "word", "xOne": "word", "documentIdentifier": "word", "documentAuthor": "dn", "associatedDomain": "ia5",
}
SINGLE = {"displayName", "employeeNumber", "xFlag", "xOne", "c", "preferredLanguage"}
X = [name for name in KINDS if name.startswith("x") and name != "x121Address"]
PERSON = ["givenName", "description", "title", "ou", "l", "st", "displayName", "employeeType", "departmentNumber", "employeeNumber", "uid", "mail",
          "telephoneNumber", "mobile", "homePhone", "manager", "seeAlso", "secretary", "jpegPhoto", "postalAddress", "registeredAddress",
          "roomNumber", "preferredLanguage", "x121Address"]
CLASSES = {
    "inetOrgPerson": (["cn", "sn"], PERSON, ["person", "organizationalPerson", "inetOrgPerson"]),
    "organizationalUnit": (["ou"], ["description", "l", "telephoneNumber", "postalAddress", "seeAlso"], ["organizationalUnit"]),
    "groupOfNames": (["cn", "member"], ["description", "owner", "ou", "seeAlso"], ["groupOfNames"]),
    "groupOfUniqueNames": (["cn", "uniqueMember"], ["description", "owner"], ["groupOfUniqueNames"]),
    "device": (["cn"], ["serialNumber", "description", "owner", "l"], ["device"]),
    "document": (["documentIdentifier"], ["cn", "documentAuthor", "description"], ["document"]),
    "locality": (["l"], ["st", "description"], ["locality"]),
}
NAMING = {"inetOrgPerson": ["cn", "uid", "sn", "mail", "employeeNumber"], "organizationalUnit": ["ou"], "groupOfNames": ["cn"], "groupOfUniqueNames": ["cn"],
          "device": ["cn", "serialNumber"], "document": ["documentIdentifier", "cn"], "locality": ["l"]}


def value(kind, bad=0.0):
    if chance(bad) and BAD.get(kind):
        return one(BAD[kind])
    if kind == "word":
        return one(WORDS) if chance(0.8) else one(WORDS) + one([" ", "", "  ", ", "]) + one(WORDS)
    if kind == "address":
        return "$".join(one(["1 High Street", "1  high street", "Leeds", "LS1 1AA", "a\\24b", "x"]) for _ in range(rng.randrange(1, 4)))
    if kind == "dn":
        return a_dn()
    if kind == "octets":
        return octets()
    return one({"printable": ["A1", "a1", "a 1", "A  1", "10"], "ia5": IA5, "phone": PHONES, "int": NUMBERS, "time": TIMES, "flag": ["TRUE", "FALSE"], "numeric": NUMERIC, "bits": BITS,
                "oid": OIDS, "country": ["GB", "gb", "FR"]}[kind])


def raw(text):
    return text if isinstance(text, bytes) else text.encode()


def described(name):
    """The attribute description, now and then with options (RFC 4512 section 2.5)."""
    if KINDS.get(name) == "word" and chance(0.15):
        return name + one([";lang-fr", ";lang-de", ";lang-en-GB", ";lang-fr;x-b"])
    return name


def an_entry(parent, structural=None):
    structural = structural or one(["inetOrgPerson"] * 6 + list(CLASSES))
    must, may, classes = CLASSES[structural]
    classes = ["top"] * chance(0.5) + classes
    attributes = {}
    chosen = set(must) | {name for name in may if chance(0.25)}
    if chance(0.6):
        classes.append("xEverything")
        chosen |= {name for name in X if chance(0.3)}
    if chance(0.1):
        classes.append("xDemanding")
        chosen.add("xFold")
    for name in sorted(chosen):
        for _ in range(1 if name in SINGLE else one([1, 1, 1, 2, 3])):
            attributes.setdefault(described(name) if name not in SINGLE and name not in must else name, []).append(value(KINDS[name]))
    rdn = []
    for name in sorted({one(NAMING[structural])} | ({one(NAMING[structural])} if chance(0.15) else set())):
        text = ""
        while not text.strip():
            text = value(KINDS[name])
        if name not in attributes or chance(0.5):
            attributes[name] = [text]
        text = attributes[name][0]
        if not isinstance(text, str) or not text.strip():
            attributes[name] = [text] = [one(["n1", "n2", "n3", "N 4"]) + str(rng.randrange(1000))]
        rdn.append(name + "=" + ldap.dn.escape_dn_chars(text))
    attributes["objectClass"] = classes
    return "+".join(rdn) + "," + parent, {name: unlike(name, values) for name, values in attributes.items()}


def key(name, text):
    """A coarse normal form, for making lists of unlike values; the servers know better."""
    text = raw(text)
    kind = KINDS.get(name.split(";")[0])
    if kind == "octets":
        return text
    text = unicodedata.normalize("NFKC", text.decode("utf-8", "replace")).lower()
    if kind == "dn":
        return normal(text)
    if kind in ("phone", "numeric"):
        return re.sub(r"[ -]", "", text)
    if kind in ("time", "oid"):
        return "one"
    return re.sub(r" +", " ", text).strip()


def unlike(name, values):
    found = {}
    for text in values:
        found.setdefault(key(name, text), raw(text))
    return list(found.values())


ALIASES = {"commonname": "cn", "2.5.4.3": "cn", "2.5.4.11": "ou", "userid": "uid", "2.5.4.4": "sn", "surname": "sn"}


def normal(dn):
    try:
        parts = ldap.dn.str2dn(dn)
    except ldap.LDAPError:
        return "!" + (dn if isinstance(dn, str) else repr(dn))
    fold = lambda text: re.sub(r" +", " ", unicodedata.normalize("NFKC", text).lower()).strip()
    return ",".join("+".join(sorted(ALIASES.get(name.lower(), name.lower()) + "=" + ldap.dn.escape_dn_chars(fold(text)) for name, text, _ in rdn)) for rdn in parts)


# --- the two servers --------------------------------------------------------------------------------------------------------

def ldif(entries):
    lines = []
    for dn, attributes in entries:
        lines.append("dn:: " + base64.b64encode(dn.encode()).decode())
        for name, values in attributes.items():
            lines += [name + ":: " + base64.b64encode(raw(text)).decode() for text in values]
        lines.append("")
    return "\n".join(lines) + "\n"


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Slapd:
    def __init__(self, work):
        self.work, self.child = work + "/slapd", None
        os.makedirs(self.work + "/db")
        with open(self.work + "/slapd.conf", "w") as out:
            for name in ("core", "cosine", "inetorgperson"):
                out.write("include /etc/ldap/schema/%s.schema\n" % name)
            out.write("include %s/differential.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile %s/pid\n" % (HERE, self.work))
            out.write("attributeoptions lang- x-\nsizelimit unlimited\ntimelimit unlimited\ndatabase mdb\nmaxsize 268435456\nsuffix %s\nrootdn %s\nrootpw secret\n" % (BASE, ROOT))
            out.write("directory %s/db\ndbnosync\nindex objectClass eq\n" % self.work)

    def load(self, path):
        made = subprocess.run(["/usr/sbin/slapadd", "-q", "-f", self.work + "/slapd.conf", "-l", path], capture_output=True, text=True)
        if made.returncode:
            sys.exit("slapadd: " + made.stderr[-2000:])

    def start(self):
        port = free_port()
        self.log = open(self.work + "/log", "w")
        self.child = subprocess.Popen(["/usr/sbin/slapd", "-d", "0", "-f", self.work + "/slapd.conf", "-h", "ldap://127.0.0.1:%d/" % port], stderr=self.log)
        for _ in range(100):
            try:
                self.connection = ldap.initialize("ldap://127.0.0.1:%d" % port)
                self.connection.simple_bind_s(ROOT, "secret")
                return
            except ldap.SERVER_DOWN:
                time.sleep(0.1)
        sys.exit("slapd did not start: " + open(self.work + "/log").read())


class Nhsdir:
    def __init__(self, work):
        self.work, self.child = work + "/nhsdir", None
        self.config = work + "/nhsdir.toml"
        with open(self.config, "w") as out:
            out.write('[schema]\nfiles = ["%s/differential.schema"]\n' % HERE)
        self.run("init", "--suffix", BASE)

    def run(self, command, *arguments):
        done = subprocess.run([NHSDIR, *command.split(), "--data", self.work, "--config", self.config, *arguments], capture_output=True, text=True)
        if done.returncode:
            sys.exit("nhsdir %s: %s" % (command, (done.stdout + done.stderr)[-3000:]))
        return done.stdout

    def load(self, path):
        self.run("import", path)

    def start(self):
        import json
        secret = json.loads(self.run("account create", "feed", "--role", "writer", "--json"))["secret"]
        self.log = open(self.work + ".log", "w")
        self.child = subprocess.Popen([NHSDIR, "serve", "--data", self.work, "--config", self.config, "--listen", "127.0.0.1:0"],
                                      stdout=subprocess.PIPE, stderr=self.log, text=True)
        for line in self.child.stdout:
            if line.startswith("ready ldaps:"):
                break
        else:
            sys.exit("nhsdir did not start: " + open(self.work + ".log").read())
        self.connection = ldap.initialize(line.split()[1])
        self.connection.set_option(ldap.OPT_X_TLS_CACERTFILE, self.work + "/tls/cert.pem")
        self.connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        self.connection.simple_bind_s("feed", secret)


# --- requests ---------------------------------------------------------------------------------------------------------------

DN_VALUED = {name.lower() for name, kind in KINDS.items() if kind == "dn"} | {"entrydn"}
COMPARED_OPERATIONAL = {"structuralobjectclass", "hassubordinates", "entrydn"}
OPERATIONAL = {"createtimestamp", "modifytimestamp", "creatorsname", "modifiersname", "entryuuid", "entrycsn", "subschemasubentry", "numsubordinates",
               "memberof", "contextcsn"}


def outcome(error):
    about = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return about.get("result", -1), about.get("matched", "")


def asked(connection, request):
    """(result code, matched name, {normal name: {description: values}}) of one search."""
    base, scope, text, attributes, types_only, limit, *values = request
    found, code, matched = {}, 0, ""
    try:
        controls = [MatchedValuesControl(True, text)] if values else None
        text = "(objectClass=*)" if values else text
        number = connection.search_ext(base, scope, text, attributes, attrsonly=types_only, sizelimit=limit, serverctrls=controls)
        while True:
            kind, data = connection.result(number, all=0, timeout=60)
            for dn, values in data or []:
                if dn is not None:
                    found[normal(dn)] = presented(values)
                    if controls:
                        found[normal(dn)] = {name: given for name, given in found[normal(dn)].items() if given}
            if kind == ldap.RES_SEARCH_RESULT:
                break
    except ldap.LDAPError as error:
        code, matched = outcome(error)
    return code, normal(matched) if code == 32 else "", found


def presented(attributes):
    out = {}
    for name, values in attributes.items():
        if name.split(";")[0].lower() not in OPERATIONAL:
            dn_valued = name.split(";")[0].lower() in DN_VALUED
            name = ";".join([name.split(";")[0]] + sorted(option.lower() for option in name.split(";")[1:]))
            out[name] = sorted(out.get(name, []) + [raw(normal(text.decode("utf-8", "replace"))) if dn_valued else text for text in values])
    return out


def changed(connection, request):
    """(result code, matched name) of one update or compare."""
    operation, dn, *rest = request
    try:
        if operation == "compare":
            return (6 if connection.compare_s(dn, *rest) else 5), ""
        {"add": connection.add_s, "modify": connection.modify_s, "delete": connection.delete_s, "rename": connection.rename_s}[operation](dn, *rest)
        return 0, ""
    except ldap.LDAPError as error:
        code, matched = outcome(error)
        said[connection is connections[0]] = error.args[0].get("info", "") if error.args and isinstance(error.args[0], dict) else ""
        return code, normal(matched) if code == 32 else ""


def shown(request):
    """The request as ldapsearch or LDIF has it."""
    if request[0] in CHANGES:
        operation, dn, *rest = request
        lines = ["dn: " + dn, "changetype: " + {"rename": "modrdn"}.get(operation, operation)]
        if operation == "add":
            lines += ["%s: %r" % (name, text) for name, values in rest[0] for text in values]
        elif operation == "modify":
            for kind, name, values in rest[0]:
                lines += ["%s: %s" % (["add", "delete", "replace", "increment"][kind], name)]
                lines += ["%s: %r" % (name, text) for text in values or []] + ["-"]
        elif operation == "rename":
            lines += ["newrdn: " + rest[0], "deleteoldrdn: %d" % rest[2]] + (["newsuperior: " + rest[1]] if rest[1] is not None else [])
        else:
            lines += [repr(text) for text in rest]
        return "\n".join(lines)
    base, scope, text, attributes, types_only, limit, *values = request
    text = "(objectClass=*) matched values " + text if values else text
    words = ["ldapsearch", "-b", base, "-s", ["base", "one", "sub"][scope]] + ["-A"] * types_only + (["-z", str(limit)] if limit else []) + [text] + (attributes or [])
    return " ".join(shlex.quote(word) for word in words)


CHANGES = ("add", "modify", "delete", "rename", "compare")
NAMES = {"cn": ["commonName", "2.5.4.3", "CN"], "sn": ["surname", "2.5.4.4"], "xFold": ["xFolded", "XFOLD", "1.3.6.1.4.1.32473.1.5"], "uid": ["userid"],
         "mail": ["rfc822Mailbox"], "l": ["localityName"]}
RULES = ["caseIgnoreMatch", "2.5.13.2", "caseExactMatch", "2.5.13.5", "caseIgnoreIA5Match", "caseExactIA5Match", "integerMatch", "booleanMatch",
         "distinguishedNameMatch", "numericStringMatch", "telephoneNumberMatch", "octetStringMatch", "bitStringMatch", "generalizedTimeMatch",
         "objectIdentifierMatch", "caseIgnoreSubstringsMatch", "caseIgnoreOrderingMatch", "integerOrderingMatch", "1.2.840.113556.1.4.803",
         "1.2.840.113556.1.4.804", "noSuchRule", "1.2.3.4.5", "caseIgnoreListMatch", "generalizedTimeOrderingMatch", "octetStringOrderingMatch"]


def assertion(name, bad=0.06):
    base = name.split(";")[0]
    pool = values_of.get(base)
    text = one(pool) if pool and chance(0.7) else value(KINDS.get(base, "word"), bad)
    if isinstance(text, bytes) and KINDS.get(base) != "octets":
        try:
            text = text.decode()
        except UnicodeDecodeError:
            return text
    if KINDS.get(base) == "dn" and isinstance(text, str):
        return respelled_dn(text)
    return respelled(text) if chance(0.5) else text


def escaped(text):
    text = raw(text)
    return "".join(chr(octet) if 32 <= octet < 127 and chr(octet) not in "*()\\" else "\\%02x" % octet for octet in text)


def attribute_asked():
    if chance(0.06):
        return one(["nosuch", "1.2.3.4", "nosuch;lang-fr", "cn;bogus_option", "c n", "userCertificate", "userCertificate;binary", "aliasedObjectName"])
    if chance(0.08):
        return one(["name", "distinguishedName", "2.5.4.41", "name;lang-fr"])
    if chance(0.08):
        return one(["objectClass", "structuralObjectClass", "hasSubordinates", "entryDN", "createTimestamp", "subschemaSubentry", "entryUUID"])
    name = one(list(KINDS))
    if chance(0.1):
        return name + one([";lang-fr", ";lang-", ";x-b", ";lang-fr;x-b", ";x-b;lang-fr", ";lang-de", ";LANG-FR", ";binary"])
    return one(NAMES.get(name, [name]) + [name])


def canonical(asked_name):
    base = asked_name.split(";")[0]
    for name, others in NAMES.items():
        if base in others:
            return name
    return base


def leaf():
    name = attribute_asked()
    base = canonical(name)
    if base.lower() == "objectclass" or base == "structuralObjectClass":
        text = one(["person", "top", "inetOrgPerson", "INETORGPERSON", "2.5.6.6", "device", "nosuchclass", "xEverything", "1.2.3", "groupOfNames", "organizationalUnit", " person", ""])
    elif base == "hasSubordinates":
        text = one(["TRUE", "FALSE", "true", "x"])
    elif base in ("entryDN", "distinguishedName"):
        text = a_dn()
    elif base in ("createTimestamp",):
        text = "19990101000000Z"
    elif base == "subschemaSubentry":
        return "(%s=*)" % name
    elif base == "entryUUID":
        text = one(["00000000-0000-0000-0000-000000000000", "x"])
    else:
        text = assertion(base if base in KINDS else "cn")
    kind = rng.randrange(100)
    if kind < 30:
        return "(%s=%s)" % (name, escaped(text))
    if kind < 50:
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) and base not in ("xOctets", "jpegPhoto", "photo") else text
        pieces = [text[rng.randrange(len(text) + 1):][:rng.randrange(1, 5)] for _ in range(rng.randrange(1, 4))] if text else ["a"]
        if chance(0.4):
            pieces[0] = text[:rng.randrange(1, 4)]
        joined = "*".join(escaped(piece) for piece in pieces if piece) or "a"
        return "(%s=%s)" % (name, one(["*%s*", "%s*", "*%s", "%s*"]) % joined)
    if kind < 60:
        return "(%s>=%s)" % (name, escaped(text))
    if kind < 70:
        return "(%s<=%s)" % (name, escaped(text))
    if kind < 82:
        return "(%s=*)" % name
    if kind < 84:
        return "(%s~=%s)" % (name, escaped(text))
    if kind < 88:
        return "(%s:=%s)" % (name, escaped(text))
    if kind < 91:
        return "(%s:dn:=%s)" % (name, escaped(text))
    rule = one(RULES)
    if kind < 95:
        return "(%s:%s:=%s)" % (name, rule, escaped(text))
    if kind < 98:
        return "(:%s:=%s)" % (rule, escaped(text))
    return "(%s:dn:%s:=%s)" % (one([name, ""]), rule, escaped(text))


def a_filter(depth=0):
    if depth < 4 and chance(0.45 if depth == 0 else 0.35):
        kind = one("&|!!")
        if kind == "!":
            return "(!%s)" % a_filter(depth + 1)
        return "(%s%s)" % (kind, "".join(a_filter(depth + 1) for _ in range(rng.randrange(0 if chance(0.1) else 1, 4))))
    return leaf()


def a_base():
    kind = rng.random()
    if kind < 0.55:
        return BASE if chance(0.8) else respelled_dn(BASE)
    if kind < 0.85:
        return respelled_dn(one(names))
    if kind < 0.95:
        return one(["cn=missing,", "cn=deep,ou=missing,", "nosuch=x,"]) + one(names)
    return one(["dc=elsewhere", "cn=a,dc=other", "nonsense", "dc=test,", "cn=,dc=test", "ou=People,,dc=test", "dc=test,dc=test"])


def a_selection():
    kind = rng.random()
    if kind < 0.35:
        return None
    if kind < 0.45:
        return one([["*"], ["+"], ["*", "+"], ["1.1"], ["1.1", "cn"], ["*", "1.1"], ["+", "cn"], ["*", "cn"]])
    if kind < 0.55:
        return [one(["@person", "@inetOrgPerson", "@groupOfNames", "@nosuch", "@2.5.6.6", "@xEverything", "@top", "@device"])] + (["cn"] if chance(0.3) else [])
    return [one([attribute_asked, lambda: one(list(KINDS)), lambda: one(["structuralObjectClass", "hasSubordinates", "entryDN", "objectClass", "OBJECTCLASS", "name"])])()
            for _ in range(rng.randrange(1, 4))]


def a_search():
    if chance(0.1):
        # Matched values (RFC 3876): the text is its items, of every entry. `:dn:` is in none.
        items = [item for item in (leaf() for _ in range(one([1, 1, 2, 3]))) if ":dn" not in item.lower()]
        return (a_base(), rng.randrange(3), "(%s)" % "".join(items or ["(cn=*)"]), a_selection(), int(chance(0.05)), 0, "matched values")
    return (a_base(), rng.randrange(3), a_filter(), a_selection(), int(chance(0.08)), rng.randrange(1, 12) if chance(0.08) else 0)


def a_modification(current):
    name = one(list(current)) if current and chance(0.6) else described(one(list(KINDS) + ["objectClass", "nosuch", "structuralObjectClass", "entryUUID", "hasSubordinates"]))
    have, base = current.get(name, []), name.split(";")[0]
    make = lambda: raw(value(KINDS.get(base, "word"), 0.05)) if base != "objectClass" else raw(one(["top", "xEverything", "xDemanding", "person", "device", "nosuchclass", "organizationalPerson", "extensibleObject", "inetOrgPerson"]))
    some = lambda: [raw(respelled(one(have).decode()) if chance(0.5) and base != "objectClass" and all(text.isascii() for text in have) else one(have)) if have and chance(0.6) else make() for _ in range(one([1, 1, 2]))]
    kind = one([ldap.MOD_ADD] * 3 + [ldap.MOD_DELETE] * 3 + [ldap.MOD_REPLACE] * 3 + [ldap.MOD_INCREMENT])
    if kind == ldap.MOD_INCREMENT:
        return kind, one(["xInt", "xInt", "cn", "xNone"]), [one([b"1", b"-1", b"300", b"x", b"99999999999999999999"])]
    if kind == ldap.MOD_DELETE and chance(0.4) or kind == ldap.MOD_REPLACE and chance(0.2):
        return kind, name, None
    return kind, name, some()


def an_rdn():
    if chance(0.05):
        return one(["nonsense", "", "cn=", "cn=a,ou=b", "nosuch=1"])
    parts = [one(["cn", "uid", "sn", "ou", "l"]) + "=" + ldap.dn.escape_dn_chars(one(WORDS).strip() or "n")]
    if chance(0.15):
        parts.append("employeeNumber=" + str(rng.randrange(99)))
    return "+".join(parts)


def an_update():
    dn = one(names) if chance(0.92) else one(["cn=missing,", "cn=deep,cn=missing,"]) + one(names)
    current = directory.get(normal(dn), {})
    dn = respelled_dn(dn) if chance(0.3) else dn
    kind = rng.random()
    if kind < 0.2:
        made, attributes = an_entry(one(names) if chance(0.95) else "ou=missing," + BASE)
        attributes = list(attributes.items())
        if chance(0.25):
            name = one(list(KINDS))
            attributes.append((name, [raw(value(KINDS[name], 0.5))])) if name not in dict(attributes) else attributes.pop(rng.randrange(len(attributes)))
        if chance(0.1):
            made = dn
        return "add", made, attributes
    if kind < 0.55:
        return "modify", dn, [a_modification(current) for _ in range(one([1, 1, 1, 2, 3, 4]))]
    if kind < 0.63:
        return "delete", dn
    if kind < 0.83:
        rdn = an_rdn() if chance(0.8) else respelled_dn(dn.split(",")[0])
        superior = None if chance(0.5) else (respelled_dn(one(names)) if chance(0.9) else "ou=missing," + BASE)
        return "rename", dn, rdn, superior, int(chance(0.5))
    name = one(list(current)) if current and chance(0.7) else attribute_asked()
    have = current.get(name)
    text = one(have) if have and chance(0.7) else raw(assertion(canonical(name), 0.2))
    if have and text.isascii() and chance(0.4) and KINDS.get(canonical(name)) != "octets":
        text = raw(respelled(text.decode()))
    return "compare", dn, name, text


# --- the run ----------------------------------------------------------------------------------------------------------------

names, directory, values_of = [], {}, {}
differences, excused, connections, said = [], {}, [None], {}
counted = {"searches compared": 0, "with entries": 0, "updates compared": 0, "done": 0}


def judge(request, nhsdir, slapd):
    """Notes a difference, unless the list of allowed ones has it. Whether there was any."""
    if nhsdir == slapd:
        return False
    why = allowed(request, nhsdir, slapd)
    if why:
        excused[why] = excused.get(why, 0) + 1
        return True
    differences.append(request)
    if len(differences) <= SHOW:
        print("\n--- difference %d\n%s" % (len(differences), shown(request)))
        print(contrast(nhsdir, slapd), flush=True)
    return True


def contrast(nhsdir, slapd):
    lines = []
    if nhsdir[:2] != slapd[:2]:
        lines.append("  nhsdir %r %s\n  slapd  %r %s" % (nhsdir[:2], said.get(True, ""), slapd[:2], said.get(False, "")))
    if len(nhsdir) > 2:
        ours, theirs = nhsdir[2], slapd[2]
        lines += ["  only nhsdir: " + dn + "  " + str(directory.get(dn))[:1500] for dn in sorted(set(ours) - set(theirs))[:2]]
        lines += ["  only slapd:  " + dn + "  " + str(directory.get(dn))[:1500] for dn in sorted(set(theirs) - set(ours))[:2]]
        shown_entries = 0
        for dn in sorted(set(ours) & set(theirs)):
            for name in sorted(set(ours[dn]) | set(theirs[dn])):
                if ours[dn].get(name) != theirs[dn].get(name) and shown_entries < 4:
                    shown_entries += 1
                    lines.append("  %s: %s\n    nhsdir %r\n    slapd  %r" % (dn, name, ours[dn].get(name), theirs[dn].get(name)))
        lines.append("  entries: nhsdir %d, slapd %d" % (len(ours), len(theirs)))
    return "\n".join(lines)


def refresh(connection):
    names.clear(), directory.clear(), values_of.clear()
    for dn, attributes in connection.search_s(BASE, ldap.SCOPE_SUBTREE, "(objectClass=*)"):
        names.append(dn)
        directory[normal(dn)] = attributes
        for name, values in attributes.items():
            values_of.setdefault(name.split(";")[0], []).extend(values)
    names.sort()
    for values in values_of.values():
        values.sort()


def whole(connection):
    return asked(connection, (BASE, 2, "(objectClass=*)", ["*", "structuralObjectClass", "hasSubordinates", "entryDN"], 0, 0))


def level(nhsdir, slapd):
    """Makes both directories equal again after a difference: what differs is deleted, leaves first."""
    for _ in range(8):
        ours, theirs = whole(nhsdir.connection)[2], whole(slapd.connection)[2]
        wrong = [dn for dn in set(ours) | set(theirs) if ours.get(dn) != theirs.get(dn) and dn != BASE]
        if ours == theirs:
            return
        doomed = {dn for dn in set(ours) | set(theirs) for bad in wrong if dn == bad or dn.endswith("," + bad)}
        for dn in sorted(doomed, key=lambda dn: (-dn.count(","), dn)):
            for connection in (nhsdir.connection, slapd.connection):
                try:
                    connection.delete_s(dn)
                except ldap.LDAPError:
                    pass
    print("the two directories could not be made equal again")


def update_run(nhsdir, slapd):
    for number in range(UPDATES):
        if number % 20 == 0:
            refresh(nhsdir.connection)
        request = an_update()
        said.clear()
        ours, theirs = changed(nhsdir.connection, request), changed(slapd.connection, request)
        if ours[0] < 0 and theirs[0] < 0:
            continue
        counted["updates compared"] += 1
        counted["done"] += theirs[0] == 0
        parted = judge(request, ours, theirs)
        if ours[0] == theirs[0] == 0 or parted:
            ours, theirs = whole(nhsdir.connection), whole(slapd.connection)
            if ours != theirs:
                if not parted:
                    judge(request, ours, theirs)
                level(nhsdir, slapd)
                refresh(nhsdir.connection)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    print("SEED=%d SEARCHES=%d UPDATES=%d ENTRIES=%d" % (SEED, SEARCHES, UPDATES, ENTRIES), flush=True)
    work = tempfile.mkdtemp(prefix="differential.")
    os.chmod(work, 0o755)
    nhsdir, slapd = Nhsdir(work), Slapd(work)
    try:
        standing = nhsdir.run("export").replace("version: 1\n", "")
        standing = "\n\n".join(block for block in standing.strip().split("\n\n") if "ou=Applications" not in block) + "\n\n"
        names.extend(re.findall(r"^dn: (.*)$", standing, re.M))
        made = {}
        while len(made) < ENTRIES:
            dn, attributes = an_entry(one(names))
            if normal(dn) not in made and normal(dn) not in [normal(name) for name in names]:
                made[normal(dn)] = (dn, attributes)
                names.append(dn)
        text = ldif(made.values())
        for name, content in (("random", text), ("both", standing.lstrip() + text)):
            with open("%s/%s.ldif" % (work, name), "w") as out:
                out.write(content)
        nhsdir.load(work + "/random.ldif")
        slapd.load(work + "/both.ldif")
        nhsdir.start(), slapd.start()
        connections[0] = nhsdir.connection
        refresh(nhsdir.connection)
        judge((BASE, 2, "(objectClass=*)", ["*", "+"], 0, 0), whole(nhsdir.connection), whole(slapd.connection))
        for phase in range(2):
            for _ in range(SEARCHES // 2):
                request = a_search()
                ours, theirs = asked(nhsdir.connection, request), asked(slapd.connection, request)
                if not (ours[0] < 0 and theirs[0] < 0):
                    counted["searches compared"] += 1
                    counted["with entries"] += bool(theirs[2])
                    if ours[0] == theirs[0] == 4 and len(ours[2]) == len(theirs[2]):
                        continue
                    judge(request, ours, theirs)
            if phase == 0:
                update_run(nhsdir, slapd)
                refresh(nhsdir.connection)
    finally:
        for server in (nhsdir, slapd):
            if server.child:
                server.child.send_signal(signal.SIGTERM)
                server.child.wait()
        if os.environ.get("KEEP"):
            print("kept " + work)
        else:
            shutil.rmtree(work)
    for why, count in sorted(excused.items()):
        print("allowed %4d  %s" % (count, why))
    print(", ".join("%s %d" % pair for pair in counted.items()))
    print("%d differences" % len(differences))
    sys.exit(1 if differences else 0)


main()
