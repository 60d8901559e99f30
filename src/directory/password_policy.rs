//! Which password policy rules an entry: that of its `pwdPolicySubentry`, or the default one. What follows is decided by
//! [`crate::account::policy`].
//!
//! Invariants: nothing rules unless the configuration says so; a policy holds from the moment it is written; what decides which policy
//! rules whom is for those who may set the secret, and the policies themselves are for administrators.

use super::application::{is_account_key, seconds_of};
use super::general::{General, key_of};
use super::{Directory, DirectoryError, Session, Update, clock};
use crate::account::{self, ChangeAsked, PasswordPolicy, Role};
use crate::model::{Dn, Entry, Outcome, PasswordFault, Rdn, ResultCode, Value};
use crate::schema::{NormalizedDn, Schema};
use crate::store::{Held, Snapshot, Store};
use std::sync::Arc;

/// Where password policies are wanted; keys in `config.example.toml`.
#[derive(Clone, Debug)]
pub struct PasswordPolicyOptions {
    /// Whether entries of class `pwdPolicy` rule.
    pub enabled: bool,
    /// DN of the policy of entries that name none. Empty: nothing rules those.
    pub default: String,
    /// The most secrets of before that are kept of one entry.
    pub history: usize,
}

impl Default for PasswordPolicyOptions {
    fn default() -> Self {
        Self {
            enabled: false,
            default: String::new(),
            history: 24,
        }
    }
}

/// [`PasswordPolicyOptions`] bound to a schema.
#[derive(Clone)]
pub(super) struct PasswordPolicies {
    enabled: bool,
    default: Option<NormalizedDn>,
    history: usize,
}

/// What an entry says of its own policy.
#[derive(Default)]
struct Named {
    policy: Option<NormalizedDn>,
    starts: Option<u64>,
    ends: Option<u64>,
}

/// Attributes by which an entry is ruled otherwise.
const RULING: [&str; 3] = [SUBENTRY, STARTS, ENDS];
const SUBENTRY: &str = "pwdPolicySubentry";
const STARTS: &str = "pwdStartTime";
const ENDS: &str = "pwdEndTime";
const CLASS: &str = "pwdPolicy";

impl PasswordPolicies {
    pub(super) fn new(options: &PasswordPolicyOptions, schema: &Schema) -> Result<PasswordPolicies, DirectoryError> {
        let default = match options.default.as_str() {
            "" => None,
            name => Some(key_of(name, "password_policy.default", schema)?),
        };
        Ok(PasswordPolicies {
            enabled: options.enabled,
            default,
            history: options.history,
        })
    }

    /// Gives the policies of the newest state; `None` where there are none.
    pub(super) fn of_all(
        &self,
        store: &Arc<Store>,
        general: &Arc<General>,
        suffixes: &[NormalizedDn],
    ) -> Option<account::PasswordPolicies> {
        if !self.enabled {
            return None;
        }
        let is_missing = |default: &&NormalizedDn| self.read(&store.snapshot(), default).is_none();
        if self.default.as_ref().filter(is_missing).is_some() {
            tracing::warn!("password_policy.default names no entry of class pwdPolicy yet: nothing rules by default");
        }
        let history = self.history;
        let (policies, store, general) = (self.clone(), Arc::clone(store), Arc::clone(general));
        let suffixes = suffixes.to_vec();
        let of = move |key: &NormalizedDn| {
            // An application has rules of its own unless its entry says otherwise; the manager, as slapd's, has none.
            let by_default = !is_account_key(key, &suffixes);
            let ruled = !general.is_manager(key);
            ruled.then(|| policies.of(&store.snapshot(), key, by_default)).flatten()
        };
        Some(account::PasswordPolicies {
            of: Box::new(of),
            history,
        })
    }

    fn of(&self, snapshot: &Snapshot, key: &NormalizedDn, by_default: bool) -> Option<PasswordPolicy> {
        let record = snapshot.record(snapshot.find(key)?);
        let mut named = Named::default();
        for attribute in record.attributes() {
            if let Some(value) = attribute.values().next() {
                named.take(snapshot.schema(), attribute.description(), value);
            }
        }
        self.named(snapshot, named, by_default)
    }

