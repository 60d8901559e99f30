"""The Python ldap3 package against nhsdir. Environment: see run."""
import os
import ssl
from ldap3 import ALL, ALL_ATTRIBUTES, ASYNC_STREAM, BASE, MODIFY_ADD, MODIFY_INCREMENT, MODIFY_REPLACE, SUBTREE, Connection, Server, Tls
from ldap3.core.exceptions import LDAPBindError, LDAPException

url, ca, base = os.environ["URL"], os.environ["CA"], os.environ["BASE"]
dn, name, secret = os.environ["DN"], os.environ["NAME"], os.environ["SECRET"]


def sort_by(attribute):
    """A sort control (RFC 2891) of one key: ldap3 has no class for it."""
    key = b"\x30" + bytes([len(attribute) + 2]) + b"\x04" + bytes([len(attribute)]) + attribute.encode()
    return ("1.2.840.113556.1.4.473", True, b"\x30" + bytes([len(key)]) + key)


tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=ca)


def connect(**facts):
    return Connection(Server(url, tls=tls, get_info=ALL), **facts)


anonymous = connect()
assert not anonymous.bind(), "an anonymous bind was accepted"
assert not connect(user=dn, password="wrong-secret-wrong-secret").bind(), "a wrong secret was accepted"

connection = connect(user=dn, password=secret)
assert connection.bind(), connection.result
assert base.lower() in [context.lower() for context in connection.server.info.naming_contexts], connection.server.info
schema = connection.server.schema
assert schema.attribute_types["nhsIDCode"].oid, "nhsIDCode is not in the schema"
assert "nhsPerson" in schema.object_classes, "nhsPerson is not in the schema"

found = list(
    connection.extend.standard.paged_search(
        "ou=People," + base, "(objectClass=nhsPerson)", SUBTREE, attributes=["cn", "sn"], paged_size=150, generator=True
    )
)
assert len(found) == int(os.environ["PEOPLE"]), len(found)
person = next(entry for entry in found if entry["attributes"]["sn"])
surname = person["attributes"]["sn"]
surname = surname if isinstance(surname, str) else surname[0]
from ldap3.utils.conv import escape_filter_chars

connection.search("ou=People," + base, "(sn=%s)" % escape_filter_chars(surname.upper()), attributes=ALL_ATTRIBUTES)
assert person["dn"] in [entry.entry_dn for entry in connection.entries], surname
assert connection.compare(person["dn"], "sn", surname), connection.result
who = connection.extend.standard.who_am_i()
assert who.lower() == "dn:" + dn.lower(), who
connection.search("ou=People," + base, "(&(objectClass=nhsPerson)(sn=b*))", attributes=["sn"], controls=[sort_by("sn")])
names = [entry["attributes"]["sn"] for entry in connection.response if entry["type"] == "searchResEntry"]
names = [(name if isinstance(name, str) else name[0]).lower() for name in names]
assert len(names) > 5 and names == sorted(names), names
assert "1.2.840.113556.1.4.474" in connection.result["controls"], connection.result

feed = connect(user=os.environ["WRITER"], password=os.environ["WRITER_SECRET"])
assert feed.bind(), feed.result
entry, where = "cn=ldap3 list,ou=Lists," + base, "ou=Workgroups," + base
assert feed.add(entry, "groupOfNames", {"cn": "ldap3 list", "member": base}), feed.result
assert not feed.add(entry, "groupOfNames", {"cn": "ldap3 list", "member": base}) and feed.result["result"] == 68, feed.result
assert feed.modify(entry, {"description": [(MODIFY_ADD, ["one", "two"]), (MODIFY_REPLACE, ["h\u00e9llo"])]}), feed.result
assert feed.compare(entry, "description", "H\u00c9LLO") and not feed.compare(entry, "description", "one"), feed.result
assert not feed.modify(entry, {"description": [(MODIFY_INCREMENT, ["1"])]}) and feed.result["result"] != 0, feed.result
assert feed.modify_dn(entry, "cn=ldap3 renamed", new_superior=where), feed.result
moved = "cn=ldap3 renamed," + where
assert feed.search(moved, "(objectClass=*)", BASE, attributes=["cn", "entryUUID"]), feed.result
assert feed.entries[0].cn.value == "ldap3 renamed", feed.entries
below = [moved, "cn=a," + moved, "cn=b,cn=a," + moved]
assert all(feed.add(dn, "device") for dn in below[1:]), feed.result
assert not feed.delete(moved) and feed.result["result"] == 66, feed.result
assert feed.delete(moved, controls=[("1.2.840.113556.1.4.805", True, None)]), feed.result
assert not feed.search(moved, "(objectClass=*)", BASE) and feed.result["result"] == 32, feed.result

# Persistent search: what the writer does is told with what it was.
watcher = connect(user=os.environ["WRITER"], password=os.environ["WRITER_SECRET"], client_strategy=ASYNC_STREAM)
watch = watcher.extend.standard.persistent_search(where, "(objectClass=*)", SUBTREE, attributes=["cn"], streaming=False)
watcher.extend.standard.who_am_i()  # asked after it: once this is answered it follows
seen, renamed = "cn=seen," + where, "cn=seen again," + where
assert feed.add(seen, "device"), feed.result
assert feed.modify(seen, {"description": [(MODIFY_ADD, ["x"])]}), feed.result
assert feed.modify_dn(seen, "cn=seen again") and feed.delete(renamed), feed.result
for expected in [("add", seen, None), ("modify", seen, None), ("modify dn", renamed, seen), ("delete", renamed, None)]:
    event = watch.next(block=True, timeout=10)
    told = event["changeType"], event["dn"], event["previousDN"] and str(event["previousDN"])
    assert told == expected, (event, expected)
watch.stop()
feed.unbind()

connection.unbind()

by_name = connect(user=name, password=secret, authentication="SIMPLE")
assert by_name.bind(), by_name.result
print("ok")
