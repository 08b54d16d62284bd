//! The core: one validator's part in ordering blocks.
//!
//! Raft (Ongaro and Ousterhout, 2014), with three changes that go through everything:
//!
//! - a log entry is a signed block and its index is its height, so a log is compared by hash;
//! - a promise is a signed statement and a decision a certificate, so nothing is believed on one
//!   node's word: a term is raised only by a certificate of it, and a block is committed only by one;
//! - the right to propose stands in the chain: the first block of a term carries the election.
//!
//! [`Core::step`] takes one event and returns effects, in order. It has no clock, disk, network or
//! randomness of its own.
//!
//! Invariants, checked after every step by [`Core::check`]:
//! - the term never falls, and within a term a vote never changes (Raft §5.2);
//! - applied ≤ committed ≤ durable ≤ tip, by height;
//! - the tip never falls in rank, unless a certificate says so;
//! - a leader's tip is of its own term, or the block its opening block will stand on.
//!
//! Left out, for now: roster changes, reads, handovers, snapshots, recovery from a lost disk and the
//! collecting of evidence.

use std::sync::Arc;

use quorate_chain::block::Block;
use quorate_chain::certificate::{Certificate, CertificateKind};
use quorate_chain::checked::Checked;
use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{BlockRef, NodeId, RosterHash, StateRoot, Term};
use quorate_chain::roster::Roster;
use quorate_chain::statement::{SignedStatement, Statement};

use crate::acks::Acks;
use crate::ballot::Ballot;
use crate::commits::Commits;
use crate::config::Config;
use crate::durability::Durability;
use crate::effect::{Effect, Halt, Record};
use crate::event::Event;
use crate::jitter::Jitter;
use crate::judge::{self, Proven, Verdict};
use crate::log::{Anchor, Log, Unfit};
use crate::message::{Beat, Lap, Message, Proof};
use crate::role::{Follower, Role};
use crate::snapshots::Install;
use crate::states::States;
use crate::time::{Moment, Now};

/// What a core begins with: what a disk and a store have kept.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The ballot.
    pub ballot: Ballot,
    /// The applied tip.
    pub applied: Anchor,
    /// The state there.
    pub state_root: StateRoot,
    /// Rosters that were left before it, oldest first. The newest [`LEFT`](crate::log::LEFT) are of use.
    pub left: Vec<Arc<Roster>>,
    /// The newest commit certificate.
    pub certificate: Option<Checked<Certificate>>,
    /// The blocks above the applied tip, as the disk has them.
    pub blocks: Vec<Checked<Block>>,
}

/// Why what was kept is not the chain of a validator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A block cannot stand where the disk has it.
    #[error("block {block} of the log: {why}")]
    Unfit {
        /// The block.
        block: BlockRef,
        /// Why it cannot stand there.
        why: Box<Unfit>,
    },
    /// The ballot is older than the chain.
    #[error("the ballot is of term {ballot}, the tip of term {tip}")]
    BallotBehind {
        /// The ballot's term.
        ballot: Term,
        /// The tip's term.
        tip: Term,
    },
}

/// What the outside may know of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It follows.
    Follower,
    /// It campaigns.
    Candidate,
    /// It leads.
    Leader,
}

/// One validator's part in ordering blocks.
pub struct Core {
    pub(crate) config: Config,
    pub(crate) verifier: Arc<dyn Verifier>,
    pub(crate) jitter: Jitter,
    pub(crate) now: Now,
    pub(crate) ballot: Ballot,
    pub(crate) log: Log,
    pub(crate) disk: Durability,
    pub(crate) commits: Commits,
    pub(crate) states: States,
    pub(crate) acks: Acks,
    pub(crate) role: Role,
    /// Statements that wait for the ballot to be durable.
    pub(crate) unsigned: Vec<(Statement, RosterHash)>,
    /// Whose append by an unknown leader is to be answered.
    pub(crate) owed: Option<(NodeId, Lap)>,
    /// The snapshot that is being installed.
    pub(crate) install: Install,
    pub(crate) effects: Vec<Effect>,
    halted: bool,
}

