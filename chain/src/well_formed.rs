//! Whether a block may stand on its parent.
//!
//! The chain carries its own proof of order. A block is well formed on its parent if and only if it
//! names it, is one higher, is not older, and either
//!
//! - has the parent's term and the parent's proposer, or
//! - has a higher term and is an *opening block*: its item is an election certificate for exactly
//!   this term and proposer and the parent as tip, by a quorum of the roster in force at the parent, in
//!   which the proposer is a voter,
//! - or has a higher term and is a *recovery block*: the admins of that roster name this term, this
//!   proposer and the parent.
//!
//! So the right to propose comes from the certificate and not from membership: a leader that is
//! being removed finishes its term.
//!
//! A roster block is already under the roster that it brings. `Enter` and `Leave` carry a commit
//! certificate by the roster that they leave, for its first block or a descendant of it, no more than
//! [`limits::PATH`] below; so at most one roster block of a chain is unproven.
//!
//! All of this is judged from the parent, its roster and the block's header and item alone, so that
//! a block that is not well formed convicts its proposer. Left to those who hold the chain:
//! that a certified block in `Enter` or `Leave` is an ancestor, that the proposer signed, and what
//! the header says of the state.

use crate::block::{BlockKind, EnterChange, Header, Item};
use crate::certificate::{Certificate, CertificateError, CertificateKind};
use crate::crypto::Verifier;
use crate::ids::{BlockHash, BlockRef, ChainId, Height, NodeId, RosterHash, Term, TimeUs};
use crate::limits;
use crate::recovery::{RecoveryError, SignedRecovery};
use crate::roster::{ChangeError, Roster};
use crate::statement::Statement;

/// What must be known of the block below.
#[derive(Clone, Copy, Debug)]
pub struct Parent<'a> {
    /// Its place and name.
    pub block: BlockRef,
    /// Its time.
    pub time: TimeUs,
    /// Who sealed it; nobody sealed the genesis.
    pub proposer: Option<NodeId>,
    /// The roster in force at it.
    pub roster: &'a Roster,
}

impl<'a> Parent<'a> {
    /// A block as a parent.
    #[must_use]
    pub fn of(header: &Header, roster: &'a Roster) -> Self {
        let proposer = Some(header.proposer);
        Self { block: header.block_ref(), time: header.time, proposer, roster }
    }
}

/// Checks that a block is well formed on its parent. Returns the roster that it brings; `None` if
/// the parent's stays in force.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(
    parent: &Parent<'_>,
    header: &Header,
    item: Option<&Item>,
    chain_id: ChainId,
    verifier: &dyn Verifier,
) -> Result<Option<Roster>, Malformed> {
    check_place(parent, header, chain_id)?;
    let judge = Judge { parent, header, chain_id, verifier };
    let roster = match (header.kind, item) {
        (BlockKind::Opening, Some(Item::Opening(election))) => {
            judge.opening(election)?;
            None
        }
        (BlockKind::Recovery, Some(Item::Recovery(recovery))) => Some(judge.recovery(recovery)?),
        (BlockKind::Enter, Some(Item::Enter { change, certificate })) => {
            Some(judge.enter(change, certificate)?)
        }
        (BlockKind::Leave, Some(Item::Leave { certificate })) => Some(judge.leave(certificate)?),
        (BlockKind::Transactions | BlockKind::Closing, None) => None,
        (kind, _) => return Err(Malformed::Item { kind }),
    };
    let expected = roster.as_ref().unwrap_or(parent.roster).hash();
    if header.roster_hash != expected {
        return Err(Malformed::Roster { expected, found: header.roster_hash });
    }
    Ok(roster)
}

fn check_place(parent: &Parent<'_>, header: &Header, chain_id: ChainId) -> Result<(), Malformed> {
    if header.chain_id != chain_id {
        return Err(Malformed::Chain { expected: chain_id, found: header.chain_id });
    }
    if Some(header.height) != parent.block.height.next() {
        return Err(Malformed::Height { parent: parent.block.height, found: header.height });
    }
    if header.parent != parent.block.hash {
        return Err(Malformed::Parent { expected: parent.block.hash, found: header.parent });
    }
    if header.time < parent.time {
        return Err(Malformed::Time { parent: parent.time, found: header.time });
    }
    if header.executed >= header.height {
        return Err(Malformed::Executed { height: header.height, found: header.executed });
    }
    let begins = header.kind.begins_term();
    if header.term < parent.block.term || begins != (header.term > parent.block.term) {
        let (parent, found) = (parent.block.term, header.term);
        return Err(Malformed::Term { parent, found, kind: header.kind });
    }
    if !begins && parent.proposer != Some(header.proposer) {
        return Err(Malformed::Proposer { expected: parent.proposer, found: header.proposer });
    }
    Ok(())
}

/// What the item of one block is judged by.
struct Judge<'a> {
    parent: &'a Parent<'a>,
    header: &'a Header,
    chain_id: ChainId,
    verifier: &'a dyn Verifier,
}

