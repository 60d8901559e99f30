//! Messages as octets: requests to send, answers to walk.

use anyhow::{Context, bail};
use nhsdir::ldap::ber::{
    self, ENUMERATED, INTEGER, OCTET_STRING, Reader, SEQUENCE, SET, put_integer, put_nested, put_octets,
};
use std::fmt;

const PAGED_RESULTS: &[u8] = b"1.2.840.113556.1.4.319";
const SORT_REQUEST: &[u8] = b"1.2.840.113556.1.4.473";
const VLV_REQUEST: &[u8] = b"2.16.840.1.113730.3.4.9";

/// Ids of four octets, so that one can be written over another.
pub const FIRST_ID: u32 = 0x0100_0000;

pub const BIND_RESPONSE: u8 = 0x61;
pub const ENTRY: u8 = 0x64;
pub const SEARCH_DONE: u8 = 0x65;
pub const MODIFY_RESPONSE: u8 = 0x67;
const REFERENCE: u8 = 0x73;

/// A filter (RFC 4511 section 4.5.1.7).
#[derive(Clone, Debug)]
pub enum Term {
    Equal(&'static str, String),
    Prefix(&'static str, String),
    Within(&'static str, String),
    Present(&'static str),
    And(Vec<Term>),
    Or(Vec<Term>),
    Not(Box<Term>),
    /// A matching rule that no server here keeps an index for.
    Rule(&'static str, &'static str, String),
}

impl Term {
    fn put(&self, out: &mut Vec<u8>) {
        let part = |out: &mut Vec<u8>, name: &str, tag: u8, value: &str| {
            put_nested(out, 0xa4, |out| {
                put_octets(out, OCTET_STRING, name.as_bytes());
                put_nested(out, SEQUENCE, |out| put_octets(out, tag, value.as_bytes()));
            });
        };
        match self {
            Term::And(terms) => put_nested(out, 0xa0, |out| terms.iter().for_each(|term| term.put(out))),
            Term::Or(terms) => put_nested(out, 0xa1, |out| terms.iter().for_each(|term| term.put(out))),
            Term::Not(term) => put_nested(out, 0xa2, |out| term.put(out)),
            Term::Equal(name, value) => put_nested(out, 0xa3, |out| {
                put_octets(out, OCTET_STRING, name.as_bytes());
                put_octets(out, OCTET_STRING, value.as_bytes());
            }),
            Term::Prefix(name, value) => part(out, name, 0x80, value),
            Term::Within(name, value) => part(out, name, 0x81, value),
            Term::Present(name) => put_octets(out, 0x87, name.as_bytes()),
            Term::Rule(name, rule, value) => put_nested(out, 0xa9, |out| {
                put_octets(out, 0x81, rule.as_bytes());
                put_octets(out, 0x82, name.as_bytes());
                put_octets(out, 0x83, value.as_bytes());
            }),
        }
    }
}

/// For people; values are not escaped.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, sign: &str, terms: &[Term]| {
            write!(f, "({sign}")?;
            terms.iter().try_for_each(|term| write!(f, "{term}"))?;
            write!(f, ")")
        };
        match self {
            Term::Equal(name, value) => write!(f, "({name}={value})"),
            Term::Prefix(name, value) => write!(f, "({name}={value}*)"),
            Term::Within(name, value) => write!(f, "({name}=*{value}*)"),
            Term::Present(name) => write!(f, "({name}=*)"),
            Term::And(terms) => list(f, "&", terms),
            Term::Or(terms) => list(f, "|", terms),
            Term::Not(term) => write!(f, "(!{term})"),
            Term::Rule(name, rule, value) => write!(f, "({name}:{rule}:={value})"),
        }
    }
}

/// Which part of a sorted result is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub offset: u32,
    pub entries: u32,
}

#[derive(Clone, Debug)]
pub struct Search {
    pub base: String,
    pub subtree: bool,
    pub size_limit: u32,
    pub filter: Term,
    pub attributes: &'static [&'static str],
    /// Entries a page; 0 for a search without pages.
    pub page: u32,
    /// Sorted by this attribute, as words are: the schema of some servers has no ordering rule for names.
    pub sort: Option<&'static str>,
    pub window: Option<Window>,
}

#[derive(Clone, Debug)]
pub enum Request {
    Search(Search),
    /// Replaces a telephone number.
    Modify {
        dn: String,
        number: String,
    },
    Bind {
        name: String,
        secret: String,
    },
}

impl Request {
    /// The octets behind the message id. A page has to be asked for with the cookie of the one before. `floor_entries` tells the
    /// canned server how many entries to answer with; no other server is told.
    pub fn body(&self, cookie: &[u8], floor_entries: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        match self {
            Request::Search(search) => search.put(&mut out, cookie, floor_entries),
            Request::Modify { dn, number } => put_nested(&mut out, 0x66, |out| {
                put_octets(out, OCTET_STRING, dn.as_bytes());
                put_nested(out, SEQUENCE, |out| {
                    put_nested(out, SEQUENCE, |out| {
                        put_integer(out, ENUMERATED, 2);
                        put_nested(out, SEQUENCE, |out| {
                            put_octets(out, OCTET_STRING, b"telephoneNumber");
                            put_nested(out, SET, |out| put_octets(out, OCTET_STRING, number.as_bytes()));
                        });
                    });
                });
            }),
            Request::Bind { name, secret } => put_nested(&mut out, 0x60, |out| {
                put_integer(out, INTEGER, 3);
                put_octets(out, OCTET_STRING, name.as_bytes());
                put_octets(out, 0x80, secret.as_bytes());
            }),
        }
        out
    }
}

