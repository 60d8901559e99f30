//! The configuration file: every limit has a name, a default and a key.
//!
//! One TOML file; `config.example.toml` at the root of the project holds every key. Unknown keys are errors, and every
//! error names the file, the line, the key and what was expected.

mod entries;

use crate::account::{ARGON2_ITERATIONS_MAX, ARGON2_LANES_MAX, ARGON2_MEMORY_KIB_MAX, AccountOptions};
use crate::audit::AuditOptions;
use crate::directory::{DirectoryLimits, SortLimits, SyncLimits, UPDATE_OCTETS_MAX};
use crate::ldap::WireLimits;
use crate::model::LdapUrl;
use crate::net::ListenOptions;
use crate::store::StoreOptions;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use entries::{GeneralSettings, IntegritySettings, PasswordPolicySettings, RuleSettings, UniqueSettings};

/// The whole configuration. `Config::default()` is what an empty file means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The data directory, where neither `--data` nor `NHSDIR_DATA` names one. Empty means none.
    pub data: String,
    pub directory: DirectorySettings,
    pub listen: ListenSettings,
    pub tls: TlsSettings,
    pub limits: LimitSettings,
    pub accounts: AccountSettings,
    pub audit: AuditSettings,
    pub store: StoreSettings,
    pub schema: SchemaSettings,
    pub policy: PolicySettings,
    pub general: GeneralSettings,
    pub password_policy: PasswordPolicySettings,
    pub integrity: IntegritySettings,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DirectorySettings {
    /// The naming contexts `init` creates where it is given no `--suffix`.
    pub suffixes: Vec<String>,
    /// Servers that know of names in none of the naming contexts.
    pub referrals: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenSettings {
    /// Addresses that speak LDAP over TLS from the first byte.
    pub ldaps: Vec<SocketAddr>,
    /// Addresses that answer StartTLS and nothing else before it.
    pub starttls: Vec<SocketAddr>,
    /// The UNIX socket of local administrators. Empty means `ldapi` in the data directory.
    pub ldapi: String,
    /// A loopback address that serves Prometheus text. Empty means none.
    pub metrics: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// PEM file, leaf first. Empty means `tls/cert.pem` in the data directory.
    pub certificate: String,
    /// PEM file. Empty means `tls/key.pem` in the data directory.
    pub key: String,
    /// PEM file of the authorities that client certificates must come from. Empty means clients are not asked for one.
    pub client_authorities: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    pub worker_threads: usize,
    pub connections: usize,
    pub connections_per_source: usize,
    pub handshake_seconds: u64,
    pub unbound_idle_seconds: u64,
    pub bound_idle_seconds: u64,
    pub write_stall_seconds: u64,
    pub stop_seconds: u64,
    pub message_bytes: usize,
    pub message_bytes_before_bind: usize,
    pub message_elements: usize,
    pub message_elements_before_bind: usize,
    pub message_nesting: usize,
    pub message_controls: usize,
    pub filter_depth: usize,
    pub filter_terms: usize,
    pub filter_bytes: usize,
    pub requested_attributes: usize,
    pub outstanding_searches: usize,
    pub outstanding_searches_before_bind: usize,
    pub outstanding_updates: usize,
    pub output_bytes: usize,
    pub buffered_bytes: usize,
    pub turn_candidates: u32,
    pub turn_microseconds: u64,
    pub waiting_updates: usize,
    pub waiting_update_bytes: usize,
    pub group_updates: usize,
    pub rename_entries: usize,
    pub rename_bytes: usize,
    pub entry_bytes: usize,
    pub delete_entries: usize,
    pub transaction_operations: usize,
    pub transaction_bytes: usize,
    pub transaction_read_bytes: usize,
    pub dereferenced_bytes: usize,
    pub sync_consumers: usize,
    pub sync_consumers_per_account: usize,
    pub sync_log_changes: usize,
    pub sync_log_bytes: usize,
    pub sorted_entries: usize,
    pub sorted_bytes: usize,
    pub kept_list_bytes: usize,
    pub sort_memory_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountSettings {
    pub argon2_memory_kib: u32,
    pub argon2_iterations: u32,
    pub argon2_lanes: u32,
    pub pool_threads: usize,
    pub pool_queue: usize,
    pub remembered: usize,
    pub failures_per_source: u32,
    pub throttle_seconds: u64,
    /// Names or DNs of accounts for which neither throttling nor the rules for chosen secrets hold.
    pub lenient: Vec<String>,
    pub secret_rules: bool,
    pub expiry_warning_seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSettings {
    pub queue_bytes: usize,
    pub file_bytes: u64,
    pub keep_days: u32,
    pub refusals_per_second: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    pub tail_entries: usize,
    pub compact_after_entries: usize,
    pub compact_after_bytes: u64,
    pub unindexed: Vec<String>,
    pub cache_bytes: u64,
    pub deletion_bytes: usize,
    pub scrub_hours: u64,
    pub serve_damaged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaSettings {
    /// Whether the schema of the NHS Directory is there.
    pub nhs: bool,
    /// Files that extend the built-in schema, read in this order.
    pub files: Vec<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    /// Release profiles that add to or replace the built-in ones. Empty means none.
    pub file: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("{file}: {cause}; name a readable configuration file with --config")]
    Unreadable { file: String, cause: std::io::Error },
    #[error("{file}:{line}: {key}: {message}")]
    Faulty {
        file: String,
        line: usize,
        key: String,
        message: String,
    },
}

/// As many as the check of a message has room for.
const NESTING_MAX: u64 = 48;
/// More only stand in each other's way.
const THREADS_MAX: u64 = 1024;
/// Ten years: no clock counts so far that it cannot add that.
const SECONDS_MAX: u64 = 315_360_000;
const ANY: u64 = u64::MAX;

/// A list of keys with what each says and may say.
macro_rules! ranges {
    ($config:expr; $($section:ident . $key:ident: $range:expr,)*) => {
        vec![$((
            concat!(stringify!($section), ".", stringify!($key)),
            $config.$section.$key as u64,
            $range,
        ),)*]
    };
}

impl Config {
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Config::parse(&file, &text)?.beside(path)),
            Err(cause) => Err(ConfigError::Unreadable { file, cause }),
        }
    }

    /// Relative paths go by the folder of the file that has them: where the server is started from is no part of it.
    fn beside(mut self, file: &Path) -> Config {
        let Some(folder) = file.parent() else { return self };
        for path in [
            &mut self.data,
            &mut self.listen.ldapi,
            &mut self.tls.certificate,
            &mut self.tls.key,
            &mut self.tls.client_authorities,
            &mut self.policy.file,
        ] {
            if !path.is_empty() {
                *path = folder.join(&*path).display().to_string();
            }
        }
        for path in &mut self.schema.files {
            *path = folder.join(&*path);
        }
        self
    }

    /// Parses and checks `text`; `file` is for the error alone.
    pub fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
        let config: Config = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let (line, key) = key_at(text, start);
            ConfigError::Faulty {
                file: file.to_owned(),
                line,
                key,
                message: error.message().replace('\n', ", ").replace(
                    "invalid socket address syntax",
                    "expected an IP address and a port, like \"0.0.0.0:636\"",
                ),
            }
        })?;
        match config.first_fault() {
            None => Ok(config),
            Some((key, message)) => Err(ConfigError::Faulty {
                file: file.to_owned(),
                line: line_of(text, key),
                key: key.to_owned(),
                message,
            }),
        }
    }

    /// What the types cannot say: ranges, and values of a form.
    fn first_fault(&self) -> Option<(&'static str, String)> {
        for (key, value, range) in self.ranges() {
            if value < *range.start() {
                return Some((key, format!("expected at least {}, found {value}", range.start())));
            }
            if value > *range.end() {
                return Some((key, format!("expected at most {}, found {value}", range.end())));
            }
        }
        let no_url = |text: &&String| LdapUrl::parse(text).is_none();
        if let Some(text) = self.directory.referrals.iter().find(no_url) {
            let message = format!("expected LDAP URLs like \"ldap://directory.example\", found \"{text}\"");
            return Some(("directory.referrals", message));
        }
        match self.metrics_address() {
            Err(message) => Some(("listen.metrics", message)),
            Ok(_) => None,
        }
    }

    fn ranges(&self) -> Vec<(&'static str, u64, RangeInclusive<u64>)> {
        let argon2_memory_least = 8 * u64::from(self.accounts.argon2_lanes);
        // A secret that was hashed at a higher cost than is verified would never be right again.
        let [argon2_memory_most, argon2_iterations_most, argon2_lanes_most] =
            [ARGON2_MEMORY_KIB_MAX, ARGON2_ITERATIONS_MAX, ARGON2_LANES_MAX].map(u64::from);
        ranges! { self;
            limits.worker_threads: 0..=THREADS_MAX,
            limits.connections: 1..=ANY,
            limits.connections_per_source: 1..=ANY,
            limits.handshake_seconds: 1..=SECONDS_MAX,
            limits.unbound_idle_seconds: 1..=SECONDS_MAX,
            limits.bound_idle_seconds: 1..=SECONDS_MAX,
            limits.write_stall_seconds: 1..=SECONDS_MAX,
            limits.stop_seconds: 0..=SECONDS_MAX,
            limits.message_bytes: 4096..=ANY,
            limits.message_bytes_before_bind: 512..=ANY,
            limits.message_elements: 64..=ANY,
            limits.message_elements_before_bind: 64..=ANY,
            limits.message_nesting: 8..=NESTING_MAX,
            limits.filter_depth: 1..=ANY,
            limits.filter_terms: 1..=ANY,
            limits.filter_bytes: 512..=ANY,
            limits.requested_attributes: 1..=ANY,
            limits.outstanding_searches: 1..=ANY,
            limits.outstanding_searches_before_bind: 1..=ANY,
            limits.outstanding_updates: 1..=ANY,
            limits.output_bytes: 4096..=ANY,
            limits.buffered_bytes: 1 << 20..=ANY,
            limits.turn_candidates: 64..=ANY,
            limits.turn_microseconds: 10..=ANY,
            limits.waiting_updates: 1..=ANY,
            limits.group_updates: 1..=ANY,
            limits.rename_entries: 1..=ANY,
            limits.rename_bytes: 4096..=UPDATE_OCTETS_MAX as u64,
            limits.entry_bytes: 4096..=ANY,
            limits.delete_entries: 1..=ANY,
            accounts.argon2_lanes: 1..=argon2_lanes_most,
            accounts.argon2_memory_kib: argon2_memory_least..=argon2_memory_most,
            accounts.argon2_iterations: 1..=argon2_iterations_most,
            accounts.pool_queue: 1..=ANY,
            audit.queue_bytes: 65_536..=ANY,
            audit.file_bytes: 65_536..=ANY,
            store.cache_bytes: 1 << 20..=ANY,
            store.scrub_hours: 0..=SECONDS_MAX / 3600,
            general.secret_characters: 1..=ANY,
            general.secrets: 1..=ANY,
            integrity.referring_entries: 1..=ANY,
        }
    }

    /// The address of `listen.metrics`, if one is set; the error is the message.
    pub fn metrics_address(&self) -> Result<Option<SocketAddr>, String> {
        let text = self.listen.metrics.as_str();
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Some(address)),
            _ => Err(format!(
                "expected a loopback address like \"127.0.0.1:9389\", found \"{text}\""
            )),
        }
    }
}

