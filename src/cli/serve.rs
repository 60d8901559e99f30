//! `nhsdir serve`: from configuration to listeners, until it is told to stop.

use super::client::patiently;
use super::{Answer, Place, Setting};
use crate::directory::{Directory, DirectoryError};
use crate::ldap::{self, Service};
use crate::metrics::Metrics;
use crate::net::{ListenOptions, Listeners, TlsOptions};
use anyhow::Context;
use clap::{Args, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// An address to speak LDAP over TLS on, in place of the configured ones; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    /// PEM file of the certificate, leaf first
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file of the certificate's key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// How to write the log to standard error; NHSDIR_LOG says how much
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum LogFormat {
    Text,
    Json,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    start_log(arguments.log_format);
    let mut setting = arguments.place.setting()?;
    if !arguments.listen.is_empty() {
        setting.config.listen.ldaps = arguments.listen;
    }
    if let (Some(certificate), Some(key)) = (arguments.cert, arguments.key) {
        setting.config.tls.certificate = certificate.display().to_string();
        setting.config.tls.key = key.display().to_string();
    }
    let limits = &mut setting.config.limits;
    limits.connections = connections_within(limits.connections, raise_file_limit());
    let place = arguments.place;
    runtime(&setting)?.block_on(async {
        let server = Server::open(&setting).await?;
        for url in &server.urls {
            println!("ready {url}");
        }
        std::io::stdout().flush().context("standard output is closed")?;
        notify_supervisor("READY=1");
        server.run_until_signal(place).await
    })?;
    Ok(Answer::Done)
}

/// Open files that are kept from connections: for the journal, segments, the audit and what commands on this machine open.
const FILES_KEPT: usize = 64;

/// Lets this process open as many files as the system allows it; gives how many.
fn raise_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    allowed.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Where connections could take every file, the store would find none, and take no more writes: there are fewer then.
fn connections_within(connections: usize, files: usize) -> usize {
    let most = files.saturating_sub(FILES_KEPT).max(1);
    if connections > most {
        tracing::warn!(
            files,
            connections = most,
            "this process may open too few files for limits.connections: fewer are let in; raise LimitNOFILE (ulimit -n)"
        );
    }
    connections.min(most)
}

/// The runtime that serves connections, with the configured number of threads.
pub fn runtime(setting: &Setting) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if setting.config.limits.worker_threads > 0 {
        builder.worker_threads(setting.config.limits.worker_threads);
    }
    builder
        .enable_all()
        .build()
        .context("no runtime could be started; the system is out of threads or files")
}

/// An open directory and its listeners; peers wait until one of the `run` functions.
pub struct Server {
    pub directory: Arc<Directory>,
    /// `ldaps://` and `ldap://` addresses that answer, with the ports the system chose.
    pub urls: Vec<String>,
    listeners: Listeners,
    metrics: Arc<Metrics>,
    metrics_listener: Option<TcpListener>,
    service: Arc<Service>,
}

impl Server {
    /// Opens everything that can fail.
    pub async fn open(setting: &Setting) -> anyhow::Result<Server> {
        let directory = patiently(|| Ok(Directory::open(setting.directory_options()?)?)).await?;
        directory.store().scrub();
        let metrics = Arc::new(Metrics::default());
        let listeners = Listeners::open(listen_options(setting), metrics.clone())?;
        let metrics_listener =
            match setting.config.metrics_address().map_err(anyhow::Error::msg)? {
                None => None,
                Some(address) => Some(TcpListener::bind(address).await.with_context(|| {
                    format!("cannot listen on {address}; mend listen.metrics in the configuration")
                })?),
            };
        let tls = listeners
            .tls_addresses()
            .into_iter()
            .map(|address| format!("ldaps://{address}"));
        let plain = listeners
            .plain_addresses()
            .into_iter()
            .map(|address| format!("ldap://{address}"));
        let urls = tls.chain(plain).collect();
        let service = Service::new(directory.clone(), setting.config.limits.wire(), metrics.clone());
        Ok(Server {
            directory,
            urls,
            listeners,
            metrics,
            metrics_listener,
            service,
        })
    }

    /// Serves until SIGTERM or SIGINT; SIGHUP reads schema and policy again (certificates are read when their files change).
    async fn run_until_signal(self, place: Place) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut reload = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let (stop, stopping) = watch::channel(false);
        let directory = self.directory.clone();
        let mut serving = std::pin::pin!(self.run(stopping));
        loop {
            tokio::select! {
                () = &mut serving => break,
                _ = terminate.recv() => stop.send_replace(true),
                _ = interrupt.recv() => stop.send_replace(true),
                _ = reload.recv() => {
                    let (directory, place) = (directory.clone(), place.clone());
                    // It reads files and waits for the disk: not on a thread that serves.
                    if let Err(error) = tokio::task::spawn_blocking(move || reload_all(&directory, &place)).await {
                        tracing::error!(%error, "the configuration was not read again");
                    }
                    false
                }
            };
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Serves until `stop` turns true, then writes what is still in memory.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        tracing::info!(urls = ?self.urls, "serving");
        if let Some(listener) = self.metrics_listener {
            tokio::spawn(serve_metrics(listener, self.metrics));
        }
        let service = self.service;
        let mut stopping = stop.clone();
        tokio::spawn(async move {
            if stopping.wait_for(|stop| *stop).await.is_ok() {
                notify_supervisor("STOPPING=1");
            }
        });
        self.listeners
            .run(stop, move |peer| ldap::serve(peer, service.clone()))
            .await;
        let directory = self.directory;
        // The last writes wait for the disk: not on a thread that serves.
        if let Err(error) = tokio::task::spawn_blocking(move || directory.flush()).await {
            tracing::error!(%error, "the last bookkeeping was not written");
        }
    }
}

