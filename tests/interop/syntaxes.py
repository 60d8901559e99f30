"""Every syntax and rule that nhsdir and Debian's slapd both have, asked the same of both: what is a value, what is equal, what comes first, what is
found within, what is given back, and what a name made of it is.

  syntaxes.py [PATH-OF-nhsdir] [REGEX-OF-TYPES]   VERBOSE=1 shows what is explained too

Values and types are in syntaxes_values.py. What may differ is in EXPLAINED, with its RFC section. Ends with status 1 where anything else differs.
"""
import collections, os, random, re, shutil, signal, sys, tempfile, types
import ldap, ldap.dn
import started
from syntaxes_values import ANYTHING, ARC, SYNTAXES

HERE = os.path.dirname(os.path.abspath(__file__))
NHSDIR = os.path.realpath(sys.argv[1] if len(sys.argv) > 1 else HERE + "/../../target/release/nhsdir")
WANTED = re.compile(sys.argv[2] if len(sys.argv) > 2 else "")
VERBOSE = bool(os.environ.get("VERBOSE"))
BASE, ROOT = "dc=test", "cn=root,dc=test"
rng = random.Random(1)


def raw(text):
    return text if isinstance(text, bytes) else text.encode()


# --- the two servers --------------------------------------------------------------------------------------------------------

class Slapd:
    def __init__(self, work, schema):
        os.makedirs(work + "/db")
        with open(work + "/slapd.conf", "w") as out:
            for name in ("core", "cosine", "inetorgperson"):
                out.write("include /etc/ldap/schema/%s.schema\n" % name)
            out.write("include %s\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile %s/pid\nsizelimit unlimited\n" % (schema, work))
            out.write("database mdb\nsuffix %s\nrootdn %s\nrootpw secret\ndirectory %s/db\ndbnosync\nindex objectClass eq\n" % (BASE, ROOT, work))
        self.child, self.connection = started.slapd(work + "/slapd.conf", ROOT)
        self.connection.add_s(BASE, [("objectClass", [b"domain"]), ("dc", [b"test"])])


class Nhsdir(started.Nhsdir):
    def __init__(self, work, schema):
        os.makedirs(work)
        super().__init__(NHSDIR, work)
        for name, text in (("/nhsdir.toml", '[schema]\nfiles = ["%s"]\n' % schema), ("/top.ldif", "dn: dc=test\nobjectClass: domain\ndc: test\n\n")):
            with open(work + name, "w") as out:
                out.write(text)
        self.run("init", "--no-entries", "--suffix", BASE)
        self.run("import", work + "/top.ldif")
        self.start()


# --- what may differ --------------------------------------------------------------------------------------------------------

# What RFC 4518 leaves as it is, but for letters in upper case.
PLAIN = re.compile(r"([A-Za-z]\u0301|[ -~\u00e9\u00c9\u00e5\u65e5\u672c])*")


def needs_preparing(value):
    try:
        return not PLAIN.fullmatch(value.decode())
    except UnicodeDecodeError:
        return True


def any_of(pattern):
    compiled = re.compile(pattern)
    return lambda it: any(compiled.search(value) for value in it.values)


def prepared(it):
    """The assertion needs preparing, or all values that the answers do not share do."""
    if it.syntax not in ("11", "12", "15", "26", "34", "36", "41", "44", "50"):
        return False
    if it.kind in ("named", "base") and it.syntax in ("12", "15", "26", "41"):
        codes = [answer if isinstance(answer, int) else answer[0] for answer in (it.slapd, it.nhsdir)]
        if codes in ([0, 68], [68, 0], [32, 0], [0, 32]):
            return True  # There is an entry whose name is equal once it is prepared, or the other way round.
    return needs_preparing(it.values[0]) or len(it.values) > 1 and all(map(needs_preparing, it.values[1:])) or it.syntax == "12" and any_of(rb"\\00|=ss,")(it)


def both(it, slapd, nhsdir):
    return it.slapd == slapd and it.nhsdir == nhsdir


