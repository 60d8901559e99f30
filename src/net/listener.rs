//! Listening sockets and the tasks of their connections.

use super::{NetError, Peer, PeerStream, Stop, Tls, TlsOptions};
use crate::metrics::Metrics;
use crate::model::{Address, Source, network};
use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet};

/// Where to listen and how much to let in.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Addresses that take TLS from the first octet.
    pub tls_addresses: Vec<SocketAddr>,
    /// Addresses that take clear text up to StartTLS.
    pub plain_addresses: Vec<SocketAddr>,
    /// A UNIX socket; peers are known by their credentials.
    pub local: Option<PathBuf>,
    /// Needed where there is any TCP address.
    pub tls: Option<TlsOptions>,
    /// Connections in all.
    pub connections: usize,
    /// Connections from one source: an IPv4 address, an IPv6 /64 network, or a local user.
    pub connections_per_source: usize,
    /// How long connections may take to end after a stop.
    pub drain: Duration,
    /// How often certificate files are looked at.
    pub certificate_check: Duration,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            tls_addresses: Vec::new(),
            plain_addresses: Vec::new(),
            local: None,
            tls: None,
            connections: 10_000,
            connections_per_source: 1_000,
            drain: Duration::from_secs(5),
            certificate_check: Duration::from_secs(5),
        }
    }
}

/// Open listeners. Peers wait in the backlog until [`Listeners::run`].
pub struct Listeners {
    sockets: Vec<Socket>,
    tls: Option<Arc<Tls>>,
    shared: Arc<Shared>,
    options: ListenOptions,
}

enum Socket {
    Tls(TcpListener),
    Plain(TcpListener),
    Local { listener: UnixListener, _file: LocalPath },
}

/// Takes the socket's file away when the listener ends.
struct LocalPath(PathBuf);

impl Drop for LocalPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct Shared {
    metrics: Arc<Metrics>,
    open: AtomicUsize,
    by_source: Mutex<HashMap<Origin, usize>>,
    connections: usize,
    connections_per_source: usize,
}

/// Numbers connections for audit and logs.
static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);
/// When a quiet connection is probed, and how often again.
const KEEP_ALIVE: Duration = Duration::from_secs(120);
const KEEP_ALIVE_AGAIN: Duration = Duration::from_secs(30);
/// How long to wait when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Listeners {
    /// Reads the certificate and opens every socket. Call it on the runtime.
    ///
    /// # Errors
    /// Any [`NetError`] but `Handshake`.
    pub fn open(options: ListenOptions, metrics: Arc<Metrics>) -> Result<Listeners, NetError> {
        let tls = options.tls.as_ref().map(Tls::open).transpose()?;
        let mut sockets = Vec::new();
        for address in &options.tls_addresses {
            require(&tls, *address)?;
            sockets.push(Socket::Tls(listen(*address)?));
        }
        for address in &options.plain_addresses {
            require(&tls, *address)?;
            sockets.push(Socket::Plain(listen(*address)?));
        }
        if let Some(path) = &options.local {
            sockets.push(Socket::Local {
                listener: listen_local(path)?,
                _file: LocalPath(path.clone()),
            });
        }
        let shared = Arc::new(Shared {
            metrics,
            open: AtomicUsize::new(0),
            by_source: Mutex::default(),
            connections: options.connections,
            connections_per_source: options.connections_per_source,
        });
        Ok(Listeners {
            sockets,
            tls,
            shared,
            options,
        })
    }

    /// The addresses that take TLS, with the ports the system chose.
    pub fn tls_addresses(&self) -> Vec<SocketAddr> {
        let tls = self.sockets.iter().filter_map(|socket| match socket {
            Socket::Tls(listener) => listener.local_addr().ok(),
            Socket::Plain(_) | Socket::Local { .. } => None,
        });
        tls.collect()
    }

    /// The addresses that take StartTLS.
    pub fn plain_addresses(&self) -> Vec<SocketAddr> {
        let plain = self.sockets.iter().filter_map(|socket| match socket {
            Socket::Plain(listener) => listener.local_addr().ok(),
            Socket::Tls(_) | Socket::Local { .. } => None,
        });
        plain.collect()
    }

    /// Accepts until `stop` turns true, gives every peer to `serve` on a task of its own, then waits up to `drain` for them to end.
    pub async fn run<F, Fut>(self, stop: Stop, serve: F)
    where
        F: Fn(Peer) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let Listeners {
            sockets,
            tls,
            shared,
            options,
        } = self;
        let mut loops = JoinSet::new();
        for socket in sockets {
            let accepting = Accepting {
                tls: tls.clone(),
                shared: Arc::clone(&shared),
                stop: stop.clone(),
                serve: serve.clone(),
                tasks: JoinSet::new(),
            };
            loops.spawn(accepting.run(socket, options.drain));
        }
        if let Some(tls) = tls {
            loops.spawn(watch_certificate(tls, stop, options.certificate_check, shared));
        }
        while loops.join_next().await.is_some() {}
    }
}

