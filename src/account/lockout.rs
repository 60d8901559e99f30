//! Throttling per account and source, and the evidence of failures.
