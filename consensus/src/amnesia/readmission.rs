//! A validator that may have forgotten what it has signed becomes whole again: see [`crate::amnesia`].

use std::collections::BTreeMap;

use quorate_chain::certificate::CertificateKind;
use quorate_chain::ids::{NodeId, RosterHash, Term};
use quorate_chain::roster::QuorumKind;

use super::{GRACE, Memory, PATIENCE, Recovery};
use crate::ballot::{Ballot, Choice};
use crate::message::{Message, Nonce, Proof};
use crate::raft::Core;
use crate::role::Role;
use crate::time::Span;

/// The least time between two terms that a leader begins for the sake of recovering validators.
const RENEWAL: Span = Span::millis(60_000);

impl Core {
    pub(super) fn begin_recovery(&mut self) {
        if self.ballot.recovering {
            return;
        }
        self.set_ballot(Ballot { recovering: true, ..self.ballot.clone() });
        self.unsigned.clear();
        if !matches!(self.role, Role::Follower(_)) {
            self.follow(None);
        }
        if matches!(self.memory, Memory::Whole) {
            self.ask_whereabouts();
        }
    }

    /// Asks all where they stand, anew.
    pub(super) fn ask_whereabouts(&mut self) {
        let roster = self.log.tip().roster.clone();
        let nonce = self.questions.nonce();
        let again = self.now.moment.after(self.config.election_timeout);
        let (under, answers) = (roster.hash(), BTreeMap::new());
        let (until, above) = (None, None);
        self.memory = Memory::Recovering(Recovery { nonce, under, answers, until, above, again });
        self.ask_voters(&roster, &Message::Whereabouts { nonce });
    }

    pub(super) fn recover(&mut self) {
        let (own, moment) = (self.config.id, self.now.moment);
        let again = moment.after(self.config.election_timeout);
        let Memory::Recovering(recovery) = &self.memory else { return };
        if recovery.under != self.log.tip().roster.hash() {
            return self.ask_whereabouts();
        }
        let Some(above) = recovery.above.or_else(|| self.weigh_answers()) else { return };
        if self.is_readmitted(above) {
            return self.readmit();
        }
        let leader = self.leader().filter(|leader| *leader != own);
        let Memory::Recovering(recovery) = &mut self.memory else { return };
        if moment >= recovery.again {
            recovery.again = again;
            if let Some(leader) = leader {
                self.send(leader, Message::Recovering { above });
            }
        }
    }

    /// M, if a quorum has answered and the others have had their time, in which they are asked again: a message that
    /// was lost keeps nobody out. Asks all anew if a quorum stays away.
    fn weigh_answers(&mut self) -> Option<Term> {
        let (own, moment) = (self.config.id, self.now.moment);
        let roster = self.log.tip().roster.clone();
        let late = moment.after(self.config.heartbeat.times(GRACE));
        let soon = moment.after(self.config.heartbeat.times(PATIENCE));
        let Memory::Recovering(recovery) = &mut self.memory else { return None };
        let (under, answers) = (recovery.under, &recovery.answers);
        let same = answers.iter().filter(|(id, (_, at))| **id != own && *at == under);
        if !roster.has_quorum(QuorumKind::Election, &same.map(|(id, _)| *id).collect()) {
            if moment >= recovery.again {
                self.ask_whereabouts();
            }
            return None;
        }
        let others = roster.ids().into_iter().filter(|id| roster.is_voter(*id) && *id != own);
        let silent: Vec<_> = others.filter(|id| !answers.contains_key(id)).collect();
        if recovery.until.is_none() {
            recovery.again = soon;
        }
        let until = *recovery.until.get_or_insert(late);
        if moment < until && !silent.is_empty() {
            if moment >= recovery.again {
                recovery.again = soon;
                let again = Message::Whereabouts { nonce: recovery.nonce };
                silent.into_iter().for_each(|id| self.send(id, again.clone()));
            }
            return None;
        }
        recovery.until = None;
        recovery.above = answers.values().map(|(term, _)| *term).max();
        // Now is the time to tell the leader.
        recovery.again = moment;
        recovery.above
    }

