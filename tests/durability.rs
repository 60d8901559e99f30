//! `kill -9` during writes: every acknowledged change is there, and nothing that was never asked.
//!
//! `KILLS=100` for the whole hundred; `SEED=n` replays the moments of one run.

use crate::server::{BASE, Place, Server, found};
use ldap3::{Ldap, Mod, Scope};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const WRITERS: usize = 4;
const DEFAULT_KILLS: u64 = 3;

/// What the writers know: names whose add was answered or only asked, and the highest number answered and asked of a modify.
#[derive(Default)]
struct Ledger {
    asked: BTreeSet<String>,
    added: BTreeSet<String>,
    modified: BTreeMap<String, u64>,
    tried: BTreeMap<String, u64>,
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_a_kill() {
    let (kills, seed) = (number("KILLS", DEFAULT_KILLS), number("SEED", 20_180_712));
    println!("SEED={seed} KILLS={kills}");
    let mut random = seed | 1;
    let mut place = Place::empty();
    let secret = place.account("feed", "writer");
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    for round in 0..kills {
        let server = place.serve();
        check(&server, &secret, &ledger, round).await;
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let mut ldap = server.connect().await;
            ldap.simple_bind("feed", &secret).await.unwrap().success().unwrap();
            writers.push(tokio::spawn(write(ldap, round, writer, ledger.clone())));
        }
        // xorshift64: the moments only need to differ.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        tokio::time::sleep(Duration::from_millis(20 + random % 300)).await;
        place = server.kill();
        for writer in writers {
            writer.await.unwrap();
        }
    }
    let server = place.serve();
    check(&server, &secret, &ledger, kills).await;
    let ledger = ledger.lock().unwrap();
    assert!(
        ledger.added.len() as u64 >= kills,
        "only {} changes were acknowledged",
        ledger.added.len()
    );
    let (place, _) = server.stop();
    place.succeed(&["check"], "");
}

/// Adds entries and counts up a description until the server is gone.
async fn write(mut ldap: Ldap, round: u64, writer: usize, ledger: Arc<Mutex<Ledger>>) {
    for step in 0u64.. {
        let cn = format!("r{round}w{writer}n{step}");
        let dn = format!("cn={cn},ou=Lists,{BASE}");
        ledger.lock().unwrap().asked.insert(cn.clone());
        let attributes = vec![
            ("objectClass", HashSet::from(["device"])),
            ("cn", HashSet::from([cn.as_str()])),
        ];
        match ldap.add(&dn, attributes).await {
            Ok(result) if result.rc == 0 => ledger.lock().unwrap().added.insert(cn.clone()),
            Ok(result) => panic!("{dn}: {result}"),
            Err(_) => return,
        };
        let first = format!("r{round}w{writer}n0");
        ledger.lock().unwrap().tried.insert(first.clone(), step);
        let value = step.to_string();
        let change = vec![Mod::Replace("description", HashSet::from([value.as_str()]))];
        match ldap.modify(&format!("cn={first},ou=Lists,{BASE}"), change).await {
            Ok(result) if result.rc == 0 => ledger.lock().unwrap().modified.insert(first, step),
            Ok(result) => panic!("{first}: {result}"),
            Err(_) => return,
        };
    }
}

async fn check(server: &Server, secret: &str, ledger: &Mutex<Ledger>, round: u64) {
    let mut ldap = server.connect().await;
    ldap.simple_bind("feed", secret).await.unwrap().success().unwrap();
    let entries = found(
        &mut ldap,
        "ou=Lists,o=nhs",
        Scope::OneLevel,
        "(objectClass=device)",
        &["cn", "description"],
    )
    .await;
    let there: BTreeMap<String, u64> = entries
        .into_iter()
        .map(|entry| {
            let count = entry
                .attrs
                .get("description")
                .map_or(0, |values| values[0].parse().unwrap());
            (entry.attrs["cn"][0].clone(), count)
        })
        .collect();
    let ledger = ledger.lock().unwrap();
    for name in &ledger.added {
        assert!(
            there.contains_key(name),
            "after kill {round}: the acknowledged entry {name} is gone"
        );
    }
    for (name, count) in &there {
        assert!(ledger.asked.contains(name), "after kill {round}: nobody added {name}");
        let (least, most) = (
            ledger.modified.get(name).unwrap_or(&0),
            ledger.tried.get(name).unwrap_or(&0),
        );
        assert!(
            (least..=most).contains(&count),
            "after kill {round}: {name} counts {count}, not {least} to {most}"
        );
    }
}
