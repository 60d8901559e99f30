//! The core: one way in for every front end. Admits an identity, runs searches, makes changes durable, keeps the audit.
//!
//! Useful for: LDAP today, other front ends tomorrow; the command line when no server runs. Not for: wire formats.
//!
//! Invariants: no search without a [`Session`], the root DSE's protocol facts apart; a search reads one pinned snapshot and
//! holds no lock; every operation leaves one audit record; updates are checked and applied one at a time by one
//! committer, many in one durable group; an account's secret never becomes part of an entry.

mod alias;
mod application;
mod bind;
mod change_times;
mod clock;
mod committer;
mod compare;
mod computed;
mod conditions;
mod daily;
#[cfg(test)]
mod failing_tests;
mod feed;
mod following;
mod general;
mod in_force;
mod integrity;
mod kinds;
mod lists;
mod modify;
mod named;
mod page;
mod password_policy;
mod password_state;
mod policy_since;
mod protocol;
mod proxied;
mod referral;
mod refusals;
mod relax;
mod rename;
mod search;
mod secret;
mod sort;
mod sync;
mod trail;
mod transaction;
mod update;
mod wellformed;
mod window;
mod withheld;

use crate::access::{PolicyFault, View};
use crate::account::{AccountOptions, Accounts, Identity};
use crate::audit::{Actor, Audit, AuditOptions};
use crate::model::{Dn, Outcome, ResultCode, SharedSource};
use crate::query::KeptBeside;
use crate::query::sorted::SortMemory;
use crate::schema::{NormalizedDn, Schema, SchemaFault};
use crate::store::{KeyedPair, KeyedWrite, Snapshot, Store, StoreError, StoreOptions};
use arc_swap::{ArcSwap, ArcSwapOption};
use in_force::{InForce, SchemaTimes};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

pub use application::{account_facts, is_account_key, seconds_of};
pub use compare::Guard;
pub use computed::LOCKED_FOR_EVER;
pub use conditions::{UpdateDone, UpdateRequest};
pub use general::{GeneralOptions, GeneralRule};
pub use in_force::SchemaGrowth;
pub use integrity::{IntegrityOptions, UniqueOptions, Uniqueness};
pub use lists::{ListTarget, VirtualListRequest, VirtualListResult};
pub use page::PageRequest;
pub use password_policy::PasswordPolicyOptions;
pub use password_state::{microseconds_of, past, past_text};
pub use protocol::{ProtocolFacts, SUBSCHEMA_DN};
pub use search::{
    Beside, ControlFault, LinkRequest, LinkedEntry, Links, Search, SearchDone, SearchRefusal, SearchRequest, SearchStep,
};
pub use secret::strip_clear_text;
pub use sort::{SortFault, SortKey, SortRequest, SortWay};
pub use sync::{ChangeType, Notice, PersistentRequest, Sync, SyncMessage, SyncRequest, SyncState, SyncStep, load_time};
pub use transaction::{Ending, TransactionDone};
pub use update::{Modification, ModificationKind, Update};
pub use wellformed::complete_naming;

/// Where the naming contexts are kept in the store's keyed area.
const SUFFIXES_KEY: &[u8] = b"d/suffixes";

/// Where the time of the last bulk load is kept.
pub const LOADED_KEY: &[u8] = b"d/loaded";

/// What a directory needs to open. Defaults are in `config.rs`.
#[derive(Clone, Debug, Default)]
pub struct DirectoryOptions {
    pub data: PathBuf,
    /// `(file name, text)` of schema files beside the built-in ones.
    pub schema: Vec<(String, String)>,
    /// Leaves the built-in schema of the NHS Directory out.
    pub without_nhs: bool,
    /// `(file name, text)` of a policy file; `None` is the built-in policy.
    pub policy: Option<(String, String)>,
    pub store: StoreOptions,
    pub accounts: AccountOptions,
    pub audit: AuditOptions,
    pub limits: DirectoryLimits,
    pub general: GeneralOptions,
    pub password_policy: PasswordPolicyOptions,
    pub integrity: IntegrityOptions,
    /// URLs of servers that know of names in none of the naming contexts.
    pub referrals: Vec<String>,
}

