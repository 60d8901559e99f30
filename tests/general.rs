//! Entries that bind with their `userPassword`, seen from outside.

use crate::binds::{Raw, plain};
use crate::server::{Place, Server, found, set};
use crate::transactions;
use ldap3::controls::RawControl;
use ldap3::exop::{PasswordModify, PasswordModifyResp, WhoAmI, WhoAmIResp};
use ldap3::{Ldap, LdapResult, Mod, Scope};

pub const BASE: &str = "dc=example,dc=com";
pub const MANAGER: &str = "cn=Manager,dc=example,dc=com";
pub const ANN: &str = "uid=ann,ou=people,dc=example,dc=com";
const ADMINS: &str = "cn=admins,ou=groups,dc=example,dc=com";
const NO_SUCH_ATTRIBUTE: u32 = 16;
const VALUE_EXISTS: u32 = 20;
const CONSTRAINT_VIOLATION: u32 = 19;
const INVALID_CREDENTIALS: u32 = 49;
const INSUFFICIENT: u32 = 50;
const UNWILLING: u32 = 53;
const CLASS_VIOLATION: u32 = 65;
const ADMIN_LIMIT: u32 = 11;

const POLICY: &str = "[profile.people]\nbases = [\"{suffix}\"]\nsearchable = [\"*\", \"+\"]\nreleased = [\"*\", \"+\"]\n\
                      [profile.clerk]\nlike = \"people\"\nmay_write = true\n\
                      [profile.feed]\nlike = \"people\"\nmay_write = true\nmay_set_secrets = true\n\
                      [profile.front]\nlike = \"people\"\nmay_proxy = [\"ou=people,{suffix}\"]\n";

/// A general directory as `general` configures it, with its manager's secret set.
pub fn place(general: &str) -> Place {
    let place = Place::bare(&[BASE, "o=second"]);
    let policy = place.folder().join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let config = format!(
        "[accounts]\nargon2_memory_kib = 64\nargon2_iterations = 1\nsecret_rules = false\nfailures_per_source = 0\n\
         [policy]\nfile = {:?}\n[general]\nenabled = true\nmanager = \"{MANAGER}\"\nprofile = \"people\"\n{general}\n",
        policy.to_str().unwrap()
    );
    std::fs::write(place.data().join("nhsdir.toml"), config).unwrap();
    place.succeed(&["account", "rotate", MANAGER, "--secret-stdin"], "secret\n");
    place
}

pub async fn bind(server: &Server, dn: &str, secret: &str) -> (Ldap, u32) {
    let mut ldap = server.connect().await;
    let rc = ldap.simple_bind(dn, secret).await.unwrap().rc;
    (ldap, rc)
}

/// Bound as `dn`; it must be so.
pub async fn bound(server: &Server, dn: &str, secret: &str) -> Ldap {
    let (ldap, rc) = bind(server, dn, secret).await;
    assert_eq!(rc, 0, "{dn} with {secret}");
    ldap
}

pub async fn who(ldap: &mut Ldap) -> String {
    let answer = ldap.extended(WhoAmI).await.unwrap().success().unwrap();
    answer.0.parse::<WhoAmIResp>().authzid
}

pub async fn add(ldap: &mut Ldap, dn: &str, attributes: &[(&'static str, &[&'static str])]) -> LdapResult {
    let attributes = attributes.iter().map(|(name, values)| (*name, set(values))).collect();
    ldap.add(dn, attributes).await.unwrap()
}

pub async fn person(ldap: &mut Ldap, dn: &str, secrets: &[&'static str]) -> LdapResult {
    let mut attributes: Vec<(&'static str, &[&'static str])> = vec![
        ("objectClass", &["inetOrgPerson"]),
        ("cn", &["Ann"]),
        ("sn", &["Smith"]),
    ];
    if !secrets.is_empty() {
        attributes.push(("userPassword", secrets));
    }
    add(ldap, dn, &attributes).await
}

/// The manager, with the suffix, `ou=people`, `ou=groups` and Ann in the directory.
pub async fn manager(server: &Server) -> Ldap {
    let mut ldap = bound(server, MANAGER, "secret").await;
    let top = add(
        &mut ldap,
        BASE,
        &[
            ("objectClass", &["dcObject", "organization"]),
            ("o", &["x"]),
            ("dc", &["example"]),
        ],
    );
    assert_eq!(top.await.rc, 0);
    for name in ["people", "groups"] {
        let dn = format!("ou={name},{BASE}");
        let unit = add(&mut ldap, &dn, &[("objectClass", &["organizationalUnit"])]).await;
        assert_eq!(unit.rc, 0);
    }
    assert_eq!(person(&mut ldap, ANN, &["ann-1"]).await.rc, 0);
    ldap
}

pub async fn modify(ldap: &mut Ldap, dn: &str, changes: Vec<Mod<&str>>) -> u32 {
    ldap.modify(dn, changes).await.unwrap().rc
}

