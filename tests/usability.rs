//! The account usability control (1.3.6.1.4.1.42.2.27.9.5.8): a search tells of the accounts it finds whether they can be used.

use crate::general::{self, ANN};
use crate::server::{Place, found, set};
use crate::sync;
use ldap3::controls::{RawControl, RefreshMode};
use ldap3::{Ldap, Mod, Scope};

const OID: &str = "1.3.6.1.4.1.42.2.27.9.5.8";
const POLICY: &str = "cn=default,dc=example,dc=com";
const PROTOCOL_ERROR: u32 = 2;
const UNAVAILABLE_CRITICAL: u32 = 12;
/// No end.
const AVAILABLE: &[u8] = &[0x80, 1, 0xff];

fn asking(crit: bool) -> RawControl {
    RawControl {
        ctype: OID.to_owned(),
        crit,
        val: None,
    }
}

/// The value that comes with an entry; `None` where no control does.
async fn told(ldap: &mut Ldap, dn: &str) -> Option<Vec<u8>> {
    let search = ldap
        .with_controls(asking(true))
        .search(dn, Scope::Base, "(objectClass=*)", vec!["1.1"]);
    let (mut entries, _) = search.await.unwrap().success().unwrap();
    assert_eq!(entries.len(), 1);
    let controls = entries.remove(0).1;
    let control = controls.into_iter().find(|control| control.1.ctype == OID)?;
    Some(control.1.val.unwrap())
}

/// Inactive, to be changed, expired; and what is behind that.
fn unavailable(flags: [bool; 3], more: &[u8]) -> Option<Vec<u8>> {
    let flag = |(tag, flag): (u8, bool)| [tag, 1, if flag { 0xff } else { 0 }];
    let inside: Vec<u8> = (0x80..).zip(flags).flat_map(flag).chain(more.iter().copied()).collect();
    Some([&[0xa1, u8::try_from(inside.len()).unwrap()], inside.as_slice()].concat())
}

async fn change(ldap: &mut Ldap, dn: &str, name: &'static str, values: &[&'static str]) {
    let relax = RawControl {
        ctype: "1.3.6.1.4.1.4203.666.5.12".to_owned(),
        crit: true,
        val: None,
    };
    let changes = vec![Mod::Replace(name, set(values))];
    let answer = ldap.with_controls(relax).modify(dn, changes).await.unwrap();
    assert_eq!(answer.rc, 0, "{name} {answer}");
}

#[tokio::test]
async fn what_an_account_is_good_for_is_told() {
    let settings = format!("[password_policy]\nenabled = true\ndefault = \"{POLICY}\"");
    let server = general::place(&settings).serve();
    let mut manager = general::manager(&server).await;
    assert_eq!(told(&mut manager, ANN).await.unwrap(), AVAILABLE, "no policy yet");
    let rules = vec![
        ("objectClass", set(&["device", "pwdPolicy"])),
        ("pwdAttribute", set(&["userPassword"])),
        ("pwdMaxAge", set(&["2000000000"])),
        ("pwdGraceAuthNLimit", set(&["3"])),
        ("pwdLockout", set(&["TRUE"])),
    ];
    assert_eq!(manager.add(POLICY, rules).await.unwrap().rc, 0);
    let ages = told(&mut manager, ANN).await.unwrap();
    assert_eq!(ages[..2], [0x80, 4], "{ages:?}");
    change(&mut manager, POLICY, "pwdMaxAge", &["86400"]).await;
    change(&mut manager, ANN, "pwdChangedTime", &["20200101000000Z"]).await;
    change(&mut manager, ANN, "pwdGraceUseTime", &["20200301000000Z"]).await;
    let expired = [false, false, true];
    assert_eq!(told(&mut manager, ANN).await, unavailable(expired, &[0x83, 1, 2]));
    change(&mut manager, ANN, "pwdReset", &["TRUE"]).await;
    assert_eq!(told(&mut manager, ANN).await, unavailable([false, true, false], &[]));
    change(&mut manager, ANN, "pwdAccountLockedTime", &["000001010000Z"]).await;
    assert_eq!(told(&mut manager, ANN).await, unavailable([true, true, false], &[]));
    change(&mut manager, ANN, "pwdReset", &["FALSE"]).await;
    change(&mut manager, ANN, "pwdAccountLockedTime", &[]).await;
    change(&mut manager, ANN, "pwdChangedTime", &[]).await;
    assert_eq!(told(&mut manager, ANN).await.unwrap(), AVAILABLE);
    assert_eq!(told(&mut manager, "dc=example,dc=com").await, None, "no secret");
}

