//! What a process has heard of others since it began: of each validator the newest vote and the highest ack.
//!
//! It is what `amnesia` of the consensus must be able to tell: no more, since nothing of it is durable, and what
//! was sent to a process that has died since, or never came, nobody knows.

use std::collections::BTreeMap;

use quorate_chain::ids::{BlockRef, NodeId, Term};
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_consensus::message::Message;

use crate::promises::Promises;

/// The newest words of each.
#[derive(Clone, Debug, Default)]
pub struct Heard(BTreeMap<NodeId, Newest>);

#[derive(Clone, Debug, Default)]
struct Newest {
    vote: Option<(Term, NodeId, BlockRef)>,
    ack: Option<BlockRef>,
}

impl Heard {
    /// A message has come.
    pub fn hear(&mut self, message: &Message) {
        match message {
            Message::Vote(said) => self.note(said.signer, &said.statement),
            Message::Stored(stored) => self.note_all(stored.acks.iter().cloned()),
            Message::Append(append) => {
                let election = append.election.as_ref().map(|proof| &proof.certificate);
                for certificate in election.into_iter().chain(&append.certificate) {
                    self.note_all(certificate.signed_statements());
                }
            }
            Message::Committed(certificate) => {
                self.note_all(certificate.signed_statements());
            }
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
            | Message::Recovering { .. } => {}
        }
    }

    fn note_all(&mut self, all: impl Iterator<Item = SignedStatement>) {
        all.for_each(|said| self.note(said.signer, &said.statement));
    }

    fn note(&mut self, signer: NodeId, statement: &Statement) {
        let newest = self.0.entry(signer).or_default();
        match *statement {
            Statement::Vote { term, candidate, tip } => {
                let newer = newest.vote.is_none_or(|(known, ..)| term >= known);
                newest.vote = if newer { Some((term, candidate, tip)) } else { newest.vote };
            }
            Statement::Ack { block } => {
                let higher = newest.ack.is_none_or(|known| block.rank() > known.rank());
                newest.ack = if higher { Some(block) } else { newest.ack };
            }
            Statement::PreVote { .. } | Statement::Handover { .. } => {}
        }
    }

    /// Whether something that was heard of a validator excludes that it says this, and is really its own.
    #[must_use]
    pub fn excludes(&self, of: NodeId, statement: &Statement, own: &Promises) -> bool {
        let Some(newest) = self.0.get(&of) else { return false };
        let vote = newest.vote.filter(|(term, candidate, tip)| {
            own.have(&Statement::Vote { term: *term, candidate: *candidate, tip: *tip })
        });
        let ack = newest.ack.filter(|block| own.have(&Statement::Ack { block: *block }));
        match *statement {
            Statement::Vote { term, candidate, tip } => {
                let twice = vote.is_some_and(|(voted, other, its)| {
                    voted == term && (other, its) != (candidate, tip)
                });
                twice || ack.is_some_and(|ack| ack.term < term && ack.rank() > tip.rank())
            }
            Statement::Ack { block } => {
                let twice = ack.is_some_and(|ack| {
                    (ack.term, ack.height) == (block.term, block.height) && ack != block
                });
                let later = |(term, _, tip): (Term, NodeId, BlockRef)| {
                    term > block.term && tip.rank() < block.rank()
                };
                twice || vote.is_some_and(later)
            }
            Statement::PreVote { .. } | Statement::Handover { .. } => false,
        }
    }
}