async fn change(ldap: &mut Ldap, who: Option<&str>, old: Option<&str>, new: Option<&str>) -> (u32, Option<String>) {
    let request = PasswordModify {
        user_id: who,
        old_pass: old,
        new_pass: new,
    };
    let answer = ldap.extended(request).await.unwrap();
    let generated = answer
        .0
        .val
        .is_some()
        .then(|| answer.0.parse::<PasswordModifyResp>().gen_pass);
    (answer.1.rc, generated)
}

#[tokio::test]
async fn an_entry_binds_with_any_of_its_values_and_none_ever_leaves() {
    let server = place("").serve();
    let mut manager = manager(&server).await;
    assert_eq!(who(&mut manager).await, format!("dn:{MANAGER}"));
    let mut ann = bound(&server, "UID=Ann, ou=people,dc=example,dc=com", "ann-1").await;
    assert_eq!(who(&mut ann).await, format!("dn:{ANN}"));
    assert_eq!(bind(&server, ANN, "ann-2").await.1, INVALID_CREDENTIALS);

    let second = Mod::Add("userPassword", set(&["ann-2"]));
    assert_eq!(modify(&mut manager, ANN, vec![second]).await, 0);
    for secret in ["ann-1", "ann-2"] {
        bound(&server, ANN, secret).await;
    }
    let too_many = Mod::Add("userPassword", set(&["a", "b", "c"]));
    assert_eq!(modify(&mut manager, ANN, vec![too_many]).await, ADMIN_LIMIT);
    let gone = Mod::Delete("userPassword", set(&["ann-1"]));
    assert_eq!(modify(&mut manager, ANN, vec![gone]).await, 0);
    assert_eq!(bind(&server, ANN, "ann-1").await.1, INVALID_CREDENTIALS);
    let again = Mod::Delete("userPassword", set(&["ann-1"]));
    assert_eq!(modify(&mut manager, ANN, vec![again]).await, NO_SUCH_ATTRIBUTE);

    for (asked, filter) in [
        ("userPassword", "(objectClass=*)"),
        ("*", "(objectClass=*)"),
        ("+", "(objectClass=*)"),
    ] {
        let entries = found(&mut manager, ANN, Scope::Base, filter, &[asked]).await;
        let names: Vec<&String> = entries[0].attrs.keys().chain(entries[0].bin_attrs.keys()).collect();
        assert!(
            !names.iter().any(|name| name.eq_ignore_ascii_case("userPassword")),
            "{names:?}"
        );
    }
    assert!(
        found(&mut manager, BASE, Scope::Subtree, "(userPassword=*)", &["1.1"])
            .await
            .is_empty()
    );
    let compared = manager.compare(ANN, "userPassword", "ann-2").await.unwrap();
    assert_eq!(compared.0.rc, NO_SUCH_ATTRIBUTE);

    let (place, _) = server.stop();
    let exported = place.succeed(&["export"], "");
    assert!(!exported.contains("userPassword") && exported.contains(ANN));
    let server = place.serve();
    bound(&server, ANN, "ann-2").await;
    let mut manager = bound(&server, MANAGER, "secret").await;
    assert_eq!(
        modify(&mut manager, ANN, vec![Mod::Delete("userPassword", set(&[]))]).await,
        0
    );
    assert_eq!(bind(&server, ANN, "ann-2").await.1, INVALID_CREDENTIALS);
}

#[tokio::test]
async fn hashes_of_other_servers_are_verified_and_hashed_anew() {
    let server = place("").serve();
    let mut manager = manager(&server).await;
    // All of "password".
    let hashes = [
        "{SSHA}rXVtWiPAY6/w8MuTLKIjpBjj2mtzYWx0MTIzNA==",
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "{MD5}X03MO1qnZdYdgyfeuILPmQ==",
        "{PBKDF2-SHA256}1000$c2FsdHNhbHRzYWx0c2FsdA$8nX7hwFEzIB8aPajJTYK8weHQc5Ngz0pFVAKvSu4jQA",
        "{CLEARTEXT}password",
    ];
    for (n, hash) in hashes.into_iter().enumerate() {
        let dn = format!("uid=h{n},ou=people,{BASE}");
        let added = person(&mut manager, &dn, &[hash]).await;
        assert_eq!(added.rc, 0, "{hash}: {added}");
        for _ in 0..2 {
            bound(&server, &dn, "password").await;
        }
        assert_eq!(bind(&server, &dn, "Password").await.1, INVALID_CREDENTIALS, "{hash}");
    }
    for hash in ["{SASL}ann@EXAMPLE.COM", "{SSHA}x", "{CRYPT}ab3Kx", "{nonsense}"] {
        let replaced = Mod::Replace("userPassword", set(&[hash]));
        assert_eq!(
            modify(&mut manager, ANN, vec![replaced]).await,
            CONSTRAINT_VIOLATION,
            "{hash}"
        );
    }
    let same = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=";
    let twice = vec![
        Mod::Replace("userPassword", set(&[same])),
        Mod::Add("userPassword", set(&[same])),
    ];
    assert_eq!(modify(&mut manager, ANN, twice).await, VALUE_EXISTS);
    bound(&server, ANN, "ann-1").await;
}

