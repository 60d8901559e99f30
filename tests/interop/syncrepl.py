"""slapd and python-ldap as consumers of content synchronisation (RFC 4533): after random writes and restarts of either side, all have the same.

  syncrepl.py [PATH-OF-nhsdir]   SEED=n (else random, printed)  ROUNDS=n  WRITES=n (of each round)

Ends with status 1 where a consumer does not come to what nhsdir has within PATIENCE seconds.
"""
import json, os, random, shutil, signal, socket, subprocess, sys, tempfile, time
import ldap, ldap.ldapobject
from ldap.syncrepl import SyncreplConsumer

HERE = os.path.dirname(os.path.abspath(__file__))
NHSDIR = os.path.realpath(sys.argv[1] if len(sys.argv) > 1 else HERE + "/../../target/release/nhsdir")
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
ROUNDS, WRITES = int(os.environ.get("ROUNDS", 10)), int(os.environ.get("WRITES", 60))
PATIENCE = 15
BASE, ROOT, TREE = "dc=test", "cn=root,dc=test", "ou=Tree,dc=test"
COMPARED = ["*", "entryUUID", "entryCSN", "structuralObjectClass", "createTimestamp", "creatorsName", "modifyTimestamp", "modifiersName"]
rng = random.Random(SEED)
one = rng.choice


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connected(url, name, secret, authority=None):
    for _ in range(200):
        try:
            connection = ldap.initialize(url)
            if authority:
                connection.set_option(ldap.OPT_X_TLS_CACERTFILE, authority)
                connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
            connection.simple_bind_s(name, secret)
            return connection
        except ldap.SERVER_DOWN:
            time.sleep(0.05)
    sys.exit("no answer from " + url)


class Provider:
    def __init__(self, work):
        self.data, self.work, self.child = work + "/nhsdir", work, None
        self.url = "ldaps://127.0.0.1:%d" % free_port()
        self.run("init", "--suffix", BASE)
        self.authority = self.data + "/tls/cert.pem"
        self.start()
        self.secrets = {name: json.loads(self.run("account", "create", name, "--role", "writer", "--json"))["secret"] for name in ("feed", "replica")}
        self.connect()

    def run(self, *command):
        done = subprocess.run([NHSDIR, *command, "--data", self.data], capture_output=True, text=True)
        if done.returncode:
            sys.exit("nhsdir %s: %s" % (" ".join(command), done.stdout + done.stderr))
        return done.stdout

    def start(self):
        self.log = open(self.work + "/nhsdir.log", "a")
        self.child = subprocess.Popen([NHSDIR, "serve", "--data", self.data, "--listen", self.url[len("ldaps://"):]], stdout=subprocess.PIPE, stderr=self.log, text=True)
        if not self.child.stdout.readline().startswith("ready"):
            sys.exit("nhsdir did not start: " + open(self.work + "/nhsdir.log").read()[-2000:])

    def connect(self):
        self.connection = connected(self.url, "feed", self.secrets["feed"], self.authority)

    def restart(self, kill):
        self.child.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        self.child.wait(30)
        self.start()
        self.connect()


