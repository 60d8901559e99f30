//! Entries that the values of a given entry name, read with it (draft-masarati-ldap-deref).
//!
//! Invariants: a linked entry is released like one that was searched for, counts for the daily quota and is in the audit; one
//! that is hidden, one without the attributes and one that is not there look alike.

use crate::access::{ReleasedEntry, Selection, release};
use crate::directory::computed::{Computation, Wanted};
use crate::model::{Dn, Outcome, ResultCode};
use crate::query::{Groups, TailMembers};
use crate::schema::{AttributeId, Schema, Syntax};

/// What is asked of the entries that an attribute names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkRequest<'a> {
    /// An attribute of names.
    pub attribute: &'a str,
    pub attributes: Vec<&'a str>,
}

/// One name among the values of a given entry, and what may be given of the entry that it is of.
pub struct LinkedEntry<'a> {
    /// The attribute, as the client spelled it.
    pub attribute: &'a str,
    /// The value.
    pub dn: &'a [u8],
    /// The content of a PartialAttributeList (RFC 4511 section 4.5.2); empty where there is nothing to give.
    pub attributes: Vec<u8>,
    /// Of the entry, where something of it is given.
    pub(super) entry_uuid: Option<[u8; 16]>,
}

/// What a search follows.
pub struct Links(Vec<Link>);

struct Link {
    name: String,
    id: AttributeId,
    selection: Selection,
}

/// Work that one linked entry is, beside its values.
pub(super) const LINK_WORK: usize = 8;

impl Links {
    /// `None` where nothing is left to follow: what cannot be followed is passed over where the control is not critical.
    ///
    /// # Errors
    /// protocolError for an attribute to follow that is not defined or is none of names.
    pub fn compile(requests: &[LinkRequest<'_>], critical: bool, schema: &Schema) -> Result<Option<Links>, Outcome> {
        let mut links = Vec::new();
        for request in requests {
            let id = schema.find_attribute(request.attribute);
            match id.filter(|id| schema.attribute(*id).syntax == Syntax::DistinguishedName) {
                Some(id) => links.push(Link {
                    name: request.attribute.to_owned(),
                    id,
                    selection: Selection::exactly(&request.attributes, schema),
                }),
                None if critical => {
                    let message = format!("expected attributes of names to follow, found {:?}", request.attribute);
                    return Err(Outcome::new(ResultCode::ProtocolError, message));
                }
                None => {}
            }
        }
        Ok(Some(Links(links)).filter(|links| !links.0.is_empty()))
    }

    /// As the audit has it.
    pub(super) fn text(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|link| link.name.as_str()).collect();
        names.join(" ")
    }

    /// The linked entries of one that is given, all of them or, where there are more than the view may follow, none (section 2.1).
    pub(super) fn of<'a>(&'a self, entry: &ReleasedEntry<'a>, computation: &Computation<'_>) -> Vec<LinkedEntry<'a>> {
        let most = computation.groups.view.quotas.followed_names as usize;
        let names = || {
            let values = |link: &'a Link| entry.values_of(link.id).map(move |dn| (link, dn));
            self.0.iter().flat_map(values)
        };
        if most != 0 && names().nth(most).is_some() {
            return Vec::new();
        }
        names().map(|(link, dn)| link.read(dn, computation)).collect()
    }
}

impl Link {
    fn read<'a>(&'a self, dn: &'a [u8], computation: &Computation<'_>) -> LinkedEntry<'a> {
        let mut linked = LinkedEntry {
            attribute: &self.name,
            dn,
            attributes: Vec::new(),
            entry_uuid: None,
        };
        let Groups {
            snapshot, schema, view, ..
        } = computation.groups;
        let key = std::str::from_utf8(dn).ok().and_then(|text| Dn::parse(text).ok());
        let key = key.and_then(|dn| schema.normalize_dn(&dn).ok());
        let at = key.filter(|key| view.covers(key)).and_then(|key| snapshot.find(&key));
        let Some(at) = at else {
            return linked;
        };
        let wanted = Wanted::new(&self.selection, view, schema, computation.groups.collective.is_some());
        let mut computed = Vec::new();
        computation.compute(wanted, at, &TailMembers::default(), &mut computed);
        if let Some(entry) = release(snapshot.record(at), view, &self.selection, &computed, schema) {
            entry.append_attributes(&mut linked.attributes);
            linked.entry_uuid = Some(*entry.entry_uuid()).filter(|_| !linked.attributes.is_empty());
        }
        linked
    }
}
