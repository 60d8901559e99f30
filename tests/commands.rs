//! The command line as a person or a script meets it: what it prints, and how it ends.

use crate::server::{ANN, BASE, Place, Server, found, nhsdir, one_line, text};
use ldap3::Scope;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[test]
fn help_and_version_end_well_and_nonsense_does_not() {
    for arguments in [
        vec!["--help"],
        vec!["--version"],
        vec!["account", "--help"],
        vec!["account", "create", "--help"],
    ] {
        let output = nhsdir().args(&arguments).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
    for arguments in [vec!["nonsense"], vec!["serve", "--nonsense"], vec![]] {
        assert_eq!(
            nhsdir().args(&arguments).output().unwrap().status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_directory_is_made_once() {
    let place = Place::empty();
    assert!(place.refuse(2, &["init"]).contains("already holds a directory"));
    let key = fs::metadata(place.data().join("tls/key.pem")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777,
        0o600
    );
}

#[test]
fn a_suffix_must_be_a_name() {
    let folder = tempfile::tempdir().unwrap();
    for (suffix, expected) in [
        ("nonsense", "expected"),
        ("cn=x", "expected o, ou, dc, c or l in front, found cn"),
        ("", "expected"),
    ] {
        let data = folder.path().join("data");
        let output = nhsdir()
            .args(["init", "--suffix", suffix, "--data"])
            .arg(&data)
            .output()
            .unwrap();
        let line = one_line(&output, 2);
        assert!(line.contains(expected), "{line}");
        assert!(!data.exists(), "nothing is left behind");
    }
}

#[test]
fn a_wrong_path_is_said() {
    let output = nhsdir().args(["check", "--data", "/nowhere/at/all"]).output().unwrap();
    let line = one_line(&output, 2);
    assert!(
        line.contains("no directory here; create one with `nhsdir init --data /nowhere/at/all`"),
        "{line}"
    );
    let line = one_line(&nhsdir().arg("check").output().unwrap(), 2);
    assert!(line.contains("use --data DIR, NHSDIR_DATA"), "{line}");
}

#[test]
fn what_is_imported_is_exported() {
    let (place, other) = (Place::filled(), Place::empty());
    let ldif = place.succeed(&["export"], "");
    assert!(ldif.contains("dn: uid=000000000001,ou=People,o=nhs\n"), "{ldif}");
    let file = place.folder().join("export.ldif");
    let people = ldif
        .split("\n\n")
        .filter(|entry| entry.contains("ou=People,o=nhs\n") && entry.contains("uid=") || entry.starts_with("version"));
    fs::write(&file, people.collect::<Vec<_>>().join("\n\n") + "\n").unwrap();
    other.succeed(&["import", file.to_str().unwrap()], "");
    let filter = [
        "export",
        "--filter",
        "(objectClass=inetOrgPerson)",
        "--base",
        "ou=People,o=nhs",
    ];
    let entries = |place: &Place| {
        let text = place.succeed(&filter, "");
        let mut entries: Vec<String> = text.split("\n\n").map(without_operational).collect();
        entries.sort();
        entries
    };
    assert_eq!(entries(&place), entries(&other));
}

/// An entry of LDIF without the attributes that differ between two directories.
fn without_operational(entry: &str) -> String {
    const OPERATIONAL: [&str; 7] = [
        "entryUUID",
        "entryCSN",
        "createTimestamp",
        "modifyTimestamp",
        "creatorsName",
        "modifiersName",
        "#",
    ];
    let lines = entry
        .lines()
        .filter(|line| !OPERATIONAL.iter().any(|name| line.starts_with(name)));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_bad_import_writes_nothing_and_names_every_line() {
    let place = Place::empty();
    let file = place.folder().join("bad.ldif");
    let good = "dn: ou=Good,o=nhs\nobjectClass: organizationalUnit\nou: Good\n\n";
    let no_class = "dn: ou=Bad,o=nhs\nou: Bad\n\n";
    let no_name = "dn: nonsense\nobjectClass: organizationalUnit\nou: Lost\n";
    fs::write(&file, format!("{good}{no_class}{no_name}")).unwrap();
    let name = file.to_str().unwrap();
    let output = place.run(&["import", name], "");
    let said = text(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{said}");
    assert!(said.contains("bad.ldif:5") && said.contains("bad.ldif:8"), "{said}");
    assert!(!place.succeed(&["export"], "").contains("ou=Good"));
    place.run(&["import", "--skip-bad", name], "");
    assert!(place.succeed(&["export"], "").contains("ou=Good"));

    let no_parent = "dn: ou=Lost,ou=Nowhere,o=nhs\nobjectClass: organizationalUnit\nou: Lost\n\n";
    let again = "dn: ou=Best,o=nhs\nobjectClass: organizationalUnit\nou: Best\n\n".repeat(2);
    fs::write(&file, format!("{no_parent}{again}")).unwrap();
    let said = text(&place.run(&["import", name], "").stderr);
    assert!(
        said.contains("bad.ldif:1: ou=Lost,ou=Nowhere,o=nhs: its parent is missing"),
        "{said}"
    );
    assert!(said.contains("bad.ldif:9: ou=Best,o=nhs came before"), "{said}");
    assert!(!place.succeed(&["export"], "").contains("ou=Best"));
}

/// The story of an account; its steps give the same with a server and without one.
fn account_story(place: &Place) -> Vec<String> {
    let mut told = Vec::new();
    let create = [
        "account",
        "create",
        "gp-app",
        "--organisation",
        "A81001",
        "--owner",
        "Practice manager",
        "--purpose",
        "look up",
    ];
    let created = place.succeed(&create, "");
    assert!(
        created.contains("account  cn=gp-app,ou=Applications,o=nhs\nsecret   "),
        "{created}"
    );
    told.push(place.refuse(1, &create));
    told.push(place.succeed(&["account", "list"], ""));
    told.push(place.succeed(&["account", "list", "--json"], ""));
    told.push(place.succeed(
        &["account", "set", "gp-app", "--review", "2031-01-31", "--owner", ""],
        "",
    ));
    told.push(place.succeed(&["account", "expire", "gp-app", "2030-01-31"], ""));
    told.push(place.succeed(&["account", "disable", "gp-app"], ""));
    told.push(place.succeed(&["account", "list", "--json"], ""));
    told.push(place.succeed(&["account", "enable", "gp-app"], ""));
    told.push(place.succeed(&["account", "expire", "gp-app", "never"], ""));
    told.push(place.succeed(&["account", "unlock", "gp-app"], ""));
    place.succeed(&["account", "lockouts", "gp-app"], "");
    place.succeed(&["account", "rotate", "gp-app", "--keep-old", "1d"], "");
    told.push(place.succeed(&["account", "list", "--json"], ""));
    told.push(place.refuse(2, &["account", "expire", "gp-app", "tomorrow"]));
    told.push(place.refuse(2, &["account", "rotate", "gp-app", "--keep-old", "a while"]));
    told.push(place.succeed(&["account", "delete", "gp-app"], ""));
    for command in ["show", "rotate", "disable", "enable", "unlock", "lockouts", "delete"] {
        told.push(place.refuse(1, &["account", command, "gp-app"]));
    }
    told.push(place.succeed(&["account", "list"], ""));
    told
}

#[test]
fn accounts_live_the_same_life_with_a_server_and_without() {
    let stopped = account_story(&Place::empty());
    let server = Place::empty().serve();
    let running = account_story(&server.place);
    assert_eq!(stopped, running);
    let listed = json(&stopped[2]);
    assert_eq!(listed[0]["organisation"], "A81001");
    assert_eq!(listed[0]["role"], "reader");
    assert_eq!(listed[0]["state"], "active");
    let disabled = json(stopped.iter().filter(|text| text.starts_with('[')).nth(1).unwrap());
    assert_eq!(
        (&disabled[0]["state"], &disabled[0]["expires"]),
        (&"disabled".into(), &"2030-01-31".into())
    );
    assert_eq!(
        (&disabled[0]["owner"], &disabled[0]["review"]),
        (&Value::Null, &"2031-01-31".into())
    );
}

#[test]
fn a_weak_chosen_secret_creates_no_account() {
    let place = Place::empty();
    let output = place.run(&["account", "create", "app", "--secret-stdin"], "short\n");
    let line = one_line(&output, 2);
    assert!(
        line.contains("account app was not created") && line.contains("20"),
        "{line}"
    );
    assert!(
        place
            .refuse(1, &["account", "show", "app"])
            .contains("there is no account app")
    );
    let output = place.run(&["account", "create", "app", "--secret-stdin"], "");
    assert!(one_line(&output, 2).contains("expected a secret on standard input, found nothing"));
}

#[tokio::test]
async fn a_rotated_secret_may_overlap_and_a_disabled_account_is_refused() {
    let server = Place::empty().serve();
    let old = server.place.account("app", "reader");
    let rotate = |arguments: &[&str]| {
        let answer = server
            .place
            .succeed(&[&["account", "rotate", "app", "--json"], arguments].concat(), "");
        json(&answer)["secret"].as_str().unwrap().to_owned()
    };
    let bind = async |secret: &str| server.connect().await.simple_bind("app", secret).await.unwrap().rc;
    let new = rotate(&["--keep-old", "1h"]);
    assert_eq!((bind(&old).await, bind(&new).await), (0, 0));
    let newest = rotate(&[]);
    assert_eq!((bind(&old).await, bind(&new).await, bind(&newest).await), (49, 49, 0));
    server.place.succeed(&["account", "disable", "app"], "");
    assert_eq!(bind(&newest).await, 49);
    server.place.succeed(&["account", "enable", "app"], "");
    assert_eq!(bind(&newest).await, 0);
    server.place.succeed(&["account", "expire", "app", "2020-01-01"], "");
    assert_eq!(bind(&newest).await, 49);
}

#[test]
fn explain_shows_plan_and_counts() {
    let place = Place::filled();
    let explained = json(&place.succeed(&["explain", "(cn=*mit*)", "--json"], ""));
    assert_eq!(explained["entries"], 2, "{explained}");
    assert!(explained["candidates"].as_u64().unwrap() >= 2, "{explained}");
    assert!(!explained["plan"].as_array().unwrap().is_empty(), "{explained}");
    let sorted = json(&place.succeed(
        &[
            "explain",
            "(cn=*mit*)",
            "--sort",
            "-sn:caseIgnoreOrderingMatch/cn",
            "--json",
        ],
        "",
    ));
    assert!(
        sorted["sort"].as_str().unwrap().starts_with("gather what matches"),
        "{sorted}"
    );
    assert!(explained["sort"].is_null());
    assert!(
        place
            .refuse(2, &["explain", "(cn=*)", "--sort", "jpegPhoto"])
            .contains("jpegPhoto")
    );
    let explained = place.succeed(&["explain", "(sn=smith)", "--stats"], "");
    assert!(
        explained.contains("found 1 entries") && explained.contains("ATTRIBUTE"),
        "{explained}"
    );
    let stats = json(&place.succeed(&["explain", "--stats", "--json"], ""));
    let sum = |part: &str| -> u64 {
        let attributes = stats["attributes"].as_array().unwrap().iter();
        attributes.map(|attribute| attribute[part].as_u64().unwrap()).sum()
    };
    let parts = ["dictionary", "postings", "presence", "ngrams", "column"];
    assert_eq!(parts.map(sum).iter().sum::<u64>(), sum("bytes"), "{stats}");
    assert_eq!(stats["indexes"].as_u64().unwrap(), sum("bytes"), "{stats}");
    let cn = stats["attributes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["attribute"] == "cn");
    assert!(
        cn.is_some_and(|cn| cn["ngrams"].as_u64() > Some(0) && cn["entries"].as_u64() > Some(0)),
        "{stats}"
    );
    assert!(stats["total"].as_u64() > stats["records"].as_u64(), "{stats}");
    assert!(stats["entries"].as_u64() >= Some(13), "{stats}");
    assert!(place.refuse(2, &["explain", "(sn=smith"]).contains("of the filter"));
    assert!(
        place
            .refuse(2, &["explain", "(sn=smith)", "--profile", "nonsense"])
            .contains("no release profile `nonsense`")
    );
}

#[test]
fn check_finds_a_flipped_bit() {
    let place = Place::filled();
    let checked = json(&place.succeed(&["check", "--json"], ""));
    assert_eq!(checked["faults"], Value::Array(Vec::new()));
    assert!(checked["entries"].as_u64().unwrap() >= 13, "{checked}");
    let segment = largest_segment(&place);
    let mut octets = fs::read(&segment).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    fs::write(&segment, octets).unwrap();
    let output = place.run(&["check"], "");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{said}");
}

fn largest_segment(place: &Place) -> std::path::PathBuf {
    let mut folders = vec![place.data()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false if entry.path().to_str().unwrap().contains("segment") => {
                    found.push((entry.metadata().unwrap().len(), entry.path()));
                }
                false => {}
            }
        }
    }
    found.into_iter().max().expect("an import leaves a segment").1
}

#[tokio::test]
async fn status_says_whether_a_server_runs() {
    let place = Place::filled();
    let output = place.run(&["status"], "");
    assert_eq!(
        (output.status.code(), text(&output.stdout).contains("not running")),
        (Some(1), true)
    );
    let server = place.serve();
    let status = json(&server.place.succeed(&["status", "--json"], ""));
    assert_eq!(status["running"], true);
    assert_eq!(status["naming_contexts"][0], BASE);
    let (place, code) = server.stop();
    assert_eq!(code, Some(0), "SIGTERM is a clean stop");
    assert_eq!(place.run(&["status"], "").status.code(), Some(1));
    let server = place.serve();
    let mut ldap = server.bound("reader").await;
    assert_eq!(
        found(&mut ldap, ANN, Scope::Base, "(objectClass=*)", &["1.1"])
            .await
            .len(),
        1
    );
}

#[test]
fn a_second_server_is_refused() {
    let server = Place::empty().serve();
    let line = server.place.refuse(2, &["serve", "--listen", "127.0.0.1:0"]);
    assert!(line.contains("is in use by another nhsdir process"), "{line}");
    let line = server.place.refuse(2, &["check"]);
    assert!(line.contains("is in use by another nhsdir process"), "{line}");
}

/// A script starts a server, or manages accounts, while another short command has the directory open.
#[test]
fn a_directory_that_is_in_use_for_a_moment_is_waited_for() {
    let place = Place::empty();
    let lock = fs::File::open(place.data().join("lock")).unwrap();
    let hold = || {
        let lock = lock.try_clone().unwrap();
        lock.lock().unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            lock.unlock().unwrap();
        })
    };
    let held = hold();
    place.account("app", "reader");
    held.join().unwrap();
    let held = hold();
    let server = place.serve();
    held.join().unwrap();
    assert!(server.place.succeed(&["account", "list"], "").contains("app"));
}

#[test]
fn a_port_in_use_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = Place::empty().refuse(2, &["serve", "--listen", &address]);
    assert!(
        line.contains(&address) && line.contains("another process does"),
        "{line}"
    );
}

#[test]
fn a_broken_certificate_is_said() {
    let (place, other) = (Place::empty(), Place::empty());
    let (broken, key) = (place.folder().join("broken.pem"), place.data().join("tls/key.pem"));
    fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let serve = |certificate: &std::path::Path, key: &std::path::Path| {
        place.refuse(
            2,
            &[
                "serve",
                "--cert",
                certificate.to_str().unwrap(),
                "--key",
                key.to_str().unwrap(),
            ],
        )
    };
    assert!(serve(&broken, &key).contains("broken.pem"));
    assert!(serve(&place.folder().join("none.pem"), &key).contains("none.pem"));
    let line = serve(&place.data().join("tls/cert.pem"), &other.data().join("tls/key.pem"));
    assert!(line.contains("does not belong to the certificate"), "{line}");
}

#[test]
fn configuration_faults_name_file_and_line() {
    let place = Place::empty();
    let schema = place.folder().join("our.schema");
    fs::write(&schema, "\nattributetype ( 1.2.3 NAME 'broken' SYNTAX\n").unwrap();
    let config = place.folder().join("nhsdir.toml");
    let with = |text: String| {
        fs::write(&config, text).unwrap();
        place.refuse(
            2,
            &["serve", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()],
        )
    };
    let line = with("[limits]\nconections = 5\n".to_owned());
    assert!(
        line.contains("nhsdir.toml:2: limits.conections: unknown field"),
        "{line}"
    );
    let line = with(format!("[schema]\nfiles = [{schema:?}]\n"));
    assert!(line.contains("our.schema:2"), "{line}");
    let line = with("[schema]\nfiles = [\"/nowhere.schema\"]\n".to_owned());
    assert!(
        line.contains("/nowhere.schema") && line.contains("schema.files"),
        "{line}"
    );
    let line = with("[policy]\nfile = \"/nowhere.toml\"\n".to_owned());
    assert!(line.contains("/nowhere.toml") && line.contains("policy.file"), "{line}");
    let line = place.refuse(2, &["check", "--config", "/nowhere/nhsdir.toml"]);
    assert!(
        line.contains("/nowhere/nhsdir.toml") && line.contains("--config"),
        "{line}"
    );
}

#[test]
fn a_disk_that_takes_no_more_is_said() {
    let place = Place::filled();
    let people = place.succeed(&["generate", "--people", "500"], "");
    let file = place.folder().join("people.ldif");
    fs::write(&file, people).unwrap();
    // Files may grow to 64 KiB and no further, and the signal that comes with it is ignored: writes fail as on a full disk.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" import \"$1\"";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_nhsdir"), file.to_str().unwrap()])
        .env("NHSDIR_DATA", place.data())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("nhsdir: ") && last.contains("too large"), "{said}");
    place.succeed(&["check"], "");
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let place = Place::empty();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!("[listen]\nmetrics = \"{port}\"\n");
    fs::write(place.data().join("nhsdir.toml"), config).unwrap();
    let server = Server::start(place, &[]);
    drop(server.connect().await);
    let mut stream = std::net::TcpStream::connect(port).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("# TYPE nhsdir_"),
        "{answer}"
    );
}

