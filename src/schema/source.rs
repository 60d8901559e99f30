//! Schema files as text: directives and LDIF lines into definitions, every fault with its line.

use std::collections::HashMap;

use base64::Engine;

use super::SchemaFault;
use super::definition::{
    AttributeDefinition, ClassDefinition, ContentRuleDefinition, Head, NameFormDefinition, Parser,
    StructureRuleDefinition,
};
use super::matching::MatchingRule;
use super::syntax::Syntax;

/// Where a definition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
}

impl Place {
    pub(super) fn fault(&self, message: impl Into<String>) -> SchemaFault {
        SchemaFault {
            file: self.file.clone(),
            line: self.line,
            message: message.into(),
        }
    }
}

/// The definitions of any number of files, in file order.
#[derive(Default)]
pub(super) struct Definitions {
    pub(super) attributes: Vec<(Place, AttributeDefinition)>,
    pub(super) classes: Vec<(Place, ClassDefinition)>,
    pub(super) content_rules: Vec<(Place, ContentRuleDefinition)>,
    pub(super) name_forms: Vec<(Place, NameFormDefinition)>,
    pub(super) structure_rules: Vec<(Place, StructureRuleDefinition)>,
    /// Syntaxes that are as another one is: those that X-SUBST names.
    pub(super) substitutes: Vec<(Head, Syntax)>,
    pub(super) faults: Vec<SchemaFault>,
    /// The built-in definitions of the NHS are left out.
    pub(super) without_nhs: bool,
    /// `objectidentifier` macros by lower-case name.
    macros: HashMap<String, String>,
}

/// LDIF attributes of a schema entry that say nothing about the schema.
const BOOKKEEPING: &[&str] = &[
    "dn",
    "version",
    "changetype",
    "add",
    "replace",
    "cn",
    "ou",
    "structuralobjectclass",
    "entryuuid",
    "entrydn",
    "entrycsn",
    "creatorsname",
    "createtimestamp",
    "modifiersname",
    "modifytimestamp",
    "subschemasubentry",
    "hassubordinates",
    "numsubordinates",
];

impl Definitions {
    pub(super) fn new(without_nhs: bool) -> Definitions {
        Definitions {
            without_nhs,
            ..Definitions::default()
        }
    }

    /// Adds what one file defines; faults are collected, not returned.
    pub(super) fn read(&mut self, file: &str, text: &str) {
        for line in logical_lines(text) {
            let place = Place {
                file: file.to_owned(),
                line: line.number,
            };
            match line.keyword_and_value() {
                // In LDIF that is the schema entry's own class; definitions are in the plural.
                Ok((keyword, _)) if line.is_ldif() && keyword == "objectclass" => {}
                Ok((keyword, value)) => self.read_line(place, &keyword, &value),
                Err(message) => self.faults.push(place.fault(message)),
            }
        }
    }

    fn read_line(&mut self, place: Place, keyword: &str, value: &str) {
        let outcome = match keyword {
            // OpenLDAP's dsee.schema spells it so once, and slapd reads it.
            "attributetype" | "attributetypes" | "olcattributetypes" | "attributeype" => {
                Parser::new(value, &|name| self.expand(name))
                    .attribute()
                    .map(|it| self.attributes.push((place.clone(), it)))
            }
            "objectclass" | "objectclasses" | "olcobjectclasses" => Parser::new(value, &|name| self.expand(name))
                .class()
                .map(|it| self.classes.push((place.clone(), it))),
            "ditcontentrule" | "ditcontentrules" | "olcditcontentrules" => {
                Parser::new(value, &|name| self.expand(name))
                    .content_rule()
                    .map(|it| self.content_rules.push((place.clone(), it)))
            }
            "nameform" | "nameforms" => Parser::new(value, &|name| self.expand(name))
                .name_form()
                .map(|it| self.name_forms.push((place.clone(), it))),
            "ditstructurerule" | "ditstructurerules" => Parser::new(value, &|name| self.expand(name))
                .structure_rule()
                .map(|it| self.structure_rules.push((place.clone(), it))),
            "objectidentifier" | "olcobjectidentifier" => self.read_macro(value),
            "ldapsyntax" | "ldapsyntaxes" | "olcldapsyntaxes" => self.read_syntax(value),
            "matchingrule" | "matchingrules" | "matchingruleuse" => self.known(value, "matching rule", |oid| {
                MatchingRule::all().any(|rule| rule.oid() == oid)
            }),
            "-" => Ok(()),
            other if BOOKKEEPING.contains(&other) => Ok(()),
            other => Err(format!(
                "expected attributetype, objectclass, ditcontentrule, nameform, ditstructurerule or objectidentifier, found \
                 {other}"
            )),
        };
        if let Err(message) = outcome {
            self.faults.push(place.fault(message));
        }
    }

    /// A syntax that the program has, or one that is like one of those.
    fn read_syntax(&mut self, value: &str) -> Result<(), String> {
        let head = Parser::new(value, &|name| self.expand(name)).syntax_description()?;
        if Syntax::find(&head.oid).is_some() {
            return Ok(());
        }
        let mut extensions = head.extensions.iter();
        let named = extensions.find_map(|(name, values)| (name == "X-SUBST").then(|| values.first()).flatten());
        let found = named.and_then(|oid| Syntax::find(oid));
        let substitute = found.ok_or_else(|| {
            let oid = &head.oid;
            format!("expected a syntax this server implements, or X-SUBST with the OID of one, found {oid}")
        })?;
        self.substitutes.push((head, substitute));
        Ok(())
    }

