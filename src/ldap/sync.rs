//! Content synchronisation (RFC 4533) and persistent search: their controls and messages, and the searches of a connection that follow changes.
//!
//! A search that waits for changes takes no part in a connection's turns until the core wakes it. It holds back neither a bind nor
//! a stop of the server: both end it.

use super::ber::{self, Reader};
use super::codec::{DecodeError, tag};
use super::controls::put_control;
use super::conversation::Conversation;
use super::encode::{self, Extra};
use super::frame::MessageId;
use crate::directory::{
    Notice, PersistentRequest, SearchRequest, Session, Sync, SyncMessage, SyncRequest, SyncState, SyncStep,
};
use crate::model::{Outcome, ResultCode};
use crate::query::Work;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// RFC 4533 sections 2.3 to 2.5.
const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
pub(super) const SYNC_DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
const SYNC_INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";
/// draft-ietf-ldapext-psearch-03 section 4.
const ENTRY_CHANGE: &str = "2.16.840.1.113730.3.4.7";

/// A synchronisation on a connection.
pub(super) struct RunningSync {
    pub(super) id: MessageId,
    sync: Box<Sync>,
    /// Ready when there is something to tell; `None` while there is.
    wake: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Octets of its request.
    pub(super) octets: usize,
}

impl RunningSync {
    pub(super) fn is_waiting(&self) -> bool {
        self.wake.is_some()
    }
}

/// The value of a sync request control (RFC 4533 section 2.2).
pub(super) fn sync_request(value: Option<&[u8]>) -> Result<SyncRequest<'_>, DecodeError> {
    const NAME: &str = "sync request";
    let value = value.ok_or_else(|| DecodeError::field(NAME, "a mode", "no value"))?;
    let mut outer = Reader::new(value);
    let mut parts = outer.enter(ber::SEQUENCE)?;
    outer.finish()?;
    let persist = match parts.integer(ber::ENUMERATED)? {
        1 => false,
        3 => true,
        other => return Err(DecodeError::field(NAME, "mode 1 or 3", other)),
    };
    let cookie = parts.optional(ber::OCTET_STRING)?;
    let reload = match parts.optional(ber::BOOLEAN)? {
        Some(contents) => ber::boolean(contents)?,
        None => false,
    };
    parts.finish()?;
    Ok(SyncRequest {
        persist,
        cookie,
        reload,
        persistent: None,
    })
}

/// The value of a persistent search control (draft-ietf-ldapext-psearch-03 section 3).
pub(super) fn persistent_request(value: Option<&[u8]>) -> Result<PersistentRequest, DecodeError> {
    const NAME: &str = "persistent search";
    let value = value.ok_or_else(|| DecodeError::field(NAME, "change types", "no value"))?;
    let mut outer = Reader::new(value);
    let mut parts = outer.enter(ber::SEQUENCE)?;
    outer.finish()?;
    let found = parts.integer(ber::INTEGER)?;
    let types = u32::try_from(found).ok().filter(|types| (1..=15).contains(types));
    let change_types = types.ok_or_else(|| DecodeError::field(NAME, "change types from 1 to 15", found))?;
    let (changes_only, notices) = (parts.boolean(ber::BOOLEAN)?, parts.boolean(ber::BOOLEAN)?);
    parts.finish()?;
    Ok(PersistentRequest {
        change_types,
        changes_only,
        notices,
    })
}

impl Conversation {
    /// Begins a synchronisation.
    pub(super) fn sync(
        &mut self,
        id: MessageId,
        request: SearchRequest<'_>,
        asked: SyncRequest<'_>,
        session: Option<&Session>,
    ) {
        // What changed since the cookie is looked through at once: then other connections have their turn.
        let _ = self.is_turn_over();
        let begun = self.directory.sync(session, request, asked);
        if self.is_turn_over() {
            self.work = 0;
        }
        match begun {
            Ok(sync) => {
                self.metrics().searches_running.increment();
                self.syncs.push(RunningSync {
                    id,
                    sync: Box::new(sync),
                    wake: None,
                    octets: self.request_octets,
                });
            }
            Err(outcome) => self.answer(id, tag::SEARCH_RESULT_DONE, &outcome, Extra::default()),
        }
    }

