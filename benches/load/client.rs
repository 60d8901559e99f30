//! One connection: TLS, bind, and a closed loop over it.

use super::Peer;
use super::measure::Histogram;
use super::message::{self, Answer, FIRST_ID, Request};
use super::workload::Prepared;
use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, CipherSuite, ClientConfig, DigitallySignedStruct, NamedGroup, SignatureScheme};

const INPUT_BYTES: usize = 256 * 1024;

/// The same for every server: TLS 1.3, AES-128-GCM, X25519 or P-256 and no resumption.
pub fn connector() -> anyhow::Result<TlsConnector> {
    let mut provider = aws_lc_rs::default_provider();
    let suite = CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.retain(|offered| offered.suite() == suite);
    let groups = [NamedGroup::X25519, NamedGroup::secp256r1];
    provider.kx_groups.retain(|group| groups.contains(&group.name()));
    let provider = Arc::new(provider);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes any certificate: the servers here are our own, and the client is not what is measured.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What came back.
#[derive(Clone, Default)]
pub struct Tally {
    pub operations: u64,
    pub entries: u64,
    pub octets: u64,
    pub latency: Histogram,
    /// By result code.
    pub results: BTreeMap<u32, u64>,
    /// Answers that are not what the request must give, and the first of them.
    pub wrong: u64,
    pub fault: Option<String>,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.operations += other.operations;
        self.entries += other.entries;
        self.octets += other.octets;
        self.latency.add(&other.latency);
        for (code, count) in &other.results {
            *self.results.entry(*code).or_default() += count;
        }
        self.wrong += other.wrong;
        if self.fault.is_none() {
            self.fault.clone_from(&other.fault);
        }
    }

    pub fn judge(&mut self, prepared: &Prepared, code: u32, text: &str, entries: u32) {
        self.operations += 1;
        self.entries += u64::from(entries);
        *self.results.entry(code).or_default() += 1;
        let wanted = prepared.entries.is_none_or(|wanted| wanted == entries);
        let full = prepared.has_size_limit() && code == 4;
        let good = if prepared.refused { code != 0 } else { code == 0 || full };
        if good && wanted {
            return;
        }
        self.wrong += 1;
        if self.fault.is_none() {
            let what = match &prepared.request {
                Request::Search(search) => format!("{} below {}", search.filter, search.base),
                Request::Modify { dn, .. } => format!("modify {dn}"),
                Request::Bind { name, .. } => format!("bind {name}"),
            };
            self.fault = Some(format!("{what}: result {code} {text}, {entries} entries"));
        }
    }
}

/// How long a connection goes on asking.
#[derive(Clone, Copy)]
pub enum Until {
    Time(Instant),
    Operations(u64),
}

/// How one connection asks.
#[derive(Clone, Copy)]
pub struct Manner {
    pub outstanding: usize,
    pub until: Until,
    /// Time from one request to the next, where the loop is not to be as fast as it can.
    pub every: Option<Duration>,
}

pub struct Connection {
    stream: TlsStream<TcpStream>,
    input: Vec<u8>,
    output: Vec<u8>,
    next_id: u32,
    /// The next of the prepared requests.
    cursor: usize,
    cookie: Vec<u8>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    id: u32,
    request: usize,
    since: Instant,
    entries: u32,
}

