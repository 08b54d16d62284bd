//! Reads that see all that was committed before they were asked: ReadIndex (thesis 6.4).
//!
//! Any node may be asked, a learner or an observer too. It asks the leader for a height and serves the
//! read from its own state once that height is applied. The leader:
//!
//! 1. waits until a block of its own term is certified: before that it may not know of the newest that
//!    was committed (etcd #7331);
//! 2. notes the height of the newest certified block, even if its own disk does not have that yet:
//!    others may have committed it;
//! 3. waits until a quorum has answered a heartbeat that was sent after the question: then nobody else
//!    led a later term when the question came;
//! 4. answers with the height.
//!
//! ```text
//! client ─ Read ─▶ node ─ ReadRequest ─▶ leader ─ beat ─▶ quorum
//! client ◀─ Serve ─ node ◀─ ReadAt ────── leader ◀─ Stored ┘
//! ```
//!
//! One question serves all reads that wait at a node, and one beat all questions that wait at the
//! leader. A beat is sent at once, but not a second one before the first is answered by a quorum or a
//! heartbeat is due; a block that is sent in the same step carries it. The leader asks itself in the
//! same way as others ask it.
//!
//! An answer is good whenever it arrives, and whoever has led since: the height has everything that was
//! committed before the question, and the reads were asked before that. So the question is asked again
//! when no answer comes, and the nonce keeps answers to older questions apart, of older lives too.
//!
//! Every read is served or refused within an election timeout, if ticks come (etcd #11483): refused when
//! there is no leader, when the leader is another than the one that was asked (openraft #1761), when it
//! leads no more or is about to hand over, when too many wait, and when time is up.
//!
//! Left out: lease reads (thesis 6.4.1). They rest on clocks that run at about the same rate, which a
//! paused machine's does not (etcd #20418), and they make a transfer of leadership a matter of safety.
//! What they save is one beat, and that is shared by all reads that wait.

use std::collections::{BTreeSet, VecDeque};

use quorate_chain::ids::{Height, NodeId};
use quorate_chain::roster::QuorumKind;

use crate::effect::Effect;
use crate::handover::Step;
use crate::message::{Beat, Message, Nonce};
use crate::raft::Core;
use crate::role::Role;
use crate::time::Moment;

/// Most reads that wait at a node.
const MOST_READS: usize = 4_096;
/// Most nodes whose questions wait at a leader.
const MOST_ASKERS: usize = 1_024;
/// After how many heartbeats without an answer the leader is asked again.
const PATIENCE: u64 = 2;

/// A read's name among all reads of one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(pub u64);

/// Why a read is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// No leader is known.
    #[error("no leader is known")]
    NoLeader,
    /// The leader that would have answered leads no more, or hands over.
    #[error("leadership is changing")]
    LeaderChanges,
    /// No answer, or no state new enough, within an election timeout.
    #[error("the leader did not confirm in time that it leads, or the state here is too old")]
    TooLate,
    /// Too many reads wait.
    #[error("too many reads wait")]
    TooMany,
}

/// The reads that wait at a node, in the order in which they were asked.
///
/// Invariant: those that have a height stand before those that are being asked for, and these before
/// those that wait for the next question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    waiting: VecDeque<Waiting>,
    question: Option<Question>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    read: ReadId,
    until: Moment,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unasked,
    Asked,
    At(Height),
}

/// The question that is on its way to the leader.
#[derive(Clone, Copy, Debug)]
struct Question {
    nonce: Nonce,
    to: NodeId,
    again: Moment,
}

/// A question that waits at the leader.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    nonce: Nonce,
    noted: Option<Noted>,
}

/// What the leader answers, and with what beat it is confirmed.
#[derive(Clone, Copy, Debug)]
struct Noted {
    height: Height,
    beat: Beat,
}

impl Reads {
    /// When something is to be done about them, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        let first = self.waiting.front().map(|waiting| waiting.until);
        let again = self.question.map(|question| question.again);
        first.into_iter().chain(again).min()
    }
}