impl Default for SchemaSettings {
    fn default() -> Self {
        Self {
            nhs: true,
            files: Vec::new(),
        }
    }
}

impl Default for DirectorySettings {
    fn default() -> Self {
        Self {
            suffixes: vec!["o=nhs".to_owned()],
            referrals: Vec::new(),
        }
    }
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            ldaps: vec![SocketAddr::from(([127, 0, 0, 1], 1636))],
            starttls: Vec::new(),
            ldapi: String::new(),
            metrics: String::new(),
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        let (directory, wire, listen) = (
            DirectoryLimits::default(),
            WireLimits::default(),
            ListenOptions::default(),
        );
        Self {
            worker_threads: 0,
            connections: listen.connections,
            connections_per_source: listen.connections_per_source,
            handshake_seconds: 10,
            unbound_idle_seconds: wire.idle_unbound.as_secs(),
            bound_idle_seconds: wire.idle.as_secs(),
            write_stall_seconds: wire.write_stall.as_secs(),
            stop_seconds: wire.shutdown_grace.as_secs(),
            message_bytes: wire.message_octets,
            message_bytes_before_bind: wire.message_octets_unbound,
            message_elements: wire.elements,
            message_elements_before_bind: wire.elements_unbound,
            message_nesting: wire.nesting,
            message_controls: wire.controls,
            filter_depth: wire.filter_depth,
            filter_terms: wire.filter_terms,
            filter_bytes: wire.filter_octets,
            requested_attributes: wire.attributes,
            outstanding_searches: wire.outstanding,
            outstanding_searches_before_bind: wire.outstanding_unbound,
            outstanding_updates: wire.updates,
            output_bytes: wire.output_octets,
            buffered_bytes: wire.buffered_octets,
            turn_candidates: wire.turn_work,
            turn_microseconds: u64::try_from(wire.turn.as_micros()).unwrap_or(u64::MAX),
            waiting_updates: directory.waiting_updates,
            waiting_update_bytes: directory.waiting_update_octets,
            group_updates: directory.group_updates,
            rename_entries: directory.rename_entries,
            rename_bytes: directory.rename_octets,
            entry_bytes: directory.entry_octets,
            delete_entries: directory.delete_entries,
            transaction_operations: wire.transaction_updates,
            transaction_bytes: wire.transaction_octets,
            transaction_read_bytes: directory.transaction_read_octets,
            dereferenced_bytes: directory.dereferenced_octets,
            sync_consumers: directory.sync.consumers,
            sync_consumers_per_account: directory.sync.consumers_per_account,
            sync_log_changes: directory.sync.log_changes,
            sync_log_bytes: directory.sync.log_octets,
            sorted_entries: directory.sort.sorted_entries,
            sorted_bytes: directory.sort.sorted_bytes,
            kept_list_bytes: directory.sort.kept_list_bytes,
            sort_memory_bytes: directory.sort.sort_memory_bytes,
        }
    }
}

