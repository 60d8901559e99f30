//! TLS: configuration, handshakes, what is known of a peer after one, and certificates that change on disk.

use super::{NetError, certificate};
use crate::model::TlsFacts;
use arc_swap::ArcSwap;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    Error as TlsError, InconsistentKeys, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
};
use tokio_rustls::server::TlsStream;

/// What TLS listeners need.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// PEM: the server's certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// PEM: authorities of client certificates. `None` asks for no client certificate; with it one is asked for and not demanded.
    pub client_authorities: Option<PathBuf>,
    /// How long a handshake may take.
    pub handshake: Duration,
}

impl TlsOptions {
    /// No client certificates, 10 seconds for a handshake.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> TlsOptions {
        TlsOptions {
            certificate: certificate.into(),
            key: key.into(),
            client_authorities: None,
            handshake: Duration::from_secs(10),
        }
    }
}

/// Makes TLS connections of accepted ones. Shared by `Arc`.
pub struct Tls {
    config: ArcSwap<ServerConfig>,
    source: Arc<CertificateSource>,
    authorities: Option<Authorities>,
    handshake: Duration,
}

/// Where authorities of client certificates are read, and when that file was last changed.
struct Authorities {
    path: PathBuf,
    seen: Mutex<Option<SystemTime>>,
}

impl Tls {
    /// Reads certificate, key and authorities.
    ///
    /// # Errors
    /// `Unreadable`, `Missing`, `KeyMismatch`, `Unusable`.
    pub fn open(options: &TlsOptions) -> Result<Arc<Tls>, NetError> {
        let source = Arc::new(CertificateSource::open(
            options,
            &Arc::new(aws_lc_rs::default_provider()),
        )?);
        let authorities = options.client_authorities.as_ref().map(|path| Authorities {
            seen: Mutex::new(changed(path)),
            path: path.clone(),
        });
        let config = config(&source, options.client_authorities.as_deref())?;
        Ok(Arc::new(Tls {
            config: ArcSwap::from_pointee(config),
            source,
            authorities,
            handshake: options.handshake,
        }))
    }

    /// Takes a handshake to its end.
    ///
    /// # Errors
    /// `Handshake`: the peer gave up, spoke no TLS, or took too long.
    pub async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, TlsFacts), NetError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.config.load_full());
        let handshake = tokio::time::timeout(self.handshake, acceptor.accept(stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let reason = error.to_string();
                return Err(NetError::Handshake { reason });
            }
            Err(_) => {
                let reason = format!("it took longer than {} seconds", self.handshake.as_secs());
                return Err(NetError::Handshake { reason });
            }
        };
        let facts = facts(stream.get_ref().1);
        Ok((stream, facts))
    }

    /// Reads certificate and key, and the authorities of client certificates, again where a file changed since. `Ok(true)` where
    /// something new is in force; on an error what was before stays, and files are looked at again only when they change again.
    ///
    /// # Errors
    /// As [`Tls::open`].
    pub fn reload_if_changed(&self) -> Result<bool, NetError> {
        let pair = self.source.reload_if_changed();
        let authorities = self.reload_authorities();
        Ok(pair? | authorities?)
    }

    /// Sessions from before are not resumed: an authority may be gone that a client's certificate came from.
    fn reload_authorities(&self) -> Result<bool, NetError> {
        let Some(Authorities { path, seen }) = &self.authorities else {
            return Ok(false);
        };
        let now = changed(path);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(false);
        }
        *seen = now;
        self.config.store(Arc::new(config(&self.source, Some(path))?));
        Ok(true)
    }
}

/// What handshakes go by.
fn config(source: &Arc<CertificateSource>, client_authorities: Option<&Path>) -> Result<ServerConfig, NetError> {
    let provider = Arc::clone(&source.provider);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for TLS 1.2 and 1.3");
    let builder = match client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unusable = |reason: String| NetError::Unusable {
                what: "the client authorities",
                path: path.to_owned(),
                reason,
            };
            let mut roots = RootCertStore::empty();
            for authority in certificates("the client authorities", path)? {
                roots.add(authority).map_err(|error| unusable(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| unusable(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::clone(source) as Arc<dyn ResolvesServerCert>);
    // One ticket resumes any number of sessions here; each costs a handshake time.
    config.send_tls13_tickets = 1;
    match aws_lc_rs::Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => tracing::warn!(%error, "no session tickets: every handshake will be a full one"),
    }
    Ok(config)
}

/// The certificate in force, and the files it came from.
#[derive(Debug)]
struct CertificateSource {
    current: ArcSwap<CertifiedKey>,
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Stamp>,
}

/// When the certificate and the key were last changed, as far as known.
type Stamp = [Option<SystemTime>; 2];

impl CertificateSource {
    fn open(options: &TlsOptions, provider: &Arc<CryptoProvider>) -> Result<CertificateSource, NetError> {
        let seen = stamp(&options.certificate, &options.key);
        let pair = pair(&options.certificate, &options.key, provider)?;
        Ok(CertificateSource {
            current: ArcSwap::from_pointee(pair),
            certificate: options.certificate.clone(),
            key: options.key.clone(),
            provider: Arc::clone(provider),
            seen: Mutex::new(seen),
        })
    }

    fn reload_if_changed(&self) -> Result<bool, NetError> {
        let now = stamp(&self.certificate, &self.key);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(false);
        }
        *seen = now;
        self.current
            .store(Arc::new(pair(&self.certificate, &self.key, &self.provider)?));
        Ok(true)
    }
}

impl ResolvesServerCert for CertificateSource {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(changed)
}

/// When a file was last changed, as far as that can be known.
fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|facts| facts.modified()).ok()
}

fn pair(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, NetError> {
    let chain = certificates("the certificate", certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| pem_error("the key", key, error))?;
    let signer = provider
        .key_provider
        .load_private_key(private)
        .map_err(|error| NetError::Unusable {
            what: "the key",
            path: key.to_owned(),
            reason: error.to_string(),
        })?;
    let pair = CertifiedKey::new(chain, signer);
    match pair.keys_match() {
        // A key that cannot tell its public half cannot be compared.
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(TlsError::InconsistentKeys(_)) => Err(NetError::KeyMismatch {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }),
        Err(error) => Err(NetError::Unusable {
            what: "the certificate",
            path: certificate.to_owned(),
            reason: error.to_string(),
        }),
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(what, path, error))?;
    if chain.is_empty() {
        return Err(NetError::Missing {
            what,
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

fn pem_error(what: &'static str, path: &Path, error: PemError) -> NetError {
    let path = path.to_owned();
    match error {
        PemError::NoItemsFound => NetError::Missing { what, path },
        error => NetError::Unreadable {
            what,
            path,
            reason: error.to_string(),
        },
    }
}

fn facts(connection: &ServerConnection) -> TlsFacts {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "unknown",
    };
    let cipher = connection
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .unwrap_or("unknown");
    let client = connection.peer_certificates().and_then(<[_]>::first);
    TlsFacts {
        version: version.to_owned(),
        cipher: cipher.to_owned(),
        server_name: connection.server_name().map(str::to_owned),
        client_certificate: client.map(|client| Sha256::digest(client).into()),
        // What cannot be read has ended.
        client_certificate_ends: client.and_then(|client| certificate::ends(client)).unwrap_or(0),
        client_subject: client.and_then(|client| certificate::subject(client)),
    }
}