/// What one update may make anew or take away at most: a group of the journal holds 240 MiB, and one that has come to so much takes
/// one update more.
pub const UPDATE_OCTETS_MAX: usize = 96 << 20;

/// Limits of the core, each with a key in `config.example.toml`.
#[derive(Clone, Debug)]
pub struct DirectoryLimits {
    /// Updates waiting for the committer before new ones are answered busy.
    pub waiting_updates: usize,
    /// Octets that those may take.
    pub waiting_update_octets: usize,
    /// Updates made durable together.
    pub group_updates: usize,
    /// Entries that one modifyDN may move.
    pub rename_entries: usize,
    /// Octets of all that one update makes anew or takes away, names included.
    pub rename_octets: usize,
    /// Octets of one entry.
    pub entry_octets: usize,
    /// Entries that one Tree Delete may delete.
    pub delete_entries: usize,
    /// Octets of entries that the updates of one transaction may read.
    pub transaction_read_octets: usize,
    /// Seconds between writes of account bookkeeping (last used, failures).
    pub bookkeeping_seconds: u64,
    /// Octets of the entries that come with one that names them.
    pub dereferenced_octets: usize,
    pub sort: SortLimits,
    pub sync: SyncLimits,
}

/// Limits of content synchronisation.
#[derive(Clone, Debug)]
pub struct SyncLimits {
    /// Clients that follow changes at once.
    pub consumers: usize,
    /// Of them, those bound as one account.
    pub consumers_per_account: usize,
    /// Entry changes kept for all of them together ...
    pub log_changes: usize,
    /// ... and their octets. A client that falls further behind has to begin again.
    pub log_octets: usize,
}

impl Default for SyncLimits {
    fn default() -> Self {
        Self {
            consumers: 64,
            consumers_per_account: 16,
            log_changes: 20_000,
            log_octets: 64 << 20,
        }
    }
}

impl Default for DirectoryLimits {
    fn default() -> Self {
        Self {
            waiting_updates: 4096,
            waiting_update_octets: 256 << 20,
            group_updates: 64,
            rename_entries: 10_000,
            rename_octets: UPDATE_OCTETS_MAX,
            entry_octets: 32 << 20,
            delete_entries: 10_000,
            transaction_read_octets: 4 << 20,
            bookkeeping_seconds: 5,
            dereferenced_octets: 4 << 20,
            sync: SyncLimits::default(),
            sort: SortLimits::default(),
        }
    }
}

/// Limits of sorted searches and virtual list views.
#[derive(Clone, Copy, Debug)]
pub struct SortLimits {
    /// Entries that one search may put in order by comparing them.
    pub sorted_entries: usize,
    /// Octets of their sort keys.
    pub sorted_bytes: usize,
    /// Octets of all lists kept for virtual list views; eight for each entry of a list.
    pub kept_list_bytes: usize,
    /// Octets that all sorts that run and all such lists may take together.
    pub sort_memory_bytes: usize,
}

impl Default for SortLimits {
    fn default() -> Self {
        Self {
            sorted_entries: 100_000,
            sorted_bytes: 64 << 20,
            kept_list_bytes: 128 << 20,
            sort_memory_bytes: 256 << 20,
        }
    }
}

/// Why a directory does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}", lines(.0))]
    Schema(Vec<SchemaFault>),
    #[error("{}", lines(.0))]
    Policy(Vec<PolicyFault>),
    #[error("audit log {path}: {cause}; make the directory writable, or free space")]
    Audit { path: String, cause: std::io::Error },
    #[error("{suffix} is no naming context: {reason}")]
    Suffix { suffix: String, reason: String },
    #[error("{key}: {reason}")]
    General { key: String, reason: String },
    #[error("{key}: {reason}")]
    Integrity { key: String, reason: String },
    #[error("the secret state of an account cannot be read: {reason}; restore the latest backup")]
    AccountState { reason: String },
}

fn lines<T: std::fmt::Display>(faults: &[T]) -> String {
    faults.iter().map(T::to_string).collect::<Vec<_>>().join("\n")
}

