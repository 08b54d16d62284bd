//! The body of a block: at most one item that speaks of leadership or the roster, then
//! transactions.
//!
//! Each item is a leaf of a Merkle tree whose root stands in the header. The leaf of a transaction
//! is made of its id and its signatures, so that its bytes are hashed once for both.

use crate::block::BlockKind;
use crate::certificate::Certificate;
use crate::codec::{Decode, DecodeError, Encode, Reader, put_option};
use crate::ids::{BodyRoot, Hash, NodeId};
use crate::limits;
use crate::merkle;
use crate::recovery::SignedRecovery;
use crate::roster::SignedRosterChange;
use crate::transaction::{SignedTransaction, put_transactions};

/// Who wants a roster change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnterChange {
    /// The admins.
    Ordered(SignedRosterChange),
    /// The leader, for a learner that was added to be promoted and has caught up.
    Promotion {
        /// The learner.
        id: NodeId,
    },
}

/// What a block says of leadership or the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A quorum elected the proposer for this term, on top of the parent.
    Opening(Certificate),
    /// The roster becomes joint.
    Enter {
        /// What changes.
        change: EnterChange,
        /// Proof that the roster being left was committed: a commit certificate by it.
        certificate: Certificate,
    },
    /// The joint roster becomes its new part.
    Leave {
        /// Proof that the joint roster was committed: a commit certificate by it.
        certificate: Certificate,
    },
    /// The admins name a new roster and a leader, because no quorum can.
    Recovery(SignedRecovery),
}

impl Item {
    /// The kind of block that carries such an item.
    #[must_use]
    pub const fn kind(&self) -> BlockKind {
        match self {
            Self::Opening(_) => BlockKind::Opening,
            Self::Enter { .. } => BlockKind::Enter,
            Self::Leave { .. } => BlockKind::Leave,
            Self::Recovery(_) => BlockKind::Recovery,
        }
    }

    /// The item's leaf in the body's Merkle tree.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        merkle::leaf_hash(&[&[1], Hash::of(&[&self.to_bytes()]).as_bytes().as_slice()].concat())
    }
}

/// A transaction's leaf in the body's Merkle tree.
#[must_use]
pub fn transaction_leaf(transaction: &SignedTransaction) -> Hash {
    let id = transaction.id();
    // The same as hashing tag, id and signatures as one leaf input, without putting them together.
    Hash::of(&[&[0, 2], id.as_bytes(), transaction.signature_bytes()])
}

/// All that a block holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// What it says of leadership or the roster.
    pub item: Option<Item>,
    /// Its transactions, in order.
    pub transactions: Vec<SignedTransaction>,
}

impl Body {
    /// The leaves of its Merkle tree: the item's, if there is one, then one for each transaction.
    #[must_use]
    pub fn leaves(&self) -> Vec<Hash> {
        let item = self.item.iter().map(Item::leaf);
        item.chain(self.transactions.iter().map(transaction_leaf)).collect()
    }

    /// The root of that tree.
    #[must_use]
    pub fn root(&self) -> BodyRoot {
        BodyRoot::new(*merkle::root(self.leaves()).as_bytes())
    }
}

impl Encode for EnterChange {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ordered(change) => {
                out.push(1);
                change.encode(out);
            }
            Self::Promotion { id } => {
                out.push(2);
                id.encode(out);
            }
        }
    }
}

impl Decode for EnterChange {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("enter")? {
            1 => Ok(Self::Ordered(SignedRosterChange::decode(from)?)),
            2 => Ok(Self::Promotion { id: NodeId::decode(from)? }),
            found => Err(DecodeError::UnknownTag { field: "enter", offset, found }),
        }
    }
}

impl Encode for Item {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opening(certificate) => {
                out.push(1);
                certificate.encode(out);
            }
            Self::Enter { change, certificate } => {
                out.push(3);
                change.encode(out);
                certificate.encode(out);
            }
            Self::Leave { certificate } => {
                out.push(4);
                certificate.encode(out);
            }
            Self::Recovery(recovery) => {
                out.push(6);
                recovery.encode(out);
            }
        }
    }
}

impl Decode for Item {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("item")? {
            1 => Ok(Self::Opening(Certificate::decode(from)?)),
            3 => Ok(Self::Enter {
                change: EnterChange::decode(from)?,
                certificate: Certificate::decode(from)?,
            }),
            4 => Ok(Self::Leave { certificate: Certificate::decode(from)? }),
            6 => Ok(Self::Recovery(SignedRecovery::decode(from)?)),
            found => Err(DecodeError::UnknownTag { field: "item", offset, found }),
        }
    }
}

impl Encode for Body {
    fn encode(&self, out: &mut Vec<u8>) {
        put_option(out, self.item.as_ref());
        put_transactions(out, &self.transactions);
    }
}

impl Decode for Body {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let item = from.option("item")?;
        let transactions = from.list("transactions", limits::TRANSACTIONS)?;
        let found = from.offset() - offset;
        if found > limits::BODY {
            return Err(DecodeError::TooLong { field: "body", offset, found, limit: limits::BODY });
        }
        Ok(Self { item, transactions })
    }
}