impl LimitSettings {
    pub fn directory(&self) -> DirectoryLimits {
        DirectoryLimits {
            waiting_updates: self.waiting_updates,
            waiting_update_octets: self.waiting_update_bytes,
            group_updates: self.group_updates,
            rename_entries: self.rename_entries,
            rename_octets: self.rename_bytes,
            entry_octets: self.entry_bytes,
            delete_entries: self.delete_entries,
            transaction_read_octets: self.transaction_read_bytes,
            dereferenced_octets: self.dereferenced_bytes,
            sync: SyncLimits {
                consumers: self.sync_consumers,
                consumers_per_account: self.sync_consumers_per_account,
                log_changes: self.sync_log_changes,
                log_octets: self.sync_log_bytes,
            },
            sort: SortLimits {
                sorted_entries: self.sorted_entries,
                sorted_bytes: self.sorted_bytes,
                kept_list_bytes: self.kept_list_bytes,
                sort_memory_bytes: self.sort_memory_bytes,
            },
            ..DirectoryLimits::default()
        }
    }

    pub fn wire(&self) -> WireLimits {
        WireLimits {
            message_octets_unbound: self.message_bytes_before_bind,
            message_octets: self.message_bytes,
            elements_unbound: self.message_elements_before_bind,
            elements: self.message_elements,
            nesting: self.message_nesting,
            filter_depth: self.filter_depth,
            filter_terms: self.filter_terms,
            filter_octets: self.filter_bytes,
            controls: self.message_controls,
            attributes: self.requested_attributes,
            outstanding_unbound: self.outstanding_searches_before_bind,
            outstanding: self.outstanding_searches,
            updates: self.outstanding_updates,
            transaction_updates: self.transaction_operations,
            transaction_octets: self.transaction_bytes,
            idle_unbound: Duration::from_secs(self.unbound_idle_seconds),
            idle: Duration::from_secs(self.bound_idle_seconds),
            write_stall: Duration::from_secs(self.write_stall_seconds),
            output_octets: self.output_bytes,
            buffered_octets: self.buffered_bytes,
            turn_work: self.turn_candidates,
            turn: Duration::from_micros(self.turn_microseconds),
            shutdown_grace: Duration::from_secs(self.stop_seconds),
        }
    }
}

