//! String preparation (RFC 4518), with a fast path for ASCII.
