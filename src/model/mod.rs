//! The nouns of X.500: distinguished names, entries, filters, results, LDIF.
//!
//! No I/O, no async, no schema: everything here is text and bytes as given. What two values being
//! equal means is the business of [`crate::schema`].

pub mod dn;
pub mod entry;
pub mod filter;
pub mod ldif;
pub mod outcome;
pub mod random;
pub mod source;
pub mod url;

pub use dn::{Ava, Dn, DnError, Rdn};
pub use entry::{Attribute, AttributeDescription, DescriptionError, Entry, Value, carries_options, is_known_option};
pub use filter::{Filter, FilterError};
pub use outcome::{DerefAliases, Outcome, PasswordFault, PasswordWarning, ResultCode, SearchScope};
pub use source::{Address, SharedSource, Source, TlsFacts, TrackedSession, network};
pub use url::{LdapUrl, file_path};