    /// One round: each synchronisation that has something to tell gets a share of a turn's work.
    pub(super) fn run_syncs(&mut self) {
        let mut at = 0;
        while at < self.syncs.len() && !self.is_output_full() {
            if self.syncs[at].is_waiting() {
                at += 1;
                continue;
            }
            let mut running = self.syncs.remove(at);
            if !self.step_sync(&mut running) {
                self.syncs.insert(at, running);
                at += 1;
            } else {
                self.metrics().searches_running.decrement();
            }
        }
    }

    /// Answers and says `true` where it ended.
    fn step_sync(&mut self, running: &mut RunningSync) -> bool {
        let (id, limit) = (running.id, self.service.limits.output_octets);
        let mut work = Work {
            left: self.service.limits.turn_work,
        };
        let mut sent = 0;
        let output = &mut self.output;
        let step = running.sync.step(&mut work, &mut |message| {
            let is_entry = matches!(message, SyncMessage::Entry { .. } | SyncMessage::Found { .. });
            sent += u64::from(is_entry);
            put_message(output, id, &message);
            output.len() < limit
        });
        self.metrics().entries_sent.add(sent);
        match step {
            SyncStep::More => false,
            SyncStep::Waiting => {
                running.wake = Some(Box::pin(running.sync.changed()));
                false
            }
            SyncStep::Done {
                outcome,
                cookie,
                deletes,
            } => {
                let extra = Extra {
                    synced: cookie.as_deref().map(|cookie| (cookie, deletes)),
                    ..Extra::default()
                };
                self.answer(id, tag::SEARCH_RESULT_DONE, &outcome, extra);
                true
            }
        }
    }

    /// Wakes those that have something to tell; says whether any has.
    pub(super) fn poll_syncs(&mut self, context: &mut Context<'_>) -> bool {
        let mut woken = false;
        for running in &mut self.syncs {
            let ready = match &mut running.wake {
                Some(wake) => wake.as_mut().poll(context) == Poll::Ready(()),
                None => false,
            };
            if ready {
                running.wake = None;
                woken = true;
            }
        }
        woken
    }

    /// Whether a search waits for changes: such a connection is never idle.
    pub fn is_following(&self) -> bool {
        !self.syncs.is_empty()
    }

    /// The server stops: every synchronisation is answered.
    pub fn end_syncs(&mut self) {
        for running in std::mem::take(&mut self.syncs) {
            self.metrics().searches_running.decrement();
            let outcome = Outcome::new(ResultCode::Unavailable, "the server is stopping");
            self.answer(running.id, tag::SEARCH_RESULT_DONE, &outcome, Extra::default());
        }
    }

    /// Takes a synchronisation off the connection; says whether it was there.
    pub(super) fn drop_sync(&mut self, id: MessageId) -> bool {
        let at = self.syncs.iter().position(|running| running.id == id);
        if let Some(at) = at {
            self.metrics().searches_running.decrement();
            self.syncs.remove(at);
        }
        at.is_some()
    }
}

