//! What clients see of a group of three validators, endpoint by endpoint. All tests share the group;
//! each has keys of its own. `docs/surface.md` says which line of the surface is shown where.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod commands;
mod events;
mod group;
mod hostile;
mod http;
mod known;
mod reads;
mod writes;
