//! What a validator may have forgotten.
//!
//! Votes and acks bind only whoever remembers them; Raft takes it for given that all do (thesis 3.8). A disk
//! can be lost, or be replaced by an older copy of itself; who then simply went on could vote twice in a term,
//! or vote against its own ack, and with that undo what was committed.
//!
//! **Greeting.** After every start a validator signs nothing before it has heard from so many others
//! that they and it are a quorum. Each says what it has seen of the greeter: the vote of the highest term
//! and the ack of the highest rank, and whether another process has greeted from the same log; all of it
//! with the greeter's own signature, so that nobody can be made to doubt itself by a lie. All may start at
//! once: who greets answers greetings, mostly with "nothing known", since this memory is no more
//! durable than the certificates in which it stands.
//!
//! A quorum of answers is what it cannot do without; the others are given ten heartbeats more. For whoever
//! has answered may be just those who know nothing: of three validators the one that has the greeter's ack may be
//! cut off. Among the answers of all is that of everybody who holds a certificate with it.
//!
//! What is left, of a disk that has taken back what it said was durable, or was replaced by an older copy of itself
//! without anybody saying so:
//!
//! - Those who know stay away for longer than that. Waiting for them without end would close this, and keep a group of
//!   three with one dead validator from ever starting another.
//! - Those who knew have started again too. What a start knows is what its log and its ballot hold: the newest
//!   certificate that it has come to, those for blocks that it does not have yet, and the elections in the blocks above
//!   the applied one. A vote by which somebody led whose opening block was not durable, and one whose opening block had
//!   been applied or cut off before the start, is then told by nobody. A validator can vote a second time in such a
//!   term; nothing that was committed is lost by it.
//!
//! - A vote of a term that the own ballot does not have, or another vote in its term, or an ack above
//!   the own tip: the log lacks something, and the validator is *recovering* from then on. An ack that is not
//!   above a block that others have certified, and whose certificate is kept, was given up for a snapshot
//!   and is not missed.
//! - The same log has been begun more often, or as often by another start: who learns that stops with a
//!   sentence, whether it has just started or not. If no copy runs, the next start has a higher count than both, and is
//!   told what it has forgotten.
//!
//! Block signatures and pre-votes do not count: they leave before they are durable.
//!
//! **Two processes with one key** run when somebody starts a copy of a log while the original runs, or will
//! run again. What is sent to their common name reaches one of them, by chance.
//!
//! - Of two starts with one count at most one ever signs, if some other validator has answered both without a
//!   restart in between: whom it answers second, it tells of the first. The same stops a start with a lower count
//!   than one that was answered before.
//! - Among an even number of voters the answers that two starts need have a validator in common. Among an odd
//!   number they may be of two halves, and both sign, if each stays cut off from the other half for as long as it
//!   waits for those who are not needed.
//! - A process that has its answers is not greeted for any more: of a copy that starts later, with a higher count,
//!   it learns only when an answer to the copy comes to it by chance, or when it starts again. The copy knows what
//!   was certified with the key before. From then on both sign, and nothing keeps them from saying what
//!   excludes each other; that is evidence against the key like any other.
//!
//! **Recovering** is part of the ballot, so that it survives a crash. It also begins with a log that was
//! made for a key that has been used, or restored from a backup: whoever puts the node together says
//! so in the restored ballot. A recovering validator follows, catches up and serves reads; it signs
//! nothing, is no candidate, and answers no greeting and no question of another who recovers.
//!
//! ```text
//! R ─ Whereabouts ─▶ all            a fresh nonce
//! R ◀─ Standing ───── all           proof of the term, roster at the tip: M is the highest term that was shown
//! R ─ Recovering M ─▶ leader        if the leader's term is not above M, it campaigns for the next one
//! R ◀─ a certificate of a term T* > M, not signed by R
//! ```
//!
//! 1. When voters that are a quorum without R have answered one question and named the roster that is
//!    in force at R's tip, the others are given ten heartbeats more. M is the highest term that anybody answered.
//!    When that roster changes, it begins again.
//! 2. A leader of no higher term than M hands over to itself, at most once a minute.
//! 3. R is whole when its disk holds a block with a certificate of a term T* above M that it has not
//!    signed. It writes a ballot whose vote is spent: it acks in that term and votes only above it.
//!
//! Why that is enough: whoever voted for R's forgotten vote's candidate, or rather consented to its
//! campaign, had exactly the term before; so one of any quorum had it, and the vote is of term M + 1 or
//! lower. Acks are given only in a term that a quorum has entered, so a forgotten ack is of term M or
//! lower. The voters of T* had all that was certified below it, and fence those who do not. Answers alone
//! are not enough: a forgotten vote may still make a leader in term M + 1.
//!
//! **With one or two voters**, or when a majority recovers, no quorum is left without R. Then the
//! operator decides ([`crate::event::Event::Readmit`]): he vouches that nothing forgotten can count any
//! more, for instance because the lost disk was the only copy. The vote of the own term is spent then too.
//!
//! **An answer shows its term.** Terms are raised by proofs alone, and each ballot keeps its own; so an answer is of the
//! term that its proof is of. It counts if that proof is good, and raises R's term as any other would; or if the term
//! is not above R's own, which needs no proof. Any other answer is as good as none: M is a term that a quorum has
//! made possible, whatever a liar says. Who does not lie can show its term as soon as R has come to the roster that
//! it names: the proof is by that roster or one near it, or by one that was left. A block of that term or a later one
//! left it, and then R is in no lower term with that block; or a block of a lower one did, and the newest
//! rosters that were left are kept for such proofs, by R as by everybody ([`judge`](crate::judge)).
//!
//! **A validator that lies** can make a leader begin a new term, once a minute; the leader stays. It can answer a term
//! that is lower than its own. M is right all the same if one who does not lie had a part in what is forgotten
//! (consented to that campaign, or entered the term of that ack) and is among those who answer. Of four voters or more
//! each quorum has one besides R and a liar. That is why the others are given time: only one who stays away for longer
//! can be missed. What R signs then against what it has forgotten is evidence against R, who did not lie. Of three voters R
//! and a liar are a quorum, and nothing that R could be told would help: of three one may fail, in whatever way.
//!
//! Left out: a claim about R without R's signature, such as what it has said to have on disk. Progress
//! is a number that nothing rests on. Telling the older one of two processes: what is sent to their common
//! name goes to one of them, and the other stops when it starts again.

