//! Everything on a connection that grows has a limit here.

use std::time::Duration;

/// The limits of one connection. The configuration names each of them; what passes one is answered, never dropped in silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireLimits {
    /// Octets of one message before a bind.
    pub message_octets_unbound: usize,
    /// Octets of one message after a bind.
    pub message_octets: usize,
    /// BER elements of one message before a bind.
    pub elements_unbound: usize,
    /// BER elements of one message after a bind.
    pub elements: usize,
    /// Levels of BER nesting of one message; at most [`super::ber::MAX_NESTING`].
    pub nesting: usize,
    /// Levels of AND, OR and NOT in a filter.
    pub filter_depth: usize,
    /// AND, OR, NOT and items of a filter, and its substrings, together.
    pub filter_terms: usize,
    /// Octets of one filter, and of one value that a compare or a virtual list view asserts.
    pub filter_octets: usize,
    /// Controls of one request.
    pub controls: usize,
    /// Attributes named by one search.
    pub attributes: usize,
    /// Searches running on one connection before a bind.
    pub outstanding_unbound: usize,
    /// Searches running on one connection after a bind; one more is answered busy.
    pub outstanding: usize,
    /// Updates of one connection waiting for the disk; the next request is read when one is done.
    pub updates: usize,
    /// Updates of one transaction.
    pub transaction_updates: usize,
    /// Octets of memory that they take.
    pub transaction_octets: usize,
    /// Octets that all connections together may have beyond their own small buffers ([`super::buffers`]).
    pub buffered_octets: usize,
    /// How long a connection may stay without a complete request before it is bound.
    pub idle_unbound: Duration,
    /// The same once it is bound.
    pub idle: Duration,
    /// How long a peer may take nothing of what is waiting for it.
    pub write_stall: Duration,
    /// Octets waiting for the peer at which searches stop running.
    pub output_octets: usize,
    /// Candidates a connection examines before the next connection gets its turn.
    pub turn_work: u32,
    /// How long a turn lasts, where that is over before the work is used up.
    pub turn: Duration,
    /// How long running operations may go on after the server was asked to stop.
    pub shutdown_grace: Duration,
}

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            message_octets_unbound: 16 << 10,
            message_octets: 4 << 20,
            elements_unbound: 1024,
            elements: 128 << 10,
            nesting: 48,
            filter_depth: 32,
            filter_terms: 1024,
            filter_octets: 256 << 10,
            controls: 16,
            attributes: 512,
            outstanding_unbound: 64,
            outstanding: 1000,
            updates: 64,
            transaction_updates: 1000,
            transaction_octets: 4 << 20,
            buffered_octets: 256 << 20,
            idle_unbound: Duration::from_secs(10),
            idle: Duration::from_secs(15 * 60),
            write_stall: Duration::from_secs(10),
            output_octets: 64 << 10,
            turn_work: 4096,
            turn: Duration::from_micros(200),
            shutdown_grace: Duration::from_secs(2),
        }
    }
}
