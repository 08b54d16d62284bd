//! Following a leader (Raft §5.3), and acking.
//!
//! An append fits if its first block's parent is on the chain, or below the committed tip: that is the
//! same block, because whoever leads this term has everything that was committed before (Raft §5.4).
//! An ack goes out for every block of the current term that is durable, that the leader's own appends
//! confirmed, and whose header names a state that is the same here.
//!
//! A leader brings what a follower lacks. If it has brought nothing for an election timeout although a block is known to
//! be certified that is not here, the others are asked; they answer with blocks, or offer a state.

use quorate_chain::ids::{BlockRef, NodeId, Term, TimeUs};
use quorate_chain::statement::Statement;

use crate::effect::Effect;
use crate::message::{Append, Lap, Message, Proof, Stored};
use crate::raft::Core;
use crate::role::Role;
use crate::states::Compared;

impl Core {
    pub(crate) fn appended(&mut self, from: NodeId, append: Append) {
        if append.term < self.ballot.term {
            if let Some(proof) = self.best_proof() {
                self.send(from, Message::Stale(proof));
            }
            return;
        }
        if !self.accept_leader(from, &append) {
            return self.append_of_unknown(from, append);
        }
        let timeout = self.jitter.election_timeout(self.config.election_timeout, self.lead_wish());
        let Role::Follower(follower) = &mut self.role else { return };
        if follower.ignoring {
            return;
        }
        follower.heard = self.now.moment;
        (follower.link_lost, follower.haste) = (false, None);
        follower.beat = follower.beat.max(append.beat);
        follower.deadline = self.now.moment.after(timeout);

        if let Some(certificate) = &append.certificate {
            self.learn_commit(certificate, &[]);
        }
        self.look_elsewhere(from);
        let below = append.parent.height <= self.log.committed().height;
        if !below && !self.log.contains(append.parent) {
            return self.reject(from, append.lap, false);
        }
        let beat = append.blocks.is_empty();
        if beat {
            self.acks.sent = 0;
        }
        let last = append.blocks.last().map_or(append.parent, |block| block.block_ref());
        let blocks = if self.is_installing() { Vec::new() } else { append.blocks };
        if !self.take_from_leader(append.parent, blocks, append.certificate.as_ref()) {
            return;
        }
        if let Role::Follower(follower) = &mut self.role {
            if last.height > follower.confirmed.height && self.log.contains(last) {
                follower.confirmed = last;
            }
            follower.owes_answer = true;
            follower.owes_beat |= beat;
        }
    }

    /// Asks others for a certified block that the leader does not bring: it may have neither that block any more nor a
    /// state above it, as right after it has begun with a snapshot itself.
    fn look_elsewhere(&mut self, leader: NodeId) {
        let (now, tip, lacks) = (self.now.moment, self.log.tip().block, self.lacks_certified());
        let (patience, busy) = (self.config.election_timeout, self.is_installing());
        let Role::Follower(follower) = &mut self.role else { return };
        let since = follower.lacking.filter(|(_, before)| *before == tip && lacks && !busy);
        follower.lacking = lacks.then_some(since.unwrap_or((now, tip)));
        if since.is_none_or(|(since, _)| now.since(since) < patience) {
            return;
        }
        follower.lacking = Some((now, tip));
        let committed = self.log.committed();
        for id in self.log.tip().roster.ids() {
            if id != leader && id != self.config.id {
                self.send(id, Message::Pull { committed });
            }
        }
    }

    /// An append by a leader whose election cannot be judged here, or was not shown. What it brings is
    /// taken as from anyone; for a newcomer it leads nearer to the roster that elected that leader. The
    /// answer waits for the disk: the next range begins above what is committed by then.
    fn append_of_unknown(&mut self, from: NodeId, append: Append) {
        let Append { lap, parent, blocks, certificate, .. } = append;
        self.pulled(parent, blocks, certificate);
        self.owed = Some((from, lap));
    }

    /// Whether the own tip says that this leader has opened the own term. It holds even if the block that
    /// opened it is far below, and the roster that elected it has long been left.
    fn opened_term(&self, leader: NodeId, term: Term) -> bool {
        let tip = self.log.tip();
        let opened = tip.block.term == term && term == self.ballot.term;
        let leads = tip.leader.as_ref().is_some_and(|(id, _)| *id == leader);
        opened && leads && leader != self.config.id
    }

    /// Answers an append by an unknown leader.
    pub(crate) fn answer_unknown(&mut self) {
        let Some((to, lap)) = self.owed else { return };
        if self.disk.tip() == self.log.tip().block {
            self.owed = None;
            self.reject(to, lap, true);
        }
    }

