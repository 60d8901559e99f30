//! The one integration binary: the built program and its sockets, seen from outside.

// clippy.toml lets tests stop at the first surprise; these are what tests are made of.
#![allow(clippy::unwrap_used, clippy::panic, clippy::too_many_lines)]

mod apply;
mod binds;
mod buffers;
mod commands;
mod controls;
mod damage;
mod durability;
mod general;
mod information_model;
mod integrity;
mod links;
mod lists;
mod matched_values;
mod no_op;
mod password_policy;
mod persistent_search;
mod proxied;
mod relax;
mod rights;
mod schema;
mod server;
mod session_tracking;
mod sync;
mod tidy;
mod transactions;
mod tree_delete;
mod updates;
mod usability;
mod wire;
