//! Subtree specifications (RFC 3672 section 2.1) in their string form: which entries a subentry is about.

use super::Schema;
use crate::model::Dn;

/// Which entries below an administrative point. Names are relative to it, those of exclusions to the base.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SubtreeSpecification {
    pub base: Dn,
    /// These entries and what is below them.
    pub chop_before: Vec<Dn>,
    /// What is below these entries.
    pub chop_after: Vec<Dn>,
    /// RDNs below the base.
    pub minimum: usize,
    pub maximum: Option<usize>,
    pub filter: Option<Refinement>,
}

/// What the object classes of an entry must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refinement {
    Item(String),
    And(Vec<Refinement>),
    Or(Vec<Refinement>),
    Not(Box<Refinement>),
}

/// How deep refinements nest.
const NESTING: usize = 16;

impl SubtreeSpecification {
    /// # Errors
    /// What was expected where.
    pub fn parse(text: &str) -> Result<SubtreeSpecification, String> {
        let mut reader = Reader { rest: text };
        let mut found = SubtreeSpecification::default();
        reader.list(|reader| reader.component(&mut found))?;
        match reader.rest.trim_start_matches(' ') {
            "" => Ok(found),
            rest => Err(format!("expected the end, found {rest:?}")),
        }
    }
}

impl Refinement {
    /// Whether an entry of these object classes fulfils it; a superclass counts.
    pub fn admits(&self, classes: &[super::ClassId], schema: &Schema) -> bool {
        match self {
            Refinement::Item(name) => schema.find_class(name).is_some_and(|wanted| {
                let mut all = classes.iter();
                all.any(|class| *class == wanted || schema.class_chain(*class).contains(&wanted))
            }),
            Refinement::And(parts) => parts.iter().all(|part| part.admits(classes, schema)),
            Refinement::Or(parts) => parts.iter().any(|part| part.admits(classes, schema)),
            Refinement::Not(part) => !part.admits(classes, schema),
        }
    }
}

/// Generic string encoding (RFC 3641) as far as the syntax uses it.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn expect(&mut self, token: char) -> Result<(), String> {
        match self.take(token) {
            true => Ok(()),
            false => Err(format!("expected {token:?} before {:?}", self.rest)),
        }
    }

    fn take(&mut self, token: char) -> bool {
        let rest = self.rest.trim_start_matches(' ').strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// `{ a, b }`
    fn list(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.expect('{')?;
        if self.take('}') {
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.take(',') {
                return self.expect('}');
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start_matches(' ');
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-'));
        let (word, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.rest = rest;
        word
    }

    fn component(&mut self, found: &mut SubtreeSpecification) -> Result<(), String> {
        match self.word() {
            "base" => found.base = self.name()?,
            "specificExclusions" => self.list(|reader| {
                let list = match reader.word() {
                    "chopBefore" => &mut found.chop_before,
                    "chopAfter" => &mut found.chop_after,
                    word => return Err(format!("expected chopBefore or chopAfter, found {word:?}")),
                };
                reader.expect(':')?;
                list.push(reader.name()?);
                Ok(())
            })?,
            "minimum" => found.minimum = self.distance()?,
            "maximum" => found.maximum = Some(self.distance()?),
            "specificationFilter" => found.filter = Some(self.refinement(0)?),
            word => {
                return Err(format!(
                    "expected a component of a subtree specification, found {word:?}"
                ));
            }
        }
        Ok(())
    }

    /// A name in quotes; `""` inside them is one.
    fn name(&mut self) -> Result<Dn, String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            let (before, after) = self.rest.split_once('"').ok_or("expected a closing quote")?;
            text.push_str(before);
            self.rest = after;
            match after.strip_prefix('"') {
                Some(after) => {
                    text.push('"');
                    self.rest = after;
                }
                None => return Dn::parse(&text).map_err(|fault| fault.to_string()),
            }
        }
    }

    fn distance(&mut self) -> Result<usize, String> {
        let word = self.word();
        word.parse().map_err(|_| format!("expected a number, found {word:?}"))
    }

    fn refinement(&mut self, nesting: usize) -> Result<Refinement, String> {
        if nesting == NESTING {
            return Err(format!("expected refinements at most {NESTING} deep"));
        }
        let word = self.word();
        self.expect(':')?;
        let mut parts = Vec::new();
        let mut part = |reader: &mut Self| {
            parts.push(reader.refinement(nesting + 1)?);
            Ok(())
        };
        match word {
            "item" => match self.word() {
                "" => Err("expected an object class".to_owned()),
                class => Ok(Refinement::Item(class.to_owned())),
            },
            "not" => Ok(Refinement::Not(Box::new(self.refinement(nesting + 1)?))),
            "and" => self.list(&mut part).map(|()| Refinement::And(parts)),
            "or" => self.list(&mut part).map(|()| Refinement::Or(parts)),
            word => Err(format!("expected item, and, or, not; found {word:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_read_as_rfc_3672_writes_them() {
        assert_eq!(SubtreeSpecification::parse("{}"), Ok(SubtreeSpecification::default()));
        let text = "{ base \"ou=x\", specificExclusions { chopBefore:\"cn=a\", chopAfter:\"cn=b,ou=c\" }, minimum 1, maximum 3, \
                    specificationFilter and:{item:2.5.6.6, not:or:{item:device}} }";
        let found = SubtreeSpecification::parse(text).unwrap();
        assert_eq!(
            (found.minimum, found.maximum, found.base.to_string().as_str()),
            (1, Some(3), "ou=x")
        );
        assert_eq!(
            (found.chop_before.len(), found.chop_after[0].to_string().as_str()),
            (1, "cn=b,ou=c")
        );
        let schema = Schema::builtin().unwrap();
        let classes = |names: &[&str]| {
            names
                .iter()
                .map(|name| schema.find_class(name).unwrap())
                .collect::<Vec<_>>()
        };
        let filter = found.filter.unwrap();
        assert!(filter.admits(&classes(&["inetOrgPerson"]), &schema));
        assert!(!filter.admits(&classes(&["person", "device"]), &schema) && !filter.admits(&[], &schema));
        for broken in [
            "",
            "{",
            "}",
            "{} x",
            "{ base }",
            "{ base \"ou=x }",
            "{ minimum -1 }",
            "{ minimum 1 maximum 2 }",
            "{ item:x }",
            "{ specificationFilter item: }",
            "{ specificationFilter none:x }",
            "{ base \"nonsense\" }",
        ] {
            assert!(SubtreeSpecification::parse(broken).is_err(), "{broken}");
        }
        let deep = format!("{{ specificationFilter {}item:top }}", "not:".repeat(100));
        assert!(SubtreeSpecification::parse(&deep).is_err());
    }
}