impl Core {
    /// A core that goes on from what has been kept, as a follower: candidacy and leadership are not
    /// durable, and a restarted validator never leads its old term again.
    ///
    /// # Errors
    /// If what has been kept does not fit together.
    pub fn new(
        config: Config,
        verifier: Arc<dyn Verifier>,
        restored: Restored,
        now: Now,
    ) -> Result<Self, RestoreError> {
        let mut jitter = Jitter::new(config.seed);
        let applied = restored.applied.block.height;
        let mut log = Log::new(restored.applied, restored.left);
        for block in restored.blocks {
            let (below, here) = (log.tip().clone(), block.block_ref());
            let judged = log.judge(&below, &[], block, config.chain_id, &*verifier);
            let entry =
                judged.map_err(|why| RestoreError::Unfit { block: here, why: Box::new(why) })?;
            log.branch(below.block, vec![entry]);
        }
        let (tip, ballot) = (log.tip().block, restored.ballot.term);
        if ballot < tip.term {
            return Err(RestoreError::BallotBehind { ballot, tip: tip.term });
        }
        let certified = restored.certificate.as_ref().map(|it| it.block().height);
        let timeout = jitter.election_timeout(config.election_timeout, config.lead);
        let follower = Follower {
            leader: None,
            heard: now.moment,
            link_lost: false,
            deadline: now.moment.after(timeout),
            confirmed: tip,
            beat: Beat(0),
            owes_answer: false,
            ignoring: false,
        };
        Ok(Self {
            config,
            verifier,
            jitter,
            now,
            ballot: restored.ballot,
            disk: Durability::new(tip),
            commits: Commits::restored(restored.certificate, applied),
            states: States::new(applied, restored.state_root),
            acks: Acks::new(certified.unwrap_or(applied).max(applied)),
            install: Install::default(),
            log,
            role: Role::Follower(follower),
            unsigned: Vec::new(),
            owed: None,
            effects: Vec::new(),
            halted: false,
        })
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The term.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.ballot.term
    }

