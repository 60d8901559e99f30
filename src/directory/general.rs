//! The general directory: entries with `userPassword` that may bind, and what they are then. Off by default.
//!
//! Invariants: nothing in an entry makes it more than a reader, only a rule of the configuration does; what a rule names is
//! changed by administrators alone where it gives more than reading; a rule that fits no more ends the sessions it gave.

use super::application::account_facts;
use super::{Directory, DirectoryError, Session, Update};
use crate::access::View;
use crate::account::{Account, AccountFacts, Accounts, Role};
use crate::model::{Dn, Filter};
use crate::query::{Truth, compile, evaluate};
use crate::schema::{NormalizedDn, Schema};
use crate::store::Snapshot;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// SHA-256 of a client certificate that an entry may bind with.
pub(super) const CERTIFICATE: &str = "nhsdirCertificate";

/// Entries with one `uid` that are looked at for the one that has a secret.
const UID_HOLDERS_LIMIT: usize = 16;

/// What of a general directory is wanted; keys in `config.example.toml`.
#[derive(Clone, Debug)]
pub struct GeneralOptions {
    /// Whether entries with `userPassword` may bind.
    pub enabled: bool,
    /// Release profile of those that no rule names.
    pub profile: String,
    /// What some of them are; the first that fits counts.
    pub rules: Vec<GeneralRule>,
    /// DN of an administrator who needs no entry. Empty is none.
    pub manager: String,
    /// The fewest characters of a chosen secret.
    pub secret_characters: usize,
    /// `userPassword` values of one entry.
    pub secrets: usize,
    /// Whether an entry that changes its own secret must bring the one before.
    pub old_secret_needed: bool,
}

/// What the entries are that a rule names, by exactly one of DN, subtree or group.
#[derive(Clone, Debug, Default)]
pub struct GeneralRule {
    pub entry: String,
    pub base: String,
    /// Its `member` and `uniqueMember` values count.
    pub group: String,
    /// `reader`, `writer` or `administrator`; empty is `reader`.
    pub role: String,
    /// Empty is the role's own.
    pub profile: String,
}

impl Default for GeneralOptions {
    fn default() -> Self {
        Self {
            enabled: false,
            profile: "bound".to_owned(),
            rules: Vec::new(),
            manager: String::new(),
            secret_characters: 12,
            secrets: 4,
            old_secret_needed: true,
        }
    }
}

/// [`GeneralOptions`] bound to a schema.
pub(super) struct General {
    pub enabled: bool,
    profile: String,
    rules: Vec<Rule>,
    manager: Option<AccountFacts>,
    pub secret_characters: usize,
    pub secrets: usize,
    pub old_secret_needed: bool,
    /// A view from which nothing is hidden.
    whole: View,
}

struct Rule {
    who: Who,
    role: Role,
    profile: Option<String>,
}

enum Who {
    Entry(NormalizedDn),
    Base(NormalizedDn),
    Group(NormalizedDn),
}

impl General {
    pub(super) fn new(options: GeneralOptions, schema: &Schema) -> Result<General, DirectoryError> {
        let rules = options.rules.iter().map(|rule| Rule::new(rule, schema));
        let manager = match options.manager.as_str() {
            "" => None,
            name => Some(manager(name, key_of(name, "general.manager", schema)?)),
        };
        Ok(General {
            enabled: options.enabled,
            profile: options.profile,
            rules: rules.collect::<Result<_, _>>()?,
            manager,
            secret_characters: options.secret_characters,
            secrets: options.secrets,
            old_secret_needed: options.old_secret_needed,
            whole: View::for_protocol(schema),
        })
    }

    /// Whoever binds as something that the policy does not have is refused: that is said at the start.
    pub(super) fn check_profiles(&self, views: &HashMap<String, Arc<View>>) -> Result<(), DirectoryError> {
        if !self.enabled {
            return Ok(());
        }
        let of_rules = self.rules.iter().filter_map(|rule| rule.profile.as_ref());
        let named = std::iter::once(("general.profile", &self.profile)).chain(of_rules.map(|it| ("general.rules", it)));
        let mut unknown = named.filter(|(_, profile)| !views.contains_key(*profile));
        match unknown.next() {
            None => Ok(()),
            Some((key, profile)) => Err(DirectoryError::General {
                key: key.to_owned(),
                reason: format!("expected a release profile of the policy, found {profile:?}"),
            }),
        }
    }

    pub(super) fn manager(&self) -> Option<&AccountFacts> {
        self.manager.as_ref()
    }

    pub(super) fn is_manager(&self, key: &NormalizedDn) -> bool {
        self.manager.as_ref().is_some_and(|manager| manager.key == *key)
    }

