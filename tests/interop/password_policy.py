"""Password policies (draft-behera-ldap-password-policy): the same binds and changes, one after another, to nhsdir and to Debian's slapd with
its ppolicy overlay must get the same results and tell the same.

  password_policy.py [PATH-OF-nhsdir]   VERBOSE=1 prints every answer; CASES=n random policies beside the written ones, SEED=n

What may differ is said in DIFFERENT, with its reason. Ends with status 1 where anything else differs.
"""
import os, random, shutil, signal, subprocess, sys, tempfile, time
import ldap, ldap.dn
import started
from ldap.controls import RequestControl, ResponseControl
from ldap.controls.simple import RelaxRulesControl

HERE = os.path.dirname(os.path.abspath(__file__))
NHSDIR = os.path.realpath(sys.argv[1] if len(sys.argv) > 1 else HERE + "/../../target/release/nhsdir")
VERBOSE = os.environ.get("VERBOSE")
BASE, ROOT, HELPER = "dc=test", "cn=root,dc=test", "uid=helper,ou=People,dc=test"
POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"
USABILITY = "1.3.6.1.4.1.42.2.27.9.5.8"
ASKING = RequestControl(POLICY, False, None)
# "given-1".
GIVEN = b"{SSHA}WbqWa6P0YM3sdqmFSG9PgkssrrExMjM0NTY3OA=="


def ago(seconds):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() - seconds))


def replace(*values):
    return [(ldap.MOD_REPLACE, "userPassword", list(values))]


def exchange(old, new):
    return [(ldap.MOD_DELETE, "userPassword", [old]), (ldap.MOD_ADD, "userPassword", [new])]


def bind(*secrets):
    return [("bind", secret) for secret in secrets]


ONE, TWO, THREE, FOUR, FIVE = b"secret-1", b"secret-2", b"secret-3", b"secret-4", b"secret-5"
STATE = [("state",)]
USABLE = [("usable",)]
FOUND = [("found", text) for text in ("(pwdAccountLockedTime=*)", "(!(pwdAccountLockedTime=*))", "(pwdReset=TRUE)", "(pwdReset=FALSE)", "(pwdFailureTime=*)", "(pwdGraceUseTime=*)", "(pwdAccountTmpLockoutEnd=*)",
         "(pwdChangedTime>=%s)" % ago(86400), "(pwdChangedTime<=%s)" % ago(86400), "(pwdAccountLockedTime<=%s)" % ago(60), "(|(pwdReset=TRUE)(pwdAccountLockedTime=*))")]
