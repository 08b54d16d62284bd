//! The roles (Raft §5.1, figure 4). A transition consumes one role and makes the next.
//!
//! ```text
//!              timeout, handover, lost link          pre-votes of a quorum         votes of a quorum
//!   Follower ─────────────────────────────▶ Candidate ───────────▶ Candidate ─────────────────────▶ Leader
//!      ▲                                   (asking)                (voting)                            │
//!      └────────── a higher term is proven, or a leader of this term appears ◀─ no quorum is heard ────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, Height, NodeId, RosterHash, Term};
use quorate_chain::roster::Roster;
use quorate_chain::statement::{SignedStatement, Statement};

use crate::handover::Transfer;
use crate::judge::Proven;
use crate::membership::Asked;
use crate::message::{Beat, Proof};
use crate::progress::Progress;
use crate::reads::Asker;
use crate::time::{Moment, Span};

/// What a core is at a moment.
#[derive(Clone, Debug)]
pub enum Role {
    /// It waits for a leader, or has one.
    Follower(Follower),
    /// It asks for pre-votes, or for votes.
    Candidate(Box<Candidate>),
    /// It leads its term.
    Leader(Box<Leader>),
}

/// A validator that follows.
#[derive(Clone, Debug)]
pub struct Follower {
    /// The leader of this term, once it is known.
    pub leader: Option<NodeId>,
    /// Who got this validator's vote because its leader wanted that: it is waited for as if it were heard.
    pub awaited: Option<NodeId>,
    /// The votes for it, if it has shown them here.
    pub election: Option<Box<Proof>>,
    /// When the leader was last heard.
    pub heard: Moment,
    /// Whether the connection to the leader was reported closed since then.
    pub link_lost: bool,
    /// What the time to a campaign was drawn from, if no leader is waited for as long as ever.
    pub haste: Option<Span>,
    /// When to campaign.
    pub deadline: Moment,
    /// The highest block that the leader's appends have confirmed.
    pub confirmed: BlockRef,
    /// The newest heartbeat of the leader.
    pub beat: Beat,
    /// Whether an append with blocks is still to be answered.
    pub owes_answer: bool,
    /// Whether a heartbeat is still to be answered.
    pub owes_beat: bool,
    /// Whether the leader has signed two blocks for one place: then it is not listened to.
    pub ignoring: bool,
    /// Since when a certified block is lacked, and the tip then.
    pub lacking: Option<(Moment, BlockRef)>,
    /// The leader's word that it wants this validator to campaign, until that begins.
    pub handover: Option<Box<SignedStatement>>,
}

impl Follower {
    /// It follows this leader from now on, which has confirmed a block.
    #[must_use]
    pub const fn new(
        leader: Option<NodeId>,
        heard: Moment,
        deadline: Moment,
        confirmed: BlockRef,
    ) -> Self {
        Self {
            leader,
            awaited: None,
            election: None,
            heard,
            link_lost: false,
            haste: None,
            deadline,
            confirmed,
            beat: Beat(0),
            owes_answer: false,
            owes_beat: false,
            ignoring: false,
            lacking: None,
            handover: None,
        }
    }
}

/// A validator that wants to lead.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it wants to be told: a pre-vote or a vote.
    pub wanted: Statement,
    /// The tip that it campaigns with.
    pub tip: BlockRef,
    /// What it has been told.
    pub said: BTreeMap<NodeId, Checked<SignedStatement>>,
    /// The leader's word that it wants this campaign.
    pub handover: Option<SignedStatement>,
    /// Until when it listens like one who hears a leader, because its leader wants this campaign.
    pub sheltered: Option<Moment>,
    /// Who has refused, or cannot be reached.
    pub refused: BTreeSet<NodeId>,
    /// What the time to the next campaign was drawn from, if it is less than an election timeout.
    pub haste: Option<Span>,
    /// When to give up and begin anew.
    pub deadline: Moment,
}

impl Candidate {
    /// The term it campaigns for.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.wanted.term()
    }
}

/// The acks for one block.
#[derive(Clone, Debug)]
pub struct Tally {
    /// The block.
    pub block: BlockRef,
    /// The roster in force at it.
    pub roster: Arc<Roster>,
    /// Who has acked it.
    pub acks: BTreeMap<NodeId, Checked<SignedStatement>>,
}

/// The validator that leads its term.
#[derive(Clone, Debug)]
pub struct Leader {
    /// Why it leads.
    pub election: Proven,
    /// What it knows of everybody else in the roster.
    pub others: BTreeMap<NodeId, Progress>,
    /// The acks for blocks of this term that are not final.
    pub tallies: BTreeMap<Height, Tally>,
    /// The committed height that the peers have been told, or are about to be.
    pub told: Height,
    /// A certificate by which a block became final after it was committed, and that nobody was told.
    pub late: Option<Certificate>,
    /// When such a one was sent last.
    pub late_told: Moment,
    /// The newest heartbeat.
    pub beat: Beat,
    /// When it was sent.
    pub beat_sent: Moment,
    /// The nodes that have asked for a height to read at.
    pub askers: BTreeMap<NodeId, Asker>,
    /// The transfer that is under way.
    pub transfer: Option<Transfer>,
    /// When a leader that would rather not lead may try again to hand over.
    pub rest: Moment,
    /// The block that others have certified while the own disk was writing it, and how long it took them.
    pub outrun: Option<(Height, Span)>,
    /// When a block was committed last, or nothing waited for that, and the height.
    pub moved: (Height, Moment),
    /// When to see whether a quorum has been heard.
    pub checkup: Moment,
    /// The roster change that waits for its block.
    pub asked: Option<Asked>,
    /// The rosters at the committed tip and at the tip whose members are served.
    pub serves: Option<(RosterHash, RosterHash)>,
    /// The parent of the slot that is on offer, and how urgent it was.
    pub offered: Option<(BlockRef, crate::effect::Urgency)>,
    /// The height whose state that slot names.
    pub names: Height,
}
