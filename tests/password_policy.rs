//! The password policy control (draft-behera-ldap-password-policy): who is told what of a secret and its account.

use crate::binds::{Raw, element, plain};
use crate::general::{self, ANN as GENERAL_ANN};
use crate::server::{ANN, BASE, BOB, Place, Server, found, set};
use crate::transactions;
use ldap3::controls::RawControl;
use ldap3::exop::{PasswordModify, WhoAmI};
use ldap3::{Ldap, LdapResult, Mod, Scope};

const OID: &str = "1.3.6.1.4.1.42.2.27.8.5.1";
const APP: &str = "cn=app,ou=Applications,o=nhs";

const PROTOCOL_ERROR: u32 = 2;
const CONSTRAINT_VIOLATION: u32 = 19;
const INVALID_CREDENTIALS: u32 = 49;
const INSUFFICIENT: u32 = 50;

/// Errors of section 6.2.
const EXPIRED: u8 = 0;
const LOCKED: u8 = 1;
const CHANGE_AFTER_RESET: u8 = 2;
const NOT_ALLOWED: u8 = 3;
const OLD_NEEDED: u8 = 4;
const POOR: u8 = 5;
const TOO_SHORT: u8 = 6;
const TOO_YOUNG: u8 = 7;
const IN_HISTORY: u8 = 8;
const TOO_LONG: u8 = 9;

fn asking() -> RawControl {
    RawControl {
        ctype: OID.to_owned(),
        crit: true,
        val: None,
    }
}

/// In place of an error: how often an expired secret still binds.
const GRACE: u8 = 0x80;

/// What an answer tells: seconds until the end, and an error. `None`: there is no control.
type Told = Option<(Option<u64>, Option<u8>)>;

const NOTHING: Told = None;

/// Who asks with a bind is answered, though there be nothing to tell.
const ASKED: Told = Some((None, None));

fn fault(code: u8) -> Told {
    Some((None, Some(code)))
}

fn told(result: &LdapResult) -> Told {
    let control = result.ctrls.iter().find(|control| control.1.ctype == OID)?;
    let value = control.1.val.as_deref().unwrap();
    assert_eq!(value[..2], [0x30, u8::try_from(value.len() - 2).unwrap()]);
    let mut rest = &value[2..];
    let mut expires_in = None;
    if let [0xa0, length, 0x80, octets, more @ ..] = rest {
        assert_eq!(length - 2, *octets);
        let (number, more) = more.split_at(usize::from(*octets));
        expires_in = Some(number.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet)));
        rest = more;
    }
    let error = match rest {
        [0xa0, 3, 0x81, 1, left] => Some(GRACE | left),
        [] => None,
        [0x81, 1, code] => Some(*code),
        other => panic!("{other:?}"),
    };
    Some((expires_in, error))
}

/// The same of the answer to a change, which has a control only where there is something to tell.
fn told_of_change(result: &LdapResult) -> Told {
    let told = told(result);
    assert_ne!(told, ASKED);
    told
}

async fn bind(server: &Server, name: &str, secret: &str) -> (Ldap, u32, Told) {
    let mut ldap = server.connect().await;
    let answer = ldap.with_controls(asking()).simple_bind(name, secret).await.unwrap();
    (ldap, answer.rc, told(&answer))
}

async fn change(ldap: &mut Ldap, user: Option<&str>, old: Option<&str>, new: Option<&str>) -> (u32, Told) {
    let request = PasswordModify {
        user_id: user,
        old_pass: old,
        new_pass: new,
    };
    let answer = ldap.with_controls(asking()).extended(request).await.unwrap().1;
    (answer.rc, told_of_change(&answer))
}

async fn modify(ldap: &mut Ldap, dn: &str, changes: Vec<Mod<&str>>) -> (u32, Told) {
    let answer = ldap.with_controls(asking()).modify(dn, changes).await.unwrap();
    (answer.rc, told_of_change(&answer))
}

/// The octets of the answer to a simple bind with the control.
fn bind_octets(server: &Server, operation: &[u8], asks: bool) -> Vec<u8> {
    let mut raw = Raw::open(server);
    let control = element(0x30, &element(0x04, OID.as_bytes()));
    let controls = if asks { element(0xa0, &control) } else { Vec::new() };
    raw.send(&[&[0x02, 1, 1], operation, &controls].concat());
    raw.message()
}

fn simple(name: &str, secret: &str) -> Vec<u8> {
    let credentials = [element(0x04, name.as_bytes()), element(0x80, secret.as_bytes())].concat();
    element(0x60, &[&[0x02, 1, 3][..], &credentials].concat())
}

/// The state of an account is told to who proves its secret. For all others the octets are those of an unknown name.
#[tokio::test]
async fn only_who_brings_the_secret_is_told_why_it_is_refused() {
    let place = Place::filled();
    let secret = place.account("app", "reader");
    let server = place.serve();
    let refused = |asks| bind_octets(&server, &simple("nobody", &secret), asks);
    let (asked, unasked) = (refused(true), refused(false));
    assert!(asked.ends_with(&[4, 2, 0x30, 0]), "a control that tells nothing");
    assert_eq!(unasked.len(), 3 + 9, "no control at all");
    let states: [(&[&str], u8, &[&str]); 2] = [
        (&["account", "disable", "app"], LOCKED, &["account", "enable", "app"]),
        (
            &["account", "expire", "app", "2020-01-01"],
            EXPIRED,
            &["account", "expire", "app", "never"],
        ),
    ];
    for (refuse, code, allow) in states {
        server.place.succeed(refuse, "");
        let (mut ldap, rc, why) = bind(&server, "app", &secret).await;
        assert_eq!((rc, why), (INVALID_CREDENTIALS, fault(code)), "{refuse:?}");
        assert!(
            ldap.extended(WhoAmI).await.unwrap().1.rc != 0,
            "{refuse:?}: nobody is bound"
        );
        let by_plain = bind_octets(&server, &plain("", "app", &secret), true);
        assert_eq!(by_plain[by_plain.len() - 5..], [0x30, 3, 0x81, 1, code]);
        for (name, secret, asks) in [
            ("app", "wrong", true),
            (APP, "wrong", true),
            ("app", &secret, false),
            ("app", "wrong", false),
        ] {
            let operations = [simple(name, secret), plain("", name, secret)];
            for operation in operations {
                assert_eq!(
                    bind_octets(&server, &operation, asks),
                    if asks { &asked[..] } else { &unasked[..] },
                    "{refuse:?} {name} {asks}"
                );
            }
        }
        server.place.succeed(allow, "");
        assert_eq!((bind(&server, "app", &secret).await.1), 0, "{allow:?}");
    }
    // Guesses at an account that is refused are throttled like others, and then its own secret tells no more.
    server.place.succeed(&["account", "disable", "app"], "");
    for guess in 0..10 {
        let (_, rc, why) = bind(&server, "app", &format!("guess {guess}")).await;
        assert_eq!((rc, why), (INVALID_CREDENTIALS, ASKED));
    }
    assert_eq!(bind_octets(&server, &simple("app", &secret), true), asked);
    server.place.succeed(&["account", "unlock", "app"], "");
    let (_, rc, why) = bind(&server, "app", &secret).await;
    assert_eq!((rc, why), (INVALID_CREDENTIALS, fault(LOCKED)));
}

