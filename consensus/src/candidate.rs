//! Campaigns, and votes for the campaigns of others (Raft §5.2, §5.4.1; thesis 4.2.3, 9.6).
//!
//! A campaign first asks for pre-votes, which raise no term and bind nobody. With those of a quorum it
//! raises the term, votes for itself and asks for votes; the pre-votes are the proof of the term. With
//! the votes of a quorum, its own among them, it leads, if its tip is still the one that was voted for, and it has
//! not learned meanwhile that it lacks a certified block: with its next timeout it asks for that. Its own vote is
//! signed when it is durable: of a term that a crash made it forget it has sealed nothing, so it may lead it anew.
//!
//! Who grants: a pre-vote or a vote goes to a candidate whose tip is not of lower rank, from one who
//! has heard no leader for an election timeout, or whose connection to the leader is closed. So a node
//! that was cut off deposes nobody when it returns, and a pre-vote certificate that was kept back is of
//! no use while there is a leader: in every election one who lies can collect pre-votes for the next. Both are
//! voters of the roster at the candidate's tip.
//!
//! A campaign that the leader wants is no time without one. For an election timeout in each of its two parts the
//! candidate listens like one who hears a leader, as long as those who have not refused, and can be reached, are a quorum; and who has voted for
//! it waits for it like for a leader.
//!
//! Haste: whoever's connection to the leader is closed campaigns within a small part of an election timeout. If
//! that comes to nothing, because two have campaigned at once, or one of those who are needed has just started
//! and may not sign yet, the next campaign follows after twice the time, and so on up to an election timeout.
//!
//! A tip of lower rank than an own ack gets no vote, although a certified chain may have taken the place of the
//! acked block (see `adopt`): the two statements together are evidence. The others make a leader, whom this
//! validator follows; they are enough, for with the acks of a quorum the block would be certified as well.
//!
//! What the log had when this life began counts as acked, for nobody remembers what was; a log that has taken a
//! block back is found out otherwise (see [`amnesia`](crate::amnesia)).
//!
//! Left out: a leader that lies, and dies when so many have acked its blocks, or have had them and have started again,
//! that the others are no quorum without them: then the admins recover the group.

use std::collections::{BTreeMap, BTreeSet};

use quorate_chain::certificate::{Certificate, CertificateKind};
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, NodeId, Term};
use quorate_chain::roster::{QuorumKind, Roster};
use quorate_chain::statement::{SignedStatement, Statement};

use crate::ballot::{Ballot, Choice};
use crate::judge::{Proven, Verdict};
use crate::message::{Message, Proof};
use crate::raft::Core;
use crate::role::{Candidate, Role};
use crate::time::Span;

/// How much sooner a closed connection to the leader starts a campaign: the timeout is this part of an
/// election timeout, so that not all campaign at once, and the unwilling last.
const HASTE: u64 = 20;

impl Core {
    /// Whether nothing stands against a campaign: this validator may sign, votes in the roster at its
    /// tip, has applied what is committed, lacks no block that it knows to be certified, and has acked none of
    /// higher rank than its tip.
    pub(crate) fn may_campaign(&self) -> bool {
        let voter = self.log.tip().roster.is_voter(self.config.id);
        let applied = self.log.applied().block.height == self.log.committed().height;
        // What is held and known to be certified comes first, right after a start too.
        let certified = self.commits.on_chain(|block| self.log.contains(block)).is_some();
        let free = !certified && !self.is_installing() && !self.lacks_certified();
        let free = free && self.acks.allow(self.log.tip().block);
        self.may_sign() && voter && applied && free
    }

