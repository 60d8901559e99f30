//! Parses records.

use super::{
    ATTRIBUTES_LIMIT, CONTROLS_LIMIT, LINE_BYTES_LIMIT, LdifControl, LdifFault, LdifModification, LdifModificationKind,
    LdifOperation, LdifRecord, RECORD_BYTES_LIMIT,
};
use crate::model::{Attribute, AttributeDescription, Dn, Entry, Rdn};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Octets of a line that a message shows.
const EXCERPT_BYTES: usize = 40;

/// The records of a [`super::Chunk`].
pub struct Records<'a> {
    file: &'a str,
    text: &'a [u8],
    /// Where the next line begins, and its number.
    position: usize,
    line: usize,
    /// Read ahead by [`Records::peek`].
    peeked: Option<Line<'a>>,
    fetch: Option<Fetch>,
    /// Octets that came from elsewhere into this record.
    fetched: usize,
}

/// Gives what a URL behind `:<` leads to, or says why not.
pub type Fetch = fn(&str) -> Result<Vec<u8>, String>;

/// A line after unfolding, without its end and without comments.
struct Line<'a> {
    number: usize,
    text: Cow<'a, [u8]>,
}

/// A line as name and value.
struct Field<'l> {
    name: &'l str,
    value: Cow<'l, [u8]>,
}

/// What is wrong, and in which line.
struct Fault {
    line: usize,
    message: String,
}

type Parsed<T> = Result<T, Fault>;

impl<'a> Records<'a> {
    pub(super) fn new(file: &'a str, first_line: usize, text: &'a [u8]) -> Self {
        Records {
            file,
            text,
            position: 0,
            line: first_line,
            peeked: None,
            fetch: None,
            fetched: 0,
        }
    }

    /// Takes values from elsewhere (`:<`), which are refused without.
    pub fn fetching(self, fetch: Fetch) -> Self {
        Records {
            fetch: Some(fetch),
            ..self
        }
    }

    /// The next line of the file and whether the one after it continues it.
    fn physical_line(&mut self) -> Option<&'a [u8]> {
        let rest = self.text.get(self.position..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len());
        self.position += length + 1;
        self.line += 1;
        let line = rest.get(..length).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn continues(&self) -> bool {
        self.text.get(self.position) == Some(&b' ')
    }