    /// Matching rules are program code; a file may repeat the ones there are.
    fn known(&self, value: &str, what: &str, is_known: impl Fn(&str) -> bool) -> Result<(), String> {
        let oid = Parser::new(value, &|name| self.expand(name)).oid_only()?;
        if is_known(&oid) {
            Ok(())
        } else {
            Err(format!(
                "expected a {what} this server implements, found {oid}; a file cannot add one"
            ))
        }
    }

    fn read_macro(&mut self, value: &str) -> Result<(), String> {
        let mut words = value.split_ascii_whitespace();
        let (Some(name), Some(written), None) = (words.next(), words.next(), words.next()) else {
            return Err(format!("expected a macro name and an OID, found {value:?}"));
        };
        let oid = self.expand(written).unwrap_or_else(|| written.to_owned());
        if !super::syntax::is_numeric_oid(&oid) {
            return Err(format!(
                "expected a numeric OID or a macro defined above, found {written}"
            ));
        }
        match self.macros.insert(name.to_ascii_lowercase(), oid.clone()) {
            Some(before) if before != oid => Err(format!("macro {name} is {before} already, found {oid}")),
            _ => Ok(()),
        }
    }

    /// `name` or `name:1.2` where `name` is a macro.
    fn expand(&self, written: &str) -> Option<String> {
        let (name, tail) = written.split_once(':').unwrap_or((written, ""));
        let base = self.macros.get(&name.to_ascii_lowercase())?;
        Some(if tail.is_empty() {
            base.clone()
        } else {
            format!("{base}.{tail}")
        })
    }
}

/// A line with its continuation lines.
struct LogicalLine<'t> {
    number: usize,
    first: &'t str,
    more: Vec<&'t str>,
}

impl LogicalLine<'_> {
    /// Whether the keyword ends in a colon.
    fn is_ldif(&self) -> bool {
        let end = self.first.find(|c: char| !c.is_ascii_alphanumeric());
        end.is_some_and(|end| self.first[end..].starts_with(':'))
    }

    /// The directive or LDIF attribute in lower case, and what follows it with folding undone.
    fn keyword_and_value(&self) -> Result<(String, String), String> {
        let end = self
            .first
            .find(|c: char| c.is_ascii_whitespace() || c == ':' || c == '(')
            .unwrap_or(self.first.len());
        let (keyword, rest) = self.first.split_at(end);
        let keyword = keyword.to_ascii_lowercase();
        if let Some(value) = rest.strip_prefix("::") {
            let joined = self.joined(value, true);
            let octets = base64::engine::general_purpose::STANDARD
                .decode(joined.trim_ascii())
                .map_err(|e| format!("expected base64 after {keyword}::, found {e}"))?;
            let text = String::from_utf8(octets).map_err(|e| format!("expected UTF-8 after {keyword}::, found {e}"))?;
            return Ok((keyword, text));
        }
        if let Some(value) = rest.strip_prefix(':') {
            let joined = self.joined(value, true);
            // olcAttributeTypes values carry their position: {12}( ...
            let bare = joined.trim_ascii();
            let unnumbered = bare.strip_prefix('{').and_then(|numbered| numbered.split_once('}'));
            return Ok((keyword, unnumbered.map_or(bare, |(_, value)| value).to_owned()));
        }
        Ok((keyword, self.joined(rest, false)))
    }

    /// LDIF folding drops the line break and one space; a directive's continuation is further words.
    fn joined(&self, first: &str, ldif: bool) -> String {
        let mut text = first.to_owned();
        for line in &self.more {
            if ldif {
                text.push_str(line.get(1..).unwrap_or(""));
            } else {
                text.push(' ');
                text.push_str(line.trim_ascii());
            }
        }
        text
    }
}

/// Lines joined with those that start with white space; comments, with their continuations, and empty lines dropped.
fn logical_lines(text: &str) -> Vec<LogicalLine<'_>> {
    let mut lines: Vec<LogicalLine> = Vec::new();
    let mut in_comment = false;
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_ascii().is_empty() {
            (open, in_comment) = (false, false);
            continue;
        }
        if line.starts_with('#') {
            in_comment = true;
            continue;
        }
        let is_continuation = line.starts_with([' ', '\t']);
        match lines.last_mut() {
            _ if is_continuation && in_comment => {}
            Some(last) if is_continuation && open => last.more.push(line),
            _ => {
                (open, in_comment) = (true, false);
                lines.push(LogicalLine {
                    number,
                    first: line.trim_ascii_start(),
                    more: Vec::new(),
                });
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::Schema;

    /// Without the schema of the NHS Directory its names are free for others (`changeNumber` of OpenLDAP's dsee.schema), and nothing
    /// that is built in beside it wants for it.
    #[test]
    fn names_of_the_nhs_are_free_without_its_schema() {
        let change_number = "attributetype ( 2.16.840.1.113730.3.1.5 NAME 'changeNumber' EQUALITY integerMatch \
             ORDERING integerOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 )";
        let files = [("dsee.schema".to_owned(), change_number.to_owned())];
        let faults = Schema::load(&files).err().expect("the name is another type's");
        assert_eq!(
            (faults.len(), faults[0].file.as_str()),
            (1, "dsee.schema"),
            "{faults:?}"
        );
        let schema = Schema::load_without_nhs(&files).unwrap();
        let id = schema.find_attribute("changenumber").unwrap();
        assert_eq!(schema.attribute(id).oid, "2.16.840.1.113730.3.1.5");
        assert!(schema.find_class("nhsPerson").is_none() && schema.find_class("nhsdirPrivacy").is_some());
        let next = schema.successor(&files).unwrap();
        assert!(next.says_the_same(&schema) && next.is_without_nhs());
    }
}