impl Default for AccountSettings {
    fn default() -> Self {
        let options = AccountOptions::default();
        Self {
            argon2_memory_kib: options.argon2_memory_kib,
            argon2_iterations: options.argon2_iterations,
            argon2_lanes: options.argon2_lanes,
            pool_threads: options.pool_threads,
            pool_queue: options.pool_queue,
            remembered: options.remembered,
            failures_per_source: options.failures_per_source,
            throttle_seconds: options.throttle_seconds,
            lenient: options.lenient,
            secret_rules: options.secret_rules,
            expiry_warning_seconds: options.expiry_warning_seconds,
        }
    }
}

impl AccountSettings {
    pub fn options(&self) -> AccountOptions {
        AccountOptions {
            argon2_memory_kib: self.argon2_memory_kib,
            argon2_iterations: self.argon2_iterations,
            argon2_lanes: self.argon2_lanes,
            pool_threads: self.pool_threads,
            pool_queue: self.pool_queue,
            remembered: self.remembered,
            failures_per_source: self.failures_per_source,
            throttle_seconds: self.throttle_seconds,
            lenient: self.lenient.clone(),
            lenient_keys: Vec::new(),
            secret_rules: self.secret_rules,
            expiry_warning_seconds: self.expiry_warning_seconds,
        }
    }
}

