//! What leaves a node: every statement of its own in it must be true already.
//!
//! A leader's vote for itself and its acks leave in no message of their own, only in the certificates of its term
//! that it has made of them. Of what stands in other certificates each part has left before, and what was true
//! of the disk then need not be true any more.

use quorate_chain::certificate::Certificate;
use quorate_chain::statement::SignedStatement;
use quorate_consensus::message::{Append, Message};

use crate::violation::Check;
use crate::world::World;

impl World {
    /// Checks the statements that a message carries for its sender.
    pub(super) fn check_statements(&mut self, at: usize, message: &Message) -> Check {
        let node = self.seats[at].node;
        let mut own = |said: &SignedStatement| {
            if said.signer != node {
                return Ok(());
            }
            self.seats[at].promises.says(&said.statement)?;
            self.agree(at, &said.statement)
        };
        match message {
            Message::Vote(said) => own(said),
            Message::Stored(stored) => stored.acks.iter().try_for_each(own),
            Message::Append(append) => self.check_append(at, append),
            Message::Committed(certificate) => self.check_own(at, certificate),
            Message::PreVoteRequest { .. }
            | Message::VoteRequest { .. }
            | Message::Refuse { .. }
            | Message::Reject { .. }
            | Message::Stale(_)
            | Message::Pull { .. }
            | Message::Pulled { .. }
            | Message::Snapshot(_)
            | Message::Handover(_)
            | Message::ReadRequest { .. }
            | Message::ReadAt { .. }
            | Message::Greet(_)
            | Message::Known(_)
            | Message::Whereabouts { .. }
            | Message::Standing { .. }
            | Message::Recovering { .. } => Ok(()),
        }
    }

    fn check_append(&mut self, at: usize, append: &Append) -> Check {
        let election = append.election.as_ref().map(|proof| &proof.certificate);
        let mut certificates = election.into_iter().chain(&append.certificate);
        certificates.try_for_each(|certificate| self.check_own(at, certificate))
    }

    /// Checks what a leader has said in a certificate of the term that it leads.
    fn check_own(&mut self, at: usize, certificate: &Certificate) -> Check {
        let seat = &mut self.seats[at];
        let node = seat.node;
        let has_signed = certificate.signatures().iter().any(|signed| signed.signer == node);
        if !has_signed || seat.said.leads != Some(certificate.term()) {
            return Ok(());
        }
        seat.promises.says(certificate.statement())?;
        self.agree(at, certificate.statement())
    }
}