YEAR = 365 * 86400
ADD, DELETE, REPLACE = ldap.MOD_ADD, ldap.MOD_DELETE, ldap.MOD_REPLACE
OLD, PAST, LATER = ago(YEAR + 60).encode(), ago(100).encode(), ago(50).encode()
HISTORY = PAST + b"#1.3.6.1.4.1.1466.115.121.1.40#%d#" % len(GIVEN) + GIVEN
# Failures where pwdMinDelay is set are not asked for: Debian's slapd 2.5.13 ends with an abort once it has written the delay.
# The rules of a policy, what the entry has beside its secret ONE, and what is asked.
CASES = {
    "nothing": ({}, {}, [*bind(ONE, b"wrong", ONE), ("modify", replace(TWO)), *bind(ONE, TWO), ("passwd", TWO, THREE), *bind(THREE), ("passwd", b"wrong", FOUR), ("modify", exchange(b"wrong", FOUR)), *STATE]),
    "young": ({"pwdMaxAge": YEAR, "pwdExpireWarning": 86400}, {"pwdChangedTime": ago(60)}, [*bind(ONE, b"wrong"), *STATE]),
    "warned": ({"pwdMaxAge": YEAR, "pwdExpireWarning": 86400}, {"pwdChangedTime": ago(YEAR - 45000)}, [*bind(ONE, ONE), ("passwd", ONE, TWO), *bind(TWO)]),
    "expired": ({"pwdMaxAge": YEAR}, {"pwdChangedTime": ago(YEAR + 60)}, [*bind(ONE, b"wrong", ONE), ("root", replace(TWO)), *bind(TWO)]),
    "grace": ({"pwdMaxAge": YEAR, "pwdGraceAuthNLimit": 3}, {"pwdChangedTime": ago(YEAR + 60)}, [*bind(b"wrong", ONE), *STATE, *bind(ONE, ONE), *STATE, *bind(ONE), *STATE]),
    "last-grace": ({"pwdMaxAge": YEAR, "pwdGraceAuthNLimit": 1}, {"pwdChangedTime": ago(YEAR + 60)}, [*bind(ONE), ("search",), ("passwd", ONE, TWO), *STATE, *bind(TWO, ONE)]),
    "grace-changed": ({"pwdMaxAge": YEAR, "pwdGraceAuthNLimit": 1, "pwdSafeModify": "TRUE"}, {"pwdChangedTime": ago(YEAR + 60)}, [*bind(ONE), ("modify", exchange(ONE, TWO)), *bind(TWO), *STATE]),
    "grace-over": ({"pwdMaxAge": YEAR, "pwdGraceAuthNLimit": 3, "pwdGraceExpiry": 30}, {"pwdChangedTime": ago(YEAR + 60)}, bind(ONE, ONE)),
    "grace-used": ({"pwdMaxAge": YEAR, "pwdGraceAuthNLimit": 2}, {"pwdChangedTime": ago(YEAR + 60), "pwdGraceUseTime": ago(30)}, [*STATE, *bind(ONE, ONE), *STATE]),
    "min-age": ({"pwdMinAge": 86400}, {"pwdChangedTime": ago(86400 - 600)}, [*bind(ONE), ("passwd", ONE, TWO), ("passwd", None, TWO), ("modify", replace(TWO)), ("modify", exchange(ONE, TWO)),
                ("helper", replace(TWO)), ("root", replace(TWO)), *bind(TWO), ("passwd", TWO, THREE), *bind(TWO)]),
    "old-enough": ({"pwdMinAge": 86400}, {"pwdChangedTime": ago(86400 + 60)}, [*bind(ONE), ("passwd", ONE, TWO), *bind(TWO), ("passwd", TWO, THREE)]),
    "history": ({"pwdInHistory": 2}, {}, [*bind(ONE), ("passwd", ONE, ONE), ("passwd", ONE, TWO), ("passwd", TWO, ONE), ("modify", replace(TWO)), ("modify", replace(THREE)), ("modify", replace(ONE)),
                ("modify", exchange(THREE, TWO)), ("modify", exchange(THREE, FOUR)), ("modify", replace(TWO)), ("modify", replace(ONE)), *bind(ONE), ("root", replace(FOUR)), *bind(FOUR)]),
    "history-kept": ({"pwdInHistory": 3}, {"pwdHistory": ago(90) + "#1.3.6.1.4.1.1466.115.121.1.40#%d#" % len(GIVEN) + GIVEN.decode()}, [*bind(ONE), ("passwd", ONE, b"given-1"), ("passwd", ONE, TWO)]),
    "safe": ({"pwdSafeModify": "TRUE"}, {}, [*bind(ONE), ("modify", replace(TWO)), ("passwd", None, TWO), ("modify", [(ldap.MOD_ADD, "userPassword", [TWO])]), ("modify", exchange(b"wrong", TWO)),
             ("passwd", b"wrong", TWO), ("helper", replace(TWO)), ("modify", exchange(ONE, TWO)), *bind(TWO), ("passwd", TWO, THREE), *bind(THREE), ("modify", [(ldap.MOD_DELETE, "userPassword", [THREE]), (ldap.MOD_REPLACE, "userPassword", [FOUR])]), *bind(FOUR), ("root", replace(FIVE)), *bind(FIVE)]),
    "not-allowed": ({"pwdAllowUserChange": "FALSE"}, {}, [*bind(ONE), ("modify", replace(TWO)), ("passwd", ONE, TWO), ("modify", [(ldap.MOD_DELETE, "userPassword", None)]), ("helper", replace(TWO)), *bind(TWO), ("root", replace(THREE)), *bind(THREE)]),
    "must-change": ({"pwdMustChange": "TRUE", "pwdMinAge": 86400}, {}, [*bind(ONE), ("root", replace(TWO)), *STATE, *bind(TWO), ("search",), ("modify", [(ldap.MOD_REPLACE, "sn", [b"x"])]), ("passwd", TWO, THREE), ("search",), *STATE, *bind(THREE), ("passwd", THREE, FOUR)]),
    "reset": ({"pwdMustChange": "TRUE"}, {"pwdReset": "TRUE"}, [*STATE, *bind(ONE), ("modify", exchange(ONE, TWO)), *STATE, *bind(TWO)]),
    "short": ({"pwdCheckQuality": 1, "pwdMinLength": 8, "pwdMaxLength": 12}, {}, [*bind(ONE), ("passwd", ONE, b"7-short"), ("modify", replace(b"7-short")), ("passwd", ONE, b"secret-13-xxx"), ("modify", exchange(ONE, b"secret-13-xxx")), ("helper", replace(b"7-short")),
              ("root", replace(b"7-short")), *bind(b"7-short"), ("add", b"7-short"), ("add", b"secret-13-xxx"), ("add", ONE)]),
    "hashed": ({"pwdCheckQuality": 1, "pwdMinLength": 8}, {}, [*bind(ONE), ("modify", replace(GIVEN)), *bind(b"given-1")]),
    "quality": ({"pwdCheckQuality": 2, "pwdMinLength": 8}, {}, [*bind(ONE), ("modify", replace(GIVEN)), ("modify", replace(b"short")), ("modify", replace(TWO)), *bind(TWO), ("root", replace(GIVEN)), *bind(b"given-1"), ("add", GIVEN), ("add", ONE, TWO), ("add", ONE)]),
    "unchecked": ({"pwdCheckQuality": 0, "pwdMinLength": 8}, {}, [*bind(ONE), ("modify", replace(b"short")), *bind(b"short")]),
    "one-value": ({"pwdInHistory": 1}, {}, [*bind(ONE), ("modify", replace(TWO, THREE)), ("root", replace(TWO, THREE)), *bind(ONE)]),
    "lockout": ({"pwdLockout": "TRUE", "pwdMaxFailure": 3}, {}, [*bind(b"w1", b"w2", ONE), *STATE, *bind(b"w1", b"w2"), *STATE, *bind(b"w3"), *STATE, *bind(b"w4", ONE), *STATE,
                ("root", [(ldap.MOD_DELETE, "pwdAccountLockedTime", None)]), *STATE, *bind(ONE), *bind(b"same", b"same", b"same", ONE), ("root", replace(TWO)), *STATE, *bind(TWO)]),
    "locked-once": ({"pwdLockout": "TRUE", "pwdMaxFailure": 3, "pwdLockoutDuration": 60}, {"pwdAccountLockedTime": ago(90)}, [*STATE, *bind(ONE), *STATE, *bind(b"w1", b"w2", ONE)]),
    "locked-still": ({"pwdLockout": "TRUE", "pwdMaxFailure": 3, "pwdLockoutDuration": 600}, {"pwdAccountLockedTime": ago(90)}, [*bind(ONE, b"wrong"), *STATE]),
    "locked-for-ever": ({"pwdLockout": "TRUE", "pwdLockoutDuration": 600}, {"pwdAccountLockedTime": "000001010000Z"}, [*bind(ONE, b"wrong"), ("root", [(ldap.MOD_DELETE, "pwdAccountLockedTime", None)]), *bind(ONE)]),
    "locked-later": ({"pwdLockout": "TRUE", "pwdLockoutDuration": 600}, {"pwdAccountLockedTime": ago(-90)}, [*STATE, *bind(ONE)]),
    "old-failures": ({"pwdLockout": "TRUE", "pwdMaxFailure": 2, "pwdFailureCountInterval": 60}, {"pwdFailureTime": ago(90)}, bind(b"w1", ONE, b"w1", b"w2", ONE)),
    "failures": ({"pwdLockout": "TRUE", "pwdMaxFailure": 2, "pwdFailureCountInterval": 600}, {"pwdFailureTime": ago(90)}, [*STATE, *bind(b"w1", ONE)]),
    "delayed": ({"pwdLockout": "TRUE", "pwdMinDelay": 60}, {"pwdAccountTmpLockoutEnd": ago(-600)}, [*bind(ONE, b"wrong", ONE), *STATE]),
    "delayed-once": ({"pwdLockout": "TRUE", "pwdMinDelay": 60, "pwdMaxFailure": 2}, {"pwdAccountTmpLockoutEnd": ago(60)}, [*bind(ONE, ONE), ("passwd", ONE, TWO), *bind(TWO)]),
    "delayed-without-lockout": ({"pwdMinDelay": 60}, {"pwdAccountTmpLockoutEnd": ago(-600)}, bind(ONE, ONE)),
    "module": ({"pwdCheckQuality": 1, "pwdMinLength": 8, "pwdCheckModule": "nowhere.so"}, {}, [*bind(ONE), ("modify", replace(TWO)), ("passwd", ONE, TWO), ("modify", replace(b"short")), ("helper", replace(TWO)), ("modify", replace(GIVEN)), *bind(b"given-1"), ("root", replace(TWO)), *bind(TWO), ("add", TWO)]),
    "module-unused": ({"pwdCheckQuality": 0, "pwdCheckModule": "nowhere.so"}, {}, [*bind(ONE), ("modify", replace(TWO)), *bind(TWO), ("add", TWO)]),
    "usable": ({}, {}, [*USABLE, *bind(b"wrong"), *USABLE]),
    "usable-aging": ({"pwdMaxAge": YEAR}, {"pwdChangedTime": ago(YEAR - 45000)}, USABLE),
    "usable-expired": ({"pwdMaxAge": YEAR}, {"pwdChangedTime": ago(YEAR + 60)}, USABLE),
    "usable-grace": ({"pwdMaxAge": YEAR, "pwdGraceAuthNLimit": 3}, {"pwdChangedTime": ago(YEAR + 60), "pwdGraceUseTime": ago(30)}, USABLE),
    "usable-grace-over": ({"pwdMaxAge": YEAR, "pwdGraceExpiry": 30}, {"pwdChangedTime": ago(YEAR + 60)}, USABLE),
    "usable-locked": ({"pwdLockout": "TRUE", "pwdLockoutDuration": 600}, {"pwdAccountLockedTime": ago(90)}, [*USABLE, ("root", [(ldap.MOD_DELETE, "pwdAccountLockedTime", None)]), *USABLE]),
    "usable-locked-out": ({"pwdLockout": "TRUE", "pwdMaxFailure": 2}, {}, [*bind(b"w1"), *USABLE, *bind(b"w2"), *USABLE, ("root", replace(TWO)), *USABLE]),
    "usable-locked-for-ever": ({"pwdLockout": "TRUE", "pwdLockoutDuration": 600}, {"pwdAccountLockedTime": "000001010000Z"}, USABLE),
    "usable-delayed": ({"pwdLockout": "TRUE"}, {"pwdAccountTmpLockoutEnd": ago(-600)}, USABLE),
    "usable-reset": ({"pwdMustChange": "TRUE"}, {"pwdReset": "TRUE"}, USABLE),
    "usable-idle": ({"pwdLockout": "TRUE", "pwdMaxIdle": 86400}, {"pwdLastSuccess": ago(86400 + 60), "pwdChangedTime": ago(YEAR)}, USABLE),
    "usable-lately": ({"pwdLockout": "TRUE", "pwdMaxIdle": 86400, "pwdMaxAge": 2 * YEAR}, {"pwdLastSuccess": ago(60), "pwdChangedTime": ago(YEAR)}, USABLE),
    "usable-no-more": ({}, {"pwdEndTime": ago(60)}, USABLE),
    "found": ({"pwdLockout": "TRUE", "pwdMaxFailure": 2, "pwdMaxAge": YEAR, "pwdMustChange": "TRUE"}, {"pwdChangedTime": ago(600)}, [*FOUND, *bind(ONE, b"w1"), *FOUND, *bind(b"w2"), *FOUND, ("root", replace(TWO)), *FOUND,
              ("compare", "pwdReset", b"TRUE"), ("compare", "pwdReset", b"FALSE"), ("compare", "pwdAccountLockedTime", PAST)]),
    "found-kept": ({"pwdLockout": "TRUE"}, {"pwdChangedTime": ago(YEAR), "pwdAccountLockedTime": ago(100), "pwdGraceUseTime": ago(50), "pwdAccountTmpLockoutEnd": ago(-600)}, [*FOUND, ("compare", "pwdAccountLockedTime", PAST), ("compare", "pwdAccountLockedTime", LATER)]),
    "found-for-ever": ({"pwdLockout": "TRUE"}, {"pwdChangedTime": ago(600), "pwdAccountLockedTime": "000001010000Z"}, [*FOUND, ("found", "(pwdAccountLockedTime=000001010000Z)"), ("compare", "pwdAccountLockedTime", b"000001010000Z")]),
    "relaxed-age": ({"pwdMaxAge": YEAR, "pwdGraceAuthNLimit": 2}, {}, [("root", [(REPLACE, "pwdChangedTime", [OLD])]), ("relax", [(REPLACE, "pwdChangedTime", [OLD])]), ("kept", "pwdChangedTime"), *bind(ONE, ONE, ONE), *STATE,
                     ("relax", [(DELETE, "pwdGraceUseTime", None)]), *bind(ONE), *STATE, ("relax", [(ADD, "pwdGraceUseTime", [PAST, LATER])]), *STATE, *bind(ONE), ("relax", [(REPLACE, "pwdGraceUseTime", [PAST])]), ("kept", "pwdGraceUseTime"),
                     ("relax", [(ADD, "pwdGraceUseTime", [PAST])]), ("relax", [(DELETE, "pwdGraceUseTime", [LATER])]), ("relax", [(DELETE, "pwdGraceUseTime", [PAST])]), ("relax", [(DELETE, "pwdGraceUseTime", [PAST])]), *STATE,
                     ("relax", [(DELETE, "pwdChangedTime", [OLD])]), ("kept", "pwdChangedTime"), *bind(ONE), ("relax", [(DELETE, "pwdChangedTime", None)]), ("relax", [(REPLACE, "pwdChangedTime", [PAST, LATER])]),
                     ("relax", [(REPLACE, "pwdChangedTime", [b"yesterday"])]), ("relax", [(ADD, "pwdChangedTime", [PAST])]), ("relax", [(ADD, "pwdChangedTime", [LATER])]), ("relax", [(REPLACE, "pwdChangedTime", [])]), ("relax", [(REPLACE, "pwdLastSuccess", [PAST])])]),
    "relaxed-failures": ({"pwdLockout": "TRUE", "pwdMaxFailure": 3, "pwdFailureCountInterval": 0}, {}, [("root", [(REPLACE, "pwdFailureTime", [PAST])]), ("relax", [(ADD, "pwdFailureTime", [PAST, LATER])]), *STATE, ("kept", "pwdFailureTime"), *bind(b"w1", ONE), *STATE,
                          ("relax", [(DELETE, "pwdFailureTime", None)]), *bind(ONE), ("relax", [(DELETE, "pwdAccountLockedTime", None)]), *bind(ONE), *STATE, ("relax", [(ADD, "pwdFailureTime", [PAST, LATER])]), ("relax", [(DELETE, "pwdFailureTime", [PAST])]), *bind(b"w1", ONE),
                          ("relax", [(ADD, "pwdAccountTmpLockoutEnd", [ago(-600).encode()])]), *bind(ONE), ("relax", [(REPLACE, "pwdAccountTmpLockoutEnd", [])]), *bind(ONE), ("relax", [(DELETE, "pwdAccountTmpLockoutEnd", None)])]),
    "relaxed-history": ({"pwdInHistory": 2}, {}, [("root", [(REPLACE, "pwdHistory", [HISTORY])]), ("relax", [(REPLACE, "pwdHistory", [HISTORY])]), *bind(ONE), ("passwd", ONE, b"given-1"), ("relax", [(DELETE, "pwdHistory", None)]), ("passwd", ONE, b"given-1"), *bind(b"given-1"),
                         ("passwd", b"given-1", ONE), ("relax", [(REPLACE, "pwdHistory", [])]), ("passwd", b"given-1", ONE), *bind(ONE), ("relax", [(REPLACE, "userPassword", [TWO]), (REPLACE, "pwdChangedTime", [PAST]), (REPLACE, "pwdHistory", [HISTORY])]), ("kept", "pwdChangedTime"),
                         *bind(TWO), ("passwd", TWO, ONE), ("passwd", ONE, b"given-1")]),
    "no-lockout": ({"pwdMaxFailure": 2}, {}, bind(b"w1", b"w2", b"w3", b"w4", ONE)),
    "not-yet": ({"pwdLockout": "FALSE"}, {"pwdStartTime": ago(-600)}, bind(ONE, b"wrong")),
    "no-more": ({}, {"pwdEndTime": ago(60)}, bind(ONE, b"wrong")),
    "in-time": ({}, {"pwdStartTime": ago(60), "pwdEndTime": ago(-600)}, bind(ONE, b"wrong")),
    "idle": ({"pwdLockout": "TRUE", "pwdMaxIdle": 86400}, {"pwdLastSuccess": ago(86400 + 60), "pwdChangedTime": ago(YEAR)}, bind(ONE, b"wrong")),
    "not-idle": ({"pwdLockout": "TRUE", "pwdMaxIdle": 86400}, {"pwdLastSuccess": ago(60), "pwdChangedTime": ago(YEAR)}, bind(ONE, ONE)),
    "everything": ({"pwdMaxAge": YEAR, "pwdExpireWarning": 86400, "pwdGraceAuthNLimit": 2, "pwdMinAge": 0, "pwdInHistory": 3, "pwdCheckQuality": 2, "pwdMinLength": 6, "pwdLockout": "TRUE",
                    "pwdMaxFailure": 3, "pwdSafeModify": "TRUE", "pwdMustChange": "TRUE"}, {"pwdChangedTime": ago(YEAR + 60)},
                   [*bind(b"w1", ONE), ("passwd", ONE, b"x"), ("passwd", ONE, ONE), ("passwd", ONE, TWO), *STATE, *bind(TWO, b"w1", b"w2", b"w3", TWO), ("root", replace(THREE)), *STATE, *bind(THREE), ("search",), ("passwd", THREE, TWO), ("passwd", THREE, FOUR), ("search",), *bind(FOUR), *STATE]),
}


