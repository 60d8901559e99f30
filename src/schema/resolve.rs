//! Definitions into a [`Schema`]: references become numbers, subtypes inherit, every fault is collected.

use super::definition::{
    AttributeDefinition, ClassDefinition, ContentRuleDefinition, Head, NameFormDefinition, StructureRuleDefinition,
};
use super::matching::MatchingRule;
use super::names::NameTable;
use super::source::{Definitions, Place};
use super::subschema::Printed;
use super::successor::Places;
use super::syntax::Syntax;
use super::{
    AttributeId, AttributeType, ClassId, ClassKind, ContentRule, ObjectClass, Schema, SchemaFault, Usage, WellKnown,
};

/// The number of attribute types, and of classes, is kept below what 16 bits count.
const MAX_DEFINITIONS: usize = 32_000;

/// `before` is a schema whose numbers are kept: what it defines comes first, in its order.
pub(super) fn resolve(definitions: Definitions, before: Option<&Schema>) -> Result<Schema, Vec<SchemaFault>> {
    let mut faults = definitions.faults;
    let (mut attributes, attributes_again) = without_repeats(definitions.attributes, &mut faults);
    let (mut classes, classes_again) = without_repeats(definitions.classes, &mut faults);
    if let Some(before) = before {
        attributes.sort_by_key(|(_, it)| before.find_attribute(&it.head.oid).map_or(u16::MAX, |id| id.0));
        classes.sort_by_key(|(_, it)| before.find_class(&it.head.oid).map_or(u16::MAX, |id| id.0));
    }
    let attribute_names = name_table(&attributes, "attribute type", &mut faults);
    let class_names = name_table(&classes, "object class", &mut faults);
    let mut resolver = Resolver {
        attribute_names,
        class_names,
        rule_names: rule_names(),
        substitutes: definitions.substitutes,
        faults,
    };
    resolver.compare_repeats(&attributes, &attributes_again);
    resolver.compare_repeats(&classes, &classes_again);
    let types = resolver.attribute_types(&attributes);
    let chains = resolver.chains(&classes);
    let object_classes = resolver.object_classes(&classes, &chains);
    let content_rules = resolver.content_rules(&definitions.content_rules, &classes);
    let (name_forms, structure_rules) =
        resolver.naming_rules(definitions.name_forms, definitions.structure_rules, &object_classes);
    if !resolver.faults.is_empty() {
        return Err(resolver.faults);
    }
    let well_known = resolver.well_known().map_err(|fault| vec![fault])?;
    let extensible_object = resolver
        .built_in_class("extensibleObject")
        .map_err(|fault| vec![fault])?;
    let universal = |id: &ClassId| super::is_superclass_of_all(&object_classes, &chains, *id);
    let implied = object_classes.iter().map(|class| {
        let chain = chains[usize::from(class.id.0)].iter().copied();
        chain.filter(|id| *id == class.id || !universal(id)).collect()
    });
    let implied = implied.collect();
    Ok(Schema {
        keys: types.iter().map(|it| lower_case(it.name(), "=")).collect(),
        class_keys: object_classes.iter().map(|it| lower_case(&it.names[0], "")).collect(),
        printed: Printed {
            attribute_types: attributes.iter().map(|(_, it)| it.print()).collect(),
            object_classes: classes.iter().map(|(_, it)| it.print()).collect(),
            content_rules: definitions.content_rules.iter().map(|(_, it)| it.print()).collect(),
            name_forms: name_forms.iter().map(NameFormDefinition::print).collect(),
            structure_rules: structure_rules.iter().map(StructureRuleDefinition::print).collect(),
            syntaxes: resolver
                .substitutes
                .iter()
                .map(|(head, _)| head.print_syntax())
                .collect(),
        },
        without_nhs: definitions.without_nhs,
        places: Places {
            attributes: attributes.into_iter().map(|(place, _)| place).collect(),
            classes: classes.into_iter().map(|(place, _)| place).collect(),
        },
        attributes: types,
        attribute_names: resolver.attribute_names,
        classes: object_classes,
        class_names: resolver.class_names,
        chains,
        implied,
        content_rules,
        rule_names: resolver.rule_names,
        well_known,
        extensible_object,
    })
}

/// A definition that can be repeated: the first counts.
trait Definition {
    fn head(&self) -> &Head;

    /// Whether what is sound by the other definition is by this one too, and means the same.
    fn covers(&self, other: &Self, names: &Resolver) -> bool;
}