    /// That of an entry which is to be added.
    fn of_new(&self, snapshot: &Snapshot, entry: &Entry, by_default: bool) -> Option<PasswordPolicy> {
        let mut named = Named::default();
        let schema = snapshot.schema();
        for attribute in &entry.attributes {
            // It may be given by its OID.
            let id = schema.find_attribute(&attribute.description.attribute_type);
            if let (Some(id), Some(value)) = (id, attribute.values.first()) {
                named.take(schema, schema.attribute(id).name(), value);
            }
        }
        self.named(snapshot, named, by_default)
    }

    /// A name that is no policy's leaves the default one in force.
    fn named(&self, snapshot: &Snapshot, named: Named, by_default: bool) -> Option<PasswordPolicy> {
        let own = named.policy.and_then(|key| self.read(snapshot, &key));
        let default = || self.default.as_ref().filter(|_| by_default);
        let policy = own.or_else(|| self.read(snapshot, default()?))?;
        Some(PasswordPolicy {
            starts: named.starts,
            ends: named.ends,
            ..policy
        })
    }

    fn is_default_within(&self, key: &NormalizedDn) -> bool {
        self.default.as_ref().is_some_and(|default| default.is_within(key))
    }

    fn read(&self, snapshot: &Snapshot, key: &NormalizedDn) -> Option<PasswordPolicy> {
        let record = snapshot.record(snapshot.find(key)?);
        let schema = snapshot.schema();
        let class = schema.find_class(CLASS)?;
        if !record.classes(schema).any(|found| found == class) {
            return None;
        }
        let mut policy = PasswordPolicy::default();
        for attribute in record.attributes() {
            if let Some(value) = attribute.values().next() {
                take_rule(&mut policy, attribute.description(), &String::from_utf8_lossy(value));
            }
        }
        Some(policy)
    }
}

impl Named {
    /// A time that cannot be read lets nobody in.
    fn take(&mut self, schema: &Schema, name: &str, value: &[u8]) {
        let text = || String::from_utf8_lossy(value);
        if name.eq_ignore_ascii_case(SUBENTRY) {
            let dn = Dn::parse(&text()).ok();
            self.policy = dn.and_then(|dn| schema.normalize_dn(&dn).ok());
        } else if name.eq_ignore_ascii_case(STARTS) {
            self.starts = Some(seconds_of(&text()).unwrap_or(u64::MAX));
        } else if name.eq_ignore_ascii_case(ENDS) {
            self.ends = Some(seconds_of(&text()).unwrap_or(0));
        }
    }
}

fn take_rule(policy: &mut PasswordPolicy, name: &str, text: &str) {
    let is = |rule: &str| name.eq_ignore_ascii_case(rule);
    let seconds = number(text);
    let count = usize::try_from(seconds).unwrap_or(usize::MAX);
    let flag = text.eq_ignore_ascii_case("TRUE");
    match name {
        _ if is("pwdMaxAge") => policy.max_age = seconds,
        _ if is("pwdExpireWarning") => policy.expire_warning = seconds,
        _ if is("pwdGraceAuthNLimit") => policy.grace_limit = seconds,
        _ if is("pwdGraceExpiry") => policy.grace_expiry = seconds,
        _ if is("pwdMinAge") => policy.min_age = seconds,
        _ if is("pwdMaxIdle") => policy.max_idle = seconds,
        _ if is("pwdInHistory") => policy.in_history = count,
        _ if is("pwdCheckQuality") => policy.check_quality = seconds,
        _ if is("pwdMinLength") => policy.min_length = count,
        _ if is("pwdMaxLength") => policy.max_length = count,
        _ if is("pwdLockout") => policy.lockout = flag,
        _ if is("pwdLockoutDuration") => policy.lockout_duration = seconds,
        _ if is("pwdMaxFailure") => policy.max_failure = count,
        _ if is("pwdMaxRecordedFailure") => policy.max_recorded_failure = count,
        _ if is("pwdFailureCountInterval") => policy.failure_count_interval = seconds,
        _ if is("pwdMinDelay") => policy.min_delay = seconds,
        _ if is("pwdMaxDelay") => policy.max_delay = seconds,
        // slapd 2.5 names it here, later ones in their configuration.
        _ if is("pwdCheckModule") => policy.check_module = true,
        _ if is("pwdUseCheckModule") => policy.check_module |= flag,
        _ if is("pwdMustChange") => policy.must_change = flag,
        _ if is("pwdAllowUserChange") => policy.allow_user_change = flag,
        _ if is("pwdSafeModify") => policy.safe_modify = flag,
        _ => {}
    }
}

