//! Real sockets on the loopback: handshakes, facts, limits, certificates that change, errors that say what to do.

use super::*;
use crate::metrics::Metrics;
use crate::model::Address;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// A certificate that signs itself, and its key.
struct Pair {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
}

impl Pair {
    fn new(name: &str) -> Pair {
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Pair { certificate, key }
    }

    fn write(&self, folder: &Path) -> TlsOptions {
        let options = TlsOptions::new(folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&options.certificate, self.certificate.pem()).unwrap();
        std::fs::write(&options.key, self.key.serialize_pem()).unwrap();
        options
    }

    fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }
}

fn connector(server: &Pair, versions: &[&'static SupportedProtocolVersion], client: Option<&Pair>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(server.der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let key = PrivateKeyDer::Pkcs8(pair.key.serialize_der().into());
            builder.with_client_auth_cert(vec![pair.der()], key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

struct Server {
    tls: Option<SocketAddr>,
    plain: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

/// Says what it knows of its peer and hangs up when the peer does.
async fn describe(peer: Peer) {
    let Peer {
        stream,
        source,
        stop: _,
    } = peer;
    match stream {
        PeerStream::Tls(stream) => say(stream, &source).await,
        PeerStream::Local(stream, _) => say(stream, &source).await,
        PeerStream::Plain(stream, tls) => {
            let (stream, facts) = tls.accept(stream).await.unwrap();
            let tls = Some(facts);
            say(stream, &Source { tls, ..source }).await;
        }
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, source: &Source) {
    let _ = stream.write_all(format!("{source:?}\n").as_bytes()).await;
    let _ = stream.flush().await;
    let _ = stream.read(&mut [0; 1]).await;
}

async fn line<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let count = stream.read_buf(&mut line).await.unwrap();
        assert!(count > 0, "the peer hung up");
    }
    String::from_utf8(line).unwrap()
}

impl Server {
    fn start(options: ListenOptions) -> Server {
        let metrics = Arc::new(Metrics::default());
        let listeners = Listeners::open(options, Arc::clone(&metrics)).unwrap();
        let (stop, stopping) = watch::channel(false);
        Server {
            tls: listeners.tls_addresses().first().copied(),
            plain: listeners.plain_addresses().first().copied(),
            running: tokio::spawn(listeners.run(stopping, describe)),
            stop,
            metrics,
        }
    }

    async fn connect(&self, connector: &TlsConnector) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.tls.unwrap()).await?;
        connector
            .connect(ServerName::try_from("localhost").unwrap(), stream)
            .await
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(10), self.running)
            .await
            .expect("it stops")
            .unwrap();
    }
}

fn any_port() -> Vec<SocketAddr> {
    vec!["127.0.0.1:0".parse().unwrap()]
}

