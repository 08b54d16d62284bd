//! What goes wrong in a world: nodes die, links are cut, disks, stores and signers do not answer.

use quorate_chain::ids::{Height, NodeId};
use quorate_chain::roster::Lead;
use quorate_consensus::event::Event;
use quorate_consensus::message::Message;

use super::World;
use super::node::{Disk, Node};
use super::print;

impl World {
    /// Kills a node: what is not durable is gone. The others see their connections to it closed.
    pub fn kill(&mut self, id: u32) {
        self.lose_power(id);
        for peer in self.ids() {
            if peer != id {
                self.step(peer, Event::LinkLost { node: NodeId::new(id) });
            }
        }
    }

    /// Kills a node, and nobody notices.
    pub fn lose_power(&mut self, id: u32) {
        let node = self.node(id);
        node.core = None;
        node.slot = None;
        node.disk.written.clear();
        node.to_apply.clear();
        node.to_sign.clear();
        node.to_install = None;
        self.wire.retain(|(from, to, _)| *from != id && *to != id);
    }

    /// A node's disk and store are empty; it gets a new log. Its key tells that it had another one,
    /// unless that was forgotten too.
    pub fn wipe(&mut self, id: u32, noticed: bool) {
        self.lose_power(id);
        let genesis = self.genesis.clone();
        let node = self.node(id);
        let incarnation = node.incarnation + 100;
        let mut disk = Disk::default();
        disk.ballot.recovering = noticed;
        *node = Node { incarnation, disk, ..Node::new(id, genesis) };
    }

    /// A dead node's store has lost what it was given since the genesis.
    pub fn forget_applied(&mut self, id: u32) {
        let genesis = self.genesis.clone();
        let node = self.node(id);
        assert!(node.core.is_none(), "a store forgets nothing while its node runs");
        (node.applied, node.applied_anchor) = (Height::ZERO, genesis);
        (node.certificate, node.brought) = (None, None);
        node.certificates.clear();
        node.chain.clear();
        node.anchors.clear();
    }

    /// Copies what a node's disk and store have, as they are now.
    pub fn copy(&mut self, id: u32) {
        let copy = self.nodes[id as usize].kept();
        self.copies.insert(id, copy);
    }

    /// Puts that copy in the place of what a node has. What runs from it runs from another machine.
    pub fn paste(&mut self, id: u32) {
        self.lose_power(id);
        let copy = self.copies.remove(&id).expect("it has been copied");
        self.nodes[id as usize] = Node { machine: 1, ..copy };
    }

    /// Cuts or joins the link between two nodes, both ways.
    pub fn cut(&mut self, a: u32, b: u32, cut: bool) {
        self.cut_one_way(a, b, cut);
        self.cut_one_way(b, a, cut);
    }

    /// Cuts or joins the way from one node to another.
    pub fn cut_one_way(&mut self, from: u32, to: u32, cut: bool) {
        if cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    pub fn hold_disk(&mut self, id: u32, held: bool) {
        self.node(id).disk.held = held;
        self.flush(id);
        self.install(id);
    }

    /// Whether records are on their way to a node's disk.
    pub fn is_writing(&self, id: u32) -> bool {
        !self.nodes[id as usize].disk.written.is_empty()
    }

    /// One more record becomes durable on a disk that is held.
    pub fn write_one(&mut self, id: u32) {
        assert!(self.write(id), "nothing is on its way to the disk of {id}");
    }

    pub fn hold_apply(&mut self, id: u32, held: bool) {
        self.node(id).applies = !held;
        self.apply(id);
    }

    pub fn hold_signer(&mut self, id: u32, held: bool) {
        self.node(id).signs = !held;
        self.sign(id);
    }

    pub fn hold_store(&mut self, id: u32, held: bool) {
        self.node(id).fetches = !held;
    }

    /// A node's calendar is ahead by so many microseconds.
    pub fn set_calendar(&mut self, id: u32, ahead: u64) {
        self.node(id).ahead = ahead;
    }

    /// A node computes another state than the others from now on.
    pub fn stray(&mut self, id: u32) {
        self.node(id).strays = true;
    }

    /// Whether a node wants to lead, from its next start on.
    pub fn set_lead(&mut self, id: u32, lead: Lead) {
        self.node(id).lead = Some(lead);
    }

    /// Takes the first message of a name on a link off the wire.
    pub fn take(&mut self, from: u32, to: u32, name: Option<&str>) -> Option<Message> {
        let fits = |(a, b, message): &(u32, u32, Message)| {
            (*a, *b) == (from, to) && name.is_none_or(|name| name == print::name(message))
        };
        let at = self.wire.iter().position(fits)?;
        self.wire.remove(at).map(|(_, _, message)| message)
    }

    /// A message that was once sent, by its name: the newest one, or the n-th, from 1 on.
    pub fn remembered(&self, from: u32, to: u32, name: &str, nth: Option<u32>) -> Option<Message> {
        let sent = self.history.iter().flatten();
        let fits =
            sent.filter(|(a, b, message)| (*a, *b) == (from, to) && name == print::name(message));
        let fits: Vec<_> = fits.collect();
        let found = match nth {
            Some(nth) => fits.get(nth as usize - 1),
            None => fits.last(),
        };
        found.map(|(_, _, message)| message.clone())
    }
}
