//! One audit record, written by hand into a buffer that is used again: no serialiser on the hot path.

use super::Audit;
use crate::model::{Address, Outcome, ResultCode, Source, TrackedSession};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Bind,
    Search,
    Compare,
    Add,
    Modify,
    Delete,
    ModifyDn,
    Transaction,
    Secret,
    Administrative,
}

impl Act {
    /// As the log spells it.
    pub fn name(self) -> &'static str {
        match self {
            Act::Bind => "bind",
            Act::Search => "search",
            Act::Compare => "compare",
            Act::Add => "add",
            Act::Modify => "modify",
            Act::Delete => "delete",
            Act::ModifyDn => "modifyDN",
            Act::Transaction => "transaction",
            Act::Secret => "secret",
            Act::Administrative => "administrative",
        }
    }
}

/// The most octets of one text fact; the rest is replaced by its length. A filter can be megabytes.
const FACT_OCTETS_MAX: usize = 4096;

/// Who acts: the account and where it comes from, written out once for all acts of a session.
#[derive(Clone, Debug)]
pub struct Actor(Box<[u8]>);

impl Actor {
    /// `account` is the bound account's name, or the bind name as spelled.
    pub fn new(account: &str, source: &Source) -> Actor {
        let mut text = Vec::with_capacity(128);
        text.extend_from_slice(b",\"account\":");
        append_text(account.as_bytes(), &mut text);
        text.extend_from_slice(b",\"source\":\"");
        append_address(&source.address, &mut text);
        text.extend_from_slice(b"\",\"connection\":");
        append_number(source.connection, &mut text);
        append_sessions(&source.sessions, &mut text);
        Actor(text.into())
    }
}

/// What a client says its request belongs to, if anything.
fn append_sessions(sessions: &[TrackedSession], out: &mut Vec<u8>) {
    for (at, session) in sessions.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b",\"sessions\":[{" } else { b",{" });
        let facts = [
            (&b"\"ip\":"[..], &session.source_ip),
            (b",\"name\":", &session.source_name),
            (b",\"format\":", &session.format),
            (b",\"id\":", &session.identifier),
        ];
        for (name, fact) in facts {
            out.extend_from_slice(name);
            append_text(fact.as_bytes(), out);
        }
        out.push(b'}');
    }
    if !sessions.is_empty() {
        out.push(b']');
    }
}

impl Actor {
    /// The same for what is done by proxied authorization: `by` is the account that is bound and acts as the other.
    pub fn proxied(account: &str, by: &str, source: &Source) -> Actor {
        let mut text = Actor::new(account, source).0.into_vec();
        text.extend_from_slice(b",\"proxiedBy\":");
        append_text(by.as_bytes(), &mut text);
        Actor(text.into())
    }
}

/// One record in the making. Reuse it: `begin` clears it and keeps its buffer.
#[derive(Default)]
pub struct AuditRecord {
    /// The members of the JSON object, without the number before and the chain after them.
    body: Vec<u8>,
    /// entryUUIDs, 16 octets each.
    entries: Vec<u8>,
    /// Parts that are written already.
    parts: u64,
}

/// Octets of entryUUIDs of one record: what gives more entries has a record for each so many, written while it runs.
const ENTRIES_OCTETS_MAX: usize = 4096 * 16;
/// Octets of memory with which a record's buffers are used again.
const KEPT_OCTETS: usize = 32 << 10;

impl AuditRecord {
    /// `now` is milliseconds since 1970.
    pub fn begin(&mut self, act: Act, actor: &Actor, now: u64) {
        self.body.clear();
        self.entries.clear();
        self.parts = 0;
        let body = &mut self.body;
        body.extend_from_slice(b"\"t\":");
        append_number(now, body);
        body.extend_from_slice(b",\"act\":\"");
        body.extend_from_slice(act.name().as_bytes());
        body.push(b'"');
        body.extend_from_slice(&actor.0);
    }

    /// A named text fact: `base`, `filter`, `scope`, `attributes`, `dn`, `detail`. Escaped as JSON; octets that are no UTF-8
    /// become `\xNN`. Of a text over 4 KiB the beginning is kept, with its length.
    pub fn fact(&mut self, name: &'static str, value: &[u8]) {
        self.name(name);
        append_text(value, &mut self.body);
    }

