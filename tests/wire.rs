//! Real TLS sockets and a foreign client: the `ldap3` crate.

use crate::server::{ANN, BASE, BOB, Place, Server, ZOE, found, search_code, set, uids};
use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::exop::{PasswordModify, PasswordModifyResp, WhoAmI, WhoAmIResp};
use ldap3::{LdapConnAsync, LdapConnSettings, Mod, Scope, SearchEntry, SearchOptions};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Result codes of RFC 4511 appendix A, by the names the RFC has for them.
mod code {
    pub const SIZE_LIMIT_EXCEEDED: u32 = 4;
    pub const COMPARE_FALSE: u32 = 5;
    pub const COMPARE_TRUE: u32 = 6;
    pub const CONFIDENTIALITY_REQUIRED: u32 = 13;
    pub const UNDEFINED_ATTRIBUTE_TYPE: u32 = 17;
    pub const ATTRIBUTE_OR_VALUE_EXISTS: u32 = 20;
    pub const NO_SUCH_OBJECT: u32 = 32;
    pub const INVALID_DN_SYNTAX: u32 = 34;
    pub const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
    pub const INVALID_CREDENTIALS: u32 = 49;
    pub const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;
    pub const OBJECT_CLASS_VIOLATION: u32 = 65;
    pub const NOT_ALLOWED_ON_NON_LEAF: u32 = 66;
    pub const ENTRY_ALREADY_EXISTS: u32 = 68;
}

fn server() -> Server {
    Place::filled().serve()
}

#[tokio::test]
async fn nobody_reads_without_an_identity() {
    let server = server();
    let mut ldap = server.connect().await;
    let root = found(&mut ldap, "", Scope::Base, "(objectClass=*)", &["*", "+"]).await;
    let names: HashSet<&str> = root[0].attrs.keys().map(String::as_str).collect();
    assert!(
        names.contains("supportedLDAPVersion") && names.contains("supportedSASLMechanisms"),
        "{names:?}"
    );
    assert!(
        !names.contains("namingContexts") && !names.contains("vendorVersion"),
        "{names:?}"
    );

    for base in [BASE, ANN, "ou=Nowhere,o=nhs", "cn=Subschema", ""] {
        let scope = if base.is_empty() { Scope::Subtree } else { Scope::Base };
        let answer = ldap.search(base, scope, "(objectClass=*)", vec!["*"]).await.unwrap();
        assert!(
            answer.0.is_empty() && answer.1.rc != 0,
            "{base}: {} entries, {}",
            answer.0.len(),
            answer.1
        );
        assert_eq!(answer.1.matched, "", "{base}: the matched DN tells what is there");
    }
    assert_ne!(
        ldap.compare(ANN, "sn", "Jones").await.unwrap().0.rc,
        code::COMPARE_FALSE
    );
    assert_ne!(ldap.delete(ANN).await.unwrap().rc, 0);
    assert_ne!(
        ldap.modify(ANN, vec![Mod::Replace("sn", set(&["x"]))])
            .await
            .unwrap()
            .rc,
        0
    );
    assert_ne!(ldap.extended(WhoAmI).await.unwrap().1.rc, 0);
}

#[tokio::test]
async fn binds_without_a_secret_or_with_a_wrong_one_are_refused() {
    let server = server();
    let secret = server.place.account("app", "reader");
    let dn = "cn=app,ou=Applications,o=nhs";
    let mut ldap = server.connect().await;
    assert_eq!(
        ldap.simple_bind("", "").await.unwrap().rc,
        code::INAPPROPRIATE_AUTHENTICATION
    );
    assert_ne!(ldap.simple_bind(dn, "").await.unwrap().rc, 0);
    let unknown = "cn=nobody,ou=Applications,o=nhs";
    for (name, secret) in [
        (dn, "wrong secret, long enough"),
        (unknown, secret.as_str()),
        (ANN, secret.as_str()),
        ("=", "x"),
    ] {
        let refusal = ldap.simple_bind(name, secret).await.unwrap();
        assert_eq!(
            (refusal.rc, refusal.text.as_str()),
            (code::INVALID_CREDENTIALS, ""),
            "{name}"
        );
    }
}