#[test]
fn the_demonstration_tells_its_story_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = nhsdir()
        .args(["demo", "--once", "--people", "200"])
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}{}", text(&output.stderr));
    for expected in [
        "anonymous search           refused",
        "typeahead smi*",
        "GP Connect: its end point  1 entry",
        "plan  ",
    ] {
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "the throw-away directory is removed"
    );
}

/// An account that another server made: its classes know nothing of nhsdir, and it is named by uid.
#[test]
fn an_account_from_elsewhere_is_looked_after() {
    let place = Place::empty();
    let file = place.data().with_extension("ldif");
    let ldif = "dn: o=nhs\nobjectClass: organization\no: nhs\n\n\
        dn: ou=Applications,o=nhs\nobjectClass: organizationalUnit\nou: Applications\n\n\
        dn: uid=old-app,ou=Applications,o=nhs\nobjectClass: account\nobjectClass: simpleSecurityObject\nuid: old-app\n\
        userPassword: {SSHA}9fTAsYeeOZfVl2LEVBPqJTBFYJCEd5AG\n";
    fs::write(&file, ldif).unwrap();
    place.succeed(&["import", "--replace", file.to_str().unwrap()], "");
    assert_eq!(
        json(&place.succeed(&["account", "list", "--json"], ""))[0]["name"],
        "old-app"
    );
    place.succeed(&["account", "set", "old-app", "--profile", "full"], "");
    place.succeed(&["account", "disable", "old-app"], "");
    let account = &json(&place.succeed(&["account", "list", "--json"], ""))[0];
    assert_eq!(
        (&account["profile"], &account["state"]),
        (&"full".into(), &"disabled".into())
    );
    place.succeed(&["account", "rotate", "old-app"], "");
    place.succeed(&["account", "delete", "old-app"], "");
    assert_eq!(
        json(&place.succeed(&["account", "list", "--json"], "")),
        Value::Array(Vec::new())
    );
}

