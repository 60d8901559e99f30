//! Connections end to end over an in-memory stream, against a real directory of a few hundred entries.

mod silence;

use super::super::ber::{self, Reader, put_integer, put_nested, put_octets};
use super::super::codec::tag;
use super::super::controls::PAGED_RESULTS;
use super::super::encode::NOTICE_OF_DISCONNECTION;
use super::super::limits::WireLimits;
use super::super::{extended, specimen};
use super::*;
use crate::account::AccountOptions;
use crate::directory::{Directory, DirectoryOptions, Update};
use crate::metrics::Metrics;
use crate::model::{Attribute, AttributeDescription, Dn, Entry};
use std::sync::OnceLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PEOPLE: usize = 300;

fn attribute(name: &str, value: &str) -> Attribute {
    Attribute {
        description: AttributeDescription::parse(name).unwrap(),
        values: vec![value.as_bytes().to_vec()],
    }
}

fn entry(dn: &str, class: &str, attributes: &[(&str, &str)]) -> Entry {
    let mut all = vec![attribute("objectClass", class)];
    all.extend(attributes.iter().map(|(name, value)| attribute(name, value)));
    Entry {
        dn: Dn::parse(dn).unwrap(),
        attributes: all,
    }
}

fn source() -> Source {
    Source {
        address: Address::Local {
            uid: 0,
            gid: 0,
            pid: None,
        },
        tls: None,
        connection: 1,
        sessions: Vec::new(),
    }
}

/// One directory for all tests: they only read it.
async fn directory() -> Arc<Directory> {
    static DIRECTORY: OnceLock<(tempfile::TempDir, Arc<Directory>)> = OnceLock::new();
    static FILLED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let (_, directory) = DIRECTORY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let options = DirectoryOptions {
            data: folder.path().join("data"),
            accounts: AccountOptions {
                argon2_memory_kib: 64,
                argon2_iterations: 1,
                ..AccountOptions::default()
            },
            ..DirectoryOptions::default()
        };
        let directory = Directory::create(&[Dn::parse("o=nhs").unwrap()], options).unwrap();
        (folder, directory)
    });
    FILLED.get_or_init(|| fill(directory)).await;
    Arc::clone(directory)
}

async fn fill(directory: &Arc<Directory>) {
    let session = directory.bind_external(b"", &Arc::new(source())).unwrap();
    let mut entries = vec![
        entry("o=nhs", "organization", &[("o", "nhs")]),
        entry("ou=People,o=nhs", "organizationalUnit", &[("ou", "People")]),
    ];
    entries.extend((0..PEOPLE).map(|number| {
        let (name, dn) = (
            format!("person {number}"),
            format!("cn=person {number},ou=People,o=nhs"),
        );
        entry(&dn, "person", &[("cn", &name), ("sn", "Smith")])
    }));
    for entry in entries {
        let outcome = directory.update(&session, Update::Add(entry)).await.outcome;
        assert!(outcome.is_success(), "{outcome:?}");
    }
}

struct Client {
    stream: DuplexStream,
    received: Vec<u8>,
    stop: watch::Sender<bool>,
    served: JoinHandle<Ending>,
    metrics: Arc<Metrics>,
}

/// A message from the server: id, operation tag, result code where it has one, the rest as octets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    id: u32,
    tag: u8,
    code: Option<i64>,
    operation: Vec<u8>,
    controls: Vec<u8>,
}

impl Client {
    async fn connect(transport: Transport, limits: WireLimits) -> Client {
        Client::connect_with(transport, limits, 1 << 20).await
    }

    async fn connect_with(transport: Transport, limits: WireLimits, window: usize) -> Client {
        let metrics = Arc::new(Metrics::default());
        let service = Service::new(directory().await, limits, Arc::clone(&metrics));
        let (stream, mut far) = tokio::io::duplex(window);
        let (stop, stopping) = watch::channel(false);
        let served =
            tokio::spawn(async move { converse(&mut far, Arc::new(source()), transport, service, stopping).await });
        Client {
            stream,
            received: Vec::new(),
            stop,
            served,
            metrics,
        }
    }

    async fn bound(limits: WireLimits) -> Client {
        let mut client = Client::connect(Transport::Local, limits).await;
        client.send(&[specimen::sasl_bind(1, "EXTERNAL", Some(b""))]).await;
        assert_eq!(client.next().await.code, Some(0));
        client
    }

