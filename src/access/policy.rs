//! The policy file: release profiles as text (TOML), and their compilation against a schema.
//!
//! `policy.example.toml` is both the documentation of the keys and the built-in policy.

use super::{AttributeSet, Condition, Hiding, Quotas, View};
use crate::model::Dn;
use crate::schema::{AttributeId, NormalizedDn, Schema};
use std::collections::HashMap;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const BUILTIN_FILE: &str = "policy.example.toml";
const BUILTIN_TEXT: &str = include_str!("../../policy.example.toml");

/// Stands for each naming context in `bases` and `excluded`.
const SUFFIX: &str = "{suffix}";

/// Attribute types that are in no view, whatever a policy says.
pub const NEVER_RELEASED: [&str; 4] = ["userPassword", "pwdHistory", "nhsPuSecret", "nhsTelUID"];

/// The most conditions that may hide attributes in one profile; release keeps one bit for each.
const HIDING_CONDITIONS_MAX: usize = 64;

/// The policy file: named release profiles.
#[derive(Clone, Debug)]
pub struct Policy {
    profiles: HashMap<String, Profile>,
}

/// A fault in a policy file: which file, which line, what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct PolicyFault {
    pub file: String,
    pub line: usize,
    pub message: String,
}

/// A piece of a file's text and where it stands.
#[derive(Clone, Debug, Default)]
struct Spot {
    text: String,
    file: Arc<str>,
    line: usize,
}

