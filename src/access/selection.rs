//! What a search asked for: attribute selection (RFC 4511 section 4.5.1.8, RFC 3673, RFC 4529).

use super::AttributeSet;
use crate::model::carries_options;
use crate::schema::{AttributeId, ClassId, Schema};
use crate::store::record::derived_types;
use std::fmt::Debug;
use std::sync::Arc;

/// Which values of an attribute a search asked for (RFC 3876). It is shown only values that leave.
pub trait ValueFilter: Debug + Send + Sync {
    /// Hands those of one attribute's values that were asked for to `keep`, in their order.
    fn matching<'v>(
        &self,
        attribute: (AttributeId, &str),
        values: &mut dyn Iterator<Item = &'v [u8]>,
        keep: &mut dyn FnMut(&'v [u8]),
    );

    /// How many items a value is held to.
    fn items(&self) -> usize;
}

/// Which attributes a search asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    all_user: bool,
    all_operational: bool,
    types_only: bool,
    /// Neither subtypes nor values with options are asked for.
    exact: bool,
    /// Types asked for with any options, subtypes filled in.
    types: AttributeSet,
    /// Types asked for with options: the type and its subtypes, the options in lower case.
    optioned: Vec<(AttributeSet, Vec<String>)>,
    /// Types that are kept beside the record or derived from it, and were asked for.
    derived: Vec<AttributeId>,
    /// Only these values; `None` is all.
    values: Option<Arc<dyn ValueFilter>>,
}

impl Selection {
    /// Compiles `*`, `+`, `1.1`, names, OIDs, `@class`, names with options; unknown names select nothing. An empty list
    /// is all user attributes. A type selects its subtypes and all options; with options, only those.
    ///
    /// `1.1` beside other names is ignored, and a list of unknown names only selects nothing: `dn`, which many clients
    /// ask for, is such a name. Names may come twice. `+` is every operational attribute. An option that ends in `-` is a language range (RFC 3866 section 4.1).
    pub fn compile<'a>(names: impl Iterator<Item = &'a str>, types_only: bool, schema: &Schema) -> Selection {
        let mut selection = Selection {
            types_only,
            ..Selection::default()
        };
        let mut empty = true;
        for name in names {
            empty = false;
            match name {
                "*" => selection.all_user = true,
                "+" => selection.all_operational = true,
                "1.1" => {}
                _ => match name.strip_prefix('@') {
                    Some(class) => selection.add_class(class, schema),
                    None => selection.add_description(name, schema),
                },
            }
        }
        selection.all_user |= empty;
        selection.derived = derived_types(schema)
            .into_iter()
            .filter(|id| selection.wants(*id, schema))
            .collect();
        selection
    }

    /// These attributes and none of their subtypes, with options or not. Unknown names select nothing.
    pub fn exactly(names: &[&str], schema: &Schema) -> Selection {
        let mut selection = Selection {
            exact: true,
            ..Selection::default()
        };
        for id in names.iter().filter_map(|name| schema.find_attribute(name)) {
            selection.types.insert(id);
        }
        selection.derived = derived_types(schema)
            .into_iter()
            .filter(|id| selection.wants(*id, schema))
            .collect();
        selection
    }

    /// The same attributes, but only these of their values. Changes nothing where only types were asked for (RFC 3876 section 2).
    #[must_use]
    pub fn matching(mut self, values: Arc<dyn ValueFilter>) -> Selection {
        self.values = Some(values).filter(|_| !self.types_only);
        self
    }

    /// Which values were asked for, where not all were.
    pub(super) fn values(&self) -> Option<&dyn ValueFilter> {
        self.values.as_deref()
    }

    /// How many items each value of an entry is held to before it leaves.
    pub fn value_items(&self) -> usize {
        self.values().map_or(0, ValueFilter::items)
    }

    fn add_class(&mut self, class: &str, schema: &Schema) {
        let name = class.split(';').next().unwrap_or_default();
        let Some(id) = schema.find_class(name) else {
            return;
        };
        // It may have every attribute.
        if id == schema.extensible_object() {
            self.all_user = true;
            self.all_operational = true;
            return;
        }
        let chain: &[ClassId] = schema.class_chain(id);
        for class in chain.iter().chain([&id]) {
            let Some(class) = schema.classes().get(usize::from(class.0)) else {
                continue;
            };
            for attribute in class.must.iter().chain(&class.may) {
                self.add_type(*attribute, schema);
            }
        }
    }

    fn add_type(&mut self, id: AttributeId, schema: &Schema) {
        for subtype in &schema.attribute(id).subtypes {
            self.types.insert(*subtype);
        }
        self.types.insert(id);
    }

    fn add_description(&mut self, description: &str, schema: &Schema) {
        let mut parts = description.split(';');
        let Some(id) = parts.next().and_then(|name| schema.find_attribute(name)) else {
            return;
        };
        let options: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        if options.is_empty() {
            self.add_type(id, schema);
            return;
        }
        let mut types = AttributeSet::default();
        types.insert(id);
        schema.attribute(id).subtypes.iter().for_each(|id| types.insert(*id));
        self.optioned.push((types, options));
    }

    /// Whether the attribute was asked for; directory uses it to compute derived attributes only on demand.
    pub fn wants(&self, id: AttributeId, schema: &Schema) -> bool {
        let all = if schema.attribute(id).is_operational() {
            self.all_operational
        } else {
            self.all_user
        };
        all || self.types.contains(id)
    }

    pub fn types_only(&self) -> bool {
        self.types_only
    }

    /// Whether every user attribute was asked for, values included, whatever else was.
    pub(super) fn copies_user_block(&self) -> bool {
        self.all_user && !self.types_only && self.values.is_none()
    }

    /// Types that are derived from the record and were asked for.
    pub(super) fn derived(&self) -> &[AttributeId] {
        &self.derived
    }

    /// Whether an operational attribute can be part of the answer: spares the walk over them.
    pub(super) fn may_want_operational(&self) -> bool {
        self.all_operational || !self.types.is_empty() || !self.optioned.is_empty()
    }

    /// Whether a stored attribute was asked for. `description` is called only where options decide.
    pub(super) fn wants_stored<'d>(
        &self,
        id: AttributeId,
        operational: bool,
        has_options: bool,
        description: impl FnOnce() -> &'d str,
    ) -> bool {
        if self.exact && has_options {
            return false;
        }
        let all = if operational {
            self.all_operational
        } else {
            self.all_user
        };
        if all || self.types.contains(id) {
            return true;
        }
        has_options && !self.optioned.is_empty() && {
            let description = description();
            self.optioned
                .iter()
                .any(|(types, options)| types.contains(id) && carries_options(description, options))
        }
    }
}
