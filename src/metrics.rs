//! Counters and their Prometheus text.
