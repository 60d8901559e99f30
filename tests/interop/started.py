"""Starts nhsdir and slapd for scripts that ask both the same, each with a connection of python-ldap that is bound."""
import json, os, socket, subprocess, sys, time
import ldap


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def slapd(conf, root):
    """The process and a connection as `root`, whose secret is `secret`."""
    url = "ldap://127.0.0.1:%d" % free_port()
    child = subprocess.Popen(["/usr/sbin/slapd", "-d", "0", "-f", conf, "-h", url], stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            connection = ldap.initialize(url)
            connection.simple_bind_s(root, "secret")
            return child, connection
        except ldap.SERVER_DOWN:
            time.sleep(0.1)
    sys.exit("slapd did not start")


class Slapd:
    """The entries of the file `ldif` in `work`, served, with a connection as `root`. `before` and `within` are lines of the
    configuration: ahead of the database's, and at its end."""
    def __init__(self, work, base, root, ldif, before="", within=""):
        os.makedirs(work + "/db")
        conf = work + "/slapd.conf"
        with open(conf, "w") as out:
            for name in ("core", "cosine", "inetorgperson"):
                out.write("include /etc/ldap/schema/%s.schema\n" % name)
            out.write("modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile %s/pid\n%s" % (work, before))
            out.write("database mdb\nsuffix %s\nrootdn %s\nrootpw secret\ndirectory %s/db\ndbnosync\n%s" % (base, root, work, within))
        made = subprocess.run(["/usr/sbin/slapadd", "-q", "-f", conf, "-l", ldif], capture_output=True, text=True)
        if made.returncode:
            sys.exit("slapadd: " + made.stderr[-2000:])
        self.child, self.connection = slapd(conf, root)


class Nhsdir:
    """A data directory and a configuration in `work`; `start` serves it."""
    def __init__(self, program, work):
        self.program, self.work, self.config, self.log = program, work + "/data", work + "/nhsdir.toml", work + "/log"

    def start(self):
        """Serves, with a connection as a writer."""
        secret = json.loads(self.run("account create", "feed", "--role", "writer", "--json"))["secret"]
        with open(self.log, "w") as log:
            self.child = subprocess.Popen([self.program, "serve", "--data", self.work, "--config", self.config, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.child.stdout:
            if line.startswith("ready ldaps:"):
                break
        else:
            sys.exit("nhsdir did not start: " + open(self.log).read())
        self.url = line.split()[1]
        self.connection = self.connect()
        self.connection.simple_bind_s("feed", secret)

    def connect(self):
        connection = ldap.initialize(self.url)
        connection.set_option(ldap.OPT_X_TLS_CACERTFILE, self.work + "/tls/cert.pem")
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        return connection

    def run(self, command, *arguments):
        done = subprocess.run([self.program, *command.split(), "--data", self.work, "--config", self.config, *arguments], capture_output=True, text=True)
        if done.returncode:
            sys.exit("nhsdir %s: %s" % (command, (done.stdout + done.stderr)[-3000:]))
        return done.stdout