impl Core {
    /// A client wants to read.
    pub(crate) fn read_asked(&mut self, read: ReadId) {
        if self.leader().is_none() {
            return self.refuse_read(read, Unread::NoLeader);
        }
        if self.reads.waiting.len() >= MOST_READS {
            return self.refuse_read(read, Unread::TooMany);
        }
        let until = self.now.moment.after(self.config.election_timeout);
        self.reads.waiting.push_back(Waiting { read, until, stage: Stage::Unasked });
    }

    fn refuse_read(&mut self, read: ReadId, why: Unread) {
        self.effects.push(Effect::RefuseRead { read, why });
    }

    /// Asks the leader, for all reads that wait, if no question is on its way.
    pub(crate) fn ask_leader(&mut self) {
        let waits = self.reads.waiting.back().is_some_and(|last| last.stage == Stage::Unasked);
        let Some(to) = self.leader().filter(|_| waits && self.reads.question.is_none()) else {
            return;
        };
        for waiting in &mut self.reads.waiting {
            if waiting.stage == Stage::Unasked {
                waiting.stage = Stage::Asked;
            }
        }
        let nonce = self.questions.nonce();
        self.pose(to, nonce);
    }

    fn pose(&mut self, to: NodeId, nonce: Nonce) {
        let again = self.now.moment.after(self.config.heartbeat.times(PATIENCE));
        self.reads.question = Some(Question { nonce, to, again });
        if to == self.config.id {
            self.read_requested(to, nonce);
        } else {
            self.send(to, Message::ReadRequest { nonce });
        }
    }

    /// Refuses the reads that time has run out for, and asks again for the others.
    pub(crate) fn read_tick(&mut self) {
        let now = self.now.moment;
        while let Some(first) = self.reads.waiting.front().copied().filter(|it| now >= it.until) {
            self.reads.waiting.pop_front();
            self.refuse_read(first.read, Unread::TooLate);
        }
        let asked = |waiting: &Waiting| waiting.stage == Stage::Asked;
        if !self.reads.waiting.iter().any(asked) {
            self.reads.question = None;
        }
        if let Some(Question { nonce, to, .. }) = self.reads.question.filter(|it| now >= it.again) {
            self.pose(to, nonce);
        }
    }

    /// The leader has answered.
    pub(crate) fn read_at(&mut self, from: NodeId, nonce: Nonce, height: Option<Height>) {
        let asked = self.reads.question;
        if asked.is_none_or(|question| (question.to, question.nonce) != (from, nonce)) {
            return;
        }
        self.reads.question = None;
        let Some(height) = height else {
            return self.refuse_reads(Unread::LeaderChanges, |stage| stage == Stage::Asked);
        };
        for waiting in &mut self.reads.waiting {
            if waiting.stage == Stage::Asked {
                waiting.stage = Stage::At(height);
            }
        }
    }

    /// Serves the reads whose height is applied.
    pub(crate) fn serve_reads(&mut self) {
        let height = self.states.height();
        let due = |first: &Waiting| matches!(first.stage, Stage::At(at) if at <= height);
        while let Some(first) = self.reads.waiting.front().copied().filter(due) {
            self.reads.waiting.pop_front();
            self.effects.push(Effect::Serve { read: first.read, height });
        }
    }

    /// The leader is another one, or none, or this node no more: whoever waits for its answer is told.
    /// Those who have a height have what they need.
    pub(crate) fn leader_is_gone(&mut self) {
        self.reads.question = None;
        self.refuse_reads(Unread::LeaderChanges, |stage| !matches!(stage, Stage::At(_)));
    }

    fn refuse_reads(&mut self, why: Unread, of: impl Fn(Stage) -> bool) {
        let waiting = std::mem::take(&mut self.reads.waiting);
        let (refused, kept): (VecDeque<_>, _) =
            waiting.into_iter().partition(|waiting| of(waiting.stage));
        self.reads.waiting = kept;
        for waiting in refused {
            self.refuse_read(waiting.read, why);
        }
    }