    /// Whether `from` leads the own term (Raft §5.2), as far as can be known here; learns so if it is proven.
    fn accept_leader(&mut self, from: NodeId, append: &Append) -> bool {
        if append.term == self.ballot.term && self.leader() == Some(from) {
            return true;
        }
        if self.opened_term(from, append.term) {
            self.follow(Some(from));
            return true;
        }
        let Some(Proof { certificate, .. }) = &append.election else { return false };
        let elected = matches!(certificate.statement(),
            Statement::Vote { term, candidate, .. } if *term == append.term && *candidate == from);
        let Some(proof) = append.election.as_ref().filter(|_| elected) else { return false };
        if matches!(self.role, Role::Leader(_)) && append.term == self.ballot.term {
            // Two certified leaders of one term: a quorum voted twice. Nobody here follows the other.
            return false;
        }
        if !self.learn_proof(proof) || append.term != self.ballot.term {
            return false;
        }
        self.follow(Some(from));
        if let Role::Follower(follower) = &mut self.role {
            follower.election = Some(Box::new(proof.clone()));
        }
        true
    }

    /// Why the own term is what it is: the votes for its leader, if they are known, which depose one who
    /// still leads an older term, as pre-votes do not.
    fn best_proof(&self) -> Option<Proof> {
        let votes = match &self.role {
            Role::Leader(leader) => Some(leader.election.to_proof()),
            Role::Follower(follower) => follower.election.as_deref().cloned(),
            Role::Candidate(_) => None,
        };
        votes.or_else(|| self.proof())
    }

    fn reject(&mut self, from: NodeId, lap: Lap, unknown: bool) {
        let committed = self.log.committed();
        let incarnation = self.life().incarnation;
        self.send(from, Message::Reject { lap, committed, incarnation, unknown });
    }

    /// Answers the leader once what it sent is durable, with the acks that are signed by then. A
    /// heartbeat is answered at once: a slow disk makes nobody deaf.
    pub(crate) fn answer_leader(&mut self) {
        let durable = self.disk.tip();
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(leader) = follower.leader else { return };
        let stored = follower.confirmed.height <= durable.height;
        let due = follower.owes_answer && stored || self.acks.given.len() > self.acks.sent;
        if !follower.owes_beat && (!due || self.acks.signing > 0) {
            return;
        }
        follower.owes_beat = false;
        if stored {
            follower.owes_answer = false;
        }
        let matched = if stored { follower.confirmed } else { durable };
        let beat = follower.beat;
        let stored = Stored {
            term: self.ballot.term,
            matched,
            applied: self.states.height(),
            incarnation: self.life().incarnation,
            lead: self.lead_wish(),
            beat,
            acks: self.acks.unsent(),
        };
        self.acks.committed(self.final_height());
        self.send(leader, Message::Stored(Box::new(stored)));
    }

    /// Asks for the signatures of all acks that may be given by now, in order: of the own term only (Raft §5.4.2).
    pub(crate) fn ask_for_acks(&mut self) {
        let may = self.may_sign() && !self.is_installing() && !self.lacks_certified();
        if !self.disk.has_ballot() || !may {
            return;
        }
        let confirmed = match &self.role {
            Role::Follower(follower) if follower.leader.is_some() => follower.confirmed,
            Role::Leader(_) => self.log.tip().block,
            Role::Follower(_) | Role::Candidate(_) => return,
        };
        let last = confirmed.height.min(self.disk.tip().height);
        while let Some(next) = self.acks.asked.next().filter(|next| *next <= last) {
            let Some(entry) = self.log.from(next).next() else { return };
            let (block, header) = (entry.anchor.block, entry.block.header());
            let (roster_hash, time, executed) = (header.roster_hash, header.time, header.executed);
            let votes = entry.anchor.roster.is_voter(self.config.id);
            let compared = self.states.compare(header);
            let differs = self.differs(header);
            // What does not fit yet holds back everything above: acks are given in order.
            if block.term == self.ballot.term {
                let below = self.log.anchor(self.acks.asked).map_or(TimeUs::ZERO, |it| it.time);
                if differs {
                    self.ignore_leader();
                }
                if compared != Compared::Fits || self.is_ahead(time, below) {
                    return;
                }
            } else if differs {
                return self.give_up(next);
            } else if compared == Compared::Later && executed <= self.log.committed().height {
                return;
            }
            if block.term == self.ballot.term && votes {
                let statement = Statement::Ack { block };
                self.acks.signing += 1;
                self.effects.push(Effect::Sign { statement, roster_hash });
            }
            self.acks.asked = next;
        }
    }

    /// The highest block that the leader's appends have confirmed is at most this one from now on.
    pub(crate) fn confirmed_at_most(&mut self, block: BlockRef) {
        if let Role::Follower(follower) = &mut self.role
            && follower.confirmed.height > block.height
        {
            follower.confirmed = block;
        }
    }
}
