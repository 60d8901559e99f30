# OpenLDAP's command line clients. Environment: see run.
set -euo pipefail
export LDAPTLS_CACERT=$CA
search() { ldapsearch -LLL -x -o ldif-wrap=no -H "$URL" "$@"; }
bound() { search -D "$DN" -w "$SECRET" "$@"; }
refused() {
  local code=$1 found=0
  shift
  "$@" >/dev/null 2>&1 || found=$?
  [ "$found" = "$code" ] || { echo "expected result $code, found $found: $*"; exit 1; }
}
expect() {
  local what=$1 wanted=$2 found=$3
  [ "$wanted" = "$found" ] || { echo "$what: expected $wanted, found $found"; exit 1; }
}

# ldapsearch always binds first, and an anonymous bind is refused (inappropriateAuthentication).
refused 48 search -b '' -s base
refused 48 search -b "$BASE" '(uid=*)'
refused 53 search -D "$DN" -w '' -b "$BASE" '(uid=*)'
refused 49 search -D "$DN" -w wrong-secret-wrong-secret -b "$BASE" -s base
refused 49 search -D "cn=nobody,ou=Applications,$BASE" -w "$SECRET" -b "$BASE" -s base
search -D "$NAME" -w "$SECRET" -b "$BASE" -s base | grep -qi '^dn: o=nhs$'

bound -b '' -s base '+' | grep -qi '^namingContexts: o=nhs$'
bound -b cn=Subschema -s base attributeTypes objectClasses ldapSyntaxes matchingRules | grep -q "NAME 'nhsIDCode'"
all=$(bound -E pr=100/noprompt -b "ou=People,$BASE" '(objectClass=nhsPerson)' 1.1 | grep -c '^dn:')
expect "paged people" "$PEOPLE" "$all"
names=$(bound -E '!sss=sn' -b "ou=People,$BASE" '(&(objectClass=nhsPerson)(sn=b*))' sn 2>/dev/null | sed -n 's/^sn: //p' | tr '[:upper:]' '[:lower:]')
[ "$(wc -l <<<"$names")" -gt 5 ] || { echo "expected people whose sn begins with b, found: $names"; exit 1; }
expect "sorted by sn" "$(LC_ALL=C sort <<<"$names")" "$names"
refused 4 bound -z 5 -b "ou=People,$BASE" '(objectClass=nhsPerson)' 1.1
refused 32 bound -b "ou=Nowhere,$BASE" -s base
one=$(bound -z 1 -b "ou=People,$BASE" '(&(objectClass=nhsPerson)(sn=*))' mail 2>/dev/null | sed -n 's/^mail: //p' | head -n 1 || true)
[ -n "$one" ] || { echo "no person has a mail"; exit 1; }
expect "by mail" 1 "$(bound -b "$BASE" "(&(objectClass=nhsPerson)(mail=$one))" 1.1 | grep -c '^dn:')"
expect "(&)" 1 "$(bound -b "$BASE" -s base '(&)' 1.1 | grep -c '^dn:')"
expect "(|)" 0 "$(bound -b "$BASE" -s base '(|)' 1.1 | grep -c '^dn:' || true)"
entry=$(bound -E '!mv=(objectClass=inetOrgPerson)' -b "$BASE" "(&(objectClass=nhsPerson)(mail=$one))" '*' | grep -v '^dn:' | sed 's/:.*//' | sort -u | xargs)
expect "matched values" objectClass "$entry"
members=$(bound -b "$BASE" -z 1 '(member=*)' member 2>/dev/null | grep -c '^member:' || true)
linked=$(bound -E '!deref=member:cn' -b "$BASE" -z 1 '(member=*)' 1.1 2>/dev/null | grep -c '^# member: ' || true)
[ "$members" -gt 0 ] || { echo "no list has members"; exit 1; }
expect "linked entries" "$members" "$linked"
below=$(bound -s children -b "ou=People,$BASE" '(|(ou=People)(objectClass=nhsPerson))' 1.1 -E pr=500/noprompt | grep -c '^dn:')
expect "everything below" "$PEOPLE" "$below"
expect "by name's place" "$PEOPLE" "$(bound -E pr=500/noprompt -b "$BASE" "(entryDN:dnOneLevelMatch:=ou=People,$BASE)" 1.1 | grep -c '^dn:')"
bound -E '!sss=sn:caseIgnoreMatch' -E '!domainScope' -b "$BASE" -s base 1.1 | grep -qi '^dn:'
bound -b "$BASE" -s base '@extensibleObject' | grep -q '^entryUUID:'
LDAPTLS_CACERT=/dev/null refused 255 bound -b "$BASE" -s base
ldapwhoami -x -H "$URL" -D "$DN" -w "$SECRET" | grep -qi "^dn: *cn=$NAME,ou=Applications,$BASE"
ldapwhoami -x -H "$URL" -D "$NAME" -w "$SECRET" -e '!bauthzid' -e sessiontracking=nurse | grep -qi "^authzid: dn:cn=$NAME,ou=Applications,$BASE"
refused 50 ldapdelete -x -H "$URL" -D "$DN" -w "$SECRET" "ou=People,$BASE"