/// Faults of values and faults of order, in one run, each with its line; and what is left when they are skipped.
#[test]
fn an_import_tells_every_fault_at_once() {
    let place = Place::empty();
    let file = place.data().with_extension("ldif");
    let ldif = "dn: ou=People,o=nhs\nobjectClass: organizationalUnit\nou: People\n\n\
        dn: uid=1,ou=People,o=nhs\nobjectClass: account\nuid: 1\nnosuch: x\n\n\
        dn: cn=child,uid=1,ou=People,o=nhs\nobjectClass: applicationProcess\ncn: child\n\n\
        dn: uid=2,ou=People,o=nhs\nobjectClass: account\nuid: 2\n\n\
        dn: uid=2,ou=People,o=nhs\nobjectClass: account\nuid: 2\n\n\
        dn: uid=3,ou=Missing,o=nhs\nobjectClass: account\nuid: 3\n";
    fs::write(&file, ldif).unwrap();
    let file = file.to_str().unwrap();
    let output = place.run(&["import", file], "");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for expected in [
        "ldif:5: uid=1,ou=People,o=nhs: attribute type nosuch is not defined",
        "ldif:18: uid=2,ou=People,o=nhs came before",
        "ldif:22: uid=3,ou=Missing,o=nhs: its parent is missing",
        "3 faults; nothing was written",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    assert!(
        !told.contains("cn=child"),
        "what lies below a fault is none of its own: {told}"
    );
    let output = place.run(&["import", "--skip-bad", file], "");
    assert!(
        text(&output.stdout).contains("imported 2 entries"),
        "{}",
        text(&output.stdout)
    );
}

/// A name given twice: with the place of the first, also where `init` made an entry of that name, and below a faulty one.
#[test]
fn an_import_tells_where_a_name_came_before() {
    let place = Place::empty();
    let file = place.data().with_extension("ldif");
    let people = "dn: ou=People,o=nhs\nobjectClass: organizationalUnit\nou: People\n\n";
    let bad = "dn: ou=Bad,o=nhs\nobjectClass: organizationalUnit\nou: Bad\nnosuch: x\n\n";
    let below = "dn: ou=Below,ou=Bad,o=nhs\nobjectClass: organizationalUnit\nou: Below\n\n";
    let told = |ldif: String| {
        fs::write(&file, ldif).unwrap();
        let output = place.run(&["import", file.to_str().unwrap()], "");
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    let again = told(people.repeat(2));
    assert!(again.contains("ldif:5: ou=People,o=nhs came before, at "), "{again}");
    let again = told(format!("{bad}{}", below.repeat(2)));
    assert!(again.contains("ldif:10: ou=Below,ou=Bad,o=nhs came before"), "{again}");
    assert!(again.contains("2 faults; nothing was written"), "{again}");
    // Once it is loaded, the name is the directory's.
    place.succeed(&["import", "-"], &below.replace("ou=Below,ou=Bad", "ou=Below"));
    place.succeed(
        &["import", "-"],
        "dn: uid=1,ou=Below,o=nhs\nobjectClass: account\nuid: 1\n",
    );
    let again = told("dn: uid=1,ou=Below,o=nhs\nobjectClass: account\nuid: 1\n".to_owned());
    assert!(
        again.contains("is in the directory already; leave it out, or use --replace"),
        "{again}"
    );
}

#[test]
fn an_export_is_the_same_with_and_without_a_server() {
    let place = Place::filled();
    let arguments = ["export", "--operational"];
    let filtered = ["export", "--base", "ou=People,o=nhs", "--filter", "(sn=*)"];
    let alone = (place.succeed(&arguments, ""), place.succeed(&filtered, ""));
    let server = place.serve();
    let served = (
        server.place.succeed(&arguments, ""),
        server.place.succeed(&filtered, ""),
    );
    assert!(alone.0.contains("entryUUID: ") && alone.1.contains("sn: "));
    assert_eq!(served, alone);
    let line = server.place.refuse(2, &["export", "--base", "ou=Nowhere,o=nhs"]);
    assert!(line.contains("ou=Nowhere,o=nhs is not in the directory"), "{line}");
}

/// Both forms of OpenLDAP's schema files are read, and what is wrong with one is said by line.
#[test]
fn schema_files_are_checked_before_a_server_believes_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let directives = file(
        "local.schema",
        "# ours\nobjectidentifier Local 1.3.6.1.4.1.32473\nattributetype ( Local:1 NAME 'localColour'\n  EQUALITY caseIgnoreMatch\n\
         \tSYNTAX 1.3.6.1.4.1.1466.115.121.1.15{64} )\nobjectclass ( Local:2 NAME 'localThing' SUP top AUXILIARY MAY localColour )\n",
    );
    let ldif = file(
        "more.ldif",
        "dn: cn=more,cn=schema,cn=config\nobjectClass: olcSchemaConfig\ncn: more\nolcAttributeTypes: {0}( 1.3.6.1.4.1.32473.3 NAME 'localShape'\n  SUP name )\n\
         olcObjectClasses: {0}( 1.3.6.1.4.1.32473.4 NAME 'localForm' SUP top AUXILIARY MAY ( localShape $ localColour ) )\n",
    );
    let check = |files: &[&std::path::Path]| nhsdir().args(["schema", "check"]).args(files).output().unwrap();
    let sound = check(&[&directives, &ldif]);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound.stdout));
    assert!(text(&sound.stdout).starts_with("sound: "));
    let alone = check(&[&ldif]);
    assert_eq!(alone.status.code(), Some(1));
    assert_eq!(
        text(&alone.stdout),
        format!("{}:6: attribute type localColour is not defined\n", ldif.display())
    );
    assert_eq!(check(&[&folder.path().join("none")]).status.code(), Some(2));

    let show = |name: &str| nhsdir().args(["schema", "show", name]).output().unwrap();
    let shown = text(&show("SN").stdout);
    assert!(
        shown.starts_with("attributeTypes: ( 2.5.4.4 NAME ( 'sn' 'surname' )"),
        "{shown}"
    );
    assert_eq!(shown.lines().count(), 1);
    assert_eq!(text(&show("2.5.6.6").stdout).lines().count(), 1);
    assert_eq!(show("localColour").status.code(), Some(1));
}

