//! What anyone must know to check a Quorate ledger.

pub mod block;
pub mod certificate;
pub mod checked;
pub mod codec;
pub mod commitment;
pub mod crypto;
pub mod evidence;
pub mod execute;
pub mod genesis;
pub mod ids;
pub mod lately;
pub mod limits;
pub mod merkle;
pub mod outcome;
pub mod proof;
pub mod recovery;
pub mod roster;
pub mod state;
pub mod state_root;
pub mod statement;
pub mod transaction;
pub mod well_formed;