#[tokio::test]
async fn an_entry_changes_its_own_secret_and_goes_on() {
    let server = place("").serve();
    manager(&server).await;
    let mut other = bound(&server, ANN, "ann-1").await;
    let mut ann = bound(&server, ANN, "ann-1").await;
    assert_eq!(change(&mut ann, None, None, Some("ann-2")).await.0, INSUFFICIENT);
    assert_eq!(change(&mut ann, None, Some("wrong"), Some("ann-2")).await.0, UNWILLING);
    assert_eq!(
        change(&mut ann, Some(MANAGER), Some("secret"), Some("mine")).await.0,
        INSUFFICIENT
    );
    assert_eq!(change(&mut ann, None, Some("ann-1"), Some("ann-2")).await, (0, None));
    assert_eq!(who(&mut ann).await, format!("dn:{ANN}"), "the connection goes on");
    assert!(other.extended(WhoAmI).await.is_err(), "every other one must bind again");
    assert_eq!(bind(&server, ANN, "ann-1").await.1, INVALID_CREDENTIALS);
    let (rc, generated) = change(&mut ann, Some(ANN), Some("ann-2"), None).await;
    assert_eq!(rc, 0);
    let generated = generated.unwrap();
    bound(&server, ANN, &generated).await;

    // The same by modify: with the value before, and nothing beside it.
    let replace = || Mod::Replace("userPassword", set(&["ann-3"]));
    assert_eq!(modify(&mut ann, ANN, vec![replace()]).await, INSUFFICIENT);
    let more = vec![replace(), Mod::Replace("title", set(&["Professor"]))];
    assert_eq!(modify(&mut ann, ANN, more).await, INSUFFICIENT);
    let exchange = |old| {
        vec![
            Mod::Delete("userPassword", set(&[old])),
            Mod::Add("userPassword", set(&["ann-3"])),
        ]
    };
    assert_eq!(modify(&mut ann, ANN, exchange("wrong")).await, UNWILLING);
    // Nor does anybody keep the server hashing what an entry cannot have: that is told before the old secret is looked at.
    let many: Vec<String> = (0..500).map(|n| format!("guess {n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        modify(&mut ann, ANN, vec![Mod::Replace("userPassword", set(&many))]).await,
        ADMIN_LIMIT
    );
    // A hash proves nothing, and permissive modify passes over what is not there.
    for hash in [
        "{SHA}qvTGHdzF6KLavt4PO0gs2a6pQ00=",
        "{CLEARTEXT}{SHA}qvTGHdzF6KLavt4PO0gs2a6pQ00=",
    ] {
        let permissive = RawControl {
            ctype: "1.2.840.113556.1.4.1413".to_owned(),
            crit: true,
            val: None,
        };
        let answer = ann.with_controls(permissive).modify(ANN, exchange(hash)).await.unwrap();
        assert_eq!(answer.rc, INSUFFICIENT, "{hash}");
    }
    assert_eq!(modify(&mut ann, ANN, exchange(&generated)).await, 0);
    assert_eq!(who(&mut ann).await, format!("dn:{ANN}"));
    bound(&server, ANN, "ann-3").await;
}

#[tokio::test]
async fn replace_alone_is_enough_where_it_is_configured() {
    let server = place("old_secret_needed = false").serve();
    let mut manager = manager(&server).await;
    let mut ann = bound(&server, ANN, "ann-1").await;
    assert_eq!(
        modify(&mut ann, ANN, vec![Mod::Replace("userPassword", set(&["ann-2"]))]).await,
        0
    );
    assert_eq!(change(&mut ann, None, None, Some("ann-3")).await.0, 0);
    bound(&server, ANN, "ann-3").await;
    assert_eq!(change(&mut manager, Some(ANN), None, Some("ann-4")).await.0, 0);
    assert!(
        ann.extended(WhoAmI).await.is_err(),
        "an administrator's change ends its sessions"
    );
    bound(&server, ANN, "ann-4").await;
}

/// A server where a group is of administrators and the entry of the last name has the profile of a feed; its manager, bound.
async fn ruled() -> (Server, Ldap, String) {
    let rules = format!(
        "rules = [{{ group = \"{ADMINS}\", role = \"administrator\" }}, {{ entry = \"uid=feed,ou=people,{BASE}\", profile = \"feed\" }}]"
    );
    let server = place(&rules).serve();
    let mut manager = manager(&server).await;
    let feed_dn = format!("uid=feed,ou=people,{BASE}");
    assert_eq!(person(&mut manager, &feed_dn, &["feed"]).await.rc, 0);
    (server, manager, feed_dn)
}

#[tokio::test]
async fn only_rules_give_rights_and_only_administrators_change_what_they_name() {
    let (server, mut manager, feed_dn) = ruled().await;
    let group: &[(&str, &[&str])] = &[("objectClass", &["groupOfNames"]), ("member", &[MANAGER])];
    assert_eq!(add(&mut manager, ADMINS, group).await.rc, 0);

    let mut ann = bound(&server, ANN, "ann-1").await;
    assert_eq!(
        modify(&mut ann, ANN, vec![Mod::Replace("sn", set(&["X"]))]).await,
        INSUFFICIENT
    );
    let mut feed = bound(&server, &feed_dn, "feed").await;
    let role = vec![
        Mod::Add("objectClass", set(&["nhsdirAccount"])),
        Mod::Add("nhsdirRole", set(&["administrator"])),
    ];
    assert_eq!(modify(&mut feed, ANN, role).await, 0, "an attribute like any other");
    let mut ann = bound(&server, ANN, "ann-1").await;
    assert_eq!(
        modify(&mut ann, ANN, vec![Mod::Replace("sn", set(&["X"]))]).await,
        INSUFFICIENT
    );
    let join = || vec![Mod::Add("member", set(&[feed_dn.as_str()]))];
    assert_eq!(modify(&mut feed, ADMINS, join()).await, INSUFFICIENT);
    for moved in [ADMINS.to_owned(), format!("ou=groups,{BASE}")] {
        let answer = feed.modifydn(&moved, "cn=x", true, None).await.unwrap();
        assert_eq!(answer.rc, INSUFFICIENT, "{moved}");
    }
    assert_eq!(
        modify(&mut feed, MANAGER, vec![Mod::Replace("userPassword", set(&["x"]))]).await,
        INSUFFICIENT
    );
    assert_eq!(change(&mut feed, Some(MANAGER), None, Some("x")).await.0, INSUFFICIENT);
    assert_eq!(change(&mut feed, Some(ANN), None, Some("ann-2")).await.0, 0);

    // A change of the group is in force at once.
    assert_eq!(
        modify(&mut manager, ADMINS, vec![Mod::Add("member", set(&[ANN]))]).await,
        0
    );
    // Who is a member is out of the feed's reach, by any name.
    let mut feed = bound(&server, &feed_dn, "feed").await;
    assert_eq!(change(&mut feed, Some(ANN), None, Some("x")).await.0, INSUFFICIENT);
    assert_eq!(
        modify(&mut feed, ANN, vec![Mod::Replace("userPassword", set(&["x"]))]).await,
        INSUFFICIENT
    );
    assert_eq!(feed.delete(ANN).await.unwrap().rc, INSUFFICIENT);
    for moved in [ANN.to_owned(), format!("ou=people,{BASE}")] {
        let answer = feed.modifydn(&moved, "cn=x", true, None).await.unwrap();
        assert_eq!(answer.rc, INSUFFICIENT, "{moved}");
    }
    let mut ann = bound(&server, ANN, "ann-2").await;
    assert_eq!(modify(&mut ann, ANN, vec![Mod::Replace("sn", set(&["X"]))]).await, 0);
    assert_eq!(
        modify(&mut manager, ADMINS, vec![Mod::Delete("member", set(&[ANN]))]).await,
        0
    );
    assert!(ann.extended(WhoAmI).await.is_err());
    let mut ann = bound(&server, ANN, "ann-2").await;
    assert_eq!(
        modify(&mut ann, ANN, vec![Mod::Replace("sn", set(&["Y"]))]).await,
        INSUFFICIENT
    );
}

#[tokio::test]
async fn secrets_follow_their_entry() {
    let server = place("").serve();
    let mut manager = manager(&server).await;
    let mut ann = bound(&server, ANN, "ann-1").await;
    let people = format!("ou=people,{BASE}");
    manager
        .modifydn(&people, "ou=staff", true, None)
        .await
        .unwrap()
        .success()
        .unwrap();
    assert!(ann.extended(WhoAmI).await.is_err());
    let moved = format!("uid=ann,ou=staff,{BASE}");
    bound(&server, &moved, "ann-1").await;
    assert_eq!(bind(&server, ANN, "ann-1").await.1, INVALID_CREDENTIALS);

    let disable = vec![
        Mod::Add("objectClass", set(&["nhsdirAccount"])),
        Mod::Add("nhsdirDisabled", set(&["TRUE"])),
    ];
    let mut ann = bound(&server, &moved, "ann-1").await;
    assert_eq!(modify(&mut manager, &moved, disable).await, 0);
    assert!(ann.extended(WhoAmI).await.is_err());
    assert_eq!(bind(&server, &moved, "ann-1").await.1, INVALID_CREDENTIALS);
    assert_eq!(
        modify(&mut manager, &moved, vec![Mod::Delete("nhsdirDisabled", set(&[]))]).await,
        0
    );
    bound(&server, &moved, "ann-1").await;

    manager.delete(&moved).await.unwrap().success().unwrap();
    assert_eq!(bind(&server, &moved, "ann-1").await.1, INVALID_CREDENTIALS);
    assert_eq!(person(&mut manager, &moved, &[]).await.rc, 0);
    assert_eq!(
        bind(&server, &moved, "ann-1").await.1,
        INVALID_CREDENTIALS,
        "the secret went with the entry"
    );
}

#[tokio::test]
async fn the_schema_sees_the_secret() {
    let server = place("").serve();
    let mut manager = manager(&server).await;
    let device: &[(&str, &[&str])] = &[("objectClass", &["device"]), ("userPassword", &["x"])];
    let dn = format!("cn=d,{BASE}");
    assert_eq!(add(&mut manager, &dn, device).await.rc, CLASS_VIOLATION);
    let simple: &[(&str, &[&str])] = &[("objectClass", &["device", "simpleSecurityObject"])];
    assert_eq!(add(&mut manager, &dn, simple).await.rc, CLASS_VIOLATION);
    let whole: &[(&str, &[&str])] = &[
        ("objectClass", &["device", "simpleSecurityObject"]),
        ("userPassword", &["x"]),
    ];
    assert_eq!(add(&mut manager, &dn, whole).await.rc, 0);
    bound(&server, &dn, "x").await;
    let bare = vec![Mod::Delete("objectClass", set(&["simpleSecurityObject"]))];
    assert_eq!(modify(&mut manager, &dn, bare).await, CLASS_VIOLATION);
    let both = vec![
        Mod::Delete("objectClass", set(&["simpleSecurityObject"])),
        Mod::Delete("userPassword", set(&[])),
    ];
    assert_eq!(modify(&mut manager, &dn, both).await, 0);
}

#[test]
fn secrets_are_imported() {
    let place = place("");
    let ldif = "dn: o=second\nobjectClass: organization\no: second\n\n\
                dn: uid=bob,o=second\nobjectClass: account\nobjectClass: simpleSecurityObject\nuid: bob\n\
                userPassword: bob-1\nuserPassword:: e1NIQX1XNnBoNU1tNVB6OEdnaVVMYlBnekczN21qOWc9\n";
    place.succeed(&["import", "-"], ldif);
    let server = place.serve();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for secret in ["bob-1", "password"] {
            bound(&server, "uid=bob,o=second", secret).await;
        }
    });
    let (place, _) = server.stop();
    for folder in ["journal", "log", "segments", "audit"] {
        for file in std::fs::read_dir(place.data().join(folder)).unwrap() {
            let path = file.unwrap().path();
            let octets = std::fs::read(&path).unwrap_or_default();
            let found = octets.windows(5).any(|window| window == b"bob-1");
            assert!(!found, "{}", path.display());
        }
    }
}