fn open_error(options: ListenOptions) -> NetError {
    match Listeners::open(options, Arc::default()) {
        Ok(_) => panic!("expected an error"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_peer_is_known_by_its_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let (server_pair, client_pair) = (Pair::new("server"), Pair::new("scanner 7"));
    let mut tls = server_pair.write(folder.path());
    let authorities = folder.path().join("clients.pem");
    std::fs::write(&authorities, client_pair.certificate.pem()).unwrap();
    tls.client_authorities = Some(authorities);
    let server = Server::start(ListenOptions {
        tls_addresses: any_port(),
        plain_addresses: any_port(),
        tls: Some(tls),
        ..ListenOptions::default()
    });

    let fingerprint: [u8; 32] = Sha256::digest(client_pair.der()).into();
    for (version, name) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let anonymous = connector(&server_pair, &[version], None);
        let told = line(&mut server.connect(&anonymous).await.unwrap()).await;
        for part in [name, "server_name: Some(\"localhost\")", "client_certificate: None"] {
            assert!(told.contains(part), "{part} is missing in {told}");
        }
        let known = connector(&server_pair, &[version], Some(&client_pair));
        // Twice: the second is a resumed session, and knows its peer as well.
        for _ in 0..2 {
            let told = line(&mut server.connect(&known).await.unwrap()).await;
            assert!(
                told.contains(&format!("client_certificate: Some({fingerprint:?})")),
                "{told}"
            );
            assert!(told.contains("CN=scanner 7"), "{told}");
        }
    }

    let stranger = connector(&server_pair, &[&TLS13], Some(&Pair::new("stranger")));
    let mut refused = server.connect(&stranger).await;
    if let Ok(stream) = &mut refused {
        // With TLS 1.3 the client hears of it when it reads.
        assert!(stream.read(&mut [0; 1]).await.is_err());
    }

    let stream = TcpStream::connect(server.plain.unwrap()).await.unwrap();
    let anonymous = connector(&server_pair, &[&TLS13], None);
    let name = ServerName::try_from("localhost").unwrap();
    let told = line(&mut anonymous.connect(name, stream).await.unwrap()).await;
    assert!(told.contains("TLSv1.3"), "{told}");
    assert_eq!(server.metrics.handshakes_failed.value(), 1);
    server.stop().await;
}

/// T20, T22: clear text and silence on a TLS port.
#[tokio::test]
async fn what_is_no_handshake_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut tls = Pair::new("server").write(folder.path());
    tls.handshake = Duration::from_millis(50);
    let server = Server::start(ListenOptions {
        tls_addresses: any_port(),
        tls: Some(tls),
        ..ListenOptions::default()
    });
    for octets in [
        b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00".as_slice(),
        b"",
    ] {
        let mut stream = TcpStream::connect(server.tls.unwrap()).await.unwrap();
        stream.write_all(octets).await.unwrap();
        let mut said = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "the connection is still open");
        assert!(!said.contains(&0x30), "no LDAP is spoken: {said:02x?}");
    }
    assert_eq!(server.metrics.handshakes_failed.value(), 2);
    server.stop().await;
}

#[tokio::test]
async fn connections_are_limited_per_source_and_places_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new("server");
    let server = Server::start(ListenOptions {
        tls_addresses: any_port(),
        tls: Some(pair.write(folder.path())),
        connections_per_source: 1,
        ..ListenOptions::default()
    });
    let connector = connector(&pair, &[&TLS13], None);
    let mut first = server.connect(&connector).await.unwrap();
    line(&mut first).await;
    assert!(server.connect(&connector).await.is_err());
    assert_eq!(server.metrics.connections_refused.value(), 1);
    drop(first);
    let mut tries = 0;
    while server.connect(&connector).await.is_err() {
        tries += 1;
        assert!(tries < 200, "the place does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_changed_certificate_is_used_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (Pair::new("before"), Pair::new("after"));
    let tls = Tls::open(&before.write(folder.path())).unwrap();
    let accepts = async |pair: &Pair| {
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("localhost").unwrap();
        let connector = connector(pair, &[&TLS13], None);
        let (client, server) = tokio::join!(connector.connect(name, near), tls.accept(far));
        client.is_ok() && server.is_ok()
    };
    assert!(accepts(&before).await);
    assert!(!tls.reload_if_changed().unwrap());

    let touch = |seconds: u64| {
        let file = std::fs::File::options()
            .append(true)
            .open(folder.path().join("cert.pem"))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
            .unwrap();
    };
    std::fs::write(folder.path().join("cert.pem"), after.certificate.pem()).unwrap();
    touch(1);
    assert!(matches!(tls.reload_if_changed(), Err(NetError::KeyMismatch { .. })));
    assert!(accepts(&before).await, "the pair before stays");
    assert!(
        !tls.reload_if_changed().unwrap(),
        "it is not tried again before it changes"
    );

    after.write(folder.path());
    touch(2);
    assert!(tls.reload_if_changed().unwrap());
    assert!(accepts(&after).await && !accepts(&before).await);
}

/// Who loses an authority's trust gets in no more, by a session from before neither.
#[tokio::test]
async fn changed_authorities_are_in_force_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (server, one, other) = (Pair::new("server"), Pair::new("one"), Pair::new("other"));
    let mut options = server.write(folder.path());
    let authorities = folder.path().join("clients.pem");
    let write = |pem: &str, seconds: u64| {
        std::fs::write(&authorities, pem).unwrap();
        let file = std::fs::File::options().append(true).open(&authorities).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
            .unwrap();
    };
    write(&one.certificate.pem(), 1);
    options.client_authorities = Some(authorities.clone());
    let tls = Tls::open(&options).unwrap();
    let connectors = [&one, &other].map(|client| connector(&server, &[&TLS12], Some(client)));
    let accepts = async |at: usize| {
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("localhost").unwrap();
        let (client, server) = tokio::join!(connectors[at].connect(name, near), tls.accept(far));
        client.is_ok() && server.is_ok()
    };
    assert!(accepts(0).await && !accepts(1).await);
    write("no PEM here\n", 2);
    assert!(matches!(tls.reload_if_changed(), Err(NetError::Missing { .. })));
    assert!(accepts(0).await, "those before stay");
    write(&other.certificate.pem(), 3);
    assert!(tls.reload_if_changed().unwrap());
    assert!(!accepts(0).await && accepts(1).await);
    assert!(!tls.reload_if_changed().unwrap());
}

