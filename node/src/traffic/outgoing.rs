//! From the driver to other nodes.

use std::sync::Arc;

use quorate_chain::checked::Checked;
use quorate_chain::codec::Encode as _;
use quorate_chain::ids::NodeId;
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::message::Message;
use quorate_replica::snapshot::Ask;

use super::forwards::Forwards;
use super::pending::{Pending, Wanted};
use super::{kind, tagged};
use crate::net::{Lane, NetHandle};
use crate::threads::Links;

/// The way out.
pub(crate) struct Outgoing {
    pub(super) net: NetHandle,
    pub(super) pending: Arc<Pending>,
    pub(super) forwards: Arc<Forwards>,
}

/// The way that a message goes.
enum Way {
    Lane(Lane),
    Request,
    Answer(Wanted, Lane),
}

const fn way(message: &Message) -> Way {
    match message {
        Message::PreVoteRequest { .. } | Message::VoteRequest { .. } | Message::Pull { .. } => {
            Way::Request
        }
        Message::Vote(_) | Message::Refuse { .. } => Way::Answer(Wanted::Vote, Lane::Control),
        Message::Pulled { .. } => Way::Answer(Wanted::Chain, Lane::Blocks),
        Message::Append(_) => Way::Lane(Lane::Blocks),
        Message::Stored(_)
        | Message::Reject { .. }
        | Message::Stale(_)
        | Message::Committed(_)
        | Message::Snapshot(_)
        | Message::ReadRequest { .. }
        | Message::ReadAt { .. }
        | Message::Greet(_)
        | Message::Known(_)
        | Message::Whereabouts { .. }
        | Message::Standing { .. }
        | Message::Recovering { .. }
        | Message::Handover(_) => Way::Lane(Lane::Control),
    }
}

impl Links for Outgoing {
    fn send(&self, to: NodeId, message: Message) {
        // What cannot be sent is lost and counted there; the core expects no more.
        let _sent = match way(&message) {
            Way::Lane(lane) => self.net.send(to, lane, message.to_bytes()),
            Way::Request => {
                let bytes = tagged(kind::MESSAGE, 0, |out| message.encode(out));
                self.net.request(to, bytes).is_some()
            }
            Way::Answer(wanted, lane) => {
                let bytes = message.to_bytes();
                match self.pending.take(to, wanted, bytes.len()) {
                    Some(reply) => {
                        let put = |out: &mut Vec<u8>| out.extend_from_slice(&bytes);
                        reply.answer(tagged(kind::MESSAGE, bytes.len(), put));
                        true
                    }
                    None => self.net.send(to, lane, bytes),
                }
            }
        };
    }

    fn forward(&self, to: NodeId, transactions: Vec<Checked<SignedTransaction>>) {
        let all = transactions.iter();
        self.forwards.put(to, all.map(|one| (one.id(), one.bytes().clone())));
    }

    fn ask(&self, to: NodeId, ask: Ask) {
        let _asked = self.net.request(to, tagged(kind::PIECE, 0, |out| ask.encode(out)));
    }
}
