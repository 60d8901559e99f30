//! What leaves: one stored entry, one view and one selection into one [`ReleasedEntry`].
//!
//! Hot path. A record whose user attributes all leave costs one pass over its attribute table and one copy; otherwise
//! runs of neighbouring attributes are copied together. Conditions that hide something are looked at only in an entry that
//! has an attribute one of them is about.

use super::{Selection, ValueFilter, View};
use crate::schema::{AttributeId, Schema};
use crate::store::record::{RecordParts, derived_values};
use crate::store::{Record, RecordAttribute};

/// An attribute that is not stored in the record (hasSubordinates, memberOf ...), computed for one answer.
#[derive(Clone, Debug)]
pub struct ComputedAttribute {
    pub id: AttributeId,
    pub values: Vec<Vec<u8>>,
}

/// An entry as one account may see it, made only by [`release`]. The encoders accept nothing else.
pub struct ReleasedEntry<'a> {
    record: Record<'a>,
    parts: RecordParts<'a>,
    /// The user attributes of the record.
    user_block: &'a [u8],
    view: &'a View,
    selection: &'a Selection,
    computed: &'a [ComputedAttribute],
    schema: &'a Schema,
    /// One bit for each of the view's hidden attributes: its condition is met.
    hidden: u64,
    /// Every user attribute of the record leaves as it is stored.
    whole: bool,
}

/// A released entry that outlives its record, made only by [`ReleasedEntry::copy`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReleasedCopy {
    dn: String,
    attributes: Vec<u8>,
}

impl ReleasedCopy {
    /// The DN string.
    pub fn dn(&self) -> &str {
        &self.dn
    }

    /// The PartialAttributeList's content (RFC 4511 section 4.5.2).
    pub fn attributes(&self) -> &[u8] {
        &self.attributes
    }
}

/// Releases what `view` allows of what `selection` asked; `None` where the entry is hidden.
///
/// Whether the entry's name lies in the view's bases is for the caller ([`View::covers`]): a record does not know its key.
pub fn release<'a>(
    record: Record<'a>,
    view: &'a View,
    selection: &'a Selection,
    computed: &'a [ComputedAttribute],
    schema: &'a Schema,
) -> Option<ReleasedEntry<'a>> {
    let parts = record.parts().unwrap_or_default();
    let Survey {
        releasable,
        decides,
        user_octets,
    } = survey(parts, view);
    let mut whole = releasable && selection.copies_user_block();
    let mut hidden = 0;
    if decides {
        hidden = hidden_attributes(parts, view, schema)?;
        whole &= hidden == 0 || !parts.slots().any(|slot| is_hidden(view, hidden, slot.id));
    }
    let user_block = parts.block().get(..user_octets);
    whole &= user_block.is_some();
    let user_block = user_block.unwrap_or(parts.block());
    Some(ReleasedEntry {
        record,
        parts,
        user_block,
        view,
        selection,
        computed,
        schema,
        hidden,
        whole,
    })
}

/// What a record has, for a view.
struct Survey {
    /// The view may see every user attribute.
    releasable: bool,
    /// It has an attribute that a condition is about.
    decides: bool,
    user_octets: usize,
}

fn survey(parts: RecordParts<'_>, view: &View) -> Survey {
    let decisive = &view.hiding.decisive;
    let mut survey = Survey {
        releasable: true,
        decides: false,
        user_octets: 0,
    };
    if let Some((mut types, octets)) = parts.short_types() {
        for id in types.by_ref().take(parts.user_len()) {
            survey.releasable &= view.releasable.contains(id);
            survey.decides |= decisive.contains(id);
        }
        survey.decides |= types.any(|id| decisive.contains(id));
        survey.user_octets = octets;
        return survey;
    }
    let mut slots = 0;
    for slot in parts.slots() {
        slots += 1;
        survey.decides |= decisive.contains(slot.id);
        if !slot.operational {
            survey.user_octets = survey.user_octets.saturating_add(slot.len);
            survey.releasable &= view.releasable.contains(slot.id);
        }
    }
    // What the walk did not see, because the record is damaged, does not leave.
    survey.releasable &= slots == parts.len();
    survey
}

/// One bit for each condition of hidden attributes that the entry meets; `None` where the whole entry is hidden.
fn hidden_attributes(parts: RecordParts<'_>, view: &View, schema: &Schema) -> Option<u64> {
    let mut hidden = 0;
    for attribute in parts.attributes() {
        if !view.hiding.decisive.contains(attribute.id) {
            continue;
        }
        let mut conditions = view.hiding.entries.iter();
        if conditions.any(|condition| condition.is_met_by(&attribute, schema)) {
            return None;
        }
        for (bit, (_, condition)) in view.hiding.attributes.iter().enumerate() {
            if condition.is_met_by(&attribute, schema) {
                // Beyond 64 conditions (the policy refuses so many) every further one shares the last bit.
                hidden |= 1 << bit.min(63);
            }
        }
    }
    Some(hidden)
}