# Each says of a difference whether this is its reason; the first that does counts.
EXPLAINED = {
    "RFC 4522 3: with ;binary and without, the attribute is the same; slapd refuses it without": lambda it: "requires ;binary" in it.said,
    "RFC 4518 2.2 to 2.4: characters mapped, folded or prohibited before values are compared; slapd compares most as they are": prepared,
    "RFC 4518 2.6.1: nothing, and spaces alone, compare as two spaces do, in names too; slapd finds such a name invalid": lambda it: it.syntax == "26" and it.slapd == 34 and not it.values[0].strip(),
    "RFC 4518 2.6.1: a piece of a substring keeps the space that is within the value; slapd drops it": lambda it: it.kind == "filter" and re.search(r"=[^)]*\*", it.question) and "\\20" in it.question,
    "RFC 4517 3.3.13: the fraction is one of the hour or minute that it stands behind; slapd takes it for one of a second":
        lambda it: it.syntax == "24" and any_of(rb"^(\d{10}|\d{12})[.,]\d")(it),
    "RFC 4514 2.4, RFC 2253 4: values in hexadecimal and OID. before a type are read; slapd refuses them": lambda it: it.slapd in (21, 34) and any_of(rb"(?i)(^|\D)oid\.\d|=#04")(it) or it.kind == "filter" and any_of(rb"(?i)oid\.\d|=#04|1\.2\.3\.4=")(it),
    "RFC 4514 2.4: any octets may be a value in a name, and none; slapd calls it invalid unless it is UTF-8": lambda it: it.syntax in ("4", "5", "28", "40") and it.slapd == 34,
    "RFC 4514 2.3: a name that is a value within a name is spelled as it came": lambda it: it.syntax == "12" and any_of(rb'^member="')(it),
    "RFC 4514 3: a type in a name has no options; slapd takes them": any_of(rb"^cn;lang-en"),
    "RFC 4514 3: a value in a name may be empty": lambda it: it.syntax in ("12", "34") and it.values[0] == b"" and it.slapd == 34,
    "RFC 4517 3.3.26: an OID may be a descriptor, and has two numbers at least; slapd has it otherwise": lambda it: it.syntax == "38",
    "RFC 4517 3.3.27: an Other Mailbox is a kind, `$` and an address; slapd takes any IA5 String": lambda it: it.syntax == "39" and it.nhsdir in (21, 34),
    "RFC 3672 2.1: a subtree specification; slapd takes any text": lambda it: it.syntax == "45" and it.nhsdir in (21, 34),
    "RFC 4517 3.3.28: a postal address has a line at least, and a backslash that begins no escape stands for itself; slapd has it otherwise":
        lambda it: it.syntax == "41" and (it.values[0] == b"" or any_of(rb"\\(?!24|5[Cc])")(it) or "\\5c*" in it.question),
    "RFC 4517 4.2.29: telephoneNumberMatch folds case": lambda it: it.syntax == "50" and any_of(rb"(?i)ext 5")(it),
    "RFC 4517 4.2: the assertion of a substring rule is a substring assertion; slapd finds one with `*` Undefined": lambda it: "SubstringsMatch:=" in it.question and any_of(rb"\*")(it),
    "RFC 4511 4.5.1.7.7: UUIDMatch and CSNMatch in an extensible match; slapd finds it Undefined": lambda it: it.syntax.endswith(("16.1", "11.2.1")) and ":=" in it.question,
    "RFC 4517 4.2: the assertion has the rule's syntax, which may have more values than the attribute's; slapd wants it of both":
        lambda it: it.syntax in ("11", "44", "50") and it.kind in ("filter", "compare", "base"),
    "RFC 3629 3: surrogates and numbers beyond 10FFFF are not UTF-8": any_of(rb"^(\xed\xa0|\xf4\x90)"),
    "RFC 4523 2: DER is whole; slapd looks at the first octets of pairs and algorithms, and lets the last ones go": lambda it: it.syntax in ("8", "9", "10", "49") and it.nhsdir == 21 and it.kind in ("add", "modify"),
    "RFC 4523 2.5 and 2.7: the assertion is one in words; nhsdir takes the whole DER too": lambda it: it.syntax in ("8", "9") and it.kind in ("filter", "compare") and any_of(rb"^\x30")(it) and it.values[0][:1] == b"\x30",
    "RFC 3641 3.5: hexadecimal digits, in lower case too": lambda it: it.syntax == "8" and b"'H" in it.values[0],
    "RFC 4523 2.7: the time is a choice, with its name; slapd wants it without": lambda it: it.syntax == "9" and it.kind in ("filter", "compare") and b"Time:" in it.values[0],
    "RFC 4523 2.5: an issuer is a name, whose relative names are sets; slapd wants them in an order": lambda it: it.syntax == "8" and it.kind in ("filter", "compare") and any_of(rb"\+")(it),
    "RFC 4525 3: increments beyond 64 bits hold up to 127; slapd turns to negative numbers or calls them invalid": lambda it: it.kind == "modify" and "increment" in it.question and any(len(value) > 18 for value in it.values),
    "RFC 4511 4.6: of two faults of an increment either may be said": lambda it: "increment" in it.question and both(it, 19, 21),
    "RFC 4511 4.1.9: a base with a value not of its syntax is no name, or one that nobody has": lambda it: it.kind == "base" and it.slapd == (34,) and it.nhsdir == (32,),
    "RFC 4514 2.4: the same, where the rule finds it equal to a value that is of the syntax": lambda it: it.kind == "base" and it.slapd == (34,),
    "slapd: names longer than its database's keys": lambda it: it.slapd == 80 and any(len(value) > 250 for value in it.values),
    "X.690 8: a name within a name may be equal though a value of it is not of its syntax": any_of(rb"^c=GBR,"),
}
found, explained, counts = [], collections.Counter(), collections.Counter()
said = {}