fn listen_options(setting: &Setting) -> ListenOptions {
    let (listen, tls, limits) = (&setting.config.listen, &setting.config.tls, &setting.config.limits);
    ListenOptions {
        tls_addresses: listen.ldaps.clone(),
        plain_addresses: listen.starttls.clone(),
        local: Some(setting.ldapi()),
        tls: Some(TlsOptions {
            client_authorities: Some(&tls.client_authorities)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            handshake: Duration::from_secs(limits.handshake_seconds),
            ..TlsOptions::new(setting.certificate(), setting.key())
        }),
        connections: limits.connections,
        connections_per_source: limits.connections_per_source,
        ..ListenOptions::default()
    }
}

/// Takes what the configuration names by now into force: schema files first, for the policy may name what they define. Each that is
/// at fault is refused by itself, and what was in force stays.
fn reload_all(directory: &Directory, place: &Place) {
    let setting = match place.setting() {
        Ok(setting) => setting,
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(
                error,
                "the configuration cannot be read: schema and policy in force stay"
            );
            return;
        }
    };
    match setting.schema_files().map_err(|error| vec![format!("{error:#}")]) {
        Ok(_) if setting.config.schema.nhs == directory.schema().is_without_nhs() => {
            refuse_schema(&["a change of schema.nhs needs a restart".to_owned()]);
        }
        Ok(files) => reload_schema(directory, &files),
        Err(faults) => refuse_schema(&faults),
    }
    let policy = setting
        .policy_file()
        .and_then(|policy| Ok(directory.reload_policy(&policy)?));
    match policy {
        Ok(()) => tracing::info!("the policy was read again"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "the policy in force stays"),
    }
}

fn reload_schema(directory: &Directory, files: &[(String, String)]) {
    match directory.reload_schema(files) {
        Ok(growth) if growth.is_changed => tracing::info!(
            new_attribute_types = growth.attribute_types,
            new_object_classes = growth.object_classes,
            "the schema was read again and is in force"
        ),
        Ok(_) => tracing::info!("the schema was read again and says what it said"),
        Err(DirectoryError::Schema(faults)) => {
            refuse_schema(&faults.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
        Err(error) => refuse_schema(&[error.to_string()]),
    }
}

/// One line for each fault: each has its own place to mend.
fn refuse_schema(faults: &[String]) {
    for fault in faults {
        tracing::error!(fault, "the schema in force stays");
    }
}

/// Answers every request on the metrics port with Prometheus text.
async fn serve_metrics(listener: TcpListener, metrics: Arc<Metrics>) {
    const REQUEST_BYTES: usize = 4096;
    const PATIENCE: Duration = Duration::from_secs(5);
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(PATIENCE).await;
            continue;
        };
        let metrics = metrics.clone();
        let answer = async move {
            let mut request = [0; REQUEST_BYTES];
            if stream.read(&mut request).await? == 0 {
                return Ok(());
            }
            let body = metrics.render();
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length:";
            stream
                .write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes())
                .await?;
            stream.shutdown().await
        };
        tokio::spawn(tokio::time::timeout(PATIENCE, answer));
    }
}

/// Tells systemd how the service is (sd_notify), where it asked to be told.
fn notify_supervisor(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let told = UnixDatagram::unbound().and_then(|socket| {
        let name = path.as_encoded_bytes();
        let address = match name.strip_prefix(b"@") {
            Some(name) => UnixAddress::from_abstract_name(name)?,
            None => UnixAddress::from_pathname(&path)?,
        };
        socket.send_to_addr(state.as_bytes(), &address)
    });
    if let Err(error) = told {
        tracing::warn!(%error, "the supervisor was not told {state}");
    }
}

/// Logs go to standard error; `NHSDIR_LOG` filters them (`info` without it).
fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("NHSDIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    debug_assert!(started.is_ok(), "the log is started once");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_store() {
        assert_eq!(connections_within(10_000, 65_536), 10_000);
        assert_eq!(connections_within(10_000, 1024), 1024 - FILES_KEPT);
        assert_eq!(connections_within(10, 20), 1);
        assert_eq!(connections_within(10, usize::MAX), 10);
    }
}