    /// Bound, and taking little at a time: it has asked for everything.
    async fn overwhelmed(limits: WireLimits) -> Client {
        let mut client = Client::connect_with(Transport::Local, limits, 256).await;
        client.send(&[specimen::sasl_bind(1, "EXTERNAL", None)]).await;
        assert_eq!(client.next().await.code, Some(0));
        client.send(&[everything(2)]).await;
        client
    }

    /// All of it in one write.
    async fn send(&mut self, messages: &[Vec<u8>]) {
        self.stream.write_all(&messages.concat()).await.unwrap();
    }

    /// The next message; panics where the connection ends.
    async fn next(&mut self) -> Answer {
        self.read().await.expect("the connection ended")
    }

    async fn read(&mut self) -> Option<Answer> {
        loop {
            if let Some(header) = ber::header(&self.received).unwrap()
                && self.received.len() >= header.header + header.contents
            {
                let message: Vec<u8> = self.received.drain(..header.header + header.contents).collect();
                return Some(answer(&message));
            }
            let waited = tokio::time::timeout(Duration::from_secs(10), self.stream.read_buf(&mut self.received));
            if waited.await.expect("an answer in 10 seconds").unwrap_or(0) == 0 {
                assert!(self.received.is_empty(), "a part of a message: {:02x?}", self.received);
                return None;
            }
        }
    }

    async fn rest(&mut self) -> Vec<Answer> {
        let mut rest = Vec::new();
        while let Some(answer) = self.read().await {
            rest.push(answer);
        }
        rest
    }

    /// Everything up to the notice of disconnection, which must be the last message.
    async fn disconnected(&mut self) -> i64 {
        let rest = self.rest().await;
        let notice = rest.last().expect("a notice");
        assert_eq!((notice.id, notice.tag), (0, tag::EXTENDED_RESPONSE));
        assert!(find(&notice.operation, NOTICE_OF_DISCONNECTION.as_bytes()));
        notice.code.unwrap()
    }
}

fn answer(message: &[u8]) -> Answer {
    ber::check(message, 16, 1_000_000).unwrap();
    let mut message = Reader::new(message).enter(ber::SEQUENCE).unwrap();
    let id = u32::try_from(message.integer(ber::INTEGER).unwrap()).unwrap();
    let (tag, operation) = message.element().unwrap();
    let controls = message.optional(0xa0).unwrap().unwrap_or_default();
    Answer {
        id,
        tag,
        code: Reader::new(operation).integer(ber::ENUMERATED).ok(),
        operation: operation.to_vec(),
        controls: controls.to_vec(),
    }
}

fn find(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|window| window == part)
}

fn everything(id: u32) -> Vec<u8> {
    specimen::search(id, "o=nhs", 2, &["cn"], |out| specimen::present(out, "objectClass"))
}

/// Matches nobody, and looks at everybody.
fn long_search(id: u32) -> Vec<u8> {
    specimen::search(id, "o=nhs", 2, &[], |out| {
        // Every entry has it, and no index.
        specimen::equality(out, "creatorsName", b"cn=nobody");
    })
}

