//! `nhsdir status`: is a server running on this data directory, and how is it?

use super::client::Client;
use super::{Answer, Place, Setting, block_on};
use crate::directory::SUBSCHEMA_DN;
use clap::Args;
use ldap3::Scope;
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::time::Instant;

/// The result code of RFC 4511 appendix A.
const UNAVAILABLE: u32 = 52;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The answer is no where no server runs, or where it does not serve its data.
pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    let setting = arguments.place.setting()?;
    block_on(async {
        let started = Instant::now();
        let Some(mut client) = Client::running(&setting).await? else {
            print_stopped(&setting, arguments.json);
            return Ok(Answer::No);
        };
        let attributes = ["namingContexts", "vendorVersion"];
        let found = client.search("", Scope::Base, "(objectClass=*)", &attributes).await?;
        let answered_ms = started.elapsed().as_secs_f64() * 1e3;
        let mut facts = found.into_iter().next().map(|entry| entry.attrs).unwrap_or_default();
        let schema = ["attributeTypes", "objectClasses", "modifyTimestamp"];
        let found = client
            .search(SUBSCHEMA_DN, Scope::Base, "(objectClass=*)", &schema)
            .await?;
        facts.extend(found.into_iter().flat_map(|entry| entry.attrs));
        let fault = fault(&mut client, &facts).await?;
        print_running(
            &setting,
            &facts,
            client.process,
            answered_ms,
            fault.as_deref(),
            arguments.json,
        );
        Ok(if fault.is_none() { Answer::Done } else { Answer::No })
    })
}

/// Why the server answers nothing of its data, if so.
async fn fault(client: &mut Client, facts: &HashMap<String, Vec<String>>) -> anyhow::Result<Option<String>> {
    let Some(context) = facts.get("namingContexts").and_then(|contexts| contexts.first()) else {
        return Ok(None);
    };
    let found = client.ldap.search(context, Scope::Base, "(objectClass=*)", vec!["1.1"]);
    let answer = found.await?.1;
    Ok((answer.rc == UNAVAILABLE).then_some(answer.text))
}

fn print_stopped(setting: &Setting, json: bool) {
    if json {
        println!("{:#}", json!({ "running": false, "data": setting.data }));
    } else {
        println!("not running: no server answers for {}", setting.data.display());
    }
}

fn print_running(
    setting: &Setting,
    facts: &HashMap<String, Vec<String>>,
    process: Option<i32>,
    answered_ms: f64,
    fault: Option<&str>,
    json: bool,
) {
    let values = |name: &str| facts.get(name).cloned().unwrap_or_default();
    let resident_kib = process.and_then(resident_kib);
    if json {
        let status = json!({
            "running": true,
            "data": setting.data,
            "version": values("vendorVersion").first(),
            "naming_contexts": values("namingContexts"),
            "schema": {
                "attribute_types": values("attributeTypes").len(),
                "object_classes": values("objectClasses").len(),
                "changed": values("modifyTimestamp").first(),
            },
            "process": process,
            "resident_kib": resident_kib,
            "answered_ms": answered_ms,
            "fault": fault,
        });
        println!("{status:#}");
        return;
    }
    println!("running          nhsdir {}", values("vendorVersion").join(" "));
    println!("data             {}", setting.data.display());
    println!("naming contexts  {}", values("namingContexts").join("; "));
    println!(
        "schema           {} attribute types, {} object classes, changed {}",
        values("attributeTypes").len(),
        values("objectClasses").len(),
        values("modifyTimestamp").join(" ")
    );
    if let Some(process) = process {
        println!(
            "process          {process}, {} MiB resident",
            resident_kib.unwrap_or(0) / 1024
        );
    }
    println!("answered in      {answered_ms:.1} ms");
    if let Some(fault) = fault {
        println!("fault            {fault}");
    }
}

fn resident_kib(process: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
