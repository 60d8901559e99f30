//! How the server spells what can be spelled in many ways: object classes, and names (RFC 4514 section 2). What is spelled so
//! already costs a look at its octets.

use super::matching::split_uid;
use super::{AttributeId, Schema, Syntax};
use crate::model::{AttributeDescription, Ava, Dn, Entry, Rdn, Value};

impl Schema {
    /// Spells an entry's object classes by their names, and its values that are names as [`Schema::spell_values`] does.
    pub fn spell_entry(&self, entry: &mut Entry) {
        for attribute in &mut entry.attributes {
            self.spell_description(&mut attribute.description);
            match self.find_attribute(&attribute.description.attribute_type) {
                Some(id) if id == self.well_known.object_class => self.name_classes_of(&mut attribute.values),
                Some(id) => self.spell_values(id, &mut attribute.values),
                None => {}
            }
        }
    }

    /// Puts options in order, and adds `;binary` where values are to be sent so (RFC 4523 section 2): with it and without the attribute is the same
    /// (RFC 4522 section 3), and it is kept in one place.
    pub fn spell_description(&self, description: &mut AttributeDescription) {
        let id = self.find_attribute(&description.attribute_type);
        let wants = id.is_some_and(|id| self.attribute(id).syntax.wants_binary_option());
        let has = |description: &AttributeDescription| {
            let mut options = description.options.iter();
            options.any(|option| option.eq_ignore_ascii_case("binary"))
        };
        if wants && !has(description) {
            description.options.push("binary".to_owned());
        }
        // Their order says nothing (RFC 4512 section 2.5), so there is one, slapd's; sorting by a flag and the letters is stable.
        if description.options.len() > 1 {
            let place = |option: &String| (!option.eq_ignore_ascii_case("binary"), option.to_ascii_lowercase());
            description.options.sort_by_cached_key(place);
        }
    }

    /// Spells an entry's object classes by their names: as given they may be OIDs, or in any case.
    pub fn name_classes(&self, entry: &mut Entry) {
        let object_class = self.well_known.object_class;
        for attribute in &mut entry.attributes {
            if self.find_attribute(&attribute.description.attribute_type) == Some(object_class) {
                self.name_classes_of(&mut attribute.values);
            }
        }
    }

    fn name_classes_of(&self, values: &mut [Value]) {
        for value in values {
            let name = self.class_of(value).map(|class| self.class(class).name().as_bytes());
            if let Some(name) = name.filter(|name| name != value) {
                *value = name.to_vec();
            }
        }
    }

    /// Where values of a type are names, spells them as RFC 4514 section 2 has it, types by their first names. Other spellings are
    /// for reading alone (section 3, RFC 2253, RFC 1779). What is no name stays. UUIDs are in lower case (RFC 4122 section 3).
    pub fn spell_values(&self, id: AttributeId, values: &mut [Value]) {
        let syntax = self.attribute(id).syntax;
        if syntax == Syntax::Uuid {
            values.iter_mut().for_each(|value| value.make_ascii_lowercase());
        }
        if !syntax.holds_names() {
            return;
        }
        for value in values {
            let (name, uid) = match syntax {
                Syntax::NameAndOptionalUid => split_uid(value),
                _ => (value.as_slice(), None),
            };
            let spelled = std::str::from_utf8(name).ok().and_then(|name| self.respelled(name));
            let has_space = uid.is_some_and(|uid| !value.ends_with(uid));
            let spelled = spelled
                .map(String::into_bytes)
                .or_else(|| has_space.then(|| name.to_vec()));
            if let Some(mut spelled) = spelled {
                if let Some(uid) = uid {
                    spelled.push(b'#');
                    spelled.extend_from_slice(uid);
                }
                *value = spelled;
            }
        }
    }

    /// A name with its types by their first names, where it has others; types that nobody defined stay.
    pub fn spell_dn(&self, dn: &mut Dn) {
        if dn.rdns().iter().all(|rdn| self.is_rdn_spelled(rdn)) {
            return;
        }
        let mut rdns = dn.rdns().to_vec();
        rdns.iter_mut().for_each(|rdn| self.spell_rdn(rdn));
        *dn = Dn::from_rdns(rdns);
    }

    /// As [`Schema::spell_dn`].
    pub fn spell_rdn(&self, rdn: &mut Rdn) {
        for ava in &mut rdn.avas {
            if let Some(name) = self.first_name(&ava.attribute).filter(|name| *name != ava.attribute) {
                ava.attribute = name.to_owned();
            }
        }
    }

    fn is_rdn_spelled(&self, rdn: &Rdn) -> bool {
        let spelled = |ava: &Ava| self.first_name(&ava.attribute).is_none_or(|name| name == ava.attribute);
        rdn.avas.iter().all(spelled)
    }

    fn first_name(&self, attribute_type: &str) -> Option<&str> {
        self.find_attribute(attribute_type).map(|id| self.attribute(id).name())
    }

