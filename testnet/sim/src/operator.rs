//! The operator: changes the roster while everything else goes on.
//!
//! Whoever it has removed runs on in most worlds and disturbs the others. In a world that keeps its size
//! ([`Dials::replaces`](crate::dials::Dials::replaces)) it is switched off, once it stands in no roster that a
//! member may still go by; then nobody needs it, and its disk, whole or spent, counts no more.

use quorate_chain::ids::NodeId;
use quorate_chain::roster::{Change, Lead, NewMember, Role, RosterChange};
use quorate_chain::transaction::Approval;
use quorate_consensus::event::ChangeId;
use quorate_consensus::log::Log;
use quorate_replica::io::Input;

use crate::genesis::{admin_key, node_key};
use crate::lives::Death;
use crate::seat::{Retired, Seat};
use crate::violation::{Check, Violation};
use crate::world::World;

/// Fewest voters that the operator leaves.
const VOTERS: usize = 3;

impl World {
    /// Asks the leader for another roster. Returns whether there was one to ask.
    pub(super) fn change_roster(&mut self) -> Result<bool, Violation> {
        self.switch_off_removed()?;
        let asked = |seat: &Seat| seat.said.leads.is_some() && seat.listens(self.now);
        let leader = self.seats.iter().position(asked);
        let Some(at) = leader else { return Ok(false) };
        let Some(replica) = &self.seats[at].replica else { return Ok(false) };
        let roster = std::sync::Arc::clone(&replica.driver.core().log().tip().roster);
        let part = roster.current();
        let voters = part.voters().count();
        let learners = part.members.iter().filter(|member| !member.is_voter());
        let learner = learners.map(|member| member.id).next();
        let any = part.members[self.dice.index(part.members.len())].clone();
        let refuses = |id: NodeId| {
            let mut its = self.seats.iter().filter(|seat| seat.node == id);
            its.any(|seat| seat.retired == Some(Retired::Refuses))
        };
        // Whoever keeps the group at its size cares for machines that do not run any more.
        let broken = part.members.iter().find(|it| self.dials.replaces && refuses(it.id)).cloned();
        let (urgent, any) = (broken.is_some(), broken.unwrap_or(any));
        let damaged = |id: NodeId| self.seats.iter().any(|it| it.node == id && it.damaged);
        let spare = damaged(any.id) || !self.on().any(|at| self.seats[at].damaged);
        let few = !self.dials.replaces || part.members.len() < self.dials.nodes as usize;
        let enough = voters > VOTERS || any.role != Role::Voter;
        let leaves = spare && enough && !(self.dials.replaces && few);
        let die = self.dice.below(5);
        let step = match die {
            0 | 1 if few && part.next_id.get() < self.dials.seats => {
                let (id, promote) = (part.next_id, self.dice.flip());
                self.join(id);
                Change::Add(NewMember {
                    name: format!("node{id}"),
                    key: node_key(id).validator_key(),
                    p2p: Vec::new(),
                    api: Vec::new(),
                    lead: Lead::Yes,
                    promote,
                })
            }
            2 if let Some(id) = learner => Change::Promote { id },
            0 | 1 | 3 if leaves && (urgent || die == 3) => {
                self.leaving.push((part.changes, any.id));
                Change::Remove { id: any.id }
            }
            _ => Change::Update {
                id: any.id,
                name: any.name,
                p2p: any.p2p,
                api: any.api,
                lead: [Lead::No, Lead::Yes, Lead::Prefer][self.dice.index(3)],
            },
        };
        let (chain_id, roster_hash) = (self.chain_id(), roster.hash());
        let change = RosterChange { chain_id, roster_hash, steps: vec![step] };
        let (admin, message) = (admin_key(), change.message());
        let public = admin.account_key();
        let signature = self.dials.signatures.sign(&admin, public.as_bytes(), &message);
        let approval = Approval { admin: public, signature };
        let change = Box::new(change.assemble(vec![approval]));
        let id = ChangeId(self.dice.draw());
        self.give(at, 10, Input::Change { id, change })?;
        Ok(true)
    }

    /// Switches off who was removed, where that is done. While a member is down nobody knows what it goes by.
    fn switch_off_removed(&mut self) -> Check {
        let applied = |at: &usize| {
            let replica = self.seats[*at].replica.as_ref();
            replica.map(|replica| replica.driver.core().log().applied())
        };
        let newest = self.on().filter_map(|at| applied(&at)).max_by_key(|it| it.block.height);
        let Some(newest) = newest.filter(|_| self.dials.replaces) else { return Ok(()) };
        let mut members = Vec::new();
        for at in self.on().filter(|at| newest.roster.member(self.seats[*at].node).is_some()) {
            match (&self.seats[at].replica, self.seats[at].retired) {
                (Some(replica), _) => members.push(replica.driver.core().log()),
                (None, Some(_)) => {}
                (None, None) => return Ok(()),
            }
        }
        let goes_by = |log: &Log, node| {
            let mut rosters = log.rosters().chain([&log.applied().roster]);
            rosters.any(|roster| {
                // Whoever has not joined yet stands in none of them either.
                roster.member(node).is_some() || roster.current().next_id <= node
            })
        };
        let liar = self.liar.as_ref().map(|liar| liar.node);
        let is_left = |at: &usize| {
            let node = self.seats[*at].node;
            liar != Some(node) && !members.iter().any(|log| goes_by(log, node))
        };
        let left: Vec<_> = self.on().filter(is_left).collect();
        for at in left {
            self.die(at, Death::Killed)?;
            self.seats[at].retired = Some(Retired::SwitchedOff(self.now));
        }
        Ok(())
    }

    fn join(&mut self, id: NodeId) {
        if self.seat_of(id).is_none() {
            self.settle(id);
        }
    }
}
