//! Speak RFC 4511.