    /// What an entry binds as; `None` where it does not exist, or none may.
    pub(super) fn facts(&self, snapshot: &Snapshot, key: &NormalizedDn) -> Option<AccountFacts> {
        if let Some(manager) = self.manager.as_ref().filter(|manager| manager.key == *key) {
            return Some(manager.clone());
        }
        let at = snapshot.find(key).filter(|_| self.enabled)?;
        let mut facts = account_facts(key, snapshot.record(at));
        let fits = |rule: &&Rule| rule.fits(snapshot, &self.whole, key, &facts.dn);
        let (role, profile) = match self.rules.iter().find(fits) {
            Some(rule) => (rule.role, rule.profile.clone()),
            None => (Role::Reader, Some(self.profile.clone())),
        };
        facts.name.clone_from(&facts.dn);
        facts.mails.clear();
        facts.general = true;
        (facts.role, facts.profile) = (role, profile);
        Some(facts)
    }

    /// Whether a change of this entry may change what others are.
    pub(super) fn decides(&self, key: &NormalizedDn) -> bool {
        self.rules
            .iter()
            .any(|rule| matches!(&rule.who, Who::Group(group) if group == key))
    }

    /// Whether a rule that gives more than reading names this entry or one below it, or that it would name it. `gives`
    /// says whether a profile does.
    pub(super) fn guards(&self, key: &NormalizedDn, gives: impl Fn(&str) -> bool) -> bool {
        let more = |rule: &&Rule| rule.role != Role::Reader || rule.profile.as_deref().is_some_and(&gives);
        self.is_manager(key)
            || self.rules.iter().filter(more).any(|rule| match &rule.who {
                Who::Entry(named) | Who::Group(named) => named.is_within(key),
                Who::Base(base) => key.is_within(base) || base.is_within(key),
            })
    }

    /// Whether some rule gives whoever has this name more than reading.
    fn raises(&self, snapshot: &Snapshot, (key, dn): (&NormalizedDn, &str), gives: impl Fn(&str) -> bool) -> bool {
        let mut rules = self.rules.iter().filter(|_| self.enabled);
        rules.any(|rule| {
            (rule.role != Role::Reader || rule.profile.as_deref().is_some_and(&gives))
                && rule.fits(snapshot, &self.whole, key, dn)
        })
    }

    /// Takes what has changed into the accounts that are loaded.
    pub(super) fn follow(&self, accounts: &Accounts, snapshot: &Snapshot, touched: &[NormalizedDn]) {
        // Only a group that decides is worth a look at everybody: many may have bound since the start.
        let concerned = match touched.iter().any(|key| self.decides(key)) {
            true => accounts.general(),
            false => touched.to_vec(),
        };
        for key in concerned {
            let known = accounts.find(&key).is_some_and(|account| account.facts.general);
            if self.is_manager(&key) || !known {
                continue;
            }
            match self.facts(snapshot, &key) {
                Some(facts) => accounts.put(facts),
                None => accounts.forget(&key),
            }
        }
    }
}

impl Rule {
    fn new(rule: &GeneralRule, schema: &Schema) -> Result<Rule, DirectoryError> {
        let named = [&rule.entry, &rule.base, &rule.group];
        let fault = |reason: &str| DirectoryError::General {
            key: "general.rules".to_owned(),
            reason: reason.to_owned(),
        };
        if named.iter().filter(|name| !name.is_empty()).count() != 1 {
            return Err(fault("expected exactly one of entry, base and group in a rule"));
        }
        let key = |name: &str| key_of(name, "general.rules", schema);
        let who = match (rule.entry.as_str(), rule.base.as_str(), rule.group.as_str()) {
            ("", "", group) => Who::Group(key(group)?),
            ("", base, _) => Who::Base(key(base)?),
            (entry, _, _) => Who::Entry(key(entry)?),
        };
        let role = match rule.role.as_str() {
            "" | "reader" => Role::Reader,
            "writer" => Role::Writer,
            "administrator" => Role::Administrator,
            _ => return Err(fault("expected role reader, writer or administrator")),
        };
        let profile = (!rule.profile.is_empty()).then(|| rule.profile.clone());
        Ok(Rule { who, role, profile })
    }

    fn fits(&self, snapshot: &Snapshot, whole: &View, key: &NormalizedDn, dn: &str) -> bool {
        match &self.who {
            Who::Entry(entry) => entry == key,
            Who::Base(base) => key.is_within(base),
            Who::Group(group) => snapshot.find(group).is_some_and(|at| {
                let member = |attribute| Filter::Equality {
                    attribute: Cow::Borrowed(attribute),
                    value: Cow::Borrowed(dn.as_bytes()),
                };
                let either = Filter::Or(vec![member("member"), member("uniqueMember")]);
                let schema = snapshot.schema();
                let predicate = compile(&either, schema, whole);
                evaluate(&predicate, snapshot.record(at), &group.0, schema) == Truth::True
            }),
        }
    }
}

fn manager(dn: &str, key: NormalizedDn) -> AccountFacts {
    AccountFacts {
        key,
        dn: dn.to_owned(),
        name: dn.to_owned(),
        mails: Vec::new(),
        role: Role::Administrator,
        profile: None,
        disabled: false,
        expires: None,
        certificates: Vec::new(),
        general: true,
    }
}