#[tokio::test]
async fn an_account_binds_by_dn_name_and_mail() {
    let server = server();
    let created = [
        "account",
        "create",
        "app",
        "--mail",
        "app@example.nhs.uk",
        "--secret-stdin",
    ];
    let secret = "a chosen secret of many characters";
    server.place.succeed(&created, secret);
    for name in [
        "cn=app,ou=Applications,o=nhs",
        "CN = App , OU=applications,O=NHS",
        "app",
        "APP",
        "app@example.nhs.uk",
    ] {
        let mut ldap = server.connect().await;
        let result = ldap.simple_bind(name, secret).await.unwrap();
        assert_eq!(result.rc, 0, "{name}: {result}");
        let (answer, _) = ldap.extended(WhoAmI).await.unwrap().success().unwrap();
        assert_eq!(answer.parse::<WhoAmIResp>().authzid, "dn:cn=app,ou=Applications,o=nhs");
    }
}

#[tokio::test]
async fn a_failed_bind_drops_the_identity() {
    let server = server();
    let mut ldap = server.bound("reader").await;
    assert_eq!(search_code(&mut ldap, ANN, Scope::Base, "(objectClass=*)").await, 0);
    let refusal = ldap.simple_bind("reader", "not the secret at all").await.unwrap();
    assert_eq!(refusal.rc, code::INVALID_CREDENTIALS);
    assert_ne!(search_code(&mut ldap, ANN, Scope::Base, "(objectClass=*)").await, 0);
}

#[tokio::test]
async fn filters_of_every_kind() {
    let server = server();
    let mut ldap = server.bound("reader").await;
    let (ann, zoe, bob) = ("000000000001", "000000000002", "000000000003");
    let cases: &[(&str, &[&str])] = &[
        ("(sn=SMITH)", &[zoe]),
        ("(sn=  smith )", &[zoe]),
        ("(2.5.4.4=smith)", &[zoe]),
        ("(cn=zoë smith)", &[zoe]),
        ("(cn=Zo*)", &[zoe]),
        ("(cn=*mit*)", &[ann, zoe]),
        ("(cn=A*neill*th)", &[ann]),
        ("(mail=*@example.nhs.uk)", &[ann, zoe, bob]),
        ("(title=consultant*)", &[ann, zoe]),
        ("(title=*)", &[ann, zoe]),
        ("(&(departmentNumber=A81001)(!(title=consultant)))", &[zoe]),
        ("(&(uid=*)(!(title=consultant)))", &[zoe, bob]),
        ("(|(sn=jones)(givenName=ann))", &[ann, bob]),
        // uid has no ordering rule (RFC 4519 section 2.39): the term is Undefined.
        ("(uid>=000000000002)", &[]),
        ("(sn~=smith)", &[ann, zoe]),
        ("(manager=UID=000000000001, ou=people,O=nhs)", &[bob]),
        ("(sn:caseExactMatch:=smith)", &[]),
        ("(sn:caseExactMatch:=Smith)", &[zoe]),
        ("(&(uid=*)(ou:dn:=people))", &[ann, zoe, bob]),
        ("(sn;lang-cy=Siôn)", &[bob]),
        ("(name=jones)", &[bob]),
        ("(nonsense=1)", &[]),
        ("(!(nonsense=1))", &[]),
        ("(|(nonsense=1)(sn=jones))", &[bob]),
        ("(userPassword=*)", &[]),
        ("(|)", &[]),
        ("(&(uid=*)(&))", &[ann, zoe, bob]),
    ];
    for (filter, expected) in cases {
        assert_eq!(uids(&mut ldap, filter).await, *expected, "{filter}");
    }
}

