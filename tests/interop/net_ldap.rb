# Ruby's net-ldap against nhsdir. Environment: see run.
require "net/ldap"

URL, CA, BASE, DN, SECRET = ENV.values_at("URL", "CA", "BASE", "DN", "SECRET")
HOST, PORT = URL.delete_prefix("ldaps://").split(":")

def check(holds, what)
  abort(what) unless holds
end

def connect(dn = nil, secret = nil)
  tls = { method: :simple_tls, tls_options: { ca_file: CA, verify_mode: OpenSSL::SSL::VERIFY_PEER } }
  auth = dn ? { method: :simple, username: dn, password: secret } : { method: :anonymous }
  Net::LDAP.new(host: HOST, port: PORT.to_i, encryption: tls, auth: auth)
end

check(!connect.bind, "an anonymous bind was accepted")
anonymous = connect
check(!anonymous.search(base: BASE, filter: "(uid=*)"), "an anonymous search was answered")
wrong = connect(DN, "wrong-secret-wrong-secret")
check(!wrong.bind && wrong.get_operation_result.code == 49, "expected invalidCredentials")

ldap = connect(DN, SECRET)
check(ldap.bind, "bind: #{ldap.get_operation_result}")
root = ldap.search_root_dse
check(root[:namingcontexts].include?(BASE), "namingContexts: #{root[:namingcontexts]}")
check(ldap.paged_searches_supported?, "paged results are not announced")
check(ldap.search_subschema_entry[:attributetypes].any? { |type| type.include?("'nhsIDCode'") }, "nhsIDCode is not in the schema")

# This library pages every search by itself.
people = ldap.search(base: "ou=People,#{BASE}", filter: "(objectClass=nhsPerson)", attributes: ["cn", "sn"])
check(people && people.size == ENV["PEOPLE"].to_i, "expected #{ENV["PEOPLE"]} people, found #{people && people.size}")
# Its sort control is not asked for: it does not encode one as RFC 2891 has it.
check(ldap.search(base: BASE, filter: "(sn=#{people.first[:sn].first})", size: 1).size == 1, "a search with a size limit of one")

feed = connect(ENV["WRITER"], ENV["WRITER_SECRET"])
entry = "cn=Ruby list,ou=Lists,#{BASE}"
attributes = { objectclass: %w[top groupOfNames], cn: "Ruby list", member: BASE }
check(feed.add(dn: entry, attributes: attributes), "add: #{feed.get_operation_result}")
check(!feed.add(dn: entry, attributes: attributes) && feed.get_operation_result.code == 68, "added twice")
check(feed.modify(dn: entry, operations: [[:add, :description, ["one", "two"]], [:replace, :description, ["three"]]]), "modify: #{feed.get_operation_result}")
check(feed.add_attribute(entry, :description, "four"), "add_attribute: #{feed.get_operation_result}")
check(feed.delete_attribute(entry, :description), "delete_attribute: #{feed.get_operation_result}")
check(feed.rename(olddn: entry, newrdn: "cn=Ruby list renamed", delete_attributes: true, new_superior: "ou=Workgroups,#{BASE}"), "rename: #{feed.get_operation_result}")
moved = "cn=Ruby list renamed,ou=Workgroups,#{BASE}"
check(feed.search(base: moved, scope: Net::LDAP::SearchScope_BaseObject).first[:cn] == ["Ruby list renamed"], "the entry after its rename")
check(feed.delete(dn: moved), "delete: #{feed.get_operation_result}")
feed.search(base: moved, scope: Net::LDAP::SearchScope_BaseObject)
check(feed.get_operation_result.code == 32, "deleted, and still there")
puts "ok"