    /// Whether the disk holds a block with a certificate of a term above this one that others signed.
    fn is_readmitted(&self, above: Term) -> bool {
        self.commits.reached().is_some_and(|certificate| {
            certificate.term() > above && !certificate.signers().contains(&self.config.id)
        })
    }

    /// The validator is whole again. Its vote in this term may be one that it has forgotten.
    fn readmit(&mut self) {
        let choice = Choice::Spent;
        self.set_ballot(Ballot { choice, recovering: false, ..self.ballot.clone() });
        if matches!(self.memory, Memory::Recovering(_)) {
            self.memory = Memory::Whole;
        }
    }

    /// The operator vouches for what this validator has forgotten.
    pub(crate) fn readmit_by_order(&mut self) {
        if self.ballot.recovering {
            // He vouches for acks of blocks that are lost, too.
            let tip = self.log.tip();
            self.acks.forget_above(tip.block);
            let voters = tip.roster.ids().into_iter().filter(|id| tip.roster.is_voter(*id));
            if voters.eq([self.config.id]) {
                // What is lost here stands nowhere else, so nobody can be asked for it.
                let log = &self.log;
                self.commits.keep_only(|block| log.contains(block));
            }
            self.readmit();
        }
    }

    /// A recovering validator asks where this one stands. Who does not know what it has signed itself
    /// does not answer.
    pub(crate) fn whereabouts(&mut self, from: NodeId, nonce: Nonce) {
        if self.may_sign() {
            let (proof, roster_hash) = (self.proof(), self.log.tip().roster.hash());
            self.send(from, Message::Standing { nonce, proof, roster_hash });
        }
    }

    /// A validator answers where it stands. The first answer that counts is its answer.
    pub(crate) fn stands(
        &mut self,
        from: NodeId,
        nonce: Nonce,
        proof: Option<&Proof>,
        at: RosterHash,
    ) {
        let asked = |recovery: &Recovery| {
            recovery.nonce == nonce
                && recovery.above.is_none()
                && !recovery.answers.contains_key(&from)
        };
        if !matches!(&self.memory, Memory::Recovering(recovery) if asked(recovery))
            || !self.log.tip().roster.is_voter(from)
        {
            return;
        }
        let term = proof.map_or(Term::ZERO, |proof| proof.certificate.term());
        let counts = term <= self.ballot.term || proof.is_some_and(|proof| self.learn_proof(proof));
        if let Memory::Recovering(recovery) = &mut self.memory
            && counts
        {
            recovery.answers.insert(from, (term, at));
        }
    }

    /// A recovering validator waits for a term above the own one.
    pub(crate) fn renew_for(&mut self, from: NodeId, above: Term) {
        if self.ballot.term <= above && self.log.tip().roster.is_voter(from) {
            self.renew();
        }
    }

    /// The leader begins a new term, by a handover to itself, if the last one was some time ago: each is a
    /// pause, and one who lies could ask for many.
    pub(crate) fn renew(&mut self) {
        let moment = self.now.moment;
        let rested = self.renewed.is_none_or(|last| moment.since(last) >= RENEWAL);
        let Role::Leader(leader) = &self.role else { return };
        let settled = self.log.committed().term == self.ballot.term && leader.transfer.is_none();
        if rested && settled {
            self.renewed = Some(moment);
            self.hand_over(self.config.id, false);
        }
    }

    /// What a certificate says of its signers: those of pre-votes bind nobody.
    pub(crate) fn see_certificate(
        &mut self,
        certificate: &quorate_chain::certificate::Certificate,
    ) {
        if certificate.kind() == CertificateKind::PreVote {
            return;
        }
        for said in certificate.signed_statements() {
            self.see_statement(&said);
        }
    }
}
