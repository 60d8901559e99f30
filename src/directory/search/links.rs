//! Entries that the values of a given entry name, read with it (draft-masarati-ldap-deref).
//!
//! Invariants: a linked entry is released like one that was searched for, counts for the daily quota and is in the audit; one
//! that is hidden, one without the attributes and one that is not there look alike.

use super::{Entries, Search};
use crate::access::{ReleasedEntry, Selection, release};
use crate::account::Usability;
use crate::directory::computed::{Computation, Wanted};
use crate::model::{Outcome, ResultCode};
use crate::query::{Advance, Groups, TailMembers, Work};
use crate::schema::syntax::parse_name;
use crate::schema::{AttributeId, Schema, Syntax};
use crate::store::Location;

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

/// What comes with an entry.
#[derive(Clone, Copy, Default)]
pub struct Beside<'a> {
    /// The entries that it is linked to.
    pub linked: &'a [LinkedEntry<'a>],
    /// Whether its account can be used.
    pub usability: Option<Usability>,
}

impl Beside<'_> {
    pub(super) fn with<'a>(self, linked: &'a [LinkedEntry<'a>]) -> Beside<'a> {
        Beside { linked, ..self }
    }
}

/// What a search follows.
pub struct Links(Vec<Link>);

struct Link {
    name: String,
    id: AttributeId,
    selection: Selection,
}

/// Work that one linked entry is, beside its values.
const LINK_WORK: u32 = 8;

impl Links {
    /// `None` where nothing is left to follow: what cannot be followed is passed over where the control is not critical.
    ///
    /// # Errors
    /// protocolError for an attribute to follow that is not defined or is none of names.
    pub fn compile(requests: &[LinkRequest<'_>], critical: bool, schema: &Schema) -> Result<Option<Links>, Outcome> {
        let mut links = Vec::new();
        for request in requests {
            let id = schema.find_attribute(request.attribute);
            let holds_names = |id: &AttributeId| {
                let syntax = schema.attribute(*id).syntax;
                matches!(syntax, Syntax::DistinguishedName | Syntax::NameAndOptionalUid)
            };
            match id.filter(holds_names) {
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

    /// The names that an entry to be given has, all of them or, where there are more than the view may follow, none (section 2.1).
    fn names(&self, entry: &ReleasedEntry<'_>, most: usize) -> Vec<(usize, Vec<u8>)> {
        let names = || {
            let links = self.0.iter().enumerate();
            links.flat_map(|(number, link)| entry.values_of(link.id).map(move |dn| (number, dn)))
        };
        match most != 0 && names().nth(most).is_some() {
            true => Vec::new(),
            false => names().map(|(number, dn)| (number, dn.to_vec())).collect(),
        }
    }

    /// What was read, beside the names that led to it.
    pub(super) fn linked<'a>(&'a self, reading: &'a mut Reading) -> Vec<LinkedEntry<'a>> {
        let read = std::mem::take(&mut reading.read);
        let both = reading.names.iter().zip(read);
        let linked = both.filter_map(|((number, dn), read)| {
            Some(LinkedEntry {
                attribute: &self.0.get(*number)?.name,
                dn,
                attributes: read.attributes,
                entry_uuid: read.entry_uuid,
            })
        });
        linked.collect()
    }
}

/// The links of an entry that is about to be given: they may be many, so they are read a few at a time.
pub(super) struct Reading {
    at: Location,
    /// Which link, and the value.
    names: Vec<(usize, Vec<u8>)>,
    /// Of the first of them.
    read: Vec<Read>,
    octets: usize,
}

/// What may be given of one linked entry.
#[derive(Default)]
struct Read {
    attributes: Vec<u8>,
    entry_uuid: Option<[u8; 16]>,
}

impl Search {
    /// The entry whose links are being read, else the next one.
    pub(super) fn next_linked(&mut self, work: &mut Work) -> Advance {
        match &self.reading {
            Some(reading) => Advance::Entry(reading.at),
            None => self.next_location(work),
        }
    }

    /// Goes on reading the links of an entry that is to be given; says whether all are read.
    pub(super) fn reads_links(&mut self, at: Location, work: &mut Work) -> bool {
        let (Some(links), Entries::Directory { snapshot, .. }) = (&self.links, &self.entries) else {
            return true;
        };
        let (view, schema) = (&self.view, snapshot.schema());
        let computation = Computation {
            accounts: &self.directory.accounts,
            groups: Groups {
                snapshot,
                schema,
                view,
                collective: self.held.as_ref().and_then(|held| held.collective.as_ref()),
                kept: None,
            },
            snapshot,
        };
        let mut reading = self.reading.take().unwrap_or_else(|| {
            let entry = release(snapshot.record(at), view, &self.selection, &[], schema);
            let most = view.quotas.followed_names as usize;
            Reading {
                at,
                names: entry.map_or_else(Vec::new, |entry| links.names(&entry, most)),
                read: Vec::new(),
                octets: 0,
            }
        });
        while let Some((number, dn)) = reading.names.get(reading.read.len()).filter(|_| work.left > 0) {
            let link = links.0.get(*number);
            let (read, spent) =
                link.map_or_else(Default::default, |link| link.read(dn, &computation, &self.tail_members));
            work.left = work.left.saturating_sub(spent.saturating_add(LINK_WORK));
            reading.octets += dn.len() + read.attributes.len();
            reading.read.push(read);
            // All of them or none, as where they are too many.
            if reading.octets > self.directory.dereferenced_octets {
                (reading.names, reading.read) = (Vec::new(), Vec::new());
            }
        }
        let whole = reading.read.len() == reading.names.len();
        self.reading = Some(reading);
        whole
    }
}

impl Link {
    /// Gives the work it took too.
    fn read(&self, dn: &[u8], computation: &Computation<'_>, tail: &TailMembers) -> (Read, u32) {
        let Groups {
            snapshot, schema, view, ..
        } = computation.groups;
        let key = parse_name(schema.attribute(self.id).syntax, dn).ok();
        let key = key.and_then(|dn| schema.normalize_dn(&dn).ok());
        let at = key.filter(|key| view.covers(key)).and_then(|key| snapshot.find(&key));
        let Some(at) = at else {
            return Default::default();
        };
        let wanted = Wanted::new(&self.selection, view, schema, computation.groups.collective.is_some());
        let mut computed = Vec::new();
        let spent = computation.compute(wanted, at, tail, &mut computed);
        let mut read = Read::default();
        if let Some(entry) = release(snapshot.record(at), view, &self.selection, &computed, schema) {
            entry.append_attributes(&mut read.attributes);
            read.entry_uuid = Some(*entry.entry_uuid()).filter(|_| !read.attributes.is_empty());
        }
        (read, spent)
    }
}
