//! One record into what the store takes: checked, normalised, encoded. Runs on many threads.

use super::elsewhere::read_url;
use super::operational::{Kept, Kinds, LeftOut, Uuids, take_out};
use crate::access::NEVER_RELEASED;
use crate::account::{AccountOptions, Accounts, KEY_OCTETS_MAX, PasswordState, PreparedSecret, Secret, SecretHasher};
use crate::directory::{complete_naming, is_account_key, past, strip_clear_text};
use crate::model::dn::OCTETS_LIMIT;
use crate::model::ldif::{Chunk, LdifFault, LdifOperation, LdifRecord};
use crate::model::{Entry, Value, is_known_option};
use crate::schema::{NormalizedDn, Schema, SchemaViolation};
use crate::store::segment::PreparedEntry;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What every thread needs to know.
pub(super) struct Context<'a> {
    pub schema: &'a Schema,
    pub suffixes: &'a [NormalizedDn],
    /// Entries of before that stay unless the files have them too.
    pub kept: &'a HashSet<NormalizedDn>,
    pub now: u64,
    /// Costs of secrets that come in clear, where entries of a general directory may have some.
    pub general: Option<AccountOptions>,
}

/// What one chunk came to.
#[derive(Default)]
pub(super) struct Prepared {
    pub entries: Vec<(PreparedEntry, Origin)>,
    pub secrets: Vec<(NormalizedDn, Taken)>,
    /// Names among [`Context::kept`] that the files have.
    pub replaced: Vec<NormalizedDn>,
    pub faults: Vec<LdifFault>,
    /// Names of the entries at fault, as far as they have one: what lies below them is not at fault for it.
    pub bad: Vec<NormalizedDn>,
    pub left_out: LeftOut,
    pub bytes: u64,
}

/// The secrets of an entry, and what another server kept of them.
pub(super) struct Taken {
    pub secrets: Secrets,
    pub password: PasswordState,
}

/// What an entry's `userPassword` came to.
pub(super) enum Secrets {
    Account(PreparedSecret),
    General(Vec<PreparedSecret>),
}

/// Where an entry came from, to be found again by its key.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub key_hash: u64,
    pub line: u32,
}

/// The work of one thread.
pub(super) struct Preparer<'a> {
    context: &'a Context<'a>,
    uuids: Uuids,
    kinds: Kinds,
    hasher: Option<SecretHasher>,
}