pub(super) fn key_of(name: &str, key: &str, schema: &Schema) -> Result<NormalizedDn, DirectoryError> {
    let parsed = Dn::parse(name).map_err(|fault| fault.to_string());
    let normalized = parsed.and_then(|dn| schema.normalize_dn(&dn).map_err(|fault| fault.to_string()));
    normalized.map_err(|reason| DirectoryError::General {
        key: key.to_owned(),
        reason: format!("{name:?} is no distinguished name: {reason}"),
    })
}

impl Directory {
    /// Makes an entry of the general directory known to the account room, where it has a secret.
    pub(super) fn load_general(&self, key: &NormalizedDn) {
        if self.general.enabled && self.accounts.has_secret(key) {
            self.load(key);
        }
    }

    /// The account under a key: an entry of the general directory is one while it has something to bind with.
    pub(super) fn account_that_binds(&self, key: &NormalizedDn) -> Option<Arc<Account>> {
        if !self.is_account(key) && !self.general.is_manager(key) {
            let snapshot = self.store.snapshot();
            let at = snapshot.find(key).filter(|_| self.general.enabled)?;
            let is_certified = || !account_facts(key, snapshot.record(at)).certificates.is_empty();
            if !self.accounts.has_secret(key) && !is_certified() {
                return None;
            }
            self.load(key);
        }
        self.accounts.find(key)
    }

    /// The same for the entries that hold a client certificate: where there is more than one, it is nobody's.
    pub(super) fn load_certified(&self, fingerprint: &[u8; 32]) {
        if !self.general.enabled {
            return;
        }
        let snapshot = self.store.snapshot();
        let Some(id) = snapshot.schema().find_attribute(CERTIFICATE) else {
            return;
        };
        let octets: Vec<String> = fingerprint.iter().map(|octet| format!("{octet:02x}")).collect();
        for spelling in [octets.concat(), octets.join(":")] {
            for at in snapshot.indexed_holders(id, spelling.as_bytes(), 2) {
                self.load(&snapshot.key(at));
            }
        }
    }

    /// The entry with a secret that a name which is no DN means: the one whose `uid` it is. The name of an application account means
    /// that account, and that of several nobody.
    pub(super) fn key_of_uid(&self, name: &str) -> Option<NormalizedDn> {
        if !self.general.enabled || name.contains('=') || self.accounts.is_name(name) {
            return None;
        }
        let snapshot = self.store.snapshot();
        let schema = snapshot.schema();
        let id = schema.find_attribute("uid")?;
        let mut value = Vec::new();
        let rule = schema.attribute(id).equality?;
        rule.normalize(schema, name.as_bytes(), &mut value).ok()?;
        let holders = snapshot.indexed_holders(id, &value, UID_HOLDERS_LIMIT);
        if holders.len() == UID_HOLDERS_LIMIT {
            return None;
        }
        let keys = holders.into_iter().map(|at| snapshot.key(at));
        let mut with_secret = keys.filter(|key| !self.is_account(key) && self.accounts.has_secret(key));
        with_secret.next().filter(|_| with_secret.next().is_none())
    }

    fn load(&self, key: &NormalizedDn) {
        if self.is_account(key) {
            return;
        }
        // A change that is published meanwhile may have missed this account: look again.
        loop {
            let snapshot = self.store.snapshot();
            if self.accounts.find(key).is_none() {
                match self.general.facts(&snapshot, key) {
                    Some(facts) => self.accounts.put(facts),
                    None => return,
                }
            }
            if self.store.snapshot().sequence == snapshot.sequence {
                return;
            }
            let latest = self.store.snapshot();
            self.general.follow(&self.accounts, &latest, std::slice::from_ref(key));
        }
    }

    /// Whether what is renamed may have nothing below it: members of a group that a rule names could lie there, whose names must
    /// not become free for others, and nothing that moves along may come by such a name. Nor may what goes as a tree, where any rule
    /// may be about what lies below. The committer looks, because what it has yet to do may put something there.
    pub(super) fn goes_alone(&self, session: &Session, update: &Update) -> bool {
        let by_group = |rule: &Rule| matches!(rule.who, Who::Group(_));
        let concerned = match update {
            Update::ModifyDn { .. } => self.general.rules.iter().any(by_group),
            Update::Delete { tree, .. } => *tree && !self.general.rules.is_empty(),
            Update::Add(_) | Update::Modify { .. } => false,
        };
        concerned && session.identity.account.facts.role != Role::Administrator && self.general.enabled
    }

    /// Whether a rule gives whoever it names more than reading by way of this entry, or the entry itself. `dn` is its name,
    /// where it may not exist yet.
    pub(super) fn is_guarded(&self, key: &NormalizedDn, dn: &str) -> bool {
        let gives = |profile: &str| {
            self.view(profile)
                .is_none_or(|view| view.quotas.may_write || view.quotas.may_set_secrets || !view.may_proxy.is_empty())
        };
        self.general.guards(key, gives) || self.general.raises(&self.store.snapshot(), (key, dn), gives)
    }
}
