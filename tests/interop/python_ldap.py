"""python-ldap (libldap) against nhsdir. Environment: see run."""
import os
import subprocess
import ldap
import ldap.modlist
from ldap.controls import SimplePagedResultsControl
from ldap.controls.ppolicy import PasswordPolicyControl
from ldap.controls.readentry import PostReadControl
from ldap.controls.sss import SSSRequestControl, SSSResponseControl
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
order = SSSRequestControl(criticality=True, ordering_rules=["sn", "-givenName"])
message = connection.search_ext("ou=People," + base, ldap.SCOPE_SUBTREE, "(&(objectClass=nhsPerson)(sn=b*))", ["sn"], serverctrls=[order])
_, entries, _, controls = connection.result3(message)
names = [entry["sn"][0].lower() for _, entry in entries]
assert len(names) > 5 and names == sorted(names), names
assert [control for control in controls if isinstance(control, SSSResponseControl)][0].sortResult == 0
root = connection.read_rootdse_s()
assert base.encode() in root["namingContexts"], root

feed = connect()
feed.simple_bind_s(os.environ["WRITER"], os.environ["WRITER_SECRET"])
entry, where = "cn=python-ldap list,ou=Lists," + base, "ou=Workgroups," + base
made = {"objectClass": [b"groupOfNames"], "cn": [b"python-ldap list"], "member": [base.encode()]}
feed.add_s(entry, ldap.modlist.addModlist(made))
for code, work in [
    (ldap.ALREADY_EXISTS, lambda: feed.add_s(entry, ldap.modlist.addModlist(made))),
    (ldap.NO_SUCH_OBJECT, lambda: feed.delete_s("cn=nowhere," + where)),
    (ldap.UNDEFINED_TYPE, lambda: feed.modify_s(entry, [(ldap.MOD_ADD, "noSuchAttribute", b"x")])),
    (ldap.OBJECT_CLASS_VIOLATION, lambda: feed.modify_s(entry, [(ldap.MOD_ADD, "mail", b"a@b.test")])),
    (ldap.INSUFFICIENT_ACCESS, lambda: connection.delete_s(entry)),
]:
    try:
        work()
    except code:
        continue
    raise AssertionError("expected %s" % code.__name__)
changed = dict(made, description=[b"one", "h\u00e9llo".encode()])
feed.modify_s(entry, ldap.modlist.modifyModlist(made, changed))
assert feed.compare_s(entry, "description", "H\u00c9LLO".encode()) is True
assert feed.compare_s(entry, "description", b"two") is False
after = PostReadControl(criticality=True, attrList=["cn"])
message = feed.rename(entry, "cn=python-ldap renamed", newsuperior=where, delold=1, serverctrls=[after])
_, _, _, answers = feed.result3(message)
moved = "cn=python-ldap renamed," + where
assert answers[0].dn.lower() == moved.lower() and answers[0].entry["cn"] == [b"python-ldap renamed"], answers[0].entry
feed.delete_s(moved)
refused(lambda: feed.read_s(moved))
feed.unbind_s()

message = connection.search("ou=People," + base, ldap.SCOPE_SUBTREE, "(cn=*a*)")
connection.abandon(message)
assert connection.search_s(base, ldap.SCOPE_BASE), "the connection did not live on after an abandon"
connection.unbind_s()


def told(name, given):
    """Error and seconds left, as the password policy control of a bind says them; None where there is no control."""
    connection = connect()
    try:
        _, _, _, controls = connection.result3(connection.simple_bind(name, given, serverctrls=[PasswordPolicyControl()]))
    except ldap.INVALID_CREDENTIALS as refusal:
        raw = [control for control in refusal.args[0].get("ctrls", []) if control[0] == PasswordPolicyControl.controlType]
        controls = []
        for _, _, value in raw:
            control = PasswordPolicyControl()
            control.decodeControlValue(value)
            controls.append(control)
    answers = [control for control in controls if control.controlType == PasswordPolicyControl.controlType]
    return (answers[0].error, answers[0].timeBeforeExpiration) if answers else None


def account(*arguments, given=""):
    subprocess.run([os.environ["NHSDIR"], "account", *arguments], input=given, text=True, check=True, stdout=subprocess.DEVNULL)


reset = "reset by telephone 99"
account("create", "python-passing", "--secret-stdin", "--must-change", given=reset)
assert told("python-passing", reset) == (2, None)
assert told("python-passing", "wrong") == (None, None)
account("rotate", "python-passing", "--secret-stdin", given=reset)
assert told("python-passing", reset) == (None, None)
account("disable", "python-passing")
assert told("python-passing", reset) == (1, None)
assert told("python-passing", "wrong") == (None, None)
account("delete", "python-passing")
print("ok")