#[tokio::test]
async fn scopes_selections_and_missing_bases() {
    let server = server();
    let mut ldap = server.bound("reader").await;
    let people = "ou=People,o=nhs";
    assert_eq!(
        found(&mut ldap, people, Scope::Base, "(objectClass=*)", &["1.1"])
            .await
            .len(),
        1
    );
    assert_eq!(
        found(&mut ldap, people, Scope::OneLevel, "(objectClass=*)", &["1.1"])
            .await
            .len(),
        3
    );
    assert_eq!(
        found(&mut ldap, people, Scope::Subtree, "(objectClass=*)", &["1.1"])
            .await
            .len(),
        4
    );

    let names = |entry: &SearchEntry| {
        let mut names: Vec<String> = entry.attrs.keys().cloned().collect();
        names.sort();
        names
    };
    for (asked, expected) in [
        (vec!["1.1"], vec![]),
        (vec!["SURNAME", "Mail"], vec!["mail", "sn"]),
        (vec!["2.5.4.42"], vec!["givenName"]),
        (vec!["nonsense", "title"], vec!["title"]),
        (vec!["entryUUID"], vec!["entryUUID"]),
        (vec!["name"], vec!["cn", "givenName", "sn", "title"]),
    ] {
        let entries = found(&mut ldap, ANN, Scope::Base, "(objectClass=*)", &asked).await;
        assert_eq!(names(&entries[0]), expected, "{asked:?}");
    }
    let user = names(&found(&mut ldap, ANN, Scope::Base, "(objectClass=*)", &[]).await[0]);
    assert!(
        user.contains(&"objectClass".to_owned()) && !user.contains(&"entryUUID".to_owned()),
        "{user:?}"
    );
    let all = names(&found(&mut ldap, ANN, Scope::Base, "(objectClass=*)", &["*", "+"]).await[0]);
    assert!(
        all.contains(&"entryUUID".to_owned()) && all.contains(&"sn".to_owned()),
        "{all:?}"
    );

    let answer = ldap
        .search("uid=9,ou=People,o=nhs", Scope::Base, "(objectClass=*)", vec!["*"])
        .await
        .unwrap();
    assert_eq!(answer.1.rc, code::NO_SUCH_OBJECT);
    assert_eq!(answer.1.matched.to_lowercase(), "ou=people,o=nhs");
    assert_eq!(
        search_code(&mut ldap, "nonsense", Scope::Base, "(objectClass=*)").await,
        code::INVALID_DN_SYNTAX
    );
}

#[tokio::test]
async fn limits_are_said() {
    let server = server();
    let mut ldap = server.bound("reader").await;
    ldap.with_search_options(SearchOptions::new().sizelimit(2));
    let answer = ldap.search(BASE, Scope::Subtree, "(uid=*)", vec!["1.1"]).await.unwrap();
    assert_eq!((answer.0.len(), answer.1.rc), (2, code::SIZE_LIMIT_EXCEEDED));
    ldap.with_search_options(SearchOptions::new().sizelimit(3));
    let answer = ldap.search(BASE, Scope::Subtree, "(uid=*)", vec!["1.1"]).await.unwrap();
    assert_eq!((answer.0.len(), answer.1.rc), (3, 0));
    ldap.with_search_options(SearchOptions::new().typesonly(true));
    let (entries, _) = ldap
        .search(ANN, Scope::Base, "(sn=*)", vec!["sn"])
        .await
        .unwrap()
        .success()
        .unwrap();
    let entry = SearchEntry::construct(entries.into_iter().next().unwrap());
    assert_eq!(
        entry.attrs.get("sn").map(Vec::len),
        Some(0),
        "typesOnly gives the type and no value"
    );
}

#[tokio::test]
async fn pages_cover_everything_once() {
    let server = server();
    let mut ldap = server.bound("reader").await;
    for size in [1, 2, 3, 100] {
        let adapters: Vec<Box<dyn Adapter<_, _>>> =
            vec![Box::new(EntriesOnly::new()), Box::new(PagedResults::new(size))];
        let mut search = ldap
            .streaming_search_with(adapters, BASE, Scope::Subtree, "(objectClass=*)", vec!["1.1"])
            .await
            .unwrap();
        let mut names = Vec::new();
        while let Some(entry) = search.next().await.unwrap() {
            names.push(SearchEntry::construct(entry).dn);
        }
        search.finish().await.success().unwrap();
        let distinct: HashSet<&String> = names.iter().collect();
        // The top, six containers that a reader sees, an organisation, three people, a list.
        assert_eq!((names.len(), distinct.len()), (12, 12), "page size {size}: {names:?}");
    }
}