/// It follows from attributes: who reads them all is told, and who asks for itself.
#[tokio::test]
async fn it_is_told_to_who_reads_what_it_follows_from() {
    let place = general::place("");
    let config = place.data().join("nhsdir.toml");
    let rules = "rules = [{ entry = \"uid=all,dc=example,dc=com\", profile = \"all\" }, \
                 { entry = \"uid=most,dc=example,dc=com\", profile = \"most\" }]\n";
    let settings = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, settings + rules).unwrap();
    let policy = "[profile.people]\nbases = [\"{suffix}\"]\nsearchable = [\"*\"]\nreleased = [\"*\"]\n\
                  [profile.all]\nlike = \"people\"\nreleased = [\"*\", \"+\"]\n\
                  [profile.most]\nlike = \"people\"\nreleased = [\"*\", \"pwdChangedTime\", \"pwdReset\"]\n";
    std::fs::write(place.folder().join("policy.toml"), policy).unwrap();
    let server = place.serve();
    let mut manager = general::manager(&server).await;
    for (dn, secret) in [
        ("uid=all,dc=example,dc=com", "all-1"),
        ("uid=most,dc=example,dc=com", "most-1"),
    ] {
        assert_eq!(general::person(&mut manager, dn, &[secret]).await.rc, 0);
        let mut ldap = general::bound(&server, dn, secret).await;
        assert_eq!(told(&mut ldap, dn).await.unwrap(), AVAILABLE, "itself");
        let others = told(&mut ldap, ANN).await;
        assert_eq!(others.is_some(), secret == "all-1", "{dn}");
    }
    let mut ann = general::bound(&server, ANN, "ann-1").await;
    assert_eq!(told(&mut ann, ANN).await.unwrap(), AVAILABLE);
    assert_eq!(told(&mut ann, "uid=all,dc=example,dc=com").await, None);
}

#[tokio::test]
async fn applications_have_ends_of_their_own() {
    let place = Place::filled();
    place.account("app", "reader");
    let server = place.serve();
    let mut admin = server.bound("administrator").await;
    let app = "cn=app,ou=Applications,o=nhs";
    assert_eq!(told(&mut admin, app).await.unwrap(), AVAILABLE);
    server.place.succeed(&["account", "expire", "app", "2099-01-01"], "");
    assert_eq!(told(&mut admin, app).await.unwrap()[..2], [0x80, 4]);
    server.place.succeed(&["account", "disable", "app"], "");
    assert_eq!(told(&mut admin, app).await, unavailable([true, false, false], &[]));
    server.place.succeed(&["account", "expire", "app", "2020-01-01"], "");
    assert_eq!(told(&mut admin, app).await, unavailable([true, false, true], &[]));

    let root = found(&mut admin, "", Scope::Base, "(objectClass=*)", &["supportedControl"]).await;
    assert!(root[0].attrs["supportedControl"].contains(&OID.to_owned()));
    let valued = RawControl {
        val: Some(b"x".to_vec()),
        ..asking(false)
    };
    let search = admin
        .with_controls(valued)
        .search(app, Scope::Base, "(objectClass=*)", vec!["1.1"]);
    assert_eq!(search.await.unwrap().1.rc, PROTOCOL_ERROR);
    let compared = admin.with_controls(asking(true)).compare(app, "cn", "app").await;
    assert_eq!(compared.unwrap().0.rc, UNAVAILABLE_CRITICAL);
    let (mut copy, _) = sync::both(&server).await;
    for (crit, code) in [(true, UNAVAILABLE_CRITICAL), (false, 0)] {
        let controls = vec![sync::asked(RefreshMode::RefreshOnly, None, false), asking(crit)];
        let search = copy
            .with_controls(controls)
            .search("o=nhs", Scope::Base, "(objectClass=*)", vec!["1.1"]);
        assert_eq!(search.await.unwrap().1.rc, code);
    }
}
