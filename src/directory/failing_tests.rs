//! What a client was told to have failed is not in force: on a disk that fails on demand.

use super::*;
use crate::account::{PasswordState, Secret};
use crate::model::{Address, Attribute, AttributeDescription, Entry, Outcome, ResultCode, Source};
use crate::store::faulty::{Fault, FaultyKv};
use std::io::ErrorKind;

const ANN: &str = "uid=ann,o=nhs";
const POLICY: &str = "cn=policy,o=nhs";
const APP: &str = "cn=app,ou=Applications,o=nhs";

struct Place {
    _data: tempfile::TempDir,
    disk: FaultyKv,
    directory: Arc<Directory>,
    root: Session,
}

impl Place {
    /// An entry and an application that may bind with `first`.
    async fn new() -> Place {
        let data = tempfile::tempdir().unwrap();
        let options = DirectoryOptions {
            data: data.path().to_path_buf(),
            general: GeneralOptions {
                enabled: true,
                profile: "reader".to_owned(),
                ..GeneralOptions::default()
            },
            password_policy: PasswordPolicyOptions {
                enabled: true,
                default: POLICY.to_owned(),
                ..PasswordPolicyOptions::default()
            },
            accounts: AccountOptions {
                argon2_memory_kib: 8,
                argon2_iterations: 1,
                secret_rules: false,
                ..AccountOptions::default()
            },
            ..DirectoryOptions::default()
        };
        let schema = load_schema(&options).unwrap();
        let disk = FaultyKv::default();
        let store = Store::failing(&disk, data.path(), schema.clone());
        keep_suffixes(&store, &[Dn::parse("o=nhs").unwrap()]).unwrap();
        let directory = Directory::with_store(store, schema, options).unwrap();
        let root = directory.bind_external(b"", &source()).unwrap();
        let place = Place {
            _data: data,
            disk,
            directory,
            root,
        };
        place.add("o=nhs", &[("objectClass", "organization")]).await;
        place
            .add("ou=Applications,o=nhs", &[("objectClass", "organizationalUnit")])
            .await;
        let class = ("objectClass", "inetOrgPerson");
        let ann = [class, ("cn", "Ann"), ("sn", "Lee"), ("userPassword", "first")];
        place.add(ANN, &ann).await;
        let app = [
            ("objectClass", "applicationProcess"),
            ("objectClass", "nhsdirAccount"),
            ("userPassword", "first"),
        ];
        place.add(APP, &app).await;
        place
    }

    async fn add(&self, dn: &str, attributes: &[(&str, &str)]) {
        let mut entry = Entry {
            dn: Dn::parse(dn).unwrap(),
            attributes: Vec::new(),
        };
        for (name, value) in attributes {
            let value = value.as_bytes().to_vec();
            match entry.attributes.last_mut() {
                Some(last) if last.description == plain(name) => last.values.push(value),
                _ => entry.attributes.push(Attribute {
                    description: plain(name),
                    values: vec![value],
                }),
            }
        }
        complete_naming(&self.directory.schema(), &mut entry);
        assert_eq!(self.update(Update::Add(entry)).await, Outcome::success(), "{dn}");
    }

    async fn update(&self, update: Update) -> Outcome {
        self.directory.update(&self.root, update).await.outcome
    }

    async fn modify(&self, dn: &str, name: &str, value: &str) -> Outcome {
        let changes = vec![Modification::new(
            ModificationKind::Replace,
            plain(name),
            vec![value.as_bytes().to_vec()],
        )];
        let dn = Dn::parse(dn).unwrap();
        self.update(Update::Modify { dn, changes }).await
    }

    async fn bind(&self, name: &str, secret: &str) -> Result<Session, ResultCode> {
        let secret = Secret::new(secret.as_bytes().to_vec());
        let bound = self.directory.bind(name, secret, b"", &source()).await;
        bound.map_err(|outcome| outcome.code)
    }

    /// From here on the disk takes nothing.
    fn fill(&self) {
        self.disk.arm(0, Fault::Io(ErrorKind::StorageFull));
    }
}

fn plain(name: &str) -> AttributeDescription {
    AttributeDescription {
        attribute_type: name.to_owned(),
        options: Vec::new(),
    }
}

fn source() -> SharedSource {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    Arc::new(Source {
        address: Address::Local { uid, gid: 0, pid: None },
        tls: None,
        connection: 1,
        sessions: Vec::new(),
    })
}

