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
//! - applied ≤ committed ≤ durable ≤ tip, by height (Raft §5.3, thesis 3.8);
//! - the tip never falls in rank (the order of Raft §5.4.1), unless a certificate says so, or what is given up
//!   must not be built upon (see `soundness`);
//! - a leader's tip is of its own term, or the block its opening block will stand on.
//!
//! Left out: everything below the applied tip, which the store has.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_chain::certificate::CertificateKind;
use quorate_chain::checked::Checked;
use quorate_chain::crypto::{ValidatorKey, Verifier};
use quorate_chain::ids::{Height, NodeId, RosterHash, Term};
use quorate_chain::roster::{Lead, Roster};
use quorate_chain::statement::{SignedStatement, Statement};

use crate::acks::Acks;
use crate::amnesia::{Lives, Memory};
use crate::ballot::{Ballot, Choice};
use crate::commits::Commits;
use crate::config::Config;
use crate::durability::Durability;
use crate::effect::{Effect, Halt};
use crate::event::Event;
use crate::evidence::Witness;
use crate::jitter::Jitter;
use crate::judge::{self, Proven, Verdict};
use crate::life::Life;
use crate::log::Log;
use crate::message::{Lap, Message, Proof};
use crate::reads::Reads;
use crate::role::{Follower, Role};
use crate::snapshots::Install;
use crate::states::States;
use crate::time::{Moment, Now, Span};

pub use crate::restore::{RestoreError, Restored};

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
    /// Where the numbers of questions come from: an answer to an earlier start must not answer this one. They are
    /// another for each start, and no secret.
    pub(crate) questions: Jitter,
    pub(crate) now: Now,
    pub(crate) ballot: Ballot,
    pub(crate) log: Log,
    pub(crate) disk: Durability,
    pub(crate) commits: Commits,
    pub(crate) states: States,
    pub(crate) acks: Acks,
    pub(crate) role: Role,
    /// What the operator has said of leading since the node started.
    pub(crate) willing: Option<Lead>,
    /// The newest handover by a leader that was followed here.
    pub(crate) handed: Option<SignedStatement>,
    pub(crate) reads: Reads,
    pub(crate) memory: Memory,
    pub(crate) lives: Lives,
    /// When this node has last begun a term for the sake of a recovering validator.
    pub(crate) renewed: Option<Moment>,
    pub(crate) witness: Witness,
    /// Statements that wait for the ballot to be durable.
    pub(crate) unsigned: Vec<(Statement, RosterHash)>,
    /// Whose append by an unknown leader is to be answered.
    pub(crate) owed: Option<(NodeId, Lap)>,
    /// For whom the store has been asked for blocks and has not answered.
    pub(crate) reading: BTreeSet<NodeId>,
    /// The height of the newest block that is known to have acks enough to be final.
    pub(crate) certified_final: Height,
    /// The highest height whose state a committed block names.
    pub(crate) floor: Height,
    /// The newest height for a snapshot that is known to be named and attested.
    pub(crate) named: Height,
    /// The snapshot that is being installed.
    pub(crate) install: Install,
    pub(crate) effects: Vec<Effect>,
    pub(crate) halted: bool,
}

impl Core {
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

