//! What nodes answer, as types. A node may send fields that are not here; they are passed over.

use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::ids::{
    AccountKey, BlockHash, BodyRoot, ChainId, Height, NodeId, Nonce, RosterHash, StateRoot, Term,
    TimeUs, TxId,
};
use serde::{Deserialize, Serialize};

use crate::base64;
use crate::problem::Code;

/// What a node is and how it fares: `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of its program.
    pub version: String,
    /// The chain it follows.
    pub chain_id: ChainId,
    /// What people call the chain.
    pub chain_name: String,
    /// Its number in the roster.
    pub node_id: NodeId,
    /// What people call it.
    pub name: String,
    /// `validator`, `observer` or `light`.
    pub mode: String,
    /// `follower`, `candidate`, `leader`, `learner` or `observer`.
    pub role: String,
    /// The term it is in.
    pub term: Term,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Where the leader serves clients.
    #[serde(default)]
    pub leader_api: Option<String>,
    /// The committed height.
    pub height: Height,
    /// The height up to which it has executed.
    pub applied: Height,
    /// The hash of the block at the committed height.
    pub last_block_hash: BlockHash,
    /// How many voters make a quorum.
    pub quorum: u32,
    /// How many voters there are.
    pub voters: u32,
    /// How many of them it reaches, itself counted.
    pub reachable: u32,
    /// The other nodes that it takes for alive.
    pub live_peers: Vec<NodeId>,
    /// What it knows of the others.
    pub peers: Vec<Peer>,
    /// The roster in force.
    pub roster_hash: RosterHash,
    /// Why nothing goes on, if nothing does.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a node knows of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its number in the roster.
    pub node_id: NodeId,
    /// What people call it.
    pub name: String,
    /// Whether it votes.
    pub voter: bool,
    /// `alive`, `suspect` or `dead`.
    pub state: String,
    /// The committed height that it last spoke of.
    #[serde(default)]
    pub height: Option<Height>,
    /// Where it serves clients.
    #[serde(default)]
    pub api: Option<String>,
}

/// How far a node has come: `GET /v1/height`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeightInfo {
    /// The committed height.
    pub height: Height,
    /// The height up to which it has executed.
    pub applied: Height,
    /// The hash of the block at the committed height.
    pub hash: BlockHash,
    /// The term in which that block was sealed.
    pub term: Term,
}

/// A block's place and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ref {
    /// The block's height.
    pub height: Height,
    /// The term in which it was sealed.
    pub term: Term,
    /// Its hash.
    pub hash: BlockHash,
}

/// A committed block: `GET /v1/blocks/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its place.
    pub height: Height,
    /// Its name.
    pub hash: BlockHash,
    /// The term in which it was sealed.
    pub term: Term,
    /// The hash of the block below.
    pub parent: BlockHash,
    /// `opening`, `transactions`, `enter`, `leave`, `closing` or `recovery`.
    pub kind: String,
    /// Who sealed it.
    pub proposer: NodeId,
    /// When, by the proposer's clock.
    pub time_us: TimeUs,
    /// The root of the tree over the body's items.
    pub body_root: BodyRoot,
    /// The roster in force.
    pub roster_hash: RosterHash,
    /// The height whose state `state_root` speaks of.
    pub executed: Height,
    /// The root of that state.
    pub state_root: StateRoot,
    /// How many bytes it has.
    pub size: u64,
    /// How many transactions it holds.
    pub tx_count: u32,
    /// The transactions: ids, or objects if `txs=full` was asked for; none in lists of blocks.
    #[serde(default)]
    pub txs: Vec<serde_json::Value>,
    /// The block whose certificate covers it.
    #[serde(default)]
    pub certified_by: Option<Ref>,
}

/// Proof that a quorum has a block on disk: acks for `of`, and the headers from there down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The height it was asked for.
    pub covers: Height,
    /// The block that the signatures are for.
    #[serde(rename = "ref")]
    pub of: Ref,
    /// The headers above `covers` up to `of`, in base64.
    pub path: Vec<String>,
    /// The roster whose quorum signed.
    pub roster_hash: RosterHash,
    /// How many signatures make a quorum of it.
    pub quorum: u32,
    /// The acks.
    pub signatures: Vec<SignatureOf>,
}

