//! Finding the base object (RFC 4511 section 4.5.1.1): what the view may see of it, and where else to look.

use super::super::Directory;
use super::super::conditions::{Target, no_such_object};
use crate::access::View;
use crate::model::{Dn, Filter, Outcome, Rdn, ResultCode};
use crate::query::Groups;
use crate::schema::{NormalizedDn, Schema};
use crate::store::{Location, Snapshot};
use std::cell::RefCell;
use std::sync::{Arc, Weak};

/// A name as spelled, and its key.
struct Spelled {
    schema: Arc<Schema>,
    text: String,
    key: NormalizedDn,
}

/// A base object that was looked for before.
struct LastBase {
    name: Spelled,
    /// Where it is in one state of the directory.
    found: Option<(Weak<Snapshot>, Location)>,
}

thread_local! {
    /// The base object that this thread looked for last, that of single entries apart: nearly all searches have the one of before.
    static LAST: RefCell<Option<LastBase>> = const { RefCell::new(None) };
    /// The superior of the single entry that this thread looked for last: the next one often has the same.
    static SUPERIOR: RefCell<Option<Spelled>> = const { RefCell::new(None) };
}

impl Spelled {
    fn new(schema: &Arc<Schema>, text: &str, key: NormalizedDn) -> Spelled {
        Spelled {
            schema: Arc::clone(schema),
            text: text.to_owned(),
            key,
        }
    }

    fn is(&self, schema: &Arc<Schema>, text: &str) -> bool {
        self.text == text && Arc::ptr_eq(&self.schema, schema)
    }
}

impl LastBase {
    fn is_in(&self, snapshot: &Arc<Snapshot>) -> Option<Location> {
        let (state, at) = self.found.as_ref()?;
        std::ptr::eq(state.as_ptr(), Arc::as_ptr(snapshot)).then_some(*at)
    }
}

/// The key of a name of which all but the first RDN is as it was before; `None` where the whole is to be read.
fn key_below_superior(schema: &Arc<Schema>, name: &str) -> Option<NormalizedDn> {
    let (rdn, superior) = split_plain(name)?;
    let rdn = Rdn::parse(rdn).ok()?;
    SUPERIOR.with_borrow_mut(|last| {
        if !last.as_ref().is_some_and(|last| last.is(schema, superior)) {
            let dn = Dn::parse(superior).ok().filter(|dn| dn.rdns().len() <= SUPERIOR_RDNS)?;
            *last = Some(Spelled::new(schema, superior, schema.normalize_dn(&dn).ok()?));
        }
        schema.normalize_child(&last.as_ref()?.key, &rdn).ok()
    })
}

/// Longer names are read as a whole, with their limits.
const SUPERIOR_RDNS: usize = 16;
const PLAIN_OCTETS: usize = 512;

/// The first RDN of a name and what is behind its comma, where nothing in the RDN could make that comma part of a value.
fn split_plain(name: &str) -> Option<(&str, &str)> {
    let comma = name.bytes().position(|octet| octet == b',')?;
    let (rdn, superior) = (name.get(..comma)?, name.get(comma + 1..)?);
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"=-._@ ".contains(&octet);
    let whole = name.len() <= PLAIN_OCTETS && !superior.is_empty() && !rdn.ends_with(' ');
    (whole && rdn.bytes().all(plain)).then_some((rdn, superior))
}

impl Directory {
    /// As [`Directory::base_key`], for a base object that others will ask for.
    pub(super) fn shared_base_key(&self, base: &str) -> Result<NormalizedDn, Outcome> {
        let schema = self.schema();
        LAST.with_borrow_mut(|last| {
            if let Some(last) = last.as_ref().filter(|last| last.name.is(&schema, base)) {
                return Ok(last.name.key.clone());
            }
            let key = self.base_key(base)?;
            *last = Some(LastBase {
                name: Spelled::new(&schema, base, key.clone()),
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
                .filter(|last| last.name.key == *key && Arc::ptr_eq(&last.name.schema, snapshot.schema()));
            let Some(last) = last else {
                let at = snapshot.find(key)?;
                // A single entry is read as a whole.
                snapshot.record(at).warm();
                return Some(at);
            };
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
        let schema = self.schema();
        if let Some(key) = key_below_superior(&schema, base) {
            return Ok(key);
        }
        let invalid = |fault: String| Outcome::new(ResultCode::InvalidDnSyntax, fault);
        let dn = Dn::parse(base).map_err(|fault| invalid(fault.to_string()))?;
        schema.normalize_dn(&dn).map_err(|fault| invalid(fault.to_string()))
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
            kept: Some(&self.kept),
        };
        match (assertion, at) {
            (None, _) => Ok(()),
            (Some(assertion), Some(at)) => Target { groups, key }.check(assertion, snapshot.record(at)),
            (Some(_), None) => Err(Outcome::new(ResultCode::AssertionFailed, "")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the short way gives a key it is the one of the whole name, and it refuses nothing that the whole name would not.
    #[test]
    fn a_name_below_a_superior_has_the_key_of_the_whole_name() {
        let schema = Arc::new(Schema::load(&[]).expect("the built-in schema loads"));
        let superiors = [
            "ou=people,o=nhs",
            " OU = People , o=NHS",
            "o=nhs",
            r"ou=a\,b,o=nhs",
            "ou=\"a,b\",o=nhs",
            "",
            ",o=nhs",
            "o=nhs,",
            "bad",
        ];
        let rdns = [
            "uid=1",
            "UID=A b ",
            "uid=a  B",
            " uid=1",
            "uid = 1",
            "cn=a+sn=b",
            r"cn=a\",
            r"cn=\61",
            "cn=\"a",
            "cn=é",
            "uid",
            "=1",
            "uid=",
            "2.5.4.3=x",
            "nosuch=1",
            "uid=a=b",
            "uid=#0401",
            "uid=1;ou=x",
            "mail=a.b-c_d@nhs.net",
        ];
        let mut short = 0;
        for superior in superiors {
            for rdn in rdns {
                let name = format!("{rdn},{superior}");
                let whole = Dn::parse(&name).ok().and_then(|dn| schema.normalize_dn(&dn).ok());
                if let Some(key) = key_below_superior(&schema, &name) {
                    assert_eq!(Some(key), whole, "{name}");
                    short += 1;
                }
            }
        }
        assert!(short > 20, "{short}");
    }
}
