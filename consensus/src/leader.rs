//! Leading a term (Raft §5.3, §5.4.2; thesis 6.2 on check-quorum).
//!
//! The opening block follows the election at once. Blocks go to the followers while the own disk still
//! writes them; the own ack is one among the others. A block is committed by a quorum of acks for
//! exactly it, and because acks are given only in the block's own term, such a quorum is always a commit
//! certificate: an older block is committed only by one that stands on it.
//!
//! What a follower says that it has committed, or stored for this leader, is on this leader's chain (Raft
//! §5.4), unless somebody lied. That word alone moves nothing: a leader that is told of another block asks
//! for that chain, as one that lacks it would. It comes with a certificate, and that deposes the leader,
//! or stops it (see `adopt`).

use std::collections::BTreeMap;

use quorate_chain::block::{Block, BlockKind, Item};
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, Height, NodeId, RosterHash, TimeUs};
use quorate_chain::roster::QuorumKind;

use crate::config::Incarnation;
use crate::effect::{Effect, Slot, Urgency};
use crate::judge::Proven;
use crate::message::{Append, Beat, Lap, Message, Stored};
use crate::progress::Progress;
use crate::raft::Core;
use crate::role::{Leader, Role};
use crate::time::Moment;

/// A leader that has committed nothing for so many election timeouts is not worth keeping.
const BARREN: u64 = 4;

impl Core {
    /// Leads the own term: a quorum has voted for it with this tip (Raft §5.2). The opening block is what thesis 6.4
    /// asks for before any read, and Raft §5.4.2 before any commit.
    pub(crate) fn lead(&mut self, election: Proven) {
        let tip = self.log.tip();
        let roster_hash = tip.roster.hash();
        let item = Item::Opening(election.certificate.get().clone());
        self.role = Role::Leader(Box::new(Leader {
            election,
            others: BTreeMap::new(),
            tallies: BTreeMap::new(),
            told: Height::ZERO,
            late: None,
            late_told: self.now.moment,
            beat: Beat(0),
            beat_sent: self.now.moment,
            askers: BTreeMap::new(),
            transfer: None,
            rest: self.now.moment,
            outrun: None,
            moved: (self.log.committed().height, self.now.moment),
            checkup: self.now.moment.after(self.config.election_timeout),
            asked: None,
            serves: None,
            offered: None,
            names: Height::ZERO,
        }));
        self.acks.again_above(self.log.committed().height.max(self.states.height()));
        self.serve_members();
        self.offer(BlockKind::Opening, Some(item), roster_hash, Urgency::Now);
    }

    /// Does what a leader may do by now: offer a slot, send blocks.
    pub(crate) fn lead_on(&mut self) {
        if !matches!(self.role, Role::Leader(_)) {
            return;
        }
        self.serve_members();
        self.note_commits();
        self.transfer_on();
        self.offer_next();
        self.note_reads();
        let beats = self.wants_beat();
        if beats {
            self.next_beat();
        }
        self.replicate();
        if beats {
            self.send_beat();
        }
        self.tell_committed();
        self.tell_final();
        self.leave_if_removed();
    }

    fn note_commits(&mut self) {
        let (committed, moment) = (self.log.committed(), self.now.moment);
        let idle = committed == self.log.tip().block;
        let Role::Leader(leader) = &mut self.role else { return };
        if idle || committed.height > leader.moved.0 {
            leader.moved = (committed.height, moment);
        }
    }

    /// Whether this leader has committed nothing for a long time, though something waits for it.
    pub(crate) fn commits_nothing(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let waits = self.log.committed() != self.log.tip().block;
        waits && self.now.moment.since(leader.moved.1) >= self.config.election_timeout.times(BARREN)
    }