/// What slapcat prints is kept, and what it does not say follows; the export is the same octets every time.
#[test]
fn slapcat_is_imported_with_its_hashes_locks_and_times() {
    let hash = "{SSHA}rXVtWiPAY6/w8MuTLKIjpBjj2mtzYWx0MTIzNA==";
    let entry = |name: &str, more: &str| {
        format!(
            "dn: uid={name},o=second\nobjectClass: account\nobjectClass: simpleSecurityObject\nuid: {name}\n\
             structuralObjectClass: account\nentryUUID: 00000000-0000-1041-9ac4-2f76e714a98{}\ncreatorsName: cn=x\n\
             createTimestamp: 20200101000000Z\nuserPassword: {hash}\n{more}memberOf: cn=g,o=second\n\
             entryCSN: 20200102030405.272087Z#000000#001#000000\nmodifiersName: cn=y\nmodifyTimestamp: 20200102030405Z\n\n",
            name.len()
        )
    };
    let ldif = format!(
        "dn: o=second\nobjectClass: organization\no: second\ncontextCSN: 20200102030405.272087Z#000000#001#000000\n\n{}{}{}\
         dn: cn=policy,o=second\nobjectClass: device\nobjectClass: pwdPolicy\ncn: policy\npwdAttribute: userPassword\n",
        entry("a", "pwdChangedTime: 20210101000000Z\npwdHistory: x\npwdReset: TRUE\n"),
        entry(
            "bb",
            "pwdAccountLockedTime: 20210101000000Z\npwdFailureTime: 20210101000000.5Z\n"
        ),
        entry("ccc", "pwdAccountLockedTime: 000001010000Z\n"),
    );
    let place = place("");
    place.succeed(&["import", "-"], &ldif);
    let export = |name: &str| {
        let path = place.folder().join(name);
        place.succeed(
            &["export", "--operational", "--secrets", "--out", path.to_str().unwrap()],
            "",
        );
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        std::fs::read_to_string(path).unwrap()
    };
    let exported = export("one.ldif");
    assert_eq!(exported, export("two.ldif"));
    for kept in [
        "dn: uid=a,o=second",
        &format!("userPassword: {hash}\npwdChangedTime: 20210101000000Z\npwdReset: TRUE\n"),
        &format!(
            "userPassword: {hash}\npwdChangedTime: 20200101000000Z\npwdFailureTime: 20210101000000.500000Z\n\
                  pwdAccountLockedTime: 20210101000000Z\n"
        ),
        "pwdAccountLockedTime: 000001010000Z",
        "entryUUID: 00000000-0000-1041-9ac4-2f76e714a981",
        "creatorsName: cn=x",
        "modifiersName: cn=y",
        "modifyTimestamp: 20200102030405Z",
        "entryCSN: 20200102030405.272087Z#",
    ] {
        assert!(exported.contains(kept), "{kept}\n{exported}");
    }
    assert!(
        !place.run(&["export", "--secrets"], "").status.success(),
        "never to standard output"
    );

    let server = place.serve();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let names = ["uid=a,o=second", "uid=bb,o=second", "uid=ccc,o=second"];
        let mut codes = Vec::new();
        for name in names {
            codes.push(bind(&server, name, "password").await.1);
        }
        assert_eq!(codes, [0, INVALID_CREDENTIALS, INVALID_CREDENTIALS]);
        let mut manager = bound(&server, MANAGER, "secret").await;
        let asked = [
            "pwdChangedTime",
            "pwdAccountLockedTime",
            "pwdLastSuccess",
            "pwdFailureTime",
        ];
        let entry = found(&mut manager, names[2], Scope::Base, "(objectClass=*)", &asked).await;
        assert_eq!(entry[0].attrs["pwdAccountLockedTime"], ["000001010000Z"]);
        assert!(entry[0].attrs["pwdFailureTime"].len() == 1 && !entry[0].attrs.contains_key("pwdLastSuccess"));
        let entry = found(&mut manager, names[0], Scope::Base, "(objectClass=*)", &["+"]).await;
        assert!(entry[0].attrs.contains_key("pwdLastSuccess"));

        // Unlocked, and locked again with everybody who is bound.
        for name in &names[1..] {
            assert_eq!(
                modify(&mut manager, name, vec![Mod::Delete("pwdAccountLockedTime", set(&[]))]).await,
                0
            );
        }
        let mut bound_before = bound(&server, names[1], "password").await;
        bound(&server, names[2], "password").await;
        let lock = Mod::Add("pwdAccountLockedTime", set(&["000001010000Z"]));
        assert_eq!(modify(&mut manager, names[1], vec![lock]).await, 0);
        assert!(bound_before.extended(WhoAmI).await.is_err());
        assert_eq!(bind(&server, names[1], "password").await.1, INVALID_CREDENTIALS);
    });
    let (place, _) = server.stop();
    let server = place.serve();
    runtime.block_on(async {
        assert_eq!(
            bind(&server, "uid=bb,o=second", "password").await.1,
            INVALID_CREDENTIALS,
            "after a restart"
        );
        bound(&server, "uid=ccc,o=second", "password").await;
    });
    let refused = server.place.refuse(2, &["export", "--secrets", "--out", "/dev/null"]);
    assert!(refused.contains("stop the server"), "{refused}");
}

