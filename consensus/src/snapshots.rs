//! Snapshots, as far as the order of blocks is concerned (Raft §7).
//!
//! A snapshot is the state at a block, its *anchor*, with a commit certificate for the anchor or a
//! descendant. Making, sending and verifying it, and following the rosters to it, is the replica's work.
//! The core decides when one is offered and when one is taken.
//!
//! **Offer.** Whoever is asked for blocks that its store has pruned offers a snapshot instead: a leader
//! to a follower, anybody to one who pulls. A leader asks its store anew at every heartbeat, so an offer
//! that was lost is repeated, and one that is not used stops nothing: the other followers never wait.
//!
//! **Take.** An offer is taken if its anchor is above what is committed here, its certified block is not held
//! here, and the certificate is good. It may be by a roster that is too far to be known here (the replica then
//! follows the rosters to it before it installs), if the block is of higher rank than the own tip, and the offer comes
//! from the leader that is heard, or none is: else anybody could keep a follower from acking. If it
//! is held, only the certificate was missing. Nothing may be on its way to be applied.
//! One is taken at a time. If its source fails, all others that are known are asked for their chain; they
//! answer with blocks or with offers. A source that failed is not taken again for ten election timeouts.
//!
//! **While it runs** no block is taken, committed or acked and there is no campaign, so that what was
//! compared when it was taken still holds when it is done: it never goes below what is committed here. The
//! leader is answered, so that it does not think that it lost its quorum.
//!
//! **Installed** means durable, store first, then the record with which the log begins anew, with a ballot
//! of no lower term than the certificate's. What the log held is gone then. Of the blocks that were acked
//! here, those below the certified block are on the disks of the quorum that certified it, without
//! counting this one, which could not have acked a block above its tip; the others are on no chain that can
//! still be committed. So nothing that was promised is lost. What remains of the promises:
//!
//! - *No vote for a tip of lower rank than an own ack.* The tip is the anchor now, which may be of lower
//!   rank than what was acked. But the certified block is of higher rank than that, its certificate is
//!   kept with the store, and a vote counts it like a tip: nobody gets one who lacks a block that is
//!   known here to be certified. The store keeps the certificate until the certified block is applied, whatever
//!   is applied before it by certificates of its own, so it is so after a crash at any moment. If a quorum has
//!   certified a block of lower rank against what was acked, the ack itself binds (see
//!   [`candidate`](crate::raft)).
//! - *No two acks for one height.* Nothing is acked at or below the certified block, which is committed
//!   already, and nothing until the chain reaches it: until the tip is whole again. Nor, in the term of what was acked,
//!   anything up to that height: its leader may have signed other blocks there.
//!
//! Left out: what a snapshot holds; at which heights snapshots are made (see [`executed`](crate::raft)); giving one up
//! because blocks came in the meantime: who is offered one lacks what nobody that it knows has; a follower that hears a
//! leader which keeps no states for others, while those of others are certified by rosters that it does not know: it waits
//! for another leader. (Who keeps states offers one of its own, or the one that it began with itself, once it has applied what proves that.)

use std::collections::BTreeMap;

use quorate_chain::certificate::CertificateKind;
use quorate_chain::ids::{BlockRef, NodeId};

use crate::commits::Commits;
use crate::effect::Effect;
use crate::event::Installed;
use crate::judge::Verdict;
use crate::log::Log;
use crate::message::{Message, Snapshot};
use crate::raft::Core;
use crate::role::Role;
use crate::states::States;
use crate::time::Moment;

/// The snapshot that is being installed, and who could not bring one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Install {
    running: Option<(NodeId, Snapshot)>,
    failed: BTreeMap<NodeId, Moment>,
}

/// For how many election timeouts no snapshot is taken from a source that failed.
const DISTRUST: u64 = 10;

impl Core {
    /// Whether a snapshot is being installed.
    pub(crate) const fn is_installing(&self) -> bool {
        self.install.running.is_some()
    }

    /// Whether a block is known to be certified that is not on the chain here: it is of higher rank than the
    /// tip, or a quorum has signed it against what stands here.
    pub(crate) fn lacks_certified(&self) -> bool {
        self.commits.wanted().is_some_and(|block| !self.log.contains(block))
    }