class Slapd:
    def __init__(self, work, provider):
        self.work, self.child = work + "/slapd", None
        os.makedirs(self.work + "/db")
        self.url = "ldap://127.0.0.1:%d" % free_port()
        with open(self.work + "/slapd.conf", "w") as out:
            for name in ("core", "cosine", "inetorgperson"):
                out.write("include /etc/ldap/schema/%s.schema\n" % name)
            out.write("modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile %s/pid\nsizelimit unlimited\n" % self.work)
            out.write("database mdb\nmaxsize 268435456\nsuffix %s\nrootdn %s\nrootpw secret\ndirectory %s/db\ndbnosync\n" % (BASE, ROOT, self.work))
            out.write("index objectClass,entryUUID,entryCSN eq\n")
            out.write("syncrepl rid=001 provider=%s type=refreshAndPersist searchbase=%s scope=sub attrs=\"*,+\" schemachecking=off\n" % (provider.url, BASE))
            out.write("  bindmethod=simple binddn=\"cn=replica,ou=Applications,%s\" credentials=\"%s\" retry=\"1 +\" tls_cacert=%s tls_reqcert=demand\n" %
                      (BASE, provider.secrets["replica"], provider.authority))
            out.write("updateref %s\n" % provider.url)
        self.config = self.work + "/slapd.conf"
        with open(self.config) as text:
            fixed = text.read().replace("directory %s/db" % self.work, "directory %s" % (self.work + "/db"))
        with open(self.config, "w") as out:
            out.write(fixed)
        self.start()

    def start(self):
        self.log = open(self.work + "/log", "a")
        self.child = subprocess.Popen(["/usr/sbin/slapd", "-d", os.environ.get("SLAPD_DEBUG", "0"), "-f", self.config, "-h", self.url + "/"], stderr=self.log)
        self.connection = connected(self.url, ROOT, "secret")

    def stop(self):
        # Not gently: while it stops, slapd's consumer finds an entry it is told of nowhere (its search ends with 52), and adds it again.
        self.child.kill()
        self.child.wait(30)

    def entries(self):
        return everything(self.connection)


class Library(ldap.ldapobject.SimpleLDAPObject, SyncreplConsumer):
    """python-ldap's consumer: a copy in memory."""

    def __init__(self, provider):
        super().__init__(provider.url)
        self.cookie, self.copy, self.present = None, {}, None
        self.open(provider)

    def open(self, provider):
        self.reconnect_to(provider)
        self.message = self.syncrepl_search(BASE, ldap.SCOPE_SUBTREE, mode="refreshAndPersist", filterstr="(objectClass=*)", attrlist=COMPARED)

    def reconnect_to(self, provider):
        ldap.ldapobject.SimpleLDAPObject.__init__(self, provider.url)
        self.set_option(ldap.OPT_X_TLS_CACERTFILE, provider.authority)
        self.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        self.simple_bind_s("replica", provider.secrets["replica"])
        self.present = set()

    def poll(self, provider):
        try:
            self.syncrepl_poll(msgid=self.message, timeout=0.2, all=0)
        except ldap.TIMEOUT:
            pass
        except (ldap.SERVER_DOWN, ldap.UNAVAILABLE):
            self.open(provider)

    def entries(self):
        return {canonical(dn): (uuid, values) for uuid, (dn, values) in self.copy.items()}

    # What the library calls.
    def syncrepl_get_cookie(self):
        return self.cookie

    def syncrepl_set_cookie(self, cookie):
        self.cookie = cookie

    def syncrepl_entry(self, dn, attributes, uuid):
        self.copy[uuid] = (dn, compared(attributes))
        self.present.add(uuid)

    def syncrepl_delete(self, uuids):
        for uuid in uuids:
            self.copy.pop(uuid, None)

    def syncrepl_present(self, uuids, refreshDeletes=False):
        if uuids is not None:
            self.present.update(uuids)
        elif not refreshDeletes:
            for uuid in set(self.copy) - self.present:
                del self.copy[uuid]

    def syncrepl_refreshdone(self):
        self.present = set()


def canonical(dn):
    return ldap.dn.dn2str([[(name.lower(), value.lower(), flags) for name, value, flags in rdn] for rdn in ldap.dn.str2dn(dn)])


def compared(attributes):
    dropped = {"memberof", "hassubordinates", "numsubordinates", "entrydn", "subschemasubentry", "contextcsn"}
    return {name.lower(): sorted(values) for name, values in attributes.items() if name.lower() not in dropped}


def everything(connection):
    found = connection.search_s(BASE, ldap.SCOPE_SUBTREE, "(objectClass=*)", COMPARED)
    entries = {}
    for dn, attributes in found:
        values = compared(attributes)
        uuid = values["entryuuid"][0].decode()
        entries[canonical(dn)] = (uuid, values)
    return entries


