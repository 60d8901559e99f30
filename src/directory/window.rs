//! Windows into a list that follow each other: what a context id says (draft-ietf-ldapext-ldapv3-vlv-09, sections 5 and 6).
//!
//! It is where the window before lay, sealed with account and search: the server keeps nothing. While the list changes, an offset
//! beside that window means the entries beside those that the client has, so that none is passed over and none comes twice.
//!
//! Invariant: it tells nothing that the client was not given: what the first and the last entry are sorted by, and their names.

use super::page::CookieSeal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::ops::Range;

/// A window that was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Window {
    /// Entries of the whole list.
    pub count: u32,
    /// Which of them were given, from 0.
    pub entries: Range<u32>,
    /// Sort octets of the first one and of the last.
    pub first: Vec<u8>,
    pub last: Vec<u8>,
}

/// A window as asked by offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedWindow {
    pub before: u32,
    pub after: u32,
    pub offset: u32,
    pub content_count: u32,
}

/// Octets of a context id that says where the window was; with longer names it only says which list.
const CONTEXT_OCTETS: usize = 4096;
const HEADER: usize = 14;

impl Window {
    /// Where the target is in a list of `count` entries by now, from 1; `None` where the window that is asked is not beside this one,
    /// or the target is the first entry or the last, whichever that is. `place` says how many entries come before these octets, and
    /// whether the next one has them.
    pub(super) fn follow(
        &self,
        asked: AskedWindow,
        count: usize,
        place: impl FnOnce(&[u8]) -> (usize, bool),
    ) -> Option<usize> {
        let knows_count = asked.content_count == 0 || asked.content_count == self.count;
        let is_an_end = asked.offset <= 1 || asked.offset == asked.content_count;
        if !knows_count || is_an_end || asked.offset > self.count || count == 0 {
            return None;
        }
        let [start, end] = [self.entries.start, self.entries.end].map(i64::from);
        let target = i64::from(asked.offset) - 1;
        let (from, to) = (target - i64::from(asked.before), target + 1 + i64::from(asked.after));
        if from > end || to < start {
            return None;
        }
        let (then, now) = if (target - end).abs() <= (target - start).abs() {
            let (before, is_there) = place(&self.last);
            (end, before + usize::from(is_there))
        } else {
            (start, place(&self.first).0)
        };
        let moved = target + i64::try_from(now).ok()? - then;
        let last = i64::try_from(count).ok()? - 1;
        usize::try_from(moved.clamp(0, last) + 1).ok()
    }

    /// `None` where names are too long.
    fn encode(&self) -> Option<Vec<u8>> {
        let first = u16::try_from(self.first.len()).ok()?;
        let mut octets = Vec::with_capacity(HEADER + self.first.len() + self.last.len());
        for number in [self.count, self.entries.start, self.entries.end] {
            octets.extend_from_slice(&number.to_be_bytes());
        }
        octets.extend_from_slice(&first.to_be_bytes());
        octets.extend_from_slice(&self.first);
        octets.extend_from_slice(&self.last);
        (octets.len() <= CONTEXT_OCTETS).then_some(octets)
    }

    fn decode(octets: &[u8]) -> Option<Window> {
        let (count, rest) = octets.split_first_chunk()?;
        let (start, rest) = rest.split_first_chunk()?;
        let (end, rest) = rest.split_first_chunk()?;
        let (first, rest) = rest.split_first_chunk()?;
        let (first, last) = rest.split_at_checked(usize::from(u16::from_be_bytes(*first)))?;
        Some(Window {
            count: u32::from_be_bytes(*count),
            entries: u32::from_be_bytes(*start)..u32::from_be_bytes(*end),
            first: first.to_vec(),
            last: last.to_vec(),
        })
    }
}

impl CookieSeal {
    /// The context id of a window; of a list alone where nothing was given.
    pub(super) fn seal_window(&self, window: Option<&Window>, question: &[u8]) -> Vec<u8> {
        let octets = window.and_then(Window::encode).unwrap_or_default();
        // Text, for clients that take it for some.
        let sealed = self.seal_octets(&octets, &of_window(question));
        STANDARD_NO_PAD.encode(sealed).into_bytes()
    }