/// Below zero is none; what is too large for us is as large as can be.
fn number(text: &str) -> u64 {
    match text.strip_prefix('-') {
        Some(_) => 0,
        None => text.parse().unwrap_or(u64::MAX),
    }
}

impl Directory {
    /// The policy that a new secret of an entry is held to; `update` may be what adds the entry.
    pub(super) fn policy_for(&self, key: &NormalizedDn, update: Option<&Update>) -> Option<PasswordPolicy> {
        match update {
            Some(Update::Add(entry)) if self.password_policies.enabled => {
                let by_default = !self.is_account(key);
                self.password_policies
                    .of_new(&self.store.snapshot(), entry, by_default)
                    .filter(|_| !self.general.is_manager(key))
            }
            _ => self.accounts.policy(key),
        }
    }

    /// Holds a change to its policy before the new secret is looked at.
    pub(super) fn check_change(
        &self,
        key: &NormalizedDn,
        policy: &PasswordPolicy,
        asked: &ChangeAsked,
    ) -> Result<(), Outcome> {
        let checked = self.accounts.check_change(key, policy, asked, clock::seconds());
        checked.map_err(refusal)
    }

    /// A policy is for administrators to write, and so is where it lies; which one rules an entry, for those who may set its secret.
    pub(super) fn check_policy(&self, session: &Session, key: &NormalizedDn, update: &Update) -> Result<(), Outcome> {
        let schema = self.schema();
        if names_ruling(&schema, update) && !self.may_set_secret(session, key) {
            let message = "which password policy rules an entry is for those who may set its secret";
            return Err(Outcome::new(ResultCode::InsufficientAccessRights, message));
        }
        let policies = &self.password_policies;
        if !policies.enabled || session.identity.account.facts.role == Role::Administrator {
            return Ok(());
        }
        let snapshot = self.store.snapshot();
        let concerned = match update {
            Update::Add(_) | Update::Modify { .. } => gives_class(&schema, update),
            Update::Delete { tree: false, .. } => policies.is_default_within(key),
            // A policy would go, or no longer be where it is looked for.
            Update::Delete { tree: true, .. } | Update::ModifyDn { .. } => {
                policies.is_default_within(key) || holds_policy(&snapshot, key)
            }
        };
        // What is hidden is not there, be it a policy.
        let is_policy = || policies.read(&snapshot, key).is_some() && !self.is_hidden(&session.view, key);
        if concerned || is_policy() {
            let message = "password policies are for administrators to change";
            return Err(Outcome::new(ResultCode::InsufficientAccessRights, message));
        }
        Ok(())
    }
}

/// Whether an update is about what says which policy rules its entry.
fn names_ruling(schema: &Schema, update: &Update) -> bool {
    let ruling = RULING.map(|name| schema.find_attribute(name));
    let is_ruling = |name: &str| {
        let found = schema.find_attribute(name);
        found.is_some() && ruling.contains(&found)
    };
    let named = |rdn: &Rdn| rdn.avas.iter().any(|ava| is_ruling(&ava.attribute));
    match update {
        Update::Add(entry) => {
            let mut attributes = entry.attributes.iter();
            entry.dn.rdn().is_some_and(named) || attributes.any(|it| is_ruling(&it.description.attribute_type))
        }
        Update::Modify { changes, .. } => changes.iter().any(|it| is_ruling(&it.description.attribute_type)),
        Update::ModifyDn { new_rdn, .. } => named(new_rdn),
        Update::Delete { .. } => false,
    }
}