    /// Campaigns, if nothing stands against it. Whoever lacks a certified block could not win, and
    /// should not: it asks for the block.
    pub(crate) fn campaign(&mut self, handover: Option<SignedStatement>) {
        let tip = self.log.tip();
        let (tip, roster) = (tip.block, tip.roster.clone());
        let Some(term) = self.ballot.term.next() else { return };
        let haste = self.next_haste();
        if !self.may_campaign() {
            self.follow(None);
            self.hasten(haste);
            if self.lacks_certified() {
                let pull = Message::Pull { committed: self.log.committed() };
                self.ask_voters(&roster, &pull);
            }
            return;
        }
        let wanted = Statement::PreVote { term, candidate: self.config.id, tip };
        self.become_candidate(wanted, tip, handover.clone(), haste);
        self.sign_when_durable(wanted, roster.hash());
        let (proof, roster_sent) = (self.proof(), roster.clone());
        let request = Message::PreVoteRequest { term, tip, roster: roster_sent, proof, handover };
        self.ask_voters(&roster, &request);
    }

    fn become_candidate(
        &mut self,
        wanted: Statement,
        tip: BlockRef,
        handover: Option<SignedStatement>,
        haste: Option<Span>,
    ) {
        self.leave_office();
        self.leader_is_gone();
        let base = haste.unwrap_or(self.config.election_timeout);
        let timeout = self.jitter.election_timeout(base, self.lead_wish());
        let deadline = self.now.moment.after(timeout);
        let said = BTreeMap::new();
        self.acks.enter(self.ballot.term);
        let (refused, shelter) =
            (BTreeSet::new(), self.now.moment.after(self.config.election_timeout));
        let sheltered = handover.is_some().then_some(shelter);
        let candidate =
            Candidate { wanted, tip, said, handover, sheltered, refused, haste, deadline };
        self.role = Role::Candidate(Box::new(candidate));
    }

    pub(crate) fn ask_voters(&mut self, roster: &Roster, message: &Message) {
        for id in roster.ids() {
            if id != self.config.id && roster.is_voter(id) {
                self.send(id, message.clone());
            }
        }
    }

    /// The connection to a peer is closed. A leader that was killed is known to be gone long before
    /// its silence says so.
    pub(crate) fn link_lost(&mut self, peer: NodeId) {
        self.is_no_help(peer);
        if let Role::Follower(follower) = &mut self.role
            && follower.leader.or(follower.awaited) == Some(peer)
            && !follower.link_lost
        {
            follower.link_lost = true;
            self.hasten(Some(Span::micros(self.config.election_timeout.as_micros() / HASTE)));
        }
    }

    /// A follower campaigns sooner than it would.
    fn hasten(&mut self, haste: Option<Span>) {
        let Some(base) = haste else { return };
        let soon = self.jitter.election_timeout(base, self.lead_wish());
        let moment = self.now.moment;
        let Role::Follower(follower) = &mut self.role else { return };
        follower.haste = haste;
        follower.deadline = follower.deadline.min(moment.after(soon));
    }

    /// After a campaign in haste that came to nothing, or could not begin, the next one waits twice as
    /// long, until it is in no haste any more.
    fn next_haste(&self) -> Option<Span> {
        let last = match &self.role {
            Role::Follower(follower) => follower.haste,
            Role::Candidate(candidate) => candidate.haste,
            Role::Leader(_) => None,
        };
        last.map(|base| base.times(2)).filter(|base| *base < self.config.election_timeout)
    }

    /// Whether a leader of this term was heard lately, or one that it wants is on its way.
    pub(crate) fn hears_leader(&self) -> bool {
        match &self.role {
            Role::Leader(_) => true,
            Role::Candidate(candidate) => {
                candidate.sheltered.is_some_and(|until| self.now.moment < until)
            }
            Role::Follower(follower) => {
                let silence = self.now.moment.since(follower.heard);
                let recent = silence < self.config.election_timeout;
                let leader = follower.leader.or(follower.awaited);
                leader.is_some() && recent && !follower.link_lost
            }
        }
    }

    /// Whether neither an own ack nor what counts as one forbids a vote for a candidate with this tip.
    #[must_use]
    pub fn acks_allow(&self, tip: BlockRef) -> bool {
        self.acks.allow(tip)
    }

    /// Whether a candidate's tip is not of lower rank than the own one, nor than a block that is known
    /// here to be certified or was acked.
    fn is_high(&self, tip: BlockRef) -> bool {
        let certified = self.commits.wanted().is_none_or(|wanted| tip.rank() >= wanted.rank());
        certified && tip.rank() >= self.log.tip().block.rank() && self.acks.allow(tip)
    }