/// What would be found out at the first bind, or never, is said at once.
#[test]
fn names_that_nothing_has_are_refused() {
    let place = Place::filled();
    place.account("app", "reader");
    let wrong = [
        (&["account", "create", "other", "--profile", "raeder"][..], "`raeder`"),
        (&["account", "set", "app", "--profile", "raeder"], "`raeder`"),
        (
            &["account", "set", "app", "--certificate", "12:34"],
            "64 hexadecimal digits",
        ),
    ];
    for (arguments, part) in wrong {
        let said = place.refuse(2, arguments);
        assert!(said.contains(part), "{said}");
    }
    place.succeed(&["account", "set", "app", "--certificate", &"0A:".repeat(32)], "");
    let settings = [
        ("[general]\nenabled = true\nprofile = \"raeder\"\n", "general.profile"),
        (
            "[general]\nenabled = true\nrules = [{ base = \"o=nhs\", profile = \"raeder\" }]\n",
            "general.rules",
        ),
        ("[store]\nunindexed = [\"jpgePhoto\"]\n", "store.unindexed"),
    ];
    let config = place.data().join("nhsdir.toml");
    let before = fs::read_to_string(&config).unwrap();
    for (text, key) in settings {
        fs::write(&config, format!("{before}{text}")).unwrap();
        let said = place.refuse(2, &["serve", "--listen", "127.0.0.1:0"]);
        assert!(said.contains(key) && said.contains("expected"), "{said}");
    }
}

#[test]
fn an_import_can_be_tried() {
    let place = Place::empty();
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/people.ldif");
    let fixture = fixture.to_str().unwrap();
    let before = place.succeed(&["export"], "");
    let said = place.succeed(&["import", "--dry-run", fixture], "");
    assert!(said.contains("entries can be imported"), "{said}");
    let orphan = "dn: cn=a,ou=Nowhere,o=nhs\nobjectClass: device\ncn: a\n";
    let output = place.run(&["import", "--dry-run", "-"], orphan);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("its parent is missing"));
    assert_eq!(place.succeed(&["export"], ""), before);
    let change = "dn: cn=a,o=nhs\nchangetype: delete\n";
    assert_eq!(place.run(&["import", "--dry-run", "-"], change).status.code(), Some(2));
}