    fn offer_next(&mut self) {
        let tip = self.log.tip().block;
        // Until its opening block stands, a leader has nothing else to seal.
        let stays = !self.is_full() && !self.is_removed() && !self.is_leaving();
        if tip.term != self.ballot.term || !stays {
            return;
        }
        let Role::Leader(leader) = &self.role else { return };
        if let Some(block) = self.roster_block() {
            if leader.offered != Some((tip, Urgency::Now)) {
                self.offer(block.kind, Some(block.item), block.roster_hash, Urgency::Now);
            }
            return;
        }
        let idle = self.log.committed() == tip;
        let closed = self.log.tip().kind == Some(BlockKind::Closing);
        let applied = idle && self.states.height() == tip.height;
        let everywhere = applied && self.applied_by_quorum(leader) == tip.height;
        // A snapshot that is due comes before the state at the tip.
        let due = self.snapshot_due(tip.height).is_some_and(|(due, _)| due < tip.height);
        let (kind, urgency) = match (everywhere && !closed, idle) {
            (true, _) if due => (BlockKind::Transactions, Urgency::Now),
            (true, _) => (BlockKind::Closing, Urgency::Now),
            (false, true) => (BlockKind::Transactions, Urgency::Idle),
            (false, false) => (BlockKind::Transactions, Urgency::Busy),
        };
        let names = self.snapshot_to_name(leader).unwrap_or(leader.names);
        if leader.offered != Some((tip, urgency)) || names != leader.names {
            let roster_hash = self.log.tip().roster.hash();
            self.offer(kind, None, roster_hash, urgency);
        }
    }

    fn is_full(&self) -> bool {
        let room = self.log.len() < self.config.window_blocks;
        !(room && self.log.bytes() < self.config.window_bytes)
    }

    fn offer(
        &mut self,
        kind: BlockKind,
        item: Option<Item>,
        roster_hash: RosterHash,
        urgency: Urgency,
    ) {
        let (executed, state_root) = self.executed();
        let tip = self.log.tip();
        let parent = tip.block;
        let slot = Slot {
            kind,
            parent,
            term: self.ballot.term,
            proposer: self.config.id,
            roster_hash,
            time: TimeUs::new(self.now.time.get().max(tip.time.get())),
            executed,
            state_root,
            item,
            urgency,
            room: if self.is_full() || !kind.may_hold_transactions() {
                0
            } else {
                self.config.message_bytes
            },
        };
        if let Role::Leader(leader) = &mut self.role {
            (leader.offered, leader.names) = (Some((parent, urgency)), executed);
            self.effects.push(Effect::Offer(Box::new(slot)));
        }
    }

    /// A block has been sealed.
    pub(crate) fn sealed(&mut self, block: Checked<Block>) {
        let tip = self.log.tip().clone();
        let Role::Leader(leader) = &mut self.role else { return };
        let header = block.header();
        let fits = header.parent == tip.block.hash && header.term == self.ballot.term;
        if !fits || leader.offered.is_none_or(|(parent, _)| parent != tip.block) {
            return;
        }
        leader.offered = None;
        if self.log.committed() == tip.block {
            leader.moved.1 = self.now.moment;
        }
        // The own block is judged like any other: what is wrong with it must not leave.
        let (chain_id, verifier) = (self.config.chain_id, &*self.verifier);
        let judged = self.log.judge(&tip, &[], block.clone(), chain_id, verifier);
        let Ok(entry) = judged else { return };
        self.log.branch(tip.block, vec![entry]);
        self.write_branch(tip.block, vec![block.clone()]);
        self.change_sealed(block.body().item.as_ref(), block.header().height);
    }

    /// Sends every peer the blocks that it has not been sent.
    fn replicate(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let tip = self.log.tip().block.height;
        let behind = |peer: &Progress| peer.next <= tip && !peer.fetching && !peer.stalled;
        let peers: Vec<_> =
            leader.others.iter().filter(|(_, peer)| behind(peer)).map(|(id, _)| *id).collect();
        for id in peers {
            self.send_blocks(id);
        }
    }

