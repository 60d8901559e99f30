//! Finding the base object (RFC 4511 section 4.5.1.1): what the view may see of it, and where else to look.

use super::super::Directory;
use super::super::conditions::{Target, no_such_object};
use crate::access::View;
use crate::model::{Dn, Filter, Outcome, ResultCode};
use crate::query::Groups;
use crate::schema::{NormalizedDn, Schema};
use crate::store::{Location, Snapshot};
use std::cell::RefCell;
use std::sync::{Arc, Weak};

/// A base object that was looked for before.
struct LastBase {
    schema: Arc<Schema>,
    spelled: String,
    key: NormalizedDn,
    /// Where it is in one state of the directory.
    found: Option<(Weak<Snapshot>, Location)>,
}

thread_local! {
    /// The base object that this thread looked for last, that of single entries apart: nearly all searches have the one of before.
    static LAST: RefCell<Option<LastBase>> = const { RefCell::new(None) };
}

impl LastBase {
    fn is_in(&self, snapshot: &Arc<Snapshot>) -> Option<Location> {
        let (state, at) = self.found.as_ref()?;
        std::ptr::eq(state.as_ptr(), Arc::as_ptr(snapshot)).then_some(*at)
    }
}

impl Directory {
    /// As [`Directory::base_key`], for a base object that others will ask for.
    pub(super) fn shared_base_key(&self, base: &str) -> Result<NormalizedDn, Outcome> {
        let schema = self.schema();
        LAST.with_borrow_mut(|last| {
            if let Some(last) = last.as_ref()
                && last.spelled == base
                && Arc::ptr_eq(&last.schema, &schema)
            {
                return Ok(last.key.clone());
            }
            let key = self.base_key(base)?;
            *last = Some(LastBase {
                schema,
                spelled: base.to_owned(),
                key: key.clone(),
                found: None,
            });
            Ok(key)
        })
    }

    /// Where an entry is.
    fn find_base(&self, snapshot: &Arc<Snapshot>, key: &NormalizedDn) -> Option<Location> {
        LAST.with_borrow_mut(|last| {
            let last = last
                .as_mut()
                .filter(|last| last.key == *key && Arc::ptr_eq(&last.schema, snapshot.schema()));
            let Some(last) = last else { return snapshot.find(key) };
            if let Some(at) = last.is_in(snapshot) {
                return Some(at);
            }
            let at = snapshot.find(key)?;
            last.found = Some((Arc::downgrade(snapshot), at));
            Some(at)
        })
    }

    /// The key of a base object.
    pub(in crate::directory) fn base_key(&self, base: &str) -> Result<NormalizedDn, Outcome> {
        let invalid = |fault: String| Outcome::new(ResultCode::InvalidDnSyntax, fault);
        let dn = Dn::parse(base).map_err(|fault| invalid(fault.to_string()))?;
        self.schema()
            .normalize_dn(&dn)
            .map_err(|fault| invalid(fault.to_string()))
    }

    /// The base object must exist and be visible, or be above everything the view allows. Where it is; the root is nowhere.
    pub(in crate::directory) fn check_base(
        &self,
        snapshot: &Arc<Snapshot>,
        view: &View,
        base: &NormalizedDn,
    ) -> Result<Option<Location>, Outcome> {
        if base.is_root() {
            return Ok(None);
        }
        let visible = |at| {
            let covered = view.covers(base) || view.bases.iter().any(|within| within.is_within(base));
            covered && (view.hiding.entries().is_empty() || !view.hides(snapshot.record(at), snapshot.schema()))
        };
        match self.find_base(snapshot, base).filter(|at| visible(*at)) {
            Some(at) => Ok(Some(at)),
            None => Err(no_such_object(snapshot, view, base)),
        }
    }

    /// An assertion is never True of the root, which is no entry, nor of a base that only lies above what the view allows.
    pub(in crate::directory) fn check_assertion(
        &self,
        snapshot: &Arc<Snapshot>,
        view: &View,
        key: &NormalizedDn,
        at: Option<Location>,
        assertion: Option<&Filter<'_>>,
    ) -> Result<(), Outcome> {
        let schema = snapshot.schema();
        let held = assertion.map(|_| self.held(snapshot));
        let groups = Groups {
            snapshot,
            schema,
            view,
            collective: held.as_ref().and_then(|held| held.collective.as_ref()),
        };
        match (assertion, at) {
            (None, _) => Ok(()),
            (Some(assertion), Some(at)) => Target { groups, key }.check(assertion, snapshot.record(at)),
            (Some(_), None) => Err(Outcome::new(ResultCode::AssertionFailed, "")),
        }
    }
}
