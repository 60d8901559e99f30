//! LDAP URLs (RFC 4516) as far as referrals need them: where to go on, for which name, how far. And those of local files.

use super::{Dn, SearchScope};
use std::fmt::Write;

/// An LDAP URL in its parts; what is not looked at is kept as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LdapUrl<'a> {
    /// Scheme, `://`, host and port.
    server: &'a str,
    pub dn: Dn,
    attributes: &'a str,
    scope: &'a str,
    filter: &'a str,
    extensions: &'a str,
}

const SCHEMES: [&str; 4] = ["ldap", "ldaps", "ldapi", "cldap"];

impl<'a> LdapUrl<'a> {
    /// `None` for a URL of another scheme, or one whose name does not parse.
    pub fn parse(text: &'a str) -> Option<LdapUrl<'a>> {
        let (scheme, rest) = text.split_once("://")?;
        if !SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
            return None;
        }
        let host = rest.find(['/', '?']).unwrap_or(rest.len());
        let (server, path) = text.split_at(text.len() - rest.len() + host);
        let mut parts = path.strip_prefix('/').unwrap_or(path).splitn(5, '?');
        let mut part = || parts.next().unwrap_or_default();
        Some(LdapUrl {
            server,
            dn: Dn::parse(&decoded(part())?).ok()?,
            attributes: part(),
            scope: part(),
            filter: part(),
            extensions: part(),
        })
    }

    /// For a search that goes on elsewhere: a scope the URL has of its own stays (RFC 3296 section 5.4).
    pub fn for_search(&self, dn: &Dn, scope: SearchScope) -> String {
        let scope = match (self.scope, scope) {
            ("", SearchScope::BaseObject) => "base",
            ("", SearchScope::SingleLevel) => "one",
            ("", SearchScope::WholeSubtree) => "sub",
            ("", SearchScope::Subordinates) => "children",
            (own, _) => own,
        };
        self.text(dn, [self.attributes, scope, self.filter, self.extensions])
    }

    /// For another operation: scope, filter and attributes are trimmed (RFC 3296 section 5.2).
    pub fn for_target(&self, dn: &Dn) -> String {
        self.text(dn, ["", "", "", self.extensions])
    }

    fn text(&self, dn: &Dn, parts: [&str; 4]) -> String {
        let mut text = format!("{}/", self.server);
        for octet in dn.to_string().bytes() {
            let plain = octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&octet);
            if plain {
                text.push(char::from(octet));
            } else {
                write!(text, "%{octet:02X}").expect("writing to memory succeeds");
            }
        }
        let used = parts
            .iter()
            .rposition(|part| !part.is_empty())
            .map_or(0, |last| last + 1);
        for part in parts.iter().take(used) {
            text.push('?');
            text.push_str(part);
        }
        text
    }
}

/// The path in a URL of a file on this machine (RFC 8089): no host, or `localhost`. `None` for any other.
pub fn file_path(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once(':')?;
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/')?);
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                return None;
            }
            path
        }
    };
    let path = decoded(path).filter(|path| path.starts_with('/') && !path.contains('\0'))?;
    scheme.eq_ignore_ascii_case("file").then_some(path)
}

/// Without percent-encoding; `None` where that is broken or is no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((octet, after)) = rest.split_first() {
        rest = after;
        if *octet != b'%' {
            octets.push(*octet);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        rest = after;
        octets.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8089_files_on_this_machine_have_paths() {
        for (url, path) in [
            ("file:///tmp/a%20b", Some("/tmp/a b")),
            ("FILE://LocalHost/x", Some("/x")),
            ("file:/x", Some("/x")),
            ("file://elsewhere/x", None),
            ("file:x", None),
            ("file://", None),
            ("file:///a%00", None),
            ("file:///a%4", None),
            ("http:///x", None),
            ("/x", None),
        ] {
            assert_eq!(file_path(url).as_deref(), path, "{url}");
        }
    }

    #[test]
    fn urls_are_made_for_the_operation() {
        let to = Dn::parse("cn=a b,o=x").unwrap();
        for (url, search, target) in [
            ("ldap://h", "ldap://h/cn=a%20b,o=x??sub", "ldap://h/cn=a%20b,o=x"),
            (
                "LDAPS://h:1/o=y",
                "LDAPS://h:1/cn=a%20b,o=x??sub",
                "LDAPS://h:1/cn=a%20b,o=x",
            ),
            (
                "ldap://h/o=y?cn?one?(a=b)?!x",
                "ldap://h/cn=a%20b,o=x?cn?one?(a=b)?!x",
                "ldap://h/cn=a%20b,o=x????!x",
            ),
        ] {
            let parsed = LdapUrl::parse(url).unwrap();
            assert_eq!(parsed.for_search(&to, SearchScope::WholeSubtree), search);
            assert_eq!(parsed.for_target(&to), target);
        }
        assert_eq!(LdapUrl::parse("ldap://h/o=a%2cb").map(|url| url.dn.to_string()), None);
        assert_eq!(LdapUrl::parse("ldap://h/o=a%20b").unwrap().dn.to_string(), "o=a b");
        for broken in [
            "http://h/o=y",
            "ldap:/h",
            "ldap://h/o=%zz",
            "ldap://h/o=%2",
            "ldap://h/nonsense",
            "",
        ] {
            assert_eq!(LdapUrl::parse(broken), None, "{broken}");
        }
    }
}