#[tokio::test]
async fn a_unix_socket_knows_its_peers_and_replaces_what_a_killed_server_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ldapi");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a socket file that nobody listens on");
    let options = ListenOptions {
        local: Some(path.clone()),
        ..ListenOptions::default()
    };
    let server = Server::start(options.clone());
    let told = line(&mut UnixStream::connect(&path).await.unwrap()).await;
    assert!(told.contains("Local { uid: "), "{told}");
    let error = open_error(options);
    assert!(matches!(error, NetError::LocalInUse { .. }), "{error}");
    assert!(path.exists(), "the running server's socket is left alone");
    server.stop().await;
    assert!(!path.exists());
    assert!(
        Address::Local {
            uid: 1,
            gid: 2,
            pid: None
        }
        .to_string()
        .contains("uid=1")
    );
}

#[tokio::test]
async fn a_panic_ends_one_connection_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ldapi");
    let metrics = Arc::new(Metrics::default());
    let options = ListenOptions {
        local: Some(path.clone()),
        ..ListenOptions::default()
    };
    let listeners = Listeners::open(options, Arc::clone(&metrics)).unwrap();
    let (_stop, stopping) = watch::channel(false);
    let _running = tokio::spawn(listeners.run(stopping, |peer| async move {
        drop(peer);
        panic!("this panic is part of a test");
    }));
    for expected in 1..=2 {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        while metrics.panics.value() < expected {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(metrics.connections_open.value(), 0);
}

#[tokio::test]
async fn what_cannot_be_opened_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Pair::new("server").write(folder.path());
    let with = |tls: TlsOptions| ListenOptions {
        tls_addresses: any_port(),
        tls: Some(tls),
        ..ListenOptions::default()
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut port_in_use = with(tls.clone());
    port_in_use.tls_addresses = vec![taken.local_addr().unwrap()];
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no PEM here\n").unwrap();
    let other = Pair::new("other");
    let other_key = folder.path().join("other.pem");
    std::fs::write(&other_key, other.key.serialize_pem()).unwrap();
    let certificate = tls.certificate.clone();
    let cases = [
        (port_in_use, "another process does"),
        (
            with(TlsOptions::new(folder.path().join("none.pem"), &tls.key)),
            "cannot read the certificate",
        ),
        (with(TlsOptions::new(&empty, &tls.key)), "expected the certificate in"),
        (
            with(TlsOptions::new(&certificate, folder.path().join("none.pem"))),
            "cannot read the key",
        ),
        (with(TlsOptions::new(&certificate, &certificate)), "expected the key in"),
        (
            with(TlsOptions::new(&certificate, &other_key)),
            "does not belong to the certificate",
        ),
        (
            ListenOptions {
                tls: None,
                ..with(tls.clone())
            },
            "expected a certificate and a key",
        ),
        (
            ListenOptions {
                local: Some(folder.path().join("x".repeat(200))),
                ..ListenOptions::default()
            },
            "cannot listen on",
        ),
    ];
    for (options, part) in cases {
        let error = open_error(options).to_string();
        assert!(error.contains(part), "expected {part:?} in {error:?}");
    }
}
