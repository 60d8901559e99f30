"""The servers that benches/versus-slapd and its sisters measure, each with the same directory, in folders of their own."""
import base64, contextlib, hashlib, json, os, secrets, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SUFFIX = "o=nhs"
# name: role and release profile at nhsdir
ACCOUNTS = {"bench-reader": ("reader", "reader"), "bench-full": ("reader", "full"), "bench-writer": ("writer", "writer")}
# Waited for at most: the first answer, an end of what a server does at its start, its own end.
START_SECONDS, REST_SECONDS, STOP_SECONDS = 120, 120, 120


def say(*words):
    print("..", *words, file=sys.stderr, flush=True)


def dn(name):
    return f"cn={name},ou=Applications,{SUFFIX}"


def build(profile="bench"):
    """Builds server and load generator; gives the paths of both."""
    command = ["cargo", "bench", "--quiet", "--profile", profile, "--no-run", "--bench", "load", "--message-format=json"]
    made = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if made.returncode:
        sys.exit("the build failed")
    paths = {}
    for line in made.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            paths[message["target"]["name"]] = message["executable"]
    return paths["nhsdir"], paths["load"]


@contextlib.contextmanager
def workplace(given, at_most):
    """A folder for everything that is written, removed at the end unless the caller named one. Ends the run after so many seconds."""
    def stop(*_):
        sys.exit("stopped by a signal")
    def late(*_):
        sys.exit(f"not done after {at_most} s; see --at-most")
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, late)
    signal.alarm(at_most)
    folder = given or tempfile.mkdtemp(prefix="nhsdir-bench-")
    os.makedirs(folder, exist_ok=True)
    try:
        yield folder
    finally:
        signal.alarm(0)
        if not given:
            shutil.rmtree(folder, ignore_errors=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def measured(command, **options):
    """Runs a command to its end: seconds, CPU seconds, highest resident memory in KiB."""
    begin = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)
    try:
        errors = child.stderr.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        child.kill()
        raise
    if child.returncode:
        sys.exit(f"{' '.join(command)}: status {child.returncode}\n{errors[-4000:]}")
    return {"seconds": time.monotonic() - begin, "cpu": used.ru_utime + used.ru_stime, "peak_kib": used.ru_maxrss}


def secret(folder):
    """Of every account here; kept in the folder, as a database that is used again has it."""
    path = os.path.join(folder, "secret")
    if not os.path.exists(path):
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
            out.write(secrets.token_hex(16))
    with open(path) as kept:
        return kept.read()


def kib(folder):
    """What files below a folder take on disk."""
    found = 0
    for place, _, names in os.walk(folder):
        found += sum(os.lstat(os.path.join(place, name)).st_blocks for name in names)
    return found // 2


class Data:
    """One LDIF, and the accounts that slapd needs beside it."""
    def __init__(self, load, folder, people, seed=1):
        self.path = os.path.join(folder, f"{people}-{seed}.ldif")
        self.secret = secret(folder)
        self.people, self.accounts = people, self.path + ".accounts"
        if not os.path.exists(self.path):
            say(f"making {people:,} people")
            subprocess.run([load, "data", "--people", str(people), "--seed", str(seed), "--out", self.path + ".part"], check=True)
            os.rename(self.path + ".part", self.path)
        salt = secrets.token_bytes(8)
        hashed = base64.b64encode(hashlib.sha1(self.secret.encode() + salt).digest() + salt).decode()
        with open(self.accounts, "w") as out:
            for name in [*ACCOUNTS, "bench-argon2"]:
                value = "{SSHA}" + hashed
                if name == "bench-argon2":
                    options = "module-load=argon2 m=19456 t=2 p=1"
                    found = subprocess.run(["/usr/sbin/slappasswd", "-n", "-o", options, "-h", "{ARGON2}", "-s", self.secret], capture_output=True, text=True)
                    if found.returncode:
                        continue
                    value = found.stdout.strip()
                out.write(f"dn: {dn(name)}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: {name}\nuserPassword: {value}\n\n")
        self.bytes = os.path.getsize(self.path)


class Server:
    """A server that can be started, stopped and measured."""
    name, child, imported, address, started = "", None, None, "", None

    def __init__(self, load, folder):
        self.load, self.folder, self.secret = load, os.path.join(folder, self.name), secret(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.log = open(os.path.join(folder, self.name + ".log"), "ab")

    def launch(self, command, **options):
        self.child = subprocess.Popen(command, stderr=self.log, stdin=subprocess.DEVNULL, **options)

    def await_first_answer(self, begin):
        command = [self.load, "probe", *self.who("bench-reader"), "--seconds", str(START_SECONDS)]
        if subprocess.run(command).returncode or self.child.poll() is not None:
            sys.exit(f"{self.name} did not start; see {self.log.name}:\n" + open(self.log.name, errors="replace").read()[-2000:])
        self.started = time.monotonic() - begin
        self.await_rest()

    def await_rest(self):
        """Until the server does nothing: nhsdir reads its data through when it starts."""
        end, before = time.monotonic() + REST_SECONDS, None
        while time.monotonic() < end and (now := self.ticks()) != before:
            before = now
            time.sleep(0.5)

    def ticks(self):
        with open(f"/proc/{self.child.pid}/stat") as stat:
            return sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13]))

    def who(self, account):
        return ["--server", self.address, "--bind", dn(account), "--secret", self.secret]

    def stop(self):
        if self.child and self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.child = None

    def resident(self):
        with open(f"/proc/{self.child.pid}/status") as status:
            return {line.split(":")[0]: int(line.split()[1]) for line in status if line.startswith(("VmRSS", "VmHWM", "RssAnon", "RssFile"))}

    def command(self, data, workload, account=None, **options):
        """The load generator's command for a workload."""
        writes = workload in ("modify", "change-each", "rw95")
        command = [self.load, "run", *self.who(account or ("bench-writer" if writes else "bench-reader")), "--pid", str(self.child.pid), "--ldif", data.path]
        at_one = workload.endswith("@1")
        command += ["--workload", workload.removesuffix("@1")] + (["--connections", "1", "--outstanding", "1"] if at_one else [])
        # Small directories do not need many different requests.
        options.setdefault("requests", max(500, min(16384, data.people)))
        for key, value in options.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        return command

    def knows(self, data, workload):
        """Whether it does what the workload asks for at all."""
        return subprocess.run(self.command(data, workload, operations=1, connections=1), capture_output=True).returncode == 0

    def run(self, data, workload, **options):
        """What a workload cost. A wrong answer ends everything: a fast wrong answer is no result."""
        done = subprocess.run(self.command(data, workload, **options), stdout=subprocess.PIPE, text=True)
        if done.returncode and busy(done.stdout):
            result = json.loads(done.stdout)
            if result["results"]["51"] * FEW > result["operations"]:
                raise Busy
            return result
        if done.returncode:
            sys.exit(f"{self.name}, {workload}: status {done.returncode} {done.stdout[-1500:]}")
        return json.loads(done.stdout)