def judge(kind, type_, values, question, slapd, nhsdir):
    """Counts one comparison, and notes a difference that nothing explains."""
    counts[kind] += 1
    if slapd == nhsdir:
        return
    it = types.SimpleNamespace(kind=kind, syntax=type_[1], values=[raw(value) for value in values], question=question, slapd=slapd, nhsdir=nhsdir, said=said.get(servers[0], ""))
    why = next((why for why, holds in EXPLAINED.items() if holds(it)), None)
    if why:
        explained[why] += 1
    else:
        found.append(it)
    if not why or VERBOSE:
        shown = ", ".join(repr(value[:60]) for value in it.values[:4])
        print("%s %s %s of %s: %s\n    slapd %s %s\n    nhsdir %s %s" % (why or "DIFFERENT", kind, type_[2], shown, question[:200], str(slapd)[:200], it.said, str(nhsdir)[:200], said.get(servers[1], "")))


# --- asking -----------------------------------------------------------------------------------------------------------------

def code_of(error):
    return error.args[0].get("result", -1) if error.args and isinstance(error.args[0], dict) else -1


def do(operation, *rest):
    """The result codes of one operation."""
    codes = []
    said.clear()
    for server in servers:
        try:
            answer = getattr(server.connection, operation + "_s")(*rest)
            codes.append(0 if operation != "compare" else 6 if answer else 5)
        except ldap.LDAPError as error:
            codes.append(code_of(error))
            said[server] = error.args[0].get("info", "") if error.args and isinstance(error.args[0], dict) else ""
    return codes


def search(base, scope, text, attributes):
    """For each server its result code and entries."""
    numbers = [server.connection.search_ext(base, scope, text, attributes) for server in servers]
    answers = []
    said.clear()
    for server, number in zip(servers, numbers):
        try:
            answers.append((0, server.connection.result(number, timeout=120)[1]))
        except ldap.LDAPError as error:
            answers.append((code_of(error), []))
    return answers


def escaped(value):
    return "".join(chr(octet) if chr(octet).isalnum() and octet < 128 else "\\%02x" % octet for octet in value)


def named(type_, value):
    """The relative name of this value."""
    try:
        return "%s=%s" % (type_[0], ldap.dn.escape_dn_chars(value.decode()).replace("\x00", "\\00"))
    except UnicodeDecodeError:
        return "%s=%s" % (type_[0], "".join("\\%02x" % octet for octet in value))


def spelled(type_, values):
    """Values as they compare octet for octet; names are escaped, and their relative names ordered, in more than one way."""
    if type_[1] not in ("12", "34"):
        return sorted(values)
    return sorted(repr(rdns_of(value)) for value in values)


def rdns_of(dn):
    try:
        rdns = ldap.dn.str2dn(dn)
    except (ldap.LDAPError, UnicodeDecodeError):
        return [dn]
    return [sorted((name, rdns_of(value) if "=" in value else value) for name, value, _ in rdn) for rdn in rdns]


def again(agreed, operation, *rest):
    """Undoes on both what only one of them did."""
    if 0 in agreed:
        kept = dict(said)
        do(operation, *rest)
        said.clear(), said.update(kept)


# --- one attribute type -----------------------------------------------------------------------------------------------------

def ask(type_, values):
    name, unit = type_[0], "ou=%s,%s" % (type_[0], BASE)
    do("add", unit, [("objectClass", [b"organizationalUnit"]), ("ou", [name.encode()])])
    option = ";binary" if type_[1] in ("8", "9", "10", "49") or type_[1].endswith("10.2.1") else ""
    stored = {}
    for at, value in enumerate(values):
        dn = "cn=%d,%s" % (at, unit)
        codes = do("add", dn, [("objectClass", [b"device", b"xEverything"]), ("cn", [b"%d" % at]), (name + option, [value])])
        judge("add", type_, [value], "add", *codes)
        if codes == [0, 0]:
            stored[at] = value
        else:
            again(codes, "delete", dn)
    given = [{dn: spelled(type_, attributes.get(name + option, [])) for dn, attributes in entries} for _, entries in search(unit, ldap.SCOPE_ONELEVEL, "(objectClass=*)", [name])]
    for at, value in stored.items():
        dn = "cn=%d,%s" % (at, unit)
        judge("read", type_, [value], "read", given[0].get(dn), given[1].get(dn))
    equal = filters(type_, unit, values, option)
    changes(type_, unit, values, stored, equal, option)
    if not option:
        names(type_, values, stored, equal)


