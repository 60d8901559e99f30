//! The one integration binary: the built program and its sockets, seen from outside.

mod commands;
mod durability;
mod server;
mod tidy;
mod wire;
