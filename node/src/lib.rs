//! The Quorate node: threads, network, storage and interfaces around one validator.

#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod admin;
pub mod api;
pub mod cli;
mod clock;
pub mod config;
mod covers;
mod embed;
pub mod exit;
mod files;
pub mod home;
pub mod keys;
mod meter;
pub mod net;
mod papers;
mod start;
pub mod stderr;
mod telemetry;
mod threads;
mod traffic;

pub use embed::Blocks;
pub use start::Node;
