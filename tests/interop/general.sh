# docs/general-directory.md, word for word. Environment: see run; NHSDIR is the program.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
finish() {
  # shellcheck disable=SC2046
  [ -z "$(jobs -p)" ] || { kill $(jobs -p) 2>/dev/null && wait; } || true
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
ln -s "$NHSDIR" nhsdir
export PATH=$work:$PATH
# The blocks of the document in their order: two files, the commands, and what lets password policies rule.
awk '/^```toml$/ { n++; out = n == 1 ? "nhsdir.toml" : n == 2 ? "policy.toml" : "more.toml"; next }
     /^```sh$/ { out = "commands.sh"; next }
     /^```$/ { out = ""; next }
     out { print > out }' "$here/../../docs/general-directory.md"
# Only the port is ours: any that is free.
sed -i -e 's/--listen 127.0.0.1:1636 &/--listen 127.0.0.1:0 >ready 2>log \&/' \
  -e 's#LDAPURI=ldaps://127.0.0.1:1636#LDAPURI=$(awk "/^ready ldaps:/ { print \\$2 }" ready)#' commands.sh
set +u
. ./commands.sh >answers 2>&1 || { cat answers log; exit 1; }
expect() {
  grep -q -- "$1" answers || { echo "expected $1:"; cat answers; exit 1; }
}
expect '^dn:uid=ann,ou=people,dc=example,dc=com$'
expect '^cn: Ann Smith$'
expect '^New password: nhsdir_'
cat nhsdir.toml more.toml >both.toml
NHSDIR_CONFIG=$work/both.toml nhsdir status >/dev/null || { echo "more.toml does not go with nhsdir.toml"; exit 1; }
if grep -q '^userPassword' answers; then echo "userPassword was released"; exit 1; fi
if grep -rqa -e "ann's secret" -e "another secret" data log; then echo "a secret is in a file"; exit 1; fi
