//! The subschema subentry's attributes (RFC 4512 section 4.2).

use super::matching::MatchingRule;
use super::syntax::Syntax;
use super::{AttributeType, Schema};

/// Definitions in the form of RFC 4512 section 4.1, as clients read them.
pub(super) struct Printed {
    pub(super) attribute_types: Vec<String>,
    pub(super) object_classes: Vec<String>,
    pub(super) content_rules: Vec<String>,
    pub(super) name_forms: Vec<String>,
    pub(super) structure_rules: Vec<String>,
    /// Beside those of the program.
    pub(super) syntaxes: Vec<String>,
}

impl Printed {
    /// All of them, ascending.
    pub(super) fn sorted(&self) -> Vec<&str> {
        let kinds = [
            &self.attribute_types,
            &self.object_classes,
            &self.content_rules,
            &self.name_forms,
            &self.structure_rules,
            &self.syntaxes,
        ];
        let mut all: Vec<&str> = kinds.into_iter().flatten().map(String::as_str).collect();
        all.sort_unstable();
        all
    }
}

impl Schema {
    /// Every definition of the schema in its printed form, ascending: two schemas that say the same give the same.
    pub fn sorted_definitions(&self) -> Vec<&str> {
        self.printed.sorted()
    }

    /// The attributes of the subschema subentry (RFC 4512 section 4.2): `objectClasses`, `attributeTypes`, `matchingRules`,
    /// `matchingRuleUse`, `ldapSyntaxes`, and where present `dITContentRules`, `nameForms` and `dITStructureRules`.
    pub fn subschema_attributes(&self) -> Vec<(&'static str, Vec<String>)> {
        let mut attributes = vec![
            (
                "ldapSyntaxes",
                Syntax::all()
                    .map(print_syntax)
                    .chain(self.printed.syntaxes.iter().cloned())
                    .collect(),
            ),
            ("matchingRules", MatchingRule::all().map(print_rule).collect()),
            (
                "matchingRuleUse",
                MatchingRule::all()
                    .filter_map(|rule| self.print_rule_use(rule))
                    .collect(),
            ),
            ("attributeTypes", self.printed.attribute_types.clone()),
            ("objectClasses", self.printed.object_classes.clone()),
        ];
        let rules = [
            ("dITContentRules", &self.printed.content_rules),
            ("nameForms", &self.printed.name_forms),
            ("dITStructureRules", &self.printed.structure_rules),
        ];
        let present = rules.into_iter().filter(|(_, texts)| !texts.is_empty());
        attributes.extend(present.map(|(name, texts)| (name, texts.clone())));
        attributes
    }

    /// A matchingRuleUse description (section 4.1.4): the types a filter may name together with the rule.
    fn print_rule_use(&self, rule: MatchingRule) -> Option<String> {
        let names: Vec<&str> = self
            .attributes()
            .iter()
            .filter(|attribute| attribute.takes(rule))
            .map(AttributeType::name)
            .collect();
        let list = match names.as_slice() {
            [] => return None,
            [one] => (*one).to_owned(),
            several => format!("( {} )", several.join(" $ ")),
        };
        Some(format!("( {} NAME '{}' APPLIES {list} )", rule.oid(), rule.name()))
    }
}

fn print_syntax(syntax: Syntax) -> String {
    let mut text = format!("( {} DESC '{}'", syntax.oid(), syntax.name());
    if syntax.wants_binary_option() {
        text.push_str(" X-BINARY-TRANSFER-REQUIRED 'TRUE'");
    }
    if !syntax.is_human_readable() {
        text.push_str(" X-NOT-HUMAN-READABLE 'TRUE'");
    }
    text.push_str(" )");
    text
}

fn print_rule(rule: MatchingRule) -> String {
    format!("( {} NAME '{}' SYNTAX {} )", rule.oid(), rule.name(), rule.syntax_oid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Strict readers of a subschema refuse what is said twice.
    #[test]
    fn no_class_names_an_attribute_twice() {
        let schema = Schema::builtin().unwrap_or_else(|faults| panic!("{faults:#?}"));
        for class in schema.classes() {
            let mut named = HashSet::new();
            let once = class.must.iter().chain(&class.may).all(|id| named.insert(id));
            assert!(once, "{:?}", class.names);
        }
    }
}