#[tokio::test]
async fn an_end_that_is_near_is_told() {
    let place = Place::filled();
    let secret = place.account("app", "reader");
    let server = place.serve();
    // Twice each: the second is answered from memory.
    let warned = async |secret: &str| {
        let mut last = None;
        for _ in 0..2 {
            let (_, rc, warning) = bind(&server, APP, secret).await;
            assert_eq!(rc, 0);
            let (expires_in, error) = warning.unwrap();
            assert_eq!(error, None);
            last = expires_in;
        }
        last
    };
    assert_eq!(warned(&secret).await, None);
    server.place.succeed(&["account", "expire", "app", "2999-01-01"], "");
    assert_eq!(warned(&secret).await, None);
    let answer = server
        .place
        .succeed(&["account", "rotate", "app", "--keep-old", "2d", "--json"], "");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let new = answer["secret"].as_str().unwrap();
    assert_eq!(warned(new).await, None);
    let left = warned(&secret).await.unwrap();
    assert!((172_000..=172_800).contains(&left), "{left}");
    let (_, rc, _) = bind(&server, APP, &secret).await;
    assert_eq!(rc, 0);
    let mut ldap = server.connect().await;
    let silent = ldap.simple_bind(APP, &secret).await.unwrap();
    assert_eq!((silent.rc, silent.ctrls.len()), (0, 0), "who does not ask");
}

/// After a reset nothing is done but the change of the secret; it ends on the connection that made the change.
#[tokio::test]
async fn a_reset_secret_is_good_for_its_own_change() {
    let place = Place::filled();
    place.account("app", "administrator");
    let server = place.serve();
    let reset = "reset by telephone 77";
    let rotate = ["account", "rotate", "app", "--must-change", "--secret-stdin"];
    server.place.succeed(&rotate, reset);
    assert!(server.place.succeed(&["account", "list"], "").contains("must change"));
    let (mut app, rc, why) = bind(&server, "app", reset).await;
    assert_eq!((rc, why), (0, fault(CHANGE_AFTER_RESET)));
    let (_, rc, why) = bind(&server, "app", reset).await;
    assert_eq!((rc, why), (0, fault(CHANGE_AFTER_RESET)), "never from memory");
    let first = (INSUFFICIENT, fault(CHANGE_AFTER_RESET));
    // Nor does it matter whom a SASL bind says it wants to be, which is itself.
    let compare = [
        element(0x04, ANN.as_bytes()),
        element(0x30, &[element(0x04, b"sn"), element(0x04, b"x")].concat()),
    ];
    for wanted in ["", "u:app", "dn:cn=app,ou=Applications,o=nhs"] {
        let mut raw = Raw::open(&server);
        assert_eq!(raw.ask(1, &plain(wanted, "app", reset)), 0, "{wanted}");
        let answer = raw.ask(2, &element(0x6e, &compare.concat()));
        assert_eq!(u32::from(answer), INSUFFICIENT, "{wanted}");
    }

    let search = app.with_controls(asking());
    let answer = search
        .search(BASE, Scope::Base, "(objectClass=*)", vec!["1.1"])
        .await
        .unwrap()
        .1;
    assert_eq!((answer.rc, told(&answer)), first);
    let answer = app
        .search(BASE, Scope::Base, "(objectClass=*)", vec!["1.1"])
        .await
        .unwrap();
    assert_eq!(
        (answer.0.len(), answer.1.rc, answer.1.ctrls.len()),
        (0, INSUFFICIENT, 0),
        "who does not ask"
    );
    let answer = app.with_controls(asking()).compare(ANN, "sn", "x").await.unwrap().0;
    assert_eq!((answer.rc, told(&answer)), first);
    let answer = app.with_controls(asking()).delete(BOB).await.unwrap();
    assert_eq!((answer.rc, told(&answer)), first);
    let answer = app
        .with_controls(asking())
        .modifydn(BOB, "uid=9", true, None)
        .await
        .unwrap();
    assert_eq!((answer.rc, told(&answer)), first);
    let title = vec![Mod::Replace("title", set(&["Porter"]))];
    assert_eq!(modify(&mut app, BOB, title).await, first);
    let undo = vec![Mod::Replace("pwdReset", set(&["FALSE"]))];
    assert_eq!(modify(&mut app, APP, undo).await, first);
    let mixed = vec![
        Mod::Replace("userPassword", set(&["a quite different one 88"])),
        Mod::Replace("description", set(&["x"])),
    ];
    assert_eq!(modify(&mut app, APP, mixed).await, first);
    assert_eq!(
        change(&mut app, Some("cn=other,ou=Applications,o=nhs"), None, None).await,
        first
    );

    assert_eq!(app.extended(WhoAmI).await.unwrap().1.rc, 0);
    let root = found(&mut app, "", Scope::Base, "(objectClass=*)", &["supportedControl"]).await;
    assert!(root[0].attrs["supportedControl"].contains(&OID.to_owned()));
    let same = change(&mut app, None, Some(reset), Some(reset)).await;
    assert_eq!(same, (CONSTRAINT_VIOLATION, fault(IN_HISTORY)));
    let hash = "{SSHA}qkvjJtOnIy4jFFYjEMIK/T3DizExMjM0NTY3OA==";
    let same = modify(&mut app, APP, vec![Mod::Replace("userPassword", set(&[hash]))]).await;
    assert_eq!(same, (CONSTRAINT_VIOLATION, fault(POOR)), "the hash of the same");
    assert_eq!(
        change(&mut app, None, Some(reset), Some("a quite different one 88")).await,
        (0, NOTHING)
    );
    assert_eq!(
        found(&mut app, BASE, Scope::Base, "(objectClass=*)", &["1.1"])
            .await
            .len(),
        1
    );
    assert_eq!(bind(&server, "app", reset).await.1, INVALID_CREDENTIALS);
    let (_, rc, why) = bind(&server, "app", "a quite different one 88").await;
    assert_eq!((rc, why), (0, ASKED));
}