    fn send_blocks(&mut self, id: NodeId) {
        let applied = self.log.applied().block.height;
        let (moment, patience) = (self.now.moment, self.config.election_timeout);
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.others.get_mut(&id) else { return };
        let from = peer.next;
        // What a peer has not applied fills its window as it fills ours, wherever we read it from.
        let window = (2 * self.config.window_blocks as u64, 2 * self.config.window_bytes);
        if peer.is_full(window.0, window.1) {
            if !peer.is_stuck(moment, patience) {
                return;
            }
            peer.moved = moment;
        }
        if from <= applied {
            peer.fetching = true;
            // What it has asked for itself comes first.
            self.read_for(id, from);
            return;
        }
        let blocks = self.blocks_from(from, |last| last.term == self.ballot.term);
        let below = from.previous().and_then(|below| self.log.anchor(below));
        let Some(parent) = below.map(|anchor| anchor.block) else { return };
        self.send_append(id, parent, blocks, None);
    }

    fn send_append(
        &mut self,
        id: NodeId,
        parent: BlockRef,
        blocks: Vec<Checked<Block>>,
        certificate: Option<Certificate>,
    ) {
        let last = blocks.last().map(|block| block.block_ref());
        let up_to = last.unwrap_or(parent).height;
        let certificate = certificate.or_else(|| self.certificate_up_to(up_to));
        let (term, moment) = (self.ballot.term, self.now.moment);
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.others.get_mut(&id) else { return };
        (peer.sent, peer.told) = (moment, leader.beat);
        for block in &blocks {
            peer.sends(block.block_ref().height, block.bytes().len());
        }
        let election = (!peer.introduced).then(|| leader.election.to_proof());
        let (lap, beat) = (peer.lap, leader.beat);
        let append = Append { term, election, lap, beat, parent, blocks, certificate };
        self.send(id, Message::Append(Box::new(append)));
    }

    pub(crate) fn fetched_for_follower(
        &mut self,
        id: NodeId,
        parent: BlockRef,
        blocks: Vec<Checked<Block>>,
        certificate: Option<Certificate>,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.others.get_mut(&id) else { return };
        peer.fetching = false;
        peer.stalled = blocks.is_empty();
        if parent.height.next() == Some(peer.next) && !blocks.is_empty() {
            self.send_append(id, parent, blocks, certificate);
        }
    }

    /// Heartbeats (Raft §5.2), and the question whether a quorum still hears them (thesis 6.2).
    pub(crate) fn leader_tick(&mut self) {
        let (moment, timeout) = (self.now.moment, self.config.election_timeout);
        let Role::Leader(leader) = &mut self.role else { return };
        if moment >= leader.checkup {
            leader.checkup = moment.after(timeout);
            let heard =
                leader.others.iter().filter(|(_, peer)| moment.since(peer.heard) <= timeout);
            let signers = heard.map(|(id, _)| *id).chain([self.config.id]).collect();
            if !self.log.tip().roster.has_quorum(QuorumKind::Commit, &signers) {
                return self.follow(None);
            }
        }
        self.transfer_tick();
        self.send_heartbeats();
    }

    /// A heartbeat for whom nothing was sent for so long: an append is one too.
    fn send_heartbeats(&mut self) {
        let (moment, heartbeat) = (self.now.moment, self.config.heartbeat);
        let Role::Leader(leader) = &mut self.role else { return };
        let due = leader.others.iter().filter(|(_, peer)| moment >= peer.sent.after(heartbeat));
        let due: Vec<_> = due.map(|(id, _)| *id).collect();
        let applied = self.log.applied().block.height;
        for id in due {
            if let Role::Leader(leader) = &mut self.role
                && let Some(peer) = leader.others.get_mut(&id)
            {
                peer.heartbeat(peer.next <= applied);
            }
            self.send_heartbeat(id);
        }
    }

    /// When the leader wants a tick.
    pub(crate) fn leader_deadline(&self, leader: &Leader) -> Moment {
        let heartbeat = |peer: &Progress| peer.sent.after(self.config.heartbeat);
        let transfer = leader.transfer.as_ref().map(|transfer| transfer.until);
        let first = leader.others.values().map(heartbeat).chain(transfer);
        first.fold(leader.checkup, Moment::min)
    }