    /// The ballot.
    #[must_use]
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// What it is.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        match self.role {
            Role::Follower(_) => Standing::Follower,
            Role::Candidate(_) => Standing::Candidate,
            Role::Leader(_) => Standing::Leader,
        }
    }

    /// The leader of its term, as far as it knows.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.config.id),
        }
    }

    /// When it wants a tick, if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        match &self.role {
            Role::Follower(follower) => follower.deadline,
            Role::Candidate(candidate) => candidate.deadline,
            Role::Leader(leader) => leader.heartbeat.min(leader.checkup),
        }
    }

    /// Handles one event.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Effect> {
        if self.halted {
            return Vec::new();
        }
        self.now = Now { moment: now.moment.max(self.now.moment), time: now.time };
        match event {
            Event::Tick => self.tick(),
            Event::Received { from, message } => self.receive(from, message),
            Event::LinkLost { node } => self.link_lost(node),
            Event::Persisted { ticket } => {
                let log = &self.log;
                self.disk.persisted(ticket, |block| log.contains(block));
            }
            Event::Signed(said) => self.signed(said),
            Event::Sealed(block) => self.sealed(block),
            Event::Applied { height, state_root } => {
                self.states.applied(height, state_root);
                self.log.release(height);
                self.acks.asked = self.acks.asked.max(height);
            }
            Event::Fetched { node, found } => self.fetched(node, found),
            Event::Installed(installed) => self.installed(installed.map(|it| *it)),
            Event::Change { id, change } => self.change_asked(id, *change),
            Event::Recover(_) => {}
            Event::Transfer { to: _ } => {}
        }
        self.advance();
        self.check();
        std::mem::take(&mut self.effects)
    }

    /// Does what has become possible.
    fn advance(&mut self) {
        self.release_statements();
        self.reach_commits();
        self.ask_for_acks();
        self.answer_leader();
        self.answer_unknown();
        self.lead_on();
    }

    fn tick(&mut self) {
        match &self.role {
            Role::Follower(follower) if self.now.moment >= follower.deadline => self.campaign(),
            Role::Candidate(candidate) if self.now.moment >= candidate.deadline => self.campaign(),
            Role::Follower(_) | Role::Candidate(_) => {}
            Role::Leader(_) => self.leader_tick(),
        }
    }

    fn receive(&mut self, from: NodeId, message: Message) {
        match message {
            Message::PreVoteRequest { term, tip, roster, proof, handover } => {
                self.pre_vote_requested(from, term, tip, &roster, proof, handover.as_ref());
            }
            Message::VoteRequest { tip, proof, handover } => {
                self.vote_requested(from, tip, &proof, handover.as_ref());
            }
            Message::Vote(said) => self.voted(from, said),
            Message::Refuse { proof, tip, committed } => self.refused(from, proof, tip, committed),
            Message::Append(append) => self.appended(from, *append),
            Message::Stored { term, matched, applied, incarnation, beat, acks } => {
                if term == self.ballot.term {
                    self.stored(from, matched, applied, incarnation, beat, acks);
                }
            }
            Message::Reject { lap, committed, incarnation, unknown } => {
                self.rejected(from, lap, committed, incarnation, unknown);
            }
            Message::Stale(proof) => {
                self.learn_proof(&proof);
            }
            Message::Committed(certificate) => self.learn_commit(&certificate, &[]),
            Message::Pull { committed } => self.pulled_from(from, committed),
            Message::Pulled { parent, blocks, certificate } => {
                self.pulled(parent, blocks, certificate);
            }
            Message::Snapshot(snapshot) => self.snapshot_offered(from, *snapshot),
            Message::Handover(_) => {}
        }
    }

    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        self.effects.push(Effect::Send { to, message });
    }

    pub(crate) fn halt(&mut self, why: Halt) {
        self.effects.push(Effect::Halt(why));
        self.halted = true;
    }

    /// What others are shown of why the own term is what it is.
    pub(crate) fn proof(&self) -> Option<Proof> {
        self.ballot.proof.as_ref().map(Proven::to_proof)
    }

    pub(crate) fn judge(&self, proof: &Proof) -> Verdict {
        let (chain_id, roster) = (self.config.chain_id, Some(&proof.roster));
        judge::judge(&self.log, &[], &proof.certificate, roster, chain_id, &*self.verifier)
    }

    /// Replaces the ballot. It is durable before anything that depends on it is signed.
    ///
    /// # Panics
    /// If the term would fall, or a vote of this term change.
    pub(crate) fn set_ballot(&mut self, ballot: Ballot) {
        assert!(ballot.term >= self.ballot.term, "the term never falls");
        let open = self.ballot.choice == crate::ballot::Choice::Open;
        assert!(ballot.term > self.ballot.term || open, "a vote never changes");
        self.ballot = ballot.clone();
        let ticket = self.disk.ballot();
        self.effects.push(Effect::Persist { ticket, record: Record::Ballot(ballot) });
    }

    /// Learns a proof of a term. Returns whether the proof could be judged and is good.
    pub(crate) fn learn_proof(&mut self, proof: &Proof) -> bool {
        if proof.certificate.term() <= self.ballot.term {
            return proof.certificate.term() < self.ballot.term || self.is_good(proof);
        }
        match self.judge(proof) {
            Verdict::Good(proven) => {
                self.adopt_term(proven);
                true
            }
            Verdict::Unknown | Verdict::Bad => false,
        }
    }

    fn is_good(&self, proof: &Proof) -> bool {
        let own = self.ballot.proof.as_ref().map(|own| own.certificate.get());
        own == Some(&proof.certificate) || matches!(self.judge(proof), Verdict::Good(_))
    }

    /// Enters a proven term, as a follower without a leader.
    pub(crate) fn adopt_term(&mut self, proven: Proven) {
        let commit = proven.certificate.kind() == CertificateKind::Commit;
        let certificate = proven.certificate.clone();
        self.set_ballot(Ballot::of(proven));
        self.follow(None);
        if commit {
            self.commits.keep(certificate);
        }
    }

    /// Becomes a follower in the own term.
    pub(crate) fn follow(&mut self, leader: Option<NodeId>) {
        if matches!(self.role, Role::Leader(_)) {
            self.refuse_asked();
            self.effects.push(Effect::Withdraw);
        }
        let timeout = self.jitter.election_timeout(self.config.election_timeout, self.config.lead);
        self.acks.enter(self.ballot.term);
        self.role = Role::Follower(Follower {
            leader,
            heard: self.now.moment,
            link_lost: false,
            deadline: self.now.moment.after(timeout),
            confirmed: self.log.committed(),
            beat: Beat(0),
            owes_answer: false,
            ignoring: false,
        });
    }

    /// Has a statement signed as soon as the ballot is durable.
    pub(crate) fn sign_when_durable(&mut self, statement: Statement, roster_hash: RosterHash) {
        if !self.unsigned.contains(&(statement, roster_hash)) {
            self.unsigned.push((statement, roster_hash));
        }
    }

    fn release_statements(&mut self) {
        if !self.disk.has_ballot() {
            return;
        }
        for (statement, roster_hash) in std::mem::take(&mut self.unsigned) {
            if self.still_means(&statement) {
                self.effects.push(Effect::Sign { statement, roster_hash });
            }
        }
    }

    /// Whether a statement may still be made: term and vote may have moved on since it was wanted.
    pub(crate) fn still_means(&self, statement: &Statement) -> bool {
        match *statement {
            Statement::PreVote { term, candidate, tip } => {
                let own = candidate == self.config.id;
                let granted = tip.rank() >= self.log.tip().block.rank() && !self.hears_leader();
                Some(term) == self.ballot.term.next() && (own || granted)
            }
            Statement::Vote { term, candidate, tip } => {
                let choice = crate::ballot::Choice::For { candidate, tip };
                term == self.ballot.term && self.ballot.choice == choice
            }
            Statement::Ack { block } => block.term == self.ballot.term && self.log.contains(block),
            Statement::Handover { .. } => false,
        }
    }

    fn signed(&mut self, said: Checked<SignedStatement>) {
        let (own, statement) = (self.config.id, said.statement);
        if matches!(statement, Statement::Ack { .. }) {
            self.acks.signing = self.acks.signing.saturating_sub(1);
        }
        if !self.still_means(&statement) {
            return;
        }
        match statement {
            Statement::PreVote { candidate, .. } | Statement::Vote { candidate, .. } => {
                if candidate == own {
                    self.count(said);
                } else {
                    self.send(candidate, Message::Vote(said.into_inner()));
                }
            }
            Statement::Ack { .. } => match &self.role {
                Role::Leader(_) => self.tally(said),
                Role::Follower(_) | Role::Candidate(_) => {
                    self.acks.given.push_back(said.into_inner());
                }
            },
            Statement::Handover { .. } => {}
        }
    }

    /// Checks the invariants of the type, without walking through the log.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        self.log.check();
        let (applied, committed) = (self.log.applied().block, self.log.committed());
        let (durable, tip) = (self.disk.tip(), self.log.tip().block);
        assert!(applied.height <= committed.height, "applied ≤ committed");
        assert!(committed.height <= durable.height, "committed ≤ durable");
        assert!(durable.height <= tip.height, "durable ≤ tip");
        assert!(self.states.height() == applied.height, "what is applied is known");
        let proven = self.ballot.proof.as_ref().map(Proven::term);
        assert!(proven.unwrap_or(Term::ZERO) == self.ballot.term, "a ballot has its proof");
        assert!(tip.term <= self.ballot.term, "no block is of a later term than the own");
    }

    /// Checks all invariants, those of every block that is held too. That takes longer the more there
    /// are: tests do it after every step.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check_whole(&self) {
        self.check();
        self.log.check_whole();
    }
}