/// So little work a turn that a search of everybody takes many.
fn small_turns() -> WireLimits {
    WireLimits {
        turn_work: 64,
        ..WireLimits::default()
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_one_go() {
    let mut client = Client::connect(Transport::Local, WireLimits::default()).await;
    client
        .send(&[
            specimen::search(1, "", 0, &["supportedSASLMechanisms"], |out| {
                specimen::present(out, "objectClass")
            }),
            everything(2),
            specimen::sasl_bind(3, "EXTERNAL", None),
            everything(4),
            specimen::extended(5, extended::WHO_AM_I, None),
            specimen::unbind(6),
        ])
        .await;
    let answers = client.rest().await;
    let root: Vec<_> = answers.iter().filter(|answer| answer.id == 1).collect();
    assert!(find(&root[0].operation, b"EXTERNAL"), "{root:?}");
    let refused: Vec<_> = answers.iter().filter(|answer| answer.id == 2).collect();
    assert_eq!((refused.len(), refused[0].code), (1, Some(8)));
    let entries = answers
        .iter()
        .filter(|answer| (answer.id, answer.tag) == (4, tag::SEARCH_RESULT_ENTRY));
    assert_eq!(entries.count(), PEOPLE + 2);
    let who = answers.iter().find(|answer| answer.id == 5).unwrap();
    assert!(find(&who.operation, b"dn:cn=local administrator"), "{who:?}");
    assert!(answers.iter().all(|answer| answer.id != 6));
    assert_eq!(client.served.await.unwrap(), Ending::Closed);
    assert_eq!(client.metrics.entries_sent.value() as usize, PEOPLE + 3);
    assert_eq!(client.metrics.searches_running.value(), 0);
}

/// T12: after a bind that fails nobody is bound.
#[tokio::test]
async fn a_failed_bind_leaves_nobody_bound() {
    for failing in [
        specimen::simple_bind(2, "cn=nobody,o=nhs", b"wrong"),
        specimen::simple_bind(2, "cn=nobody,o=nhs", b""),
        specimen::simple_bind(2, "", b""),
        specimen::sasl_bind(2, "GSSAPI", None),
        specimen::sasl_bind(2, "EXTERNAL", Some(b"dn:cn=somebody else")),
        specimen::message(2, tag::BIND_REQUEST, |_| {}),
        specimen::message(2, tag::BIND_REQUEST, |out| {
            put_integer(out, ber::INTEGER, 3);
            put_octets(out, ber::OCTET_STRING, b"cn=\xff");
            put_octets(out, 0x80, b"secret");
        }),
        specimen::with_controls(
            2,
            tag::BIND_REQUEST,
            |out| {
                put_integer(out, ber::INTEGER, 3);
                specimen::text(out, "cn=nobody,o=nhs");
                put_octets(out, 0x80, b"wrong");
            },
            |out| specimen::control(out, "1.2.3", true, None),
        ),
    ] {
        let mut client = Client::bound(WireLimits::default()).await;
        client.send(&[failing, everything(3)]).await;
        let bind = client.next().await;
        assert_eq!((bind.id, bind.tag), (2, tag::BIND_RESPONSE));
        assert_ne!(bind.code, Some(0));
        let search = client.next().await;
        assert_eq!(
            (search.id, search.tag, search.code),
            (3, tag::SEARCH_RESULT_DONE, Some(8))
        );
    }
}

#[tokio::test]
async fn sasl_plain_asks_for_credentials() {
    let mut client = Client::connect(Transport::Tls, WireLimits::default()).await;
    client
        .send(&[specimen::sasl_bind(1, "PLAIN", None), everything(2)])
        .await;
    assert_eq!(client.next().await.code, Some(14));
    assert_eq!(
        client.next().await.code,
        Some(1),
        "an operation in the middle of a bind"
    );
    client
        .send(&[specimen::sasl_bind(3, "PLAIN", Some(b"\0nobody\0wrong"))])
        .await;
    assert_eq!(client.next().await.code, Some(49));
}

#[tokio::test]
async fn abandon_stops_a_search_and_says_nothing() {
    let mut client = Client::bound(small_turns()).await;
    client
        .send(&[
            long_search(2),
            specimen::abandon(3, 2),
            specimen::abandon(4, 99),
            specimen::extended(5, extended::WHO_AM_I, None),
        ])
        .await;
    assert_eq!(client.next().await.id, 5);
    client.send(&[specimen::unbind(6)]).await;
    assert_eq!(client.rest().await, []);
    assert_eq!(client.metrics.searches_running.value(), 0);
}

#[tokio::test]
async fn cancel_ends_a_search_and_says_so() {
    let cancel = |id: u32, cancelled: u32| {
        let mut value = Vec::new();
        put_nested(&mut value, ber::SEQUENCE, |out| {
            put_integer(out, ber::INTEGER, cancelled)
        });
        specimen::extended(id, extended::CANCEL, Some(&value))
    };
    let mut client = Client::bound(small_turns()).await;
    client
        .send(&[long_search(2), cancel(3, 2), cancel(4, 2), cancel(5, 5)])
        .await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        let answer = client.next().await;
        codes.push((answer.id, answer.code.unwrap()));
    }
    assert_eq!(codes, [(2, 118), (3, 0), (4, 119), (5, 121)]);
}

#[tokio::test]
async fn a_point_look_up_overtakes_a_long_search() {
    let short_turns = WireLimits {
        turn: Duration::ZERO,
        ..WireLimits::default()
    };
    for limits in [small_turns(), short_turns] {
        let mut client = Client::bound(limits).await;
        client
            .send(&[
                long_search(2),
                specimen::search(3, "cn=person 7,ou=People,o=nhs", 0, &["sn"], |out| {
                    specimen::present(out, "objectClass");
                }),
            ])
            .await;
        let order = [client.next().await.id, client.next().await.id, client.next().await.id];
        assert_eq!(order, [3, 3, 2]);
    }
}

/// A request that is long in itself ends its connection's turn: others are not to wait for the next one too.
#[tokio::test]
async fn a_long_request_is_the_last_of_its_turn() {
    let service = Service::new(directory().await, WireLimits::default(), Arc::default());
    let mut conversation = Conversation::new(service, Arc::new(source()), Transport::Local);
    let of = |octets: usize| {
        let value = "x".repeat(octets);
        specimen::search(2, "o=nhs", 2, &[], |out| {
            specimen::equality(out, "cn", value.as_bytes())
        })
    };
    let bind = specimen::sasl_bind(1, "EXTERNAL", Some(b""));
    for (message, more) in [(bind, true), (of(100), true), (of(20_000), false), (of(100), true)] {
        conversation.begin_turn();
        let limits = conversation.frame_limits();
        let frame = frame::next(&message, &limits).unwrap().unwrap();
        conversation.take(&frame);
        assert_eq!(conversation.may_take(), more, "{} octets", message.len());
    }
}

/// RFC 4511 section 4.2.1: what is under way ends before a bind begins.
#[tokio::test]
async fn a_bind_waits_for_what_is_under_way() {
    let mut client = Client::bound(small_turns()).await;
    client
        .send(&[long_search(2), specimen::simple_bind(3, "", b""), everything(4)])
        .await;
    let answers = [client.next().await, client.next().await, client.next().await];
    assert_eq!(
        answers.map(|answer| (answer.id, answer.code)),
        [(2, Some(0)), (3, Some(48)), (4, Some(8))]
    );
}

#[tokio::test]
async fn one_search_too_many_is_busy() {
    let limits = WireLimits {
        outstanding: 1,
        ..small_turns()
    };
    let mut client = Client::bound(limits).await;
    client.send(&[long_search(2), long_search(3)]).await;
    let answers = [client.next().await, client.next().await];
    assert_eq!(
        answers.map(|answer| (answer.id, answer.code)),
        [(3, Some(51)), (2, Some(0))]
    );
}

/// ldapjs and others need the paged results control in every answer to a search that asked for it.
#[tokio::test]
async fn the_page_control_is_always_answered() {
    let paged = |id: u32, base: &'static str, scope: u32, size: u32, cookie: &[u8]| {
        specimen::with_controls(
            id,
            tag::SEARCH_REQUEST,
            |out| specimen::search_body(out, base, scope, &[], |out| specimen::present(out, "objectClass")),
            |out| specimen::control(out, PAGED_RESULTS, true, Some(&specimen::page(size, cookie))),
        )
    };
    let mut client = Client::bound(WireLimits::default()).await;
    for (base, scope, cookie) in [
        ("", 0, b"".as_slice()),
        ("ou=Nowhere,o=nhs", 2, b""),
        ("o=nhs", 0, b""),
        ("o=nhs", 2, b"forged"),
    ] {
        client.send(&[paged(2, base, scope, 10, cookie)]).await;
        let done = loop {
            let answer = client.next().await;
            if answer.tag == tag::SEARCH_RESULT_DONE {
                break answer;
            }
        };
        assert!(
            find(&done.controls, PAGED_RESULTS.as_bytes()),
            "{base:?} {scope}: {done:?}"
        );
    }
    client.send(&[paged(3, "o=nhs", 2, 100, b"")]).await;
    let (mut entries, mut pages, mut cookie) = (0, 0, Vec::new());
    loop {
        let answer = client.next().await;
        if answer.tag == tag::SEARCH_RESULT_ENTRY {
            entries += 1;
            continue;
        }
        assert_eq!(answer.code, Some(0));
        pages += 1;
        let mut control = Reader::new(&answer.controls).enter(ber::SEQUENCE).unwrap();
        control.octets().unwrap();
        let mut value = Reader::new(control.octets().unwrap()).enter(ber::SEQUENCE).unwrap();
        value.integer(ber::INTEGER).unwrap();
        cookie.clear();
        cookie.extend_from_slice(value.octets().unwrap());
        if cookie.is_empty() {
            break;
        }
        client.send(&[paged(3, "o=nhs", 2, 100, &cookie)]).await;
    }
    assert_eq!((entries, pages), (PEOPLE + 2, 4));
}

