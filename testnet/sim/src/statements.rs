//! What leaves a node: every statement of its own in it must be true already.

use quorate_chain::statement::SignedStatement;
use quorate_consensus::message::Message;

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
            Message::Append(_)
            | Message::PreVoteRequest { .. }
            | Message::VoteRequest { .. }
            | Message::Refuse { .. }
            | Message::Reject { .. }
            | Message::Stale(_)
            | Message::Committed(_)
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
}
