//! What a validator must never forget of elections (Raft §5.2 and figure 2; thesis 3.8).

use quorate_chain::ids::{BlockRef, NodeId, Term};

use crate::judge::Proven;

/// The use made of the one vote of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Not voted yet.
    Open,
    /// Voted.
    For {
        /// For whom.
        candidate: NodeId,
        /// On which tip.
        tip: BlockRef,
    },
    /// Perhaps voted in a life that is forgotten: no vote in this term.
    Spent,
}

/// Term, proof and vote: one record, durable before any statement or reply of that term.
///
/// Invariants: `proof` is a certificate of exactly this term, and absent only at term 0; within a term
/// `choice` leaves `Open` once and never changes again (Raft §5.2), unless to `Spent` when a validator is
/// readmitted; the term never falls (Raft §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// The term.
    pub term: Term,
    /// What raised the term. Without it, two survivors of different terms never meet again.
    pub proof: Option<Proven>,
    /// The vote.
    pub choice: Choice,
    /// Whether this validator may have forgotten what it has signed: see [`crate::amnesia`]. Term and
    /// proof go on, but it signs nothing until it has been readmitted.
    pub recovering: bool,
}

impl Default for Ballot {
    /// The ballot at the genesis.
    fn default() -> Self {
        Self { term: Term::ZERO, proof: None, choice: Choice::Open, recovering: false }
    }
}

impl Ballot {
    /// The ballot that a proof of a higher term leads to.
    #[must_use]
    pub fn raised(&self, proof: Proven) -> Self {
        let recovering = self.recovering;
        Self { term: proof.term(), proof: Some(proof), choice: Choice::Open, recovering }
    }
}