def one_filter(type_, unit, values, value, text):
    answers = [{entries[0].split(",")[0] for entries in found} if not code else code for code, found in search(unit, ldap.SCOPE_ONELEVEL, text, ["1.1"])]
    odd = answers[0] ^ answers[1] if all(isinstance(answer, set) for answer in answers) else []
    judge("filter", type_, [value] + [values[int(rdn[3:])] for rdn in sorted(odd)], text, *answers)
    return answers[0] if isinstance(answers[0], set) else set()


def filters(type_, unit, values, option):
    """Which values each value is equal to, as slapd has it."""
    equal = {}
    name, rules = type_[0] + option, [rule for rule in type_[3] if rule]
    for at, value in enumerate(values):
        text = escaped(value)
        forms = ["(%s=%s)", "(%s>=%s)", "(%s<=%s)", "(%s:=%s)", "(%s:dn:=%s)"] + ["(%%s:%s:=%%s)" % rule for rule in rules]
        for number, form in enumerate(forms):
            matched = one_filter(type_, unit, values, value, form % (name, text))
            one_filter(type_, unit, values, value, "(!%s)" % (form % (name, text)))
            if number == 0:
                equal[at] = {int(rdn[3:]) for rdn in matched}
        for rule in rules:
            one_filter(type_, unit, values, value, "(:%s:=%s)" % (rule, text))
        for pieces in substrings(value) if type_[3][2] or at == 0 else []:
            one_filter(type_, unit, values, value, "(%s=%s)" % (name, pieces))
            one_filter(type_, unit, values, value, "(!(%s=%s))" % (name, pieces))
    one_filter(type_, unit, values, b"", "(%s=*)" % name)
    return equal