# Password policy: the clients ask, and print what they are told.
passing() {
  local wanted=$1 tool=$2 said
  shift 2
  said=$("$tool" -x -H "$URL" -D passing -e ppolicy "$@" 2>&1 || true)
  grep -q -- "$wanted" <<<"$said" || { echo "$tool $*: expected $wanted, found $said"; exit 1; }
}
ldapi="ldapi://$(sed 's|/|%2F|g' <<<"$NHSDIR_DATA/ldapi")"
usable() {
  local said
  said=$(ldapsearch -Q -LLL -Y EXTERNAL -H "$ldapi" -b "cn=passing,ou=Applications,$BASE" -s base -E '!accountUsability' 1.1)
  grep -q "^# accountUsability: $1\$" <<<"$said" || { echo "account usability: expected $1, found $said"; exit 1; }
}
reset="reset by telephone 77" changed="changed by themselves 78"
"$NHSDIR" account create passing --role reader --secret-stdin --must-change <<<"$reset" >/dev/null
passing 'Success (0); Password must be changed$' ldapwhoami -w "$reset"
usable 'not available (reset)'
passing 'Invalid credentials (49)$' ldapwhoami -w "$changed"
passing 'ppolicy: error=2 ' ldapsearch -w "$reset" -b "$BASE" -s base
passing 'ppolicy: error=6 (Password is too short for policy)' ldappasswd -w "$reset" -a "$reset" -s short
passing 'ppolicy: error=8 ' ldappasswd -w "$reset" -a "$reset" -s "$reset"
passing 'ppolicy: error=4 ' ldappasswd -w "$reset" -s "$changed"
passing 'Success (0); Password must be changed$' ldappasswd -w "$reset" -a "$reset" -s "$changed"
usable 'available and does not expire'
printf 'dn: cn=passing,ou=Applications,%s\nchangetype: modify\nreplace: pwdChangedTime\npwdChangedTime: 20200101000000Z\n' "$BASE" |
  ldapmodify -Q -Y EXTERNAL -H "$ldapi" -e relax >/dev/null
ldapcompare -Q -Y EXTERNAL -H "$ldapi" -z "cn=passing,ou=Applications,$BASE" 'pwdChangedTime:20200101000000Z' || [ $? = 6 ]
"$NHSDIR" account expire passing "$(date -u -d '+3 days' +%Y-%m-%d)"
# Midnight in three days is two days and some hours away.
passing 'Success (0) (Password expires in [12][0-9]\{5\} seconds)' ldapwhoami -w "$changed"
usable 'available expire=[12][0-9]*'
"$NHSDIR" account disable passing
usable 'not available (inactive)'
passing 'Invalid credentials (49); Account locked$' ldapwhoami -w "$changed"
passing 'Invalid credentials (49)$' ldapwhoami -w "$reset"
"$NHSDIR" account delete passing

entry="cn=Interop list,ou=Lists,$BASE"
printf 'dn: %s\nobjectClass: groupOfNames\ncn: Interop list\nmember: %s\n' "$entry" "$BASE" |
  ldapadd -x -H "$URL" -D "$WRITER" -w "$WRITER_SECRET" >/dev/null
printf 'dn: %s\nchangetype: modify\nadd: description\ndescription: h\xc3\xa9llo\n' "$entry" |
  ldapmodify -x -H "$URL" -D "$WRITER" -w "$WRITER_SECRET" >/dev/null
expect "after modify" 1 "$(bound -b "$BASE" '(description=HÉLLO)' 1.1 | grep -c '^dn:')"
ldapcompare -x -H "$URL" -D "$DN" -w "$SECRET" "$entry" 'cn:interop  LIST' >/dev/null && exit 1 || [ $? = 6 ]
ldapcompare -x -H "$URL" -D "$DN" -w "$SECRET" "$entry" 'cn:another' >/dev/null && exit 1 || [ $? = 5 ]
ldapcompare -x -H "$URL" -D "$DN" -w "$SECRET" '' 'objectClass:top' >/dev/null && exit 1 || [ $? = 6 ]
ldapcompare -x -H "$URL" -D "$DN" -w "$SECRET" cn=Subschema 'cn:SUBSCHEMA' >/dev/null && exit 1 || [ $? = 6 ]
ldapmodify -x -H "$URL" -D "$WRITER" -w "$WRITER_SECRET" -e '!assert=(description=one)' >/dev/null 2>&1 <<MODIFY && exit 1 || [ $? = 122 ]
dn: $entry
changetype: modify
delete: description
MODIFY
ldapmodrdn -r -x -H "$URL" -D "$WRITER" -w "$WRITER_SECRET" "$entry" 'cn=Renamed list'
ldapdelete -x -H "$URL" -D "$WRITER" -w "$WRITER_SECRET" "cn=Renamed list,ou=Lists,$BASE"
refused 32 bound -b "cn=Renamed list,ou=Lists,$BASE" -s base

# Relax Rules: an entry is restored as it was, by administrators; others are told that they lack the right.
restored="cn=Restored,ou=Lists,$BASE" uuid=597ae2f6-16a6-1027-98f4-d28b5365dc14
kept="createTimestamp: 20010203040506Z
creatorsName: cn=a,dc=elsewhere
entryUUID: $uuid
modifiersName: cn=b,dc=elsewhere
modifyTimestamp: 20020203040506Z"
slapcat=$(printf 'dn: %s\nobjectClass: device\ncn: Restored\n%s\n' "$restored" "$kept")
refused 50 ldapadd -x -H "$URL" -D "$WRITER" -w "$WRITER_SECRET" -e relax <<<"$slapcat"
refused 19 ldapadd -Q -Y EXTERNAL -H "$ldapi" <<<"$slapcat"
ldapadd -Q -Y EXTERNAL -H "$ldapi" -e relax <<<"$slapcat" >/dev/null
names=(createTimestamp creatorsName entryUUID modifiersName modifyTimestamp)
found=$(ldapsearch -Q -LLL -Y EXTERNAL -H "$ldapi" -b "$BASE" "(entryUUID=$uuid)" "${names[@]}" | grep -v '^dn:' | sed '/^$/d' | LC_ALL=C sort)
expect "a restored entry" "$kept" "$found"
ldapdelete -Q -Y EXTERNAL -H "$ldapi" "$restored"