# One answer in so many may say busy: slapd does when a sort comes while the one before ends on the same connection.
FEW = 20


class Busy(Exception):
    """The server would not do it for so many at once: result code 51, and no other that is wrong."""


def busy(printed):
    return printed.startswith("{") and json.loads(printed)["results"].keys() - {"0", "4"} == {"51"}


class Nhsdir(Server):
    name = "nhsdir"

    def __init__(self, load, folder, binary, config=""):
        super().__init__(load, folder)
        self.binary, self.data = binary, os.path.join(self.folder, "data")
        self.config = os.path.join(self.folder, "nhsdir.toml")
        with open(self.config, "w") as out:
            out.write(config)
        self.certificate, self.key = self.data + "/tls/cert.pem", self.data + "/tls/key.pem"

    def tool(self, *words, **options):
        subprocess.run([self.binary, *words, "--data", self.data, "--config", self.config], check=True, stdout=subprocess.DEVNULL, **options)

    def prepare(self, data):
        shutil.rmtree(self.data, ignore_errors=True)
        self.tool("init", "--suffix", SUFFIX)
        say(f"nhsdir imports {data.people:,} people")
        self.imported = measured([self.binary, "import", "--data", self.data, "--config", self.config, data.path])
        for name, (role, profile) in ACCOUNTS.items():
            self.tool("account", "create", name, "--role", role, "--profile", profile, "--secret-stdin", input=self.secret + "\n", text=True)
        self.disk = kib(self.data)

    def start(self, *before):
        """`before` may be a tool that runs the server, as valgrind does."""
        begin = time.monotonic()
        self.address = f"127.0.0.1:{free_port()}"
        command = [*before, self.binary, "serve", "--data", self.data, "--config", self.config, "--listen", self.address]
        self.launch(command, stdout=subprocess.DEVNULL, env={**os.environ, "NHSDIR_LOG": "info"})
        self.await_first_answer(begin)


class Slapd(Server):
    """Debian's slapd, tuned as those who need three-letter substrings tune it."""
    name = "slapd"

    def __init__(self, load, folder, certificate, key):
        super().__init__(load, folder)
        self.database, self.certificate, self.key = os.path.join(self.folder, "db"), certificate, key
        self.config = os.path.join(self.folder, "slapd.conf")

    def configure(self):
        # Where the certificate moved to, if the folder is an old one.
        with open(self.config, "w") as out:
            out.write(f"""include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload argon2
moduleload sssvlv
pidfile {self.folder}/slapd.pid
argsfile {self.folder}/slapd.args
loglevel 0
threads 16
tool-threads 2
conn_max_pending_auth 5000
index_substr_any_len 3
index_substr_any_step 1
TLSCertificateFile {self.certificate}
TLSCertificateKeyFile {self.key}
TLSVerifyClient never
database mdb
suffix "{SUFFIX}"
directory {self.database}
maxsize 34359738368
limits users size=unlimited time=unlimited
index objectClass,uid,departmentNumber,employeeType,member eq
index cn,sn,givenName,mail,displayName,title eq,sub
overlay sssvlv
sssvlv-max 4096
sssvlv-maxperconn 4096
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{dn('bench-writer')}" write by users read by * none
""")

    def prepare(self, data):
        shutil.rmtree(self.database, ignore_errors=True)
        os.makedirs(self.database)
        self.configure()
        say(f"slapd imports {data.people:,} people")
        self.imported = measured(["/usr/sbin/slapadd", "-q", "-f", self.config, "-l", data.path])
        measured(["/usr/sbin/slapadd", "-q", "-f", self.config, "-l", data.accounts])
        self.disk = kib(self.database)

    def start(self):
        self.configure()
        begin = time.monotonic()
        self.address = f"127.0.0.1:{free_port()}"
        self.launch(["/usr/sbin/slapd", "-d", "0", "-f", self.config, "-h", f"ldaps://{self.address}/"], stdout=self.log)
        self.await_first_answer(begin)


class Floor(Server):
    """TLS, tokio and the kernel without a directory: what no server in this language can be below."""
    name = "floor"

    def __init__(self, load, folder, certificate, key):
        super().__init__(load, folder)
        self.certificate, self.key = certificate, key

    def start(self):
        self.address = f"127.0.0.1:{free_port()}"
        self.launch([self.load, "floor", "--listen", self.address, "--cert", self.certificate, "--key", self.key], stdout=subprocess.PIPE)
        self.child.stdout.readline()