impl Definition for AttributeDefinition {
    fn head(&self) -> &Head {
        &self.head
    }

    /// A repetition may be without a matching rule that this one has. Of what the server keeps by itself nothing but the syntax counts.
    fn covers(&self, other: &Self, names: &Resolver) -> bool {
        let syntax = |it: &Self| it.syntax.as_ref().and_then(|(oid, _)| names.syntax(oid));
        let same_syntax = match (syntax(self), syntax(other)) {
            (Some(own), Some(others)) => own.has_the_values_of(others),
            (own, others) => own == others,
        };
        let superior = |it: &Self| it.superior.as_deref().map(|name| names.attribute_names.find(name));
        let rule = |own: &Option<String>, others: &Option<String>| {
            let find = |name: &String| names.rule_names.find(name);
            others.is_none() || own.as_ref().map(find) == others.as_ref().map(find)
        };
        let kept_by_server = self.no_user_modification;
        same_syntax
            && superior(self) == superior(other)
            && rule(&self.equality, &other.equality)
            && rule(&self.ordering, &other.ordering)
            && rule(&self.substrings, &other.substrings)
            && (kept_by_server
                || (self.single_value == other.single_value
                    && self.collective == other.collective
                    && self.no_user_modification == other.no_user_modification
                    && self.usage == other.usage))
    }
}

impl Definition for ClassDefinition {
    fn head(&self) -> &Head {
        &self.head
    }

    fn covers(&self, other: &Self, names: &Resolver) -> bool {
        let types = |lists: &[&Vec<String>]| {
            let all = lists.iter().flat_map(|list| list.iter());
            let mut found: Vec<Option<u16>> = all.map(|name| names.attribute_names.find(name)).collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        let superiors = |it: &Self| {
            let found = it.superiors.iter().map(|name| names.class_names.find(name));
            // Every class is below top (RFC 4512 section 2.4.1).
            let mut found: Vec<_> = found.filter(|id| *id != names.class_names.find("top")).collect();
            found.sort_unstable();
            found
        };
        let is_in = |some: Vec<Option<u16>>, all: Vec<Option<u16>>| some.iter().all(|id| all.binary_search(id).is_ok());
        self.kind == other.kind
            && superiors(self) == superiors(other)
            && is_in(types(&[&self.must]), types(&[&other.must]))
            && is_in(types(&[&other.must, &other.may]), types(&[&self.must, &self.may]))
    }
}

/// The first definition of each OID, and those that came after one. There are two NIS schemas with the same OIDs (RFC 2307 and its
/// draft successor, whose posixGroup is auxiliary): a file's own takes the place of the one that is built in.
fn without_repeats<D: Definition>(
    all: Vec<(Place, D)>,
    faults: &mut Vec<SchemaFault>,
) -> (Vec<(Place, D)>, Vec<(Place, D)>) {
    let mut by_oid = NameTable::default();
    let mut kept: Vec<(Place, D)> = Vec::with_capacity(all.len());
    let mut again = Vec::new();
    for (place, definition) in all {
        if kept.len() >= MAX_DEFINITIONS {
            faults.push(place.fault(format!("expected at most {MAX_DEFINITIONS} definitions of a kind")));
            break;
        }
        let number = u16::try_from(kept.len()).expect("bounded just above");
        match by_oid.insert(&definition.head().oid, number) {
            Ok(()) => kept.push((place, definition)),
            Err(taken) => match kept.get_mut(usize::from(taken)) {
                Some(first) if first.0.file == super::NIS && place.file != super::NIS => *first = (place, definition),
                _ => again.push((place, definition)),
            },
        }
    }
    (kept, again)
}

fn name_table<D: Definition>(all: &[(Place, D)], what: &str, faults: &mut Vec<SchemaFault>) -> NameTable {
    let mut table = NameTable::default();
    for (number, (place, definition)) in (0u16..).zip(all) {
        let head = definition.head();
        for name in head.names.iter().chain([&head.oid]) {
            match table.insert(name, number) {
                Ok(()) => {}
                Err(taken) if taken == number => {}
                Err(taken) => {
                    let (first, _) = &all[usize::from(taken)];
                    faults.push(place.fault(format!(
                        "{what} {name} is defined at {}:{} already",
                        first.file, first.line
                    )));
                }
            }
        }
    }
    table
}

fn rule_names() -> NameTable {
    let mut table = NameTable::default();
    for (number, rule) in (0u16..).zip(MatchingRule::all()) {
        for name in [rule.name(), rule.oid()] {
            table.insert(name, number).expect("no two matching rules share a name");
        }
    }
    table
}

fn lower_case(name: &str, end: &str) -> Box<[u8]> {
    format!("{}{end}", name.to_ascii_lowercase()).into_bytes().into()
}

fn names_or_oid(head: &Head) -> Vec<String> {
    if head.names.is_empty() {
        vec![head.oid.clone()]
    } else {
        head.names.clone()
    }
}

pub(super) struct Resolver {
    attribute_names: NameTable,
    class_names: NameTable,
    rule_names: NameTable,
    substitutes: Vec<(Head, Syntax)>,
    pub(super) faults: Vec<SchemaFault>,
}

impl Resolver {
    /// A definition that comes again has to say nothing that the first does not.
    fn compare_repeats<D: Definition>(&mut self, kept: &[(Place, D)], again: &[(Place, D)]) {
        for (place, definition) in again {
            let oid = &definition.head().oid;
            let Some((first, earlier)) = kept.iter().find(|(_, it)| it.head().oid == *oid) else {
                continue;
            };
            let known = &earlier.head().names;
            let is_known = |name: &String| known.iter().any(|known| known.eq_ignore_ascii_case(name));
            if !definition.head().names.iter().all(is_known) || !earlier.covers(definition, self) {
                let message = format!("{oid} is defined differently at {}:{}", first.file, first.line);
                self.faults.push(place.fault(message));
            }
        }
    }