    /// The store has pruned what a peer needs: it is offered a snapshot, if there is one.
    pub(crate) fn offer_snapshot(&mut self, to: NodeId, snapshot: Option<Box<Snapshot>>) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(node) = leader.others.get_mut(&to)
        {
            (node.fetching, node.stalled) = (false, true);
        }
        if let Some(snapshot) = snapshot {
            self.send(to, Message::Snapshot(snapshot));
        }
    }

    /// Somebody offers a snapshot.
    pub(crate) fn snapshot_offered(&mut self, from: NodeId, snapshot: Snapshot) {
        let certified = snapshot.proof.certificate.block();
        if snapshot.proof.certificate.kind() != CertificateKind::Commit {
            return;
        }
        let outranks = certified.rank() > self.log.tip().block.rank();
        let trusted = self.leader() == Some(from) || !self.hears_leader();
        match self.judge(&snapshot.proof) {
            Verdict::Good(proven) => self.take_certificate(proven),
            Verdict::Unknown if outranks && trusted => {}
            Verdict::Unknown | Verdict::Bad => return,
        }
        let busy = self.is_installing() || self.has_failed(from);
        let leads = matches!(self.role, Role::Leader(_));
        let applying = self.log.applied().block != self.log.committed();
        let held = self.log.contains(certified);
        if busy || leads || applying || held || !self.is_of_use(snapshot.block, certified) {
            return;
        }
        if matches!(self.role, Role::Candidate(_)) {
            self.follow(None);
        }
        self.install.running = Some((from, snapshot.clone()));
        self.effects.push(Effect::Install { from, snapshot: Box::new(snapshot) });
    }

    fn has_failed(&self, source: NodeId) -> bool {
        let distrust = self.config.election_timeout.times(DISTRUST);
        let failed = self.install.failed.get(&source);
        failed.is_some_and(|moment| self.now.moment.since(*moment) < distrust)
    }

    fn is_of_use(&self, anchor: BlockRef, certified: BlockRef) -> bool {
        anchor.height > self.log.committed().height
            && anchor.height <= certified.height
            && anchor.rank() <= certified.rank()
    }

    /// The snapshot that was taken is installed, or its source has failed.
    ///
    /// # Panics
    /// If none was taken, or another one is installed.
    pub(crate) fn installed(&mut self, installed: Option<Installed>) {
        let running = self.install.running.take();
        let (from, taken) = running.expect("what is installed was asked for");
        let Some(Installed { anchor, left, state_root, certificate }) = installed else {
            return self.install_failed(from);
        };
        assert!(anchor.block == taken.block, "the snapshot that was taken is installed");
        let certified = certificate.certificate.block();
        assert!(!self.log.contains(certified), "no ack is given up for nothing");
        self.install.failed.clear();
        let above = std::mem::take(&mut self.commits);
        self.commits =
            Commits::restored([certificate.certificate.clone()], anchor.block.height, |_| false);
        self.disk.installed(anchor.block);
        self.states = States::new(anchor.block.height, state_root, self.config.window_blocks);
        let term = self.ballot.term.max(certificate.term());
        self.acks.begin(certified.height.max(anchor.block.height), term);
        self.log = Log::new(anchor, left);
        above.into_ahead().for_each(|kept| self.keep_certificate(kept));
        if certificate.term() > self.ballot.term {
            self.adopt_term(certificate.clone());
        }
        self.note_final(&certificate);
        let anchor = self.log.committed();
        if let Role::Follower(follower) = &mut self.role {
            (follower.confirmed, follower.owes_answer) = (anchor, true);
        }
    }

    /// A source could not bring its snapshot: the others are asked what they have.
    fn install_failed(&mut self, from: NodeId) {
        self.install.failed.insert(from, self.now.moment);
        let (own, members) = (self.config.id, self.log.tip().roster.ids());
        let committed = self.log.committed();
        for id in members {
            if id != own && !self.has_failed(id) {
                self.send(id, Message::Pull { committed });
            }
        }
    }
}
