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
    /// It is a failure whatever secret comes, and costs what others do: a secret is tried only where all hashes have today's parameters
    /// or cost next to nothing.
    pub refused: bool,
    pub options: AccountOptions,
    pub runs: Arc<AtomicU64>,
}

/// What a verification came to.
pub(super) struct Tried {
    pub secret: Secret,
    pub matched: Option<Match>,
    /// Nobody looked whether it is one of them.
    pub unlooked: bool,
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
        let (mut runs, mut matched) = (0, None);
        // All or none: where some are tried, an answer to the right one among them would make guesses of the others' failures.
        let unlooked = self.refused && self.candidates.iter().any(|candidate| self.costs_otherwise(candidate));
        if !unlooked && (1..=SECRET_OCTETS_MAX).contains(&secret.len()) {
            for candidate in &self.candidates {
                // A stored value that does not parse verifies nothing; status shows it as unreadable.
                let Ok(stored) = Stored::parse(&candidate.stored) else {
                    continue;
                };
                let current = stored.is_current(&self.options);
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
            unlooked,
        }
    }

    /// Whether it takes longer or shorter to try than what a failure costs.
    fn costs_otherwise(&self, candidate: &Candidate) -> bool {
        Stored::parse(&candidate.stored).is_ok_and(|stored| !stored.is_current(&self.options) && !stored.is_cheap())
    }
}