    /// `None` for a context id that this process did not make for this question.
    pub(super) fn open_window(&self, context: &[u8], question: &[u8]) -> Option<Option<Window>> {
        let context = STANDARD_NO_PAD.decode(context).ok()?;
        let octets = self.open_octets(&context, &of_window(question))?;
        Some(Window::decode(octets))
    }
}

/// So that the cookie of a page is no context id.
fn of_window(question: &[u8]) -> Vec<u8> {
    [b"window", question].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(entries: Range<u32>) -> Window {
        Window {
            count: 100,
            first: vec![entries.start as u8],
            last: vec![entries.end as u8 - 1],
            entries,
        }
    }

    /// Lists of one octet an entry: `gone` are no more there, and `more` came before all others.
    fn follow(window: &Window, asked: [u32; 4], gone: &[u8], more: usize) -> Option<usize> {
        let [before, after, offset, content_count] = asked;
        let list: Vec<u8> = (0..100).filter(|entry| !gone.contains(entry)).collect();
        let asked = AskedWindow {
            before,
            after,
            offset,
            content_count,
        };
        window.follow(asked, list.len() + more, |octets| {
            let at = list.partition_point(|entry| *entry < octets[0]);
            (at + more, list.get(at) == Some(&octets[0]))
        })
    }

    #[test]
    fn a_window_beside_the_one_before_goes_on_where_that_ended() {
        let before = window(40..50);
        for (asked, gone, more, expected) in [
            // The ten that follow, and the ten before.
            ([0, 9, 51, 100], &[][..], 0, Some(51)),
            ([0, 9, 51, 100], &[3, 4], 0, Some(49)),
            ([0, 9, 51, 0], &[], 7, Some(58)),
            ([0, 9, 51, 100], &[49], 0, Some(50)),
            ([0, 9, 51, 100], &[48, 49, 50, 51], 0, Some(49)),
            ([9, 0, 40, 100], &[3, 4, 45], 0, Some(38)),
            ([0, 9, 31, 100], &[], 5, Some(36)),
            // One that overlaps it.
            ([0, 9, 46, 100], &[1, 42], 0, Some(44)),
            // Further away, from another count, or an end of the list: as the draft has it without a context.
            ([0, 9, 52, 100], &[3], 0, None),
            ([0, 8, 31, 100], &[3], 0, None),
            ([0, 9, 51, 99], &[3], 0, None),
            ([0, 49, 1, 100], &[3], 0, None),
            ([60, 0, 100, 100], &[3], 0, None),
        ] {
            assert_eq!(
                follow(&before, asked, gone, more),
                expected,
                "{asked:?} {gone:?} {more}"
            );
        }
        let all: Vec<u8> = (0..100).collect();
        assert_eq!(follow(&before, [0, 9, 51, 100], &all, 0), None);
        assert_eq!(follow(&before, [0, 9, 51, 100], &all[..99], 0), Some(1));
        assert_eq!(follow(&window(90..99), [0, 0, u32::MAX, 0], &[], 0), None);
    }

    #[test]
    fn a_context_is_of_one_question_and_no_cookie() {
        let seal = CookieSeal::new();
        let window = window(40..50);
        let context = seal.seal_window(Some(&window), b"question");
        assert_eq!(seal.open_window(&context, b"question"), Some(Some(window.clone())));
        assert_eq!(seal.open_window(&context, b"another"), None);
        assert!(seal.open(&context, b"question").is_none());
        let none = seal.seal_window(None, b"question");
        assert_eq!(seal.open_window(&none, b"question"), Some(None));
        let long = Window {
            last: vec![1; CONTEXT_OCTETS],
            ..window
        };
        assert_eq!(seal.seal_window(Some(&long), b"question").len(), none.len());
    }
}
