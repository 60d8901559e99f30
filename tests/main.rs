//! The one integration binary: the built program and its sockets, seen from outside.

mod tidy;