/// What is wrong with a new secret, on every way it may come.
#[tokio::test]
async fn a_new_secret_is_refused_with_the_rule_it_breaks() {
    let place = Place::filled();
    let secret = place.account("app", "reader");
    let server = place.serve();
    let (mut app, _, _) = bind(&server, "app", &secret).await;
    let long = "correct horse ".repeat(80);
    for (new, code) in [
        ("short", TOO_SHORT),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", POOR),
        ("my-Password-is-so-very-long", POOR),
        (&long, TOO_LONG),
    ] {
        let refused = change(&mut app, None, Some(&secret), Some(new)).await;
        assert_eq!(refused, (CONSTRAINT_VIOLATION, fault(code)), "{new}");
    }
    assert_eq!(
        change(&mut app, None, None, None).await,
        (INSUFFICIENT, fault(OLD_NEEDED))
    );
    for another in ["u:other", "u:nobody"] {
        let refused = change(&mut app, Some(another), Some(&secret), None).await;
        assert_eq!(refused, (INSUFFICIENT, fault(NOT_ALLOWED)), "{another}");
    }
    let mut administrator = server.bound("administrator").await;
    let given = vec![Mod::Replace("userPassword", set(&["short"]))];
    let refused = modify(&mut administrator, APP, given).await;
    assert_eq!(refused, (CONSTRAINT_VIOLATION, fault(TOO_SHORT)));
    let hash = vec![Mod::Replace("userPassword", set(&["{SASL}app@EXAMPLE.COM"]))];
    let refused = modify(&mut administrator, APP, hash).await;
    assert_eq!(refused, (CONSTRAINT_VIOLATION, fault(POOR)));
    let entry = vec![
        ("objectClass", set(&["applicationProcess", "nhsdirAccount"])),
        ("userPassword", set(&["short"])),
    ];
    let added = administrator.with_controls(asking());
    let added = added.add("cn=new,ou=Applications,o=nhs", entry).await.unwrap();
    assert_eq!((added.rc, told(&added)), (CONSTRAINT_VIOLATION, fault(TOO_SHORT)));
    let valued = RawControl {
        val: Some(b"x".to_vec()),
        ..asking()
    };
    let answer = app.with_controls(valued).extended(WhoAmI).await.unwrap().1;
    assert_eq!(answer.rc, PROTOCOL_ERROR, "the control has no value");
}

/// The same for entries of a general directory; pwdReset is what an administrator sets and reads.
#[tokio::test]
async fn entries_of_a_general_directory_have_the_same_states() {
    let server = general::place("").serve();
    let mut manager = general::manager(&server).await;
    assert_eq!(bind(&server, GENERAL_ANN, "ann-1").await.2, ASKED);
    let locked = vec![Mod::Replace("pwdAccountLockedTime", set(&["000001010000Z"]))];
    assert_eq!(modify(&mut manager, GENERAL_ANN, locked).await.0, 0);
    let (_, rc, why) = bind(&server, GENERAL_ANN, "ann-1").await;
    assert_eq!((rc, why), (INVALID_CREDENTIALS, fault(LOCKED)));
    let (_, rc, why) = bind(&server, GENERAL_ANN, "wrong").await;
    assert_eq!((rc, why), (INVALID_CREDENTIALS, ASKED));
    let unlocked = vec![Mod::Delete("pwdAccountLockedTime", set(&[]))];
    assert_eq!(modify(&mut manager, GENERAL_ANN, unlocked).await.0, 0);

    let reset = vec![Mod::Replace("pwdReset", set(&["TRUE"]))];
    let no_secret = "ou=people,dc=example,dc=com";
    assert_eq!(
        modify(&mut manager, no_secret, reset.clone()).await.0,
        CONSTRAINT_VIOLATION
    );
    let mut before = general::bound(&server, GENERAL_ANN, "ann-1").await;
    assert_eq!(modify(&mut manager, GENERAL_ANN, reset).await.0, 0);
    assert!(before.extended(WhoAmI).await.is_err(), "who is bound binds again");
    let flag = async |ldap: &mut Ldap| {
        let entry = found(ldap, GENERAL_ANN, Scope::Base, "(objectClass=*)", &["pwdReset"]).await;
        entry[0].attrs.get("pwdReset").cloned()
    };
    assert_eq!(flag(&mut manager).await.unwrap(), ["TRUE"]);
    // In one modify with the new secret, and with an entry that is new.
    let both = |secret| {
        vec![
            Mod::Replace("pwdReset", set(&["TRUE"])),
            Mod::Replace("userPassword", set(&[secret])),
        ]
    };
    assert_eq!(modify(&mut manager, GENERAL_ANN, both("ann-0")).await.0, 0);
    assert_eq!(bind(&server, GENERAL_ANN, "ann-0").await.2, fault(CHANGE_AFTER_RESET));
    assert_eq!(modify(&mut manager, GENERAL_ANN, both("ann-1")).await.0, 0);
    let new = |name: &str, secrets: &[&'static str]| {
        let mut entry = vec![
            ("objectClass", set(&["account", "simpleSecurityObject"])),
            ("pwdReset", set(&["TRUE"])),
        ];
        entry.extend((!secrets.is_empty()).then(|| ("userPassword", set(secrets))));
        (format!("uid={name},ou=people,dc=example,dc=com"), entry)
    };
    let (bob, entry) = new("bob", &["bob-1"]);
    assert_eq!(manager.add(&bob, entry).await.unwrap().rc, 0);
    assert_eq!(bind(&server, &bob, "bob-1").await.2, fault(CHANGE_AFTER_RESET));
    let (nobody, entry) = new("nobody", &[]);
    assert_eq!(manager.add(&nobody, entry).await.unwrap().rc, CONSTRAINT_VIOLATION);
    let (place, _) = server.stop();
    let server = place.serve();
    let (mut ann, rc, why) = bind(&server, GENERAL_ANN, "ann-1").await;
    assert_eq!((rc, why), (0, fault(CHANGE_AFTER_RESET)), "after a restart");
    let replace = |new| vec![Mod::Replace("userPassword", set(&[new]))];
    assert_eq!(
        modify(&mut ann, GENERAL_ANN, replace("ann-2")).await,
        (INSUFFICIENT, fault(OLD_NEEDED))
    );
    let exchange = |new| {
        vec![
            Mod::Delete("userPassword", set(&["ann-1"])),
            Mod::Add("userPassword", set(&[new])),
        ]
    };
    let same = modify(&mut ann, GENERAL_ANN, exchange("ann-1")).await;
    assert_eq!(same, (CONSTRAINT_VIOLATION, fault(IN_HISTORY)));
    // Nothing is read or tested beside the change.
    let tested = RawControl {
        ctype: "1.3.6.1.1.12".to_owned(),
        crit: true,
        val: Some([&[0x87, 2][..], b"sn"].concat()),
    };
    let answer = ann
        .with_controls(vec![tested, asking()])
        .modify(GENERAL_ANN, exchange("ann-2"))
        .await
        .unwrap();
    assert_eq!((answer.rc, told(&answer)), (INSUFFICIENT, fault(CHANGE_AFTER_RESET)));
    assert_eq!(modify(&mut ann, GENERAL_ANN, exchange("ann-2")).await, (0, NOTHING));
    assert_eq!(flag(&mut ann).await, None);
    assert_eq!(bind(&server, GENERAL_ANN, "ann-2").await.2, ASKED);
}

