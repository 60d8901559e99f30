//! LDIF (RFC 2849): a streaming reader that says the line of every fault, and a writer.
