//! What clients make a server keep: half-sent messages, answers that nobody reads, transactions that nobody ends.

use crate::server::{BASE, Place, Server, found};
use ldap3::{Ldap, LdapResult, Mod, Scope};
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// One BER element of any length.
fn element(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[tag, 0x84][..], &length, body].concat()
}

fn text(text: &str) -> Vec<u8> {
    element(4, text.as_bytes())
}

fn message(id: u8, operation: &[u8]) -> Vec<u8> {
    element(0x30, &[&[2, 1, id][..], operation].concat())
}

fn search(base: &str, filter: &[u8]) -> Vec<u8> {
    let [scope, aliases, numbers, types] = [
        element(0x0a, &[0]),
        element(0x0a, &[0]),
        [2, 1, 0, 2, 1, 0].to_vec(),
        vec![1, 1, 0],
    ];
    let parts = [
        text(base),
        scope,
        aliases,
        numbers,
        types,
        filter.to_vec(),
        element(0x30, &[]),
    ];
    message(2, &element(0x63, &parts.concat()))
}

/// A client over the UNIX socket, bound as the local administrator.
struct Local(UnixStream);

impl Local {
    fn bound(server: &Server) -> Local {
        let stream = UnixStream::connect(server.place.data().join("ldapi")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut local = Local(stream);
        let external = element(0xa3, &text("EXTERNAL"));
        let bind = [vec![2, 1, 3], text(""), external].concat();
        local.0.write_all(&message(1, &element(0x60, &bind))).unwrap();
        assert_eq!(local.code(), Some(0));
        local
    }

    /// The result code of the next answer of less than 128 octets; `None` at the end of the connection.
    fn code(&mut self) -> Option<u8> {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).ok()?;
        let mut body = vec![0; usize::from(header[1])];
        self.0.read_exact(&mut body).ok()?;
        // Message id, the operation's tag and length, ENUMERATED, one octet.
        Some(body[7])
    }

    /// The result code of the next answer of any size.
    fn large(&mut self) -> u8 {
        let mut read = |count: usize| {
            let mut octets = vec![0; count];
            self.0.read_exact(&mut octets).unwrap();
            octets
        };
        let length = |first: u8, read: &mut dyn FnMut(usize) -> Vec<u8>| match first {
            0..0x80 => usize::from(first),
            _ => read(usize::from(first & 0x7f))
                .iter()
                .fold(0, |length, octet| length << 8 | usize::from(*octet)),
        };
        let header = read(2);
        let whole = length(header[1], &mut read);
        let body = read(whole);
        // Message id, the operation's tag, its length, ENUMERATED, one octet.
        body[3..]
            .iter()
            .position(|octet| *octet == 0x0a)
            .map_or(0xff, |at| body[3 + at + 2])
    }

    /// The result code of the notice that ended it; `None` while it has not ended.
    fn ended(&mut self) -> Option<u8> {
        self.0.set_nonblocking(true).unwrap();
        let mut octets = Vec::new();
        match self.0.read_to_end(&mut octets) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            _ => octets.iter().position(|octet| *octet == 0x78).map(|at| octets[at + 4]),
        }
    }
}

/// Cheap secrets, and little memory for buffers.
fn narrow() -> Server {
    Place::filled()
        .with("[limits]\nbuffered_bytes = 8388608\nwrite_stall_seconds = 600\n")
        .serve()
}

const MIB: usize = 1 << 20;

/// Gives an entry a value of 3 MiB.
async fn lengthen(admin: &mut Ldap) -> LdapResult {
    let value = "v".repeat(3 * MIB);
    let change = Mod::Replace("description", HashSet::from([value.as_str()]));
    admin.modify("ou=People,o=nhs", vec![change]).await.unwrap()
}

#[tokio::test]
async fn half_sent_messages_take_no_more_than_there_is_for_all() {
    let server = narrow();
    let mut admin = server.bound("administrator").await;
    let filter = element(0xa3, &[text("cn"), text(&"x".repeat(4 * MIB - 500))].concat());
    let long = search(BASE, &filter);
    let before = server.resident();
    let mut sitters = Vec::new();
    for _ in 0..40 {
        let mut sitter = Local::bound(&server);
        sitter.0.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        // It may be sent away before it is through.
        let _ = sitter.0.write_all(&long[..long.len() - 1]);
        sitters.push(sitter);
    }
    let grown = server.resident().saturating_sub(before);
    // The allocator keeps some of what is free; all they send are 160 MiB.
    assert!(grown < 90 * MIB, "{} MiB more", grown / MIB);
    // Who asks little, and who sends a long message at once, notices nothing.
    assert_eq!(found(&mut admin, BASE, Scope::Base, "(o=*)", &["o"]).await.len(), 1);
    let changed = lengthen(&mut admin).await;
    assert_eq!(changed.rc, 0, "{changed}");
    let ended: Vec<u8> = sitters.iter_mut().filter_map(Local::ended).collect();
    assert!(ended.len() > 35, "{} of 40 were sent away", ended.len());
    assert!(ended.iter().all(|code| *code == 51), "{ended:?}");
}

