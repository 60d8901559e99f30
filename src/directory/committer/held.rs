//! Answers held back until the group is durable.

use super::{Applied, Settled, Unsettled};
use crate::model::{Outcome, ResultCode};
use std::sync::mpsc::SyncSender;
use tokio::sync::oneshot;

/// An answer that waits.
pub(super) enum Held {
    Update(oneshot::Sender<Applied>, Applied),
    Secret(oneshot::Sender<Outcome>, Outcome),
    Transaction(oneshot::Sender<Settled>, Settled),
    Kept(oneshot::Sender<bool>),
    Bookkeeping(SyncSender<()>),
}

impl Held {
    pub(super) fn answer(self, durable: bool) {
        let read_only = || {
            let message = "the store is read-only since an I/O error; free or repair the disk, then restart the server";
            Outcome::new(ResultCode::UnwillingToPerform, message)
        };
        // A receiver that is gone is a client that went away: the change stands all the same.
        match self {
            Held::Update(reply, applied) if durable || !applied.done.outcome.is_success() => drop(reply.send(applied)),
            Held::Update(reply, _) => drop(reply.send(Applied::refused(read_only()))),
            Held::Secret(reply, outcome) if durable || !outcome.is_success() => drop(reply.send(outcome)),
            Held::Secret(reply, _) => drop(reply.send(read_only())),
            Held::Transaction(reply, settled) if durable || settled.is_err() => drop(reply.send(settled)),
            Held::Transaction(reply, _) => drop(reply.send(Err(Unsettled::whole(read_only())))),
            Held::Kept(reply) => drop(reply.send(durable)),
            Held::Bookkeeping(reply) => drop(reply.send(())),
        }
    }
}
