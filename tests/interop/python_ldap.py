"""python-ldap (libldap) against nhsdir. Environment: see run."""
import os
import ldap
from ldap.controls import SimplePagedResultsControl
from ldap.schema.subentry import SubSchema

url, ca, base = os.environ["URL"], os.environ["CA"], os.environ["BASE"]
dn, secret = os.environ["DN"], os.environ["SECRET"]


def connect():
    connection = ldap.initialize(url)
    connection.set_option(ldap.OPT_X_TLS_CACERTFILE, ca)
    connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
    connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    return connection


def refused(work):
    try:
        result = work()
    except ldap.LDAPError:
        return
    raise AssertionError("expected a refusal, found %r" % (result,))


refused(lambda: connect().simple_bind_s("", ""))
refused(lambda: connect().simple_bind_s(dn, ""))
refused(lambda: connect().simple_bind_s(dn, "wrong-secret-wrong-secret"))
refused(lambda: connect().search_s(base, ldap.SCOPE_SUBTREE, "(uid=*)"))

connection = connect()
connection.simple_bind_s(dn, secret)
where = connection.search_subschemasubentry_s()
schema = SubSchema(connection.read_subschemasubentry_s(where))
assert schema.get_obj(ldap.schema.AttributeType, "nhsIDCode") is not None

page, total = SimplePagedResultsControl(True, size=300, cookie=""), 0
while True:
    message = connection.search_ext("ou=People," + base, ldap.SCOPE_SUBTREE, "(objectClass=nhsPerson)", ["cn"], serverctrls=[page])
    _, entries, _, controls = connection.result3(message)
    total += len(entries)
    answers = [control for control in controls if control.controlType == SimplePagedResultsControl.controlType]
    assert answers, "the paging response control is missing"
    page.cookie = answers[0].cookie
    if not page.cookie:
        break
assert total == int(os.environ["PEOPLE"]), total
assert connection.whoami_s().lower() == "dn:" + dn.lower(), connection.whoami_s()
message = connection.search("ou=People," + base, ldap.SCOPE_SUBTREE, "(cn=*a*)")
connection.abandon(message)
assert connection.search_s(base, ldap.SCOPE_BASE), "the connection did not live on after an abandon"
print("ok")