    fn syntax(&self, oid: &str) -> Option<Syntax> {
        let substitute = || self.substitutes.iter().find(|(head, _)| head.oid == oid);
        Syntax::find(oid).or_else(|| substitute().map(|(_, syntax)| *syntax))
    }

    fn attribute_types(&mut self, all: &[(Place, AttributeDefinition)]) -> Vec<AttributeType> {
        let superiors: Vec<Option<AttributeId>> = all
            .iter()
            .map(|(place, it)| it.superior.as_deref().and_then(|name| self.attribute(place, name)))
            .collect();
        let mut types = Vec::with_capacity(all.len());
        for (number, (place, it)) in (0u16..).zip(all) {
            let Some(line) = ancestry(AttributeId(number), &superiors) else {
                self.faults
                    .push(place.fault(format!("{} is its own superior type", it.head.oid)));
                continue;
            };
            let definitions: Vec<&AttributeDefinition> = line.iter().map(|id| &all[usize::from(id.0)].1).collect();
            if let Some(attribute) = self.attribute_type(AttributeId(number), place, &definitions, &superiors) {
                types.push(attribute);
            }
        }
        if types.len() == all.len() {
            for id in 0..types.len() {
                for above in ancestry(types[id].id, &superiors).unwrap_or_default() {
                    let id = types[id].id;
                    types[usize::from(above.0)].subtypes.push(id);
                }
            }
        }
        types
    }

    /// One type; `line` is its definition, then those it inherits from.
    fn attribute_type(
        &mut self,
        id: AttributeId,
        place: &Place,
        line: &[&AttributeDefinition],
        superiors: &[Option<AttributeId>],
    ) -> Option<AttributeType> {
        let it = line.first()?;
        let equality = self.inherited_rule(place, line, |it| it.equality.as_deref());
        let ordering = self.inherited_rule(place, line, |it| it.ordering.as_deref());
        let substrings = self.inherited_rule(place, line, |it| it.substrings.as_deref());
        if line.iter().any(|above| above.usage != it.usage) {
            self.faults
                .push(place.fault(format!("{} has another USAGE than its superior type", it.head.oid)));
        }
        if it.no_user_modification && it.usage == Usage::UserApplications {
            self.faults
                .push(place.fault("expected USAGE with an operational kind beside NO-USER-MODIFICATION"));
        }
        if it.collective && (it.single_value || it.usage != Usage::UserApplications) {
            self.faults
                .push(place.fault("expected a COLLECTIVE type to be a user type without SINGLE-VALUE"));
        }
        let Some((oid, _)) = line.iter().find_map(|it| it.syntax.as_ref()) else {
            self.faults
                .push(place.fault(format!("expected SYNTAX or SUP in {}, found neither", it.head.oid)));
            return None;
        };
        let Some(syntax) = self.syntax(oid) else {
            self.faults
                .push(place.fault(format!("syntax {oid} is not one this server implements")));
            return None;
        };
        Some(AttributeType {
            id,
            oid: it.head.oid.clone(),
            names: names_or_oid(&it.head),
            superior: superiors[usize::from(id.0)],
            equality,
            ordering,
            substrings,
            syntax,
            single_value: it.single_value,
            collective: it.collective,
            no_user_modification: it.no_user_modification,
            obsolete: it.head.obsolete,
            usage: it.usage,
            subtypes: Vec::new(),
        })
    }