    /// The name spelled as it should be; `None` where it is, or is no name.
    fn respelled(&self, name: &str) -> Option<String> {
        if self.is_spelled(name) {
            return None;
        }
        let mut dn = Dn::parse(name).ok()?;
        self.spell_dn(&mut dn);
        Some(dn.to_string())
    }

    /// Whether nothing of a name can be spelled otherwise. Of names with escapes it says no, though they may be spelled well.
    fn is_spelled(&self, name: &str) -> bool {
        name.split([',', '+']).all(|ava| {
            ava.split_once('=').is_some_and(|(attribute, value)| {
                is_plain(value.as_bytes()) && self.first_name(attribute).is_some_and(|name| name == attribute)
            })
        })
    }
}

/// Whether a value within a name needs no escapes and has none.
fn is_plain(value: &[u8]) -> bool {
    let is_special = |octet: &u8| matches!(octet, 0..=0x1f | 0x7f | b'"' | b';' | b'\\' | b'<' | b'>');
    !matches!(value.first(), Some(b' ' | b'#')) && value.last() != Some(&b' ') && !value.iter().any(is_special)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Attribute;
    use crate::model::random::Random;

    fn spelled(schema: &Schema, attribute: &str, value: &str) -> String {
        let mut entry = Entry::default();
        let value = value.as_bytes().to_vec();
        entry.attributes.push(Attribute::new(attribute, vec![value]));
        schema.spell_entry(&mut entry);
        String::from_utf8(entry.attributes.remove(0).values.remove(0)).unwrap()
    }

    #[test]
    fn rfc_4514_2_names_as_values_have_one_spelling() {
        let schema = Schema::builtin().unwrap();
        for (attribute, given, expected) in [
            (
                "member",
                "UID=ann;OU=\"people\",dc=example , dc=com",
                "uid=ann,ou=people,dc=example,dc=com",
            ),
            ("member", "OID.2.5.4.3 = Ann  Lee + commonName=x", "cn=Ann  Lee+cn=x"),
            ("2.5.4.31", "cn=a\\3db\\2cc,o=nhs", "cn=a=b\\,c,o=nhs"),
            ("member", "cn=\\20a\\20,o=\"x,y\"", "cn=\\ a\\ ,o=x\\,y"),
            ("manager", "CN=#040141,o=nhs", "cn=A,o=nhs"),
            ("member", "noSuch = Ab,o=nhs", "noSuch=Ab,o=nhs"),
            ("member", "", ""),
            ("member", "cn=\u{e9} b,o=NHS", "cn=\u{e9} b,o=NHS"),
            ("member", "no name;", "no name;"),
            ("uniqueMember", "CN=a; o=nhs#'01'B", "cn=a,o=nhs#'01'B"),
            ("uniqueMember", "CN=a; o=n#hs", "cn=a,o=n#hs"),
            ("uniqueMember", "cn=a,o=nhs#'01'B ", "cn=a,o=nhs#'01'B"),
            ("description", "CN=a; o=nhs", "CN=a; o=nhs"),
            ("objectClass", "2.5.6.6", "person"),
            (
                "entryUUID",
                "597AE2F6-16A6-1027-98F4-D28B5365DC14",
                "597ae2f6-16a6-1027-98f4-d28b5365dc14",
            ),
        ] {
            assert_eq!(spelled(&schema, attribute, given), expected, "{attribute}: {given}");
        }
    }

    #[test]
    fn descriptions_have_one_order_of_options_and_certificates_are_binary() {
        let schema = Schema::builtin().unwrap();
        for (given, expected) in [
            ("userCertificate", "userCertificate;binary"),
            ("userCertificate;binary", "userCertificate;binary"),
            ("2.5.4.36;BINARY", "2.5.4.36;BINARY"),
            ("cACertificate;x-a", "cACertificate;binary;x-a"),
            ("o;lang-zz;lang-Y;lang-yy", "o;lang-Y;lang-yy;lang-zz"),
            ("jpegPhoto", "jpegPhoto"),
            ("nosuch", "nosuch"),
        ] {
            let mut description = AttributeDescription::parse(given).unwrap();
            schema.spell_description(&mut description);
            assert_eq!(description.to_string(), expected);
        }
    }

    /// What the look at the octets lets pass is what the whole way would make of it.
    #[test]
    fn what_passes_for_spelled_is_spelled() {
        let schema = Schema::builtin().unwrap();
        let mut random = Random::from_environment();
        let mut passed = 0;
        for _ in 0..20_000 {
            let pieces = [
                "cn", "CN", "2.5.4.3", "=", "=", ",", "+", " ", "a", "#", ";", "\\", "\"", "\u{e9}", "<", "\u{1}",
            ];
            let text: String = (0..random.below(9))
                .map(|_| pieces[random.below(pieces.len())])
                .collect();
            let text = format!("cn={text}");
            let whole = Dn::parse(&text).map(|mut dn| {
                schema.spell_dn(&mut dn);
                dn.to_string()
            });
            if schema.is_spelled(&text) {
                passed += 1;
                assert_eq!(whole.as_ref(), Ok(&text));
            }
        }
        assert!(passed > 100, "{passed}");
    }
}
