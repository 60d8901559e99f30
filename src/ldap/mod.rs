//! Speak RFC 4511.
//!
//! Useful for: serving LDAP on a stream somebody else accepted. Not for: sockets and TLS ([`crate::net`]), deciding what an account may
//! see, finding entries.
//!
//! From the outside in: [`connection`] moves octets, [`frame`] checks them, [`codec`] makes requests of them, [`session`] admits
//! them, [`conversation`] begins and ends them, [`encode`] writes the answers.
//!
//! Invariants: nothing but StartTLS is answered in clear text over a network; nothing but the root DSE's protocol facts before a bind; hostile
//! octets end in an answer or in the end of this one connection; everything that grows has a limit in [`WireLimits`].

pub mod ber;
pub mod bind;
pub mod buffers;
pub mod codec;
pub mod compare;
pub mod connection;
pub mod controls;
pub mod conversation;
pub mod encode;
pub mod extended;
pub mod filter;
pub mod frame;
pub mod input;
pub mod limits;
pub mod search;
pub mod session;
#[cfg(test)]
mod specimen;
pub mod sync;
pub mod transaction;
pub mod update;

pub use connection::serve;
pub use conversation::Service;
pub use limits::WireLimits;

use self::buffers::Buffers;
use crate::directory::{Directory, ProtocolFacts};
use crate::metrics::Metrics;
use std::sync::Arc;

impl Service {
    /// What every connection of one server shares.
    pub fn new(directory: Arc<Directory>, limits: WireLimits, metrics: Arc<Metrics>) -> Arc<Service> {
        Arc::new(Service {
            directory,
            buffers: Buffers::new(limits.buffered_octets, Arc::clone(&metrics)),
            limits,
            facts: protocol_facts(false),
            external_facts: protocol_facts(true),
            metrics,
        })
    }
}

/// What the root DSE says of this front end: exactly what is implemented. `external` where SASL EXTERNAL may succeed.
pub fn protocol_facts(external: bool) -> ProtocolFacts {
    ProtocolFacts {
        controls: search::CONTROLS.to_vec(),
        extensions: extended::SUPPORTED.to_vec(),
        features: [search::FEATURES, update::FEATURES].concat(),
        mechanisms: bind::mechanisms(external),
    }
}