    fn inherited_rule(
        &mut self,
        place: &Place,
        line: &[&AttributeDefinition],
        field: impl Fn(&AttributeDefinition) -> Option<&str>,
    ) -> Option<MatchingRule> {
        let name = line.iter().find_map(|it| field(it))?;
        let rule = self.rule_names.find(name).and_then(MatchingRule::at);
        if rule.is_none() {
            self.faults
                .push(place.fault(format!("matching rule {name} is not one this server implements")));
        }
        rule
    }

    /// For each class itself and its superclasses, nearest first.
    fn chains(&mut self, all: &[(Place, ClassDefinition)]) -> Vec<Vec<ClassId>> {
        let superiors: Vec<Vec<ClassId>> = all
            .iter()
            .map(|(place, it)| it.superiors.iter().filter_map(|name| self.class(place, name)).collect())
            .collect();
        let mut chains = Vec::with_capacity(all.len());
        for (number, (place, it)) in (0u16..).zip(all) {
            let start = ClassId(number);
            let mut chain = vec![start];
            let mut at = 0;
            while let Some(class) = chain.get(at) {
                for above in &superiors[usize::from(class.0)] {
                    if *above == start {
                        self.faults
                            .push(place.fault(format!("{} is its own superclass", it.head.oid)));
                    } else if !chain.contains(above) {
                        chain.push(*above);
                    }
                }
                at += 1;
            }
            for above in &superiors[usize::from(number)] {
                self.check_kinds(place, it, &all[usize::from(above.0)].1);
            }
            chains.push(chain);
        }
        chains
    }

    /// RFC 4512 section 2.4: what a class of one kind may derive from.
    fn check_kinds(&mut self, place: &Place, class: &ClassDefinition, above: &ClassDefinition) {
        let allowed = match class.kind {
            ClassKind::Abstract => above.kind == ClassKind::Abstract,
            ClassKind::Structural => above.kind != ClassKind::Auxiliary,
            ClassKind::Auxiliary => above.kind != ClassKind::Structural,
        };
        if !allowed {
            self.faults.push(place.fault(format!(
                "{} class {} cannot derive from {} class {}",
                kind_word(class.kind),
                class.head.oid,
                kind_word(above.kind),
                above.head.oid
            )));
        }
    }

    fn object_classes(&mut self, all: &[(Place, ClassDefinition)], chains: &[Vec<ClassId>]) -> Vec<ObjectClass> {
        let own: Vec<(Vec<AttributeId>, Vec<AttributeId>)> = all
            .iter()
            .map(|(place, it)| (self.attributes(place, &it.must), self.attributes(place, &it.may)))
            .collect();
        (0u16..)
            .zip(all)
            .map(|(number, (_, it))| {
                let chain = &chains[usize::from(number)];
                let must = union(chain.iter().map(|id| &own[usize::from(id.0)].0));
                let mut may = union(chain.iter().map(|id| &own[usize::from(id.0)].1));
                may.retain(|id| must.binary_search(id).is_err());
                ObjectClass {
                    id: ClassId(number),
                    oid: it.head.oid.clone(),
                    names: names_or_oid(&it.head),
                    kind: it.kind,
                    obsolete: it.head.obsolete,
                    superiors: it
                        .superiors
                        .iter()
                        .filter_map(|name| self.class_names.find(name))
                        .map(ClassId)
                        .collect(),
                    must,
                    may,
                }
            })
            .collect()
    }