pub(super) fn hash_of(key: &NormalizedDn) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl<'a> Preparer<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Preparer {
            context,
            uuids: Uuids::new(),
            kinds: Kinds::default(),
            hasher: context.general.clone().map(SecretHasher::new),
        }
    }

    pub(super) fn chunk(&mut self, file: &str, chunk: &Chunk) -> Prepared {
        let mut prepared = Prepared {
            bytes: chunk.text.len() as u64,
            ..Prepared::default()
        };
        for record in chunk.records(file).fetching(read_url) {
            match record {
                Ok(record) => self.record(file, record, &mut prepared),
                Err(fault) => prepared.faults.push(fault),
            }
        }
        prepared
    }

    fn record(&mut self, file: &str, record: LdifRecord, prepared: &mut Prepared) {
        let line = record.line;
        let mut fault = |message: String| {
            prepared.faults.push(LdifFault {
                file: file.to_owned(),
                line,
                message,
            });
        };
        let (LdifOperation::Content(mut entry) | LdifOperation::Add(mut entry)) = record.operation else {
            return fault(
                "expected an entry, found another change; changes go into a file that begins with one".to_owned(),
            );
        };
        let schema = self.context.schema;
        let key = match schema.normalize_dn(&entry.dn) {
            Ok(key) => key,
            Err(violation) => return fault(violation.to_string()),
        };
        let checked = self.checked(&mut entry, &key, &mut prepared.left_out);
        let (kept, secret) = match checked {
            Ok(checked) => checked,
            Err(message) => {
                prepared.bad.push(key);
                return fault(message);
            }
        };
        if let Some(secrets) = secret {
            let mut password = kept.password.clone();
            password.history = self.past(&kept, &mut prepared.left_out);
            // No later than that, as far as anybody knows.
            password.changed = password.changed.or(kept.created);
            prepared.secrets.push((key.clone(), Taken { secrets, password }));
        }
        if self.context.kept.contains(&key) {
            prepared.replaced.push(key.clone());
        }
        let origin = Origin {
            key_hash: hash_of(&key),
            line: u32::try_from(line).unwrap_or(u32::MAX),
        };
        let operational = kept.operational(self.context.now, &mut self.uuids);
        let entry = PreparedEntry::new(schema, key, &entry, &operational);
        prepared.entries.push((entry, origin));
    }

    /// Takes out of an entry what is not stored in it, and checks the rest.
    fn checked(
        &mut self,
        entry: &mut Entry,
        key: &NormalizedDn,
        left_out: &mut LeftOut,
    ) -> Result<(Kept, Option<Secrets>), String> {
        let schema = self.context.schema;
        if let Some(ava) = secret_in_name(entry, schema) {
            return Err(format!(
                "{}: {ava} never leaves the server, so it names no entry",
                entry.dn
            ));
        }
        let mut options = entry
            .attributes
            .iter()
            .flat_map(|attribute| &attribute.description.options);
        if let Some(option) = options.find(|option| !is_known_option(option)) {
            return Err(format!("{}: attribute option {option} is not known", entry.dn));
        }
        let (kept, has_password) = take_out(entry, schema, &mut self.kinds, left_out)?;
        schema.spell_dn(&mut entry.dn);
        if entry.dn.is_too_long() {
            return Err(format!("expected a name of at most {OCTETS_LIMIT} octets"));
        }
        let keeps_secret = has_password || is_account_key(key, self.context.suffixes);
        if keeps_secret && key.0.len() > KEY_OCTETS_MAX {
            let message = "octets for who has a secret";
            return Err(format!(
                "{}: expected a name of at most {KEY_OCTETS_MAX} {message}",
                entry.dn
            ));
        }
        schema.spell_entry(entry);
        let mut checked = schema.check_entry(entry);
        if let Err(violations) = &checked
            && violations
                .iter()
                .any(|it| matches!(it, SchemaViolation::NamingAttribute { .. }))
        {
            // As an add and slapadd have it: what the name says, the entry has.
            complete_naming(schema, entry);
            checked = schema.check_entry(entry);
        }
        if let Err(violations) = checked {
            let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
            return Err(format!("{}: {}", entry.dn, violations.join("; ")));
        }
        let secret = match has_password {
            true => Some(
                self.secret(entry, key)
                    .map_err(|message| format!("{}: {message}", entry.dn))?,
            ),
            false => None,
        };
        Ok((kept, secret))
    }

    /// Secrets of before, as far as they can be told from others.
    fn past(&mut self, kept: &Kept, left_out: &mut LeftOut) -> Vec<(u64, PreparedSecret)> {
        let mut all = Vec::with_capacity(kept.history.len());
        for value in &kept.history {
            let taken = past(value).and_then(|(since, stored)| {
                let secret = match &mut self.hasher {
                    Some(hasher) => general_secret(hasher, stored),
                    None => Accounts::take_over(&stored, true),
                };
                Some((since, secret.ok()?))
            });
            match taken {
                Some(secret) => all.push(secret),
                None => *left_out.entry("pwdHistory".to_owned()).or_default() += 1,
            }
        }
        all.sort_by_key(|(since, _)| *since);
        all
    }

    /// Takes `userPassword` out of an entry: an account's becomes its secret, and so do those of any other entry where
    /// that may have some.
    fn secret(&mut self, entry: &mut Entry, key: &NormalizedDn) -> Result<Secrets, String> {
        let schema = self.context.schema;
        let user_password = Some(schema.well_known().user_password);
        let mut values: Vec<Value> = Vec::new();
        entry.attributes.retain_mut(|attribute| {
            let is_password = schema.find_attribute(&attribute.description.attribute_type) == user_password;
            if is_password {
                values.append(&mut attribute.values);
            }
            !is_password
        });
        let named = |reason| format!("userPassword: {reason}");
        if is_account_key(key, self.context.suffixes) {
            return match values.as_slice() {
                [value] => Accounts::take_over(value, false).map(Secrets::Account).map_err(named),
                values => Err(format!("expected one userPassword, found {}", values.len())),
            };
        }
        let Some(hasher) = &mut self.hasher else {
            return Err(
                "userPassword is for application accounts, directly below ou=Applications, only; leave it out, or set \
                 general.enabled"
                    .to_owned(),
            );
        };
        let secrets = values.into_iter().map(|value| general_secret(hasher, value));
        secrets.collect::<Result<_, _>>().map(Secrets::General).map_err(named)
    }
}

/// A hash taken over as it is, or a clear secret hashed here.
fn general_secret(hasher: &mut SecretHasher, value: Value) -> Result<PreparedSecret, String> {
    if let Some(clear) = strip_clear_text(&value) {
        return hasher.hash(&Secret::new(clear.to_vec()));
    }
    if value.starts_with(b"{") || value.starts_with(b"$argon2") {
        return Accounts::take_over(&value, true);
    }
    hasher.hash(&Secret::new(value))
}

/// The attribute of an entry's own RDN that is a secret, if one is.
fn secret_in_name<'e>(entry: &'e Entry, schema: &Schema) -> Option<&'e str> {
    let mut avas = entry.dn.rdn()?.avas.iter().map(|ava| ava.attribute.as_str());
    avas.find(|name| {
        let id = schema.find_attribute(name);
        id.is_some() && NEVER_RELEASED.iter().any(|secret| schema.find_attribute(secret) == id)
    })
}
