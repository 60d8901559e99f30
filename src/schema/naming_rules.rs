//! Name forms and DIT structure rules (RFC 4512 section 4.1.7): checked against the rest of the schema and published. As with
//! OpenLDAP, no entry is refused by them.

use super::definition::{Head, NameFormDefinition, StructureRuleDefinition};
use super::resolve::Resolver;
use super::source::Place;
use super::{ClassKind, ObjectClass};

impl Resolver {
    /// Those of the files, each once.
    pub(super) fn naming_rules(
        &mut self,
        forms: Vec<(Place, NameFormDefinition)>,
        rules: Vec<(Place, StructureRuleDefinition)>,
        classes: &[ObjectClass],
    ) -> (Vec<NameFormDefinition>, Vec<StructureRuleDefinition>) {
        let forms = self.distinct(forms, "name form", |it| &it.head);
        let rules = self.distinct(rules, "structure rule", |it| &it.head);
        for (place, form) in &forms {
            self.check_form(place, form, classes);
        }
        for (place, rule) in &rules {
            let number = &rule.head.oid;
            if !forms.iter().any(|(_, form)| is_called(&form.head, &rule.form)) {
                let message = format!("name form {} of structure rule {number} is not defined", rule.form);
                self.faults.push(place.fault(message));
            }
            for superior in &rule.superiors {
                if !rules.iter().any(|(_, other)| other.head.oid == *superior) {
                    let message = format!("structure rule {superior}, superior of {number}, is not defined");
                    self.faults.push(place.fault(message));
                }
            }
        }
        (
            forms.into_iter().map(|(_, it)| it).collect(),
            rules.into_iter().map(|(_, it)| it).collect(),
        )
    }

    /// Definitions without those that come again; another one of the same number or name is a fault.
    fn distinct<D: PartialEq>(
        &mut self,
        all: Vec<(Place, D)>,
        what: &str,
        head: impl Fn(&D) -> &Head,
    ) -> Vec<(Place, D)> {
        let mut kept: Vec<(Place, D)> = Vec::with_capacity(all.len());
        for (place, it) in all {
            let own = head(&it);
            let same = |name: &String| kept.iter().position(|(_, other)| is_called(head(other), name));
            let before = own.names.iter().chain([&own.oid]).find_map(same);
            match before.map(|at| &kept[at]) {
                Some((_, other)) if *other == it => {}
                Some((first, _)) => {
                    let (oid, file, line) = (&own.oid, &first.file, first.line);
                    let message = format!("{what} {oid} is defined differently at {file}:{line}");
                    self.faults.push(place.fault(message));
                }
                None => kept.push((place, it)),
            }
        }
        kept
    }

    fn check_form(&mut self, place: &Place, form: &NameFormDefinition, classes: &[ObjectClass]) {
        let oid = &form.head.oid;
        if let Some(class) = self.class(place, &form.class)
            && classes[usize::from(class.0)].kind != ClassKind::Structural
        {
            let message = format!(
                "expected OC of name form {oid} to be a structural class, found {}",
                form.class
            );
            self.faults.push(place.fault(message));
        }
        let must = self.attributes(place, &form.must);
        let may = self.attributes(place, &form.may);
        if may.iter().any(|id| must.contains(id)) {
            let message = format!("expected MUST and MAY of name form {oid} to have no type in common");
            self.faults.push(place.fault(message));
        }
    }
}