SEED = int(os.environ.get("SEED") or random.randrange(1 << 32))
RANDOM = random.Random(SEED)


def random_case():
    """Rules and a state. What slapd and we take otherwise, as DIFFERENT and docs/from-slapd.md have it, is left out."""
    def some(**choices):
        picked = {name: RANDOM.choice(values) for name, values in choices.items()}
        return {name: value for name, value in picked.items() if value is not None}
    rules = some(pwdMaxAge=[None, YEAR, YEAR], pwdExpireWarning=[None, 86400, 2 * YEAR], pwdGraceAuthNLimit=[None, 1, 2, 3], pwdGraceExpiry=[None, None, 30, 2 * YEAR],
                 pwdMinAge=[None, None, 86400], pwdInHistory=[None, 1, 2, 3], pwdCheckQuality=[None, 0, 1, 2], pwdMinLength=[None, 8, 9], pwdLockout=[None, "FALSE", "TRUE", "TRUE"],
                 pwdMaxFailure=[None, 1, 2, 3], pwdMaxRecordedFailure=[None, None, 5], pwdLockoutDuration=[None, 600], pwdFailureCountInterval=[None, 600], pwdMustChange=[None, "TRUE"],
                 pwdAllowUserChange=[None, None, None, "TRUE", "FALSE"], pwdSafeModify=[None, None, "TRUE"])
    own = some(pwdChangedTime=[ago(60), ago(86400 + 60), ago(YEAR - 45000), ago(YEAR + 60)], pwdFailureTime=[None, None, ago(90), ago(900)], pwdGraceUseTime=[None, None, ago(90)])
    if rules.get("pwdMustChange"):
        own.update(some(pwdReset=[None, None, "TRUE"]))
    if rules.get("pwdLockout") == "TRUE":
        own.update(some(pwdAccountLockedTime=[None, None, None, ago(90), ago(900)]))
    if "pwdAccountLockedTime" in own:
        # With the failure that locks again slapd deletes a lock that has ended after it has set the new one.
        own.pop("pwdFailureTime", None)
        rules["pwdMaxFailure"] = 3
    return rules, own, None


