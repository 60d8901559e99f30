//! `nhsdir explain`: how a search would run, and how it did.

use super::{Answer, Place, operator};
use crate::access::Selection;
use crate::directory::{Directory, ProtocolFacts, SearchRequest, SearchStep, Session, SortKey, SortRequest};
use crate::model::{DerefAliases, Filter, Outcome, SearchScope};
use crate::query::Work;
use crate::schema::Schema;
use crate::store::{IndexBytes, Snapshot};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Work of one step: as a connection would give it.
const STEP: Work = Work { left: 4096 };

#[derive(Args, Debug)]
pub struct Arguments {
    /// The filter (RFC 4515)
    filter: Option<String>,
    #[command(flatten)]
    place: Place,
    /// The search base; without it the first naming context
    #[arg(long, value_name = "DN")]
    base: Option<String>,
    #[arg(long, value_enum, default_value = "sub")]
    scope: Scope,
    /// See as this release profile does; without it as an administrator
    #[arg(long)]
    profile: Option<String>,
    /// Stop after so many entries; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    size_limit: u32,
    /// Sort by these keys, as `ldapsearch -E sss=` has them: `-` before one is reverse, `/` stands between two
    #[arg(long, value_name = "[-]ATTRIBUTE[:RULE]", allow_hyphen_values = true)]
    sort: Option<String>,
    /// Show what each index costs
    #[arg(long)]
    stats: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Scope {
    Base,
    One,
    Sub,
    Children,
}

/// What a search came to.
pub struct Explained {
    /// The plan's lines; empty for the root DSE and the subschema.
    pub plan: String,
    /// How its entries are put in order, where a sort was asked.
    pub sort: Option<String>,
    pub estimate: u64,
    pub candidates: u64,
    pub entries: u64,
    pub took: Duration,
    /// Success, or the limit that ended it.
    pub outcome: Outcome,
}

pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    let directory = Directory::open(arguments.place.setting()?.directory_options()?)?;
    if let Some(text) = &arguments.filter {
        let mut session = operator(&directory)?;
        if let Some(profile) = &arguments.profile {
            let view = directory.view(profile);
            session.view = view.with_context(|| format!("the policy has no release profile `{profile}`"))?;
        }
        let base = match (&arguments.base, directory.suffixes().first()) {
            (Some(base), _) => base.clone(),
            (None, Some((suffix, _))) => suffix.to_string(),
            (None, None) => String::new(),
        };
        let sort = arguments.sort.as_deref().map(sort_keys);
        let asked = Asked {
            base: &base,
            scope: arguments.scope.into(),
            filter: text,
            size_limit: arguments.size_limit,
            sort: sort.as_deref(),
        };
        let explained = explain(&directory, &session, asked)?;
        explained.print(arguments.json);
    } else if !arguments.stats {
        bail!("expected a filter like '(cn=smi*)', or --stats");
    }
    if arguments.stats {
        print_index_costs(&directory, arguments.json);
    }
    Ok(Answer::Done)
}

/// The keys of a sort as `ldapsearch` takes them.
fn sort_keys(text: &str) -> Vec<SortKey<'_>> {
    let keys = text.split('/').map(|key| {
        let (reverse, key) = match key.strip_prefix('-') {
            Some(key) => (true, key),
            None => (false, key),
        };
        let (attribute, rule) = match key.split_once(':') {
            Some((attribute, rule)) => (attribute, Some(rule)),
            None => (key, None),
        };
        SortKey {
            attribute,
            rule,
            reverse,
        }
    });
    keys.collect()
}

/// A search to explain.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub base: &'a str,
    pub scope: SearchScope,
    pub filter: &'a str,
    pub size_limit: u32,
    pub sort: Option<&'a [SortKey<'a>]>,
}

/// Runs a search to its end, keeping the plan.
pub fn explain(directory: &Arc<Directory>, session: &Session, asked: Asked<'_>) -> anyhow::Result<Explained> {
    let Asked {
        base,
        scope,
        size_limit,
        ..
    } = asked;
    let filter = Filter::parse(asked.filter)?;
    if let Some(name) = directory.schema().first_undefined(&filter) {
        eprintln!("nhsdir: attribute type {name} is not defined; its term is Undefined and matches nothing");
    }
    let selection = Selection::compile(["1.1"].into_iter(), false, &directory.schema());
    let request = SearchRequest {
        base,
        scope,
        filter: &filter,
        selection,
        attributes: &["1.1"],
        size_limit,
        time_limit_seconds: 0,
        page: None,
        assertion: None,
        sort: asked.sort.map(|keys| SortRequest { keys, critical: true }),
        manage_dsa_it: false,
        domain_scope: false,
        aliases: DerefAliases::Never,
        subentries: None,
        virtual_list: None,
    };
    let started = Instant::now();
    let search = directory.search(Some(session), request, &ProtocolFacts::default());
    let mut search = search.map_err(|refused| refusal(base, &refused.outcome))?;
    let sort = search.sort_way().map(|way| way.to_string());
    let (plan, estimate) = search
        .plan()
        .map_or_else(Default::default, |plan| (plan.to_string(), plan.estimate()));
    let mut entries = 0;
    let done = loop {
        let mut work = STEP;
        let step = search.step(&mut work, &mut |_, _| {
            entries += 1;
            true
        });
        if let SearchStep::Done(done) = step {
            break done;
        }
    };
    let took = started.elapsed();
    Ok(Explained {
        plan,
        sort,
        estimate,
        candidates: done.candidates,
        entries,
        took,
        outcome: done.outcome,
    })
}

