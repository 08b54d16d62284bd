//! What the tests of the papers' sentences have in common.

use quorate_chain::ids::{BlockRef, NodeId};
use quorate_consensus::effect::Slot;
use quorate_consensus::event::Event;
use quorate_consensus::message::Message;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

use super::World;
use super::keys::{Key, key, seal};
use super::print;

impl World {
    /// A group in which node 0 leads term 1, and everybody has applied blocks 1 and 2.
    pub fn led(count: u32) -> Self {
        let mut world = Self::new(count, 64);
        world.history = Some(Vec::new());
        world.timeout(0);
        world.run(Span::millis(300));
        assert_eq!(world.standing(0), Standing::Leader);
        assert!(world.ids().into_iter().all(|id| world.applied(id) == 2));
        world
    }

    /// Lets a node campaign until it leads, and stops at that very moment.
    pub fn campaign(&mut self, candidate: u32) {
        for _ in 0..10 {
            self.timeout(candidate);
            while self.standing(candidate) != Standing::Leader && self.carry(None) {}
            if self.standing(candidate) == Standing::Leader {
                return;
            }
        }
        panic!("{candidate} does not lead");
    }

    pub fn standing(&self, id: u32) -> Standing {
        self.core(id).unwrap().standing()
    }

    pub fn term(&self, id: u32) -> u64 {
        self.core(id).unwrap().term().get()
    }

    pub fn leader_of(&self, id: u32) -> Option<u32> {
        self.core(id).unwrap().leader().map(NodeId::get)
    }

    pub fn tip(&self, id: u32) -> BlockRef {
        self.core(id).unwrap().log().tip().block
    }

    /// Term and height of a node's tip.
    pub fn rank(&self, id: u32) -> (u64, u64) {
        let tip = self.tip(id);
        (tip.term.get(), tip.height.get())
    }

    pub fn committed(&self, id: u32) -> u64 {
        self.core(id).unwrap().log().committed().height.get()
    }

    /// The nodes that lead, each with its term.
    pub fn leaders(&self) -> Vec<(u32, u64)> {
        let lives = self.ids().into_iter().filter(|id| self.core(*id).is_some());
        let leads = lives.filter(|id| self.standing(*id) == Standing::Leader);
        leads.map(|id| (id, self.term(id))).collect()
    }

    /// Cuts all links of a node.
    pub fn isolate(&mut self, id: u32) {
        for peer in self.ids() {
            self.cut(id, peer, true);
        }
    }

    /// Joins all links.
    pub fn heal(&mut self) {
        for a in self.ids() {
            for b in self.ids() {
                self.cut(a, b, false);
            }
        }
    }

    /// The messages of a kind that are on their way, with sender and receiver.
    pub fn on_the_way(&self, name: &str) -> Vec<(u32, u32)> {
        let named = self.wire.iter().filter(|(_, _, message)| print::name(message) == name);
        named.map(|(from, to, _)| (*from, *to)).collect()
    }

    /// Delivers the next message of a kind on a link.
    pub fn carry_kind(&mut self, from: u32, to: u32, name: &str) -> Message {
        let message = self.take(from, to, Some(name)).unwrap();
        self.arrive(from, to, message.clone());
        message
    }

    /// The slot that a node was offered and has not sealed.
    pub fn slot(&self, id: u32) -> Option<Slot> {
        self.nodes[id as usize].slot.clone()
    }

    /// A node gets a block that it has sealed for a slot which it may have lost since.
    pub fn bring(&mut self, id: u32, slot: &Slot) {
        self.step(id, Event::Sealed(seal(slot, &Key(key(id)))));
    }

    /// A node's operator wants another leader.
    pub fn transfer(&mut self, id: u32, to: Option<u32>) {
        self.step(id, Event::Transfer { to: to.map(NodeId::new) });
    }

    /// Lets a node's time run out until it campaigns.
    pub fn until_candidate(&mut self, id: u32) {
        for _ in 0..20 {
            if self.standing(id) == Standing::Candidate {
                return;
            }
            self.timeout(id);
        }
        panic!("{id} does not campaign");
    }

    /// Whether a node has this block, applied or not.
    pub fn chain_has(&self, id: u32, block: BlockRef) -> bool {
        let applied = &self.nodes[id as usize].chain;
        let applied = applied.iter().any(|held| held.block_ref() == block);
        applied || self.core(id).is_some_and(|core| core.log().contains(block))
    }
}