#[tokio::test]
async fn off_it_is_off() {
    let server = Place::filled().serve();
    let mut writer = server.bound("administrator").await;
    let replaced = modify(
        &mut writer,
        crate::server::ANN,
        vec![Mod::Replace("userPassword", set(&["x"]))],
    )
    .await;
    assert_eq!(replaced, UNWILLING);
}

/// Rights go by name: nobody but an administrator moves an entry to a member's name, whatever else moves in the same moment.
#[tokio::test]
async fn a_transaction_moves_nobody_to_the_name_of_a_member() {
    let (server, mut manager, feed_dn) = ruled().await;
    // A member whose entry is gone.
    let group: &[(&str, &[&str])] = &[
        ("objectClass", &["groupOfNames"]),
        ("member", &["uid=ann,ou=gone,dc=example,dc=com"]),
    ];
    assert_eq!(add(&mut manager, ADMINS, group).await.rc, 0);

    let mut feed = bound(&server, &feed_dn, "feed").await;
    let waiting = format!("ou=waiting,{BASE}");
    let unit = add(&mut feed, &waiting, &[("objectClass", &["organizationalUnit"])]).await;
    assert_eq!(unit.rc, 0);
    let id = transactions::start(&mut feed).await;
    let moved = feed
        .with_controls(transactions::within(&id))
        .modifydn(ANN, "uid=ann", true, Some(&waiting));
    assert_eq!(moved.await.unwrap().rc, 0);
    let renamed = feed
        .with_controls(transactions::within(&id))
        .modifydn(&waiting, "ou=gone", true, None);
    assert_eq!(renamed.await.unwrap().rc, 0, "it has nothing below it yet");
    let ended = transactions::end(&mut feed, true, &id).await.0;
    let gone = format!("uid=ann,ou=gone,{BASE}");
    assert_eq!(bind(&server, &gone, "ann-1").await.1, INVALID_CREDENTIALS);
    assert_eq!(ended, INSUFFICIENT);
    bound(&server, ANN, "ann-1").await;
    // A unit with nothing below it is the feed's to rename.
    let renamed = feed.modifydn(&waiting, "ou=empty", true, None).await.unwrap();
    assert_eq!(renamed.rc, 0);
}