#[tokio::test]
async fn broken_messages_end_the_connection_with_a_notice() {
    let mut long = vec![0x30, 0x84, 0, 0, 0x50, 0];
    long.extend_from_slice(&[0; 100]);
    let unknown = specimen::message(2, 0x7e, |_| {});
    let response = specimen::message(2, tag::SEARCH_RESULT_DONE, |out| put_integer(out, ber::ENUMERATED, 0));
    for broken in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0x30, 0x80, 0, 0],
        long,
        unknown,
        response,
    ] {
        let mut client = Client::connect(Transport::Local, WireLimits::default()).await;
        client.send(std::slice::from_ref(&broken)).await;
        assert_eq!(client.disconnected().await, 2, "{broken:02x?}");
        assert_eq!(client.metrics.broken_messages.value(), 1);
    }
}

/// T1, T29: whatever comes, the connection ends when the peer leaves, and without a panic.
#[tokio::test]
async fn hostile_octets_end_in_answers_or_in_the_end() {
    let mut random = crate::model::random::Random::from_environment();
    let mut requests = specimen::every_request();
    // Over a local socket EXTERNAL binds, and who is bound may well be given entries.
    requests.retain(|request| !request.windows(8).any(|part| part == b"EXTERNAL"));
    for _ in 0..300 {
        let mut client = Client::connect(Transport::Local, WireLimits::default()).await;
        for _ in 0..3 {
            let mut message = requests[random.below(requests.len())].clone();
            for _ in 0..random.below(3) {
                let at = random.below(message.len());
                message[at] = random.next() as u8;
            }
            // The server may have hung up by now.
            let _ = client.stream.write_all(&message).await;
        }
        let _ = client.stream.shutdown().await;
        for answer in client.rest().await {
            assert!(
                answer.tag != tag::SEARCH_RESULT_ENTRY || answer.operation.starts_with(&[4, 0]),
                "{answer:?}"
            );
        }
        let ended = tokio::time::timeout(Duration::from_secs(10), client.served).await;
        assert_eq!(ended.expect("it ends").expect("no panic"), Ending::Closed);
    }
}

