//! Handing leadership over (thesis 3.10), and who wants to lead.
//!
//! **Transfer.** The leader is asked for it, names the one who shall lead or chooses the best voter
//! that wants to, and offers no more slots. When that one has the leader's tip on disk, the leader stops
//! answering reads, signs a `Handover` and sends it. The other campaigns at once, with the handover in
//! its requests. Who is asked grants although a leader is heard, if the handover is
//!
//! - signed by the leader that is followed here, which asks nobody but that leader's key;
//! - of this term, to this candidate, and for exactly the candidate's tip.
//!
//! Everything else is asked as ever: exactly the next term, a tip not below the own. A handover that is
//! kept back is of no use once the tip or the term has moved on: a candidate that has the new tip is not the
//! one that was asked, and one that has the old tip is refused for it. A candidate uses it for one campaign.
//!
//! A transfer that is not over within an election timeout is given up, and the leader goes on. It was
//! the operator's: [`TransferEnd`] says how it ended.
//!
//! **Who wants to lead.** What the operator has said last at this node counts, otherwise what its
//! configuration says, otherwise the roster. `Prefer` waits for a shorter time before it campaigns. `No`
//! is a last resort and not a never: a strict never can lose the group the only node that has its
//! newest chain. It waits four times as long, and when it leads, it hands over as soon as it has
//! committed in its term and a voter that wants to lead has caught up. `Yes` keeps what it has, also
//! from `Prefer`: every handover costs a pause.
//!
//! **A disk that stands still.** A leader whose disk lacks what the others have certified, for an election timeout
//! and three times as long as it took them, hands over like one that would rather not lead: the others commit what it
//! sends them, but it applies nothing, and so soon seals nothing. Where all disks are as slow, nobody would lead
//! better.
//!
//! **A leader's handover to itself** begins a new term for the sake of a recovering validator (see
//! [`crate::amnesia`]), or of one that pre-votes have brought into a higher term.

use quorate_chain::ids::{BlockRef, NodeId};
use quorate_chain::roster::Lead;
use quorate_chain::statement::{SignedStatement, Statement};

use crate::effect::Effect;
use crate::message::Message;
use crate::raft::Core;
use crate::role::Role;
use crate::time::{Moment, Span};

/// How many election timeouts a leader that would rather not lead waits between two attempts.
const REST: u64 = 2;

/// How a transfer that the operator asked for has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferEnd {
    /// The other campaigns, with the consent of a quorum.
    #[error("node {to} takes over")]
    Given {
        /// Who.
        to: NodeId,
    },
    /// Another leads, or nobody.
    #[error("this node does not lead{}", leader.map_or_else(String::new, |id| format!(", node {id} does")))]
    NotLeading {
        /// Who leads, as far as is known here.
        leader: Option<NodeId>,
    },
    /// Who shall lead is no voter.
    #[error("node {to} is no voter")]
    NotVoter {
        /// Who.
        to: NodeId,
    },
    /// Who shall lead does so.
    #[error("this node leads already")]
    Itself,
    /// A transfer is under way.
    #[error("leadership is being handed over to node {to}")]
    Busy {
        /// To whom.
        to: NodeId,
    },
    /// No other voter wants to lead and was heard lately.
    #[error("no other voter that wants to lead was heard lately")]
    NobodyFit,
    /// It was not over within an election timeout. The leader goes on.
    #[error("node {to} did not take over in time")]
    TooLate {
        /// Who should have.
        to: NodeId,
    },
    /// Leadership was lost otherwise.
    #[error("leadership was lost before node {to} took over")]
    Lost {
        /// Who should have.
        to: NodeId,
    },
}

/// A transfer that is under way.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// To whom.
    pub to: NodeId,
    /// When it is given up.
    pub until: Moment,
    /// How far it is.
    pub step: Step,
    /// Whether the operator asked for it, and is told how it ended.
    pub ordered: bool,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The other lacks the tip.
    Waiting,
    /// The handover is being signed, or has been sent.
    Leaving,
}

impl Core {
    /// Whether this validator wants to lead.
    #[must_use]
    pub fn lead_wish(&self) -> Lead {
        let said = self.willing.or(self.config.lead);
        let member = self.log.tip().roster.member(self.config.id);
        said.or(member.map(|member| member.lead)).unwrap_or(Lead::Yes)
    }

