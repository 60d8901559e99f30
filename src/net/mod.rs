//! Who is on the line?
//!
//! Useful for: listening on TLS, plain and UNIX sockets, handshakes, certificates that are read again when they change, limits on
//! connections, stopping cleanly. Not for: what is said on a connection; this room knows no LDAP.
//!
//! Invariants: no listener waits for a peer; a handshake has a limit on time; a certificate that cannot be read again leaves the one
//! before in force; a panic in a connection's task ends that connection and is counted.

pub mod certificate;
pub mod listener;
pub mod tls;

pub use listener::{ListenOptions, Listeners};
pub use tls::{Tls, TlsOptions};

use crate::model::Source;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// Turns `true` when the server is to stop.
pub type Stop = tokio::sync::watch::Receiver<bool>;

/// An accepted connection.
pub enum PeerStream {
    Tls(Box<TlsStream<TcpStream>>),
    /// Clear text, and what it takes to start TLS on it.
    Plain(TcpStream, Arc<Tls>),
    /// A UNIX socket, and what it takes to start TLS on it, where there is that.
    Local(UnixStream, Option<Arc<Tls>>),
}

/// An accepted connection, where it comes from, and when to stop.
pub struct Peer {
    pub stream: PeerStream,
    pub source: Source,
    pub stop: Stop,
}

/// Why the server cannot listen; each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    #[error("cannot read {what} {path}: {reason}; name a PEM file this process may read")]
    Unreadable {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("expected {what} in {path}, found none; name a PEM file that holds one")]
    Missing { what: &'static str, path: PathBuf },
    #[error("the key {key} does not belong to the certificate {certificate}; name a pair that was made together")]
    KeyMismatch { certificate: PathBuf, key: PathBuf },
    #[error("cannot use {what} {path}: {reason}")]
    Unusable {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("cannot listen on {address}: another process does; stop it or choose another address")]
    PortInUse { address: SocketAddr },
    #[error(
        "cannot listen on {address}: {reason}; name an address of this machine and a port that this process may take"
    )]
    Listen { address: SocketAddr, reason: String },
    #[error("cannot listen on {path}: a running server does; stop it or choose another data directory")]
    LocalInUse { path: PathBuf },
    #[error("cannot listen on {path}: {reason}; name another path with listen.ldapi in the configuration")]
    ListenLocal { path: PathBuf, reason: String },
    #[error("expected a certificate and a key for {address}, found none configured")]
    NoCertificate { address: SocketAddr },
    #[error("the TLS handshake failed: {reason}")]
    Handshake { reason: String },
}

#[cfg(test)]
mod tests;
