//! What must not be built upon.
//!
//! A block is acked only where its header's time and state are right. But a leader's successor builds on
//! whatever tip it has, and a quorum that acks its blocks commits the ones below, of older terms, which
//! nobody may ack any more (Raft §5.4.2). So one leader that lies, or whose calendar or store is broken,
//! could stop the group for good with a single block on a single disk. Therefore:
//!
//! - a block is not taken uncertified if its time is more than an hour ahead of the own calendar and
//!   later than its parent's, if it names another state than the own, or a height that no certificate
//!   known here covers: such a state could not be compared before it is too late;
//! - nothing is acked that stands on an uncertified block whose state is another than the own. The block
//!   is cut: neither it nor any above it was ever acked here, so no promise is broken. A leader that finds
//!   one below its own blocks steps down, for it would seal other ones in their places.
//!
//! Left out: a record of what was given up. The next branch cuts it from the disk; until then a restart
//! brings it back, to be found and given up again. And a state below the snapshot that a store began with is
//! not compared.

use quorate_chain::block::Header;
use quorate_chain::ids::{Height, TimeUs};

use crate::log::{Anchor, Entry};
use crate::raft::Core;
use crate::role::Role;
use crate::states::Compared;

/// How far ahead of the own calendar the time of a block may be: an hour.
const CLOCK_AHEAD: u64 = 3_600_000_000;

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It should not have been sealed.
    Wrong,
    /// The certificate that should have come with it is missing.
    Uncovered,
}

impl Core {
    /// The first of these blocks that is not to be taken uncertified, and what is wrong with it.
    pub(crate) fn first_fault(&self, parent: &Anchor, new: &[Entry]) -> Option<(usize, Fault)> {
        let certified = self.certified_part(new);
        let among = |block| new.iter().any(|entry| entry.anchor.block == block);
        let newest = self.commits.on_chain(|block| self.log.contains(block) || among(block));
        let covered = newest.map_or(Height::ZERO, |certificate| certificate.block().height);
        let covered = covered.max(self.log.committed().height);
        let mut below = new[..certified].last().map_or(parent.time, |entry| entry.anchor.time);
        new.iter().enumerate().skip(certified).find_map(|(at, entry)| {
            let header = entry.block.header();
            let ahead = self.is_ahead(header.time, std::mem::replace(&mut below, header.time));
            if ahead || self.differs(header) {
                Some((at, Fault::Wrong))
            } else if header.executed > covered {
                Some((at, Fault::Uncovered))
            } else {
                None
            }
        })
    }

    /// Whether a time is too far ahead of the own calendar, and the parent's is not as far.
    pub(crate) fn is_ahead(&self, time: TimeUs, parent: TimeUs) -> bool {
        let latest = TimeUs::new(self.now.time.get().saturating_add(CLOCK_AHEAD));
        time > latest && time > parent
    }

    /// Whether a header names another state than the own, or one that nobody would compare.
    pub(crate) fn differs(&self, header: &Header) -> bool {
        matches!(self.states.compare(header), Compared::Differs { .. } | Compared::Dropped)
    }

    /// The leader of this term seals what should not be sealed: it is not listened to any more in it.
    pub(crate) fn ignore_leader(&mut self) {
        if let Role::Follower(follower) = &mut self.role {
            follower.ignoring = true;
        }
    }

    /// Gives up an uncertified block of an older term whose state is wrong, and all above it.
    pub(crate) fn give_up(&mut self, height: Height) {
        let certified = self.commits.on_chain(|block| self.log.contains(block));
        let certified = certified.is_some_and(|certificate| certificate.block().height >= height);
        let below = height.previous().and_then(|below| self.log.anchor(below));
        let Some(above) = below.map(|anchor| anchor.block).filter(|_| !certified) else { return };
        if matches!(self.role, Role::Leader(_)) {
            self.follow(None);
        }
        self.log.branch(above, Vec::new());
        self.disk.cut(above);
        self.acks.asked = self.acks.asked.min(above.height);
        self.confirmed_at_most(above);
    }
}