    /// The operator wants another leader.
    pub(crate) fn transfer_asked(&mut self, to: Option<NodeId>) {
        let end = match self.begin_transfer(to) {
            Ok(()) => return,
            Err(end) => end,
        };
        self.effects.push(Effect::TransferEnded(end));
    }

    fn begin_transfer(&mut self, to: Option<NodeId>) -> Result<(), TransferEnd> {
        let leader = self.leader();
        let Role::Leader(own) = &self.role else { return Err(TransferEnd::NotLeading { leader }) };
        if let Some(transfer) = &own.transfer {
            return Err(TransferEnd::Busy { to: transfer.to });
        }
        if to == Some(self.config.id) {
            return Err(TransferEnd::Itself);
        }
        if let Some(to) = to.filter(|to| !self.log.tip().roster.is_voter(*to)) {
            return Err(TransferEnd::NotVoter { to });
        }
        let to = to.or_else(|| self.best_successor()).ok_or(TransferEnd::NobodyFit)?;
        self.hand_over(to, true);
        Ok(())
    }

    /// The voter that wants to lead, was heard lately and has the highest tip.
    fn best_successor(&self) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else { return None };
        let roster = &self.log.tip().roster;
        let fit = leader.others.iter().filter(|(id, node)| {
            let heard = self.now.moment.since(node.heard) < self.config.election_timeout;
            heard && node.introduced && roster.is_voter(**id) && node.lead != Some(Lead::No)
        });
        let prefers = |lead: Option<Lead>| lead == Some(Lead::Prefer);
        fit.max_by_key(|(_, node)| (node.matched.height, prefers(node.lead))).map(|(id, _)| *id)
    }

    /// Whether leadership is being handed over: then no slot is offered.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.transfer.is_some())
    }

    pub(crate) fn hand_over(&mut self, to: NodeId, ordered: bool) {
        let until = self.now.moment.after(self.config.election_timeout);
        let Role::Leader(leader) = &mut self.role else { return };
        leader.transfer = Some(Transfer { to, until, step: Step::Waiting, ordered });
        leader.rest = until.after(self.config.election_timeout.times(REST));
        if leader.offered.take().is_some() {
            self.effects.push(Effect::Withdraw);
        }
    }

    /// Begins what a leader does by itself, and goes on with a transfer that is under way.
    pub(crate) fn transfer_on(&mut self) {
        self.leave_if_unfit();
        let tip = self.log.tip();
        let (block, roster_hash, term) = (tip.block, tip.roster.hash(), self.ballot.term);
        let (own, may) = (self.config.id, self.may_campaign());
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let to = transfer.to;
        let has_tip = match leader.others.get(&to) {
            Some(node) => node.matched == block,
            None => to == own && may,
        };
        if transfer.step != Step::Waiting || !has_tip || block.term != term {
            return;
        }
        transfer.step = Step::Leaving;
        // Reads end before the handover leaves.
        self.refuse_askers();
        self.sign_when_durable(Statement::Handover { term, to, tip: block }, roster_hash);
        self.release_statements();
    }

    /// Hands over if this validator would rather not lead, or its disk stands still, something of its term
    /// is certified, and another that wants to lead has that.
    fn leave_if_unfit(&mut self) {
        let now = self.now.moment;
        // What others have certified is enough: the own disk may be why it is not committed here.
        let certified = self.commits.wanted().filter(|block| self.log.contains(*block));
        let certified = certified.unwrap_or(self.log.committed());
        let unfit = self.is_outrun(certified) || self.lead_wish() == Lead::No;
        let Role::Leader(leader) = &self.role else { return };
        let due = leader.transfer.is_none() && now >= leader.rest;
        if !due || !unfit || certified.term != self.ballot.term {
            return;
        }
        let caught_up = |id: &NodeId| {
            leader.others.get(id).is_some_and(|node| node.matched.height >= certified.height)
        };
        if let Some(to) = self.best_successor().filter(caught_up) {
            self.hand_over(to, false);
        }
    }

    /// Whether others have certified a block that the own disk has not written after an election timeout, and
    /// after three times the time that it took them: they had to be sent it first.
    fn is_outrun(&mut self, certified: BlockRef) -> bool {
        let (now, first) = (self.now.moment, self.disk.first_on_its_way());
        let Role::Leader(leader) = &mut self.role else { return false };
        let writes = first.filter(|(end, _)| end.height <= certified.height);
        let outrun = writes.map(|(end, since)| {
            let known = leader.outrun.filter(|(height, _)| *height == end.height);
            known.unwrap_or((end.height, now.since(since)))
        });
        leader.outrun = outrun;
        let patience = |took: Span| self.config.election_timeout.max(took.times(3));
        outrun.zip(writes).is_some_and(|((_, took), (_, since))| now.since(since) >= patience(took))
    }

    /// The own handover has been signed.
    pub(crate) fn handover_signed(&mut self, said: SignedStatement) {
        let Statement::Handover { to, .. } = said.statement else { return };
        if to == self.config.id && !self.may_campaign() {
            // What was in flight has been committed meanwhile, and is to be applied first.
            let Role::Leader(leader) = &mut self.role else { return };
            if let Some(transfer) = &mut leader.transfer {
                transfer.step = Step::Waiting;
            }
        } else if to == self.config.id {
            self.campaign(Some(said));
        } else {
            self.send(to, Message::Handover(said));
        }
    }

    /// Whether the own handover may still leave.
    pub(crate) fn still_hands_over(&self, to: NodeId, tip: BlockRef) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let leaving = |it: &Transfer| it.to == to && it.step == Step::Leaving;
        leader.transfer.as_ref().is_some_and(leaving) && self.log.tip().block == tip
    }

    /// Gives a transfer up that takes too long.
    pub(crate) fn transfer_tick(&mut self) {
        let now = self.now.moment;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = leader.transfer.take_if(|transfer| now >= transfer.until) else {
            return;
        };
        if transfer.ordered {
            self.effects.push(Effect::TransferEnded(TransferEnd::TooLate { to: transfer.to }));
        }
    }

    /// Leadership ends: says so to all who wait for it.
    pub(crate) fn leave_office(&mut self) {
        self.refuse_asked();
        self.refuse_askers();
        let Role::Leader(leader) = &mut self.role else { return };
        self.effects.push(Effect::Withdraw);
        let Some(Transfer { to, ordered: true, .. }) = leader.transfer.take() else { return };
        let proof = self.ballot.proof.as_ref().map(|proof| *proof.certificate.statement());
        let given = matches!(proof,
            Some(Statement::PreVote { candidate, .. } | Statement::Vote { candidate, .. })
                if candidate == to);
        let end = if given { TransferEnd::Given { to } } else { TransferEnd::Lost { to } };
        self.effects.push(Effect::TransferEnded(end));
    }

    /// The leader asks this validator to campaign.
    pub(crate) fn handed_over(&mut self, said: SignedStatement) {
        let tip = self.log.tip().block;
        if self.is_handover(&said, self.config.id, tip)
            && let Role::Follower(follower) = &mut self.role
        {
            follower.handover = Some(Box::new(said));
        }
    }

    /// Campaigns with a handover as soon as nothing stands against it, unless the tip has moved on.
    pub(crate) fn take_up_handover(&mut self) {
        let may = self.may_campaign();
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(handover) = follower.handover.take_if(|_| may) else { return };
        if self.is_handover(&handover, self.config.id, self.log.tip().block) {
            self.campaign(Some(*handover));
        }
    }

    /// Whether the leader that is followed here wants this candidate, with the tip that it has named.
    pub(crate) fn is_handover(
        &self,
        said: &SignedStatement,
        candidate: NodeId,
        has: BlockRef,
    ) -> bool {
        let Statement::Handover { term, to, tip } = said.statement else { return false };
        let asked = term == self.ballot.term && to == candidate && tip == has;
        if !asked || self.leader() != Some(said.signer) {
            return false;
        }
        let Some(key) = self.key_of(said.signer) else { return false };
        let message = said.statement.message(self.config.chain_id, said.roster_hash);
        self.verifier.validator(&key, &message, &said.signature).is_ok()
    }
}