RANDOM_CASES = {"random-%d" % number: random_case() for number in range(int(os.environ.get("CASES") or 60))}
CASES.update(RANDOM_CASES)
SECRETS = [ONE, TWO, THREE, FOUR, FIVE, b"short", b"long-enough"]


def random_question(rules, current, is_bound):
    """A question, and the secret that is in force where it is done. Secrets of before are not brought: slapd counts them as failures."""
    new = RANDOM.choice(SECRETS)
    asked = ["bind", "bind", "bind", "wrong", "state", "root"]
    if not rules.get("pwdMustChange"):
        asked.append("helper")
    if is_bound:
        asked += ["passwd", "passwd", "exchange", "exchange", "replace", "search", "bad-passwd", "bad-exchange", "hash"]
    kind = RANDOM.choice(asked)
    return {
        "bind": (("bind", current), current),
        "wrong": (("bind", b"wrong-%d" % RANDOM.randrange(9)), current),
        "state": (("state",), current),
        "search": (("search",), current),
        "root": (("root", replace(new)), new),
        "helper": (("helper", replace(new)), new),
        "passwd": (("passwd", RANDOM.choice([current, current, None]), new), new),
        "exchange": (("modify", exchange(current, new)), new),
        "replace": (("modify", replace(new)), new),
        "bad-passwd": (("passwd", b"wrong", new), current),
        "bad-exchange": (("modify", exchange(b"wrong", new)), current),
        "hash": (("modify", exchange(current, GIVEN)), b"given-1"),
    }[kind]


