//! Persistent search (draft-ietf-ldapext-psearch-03): what changes in a search, told without a state that the client could come back
//! with. The machinery is content synchronisation's.
//!
//! Invariant: an entry that the view did not show before was not there, whatever happened to it.

use super::super::Directory;
use super::super::feed::{EntryChange, Image, LoggedUpdate};
use super::contents::Paused;
use super::{Sync, SyncMessage, SyncRequest, SyncStep};
use crate::access::View;
use crate::query::Work;

/// What a persistent search asks (section 3).
#[derive(Clone, Copy, Debug)]
pub struct PersistentRequest {
    /// The [`ChangeType`]s that are of interest, as bits.
    pub change_types: u32,
    /// What is there at the beginning is not given.
    pub changes_only: bool,
    /// A changed entry comes with what happened to it.
    pub notices: bool,
}

/// Section 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeType {
    Add = 1,
    Delete = 2,
    Modify = 4,
    ModifyDn = 8,
}

/// What happened to an entry.
#[derive(Clone, Copy)]
pub struct Notice<'a> {
    pub change: ChangeType,
    /// Its name before a rename.
    pub previous_dn: Option<&'a str>,
}

/// An entry that an update changed, and its name before where it has another now.
struct Happened<'c> {
    image: &'c Image,
    change: ChangeType,
    previous: Option<&'c Image>,
}

impl SyncRequest<'_> {
    pub fn persistent(asked: PersistentRequest) -> SyncRequest<'static> {
        SyncRequest {
            persist: true,
            cookie: None,
            reload: true,
            persistent: Some(asked),
        }
    }
}

impl Directory {
    /// Whether a view shows an entry.
    pub(super) fn sees(&self, view: &View, image: &Image) -> bool {
        let schema = self.schema();
        view.covers(&image.key) && !view.hides(image.record(schema.type_numbers()), &schema)
    }
}

impl Sync {
    /// Tells what is of interest of one update, of which `told` changes are told.
    pub(super) fn notify(
        &mut self,
        asked: PersistentRequest,
        update: &LoggedUpdate,
        work: &mut Work,
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> Result<bool, Box<SyncStep>> {
        let schema = self.directory.schema();
        let types = schema.type_numbers();
        let mut goes_on = true;
        while let Some(change) = update.changes.get(self.told).filter(|_| goes_on && work.left > 0) {
            work.left = work.left.saturating_sub(1);
            let Ok(happened) = self.happened(change, work) else {
                return Ok(false);
            };
            self.told += 1;
            let Some(happened) = happened.filter(|happened| asked.change_types & happened.change as u32 != 0) else {
                continue;
            };
            let notice = Notice {
                change: happened.change,
                previous_dn: happened.previous.map(|before| before.record(types).dn()),
            };
            let told = super::Told::Changed(asked.notices.then_some(notice));
            goes_on = self.give(happened.image.record(types), told, emit)?;
        }
        if self.told == update.changes.len() {
            self.ended(update.position, true);
        }
        Ok(goes_on)
    }

    /// What an update did to an entry that the search holds: as it is afterwards, or as it was where it is deleted. What only left the
    /// search is not told of (section 3).
    fn happened<'c>(&mut self, change: &'c EntryChange, work: &mut Work) -> Result<Option<Happened<'c>>, Paused> {
        let (image, is_gone) = match (&change.after, &change.before) {
            (Some(after), _) => (after, false),
            (None, Some(before)) => (before, true),
            (None, None) => return Ok(None),
        };
        if self.shape(image, work)?.is_none() {
            return Ok(None);
        }
        let view = &self.session.view;
        let before = change
            .before
            .as_ref()
            .filter(|before| self.directory.sees(view, before));
        let schema = self.directory.schema();
        let is_named_so = |before: &Image| {
            let [was, is] = [before, image].map(|image| image.record(schema.type_numbers()).dn());
            was == is
        };
        let (change, previous) = match before {
            _ if is_gone => (ChangeType::Delete, None),
            None => (ChangeType::Add, None),
            Some(before) if is_named_so(before) => (ChangeType::Modify, None),
            Some(before) => (ChangeType::ModifyDn, Some(before)),
        };
        Ok(Some(Happened {
            image,
            change,
            previous,
        }))
    }
}
