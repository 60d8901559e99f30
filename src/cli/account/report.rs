//! Account commands that only tell.

use super::change::no_account;
use super::{Session, instant};
use crate::cli::Answer;
use crate::cli::table::Table;
use ldap3::{Scope, SearchEntry};
use serde_json::{Map, Value};

/// The operational attribute with what the server knows of secrets and failures, as JSON.
const STATUS: &str = "nhsdirStatus";

/// Prints every account with its life cycle.
pub(super) async fn list(session: &mut Session, json: bool) -> anyhow::Result<Answer> {
    let container = session.container();
    let mut entries = session
        .client
        .search(&container, Scope::OneLevel, "(objectClass=*)", &["*", STATUS])
        .await?;
    entries.sort_by_key(|entry| name(entry).map(str::to_lowercase));
    let mut table = Table::new(&[
        "name",
        "role",
        "profile",
        "organisation",
        "owner",
        "state",
        "expires",
        "review",
        "last_used",
    ]);
    for entry in &entries {
        let status = status(entry);
        table.row(vec![
            text(name(entry)),
            text(first(entry, "nhsdirRole").or(Some("reader"))),
            text(first(entry, "nhsdirProfile")),
            text(first(entry, "nhsdirOrganisation")),
            text(first(entry, "nhsdirOwner")),
            state(entry, &status).into(),
            date(entry, "nhsdirExpires"),
            date(entry, "nhsdirReview"),
            moment(status.get("last_used")),
        ]);
    }
    table.print(json);
    Ok(Answer::Done)
}

/// Prints everything known of one account.
pub(super) async fn show(session: &mut Session, name: &str, json: bool) -> anyhow::Result<Answer> {
    let Some(entry) = session.locate(name, &["*", "+", STATUS]).await? else {
        return Ok(no_account(name));
    };
    let mut facts = Map::new();
    facts.insert("dn".to_owned(), entry.dn.clone().into());
    let mut names: Vec<&String> = entry.attrs.keys().filter(|name| *name != STATUS).collect();
    names.sort();
    for name in names {
        let values = entry.attrs.get(name).map(Vec::as_slice).unwrap_or_default();
        facts.insert(name.clone(), values.to_vec().into());
    }
    facts.insert("status".to_owned(), Value::Object(status(&entry)));
    if json {
        println!("{:#}", Value::Object(facts));
    } else {
        for (name, value) in &facts {
            print_fact(name, value);
        }
    }
    Ok(Answer::Done)
}

/// Prints the evidence of failed binds, one line a source.
pub(super) async fn lockouts(session: &mut Session, name: &str, json: bool) -> anyhow::Result<Answer> {
    let Some(entry) = session.locate(name, &[STATUS]).await? else {
        return Ok(no_account(name));
    };
    let status = status(&entry);
    if json {
        println!("{:#}", Value::Object(status));
        return Ok(Answer::Done);
    }
    for (name, value) in &status {
        print_fact(name, value);
    }
    Ok(Answer::Done)
}

fn print_fact(name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(facts) => facts.iter().for_each(|(name, value)| print_fact(name, value)),
        Value::Array(values) => values.iter().for_each(|value| print_fact(name, value)),
        Value::String(text) => println!("{name:<22} {text}"),
        Value::Number(number) if is_moment(name) => {
            println!("{name:<22} {}", instant::written(number.as_u64().unwrap_or(0)));
        }
        other => println!("{name:<22} {other}"),
    }
}

/// Names of status numbers that are seconds since 1970.
fn is_moment(name: &str) -> bool {
    matches!(
        name,
        "secret_set"
            | "old_secret_until"
            | "last_used"
            | "first"
            | "last"
            | "succeeded"
            | "superseded"
            | "throttled_until"
            | "until"
            | "since"
    )
}

/// What the application binds with.
fn name(entry: &SearchEntry) -> Option<&str> {
    first(entry, "cn").or_else(|| first(entry, "uid"))
}

fn first<'a>(entry: &'a SearchEntry, attribute: &str) -> Option<&'a str> {
    entry
        .attrs
        .get(attribute)
        .and_then(|values| values.first())
        .map(String::as_str)
}

fn text(value: Option<&str>) -> Value {
    value.map_or(Value::Null, Value::from)
}

fn date(entry: &SearchEntry, attribute: &str) -> Value {
    first(entry, attribute).map_or(Value::Null, |value| instant::readable(value).into())
}

fn moment(value: Option<&Value>) -> Value {
    value
        .and_then(Value::as_u64)
        .map_or(Value::Null, |seconds| instant::written(seconds).into())
}

fn status(entry: &SearchEntry) -> Map<String, Value> {
    let parsed = first(entry, STATUS).and_then(|text| serde_json::from_str(text).ok());
    match parsed {
        Some(Value::Object(facts)) => facts,
        _ => Map::new(),
    }
}

/// In a word or two: `disabled`, `expired`, `no secret`, `locked`, `password expired`, `throttled`, `must change` or `active`.
fn state<'s>(entry: &SearchEntry, status: &'s Map<String, Value>) -> &'s str {
    let now = instant::generalized_now();
    if first(entry, "nhsdirDisabled").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        "disabled"
    } else if first(entry, "nhsdirExpires").is_some_and(|expires| expires <= now.as_str()) {
        "expired"
    } else if status.get("has_secret") == Some(&Value::Bool(false)) {
        "no secret"
    } else if let Some(refused) = status.get("refused").and_then(Value::as_str) {
        refused
    } else if status
        .get("throttled_sources")
        .and_then(Value::as_array)
        .is_some_and(|sources| !sources.is_empty())
    {
        "throttled"
    } else if status.get("must_change") == Some(&Value::Bool(true)) {
        "must change"
    } else {
        "active"
    }
}
