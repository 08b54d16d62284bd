//! What happens, as those hear it who want to.

use bytes::Bytes;
use quorate_chain::block::{Block, BlockKind, Item};
use quorate_chain::ids::{BlockHash, Height, NodeId, Term, TimeUs, TxId};
use quorate_chain::outcome::{Outcome, Status};
use quorate_chain::transaction::Operation;
use quorate_client::answer::Key;
use serde::{Serialize, Serializer};

use super::answers::base64;
use super::ledger::{Answered, Ledger};

/// What somebody wants to hear of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topics {
    pub(crate) block: bool,
    pub(crate) leadership: bool,
    pub(crate) state: bool,
    pub(crate) peer: bool,
    /// Of the state, only keys that begin like this.
    pub(crate) prefix: Bytes,
}

impl Topics {
    /// Reads their names, which are separated by commas; fails with the first that there is not.
    pub(crate) fn read(names: &str, prefix: Bytes) -> Result<Self, String> {
        let mut topics = Self { prefix, ..Self::default() };
        for name in names.split(',') {
            match name.trim() {
                "block" => topics.block = true,
                "leadership" => topics.leadership = true,
                "state" => topics.state = true,
                "peer" => topics.peer = true,
                unknown => return Err(unknown.to_owned()),
            }
        }
        Ok(topics)
    }

    /// Whether any of them is about what stands in blocks.
    pub(crate) const fn are_of_the_chain(&self) -> bool {
        self.block || self.leadership || self.state
    }
}

/// Something that has happened.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Event {
    /// A block was committed and applied.
    Block {
        height: Height,
        hash: BlockHash,
        term: Term,
        proposer: NodeId,
        tx_count: u32,
        time_us: TimeUs,
    },
    /// Somebody was elected, or named by the admins; then nobody has voted.
    Leadership { height: Height, term: Term, leader: NodeId, votes: Vec<NodeId> },
    /// A key has another value, or none.
    State {
        height: Height,
        #[serde(flatten)]
        key: Key,
        #[serde(serialize_with = "in_base64")]
        value: Option<Bytes>,
        tx: TxId,
    },
    /// A node has come or gone, as this one sees it.
    Peer { node_id: NodeId, state: &'static str },
}

/// In base64, and only when it is written: until then it is a part of the block.
fn in_base64<S: Serializer>(value: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|bytes| base64(bytes)).serialize(to)
}

impl Event {
    /// The topic it belongs to.
    pub(crate) const fn topic(&self) -> &'static str {
        match self {
            Self::Block { .. } => "block",
            Self::Leadership { .. } => "leadership",
            Self::State { .. } => "state",
            Self::Peer { .. } => "peer",
        }
    }
}

impl Ledger {
    /// What has happened at a height that is applied, in one order: who leads, the block, the state.
    pub(crate) async fn events_of(&self, height: Height, topics: &Topics) -> Answered<Vec<Event>> {
        let block = self.block_at(height).await?;
        let mut events = Vec::new();
        if topics.leadership {
            events.extend(leadership(&block));
        }
        if topics.block {
            let header = block.header();
            events.push(Event::Block {
                height,
                hash: block.hash(),
                term: header.term,
                proposer: header.proposer,
                tx_count: header.transactions,
                time_us: header.time,
            });
        }
        if topics.state && block.header().transactions > 0 {
            let outcomes = self.outcomes_of(height).await?;
            writes(&block, &outcomes, &topics.prefix, &mut events);
        }
        Ok(events)
    }
}

fn leadership(block: &Block) -> Option<Event> {
    let header = block.header();
    let votes = match block.body().item.as_ref() {
        Some(Item::Opening(certificate)) => certificate.signers().into_iter().collect(),
        _ if header.kind == BlockKind::Recovery => Vec::new(),
        _ => return None,
    };
    let (height, term, leader) = (header.height, header.term, header.proposer);
    Some(Event::Leadership { height, term, leader, votes })
}

/// What the transactions that took effect have written, in order.
fn writes(block: &Block, outcomes: &[Outcome], prefix: &[u8], events: &mut Vec<Event>) {
    let height = block.header().height;
    for (transaction, outcome) in block.body().transactions.iter().zip(outcomes) {
        if outcome.status != Status::Applied {
            continue;
        }
        for operation in &transaction.content().operations {
            let value = match operation {
                Operation::Put { value, .. }
                | Operation::Update { value, .. }
                | Operation::Cas { value, .. } => Some(value.clone()),
                Operation::Remove { .. } => None,
                Operation::Grant { .. } | Operation::Revoke { .. } => continue,
            };
            if operation.key().starts_with(prefix) {
                let key = Key(operation.key().clone());
                events.push(Event::State { height, key, value, tx: transaction.id() });
            }
        }
    }
}