def dn_of(name):
    return "uid=%s,ou=People,%s" % (name, BASE)


def policy_of(name):
    return "cn=%s,ou=Policies,%s" % (name, BASE)


def ldif():
    """All that both are loaded with."""
    lines = ["dn: " + BASE, "objectClass: domain", "dc: test", ""]
    for unit in ("People", "Policies"):
        lines += ["dn: ou=%s,%s" % (unit, BASE), "objectClass: organizationalUnit", "ou: " + unit, ""]
    lines += ["dn: cn=none,ou=Policies," + BASE, "objectClass: device", "objectClass: pwdPolicy", "cn: none", "pwdAttribute: userPassword", ""]
    for name, (rules, own, _) in {"helper": ({}, {}, []), **CASES}.items():
        policy = policy_of(name)
        lines += ["dn: " + policy, "objectClass: device", "objectClass: pwdPolicy", "cn: " + name, "pwdAttribute: userPassword"]
        lines[-3:-2] += ["objectClass: pwdPolicyChecker"] * ("pwdCheckModule" in rules)
        lines += ["%s: %s" % rule for rule in rules.items()] + [""]
        lines += ["dn: " + dn_of(name), "objectClass: inetOrgPerson", "uid: " + name, "cn: " + name, "sn: x", "userPassword: " + ONE.decode(), "pwdPolicySubentry: " + policy]
        lines += ["%s: %s" % state for state in own.items()] + [""]
    return "\n".join(lines)


