// go-ldap, the library of Grafana and many gateways, against nhsdir. Environment: see run.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

var base = os.Getenv("BASE")

func check(holds bool, what ...interface{}) {
	if !holds {
		fmt.Fprintln(os.Stderr, what...)
		os.Exit(1)
	}
}

func connect() *ldap.Conn {
	pem, err := os.ReadFile(os.Getenv("CA"))
	check(err == nil, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	connection, err := ldap.DialURL(os.Getenv("URL"), ldap.DialWithTLSConfig(&tls.Config{RootCAs: roots}))
	check(err == nil, "connect:", err)
	return connection
}

func find(at string, scope int, filter string, attributes ...string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(at, scope, ldap.DerefAlways, 0, 10, false, filter, attributes, nil)
}

func reads(connection *ldap.Conn, dn, secret string) {
	check(ldap.IsErrorWithCode(connection.Bind(dn, "wrong-secret-wrong-secret"), 49), "expected invalidCredentials")
	err := connection.Bind(dn, secret)
	check(err == nil, "bind:", err)
	who, err := connection.WhoAmI(nil)
	check(err == nil && strings.EqualFold(who.AuthzID, "dn:"+dn), "who am I:", who, err)

	root, err := connection.Search(find("", ldap.ScopeBaseObject, "(objectClass=*)", "*", "+"))
	check(err == nil && root.Entries[0].GetAttributeValue("namingContexts") == base, "root DSE:", err)
	where := root.Entries[0].GetAttributeValue("subschemaSubentry")
	schema, err := connection.Search(find(where, ldap.ScopeBaseObject, "(objectClass=subschema)", "attributeTypes"))
	check(err == nil && strings.Contains(strings.Join(schema.Entries[0].GetAttributeValues("attributeTypes"), "\n"), "'nhsIDCode'"), "schema:", err)

	people, err := connection.SearchWithPaging(find("ou=People,"+base, ldap.ScopeWholeSubtree, "(objectClass=nhsPerson)", "cn"), 300)
	wanted, _ := strconv.Atoi(os.Getenv("PEOPLE"))
	check(err == nil && len(people.Entries) == wanted, "paged:", err, len(people.Entries))
	one := find("ou=People,"+base, ldap.ScopeWholeSubtree, "(objectClass=nhsPerson)", "1.1")
	one.SizeLimit = 1
	few, err := connection.Search(one)
	check(ldap.IsErrorWithCode(err, 4) && len(few.Entries) == 1 && len(few.Entries[0].Attributes) == 0, "size limit:", err)
}

func changes(feed *ldap.Conn) {
	entry := "cn=Go list,ou=Lists," + base
	add := ldap.NewAddRequest(entry, nil)
	add.Attribute("objectClass", []string{"groupOfNames"})
	add.Attribute("cn", []string{"Go list"})
	add.Attribute("member", []string{base})
	check(feed.Add(add) == nil, "add")
	check(ldap.IsErrorWithCode(feed.Add(add), 68), "added twice")
	modify := ldap.NewModifyRequest(entry, nil)
	modify.Add("description", []string{"one", "two"})
	modify.Replace("description", []string{"three"})
	check(feed.Modify(modify) == nil, "modify")
	same, err := feed.Compare(entry, "description", "THREE")
	check(err == nil && same, "compare true:", err)
	same, err = feed.Compare(entry, "description", "one")
	check(err == nil && !same, "compare false:", err)
	check(feed.ModifyDN(ldap.NewModifyDNRequest(entry, "cn=Go list renamed", true, "ou=Workgroups,"+base)) == nil, "rename")
	moved := "cn=Go list renamed,ou=Workgroups," + base
	found, err := feed.Search(find(moved, ldap.ScopeBaseObject, "(objectClass=*)"))
	check(err == nil && len(found.Entries) == 1, "the entry after its rename:", err)
	check(feed.Del(ldap.NewDelRequest(moved, nil)) == nil, "delete")
	_, err = feed.Search(find(moved, ldap.ScopeBaseObject, "(objectClass=*)"))
	check(ldap.IsErrorWithCode(err, 32), "deleted, and still there:", err)
}

func main() {
	anonymous := connect()
	check(anonymous.UnauthenticatedBind("") != nil, "an anonymous bind was accepted")
	_, err := anonymous.Search(find(base, ldap.ScopeWholeSubtree, "(uid=*)"))
	check(err != nil, "an anonymous search was answered")
	anonymous.Close()

	connection := connect()
	reads(connection, os.Getenv("DN"), os.Getenv("SECRET"))
	connection.Close()
	feed := connect()
	err = feed.Bind(os.Getenv("WRITER"), os.Getenv("WRITER_SECRET"))
	check(err == nil, "bind of the writer:", err)
	changes(feed)
	feed.Close()
	fmt.Println("ok")
}
