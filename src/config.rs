//! The configuration file: every limit has a name, a default and a key.