mod readmission;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_chain::ids::{BlockRef, Height, NodeId, RosterHash, Term};
use quorate_chain::roster::QuorumKind;
use quorate_chain::statement::{SignedStatement, Statement};

use crate::ballot::Choice;
use crate::effect::Halt;
use crate::life::SignedLife;
use crate::message::{Known, Message, Nonce};
use crate::raft::Core;
use crate::time::Moment;

/// A greeting is said again after so many heartbeats without enough answers, and the question of one who recovers to
/// those who have not answered while a quorum has.
const PATIENCE: u64 = 2;
/// So many heartbeats those who are not needed have for their answer.
const GRACE: u64 = 10;
/// How many logs of one node are remembered.
const MOST_LOGS: usize = 4;

/// Whether a validator knows what it has signed.
#[derive(Clone, Debug)]
pub(crate) enum Memory {
    /// It has not heard from enough others since it started.
    Greeting(Greeting),
    /// It does: it may sign.
    Whole,
    /// It does not, and waits to be readmitted.
    Recovering(Recovery),
}

/// Who has answered the greeting of this start.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    heard: BTreeSet<NodeId>,
    again: Moment,
    /// Until when it waits for those who are not needed, once it has heard from a quorum.
    until: Option<Moment>,
}

/// How far a readmission is.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    nonce: Nonce,
    /// The roster at the tip when the question was asked.
    under: RosterHash,
    answers: BTreeMap<NodeId, (Term, RosterHash)>,
    /// Until when it waits for those who are not needed, once a quorum has answered.
    until: Option<Moment>,
    /// M, once it is known.
    above: Option<Term>,
    again: Moment,
}

