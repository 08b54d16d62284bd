//! Changes of the roster: what the admins of a world sign.

use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{NodeId, RosterHash};
use quorate_chain::roster::{
    Change, Lead, NewMember, QuorumSize, Role, Roster, RosterChange, SignedRosterChange,
};
use quorate_chain::transaction::Approval;
use quorate_consensus::event::{ChangeId, Event};

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
