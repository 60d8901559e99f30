//! Syntaxes (RFC 4517 section 3): is this value one?

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Syntax {
    DirectoryString,
    // ... every syntax of RFC 4517 and those the loaded schema files name
}
