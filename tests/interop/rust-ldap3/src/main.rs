//! The Rust crate `ldap3` against nhsdir. Environment: see `tests/interop/run`.

use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::controls::{MatchedValues, RawControl};
use ldap3::exop::{WhoAmI, WhoAmIResp};
use ldap3::{DerefAliases, LdapConn, LdapConnSettings, Mod, Scope, SearchEntry, SearchOptions};
use std::collections::HashSet;
use std::env::var;
use std::error::Error;
use std::time::Duration;

type Done = Result<(), Box<dyn Error>>;

fn setting(name: &str) -> Result<String, Box<dyn Error>> {
    var(name).map_err(|_| format!("{name} is not set").into())
}

fn check(holds: bool, what: impl Into<String>) -> Done {
    match holds {
        true => Ok(()),
        false => Err(what.into().into()),
    }
}

fn connect() -> Result<LdapConn, Box<dyn Error>> {
    let pem = std::fs::read(setting("CA")?)?;
    let authority = native_tls::Certificate::from_pem(&pem)?;
    let connector = native_tls::TlsConnector::builder()
        .disable_built_in_roots(true)
        .add_root_certificate(authority)
        .build()?;
    let settings = LdapConnSettings::new()
        .set_connector(connector)
        .set_conn_timeout(Duration::from_secs(10));
    Ok(LdapConn::with_settings(settings, &setting("URL")?)?)
}

fn set<'a>(values: &[&'a str]) -> HashSet<&'a str> {
    values.iter().copied().collect()
}

fn find(
    ldap: &mut LdapConn,
    base: &str,
    scope: Scope,
    filter: &str,
    names: &[&str],
) -> Result<Vec<SearchEntry>, Box<dyn Error>> {
    let (entries, _) = ldap.search(base, scope, filter, names.to_vec())?.success()?;
    Ok(entries.into_iter().map(SearchEntry::construct).collect())
}

fn strangers() -> Done {
    check(
        LdapConn::new(&setting("URL")?).is_err(),
        "a certificate that nobody vouches for was taken",
    )?;
    let base = setting("BASE")?;
    let mut nobody = connect()?;
    let found = nobody.search(&base, Scope::Subtree, "(uid=*)", vec!["cn"])?;
    check(
        found.1.rc != 0 && found.0.is_empty(),
        "an anonymous search was answered",
    )?;
    check(nobody.simple_bind("", "")?.rc == 48, "an anonymous bind was accepted")?;
    check(
        nobody.simple_bind(&setting("DN")?, "")?.rc == 53,
        "a bind without a secret was accepted",
    )?;
    check(
        nobody.simple_bind(&setting("DN")?, "wrong-secret-wrong-secret")?.rc == 49,
        "expected invalidCredentials",
    )?;
    nobody.unbind()?;
    Ok(())
}

fn reads(ldap: &mut LdapConn, base: &str) -> Done {
    let dn = setting("DN")?;
    let (answer, _) = ldap.extended(WhoAmI)?.success()?;
    let WhoAmIResp { authzid } = answer.parse();
    check(
        authzid.eq_ignore_ascii_case(&format!("dn:{dn}")),
        format!("who am I: {authzid}"),
    )?;

    let root = find(ldap, "", Scope::Base, "(objectClass=*)", &["*", "+"])?.remove(0);
    check(root.attrs["namingContexts"] == [base], "namingContexts")?;
    let subschema = root.attrs["subschemaSubentry"][0].clone();
    let schema = find(
        ldap,
        &subschema,
        Scope::Base,
        "(objectClass=subschema)",
        &["attributeTypes"],
    )?;
    let types = schema[0].attrs["attributeTypes"].join("\n");
    check(types.contains("'nhsIDCode'"), "schema")?;

    let people = format!("ou=People,{base}");
    let adapters: Vec<Box<dyn Adapter<_, _>>> = vec![Box::new(EntriesOnly::new()), Box::new(PagedResults::new(300))];
    let mut pages =
        ldap.streaming_search_with(adapters, &people, Scope::Subtree, "(objectClass=nhsPerson)", vec!["cn"])?;
    let mut count = 0;
    while pages.next()?.is_some() {
        count += 1;
    }
    pages.result().success()?;
    check(
        count.to_string() == setting("PEOPLE")?,
        format!("paged: {count} people"),
    )?;

    let options = SearchOptions::new().sizelimit(1).deref(DerefAliases::Always);
    let few =
        ldap.with_search_options(options)
            .search(&people, Scope::Subtree, "(objectClass=nhsPerson)", vec!["1.1"])?;
    check(few.1.rc == 4 && few.0.len() == 1, "size limit")?;

    sorts(ldap, &people)?;
    let person = SearchEntry::construct(few.0.into_iter().next().ok_or("no person")?).dn;
    let chosen = ldap.with_controls(MatchedValues::new("((objectClass=inetOrgPerson))"));
    let entry = find(chosen, &person, Scope::Base, "(objectClass=*)", &["*"])?.remove(0);
    check(
        entry.attrs.keys().eq(["objectClass"]),
        format!("matched values: {:?}", entry.attrs),
    )
}