impl Default for AuditSettings {
    fn default() -> Self {
        let options = AuditOptions::default();
        Self {
            queue_bytes: options.queue_bytes,
            file_bytes: options.file_bytes,
            keep_days: options.keep_days,
            refusals_per_second: options.refusals_per_second,
        }
    }
}

impl AuditSettings {
    pub fn options(&self) -> AuditOptions {
        AuditOptions {
            queue_bytes: self.queue_bytes,
            file_bytes: self.file_bytes,
            keep_days: self.keep_days,
            refusals_per_second: self.refusals_per_second,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        let options = StoreOptions::default();
        Self {
            tail_entries: options.tail_entries,
            compact_after_entries: options.compact_after_entries,
            compact_after_bytes: options.compact_after_octets,
            unindexed: options.unindexed,
            cache_bytes: options.cache_bytes,
            deletion_bytes: options.deletion_octets,
            scrub_hours: options.scrub_every.map_or(0, |every| every.as_secs() / 3600),
            serve_damaged: options.serve_damaged,
        }
    }
}

impl StoreSettings {
    pub fn options(&self) -> StoreOptions {
        StoreOptions {
            tail_entries: self.tail_entries,
            compact_after_entries: self.compact_after_entries,
            compact_after_octets: self.compact_after_bytes,
            unindexed: self.unindexed.clone(),
            cache_bytes: self.cache_bytes,
            deletion_octets: self.deletion_bytes,
            scrub_every: (self.scrub_hours > 0).then(|| Duration::from_secs(self.scrub_hours * 3600)),
            serve_damaged: self.serve_damaged,
            ..StoreOptions::default()
        }
    }
}

/// The line (from 1) of a byte offset and the dotted key that line sets, for an error.
fn key_at(text: &str, offset: usize) -> (usize, String) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let mut section = "";
    let mut key = "";
    for content in text.lines().take(line).map(str::trim) {
        if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.trim_matches('[');
            key = "";
        } else if let Some((name, _)) = content.split_once('=').filter(|(name, _)| !name.starts_with('#')) {
            key = name.trim();
        }
    }
    let name = match (section, key) {
        ("", "") => "the file".to_owned(),
        ("", key) => key.to_owned(),
        (section, "") => format!("[{section}]"),
        (section, key) => format!("{section}.{key}"),
    };
    (line, name)
}