/// The starts that other nodes have greeted with, the newest of each log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lives(BTreeMap<NodeId, VecDeque<SignedLife>>);

impl Lives {
    /// A node greets. Returns the newest other start of the same log.
    fn greeted(&mut self, node: NodeId, start: SignedLife) -> Option<SignedLife> {
        let logs = self.0.entry(node).or_default();
        let of_log = |known: &&mut SignedLife| known.life.incarnation == start.life.incarnation;
        let Some(known) = logs.iter_mut().find(of_log) else {
            logs.push_back(start);
            if logs.len() > MOST_LOGS {
                logs.pop_front();
            }
            return None;
        };
        let before = *known;
        if start.life.boot > before.life.boot {
            *known = start;
        }
        (before.life != start.life).then_some(before)
    }
}

impl Memory {
    /// What a core begins with.
    pub(crate) const fn at_start(now: Moment) -> Self {
        Self::Greeting(Greeting { heard: BTreeSet::new(), again: now, until: None })
    }

    /// When something is to be said again, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        match self {
            Self::Greeting(greeting) => {
                Some(greeting.until.map_or(greeting.again, |until| until.min(greeting.again)))
            }
            Self::Whole => None,
            Self::Recovering(recovery) => {
                Some(recovery.until.map_or(recovery.again, |until| until.min(recovery.again)))
            }
        }
    }
}

impl Core {
    /// Whether this validator may sign: it knows what it has signed.
    #[must_use]
    pub const fn may_sign(&self) -> bool {
        matches!(self.memory, Memory::Whole)
    }

    /// Greets, or goes on with a readmission.
    pub(crate) fn remember(&mut self) {
        match &self.memory {
            Memory::Greeting(_) => self.greet(),
            Memory::Whole => {}
            Memory::Recovering(_) => self.recover(),
        }
    }

    fn greet(&mut self) {
        let (own, moment) = (self.config.id, self.now.moment);
        let roster = self.log.tip().roster.clone();
        let again = moment.after(self.config.heartbeat.times(PATIENCE));
        let late = moment.after(self.config.heartbeat.times(GRACE));
        let Memory::Greeting(greeting) = &mut self.memory else { return };
        let known: BTreeSet<_> = greeting.heard.iter().copied().chain([own]).collect();
        if roster.has_quorum(QuorumKind::Election, &known) {
            let until = *greeting.until.get_or_insert(late);
            let mut voters = roster.ids().into_iter().filter(|id| roster.is_voter(*id));
            let nobody_left = voters.all(|id| known.contains(&id));
            if nobody_left || moment >= until || self.ballot.recovering {
                self.memory = Memory::Whole;
                if self.ballot.recovering {
                    self.ask_whereabouts();
                }
                return;
            }
        } else {
            // The roster has changed in the meantime.
            greeting.until = None;
        }
        if moment >= greeting.again {
            greeting.again = again;
            let start = self.config.life;
            self.ask_voters(&roster, &Message::Greet(start));
        }
    }

    /// There is a connection now, over which the greeting may not have gone.
    pub(crate) fn greet_again(&mut self, node: NodeId) {
        let waits = match &self.memory {
            Memory::Greeting(greeting) => !greeting.heard.contains(&node),
            Memory::Whole | Memory::Recovering(_) => false,
        };
        if waits && self.log.tip().roster.is_voter(node) {
            self.send(node, Message::Greet(self.config.life));
        }
    }

    /// Another node has started.
    pub(crate) fn greeted(&mut self, from: NodeId, start: SignedLife) {
        // Of a validator whose roster has not come this far nothing is remembered.
        let other = match self.began(from, &start) {
            Some(true) => self.lives.greeted(from, start),
            Some(false) => return,
            None => None,
        };
        if self.ballot.recovering {
            return;
        }
        let (vote, ack) = self.witness.newest(from);
        let known = Known { life: start, other, vote, ack };
        self.send(from, Message::Known(Box::new(known)));
    }