impl Judge<'_> {
    fn opening(&self, election: &Certificate) -> Result<(), Malformed> {
        let expected = Statement::Vote {
            term: self.header.term,
            candidate: self.header.proposer,
            tip: self.parent.block,
        };
        if !self.parent.roster.is_voter(self.header.proposer) {
            return Err(Malformed::Stranger { proposer: self.header.proposer });
        }
        let found = *election.statement();
        if found != expected {
            return Err(Malformed::Election(Box::new(found)));
        }
        Ok(election.check(self.chain_id, self.parent.roster, self.verifier)?)
    }

    fn recovery(&self, signed: &SignedRecovery) -> Result<Roster, Malformed> {
        let order = signed.recovery();
        let expected = (self.header.term, self.header.proposer, self.parent.block);
        if (order.term, order.proposer, order.tip) != expected {
            return Err(Malformed::RecoveryElsewhere { term: order.term, tip: order.tip });
        }
        Ok(signed.check(self.chain_id, self.parent.roster, self.verifier)?)
    }

    fn enter(&self, change: &EnterChange, certificate: &Certificate) -> Result<Roster, Malformed> {
        self.leaving(certificate)?;
        let roster = self.parent.roster;
        match change {
            EnterChange::Ordered(signed) => {
                signed.check(self.chain_id, roster, self.verifier)?;
                Ok(roster.apply(signed.change())?)
            }
            EnterChange::Promotion { id } => Ok(roster.promote(*id)?),
        }
    }

    fn leave(&self, certificate: &Certificate) -> Result<Roster, Malformed> {
        self.leaving(certificate)?;
        self.parent.roster.left().ok_or(Malformed::NotJoint)
    }

    /// Checks the certificate by the roster that is being left.
    fn leaving(&self, certificate: &Certificate) -> Result<(), Malformed> {
        let found = certificate.kind();
        if found != CertificateKind::Commit {
            let expected = CertificateKind::Commit;
            return Err(CertificateError::OtherKind { expected, found }.into());
        }
        let (tip, block) = (self.parent.block.height.get(), certificate.block().height.get());
        if tip.checked_sub(block).is_none_or(|below| below > limits::PATH as u64) {
            return Err(Malformed::CertificateFar {
                parent: self.parent.block.height,
                found: certificate.block().height,
            });
        }
        Ok(certificate.check(self.chain_id, self.parent.roster, self.verifier)?)
    }
}

/// Why a block may not stand on its parent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It belongs to another chain.
    #[error("it belongs to chain {found:.16}, this is chain {expected:.16}")]
    Chain {
        /// This chain.
        expected: ChainId,
        /// The chain it names.
        found: ChainId,
    },
    /// It is not one higher than its parent.
    #[error("its height is {found}, its parent's is {parent}")]
    Height {
        /// The parent's height.
        parent: Height,
        /// Its own.
        found: Height,
    },
    /// It names another block as its parent.
    #[error("it names parent {found:.16}, the block below it is {expected:.16}")]
    Parent {
        /// The block below it.
        expected: BlockHash,
        /// The block it names.
        found: BlockHash,
    },
    /// It is older than its parent.
    #[error("its time {found} is before its parent's, {parent}")]
    Time {
        /// The parent's time.
        parent: TimeUs,
        /// Its own.
        found: TimeUs,
    },
    /// It names its own state or one that is still to come.
    #[error("at height {height} it names the state of height {found}")]
    Executed {
        /// Its height.
        height: Height,
        /// The height whose state it names.
        found: Height,
    },
    /// Its term is lower than the parent's, or does not fit its kind.
    #[error("a block of kind {kind:?} in term {found} on a parent of term {parent}")]
    Term {
        /// The parent's term.
        parent: Term,
        /// Its own.
        found: Term,
        /// What it is for.
        kind: BlockKind,
    },
    /// Someone else sealed the blocks of this term.
    #[error("proposer {found} goes on in a term of {}", display(*expected))]
    Proposer {
        /// The proposer of the term.
        expected: Option<NodeId>,
        /// Its own.
        found: NodeId,
    },
    /// It lacks the item that its kind asks for, or has another.
    #[error("a block of kind {kind:?} without the item of that kind")]
    Item {
        /// What it is for.
        kind: BlockKind,
    },
    /// Its proposer does not vote in the roster that elected it.
    #[error("proposer {proposer} is no voter of the roster at its parent")]
    Stranger {
        /// The proposer.
        proposer: NodeId,
    },
    /// Its election certificate elects someone else, or on another tip.
    #[error("its certificate says {0:?}, not that its proposer leads its term on its parent")]
    Election(Box<Statement>),
    /// Its recovery speaks of another term, proposer or tip.
    #[error("its recovery opens term {term} on {tip}, with the proposer it names")]
    RecoveryElsewhere {
        /// The term that the admins opened.
        term: Term,
        /// The tip that they named.
        tip: BlockRef,
    },
    /// It leaves a roster that is not joint.
    #[error("there is no joint roster to leave")]
    NotJoint,
    /// The certified block in it is above the parent, or too far below.
    #[error("its certificate is for height {found}, its parent is at {parent}")]
    CertificateFar {
        /// The parent's height.
        parent: Height,
        /// The height of the certified block.
        found: Height,
    },
    /// It names another roster than the one in force.
    #[error("it names roster {found:.16}, in force is {expected:.16}")]
    Roster {
        /// The roster in force at it.
        expected: RosterHash,
        /// The roster it names.
        found: RosterHash,
    },
    /// A certificate in it proves nothing.
    #[error("its certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// Its roster change is not acceptable.
    #[error("its roster change: {0}")]
    Change(#[from] ChangeError),
    /// Its recovery is not acceptable.
    #[error("its recovery: {0}")]
    Recovery(#[from] RecoveryError),
}

fn display(proposer: Option<NodeId>) -> String {
    proposer.map_or_else(|| "nobody".to_owned(), |id| format!("proposer {id}"))
}
