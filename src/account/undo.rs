//! What accounts were before changes that may yet fail to become durable.
//!
//! Invariant: what a client was told to have failed is not in force, be it until the server is stopped. Who was bound as an account
//! whose change is taken back has to bind again.

use super::ledger::{Image, Ledger};
use super::{AccountFacts, Accounts};
use crate::account::index::Index;
use crate::schema::NormalizedDn;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// By key; `None` where nothing is under way.
#[derive(Default)]
pub(super) struct Undo(Mutex<Option<HashMap<NormalizedDn, Before>>>);

struct Before {
    facts: Option<AccountFacts>,
    ledger: Option<(Arc<Ledger>, Image)>,
}

impl Undo {
    fn locked(&self) -> MutexGuard<'_, Option<HashMap<NormalizedDn, Before>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account under a key is about to be changed.
    pub(super) fn note(&self, index: &Index, key: &NormalizedDn) {
        let mut noted = self.locked();
        let Some(noted) = noted.as_mut().filter(|noted| !noted.contains_key(key)) else {
            return;
        };
        let before = Before {
            facts: index.by_key.get(key).map(|account| account.facts.clone()),
            ledger: index
                .ledgers
                .get(key)
                .map(|ledger| (Arc::clone(ledger), ledger.image())),
        };
        noted.insert(key.clone(), before);
    }
}

impl Accounts {
    /// From now on what is changed can be taken back, until [`Accounts::settle`].
    pub fn begin(&self) {
        *self.undo.locked() = Some(HashMap::new());
    }

    /// What was changed since [`Accounts::begin`] is durable, or did not become so and is taken back.
    pub fn settle(&self, durable: bool) {
        let noted = self.undo.locked().take().unwrap_or_default();
        if durable || noted.is_empty() {
            return;
        }
        let mut index = self.index_mut();
        noted.keys().for_each(|key| index.take(key));
        let mut facts = Vec::new();
        for (key, before) in noted {
            match before.ledger {
                Some((ledger, image)) => {
                    ledger.back_to(image);
                    index.ledgers.insert(key, ledger);
                }
                None => _ = index.ledgers.remove(&key),
            }
            facts.extend(before.facts);
        }
        for facts in facts {
            index.put(facts);
        }
        self.remembered.forget_all();
    }
}
