//! Gossip: what all peers should hear and may miss.
//!
//! Validators send to each other directly and forward nothing, because each reaches each. What is said
//! carries its own signature, so libp2p signs nothing, and a message is known by its hash.

use std::time::Duration;

use libp2p::PeerId;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, IdentityTransform, MessageAcceptance, MessageAuthenticity,
    MessageId, TopicHash, ValidationMode, WhitelistSubscriptionFilter,
};
use quorate_chain::ids::{ChainId, Hash};

use super::config::Config;
use super::event::Topic;

pub(super) type Behaviour = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// Heartbeats of gossipsub keep its caches small; nothing else here depends on them.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// For how long a message is known to have been seen.
const MEMORY: Duration = Duration::from_secs(30);

fn topic(chain_id: ChainId, topic: Topic) -> IdentTopic {
    let name = match topic {
        Topic::Beat => "beat",
        Topic::Block => "block",
    };
    IdentTopic::new(format!("quorate/1/{chain_id}/{name}"))
}

/// # Errors
/// If libp2p does not like the settings.
pub(super) fn behaviour(config: &Config) -> Result<Behaviour, String> {
    let [beat, block] = Topic::ALL.map(|name| topic(config.chain_id, name).hash());
    let mut builder = ConfigBuilder::default();
    builder
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message: &gossipsub::Message| {
            let hash = Hash::of(&[message.topic.as_str().as_bytes(), b"/", &message.data]);
            MessageId::new(hash.as_bytes())
        })
        .flood_publish(true)
        .mesh_outbound_min(0)
        .mesh_n_low(0)
        .mesh_n(0)
        .mesh_n_high(0)
        .gossip_lazy(0)
        .gossip_factor(0.0)
        .heartbeat_interval(HEARTBEAT)
        .duplicate_cache_time(MEMORY)
        .history_length(2)
        .history_gossip(1)
        .max_publish_messages(config.gossip_queue)
        .connection_handler_queue_len(config.gossip_queue)
        .max_transmit_size(config.beat_bytes.max(config.block_bytes))
        .max_transmit_size_for_topic(config.beat_bytes, beat.clone())
        .max_transmit_size_for_topic(config.block_bytes, block.clone());
    let settings = builder.build().map_err(|error| error.to_string())?;
    let filter = WhitelistSubscriptionFilter([beat, block].into());
    let mut behaviour =
        Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, settings, filter)?;
    for name in Topic::ALL {
        let subscribed = behaviour.subscribe(&topic(config.chain_id, name));
        subscribed.map_err(|error| error.to_string())?;
    }
    Ok(behaviour)
}

/// Sends to every peer that is there; whether to any.
pub(super) fn publish(
    behaviour: &mut Behaviour,
    chain_id: ChainId,
    about: Topic,
    bytes: &[u8],
) -> bool {
    behaviour.publish(topic(chain_id, about), bytes).is_ok()
}

/// The topic of a message.
pub(super) fn topic_of(chain_id: ChainId, hash: &TopicHash) -> Option<Topic> {
    Topic::ALL.into_iter().find(|name| topic(chain_id, *name).hash() == *hash)
}

/// Lets a message go: it was handed over, and nothing is forwarded.
pub(super) fn let_go(behaviour: &mut Behaviour, id: &MessageId, from: &PeerId) {
    behaviour.report_message_validation_result(id, from, MessageAcceptance::Ignore);
}