#[tokio::test]
async fn a_secret_whose_change_failed_is_not_in_force() {
    for by_modify in [true, false] {
        let place = Place::new().await;
        let bound = place.bind(ANN, "first").await.ok().unwrap();
        place.fill();
        for dn in [ANN, APP] {
            let outcome = match by_modify {
                true => place.modify(dn, "userPassword", "second").await,
                false => {
                    let new = Secret::new(b"second".to_vec());
                    let changed = place.directory.change_secret(&place.root, Some(dn), None, Some(new));
                    changed.await.unwrap_err()
                }
            };
            assert_eq!(outcome.code, ResultCode::UnwillingToPerform, "{outcome:?}");
            let wrong = place.bind(dn, "second").await.err();
            assert_eq!(wrong, Some(ResultCode::InvalidCredentials));
            assert!(place.bind(dn, "first").await.is_ok(), "{dn} {by_modify}");
        }
        assert!(!place.directory.holds(&bound), "it was taken from it meanwhile");
    }
}

#[tokio::test]
async fn an_account_whose_change_failed_is_as_it_was() {
    let place = Place::new().await;
    place.fill();
    let gone = |dn: &str| Update::Delete {
        dn: Dn::parse(dn).unwrap(),
        tree: false,
    };
    let renamed = |dn: &str, rdn: &str| Update::ModifyDn {
        dn: Dn::parse(dn).unwrap(),
        new_rdn: Dn::parse(rdn).unwrap().rdn().unwrap().clone(),
        delete_old_rdn: true,
        new_superior: None,
    };
    for update in [
        gone(ANN),
        gone(APP),
        renamed(ANN, "uid=other"),
        renamed(APP, "cn=other"),
    ] {
        let text = format!("{update:?}");
        assert_eq!(
            place.update(update).await.code,
            ResultCode::UnwillingToPerform,
            "{text}"
        );
    }
    let all = vec![gone(APP).into(), renamed(ANN, "uid=other").into()];
    let settled = Arc::clone(&place.directory).settle(Arc::new(place.root.clone()), "1".to_owned(), all);
    assert_eq!(settled.await.outcome.code, ResultCode::UnwillingToPerform);
    for (dn, name, value) in [
        (APP, "nhsdirDisabled", "TRUE"),
        (ANN, "pwdAccountLockedTime", "000001010000Z"),
        (APP, "pwdAccountLockedTime", "000001010000Z"),
        (ANN, "pwdReset", "TRUE"),
    ] {
        let outcome = place.modify(dn, name, value).await;
        assert_eq!(outcome.code, ResultCode::UnwillingToPerform, "{dn} {name}");
    }
    for name in [ANN, APP, "app"] {
        let bound = place.bind(name, "first").await.ok().unwrap();
        assert!(
            !bound.identity.secret.must_change && place.directory.holds(&bound),
            "{name}"
        );
    }
    for name in ["uid=other,o=nhs", "cn=other,ou=Applications,o=nhs", "other"] {
        assert!(place.bind(name, "first").await.is_err(), "{name}");
    }
}

/// A use of an expired secret is used up before it is answered; nothing else of a bind waits for the disk.
#[tokio::test]
async fn a_grace_authentication_is_durable_before_its_answer() {
    let place = Place::new().await;
    let policy = [
        ("objectClass", "device"),
        ("objectClass", "pwdPolicy"),
        ("pwdAttribute", "userPassword"),
        ("pwdMaxAge", "86400"),
        ("pwdGraceAuthNLimit", "3"),
    ];
    place.add(POLICY, &policy).await;
    let key = place.directory.schema().normalize_dn(&Dn::parse(ANN).unwrap()).unwrap();
    let steps = place.disk.steps();
    assert!(place.bind(ANN, "first").await.is_ok());
    assert_eq!(place.disk.steps(), steps, "no secret has expired");
    let state = PasswordState {
        changed: Some(1_000_000_000),
        ..PasswordState::default()
    };
    place.directory.accounts.take_over_state(&key, &state);
    for secret in ["wrong", "other", "wrong"] {
        assert_eq!(
            place.bind(ANN, secret).await.err(),
            Some(ResultCode::InvalidCredentials)
        );
    }
    assert_eq!(place.disk.steps(), steps, "guesses cost the disk nothing");
    assert!(place.bind(ANN, "first").await.is_ok());
    assert!(place.disk.steps() > steps);
    let after = place.disk.after_power_cut(0, false);
    let area = [b"a/", key.0.as_slice()].concat();
    let again = Accounts::new(AccountOptions::default());
    let kept = Store::again(&after, place._data.path(), place.directory.schema()).keyed();
    for (name, value) in kept.unwrap().iter().filter(|(name, _)| *name == area) {
        again.restore(name, value).unwrap();
    }
    assert_eq!(again.password_state(&key).unwrap().grace.len(), 1);

    place.fill();
    assert_eq!(place.bind(ANN, "first").await.err(), Some(ResultCode::Unavailable));
    assert_eq!(
        place.bind(ANN, "wrong").await.err(),
        Some(ResultCode::InvalidCredentials)
    );
    assert_eq!(place.directory.accounts.password_state(&key).unwrap().grace.len(), 2);
}
