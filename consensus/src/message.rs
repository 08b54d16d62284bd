//! What validators tell each other.
//!
//! Messages come from an authenticated peer, so `from` is who it says it is. What they carry is
//! believed only as far as signatures go. Blocks come with their bodies checked (root and
//! transactions), because that work is done in parallel before a message gets here; everything else
//! is verified by the core, which knows the rosters.

use std::sync::Arc;

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, Height, RosterHash, Term};
use quorate_chain::roster::{Lead, Roster};
use quorate_chain::statement::SignedStatement;

use crate::config::Incarnation;
use crate::life::SignedLife;

/// A certificate that raises a term, with the roster whose quorum signed it. A receiver that does
/// not know the roster can judge it if it is one step away from one that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The certificate.
    pub certificate: Certificate,
    /// The roster that it names.
    pub roster: Arc<Roster>,
}

/// The leader's number for one attempt to bring a follower in step. A reject counts only for the
/// attempt that it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lap(pub u64);

/// The number of a heartbeat. An answer that names it confirms that the leader still led when it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Beat(pub u64);

/// A number that is drawn for one question, so that no answer to another is taken for one to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nonce(pub u64);

/// A message between validators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks whether a campaign would succeed, before any term is raised (thesis 9.6).
    PreVoteRequest {
        /// The term that the candidate would campaign for: its own and one.
        term: Term,
        /// The candidate's tip.
        tip: BlockRef,
        /// The roster in force at that tip.
        roster: Arc<Roster>,
        /// Why the candidate's own term is what it is.
        proof: Option<Proof>,
        /// The leader's word that it wants this campaign.
        handover: Option<SignedStatement>,
    },
    /// Asks for a vote (Raft §5.2), with proof that a quorum would give one.
    VoteRequest {
        /// The candidate's tip.
        tip: BlockRef,
        /// The pre-votes of a quorum, and their roster.
        proof: Proof,
        /// The leader's word that it wants this campaign.
        handover: Option<SignedStatement>,
    },
    /// Gives a pre-vote (thesis 9.6) or a vote (Raft §5.2).
    Vote(SignedStatement),
    /// Says no to a pre-vote or a vote, and what the candidate would need to know.
    Refuse {
        /// Why the refuser's term is what it is.
        proof: Option<Proof>,
        /// The refuser's tip.
        tip: BlockRef,
        /// The refuser's committed tip.
        committed: BlockRef,
    },
    /// Brings blocks, and says that the leader lives.
    Append(Box<Append>),
    /// Answers every append that fits (Raft §5.3).
    Stored(Box<Stored>),
    /// Says that an append does not fit what is here (Raft §5.3).
    Reject {
        /// The attempt that it answers.
        lap: Lap,
        /// The follower's committed tip. It is always a match.
        committed: BlockRef,
        /// Which log this is.
        incarnation: Incarnation,
        /// That the election cannot be judged by the rosters known here.
        unknown: bool,
    },
    /// Tells a leader that its term is over (Raft §5.1).
    Stale(Proof),
    /// Says what has been committed, when no append is due (Raft §5.3).
    Committed(Certificate),
    /// Asks for the chain above a block that is committed here.
    Pull {
        /// The asker's committed tip.
        committed: BlockRef,
    },
    /// Brings a part of the sender's chain. Nothing is acked because of it.
    Pulled {
        /// The block that the first one stands on.
        parent: BlockRef,
        /// The blocks, in order.
        blocks: Vec<Checked<Block>>,
        /// A commit certificate for one of them, if there is one.
        certificate: Option<Certificate>,
    },
    /// Offers a snapshot to somebody whose next block has been pruned here.
    Snapshot(Box<Snapshot>),
    /// The leader asks the receiver to campaign (thesis 3.10).
    Handover(SignedStatement),
    /// Asks the leader for a height that has all that is committed by now (thesis 6.4).
    ReadRequest {
        /// For the answer.
        nonce: Nonce,
    },
    /// Answers a read request.
    ReadAt {
        /// Which one.
        nonce: Nonce,
        /// Serve at this height or later; `None` from one who does not lead, or is handing over.
        height: Option<Height>,
    },
    /// Asks, after a start, what the receiver has seen of the sender.
    Greet(SignedLife),
    /// Answers a greeting: what is known of the greeter. What could stop it from signing is shown with
    /// its own signature.
    Known(Box<Known>),
    /// A recovering validator asks where the receiver stands.
    Whereabouts {
        /// For the answer.
        nonce: Nonce,
    },
    /// Answers a recovering validator.
    Standing {
        /// Which question.
        nonce: Nonce,
        /// Why the own term is what it is; `None` in the first one, before any election.
        proof: Option<Proof>,
        /// The roster in force at the own tip.
        roster_hash: RosterHash,
    },
    /// A recovering validator tells the leader what it waits for: a committed block of a term above
    /// this one.
    Recovering {
        /// The highest term that it may have signed acks in.
        above: Term,
    },
}

/// What is known of a validator that greets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The start that greeted.
    pub life: SignedLife,
    /// The newest other start of the same log that has greeted.
    pub other: Option<SignedLife>,
    /// Its vote of the highest term.
    pub vote: Option<SignedStatement>,
    /// Its ack of the highest rank.
    pub ack: Option<SignedStatement>,
}

/// A snapshot that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The block at whose state it was made.
    pub block: BlockRef,
    /// The commit certificate that comes with it, for that block or a descendant, and its roster.
    pub proof: Proof,
}

/// What a leader sends (Raft §5.3). Without blocks it is a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The leader's term.
    pub term: Term,
    /// Why it leads; left out once the follower has answered in this term.
    pub election: Option<Proof>,
    /// The attempt that this belongs to.
    pub lap: Lap,
    /// The newest heartbeat, which an answer confirms.
    pub beat: Beat,
    /// The block that the first one stands on.
    pub parent: BlockRef,
    /// The blocks, in order.
    pub blocks: Vec<Checked<Block>>,
    /// The newest commit certificate for a block at or below the last one sent; the newest there is,
    /// if there is none.
    pub certificate: Option<Certificate>,
}

/// What a follower has, and what it signs for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The term in which it was sent.
    pub term: Term,
    /// The highest block that is durable here and that this leader's appends confirmed.
    pub matched: BlockRef,
    /// The follower's applied height.
    pub applied: Height,
    /// Which log this is.
    pub incarnation: Incarnation,
    /// Whether the follower wants to lead.
    pub lead: Lead,
    /// The newest heartbeat seen.
    pub beat: Beat,
    /// Signed acks that the leader may not have yet.
    pub acks: Vec<SignedStatement>,
}