const DEFAULT: &str = "cn=default,dc=example,dc=com";
const CLERK: &str = "uid=clerk,ou=people,dc=example,dc=com";

/// A general directory whose `pwdPolicy` entries rule, with Ann, whom a clerk may change, and a policy of these rules.
async fn ruled(rules: &[(&'static str, &'static str)]) -> (Server, Ldap) {
    let settings = format!(
        "old_secret_needed = false\nrules = [{{ entry = \"{CLERK}\", profile = \"clerk\" }}]\n\
         [password_policy]\nenabled = true\ndefault = \"{DEFAULT}\""
    );
    let server = general::place(&settings).serve();
    let mut manager = general::manager(&server).await;
    assert_eq!(general::person(&mut manager, CLERK, &["clerk-1"]).await.rc, 0);
    assert_eq!(add_policy(&mut manager, DEFAULT, rules).await, 0);
    (server, manager)
}

async fn add_policy(ldap: &mut Ldap, dn: &str, rules: &[(&'static str, &'static str)]) -> u32 {
    let mut entry = vec![
        ("objectClass", set(&["device", "pwdPolicy"])),
        ("pwdAttribute", set(&["userPassword"])),
    ];
    entry.extend(rules.iter().map(|(name, value)| (*name, set(&[value]))));
    ldap.add(dn, entry).await.unwrap().rc
}

async fn kept(ldap: &mut Ldap, dn: &str, name: &str) -> Vec<String> {
    let mut entry = found(ldap, dn, Scope::Base, "(objectClass=*)", &[name]).await;
    entry.remove(0).attrs.remove(name).unwrap_or_default()
}

/// A policy holds from the moment it is written, for who is bound too, and a lock outlives a restart.
#[tokio::test]
async fn failures_lock_where_a_policy_says_so() {
    let (server, mut manager) = ruled(&[("pwdLockout", "TRUE"), ("pwdMaxFailure", "2")]).await;
    let (mut ann, rc, why) = bind(&server, GENERAL_ANN, "ann-1").await;
    assert_eq!((rc, why), (0, ASKED));
    let stranger = bind_octets(&server, &simple("uid=nobody,dc=example,dc=com", "wrong"), true);
    for _ in 0..2 {
        assert_eq!(bind_octets(&server, &simple(GENERAL_ANN, "wrong"), true), stranger);
    }
    assert_eq!(bind_octets(&server, &simple(GENERAL_ANN, "wrong"), true), stranger);
    let unasked = bind_octets(&server, &simple("uid=nobody,dc=example,dc=com", "wrong"), false);
    assert_eq!(bind_octets(&server, &simple(GENERAL_ANN, "ann-1"), false), unasked);
    // Whose guesses are kept out is not told that one of them was right.
    assert_eq!(bind_octets(&server, &simple(GENERAL_ANN, "ann-1"), true), stranger);
    let locked = (INVALID_CREDENTIALS, ASKED);
    let (_, rc, why) = bind(&server, GENERAL_ANN, "ann-1").await;
    assert_eq!((rc, why), locked);
    assert_eq!(ann.extended(WhoAmI).await.unwrap().1.rc, 0, "who is bound stays bound");
    assert_eq!(kept(&mut manager, GENERAL_ANN, "pwdAccountLockedTime").await.len(), 1);
    assert_eq!(kept(&mut manager, GENERAL_ANN, "pwdFailureTime").await.len(), 2);
    let (place, _) = server.stop();
    let server = place.serve();
    let (_, rc, why) = bind(&server, GENERAL_ANN, "ann-1").await;
    assert_eq!((rc, why), locked, "after a restart");
    server.place.succeed(&["account", "unlock", GENERAL_ANN], "");
    assert_eq!(bind(&server, GENERAL_ANN, "ann-1").await.1, 0);
    // The manager is held to none.
    for _ in 0..3 {
        assert_eq!(bind(&server, general::MANAGER, "wrong").await.1, INVALID_CREDENTIALS);
    }
    let mut manager = general::bound(&server, general::MANAGER, "secret").await;
    let off = vec![Mod::Replace("pwdLockout", set(&["FALSE"]))];
    assert_eq!(modify(&mut manager, DEFAULT, off).await.0, 0);
    for _ in 0..3 {
        assert_eq!(bind(&server, GENERAL_ANN, "wrong").await.1, INVALID_CREDENTIALS);
    }
    assert_eq!(bind(&server, GENERAL_ANN, "ann-1").await.1, 0);
}

