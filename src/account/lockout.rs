//! Throttling per account and source, and the evidence of failures.
//!
//! Pure: no clock, no I/O. Invariants: the same wrong secret counts once, so a device with a stale secret never throttles
//! its source; a throttled source stops itself and no other; everything kept is bounded.

use super::remembered::Fingerprint;
use crate::model::{Address, Source, network};
use std::net::IpAddr;

/// Sources remembered for one account; the one that failed longest ago makes room.
const SOURCES_MAX: usize = 32;
/// Sources with failures that are kept on disk.
const SOURCES_KEPT: usize = 12;
/// Characters kept of a text that a client sent.
const TEXT_CHARACTERS_MAX: usize = 96;

/// What is known of one source that failed to bind as one account. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// An IPv4 address, an IPv6 /64 network, or the user of a UNIX socket.
    pub source: String,
    pub first: u64,
    pub last: u64,
    pub failures: u64,
    /// Different wrong secrets since the last success or throttling.
    pub distinct_secrets: u32,
    /// The last failure that brought a secret that was valid before.
    pub superseded: Option<u64>,
    /// The last success of this source.
    pub succeeded: Option<u64>,
    pub throttled_until: Option<u64>,
    /// The bind name as spelled.
    pub bound_as: String,
    pub tls_version: Option<String>,
    pub server_name: Option<String>,
    pub certificate_subject: Option<String>,
}

/// The sources of one account.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Lockout {
    sources: Vec<SourceState>,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct SourceState {
    #[serde(flatten)]
    evidence: Evidence,
    /// Keyed fingerprints of the wrong secrets; the key is this process's, so they are not kept on disk.
    #[serde(skip)]
    tried: Vec<Fingerprint>,
}

/// What came with a failed bind.
pub(super) struct Attempt<'a> {
    pub source: &'a Source,
    pub bound_as: &'a str,
    pub now: u64,
}

/// The numbers of throttling.
#[derive(Clone, Copy)]
pub(super) struct ThrottleLimits {
    /// Different wrong secrets before the source is throttled; 0 turns throttling off.
    pub failures_per_source: u32,
    pub throttle_seconds: u64,
}

/// The name of a source as far as throttling tells sources apart. Ports do not count, and of IPv6 only the network.
pub(super) fn source_name(source: &Source) -> String {
    match &source.address {
        Address::Tcp(address) => match network(address.ip()) {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(network) => format!("{network}/64"),
        },
        Address::Local { uid, .. } => format!("ldapi uid={uid}"),
    }
}

impl Lockout {
    pub(super) fn is_throttled(&self, source: &str, now: u64) -> bool {
        let found = self.sources.iter().find(|state| state.evidence.source == source);
        found.is_some_and(|state| state.evidence.throttled_until.is_some_and(|until| now < until))
    }

    /// Counts a failure. `secret` is the wrong secret's fingerprint; `None` where the secret was not looked at. Gives
    /// whether this source brought that secret for the first time.
    pub(super) fn note_failure(
        &mut self,
        attempt: &Attempt<'_>,
        secret: Option<Fingerprint>,
        limits: ThrottleLimits,
    ) -> bool {
        let state = self.failing(attempt);
        let Some(secret) = secret else { return false };
        if state.tried.contains(&secret) {
            return false;
        }
        state.tried.push(secret);
        let limit = usize::try_from(limits.failures_per_source).unwrap_or(usize::MAX);
        state.evidence.distinct_secrets = state.evidence.distinct_secrets.saturating_add(1);
        if limit > 0 && state.tried.len() >= limit {
            state.tried.clear();
            state.evidence.distinct_secrets = 0;
            state.evidence.throttled_until = Some(attempt.now.saturating_add(limits.throttle_seconds));
        } else if state.tried.len() > SOURCES_MAX {
            state.tried.remove(0);
        }
        true
    }

    /// A secret that was valid before: evidence, and no guess.
    pub(super) fn note_superseded(&mut self, attempt: &Attempt<'_>) {
        self.failing(attempt).evidence.superseded = Some(attempt.now);
    }

    /// A failure that was counted already turns out to have brought a secret that was valid before.
    pub(super) fn mark_superseded(&mut self, source: &str, now: u64) {
        if let Some(state) = self.sources.iter_mut().find(|state| state.evidence.source == source) {
            state.evidence.superseded = Some(now);
        }
    }

    fn failing(&mut self, attempt: &Attempt<'_>) -> &mut SourceState {
        let now = attempt.now;
        let name = source_name(attempt.source);
        let at = match self.sources.iter().position(|state| state.evidence.source == name) {
            Some(at) => at,
            None => {
                self.make_room(now);
                self.sources.push(SourceState::default());
                self.sources.len() - 1
            }
        };
        let state = &mut self.sources[at];
        let evidence = &mut state.evidence;
        if evidence.failures == 0 {
            evidence.first = now;
        }
        evidence.source = name;
        evidence.last = now;
        evidence.failures = evidence.failures.saturating_add(1);
        evidence.bound_as = shortened(attempt.bound_as);
        if let Some(tls) = &attempt.source.tls {
            evidence.tls_version = Some(tls.version.clone());
            evidence.server_name = tls.server_name.as_deref().map(shortened);
            evidence.certificate_subject = tls.client_subject.as_deref().map(shortened);
        }
        state
    }

