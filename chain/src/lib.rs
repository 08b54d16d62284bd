//! What anyone must know to check a Quorate ledger.

pub mod codec;
pub mod crypto;
pub mod ids;
pub mod merkle;
