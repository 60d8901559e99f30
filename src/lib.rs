//! nhsdir: an authenticated LDAP directory server for the NHS Directory.
//!
//! Start with ARCHITECTURE.md. Rooms, from the outside in:
//! [`cli`], [`ldap`] and [`net`], [`directory`], [`access`] and [`account`] and [`audit`],
//! [`query`], [`store`], [`index`], [`schema`], [`model`].

// A table of cases may be long.
#![cfg_attr(test, allow(clippy::too_many_lines))]

pub mod access;
pub mod account;
pub mod audit;
pub mod cli;
pub mod config;
pub mod directory;
pub mod index;
pub mod ldap;
pub mod metrics;
pub mod model;
pub mod net;
pub mod query;
pub mod schema;
pub mod store;