# --- writes -----------------------------------------------------------------------------------------------------------------

class Writes:
    """Random changes below TREE, of which `names` knows what is there."""

    def __init__(self):
        # Names that leaves were deleted with or renamed from, and nobody has had since.
        self.names, self.free, self.count = {TREE}, set(), 0

    def below(self, dn):
        return [name for name in self.names if name.endswith("," + dn)]

    def write(self, connection):
        kind = rng.random()
        others = sorted(self.names - {TREE})
        if kind < 0.4 or len(others) < 5:
            self.add(connection)
        elif kind < 0.65:
            name = one(others)
            attribute = one(["description", "seeAlso"])
            value = {"description": ("d%d" % rng.randrange(99)).encode(), "seeAlso": one(others).encode()}[attribute]
            connection.modify_s(name, [(ldap.MOD_REPLACE, attribute, one([[value], None]))])
        elif kind < 0.85:
            self.rename(connection, one(others))
        else:
            leaves = [name for name in others if not self.below(name)]
            name = one(leaves)
            connection.delete_s(name)
            self.names.discard(name)
            # One that had entries below it stays at slapd without attributes until those are gone too.
            if name.startswith("cn="):
                self.free.add(name)

    def add(self, connection):
        self.count += 1
        parents = sorted(name for name in self.names if name.startswith("ou="))
        parent = one(parents)
        if rng.random() < 0.3:
            name, entry = "ou=unit %d" % self.count, {"objectClass": [b"organizationalUnit"], "ou": [b"unit %d" % self.count]}
        else:
            # Names that were used before come again, of other entries.
            text = b"person %d" % one([self.count, rng.randrange(8)])
            name = "cn=" + text.decode()
            if name + "," + parent in self.names:
                return
            entry = {"objectClass": [b"inetOrgPerson"], "cn": [text], "sn": [one(["Smith", "O'Brien", "M\u00fcller"]).encode()], "mail": [b"p%d@nhs.test" % self.count]}
        connection.add_s(name + "," + parent, list(entry.items()))
        self.names.add(name + "," + parent)
        self.free.discard(name + "," + parent)

    def rename(self, connection, name):
        self.count += 1
        rdn, _, parent = name.partition(",")
        # Renames often meet a name that another entry was renamed from, or was deleted with.
        free = sorted(other for other in self.free if other.endswith("," + parent) and other.count(",") == parent.count(",") + 1 and other[:2] == name[:2])
        rdn = one([rdn, "%s=renamed %d" % (rdn.split("=")[0], self.count)])
        parents = sorted(other for other in self.names if other.startswith("ou=") and other != name and not other.endswith("," + name))
        superior = one([None, one(parents)])
        target = rdn + "," + (superior or parent)
        if free and rng.random() < 0.4:
            target, superior = one(free), None
            rdn = target.partition(",")[0]
        if target == name or target in self.names:
            return
        # The old name never stays as a value: slapd 2.5's consumer now and then deletes it, though it was sent both.
        connection.rename_s(name, rdn, superior, delold=1)
        self.free.discard(target)
        for old in self.below(name) + [name]:
            self.names.discard(old)
            self.names.add(old[:len(old) - len(name)] + target)
            if old.startswith("cn="):
                self.free.add(old)
        self.free -= self.names


def new_owners(connection):
    """Names that are passed on and swapped, with what is below them."""
    def unit(name, below=TREE):
        connection.add_s("ou=%s,%s" % (name, below), [("objectClass", [b"organizationalUnit"]), ("ou", [name.encode()])])

    def rename(name, to, superior=None, below=TREE):
        connection.rename_s("ou=%s,%s" % (name, below), "ou=" + to, superior, delold=1)

    for name in "abcdefg":
        unit(name)
        unit("below " + name, "ou=%s,%s" % (name, TREE))
    yield
    # A new entry has the name of a renamed one, which was changed after it.
    rename("a", "z")
    unit("a")
    connection.modify_s("ou=z," + TREE, [(ldap.MOD_REPLACE, "description", [b"later"])])
    # A chain, against the order of names and with it; a swap.
    rename("c", "y")
    rename("b", "c")
    unit("b")
    rename("d", "t")
    rename("e", "d")
    rename("t", "e")
    # What was below one that is gone; its name is another's.
    rename("below f", "moved", TREE, "ou=f," + TREE)
    connection.delete_s("ou=f," + TREE)
    rename("g", "f")
    yield


