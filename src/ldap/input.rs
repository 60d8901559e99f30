//! The octets of a connection that are not taken yet.
//!
//! Grows only as octets come, never by what a header claims; gives memory back when it is empty.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// A buffer that is filled at its end and taken from its start.
#[derive(Debug, Default)]
pub struct Input {
    octets: Vec<u8>,
    start: usize,
    end: usize,
}

/// Room at the beginning, and what an idle connection keeps.
const FIRST_ROOM: usize = 4 << 10;
const KEPT_ROOM: usize = 16 << 10;

impl Input {
    pub fn unread(&self) -> &[u8] {
        self.octets.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes `count` octets off the start.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.octets.len() > KEPT_ROOM {
                self.octets.truncate(KEPT_ROOM);
                self.octets.shrink_to_fit();
            }
        }
    }

    /// Octets of memory beyond what an idle connection keeps.
    pub fn held(&self) -> usize {
        self.octets.len().saturating_sub(KEPT_ROOM)
    }

    /// How much of that the next [`Input::fill`] would add.
    pub fn growth(&self, limit: usize) -> usize {
        if self.end < self.octets.len() || self.start > 0 {
            return 0;
        }
        self.next_room(limit).saturating_sub(self.octets.len().max(KEPT_ROOM))
    }

    /// Reads what the stream has, up to `limit` unread octets in all. 0 is the end of the stream.
    pub fn fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<std::io::Result<usize>> {
        self.make_room(limit);
        let room = self.octets.get_mut(self.end..).unwrap_or_default();
        if room.is_empty() {
            return Poll::Pending;
        }
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(stream).poll_read(context, &mut room))?;
        let count = room.filled().len();
        self.end += count;
        Poll::Ready(Ok(count))
    }

    fn next_room(&self, limit: usize) -> usize {
        (self.octets.len() * 2).clamp(FIRST_ROOM, limit.max(FIRST_ROOM))
    }

    fn make_room(&mut self, limit: usize) {
        if self.end < self.octets.len() {
            return;
        }
        if self.start > 0 {
            self.octets.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            return;
        }
        let room = self.next_room(limit);
        if room > self.octets.len() {
            self.octets.resize(room, 0);
        }
    }
}