#[tokio::test]
async fn a_fault_of_content_is_answered_and_the_connection_lives() {
    let mut client = Client::bound(WireLimits::default()).await;
    let wrong = specimen::search(2, "o=nhs", 7, &[], |out| specimen::present(out, "cn"));
    let rename = specimen::message(3, tag::MODIFY_DN_REQUEST, |out| {
        specimen::text(out, "cn=person 1,ou=People,o=nhs");
        specimen::text(out, "cn=a,cn=b");
        specimen::boolean(out, true);
    });
    let unnamed = specimen::message(4, tag::DELETE_REQUEST, |out| out.extend_from_slice(b"no name"));
    client.send(&[wrong, rename, unnamed, everything(5)]).await;
    let answers = [client.next().await, client.next().await, client.next().await];
    assert_eq!(
        answers.map(|answer| (answer.id, answer.code)),
        [(2, Some(2)), (3, Some(34)), (4, Some(34))]
    );
    assert_eq!(client.next().await.id, 5);
}

/// T20: nothing that came in clear text behind StartTLS is ever looked at.
#[tokio::test]
async fn clear_text_answers_nothing_but_start_tls() {
    let start_tls = specimen::extended(1, extended::START_TLS, None);
    let root = specimen::search(2, "", 0, &[], |out| specimen::present(out, "objectClass"));

    let mut client = Client::connect(Transport::Plain, WireLimits::default()).await;
    client
        .send(&[root.clone(), specimen::simple_bind(3, "cn=app", b"secret")])
        .await;
    assert_eq!(client.next().await.code, Some(13));
    assert_eq!(client.next().await.code, Some(13));
    client.send(std::slice::from_ref(&start_tls)).await;
    let answer = client.next().await;
    assert_eq!((answer.id, answer.code), (1, Some(0)));
    assert!(find(&answer.operation, extended::START_TLS.as_bytes()));
    assert_eq!(client.served.await.unwrap(), Ending::StartTls);

    // As Erlang's eldap numbers it.
    let mut client = Client::connect(Transport::Plain, WireLimits::default()).await;
    client.send(&[specimen::extended(0, extended::START_TLS, None)]).await;
    let answer = client.next().await;
    assert_eq!((answer.id, answer.code), (0, Some(0)));
    assert_eq!(client.served.await.unwrap(), Ending::StartTls);

    let mut client = Client::connect(Transport::Plain, WireLimits::default()).await;
    client.send(&[start_tls, root]).await;
    let rest = client.rest().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!((rest[0].id, rest[0].code), (0, Some(2)));
    assert_eq!(client.served.await.unwrap(), Ending::Closed);
}

