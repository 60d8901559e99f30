//! Where a request came from: what account, audit and limits need to know of a connection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// One connection as the outside of the server sees it. Shared by `Arc`, immutable after the handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    pub address: Address,
    /// `None` before StartTLS, and on ldapi.
    pub tls: Option<TlsFacts>,
    /// A number that is unique in this process, for audit and logs.
    pub connection: u64,
    /// What the client says its request belongs to. Of one request; none of a connection.
    pub sessions: Vec<TrackedSession>,
}

/// A session that a client serves when it asks (draft-wahl-ldap-session section 2), as it says itself: it is for the audit alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackedSession {
    /// Address of the component that keeps the session.
    pub source_ip: String,
    /// Its name.
    pub source_name: String,
    /// The object identifier that says what `identifier` means.
    pub format: String,
    pub identifier: String,
}

pub type SharedSource = Arc<Source>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    /// A UNIX socket peer's credentials.
    Local {
        uid: u32,
        gid: u32,
        pid: Option<i32>,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    pub cipher: String,
    pub server_name: Option<String>,
    /// SHA-256 of the client's certificate, when it presented one that verified.
    pub client_certificate: Option<[u8; 32]>,
    /// When that certificate ends, in seconds since 1970. TLS asks at a full handshake alone.
    pub client_certificate_ends: u64,
    /// The certificate's subject in RFC 4514 form.
    pub client_subject: Option<String>,
}

/// The network that an address is counted as: of IPv6 a host has 2^64 addresses in its own.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Local { uid, gid, .. } => write!(f, "ldapi uid={uid} gid={gid}"),
        }
    }
}