/// Whether an OID or a name, in any case, is this definition's.
fn is_called(head: &Head, name: &str) -> bool {
    let mut names = head.names.iter().chain([&head.oid]);
    names.any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use crate::schema::Schema;

    const SOUND: &str = "\
nameform ( 1.3.6.1.4.1.32473.8.1 NAME 'personForm' DESC 'by cn' OC person MUST cn MAY ( uid $ mail ) )
ditStructureRule ( 1 NAME 'top' FORM orgForm )
nameForms: ( 1.3.6.1.4.1.32473.8.2 NAME 'orgForm' OC 2.5.6.4 MUST o )
dITStructureRules: ( 2 FORM 1.3.6.1.4.1.32473.8.1 SUP ( 1 2 ) X-ORIGIN 'test' )
dITStructureRules: ( 2 FORM 1.3.6.1.4.1.32473.8.1 SUP ( 1 2 ) X-ORIGIN 'test' )
";

    fn load(text: &str) -> Result<Schema, Vec<String>> {
        let files = [("f".to_owned(), text.to_owned())];
        Schema::load(&files).map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rfc_4512_4_1_7_name_forms_and_structure_rules_are_published_as_written() {
        let schema = load(SOUND).unwrap();
        let published = schema.subschema_attributes();
        let of = |name: &str| {
            let found = published.iter().find(|(attribute, _)| *attribute == name);
            found.map(|(_, texts)| texts.clone()).unwrap()
        };
        assert_eq!(
            of("nameForms"),
            [
                "( 1.3.6.1.4.1.32473.8.1 NAME 'personForm' DESC 'by cn' OC person MUST cn MAY ( uid $ mail ) )",
                "( 1.3.6.1.4.1.32473.8.2 NAME 'orgForm' OC 2.5.6.4 MUST o )"
            ]
        );
        assert_eq!(
            of("dITStructureRules"),
            [
                "( 1 NAME 'top' FORM orgForm )",
                "( 2 FORM 1.3.6.1.4.1.32473.8.1 SUP ( 1 2 ) X-ORIGIN 'test' )"
            ]
        );
        let plain = Schema::builtin().unwrap();
        assert!(
            plain
                .subschema_attributes()
                .iter()
                .all(|(name, _)| *name != "nameForms")
        );
        assert!(!plain.says_the_same(&schema));
    }

    #[test]
    fn what_is_wrong_with_them_is_told_with_its_line() {
        for (text, expected) in [
            (
                "nameform ( 1.2.3 MUST cn )",
                "f:1: expected OC in name form 1.2.3, found none",
            ),
            (
                "nameform ( 1.2.3 OC person )",
                "f:1: expected MUST in name form 1.2.3, found none",
            ),
            (
                "nameform ( 1.2.3 OC nosuch MUST cn )",
                "f:1: object class nosuch is not defined",
            ),
            (
                "nameform ( 1.2.3 OC person MUST nosuch )",
                "f:1: attribute type nosuch is not defined",
            ),
            (
                "nameform ( 1.2.3 OC uidObject MUST uid )",
                "f:1: expected OC of name form 1.2.3 to be a structural class, found uidObject",
            ),
            (
                "nameform ( 1.2.3 OC person MUST cn MAY commonName )",
                "f:1: expected MUST and MAY of name form 1.2.3 to have no type in common",
            ),
            (
                "nameform ( 1.2.3 OC person MUST cn )\nnameform ( 1.2.3 OC person MUST sn )",
                "f:2: name form 1.2.3 is defined differently at f:1",
            ),
            (
                "ditstructurerule ( 1 SUP 2 )",
                "f:1: expected FORM in structure rule 1, found none",
            ),
            (
                "ditstructurerule ( 1 FORM nosuch )",
                "f:1: name form nosuch of structure rule 1 is not defined",
            ),
            (
                "nameform ( 1.2.3 OC person MUST cn )\nditstructurerule ( 1 FORM 1.2.3 SUP 7 )",
                "f:2: structure rule 7, superior of 1, is not defined",
            ),
            (
                "ditstructurerule ( 1.2 FORM a )",
                "f:1: expected the number of a structure rule, found 1.2",
            ),
            (
                "ditstructurerule ( 1 FORM a SUP ( ) )",
                "f:1: expected the number of a structure rule, found )",
            ),
        ] {
            assert_eq!(load(text).err().unwrap_or_default(), [expected], "{text}");
        }
    }
}
