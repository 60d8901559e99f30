//! The whole room at once: the built-in schema, names, entries, extensions.

use super::*;
use crate::model::{Attribute, AttributeDescription, Entry};

fn schema() -> Schema {
    Schema::builtin().unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn key(schema: &Schema, text: &str) -> NormalizedDn {
    schema.normalize_dn(&Dn::parse(text).unwrap()).unwrap()
}

fn entry(dn: &str, attributes: &[(&str, &str)]) -> Entry {
    let mut entry = Entry {
        dn: Dn::parse(dn).unwrap(),
        attributes: Vec::new(),
    };
    for (description, value) in attributes {
        let mut parts = description.split(';').map(str::to_owned);
        let description = AttributeDescription {
            attribute_type: parts.next().unwrap(),
            options: parts.collect(),
        };
        match entry.attributes.iter_mut().find(|it| it.description == description) {
            Some(attribute) => attribute.values.push(value.as_bytes().to_vec()),
            None => entry.attributes.push(Attribute {
                description,
                values: vec![value.as_bytes().to_vec()],
            }),
        }
    }
    entry
}

#[test]
fn the_built_in_schema_loads_and_inherits() {
    let schema = schema();
    let cn = schema.attribute(schema.find_attribute("COMMONNAME").unwrap());
    assert_eq!(cn.name(), "cn");
    assert_eq!(cn.equality, Some(MatchingRule::CaseIgnore));
    assert_eq!(cn.syntax, Syntax::DirectoryString);
    assert_eq!(schema.find_attribute("2.5.4.3"), Some(cn.id));
    let name = schema.attribute(schema.find_attribute("name").unwrap());
    assert!(name.subtypes.contains(&cn.id) && name.subtypes.contains(&name.id));
    assert!(name.subtypes.is_sorted());
    let person = schema.class(schema.find_class("nhsPerson").unwrap());
    let sn = schema.find_attribute("surname").unwrap();
    assert!(person.must.contains(&sn));
    let top = schema.find_class("top").unwrap();
    assert!(schema.class_chain(person.id).contains(&top));
    assert_eq!(schema.find_rule("CaseIgnoreMatch"), Some(MatchingRule::CaseIgnore));
    assert_eq!(
        schema.find_rule("2.5.13.28"),
        Some(MatchingRule::GeneralizedTimeOrdering)
    );
    for (index, attribute) in schema.attributes().iter().enumerate() {
        assert_eq!(usize::from(attribute.id.0), index);
    }
}

#[test]
fn nhs_definitions_keep_their_oids_and_rules() {
    let schema = schema();
    for (name, oid, equality, single) in [
        (
            "nhsIDCode",
            "1.2.826.0.1285.0.1.10",
            Some(MatchingRule::CaseExact),
            true,
        ),
        (
            "nhsMHSPartyKey",
            "1.2.826.0.1285.0.2.1.82",
            Some(MatchingRule::CaseIgnore),
            true,
        ),
        (
            "nhsAsSvcIA",
            "1.2.826.0.1285.0.2.1.122",
            Some(MatchingRule::CaseExact),
            false,
        ),
        ("nhsOrgType", "1.2.826.0.1285.0.1.15", None, true),
        ("nhsEBS", "1.2.826.0.1285.0.2.1.281", None, false),
    ] {
        let it = schema.attribute(schema.find_attribute(name).unwrap());
        assert_eq!(
            (it.oid.as_str(), it.equality, it.single_value),
            (oid, equality, single),
            "{name}"
        );
    }
    let ours = |oid: &str| oid.starts_with("1.2.826.0.1285.");
    assert_eq!(schema.attributes().iter().filter(|it| ours(&it.oid)).count(), 130);
    assert_eq!(schema.classes().iter().filter(|it| ours(&it.oid)).count(), 22);
}

#[test]
fn names_that_mean_the_same_have_one_key() {
    let schema = schema();
    let one = key(&schema, "uid=123456789012,ou=People,o=nhs");
    for other in [
        "UID=123456789012, OU=people , O=NHS",
        "userid=123456789012,organizationalUnitName=  People ,2.5.4.10=nhs",
    ] {
        assert_eq!(key(&schema, other), one, "{other}");
    }
    assert_eq!(one.0, b"o=nhs\0ou=people\0uid=123456789012\0");
    assert_eq!(one.depth(), 3);
    assert!(one.is_within(&key(&schema, "o=nhs")));
    assert_eq!(one.parent(), Some(key(&schema, "ou=people,o=nhs")));
    assert!(!key(&schema, "ou=peoples,o=nhs").is_within(&key(&schema, "ou=people,o=nhs")));
    assert_eq!(key(&schema, "sn=b+cn=a,o=nhs"), key(&schema, "cn=A+sn=B,o=nhs"));
    assert_ne!(key(&schema, "cn=a+sn=b"), key(&schema, "sn=b,cn=a"));
    assert!(key(&schema, "").is_root());
}

#[test]
fn octets_that_separate_are_escaped_in_keys() {
    let schema = schema();
    let with_nul = key(&schema, "nhsOrgType=a\\00b\\01c\\02d,o=nhs");
    assert_eq!(with_nul.0, b"o=nhs\0nhsorgtype=a\x01\x03b\x01\x04c\x01\x05d\0");
    assert_eq!(with_nul.depth(), 2);
}

#[test]
fn names_outside_the_schema_are_refused() {
    let schema = schema();
    let refusal = |text: &str| schema.normalize_dn(&Dn::parse(text).unwrap()).unwrap_err();
    assert_eq!(
        refusal("foo=1,o=nhs"),
        SchemaViolation::UndefinedAttributeType { name: "foo".to_owned() }
    );
    assert!(matches!(
        refusal("cn=a+commonName=b"),
        SchemaViolation::RepeatedNamingAttribute { .. }
    ));
    assert!(matches!(
        refusal("pwdReset=maybe"),
        SchemaViolation::InvalidSyntax { .. }
    ));
}

#[test]
fn names_within_names_end() {
    let schema = schema();
    assert!(schema.normalize_dn(&Dn::parse("member=cn\\=x,o=nhs").unwrap()).is_ok());
    let deep = format!("{}cn=x", "member=".repeat(1_000));
    assert!(schema.normalize_dn(&Dn::parse(&deep).unwrap()).is_err());
}

const PERSON: &[(&str, &str)] = &[
    ("objectClass", "nhsPerson"),
    ("uid", "123456789012"),
    ("cn", "Mary Smith"),
    ("sn", "Smith"),
    ("nhsPersonStatus", "active"),
];

type Pairs = Vec<(&'static str, &'static str)>;

fn violations(change: impl Fn(&mut Pairs)) -> Vec<String> {
    let mut attributes = PERSON.to_vec();
    change(&mut attributes);
    let entry = entry("uid=123456789012,ou=People,o=nhs", &attributes);
    match schema().check_entry(&entry) {
        Ok(()) => Vec::new(),
        Err(all) => all.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn entries_are_checked_against_their_classes() {
    assert_eq!(violations(|_| {}), Vec::<String>::new());
    let check = |expected: &str, change: &dyn Fn(&mut Pairs)| {
        assert_eq!(violations(change), [expected]);
    };
    check("object class nhsPerson requires sn", &|it| {
        it.retain(|(name, _)| *name != "sn")
    });
    check("attribute type shoeSize is not defined", &|it| {
        it.push(("shoeSize", "9"))
    });
    check("object class wizard is not defined", &|it| {
        it.push(("objectClass", "wizard"))
    });
    check("nhsIDCode is not allowed by the entry's object classes", &|it| {
        it.push(("nhsIDCode", "A1"))
    });
    check("nhsGMC is single-valued and has 2 values", &|it| {
        it.extend([("nhsGMC", "1"), ("nhsGMC", "2")]);
    });
    check("cn: value 1 is there twice", &|it| it.push(("cn", "mary  SMITH")));
    check(
        "structural object classes nhsPerson and groupOfNames are not in one line",
        &|it| {
            it.extend([("objectClass", "groupOfNames"), ("member", "o=nhs")]);
        },
    );
    check(
        "mail: value 0 is no IA5 String: it has characters beyond ASCII",
        &|it| it.push(("mail", "é@nhs.net")),
    );
    check("naming attribute uid=123456789012 is not in the entry", &|it| {
        it[1] = ("uid", "1")
    });
}

#[test]
fn entries_may_use_what_classes_options_and_operations_allow() {
    for extra in [
        &[("objectClass", "extensibleObject"), ("nhsIDCode", "A1")][..],
        &[
            ("objectClass", "nhsdirPrivacy"),
            ("nhsdirHidden", "mobile"),
            ("mobile", "+44 7700 900123"),
        ],
        &[("cn;lang-cy", "Mair Smith")],
        &[("entryUUID", "597ae2f6-16a6-1027-98f4-d28b5365dc14")],
        &[("objectClass", "person"), ("objectClass", "top")],
    ] {
        assert_eq!(
            violations(|it| it.extend_from_slice(extra)),
            Vec::<String>::new(),
            "{extra:?}"
        );
    }
}

#[test]
fn extensions_of_every_dialect_load() {
    let directives = "\
objectidentifier acme 1.3.6.1.4.1.55555
objectidentifier acmeAttr acme:1
# before use
objectclass ( acme:2.1 NAME 'acmeThing' SUP acmeBase AUXILIARY MAY acmeColour )
objectclass ( acme:2.2 NAME 'acmeBase' ABSTRACT )
attributetype ( acmeAttr:1
\tNAME ( 'acmeColour' 'acmeColor' )
\tDESC 'the thing's colour'
\tSUP name X-ORIGIN ( 'a' 'b' ) )
attributetype ( 2.5.4.3 NAME ( 'cn' 'commonName' ) DESC 'other words' SUP name )
";
    let ldif = "\
dn: cn=schema
objectClass: subschema
attributeTypes: ( 1.3.6.1.4.1.55556.1 NAME 'acmeSi
 ze' EQUALITY integerMatch SYNTAX '1.3.6.1.4.1.1466.115.121.1.27' )
olcObjectClasses: {0}( 1.3.6.1.4.1.55556.2 NAME 'acmeBox' SUP top STRUCTURAL MUST acmeSize )
dITContentRules: ( 1.3.6.1.4.1.55556.2 NAME 'acmeBoxes' AUX nhsdirPrivacy NOT description )
";
    let files = [
        ("acme.schema".to_owned(), directives.to_owned()),
        ("acme.ldif".to_owned(), ldif.to_owned()),
    ];
    let schema = Schema::load(&files).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let colour = schema.attribute(schema.find_attribute("acmecolor").unwrap());
    assert_eq!(colour.oid, "1.3.6.1.4.1.55555.1.1");
    assert_eq!(colour.substrings, Some(MatchingRule::CaseIgnoreSubstrings));
    assert!(schema.find_class("acmeThing").is_some());
    let size = schema.attribute(schema.find_attribute("acmeSize").unwrap());
    assert_eq!(size.syntax, Syntax::Integer);
    let published = schema.subschema_attributes();
    let types = &published.iter().find(|(name, _)| *name == "attributeTypes").unwrap().1;
    let expected = "( 1.3.6.1.4.1.55555.1.1 NAME ( 'acmeColour' 'acmeColor' ) DESC 'the thing\\27s colour' SUP name \
                    X-ORIGIN ( 'a' 'b' ) )";
    assert!(types.iter().any(|it| it == expected), "{types:#?}");
    let boxed = [
        ("objectClass", "acmeBox"),
        ("objectClass", "nhsdirPrivacy"),
        ("acmeSize", "3"),
        ("objectClass", "uidObject"),
        ("uid", "1"),
    ];
    let faults = schema.check_entry(&entry("acmeSize=3,o=nhs", &boxed)).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(
        faults[0].to_string(),
        "the content rule of acmeBox does not allow auxiliary class uidObject"
    );
}

#[test]
fn every_fault_is_told_with_its_line() {
    let faulty = "\
attributetype ( 1.2.3.1 NAME 'a' SUP missing )
attributetype ( 1.2.3.2 NAME 'b' EQUALITY noSuchMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.2.3.3 NAME 'cc' SYNTAX 1.2.3 )
attributetype ( 1.2.3.4 NAME 'd' SUP e )
attributetype ( 1.2.3.5 NAME 'e' SUP d )
attributetype ( 1.2.3.6 NAME 'f' )
objectclass ( 1.2.3.7 NAME 'g' SUP h )
objectclass ( 1.2.3.8 NAME 'h' SUP g )
objectclass ( 1.2.3.9 NAME 'i' SUP top MUST ( a $ nothing ) )
objectclass ( 1.2.3.10 NAME 'j' SUP dcObject STRUCTURAL )
";
    let lines = |text: &str| -> Vec<usize> {
        let Err(faults) = Schema::load(&[("faulty.schema".to_owned(), text.to_owned())]) else {
            return Vec::new();
        };
        assert!(faults.iter().all(|fault| fault.file == "faulty.schema"), "{faults:#?}");
        let mut lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    };
    assert_eq!(lines(faulty), (1..=10).collect::<Vec<_>>());
    let unreadable = "\
attributetype 1.2.3
attributetype ( nope NAME 'a' )
attributetype ( 1.2.3.1 NAME 'a' SYNTAX 1.2.3
attributetype ( 1.2.3.1 NAME 'a' NAME 'b' )
attributetype ( 1.2.3.1 NAME '1a' )
colour ( 1.2.3 )
attributetype ( 2.5.4.3 NAME 'cn' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.2.3.4 NAME 'cn' SUP name )
ldapSyntaxes: ( 1.2.3 DESC 'ours' )
objectidentifier a b c
attributeTypes:: !!
objectclass ( 1.2.3.9 NAME 'x' ABSTRACT AUXILIARY )
";
    assert_eq!(lines(unreadable), (1..=12).collect::<Vec<_>>());
}

#[test]
fn the_published_schema_reads_back_as_itself() {
    let schema = schema();
    let published = schema.subschema_attributes();
    let mut text = String::from("dn: cn=Subschema\n");
    for (name, values) in &published {
        assert!(!values.is_empty(), "{name}");
        for value in values {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    let again = Schema::load(&[("published.ldif".to_owned(), text)]).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(again.subschema_attributes(), published);
}

#[test]
fn a_filter_tells_the_first_type_it_does_not_know() {
    let schema = schema();
    let filter = Filter::parse("(&(cn;lang-en=a)(|(mail=b*)(!(colour>=3))))").unwrap();
    assert_eq!(schema.first_undefined(&filter), Some("colour"));
}

/// RFC 4512 section 2.4.1.
#[test]
fn an_abstract_class_is_an_entrys_by_way_of_another() {
    let text = "objectclass ( 1.2.3.1 NAME 'base' SUP top ABSTRACT MAY description )\n\
                objectclass ( 1.2.3.2 NAME 'thing' SUP base STRUCTURAL MUST cn )\n\
                objectclass ( 1.2.3.3 NAME 'more' SUP base AUXILIARY )\n\
                objectclass ( 1.2.3.4 NAME 'lone' STRUCTURAL MUST cn )\n";
    let schema = Schema::load(&[("x.schema".to_owned(), text.to_owned())]).unwrap();
    for (classes, allowed) in [
        (&["device", "top"][..], true),
        (&["lone", "top"], true),
        (&["thing", "base", "top"], true),
        (&["device", "more", "base"], true),
        (&["device", "base"], false),
        (&["lone", "base"], false),
    ] {
        let classes = classes.iter().map(|class| ("objectClass", *class));
        let attributes: Pairs = classes.chain([("cn", "a")]).collect();
        let faults = schema
            .check_entry(&entry("cn=a,o=nhs", &attributes))
            .err()
            .unwrap_or_default();
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let expected: &[&str] = match allowed {
            true => &[],
            false => &["no class of the entry is derived from abstract class base"],
        };
        assert_eq!(faults, expected, "{attributes:?}");
    }
}

/// A schema that is in force, and what may come after it.
#[test]
fn a_schema_may_only_grow() {
    const BEFORE: &str = "attributetype ( 1.3.6.1.4.1.9.1 NAME ( 'petName' 'pet' ) EQUALITY caseIgnoreMatch \
                          SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )\n\
                          attributetype ( 1.3.6.1.4.1.9.2 NAME 'petAge' EQUALITY integerMatch SYNTAX \
                          1.3.6.1.4.1.1466.115.121.1.27 )\n\
                          objectclass ( 1.3.6.1.4.1.9.3 NAME 'petOwner' AUXILIARY MUST petName MAY petAge )\n";
    let files = |text: &str| [("pets.schema".to_owned(), text.to_owned())];
    let before = Schema::load(&files(BEFORE)).unwrap();
    let old = before.find_attribute("petAge").unwrap();
    for (from, to) in [
        (
            "attributetype ( 1.3.6.1.4.1.9.1",
            "attributetype ( 1.3.6.1.4.1.9.0 NAME 'petKind' SUP name )\nattributetype ( 1.3.6.1.4.1.9.1",
        ),
        ("'pet' )", "'pet' 'animal' )"),
        (" SINGLE-VALUE", ""),
        ("MUST petName MAY petAge", "MAY ( petName $ petAge $ cn )"),
        ("AUXILIARY", "DESC 'keeps pets' AUXILIARY"),
        (
            "objectclass",
            "objectclass ( 1.3.6.1.4.1.9.4 NAME 'vet' SUP person )\nobjectclass",
        ),
    ] {
        let after = before.successor(&files(&BEFORE.replace(from, to)));
        let after = after.unwrap_or_else(|faults| panic!("{to}: {faults:?}"));
        assert_eq!(after.find_attribute("petAge"), Some(old), "{to}");
        assert!(!after.says_the_same(&before), "{to}");
    }
    for (from, to, expected) in [
        (
            "attributetype ( 1.3.6.1.4.1.9.2",
            "attributetype ( 1.3.6.1.4.1.9.7",
            "pets.schema:2: attribute type petAge is no longer",
        ),
        (
            "( 'petName' 'pet' )",
            "( 'pet' 'petName' )",
            "pets.schema:1: attribute type petName lost a name",
        ),
        ("( 'petName' 'pet' )", "'petName'", "lost a name"),
        ("caseIgnoreMatch", "caseExactMatch", "has another EQUALITY"),
        (
            "EQUALITY integerMatch",
            "EQUALITY integerMatch ORDERING integerOrderingMatch",
            "has another ORDERING",
        ),
        (
            "MUST petName MAY petAge",
            "MUST ( petName $ petAge )",
            "pets.schema:3: object class petOwner requires",
        ),
        ("MAY petAge", "", "no longer allows"),
        ("AUXILIARY", "STRUCTURAL", "is of another kind"),
        ("AUXILIARY", "SUP top AUXILIARY", "has another SUP"),
        (
            " )\nobjectclass",
            " )\nobjectclass ( 1.3.6.1.4.1.9.5 NAME 'stray' STRUCTURAL MUST cn )\nobjectclass",
            "not below top",
        ),
        (
            " )\nobjectclass",
            " )\nditcontentrule ( 2.5.6.6 MAY petAge )\nobjectclass",
            "has another content rule",
        ),
    ] {
        let after = before.successor(&files(&BEFORE.replace(from, to)));
        let faults = after.err().unwrap_or_else(|| panic!("{to} is taken"));
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(
            said.iter().any(|fault| fault.contains(expected)),
            "{expected}: {said:?}"
        );
        assert!(said.iter().all(|fault| fault.contains("start it again")), "{said:?}");
    }
    assert!(before.successor(&files(BEFORE)).unwrap().says_the_same(&before));
}

/// What another server's files define again counts once, where it is the same or less; what says more is a fault.
#[test]
fn what_is_defined_already_may_be_said_again() {
    let load = |text: &str| Schema::load(&[("again.schema".to_owned(), text.to_owned())]);
    for text in [
        // Other names of the same, in another order, and without superclass of all.
        "objectclass ( 0.9.2342.19200300.100.4.5 NAME 'account' STRUCTURAL MUST userid MAY ( host $ organizationName $ 2.5.4.11 $ \
         localityName $ seeAlso $ description ) )",
        "attributetype ( 2.5.4.38 NAME 'authorityRevocationList' SYNTAX 1.3.6.1.4.1.1466.115.121.1.9 )",
        "attributetype ( 0.9.2342.19200300.100.1.7 NAME 'photo' SYNTAX 1.3.6.1.4.1.1466.115.121.1.23{25000} )",
        "attributetype ( 1.2.840.113556.1.2.102 NAME 'memberOf' SYNTAX '1.3.6.1.4.1.1466.115.121.1.12' )",
        "objectclass ( 0.9.2342.19200300.100.4.5 NAME 'account' SUP top STRUCTURAL MUST ( uid $ host ) )",
    ] {
        let schema = load(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        assert!(schema.says_the_same(&Schema::builtin().unwrap()), "{text}");
    }
    for text in [
        "objectclass ( 0.9.2342.19200300.100.4.5 NAME 'account' SUP top STRUCTURAL MAY uid )",
        "objectclass ( 0.9.2342.19200300.100.4.5 NAME 'account' SUP top STRUCTURAL MUST uid MAY jpegPhoto )",
        "objectclass ( 0.9.2342.19200300.100.4.5 NAME 'account' SUP top AUXILIARY MUST uid )",
        "attributetype ( 2.5.4.38 NAME 'authorityRevocationList' SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )",
        "attributetype ( 2.5.4.38 NAME 'arl' SYNTAX 1.3.6.1.4.1.1466.115.121.1.9 )",
        "attributetype ( 2.5.4.4 NAME ( 'sn' 'surname' ) SUP name SINGLE-VALUE )",
        "attributetype ( 2.5.4.4 NAME ( 'sn' 'surname' ) EQUALITY caseExactMatch SUP name )",
    ] {
        let faults = load(text).err().unwrap_or_else(|| panic!("{text} is taken"));
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(
            said.iter()
                .all(|fault| fault.contains("is defined differently at schema/")),
            "{said:?}"
        );
    }
}

#[test]
fn names_as_values_are_names_that_can_be_compared() {
    let schema = schema();
    for (attribute, value, expected) in [
        ("member", "cn=a,o=nhs", None),
        ("member", "", None),
        ("member", "OID.2.5.4.3=a;o=nhs", None),
        ("member", "cn=#040161,o=nhs", None),
        ("member", "member=cn\\=a,o=nhs", None),
        ("uniqueMember", "cn=a,o=nhs#'01'B", None),
        ("member", "foo=a,o=nhs", Some("attribute type foo is not defined")),
        ("uniqueMember", "foo=a#'1'B", Some("attribute type foo is not defined")),
        (
            "member",
            "cn=a+commonName=b",
            Some("commonName is twice in one relative name"),
        ),
        ("member", "cn=,o=nhs", Some("it is empty")),
        ("member", "cn=\\ff,o=nhs", Some("not UTF-8 from byte 0")),
        ("member", "c=GBR", Some("\"GBR\" is not two letters")),
        (
            "member",
            "member=junk,o=nhs",
            Some("expected `=` after the attribute type"),
        ),
        (
            "member",
            "member=\"foo\\=a\",o=nhs",
            Some("attribute type foo is not defined"),
        ),
    ] {
        let id = schema.find_attribute(attribute).unwrap();
        let found = schema.check_value(id, &AttributeDescription::new(attribute), value.as_bytes());
        let reason = found.err().map(|fault| fault.reason);
        match (&reason, expected) {
            (Some(reason), Some(expected)) => assert!(reason.starts_with(expected), "{value}: {reason}"),
            (found, expected) => assert_eq!(found.as_deref(), expected, "{value}"),
        }
    }
    let deep = format!("{}cn=x", "member=".repeat(1_000));
    let id = schema.find_attribute("member").unwrap();
    assert!(
        schema
            .check_value(id, &AttributeDescription::new("member"), deep.as_bytes())
            .is_err()
    );
}

#[test]
fn every_syntax_that_rfc_2252_numbers_may_be_named() {
    for number in 1..=58 {
        let oid = format!("1.3.6.1.4.1.1466.115.121.1.{number}");
        assert!(Syntax::find(&oid).is_some_and(|syntax| syntax.oid() == oid), "{oid}");
    }
}

#[test]
fn a_syntax_of_another_server_is_as_the_one_it_names() {
    let text = "ldapsyntax ( 1.3.6.1.4.1.9.9 NAME 'Mood' DESC 'How one feels' X-SUBST '1.3.6.1.4.1.1466.115.121.1.36' )\n\
                attributetype ( 1.3.6.1.4.1.9.8 NAME 'mood' EQUALITY numericStringMatch SYNTAX 1.3.6.1.4.1.9.9 )\n\
                attributetype ( 1.3.6.1.4.1.9.7 NAME 'protocol' EQUALITY protocolInformationMatch \
                SYNTAX 1.3.6.1.4.1.1466.115.121.1.42 )\n";
    let schema =
        Schema::load(&[("x.schema".to_owned(), text.to_owned())]).unwrap_or_else(|faults| panic!("{faults:?}"));
    let mood = schema.attribute(schema.find_attribute("mood").unwrap());
    assert!(mood.syntax.validate(b"1 2").is_ok() && mood.syntax.validate(b"fine").is_err());
    let printed = schema.subschema_attributes();
    let of = |name: &str| printed.iter().find(|(known, _)| *known == name).unwrap().1.join("\n");
    assert!(
        of("ldapSyntaxes").contains("( 1.3.6.1.4.1.9.9 DESC 'How one feels' X-SUBST '1.3.6.1.4.1.1466.115.121.1.36' )")
    );
    assert!(of("attributeTypes").contains("SYNTAX 1.3.6.1.4.1.9.9 )"));
    let text = "ldapsyntax ( 1.3.6.1.4.1.9.9 DESC 'Nobody knows' )\n";
    let faults = Schema::load(&[("x.schema".to_owned(), text.to_owned())])
        .err()
        .unwrap_or_default();
    assert!(
        faults[0]
            .to_string()
            .contains("expected a syntax this server implements"),
        "{faults:?}"
    );
}

/// What slapd has without being asked, and with its core, COSINE and NIS schemas.
#[test]
fn entries_of_old_classes_and_of_nis_are_sound() {
    let schema = schema();
    let mut all = Vec::new();
    for text in [
        "cn=x objectClass=pilotPerson cn=x sn=x janetMailbox=x@y userid=x",
        "dc=x objectClass=dNSDomain dc=x mXRecord=10-mail",
        "ou=x objectClass=pilotOrganization ou=x o=x buildingName=b",
        "cn=x objectClass=dSA cn=x presentationAddress=a knowledgeInformation=b",
        "cn=x objectClass=device objectClass=ipHost objectClass=ieee802Device cn=x ipHostNumber=192.0.2.1 macAddress=00:00:5e:00:53:01",
        "cn=x objectClass=nisObject cn=x nisMapName=auto.home nisMapEntry=server:/home/&",
        "cn=x objectClass=nisNetgroup cn=x nisNetgroupTriple=(host,user,domain)",
        "cn=x objectClass=ipService cn=x ipServicePort=636 ipServiceProtocol=tcp",
        "cn=x objectClass=device cn=x authzTo=dn:cn=y saslAuthzFrom=dn.regex:^uid=[^,]*,dc=x$",
    ] {
        let mut words = text.split(' ');
        let dn = words.next().unwrap();
        let attributes: Vec<_> = words.map(|word| word.split_once('=').unwrap()).collect();
        all.push((text, entry(dn, &attributes)));
    }
    for (text, entry) in all {
        assert_eq!(schema.check_entry(&entry), Ok(()), "{text}");
    }
}

/// The successor of RFC 2307 has the same OIDs: a file that brings it takes the place of what is built in.
#[test]
fn a_file_with_the_other_nis_schema_counts() {
    let text = "objectclass ( 1.3.6.1.1.1.2.2 NAME 'posixGroup' SUP top AUXILIARY MUST gidNumber MAY ( userPassword $ memberUid ) )";
    let load = |files: &[&str]| {
        let files: Vec<_> = files
            .iter()
            .map(|text| ("bis.schema".to_owned(), (*text).to_owned()))
            .collect();
        Schema::load(&files)
    };
    let schema = load(&[text]).unwrap_or_else(|faults| panic!("{faults:?}"));
    let group = [
        ("objectClass", "groupOfNames"),
        ("objectClass", "posixGroup"),
        ("cn", "x"),
        ("member", "cn=y"),
        ("gidNumber", "1"),
    ];
    assert_eq!(schema.check_entry(&entry("cn=x", &group)), Ok(()));
    assert!(Schema::builtin().unwrap().check_entry(&entry("cn=x", &group)).is_err());
    let twice = load(&[text, &text.replace("AUXILIARY", "STRUCTURAL")]);
    let faults = twice.err().unwrap_or_default();
    assert!(
        faults
            .iter()
            .any(|it| it.to_string().contains("is defined differently at bis.schema:1")),
        "{faults:?}"
    );
}