#[tokio::test]
async fn the_manager_is_one_whatever_its_entry_can_hold() {
    let place = place("");
    let ldif = format!(
        "dn: {BASE}\nobjectClass: domain\ndc: example\n\ndn: {MANAGER}\nobjectClass: organizationalRole\ncn: Manager\n"
    );
    place.succeed(&["import", "-"], &ldif);
    place.succeed(&["account", "rotate", MANAGER, "--secret-stdin"], "imported\n");
    let server = place.serve();
    assert_eq!(bind(&server, MANAGER, "secret").await.1, INVALID_CREDENTIALS);
    let mut manager = bound(&server, MANAGER, "imported").await;
    let described = vec![Mod::Replace("description", set(&["x"]))];
    assert_eq!(modify(&mut manager, MANAGER, described).await, 0);
    assert_eq!(change(&mut manager, None, Some("imported"), Some("secret")).await.0, 0);
    assert_eq!(who(&mut manager).await, format!("dn:{MANAGER}"));
    // What it cannot hold is not added to it all the same.
    let unfit = vec![Mod::Add("userPassword", set(&["other"]))];
    assert_eq!(modify(&mut manager, MANAGER, unfit).await, CLASS_VIOLATION);
    manager.delete(MANAGER).await.unwrap().success().unwrap();
    bound(&server, MANAGER, "secret").await;
    let role: &[(&str, &[&str])] = &[("objectClass", &["organizationalRole"])];
    assert_eq!(add(&mut manager, MANAGER, role).await.rc, 0);
    bound(&server, MANAGER, "secret").await;
}