/// A failure keeps everybody out for a while, and nobody is told; it outlives a restart, and goes with an export and an unlocking.
#[tokio::test]
async fn failures_delay_where_a_policy_says_so() {
    let rules = [("pwdLockout", "TRUE"), ("pwdMinDelay", "600"), ("pwdMaxDelay", "900")];
    let (server, mut manager) = ruled(&rules).await;
    assert_eq!(bind(&server, GENERAL_ANN, "ann-1").await.1, 0);
    let stranger = bind_octets(&server, &simple("uid=nobody,dc=example,dc=com", "wrong"), true);
    for secret in ["wrong", "ann-1", "other", "ann-1"] {
        assert_eq!(
            bind_octets(&server, &simple(GENERAL_ANN, secret), true),
            stranger,
            "{secret}"
        );
    }
    const DELAYED: &str = "pwdAccountTmpLockoutEnd";
    assert_eq!(kept(&mut manager, GENERAL_ANN, DELAYED).await.len(), 1);
    let failures = kept(&mut manager, GENERAL_ANN, "pwdFailureTime").await;
    assert_eq!(failures.len(), 1, "who is kept out prolongs nothing");
    let (place, _) = server.stop();
    let audit = std::fs::read_to_string(place.data().join("audit/00000001.jsonl")).unwrap();
    assert_eq!(audit.matches("wrong secret; delayed now").count(), 1);
    let out = place.folder().join("out.ldif");
    place.succeed(&["export", "--secrets", "--out", out.to_str().unwrap()], "");
    let text = std::fs::read_to_string(&out).unwrap();
    let until = text.lines().find(|line| line.starts_with(DELAYED)).unwrap().to_owned();
    let bob = "uid=bob,ou=people,dc=example,dc=com";
    let ldif =
        format!("dn: {bob}\nobjectClass: inetOrgPerson\nuid: bob\ncn: Bob\nsn: X\nuserPassword: bob-1\n{until}\n");
    let file = place.folder().join("bob.ldif");
    std::fs::write(&file, ldif).unwrap();
    place.succeed(&["import", file.to_str().unwrap()], "");
    let server = place.serve();
    for (dn, secret) in [(GENERAL_ANN, "ann-1"), (bob, "bob-1")] {
        assert_eq!(bind_octets(&server, &simple(dn, secret), true), stranger, "{dn}");
        server.place.succeed(&["account", "unlock", dn], "");
        assert_eq!(bind(&server, dn, secret).await.1, 0, "{dn}");
    }
}

/// Who is locked, who has to change, whose secret is old: filters and compares find it, for who may search it.
#[tokio::test]
async fn the_state_of_a_password_is_found() {
    let (server, mut manager) = ruled(&[("pwdLockout", "TRUE"), ("pwdMaxFailure", "2"), ("pwdMaxAge", "86400")]).await;
    let hits = async |ldap: &mut Ldap, filter: &str| {
        let people = found(ldap, general::BASE, Scope::Subtree, filter, &["1.1"]).await;
        people.into_iter().map(|entry| entry.dn).collect::<Vec<_>>()
    };
    let (locked, reset) = ("(pwdAccountLockedTime=*)", "(pwdReset=TRUE)");
    let aged = "(&(uid=*)(pwdChangedTime>=20260101000000Z)(!(pwdChangedTime<=20260101000000Z)))";
    for filter in [
        locked,
        reset,
        "(pwdFailureTime=*)",
        "(pwdGraceUseTime=*)",
        "(pwdAccountTmpLockoutEnd=*)",
    ] {
        assert!(hits(&mut manager, filter).await.is_empty(), "{filter}");
    }
    let mut both = hits(&mut manager, aged).await;
    both.sort();
    assert_eq!(both, [GENERAL_ANN, CLERK]);
    assert_eq!(bind(&server, GENERAL_ANN, "ann-1").await.1, 0);
    assert_eq!(hits(&mut manager, "(pwdLastSuccess=*)").await, [GENERAL_ANN]);
    for _ in 0..2 {
        assert_eq!(bind(&server, GENERAL_ANN, "wrong").await.1, INVALID_CREDENTIALS);
    }
    let again = vec![Mod::Replace("pwdReset", set(&["TRUE"]))];
    assert_eq!(modify(&mut manager, CLERK, again).await.0, 0);
    assert_eq!(hits(&mut manager, locked).await, [GENERAL_ANN]);
    assert_eq!(hits(&mut manager, "(pwdFailureTime=*)").await, [GENERAL_ANN]);
    assert_eq!(hits(&mut manager, reset).await, [CLERK]);
    assert_eq!(hits(&mut manager, "(&(uid=*)(!(pwdReset=TRUE)))").await, [GENERAL_ANN]);
    let since = kept(&mut manager, GENERAL_ANN, "pwdAccountLockedTime").await.remove(0);
    let exactly = format!("(pwdAccountLockedTime={since})");
    assert_eq!(hits(&mut manager, &exactly).await, [GENERAL_ANN]);
    for (dn, value, code) in [
        (GENERAL_ANN, since.as_str(), 6),
        (GENERAL_ANN, "20200101000000Z", 5),
        (CLERK, since.as_str(), 16),
    ] {
        let answer = manager.compare(dn, "pwdAccountLockedTime", value).await.unwrap().0;
        assert_eq!(answer.rc, code, "{dn} {value}");
    }
    // Who may not search it does not find it out by its absence either.
    let place = general::place("");
    let policy = "[profile.people]\nbases = [\"{suffix}\"]\nsearchable = [\"*\"]\nreleased = [\"*\"]\n";
    std::fs::write(place.folder().join("policy.toml"), policy).unwrap();
    let server = place.serve();
    let mut manager = general::manager(&server).await;
    let again = vec![Mod::Replace("pwdReset", set(&["TRUE"]))];
    assert_eq!(general::person(&mut manager, CLERK, &["clerk-1"]).await.rc, 0);
    assert_eq!(modify(&mut manager, CLERK, again).await.0, 0);
    let mut ann = general::bound(&server, GENERAL_ANN, "ann-1").await;
    for filter in ["(pwdReset=TRUE)", "(!(pwdReset=TRUE))", "(pwdChangedTime=*)"] {
        assert!(hits(&mut ann, filter).await.is_empty(), "{filter}");
    }
    assert_eq!(ann.compare(CLERK, "pwdReset", "TRUE").await.unwrap().0.rc, 16);
}