    /// Whether this validator may listen to a candidate: it hears no leader, or its leader wants this
    /// campaign.
    fn is_free_for(
        &mut self,
        candidate: NodeId,
        tip: BlockRef,
        handover: Option<&SignedStatement>,
    ) -> bool {
        let handed = handover.filter(|it| self.is_handover(it, candidate, tip));
        // The pre-vote is signed later, and must still be meant then.
        self.handed = handed.cloned().or_else(|| self.handed.take());
        handed.is_some() || !self.hears_leader() || self.awaits(candidate)
    }

    /// Whether this candidate got the own vote because its leader wanted that.
    pub(crate) fn awaits(&self, candidate: NodeId) -> bool {
        matches!(&self.role, Role::Follower(follower) if follower.awaited == Some(candidate))
    }

    /// Somebody is in a higher term. Whoever hears a leader leaves it for votes or a commit of that term, but
    /// not for pre-votes; a leader begins a new term instead, in which who has gone ahead finds back. One that
    /// commits nothing gives way: who has gone ahead may be what it lacks for a quorum.
    pub(crate) fn told_stale(&mut self, proof: &Proof) {
        let pre_votes = proof.certificate.kind() == CertificateKind::PreVote;
        if !pre_votes || !self.hears_leader() {
            self.learn_proof(proof);
        } else if proof.certificate.term() > self.ballot.term
            && matches!(self.role, Role::Leader(_))
            && matches!(self.judge(proof), Verdict::Good(_))
        {
            if self.commits_nothing() {
                self.learn_proof(proof);
            } else {
                self.renew();
            }
        }
    }

    fn refuse(&mut self, to: NodeId) {
        let (proof, tip, committed) = (self.proof(), self.log.tip().block, self.log.committed());
        self.send(to, Message::Refuse { proof, tip, committed });
    }

    pub(crate) fn pre_vote_requested(
        &mut self,
        from: NodeId,
        term: Term,
        tip: BlockRef,
        roster: &Roster,
        proof: Option<Proof>,
        handover: Option<&SignedStatement>,
    ) {
        let free = self.is_free_for(from, tip, handover);
        if let Some(proof) = proof
            && free
        {
            self.learn_proof(&proof);
        }
        // Exactly the next term: recovery from a lost disk rests on it.
        let fits = Some(term) == self.ballot.term.next();
        let high = self.is_high(tip);
        let both = roster.is_voter(from) && roster.is_voter(self.config.id);
        if fits && high && both && free && self.may_sign() {
            let wanted = Statement::PreVote { term, candidate: from, tip };
            self.sign_when_durable(wanted, roster.hash());
        } else {
            self.refuse(from);
        }
    }

    pub(crate) fn vote_requested(
        &mut self,
        from: NodeId,
        tip: BlockRef,
        proof: &Proof,
        handover: Option<&SignedStatement>,
    ) {
        let term = proof.certificate.term();
        let claimed = Statement::PreVote { term, candidate: from, tip };
        let own = proof.certificate.kind() == CertificateKind::PreVote
            && *proof.certificate.statement() == claimed;
        let wanted = handover.is_some_and(|it| self.is_handover(it, from, tip));
        // Stickiness again: a certificate that was kept back must not depose a leader.
        if !own || !self.is_free_for(from, tip, handover) || !self.learn_proof(proof) {
            return self.refuse(from);
        }
        let choice = Choice::For { candidate: from, tip };
        let both = proof.roster.is_voter(from) && proof.roster.is_voter(self.config.id);
        let high = self.is_high(tip);
        let again = self.ballot.choice == choice;
        let may = again || (high && self.ballot.choice == Choice::Open);
        if term != self.ballot.term || !both || !may || !self.may_sign() {
            return self.refuse(from);
        }
        if self.ballot.choice == Choice::Open {
            self.set_ballot(Ballot { choice, ..self.ballot.clone() });
        }
        if let Role::Follower(follower) = &mut self.role
            && wanted
        {
            follower.awaited = Some(from);
        }
        let vote = Statement::Vote { term, candidate: from, tip };
        self.sign_when_durable(vote, proof.roster.hash());
    }

