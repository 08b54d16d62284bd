//! Changes of the roster (Raft §6; thesis chapter 4).
//!
//! A roster is changed by two blocks. `Enter` makes it joint: from that block on a quorum is one of the
//! old half and one of the new half. `Leave` makes the joint one its new half. A roster is in force from
//! its own block on, on whatever disk that block is, committed or not and applied or not (Raft §6:
//! of the rosters in the own log, the last one counts).
//!
//! Each of the two carries a commit certificate by the roster that it leaves, for that roster's first
//! block or a descendant. So of the roster blocks of any chain at most one is unproven, and whoever
//! knows an earlier roster can follow the chain to a later one.
//!
//! **What a leader takes.** A change is taken by the leader if a block of its own term is committed (else
//! two leaders could each count on a change that the other does not know: the bug of the single-server
//! change, Ongaro 2015), if no other change is under way, joint or not committed, if the admins of the
//! roster in force have signed it over exactly that roster, and if every half of the joint roster can be
//! reached: enough of its voters were heard within an election timeout. Every change is answered, by
//! the height of its `Enter` or by a [`Refusal`].
//!
//! **What a leader does by itself.** It leaves a joint roster as soon as a block under it is committed in
//! its own term, whoever entered it. Before, the new half could decide alone what the old one does not
//! know of. It promotes a learner that was added to be promoted, once that is heard and within a window
//! of the tip, as if the admins had asked for it.
//!
//! **Who is served.** The leader serves the members of the roster at its committed tip and of the one at
//! its tip; so a new member gets blocks as soon as the block that adds it is sealed, and a removed one
//! until the block that leaves it out is committed. It is told so by the certificate of that block.
//! Later it is answered when it pulls.
//!
//! **Who votes.** Whether somebody votes is never asked of his own log: a pre-vote and a vote are judged
//! by the roster of the candidate, an ack by that of its block. So a learner that does not know yet that it
//! was promoted counts from the block on that promotes it, and a removed validator that does not know
//! it can disturb nobody: its tip is too low, and what it says late is a statement under a roster that
//! counts for the blocks below its removal only. Learners sign nothing and never campaign.
//!
//! **A leader that removes itself** leads on until `Leave` is committed, counted in the old half only, seals
//! nothing above that block, tells everybody what is committed, and steps down (thesis 4.2.2).
//!
//! The certified block in an `Enter` or `Leave` must be an ancestor, as far down as refs are known (see
//! [`Log`](crate::log::Log)).
//!
//! **Recovery.** When no quorum can be had any more, the admins may name a roster and a leader (see
//! [`quorate_chain::recovery`]). That is made offline, on the disk of that leader, and the core begins with
//! what was made: the recovery's block above its tip, a commit certificate for it, and a ballot of its term
//! with that certificate as its proof. So the roster that goes on has one voter, whose ack alone makes the
//! certificate; the others are added by changes afterwards. Who is sent the chain later takes the block
//! in a range that proves its term, by a certificate for it or a descendant or by an opening block above
//! it; who has committed another block in its place never does.
//!
//! Left out: a recovery whose roster has more than one voter. Its leader would lead a term that nothing
//! proves before the others have acked: what raises a term, in the ballot and in every message, is a
//! certificate, and two survivors that cannot prove their terms to each other never meet again. An order of
//! admins would have to become a proof of a term there, which only those can judge who hold its tip.
//! Left out too: asking another node to forward a change to the leader. The refusal names the leader.

use std::collections::BTreeSet;

use quorate_chain::block::{BlockKind, EnterChange, Item};
use quorate_chain::certificate::Certificate;
use quorate_chain::ids::{Height, NodeId, RosterHash};
use quorate_chain::roster::{
    ChangeError, QuorumKind, Role as MemberRole, Roster, SignedRosterChange,
};

use crate::effect::Effect;
use crate::event::ChangeId;
use crate::message::Message;
use crate::progress::{Progress, after};
use crate::raft::Core;
use crate::role::Role;

/// Which half of a joint roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The one that is being left.
    Old,
    /// The one that comes.
    New,
}

