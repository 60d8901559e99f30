//! What is counted, and its text for Prometheus.
//!
//! Counters are atomics that only grow, gauges go up and down; nothing here takes a lock or allocates but [`Metrics::render`].

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A number that only grows. Kept in parts, so that threads that count at once do not take it from each other.
#[derive(Debug, Default)]
pub struct Counter([Part; PARTS]);

/// One part, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Part(AtomicU64);

/// Threads that count in a part of their own; further ones share.
const PARTS: usize = 4;

thread_local! {
    static PART: usize = NEXT_PART.fetch_add(1, Ordering::Relaxed) % PARTS;
}

static NEXT_PART: AtomicUsize = AtomicUsize::new(0);

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

/// The operations that are counted apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Operation {
    Bind,
    Unbind,
    Search,
    Modify,
    Add,
    Delete,
    ModifyDn,
    Compare,
    Abandon,
    Extended,
}

/// The counters of one server. Shared by `Arc`.
#[derive(Debug, Default)]
pub struct Metrics {
    pub connections_opened: Counter,
    pub connections_open: Gauge,
    /// Refused because of a limit on connections.
    pub connections_refused: Counter,
    pub handshakes_failed: Counter,
    pub certificate_reloads: Counter,
    pub octets_read: Counter,
    pub octets_written: Counter,
    pub entries_sent: Counter,
    pub searches_running: Gauge,
    /// What connections have together of `limits.buffered_bytes`.
    pub buffered_octets: Gauge,
    /// Connections ended because others needed what they had of it.
    pub crowded_out: Counter,
    /// Connections ended by the server because of a broken message.
    pub broken_messages: Counter,
    /// Connections ended because a limit on time was passed.
    pub timeouts: Counter,
    /// Panics contained to one connection. Any is a fault to report.
    pub panics: Counter,
    operations: [Counter; OPERATIONS.len()],
    /// By result code; the last for every code above.
    results: Results,
}

#[derive(Debug)]
struct Results([Counter; RESULTS + 1]);

const OPERATIONS: [&str; 10] = [
    "bind", "unbind", "search", "modify", "add", "delete", "modifydn", "compare", "abandon", "extended",
];
const RESULTS: usize = 128;

impl Default for Results {
    fn default() -> Self {
        Results(std::array::from_fn(|_| Counter::default()))
    }
}

impl Counter {
    #[inline]
    pub fn add(&self, count: u64) {
        // A thread that is ending has no part any more.
        let part = PART.try_with(|part| *part).unwrap_or(0);
        if let Some(part) = self.0.get(part) {
            part.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn value(&self) -> u64 {
        self.0.iter().map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

impl Gauge {
    #[inline]
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    #[inline]
    pub fn operation(&self, operation: Operation) {
        if let Some(counter) = self.operations.get(operation as usize) {
            counter.increment();
        }
    }

    #[inline]
    pub fn result(&self, code: u32) {
        let at = usize::try_from(code).map_or(RESULTS, |code| code.min(RESULTS));
        if let Some(counter) = self.results.0.get(at) {
            counter.increment();
        }
    }

    /// The text exposition format of Prometheus, version 0.0.4.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, counter, help) in self.counters() {
            family(&mut text, name, "counter", help);
            sample(&mut text, name, "", counter.value());
        }
        for (name, gauge, help) in self.gauges() {
            family(&mut text, name, "gauge", help);
            sample(&mut text, name, "", gauge.value());
        }
        family(
            &mut text,
            "operations_total",
            "counter",
            "Operations asked for, by kind",
        );
        for (operation, counter) in OPERATIONS.iter().zip(&self.operations) {
            let label = format!("{{operation=\"{operation}\"}}");
            sample(&mut text, "operations_total", &label, counter.value());
        }
        family(&mut text, "results_total", "counter", "Answers, by LDAP result code");
        for (code, counter) in self
            .results
            .0
            .iter()
            .enumerate()
            .filter(|(_, counter)| counter.value() > 0)
        {
            let label = format!("{{code=\"{code}\"}}");
            sample(&mut text, "results_total", &label, counter.value());
        }
        text
    }

    /// Names, and what they count.
    fn counters(&self) -> [(&'static str, &Counter, &'static str); 11] {
        [
            (
                "connections_opened_total",
                &self.connections_opened,
                "Connections accepted",
            ),
            (
                "connections_refused_total",
                &self.connections_refused,
                "Connections refused by a limit",
            ),
            (
                "tls_handshakes_failed_total",
                &self.handshakes_failed,
                "TLS handshakes that failed",
            ),
            (
                "tls_certificate_reloads_total",
                &self.certificate_reloads,
                "Certificates read again",
            ),
            ("octets_read_total", &self.octets_read, "LDAP octets read"),
            ("octets_written_total", &self.octets_written, "LDAP octets written"),
            ("entries_sent_total", &self.entries_sent, "Search result entries sent"),
            (
                "broken_messages_total",
                &self.broken_messages,
                "Connections ended by a broken message",
            ),
            ("timeouts_total", &self.timeouts, "Connections ended by a limit on time"),
            (
                "crowded_out_total",
                &self.crowded_out,
                "Connections ended because the memory for buffers was spent",
            ),
            ("panics_total", &self.panics, "Panics contained to one connection"),
        ]
    }

    fn gauges(&self) -> [(&'static str, &Gauge, &'static str); 3] {
        [
            ("connections_open", &self.connections_open, "Connections open now"),
            ("searches_running", &self.searches_running, "Searches running now"),
            (
                "buffered_octets",
                &self.buffered_octets,
                "Octets of long messages, unread answers and requests under way",
            ),
        ]
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP nhsdir_{name} {help}").expect("a string takes everything");
    writeln!(text, "# TYPE nhsdir_{name} {kind}").expect("a string takes everything");
}

fn sample(text: &mut String, name: &str, label: &str, value: u64) {
    writeln!(text, "nhsdir_{name}{label} {value}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_was_counted() {
        let metrics = Metrics::default();
        metrics.operation(Operation::Search);
        metrics.operation(Operation::Search);
        metrics.result(0);
        metrics.result(49);
        metrics.result(4096);
        metrics.connections_open.increment();
        let text = metrics.render();
        for line in [
            "nhsdir_operations_total{operation=\"search\"} 2",
            "nhsdir_results_total{code=\"49\"} 1",
            "nhsdir_results_total{code=\"128\"} 1",
            "nhsdir_connections_open 1",
            "# TYPE nhsdir_panics_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
    }
}
