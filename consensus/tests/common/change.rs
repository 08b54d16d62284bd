//! Changes of the roster: what the admins of a world sign.

use std::sync::Arc;

use quorate_chain::block::{Block, BlockKind, Item};
use quorate_chain::checked::Checked;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{BlockRef, NodeId, RosterHash, Term};
use quorate_chain::recovery::Recovery;
use quorate_chain::roster::{
    Change, Lead, NewMember, QuorumSize, Role, Roster, RosterChange, SignedRosterChange,
};
use quorate_chain::statement::Statement;
use quorate_chain::transaction::Approval;
use quorate_consensus::effect::{Slot, Urgency};
use quorate_consensus::event::{ChangeId, Event};
use quorate_consensus::judge::Proven;

use super::World;
use super::keys::{CHAIN, admin, key, stand_in};
use super::node::Node;

/// A change of a roster with the approval of the one admin.
pub fn approved(roster_hash: RosterHash, steps: Vec<Change>) -> SignedRosterChange {
    let change = RosterChange { chain_id: CHAIN, roster_hash, steps };
    let signature = stand_in(&SecretKey::from_seed(&admin()).validator_key(), &change.message());
    let admin = SecretKey::from_seed(&admin()).account_key();
    change.assemble(vec![Approval { admin, signature }])
}

/// A step that adds a learner.
pub fn add(id: u32, promote: bool) -> Change {
    Change::Add(NewMember {
        name: format!("node{id}"),
        key: key(id),
        p2p: Vec::new(),
        api: Vec::new(),
        lead: Lead::Yes,
        promote,
    })
}

/// A roster in a few words: voters, learners in brackets, and an arrow if it is joint.
pub fn describe(roster: &Roster) -> String {
    let parts = roster.parts().map(|part| {
        let members = part.members.iter().map(|member| match member.role {
            Role::Voter => member.id.to_string(),
            Role::Learner { promote: false } => format!("({})", member.id),
            Role::Learner { promote: true } => format!("({}+)", member.id),
        });
        members.collect::<Vec<_>>().join(" ")
    });
    parts.collect::<Vec<_>>().join(" → ")
}

impl World {
    /// The roster in force at a node's tip.
    pub fn roster_of(&self, id: u32) -> Roster {
        (*self.core(id).unwrap().log().tip().roster).clone()
    }

    /// A node is asked for a change of the roster at its tip.
    pub fn change(&mut self, id: u32, steps: Vec<Change>) {
        let hash = self.roster_of(id).hash();
        self.ask_change(id, approved(hash, steps));
    }

    /// A node is asked for a change.
    pub fn ask_change(&mut self, id: u32, change: SignedRosterChange) {
        self.step(id, Event::Change { id: ChangeId(0), change: Box::new(change) });
    }

    /// The id of the next new member, as a node sees it. The machine stands there, and runs.
    pub fn newcomer(&mut self, sees: u32) -> u32 {
        let next = self.roster_of(sees).parts().map(|part| part.next_id).max().unwrap().get();
        while self.nodes.len() <= next as usize {
            let id = u32::try_from(self.nodes.len()).unwrap();
            self.nodes.push(Node::new(id, self.genesis.clone()));
            self.start(id);
        }
        next
    }

    /// One line for each node that runs: the roster at its tip.
    pub fn rosters(&mut self) {
        for id in self.ids() {
            if self.core(id).is_some() {
                let line = format!("{id}: {}\n", describe(&self.roster_of(id)));
                self.out.push_str(&line);
            }
        }
    }
}

/// The steps that some words ask for: `remove 2`, `promote 3`, `quorums 2 3` (or `quorums majority N`).
pub fn steps(words: &[&str]) -> Vec<Change> {
    let number = |word: &str| NodeId::new(word.parse().unwrap());
    let size = |word: &str| word.parse().map_or(QuorumSize::Majority, QuorumSize::Voters);
    match words {
        [] => Vec::new(),
        ["remove", id, rest @ ..] => {
            [vec![Change::Remove { id: number(id) }], steps(rest)].concat()
        }
        ["promote", id, rest @ ..] => {
            [vec![Change::Promote { id: number(id) }], steps(rest)].concat()
        }
        ["quorums", vote, finality, rest @ ..] => {
            let sizes = Change::SetQuorums { vote: size(vote), finality: size(finality) };
            [vec![sizes], steps(rest)].concat()
        }
        other => panic!("{other:?}: no such step"),
    }
}

impl World {
    /// What the admins do offline when only this node is left: its tip goes on, in a term, under a roster
    /// in which it is alone. The node is dead before, and after.
    pub fn recover_offline(&mut self, id: u32, term: u64) {
        let (core, me) = (self.core(id).unwrap(), NodeId::new(id));
        let tip = core.log().tip().clone();
        let mut part = tip.roster.current().clone();
        part.members.retain(|member| member.id == me);
        part.changes += 1;
        let (roster_hash, term) = (tip.roster.hash(), Term::new(term));
        let recovery = Recovery {
            chain_id: CHAIN,
            roster_hash,
            tip: tip.block,
            term,
            proposer: me,
            part: part.clone(),
        };
        let key = SecretKey::from_seed(&admin());
        let signature = stand_in(&key.validator_key(), &recovery.message());
        let order = recovery.assemble(vec![Approval { admin: key.account_key(), signature }]);
        let roster = Arc::new(Roster::single(part).unwrap());
        let (executed, state_root) =
            (self.nodes[id as usize].applied, self.nodes[id as usize].applied);
        let slot = Slot {
            kind: BlockKind::Recovery,
            parent: tip.block,
            term,
            proposer: me,
            roster_hash: roster.hash(),
            time: tip.time,
            executed,
            state_root: super::keys::state_root(state_root),
            item: Some(Item::Recovery(order)),
            urgency: Urgency::Now,
            room: 0,
        };
        let block = super::keys::seal(&slot, &super::keys::Key(super::keys::key(id)));
        let ack = Statement::Ack { block: block.block_ref() };
        let certificate = Checked::vouch(super::forge::certificate(ack, &roster, &[id]));
        self.lose_power(id);
        let node = self.node(id);
        node.disk.blocks.truncate(usize::try_from(tip.block.height.get()).unwrap());
        node.disk.blocks.push(block);
        let proof = Proven { certificate: certificate.clone(), roster };
        node.disk.ballot = node.disk.ballot.raised(proof);
        node.certificate = Some(certificate);
    }
}

impl World {
    /// The blocks that a node has applied.
    pub fn blocks(&self, id: u32) -> Vec<BlockRef> {
        self.nodes[id as usize].chain.iter().map(|block| block.block_ref()).collect()
    }

    /// The blocks that a node has applied above a block.
    pub fn blocks_above(&self, id: u32, below: BlockRef) -> Vec<Checked<Block>> {
        let above = self.nodes[id as usize].chain.iter();
        above.filter(|block| block.block_ref().height > below.height).cloned().collect()
    }
}
