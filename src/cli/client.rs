//! The command line as an LDAP client: of the running server over its UNIX socket, else of a directory it opens itself.

use super::Setting;
use crate::directory::{Directory, DirectoryError};
use crate::ldap::Service;
use crate::ldap::connection::converse;
use crate::ldap::session::Transport;
use crate::metrics::Metrics;
use crate::model::{Address, Source};
use crate::store::StoreError;
use anyhow::{Context, anyhow, bail};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapResult, Scope, SearchEntry, StdStream};
use std::io::{BufRead, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A bound connection of the local administrator.
pub struct Client {
    pub ldap: Ldap,
    /// The process that answers: a server's, or this one.
    pub process: Option<i32>,
}

impl Client {
    /// Connects to the server that runs on this data directory, or opens the directory and serves one connection.
    pub async fn open(setting: &Setting) -> anyhow::Result<Client> {
        let stream = patiently(|| match connect(setting)? {
            Some(stream) => Ok(stream),
            None => in_process(setting),
        });
        Client::over(stream.await?).await
    }

    /// The running server only; `None` where none answers.
    pub async fn running(setting: &Setting) -> anyhow::Result<Option<Client>> {
        match connect(setting)? {
            Some(stream) => Client::over(stream).await.map(Some),
            None => Ok(None),
        }
    }

    /// Speaks SASL EXTERNAL over a connected stream.
    async fn over(stream: UnixStream) -> anyhow::Result<Client> {
        let again = stream.try_clone()?;
        again.set_nonblocking(true)?;
        let process = tokio::net::UnixStream::from_std(again)?.peer_cred()?.pid();
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(stream));
        let (connection, mut ldap) = LdapConnAsync::with_settings(settings, "ldapi:///").await?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "administrator's connection");
            }
        });
        let result = ldap.sasl_external_bind().await?;
        if result.rc != 0 {
            bail!(
                "the server does not take this user for an administrator: {}; run as root or as the server's own user",
                described(&result)
            );
        }
        Ok(Client { ldap, process })
    }

    /// The first naming context: where accounts live unless said otherwise.
    pub async fn suffix(&mut self) -> anyhow::Result<String> {
        let first = self.suffixes().await?.into_iter().next();
        first.ok_or_else(|| anyhow!("the directory has no naming context; create it again with `nhsdir init`"))
    }

    /// Every naming context.
    pub async fn suffixes(&mut self) -> anyhow::Result<Vec<String>> {
        let found = self
            .search("", Scope::Base, "(objectClass=*)", &["namingContexts"])
            .await?;
        let contexts = found
            .into_iter()
            .next()
            .and_then(|entry| entry.attrs.into_values().next());
        Ok(contexts.unwrap_or_default())
    }

    /// Every entry found; none where the base does not exist.
    pub async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
    ) -> anyhow::Result<Vec<SearchEntry>> {
        const NO_SUCH_OBJECT: u32 = 32;
        let found = self.ldap.search(base, scope, filter, attributes.to_vec()).await?;
        match found.1.rc {
            0 => Ok(found.0.into_iter().map(SearchEntry::construct).collect()),
            NO_SUCH_OBJECT => Ok(Vec::new()),
            _ => bail!("the search below {base} was refused: {}", described(&found.1)),
        }
    }
}

/// How long a command waits for another that has the data directory open for a moment.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Tries again for a while where another process has the data directory open: it may be a short command, or a server about to
/// answer.
pub async fn patiently<T>(mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error) if is_in_use(&error) && Instant::now() < until => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<DirectoryError>();
    matches!(error, Some(DirectoryError::Store(StoreError::Locked { .. })))
}

/// Any server, reached over TLS as an application account. Flatten it into a command's arguments.
#[derive(clap::Args, Debug)]
pub struct Remote {
    /// A server to talk to in place of the one on the data directory: ldaps://HOST:PORT, or ldap://HOST:PORT with StartTLS
    #[arg(short = 'H', long, value_name = "URL", requires = "bind")]
    url: Option<String>,
    /// Who to bind as; the secret is the first line of standard input
    #[arg(long, value_name = "NAME", requires = "url")]
    bind: Option<String>,
    /// PEM file of the authorities to trust; without it the system's
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
}

impl Remote {
    /// Whether [`Remote::connect`] will read standard input.
    pub fn reads_secret(&self) -> bool {
        self.bind.is_some()
    }

    /// A bound connection; `None` where no server is named.
    pub async fn connect(&self) -> anyhow::Result<Option<Client>> {
        let (Some(url), Some(name)) = (&self.url, &self.bind) else {
            return Ok(None);
        };
        if !url.starts_with("ldaps://") && !url.starts_with("ldap://") {
            bail!("expected a URL that begins with ldaps:// or ldap://, found {url}");
        }
        let mut settings = LdapConnSettings::new().set_starttls(url.starts_with("ldap://"));
        if let Some(authorities) = &self.ca {
            settings = settings.set_config(Arc::new(trust(authorities)?));
        }
        let secret = secret_from_stdin()?;
        let (connection, mut ldap) = LdapConnAsync::with_settings(settings, url).await.with_context(|| {
            format!("{url}: no connection over TLS; mend the address, or name its authority with --ca")
        })?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "the connection");
            }
        });
        let result = ldap.simple_bind(name, &secret).await?;
        if result.rc != 0 {
            bail!("{url} refuses {name}: {}", described(&result));
        }
        Ok(Some(Client { ldap, process: None }))
    }
}

/// The first line of standard input.
pub fn secret_from_stdin() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("no secret could be read from standard input")?;
    let secret = line.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        bail!("expected a secret on standard input, found nothing");
    }
    Ok(secret.to_owned())
}

/// TLS that trusts the certificates in `authorities` and no others.
pub fn trust(authorities: &Path) -> anyhow::Result<ClientConfig> {
    let unreadable = |error| anyhow!("{}: expected PEM certificates: {error}", authorities.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities).map_err(unreadable)? {
        roots
            .add(certificate.map_err(unreadable)?)
            .context("the certificate cannot be trusted")?;
    }
    if roots.is_empty() {
        bail!("{}: expected PEM certificates, found none", authorities.display());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("this build speaks no TLS")?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// An LDAP result in words.
pub fn described(result: &LdapResult) -> String {
    let shown = result.to_string();
    let code = shown.split(['(', ')']).nth(1).unwrap_or("unknown").to_owned();
    match result.text.as_str() {
        "" => code,
        text => format!("{code}, {text}"),
    }
}

/// The server's side of a connection, in this process: the directory is closed when the connection is.
fn in_process(setting: &Setting) -> anyhow::Result<UnixStream> {
    let directory = Directory::open(setting.directory_options()?)?;
    let (here, there) = UnixStream::pair().context("no UNIX socket pair; the system is out of files")?;
    there.set_nonblocking(true)?;
    let mut there = tokio::net::UnixStream::from_std(there)?;
    let peer = there.peer_cred()?;
    let address = Address::Local {
        uid: peer.uid(),
        gid: peer.gid(),
        pid: peer.pid(),
    };
    let source = Arc::new(Source {
        address,
        tls: None,
        connection: 0,
        sessions: Vec::new(),
    });
    let service = Service::new(directory, setting.config.limits.wire(), Arc::new(Metrics::default()));
    tokio::spawn(async move {
        let (_running, stop) = watch::channel(false);
        converse(&mut there, source, Transport::Within, service, stop).await;
    });
    Ok(here)
}

fn connect(setting: &Setting) -> anyhow::Result<Option<UnixStream>> {
    let path = setting.ldapi();
    match UnixStream::connect(&path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{}: cannot reach the running server", path.display())),
    }
}