    pub fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        append_number(value, &mut self.body);
    }

    fn name(&mut self, name: &'static str) {
        self.body.extend_from_slice(b",\"");
        self.body.extend_from_slice(name.as_bytes());
        self.body.extend_from_slice(b"\":");
    }

    /// An entry that left, or was written.
    pub fn entry(&mut self, entry_uuid: &[u8; 16]) {
        self.entries.extend_from_slice(entry_uuid);
    }

    /// Writes down what there is so far, where that is much: what was asked and entries that left (`part`), without a result.
    pub fn write_part(&mut self, audit: &Audit) {
        if self.entries.len() < ENTRIES_OCTETS_MAX {
            return;
        }
        let asked = self.body.len();
        self.put_entries();
        self.parts += 1;
        self.number("part", self.parts);
        audit.append(self);
        self.body.truncate(asked);
        self.entries.clear();
    }

    /// Whether its buffers are small enough to be kept for the next.
    pub fn is_small(&self) -> bool {
        self.body.capacity() + self.entries.capacity() <= KEPT_OCTETS
    }

    fn put_entries(&mut self) {
        if !self.entries.is_empty() {
            self.name("uuids");
            self.body.push(b'"');
            append_base64(&self.entries, &mut self.body);
            self.body.push(b'"');
        }
    }

    /// Ends the record: the entries (`uuids`, 16 octets each in one base64 string), how it ended and how long it took.
    pub fn finish(&mut self, outcome: &Outcome, took: Duration) {
        self.put_entries();
        if self.parts > 0 {
            self.number("part", self.parts + 1);
        }
        self.number("code", u64::from(outcome.code as u32));
        self.name("result");
        self.body.push(b'"');
        if outcome.code == ResultCode::Success {
            self.body.extend_from_slice(b"success");
        } else {
            let at = self.body.len();
            write!(self.body, "{:?}", outcome.code).expect("writing to memory succeeds");
            if let Some(first) = self.body.get_mut(at) {
                first.make_ascii_lowercase();
            }
        }
        self.body.push(b'"');
        if !outcome.message.is_empty() {
            self.fact("message", outcome.message.as_bytes());
        }
        self.number("took_us", u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}

pub(super) fn append_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while number >= 100 {
        let pair = (number % 100) as u8;
        number /= 100;
        at -= 2;
        digits[at] = b'0' + pair / 10;
        digits[at + 1] = b'0' + pair % 10;
    }
    let last = number as u8;
    at -= 1;
    digits[at] = b'0' + last % 10;
    if last >= 10 {
        at -= 1;
        digits[at] = b'0' + last / 10;
    }
    out.extend_from_slice(&digits[at..]);
}

fn append_address(address: &Address, out: &mut Vec<u8>) {
    if let Address::Tcp(SocketAddr::V4(address)) = address {
        for (at, octet) in address.ip().octets().into_iter().enumerate() {
            if at > 0 {
                out.push(b'.');
            }
            append_number(u64::from(octet), out);
        }
        out.push(b':');
        append_number(u64::from(address.port()), out);
    } else {
        write!(out, "{address}").expect("writing to memory succeeds");
    }
}

fn append_base64(octets: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + octets.len().div_ceil(3) * 4, 0);
    let written = out
        .get_mut(at..)
        .and_then(|room| STANDARD_NO_PAD.encode_slice(octets, room).ok());
    out.truncate(at + written.unwrap_or(0));
}

/// A JSON string of any octets.
pub(super) fn append_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    match text.get(..FACT_OCTETS_MAX) {
        Some(head) if text.len() > FACT_OCTETS_MAX => {
            append_escaped(head, out);
            out.extend_from_slice(b" ... of ");
            append_number(text.len() as u64, out);
            out.extend_from_slice(b" octets");
        }
        _ => append_escaped(text, out),
    }
    out.push(b'"');
}

fn append_escaped(text: &[u8], out: &mut Vec<u8>) {
    let odd = |octet: u8| !matches!(octet, 0x20..=0x7e) || octet == b'"' || octet == b'\\';
    // Nearly every text is plain: look at all of it first, which takes a few octets at a time.
    if !text.iter().fold(false, |any, octet| any | odd(*octet)) {
        return out.extend_from_slice(text);
    }
    let end = text.iter().position(|octet| odd(*octet)).unwrap_or(text.len());
    let (head, rest) = text.split_at(end);
    out.extend_from_slice(head);
    for chunk in rest.utf8_chunks() {
        for character in chunk.valid().chars() {
            append_character(character, out);
        }
        for octet in chunk.invalid() {
            write!(out, "\\\\x{octet:02x}").expect("writing to memory succeeds");
        }
    }
}

fn append_character(character: char, out: &mut Vec<u8>) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        // Line and paragraph separators and the marks that turn the direction of writing are controls in effect.
        c if c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            write!(out, "\\u{:04x}", u32::from(c)).expect("writing to memory succeeds");
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}
