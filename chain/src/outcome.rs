//! What became of a transaction that stands in a block.
//!
//! The outcome of every transaction is committed to: the outcomes of a block are the leaves of a
//! Merkle tree, the roots of these trees are chained from height to height, and the chain's newest
//! link is part of the state root. So a receipt proves not only that a transaction was ordered but
//! also whether it took effect.
//!
//! ```text
//! leaf    = encoded outcome, hashed as a Merkle leaf
//! link 0  = 32 zero bytes
//! link h  = SHA-256("quorate/1/outcomes" ‖ link h − 1 ‖ root of the outcomes of block h)
//! ```

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::ids::{Hash, TxId};
use crate::limits;
use crate::merkle;

/// Why an operation failed. The transaction is undone and its nonce used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The sender may not write the key, or too few admins approve a grant.
    NotPermitted,
    /// `put` found a value.
    KeyExists,
    /// `remove` found no value, or `revoke` no grant.
    KeyNotFound,
    /// `cas` found another value than expected.
    Mismatch,
    /// The account would have more grants than the format allows.
    #[serde(rename = "too_large")]
    TooManyGrants,
}

/// Why a transaction in a block counts for nothing, not even its nonce. An honest leader seals none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Void {
    /// Its nonce has been used.
    NonceUsed,
    /// Its nonce is too far above the highest used.
    NonceTooFar,
    /// The block is above the last height it may stand at.
    Expired,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All of it took effect.
    Applied,
    /// None of it took effect, but its nonce is used.
    Failed {
        /// The operation that failed, counted from 0.
        operation: u8,
        /// Why.
        failure: Failure,
    },
    /// It counts for nothing. Another block may still hold it to some effect.
    Void(Void),
}

/// What became of a transaction, and of which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The transaction.
    pub tx: TxId,
    /// What became of it.
    pub status: Status,
}

impl Outcome {
    /// Its leaf in the Merkle tree over the outcomes of a block.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        merkle::leaf_hash(&self.to_bytes())
    }
}

/// The root of the Merkle tree over the outcomes of a block.
#[must_use]
pub fn root(outcomes: &[Outcome]) -> Hash {
    merkle::root(outcomes.iter().map(Outcome::leaf))
}

/// The next link of the chain of outcomes.
#[must_use]
pub fn link(below: Hash, root: Hash) -> Hash {
    Hash::of(&[b"quorate/1/outcomes", below.as_bytes(), root.as_bytes()])
}

impl Encode for Outcome {
    fn encode(&self, out: &mut Vec<u8>) {
        self.tx.encode(out);
        match self.status {
            Status::Applied => out.push(1),
            Status::Failed { operation, failure } => {
                let failure = match failure {
                    Failure::NotPermitted => 1,
                    Failure::KeyExists => 2,
                    Failure::KeyNotFound => 3,
                    Failure::Mismatch => 4,
                    Failure::TooManyGrants => 5,
                };
                out.extend_from_slice(&[2, operation, failure]);
            }
            Status::Void(void) => {
                let void = match void {
                    Void::NonceUsed => 1,
                    Void::NonceTooFar => 2,
                    Void::Expired => 3,
                };
                out.extend_from_slice(&[3, void]);
            }
        }
    }
}

impl Decode for Outcome {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let tx = TxId::decode(from)?;
        let offset = from.offset();
        let status = match from.u8("status")? {
            1 => Status::Applied,
            2 => Status::Failed { operation: operation(from)?, failure: failure(from)? },
            3 => Status::Void(void(from)?),
            found => return Err(DecodeError::UnknownTag { field: "status", offset, found }),
        };
        Ok(Self { tx, status })
    }
}

fn operation(from: &mut Reader) -> Result<u8, DecodeError> {
    let offset = from.offset();
    let operation = from.u8("operation")?;
    let some = usize::from(operation) < limits::OPERATIONS;
    Reader::require(some, "operation", offset, "no transaction has so many")?;
    Ok(operation)
}

fn failure(from: &mut Reader) -> Result<Failure, DecodeError> {
    let offset = from.offset();
    match from.u8("failure")? {
        1 => Ok(Failure::NotPermitted),
        2 => Ok(Failure::KeyExists),
        3 => Ok(Failure::KeyNotFound),
        4 => Ok(Failure::Mismatch),
        5 => Ok(Failure::TooManyGrants),
        found => Err(DecodeError::UnknownTag { field: "failure", offset, found }),
    }
}

fn void(from: &mut Reader) -> Result<Void, DecodeError> {
    let offset = from.offset();
    match from.u8("void")? {
        1 => Ok(Void::NonceUsed),
        2 => Ok(Void::NonceTooFar),
        3 => Ok(Void::Expired),
        found => Err(DecodeError::UnknownTag { field: "void", offset, found }),
    }
}