/// The crate has no type for a sort: a SortKeyList of `sn`.
fn sorts(ldap: &mut LdapConn, people: &str) -> Done {
    let by_surname = RawControl {
        ctype: "1.2.840.113556.1.4.473".to_owned(),
        crit: true,
        val: Some(b"\x30\x06\x30\x04\x04\x02sn".to_vec()),
    };
    let found = find(
        ldap.with_controls(by_surname),
        people,
        Scope::Subtree,
        "(&(objectClass=nhsPerson)(sn=b*))",
        &["sn"],
    )?;
    let names: Vec<String> = found.iter().map(|entry| entry.attrs["sn"][0].to_lowercase()).collect();
    check(names.len() > 5 && names.is_sorted(), format!("sorted by sn: {names:?}"))
}

/// A search is left alone while it runs, and the connection goes on.
fn abandons(ldap: &mut LdapConn, base: &str) -> Done {
    let mut left = ldap.streaming_search(base, Scope::Subtree, "(objectClass=nhsPerson)", vec!["cn"])?;
    check(left.next()?.is_some(), "the first entry of a search")?;
    let id = left.last_id();
    drop(left);
    ldap.abandon(id)?;
    let entry = find(ldap, base, Scope::Base, "(objectClass=*)", &["1.1"])?;
    check(entry.len() == 1, "the connection after an abandoned search")
}

fn changes(feed: &mut LdapConn, base: &str) -> Done {
    let entry = format!("cn=Rust list,ou=Lists,{base}");
    let add = || {
        vec![
            ("objectClass", set(&["groupOfNames"])),
            ("cn", set(&["Rust list"])),
            ("member", set(&[base])),
        ]
    };
    feed.add(&entry, add())?.success()?;
    check(feed.add(&entry, add())?.rc == 68, "added twice")?;
    let modifications = vec![
        Mod::Add("description", set(&["one", "two"])),
        Mod::Replace("description", set(&["three"])),
    ];
    feed.modify(&entry, modifications)?.success()?;
    check(feed.compare(&entry, "description", "THREE")?.equal()?, "compare true")?;
    check(!feed.compare(&entry, "description", "one")?.equal()?, "compare false")?;
    let above = format!("ou=Workgroups,{base}");
    feed.modifydn(&entry, "cn=Rust list renamed", true, Some(&above))?
        .success()?;
    let moved = format!("cn=Rust list renamed,{above}");
    let found = find(feed, &moved, Scope::Base, "(objectClass=*)", &["cn"])?;
    check(
        found[0].attrs["cn"] == ["Rust list renamed"],
        "the entry after its rename",
    )?;
    feed.delete(&moved)?.success()?;
    let gone = feed.search(&moved, Scope::Base, "(objectClass=*)", vec!["1.1"])?;
    check(gone.1.rc == 32, "deleted, and still there")
}

fn main() -> Done {
    strangers()?;
    let base = setting("BASE")?;
    let mut reader = connect()?;
    reader.simple_bind(&setting("DN")?, &setting("SECRET")?)?.success()?;
    reads(&mut reader, &base)?;
    abandons(&mut reader, &base)?;
    check(
        reader.delete(&format!("ou=People,{base}"))?.rc == 50,
        "a reader deleted an entry",
    )?;
    reader.unbind()?;
    let mut feed = connect()?;
    feed.simple_bind(&setting("WRITER")?, &setting("WRITER_SECRET")?)?
        .success()?;
    changes(&mut feed, &base)?;
    feed.unbind()?;
    println!("ok");
    Ok(())
}
