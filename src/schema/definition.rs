//! Definitions (RFC 4512 section 4.1): the parser of one parenthesised description.

use super::print::usage_word;
use super::{ClassKind, Usage};

/// What every definition has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) oid: String,
    pub(super) names: Vec<String>,
    pub(super) description: Option<String>,
    pub(super) obsolete: bool,
    /// `X-...` fields in the order given.
    pub(super) extensions: Vec<(String, Vec<String>)>,
}

/// An AttributeTypeDescription (section 4.1.2), references still as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AttributeDefinition {
    pub(super) head: Head,
    pub(super) superior: Option<String>,
    pub(super) equality: Option<String>,
    pub(super) ordering: Option<String>,
    pub(super) substrings: Option<String>,
    /// Syntax OID and the suggested upper bound.
    pub(super) syntax: Option<(String, Option<u64>)>,
    pub(super) single_value: bool,
    pub(super) collective: bool,
    pub(super) no_user_modification: bool,
    pub(super) usage: Usage,
}

/// An ObjectClassDescription (section 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClassDefinition {
    pub(super) head: Head,
    pub(super) superiors: Vec<String>,
    pub(super) kind: ClassKind,
    pub(super) must: Vec<String>,
    pub(super) may: Vec<String>,
}

/// A DITContentRuleDescription (section 4.1.6); its OID is that of a structural class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentRuleDefinition {
    pub(super) head: Head,
    pub(super) auxiliary: Vec<String>,
    pub(super) must: Vec<String>,
    pub(super) may: Vec<String>,
    pub(super) not: Vec<String>,
}

/// A NameFormDescription (section 4.1.7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameFormDefinition {
    pub(super) head: Head,
    pub(super) class: String,
    pub(super) must: Vec<String>,
    pub(super) may: Vec<String>,
}

/// A DITStructureRuleDescription (section 4.1.7.1); a number stands where others have an OID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StructureRuleDefinition {
    pub(super) head: Head,
    pub(super) form: String,
    pub(super) superiors: Vec<String>,
}

/// One lexical element of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    Dollar,
    Quoted(String),
    Word(&'a str),
    End,
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Open => f.write_str("("),
            Token::Close => f.write_str(")"),
            Token::Dollar => f.write_str("$"),
            Token::Quoted(text) => write!(f, "'{text}'"),
            Token::Word(text) => f.write_str(text),
            Token::End => f.write_str("the end of the definition"),
        }
    }
}

/// Reads one description. Every method's error says what was expected and what came.
pub(super) struct Parser<'a> {
    rest: &'a str,
    /// Turns `macro:1.2` and macro names into numeric OIDs.
    expand: &'a dyn Fn(&str) -> Option<String>,
}