fn require(tls: &Option<Arc<Tls>>, address: SocketAddr) -> Result<(), NetError> {
    match tls {
        Some(_) => Ok(()),
        None => Err(NetError::NoCertificate { address }),
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, NetError> {
    let open = || {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit it: firewalls forget quiet connections, and peers vanish.
        socket.set_tcp_keepalive(
            &socket2::TcpKeepalive::new()
                .with_time(KEEP_ALIVE)
                .with_interval(KEEP_ALIVE_AGAIN),
        )?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => NetError::PortInUse { address },
        _ => NetError::Listen {
            address,
            reason: error.to_string(),
        },
    })
}

/// Opens a UNIX socket. A file that nobody listens on is what a killed server left, and is replaced.
fn listen_local(path: &Path) -> Result<UnixListener, NetError> {
    let fault = |error: std::io::Error| NetError::ListenLocal {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => {
            return Err(NetError::LocalInUse { path: path.to_owned() });
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(fault)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error)),
    }
    let listener = UnixListener::bind(path).map_err(fault)?;
    // Everybody may connect: what a peer may do follows from its credentials.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(fault)?;
    Ok(listener)
}

/// The accept loop of one socket.
struct Accepting<F> {
    tls: Option<Arc<Tls>>,
    shared: Arc<Shared>,
    stop: Stop,
    serve: F,
    tasks: JoinSet<()>,
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Local(UnixStream),
}

impl Socket {
    async fn accept(&self) -> std::io::Result<Accepted> {
        match self {
            Socket::Tls(listener) | Socket::Plain(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, address))
            }
            Socket::Local { listener, .. } => Ok(Accepted::Local(listener.accept().await?.0)),
        }
    }
}

impl<F, Fut> Accepting<F>
where
    F: Fn(Peer) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    async fn run(mut self, socket: Socket, drain: Duration) {
        let mut stop = self.stop.clone();
        let mut stopped = std::pin::pin!(async move { stop.wait_for(|stop| *stop).await.map(drop) });
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                Some(ended) = self.tasks.join_next() => note_end(&self.shared.metrics, ended),
                accepted = socket.accept() => match accepted {
                    Ok(accepted) => self.admit(&socket, accepted),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(socket);
        let ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                note_end(&self.shared.metrics, ended);
            }
        };
        if tokio::time::timeout(drain, ended).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "connections did not end in time");
            self.tasks.shutdown().await;
        }
    }

    fn admit(&mut self, socket: &Socket, accepted: Accepted) {
        let connection = NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed);
        let address = match &accepted {
            Accepted::Tcp(_, address) => Address::Tcp(*address),
            Accepted::Local(stream) => match stream.peer_cred() {
                Ok(peer) => Address::Local {
                    uid: peer.uid(),
                    gid: peer.gid(),
                    pid: peer.pid(),
                },
                Err(error) => return tracing::warn!(%error, "a local peer without credentials was refused"),
            },
        };
        let Some(place) = Place::take(&self.shared, &address) else {
            self.shared.metrics.connections_refused.increment();
            return tracing::warn!(peer = %address, "connection refused: a limit on connections is reached");
        };
        let source = Source {
            address,
            tls: None,
            connection,
            sessions: Vec::new(),
        };
        let tls = self.tls.clone();
        let stop = self.stop.clone();
        let serve = self.serve.clone();
        let starts_with_tls = matches!(socket, Socket::Tls(_));
        self.tasks.spawn(async move {
            let place = place;
            let peer = match (accepted, tls) {
                (Accepted::Local(stream), tls) => Some((PeerStream::Local(stream, tls), source)),
                (Accepted::Tcp(stream, _), Some(tls)) if starts_with_tls => {
                    handshake(stream, source, &tls, &place.shared.metrics).await
                }
                (Accepted::Tcp(stream, _), Some(tls)) => Some((PeerStream::Plain(stream, tls), source)),
                (Accepted::Tcp(..), None) => None,
            };
            if let Some((stream, source)) = peer {
                serve(Peer { stream, source, stop }).await;
            }
        });
    }
}