fn refusal(base: &str, outcome: &Outcome) -> anyhow::Error {
    anyhow::anyhow!(
        "the search below `{base}` was refused: {:?} {}",
        outcome.code,
        outcome.message
    )
}

impl Explained {
    fn print(&self, json: bool) {
        let took_us = self.took.as_secs_f64() * 1e6;
        if json {
            let value = serde_json::json!({
                "plan": self.plan.lines().collect::<Vec<_>>(),
                "sort": self.sort,
                "estimate": self.estimate,
                "candidates": self.candidates,
                "entries": self.entries,
                "took_us": took_us,
                "ended": format!("{:?}", self.outcome.code),
            });
            println!("{value:#}");
            return;
        }
        println!("{}", self.plan.trim_end());
        if let Some(sort) = &self.sort {
            println!("sort: {sort}");
        }
        println!(
            "estimated {} candidates, examined {}, found {} entries in {took_us:.0} us",
            self.estimate, self.candidates, self.entries
        );
        if !self.outcome.is_success() {
            println!("ended early: {:?} {}", self.outcome.code, self.outcome.message);
        }
    }
}

/// What one attribute type's index takes, in all segments.
struct IndexCost {
    name: String,
    values: u64,
    entries: u64,
    bytes: IndexBytes,
}

fn index_costs(snapshot: &Snapshot, schema: &Schema) -> Vec<IndexCost> {
    let mut costs = Vec::new();
    for attribute in schema.attributes() {
        let mut cost = IndexCost {
            name: attribute.name().to_owned(),
            values: 0,
            entries: 0,
            bytes: IndexBytes::default(),
        };
        let layers = snapshot.layers.iter();
        for index in layers.filter_map(|layer| layer.segment.index(attribute.id)) {
            cost.values += u64::from(index.dictionary.len());
            cost.entries += index.entries();
            cost.bytes.add(&index.bytes);
        }
        if cost.bytes.total() > 0 {
            costs.push(cost);
        }
    }
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.bytes.total()));
    costs
}

fn print_index_costs(directory: &Directory, json: bool) {
    let snapshot = directory.store().snapshot();
    let costs = index_costs(&snapshot, snapshot.schema());
    let segments = || snapshot.layers.iter().map(|layer| &layer.segment);
    let entries = snapshot.len();
    let records: u64 = segments().map(|segment| segment.record_bytes()).sum();
    let names: u64 = segments().map(|segment| segment.name_bytes()).sum();
    let total: u64 = segments().map(|segment| segment.bytes()).sum();
    let indexes: u64 = costs.iter().map(|cost| cost.bytes.total()).sum();
    if json {
        let attributes: Vec<_> = costs.iter().map(IndexCost::to_json).collect();
        let value = serde_json::json!({
            "attributes": attributes,
            "entries": entries,
            "records": records,
            "names": names,
            "indexes": indexes,
            "total": total,
        });
        println!("{value:#}");
        return;
    }
    let mut table = super::table::Table::new(&[
        "attribute",
        "values",
        "entries",
        "dictionary",
        "postings",
        "presence",
        "n-grams",
        "column",
        "bytes",
    ]);
    for IndexCost {
        name,
        values,
        entries,
        bytes,
    } in costs
    {
        let parts = [
            values,
            entries,
            bytes.dictionary,
            bytes.postings,
            bytes.presence,
            bytes.substrings,
            bytes.column,
            bytes.total(),
        ];
        let cells = std::iter::once(name.into()).chain(parts.into_iter().map(Into::into));
        table.row(cells.collect());
    }
    table.print(false);
    println!("{entries} entries: {records} bytes of records, {names} of names, {indexes} of indexes, {total} in all");
}

impl IndexCost {
    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "attribute": self.name,
            "values": self.values,
            "entries": self.entries,
            "dictionary": self.bytes.dictionary,
            "postings": self.bytes.postings,
            "presence": self.bytes.presence,
            "ngrams": self.bytes.substrings,
            "column": self.bytes.column,
            "bytes": self.bytes.total(),
        })
    }
}

impl From<Scope> for SearchScope {
    fn from(scope: Scope) -> SearchScope {
        match scope {
            Scope::Base => SearchScope::BaseObject,
            Scope::One => SearchScope::SingleLevel,
            Scope::Sub => SearchScope::WholeSubtree,
            Scope::Children => SearchScope::Subordinates,
        }
    }
}
