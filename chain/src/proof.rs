//! What anyone can check without a node.
//!
//! A verifier begins with a genesis file that it got from somewhere it trusts, or with a roster. From
//! there on it believes nobody:
//!
//! - [`Trust::check_path`]: this block is committed, because a quorum of a roster I trust acked it or
//!   a descendant of it;
//! - [`Trust::cross`]: the roster has changed, because the joint roster, and with it a quorum of the
//!   one that I trust, committed the block that says so;
//! - [`Audit`]: this chain of headers is well formed from the genesis to its last block, every term
//!   was won, and every proposer signed;
//! - [`Receipt::check`] and [`StateReceipt::check`]: this transaction had this outcome, this key had
//!   this value, in a block that is committed.
//!
//! A certificate proves its block, all ancestors, and the states that the headers of its block's own
//! term name, up to that block, unless a majority's intersection lied. What a header of an older term
//! says of a state nobody need have compared. A certificate does not prove that nothing newer exists, nor
//! that nothing was kept out of the chain. Old keys can sign an old fork: a roster is therefore
//! believed only below the height at which it was left, and whoever comes back later should remember
//! the newest certified block it has seen.
//!
//! Left out: fetching any of this.

mod audit;
mod receipt;
mod trust;

pub use audit::{Audit, AuditError};
pub use receipt::{OutcomeProof, Receipt, ReceiptError, StateReceipt};
pub use trust::{RosterStep, Trust, TrustError};
