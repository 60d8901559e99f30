//! A transaction (RFC 5805): its updates go into the group one after another; the first that is refused takes all of them out.
//!
//! Invariants: accounts follow once nothing refuses the transaction any more; who follows changes is told what all of it came to, never
//! what was in between.

use super::super::following::Later;
use super::{Applied, Asked, Following, Writer, delete};
use crate::model::{Outcome, ResultCode};
use crate::store::WriteGroup;

/// What each update came to, or why none was done.
pub(in super::super) type Settled = Result<Vec<Applied>, Unsettled>;

/// Why a transaction is not done.
pub(in super::super) struct Unsettled {
    /// The update at fault, by its place; `None` where none is.
    pub at: Option<usize>,
    pub outcome: Outcome,
}

impl Unsettled {
    pub(in super::super) fn whole(outcome: Outcome) -> Unsettled {
        Unsettled { at: None, outcome }
    }
}

impl Writer {
    pub(super) fn transaction(&self, updates: Vec<Asked>, group: &mut WriteGroup<'_>) -> Settled {
        let savepoint = group.savepoint();
        let noted = self.noting.extent();
        let touched = self.touched.borrow().len();
        let mut following = Following::Later(Later::default());
        let settled = self.apply_all(updates, group, &mut following);
        if settled.is_err() {
            group.back_to(savepoint);
            self.plain.forget_all();
            self.noting.back_to(noted);
            self.touched.borrow_mut().truncate(touched);
            return settled;
        }
        self.noting.join(noted, self.context.schema.type_numbers());
        group.apply(Vec::new(), following.finish(&self.context));
        settled
    }

    fn apply_all(&self, updates: Vec<Asked>, group: &mut WriteGroup<'_>, following: &mut Following) -> Settled {
        let limit = self.context.limits.transaction_read_octets;
        let trees = self.context.limits.delete_entries;
        let made = self.context.limits.rename_octets;
        let (mut read, mut below, mut octets) = (0, 0, 0);
        let mut all = Vec::with_capacity(updates.len());
        for (at, asked) in updates.into_iter().enumerate() {
            let failed = |outcome| Unsettled { at: Some(at), outcome };
            let applied = self.update(asked, group, following).map_err(failed)?;
            // All trees of a transaction together may be as large as one that goes by itself.
            below += applied.below.len();
            if below > trees {
                return Err(failed(delete::too_many(trees)));
            }
            octets += applied.octets;
            if octets > made {
                let message = format!(
                    "expected a transaction to make at most {made} bytes of entries anew; see limits.rename_bytes"
                );
                return Err(failed(Outcome::new(ResultCode::AdminLimitExceeded, message)));
            }
            let copies = [&applied.done.pre_read, &applied.done.post_read];
            read += copies
                .into_iter()
                .flatten()
                .map(|copy| copy.attributes().len())
                .sum::<usize>();
            if read > limit {
                let message = format!("expected at most {limit} bytes of entries read by one transaction");
                return Err(failed(Outcome::new(ResultCode::AdminLimitExceeded, message)));
            }
            all.push(applied);
        }
        Ok(all)
    }
}
