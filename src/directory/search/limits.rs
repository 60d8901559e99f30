//! How much one search may give, and for how long.

use crate::access::Quotas;
use crate::schema::NormalizedDn;
use crate::store::Location;
use std::time::{Duration, Instant};

pub(super) struct Limits {
    pub deadline: Option<Instant>,
    /// Entries before `sizeLimitExceeded`, those of earlier pages included; 0 means none.
    pub size: u32,
    pub page: Option<Page>,
    /// The account that is counted for its daily quota, where it has one.
    pub counted: Option<NormalizedDn>,
}

pub(super) struct Page {
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
    pub(super) fn size_reached(&self, given: u32) -> bool {
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
