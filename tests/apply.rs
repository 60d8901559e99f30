//! `nhsdir apply`: LDIF changes to a running server.

use crate::server::{ANN, BASE, BOB, Place, Server, ZOE, found, nhsdir, search_code, text};
use ldap3::{Ldap, Scope};
use std::fs;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

fn apply(place: &Place, ldif: &str, arguments: &[&str], input: &str) -> Output {
    let file = place.folder().join("changes.ldif");
    fs::write(&file, ldif).unwrap();
    let arguments: Vec<&str> = ["apply", file.to_str().unwrap()]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    place.run(&arguments, input)
}

/// Standard error, its lines without the path of the file that they begin with.
fn said(output: &Output) -> String {
    let lines = text(&output.stderr);
    let lines = lines.lines().map(|line| match line.split_once("changes.ldif:") {
        Some((path, rest)) if path.starts_with('/') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

const CHANGES: &str = "version: 1\n\ndn: uid=9,ou=People,o=nhs\nchangetype: add\nobjectClass: inetOrgPerson\nuid: 9\ncn: Nine\nsn: Nine\n\
    description: same\ndescription: Other\n\n\
    dn: uid=9,ou=People,o=nhs\nchangetype: modify\nadd: telephoneNumber\ntelephoneNumber: 01 23\n-\nreplace: sn\nsn:: TmV1bg==\n-\n\
    delete: description\ndescription: same\n-\n\n\
    dn: uid=9,ou=People,o=nhs\ncontrol: 1.3.6.1.1.13.2 true:: MAQEAmNu\nchangetype: modrdn\nnewrdn: uid=10\ndeleteoldrdn: 1\n\n\
    dn: uid=10,ou=People,o=nhs\nchangetype: moddn\nnewrdn: uid=10\ndeleteoldrdn: 0\nnewsuperior: o=nhs\n\n\
    dn: uid=000000000003,ou=People,o=nhs\nchangetype: delete\n";

#[tokio::test]
async fn every_kind_of_change_reaches_the_server() {
    let server = Place::filled().serve();
    let output = apply(&server.place, CHANGES, &[], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("applied 5 changes in "));
    let mut ldap = server.bound("administrator").await;
    let entries = found(&mut ldap, "uid=10,o=nhs", Scope::Base, "(objectClass=*)", &["*"]).await;
    let attributes = &entries[0].attrs;
    assert_eq!(attributes["sn"], ["Neun"]);
    assert_eq!(attributes["description"], ["Other"]);
    assert_eq!(attributes["telephoneNumber"], ["01 23"]);
    assert!(
        found(&mut ldap, "o=nhs", Scope::Subtree, "(uid=000000000003)", &["uid"])
            .await
            .is_empty()
    );
}

#[test]
fn the_first_refusal_ends_it_unless_told_to_go_on() {
    let server = Place::filled().serve();
    let missing = "uid=none,ou=People,o=nhs";
    let changes = format!(
        "dn: {ANN}\nchangetype: modify\nadd: description\ndescription: one\n-\n\n\
         dn: {missing}\nchangetype: delete\n\ndn: {ZOE}\ncontrol: 1.2.3.4 true\nchangetype: delete\n\n\
         dn: {BOB}\nchangetype: modify\nadd: description\ndescription: twice\ndescription: twice\n-\n"
    );
    let output = apply(&server.place, &changes, &[], "");
    assert_eq!(output.status.code(), Some(1));
    let lines = said(&output);
    assert!(lines.starts_with(&format!("7: {missing}: noSuchObject")), "{lines}");
    assert!(
        lines.contains("2 changes behind the refused one were not sent"),
        "{lines}"
    );
    let output = apply(&server.place, &changes, &["--continue"], "");
    assert_eq!(output.status.code(), Some(1));
    let lines = said(&output);
    for expected in [
        format!("1: {ANN}: attributeOrValueExists"),
        format!("7: {missing}: noSuchObject"),
        format!("10: {ZOE}: unavailableCriticalExtension"),
        format!("14: {BOB}: attributeOrValueExists"),
        "4 changes were refused, 0 records were faulty".to_owned(),
    ] {
        assert!(lines.contains(&expected), "{expected} in {lines}");
    }
}

#[test]
fn a_faulty_file_sends_nothing() {
    let server = Place::filled().serve();
    let changes = format!(
        "dn: {BOB}\nchangetype: delete\n\ndn: {ANN}\nchangetype: remove\n\ndn: ou=New,o=nhs\nobjectClass: organizationalUnit\nou: New\n"
    );
    let output = apply(&server.place, &changes, &[], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        said(&output),
        "5: expected add, delete, modify, modrdn or moddn, found `remove`\n\
         7: expected `changetype:`, found an entry; give --add to add entries\n\
         2 faults; nothing was sent: mend them, or leave their records out with --continue"
    );
    let output = apply(&server.place, &changes, &["--add", "--dry-run"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("1 faults; 2 changes are without; nothing was sent"),
        "{}",
        said(&output)
    );
    let output = apply(&server.place, &changes, &["--add", "--continue"], "");
    assert_eq!(output.status.code(), Some(1), "a record was faulty");
    assert!(text(&output.stdout).starts_with("applied 2 changes in "));
}

#[test]
fn a_server_is_named_by_url_and_bound_with_a_secret() {
    let server = Place::filled().serve();
    let secret = server.place.account("feed", "writer");
    let authority = server.place.data().join("tls/cert.pem");
    let change = format!("dn: {BOB}\nchangetype: delete\n");
    let reached = |secret: &str| {
        let arguments = [
            "--url",
            &server.url,
            "--bind",
            "feed",
            "--ca",
            authority.to_str().unwrap(),
        ];
        apply(&server.place, &change, &arguments, secret)
    };
    let refused = reached("wrong\n");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("refuses feed: invalidCredentials"));
    let output = reached(&format!("{secret}\n"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let without = ["apply", "-", "-H", &server.url, "--bind", "feed"];
    assert!(server.place.refuse(2, &without).contains("name the LDIF as a file"));
}

#[test]
fn without_a_server_nothing_is_applied() {
    let place = Place::filled();
    let output = apply(&place, CHANGES, &[], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("no server runs on"),
        "{}",
        text(&output.stderr)
    );
    let output = apply(&place, CHANGES, &["--dry-run"], "");
    assert_eq!(text(&output.stdout), "read 5 changes; nothing was sent\n");
    let file = place.folder().join("changes.ldif");
    let output = place.run(&["import", file.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).starts_with("25: expected no control, found 1.3.6.1.1.13.2; send"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_file_of_entries_is_one_line_whatever_their_number() {
    let place = Place::filled();
    let entry =
        |number: u32| format!("dn: ou=New {number},o=nhs\nobjectClass: organizationalUnit\nou: New {number}\n\n");
    let entries: String = (1..=40).map(entry).collect();
    let output = apply(&place, &entries, &[], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        said(&output),
        "1: expected `changetype:`, found an entry, and so are 39 more records; give --add to add entries\n\
         40 faults; nothing was sent: mend them, or leave their records out with --continue"
    );
}

#[test]
fn what_comes_before_the_place_to_go_on_from_is_not_sent() {
    let server = Place::filled().serve();
    let changes = format!(
        "dn: {BOB}\nchangetype: delete\n\ndn: uid=none,o=nhs\nchangetype: delete\n\ndn: {ZOE}\nchangetype: delete\n"
    );
    let output = apply(&server.place, &changes, &[], "");
    assert!(
        said(&output).contains("1 changes behind the refused one were not sent; mend it and go on with --from"),
        "{}",
        said(&output)
    );
    let output = apply(&server.place, &changes, &["--from", "5"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("applied 1 changes in "));
    let refused = |from: &str| text(&apply(&server.place, &changes, &["--from", from], "").stderr);
    assert!(refused("8").contains("no change is at"), "{}", refused("8"));
    assert!(refused("x").contains("expected --from LINE or FILE:LINE"));
}

const MANY: usize = 3000;

/// Entries to add, each of which would be refused a second time.
fn many() -> String {
    let entry = |number: usize| {
        format!("dn: ou=New {number},o=nhs\nchangetype: add\nobjectClass: organizationalUnit\nou: New {number}\n\n")
    };
    (1..=MANY).map(entry).collect()
}

/// The program on its way through many changes.
fn under_way(place: &Place) -> Child {
    let file = place.folder().join("changes.ldif");
    fs::write(&file, many()).unwrap();
    let mut command = nhsdir();
    command.env("NHSDIR_DATA", place.data()).arg("apply").arg(&file);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn until_some_are_there(server: &Server) {
    let mut ldap = server.bound("administrator").await;
    let begun = Instant::now();
    while search_code(&mut ldap, "ou=New 20,o=nhs", Scope::Base, "(objectClass=*)").await != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Where standard error says to go on from.
fn places(output: &Output) -> Vec<String> {
    let said = text(&output.stderr);
    let places = said.split("--from ").skip(1);
    places
        .map(|rest| rest.split([';', ',', '\n']).next().unwrap().trim().to_owned())
        .collect()
}

async fn all_are_there(ldap: &mut Ldap) {
    let count = found(ldap, BASE, Scope::OneLevel, "(ou=New *)", &["1.1"]).await.len();
    assert_eq!(count, MANY);
}

#[tokio::test]
async fn an_interrupt_waits_for_its_answer_and_says_where_to_go_on() {
    let server = Place::filled().serve();
    let child = under_way(&server.place);
    until_some_are_there(&server).await;
    let process = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &process])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("changes were not sent; go on with --from"), "{said}");
    let from = places(&output).remove(0);
    let file = server.place.folder().join("changes.ldif");
    let rest = server
        .place
        .run(&["apply", file.to_str().unwrap(), "--from", &from], "");
    assert!(rest.status.success(), "{}", text(&rest.stderr));
    all_are_there(&mut server.bound("writer").await).await;
}

#[tokio::test]
async fn a_server_that_goes_midway_leaves_one_change_unknown_and_says_which() {
    let server = Place::filled().serve();
    let child = under_way(&server.place);
    until_some_are_there(&server).await;
    let place = server.kill();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("applied "));
    let said = text(&output.stderr);
    assert!(said.contains("whether it was applied is not known"), "{said}");
    let places = places(&output);
    let [first, next] = [&places[0], &places[1]];
    let number = |place: &str| place.rsplit(':').next().unwrap().parse::<usize>().unwrap() / 5 + 1;
    assert_eq!(number(first) + 1, number(next));
    let server = place.serve();
    let mut ldap = server.bound("writer").await;
    let unknown = format!("ou=New {},o=nhs", number(first));
    let is_there = search_code(&mut ldap, &unknown, Scope::Base, "(objectClass=*)").await == 0;
    let from = if is_there { next } else { first };
    let file = server.place.folder().join("changes.ldif");
    let rest = server.place.run(&["apply", file.to_str().unwrap(), "--from", from], "");
    assert!(rest.status.success(), "{}", text(&rest.stderr));
    all_are_there(&mut ldap).await;
}