#[tokio::test]
async fn root_dse_and_subschema_say_what_clients_ask() {
    let server = server();
    let mut ldap = server.bound("reader").await;
    let root = found(&mut ldap, "", Scope::Base, "(objectClass=*)", &["*", "+"])
        .await
        .remove(0);
    assert_eq!(root.attrs["namingContexts"], ["o=nhs"]);
    assert_eq!(root.attrs["supportedLDAPVersion"], ["3"]);
    assert!(root.attrs["supportedControl"].contains(&"1.2.840.113556.1.4.319".to_owned()));
    let subschema = root.attrs["subschemaSubentry"][0].clone();
    let wanted = ["attributeTypes", "objectClasses", "matchingRules", "ldapSyntaxes"];
    let schema = found(&mut ldap, &subschema, Scope::Base, "(objectClass=subschema)", &wanted)
        .await
        .remove(0);
    for name in wanted {
        assert!(!schema.attrs[name].is_empty(), "{name}");
    }
    let code = schema.attrs["attributeTypes"]
        .iter()
        .find(|text| text.contains("'nhsIDCode'"));
    assert!(
        code.is_some_and(|text| text.starts_with("( 1.2.826.0.1285.0.")),
        "{code:?}"
    );
}

#[tokio::test]
async fn a_reader_changes_nothing() {
    let server = server();
    let mut ldap = server.bound("reader").await;
    let refused = code::INSUFFICIENT_ACCESS_RIGHTS;
    assert_eq!(ldap.delete(BOB).await.unwrap().rc, refused);
    assert_eq!(
        ldap.modify(BOB, vec![Mod::Replace("sn", set(&["x"]))])
            .await
            .unwrap()
            .rc,
        refused
    );
    assert_eq!(ldap.modifydn(BOB, "uid=5", true, None).await.unwrap().rc, refused);
    let attributes = vec![("objectClass", set(&["device"])), ("cn", set(&["printer"]))];
    assert_eq!(ldap.add("cn=printer,o=nhs", attributes).await.unwrap().rc, refused);
    let other = PasswordModify {
        user_id: Some("writer"),
        old_pass: None,
        new_pass: None,
    };
    assert_ne!(ldap.extended(other).await.unwrap().1.rc, 0);
}

#[tokio::test]
async fn a_writer_adds_modifies_renames_and_deletes() {
    let server = server();
    let mut ldap = server.bound("writer").await;
    let dn = "cn=Night list,ou=Lists,o=nhs";
    let group = || {
        vec![
            ("objectClass", set(&["groupOfNames"])),
            ("cn", set(&["Night list"])),
            ("member", set(&[ANN])),
        ]
    };
    ldap.add(dn, group()).await.unwrap().success().unwrap();
    assert_eq!(ldap.add(dn, group()).await.unwrap().rc, code::ENTRY_ALREADY_EXISTS);
    assert_eq!(
        found(&mut ldap, BASE, Scope::Subtree, "(cn=night*)", &["cn"])
            .await
            .len(),
        1
    );

    let add = |value| vec![Mod::Add("member", set(&[value]))];
    ldap.modify(dn, add(ZOE)).await.unwrap().success().unwrap();
    assert_eq!(
        ldap.modify(dn, add("UID=000000000002,OU=People,o=nhs"))
            .await
            .unwrap()
            .rc,
        code::ATTRIBUTE_OR_VALUE_EXISTS
    );
    assert_eq!(
        ldap.modify(dn, vec![Mod::Add("nonsense", set(&["1"]))])
            .await
            .unwrap()
            .rc,
        code::UNDEFINED_ATTRIBUTE_TYPE
    );
    assert_eq!(
        ldap.modify(dn, vec![Mod::Delete("member", HashSet::new())])
            .await
            .unwrap()
            .rc,
        code::OBJECT_CLASS_VIOLATION
    );
    let members = format!("(&(cn=night list)(member={ZOE}))");
    assert_eq!(
        found(&mut ldap, BASE, Scope::Subtree, &members, &["1.1"]).await.len(),
        1
    );

    assert_eq!(
        ldap.compare(dn, "cn", "NIGHT  list").await.unwrap().0.rc,
        code::COMPARE_TRUE
    );
    assert_eq!(
        ldap.compare(dn, "cn", "day list").await.unwrap().0.rc,
        code::COMPARE_FALSE
    );

    ldap.modifydn(dn, "cn=Day list", true, Some("ou=Workgroups,o=nhs"))
        .await
        .unwrap()
        .success()
        .unwrap();
    let moved = "cn=Day list,ou=Workgroups,o=nhs";
    assert_eq!(
        found(&mut ldap, moved, Scope::Base, "(cn=day list)", &["cn"]).await[0].attrs["cn"],
        ["Day list"]
    );
    assert_eq!(
        search_code(&mut ldap, dn, Scope::Base, "(objectClass=*)").await,
        code::NO_SUCH_OBJECT
    );
    assert_eq!(
        ldap.delete("ou=Workgroups,o=nhs").await.unwrap().rc,
        code::NOT_ALLOWED_ON_NON_LEAF
    );
    ldap.delete(moved).await.unwrap().success().unwrap();
    assert_eq!(ldap.delete(moved).await.unwrap().rc, code::NO_SUCH_OBJECT);
}