/// An open directory. Shared by `Arc`; dropping the last one flushes bookkeeping and audit.
pub struct Directory {
    store: Arc<Store>,
    accounts: Arc<Accounts>,
    /// What accounts keep, for filters.
    kept: Arc<dyn KeptBeside>,
    audit: Arc<Audit>,
    in_force: ArcSwap<InForce>,
    /// Held by whoever takes something else into force.
    reloading: Mutex<()>,
    /// Goes up whenever something else is in force, so that sessions look for their view again.
    policy_number: AtomicU64,
    suffixes: Vec<(Dn, NormalizedDn)>,
    committer: committer::Committer,
    feed: Arc<feed::Feed>,
    policy_since: policy_since::PolicySince,
    cookies: page::CookieSeal,
    daily: daily::DailyCounts,
    refusals: refusals::RefusalPace,
    lists: lists::KeptLists,
    sort_limits: SortLimits,
    sort_memory: Arc<SortMemory>,
    subschema_key: NormalizedDn,
    general: Arc<general::General>,
    password_policies: password_policy::PasswordPolicies,
    /// Whether the rules for chosen secrets hold at all.
    secret_rules: bool,
    integrity: IntegrityOptions,
    /// Which kinds of entries the newest state holds that was asked about.
    held: ArcSwapOption<kinds::Held>,
    referrals: Vec<String>,
    dereferenced_octets: usize,
}

/// A bound identity and what it may see: what a front end holds between operations.
#[derive(Clone)]
pub struct Session {
    pub identity: Identity,
    pub source: SharedSource,
    pub view: Arc<View>,
    /// The account that is bound, where it acts as `identity`: both have to hold.
    bound: Option<Box<Identity>>,
    /// The account and the source as the audit writes them.
    actor: Actor,
    /// Which reading of the policy the view was last found in.
    policy: Arc<AtomicU64>,
}

impl Session {
    /// A session of an account that another one, which is bound, acts as.
    fn proxied(identity: Identity, by: &Session, view: Arc<View>) -> Session {
        let name = &identity.account.facts.name;
        let actor = Actor::proxied(name, &by.identity.account.facts.name, &by.source);
        Session {
            actor,
            bound: Some(Box::new(by.identity.clone())),
            ..Session::new(identity, by.source.clone(), view)
        }
    }

    /// The same for a request that comes with facts of its own.
    pub fn seen_from(&self, source: SharedSource) -> Session {
        let name = &self.identity.account.facts.name;
        Session {
            actor: Actor::new(name, &source),
            source,
            ..self.clone()
        }
    }

    pub fn new(identity: Identity, source: SharedSource, view: Arc<View>) -> Session {
        let actor = Actor::new(&identity.account.facts.name, &source);
        Session {
            identity,
            source,
            view,
            bound: None,
            actor,
            policy: Arc::new(AtomicU64::new(POLICY_UNKNOWN)),
        }
    }
}

/// No reading of a policy has this number.
const POLICY_UNKNOWN: u64 = 0;

impl Directory {
    /// Makes an empty directory with these naming contexts.
    ///
    /// # Errors
    /// A suffix that is no DN of the schema, a place that already holds a directory, or an I/O error.
    pub fn create(suffixes: &[Dn], options: DirectoryOptions) -> Result<Arc<Directory>, DirectoryError> {
        let schema = load_schema(&options)?;
        normalized_suffixes(&schema, suffixes)?;
        let store = Store::create(&options.data, schema.clone(), options.store.clone())?;
        keep_suffixes(&store, suffixes)?;
        Self::with_store(store, schema, options)
    }

    /// Opens the directory at `options.data`.
    ///
    /// # Errors
    /// See [`DirectoryError`]; each says what to do.
    pub fn open(options: DirectoryOptions) -> Result<Arc<Directory>, DirectoryError> {
        let schema = load_schema(&options)?;
        let store = Store::open(&options.data, schema.clone(), options.store.clone())?;
        Self::with_store(store, schema, options)
    }