async fn handshake(stream: TcpStream, source: Source, tls: &Tls, metrics: &Metrics) -> Option<(PeerStream, Source)> {
    match tls.accept(stream).await {
        Ok((stream, facts)) => {
            let source = Source {
                tls: Some(facts),
                ..source
            };
            Some((PeerStream::Tls(Box::new(stream)), source))
        }
        Err(error) => {
            metrics.handshakes_failed.increment();
            tracing::debug!(peer = %source.address, %error, "handshake failed");
            None
        }
    }
}

fn note_end(metrics: &Metrics, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        metrics.panics.increment();
        tracing::error!(%error, "a connection ended in a panic: please report it");
    }
}

async fn watch_certificate(tls: Arc<Tls>, mut stop: Stop, every: Duration, shared: Arc<Shared>) {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(every) => {}
        }
        match tls.reload_if_changed() {
            Ok(true) => {
                shared.metrics.certificate_reloads.increment();
                tracing::info!("the changed certificates are in force");
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "a changed certificate file cannot be used: what was before stays"),
        }
    }
}

/// Whose connections are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    Network(IpAddr),
    User(u32),
}

impl Origin {
    /// `None` for those who are let in at any number: local administrators, who are to find out what is wrong.
    fn of(address: &Address) -> Option<Origin> {
        let own = rustix::process::geteuid().as_raw();
        match address {
            Address::Tcp(address) => Some(Origin::Network(network(address.ip()))),
            Address::Local { uid, .. } => (*uid != 0 && *uid != own).then_some(Origin::User(*uid)),
        }
    }
}

/// One connection's place among those allowed.
struct Place {
    shared: Arc<Shared>,
    source: Option<Origin>,
}

impl Place {
    fn take(shared: &Arc<Shared>, address: &Address) -> Option<Place> {
        let source = Origin::of(address);
        if let Some(origin) = source {
            if shared.open.load(Ordering::Relaxed) >= shared.connections {
                return None;
            }
            let mut by_source = shared.by_source.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_source.entry(origin).or_default();
            if *count >= shared.connections_per_source {
                return None;
            }
            *count += 1;
        }
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.metrics.connections_opened.increment();
        shared.metrics.connections_open.increment();
        Some(Place {
            shared: Arc::clone(shared),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.metrics.connections_open.decrement();
        let Some(origin) = self.source else { return };
        let mut by_source = self.shared.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_source.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                by_source.remove(&origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_network_and_by_user() {
        let tcp = |address: &str| Origin::of(&Address::Tcp(address.parse().unwrap()));
        assert!(tcp("[2001:db8::1]:1") == tcp("[2001:db8::ffff:2]:2"));
        assert!(tcp("[2001:db8:0:1::1]:1") != tcp("[2001:db8::1]:1"));
        assert!(tcp("[::ffff:192.0.2.1]:1") == tcp("192.0.2.1:2"));
        assert!(tcp("192.0.2.1:1") != tcp("192.0.2.2:1"));
        let local = |uid| Origin::of(&Address::Local { uid, gid: 0, pid: None });
        let own = rustix::process::geteuid().as_raw();
        assert!(local(0).is_none() && local(own).is_none());
        assert!(local(own + 1).is_some() && local(own + 1) != local(own + 2));
    }
}