    /// At the start the certificates that were kept say what their signers have said: that of the ballot, those of
    /// commits, and the elections in the blocks above the applied one. Nothing else knows of that any more, and it is
    /// asked for when these blocks may be applied.
    pub(crate) fn see_own_certificates(&mut self) {
        let proof = self.ballot.proof.as_ref().map(|proof| proof.certificate.get());
        let openings = self.log.from(Height::ZERO).filter_map(|entry| entry.opening.as_ref());
        let elections = openings.map(|proven| proven.certificate.get());
        let kept = proof.into_iter().chain(self.commits.all()).chain(elections);
        let known: Vec<_> = kept.cloned().collect();
        for certificate in known {
            self.see_certificate(&certificate);
        }
    }

    /// Another node says what it has seen of this one.
    pub(crate) fn known(&mut self, from: NodeId, known: Known) {
        let Known { life: answered, other, vote, ack } = known;
        // What was answered may be the greeting of another process that runs as this validator.
        let starts = [Some(answered), other];
        if let Some(why) = starts.iter().flatten().find_map(|start| self.clash(start)) {
            return self.halt(why);
        }
        if answered.life != self.life() {
            return;
        }
        if let Memory::Greeting(greeting) = &mut self.memory {
            greeting.heard.insert(from);
        }
        // This counts when it comes late, too.
        if [vote, ack].into_iter().flatten().any(|said| self.is_forgotten(&said)) {
            self.begin_recovery();
        }
    }

    /// Whether a validator has signed this start, if its key is known here.
    fn began(&self, id: NodeId, start: &SignedLife) -> Option<bool> {
        let key = self.key_of(id)?;
        Some(start.is_by(self.config.chain_id, id, &key, &*self.verifier))
    }

    /// Why this process must not go on, if a start is one of the same log by another process.
    fn clash(&self, start: &SignedLife) -> Option<Halt> {
        let (own, theirs) = (self.life(), start.life);
        let another = theirs != own && theirs.incarnation == own.incarnation;
        if !another || theirs.boot < own.boot || self.began(self.config.id, start) != Some(true) {
            return None;
        }
        let (ours, theirs) = (own.boot, theirs.boot);
        Some(if ours == theirs {
            Halt::Twin { boot: ours }
        } else {
            Halt::OldCopy { ours, theirs }
        })
    }

    /// Whether this validator has signed something that its log does not have.
    fn is_forgotten(&self, said: &SignedStatement) -> bool {
        let forgotten = match said.statement {
            Statement::Vote { term, candidate, tip } => {
                let choice = Choice::For { candidate, tip };
                let known = self.ballot.choice == choice || self.ballot.choice == Choice::Spent;
                term > self.ballot.term || term == self.ballot.term && !known
            }
            Statement::Ack { block } => {
                // What the log had when this life began, or was acked in it, is known, though another branch may have
                // taken its place.
                let known = block.rank() <= self.disk.tip().rank() || self.acks.gave(block);
                !known && !self.is_given_up(block)
            }
            Statement::PreVote { .. } | Statement::Handover { .. } => false,
        };
        forgotten && said.signer == self.config.id && self.is_signed(said)
    }

    /// Whether an ack was given up for a snapshot: a block of higher rank is certified, by others, and known
    /// to be, so that votes and acks are bound by it (see [`crate::snapshots`](crate::raft)).
    fn is_given_up(&self, acked: BlockRef) -> bool {
        self.commits.newest_ahead().is_some_and(|certificate| {
            let by_others = !certificate.signers().contains(&self.config.id);
            by_others && certificate.block().rank() >= acked.rank()
        })
    }

    /// Whether the key that a roster at the own tip or above the committed one has for the signer made
    /// this signature.
    pub(crate) fn is_signed(&self, said: &SignedStatement) -> bool {
        let message = said.statement.message(self.config.chain_id, said.roster_hash);
        let key = self.key_of(said.signer);
        key.is_some_and(|key| self.verifier.validator(&key, &message, &said.signature).is_ok())
    }
}
