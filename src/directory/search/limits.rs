//! How much one search may give, and for how long.

use super::super::{Directory, Session, clock};
use crate::access::{Quotas, View};
use crate::schema::NormalizedDn;
use crate::store::Location;
use std::time::{Duration, Instant};

pub(in crate::directory) struct Limits {
    pub deadline: Option<Instant>,
    /// Entries before `sizeLimitExceeded`, those of earlier pages included; 0 means none.
    pub size: u32,
    pub page: Option<Page>,
    /// The account that is counted for its daily quota, where it has one.
    pub counted: Option<NormalizedDn>,
}

pub(in crate::directory) struct Page {
    pub size: u32,
    /// Entries of earlier pages.
    pub given_before: u32,
    pub question: Vec<u8>,
    pub last: Option<Location>,
}

/// Zero means none on either side; the smaller of two limits counts.
pub(super) fn smaller(asked: u32, allowed: u32) -> u32 {
    match (asked, allowed) {
        (0, other) | (other, 0) => other,
        (asked, allowed) => asked.min(allowed),
    }
}

/// The size limit that a client asks for on a page is one of all pages, unless those before have given as many: then it counts
/// down by itself, as Symfony's component does, and asks for what is left. So slapd takes it.
pub(super) fn of_all_pages(asked: u32, page: Option<&Page>) -> u32 {
    match page.map_or(0, |page| page.given_before) {
        before if asked != 0 && asked <= before => before.saturating_add(asked),
        _ => asked,
    }
}

pub(super) fn size_limit(asked: u32, quotas: &Quotas, paged: bool) -> u32 {
    smaller(asked, if paged { quotas.paged_total } else { quotas.size_limit })
}

pub(super) fn deadline(started: Instant, asked: u32, allowed: u32) -> Option<Instant> {
    match smaller(asked, allowed) {
        0 => None,
        seconds => started.checked_add(Duration::from_secs(seconds.into())),
    }
}

impl Limits {
    /// Of a content synchronisation.
    pub(in crate::directory) fn of_sync(session: &Session, size: u32, seconds: u32, started: Instant) -> Limits {
        let quotas = &session.view.quotas;
        Limits {
            deadline: deadline(started, seconds, quotas.time_limit_seconds),
            size: size_limit(size, quotas, false),
            page: None,
            counted: (quotas.daily_entries != 0).then(|| session.identity.account.facts.key.clone()),
        }
    }

    /// Counts one entry for the account's daily quota; false where none is left.
    pub(in crate::directory) fn counts_today(&self, directory: &Directory, view: &View) -> bool {
        let quota = view.quotas.daily_entries;
        let counted = self.counted.as_ref();
        counted.is_none_or(|account| directory.daily.take(account, quota, clock::seconds()))
    }

    pub(in crate::directory) fn size_reached(&self, given: u32) -> bool {
        let before = self.page.as_ref().map_or(0, |page| page.given_before);
        self.size != 0 && before.saturating_add(given) >= self.size
    }

    /// Entries that may still be given, by size limit and page.
    pub(super) fn left(&self, given: u32) -> u32 {
        let before = self.page.as_ref().map_or(0, |page| page.given_before);
        let size = match self.size {
            0 => u32::MAX,
            size => size.saturating_sub(before.saturating_add(given)),
        };
        let page = self
            .page
            .as_ref()
            .map_or(u32::MAX, |page| page.size.saturating_sub(given));
        size.min(page)
    }

    pub(super) fn page_full(&self, given: u32) -> bool {
        self.page.as_ref().is_some_and(|page| given >= page.size)
    }
}