    pub(super) fn note_success(&mut self, source: &Source, now: u64) {
        let name = source_name(source);
        match self.sources.iter_mut().find(|state| state.evidence.source == name) {
            Some(state) => {
                state.evidence.succeeded = Some(now);
                state.evidence.distinct_secrets = 0;
                state.tried.clear();
            }
            None => {
                self.make_room(now);
                let evidence = Evidence {
                    source: name,
                    succeeded: Some(now),
                    ..Evidence::default()
                };
                self.sources.push(SourceState {
                    evidence,
                    tried: Vec::new(),
                });
            }
        }
    }

    /// Forgets one source where there are too many: first one that never failed, then the one that failed longest ago, a
    /// throttled one last.
    fn make_room(&mut self, now: u64) {
        if self.sources.len() < SOURCES_MAX {
            return;
        }
        let order = |state: &SourceState| {
            let evidence = &state.evidence;
            let throttled = evidence.throttled_until.is_some_and(|until| now < until);
            (
                throttled,
                evidence.failures > 0,
                evidence.last.max(evidence.succeeded.unwrap_or(0)),
            )
        };
        let oldest = (0..self.sources.len()).min_by_key(|at| order(&self.sources[*at]));
        if let Some(at) = oldest {
            self.sources.swap_remove(at);
        }
    }

    /// Ends every throttling. The evidence stays.
    pub(super) fn unlock(&mut self) {
        for state in &mut self.sources {
            state.tried.clear();
            state.evidence.distinct_secrets = 0;
            state.evidence.throttled_until = None;
        }
    }

    /// When the last throttling ends; 0 where none does.
    pub(super) fn throttled_until(&self) -> u64 {
        let until = self.sources.iter().filter_map(|state| state.evidence.throttled_until);
        until.max().unwrap_or(0)
    }

    /// Sources that failed, the latest first.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let failed = self.sources.iter().filter(|state| state.evidence.failures > 0);
        let mut evidence: Vec<Evidence> = failed.map(|state| state.evidence.clone()).collect();
        evidence.sort_by_key(|evidence| std::cmp::Reverse(evidence.last));
        evidence
    }

    /// What of it is kept on disk.
    pub(super) fn kept(&self) -> Lockout {
        let mut evidence = self.evidence();
        evidence.truncate(SOURCES_KEPT);
        let sources = evidence.into_iter().map(|evidence| SourceState {
            evidence,
            tried: Vec::new(),
        });
        Lockout {
            sources: sources.collect(),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ThrottleLimits = ThrottleLimits {
        failures_per_source: 3,
        throttle_seconds: 60,
    };

    fn source(address: &str) -> Source {
        Source {
            address: Address::Tcp(address.parse().unwrap()),
            tls: None,
            connection: 1,
            sessions: Vec::new(),
        }
    }

    fn fail(lockout: &mut Lockout, address: &str, secret: u8, now: u64) -> bool {
        let source = source(address);
        let attempt = Attempt {
            source: &source,
            bound_as: "cn=app",
            now,
        };
        lockout.note_failure(&attempt, Some([secret; 16]), LIMITS)
    }

    #[test]
    fn the_same_wrong_secret_counts_once() {
        let mut lockout = Lockout::default();
        for now in 0..1000 {
            assert_eq!(fail(&mut lockout, "192.0.2.1:1", 7, now), now == 0);
        }
        assert!(!lockout.is_throttled("192.0.2.1", 1000));
        assert_eq!(lockout.evidence()[0].failures, 1000);
        assert_eq!(lockout.evidence()[0].distinct_secrets, 1);
    }

    #[test]
    fn a_guessing_source_is_throttled_and_no_other() {
        let mut lockout = Lockout::default();
        for secret in 0..3 {
            fail(&mut lockout, "192.0.2.1:99", secret, 100);
        }
        fail(&mut lockout, "192.0.2.2:99", 9, 100);
        assert!(lockout.is_throttled("192.0.2.1", 159) && !lockout.is_throttled("192.0.2.1", 160));
        assert!(!lockout.is_throttled("192.0.2.2", 101));
        assert_eq!(lockout.throttled_until(), 160);
        lockout.unlock();
        assert!(!lockout.is_throttled("192.0.2.1", 101));
        assert_eq!(lockout.evidence().len(), 2);
    }

    #[test]
    fn sources_are_bounded_and_throttled_ones_stay() {
        let mut lockout = Lockout::default();
        for secret in 0..3 {
            fail(&mut lockout, "192.0.2.1:1", secret, 100);
        }
        for host in 0..=255u8 {
            fail(&mut lockout, &format!("198.51.100.{host}:1"), 1, 101);
        }
        assert_eq!(lockout.sources.len(), SOURCES_MAX);
        assert!(lockout.is_throttled("192.0.2.1", 120));
        assert!(lockout.kept().sources.len() <= SOURCES_KEPT);
    }

    #[test]
    fn sources_are_told_apart_by_network() {
        for (address, name) in [
            ("192.0.2.1:389", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:389", "192.0.2.1"),
            ("[2001:db8:1:2:3:4:5:6]:389", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(source_name(&source(address)), name);
        }
    }
}