/// RFC 4511 appendix A: TLS is not started while anything else is under way.
#[tokio::test]
async fn tls_is_started_by_who_waits_for_nothing() {
    let start_tls = |id| specimen::extended(id, extended::START_TLS, None);
    let mut client = Client::bound(small_turns()).await;
    client.send(&[long_search(2), start_tls(3)]).await;
    let answers = [client.next().await, client.next().await];
    assert_eq!(
        answers.map(|answer| (answer.id, answer.code)),
        [(3, Some(1)), (2, Some(0))]
    );
    client.send(&[start_tls(4)]).await;
    assert_eq!(client.next().await.code, Some(0));
    assert_eq!(client.served.await.unwrap(), Ending::StartTls);
}

/// While the peer does not read, a search stands still; when it reads again it gets all of it.
#[tokio::test]
async fn back_pressure_holds_a_search() {
    let limits = WireLimits {
        output_octets: 1024,
        ..WireLimits::default()
    };
    let mut client = Client::overwhelmed(limits).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let ahead = client.metrics.entries_sent.value();
    assert!(
        (1..40).contains(&ahead),
        "{ahead} entries were made for a peer that does not read"
    );
    let mut entries = 0;
    while client.next().await.tag == tag::SEARCH_RESULT_ENTRY {
        entries += 1;
    }
    assert_eq!(entries, PEOPLE + 2);
}

#[tokio::test]
async fn at_a_stop_who_asks_nothing_is_told_nothing() {
    let mut client = Client::bound(WireLimits::default()).await;
    client.stop.send_replace(true);
    assert_eq!(client.rest().await.len(), 0);
}

#[tokio::test]
async fn a_session_goes_on_under_the_policy_in_force() {
    let directory = directory_of_its_own().await;
    let service = Service::new(Arc::clone(&directory), WireLimits::default(), Arc::default());
    let (stream, mut far) = tokio::io::duplex(1 << 16);
    let (stop, stopping) = watch::channel(false);
    let served =
        tokio::spawn(async move { converse(&mut far, Arc::new(source()), Transport::Local, service, stopping).await });
    let mut client = Client {
        stream,
        received: Vec::new(),
        stop,
        served,
        metrics: Arc::default(),
    };
    client.send(&[specimen::sasl_bind(1, "EXTERNAL", None)]).await;
    assert_eq!(client.next().await.code, Some(0));
    let policy = |text: &str| Some(("policy.toml".to_owned(), text.to_owned()));
    let delete = |id| specimen::message(id, 0x4a, |out| out.extend_from_slice(b"cn=nobody,o=nhs"));
    client.send(&[delete(2)]).await;
    assert_eq!(client.next().await.code, Some(32));
    let tighter = "[profile.administrator]\nlike = \"administrator\"\nmay_write = false\n";
    directory.reload_policy(&policy(tighter)).unwrap();
    client.send(&[delete(3)]).await;
    assert_eq!(client.next().await.code, Some(50));
    directory.reload_policy(&None).unwrap();
    client.send(&[delete(4)]).await;
    assert_eq!(client.next().await.code, Some(32));
}

async fn directory_of_its_own() -> Arc<Directory> {
    let folder = tempfile::tempdir().unwrap();
    let options = DirectoryOptions {
        data: folder.path().join("data"),
        ..DirectoryOptions::default()
    };
    Directory::create(&[Dn::parse("o=nhs").unwrap()], options).unwrap()
}