#[tokio::test]
async fn who_changes_more_than_its_own_secret_goes_on_too() {
    let rules = format!("rules = [{{ entry = \"{ANN}\", role = \"administrator\" }}]");
    let server = place(&rules).serve();
    let mut manager = manager(&server).await;
    let own: &[(&str, &[&str])] = &[
        ("objectClass", &["organizationalRole", "simpleSecurityObject"]),
        ("userPassword", &["secret"]),
    ];
    // As often as a restored copy is loaded.
    for _ in 0..6 {
        assert_eq!(add(&mut manager, MANAGER, own).await.rc, 0);
        assert_eq!(who(&mut manager).await, format!("dn:{MANAGER}"));
        manager.delete(MANAGER).await.unwrap().success().unwrap();
    }
    let mut other = bound(&server, ANN, "ann-1").await;
    let mut ann = bound(&server, ANN, "ann-1").await;
    let more = vec![
        Mod::Replace("userPassword", set(&["ann-2"])),
        Mod::Replace("title", set(&["Professor"])),
    ];
    assert_eq!(modify(&mut ann, ANN, more).await, 0);
    assert_eq!(who(&mut ann).await, format!("dn:{ANN}"));
    assert!(other.extended(WhoAmI).await.is_err(), "every other one must bind again");
    bound(&server, ANN, "ann-2").await;
}

#[tokio::test]
async fn the_old_secret_is_right_before_the_entry_has_ever_bound() {
    let server = place("").serve();
    let mut manager = manager(&server).await;
    assert_eq!(
        change(&mut manager, Some(ANN), Some("wrong"), Some("x")).await.0,
        UNWILLING
    );
    assert_eq!(change(&mut manager, Some(ANN), Some("ann-1"), Some("ann-2")).await.0, 0);
    let (place, _) = server.stop();
    let server = place.serve();
    let mut manager = bound(&server, MANAGER, "secret").await;
    assert_eq!(
        change(&mut manager, Some(ANN), Some("ann-2"), Some("ann-3")).await.0,
        0,
        "after a restart"
    );
    bound(&server, ANN, "ann-3").await;
}

