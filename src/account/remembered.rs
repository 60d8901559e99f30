//! Successful verifications remembered in memory, so that a client which binds for every look-up does not cost an argon2 run.
//!
//! Invariants: no secret and no hash of one without this process's random key; an entry holds only as long as its account
//! is not revoked and its secret is in force; bounded.

use super::{Account, SecretTerm};
use crate::schema::NormalizedDn;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

/// A keyed hash of a name and a secret.
pub(super) type Fingerprint = [u8; 16];

const SHARDS: usize = 16;

pub(super) struct Remembered {
    /// Random, of this process. It comes first in every hash, and hashes are cut to half: no extension.
    key: [u8; 32],
    shards: [RwLock<HashMap<Fingerprint, Entry>>; SHARDS],
    per_shard: usize,
}

struct Entry {
    account: Arc<Account>,
    secret: SecretTerm,
}

impl Remembered {
    /// Remembers at most `capacity` verifications; 0 remembers none.
    pub(super) fn new(capacity: usize) -> Remembered {
        let mut key = [0; 32];
        // Without random octets nothing is remembered: a known key would make fingerprints guessable.
        let random = getrandom::fill(&mut key).is_ok();
        Remembered {
            key,
            shards: std::array::from_fn(|_| RwLock::default()),
            per_shard: if random { capacity.div_ceil(SHARDS) } else { 0 },
        }
    }

    /// The fingerprint of a bind: by key where the name is a DN, else by the name in lower case.
    pub(super) fn bind(&self, name: &str, key: Option<&NormalizedDn>, secret: &[u8]) -> Fingerprint {
        match key {
            Some(key) => self.digest(b'k', &key.0, secret),
            None => {
                let mut buffer = [0u8; 128];
                match buffer.get_mut(..name.len()) {
                    Some(lower) if name.is_ascii() => {
                        lower.copy_from_slice(name.as_bytes());
                        lower.make_ascii_lowercase();
                        self.digest(b'n', lower, secret)
                    }
                    _ => self.digest(b'n', name.to_lowercase().as_bytes(), secret),
                }
            }
        }
    }

    /// The fingerprint of a secret brought for an account, to tell wrong secrets apart.
    pub(super) fn secret_of(&self, key: &NormalizedDn, secret: &[u8]) -> Fingerprint {
        self.digest(b's', &key.0, secret)
    }

    fn digest(&self, kind: u8, name: &[u8], secret: &[u8]) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update([kind]);
        hash.update(u64::try_from(name.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(name);
        hash.update(secret);
        let digest: [u8; 32] = hash.finalize().into();
        std::array::from_fn(|at| digest[at])
    }

    fn shard(&self, fingerprint: &Fingerprint) -> &RwLock<HashMap<Fingerprint, Entry>> {
        &self.shards[usize::from(fingerprint[0]) % SHARDS]
    }

    /// The account, and what holds of the secret.
    pub(super) fn find(&self, fingerprint: &Fingerprint, now: u64) -> Option<(Arc<Account>, SecretTerm)> {
        let shard = self.shard(fingerprint).read().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.get(fingerprint)?;
        let ends = entry.account.ledger.ends(entry.secret);
        let holds = now < ends && !entry.account.revoked.load(Ordering::Acquire);
        holds.then(|| (Arc::clone(&entry.account), entry.secret))
    }

    pub(super) fn remember(&self, fingerprint: Fingerprint, account: Arc<Account>, secret: SecretTerm) {
        if self.per_shard == 0 {
            return;
        }
        let mut shard = self.shard(&fingerprint).write().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= self.per_shard {
            shard.retain(|_, entry| !entry.account.revoked.load(Ordering::Acquire));
        }
        if shard.len() >= self.per_shard {
            // Keys are hashes: whichever comes first is any of them.
            let any = shard.keys().next().copied();
            any.map(|any| shard.remove(&any));
        }
        shard.insert(fingerprint, Entry { account, secret });
    }

    pub(super) fn forget_all(&self) {
        for shard in &self.shards {
            shard.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap().len()).sum()
    }
}