impl Search {
    fn put(&self, out: &mut Vec<u8>, cookie: &[u8], floor_entries: u32) {
        put_nested(out, 0x63, |out| {
            put_octets(out, OCTET_STRING, self.base.as_bytes());
            put_integer(out, ENUMERATED, if self.subtree { 2 } else { 0 });
            put_integer(out, ENUMERATED, 0);
            put_integer(out, INTEGER, self.size_limit);
            put_integer(out, INTEGER, floor_entries);
            put_octets(out, 0x01, &[0]);
            self.filter.put(out);
            put_nested(out, SEQUENCE, |out| {
                for name in self.attributes {
                    put_octets(out, OCTET_STRING, name.as_bytes());
                }
            });
        });
        if self.page == 0 && self.sort.is_none() {
            return;
        }
        put_nested(out, 0xa0, |out| {
            if let Some(key) = self.sort {
                control(out, SORT_REQUEST, |out| {
                    put_nested(out, SEQUENCE, |out| {
                        put_octets(out, OCTET_STRING, key.as_bytes());
                        put_octets(out, 0x80, b"caseIgnoreOrderingMatch");
                    });
                });
            }
            if let Some(window) = self.window {
                control(out, VLV_REQUEST, |out| {
                    put_integer(out, INTEGER, 0);
                    put_integer(out, INTEGER, window.entries - 1);
                    put_nested(out, 0xa0, |out| {
                        put_integer(out, INTEGER, window.offset);
                        put_integer(out, INTEGER, 0);
                    });
                });
            }
            if self.page > 0 {
                control(out, PAGED_RESULTS, |out| {
                    put_integer(out, INTEGER, self.page);
                    put_octets(out, OCTET_STRING, cookie);
                });
            }
        });
    }
}

/// A critical control whose value is one sequence.
fn control(out: &mut Vec<u8>, oid: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    put_nested(&mut inner, SEQUENCE, value);
    put_nested(out, SEQUENCE, |out| {
        put_octets(out, OCTET_STRING, oid);
        put_octets(out, 0x01, &[0xff]);
        put_octets(out, OCTET_STRING, &inner);
    });
}

/// A whole message. The id takes four octets.
pub fn put_message(out: &mut Vec<u8>, id: u32, body: &[u8]) {
    ber::put_header(out, SEQUENCE, body.len() + 6);
    out.extend_from_slice(&[INTEGER, 4]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(body);
}

/// One message of an answer, walked.
pub struct Answer<'a> {
    pub id: u32,
    pub tag: u8,
    /// Contents of the operation.
    pub operation: &'a [u8],
    /// Octets behind the operation: controls.
    pub controls: &'a [u8],
}

/// The first message of `octets` and its length; `None` where it is not there yet.
pub fn next(octets: &[u8]) -> anyhow::Result<Option<(Answer<'_>, usize)>> {
    let Some(header) = ber::header(octets)? else {
        return Ok(None);
    };
    let length = header.header + header.contents;
    let Some(contents) = octets.get(header.header..length) else {
        return Ok(None);
    };
    let mut reader = Reader::new(contents);
    let id = reader.integer(INTEGER)?;
    let (tag, operation) = reader.element()?;
    let controls = reader.optional(0xa0)?.unwrap_or_default();
    let answer = Answer {
        id: u32::try_from(id)?,
        tag,
        operation,
        controls,
    };
    Ok(Some((answer, length)))
}

impl Answer<'_> {
    pub fn is_entry(&self) -> bool {
        self.tag == ENTRY
    }

    pub fn is_final(&self) -> bool {
        self.tag != ENTRY && self.tag != REFERENCE
    }

    /// Result code and diagnostic message.
    pub fn result(&self) -> anyhow::Result<(u32, String)> {
        let mut reader = Reader::new(self.operation);
        let code = reader.integer(ENUMERATED)?;
        reader.octets()?;
        let text = String::from_utf8_lossy(reader.octets()?).into_owned();
        Ok((u32::try_from(code)?, text))
    }

    /// The cookie of the paged results control.
    pub fn cookie(&self) -> anyhow::Result<Vec<u8>> {
        let mut controls = Reader::new(self.controls);
        while !controls.is_empty() {
            let mut control = controls.enter(SEQUENCE)?;
            if control.octets()? == PAGED_RESULTS {
                control.optional(0x01)?;
                let mut value = Reader::new(control.octets()?).enter(SEQUENCE)?;
                value.integer(INTEGER)?;
                return Ok(value.octets()?.to_vec());
            }
        }
        bail!("a page came without the paged results control")
    }

    /// The entry in a spelling that does not depend on the order of attributes and values: name, then `type: value` sorted.
    pub fn entry(&self) -> anyhow::Result<(String, Vec<Vec<u8>>)> {
        let mut reader = Reader::new(self.operation);
        let name = std::str::from_utf8(reader.octets()?).context("a name is not UTF-8")?;
        let name = name.to_lowercase().replace(", ", ",");
        let mut values = Vec::new();
        let mut attributes = reader.enter(SEQUENCE)?;
        while !attributes.is_empty() {
            let mut attribute = attributes.enter(SEQUENCE)?;
            let description = attribute.octets()?.to_ascii_lowercase();
            let mut set = attribute.enter(SET)?;
            while !set.is_empty() {
                values.push([&description, &b": "[..], set.octets()?].concat());
            }
        }
        values.sort();
        Ok((name, values))
    }
}
