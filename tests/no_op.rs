//! No-Op (1.3.6.1.4.1.4203.666.5.2, `-e noop` of OpenLDAP's tools): everything is looked at, and nothing done.

use crate::server::{ANN, BASE, BOB, Place, found, set};
use crate::{general, transactions};
use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapResult, Mod, Scope};
use std::collections::HashSet;

const OID: &str = "1.3.6.1.4.1.4203.666.5.2";
const NO_OPERATION: u32 = 16654;

fn no_op() -> RawControl {
    RawControl {
        ctype: OID.to_owned(),
        crit: true,
        val: None,
    }
}

async fn whole(ldap: &mut Ldap) -> Vec<String> {
    let entries = found(ldap, BASE, Scope::Subtree, "(objectClass=*)", &["*", "+"]).await;
    let mut lines: Vec<String> = entries
        .iter()
        .map(|entry| format!("{} {:?}", entry.dn, sorted(&entry.attrs)))
        .collect();
    lines.sort();
    lines
}

fn sorted(attributes: &std::collections::HashMap<String, Vec<String>>) -> Vec<(&String, &Vec<String>)> {
    let mut sorted: Vec<_> = attributes.iter().filter(|(name, _)| *name != "contextCSN").collect();
    sorted.sort();
    sorted
}

fn list(cn: &'static str) -> Vec<(&'static str, HashSet<&'static str>)> {
    vec![("objectClass", set(&["device"])), ("cn", set(&[cn]))]
}

#[tokio::test]
async fn an_update_comes_to_its_result_and_nothing_else() {
    let server = Place::filled().serve();
    let mut feed = server.bound("writer").await;
    let before = whole(&mut feed).await;
    let new = "cn=new,ou=Lists,o=nhs";
    let code = |result: Result<LdapResult, ldap3::LdapError>| result.unwrap().rc;
    let title = |value: &'static str| vec![Mod::Replace("title", set(&[value]))];
    let (exists, missing, violation, not_leaf) = (68, 32, 65, 66);
    assert_eq!(
        code(feed.with_controls(no_op()).add(new, list("new")).await),
        NO_OPERATION
    );
    assert_eq!(
        code(feed.with_controls(no_op()).modify(ANN, title("Matron")).await),
        NO_OPERATION
    );
    assert_eq!(
        code(feed.with_controls(no_op()).modifydn(ANN, "uid=9", true, None).await),
        NO_OPERATION
    );
    assert_eq!(code(feed.with_controls(no_op()).delete(ANN).await), NO_OPERATION);
    // What would be refused is.
    assert_eq!(
        code(
            feed.with_controls(no_op())
                .add("cn=Ward staff,ou=Lists,o=nhs", list("Ward staff"))
                .await
        ),
        exists
    );
    assert_eq!(code(feed.with_controls(no_op()).delete(new).await), missing);
    let foreign = vec![Mod::Add("nhsIDCode", set(&["A81001"]))];
    assert_eq!(code(feed.with_controls(no_op()).modify(BOB, foreign).await), violation);
    assert_eq!(
        code(feed.with_controls(no_op()).delete("ou=People,o=nhs").await),
        not_leaf
    );
    assert_eq!(whole(&mut feed).await, before);
    assert_eq!(
        code(feed.modify(ANN, title("Matron")).await),
        0,
        "the next update is one"
    );
    let root = found(&mut feed, "", Scope::Base, "(objectClass=*)", &["supportedControl"]).await;
    assert!(root[0].attrs["supportedControl"].contains(&OID.to_owned()));
    let (place, _) = server.stop();
    let audit = std::fs::read_to_string(place.data().join("audit/00000001.jsonl")).unwrap();
    let told = audit.lines().filter(|line| line.contains("\"result\":\"noOperation\""));
    assert_eq!(told.count(), 4);
}

/// Accounts change at once where they do: no-op must come before that.
#[tokio::test]
async fn secrets_and_locks_stay_as_they_are() {
    let (unwilling, success) = (53, 0);
    let server = general::place("").serve();
    let mut manager = general::manager(&server).await;
    let secret = vec![Mod::Replace("userPassword", set(&["ann-2"]))];
    let answer = manager.with_controls(no_op()).modify(general::ANN, secret).await;
    assert_eq!(answer.unwrap().rc, unwilling);
    for guess in ["ann-1", "wrong"] {
        let guess = vec![Mod::Delete("userPassword", set(&[guess]))];
        let answer = manager.with_controls(no_op()).modify(general::ANN, guess).await;
        assert_eq!(answer.unwrap().rc, unwilling, "it tells no secret");
    }
    let lock = vec![Mod::Add("pwdAccountLockedTime", set(&["000001010000Z"]))];
    let answer = manager.with_controls(no_op()).modify(general::ANN, lock).await;
    assert_eq!(answer.unwrap().rc, NO_OPERATION);
    let answer = manager.with_controls(no_op()).delete(general::ANN).await;
    assert_eq!(answer.unwrap().rc, NO_OPERATION);
    assert_eq!(general::bind(&server, general::ANN, "ann-1").await.1, success);

    let identifier = transactions::start(&mut manager).await;
    let controls = vec![no_op(), transactions::within(&identifier)];
    let answer = manager.with_controls(controls).delete(general::ANN).await;
    assert_eq!(answer.unwrap().rc, unwilling);
    assert_eq!(transactions::end(&mut manager, true, &identifier).await.0, success);
    assert_eq!(general::bind(&server, general::ANN, "ann-1").await.1, success);

    let accounts = Place::filled();
    let secret = accounts.account("app", "reader");
    let server = accounts.serve();
    let mut administrator = server.bound("administrator").await;
    let app = "cn=app,ou=Applications,o=nhs";
    let answer = administrator.with_controls(no_op()).delete(app).await;
    assert_eq!(answer.unwrap().rc, NO_OPERATION);
    let disable = vec![Mod::Replace("nhsdirDisabled", set(&["TRUE"]))];
    let answer = administrator.with_controls(no_op()).modify(app, disable).await;
    assert_eq!(answer.unwrap().rc, NO_OPERATION);
    let mut ldap = server.connect().await;
    assert_eq!(ldap.simple_bind("app", &secret).await.unwrap().rc, success);
}