impl Connection {
    /// Connects, shakes hands and binds.
    pub async fn open(connector: &TlsConnector, peer: &Peer) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(peer.server)
            .await
            .with_context(|| format!("{} does not listen", peer.server))?;
        stream.set_nodelay(true)?;
        let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
        let mut connection = Connection {
            stream,
            input: Vec::with_capacity(INPUT_BYTES),
            output: Vec::new(),
            next_id: FIRST_ID,
            cursor: 0,
            cookie: Vec::new(),
            waiting: Vec::new(),
        };
        let bind = Request::Bind {
            name: peer.bind.clone(),
            secret: peer.secret.clone(),
        };
        let (code, text) = connection.ask(&bind.body(&[], 0), |_| Ok(())).await?;
        ensure!(
            code == 0,
            "{} may not bind at {}: result {code} {text}",
            peer.bind,
            peer.server
        );
        Ok(connection)
    }

    /// Where in the prepared requests to go on.
    pub fn start_at(&mut self, cursor: usize) {
        self.cursor = cursor;
    }

    /// One request, one answer: gives each message before the last to `each`, then result code and text. For pages see
    /// [`Connection::cookie`].
    pub async fn ask(
        &mut self,
        body: &[u8],
        mut each: impl FnMut(&Answer<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<(u32, String)> {
        self.next_id += 1;
        message::put_message(&mut self.output, self.next_id, body);
        self.send().await?;
        let (mut consumed, mut end) = (0, None);
        loop {
            while let Some((answer, length)) = message::next(&self.input[consumed..])? {
                consumed += length;
                if answer.is_final() {
                    if !answer.controls.is_empty() {
                        self.cookie = answer.cookie().unwrap_or_default();
                    }
                    end = Some(answer.result()?);
                    break;
                }
                each(&answer)?;
            }
            self.input.drain(..consumed);
            consumed = 0;
            if let Some(end) = end {
                return Ok(end);
            }
            self.receive().await?;
        }
    }

    /// Of the last page; empty behind the last one.
    pub fn cookie(&self) -> &[u8] {
        &self.cookie
    }

    /// Says unbind and closes.
    pub async fn close(mut self) -> anyhow::Result<()> {
        message::put_message(&mut self.output, self.next_id + 1, &[0x42, 0]);
        self.send().await?;
        let _ = self.stream.shutdown().await;
        Ok(())
    }

    async fn send(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.stream.flush().await?;
        self.output.clear();
        Ok(())
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        self.input.reserve(INPUT_BYTES / 2);
        ensure!(
            self.stream.read_buf(&mut self.input).await? > 0,
            "the server closed the connection"
        );
        Ok(())
    }

    /// The closed loop. Nothing is outstanding at its end.
    pub async fn drive(&mut self, pool: &[Prepared], manner: Manner) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut sent = 0;
        let mut due = Instant::now();
        loop {
            while self.waiting.len() < manner.outstanding {
                let over = match manner.until {
                    Until::Time(end) => Instant::now() >= end,
                    Until::Operations(count) => sent >= count,
                };
                if over {
                    break;
                }
                let mut since = Instant::now();
                if let Some(every) = manner.every {
                    if since < due {
                        // What the timer is late by is the client's own fault; what an answer was late by is not.
                        tokio::time::sleep_until(due.into()).await;
                        since = Instant::now();
                    } else {
                        since = due;
                    }
                    due += every;
                }
                self.put(pool, since)?;
                sent += 1;
            }
            if self.waiting.is_empty() {
                return Ok(tally);
            }
            if !self.output.is_empty() {
                self.send().await?;
            }
            self.receive().await?;
            self.walk(pool, &mut tally)?;
        }
    }

    fn put(&mut self, pool: &[Prepared], since: Instant) -> anyhow::Result<()> {
        let request = self.cursor % pool.len();
        let prepared = pool.get(request).context("there are no requests")?;
        self.next_id += 1;
        if prepared.is_paged() {
            let body = prepared.request.body(&self.cookie, 0);
            message::put_message(&mut self.output, self.next_id, &body);
        } else {
            message::put_message(&mut self.output, self.next_id, &prepared.body);
            self.cursor += 1;
        }
        self.waiting.push(Waiting {
            id: self.next_id,
            request,
            since,
            entries: 0,
        });
        Ok(())
    }

    fn walk(&mut self, pool: &[Prepared], tally: &mut Tally) -> anyhow::Result<()> {
        let mut consumed = 0;
        while let Some((answer, length)) = message::next(&self.input[consumed..])? {
            consumed += length;
            let at = self.waiting.iter().position(|waiting| waiting.id == answer.id);
            let Some(at) = at else {
                bail!(
                    "an answer to message {:#x}, which was not asked: {:?}",
                    answer.id,
                    answer.result()
                );
            };
            if !answer.is_final() {
                self.waiting[at].entries += u32::from(answer.is_entry());
                continue;
            }
            let waiting = self.waiting.swap_remove(at);
            tally.latency.record(waiting.since.elapsed());
            let (code, text) = answer.result()?;
            let prepared = &pool[waiting.request];
            if prepared.is_paged() {
                self.cookie = if code == 0 { answer.cookie()? } else { Vec::new() };
                self.cursor += usize::from(self.cookie.is_empty());
            }
            tally.judge(prepared, code, &text, waiting.entries);
        }
        tally.octets += consumed as u64;
        self.input.drain(..consumed);
        Ok(())
    }
}