def differences(expected, found):
    lines = []
    for dn in sorted(set(expected) | set(found)):
        if expected.get(dn) != found.get(dn):
            one_side = {"provider": expected.get(dn), "consumer": found.get(dn)}
            if all(one_side.values()):
                names = set(expected[dn][1]) | set(found[dn][1])
                one_side = {name: (expected[dn][1].get(name), found[dn][1].get(name)) for name in names if expected[dn][1].get(name) != found[dn][1].get(name)}
            lines.append("  %s: %s" % (dn, one_side))
    return lines


def converge(provider, slapd, library, what):
    expected = everything(provider.connection)
    deadline = time.time() + PATIENCE
    wanting = {"slapd": slapd.entries, "python-ldap": library.entries}
    while wanting:
        library.poll(provider)
        for name in list(wanting):
            try:
                found = wanting[name]()
            except (ldap.NO_SUCH_OBJECT, KeyError):
                found = {}
            if found == expected:
                del wanting[name]
            elif time.time() > deadline:
                print("FAIL  %s after %s, SEED=%d:" % (name, what, SEED))
                print("\n".join(differences(expected, found)[:10]))
                sys.exit(1)
    return len(expected)


def main(work):
    provider = Provider(work)
    provider.connection.add_s(TREE, [("objectClass", [b"organizationalUnit"]), ("ou", [b"Tree"])])
    writes = Writes()
    for _ in range(WRITES):
        writes.write(provider.connection)
    slapd = Slapd(work, provider)
    library = Library(provider)
    try:
        entries = converge(provider, slapd, library, "the first refresh")
        for number in range(ROUNDS):
            what = ["nothing but writes", "a restart of nhsdir", "a kill of nhsdir", "a restart of slapd", "writes while slapd is down", "writes over a restart of both"][number % 6]
            half = WRITES // 2
            for _ in range(half):
                writes.write(provider.connection)
            if "slapd" in what or "both" in what:
                slapd.stop()
            if "down" in what or "both" in what:
                for _ in range(half):
                    writes.write(provider.connection)
            if "nhsdir" in what or "both" in what:
                provider.restart(kill="kill" in what)
            if "slapd" in what or "both" in what:
                slapd.start()
            for _ in range(half):
                writes.write(provider.connection)
            entries = converge(provider, slapd, library, what)
            print("ok    %s: %d entries" % (what, entries), flush=True)
        steps = new_owners(provider.connection)
        next(steps)
        converge(provider, slapd, library, "what will be renamed")
        slapd.stop()
        next(steps)
        provider.restart(kill=False)
        slapd.start()
        print("ok    new owners of names over a restart of both: %d entries" % converge(provider, slapd, library, "new owners of names over a restart of both"), flush=True)
        context = [connection.search_s(BASE, ldap.SCOPE_BASE, attrlist=["contextCSN"])[0][1]["contextCSN"] for connection in (provider.connection, slapd.connection)]
        assert context[0] == context[1], context
    finally:
        for child in (provider.child, slapd.child):
            if child and child.poll() is None:
                child.kill()
                child.wait()
        if os.environ.get("KEEP"):
            print("kept:", work)


if __name__ == "__main__":
    started = time.time()
    print("SEED=%d" % SEED, flush=True)
    folder = tempfile.mkdtemp(prefix="nhsdir-syncrepl-")
    try:
        main(folder)
    finally:
        if not os.environ.get("KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
    print("ok    in %.0f s" % (time.time() - started))
