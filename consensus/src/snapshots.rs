//! Snapshots, as far as the order of blocks is concerned (Raft §7).

use quorate_chain::ids::NodeId;

use crate::event::Installed;
use crate::message::{Message, Snapshot};
use crate::raft::Core;
use crate::role::Role;

impl Core {
    /// The store has pruned what a peer needs: it is offered a snapshot. A leader asks its store again at
    /// the next heartbeat, so that no offer that is lost stops a peer for ever.
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

    pub(crate) fn snapshot_offered(&mut self, _from: NodeId, _snapshot: Snapshot) {}

    pub(crate) fn installed(&mut self, _installed: Option<Box<Installed>>) {}
}