#[tokio::test]
async fn a_secret_is_changed_and_the_old_one_ends() {
    let server = server();
    let secret = server.place.account("app", "reader");
    let mut ldap = server.connect().await;
    ldap.simple_bind("app", &secret).await.unwrap().success().unwrap();
    let change = PasswordModify {
        user_id: None,
        old_pass: Some(&secret),
        new_pass: None,
    };
    let (answer, _) = ldap.extended(change).await.unwrap().success().unwrap();
    let generated = answer.parse::<PasswordModifyResp>().gen_pass;
    let mut other = server.connect().await;
    assert_eq!(
        other.simple_bind("app", &secret).await.unwrap().rc,
        code::INVALID_CREDENTIALS
    );
    other.simple_bind("app", &generated).await.unwrap().success().unwrap();
}

#[tokio::test]
async fn an_abandoned_search_leaves_the_connection_alive() {
    let server = server();
    let mut ldap = server.bound("reader").await;
    for _ in 0..20 {
        let mut search = ldap
            .streaming_search(BASE, Scope::Subtree, "(objectClass=*)", vec!["*"])
            .await
            .unwrap();
        let _ = search.next().await.unwrap();
        let id = search.ldap_handle().last_id();
        ldap.abandon(id).await.unwrap();
    }
    assert_eq!(uids(&mut ldap, "(sn=jones)").await, ["000000000003"]);
}

#[tokio::test]
async fn operations_on_one_connection_run_together() {
    let server = server();
    let ldap = server.bound("reader").await;
    let searches: Vec<_> = (0..50)
        .map(|number| {
            let mut ldap = ldap.clone();
            tokio::spawn(async move { uids(&mut ldap, &format!("(uid=00000000000{})", number % 5)).await.len() })
        })
        .collect();
    for (number, search) in searches.into_iter().enumerate() {
        let expected = usize::from((1..=3).contains(&(number % 5)));
        assert_eq!(search.await.unwrap(), expected, "search {number}");
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_not_trusted() {
    let (server, other) = (server(), Place::empty().serve());
    let settings = LdapConnSettings::new()
        .set_config(Arc::new(other.trust()))
        .set_conn_timeout(Duration::from_secs(10));
    assert!(LdapConnAsync::with_settings(settings, &server.url).await.is_err());
}

#[tokio::test]
async fn clear_text_gets_nothing_from_a_tls_port() {
    let server = server();
    let url = server.url.replace("ldaps:", "ldap:");
    let (connection, mut ldap) = LdapConnAsync::new(&url).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.drive().await;
    });
    ldap.with_timeout(Duration::from_secs(10));
    assert!(ldap.simple_bind("app", "a secret in clear text").await.is_err());
}

#[tokio::test]
async fn a_plain_port_answers_start_tls_and_nothing_else() {
    let place = Place::filled();
    let config = "[listen]\nstarttls = [\"127.0.0.1:0\"]\n";
    std::fs::write(place.data().join("nhsdir.toml"), config).unwrap();
    let secret = place.account("app", "reader");
    let mut server = place.serve();
    let url = server.next_url();
    assert!(url.starts_with("ldap://"), "{url}");
    let (connection, mut clear) = LdapConnAsync::new(&url).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.drive().await;
    });
    assert_eq!(
        clear.simple_bind("app", &secret).await.unwrap().rc,
        code::CONFIDENTIALITY_REQUIRED
    );
    assert_ne!(search_code(&mut clear, BASE, Scope::Base, "(objectClass=*)").await, 0);
    let settings = LdapConnSettings::new()
        .set_starttls(true)
        .set_config(Arc::new(server.trust()));
    let (connection, mut ldap) = LdapConnAsync::with_settings(settings, &url).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.drive().await;
    });
    ldap.simple_bind("app", &secret).await.unwrap().success().unwrap();
    assert_eq!(uids(&mut ldap, "(sn=jones)").await, ["000000000003"]);
}