/// The line that sets a dotted key; 1 where none does.
fn line_of(text: &str, dotted: &str) -> usize {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let (number, key) = key_at(text, offset);
        if key == dotted && line.contains('=') {
            return number;
        }
        offset += line.len();
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../config.example.toml");

    #[test]
    fn the_example_is_the_default() {
        assert_eq!(
            Config::parse("config.example.toml", EXAMPLE).unwrap(),
            Config::default()
        );
        assert_eq!(Config::parse("empty", "").unwrap(), Config::default());
    }

    #[test]
    fn the_example_names_every_key() {
        let example: toml::Table = EXAMPLE.parse().unwrap();
        let every = toml::Table::try_from(Config::default()).unwrap();
        for (section, value) in &every {
            let there = example
                .get(section)
                .unwrap_or_else(|| panic!("{section} is not in the example"));
            if let (Some(keys), Some(there)) = (value.as_table(), there.as_table()) {
                for key in keys.keys() {
                    assert!(there.contains_key(key), "{section}.{key} is not in the example");
                }
            }
        }
    }

    #[test]
    fn a_fault_names_file_line_key_and_what_was_expected() {
        let cases = [
            (
                "[limits]\n\nconections = 5\n",
                "c.toml:3: limits.conections: unknown field `conections`, expected one of",
            ),
            (
                "dta = \"x\"\n",
                "c.toml:1: dta: unknown field `dta`, expected one of `data`",
            ),
            (
                "[limits]\nconnections = \"many\"\n",
                "c.toml:2: limits.connections: invalid type: string \"many\", expected usize",
            ),
            (
                "[limits]\nfilter_terms = 3\nfilter_depth = 0\n",
                "c.toml:3: limits.filter_depth: expected at least 1, found 0",
            ),
            (
                "[accounts]\nargon2_memory_kib = 131072\n",
                "c.toml:2: accounts.argon2_memory_kib: expected at most 65536, found 131072",
            ),
            (
                "[accounts]\nargon2_lanes = 4\nargon2_memory_kib = 16\n",
                "c.toml:3: accounts.argon2_memory_kib: expected at least 32, found 16",
            ),
            (
                "[limits]\ngroup_updates = 0\n",
                "c.toml:2: limits.group_updates: expected at least 1, found 0",
            ),
            (
                "[limits]\nbound_idle_seconds = 9223372036854775807\n",
                "c.toml:2: limits.bound_idle_seconds: expected at most 315360000, found 9223372036854775807",
            ),
            (
                "[listen]\nldaps = [\"nonsense\"]\n",
                "c.toml:2: listen.ldaps: expected an IP address and a port, like \"0.0.0.0:636\"",
            ),
            (
                "[listen]\nmetrics = \"0.0.0.0:9\"\n",
                "c.toml:2: listen.metrics: expected a loopback address",
            ),
            ("[limits\n", "c.toml:1: "),
        ];
        for (text, expected) in cases {
            let message = Config::parse("c.toml", text).unwrap_err().to_string();
            assert!(
                message.starts_with(expected),
                "{text:?} gave {message:?}, expected {expected:?}"
            );
            assert!(!message.contains('\n'), "{message:?} is more than one line");
        }
    }

    #[test]
    fn relative_paths_go_by_the_folder_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nhsdir.toml");
        let text = "[policy]\nfile = \"policy.toml\"\n[schema]\nfiles = [\"a.schema\", \"/b.schema\"]\n[tls]\nkey = \"/k.pem\"\n";
        std::fs::write(&file, text).unwrap();
        let config = Config::read(&file).unwrap();
        assert_eq!(Path::new(&config.policy.file), folder.path().join("policy.toml"));
        assert_eq!(
            config.schema.files,
            [folder.path().join("a.schema"), PathBuf::from("/b.schema")]
        );
        assert_eq!(
            (config.tls.key.as_str(), config.tls.certificate.as_str()),
            ("/k.pem", "")
        );
    }

    #[test]
    fn a_missing_file_is_said() {
        let message = Config::read(Path::new("/nowhere/c.toml")).unwrap_err().to_string();
        assert!(message.starts_with("/nowhere/c.toml: No such file"), "{message}");
    }
}