    /// The next line after unfolding, comments left out. `None` at the end of the chunk.
    fn next_line(&mut self) -> Parsed<Option<Line<'a>>> {
        if let Some(line) = self.peeked.take() {
            return Ok(Some(line));
        }
        loop {
            let number = self.line;
            let Some(first) = self.physical_line() else {
                return Ok(None);
            };
            let mut text = Cow::Borrowed(first);
            let is_blank = first.is_empty();
            while !is_blank && self.continues() {
                let more = self.physical_line().and_then(|line| line.get(1..)).unwrap_or_default();
                text.to_mut().extend_from_slice(more);
            }
            if text.len() > LINE_BYTES_LIMIT {
                let message = format!("expected a line of at most {LINE_BYTES_LIMIT} bytes, found a longer one");
                return Err(Fault { line: number, message });
            }
            if text.first() == Some(&b'#') {
                continue;
            }
            if text.first() == Some(&b' ') {
                let message = "expected a line to continue before a line that begins with a space".to_owned();
                return Err(Fault { line: number, message });
            }
            return Ok(Some(Line { number, text }));
        }
    }

    /// The next line of this record; `None` at its end, which stays unread.
    fn record_line(&mut self) -> Parsed<Option<Line<'a>>> {
        match self.next_line()? {
            Some(line) if line.text.is_empty() => {
                self.peeked = Some(line);
                Ok(None)
            }
            line => Ok(line),
        }
    }

    fn unread(&mut self, line: Line<'a>) {
        self.peeked = Some(line);
    }

    /// Goes on behind the next blank line.
    fn resynchronise(&mut self) {
        if self.peeked.take().is_some_and(|line| line.text.is_empty()) {
            return;
        }
        while let Some(line) = self.physical_line() {
            if line.is_empty() {
                return;
            }
        }
    }

    fn record(&mut self) -> Parsed<Option<LdifRecord>> {
        let line = loop {
            match self.next_line()? {
                None => return Ok(None),
                Some(line) if line.text.is_empty() => {}
                Some(line) if is_named(&line, "version") => check_version(&line)?,
                Some(line) => break line,
            }
        };
        if !is_named(&line, "dn") {
            return Err(line.fault(format!(
                "expected `dn:` at the start of a record, found {}",
                line.excerpt()
            )));
        }
        let dn = line.dn()?;
        let number = line.number;
        self.fetched = 0;
        let controls = self.controls()?;
        let operation = match self.record_line()? {
            Some(next) if is_named(&next, "changetype") => self.change(dn, &next)?,
            Some(next) if !controls.is_empty() => {
                return Err(next.fault(format!(
                    "expected `changetype:` behind the controls, found {}",
                    next.excerpt()
                )));
            }
            Some(next) => {
                self.unread(next);
                LdifOperation::Content(self.entry(dn, number)?)
            }
            None => {
                return Err(line.fault("expected attributes after the name, found the end of the record".to_owned()));
            }
        };
        match self.record_line()? {
            None => Ok(Some(LdifRecord {
                line: number,
                controls,
                operation,
            })),
            Some(extra) => Err(extra.fault(format!("expected a blank line, found {}", extra.excerpt()))),
        }
    }

    fn controls(&mut self) -> Parsed<Vec<LdifControl>> {
        let mut controls = Vec::new();
        while let Some(line) = self.record_line()? {
            if !is_named(&line, "control") {
                self.unread(line);
                break;
            }
            if controls.len() == CONTROLS_LIMIT {
                return Err(line.fault(format!("expected at most {CONTROLS_LIMIT} controls, found more")));
            }
            controls.push(line.control()?);
        }
        Ok(controls)
    }

    fn entry(&mut self, dn: Dn, number: usize) -> Parsed<Entry> {
        let mut attributes: Vec<Attribute> = Vec::with_capacity(16);
        // Lines of one attribute mostly follow each other.
        let mut last = 0;
        while let Some(line) = self.record_line()? {
            let field = self.valued(&line)?;
            match attributes.get_mut(last) {
                Some(attribute) if spells(&attribute.description, field.name) => {
                    attribute.values.push(field.value.into_owned());
                    continue;
                }
                _ => {}
            }
            let description = line.description(field.name)?;
            if description.options.is_empty() && description.attribute_type.eq_ignore_ascii_case("dn") {
                return Err(line.fault("expected a blank line before the next `dn:`".to_owned()));
            }
            let value = field.value.into_owned();
            match attributes
                .iter()
                .position(|attribute| attribute.description.same_as(&description))
            {
                Some(at) => {
                    last = at;
                    attributes[at].values.push(value);
                }
                None if attributes.len() == ATTRIBUTES_LIMIT => {
                    return Err(line.fault(format!("expected at most {ATTRIBUTES_LIMIT} attributes in a record")));
                }
                None => {
                    last = attributes.len();
                    attributes.push(Attribute {
                        description,
                        values: vec![value],
                    });
                }
            }
        }
        if attributes.is_empty() {
            return Err(Fault {
                line: number,
                message: "expected attributes, found the end of the record".to_owned(),
            });
        }
        Ok(Entry { dn, attributes })
    }

    fn change(&mut self, dn: Dn, line: &Line<'_>) -> Parsed<LdifOperation> {
        let kind = line.word()?;
        match kind.to_ascii_lowercase().as_str() {
            "add" => Ok(LdifOperation::Add(self.entry(dn, line.number)?)),
            "delete" => Ok(LdifOperation::Delete { dn }),
            "modify" => self.modifications(dn),
            "modrdn" | "moddn" => self.new_name(dn, line.number),
            _ => Err(line.fault(format!("expected add, delete, modify, modrdn or moddn, found `{kind}`"))),
        }
    }

    fn modifications(&mut self, dn: Dn) -> Parsed<LdifOperation> {
        let mut changes = Vec::new();
        while let Some(line) = self.record_line()? {
            let field = line.field()?;
            let kind = match field.name.to_ascii_lowercase().as_str() {
                "add" => LdifModificationKind::Add,
                "delete" => LdifModificationKind::Delete,
                "replace" => LdifModificationKind::Replace,
                "increment" => LdifModificationKind::Increment,
                _ => {
                    let found = line.excerpt();
                    return Err(line.fault(format!(
                        "expected `add:`, `delete:`, `replace:` or `increment:`, found {found}"
                    )));
                }
            };
            let description = line.description(&line.word()?)?;
            let values = self.modification_values(&description)?;
            if values.is_empty() && matches!(kind, LdifModificationKind::Add | LdifModificationKind::Increment) {
                return Err(line.fault(format!("expected a value of {description} to follow, found none")));
            }
            changes.push(LdifModification {
                kind,
                attribute: Attribute { description, values },
            });
        }
        Ok(LdifOperation::Modify { dn, changes })
    }

    /// Up to `-` or the end of the record.
    fn modification_values(&mut self, description: &AttributeDescription) -> Parsed<Vec<Vec<u8>>> {
        let mut values = Vec::new();
        while let Some(line) = self.record_line()? {
            if line.text.as_ref() == b"-" {
                break;
            }
            let field = self.valued(&line)?;
            let named = line.description(field.name)?;
            if !named.same_as(description) {
                return Err(line.fault(format!("expected a value of {description} or `-`, found {named}")));
            }
            values.push(field.value.into_owned());
        }
        Ok(values)
    }

    /// The field of a line that gives a value, which may be elsewhere.
    fn valued<'l>(&mut self, line: &'l Line<'_>) -> Parsed<Field<'l>> {
        let (Some(fetch), Some((name, url))) = (self.fetch, line.elsewhere()) else {
            return line.field();
        };
        let value = fetch(url).map_err(|reason| line.fault(format!("{name}: {reason}")))?;
        self.fetched += value.len();
        if self.fetched > RECORD_BYTES_LIMIT {
            let message = format!("expected at most {RECORD_BYTES_LIMIT} bytes from elsewhere in a record, found more");
            return Err(line.fault(message));
        }
        Ok(Field {
            name,
            value: Cow::Owned(value),
        })
    }

    fn new_name(&mut self, dn: Dn, number: usize) -> Parsed<LdifOperation> {
        let line = self.expect_line("newrdn", number)?;
        let text = line.utf8_value()?;
        let new_rdn = Rdn::parse(&text).map_err(|error| line.fault(format!("newrdn: {error}")))?;
        let line = self.expect_line("deleteoldrdn", line.number)?;
        let delete_old_rdn = match line.word()?.as_str() {
            "0" => false,
            "1" => true,
            other => return Err(line.fault(format!("expected 0 or 1 for deleteoldrdn, found `{other}`"))),
        };
        let new_superior = match self.record_line()? {
            Some(line) if is_named(&line, "newsuperior") => Some(line.dn()?),
            Some(line) => {
                self.unread(line);
                None
            }
            None => None,
        };
        Ok(LdifOperation::ModifyDn {
            dn,
            new_rdn,
            delete_old_rdn,
            new_superior,
        })
    }

    fn expect_line(&mut self, name: &str, after: usize) -> Parsed<Line<'a>> {
        match self.record_line()? {
            Some(line) if is_named(&line, name) => Ok(line),
            Some(line) => Err(line.fault(format!("expected `{name}:`, found {}", line.excerpt()))),
            None => Err(Fault {
                line: after,
                message: format!("expected `{name}:` to follow, found the end of the record"),
            }),
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<LdifRecord, LdifFault>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.record() {
            Ok(record) => record.map(Ok),
            Err(Fault { line, message }) => {
                self.resynchronise();
                Some(Err(LdifFault {
                    file: self.file.to_owned(),
                    line,
                    message,
                }))
            }
        }
    }
}

