//! Entries given to each account in one day (UTC), for the daily quota of its release profile.
//!
//! Kept in memory: a restart begins the day anew. Only accounts whose profile has a quota are counted.

use crate::schema::NormalizedDn;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

const SECONDS_A_DAY: u64 = 86_400;

#[derive(Default)]
pub(super) struct DailyCounts(Mutex<HashMap<NormalizedDn, Count>>);

#[derive(Clone, Copy, Default)]
struct Count {
    day: u64,
    entries: u64,
}

impl DailyCounts {
    /// Counts one more entry for the account; false where its quota allows none. `now` is seconds since 1970.
    pub(super) fn take(&self, account: &NormalizedDn, quota: u64, now: u64) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(account.clone()).or_default();
        let day = now / SECONDS_A_DAY;
        if count.day != day {
            *count = Count { day, entries: 0 };
        }
        let allowed = count.entries < quota;
        count.entries += u64::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_of_one_account_and_one_day() {
        let counts = DailyCounts::default();
        let (one, other) = (NormalizedDn(b"cn=one\0".to_vec()), NormalizedDn(b"cn=other\0".to_vec()));
        assert!((0..2).all(|_| counts.take(&one, 2, 100)));
        assert!(!counts.take(&one, 2, 200));
        assert!(counts.take(&one, 3, 200));
        assert!(counts.take(&other, 2, 200));
        assert!(counts.take(&one, 2, SECONDS_A_DAY));
    }
}
