"""The Python ldap3 package against nhsdir. Environment: see run."""
import os
import ssl
from ldap3 import ALL, ALL_ATTRIBUTES, SUBTREE, Connection, Server, Tls
from ldap3.core.exceptions import LDAPBindError, LDAPException

url, ca, base = os.environ["URL"], os.environ["CA"], os.environ["BASE"]
dn, name, secret = os.environ["DN"], os.environ["NAME"], os.environ["SECRET"]
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
connection.unbind()

by_name = connect(user=name, password=secret, authentication="SIMPLE")
assert by_name.bind(), by_name.result
print("ok")
