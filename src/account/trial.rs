//! One verification of a secret, and what it came to.

use super::ledger::Candidate;
use super::secret::SECRET_OCTETS_MAX;
use super::stored::{self, Memory, Stored};
use super::{AccountOptions, Secret};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One verification, to be run on the pool.
pub(super) struct Trial {
    pub secret: Secret,
    pub candidates: Vec<Candidate>,
    /// Argon2 runs a failure costs.
    pub failure_runs: usize,
    /// It is a failure whatever secret comes: only hashes with today's parameters, and those that cost next to nothing, are tried, so
    /// that it costs what others do.
    pub refused: bool,
    pub options: AccountOptions,
    pub runs: Arc<AtomicU64>,
}

/// What a verification came to.
pub(super) struct Tried {
    pub secret: Secret,
    pub matched: Option<Match>,
    /// A hash was left out: nobody knows whether the secret is that one.
    pub left_out: bool,
}

pub(super) struct Match {
    pub candidate: Candidate,
    /// The hash with today's parameters, where the stored one is not.
    pub upgraded: Option<String>,
}

impl Trial {
    /// Runs argon2 as often for a failure, whatever its reason and whether or not the secret is right, as for a wrong secret.
    pub(super) fn run(self, memory: &mut Memory) -> Tried {
        let secret = self.secret.expose();
        let (mut runs, mut matched, mut left_out) = (0, None, false);
        if (1..=SECRET_OCTETS_MAX).contains(&secret.len()) {
            for candidate in &self.candidates {
                // A stored value that does not parse verifies nothing; status shows it as unreadable.
                let Ok(stored) = Stored::parse(&candidate.stored) else {
                    continue;
                };
                let current = stored.is_current(&self.options);
                if self.refused && !current && !stored.is_cheap() {
                    left_out = true;
                    continue;
                }
                runs += usize::from(stored.is_argon2());
                if stored.verify(secret, memory) {
                    matched = Some((candidate.clone(), current));
                    break;
                }
            }
        }
        let matched = matched.map(|(candidate, current)| {
            let upgraded = if current || self.refused {
                None
            } else {
                runs += 1;
                stored::hash(secret, &self.options, memory).ok()
            };
            Match { candidate, upgraded }
        });
        if self.refused || matched.is_none() {
            while runs < self.failure_runs {
                stored::spend(secret, &self.options, memory);
                runs += 1;
            }
        }
        self.runs.fetch_add(runs as u64, Ordering::Relaxed);
        Tried {
            secret: self.secret,
            matched,
            left_out,
        }
    }
}
