//! Where accounts are found.

use super::ledger::Ledger;
use super::{Account, AccountFacts};
use crate::schema::NormalizedDn;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Default)]
pub(super) struct Index {
    pub by_key: HashMap<NormalizedDn, Arc<Account>>,
    /// Names and mail-like names in lower case; a name of two accounts is nobody's.
    pub by_name: HashMap<String, Vec<NormalizedDn>>,
    pub by_certificate: HashMap<[u8; 32], Vec<NormalizedDn>>,
    /// Secret states, also of keys that have no account yet.
    pub ledgers: HashMap<NormalizedDn, Arc<Ledger>>,
}

impl Index {
    /// Gives whether a name is now ambiguous.
    pub(super) fn put(&mut self, facts: AccountFacts) -> bool {
        let key = facts.key.clone();
        self.take(&key);
        let mut ambiguous = false;
        for name in names(&facts) {
            let keys = self.by_name.entry(name).or_default();
            if !keys.contains(&key) {
                keys.push(key.clone());
            }
            ambiguous |= keys.len() > 1;
        }
        for certificate in &facts.certificates {
            let keys = self.by_certificate.entry(*certificate).or_default();
            if !keys.contains(&key) {
                keys.push(key.clone());
            }
        }
        let ledger = Arc::clone(self.ledgers.entry(key.clone()).or_default());
        self.by_key.insert(key, Arc::new(Account::with_ledger(facts, ledger)));
        ambiguous
    }

    /// The secret of an account was changed: who is bound as it must bind again, but on the connection that changed its own.
    pub(super) fn renew(&mut self, key: &NormalizedDn, connection: u64) {
        let Some(account) = self.by_key.get_mut(key) else {
            return;
        };
        let next = Arc::new(Account::with_ledger(account.facts.clone(), Arc::clone(&account.ledger)));
        account.succeeded_by(&next, connection);
        account.revoked.store(true, Ordering::Release);
        *account = next;
    }

    /// Takes an account out and revokes it; its secret state stays.
    pub(super) fn take(&mut self, key: &NormalizedDn) {
        let Some(account) = self.by_key.remove(key) else {
            return;
        };
        account.revoked.store(true, Ordering::Release);
        for name in names(&account.facts) {
            if let Some(keys) = self.by_name.get_mut(&name) {
                keys.retain(|other| other != key);
                if keys.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
        for certificate in &account.facts.certificates {
            if let Some(keys) = self.by_certificate.get_mut(certificate) {
                keys.retain(|other| other != key);
                if keys.is_empty() {
                    self.by_certificate.remove(certificate);
                }
            }
        }
    }
}

/// The names an account may bind with, besides its DN: an entry of the general directory has none.
fn names(facts: &AccountFacts) -> impl Iterator<Item = String> {
    let all = std::iter::once(&facts.name).chain(&facts.mails);
    all.filter(|_| !facts.general)
        .map(|name| name.trim().to_lowercase())
        .filter(|name| !name.is_empty())
}