    /// What is sent from now on counts for another beat.
    fn next_beat(&mut self) {
        let moment = self.now.moment;
        let Role::Leader(leader) = &mut self.role else { return };
        leader.beat = Beat(leader.beat.0 + 1);
        leader.beat_sent = moment;
    }

    /// Sends the newest beat to those who have not been sent it with blocks.
    fn send_beat(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let left = leader.others.iter().filter(|(_, peer)| peer.told < leader.beat);
        let left: Vec<_> = left.map(|(id, _)| *id).collect();
        for id in left {
            self.send_heartbeat(id);
        }
    }

    fn send_heartbeat(&mut self, id: NodeId) {
        let Role::Leader(leader) = &self.role else { return };
        let Some(peer) = leader.others.get(&id) else { return };
        let below = peer.next.previous().and_then(|below| self.log.anchor(below));
        // A peer that is far behind is told of a block that it has, so that it need not reject.
        let parent = below.map_or(peer.matched, |anchor| anchor.block);
        self.send_append(id, parent, Vec::new(), None);
    }

    /// A follower has stored what it was sent.
    pub(crate) fn stored(&mut self, from: NodeId, stored: Stored) {
        if stored.term != self.ballot.term {
            return;
        }
        let (moment, matched) = (self.now.moment, stored.matched);
        let on_chain = self.is_on_chain(matched);
        // Nobody has applied what is not sealed yet, whatever it says.
        let applied = stored.applied.min(self.log.tip().block.height);
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.others.get_mut(&from) else { return };
        (peer.heard, peer.introduced) = (moment, true);
        peer.incarnation = Some(stored.incarnation);
        peer.lead = Some(stored.lead);
        peer.beat = peer.beat.max(stored.beat);
        peer.has(on_chain.then_some(matched), applied, moment);
        if !on_chain {
            self.ask_for_proof(from, matched);
        }
        for ack in stored.acks {
            if ack.signer == from {
                self.take_ack(ack);
            }
        }
    }

    /// Tells everybody what is committed when no block in flight will say it.
    fn tell_committed(&mut self) {
        let tip = self.log.tip().block;
        let Some(certificate) = self.certificate_up_to(tip.height) else { return };
        let Role::Leader(leader) = &mut self.role else { return };
        if certificate.block() != tip || tip.height <= leader.told {
            return;
        }
        leader.told = tip.height;
        let ids: Vec<_> = leader.others.keys().copied().collect();
        for id in ids {
            self.send(id, Message::Committed(certificate.clone()));
        }
    }

    /// A follower has rejected an append (Raft §5.3).
    pub(crate) fn rejected(
        &mut self,
        from: NodeId,
        lap: Lap,
        committed: BlockRef,
        incarnation: Incarnation,
        unknown: bool,
    ) {
        let moment = self.now.moment;
        let on_chain = self.is_on_chain(committed);
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.others.get_mut(&from) else { return };
        peer.heard = moment;
        if lap != peer.lap {
            // An echo of an earlier attempt.
            return;
        }
        if !on_chain {
            return self.ask_for_proof(from, committed);
        }
        peer.rejected(committed, incarnation, unknown);
    }

    /// Whether a block is on the own chain, as far as that is known here: what is far below the applied tip
    /// is in the store only.
    fn is_on_chain(&self, block: BlockRef) -> bool {
        match self.log.at(block.height) {
            Some(ours) => ours == block,
            None => block.height < self.log.applied().block.height,
        }
    }

    /// A follower says that it has committed a block that is not on this chain. That is only its word; a
    /// certificate would depose this leader, or stop it. So it is asked for its chain from that block on, which
    /// comes with one.
    fn ask_for_proof(&mut self, from: NodeId, theirs: BlockRef) {
        let own = self.log.committed();
        let below = theirs.height.previous().filter(|below| *below < own.height);
        let committed = below.and_then(|below| self.log.at(below)).unwrap_or(own);
        self.send(from, Message::Pull { committed });
    }
}
