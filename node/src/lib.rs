//! The Quorate node: threads, network, storage and interfaces around one validator.

pub mod cli;
pub mod config;
pub mod exit;
pub mod home;
pub mod keys;
pub mod store;