/// Why a roster change was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only the leader takes changes.
    #[error("this node does not lead{}", leader.map_or(String::new(), |id| format!(", {id} does")))]
    NotLeader {
        /// Who leads, if it is known.
        leader: Option<NodeId>,
    },
    /// No block of the leader's term is committed under this roster yet. Asking again soon helps.
    #[error("no block of this term is committed yet")]
    Unsettled,
    /// One change at a time.
    #[error("another roster change is under way")]
    UnderWay,
    /// It is for another roster, too few admins have signed it, or it leads to no valid roster.
    #[error(transparent)]
    Unfit(#[from] ChangeError),
    /// The roster that it leads to could not commit anything now.
    #[error("the {half:?} half takes {needed} of {voters} voters, {} are heard", heard.len())]
    Unreachable {
        /// Which half.
        half: Half,
        /// How many voters it has.
        voters: usize,
        /// How many of them a quorum takes.
        needed: usize,
        /// Those that were heard within an election timeout.
        heard: Vec<NodeId>,
    },
}

/// A roster change that waits for its block.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The caller's name for it.
    pub id: ChangeId,
    /// The change.
    pub change: SignedRosterChange,
}

/// A block that changes the roster: what is for it to say, and the roster that it brings.
pub(crate) struct RosterBlock {
    pub(crate) kind: BlockKind,
    pub(crate) item: Item,
    pub(crate) roster_hash: RosterHash,
}

impl Core {
    /// Somebody wants another roster.
    pub(crate) fn change_asked(&mut self, id: ChangeId, change: SignedRosterChange) {
        let judged = self.judge_change(&change);
        match (&mut self.role, judged) {
            (Role::Leader(leader), Ok(())) => leader.asked = Some(Asked { id, change }),
            (Role::Leader(_) | Role::Follower(_) | Role::Candidate(_), judged) => {
                let why = judged.err().unwrap_or(Refusal::NotLeader { leader: None });
                self.effects.push(Effect::Changed { id, outcome: Err(why) });
            }
        }
    }

    fn judge_change(&self, change: &SignedRosterChange) -> Result<(), Refusal> {
        let Role::Leader(leader) = &self.role else {
            return Err(Refusal::NotLeader { leader: self.leader() });
        };
        let tip = self.log.tip();
        let entering = tip.roster_since > self.log.committed().height;
        if tip.roster.is_joint() || entering || leader.asked.is_some() {
            return Err(Refusal::UnderWay);
        }
        if self.roster_proof().is_none() {
            return Err(Refusal::Unsettled);
        }
        change.check(self.config.chain_id, &tip.roster, &*self.verifier)?;
        self.reachable(&tip.roster.apply(change.change())?)
    }

    /// The newest commit certificate by the roster at the tip, if a block under it is committed in the
    /// own term: without that the roster must not be left.
    fn roster_proof(&self) -> Option<Certificate> {
        let (tip, committed) = (self.log.tip(), self.log.committed());
        let settled = committed.term == self.ballot.term && committed.height >= tip.roster_since;
        let newest = self.certificate_up_to(tip.block.height).filter(|_| settled)?;
        let by_it = newest.roster_hash() == tip.roster.hash();
        (by_it && newest.block().height >= tip.roster_since).then_some(newest)
    }

    /// Whether enough voters of each half have been heard to go on under this roster.
    fn reachable(&self, roster: &Roster) -> Result<(), Refusal> {
        let halves = [Half::Old, Half::New].into_iter();
        for (half, part) in halves.zip(roster.parts()) {
            let heard: Vec<_> =
                part.voters().map(|voter| voter.id).filter(|id| self.hears(*id)).collect();
            let needed = part.quorum(QuorumKind::Election).max(part.quorum(QuorumKind::Commit));
            if heard.len() < needed {
                let voters = part.voters().count();
                return Err(Refusal::Unreachable { half, voters, needed, heard });
            }
        }
        Ok(())
    }

    /// Whether a leader has heard a member within an election timeout; itself it hears.
    fn hears(&self, id: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let recent = |node: &Progress| {
            node.introduced && self.now.moment.since(node.heard) <= self.config.election_timeout
        };
        id == self.config.id || leader.others.get(&id).is_some_and(recent)
    }