    fn with_store(
        store: Store,
        schema: Arc<Schema>,
        options: DirectoryOptions,
    ) -> Result<Arc<Directory>, DirectoryError> {
        let store = Arc::new(store);
        let keyed = store.keyed()?;
        let suffixes = normalized_suffixes(&schema, &stored_suffixes(&keyed)?)?;
        let suffix_keys: Vec<NormalizedDn> = suffixes.iter().map(|(_, key)| key.clone()).collect();
        let accounts = open_accounts(&options.accounts, &keyed, &schema)?;
        let general = Arc::new(general::General::new(options.general, &schema)?);
        let password_policies = password_policy::PasswordPolicies::new(&options.password_policy, &schema)?;
        if let Some(policy_of) = password_policies.of_all(&store, &general, &suffix_keys) {
            accounts.rule_by(policy_of);
        }
        for facts in application::all_accounts(&store.snapshot(), &schema, &suffixes) {
            accounts.put(facts);
        }
        if let Some(manager) = general.manager() {
            accounts.put(manager.clone());
        }
        let feed = Arc::new(open_feed(&store, &keyed, &options.limits.sync));
        let (times, changed) = SchemaTimes::of(&schema, &keyed);
        let (policy_since, other) = policy_since::PolicySince::of(&options.policy, &keyed, feed.position());
        let policy = in_force::parse_policy(&options.policy)?;
        let in_force = InForce::new(schema.clone(), policy, &suffixes, times, None).map_err(DirectoryError::Policy)?;
        general.check_profiles(&in_force.views)?;
        check_unindexed(&options.store, &schema)?;
        keep(&store, changed.into_iter().chain(other).collect())?;
        let refusals = refusals::RefusalPace::new(options.audit.refusals_per_second);
        let audit = open_audit(&options.data, options.audit.clone())?;
        let sort_limits = options.limits.sort;
        let dereferenced_octets = options.limits.dereferenced_octets;
        let committer = committer::Committer::start(committer::Context {
            store: store.clone(),
            feed: feed.clone(),
            schema: schema.clone(),
            accounts: accounts.clone(),
            suffixes: suffix_keys,
            limits: options.limits,
            general: general.clone(),
            integrity: integrity::Integrity::new(&options.integrity, &schema)?,
            kinds: kinds::Kinds::new(&schema),
        });
        let kept = Arc::new(computed::PasswordStates {
            accounts: Arc::clone(&accounts),
            schema: Arc::clone(&schema),
        });
        Ok(Arc::new(Directory {
            store,
            accounts,
            kept,
            audit,
            in_force: ArcSwap::from_pointee(in_force),
            reloading: Mutex::default(),
            policy_number: AtomicU64::new(POLICY_UNKNOWN + 1),
            suffixes,
            feed,
            policy_since,
            committer,
            cookies: page::CookieSeal::new(),
            daily: daily::DailyCounts::default(),
            refusals,
            lists: lists::KeptLists::default(),
            sort_limits,
            sort_memory: Arc::new(SortMemory::new(sort_limits.sort_memory_bytes)),
            subschema_key: subschema_key(&schema),
            general,
            password_policies,
            secret_rules: options.accounts.secret_rules,
            integrity: options.integrity,
            held: ArcSwapOption::empty(),
            referrals: options.referrals,
            dereferenced_octets,
        }))
    }