/// The values of `ref` (RFC 3296 section 2.2) that the view may see of a record.
pub fn references<'a>(record: Record<'a>, view: &View, schema: &Schema) -> Vec<&'a str> {
    seen_values(record, "ref", view, schema).collect()
}

/// What an alias says that it stands for (RFC 4512 section 2.6.2), where the view may see that.
pub fn aliased_object<'a>(record: Record<'a>, view: &View, schema: &Schema) -> Option<&'a str> {
    seen_values(record, "aliasedObjectName", view, schema).next()
}

fn seen_values<'a>(record: Record<'a>, name: &str, view: &View, schema: &Schema) -> impl Iterator<Item = &'a str> {
    let id = schema.find_attribute(name).filter(|id| view.releasable.contains(*id));
    let seen = id.filter(|id| !view.hides(record, schema) && !view.hides_attribute(record, *id, schema));
    let attributes = record.attributes().filter(move |attribute| Some(attribute.id) == seen);
    let values = attributes.flat_map(|attribute| attribute.values().collect::<Vec<_>>());
    values.filter_map(|value| std::str::from_utf8(value).ok())
}

fn is_hidden(view: &View, hidden: u64, id: AttributeId) -> bool {
    let mut rules = view.hiding.attributes.iter().enumerate();
    hidden != 0 && rules.any(|(bit, (attribute, _))| *attribute == id && hidden >> bit.min(63) & 1 == 1)
}

impl<'a> ReleasedEntry<'a> {
    /// The DN string.
    pub fn dn(&self) -> &'a str {
        self.record.dn()
    }

    /// The DN string's octets.
    pub fn dn_octets(&self) -> &'a [u8] {
        self.parts.dn()
    }

    pub fn entry_uuid(&self) -> &'a [u8; 16] {
        self.parts.entry_uuid()
    }

    /// The values of this attribute that may leave, whatever was asked: none of its subtypes, none with options.
    pub fn values_of(&self, id: AttributeId) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let parts = self.parts;
        let allowed = Some(id).filter(|id| self.allows(*id));
        let attributes = allowed.into_iter().flat_map(move |_| parts.attributes());
        let own = attributes.filter(move |attribute| attribute.id == id && !attribute.has_options);
        own.flat_map(|attribute| attribute.values())
    }

    /// What leaves, kept for later.
    pub fn copy(&self) -> ReleasedCopy {
        let mut attributes = Vec::new();
        self.append_attributes(&mut attributes);
        ReleasedCopy {
            dn: self.dn().to_owned(),
            attributes,
        }
    }

    /// The PartialAttributeList's content where that is one slice of the record.
    pub fn as_stored(&self) -> Option<&'a [u8]> {
        let alone =
            !self.selection.may_want_operational() && self.selection.derived().is_empty() && self.computed.is_empty();
        (self.whole && alone).then_some(self.user_block)
    }

    /// Appends the PartialAttributeList's content (RFC 4511 section 4.5.2) to `out`: as few copies as can be, one for the
    /// whole record where everything is released. Stored attributes come as stored, descriptions as they were written;
    /// with typesOnly without their values.
    pub fn append_attributes(&self, out: &mut Vec<u8>) {
        if self.whole {
            out.extend_from_slice(self.user_block);
        }
        if !self.whole || self.selection.may_want_operational() {
            self.append_stored(out);
        }
        for id in self.selection.derived() {
            if self.allows(*id) && !self.computed.iter().any(|computed| computed.id == *id) {
                self.append_derived(*id, out);
            }
        }
        for computed in self.computed {
            if self.allows(computed.id) && self.selection.wants(computed.id, self.schema) {
                let name = self.schema.attribute(computed.id).name();
                let mut values = computed.values.iter().map(Vec::as_slice);
                match self.selection.values() {
                    Some(filter) => append_matched(filter, (computed.id, name), &mut values, out),
                    None => append_partial_attribute(name, values, self.selection.types_only(), out),
                }
            }
        }
    }

    fn allows(&self, id: AttributeId) -> bool {
        self.view.releasable.contains(id) && !is_hidden(self.view, self.hidden, id)
    }

    fn gives(&self, attribute: &RecordAttribute<'a>) -> bool {
        self.allows(attribute.id)
            && self
                .selection
                .wants_stored(attribute.id, attribute.operational, attribute.has_options, || {
                    attribute.description()
                })
    }

    /// Stored attributes one by one: user attributes that do not leave as a whole, and operational ones.
    fn append_stored(&self, out: &mut Vec<u8>) {
        let block = self.user_block;
        let one_by_one = self.selection.types_only() || self.selection.values().is_some();
        // The run of the user block that is still to be copied.
        let (mut from, mut at) = (0usize, 0usize);
        for attribute in self.parts.attributes() {
            if attribute.operational {
                if self.gives(&attribute) {
                    // User attributes come first: what is left of the run goes before.
                    copy_run(block, &mut from, at, at, out);
                    self.append_one(&attribute, out);
                }
                continue;
            }
            let end = at + attribute.encoded.len();
            if self.whole {
                from = end;
            } else if !self.gives(&attribute) {
                copy_run(block, &mut from, at, end, out);
            } else if one_by_one {
                self.append_one(&attribute, out);
                from = end;
            }
            at = end;
        }
        copy_run(block, &mut from, at, at, out);
    }

    fn append_derived(&self, id: AttributeId, out: &mut Vec<u8>) {
        let at = out.len();
        let mut any = false;
        let types_only = self.selection.types_only();
        let name = self.schema.attribute(id).name();
        derived_values(self.record, self.schema, id, &mut |value| {
            let mut give = |value: &[u8]| {
                any = true;
                if !types_only {
                    append_element(0x04, value, out);
                }
            };
            match self.selection.values() {
                Some(filter) => filter.matching((id, name), &mut std::iter::once(value), &mut |value| give(value)),
                None => give(value),
            }
        });
        if any {
            put_headers_before(name, at, out);
        }
    }

    /// A stored attribute by itself: without its values, with those that were asked for, or as it is.
    fn append_one(&self, attribute: &RecordAttribute<'_>, out: &mut Vec<u8>) {
        if self.selection.types_only() {
            append_headers(attribute.description(), 0, out);
        } else if let Some(filter) = self.selection.values() {
            let described = (attribute.id, attribute.description());
            append_matched(filter, described, &mut attribute.values(), out);
        } else {
            out.extend_from_slice(attribute.encoded);
        }
    }
}

