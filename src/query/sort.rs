//! Server-side ordering of results (RFC 2891).