    /// The schema of the newest state. Whoever pins a snapshot first and asks afterwards gets one that knows all of it.
    pub fn schema(&self) -> Arc<Schema> {
        self.store.schema()
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// The costs of new secrets, where entries of a general directory may have some.
    pub fn hashes_general_secrets(&self) -> Option<AccountOptions> {
        self.general.enabled.then(|| self.accounts.options().clone())
    }

    /// The naming contexts, as given and as keys.
    pub fn suffixes(&self) -> &[(Dn, NormalizedDn)] {
        &self.suffixes
    }

    /// What there is to read now.
    ///
    /// # Errors
    /// unavailable: the data failed its checksums, and may say anything.
    fn readable(&self) -> Result<Arc<Snapshot>, Outcome> {
        match self.store.damage() {
            None => Ok(self.store.snapshot()),
            Some(_) => {
                let message = "the data failed its checksums: an administrator has to restore it";
                Err(Outcome::new(ResultCode::Unavailable, message))
            }
        }
    }

    /// Writes bookkeeping and audit to disk; called before a clean stop.
    pub fn flush(&self) {
        self.committer.flush_bookkeeping();
        self.audit.flush();
    }
}

fn load_schema(options: &DirectoryOptions) -> Result<Arc<Schema>, DirectoryError> {
    let loaded = match options.without_nhs {
        true => Schema::load_without_nhs(&options.schema),
        false => Schema::load(&options.schema),
    };
    loaded.map(Arc::new).map_err(DirectoryError::Schema)
}

fn normalized_suffixes(schema: &Schema, suffixes: &[Dn]) -> Result<Vec<(Dn, NormalizedDn)>, DirectoryError> {
    let normalize = |dn: &Dn| {
        schema
            .normalize_dn(dn)
            .map(|key| (dn.clone(), key))
            .map_err(|fault| DirectoryError::Suffix {
                suffix: dn.to_string(),
                reason: fault.to_string(),
            })
    };
    suffixes.iter().map(normalize).collect()
}

fn keep_suffixes(store: &Store, suffixes: &[Dn]) -> Result<(), StoreError> {
    let text = suffixes.iter().map(Dn::to_string).collect::<Vec<_>>().join("\n");
    let kept = KeyedWrite {
        key: SUFFIXES_KEY.to_vec(),
        value: Some(text.into_bytes()),
    };
    keep(store, vec![kept])
}

fn keep(store: &Store, writes: Vec<KeyedWrite>) -> Result<(), StoreError> {
    if !writes.is_empty() {
        let mut group = store.begin();
        group.apply(Vec::new(), writes);
        group.commit()?;
    }
    Ok(())
}

/// The naming contexts kept in the store.
fn stored_suffixes(keyed: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Dn>, DirectoryError> {
    let Some((_, value)) = keyed.iter().find(|(key, _)| key == SUFFIXES_KEY) else {
        return Ok(Vec::new());
    };
    let text = String::from_utf8_lossy(value);
    let parse = |line: &str| {
        Dn::parse(line).map_err(|fault| DirectoryError::Suffix {
            suffix: line.to_owned(),
            reason: fault.to_string(),
        })
    };
    text.lines().filter(|line| !line.is_empty()).map(parse).collect()
}

/// The accounts' secret states as they were kept.
fn open_accounts(
    options: &AccountOptions,
    keyed: &[KeyedPair],
    schema: &Schema,
) -> Result<Arc<Accounts>, DirectoryError> {
    let mut options = options.clone();
    let (dns, names): (Vec<String>, Vec<String>) = options.lenient.into_iter().partition(|name| name.contains('='));
    options.lenient = names.iter().map(|name| name.to_lowercase()).collect();
    let keys = dns.iter().map(|dn| general::key_of(dn, "accounts.lenient", schema));
    options.lenient_keys = keys.collect::<Result<_, _>>()?;
    let accounts = Accounts::new(options);
    for (key, value) in keyed.iter().filter(|(key, _)| key.starts_with(b"a/")) {
        accounts
            .restore(key, value)
            .map_err(|reason| DirectoryError::AccountState { reason })?;
    }
    Ok(Arc::new(accounts))
}

fn open_audit(data: &Path, options: AuditOptions) -> Result<Arc<Audit>, DirectoryError> {
    Audit::open(data, options)
        .map(Arc::new)
        .map_err(|cause| DirectoryError::Audit {
            path: data.join("audit").display().to_string(),
            cause,
        })
}

fn open_feed(store: &Store, keyed: &[KeyedPair], limits: &SyncLimits) -> feed::Feed {
    let kept = keyed.iter().find(|(key, _)| key == LOADED_KEY);
    let loaded = kept.and_then(|(_, value)| Some(u64::from_be_bytes(value.as_slice().try_into().ok()?)));
    // Deletions that are not known were made before now.
    let deleted = store.begin_deletions(clock::microseconds());
    let last = store.snapshot().last_change().max(deleted);
    feed::Feed::new(
        limits.clone(),
        feed::Position(last),
        feed::Position(loaded.unwrap_or_default()),
    )
}

/// A name that is misspelt would leave the index where it is, and nobody would be told.
fn check_unindexed(options: &StoreOptions, schema: &Schema) -> Result<(), DirectoryError> {
    let mut names = options.unindexed.iter();
    match names.find(|name| schema.find_attribute(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(DirectoryError::General {
            key: "store.unindexed".to_owned(),
            reason: format!("expected attribute types of the schema, found {name:?}"),
        }),
    }
}

fn subschema_key(schema: &Schema) -> NormalizedDn {
    let dn = Dn::parse(SUBSCHEMA_DN).expect("a constant name parses");
    schema.normalize_dn(&dn).expect("cn is in the built-in schema")
}
