//! Finding the base object (RFC 4511 section 4.5.1.1): what the view may see of it, and where else to look.

use super::super::Directory;
use super::super::conditions::Target;
use crate::access::View;
use crate::model::{Dn, Filter, Outcome, ResultCode};
use crate::query::Groups;
use crate::schema::NormalizedDn;
use crate::store::{Location, Snapshot};
use std::sync::Arc;

impl Directory {
    /// The key of a base object.
    pub(in crate::directory) fn base_key(&self, base: &str) -> Result<NormalizedDn, Outcome> {
        let invalid = |fault: String| Outcome::new(ResultCode::InvalidDnSyntax, fault);
        let dn = Dn::parse(base).map_err(|fault| invalid(fault.to_string()))?;
        self.schema
            .normalize_dn(&dn)
            .map_err(|fault| invalid(fault.to_string()))
    }

    /// The base object must exist and be visible, or be above everything the view allows. Where it is; the root is nowhere.
    pub(in crate::directory) fn check_base(
        &self,
        snapshot: &Snapshot,
        view: &View,
        base: &NormalizedDn,
    ) -> Result<Option<Location>, Outcome> {
        if base.is_root() {
            return Ok(None);
        }
        let visible = |at| {
            let covered = view.covers(base) || view.bases.iter().any(|within| within.is_within(base));
            covered && (view.hiding.entries().is_empty() || !view.hides(snapshot.record(at), &self.schema))
        };
        match snapshot.find(base).filter(|at| visible(*at)) {
            Some(at) => Ok(Some(at)),
            None => Err(self.no_such_object(snapshot, view, base)),
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
        let schema = &self.schema;
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

    /// noSuchObject with the DN of the nearest ancestor that the view may see.
    pub(in super::super) fn no_such_object(&self, snapshot: &Snapshot, view: &View, key: &NormalizedDn) -> Outcome {
        let mut ancestor = key.parent();
        while let Some(key) = ancestor.filter(|key| !key.is_root()) {
            if let Some(at) = snapshot.find(&key).filter(|_| view.covers(&key)) {
                let record = snapshot.record(at);
                if !view.hides(record, &self.schema) {
                    return Outcome::new(ResultCode::NoSuchObject, "").matching(record.dn().to_owned());
                }
            }
            ancestor = key.parent();
        }
        Outcome::new(ResultCode::NoSuchObject, "")
    }
}
