//! The operator: changes the roster while everything else goes on.

use quorate_chain::ids::NodeId;
use quorate_chain::roster::{Change, Lead, NewMember, Role, RosterChange};
use quorate_chain::transaction::Approval;
use quorate_consensus::event::ChangeId;
use quorate_replica::io::Input;

use crate::genesis::{admin_key, node_key};
use crate::violation::Violation;
use crate::world::{SEATS, World};

/// Fewest voters that the operator leaves.
const VOTERS: usize = 3;

impl World {
    /// Asks the leader for another roster. Returns whether there was one to ask.
    pub(super) fn change_roster(&mut self) -> Result<bool, Violation> {
        let leader = self.seats.iter().position(|seat| seat.said.leads.is_some());
        let Some(at) = leader else { return Ok(false) };
        let Some(replica) = &self.seats[at].replica else { return Ok(false) };
        let roster = std::sync::Arc::clone(&replica.driver.core().log().tip().roster);
        let part = roster.current();
        let voters = part.voters().count();
        let learners = part.members.iter().filter(|member| !member.is_voter());
        let learner = learners.map(|member| member.id).next();
        let any = part.members[self.dice.index(part.members.len())].clone();
        let damaged = |id: NodeId| self.seats.get(id.get() as usize).is_some_and(|it| it.damaged);
        let spare = damaged(any.id) || !self.seats.iter().any(|seat| seat.damaged);
        let step = match self.dice.below(5) {
            0 | 1 if part.next_id.get() < SEATS => {
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
            3 if spare && (voters > VOTERS || any.role != Role::Voter) => {
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

    fn join(&mut self, id: NodeId) {
        if id.get() as usize == self.seats.len() {
            self.settle(id);
        }
    }
}