impl Spot {
    fn fault(&self, message: String) -> PolicyFault {
        PolicyFault {
            file: self.file.to_string(),
            line: self.line,
            message,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Profile {
    /// Its name as the file has it.
    name: Spot,
    like: Option<Spot>,
    bases: Option<Vec<Spot>>,
    excluded: Option<Vec<Spot>>,
    may_proxy: Option<Vec<Spot>>,
    searchable: Option<Vec<Spot>>,
    released: Option<Vec<Spot>>,
    hide_entries: Option<Vec<Spot>>,
    hide_attributes: Option<Vec<(Spot, Spot)>>,
    numbers: HashMap<&'static str, u64>,
    flags: HashMap<&'static str, bool>,
}

const NUMBERS_32: [&str; 5] = [
    "size_limit",
    "page_size",
    "paged_total",
    "time_limit_seconds",
    "followed_names",
];
const NUMBERS_64: [&str; 2] = ["candidates", "daily_entries"];
const FLAGS: [&str; 5] = ["may_scan", "may_page", "may_write", "may_set_secrets", "may_sync"];

impl Policy {
    /// The file of the built-in policy.
    pub const BUILTIN_TEXT: &str = BUILTIN_TEXT;

    /// Whether it has a profile of that name.
    pub fn has(&self, profile: &str) -> bool {
        self.profiles.contains_key(profile)
    }

    /// The built-in policy: profiles `reader`, `full`, `writer`, `administrator`.
    pub fn builtin() -> Policy {
        let (profiles, faults) = Reader::read(BUILTIN_FILE, BUILTIN_TEXT);
        debug_assert!(faults.is_empty(), "{faults:?}");
        Policy { profiles }
    }

    /// Parses a policy file (TOML); profiles in it add to or replace the built-in ones. Every fault is reported.
    ///
    /// # Errors
    /// Text that is no TOML, unknown keys, values of the wrong kind.
    pub fn parse(file: &str, text: &str) -> Result<Policy, Vec<PolicyFault>> {
        let (profiles, faults) = Reader::read(file, text);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut policy = Policy::builtin();
        policy.profiles.extend(profiles);
        Ok(policy)
    }

    /// The names of all profiles, sorted.
    pub fn profiles(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Compiles every profile. `suffixes` are the naming contexts.
    ///
    /// # Errors
    /// Attribute types the schema does not define, names and conditions that do not parse, `like` that names no profile
    /// or leads back to itself.
    pub fn compile(
        &self,
        schema: &Schema,
        suffixes: &[NormalizedDn],
    ) -> Result<HashMap<String, Arc<View>>, Vec<PolicyFault>> {
        let mut views = HashMap::new();
        let mut faults = Vec::new();
        for name in self.profiles() {
            let whole = self.resolve(name, &mut faults);
            let mut compiler = Compiler {
                schema,
                suffixes,
                faults: &mut faults,
            };
            let view = compiler.view(name, &whole);
            views.insert(name.to_owned(), Arc::new(view));
        }
        // A profile that others are like has its faults found once for each of them.
        faults.sort_by(|a, b| (&a.file, a.line, &a.message).cmp(&(&b.file, b.line, &b.message)));
        faults.dedup();
        if faults.is_empty() { Ok(views) } else { Err(faults) }
    }

    /// A profile with what it takes over from the one it is like.
    fn resolve(&self, name: &str, faults: &mut Vec<PolicyFault>) -> Profile {
        let mut whole = self.profiles.get(name).cloned().unwrap_or_default();
        let mut seen = vec![name.to_owned()];
        let mut builtin: Option<Policy> = None;
        while let Some(like) = whole.like.take() {
            let itself = seen.last().is_some_and(|last| *last == like.text);
            let model = if itself && builtin.is_none() {
                builtin.insert(Policy::builtin()).profiles.get(&like.text)
            } else if seen.contains(&like.text) {
                faults.push(like.fault(format!("profile {name} is like itself by way of {}", like.text)));
                return whole;
            } else {
                self.profiles.get(&like.text)
            };
            let Some(model) = model else {
                let known = self.profiles().join(", ");
                let message = format!("expected the name of a profile ({known}), found {:?}", like.text);
                faults.push(like.fault(message));
                return whole;
            };
            seen.push(like.text);
            whole.take_over(model);
        }
        whole
    }
}

impl Profile {
    fn take_over(&mut self, model: &Profile) {
        self.like = model.like.clone();
        for (mine, its) in [
            (&mut self.bases, &model.bases),
            (&mut self.excluded, &model.excluded),
            (&mut self.may_proxy, &model.may_proxy),
            (&mut self.searchable, &model.searchable),
            (&mut self.released, &model.released),
            (&mut self.hide_entries, &model.hide_entries),
        ] {
            if mine.is_none() {
                mine.clone_from(its);
            }
        }
        if self.hide_attributes.is_none() {
            self.hide_attributes.clone_from(&model.hide_attributes);
        }
        for (key, value) in &model.numbers {
            self.numbers.entry(key).or_insert(*value);
        }
        for (key, value) in &model.flags {
            self.flags.entry(key).or_insert(*value);
        }
    }

    fn quotas(&self) -> Quotas {
        let default = Quotas::default();
        let number = |key: &str, default: u32| {
            self.numbers
                .get(key)
                .and_then(|n| u32::try_from(*n).ok())
                .unwrap_or(default)
        };
        let flag = |key: &str, default: bool| self.flags.get(key).copied().unwrap_or(default);
        Quotas {
            size_limit: number("size_limit", default.size_limit),
            page_size: number("page_size", default.page_size),
            paged_total: number("paged_total", default.paged_total),
            time_limit_seconds: number("time_limit_seconds", default.time_limit_seconds),
            candidates: self.numbers.get("candidates").copied().unwrap_or(default.candidates),
            daily_entries: self
                .numbers
                .get("daily_entries")
                .copied()
                .unwrap_or(default.daily_entries),
            followed_names: number("followed_names", default.followed_names),
            may_scan: flag("may_scan", default.may_scan),
            may_page: flag("may_page", default.may_page),
            may_write: flag("may_write", default.may_write),
            may_set_secrets: flag("may_set_secrets", default.may_set_secrets),
            may_sync: flag("may_sync", default.may_sync),
        }
    }
}

/// Reads TOML into profiles, keeping lines and collecting faults.
struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    faults: Vec<PolicyFault>,
}

type Table<'t> = DeTable<'t>;

impl<'t> Reader<'t> {
    fn read(file: &'t str, text: &'t str) -> (HashMap<String, Profile>, Vec<PolicyFault>) {
        let mut reader = Reader {
            file,
            text,
            faults: Vec::new(),
        };
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            reader.fault(at, error.message().to_owned());
        }
        let mut profiles = HashMap::new();
        for (key, value) in root.get_ref() {
            let at = key.span().start;
            if key.get_ref() != "profile" {
                reader.fault(at, format!("expected [profile.NAME], found {:?}", key.get_ref()));
                continue;
            }
            let Some(table) = reader.table(value, "profile") else {
                continue;
            };
            for (name, body) in table {
                let spot = reader.spot(name.span().start, name.get_ref());
                if let Some(body) = reader.table(body, name.get_ref()) {
                    let profile = reader.profile(spot, body);
                    profiles.insert(name.get_ref().to_string(), profile);
                }
            }
        }
        reader.faults.sort_by_key(|fault| fault.line);
        (profiles, reader.faults)
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        1 + before.iter().filter(|octet| **octet == b'\n').count()
    }

    fn spot(&self, at: usize, text: &str) -> Spot {
        Spot {
            text: text.to_owned(),
            file: self.file.into(),
            line: self.line(at),
        }
    }

    fn fault(&mut self, at: usize, message: String) {
        let fault = self.spot(at, "").fault(message);
        self.faults.push(fault);
    }

    fn wrong_kind<T>(&mut self, value: &Spanned<DeValue<'_>>, key: &str, expected: &str) -> Option<T> {
        let found = value.get_ref().type_str();
        self.fault(value.span().start, format!("{key}: expected {expected}, found {found}"));
        None
    }

    fn table<'v, 'i>(&mut self, value: &'v Spanned<DeValue<'i>>, key: &str) -> Option<&'v Table<'i>> {
        match value.get_ref().as_table() {
            Some(table) => Some(table),
            None => self.wrong_kind(value, key, "a table"),
        }
    }

    fn profile(&mut self, name: Spot, body: &Table<'_>) -> Profile {
        let mut profile = Profile {
            name,
            ..Profile::default()
        };
        for (key, value) in body {
            let name: &str = key.get_ref();
            match name {
                "like" => profile.like = self.string(value, name),
                "bases" => profile.bases = self.strings(value, name),
                "excluded" => profile.excluded = self.strings(value, name),
                "may_proxy" => profile.may_proxy = self.strings(value, name),
                "searchable" => profile.searchable = self.strings(value, name),
                "released" => profile.released = self.strings(value, name),
                "hide_entries" => profile.hide_entries = self.strings(value, name),
                "hide_attributes" => profile.hide_attributes = self.hide_attributes(value),
                _ => self.quota(&mut profile, key.span().start, name, value),
            }
        }
        profile
    }

    fn quota(&mut self, profile: &mut Profile, at: usize, name: &str, value: &Spanned<DeValue<'_>>) {
        let of = |keys: &[&'static str]| keys.iter().copied().find(|key| *key == name);
        if let Some(key) = of(&NUMBERS_32) {
            if let Some(number) = self.number(value, name, u64::from(u32::MAX)) {
                profile.numbers.insert(key, number);
            }
        } else if let Some(key) = of(&NUMBERS_64) {
            if let Some(number) = self.number(value, name, i64::MAX.unsigned_abs()) {
                profile.numbers.insert(key, number);
            }
        } else if let Some(key) = of(&FLAGS) {
            match value.get_ref().as_bool() {
                Some(flag) => _ = profile.flags.insert(key, flag),
                None => _ = self.wrong_kind::<()>(value, name, "true or false"),
            }
        } else {
            let known = "like, bases, excluded, may_proxy, searchable, released, hide_entries, hide_attributes, size_limit, \
                         page_size, paged_total, time_limit_seconds, candidates, daily_entries, followed_names, may_scan, may_page, \
                         may_write, may_set_secrets, may_sync";
            self.fault(at, format!("expected one of the keys {known}; found {name:?}"));
        }
    }

    fn number(&mut self, value: &Spanned<DeValue<'_>>, key: &str, largest: u64) -> Option<u64> {
        let integer = value.get_ref().as_integer();
        let number = integer.and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
        match number.filter(|number| *number <= largest) {
            Some(number) => Some(number),
            None => self.wrong_kind(value, key, &format!("a whole number from 0 to {largest}")),
        }
    }

    fn string(&mut self, value: &Spanned<DeValue<'_>>, key: &str) -> Option<Spot> {
        match value.get_ref().as_str() {
            Some(text) => Some(self.spot(value.span().start, text)),
            None => self.wrong_kind(value, key, "a string"),
        }
    }

    fn strings(&mut self, value: &Spanned<DeValue<'_>>, key: &str) -> Option<Vec<Spot>> {
        match value.get_ref().as_array() {
            Some(array) => {
                let mut spots = Vec::new();
                for element in array.iter() {
                    spots.extend(self.string(element, key));
                }
                Some(spots)
            }
            None => self.wrong_kind(value, key, "a list of strings"),
        }
    }

    fn hide_attributes(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Vec<(Spot, Spot)>> {
        let table = self.table(value, "hide_attributes")?;
        let mut rules = Vec::new();
        for (attribute, conditions) in table {
            let conditions = if conditions.get_ref().is_str() {
                self.string(conditions, attribute.get_ref()).into_iter().collect()
            } else {
                self.strings(conditions, attribute.get_ref()).unwrap_or_default()
            };
            let spot = self.spot(attribute.span().start, attribute.get_ref());
            for condition in conditions {
                rules.push((spot.clone(), condition));
            }
        }
        Some(rules)
    }
}

/// Compiles one resolved profile.
struct Compiler<'c> {
    schema: &'c Schema,
    suffixes: &'c [NormalizedDn],
    faults: &'c mut Vec<PolicyFault>,
}

impl Compiler<'_> {
    fn view(&mut self, name: &str, profile: &Profile) -> View {
        let spots = |list: &Option<Vec<Spot>>| list.clone().unwrap_or_default();
        let mut view = View {
            profile: name.to_owned(),
            searchable: self.attribute_set(&spots(&profile.searchable)),
            releasable: self.attribute_set(&spots(&profile.released)),
            bases: self.subtrees(&spots(&profile.bases)).into(),
            excluded: self.subtrees(&spots(&profile.excluded)).into(),
            may_proxy: self.subtrees(&spots(&profile.may_proxy)),
            hiding: Hiding::default(),
            quotas: profile.quotas(),
        };
        for condition in spots(&profile.hide_entries) {
            for condition in self.conditions(&condition) {
                view.hiding.hide_entry(condition);
            }
        }
        for (attribute, condition) in profile.hide_attributes.iter().flatten() {
            let conditions = self.conditions(condition);
            let Some(id) = self.attribute(attribute, &attribute.text) else {
                continue;
            };
            for hidden in &self.schema.attribute(id).subtypes {
                for condition in &conditions {
                    view.hiding.hide_attribute(*hidden, condition.clone());
                }
            }
        }
        if view.hiding.attributes().len() > HIDING_CONDITIONS_MAX {
            let message = format!(
                "profile {name}: expected at most {HIDING_CONDITIONS_MAX} conditions that hide attributes (subtypes counted), found {}",
                view.hiding.attributes().len()
            );
            self.fault(&profile.name, message);
        }
        view
    }

    fn fault(&mut self, spot: &Spot, message: String) {
        self.faults.push(spot.fault(message));
    }

    fn attribute(&mut self, spot: &Spot, name: &str) -> Option<AttributeId> {
        let found = self.schema.find_attribute(name);
        if found.is_none() {
            self.fault(
                spot,
                format!("expected an attribute type of the schema, found {name:?}"),
            );
        }
        found
    }

    fn attribute_set(&mut self, names: &[Spot]) -> AttributeSet {
        let mut set = AttributeSet::default();
        let mut taken = Vec::new();
        for spot in names {
            match spot.text.as_str() {
                "*" | "+" => {
                    let operational = spot.text == "+";
                    let all = self.schema.attributes().iter();
                    all.filter(|attribute| attribute.is_operational() == operational)
                        .for_each(|attribute| set.insert(attribute.id));
                }
                text => match text.strip_prefix('-') {
                    Some(name) => taken.extend(self.attribute(spot, name)),
                    None => {
                        if let Some(id) = self.attribute(spot, text) {
                            let subtypes = &self.schema.attribute(id).subtypes;
                            subtypes.iter().for_each(|id| set.insert(*id));
                        }
                    }
                },
            }
        }
        let never = NEVER_RELEASED
            .iter()
            .filter_map(|name| self.schema.find_attribute(name));
        for id in never.chain(taken) {
            set.remove(id);
            let subtypes = &self.schema.attribute(id).subtypes;
            subtypes.iter().for_each(|id| set.remove(*id));
        }
        set
    }

    fn subtrees(&mut self, names: &[Spot]) -> Vec<NormalizedDn> {
        let mut keys = Vec::new();
        for spot in names {
            match spot.text.strip_suffix(SUFFIX) {
                Some(below) => {
                    let below = below.trim_end().trim_end_matches(',');
                    let Some(relative) = self.name(spot, below) else {
                        continue;
                    };
                    for suffix in self.suffixes {
                        keys.push(NormalizedDn([suffix.0.as_slice(), &relative.0].concat()));
                    }
                }
                None => keys.extend(self.name(spot, &spot.text)),
            }
        }
        keys
    }

    fn name(&mut self, spot: &Spot, text: &str) -> Option<NormalizedDn> {
        if text.is_empty() {
            return Some(NormalizedDn::default());
        }
        let key = Dn::parse(text)
            .map_err(|error| error.to_string())
            .and_then(|dn| self.schema.normalize_dn(&dn).map_err(|error| error.to_string()));
        match key {
            Ok(key) => Some(key),
            Err(error) => {
                self.fault(spot, format!("expected a distinguished name, found {text:?}: {error}"));
                None
            }
        }
    }

    /// One condition for the attribute type and each of its subtypes.
    fn conditions(&mut self, spot: &Spot) -> Vec<Condition> {
        let Some((name, value)) = spot.text.split_once('=') else {
            self.fault(spot, format!("expected attribute=value, found {:?}", spot.text));
            return Vec::new();
        };
        let Some(id) = self.attribute(spot, name.trim()) else {
            return Vec::new();
        };
        let mut conditions = Vec::new();
        for subtype in &self.schema.attribute(id).subtypes {
            let mut normalized = Vec::new();
            let result = match self.schema.attribute(*subtype).equality {
                Some(rule) => rule
                    .normalize(self.schema, value.trim().as_bytes(), &mut normalized)
                    .map_err(|error| error.to_string()),
                None => Err("the attribute type has no equality rule".to_owned()),
            };
            match result {
                Ok(()) => conditions.push(Condition {
                    attribute: *subtype,
                    normalized,
                }),
                Err(error) => self.fault(spot, format!("{}: {error}", spot.text)),
            }
        }
        conditions
    }
}