/// Copies the run from `from` up to `to`, and begins the next at `next`.
fn copy_run(block: &[u8], from: &mut usize, to: usize, next: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(block.get(*from..to).unwrap_or_default());
    *from = next;
}

/// An attribute with the values that were asked for; left out where none of its values was, as OpenLDAP does and as the
/// examples of RFC 3876 section 5 have it.
fn append_matched(
    filter: &dyn ValueFilter,
    attribute: (AttributeId, &str),
    values: &mut dyn Iterator<Item = &[u8]>,
    out: &mut Vec<u8>,
) {
    let at = out.len();
    filter.matching(attribute, values, &mut |value| append_element(0x04, value, out));
    if out.len() > at {
        put_headers_before(attribute.1, at, out);
    }
}

/// Puts the headers of an attribute before its values, which `out` has from `at` on: no buffer of our own.
fn put_headers_before(description: &str, at: usize, out: &mut Vec<u8>) {
    let values_end = out.len();
    append_headers(description, values_end - at, out);
    let headers = out.len() - values_end;
    if let Some(tail) = out.get_mut(at..) {
        tail.rotate_right(headers);
    }
}

/// Appends one PartialAttribute (RFC 4511 section 4.1.7); no values with `types_only`.
fn append_partial_attribute<'v>(
    description: &str,
    values: impl Iterator<Item = &'v [u8]> + Clone,
    types_only: bool,
    out: &mut Vec<u8>,
) {
    let of_values = if types_only {
        0
    } else {
        values.clone().map(|value| element_len(value.len())).sum()
    };
    append_headers(description, of_values, out);
    if !types_only {
        values.for_each(|value| append_element(0x04, value, out));
    }
}

/// SEQUENCE, the type, and the header of the SET whose content is `set_len` octets.
fn append_headers(description: &str, set_len: usize, out: &mut Vec<u8>) {
    append_header(0x30, element_len(description.len()) + element_len(set_len), out);
    append_element(0x04, description.as_bytes(), out);
    append_header(0x31, set_len, out);
}

fn append_element(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    append_header(tag, content.len(), out);
    out.extend_from_slice(content);
}

/// The octets of an element whose content is `len` octets.
fn element_len(len: usize) -> usize {
    match len {
        0..=0x7f => 2 + len,
        0x80..=0xff => 3 + len,
        0x100..=0xffff => 4 + len,
        0x1_0000..=0xff_ffff => 5 + len,
        _ => 6 + len,
    }
}

/// A tag and a definite, minimal length (RFC 4511 section 5.1). Content is below 4 GiB by the limits on messages.
fn append_header(tag: u8, len: usize, out: &mut Vec<u8>) {
    let octets = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    let [a, b, c, d] = octets;
    match len {
        0..=0x7f => out.extend_from_slice(&[tag, d]),
        0x80..=0xff => out.extend_from_slice(&[tag, 0x81, d]),
        0x100..=0xffff => out.extend_from_slice(&[tag, 0x82, c, d]),
        0x1_0000..=0xff_ffff => out.extend_from_slice(&[tag, 0x83, b, c, d]),
        _ => out.extend_from_slice(&[tag, 0x84, a, b, c, d]),
    }
}
