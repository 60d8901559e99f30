# docs/from-slapd.md with slapd itself: slapcat, import, export, slapadd, slapcat, import, export. NHSDIR is the program.
set -euo pipefail
work=$(mktemp -d)
finish() {
  [ ! -f "$work/pid" ] || kill "$(cat "$work/pid")" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
PATH=$PATH:/usr/sbin
mkdir db db2
cat >own.schema <<'SCHEMA'
attributetype ( 1.3.6.1.4.1.99999.1.1 NAME 'exampleBadge' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{64} SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.99999.2.1 NAME 'examplePerson' SUP top AUXILIARY MAY exampleBadge )
SCHEMA
for name in slapd other; do
  cat >$name.conf <<CONF
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include $work/own.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
moduleload argon2
pidfile $work/pid
database mdb
suffix dc=example,dc=com
rootdn cn=Manager,dc=example,dc=com
rootpw secret
directory $work/$([ $name = slapd ] && echo db || echo db2)
overlay ppolicy
ppolicy_default cn=default,dc=example,dc=com
ppolicy_hash_cleartext
CONF
done
serve() {
  slapd -f "$1" -h "ldapi://$(echo "$work/socket" | sed 's#/#%2F#g')/"
  LDAPURI=ldapi://$(echo "$work/socket" | sed 's#/#%2F#g')/
  export LDAPURI
  # The socket is there before anybody listens.
  for _ in $(seq 100); do ldapwhoami -x >/dev/null 2>&1 && return; sleep 0.1; done
  echo "slapd did not start"
  exit 1
}
stop() {
  kill "$(cat pid)"
  while [ -f pid ]; do sleep 0.1; done
}
serve slapd.conf
ldapadd -x -D cn=Manager,dc=example,dc=com -w secret >/dev/null <<'LDIF'
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: cn=default,dc=example,dc=com
objectClass: device
objectClass: pwdPolicy
cn: default
pwdAttribute: userPassword
pwdMinLength: 6
pwdInHistory: 3

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=ann+cn=Ann\2C the first,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
objectClass: examplePerson
uid: ann
cn: Ann, the first
cn;lang-cy:: w4Jubg==
sn: Smith
exampleBadge: B 17
userPassword: ann's first
jpegPhoto:: /9j/4AAQSkZJRgABAQAAAQABAAD=

dn: uid=bob,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Jones
description:: IGxlYWRpbmcgc3BhY2U=
userPassword: bob's secret
pwdPolicySubentry: cn=default,dc=example,dc=com
LDIF
ldapmodify -x -D cn=Manager,dc=example,dc=com -w secret >/dev/null <<'LDIF'
dn: uid=ann+cn=Ann\2C the first,ou=people,dc=example,dc=com
changetype: modify
replace: userPassword
userPassword: ann's secret
LDIF
printf 'dn: uid=bob,ou=people,dc=example,dc=com\nchangetype: modify\nadd: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n' |
  ldapmodify -x -D cn=Manager,dc=example,dc=com -w secret >/dev/null
stop
slapcat -f slapd.conf >before.ldif
grep -q '^pwdHistory' before.ldif && grep -q '^pwdPolicySubentry' before.ldif

# Whoever moves brings the whole set, some of it defined here already, in any order. In dsee changeNumber is another type than the
# one of that name in the schema of the NHS, which need not be there.
for kind in schema ldif; do
  set="$(ls /etc/ldap/schema/*."$kind")"
  grep -v /dsee <<<"$set" | xargs "$NHSDIR" schema check >/dev/null
  echo "$set" | xargs "$NHSDIR" schema check --without-nhs >/dev/null
  echo "$set" | sort -r | xargs "$NHSDIR" schema check --without-nhs >/dev/null
done

export NHSDIR_DATA=$work/data NHSDIR_CONFIG=$work/nhsdir.toml
printf '[general]\nenabled = true\n[schema]\nfiles = ["%s"]\n' "$work/own.schema" >nhsdir.toml
load() {
  rm -rf data
  "$NHSDIR" init --no-entries --suffix dc=example,dc=com >/dev/null
  "$NHSDIR" import "$1" >/dev/null
  "$NHSDIR" export --operational --secrets --out "$2"
}
load before.ldif after.ldif
slapadd -f other.conf -l after.ldif
slapcat -f other.conf >again.ldif
# The same lines, in the order of the tree, and when a secret was set where slapd did not say.
unfolded() { sed -e ':a' -e 'N' -e '$!ba' -e 's/\n //g' "$1" | grep -v '^pwdChangedTime' | sort; }
diff <(unfolded before.ldif) <(unfolded again.ldif)
load again.ldif after2.ldif
cmp after.ldif after2.ldif
# A secret that was hashed here binds there, and here who was locked there is refused.
"$NHSDIR" serve --listen 127.0.0.1:0 >ready 2>log &
server=$!
for _ in $(seq 100); do grep -q '^ready ldaps' ready && break; sleep 0.1; done
url=$(sed -n 's/^ready \(ldaps:.*\)/\1/p' ready | head -n 1)
ann='uid=ann+cn=Ann\2C the first,ou=people,dc=example,dc=com'
who() { LDAPTLS_CACERT=$NHSDIR_DATA/tls/cert.pem ldapwhoami -x -H "$url" -D "$1" -w "$2"; }
who "$ann" "ann's secret" >/dev/null
who "$ann" "wrong" >/dev/null 2>&1 && exit 1
who uid=bob,ou=people,dc=example,dc=com "bob's secret" >/dev/null 2>&1 && { echo "a lock was lost"; exit 1; }
kill $server && wait $server
"$NHSDIR" export --operational --secrets --out hashed.ldif
grep -q '^userPassword: {ARGON2}\$argon2id' hashed.ldif
rm -rf db2/*
slapadd -f other.conf -l hashed.ldif
serve other.conf
ldapwhoami -x -D "$ann" -w "ann's secret" >/dev/null
stop
