//! The hub's part in requests and gossip: names are changed, and what cannot be told is counted.

use bytes::Bytes;
use libp2p::gossipsub;
use libp2p::request_response::{Event, Message};

use super::event::{NetEvent, RequestId};
use super::gossip;
use super::handle::{Order, Reply};
use super::hub::Hub;
use super::shared::count;

impl Hub {
    pub(super) fn on_order(&mut self, order: Order) {
        match order {
            Order::Request { id, to, bytes } => self.ask(id, to, bytes),
            Order::Answer { channel, bytes } => {
                let fits = bytes.len() <= self.shared.config.answer_bytes;
                // Without an answer the channel is dropped, and the peer learns that there is none.
                if !fits
                    || self.swarm.behaviour_mut().requests.send_response(channel, bytes).is_err()
                {
                    count(&self.shared.counters.unsent);
                }
            }
            Order::Publish { topic, bytes } => {
                let chain_id = self.shared.config.chain_id;
                let behaviour = &mut self.swarm.behaviour_mut().gossip;
                if !gossip::publish(behaviour, chain_id, topic, &bytes) {
                    count(&self.shared.counters.unsent);
                }
            }
        }
    }

    fn ask(&mut self, id: RequestId, to: quorate_chain::ids::NodeId, bytes: Bytes) {
        let peer = self.ids.get(&to).and_then(|peer| self.peers.get(peer));
        let fits = bytes.len() <= self.shared.config.request_bytes;
        match peer.filter(|peer| peer.link.is_some() && fits).map(|peer| peer.id) {
            Some(peer) => {
                let asked = self.swarm.behaviour_mut().requests.send_request(&peer, bytes);
                self.asked.insert(asked, (id, to));
            }
            None => {
                count(&self.shared.counters.unsent);
                self.tell(NetEvent::Unanswered { id, to });
            }
        }
    }

    pub(super) fn on_request(&mut self, event: Event<Bytes, Bytes>) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let Some(known) = self.peers.get(&peer) else { return };
                let (from, orders) = (known.peer.node, self.reply_orders.clone());
                let reply = Reply { channel, orders };
                known.state.take(&*self.sink, request, |frame| NetEvent::Request {
                    from,
                    frame,
                    reply,
                });
            }
            Event::Message {
                peer, message: Message::Response { request_id, response }, ..
            } => {
                if let Some(known) = self.peers.get(&peer) {
                    known.state.saw();
                }
                if let Some((id, from)) = self.asked.remove(&request_id) {
                    self.tell(NetEvent::Answer { id, from, bytes: response });
                }
            }
            Event::OutboundFailure { request_id, .. } => {
                if let Some((id, to)) = self.asked.remove(&request_id) {
                    self.tell(NetEvent::Unanswered { id, to });
                }
            }
            // Who asked learns it by itself.
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "only messages are of interest")]
        let (source, id, message) = match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                (propagation_source, message_id, message)
            }
            _ => return,
        };
        gossip::let_go(&mut self.swarm.behaviour_mut().gossip, &id, &source);
        let topic = gossip::topic_of(self.shared.config.chain_id, &message.topic);
        let Some((known, topic)) = self.peers.get(&source).zip(topic) else { return };
        let from = known.peer.node;
        let bytes = Bytes::from(message.data);
        known.state.take(&*self.sink, bytes, |frame| NetEvent::Gossip { from, topic, frame });
    }
}