    /// The roster block that is due, if one is.
    pub(crate) fn roster_block(&self) -> Option<RosterBlock> {
        let Role::Leader(leader) = &self.role else { return None };
        let roster = &self.log.tip().roster;
        let certificate = self.roster_proof()?;
        if let Some(left) = roster.left() {
            let item = Item::Leave { certificate };
            return Some(RosterBlock { kind: BlockKind::Leave, item, roster_hash: left.hash() });
        }
        let (change, joint) = match &leader.asked {
            Some(Asked { change, .. }) => {
                (EnterChange::Ordered(change.clone()), roster.apply(change.change()).ok()?)
            }
            None => self.promotion()?,
        };
        let item = Item::Enter { change, certificate };
        Some(RosterBlock { kind: BlockKind::Enter, item, roster_hash: joint.hash() })
    }

    /// The promotion of the first learner that awaits it and may have it.
    fn promotion(&self) -> Option<(EnterChange, Roster)> {
        let tip = self.log.tip();
        let awaits = tip.roster.current().members.iter();
        awaits.filter(|member| member.role == MemberRole::Learner { promote: true }).find_map(
            |it| {
                let joint = tip.roster.promote(it.id).ok()?;
                let may = self.is_close(it.id) && self.reachable(&joint).is_ok();
                may.then_some((EnterChange::Promotion { id: it.id }, joint))
            },
        )
    }

    /// Whether a member is heard and has all but a window of the chain.
    fn is_close(&self, id: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let tip = self.log.tip().block.height.get();
        let missing =
            leader.others.get(&id).map(|node| tip.saturating_sub(node.matched.height.get()));
        self.hears(id) && missing.is_some_and(|it| it <= self.config.window_blocks as u64)
    }

    /// The leader has sealed a block: the change that it enters is taken.
    pub(crate) fn change_sealed(&mut self, item: Option<&Item>, height: Height) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(Item::Enter { change: EnterChange::Ordered(sealed), .. }) = item else { return };
        if let Some(asked) = leader.asked.take_if(|asked| asked.change == *sealed) {
            self.effects.push(Effect::Changed { id: asked.id, outcome: Ok(height) });
        }
    }

    /// A leader stops leading: the change that waits for its block will not get one from it.
    pub(crate) fn refuse_asked(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(asked) = leader.asked.take() {
            let outcome = Err(Refusal::NotLeader { leader: None });
            self.effects.push(Effect::Changed { id: asked.id, outcome });
        }
    }

    /// Serves those who are members now, and no longer those who are not.
    pub(crate) fn serve_members(&mut self) {
        let (tip, committed) = (self.log.tip(), self.log.committed());
        let Some(settled) = self.log.anchor(committed.height) else { return };
        let rosters = (settled.roster.hash(), tip.roster.hash());
        let members: BTreeSet<_> =
            [&settled.roster, &tip.roster].iter().flat_map(|it| it.ids()).collect();
        let (next, start) = (after(tip.block.height), self.config.chain_id.genesis_ref());
        let newest = self.certificate_up_to(tip.block.height);
        let (own, now) = (self.config.id, self.now.moment);
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.serves == Some(rosters) {
            return;
        }
        leader.serves = Some(rosters);
        for id in members.iter().filter(|id| **id != own) {
            leader.others.entry(*id).or_insert_with(|| Progress::new(next, start, now));
        }
        let gone: Vec<_> =
            leader.others.keys().filter(|id| !members.contains(*id)).copied().collect();
        for id in gone {
            leader.others.remove(&id);
            if let Some(certificate) = newest.clone() {
                self.effects
                    .push(Effect::Send { to: id, message: Message::Committed(certificate) });
            }
        }
    }

    /// Whether the roster at the tip has no place for this leader any more.
    pub(crate) fn is_removed(&self) -> bool {
        !self.log.tip().roster.is_voter(self.config.id)
    }

    /// A leader that has been removed steps down once that is committed.
    pub(crate) fn leave_if_removed(&mut self) {
        let leads = matches!(self.role, Role::Leader(_));
        if leads && self.is_removed() && self.log.committed() == self.log.tip().block {
            self.follow(None);
        }
    }
}