def substrings(value):
    if not value:
        return []
    try:
        text = value.decode()
        head, tail = text[:len(text) // 2].encode(), text[len(text) // 2:].encode()
    except UnicodeDecodeError:
        head, tail = value[:len(value) // 2], value[len(value) // 2:]
    whole, head, tail = escaped(value), escaped(head), escaped(tail)
    found = ["%s*" % whole, "*%s" % whole, "*%s*" % whole, "*%s\\20*" % whole, "\\20%s*" % whole]
    return found + (["%s*%s" % (head, tail), "*%s*%s*" % (head, tail), "%s*" % head, "*%s" % tail] if head else [])


def changes(type_, unit, values, stored, equal, option):
    name, places = type_[0] + option, sorted(stored)
    for at, value in enumerate(values):
        some = set(sorted(equal.get(at, set()))[:2] + rng.sample(places, min(1, len(places))) + [at]) & set(stored)
        for place in sorted(some):
            dn, held = "cn=%d,%s" % (place, unit), stored[place]
            judge("compare", type_, [value, held], "compare", *do("compare", dn, name, value))
            steps = [("add", ldap.MOD_ADD, [value]), ("delete", ldap.MOD_DELETE, [value]), ("replace by both", ldap.MOD_REPLACE, [held, value]), ("replace", ldap.MOD_REPLACE, [value])]
            if type_[1] == "27" or at % 10 == 0:
                steps.append(("increment", ldap.MOD_INCREMENT, [value]))
            for word, kind, given in steps:
                codes = do("modify", dn, [(kind, name, given)])
                judge("modify", type_, [value, held], word, *codes)
                if codes == [0, 0]:
                    left = [spelled(type_, entries[0][1].get(name, [])) if entries else None for _, entries in search(dn, ldap.SCOPE_BASE, "(objectClass=*)", [type_[0]])]
                    judge("modify", type_, [value, held], "after " + word, *left)
                again(codes, "modify", dn, [(ldap.MOD_REPLACE, name, [held])])


def names(type_, values, stored, equal):
    """Entries that are called so: made, looked for, renamed."""
    unit, made = "ou=named %s,%s" % (type_[0], BASE), []
    do("add", unit, [("objectClass", [b"organizationalUnit"]), ("ou", [raw("named " + type_[0])])])
    for at, value in enumerate(values):
        dn = named(type_, value) + "," + unit
        codes = do("add", dn, [("objectClass", [b"device", b"xEverything"]), ("cn", [b"%d" % at]), (type_[0], [value])])
        judge("named", type_, [value] + [values[other] for other in sorted(equal.get(at, set()) - {at})], "add " + dn, *codes)
        if codes == [0, 0]:
            made.append(dn)
        elif 0 in codes:
            # Only the one that has it: the other may have an equal entry.
            servers[codes.index(0)].connection.delete_s(dn)
    for at, value in enumerate(values):
        for rdn in sorted({named(type_, value), "%s=%s" % (type_[0], "".join("\\%02X" % octet for octet in value))}):
            answers = [(code, *sorted(str(attributes["cn"]) for _, attributes in entries)) for code, entries in search(rdn + "," + unit, ldap.SCOPE_BASE, "(objectClass=*)", ["cn"])]
            judge("base", type_, [value], rdn, *answers)
    for dn in made:
        do("delete", dn)
    for at in sorted(stored) if type_[3][0] else []:
        for new in sorted(equal.get(at, set()) & set(stored))[:2] + rng.sample(sorted(stored), 1):
            rename(type_, unit, stored[at], stored[new])


def rename(type_, unit, old, new):
    """From `cn=r` to the one name and on to the other, with the old value kept or not."""
    for delete in (0, 1):
        start, middle, end = "cn=r," + unit, named(type_, old), named(type_, new)
        do("add", start, [("objectClass", [b"device", b"xEverything"]), ("cn", [b"r"]), (type_[0], [old])])
        codes = do("rename", start, middle, None, 0)
        judge("rename", type_, [old], "cn=r -> " + middle, *codes)
        if codes == [0, 0]:
            codes = do("rename", middle + "," + unit, end, None, delete)
            judge("rename", type_, [new, old], "%s -> %s deleteoldrdn %d" % (middle, end, delete), *codes)
        if codes[0] == codes[1]:
            left = [[spelled(type_, attributes.get(type_[0], [])) for _, attributes in entries] for _, entries in search(unit, ldap.SCOPE_ONELEVEL, "(objectClass=*)", [type_[0]])]
            judge("rename", type_, [new, old], "after %s -> %s deleteoldrdn %d" % (middle, end, delete), *left)
        for dn in (start, middle + "," + unit, end + "," + unit):
            do("delete", dn)


def attribute_types():
    """(name, syntax, what it is called in the output, its three rules), and the values to try."""
    found = []
    for syntax, values, several in SYNTAXES:
        unlike = list(dict.fromkeys(raw(value) for value in values + ANYTHING))
        for rules in several:
            rules = ["" if rule == "-" else rule for rule in (rules.split() + ["", "", ""])[:3]]
            found.append((("x%d" % len(found), syntax, " ".join([syntax, *filter(None, rules)]), rules), unlike))
    return found


def schema_of(found):
    lines = []
    for number, ((name, syntax, _, rules), _) in enumerate(found, 1):
        words = "".join(" %s %s" % pair for pair in zip(("EQUALITY", "ORDERING", "SUBSTR"), rules) if pair[1])
        lines.append("attributetype ( 1.3.6.1.4.1.32473.5.%d NAME '%s'%s SYNTAX %s )\n" % (number, name, words, syntax if "." in syntax else ARC + syntax))
    lines.append("objectclass ( 1.3.6.1.4.1.32473.6.1 NAME 'xEverything' SUP top AUXILIARY MAY ( %s ) )\n" % " $ ".join(type_[0] for type_, _ in found))
    return "".join(lines)


servers = []


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    work = tempfile.mkdtemp(prefix="syntaxes-", dir=os.environ.get("WORK"))
    os.chmod(work, 0o755)
    try:
        wanted = attribute_types()
        with open(work + "/syntaxes.schema", "w") as out:
            out.write(schema_of(wanted))
        servers.append(Slapd(work + "/slapd", work + "/syntaxes.schema"))
        servers.append(Nhsdir(work + "/nhsdir", work + "/syntaxes.schema"))
        for type_, values in wanted:
            if WANTED.search(type_[2]):
                ask(type_, values)
    finally:
        for server in servers:
            server.child.send_signal(signal.SIGTERM)
            server.child.wait()
        shutil.rmtree(work)
    for why, count in explained.items():
        print("explained %5d  %s" % (count, why))
    print(", ".join("%s %d" % pair for pair in counts.items()) + " compared")
    print("%d differences" % len(found))
    sys.exit(1 if found else 0)


main()
