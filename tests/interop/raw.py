"""Messages of RFC 4511 made and read octet by octet, so that no client library's own opinion is in the way. Environment: see run."""
import os, socket, ssl, sys

HOST, PORT = os.environ["URL"].removeprefix("ldaps://").split(":")
CA, BASE = os.environ["CA"], os.environ["BASE"]
DN, SECRET = os.environ["WRITER"], os.environ["WRITER_SECRET"]
READER, READER_SECRET = os.environ["DN"], os.environ["SECRET"]
LISTS = "ou=Lists," + BASE
NOTICE = b"1.3.6.1.4.1.1466.20036"

# --- BER (X.690, as RFC 4511 section 5.1 restricts it) ---------------------------------------------------------------------


def tlv(tag, contents):
    length = len(contents)
    if length < 128:
        return bytes([tag, length]) + contents
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + contents


def octets(value, tag=4):
    return tlv(tag, value.encode() if isinstance(value, str) else value)


def integer(number, tag=2):
    return tlv(tag, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def sequence(*parts, tag=0x30):
    return tlv(tag, b"".join(parts))


def boolean(value):
    return tlv(1, b"\xff" if value else b"\x00")


def elements(contents):
    found = []
    while contents:
        tag, length, at = contents[0], contents[1], 2
        if length & 0x80:
            at += length & 0x7f
            length = int.from_bytes(contents[2:at], "big")
        found.append((tag, contents[at:at + length]))
        contents = contents[at + length:]
    return found


# --- operations ------------------------------------------------------------------------------------------------------------


def bind(name=DN, secret=SECRET, version=3):
    return sequence(integer(version), octets(name), octets(secret, 0x80), tag=0x60)


def sasl(mechanism, credentials=None):
    parts = [octets(mechanism)] + ([octets(credentials)] if credentials is not None else [])
    return sequence(integer(3), octets(""), sequence(*parts, tag=0xa3), tag=0x60)


def present(name):
    return octets(name, 0x87)


def equal(name, value, tag=0xa3):
    return sequence(octets(name), octets(value), tag=tag)


def every(*filters):
    return sequence(*filters, tag=0xa0)


def some(*filters):
    return sequence(*filters, tag=0xa1)


def negated(inner):
    return tlv(0xa2, inner)


def pieces(name, *parts):
    return sequence(octets(name), sequence(*[octets(value, tag) for tag, value in parts]), tag=0xa4)


def search(base=BASE, scope=0, wanted=present("objectClass"), names=(), deref=0, size=0, time=0, types=False):
    return sequence(octets(base), integer(scope, 10), integer(deref, 10), integer(size), integer(time), boolean(types), wanted,
                    sequence(*map(octets, names)), tag=0x63)


def attributes(values):
    return sequence(*[sequence(octets(name), sequence(*map(octets, found), tag=0x31)) for name, found in values])


def add(dn, values):
    return sequence(octets(dn), attributes(values), tag=0x68)


def modify(dn, *changes):
    return sequence(octets(dn), sequence(*[sequence(integer(kind, 10), sequence(octets(name), sequence(*map(octets, values), tag=0x31)))
                                           for kind, name, values in changes]), tag=0x66)


def modify_dn(dn, rdn, delete=True, superior=None):
    return sequence(octets(dn), octets(rdn), boolean(delete), *([octets(superior, 0x80)] if superior is not None else []), tag=0x6c)


def delete(dn):
    return octets(dn, 0x4a)


def compare(dn, name, value):
    return sequence(octets(dn), sequence(octets(name), octets(value)), tag=0x6e)


def extended(oid, value=None):
    return sequence(octets(oid, 0x80), *([octets(value, 0x81)] if value is not None else []), tag=0x77)


def control(oid, critical=None, value=None):
    return sequence(octets(oid), *([boolean(critical)] if critical is not None else []), *([octets(value)] if value is not None else []))


UNBIND = b"\x42\x00"
ADD, DELETE, REPLACE = 0, 1, 2


class Answer:
    def __init__(self, number, tag, contents, controls=b""):
        self.controls = [(parts[0][1].decode(), parts[-1][1]) for parts in (elements(each) for _, each in elements(controls))]
        self.number, self.tag, self.parts = number, tag, elements(contents) if tag & 0x20 else []
        if tag not in (0x64, 0x73) and self.parts:
            self.code = int.from_bytes(self.parts[0][1], "big")
            self.matched, self.message = self.parts[1][1].decode(), self.parts[2][1].decode()

    @property
    def values(self):
        """Of an entry: its attributes, each a list of values."""
        return {elements(each)[0][1].decode(): [value for _, value in elements(elements(each)[1][1])] for _, each in elements(self.parts[1][1])}

    @property
    def name(self):
        return self.parts[0][1].decode()

    @property
    def oid(self):
        return next((value for tag, value in self.parts if tag == 0x8a), None)


class Line:
    """One connection."""

    def __init__(self, bound=True, name=DN, secret=SECRET):
        trust = ssl.create_default_context(cafile=CA)
        trust.check_hostname = False
        self.socket = trust.wrap_socket(socket.create_connection((HOST, int(PORT)), 10))
        self.buffer, self.number = b"", 0
        if bound:
            assert self.ask(bind(name, secret)).code == 0

    def send(self, operation, *controls, number=None):
        self.number = number if number is not None else self.number + 1
        extra = [sequence(*controls, tag=0xa0)] if controls else []
        self.raw(sequence(integer(self.number), operation, *extra))
        return self.number

    def raw(self, octets_):
        self.socket.sendall(octets_)

    def read(self):
        """The next message; None where the server closed the connection."""
        while True:
            if len(self.buffer) >= 2:
                length, at = self.buffer[1], 2
                if length & 0x80:
                    at += length & 0x7f
                    length = int.from_bytes(self.buffer[2:at], "big") if len(self.buffer) >= at else 1 << 40
                if len(self.buffer) >= at + length:
                    message, self.buffer = self.buffer[at:at + length], self.buffer[at + length:]
                    (_, number), (tag, contents), *rest = elements(message)
                    return Answer(int.from_bytes(number, "big"), tag, contents, *[controls for _, controls in rest])
            try:
                more = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return None
            if not more:
                return None
            self.buffer += more

    def ask(self, operation, *controls):
        self.send(operation, *controls)
        return self.read()

    def find(self, *controls, **search_):
        """The entries and the result of a search."""
        number, found = self.send(search(**search_), *controls), []
        while True:
            answer = self.read()
            assert answer is not None, "the connection was closed"
            if answer.number != number:
                continue
            if answer.tag == 0x65:
                return found, answer
            found.append(answer)

    def lives(self):
        return self.find()[1].code == 0

    def ended(self, notice=None):
        """Whether the server ends the connection, with a notice of disconnection of this code if one is named."""
        answer = self.read()
        if notice is not None:
            assert answer is not None and answer.number == 0 and answer.tag == 0x78, "expected a notice of disconnection"
            assert (answer.code, answer.oid) == (notice, NOTICE), (answer.code, answer.oid)
            answer = self.read()
        return answer is None


CASES = []


def case(title):
    def keep(work):
        CASES.append((title, work))
        return work
    return keep


def code(answer, *expected):
    assert answer is not None, "the connection was closed"
    assert answer.code in expected, "expected result code %s, found %d %s" % (expected, answer.code, answer.message)
    return answer


def group(name="MUST", *more):
    return add("cn=%s,%s" % (name, LISTS), [("objectClass", ["groupOfNames"]), ("cn", [name]), ("member", [BASE]), *more])


def with_group(work, *more):
    """Runs `work` with a group there, and takes it away again."""
    line = Line()
    code(line.ask(group("MUST", *more)), 0)
    dn = "cn=MUST," + LISTS
    try:
        work(line, dn)
    finally:
        Line().ask(delete(dn))
        Line().ask(delete("cn=MUST2," + LISTS))


def group_case(title, *more):
    def keep(work):
        CASES.append((title, lambda: with_group(work, *more)))
        return work
    return keep


def run_cases(kind):
    """Runs every case; the program ends with 1 where one fails."""
    failed = 0
    for title, work in CASES:
        try:
            work()
        except Exception as fault:
            failed += 1
            print("FAIL  %s%s: %s: %s" % (kind, title, type(fault).__name__, fault))
    print("%d cases, %d failed" % (len(CASES), failed))
    sys.exit(1 if failed else 0)
