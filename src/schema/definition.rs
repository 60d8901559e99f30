//! Definitions (RFC 4512 section 4.1): the parser of schema files.