/// A policy that has secrets looked at by a module is not passed over: who is held to it sets none that could be looked at.
#[tokio::test]
async fn a_check_module_that_nobody_loads_passes_nothing() {
    let (server, mut manager) = ruled(&[("pwdCheckQuality", "1")]).await;
    let (mut ann, ..) = bind(&server, GENERAL_ANN, "ann-1").await;
    assert_eq!(change(&mut ann, None, None, Some("ann-2")).await.0, 0);
    for (name, value, quality, refused) in [
        ("pwdCheckModule", "check_password.so", "1", true),
        ("pwdUseCheckModule", "TRUE", "2", true),
        ("pwdUseCheckModule", "FALSE", "2", false),
        ("pwdCheckModule", "check_password.so", "0", false),
    ] {
        let rules = vec![
            Mod::Replace("objectClass", set(&["device", "pwdPolicy", "pwdPolicyChecker"])),
            Mod::Replace("pwdCheckModule", set(&[])),
            Mod::Replace("pwdUseCheckModule", set(&[])),
            Mod::Replace(name, set(&[value])),
            Mod::Replace("pwdCheckQuality", set(&[quality])),
        ];
        assert_eq!(modify(&mut manager, DEFAULT, rules).await.0, 0, "{name}");
        let answer = change(&mut ann, None, None, Some("ann-3")).await;
        let expected = match refused {
            true => (CONSTRAINT_VIOLATION, fault(POOR)),
            false => (0, NOTHING),
        };
        assert_eq!(answer, expected, "{name} {value} {quality}");
    }
    let checked = vec![Mod::Replace("pwdCheckQuality", set(&["2"]))];
    assert_eq!(modify(&mut manager, DEFAULT, checked).await.0, 0);
    let given = change(&mut manager, Some(GENERAL_ANN), None, Some("ann-4")).await;
    assert_eq!(given, (0, NOTHING), "an administrator is held to none");
}

/// What another server kept rules here: ages, grace authentications, secrets of before. It goes with an export, and nowhere else.
#[tokio::test]
async fn what_another_server_kept_of_a_secret_is_kept_and_given_back() {
    let (server, _) = ruled(&[
        ("pwdMaxAge", "86400"),
        ("pwdGraceAuthNLimit", "3"),
        ("pwdInHistory", "3"),
        ("pwdMinAge", "3600"),
    ])
    .await;
    let (place, _) = server.stop();
    let digest = "{SSHA}WbqWa6P0YM3sdqmFSG9PgkssrrExMjM0NTY3OA==";
    let eve = "uid=eve,ou=people,dc=example,dc=com";
    let ldif = format!(
        "dn: {eve}\nobjectClass: inetOrgPerson\nuid: eve\ncn: Eve\nsn: X\nuserPassword: eve-1\npwdChangedTime: 20240101000000Z\n\
         pwdGraceUseTime: 20240201000000.000001Z\npwdHistory: 20230101000000Z#1.3.6.1.4.1.1466.115.121.1.40#{}#{digest}\n\
         pwdHistory: 20220101000000Z#1.3.6.1.4.1.1466.115.121.1.40#5#eve-0\npwdHistory: 20210101000000Z#1.3#9#{{SASL}}eve\n",
        digest.len()
    );
    let file = place.folder().join("eve.ldif");
    std::fs::write(&file, ldif).unwrap();
    place.succeed(&["import", file.to_str().unwrap()], "");
    let server = place.serve();
    let (mut eve_bound, rc, why) = bind(&server, eve, "eve-1").await;
    assert_eq!((rc, why), (0, Some((None, Some(GRACE | 1)))));
    let (_, rc, why) = bind(&server, eve, "eve-1").await;
    assert_eq!((rc, why), (0, Some((None, Some(GRACE)))));
    let (_, rc, why) = bind(&server, eve, "eve-1").await;
    assert_eq!((rc, why), (INVALID_CREDENTIALS, fault(EXPIRED)));
    let refused = bind_octets(&server, &simple("uid=nobody,dc=example,dc=com", "eve-1"), true);
    assert_eq!(bind_octets(&server, &simple(eve, "wrong"), true), refused);
    let unasked = bind_octets(&server, &simple("uid=nobody,dc=example,dc=com", "eve-1"), false);
    assert_eq!(bind_octets(&server, &simple(eve, "eve-1"), false), unasked);

    let mut manager = general::bound(&server, general::MANAGER, "secret").await;
    assert_eq!(kept(&mut manager, eve, "pwdGraceUseTime").await.len(), 3);
    for secret in ["given-1", "eve-0", "eve-1"] {
        let used = change(&mut eve_bound, None, Some("eve-1"), Some(secret)).await;
        assert_eq!(used, (CONSTRAINT_VIOLATION, fault(IN_HISTORY)), "{secret}");
    }
    let changed = change(&mut eve_bound, None, Some("eve-1"), Some("eve-2")).await;
    assert_eq!(changed, (0, NOTHING), "an expired secret is good for its own change");
    let young = change(&mut eve_bound, None, Some("eve-2"), Some("eve-3")).await;
    assert_eq!(young, (CONSTRAINT_VIOLATION, fault(TOO_YOUNG)));
    assert_eq!(kept(&mut manager, eve, "pwdGraceUseTime").await.len(), 0);
    assert_eq!(bind(&server, eve, "eve-2").await.2, ASKED);
    for filter in ["(pwdHistory=*)", "(!(pwdHistory=*))"] {
        let all = found(
            &mut manager,
            general::BASE,
            Scope::Subtree,
            filter,
            &["*", "+", "pwdHistory"],
        )
        .await;
        assert!(all.iter().all(|entry| !entry.attrs.contains_key("pwdHistory")));
        assert_eq!(all.len(), 0, "{filter}: nobody finds it");
    }
    let (place, _) = server.stop();
    let out = place.folder().join("out.ldif");
    place.succeed(&["export", "--secrets", "--out", out.to_str().unwrap()], "");
    let text = std::fs::read_to_string(&out).unwrap().replace("\n ", "");
    let history: Vec<&str> = text.lines().filter(|line| line.starts_with("pwdHistory:")).collect();
    assert_eq!(history.len(), 3, "{history:?}");
    assert!(history.iter().any(|line| line.ends_with(digest)), "{history:?}");
    assert!(!text.contains("eve-"), "no secret in clear");
}

