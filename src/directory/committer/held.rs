//! Answers held back until the group is durable.

use super::{Applied, Settled, Unsettled};
use crate::model::{Outcome, ResultCode};
use std::sync::mpsc::SyncSender;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// An answer that waits.
pub(super) enum Held {
    Update(oneshot::Sender<Applied>, Applied),
    Secret(oneshot::Sender<Outcome>, Outcome),
    Transaction(oneshot::Sender<Settled>, Settled),
    Kept(oneshot::Sender<bool>),
    Bookkeeping(SyncSender<()>),
}

/// Gives the answers of a group. Those that tasks wait for are given by one task: to wake the others it makes no system call for each.
pub(super) fn answer(held: Vec<Held>, durable: bool, runtime: Option<&Handle>) {
    let (threads, tasks): (Vec<Held>, Vec<Held>) =
        held.into_iter().partition(|held| matches!(held, Held::Bookkeeping(_)));
    threads.into_iter().for_each(|held| held.answer(durable));
    let several = tasks.len() > 1;
    let give = move || tasks.into_iter().for_each(|held| held.answer(durable));
    match runtime {
        Some(runtime) if several => drop(runtime.spawn(async move { give() })),
        _ => give(),
    }
}

impl Held {
    fn answer(self, durable: bool) {
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
