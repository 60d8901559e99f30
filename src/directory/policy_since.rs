//! Since when the policy is as it is: what a client followed under another one may have been more, and what is no longer for it must
//! not stay with it because nobody says that it is gone.

use super::feed::Position;
use crate::access::Policy;
use crate::store::{KeyedPair, KeyedWrite};
use sha2::{Digest, Sha256};
use std::sync::{Mutex, PoisonError};

/// Where the store keeps it.
const POLICY_KEY: &[u8] = b"d/policy";
/// Until those who follow have noticed another policy, they may be given cookies. In microseconds.
const NOTICED_AFTER: u64 = 1_000_000;

pub(super) struct PolicySince {
    now: Mutex<Kept>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Kept {
    since: u64,
    digest: [u8; 32],
}

impl PolicySince {
    /// As the store has it. Where the policy is another than it was, it is so since `last`; the write then keeps that.
    pub(super) fn of(
        policy: &Option<(String, String)>,
        keyed: &[KeyedPair],
        last: Position,
    ) -> (PolicySince, Option<KeyedWrite>) {
        let kept = keyed.iter().find(|(key, _)| key == POLICY_KEY);
        let before = kept.and_then(|(_, value)| Kept::decode(value));
        let digest = digest(policy);
        let same = before.filter(|before| before.digest == digest);
        let now = same.unwrap_or(Kept { since: last.0, digest });
        let since = PolicySince { now: Mutex::new(now) };
        (since, same.is_none().then(|| now.write()))
    }

    /// Another policy was put in force after `last`. Nothing is to be written where it says what the one before said.
    pub(super) fn renew(&self, policy: &Option<(String, String)>, last: Position) -> Option<KeyedWrite> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = digest(policy);
        if digest == now.digest {
            return None;
        }
        *now = Kept {
            since: last.0.saturating_add(NOTICED_AFTER),
            digest,
        };
        Some(now.write())
    }

    pub(super) fn position(&self) -> Position {
        Position(self.now.lock().unwrap_or_else(PoisonError::into_inner).since)
    }
}

impl Kept {
    fn write(self) -> KeyedWrite {
        let mut value = self.since.to_be_bytes().to_vec();
        value.extend_from_slice(&self.digest);
        KeyedWrite {
            key: POLICY_KEY.to_vec(),
            value: Some(value),
        }
    }

    fn decode(value: &[u8]) -> Option<Kept> {
        let (since, digest) = value.split_first_chunk()?;
        Some(Kept {
            since: u64::from_be_bytes(*since),
            digest: digest.try_into().ok()?,
        })
    }
}

fn digest(policy: &Option<(String, String)>) -> [u8; 32] {
    let text = policy.as_ref().map_or("", |(_, text)| text);
    Sha256::new()
        .chain_update(Policy::BUILTIN_TEXT)
        .chain_update(text)
        .finalize()
        .into()
}