/// Whether an add or a modify has to do with the class of policies.
fn gives_class(schema: &Schema, update: &Update) -> bool {
    let object_class = schema.find_attribute("objectClass");
    let is_class = |value: &Value| std::str::from_utf8(value).is_ok_and(|name| is_policy_class(schema, name));
    let gives =
        |name: &str, values: &[Value]| values.iter().any(is_class) && schema.find_attribute(name) == object_class;
    match update {
        Update::Add(entry) => entry
            .attributes
            .iter()
            .any(|it| gives(&it.description.attribute_type, &it.values)),
        Update::Modify { changes, .. } => changes
            .iter()
            .any(|it| gives(&it.description.attribute_type, &it.values)),
        Update::Delete { .. } | Update::ModifyDn { .. } => false,
    }
}

/// Whether a policy lies below: one that the view does not see holds all the same.
fn holds_policy(snapshot: &Snapshot, key: &NormalizedDn) -> bool {
    let schema = snapshot.schema();
    let mut class = Vec::new();
    let id = schema.find_attribute("objectClass");
    let rule = id.and_then(|id| Some((id, schema.attribute(id).equality?)));
    let Some((id, rule)) = rule else { return false };
    if rule.normalize(schema, CLASS.as_bytes(), &mut class).is_err() {
        return false;
    }
    snapshot.has_holder(id, Held::Value(&class), |at| {
        let holder = snapshot.key(at);
        holder != *key && holder.is_within(key)
    })
}

fn is_policy_class(schema: &Schema, name: &str) -> bool {
    let class = schema.find_class(CLASS);
    class.is_some() && schema.find_class(name) == class
}

/// What a change is answered that breaks a rule.
pub(super) fn refusal(fault: PasswordFault) -> Outcome {
    let (code, message) = match fault {
        PasswordFault::PasswordModNotAllowed => (
            ResultCode::InsufficientAccessRights,
            "the password policy lets nobody change the own secret",
        ),
        PasswordFault::MustSupplyOldPassword => (
            ResultCode::InsufficientAccessRights,
            "the old secret is needed to set a new one",
        ),
        PasswordFault::PasswordTooYoung => (ResultCode::ConstraintViolation, "the secret is too young to be changed"),
        PasswordFault::PasswordInHistory => (ResultCode::ConstraintViolation, "the new secret was in use before"),
        PasswordFault::InsufficientPasswordQuality => (
            ResultCode::ConstraintViolation,
            "expected a secret in clear: a hash cannot be held to the password policy",
        ),
        PasswordFault::PasswordExpired
        | PasswordFault::AccountLocked
        | PasswordFault::ChangeAfterReset
        | PasswordFault::PasswordTooShort
        | PasswordFault::PasswordTooLong => (ResultCode::ConstraintViolation, "the password policy does not allow it"),
    };
    Outcome::new(code, message).telling(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_by_name_in_any_case_and_numbers_within_bounds() {
        let mut policy = PasswordPolicy::default();
        for (name, value) in [
            ("pwdMaxAge", "90"),
            ("PWDGRACEAUTHNLIMIT", "3"),
            ("pwdGraceAuthnLimit", "4"),
            ("pwdMinAge", "-1"),
            ("pwdInHistory", "99999999999999999999999"),
            ("pwdLockout", "TRUE"),
            ("pwdAllowUserChange", "FALSE"),
            ("pwdAttribute", "userPassword"),
        ] {
            take_rule(&mut policy, name, value);
        }
        let expected = PasswordPolicy {
            max_age: 90,
            grace_limit: 4,
            in_history: usize::MAX,
            lockout: true,
            allow_user_change: false,
            ..PasswordPolicy::default()
        };
        assert_eq!(policy, expected);
    }
}