type Parsed<T> = Result<T, String>;

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, expand: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Parser { rest: text, expand }
    }

    pub(super) fn attribute(mut self) -> Parsed<AttributeDefinition> {
        let mut it = AttributeDefinition {
            head: self.opening()?,
            superior: None,
            equality: None,
            ordering: None,
            substrings: None,
            syntax: None,
            single_value: false,
            collective: false,
            no_user_modification: false,
            usage: Usage::UserApplications,
        };
        let mut seen = Vec::new();
        while let Some(keyword) = self.keyword(&mut seen)? {
            match keyword.as_str() {
                "SUP" => it.superior = Some(self.identifier()?),
                "EQUALITY" => it.equality = Some(self.identifier()?),
                "ORDERING" => it.ordering = Some(self.identifier()?),
                "SUBSTR" => it.substrings = Some(self.identifier()?),
                "SYNTAX" => it.syntax = Some(self.syntax()?),
                "SINGLE-VALUE" => it.single_value = true,
                "COLLECTIVE" => it.collective = true,
                "NO-USER-MODIFICATION" => it.no_user_modification = true,
                "USAGE" => it.usage = self.usage()?,
                other => self.common(other, &mut it.head)?,
            }
        }
        self.ending()?;
        Ok(it)
    }

    pub(super) fn class(mut self) -> Parsed<ClassDefinition> {
        let mut it = ClassDefinition {
            head: self.opening()?,
            superiors: Vec::new(),
            kind: ClassKind::Structural,
            must: Vec::new(),
            may: Vec::new(),
        };
        let mut seen = Vec::new();
        while let Some(keyword) = self.keyword(&mut seen)? {
            match keyword.as_str() {
                "SUP" => it.superiors = self.identifiers()?,
                "ABSTRACT" => it.kind = ClassKind::Abstract,
                "STRUCTURAL" => it.kind = ClassKind::Structural,
                "AUXILIARY" => it.kind = ClassKind::Auxiliary,
                "MUST" => it.must = self.identifiers()?,
                "MAY" => it.may = self.identifiers()?,
                other => self.common(other, &mut it.head)?,
            }
        }
        self.ending()?;
        let kinds = seen
            .iter()
            .filter(|k| matches!(k.as_str(), "ABSTRACT" | "STRUCTURAL" | "AUXILIARY"));
        if kinds.count() > 1 {
            return Err("expected one of ABSTRACT, STRUCTURAL and AUXILIARY, found several".to_owned());
        }
        Ok(it)
    }

    pub(super) fn content_rule(mut self) -> Parsed<ContentRuleDefinition> {
        let mut it = ContentRuleDefinition {
            head: self.opening()?,
            auxiliary: Vec::new(),
            must: Vec::new(),
            may: Vec::new(),
            not: Vec::new(),
        };
        let mut seen = Vec::new();
        while let Some(keyword) = self.keyword(&mut seen)? {
            match keyword.as_str() {
                "AUX" => it.auxiliary = self.identifiers()?,
                "MUST" => it.must = self.identifiers()?,
                "MAY" => it.may = self.identifiers()?,
                "NOT" => it.not = self.identifiers()?,
                other => self.common(other, &mut it.head)?,
            }
        }
        self.ending()?;
        Ok(it)
    }

    pub(super) fn name_form(mut self) -> Parsed<NameFormDefinition> {
        let head = self.opening()?;
        let (mut class, mut must, mut may) = (None, Vec::new(), Vec::new());
        let (mut it, mut seen) = (head, Vec::new());
        while let Some(keyword) = self.keyword(&mut seen)? {
            match keyword.as_str() {
                "OC" => class = Some(self.identifier()?),
                "MUST" => must = self.identifiers()?,
                "MAY" => may = self.identifiers()?,
                other => self.common(other, &mut it)?,
            }
        }
        self.ending()?;
        let class = class.ok_or_else(|| format!("expected OC in name form {}, found none", it.oid))?;
        if must.is_empty() {
            return Err(format!("expected MUST in name form {}, found none", it.oid));
        }
        Ok(NameFormDefinition {
            head: it,
            class,
            must,
            may,
        })
    }

    pub(super) fn structure_rule(mut self) -> Parsed<StructureRuleDefinition> {
        self.parenthesis()?;
        let mut head = Head {
            oid: self.rule_number()?,
            ..Head::default()
        };
        let (mut form, mut superiors) = (None, Vec::new());
        let mut seen = Vec::new();
        while let Some(keyword) = self.keyword(&mut seen)? {
            match keyword.as_str() {
                "FORM" => form = Some(self.identifier()?),
                "SUP" => superiors = self.rule_numbers()?,
                other => self.common(other, &mut head)?,
            }
        }
        self.ending()?;
        let form = form.ok_or_else(|| format!("expected FORM in structure rule {}, found none", head.oid))?;
        Ok(StructureRuleDefinition { head, form, superiors })
    }

    fn rule_number(&mut self) -> Parsed<String> {
        match self.next()? {
            Token::Word(word) if super::syntax::is_number(word) => Ok(word.to_owned()),
            other => Err(format!("expected the number of a structure rule, found {other}")),
        }
    }

    /// `ruleids`: one, or several in parentheses.
    fn rule_numbers(&mut self) -> Parsed<Vec<String>> {
        let rest = self.rest;
        if self.next()? != Token::Open {
            self.rest = rest;
            return Ok(vec![self.rule_number()?]);
        }
        let mut list = vec![self.rule_number()?];
        loop {
            let rest = self.rest;
            if self.next()? == Token::Close {
                return Ok(list);
            }
            self.rest = rest;
            list.push(self.rule_number()?);
        }
    }

    /// An LDAPSyntaxDescription (section 4.1.5); OpenLDAP gives some a name.
    pub(super) fn syntax_description(mut self) -> Parsed<Head> {
        let mut head = self.opening()?;
        let mut seen = Vec::new();
        while let Some(keyword) = self.keyword(&mut seen)? {
            self.common(&keyword, &mut head)?;
        }
        self.ending()?;
        Ok(head)
    }

    /// The numeric OID of any description, for kinds of which only that matters.
    pub(super) fn oid_only(mut self) -> Parsed<String> {
        Ok(self.opening()?.oid)
    }

    fn parenthesis(&mut self) -> Parsed<()> {
        match self.next()? {
            Token::Open => Ok(()),
            other => Err(format!("expected ( at the start of the definition, found {other}")),
        }
    }

    fn opening(&mut self) -> Parsed<Head> {
        self.parenthesis()?;
        let written = self.identifier()?;
        let oid = match (self.expand)(&written) {
            Some(oid) => oid,
            None if written.as_bytes().first().is_some_and(u8::is_ascii_digit) => written,
            None => {
                return Err(format!(
                    "expected a numeric OID or objectidentifier macro, found {written}"
                ));
            }
        };
        if !super::syntax::is_numeric_oid(&oid) {
            return Err(format!("expected a numeric OID, found {oid}"));
        }
        Ok(Head { oid, ..Head::default() })
    }

    /// The next field's keyword in upper case; `None` at the closing parenthesis.
    fn keyword(&mut self, seen: &mut Vec<String>) -> Parsed<Option<String>> {
        match self.next()? {
            Token::Close => Ok(None),
            Token::Word(word) => {
                let keyword = word.to_ascii_uppercase();
                if seen.contains(&keyword) {
                    return Err(format!("expected {keyword} once, found it twice"));
                }
                seen.push(keyword.clone());
                Ok(Some(keyword))
            }
            other => Err(format!("expected a field name or ), found {other}")),
        }
    }

    fn common(&mut self, keyword: &str, head: &mut Head) -> Parsed<()> {
        match keyword {
            "NAME" => {
                head.names = self.quoted_list()?;
                match head.names.iter().find(|name| !is_descriptor(name)) {
                    Some(bad) => return Err(format!("expected a name of letters, digits and hyphens, found '{bad}'")),
                    None if head.names.is_empty() => return Err("expected a name after NAME, found none".to_owned()),
                    None => {}
                }
            }
            "DESC" => head.description = Some(self.quoted()?),
            "OBSOLETE" => head.obsolete = true,
            extension if extension.starts_with("X-") => {
                let values = self.quoted_list()?;
                head.extensions.push((extension.to_owned(), values));
            }
            other => return Err(format!("expected a field of this kind of definition, found {other}")),
        }
        Ok(())
    }

    fn ending(&mut self) -> Parsed<()> {
        match self.next()? {
            Token::End => Ok(()),
            other => Err(format!("expected nothing after the closing parenthesis, found {other}")),
        }
    }

    fn identifier(&mut self) -> Parsed<String> {
        match self.next()? {
            Token::Word(word) => Ok(word.to_owned()),
            // Netscape and Microsoft servers quote references.
            Token::Quoted(word) if super::syntax::is_identifier(&word) => Ok(word),
            other => Err(format!("expected a name or OID, found {other}")),
        }
    }

    /// `oids`: one, or several in parentheses with `$` between.
    fn identifiers(&mut self) -> Parsed<Vec<String>> {
        let rest = self.rest;
        if self.next()? != Token::Open {
            self.rest = rest;
            return Ok(vec![self.identifier()?]);
        }
        let mut list = Vec::new();
        loop {
            list.push(self.identifier()?);
            match self.next()? {
                Token::Dollar => {}
                Token::Close => return Ok(list),
                other => return Err(format!("expected $ or ) after {}, found {other}", list[list.len() - 1])),
            }
        }
    }

    fn quoted(&mut self) -> Parsed<String> {
        match self.next()? {
            Token::Quoted(text) => Ok(text),
            other => Err(format!("expected a text in single quotes, found {other}")),
        }
    }

    /// `qdescrs` or `qdstrings`: one, or several in parentheses.
    fn quoted_list(&mut self) -> Parsed<Vec<String>> {
        let rest = self.rest;
        if self.next()? != Token::Open {
            self.rest = rest;
            return Ok(vec![self.quoted()?]);
        }
        let mut list = Vec::new();
        loop {
            match self.next()? {
                Token::Quoted(text) => list.push(text),
                Token::Close => return Ok(list),
                other => return Err(format!("expected a text in single quotes or ), found {other}")),
            }
        }
    }

    fn syntax(&mut self) -> Parsed<(String, Option<u64>)> {
        let written = self.identifier_or_quoted()?;
        let (oid, bound) = match written.split_once('{') {
            None => (written.as_str(), None),
            Some((oid, bound)) => {
                let number = bound.strip_suffix('}').and_then(|digits| digits.parse().ok());
                let number =
                    number.ok_or_else(|| format!("expected a length in braces after {oid}, found {{{bound}"))?;
                (oid, Some(number))
            }
        };
        Ok(((self.expand)(oid).unwrap_or_else(|| oid.to_owned()), bound))
    }

    fn identifier_or_quoted(&mut self) -> Parsed<String> {
        match self.next()? {
            Token::Word(word) => Ok(word.to_owned()),
            Token::Quoted(word) => Ok(word),
            other => Err(format!("expected a syntax OID, found {other}")),
        }
    }

    fn usage(&mut self) -> Parsed<Usage> {
        let word = self.identifier()?;
        [
            Usage::UserApplications,
            Usage::DirectoryOperation,
            Usage::DistributedOperation,
            Usage::DsaOperation,
        ]
        .into_iter()
        .find(|usage| usage_word(*usage).eq_ignore_ascii_case(&word))
        .ok_or_else(|| {
            format!(
                "expected userApplications, directoryOperation, distributedOperation or dSAOperation after USAGE, \
                 found {word}"
            )
        })
    }

    fn next(&mut self) -> Parsed<Token<'a>> {
        let text = self.rest.trim_ascii_start();
        let Some(first) = text.chars().next() else {
            self.rest = "";
            return Ok(Token::End);
        };
        let single = match first {
            '(' => Some(Token::Open),
            ')' => Some(Token::Close),
            '$' => Some(Token::Dollar),
            _ => None,
        };
        if let Some(token) = single {
            self.rest = &text[1..];
            return Ok(token);
        }
        if first == '\'' {
            let inner = &text[1..];
            let end =
                closing_quote(inner).ok_or_else(|| "expected a closing single quote, found the end".to_owned())?;
            self.rest = &inner[end + 1..];
            return Ok(Token::Quoted(unescape(&inner[..end])));
        }
        let end = text
            .find(|c: char| c.is_ascii_whitespace() || matches!(c, '(' | ')' | '$' | '\''))
            .unwrap_or(text.len());
        self.rest = &text[end..];
        Ok(Token::Word(&text[..end]))
    }
}

/// The quote that ends a text: the first one that is not an unescaped apostrophe inside a word, as servers in use
/// write `DESC 'the user's name'`.
fn closing_quote(text: &str) -> Option<usize> {
    let ends = |at: usize| {
        let after = text.as_bytes().get(at + 1);
        after.is_none_or(|b| b.is_ascii_whitespace() || matches!(b, b')' | b'$'))
    };
    text.match_indices('\'').map(|(at, _)| at).find(|at| ends(*at))
}

fn unescape(text: &str) -> String {
    text.replace("\\27", "'").replace("\\5c", "\\").replace("\\5C", "\\")
}

/// keystring, and the underscores and dots some servers put in names.
fn is_descriptor(name: &str) -> bool {
    let letters = name.as_bytes();
    letters.first().is_some_and(u8::is_ascii_alphabetic)
        && letters
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}