/// A validator's signature, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureOf {
    /// Whose it is.
    pub node_id: NodeId,
    /// The signature.
    pub signature: String,
}

/// How far a transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TxStatus {
    /// The node has never heard of it, or has forgotten it.
    Unknown,
    /// It waits to be ordered.
    Pending,
    /// It stands in a committed block that is not executed yet.
    Committed,
    /// All of it has taken effect.
    Applied,
    /// It was executed and failed: none of it has taken effect.
    Failed,
    /// Its last height went by without it.
    Expired,
}

impl std::fmt::Display for TxStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Pending => "pending",
            Self::Committed => "committed",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Expired => "expired",
        })
    }
}

/// What became of a transaction: `POST /v1/txs`, `GET /v1/txs/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The transaction.
    pub id: TxId,
    /// How far it has come.
    pub status: TxStatus,
    /// The block that holds it.
    #[serde(default)]
    pub height: Option<Height>,
    /// Its place in that block.
    #[serde(default)]
    pub index: Option<u32>,
    /// The term of that block.
    #[serde(default)]
    pub term: Option<Term>,
    /// The hash of that block.
    #[serde(default)]
    pub block_hash: Option<BlockHash>,
    /// Proof that a quorum has that block.
    #[serde(default)]
    pub certificate: Option<Arc<Certificate>>,
    /// What each operation did.
    #[serde(default)]
    pub results: Vec<OperationResult>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<OutcomeError>,
    /// Whether the node knew it before it was sent this time.
    #[serde(default)]
    pub duplicate: bool,
}

/// What one operation of a transaction did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationResult {
    /// The operation's name.
    pub op: String,
    /// The key it speaks of.
    #[serde(flatten)]
    pub key: Key,
    /// Whether it took effect.
    pub ok: bool,
}

/// Why a transaction failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeError {
    /// What went wrong.
    pub code: Code,
    /// The facts of this case.
    #[serde(default)]
    pub detail: String,
}

/// A key: in JSON a string under `key` if it is UTF-8, else base64 under `key_base64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(pub Bytes);

#[derive(Serialize, Deserialize)]
struct KeyFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(&self.0).ok();
        KeyFields {
            key: text.map(str::to_owned),
            key_base64: text.is_none().then(|| base64::encode(&self.0)),
        }
        .serialize(to)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match KeyFields::deserialize(from)? {
            KeyFields { key: Some(key), .. } => Ok(Self(Bytes::from(key))),
            KeyFields { key_base64: Some(text), .. } => {
                base64::decode(&text).map(Self).map_err(serde::de::Error::custom)
            }
            KeyFields { key: None, key_base64: None } => {
                Err(serde::de::Error::missing_field("key"))
            }
        }
    }
}

/// The value of a key: `GET /v1/state/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// Its value.
    #[serde(with = "base64")]
    pub value: Bytes,
    /// The height at which it got this value.
    pub height: Height,
    /// The transaction that gave it.
    pub tx: TxId,
    /// The height at which it was read.
    pub read_height: Height,
}

/// What a sender needs to know of itself: `GET /v1/accounts/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountInfo {
    /// Its key.
    pub sender: AccountKey,
    /// The nonce it should use next.
    pub next_nonce: Nonce,
    /// The lowest nonce that may still be free.
    pub window_base: Nonce,
}

/// Keys with their values: `GET /v1/state?prefix=…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// The keys, in order.
    pub items: Vec<Item>,
    /// The height at which all of them were read.
    pub read_height: Height,
    /// Where the list goes on, if it does.
    pub cursor: Option<String>,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// Its value.
    #[serde(with = "base64")]
    pub value: Bytes,
    /// The height at which it got this value.
    pub height: Height,
    /// The transaction that gave it.
    pub tx: TxId,
}

/// What a key has been: `GET /v1/state/…/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// Its values, newest first.
    pub versions: Vec<Version>,
    /// Where the history goes on, if it does.
    pub cursor: Option<String>,
}

/// A value that a key had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The height at which it got this value.
    pub height: Height,
    /// The place of the transaction in the block.
    pub index: u32,
    /// The transaction.
    pub tx: TxId,
    /// The operation's name.
    pub op: String,
    /// The value, in base64; none if it was removed.
    pub value: Option<String>,
}