    /// Somebody gave a pre-vote or a vote.
    pub(crate) fn voted(&mut self, from: NodeId, said: SignedStatement) {
        let Role::Candidate(candidate) = &self.role else { return };
        let roster = self.log.tip().roster.clone();
        if said.signer != from || said.statement != candidate.wanted {
            return;
        }
        if let Ok(said) = said.verify(self.config.chain_id, &roster, &*self.verifier) {
            self.see_statement(&said);
            self.count(said);
        }
    }

    /// Counts a verified pre-vote or vote, and goes on if a quorum is reached.
    pub(crate) fn count(&mut self, said: Checked<SignedStatement>) {
        let tip = self.log.tip();
        let (roster, tip) = (tip.roster.clone(), tip.block);
        let lacks = self.lacks_certified();
        let Role::Candidate(candidate) = &mut self.role else { return };
        if said.statement != candidate.wanted || candidate.tip != tip || lacks {
            return;
        }
        candidate.said.insert(said.signer, said);
        let wanted = candidate.wanted;
        // The own vote is signed once it is durable.
        let own = candidate.said.contains_key(&self.config.id);
        if matches!(wanted, Statement::Vote { .. }) && !own {
            return;
        }
        let gathered = Certificate::gather(wanted, &roster, candidate.said.values());
        let Some(certificate) = gathered else { return };
        let proven = Proven { certificate, roster: roster.clone() };
        match wanted {
            Statement::PreVote { term, .. } => self.ask_for_votes(term, tip, proven, &roster),
            Statement::Vote { .. } => self.lead(proven),
            Statement::Ack { .. } | Statement::Handover { .. } => {}
        }
    }

    fn ask_for_votes(&mut self, term: Term, tip: BlockRef, proven: Proven, roster: &Roster) {
        let candidate = self.config.id;
        let choice = Choice::For { candidate, tip };
        let proof = proven.to_proof();
        let Role::Candidate(before) = &self.role else { return };
        let (handover, haste) = (before.handover.clone(), before.haste);
        self.set_ballot(Ballot { choice, ..self.ballot.raised(proven) });
        let vote = Statement::Vote { term, candidate, tip };
        self.become_candidate(vote, tip, handover.clone(), haste);
        self.sign_when_durable(vote, roster.hash());
        self.ask_voters(roster, &Message::VoteRequest { tip, proof, handover });
    }

    /// Somebody has refused, or cannot be reached. If the others are no quorum, what the leader wanted is not to be
    /// had, and others decide the term.
    fn is_no_help(&mut self, peer: NodeId) {
        let Role::Candidate(candidate) = &mut self.role else { return };
        candidate.refused.insert(peer);
        let roster = &self.log.tip().roster;
        let left = &roster.ids() - &candidate.refused;
        if !roster.has_quorum(QuorumKind::Election, &left) {
            candidate.sheltered = None;
        }
    }

    /// Somebody refused. It may have proven a higher term; if its tip is higher than mine, its chain
    /// is pulled, for without it I could never lead. If it has committed less than I, or has less and has not
    /// come to my term, it may be that it does not know my roster and cannot judge what I ask by: it is
    /// brought the blocks.
    pub(crate) fn refused(
        &mut self,
        from: NodeId,
        proof: Option<Proof>,
        tip: BlockRef,
        committed: BlockRef,
    ) {
        if !matches!(self.role, Role::Candidate(_)) {
            return;
        }
        self.is_no_help(from);
        let term = proof.as_ref().map_or(Term::ZERO, |proof| proof.certificate.term());
        if let Some(proof) = proof {
            self.told_stale(&proof);
        }
        let behind = committed.height < self.log.committed().height;
        let unconvinced = term < self.ballot.term && tip != self.log.tip().block;
        if tip.rank() > self.log.tip().block.rank() {
            self.send(from, Message::Pull { committed: self.log.committed() });
        } else if behind || unconvinced {
            self.pulled_from(from, committed);
        }
    }
}
