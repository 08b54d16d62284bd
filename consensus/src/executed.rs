//! Which state a header names.
//!
//! A header names the highest height that a quorum has reported applied and that the leader has applied
//! too, with the state there. An ack says that it is the same where the ack comes from, so a certificate of
//! the header's own term attests it. It is not the leader's own applied height, or slow followers would
//! delay commits. It may be lower than the parent's: in an opening block, because a new leader has not
//! heard what others have applied, and after a roster block, because a quorum is another then.
//!
//! Nor is it lower than what a committed block names: a leader that has heard of nobody yet does not name a
//! height long past, which others may have dropped (see `states`). That height is committed, so the others can
//! apply it too. It is not the committed one, so that their acks wait for that as short as possible.
//!
//! It is taken when a slot is offered. A slot is offered again if the tip, its urgency or the snapshot that is due
//! changes, not whenever a quorum has applied more: a block that waits to be sealed may name a lower height than it
//! could.
//!
//! **Snapshots** are made at heights that are a multiple of K, and must be provable. So the first block sealed
//! after such a height was applied, by a quorum and the leader, names exactly that height, unless an
//! ancestor has named it. An ancestor counts if it is of the leader's own term, or attested: covered by a
//! certificate of its own term, that is, its header was compared by a quorum. What an older leader named
//! and nobody compared proves nothing, and is named again. So it is after a restart, which forgets what has
//! been named: that costs nothing but a height that is one block late. If a quorum applies more than K
//! heights between two blocks, only the highest multiple is named; nobody needs the older snapshot.
//!
//! Left out: what is done with the state at such a height.

use quorate_chain::ids::{BlockRef, Height, StateRoot, Term};
use quorate_chain::roster::QuorumKind;

use crate::progress::after;
use crate::raft::Core;
use crate::role::{Leader, Role};

impl Core {
    /// The height whose state the next header names, and that state.
    pub(crate) fn executed(&self) -> (Height, StateRoot) {
        let own = self.states.height();
        let Role::Leader(leader) = &self.role else { return (own, StateRoot::ZERO) };
        let applied = self.applied_by_quorum(leader).max(self.floor);
        let (height, root) = self.states.first_from(applied);
        self.snapshot_due(height).unwrap_or((height, root))
    }

    /// The highest height that a quorum has applied, the leader among them.
    pub(crate) fn applied_by_quorum(&self, leader: &Leader) -> Height {
        let own = self.states.height();
        let roster = &self.log.tip().roster;
        let mut heights: Vec<_> = leader.others.values().map(|peer| peer.applied).collect();
        heights.push(own);
        heights.sort_unstable_by(|a, b| b.cmp(a));
        let by_quorum = heights.into_iter().filter(|height| *height <= own).find(|height| {
            let applied = leader.others.iter().filter(|(_, peer)| peer.applied >= *height);
            let signers = applied.map(|(id, _)| *id).chain([self.config.id]).collect();
            roster.has_quorum(QuorumKind::Commit, &signers)
        });
        by_quorum.unwrap_or(Height::ZERO)
    }

    /// The newest height for a snapshot up to one that a quorum has applied, if it has not been named yet.
    pub(crate) fn snapshot_due(&self, applied: Height) -> Option<(Height, StateRoot)> {
        let above = applied.get().checked_rem(self.config.snapshot_every)?;
        let due = Height::new(applied.get() - above);
        let uncommitted = self.log.from(after(self.log.committed().height));
        let own = uncommitted.filter(|entry| entry.anchor.block.term == self.ballot.term);
        let named = own.map(|entry| entry.block.header().executed).any(|named| named == due);
        if named || due <= self.named {
            return None;
        }
        Some((due, self.states.root(due)?))
    }

    /// The height for a snapshot that the block to come is to name, if one is due.
    pub(crate) fn snapshot_to_name(&self, leader: &Leader) -> Option<Height> {
        self.snapshot_due(self.states.height())?;
        self.snapshot_due(self.applied_by_quorum(leader)).map(|(due, _)| due)
    }

    /// Remembers the highest height that is named up to a block, which is about to be committed, and the
    /// newest one for a snapshot that is attested by a certificate of this term: for a
    /// block above the committed tip, up to this one.
    pub(crate) fn note_named(&mut self, up_to: BlockRef, certified: Term) {
        let every = self.config.snapshot_every;
        let (mut floor, mut newest) = (self.floor, self.named);
        for entry in self.log.from(after(self.log.committed().height)) {
            let header = entry.block.header();
            if header.height > up_to.height {
                break;
            }
            let attested = header.term == certified;
            if attested && header.executed.get().checked_rem(every) == Some(0) {
                newest = newest.max(header.executed);
            }
            floor = floor.max(header.executed);
        }
        (self.floor, self.named) = (floor, newest);
    }
}