    /// Which start of which log this is.
    #[must_use]
    pub const fn life(&self) -> Life {
        self.config.life.life
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
        let of_role = match &self.role {
            Role::Follower(follower) => follower.deadline,
            Role::Candidate(candidate) => candidate.deadline,
            Role::Leader(leader) => self.leader_deadline(leader),
        };
        let others = [self.reads.deadline(), self.memory.deadline(), self.beat_deadline()];
        others.into_iter().flatten().fold(of_role, Moment::min)
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
            Event::LinkOpened { node } => self.greet_again(node),
            Event::LinkLost { node } => self.link_lost(node),
            Event::Persisted { ticket } => {
                let log = &self.log;
                self.disk.persisted(ticket, self.now.moment, |block| log.contains(block));
            }
            Event::Signed(said) => self.signed(said),
            Event::Sealed(block) => self.sealed(block),
            Event::Applied { height, state_root } => {
                self.states.applied(height, state_root);
                self.log.release(height);
                self.acks.asked = self.acks.asked.max(height);
                if let Some(why) = self.late_divergence(height) {
                    self.halt(why);
                }
            }
            Event::Fetched { node, found } => self.fetched(node, found),
            Event::Installed(installed) => self.installed(installed.map(|it| *it)),
            Event::Change { id, change } => self.change_asked(id, *change),
            Event::Transfer { to } => self.transfer_asked(to),
            Event::Willing(lead) => self.willing = Some(lead),
            Event::Read { read } => self.read_asked(read),
            Event::Readmit => self.readmit_by_order(),
        }
        if !self.halted {
            self.advance();
            self.check();
        }
        let mut effects = std::mem::take(&mut self.effects);
        let halts = effects.iter().position(|effect| matches!(effect, Effect::Halt(_)));
        if let Some(halts) = halts {
            // What was wanted after that is not wanted any more.
            effects.truncate(halts + 1);
        }
        effects
    }

    /// Does what has become possible.
    fn advance(&mut self) {
        self.remember();
        self.take_up_handover();
        self.release_statements();
        self.reach_commits();
        self.ask_for_acks();
        self.answer_leader();
        self.answer_unknown();
        self.confirm_reads();
        self.ask_leader();
        self.lead_on();
        self.confirm_reads();
        self.serve_reads();
    }

    fn tick(&mut self) {
        self.read_tick();
        match &self.role {
            Role::Follower(follower) if self.now.moment >= follower.deadline => {
                self.campaign(None);
            }
            Role::Candidate(candidate) if self.now.moment >= candidate.deadline => {
                self.campaign(None);
            }
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
            Message::Stored(stored) => self.stored(from, *stored),
            Message::Reject { lap, committed, incarnation, unknown } => {
                self.rejected(from, lap, committed, incarnation, unknown);
            }
            Message::Stale(proof) => self.told_stale(&proof),
            Message::Committed(certificate) => self.learn_commit(&certificate, &[]),
            Message::Pull { committed } => self.pulled_from(from, committed),
            Message::Pulled { parent, blocks, certificate } => {
                self.pulled(parent, blocks, certificate);
            }
            Message::Snapshot(snapshot) => self.snapshot_offered(from, *snapshot),
            Message::Handover(said) => self.handed_over(said),
            Message::ReadRequest { nonce } => self.read_requested(from, nonce),
            Message::ReadAt { nonce, height } => self.read_at(from, nonce, height),
            Message::Greet(life) => self.greeted(from, life),
            Message::Known(known) => self.known(from, *known),
            Message::Whereabouts { nonce } => self.whereabouts(from, nonce),
            Message::Standing { nonce, proof, roster_hash } => {
                self.stands(from, nonce, proof.as_ref(), roster_hash);
            }
            Message::Recovering { above } => self.renew_for(from, above),
        }
    }

    /// Whether something waits for the disk, and nothing that came before has become durable just now.
    #[must_use]
    pub fn disk_owes(&self, now: Moment) -> bool {
        self.disk.stands_still(now) > Span::micros(0)
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

    /// Learns a proof of a term. Returns whether it is good, or of a term below the own one: then nobody judges it.
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

    /// Enters a proven term, as a follower without a leader (Raft §5.1). A commit certificate says more than that.
    pub(crate) fn adopt_term(&mut self, proven: Proven) {
        self.see_certificate(proven.certificate.get());
        let commit = proven.certificate.kind() == CertificateKind::Commit;
        let certificate = proven.certificate.clone();
        self.set_ballot(self.ballot.raised(proven));
        self.follow(None);
        if commit {
            self.keep_certificate(certificate);
        }
    }

    /// Becomes a follower in the own term.
    pub(crate) fn follow(&mut self, leader: Option<NodeId>) {
        self.leave_office();
        self.leader_is_gone();
        let timeout = self.jitter.election_timeout(self.config.election_timeout, self.lead_wish());
        self.acks.enter(self.ballot.term);
        let (heard, confirmed) = (self.now.moment, self.log.committed());
        let deadline = heard.after(timeout);
        self.role = Role::Follower(Follower::new(leader, heard, deadline, confirmed));
    }

    /// Has a statement signed as soon as the ballot is durable. Of several of one kind for one node the newest is what
    /// it waits for: one of each kind for each node, however often it asks.
    pub(crate) fn sign_when_durable(&mut self, statement: Statement, roster_hash: RosterHash) {
        self.unsigned.retain(|(waiting, _)| !is_for_the_same(waiting, &statement));
        self.unsigned.push((statement, roster_hash));
    }

    pub(crate) fn release_statements(&mut self) {
        if !self.disk.has_ballot() || !self.may_sign() {
            return;
        }
        for (statement, roster_hash) in std::mem::take(&mut self.unsigned) {
            if self.still_means(&statement) {
                self.effects.push(Effect::Sign { statement, roster_hash });
            }
        }
    }

    /// Whether a statement may still be made: term and vote may have moved on since it was wanted (Raft §5.2,
    /// §5.4.2).
    pub(crate) fn still_means(&self, statement: &Statement) -> bool {
        match *statement {
            Statement::PreVote { term, candidate, tip } => {
                let own = candidate == self.config.id;
                let handed = |it: &SignedStatement| self.is_handover(it, candidate, tip);
                let free = !self.hears_leader()
                    || self.awaits(candidate)
                    || self.handed.as_ref().is_some_and(handed);
                let granted = tip.rank() >= self.log.tip().block.rank() && free;
                Some(term) == self.ballot.term.next() && (own || granted)
            }
            Statement::Vote { term, candidate, tip } => {
                let choice = Choice::For { candidate, tip };
                term == self.ballot.term && self.ballot.choice == choice
            }
            Statement::Ack { block } => block.term == self.ballot.term && self.log.contains(block),
            Statement::Handover { term, to, tip } => {
                term == self.ballot.term && self.still_hands_over(to, tip)
            }
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
                    self.acks.give(said.into_inner());
                }
            },
            Statement::Handover { .. } => self.handover_signed(said.into_inner()),
        }
    }

    /// The key of a validator, as the newest roster known here has it.
    pub(crate) fn key_of(&self, id: NodeId) -> Option<ValidatorKey> {
        let member = |roster: &Arc<Roster>| Some(roster.member(id)?.key.clone());
        member(&self.log.tip().roster).or_else(|| self.log.rosters().find_map(member))
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
        assert!(self.final_height() <= committed.height, "final ≤ committed");
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
        let held = self.log.from(Height::ZERO);
        let names = held.map(|entry| entry.block.header().executed).max().unwrap_or_default();
        let covered = self.commits.highest().max(self.log.committed().height);
        assert!(names <= covered, "no block names a state that no certificate known here covers");
    }
}

/// Whether two statements are of one kind and for one node.
fn is_for_the_same(one: &Statement, other: &Statement) -> bool {
    match (*one, *other) {
        (Statement::PreVote { candidate: a, .. }, Statement::PreVote { candidate: b, .. })
        | (Statement::Vote { candidate: a, .. }, Statement::Vote { candidate: b, .. })
        | (Statement::Handover { to: a, .. }, Statement::Handover { to: b, .. }) => a == b,
        (
            Statement::PreVote { .. }
            | Statement::Vote { .. }
            | Statement::Handover { .. }
            | Statement::Ack { .. },
            _,
        ) => one == other,
    }
}