#[tokio::test]
async fn secrets_change_in_the_order_of_the_request() {
    let server = place("").serve();
    let mut manager = manager(&server).await;
    let add = |values: &[&'static str]| Mod::Add("userPassword", set(values));
    let delete = |value| Mod::Delete("userPassword", set(&[value]));
    let changes = vec![add(&["s1", "s2", "s3"]), delete("s1"), delete("{CLEARTEXT}s2")];
    assert_eq!(modify(&mut manager, ANN, changes).await, 0);
    for (secret, rc) in [
        ("s1", INVALID_CREDENTIALS),
        ("s2", INVALID_CREDENTIALS),
        ("s3", 0),
        ("ann-1", 0),
    ] {
        assert_eq!(bind(&server, ANN, secret).await.1, rc, "{secret}");
    }
    for changes in [
        vec![add(&["s3"])],
        vec![add(&["s4"]), add(&["s4"])],
        vec![delete("s3"), add(&["s4"]), add(&["s4"])],
    ] {
        assert_eq!(modify(&mut manager, ANN, changes).await, VALUE_EXISTS);
    }
    for changes in [
        vec![add(&["s4"]), delete("s4"), delete("s4")],
        vec![delete("s3"), delete("s3")],
    ] {
        assert_eq!(modify(&mut manager, ANN, changes).await, NO_SUCH_ATTRIBUTE);
    }
    assert_eq!(modify(&mut manager, ANN, vec![delete("s3"), add(&["s3"])]).await, 0);
    bound(&server, ANN, "s3").await;

    // What it brings itself is not the secret before; and a secret kept twice goes whole.
    let mut ann = bound(&server, ANN, "ann-1").await;
    assert_eq!(
        modify(&mut ann, ANN, vec![add(&["guess"]), delete("guess")]).await,
        INSUFFICIENT
    );
    assert_eq!(modify(&mut ann, ANN, vec![delete("s3"), add(&["ann-1"])]).await, 0);
    assert_eq!(modify(&mut manager, ANN, vec![delete("ann-1")]).await, 0);
    assert_eq!(bind(&server, ANN, "ann-1").await.1, INVALID_CREDENTIALS);
}

/// A name that is no DN is the `uid` of the one entry with a secret that has it.
#[tokio::test]
async fn an_entry_binds_by_its_uid() {
    let server = place("").serve();
    let mut manager = manager(&server).await;
    let sasl = |name: &str, secret: &str| u32::from(Raw::open(&server).ask(1, &plain("", name, secret)));
    for name in ["ann", "ANN", "u:ann"] {
        assert_eq!(sasl(name, "ann-1"), 0, "{name}");
    }
    assert_eq!(u32::from(Raw::open(&server).ask(1, &plain("u:ann", "ann", "ann-1"))), 0);
    let mut ann = bound(&server, "ann", "ann-1").await;
    assert_eq!(who(&mut ann).await, format!("dn:{ANN}"));
    for (name, secret) in [
        ("ann", "wrong"),
        ("nobody", "ann-1"),
        ("an*", "ann-1"),
        ("people", "ann-1"),
    ] {
        assert_eq!(sasl(name, secret), INVALID_CREDENTIALS, "{name}");
    }
    assert_eq!(
        change(&mut manager, Some("u:ann"), Some("ann-1"), Some("ann-2"))
            .await
            .0,
        0
    );
    assert_eq!(sasl("ann", "ann-1"), INVALID_CREDENTIALS);
    // After a compaction and a start it is found in the index.
    let (place, _) = server.stop();
    place.succeed(&["compact"], "");
    let server = place.serve();
    let sasl = |name: &str, secret: &str| u32::from(Raw::open(&server).ask(1, &plain("", name, secret)));
    assert_eq!(sasl("ann", "ann-2"), 0);

    // An entry that cannot bind takes nobody's name; one that can does.
    let mut manager = bound(&server, MANAGER, "secret").await;
    let twin = format!("uid=ann,ou=groups,{BASE}");
    assert_eq!(person(&mut manager, &twin, &[]).await.rc, 0);
    assert_eq!(sasl("ann", "ann-2"), 0);
    let secret = vec![Mod::Add("userPassword", set(&["twin"]))];
    assert_eq!(modify(&mut manager, &twin, secret).await, 0);
    for secret in ["ann-2", "twin"] {
        assert_eq!(sasl("ann", secret), INVALID_CREDENTIALS);
    }
    bound(&server, ANN, "ann-2").await;
}

/// What two applications are called means neither, and no entry instead.
#[tokio::test]
async fn a_name_of_two_accounts_is_no_entrys() {
    let server = place("").serve();
    let mut manager = manager(&server).await;
    let above = format!("ou=Applications,{BASE}");
    let unit = add(&mut manager, &above, &[("objectClass", &["organizationalUnit"])]).await;
    assert_eq!(unit.rc, 0);
    assert_eq!(
        person(&mut manager, "uid=both,ou=people,dc=example,dc=com", &["of the entry"])
            .await
            .rc,
        0
    );
    for (cn, secret, code) in [("one", "of one", 0), ("two", "of two", INVALID_CREDENTIALS)] {
        let account: [(&str, &[&str]); 5] = [
            ("objectClass", &["nhsdirAccount", "inetOrgPerson"]),
            ("cn", &[cn]),
            ("sn", &["x"]),
            ("mail", &["both"]),
            ("userPassword", &[secret]),
        ];
        assert_eq!(add(&mut manager, &format!("cn={cn},{above}"), &account).await.rc, 0);
        assert_eq!(bind(&server, "both", secret).await.1, code);
        assert_eq!(bind(&server, "both", "of the entry").await.1, INVALID_CREDENTIALS);
    }
    let named = change(&mut manager, Some("u:both"), None, Some("new")).await;
    assert_eq!(named.0, 32);
}