/// Who may write but set no secrets changes neither policies nor who is ruled by which.
#[tokio::test]
async fn policies_are_for_administrators() {
    let (server, mut manager) = ruled(&[("pwdMinLength", "8"), ("pwdCheckQuality", "1")]).await;
    let (mut clerk, rc, _) = bind(&server, CLERK, "clerk-1").await;
    assert_eq!(rc, 0);
    let title = vec![Mod::Replace("title", set(&["Porter"]))];
    assert_eq!(modify(&mut clerk, GENERAL_ANN, title).await.0, 0);
    let lax = "cn=lax,dc=example,dc=com";
    assert_eq!(add_policy(&mut clerk, lax, &[]).await, INSUFFICIENT);
    assert_eq!(add_policy(&mut manager, lax, &[]).await, 0);
    for (dn, change) in [
        (DEFAULT, Mod::Replace("pwdMinLength", set(&["1"]))),
        (DEFAULT, Mod::Delete("objectClass", set(&["pwdPolicy"]))),
        (
            GENERAL_ANN,
            Mod::Add("objectClass", set(&["1.3.6.1.4.1.42.2.27.8.2.1"])),
        ),
        (GENERAL_ANN, Mod::Replace("pwdPolicySubentry", set(&[lax]))),
        (
            GENERAL_ANN,
            Mod::Replace("1.3.6.1.4.1.42.2.27.8.1.28", set(&["20200101000000Z"])),
        ),
    ] {
        let text = format!("{dn} {change:?}");
        assert_eq!(modify(&mut clerk, dn, vec![change]).await.0, INSUFFICIENT, "{text}");
    }
    assert_eq!(clerk.delete(DEFAULT).await.unwrap().rc, INSUFFICIENT);
    assert_eq!(
        clerk.modifydn(DEFAULT, "cn=other", true, None).await.unwrap().rc,
        INSUFFICIENT
    );
    // Nor does a clerk take one along or away with what it lies in.
    let unit = "ou=strict,dc=example,dc=com";
    let strict = "cn=strict,ou=strict,dc=example,dc=com";
    let made = general::add(&mut manager, unit, &[("objectClass", &["organizationalUnit"])]).await;
    assert_eq!(made.rc, 0);
    assert_eq!(clerk.modifydn(unit, "ou=Strict", true, None).await.unwrap().rc, 0);
    assert_eq!(add_policy(&mut manager, strict, &[]).await, 0);
    assert_eq!(
        clerk.modifydn(unit, "ou=lax", true, None).await.unwrap().rc,
        INSUFFICIENT
    );
    let tree = RawControl {
        ctype: "1.2.840.113556.1.4.805".to_owned(),
        crit: true,
        val: None,
    };
    assert_eq!(clerk.with_controls(tree).delete(unit).await.unwrap().rc, INSUFFICIENT);
    let short = |new| vec![Mod::Replace("userPassword", set(&[new]))];
    let (mut ann, _, _) = bind(&server, GENERAL_ANN, "ann-1").await;
    let refused = modify(&mut ann, GENERAL_ANN, short("ann-2")).await;
    assert_eq!(refused, (CONSTRAINT_VIOLATION, fault(TOO_SHORT)));
    let named = vec![Mod::Replace("pwdPolicySubentry", set(&[lax]))];
    assert_eq!(modify(&mut manager, GENERAL_ANN, named).await.0, 0);
    assert_eq!(modify(&mut ann, GENERAL_ANN, short("ann-2")).await.0, 0);
    let by_oid = vec![Mod::Replace("1.3.6.1.4.1.42.2.27.8.1.23", set(&[DEFAULT]))];
    assert_eq!(modify(&mut manager, GENERAL_ANN, by_oid).await.0, 0);
    let refused = modify(&mut ann, GENERAL_ANN, short("ann-3")).await;
    assert_eq!(refused, (CONSTRAINT_VIOLATION, fault(TOO_SHORT)));
    let named = vec![Mod::Replace("pwdPolicySubentry", set(&[lax]))];
    assert_eq!(modify(&mut manager, GENERAL_ANN, named).await.0, 0);
    assert_eq!(modify(&mut ann, GENERAL_ANN, short("ann-4")).await.0, 0);
    // The name of no policy leaves the default one in force.
    assert_eq!(manager.delete(lax).await.unwrap().rc, 0);
    let refused = modify(&mut ann, GENERAL_ANN, short("ann-3")).await;
    assert_eq!(refused, (CONSTRAINT_VIOLATION, fault(TOO_SHORT)));
}

/// T15: a policy that a writer does not see is answered as what is not there.
#[tokio::test]
async fn a_hidden_policy_is_not_there_for_who_writes() {
    let place = Place::filled().with("[password_policy]\nenabled = true\n");
    let policy = place.folder().join("policy.toml");
    let profile = "[profile.half]\nlike = \"writer\"\nhide_entries = [\"cn=unseen\"]\n";
    std::fs::write(&policy, profile).unwrap();
    let place = place.with(&format!("[policy]\nfile = {:?}\n", policy.to_str().unwrap()));
    let secret = place.account("half", "writer");
    place.succeed(&["account", "set", "half", "--profile", "half"], "");
    let server = place.serve();
    let mut administrator = server.bound("administrator").await;
    for seen in ["cn=seen,o=nhs", "cn=unseen,o=nhs"] {
        assert_eq!(add_policy(&mut administrator, seen, &[]).await, 0);
    }
    let (mut half, rc, _) = bind(&server, "half", &secret).await;
    assert_eq!(rc, 0);
    let mut answers = Vec::new();
    for dn in ["cn=seen,o=nhs", "cn=unseen,o=nhs", "cn=nobody,o=nhs"] {
        let change = vec![Mod::Replace("description", set(&["x"]))];
        let modified = half.modify(dn, change).await.unwrap();
        let renamed = half.modifydn(dn, "cn=other", true, None).await.unwrap();
        let deleted = half.delete(dn).await.unwrap();
        answers.push([modified, renamed, deleted].map(|answer| (answer.rc, answer.text, answer.matched)));
    }
    assert!(answers[0].iter().all(|answer| answer.0 == INSUFFICIENT), "{answers:?}");
    assert_eq!(answers[1], answers[2]);
}

