//! Filters as the audit keeps them: what is asserted of an attribute that never leaves is not written down, because an
//! application that asks for a secret has it.

use crate::access::NEVER_RELEASED;
use crate::model::Filter;
use crate::schema::Schema;
use std::borrow::Cow;

/// Stands in the audit for an assertion value.
const WITHHELD: Cow<'static, [u8]> = Cow::Borrowed(b"withheld");

/// Every name and OID of the attribute types that never leave.
pub(super) struct SecretNames(Vec<String>);

impl SecretNames {
    pub(super) fn new(schema: &Schema) -> SecretNames {
        let types = NEVER_RELEASED.iter().filter_map(|name| schema.find_attribute(name));
        let ids = types.flat_map(|id| schema.attribute(id).subtypes.iter().copied().chain([id]));
        let names = ids.flat_map(|id| {
            let attribute = schema.attribute(id);
            attribute.names.iter().chain([&attribute.oid]).map(ToString::to_string)
        });
        SecretNames(names.collect())
    }

    /// Whether a description is of one of them, whatever its options.
    pub(super) fn holds(&self, description: &str) -> bool {
        let name = description.split(';').next().unwrap_or_default();
        self.0.iter().any(|secret| secret.eq_ignore_ascii_case(name))
    }

    fn is_asserted_in(&self, filter: &Filter<'_>) -> bool {
        match filter {
            Filter::And(terms) | Filter::Or(terms) => terms.iter().any(|term| self.is_asserted_in(term)),
            Filter::Not(inner) => self.is_asserted_in(inner),
            Filter::Present { .. } | Filter::Extensible { attribute: None, .. } => false,
            Filter::Equality { attribute, .. }
            | Filter::Substrings { attribute, .. }
            | Filter::GreaterOrEqual { attribute, .. }
            | Filter::LessOrEqual { attribute, .. }
            | Filter::Approximate { attribute, .. }
            | Filter::Extensible {
                attribute: Some(attribute),
                ..
            } => self.holds(attribute),
        }
    }

    /// The filter without what it asserts of a secret; `None` where it asserts nothing of one.
    pub(super) fn withhold<'a>(&self, filter: &Filter<'a>) -> Option<Filter<'a>> {
        self.is_asserted_in(filter).then(|| {
            let mut kept = filter.clone();
            self.blank(&mut kept);
            kept
        })
    }

    fn blank(&self, filter: &mut Filter<'_>) {
        match filter {
            Filter::And(terms) | Filter::Or(terms) => terms.iter_mut().for_each(|term| self.blank(term)),
            Filter::Not(inner) => self.blank(inner),
            item if self.is_asserted_in(item) => match item {
                Filter::Substrings { initial, any, last, .. } => {
                    (*initial, *any, *last) = (Some(WITHHELD), Vec::new(), None)
                }
                Filter::Equality { value, .. }
                | Filter::GreaterOrEqual { value, .. }
                | Filter::LessOrEqual { value, .. }
                | Filter::Approximate { value, .. }
                | Filter::Extensible { value, .. } => *value = WITHHELD,
                Filter::And(_) | Filter::Or(_) | Filter::Not(_) | Filter::Present { .. } => {}
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asserted_of_a_secret_is_withheld_and_the_rest_kept() {
        let names = SecretNames::new(&Schema::load(&[]).unwrap());
        for (asked, kept) in [
            ("(userPassword=abc)", Some("(userPassword=withheld)")),
            (
                "(&(cn=smith)(!(2.5.4.35;x-y=abc)))",
                Some("(&(cn=smith)(!(2.5.4.35;x-y=withheld)))"),
            ),
            (
                "(|(NHSPUSECRET=a*b*c)(nhsTelUID>=1))",
                Some("(|(NHSPUSECRET=withheld*)(nhsTelUID>=withheld))"),
            ),
            (
                "(nhsPuSecret:dn:caseExactMatch:=abc)",
                Some("(nhsPuSecret:dn:caseExactMatch:=withheld)"),
            ),
            ("(userPassword~=abc)", Some("(userPassword~=withheld)")),
            ("(userPassword=*)", None),
            ("(&(cn=abc)(:caseExactMatch:=abc))", None),
        ] {
            let filter = Filter::parse(asked).unwrap();
            let found = names.withhold(&filter).map(|filter| filter.to_string());
            assert_eq!(found.as_deref(), kept, "{asked}");
        }
    }
}
