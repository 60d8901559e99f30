//! Data that is not as it was written: found by reading it through, said, and not served.

use crate::server::{ANN, BASE, Place, Server, search_code, text};
use ldap3::{Ldap, Mod, Scope};
use std::collections::HashSet;
use std::time::{Duration, Instant};

const UNAVAILABLE: u32 = 52;

/// A digit of Ann's telephone number is another one: a value like any other, in a record of the segment.
fn damaged() -> Place {
    let place = Place::filled();
    let folder = place.data().join("segments");
    let segment = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut octets = std::fs::read(&segment).unwrap();
    let value = b"020 7946 0001";
    let at = octets.windows(value.len()).position(|octets| octets == value);
    octets[at.expect("it is in a record") + value.len() - 1] ^= 2;
    std::fs::write(&segment, octets).unwrap();
    place
}

/// The server has read the data through once it says so.
async fn until_it_is_found(server: &Server, ldap: &mut Ldap) {
    let begun = Instant::now();
    while search_code(ldap, BASE, Scope::Base, "(objectClass=*)").await == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", server.url);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_finds_it_and_serves_nothing_of_it() {
    let place = damaged();
    let secret = place.account("admin", "administrator");
    let server = place.serve();
    let mut ldap = server.connect().await;
    ldap.simple_bind("admin", &secret).await.unwrap().success().unwrap();
    until_it_is_found(&server, &mut ldap).await;
    for (base, scope) in [(ANN, Scope::Base), (BASE, Scope::Subtree)] {
        assert_eq!(
            search_code(&mut ldap, base, scope, "(objectClass=*)").await,
            UNAVAILABLE
        );
    }
    let compared = ldap.compare(ANN, "uid", "000000000001").await.unwrap();
    assert_eq!(compared.0.rc, UNAVAILABLE);
    let change = Mod::Replace("description", HashSet::from(["x"]));
    assert_ne!(ldap.modify(ANN, vec![change]).await.unwrap().rc, 0);
    let status = server.place.run(&["status"], "");
    assert_eq!(status.status.code(), Some(1));
    assert!(text(&status.stdout).contains("fault            the data failed its checksums"));
}

#[tokio::test]
async fn it_is_served_and_not_written_where_that_is_asked_for() {
    let place = damaged().with("[store]\nserve_damaged = true\n");
    let secret = place.account("admin", "administrator");
    let server = place.serve();
    let mut ldap = server.connect().await;
    ldap.simple_bind("admin", &secret).await.unwrap().success().unwrap();
    let begun = Instant::now();
    let mut count = 0;
    loop {
        count += 1;
        let value = count.to_string();
        let change = Mod::Replace("description", HashSet::from([value.as_str()]));
        if ldap.modify(ANN, vec![change]).await.unwrap().rc != 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(search_code(&mut ldap, ANN, Scope::Base, "(objectClass=*)").await, 0);
}

/// A new segment would have checksums that fit what was read.
#[test]
fn nothing_is_made_of_it() {
    let place = damaged();
    place.account("app", "reader");
    let fixture = place.folder().join("more.ldif");
    std::fs::write(
        &fixture,
        "dn: ou=More,o=nhs\nobjectClass: organizationalUnit\nou: More\n",
    )
    .unwrap();
    for command in [&["export"][..], &["compact"], &["import", fixture.to_str().unwrap()]] {
        let said = place.refuse(2, command);
        assert!(
            said.contains("the checksum does not match; restore the latest backup"),
            "{command:?}: {said}"
        );
    }
    assert_eq!(place.run(&["check"], "").status.code(), Some(1));
}