    /// A node asks for a height: this one must lead to answer.
    pub(crate) fn read_requested(&mut self, from: NodeId, nonce: Nonce) {
        let Role::Leader(leader) = &mut self.role else { return self.answer(from, nonce, None) };
        let known = leader.askers.contains_key(&from);
        let leaving = leader.transfer.as_ref().is_some_and(|it| it.step != Step::Waiting);
        if leaving || !known && leader.askers.len() >= MOST_ASKERS {
            return self.answer(from, nonce, None);
        }
        let asker = leader.askers.entry(from).or_insert(Asker { nonce, noted: None });
        if asker.nonce != nonce {
            // It asks no more for what it asked before.
            *asker = Asker { nonce, noted: None };
        }
    }

    fn answer(&mut self, to: NodeId, nonce: Nonce, height: Option<Height>) {
        if to == self.config.id {
            self.read_at(to, nonce, height);
        } else {
            self.send(to, Message::ReadAt { nonce, height });
        }
    }

    /// Notes a height for the questions that came, and the beat that will confirm it.
    pub(crate) fn note_reads(&mut self) {
        let height = self.newest_certified();
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(height) = height else { return };
        let beat = Beat(leader.beat.0 + 1);
        for asker in leader.askers.values_mut() {
            asker.noted.get_or_insert(Noted { height, beat });
        }
    }

    /// The height of the newest certified block, once that is of the own term.
    fn newest_certified(&self) -> Option<Height> {
        let certified = self.commits.on_chain(|block| self.log.contains(block));
        let certified = certified.map(|certificate| certificate.block());
        let newest = certified.unwrap_or(self.log.committed());
        (newest.term == self.ballot.term).then_some(newest.height)
    }

    /// Whether a beat should go out for the reads: some wait for a later one than the newest, which is
    /// answered; or the newest was not answered in time.
    pub(crate) fn wants_beat(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let noted = || leader.askers.values().filter_map(|asker| asker.noted);
        let overdue = self.now.moment >= leader.beat_sent.after(self.config.heartbeat);
        if overdue {
            return noted().next().is_some();
        }
        noted().any(|noted| noted.beat > leader.beat) && self.is_confirmed(leader.beat)
    }

    /// When a beat for reads is to be sent again.
    pub(crate) fn beat_deadline(&self) -> Option<Moment> {
        let Role::Leader(leader) = &self.role else { return None };
        let noted = leader.askers.values().any(|asker| asker.noted.is_some());
        noted.then(|| leader.beat_sent.after(self.config.heartbeat))
    }

    /// Whether a quorum has answered this beat: nobody else can have been elected before it was sent.
    fn is_confirmed(&self, beat: Beat) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let answered = leader.others.iter().filter(|(_, node)| node.beat >= beat);
        let ids: BTreeSet<_> = answered.map(|(id, _)| *id).chain([self.config.id]).collect();
        self.log.tip().roster.has_quorum(QuorumKind::Commit, &ids)
    }

    /// Answers the questions whose beat a quorum has answered.
    pub(crate) fn confirm_reads(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let newest = leader.askers.values().filter_map(|asker| asker.noted).map(|noted| noted.beat);
        let sent: BTreeSet<_> = newest.filter(|beat| *beat <= leader.beat).collect();
        let Some(beat) = sent.into_iter().rev().find(|beat| self.is_confirmed(*beat)) else {
            return;
        };
        let Role::Leader(leader) = &mut self.role else { return };
        let due = |asker: &Asker| asker.noted.filter(|noted| noted.beat <= beat);
        let answered: Vec<_> = leader
            .askers
            .iter()
            .filter_map(|(id, asker)| Some((*id, asker.nonce, due(asker)?.height)))
            .collect();
        leader.askers.retain(|_, asker| due(asker).is_none());
        for (id, nonce, height) in answered {
            self.answer(id, nonce, Some(height));
        }
    }

    /// Tells all who ask that there will be no answer.
    pub(crate) fn refuse_askers(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        for (id, asker) in std::mem::take(&mut leader.askers) {
            self.answer(id, asker.nonce, None);
        }
    }
}