SLAPD_DATABASE = """index objectClass eq
lastbind on
access to attrs=userPassword by self write by dn.exact="%s" write by anonymous auth by * none
access to * by self write by dn.exact="%s" write by * read
overlay ppolicy
ppolicy_default cn=none,ou=Policies,%s
ppolicy_hash_cleartext
ppolicy_use_lockout
""" % (HELPER, HELPER, BASE)


class Slapd(started.Slapd):
    def __init__(self, work, path):
        super().__init__(work, BASE, ROOT, path, "moduleload ppolicy\n", SLAPD_DATABASE)
        self.root = self.connection
        self.url = self.root.get_option(ldap.OPT_URI)

    def connect(self):
        return ldap.initialize(self.url)


class Nhsdir(started.Nhsdir):
    def __init__(self, work, path):
        os.makedirs(work)
        super().__init__(NHSDIR, work)
        with open(work + "/policy.toml", "w") as out:
            out.write('[profile.people]\nbases = ["{suffix}"]\nsearchable = ["*", "+"]\nreleased = ["*", "+"]\n[profile.helper]\nlike = "people"\nmay_write = true\nmay_set_secrets = true\n')
        with open(self.config, "w") as out:
            out.write('[general]\nenabled = true\nmanager = "%s"\nprofile = "people"\nold_secret_needed = false\nrules = [{ entry = "%s", profile = "helper" }]\n' % (ROOT, HELPER))
            out.write("[accounts]\nsecret_rules = false\nfailures_per_source = 0\nargon2_memory_kib = 64\nargon2_iterations = 1\n")
            out.write('[policy]\nfile = "policy.toml"\n[password_policy]\nenabled = true\ndefault = "cn=none,ou=Policies,%s"\n' % BASE)
        self.run("init", "--no-entries", "--suffix", BASE)
        self.run("import", path)
        subprocess.run([NHSDIR, "account", "rotate", ROOT, "--secret-stdin", "--data", self.work, "--config", self.config], input="secret\n", text=True, capture_output=True, check=True)
        self.start()
        self.root = self.connect()
        self.root.simple_bind_s(ROOT, "secret")


class Told(ResponseControl):
    """Keeps the value as it came."""
    controlType = POLICY

    def decodeControlValue(self, encodedControlValue):
        self.value = encodedControlValue


