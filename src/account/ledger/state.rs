//! What is kept of one account, as JSON in the store.

use super::super::lockout::Lockout;
use super::super::policy::SecretState;
use super::super::remembered::Fingerprint;

/// Hashes of secrets that were valid before, kept to recognise them.
const SUPERSEDED_MAX: usize = 3;
/// Fingerprints of secrets known to be good or superseded.
pub(super) const KNOWN_MAX: usize = 8;

#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct State {
    pub version: u32,
    pub current: Option<Kept>,
    /// Further secrets in force: an entry of the general directory may have several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Kept>,
    /// The secret before, while it is still valid.
    pub old: Option<Kept>,
    pub superseded: Vec<Kept>,
    pub last_used: Option<u64>,
    pub last_source: Option<String>,
    pub failures: u64,
    pub lockout: Lockout,
    /// Locked until an administrator unlocks it, since then; 0 is for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<u64>,
    /// Locked by failures, since then: it holds as its policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_out: Option<u64>,
    /// Nobody is let in until then, because of the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delayed: Option<u64>,
    /// Secrets of before that a policy does not let come again, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Kept>,
    /// When an expired secret bound, in microseconds since 1970.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grace: Vec<u64>,
    /// Failures that a policy counts, in microseconds since 1970.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<u64>,
    #[serde(skip)]
    pub good: Vec<(Fingerprint, String)>,
    #[serde(skip)]
    pub known_superseded: Vec<Fingerprint>,
    /// Wrong secrets that were compared with the superseded ones.
    #[serde(skip)]
    pub compared: Vec<Fingerprint>,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Kept {
    pub stored: String,
    /// Since when; 0 is not known.
    pub set: u64,
    /// The end of an old secret.
    pub until: Option<u64>,
    /// An administrator reset it: it is good for nothing but its own change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_change: bool,
}

impl State {
    pub(super) fn secret_state(&self, last_used: u64) -> SecretState {
        let before = || self.superseded.last().map(|kept| kept.set);
        SecretState {
            has_secret: self.current.is_some(),
            changed: match self.current {
                Some(_) => self.changed(),
                None => before(),
            },
            locked: self.locked,
            locked_out: self.locked_out,
            delayed: self.delayed,
            last_success: Some(last_used).filter(|at| *at > 0),
            grace_used: self.grace.len() as u64,
            failures: self.counted.len(),
            must_change: self.must_change(),
            had_secret: !self.superseded.is_empty(),
        }
    }

    pub(super) fn must_change(&self) -> bool {
        self.current.iter().chain(&self.more).any(|kept| kept.must_change)
    }

    /// Since when the newest secret in force is, where that is known.
    pub(super) fn changed(&self) -> Option<u64> {
        let set = self.current.iter().chain(&self.more).map(|kept| kept.set);
        set.max().filter(|set| *set > 0)
    }

    /// Every lock ends.
    pub(super) fn open(&mut self) {
        (self.locked, self.locked_out, self.delayed) = (None, None, None);
    }

    /// Until when some source may be refused.
    pub(super) fn refused_until(&self) -> u64 {
        match self.locked.or(self.locked_out) {
            Some(_) => u64::MAX,
            None => self.lockout.throttled_until().max(self.delayed.unwrap_or(0)),
        }
    }

    /// A secret is no longer in force: its hash stays to recognise it.
    pub(super) fn supersede(&mut self, kept: Kept) {
        for (fingerprint, of) in std::mem::take(&mut self.good) {
            if of == kept.stored {
                push_bounded(&mut self.known_superseded, fingerprint, KNOWN_MAX);
            } else {
                self.good.push((fingerprint, of));
            }
        }
        push_bounded(&mut self.superseded, kept, SUPERSEDED_MAX);
        self.compared.clear();
    }
}

/// Adds at the end; the first makes room.
pub(super) fn push_bounded<T>(list: &mut Vec<T>, item: T, most: usize) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(item);
}
