//! Controls and computed attributes over real sockets, with the `ldap3` crate and controls made by hand.

use crate::server::{ANN, BASE, BOB, Place, Server, ZOE, found, uids};
use ldap3::{Ldap, Mod, Scope};
use std::collections::HashSet;

const WARD: &str = "cn=Ward staff,ou=Lists,o=nhs";
const HIDDEN: &str = "cn=Hidden,ou=Lists,o=nhs";

fn server() -> Server {
    Place::filled().serve()
}

fn set<'a>(values: &[&'a str]) -> HashSet<&'a str> {
    values.iter().copied().collect()
}

/// A second connection, bound as a new account of another role.
async fn writer_and_reader(server: &Server) -> (Ldap, Ldap) {
    (server.bound("writer").await, server.bound("reader").await)
}

async fn groups_of(ldap: &mut Ldap, dn: &str) -> Vec<String> {
    let mut entries = found(ldap, dn, Scope::Base, "(objectClass=*)", &["memberOf"]).await;
    let mut groups = entries.remove(0).attrs.remove("memberOf").unwrap_or_default();
    groups.sort();
    groups
}

async fn add_hidden_group(writer: &mut Ldap) {
    let group = vec![
        ("objectClass", set(&["groupOfNames", "extensibleObject"])),
        ("cn", set(&["Hidden"])),
        ("member", set(&[ANN])),
        ("nhsdirExDirectory", set(&["TRUE"])),
    ];
    writer.add(HIDDEN, group).await.unwrap().success().unwrap();
}

#[tokio::test]
async fn member_of_follows_every_change_of_a_group() {
    let server = server();
    let (mut writer, mut reader) = writer_and_reader(&server).await;
    assert_eq!(groups_of(&mut reader, ANN).await, [WARD]);
    assert!(groups_of(&mut reader, ZOE).await.is_empty());
    let plain = found(&mut reader, ANN, Scope::Base, "(objectClass=*)", &["*"]).await;
    assert!(!plain[0].attrs.contains_key("memberOf"), "it is operational");

    let members = |names: &[&'static str]| vec![Mod::Replace("member", set(names))];
    let changed = writer
        .modify(WARD, members(&["UID=000000000002, ou=people,O=nhs", BOB]))
        .await;
    changed.unwrap().success().unwrap();
    assert!(groups_of(&mut reader, ANN).await.is_empty());
    assert_eq!(groups_of(&mut reader, ZOE).await, [WARD]);
    assert_eq!(
        uids(&mut reader, &format!("(memberOf={WARD})")).await,
        ["000000000002", "000000000003"]
    );
    let both = format!("(&(sn=Jones)(memberOf={WARD}))");
    assert_eq!(uids(&mut reader, &both).await, ["000000000003"]);
    let not = format!("(&(uid=*)(!(memberOf={WARD})))");
    assert_eq!(uids(&mut reader, &not).await, ["000000000001"]);
    assert!(
        reader
            .compare(ZOE, "memberOf", "CN=ward STAFF,ou=lists,o=nhs")
            .await
            .unwrap()
            .equal()
            .unwrap()
    );
    assert!(!reader.compare(ANN, "memberOf", WARD).await.unwrap().equal().unwrap());

    writer.delete(WARD).await.unwrap().success().unwrap();
    assert!(groups_of(&mut reader, ZOE).await.is_empty());
    assert!(uids(&mut reader, &format!("(memberOf={WARD})")).await.is_empty());
    let stored = writer
        .modify(ANN, vec![Mod::Add("memberOf", set(&[WARD]))])
        .await
        .unwrap();
    assert_ne!(stored.rc, 0, "memberOf is kept by the server");
}

#[tokio::test]
async fn member_of_says_nothing_of_a_group_that_is_hidden() {
    let server = server();
    let (mut writer, mut reader) = writer_and_reader(&server).await;
    add_hidden_group(&mut writer).await;
    assert_eq!(groups_of(&mut writer, ANN).await, [HIDDEN, WARD]);
    assert_eq!(groups_of(&mut reader, ANN).await, [WARD]);
    for group in [HIDDEN, "cn=Nowhere,ou=Lists,o=nhs"] {
        assert!(
            uids(&mut reader, &format!("(memberOf={group})")).await.is_empty(),
            "{group}"
        );
        let others = uids(&mut reader, &format!("(&(uid=*)(!(memberOf={group})))")).await;
        assert_eq!(others.len(), 3, "{group}");
        assert!(
            !reader.compare(ANN, "memberOf", group).await.unwrap().equal().unwrap(),
            "{group}"
        );
    }
    assert_eq!(
        uids(&mut writer, &format!("(memberOf={HIDDEN})")).await,
        ["000000000001"]
    );
    let base = found(&mut writer, BASE, Scope::Subtree, "(memberOf=no name)", &["1.1"]).await;
    assert!(base.is_empty());
}