def told(controls):
    """What a response control says: an expiry in hundreds of seconds, grace authentications, and an error."""
    values = [bytes(value or b"") for oid, _, value in controls if oid == POLICY]
    if not values:
        return ""
    rest, says = values[0][2:], [] if values[0][2:] else ["nothing"]
    if rest[:1] == b"\xa0":
        kind, number = rest[2], int.from_bytes(rest[4:4 + rest[3]], "big")
        says.append("ends in %d00" % ((number + 50) // 100) if kind == 0x80 else "grace %d" % number)
        rest = rest[2 + rest[1]:]
    if rest[:1] == b"\x81":
        says.append("error %d" % rest[2])
    return " ".join(says)


def answered(call):
    """The result code and what was told."""
    try:
        controls = call()[3]
        return ("0 " + told([(POLICY, False, control.value) for control in controls])).strip()
    except ldap.LDAPError as error:
        about = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        return ("%s %s" % (about.get("result", repr(error)), told(about.get("ctrls", [])))).strip()


class Usability(Told):
    controlType = USABILITY


def usable(connection, dn):
    """What the account usability control says: when the account ends, in hundreds of seconds, or why it cannot be used."""
    number = connection.search_ext(dn, ldap.SCOPE_BASE, "(objectClass=*)", ["1.1"], serverctrls=[RequestControl(USABILITY, True, None)])
    entries = connection.result4(number, add_ctrls=1, resp_ctrl_classes={USABILITY: Usability})[1]
    values = [control.value for control in entries[0][2]]
    if not values:
        return "nothing"
    parts, rest = [], values[0]
    if rest[0] == 0x80:
        seconds = int.from_bytes(rest[2:], "big", signed=True)
        return "available" if seconds < 0 else "available %d00" % ((seconds + 50) // 100)
    rest = rest[2:]
    while rest:
        value = int.from_bytes(rest[2:2 + rest[1]], "big", signed=True)
        name = ("inactive", "reset", "expired", "grace", "unlock")[rest[0] - 0x80]
        if rest[0] < 0x83 and value:
            parts.append(name)
        elif rest[0] >= 0x83 and value >= 0:
            parts.append("%s=%d" % (name, value if name == "grace" else (value + 50) // 100))
        rest = rest[2 + rest[1]:]
    return " ".join(["unavailable", *parts])


class Case:
    """One entry, and what is asked of it on one server."""
    def __init__(self, server, name):
        self.server, self.dn, self.rules = server, dn_of(name), CASES[name][0]
        self.policy = policy_of(name)
        self.session, self.added = None, 0

    def ask(self, kind, *rest):
        if kind == "bind":
            connection = self.server.connect()
            answer = answered(lambda: self.result(connection, connection.simple_bind(self.dn, rest[0].decode(), serverctrls=[ASKING])))
            if answer.startswith("0"):
                self.session = connection
            return answer
        if kind == "passwd":
            old, new = (secret and secret.decode() for secret in rest)
            return answered(lambda: self.result(self.session, self.session.passwd(self.dn, old, new, serverctrls=[ASKING])))
        if kind == "search":
            return answered(lambda: self.result(self.session, self.session.search_ext(self.dn, ldap.SCOPE_BASE, serverctrls=[ASKING])))
        if kind == "add":
            self.added += 1
            name = "added-%d" % self.added
            entry = [("objectClass", [b"inetOrgPerson"]), ("cn", [b"x"]), ("sn", [b"x"]), ("pwdPolicySubentry", [self.policy.encode()]), ("userPassword", list(rest))]
            connection = self.helper()
            return answered(lambda: self.result(connection, connection.add_ext("uid=%s,%s" % (name, self.dn), entry, serverctrls=[ASKING])))
        if kind == "state":
            return self.state()
        if kind == "found":
            return "found %d" % len(self.server.root.search_s(BASE, ldap.SCOPE_SUBTREE, "(&(entryDN=%s)%s)" % (self.dn, rest[0]), ["1.1"]))
        if kind == "compare":
            try:
                return "compare %s" % self.server.root.compare_s(self.dn, *rest)
            except ldap.LDAPError as error:
                return "compare %s" % error.args[0].get("result")
        if kind == "usable":
            return usable(self.server.root, self.dn)
        if kind == "kept":
            return self.kept(rest[0])
        controls = [ASKING, RelaxRulesControl()] if kind == "relax" else [ASKING]
        connection = {"modify": self.session, "root": self.server.root, "relax": self.server.root}.get(kind)
        if kind == "helper":
            connection = self.helper()
        return answered(lambda: self.result(connection, connection.modify_ext(self.dn, rest[0], serverctrls=controls)))

    def helper(self):
        connection = self.server.connect()
        connection.simple_bind_s(HELPER, ONE.decode())
        return connection

    @staticmethod
    def result(connection, number):
        return connection.result3(number, timeout=30, resp_ctrl_classes={POLICY: Told})

    def kept(self, name):
        """Its values, without fractions of nothing."""
        _, entry = self.server.root.search_s(self.dn, ldap.SCOPE_BASE, "(objectClass=*)", [name])[0]
        return " ".join(sorted(value.decode().replace(".000000", "") for value in entry.get(name, [])))

    def state(self):
        """How many values there are of what is kept: times differ."""
        names = ["pwdGraceUseTime", "pwdFailureTime", "pwdReset"]
        # slapd locks by failures without pwdLockout too, and lets whoever is locked in.
        names += ["pwdAccountLockedTime"] * (self.rules.get("pwdLockout") == "TRUE")
        _, entry = self.server.root.search_s(self.dn, ldap.SCOPE_BASE, "(objectClass=*)", names)[0]
        return " ".join("%s=%d" % (name, len(entry[name])) for name in names if name in entry)


def without(state, name):
    state = state.split() if isinstance(state, str) else state
    return [part for part in state if not part.startswith(name)]


# Each says of (case, question, slapd's answer, nhsdir's) whether this is the reason why they differ.
DIFFERENT = {
    "slapd takes the control with binds and changes alone; here every operation tells that the secret has to be changed": lambda c, q, s, n: q[0] == "search" and (s, n) == ("50", "50 error 2"),
    "a secret that has to be changed is not replaced by a hash, which may be its own": lambda c, q, s, n: q[0] == "modify" and GIVEN in (q[1][-1][2] or []) and (s, n) == ("0", "19 error 5") and "pwdMustChange" in CASES[c][0],
    "a secret that has to be changed is not changed to itself": lambda c, q, s, n: q[0] in ("modify", "passwd") and (s, n) == ("0", "19 error 8") and "pwdMustChange" in CASES[c][0],
    "slapd sends a control that says nothing with the refusal of a second value": lambda c, q, s, n: q[0] in ("modify", "root") and len(q[1][-1][2] or []) > 1 and (s, n) == ("19 nothing", "19"),
    "slapd keeps failures that are too old to count; section 7.6 purges them": lambda c, q, s, n: q[0] == "state" and "pwdFailureTime" in CASES[c][1] and "pwdFailureCountInterval" in CASES[c][0]
        and without(s, "pwdFailureTime") == without(n, "pwdFailureTime"),
    "slapd does not take the same hash twice into pwdHistory within a second": lambda c, q, s, n: q[0] in ("modify", "root", "helper", "passwd") and s == "20",
    "a lock that lies ahead holds at once": lambda c, q, s, n: (c, q[0], s, n) == ("locked-later", "bind", "0 nothing", "49 nothing"),
    "slapd says of a secret that has to be changed that it is good": lambda c, q, s, n: q[0] == "usable" and (s, n) == ("available", "unavailable reset"),
    "slapd says that an account cannot be used, but that it has expired never, and that it is locked only where that ends by itself": lambda c, q, s, n: q[0] == "usable" and s.startswith("unavailable")
        and n.startswith("unavailable ") and without(without(n, "expired"), "inactive") == without(without(s, "expired"), "inactive"),
    "slapd tells whoever asks that an account is locked; here only who brings the secret is told, and nobody where failures lock": lambda c, q, s, n: q[0] == "bind" and (s, n) == ("49 error 1", "49 nothing"),
}


def main():
    work = tempfile.mkdtemp(prefix="password-policy-")
    path = work + "/start.ldif"
    with open(path, "w") as out:
        out.write(ldif())
    servers, differences, asked = [], 0, 0
    try:
        servers.append(Slapd(work + "/slapd", path))
        if NHSDIR != "/":
            servers.append(Nhsdir(work + "/nhsdir", path))
        def ask(cases, name, question):
            nonlocal asked, differences
            answers = [case.ask(*question) for case in cases]
            asked += 1
            shown = "%s: %s" % (name, question)
            if VERBOSE:
                print(shown + "\n   " + "\n   ".join(answers))
            same = len(set(answers)) == 1
            if not same and not any(reason(name, question, *answers) for reason in DIFFERENT.values()):
                differences += 1
                print("DIFFERENT %s\n   slapd  %s\n   nhsdir %s" % (shown, *answers))
            return same, answers[0].startswith("0")

        for name, (rules, own, questions) in CASES.items():
            cases = [Case(server, name) for server in servers]
            for question in questions or []:
                ask(cases, name, question)
            current = ONE
            for _ in range(0 if questions else 20):
                question, after = random_question(rules, current, cases[0].session)
                same, done = ask(cases, name, question)
                if not same and question[0] not in ("bind", "search"):
                    # What comes after it says nothing.
                    print("   of %s %s, SEED=%d" % (rules, own, SEED)) if VERBOSE else None
                    break
                current = after if done else current
                if done and question[0] in ("root", "helper"):
                    # Here, who is bound has to bind again.
                    for case in cases:
                        case.session = None
    finally:
        for server in servers:
            server.child.send_signal(signal.SIGTERM)
            server.child.wait()
        shutil.rmtree(work)
    print("%d questions, SEED=%d, %d differences that nothing explains" % (asked, SEED, differences))
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
