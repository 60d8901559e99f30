//! How much of what is refused before anybody has shown anything goes into the audit: to ask costs a client nothing, and the disk is
//! everybody's.

use std::sync::{Mutex, PoisonError};

/// Counts records of one second.
pub(super) struct RefusalPace {
    /// Records a second.
    most: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    second: u64,
    kept: u32,
    left_out: u64,
}

impl RefusalPace {
    pub(super) fn new(most: u32) -> RefusalPace {
        RefusalPace {
            most,
            state: Mutex::default(),
        }
    }

    /// How many were left out since the last record, where there may be another now.
    pub(super) fn take(&self, now: u64) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.second != now {
            (state.second, state.kept) = (now, 0);
        }
        if state.kept >= self.most {
            state.left_out += 1;
            return None;
        }
        state.kept += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let pace = RefusalPace::new(2);
        let taken: Vec<_> = [7, 7, 7, 7, 8, 8, 8, 9].map(|now| pace.take(now)).into();
        assert_eq!(taken, [Some(0), Some(0), None, None, Some(2), Some(0), None, Some(1)]);
    }
}