    fn content_rules(
        &mut self,
        all: &[(Place, ContentRuleDefinition)],
        classes: &[(Place, ClassDefinition)],
    ) -> Vec<ContentRule> {
        let mut rules: Vec<ContentRule> = Vec::new();
        for (place, it) in all {
            let Some(class) = self.class(place, &it.head.oid) else {
                continue;
            };
            if classes[usize::from(class.0)].1.kind != ClassKind::Structural {
                self.faults
                    .push(place.fault(format!("expected the OID of a structural class, found {}", it.head.oid)));
            }
            let auxiliary = it.auxiliary.iter().filter_map(|name| self.class(place, name)).collect();
            if rules.iter().any(|rule| rule.class == class) {
                self.faults
                    .push(place.fault(format!("class {} has a content rule already", it.head.oid)));
            }
            rules.push(ContentRule {
                place: place.clone(),
                class,
                auxiliary,
                must: self.attributes(place, &it.must),
                may: self.attributes(place, &it.may),
                not: self.attributes(place, &it.not),
            });
        }
        rules
    }

    pub(super) fn attributes(&mut self, place: &Place, names: &[String]) -> Vec<AttributeId> {
        names.iter().filter_map(|name| self.attribute(place, name)).collect()
    }

    fn attribute(&mut self, place: &Place, name: &str) -> Option<AttributeId> {
        let found = self.attribute_names.find(name).map(AttributeId);
        if found.is_none() {
            self.faults
                .push(place.fault(format!("attribute type {name} is not defined")));
        }
        found
    }

    pub(super) fn class(&mut self, place: &Place, name: &str) -> Option<ClassId> {
        let found = self.class_names.find(name).map(ClassId);
        if found.is_none() {
            self.faults
                .push(place.fault(format!("object class {name} is not defined")));
        }
        found
    }

    fn well_known(&self) -> Result<WellKnown, SchemaFault> {
        let find = |name: &str| {
            let missing = || built_in_fault(format!("attribute type {name} is not defined"));
            self.attribute_names.find(name).map(AttributeId).ok_or_else(missing)
        };
        Ok(WellKnown {
            object_class: find("objectClass")?,
            user_password: find("userPassword")?,
            entry_uuid: find("entryUUID")?,
            entry_dn: find("entryDN")?,
            create_timestamp: find("createTimestamp")?,
            creators_name: find("creatorsName")?,
            modify_timestamp: find("modifyTimestamp")?,
            modifiers_name: find("modifiersName")?,
            structural_object_class: find("structuralObjectClass")?,
            subschema_subentry: find("subschemaSubentry")?,
            has_subordinates: find("hasSubordinates")?,
            num_subordinates: find("numSubordinates")?,
            member_of: find("memberOf")?,
            entry_csn: find("entryCSN")?,
            context_csn: find("contextCSN")?,
            collective_exclusions: find("collectiveExclusions")?,
            collective_subentries: find("collectiveAttributeSubentries")?,
            account_status: find("nhsdirStatus")?,
            password_changed: find("pwdChangedTime")?,
            password_locked: find("pwdAccountLockedTime")?,
            password_reset: find("pwdReset")?,
            password_failures: find("pwdFailureTime")?,
            password_success: find("pwdLastSuccess")?,
            password_grace: find("pwdGraceUseTime")?,
            password_delayed: find("pwdAccountTmpLockoutEnd")?,
            password_history: find("pwdHistory")?,
        })
    }

    fn built_in_class(&self, name: &str) -> Result<ClassId, SchemaFault> {
        let missing = || built_in_fault(format!("object class {name} is not defined"));
        self.class_names.find(name).map(ClassId).ok_or_else(missing)
    }
}

fn built_in_fault(message: String) -> SchemaFault {
    SchemaFault {
        file: "schema/00-system.schema".to_owned(),
        line: 1,
        message,
    }
}

fn kind_word(kind: ClassKind) -> &'static str {
    match kind {
        ClassKind::Abstract => "abstract",
        ClassKind::Structural => "structural",
        ClassKind::Auxiliary => "auxiliary",
    }
}

/// A type and its superiors, nearest first; `None` where they lead back.
fn ancestry(start: AttributeId, superiors: &[Option<AttributeId>]) -> Option<Vec<AttributeId>> {
    let mut line = vec![start];
    let mut at = start;
    while let Some(above) = superiors[usize::from(at.0)] {
        if line.contains(&above) {
            return None;
        }
        line.push(above);
        at = above;
    }
    Some(line)
}

fn union<'a>(lists: impl Iterator<Item = &'a Vec<AttributeId>>) -> Vec<AttributeId> {
    let mut all: Vec<AttributeId> = lists.flatten().copied().collect();
    all.sort();
    all.dedup();
    all
}