/// Appends one message of a synchronisation.
fn put_message(out: &mut Vec<u8>, id: MessageId, message: &SyncMessage<'_>) {
    match message {
        SyncMessage::Entry { entry, state, cookie } => {
            let controls = |out: &mut Vec<u8>| put_state(out, *state, entry.entry_uuid(), *cookie);
            encode::entry_with_controls(out, id, entry.dn(), controls, |out| {
                if *state != SyncState::Delete {
                    entry.append_attributes(out);
                }
            });
        }
        SyncMessage::Found { entry, notice: None } => {
            encode::entry_with(out, id, entry.dn_octets(), |out| entry.append_attributes(out));
        }
        SyncMessage::Found {
            entry,
            notice: Some(notice),
        } => encode::entry_with_controls(
            out,
            id,
            entry.dn(),
            |out| put_notice(out, *notice),
            |out| entry.append_attributes(out),
        ),
        SyncMessage::Reference {
            urls,
            entry_uuid,
            state,
            cookie,
        } => encode::reference_with_controls(out, id, urls, |out| put_state(out, *state, entry_uuid, *cookie)),
        SyncMessage::Gone(uuids) => put_uuids(out, id, uuids, true),
        SyncMessage::Unchanged(uuids) => put_uuids(out, id, uuids, false),
        // refreshDone is TRUE, and so left out.
        SyncMessage::Refreshed { deletes, cookie } => put_info(out, id, |out| {
            let choice = if *deletes { 0xa1 } else { 0xa2 };
            ber::put_nested(out, choice, |out| {
                ber::put_octets(out, ber::OCTET_STRING, cookie.as_bytes())
            });
        }),
        SyncMessage::Cookie(cookie) => put_info(out, id, |out| ber::put_octets(out, 0x80, cookie.as_bytes())),
    }
}

/// A syncIdSet (RFC 4533 section 2.5): UUIDs of entries that are gone, or there and unchanged.
fn put_uuids(out: &mut Vec<u8>, id: MessageId, uuids: &[[u8; 16]], deletes: bool) {
    put_info(out, id, |out| {
        ber::put_nested(out, 0xa3, |out| {
            if deletes {
                ber::put_octets(out, ber::BOOLEAN, &[0xff]);
            }
            ber::put_nested(out, ber::SET, |out| {
                uuids
                    .iter()
                    .for_each(|uuid| ber::put_octets(out, ber::OCTET_STRING, uuid));
            });
        });
    });
}

/// The contents of a message's controls: a sync state control (RFC 4533 section 2.3).
fn put_state(out: &mut Vec<u8>, state: SyncState, uuid: &[u8; 16], cookie: Option<&str>) {
    put_control(out, SYNC_STATE, |out| {
        ber::put_nested(out, ber::SEQUENCE, |out| {
            ber::put_integer(out, ber::ENUMERATED, state as u32);
            ber::put_octets(out, ber::OCTET_STRING, uuid);
            if let Some(cookie) = cookie {
                ber::put_octets(out, ber::OCTET_STRING, cookie.as_bytes());
            }
        });
    });
}

/// The contents of a message's controls: an entry change notification.
fn put_notice(out: &mut Vec<u8>, notice: Notice<'_>) {
    put_control(out, ENTRY_CHANGE, |out| {
        ber::put_nested(out, ber::SEQUENCE, |out| {
            ber::put_integer(out, ber::ENUMERATED, notice.change as u32);
            if let Some(dn) = notice.previous_dn {
                ber::put_octets(out, ber::OCTET_STRING, dn.as_bytes());
            }
        });
    });
}

/// The contents of a message's controls: a sync done control (RFC 4533 section 2.4).
pub(super) fn put_done(out: &mut Vec<u8>, cookie: &str, deletes: bool) {
    put_control(out, SYNC_DONE, |out| {
        ber::put_nested(out, ber::SEQUENCE, |out| {
            ber::put_octets(out, ber::OCTET_STRING, cookie.as_bytes());
            if deletes {
                ber::put_octets(out, ber::BOOLEAN, &[0xff]);
            }
        });
    });
}

/// A sync info message: an intermediate response (RFC 4511 section 4.13).
fn put_info(out: &mut Vec<u8>, id: MessageId, value: impl FnOnce(&mut Vec<u8>)) {
    ber::put_nested(out, ber::SEQUENCE, |out| {
        ber::put_integer(out, ber::INTEGER, id.0);
        ber::put_nested(out, tag::INTERMEDIATE_RESPONSE, |out| {
            ber::put_octets(out, 0x80, SYNC_INFO.as_bytes());
            ber::put_nested(out, 0x81, value);
        });
    });
}