impl Line<'_> {
    fn fault(&self, message: String) -> Fault {
        Fault {
            line: self.number,
            message,
        }
    }

    fn excerpt(&self) -> String {
        let shown = self.text.get(..EXCERPT_BYTES).unwrap_or(&self.text);
        let more = if shown.len() < self.text.len() { "..." } else { "" };
        format!("`{}{more}`", String::from_utf8_lossy(shown).escape_debug())
    }

    /// Splits into name and decoded value.
    fn field(&self) -> Parsed<Field<'_>> {
        let colon = self.text.iter().position(|octet| *octet == b':');
        let Some((name, rest)) = colon.and_then(|at| self.text.split_at_checked(at)) else {
            return Err(self.fault(format!("expected `name: value`, found {}", self.excerpt())));
        };
        let Ok(name) = std::str::from_utf8(name) else {
            return Err(self.fault(format!("expected an attribute description, found {}", self.excerpt())));
        };
        let value = match rest.get(1) {
            Some(b':') => Cow::Owned(self.base64(name, rest.get(2..).unwrap_or_default())?),
            Some(b'<') => {
                let message = format!(
                    "expected the value of {name} in the file (`{name}::` and base64), found `:<`, which is not read"
                );
                return Err(self.fault(message));
            }
            _ => {
                let value = trim_start(rest.get(1..).unwrap_or_default());
                if value.contains(&0) || value.contains(&b'\r') {
                    return Err(self.fault(format!("expected `{name}::` and base64 for a value with NUL or CR")));
                }
                Cow::Borrowed(value)
            }
        };
        Ok(Field { name, value })
    }

    /// Name and URL of a line whose value is elsewhere.
    fn elsewhere(&self) -> Option<(&str, &str)> {
        let colon = self.text.iter().position(|octet| *octet == b':')?;
        let (name, rest) = self.text.split_at_checked(colon)?;
        let url = rest.strip_prefix(b":<")?;
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(url).ok()?.trim()))
    }

    fn base64(&self, name: &str, text: &[u8]) -> Parsed<Vec<u8>> {
        let text = trim_start(text).trim_ascii_end();
        BASE64
            .decode(text)
            .map_err(|error| self.fault(format!("expected base64 after `{name}::`: {error}")))
    }

    fn description(&self, text: &str) -> Parsed<AttributeDescription> {
        AttributeDescription::parse(text).map_err(|error| self.fault(error.to_string()))
    }

    fn utf8_value(&self) -> Parsed<Cow<'_, str>> {
        let field = self.field()?;
        let text = match field.value {
            Cow::Borrowed(value) => std::str::from_utf8(value).ok().map(Cow::Borrowed),
            Cow::Owned(value) => String::from_utf8(value).ok().map(Cow::Owned),
        };
        text.ok_or_else(|| self.fault(format!("expected UTF-8 in {}, found other octets", field.name)))
    }

    /// `control: OID`, `true` or `false` if anything, and a value (`: text`, `:: base64`) if any.
    fn control(&self) -> Parsed<LdifControl> {
        let text = self.utf8_value()?;
        let (head, rest) = match text.find(':') {
            Some(at) => text.split_at(at),
            None => (&*text, ""),
        };
        let mut words = head.split_ascii_whitespace();
        let oid = words.next().unwrap_or_default().to_owned();
        let numeric = |part: &str| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit());
        if !oid.contains('.') || !oid.split('.').all(numeric) {
            return Err(self.fault(format!("expected a numeric OID behind `control:`, found `{oid}`")));
        }
        let critical = match (words.next(), words.next()) {
            (None, _) | (Some("false"), None) => false,
            (Some("true"), None) => true,
            (Some(found), _) => {
                return Err(self.fault(format!("expected true or false behind {oid}, found `{found}`")));
            }
        };
        let value = match rest.as_bytes() {
            [] => None,
            [b':', b':', text @ ..] => Some(self.base64("control", text)?),
            [b':', b'<', ..] => {
                let message = "expected the value of the control in the file, found `:<`, which is not read";
                return Err(self.fault(message.to_owned()));
            }
            [_, text @ ..] => Some(trim_start(text).to_vec()),
        };
        Ok(LdifControl {
            line: self.number,
            oid,
            critical,
            value,
        })
    }

    /// A value that is one word, without white space around it.
    fn word(&self) -> Parsed<String> {
        Ok(self.utf8_value()?.trim().to_owned())
    }

    fn dn(&self) -> Parsed<Dn> {
        Dn::parse(&self.utf8_value()?).map_err(|error| self.fault(error.to_string()))
    }
}

/// Whether the line's name is this one, in any case.
fn is_named(line: &Line<'_>, name: &str) -> bool {
    line.text
        .split_at_checked(name.len())
        .is_some_and(|(own, rest)| rest.first() == Some(&b':') && own.eq_ignore_ascii_case(name.as_bytes()))
}

fn check_version(line: &Line<'_>) -> Parsed<()> {
    match line.word()?.as_str() {
        "1" => Ok(()),
        other => Err(line.fault(format!("expected LDIF version 1, found `{other}`"))),
    }
}

/// Whether a description without options is spelled like this.
fn spells(description: &AttributeDescription, name: &str) -> bool {
    description.options.is_empty() && description.attribute_type == name
}

fn trim_start(mut value: &[u8]) -> &[u8] {
    while let Some(rest) = value.strip_prefix(b" ") {
        value = rest;
    }
    value
}
