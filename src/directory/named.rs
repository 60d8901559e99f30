//! Whom a name means: that of a bind, an authorization identity, the user identity of a Password Modify.
//!
//! Invariant: a name that means more than one means nobody.

use super::Directory;
use crate::model::Dn;
use crate::schema::NormalizedDn;

/// How somebody is named (RFC 4513 section 5.2.1.8). The prefixes are in any case.
#[derive(Clone, Copy)]
pub(super) enum Named<'a> {
    /// `dn:` and a DN in any spelling.
    Dn(&'a str),
    /// `u:` and a name to bind with.
    User(&'a str),
    /// Neither prefix: a DN or a name alone, which is no authorization identity.
    Either(&'a str),
}

impl Named<'_> {
    pub(super) fn parse(text: &str) -> Named<'_> {
        match text.split_once(':') {
            Some((prefix, dn)) if prefix.eq_ignore_ascii_case("dn") => Named::Dn(dn),
            Some((prefix, name)) if prefix.eq_ignore_ascii_case("u") => Named::User(name),
            _ => Named::Either(text),
        }
    }
}

impl Directory {
    /// The key of whoever is named so.
    pub(super) fn key_of_named(&self, named: Named<'_>) -> Option<NormalizedDn> {
        match named {
            Named::Dn(dn) => self.bind_key(dn),
            Named::User(name) => self.key_of_user(name),
            Named::Either(text) => self.bind_key(text).or_else(|| self.key_of_user(text)),
        }
    }

    /// The account of that name or mail-like name, or else the entry whose `uid` it is.
    fn key_of_user(&self, name: &str) -> Option<NormalizedDn> {
        let account = self.accounts.find_by_name(name, None);
        let key = account.map(|account| account.facts.key.clone());
        key.or_else(|| self.key_of_uid(name))
    }

    /// The key of a name to bind with; `None` where it is an account's name, or nobody's.
    pub(super) fn key_of_name(&self, name: &str) -> Option<NormalizedDn> {
        self.bind_key(name).or_else(|| self.key_of_uid(name))
    }

    /// The key where the name is a DN of the schema; names and mail-like names have none.
    pub(super) fn bind_key(&self, name: &str) -> Option<NormalizedDn> {
        name.contains('=')
            .then(|| Dn::parse(name).ok().and_then(|dn| self.schema().normalize_dn(&dn).ok()))
            .flatten()
    }
}