#[tokio::test]
async fn answers_that_nobody_reads_take_no_more_than_there_is_for_all() {
    let server = narrow();
    let mut admin = server.bound("administrator").await;
    lengthen(&mut admin).await.success().unwrap();
    let before = server.resident();
    let ask = search("ou=People,o=nhs", &element(0x87, b"objectClass"));
    let mut deaf = Vec::new();
    for _ in 0..40 {
        let mut client = Local::bound(&server);
        client.0.write_all(&ask).unwrap();
        deaf.push(client);
    }
    // The last of them has been served when this one is.
    assert_eq!(found(&mut admin, BASE, Scope::Base, "(o=*)", &["o"]).await.len(), 1);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 90 * MIB, "{} MiB more", grown / MIB);
    let mut last = deaf.pop().unwrap();
    let mut octets = vec![0; 3 * MIB];
    last.0.read_exact(&mut octets).expect("the last to come is served");
}

/// Many short values take many times the octets that they came in.
#[test]
fn a_transaction_of_many_values_is_held_to_the_memory_it_takes() {
    let server = Place::filled().with("[limits]\ntransaction_bytes = 1048576\n").serve();
    let mut admin = Local::bound(&server);
    let start = element(0x77, &element(0x80, b"1.3.6.1.1.21.1"));
    admin.0.write_all(&message(2, &start)).unwrap();
    assert_eq!(admin.code(), Some(0));
    let values: Vec<u8> = (0..40_000u32).flat_map(|value| text(&value.to_string())).collect();
    let change = [text("description"), element(0x31, &values)].concat();
    let change = element(0x30, &[element(0x0a, &[0]), element(0x30, &change)].concat());
    let modify = element(0x66, &[text("ou=People,o=nhs"), element(0x30, &change)].concat());
    let control = [text("1.3.6.1.1.21.2"), vec![1, 1, 0xff], text("1")].concat();
    let controls = element(0xa0, &element(0x30, &control));
    let request = [modify, controls].concat();
    assert!(request.len() < MIB, "on the wire it is within the limit");
    admin.0.write_all(&message(3, &request)).unwrap();
    assert_eq!(admin.code(), Some(11), "adminLimitExceeded");
}

/// Entries that come with the answers to updates count with the updates until they are answered.
#[tokio::test]
async fn entries_read_with_updates_take_no_more_than_there_is_for_updates() {
    let server = Place::filled()
        .with("[limits]\nbuffered_bytes = 8388608\nwaiting_update_bytes = 16777216\nwrite_stall_seconds = 600\n")
        .serve();
    let mut admin = server.bound("administrator").await;
    lengthen(&mut admin).await.success().unwrap();
    let before = server.resident();
    let all = element(0x30, &text("*"));
    let control = |oid: &str| element(0x30, &[text(oid), element(4, &all)].concat());
    let controls = element(0xa0, &[control("1.3.6.1.1.13.1"), control("1.3.6.1.1.13.2")].concat());
    let mut deaf = Local::bound(&server);
    for number in 0..50u8 {
        let value = element(0x31, &text(&format!("Number {number}")));
        let change = element(0x30, &[text("ou"), value].concat());
        let change = element(0x30, &[element(0x0a, &[0]), change].concat());
        let modify = element(0x66, &[text("ou=People,o=nhs"), element(0x30, &change)].concat());
        let request = message(2 + number, &[modify, controls.clone()].concat());
        deaf.0.write_all(&request).unwrap();
    }
    // Updates are done one after the other.
    let change = Mod::Replace("description", HashSet::from(["x"]));
    let answer = admin.modify("ou=Organisations,o=nhs", vec![change]).await.unwrap();
    assert!(answer.rc == 0 || answer.rc == 51, "{answer}");
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 180 * MIB, "{} MiB more", grown / MIB);
    let (mut done, mut busy) = (0, 0);
    for _ in 0..50 {
        match deaf.large() {
            0 => done += 1,
            51 => busy += 1,
            code => panic!("{code}"),
        }
    }
    assert!(done > 0 && busy > 20, "{done} were done, {busy} refused");
    let again = Mod::Replace("description", HashSet::from(["y"]));
    let answer = admin.modify("ou=Organisations,o=nhs", vec![again]).await.unwrap();
    assert_eq!(answer.rc, 0, "what was taken is given back");
}