/// An application account is ruled where its entry says so, by name and by DN, beside its own rules.
#[tokio::test]
async fn application_accounts_are_ruled_where_they_name_a_policy() {
    let place = Place::filled().with("[password_policy]\nenabled = true\n");
    let secret = place.account("app", "reader");
    let server = place.serve();
    let mut administrator = server.bound("administrator").await;
    let policy = "cn=apps,o=nhs";
    let rules = [("pwdMinAge", "3600"), ("pwdLockout", "TRUE"), ("pwdMaxFailure", "2")];
    assert_eq!(add_policy(&mut administrator, policy, &rules).await, 0);
    for _ in 0..2 {
        assert_eq!(bind(&server, "app", "wrong").await.1, INVALID_CREDENTIALS);
    }
    let (mut app, rc, _) = bind(&server, "app", &secret).await;
    assert_eq!(rc, 0, "nothing rules by default");
    let named = vec![Mod::Replace("pwdPolicySubentry", set(&[policy]))];
    assert_eq!(modify(&mut administrator, APP, named).await.0, 0);
    let young = change(&mut app, None, Some(&secret), None).await;
    assert_eq!(young, (CONSTRAINT_VIOLATION, fault(TOO_YOUNG)));
    for name in ["app", APP] {
        assert_eq!(bind(&server, name, "wrong").await.1, INVALID_CREDENTIALS);
    }
    let (_, rc, why) = bind(&server, "app", &secret).await;
    assert_eq!((rc, why), (INVALID_CREDENTIALS, ASKED));
    server.place.succeed(&["account", "unlock", "app"], "");
    assert_eq!(bind(&server, "app", &secret).await.1, 0);
}

/// One value, and no second change in one transaction.
#[tokio::test]
async fn a_ruled_entry_has_one_secret_and_one_change_at_a_time() {
    let (server, mut manager) = ruled(&[("pwdMinAge", "3600")]).await;
    let two = vec![Mod::Replace("userPassword", set(&["one", "two"]))];
    assert_eq!(modify(&mut manager, GENERAL_ANN, two).await.0, CONSTRAINT_VIOLATION);
    let second = vec![Mod::Add("userPassword", set(&["two"]))];
    assert_eq!(modify(&mut manager, GENERAL_ANN, second).await.0, CONSTRAINT_VIOLATION);
    let bob = "uid=bob,ou=people,dc=example,dc=com";
    assert_eq!(
        general::person(&mut manager, bob, &["one", "two"]).await.rc,
        CONSTRAINT_VIOLATION
    );
    assert_eq!(general::person(&mut manager, bob, &["one"]).await.rc, 0);
    let (mut ann, _, _) = bind(&server, GENERAL_ANN, "ann-1").await;
    let young = modify(&mut ann, GENERAL_ANN, vec![Mod::Replace("userPassword", set(&["x"]))]).await;
    assert_eq!(young, (CONSTRAINT_VIOLATION, fault(TOO_YOUNG)));
    let gone = vec![Mod::Delete("userPassword", set(&[]))];
    assert_eq!(
        modify(&mut ann, GENERAL_ANN, gone).await.0,
        0,
        "a deletion is no new secret"
    );
    let again = vec![Mod::Add("userPassword", set(&["x"]))];
    let young = modify(&mut ann, GENERAL_ANN, again).await;
    assert_eq!(
        young,
        (CONSTRAINT_VIOLATION, fault(TOO_YOUNG)),
        "nor a way around the age"
    );
}

/// Who takes the own secret away has to bring it all the same to set another.
#[tokio::test]
async fn a_secret_that_is_taken_away_is_needed_to_set_another() {
    let (server, _) = ruled(&[("pwdSafeModify", "TRUE")]).await;
    let (mut ann, _, _) = bind(&server, GENERAL_ANN, "ann-1").await;
    let gone = vec![Mod::Delete("userPassword", set(&[]))];
    assert_eq!(modify(&mut ann, GENERAL_ANN, gone).await.0, 0);
    let other = vec![Mod::Add("userPassword", set(&["mine-now"]))];
    let refused = modify(&mut ann, GENERAL_ANN, other).await;
    assert_eq!(refused, (INSUFFICIENT, fault(OLD_NEEDED)));
    assert_eq!(bind(&server, GENERAL_ANN, "mine-now").await.1, INVALID_CREDENTIALS);
}

/// The one writer holds a change to its policy again: neither two at once nor two in one transaction pass a minimum age.
#[tokio::test]
async fn a_minimum_age_holds_whatever_comes_at_once() {
    let (server, _) = ruled(&[("pwdMinAge", "3600")]).await;
    let (place, _) = server.stop();
    let entry = |name: &str| {
        format!(
            "dn: uid={name},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: x\n\
             userPassword: old-1\npwdChangedTime: 20240101000000Z\n\n"
        )
    };
    place.succeed(&["import", "-"], &(entry("eve") + &entry("joe")));
    let server = place.serve();
    let eve = "uid=eve,ou=people,dc=example,dc=com";
    let (ldap, rc, _) = bind(&server, eve, "old-1").await;
    assert_eq!(rc, 0);
    let at_once = async |new| change(&mut ldap.clone(), None, Some("old-1"), Some(new)).await.0;
    let (one, two, three) = tokio::join!(at_once("new-1"), at_once("new-2"), at_once("new-3"));
    let done = [one, two, three].iter().filter(|rc| **rc == 0).count();
    assert_eq!(done, 1, "{one} {two} {three}");

    let joe = "uid=joe,ou=people,dc=example,dc=com";
    let (mut ldap, _, _) = bind(&server, joe, "old-1").await;
    let id = transactions::start(&mut ldap).await;
    for new in ["new-1", "new-2"] {
        let change = vec![Mod::Replace("userPassword", set(&[new]))];
        let queued = ldap.with_controls(transactions::within(&id)).modify(joe, change).await;
        assert_eq!(queued.unwrap().rc, 0);
    }
    assert_eq!(transactions::end(&mut ldap, true, &id).await.0, CONSTRAINT_VIOLATION);
    assert_eq!(bind(&server, joe, "old-1").await.1, 0, "none of it is done");
}
