//! What a node answers, field by field. Where the client has the same type, it is the client's.

use bytes::Bytes;
use quorate_chain::block::{Block, BlockKind, Header, SignedHeader};
use quorate_chain::certificate::Certificate;
use quorate_chain::ids::{
    AccountKey, BlockHash, BlockRef, BodyRoot, ChainId, Height, NodeId, Nonce, RosterHash,
    StateRoot, Term, TimeUs, TxId,
};
use quorate_chain::outcome::{Outcome, Status as TxOutcome};
use quorate_chain::roster::{Lead, QuorumKind, Roster};
use quorate_chain::transaction::{Operation, SignedTransaction};
use quorate_client::answer;
use quorate_client::problem::Code;
use quorate_replica::io::Placed;
use serde::Serialize;

use super::problem::{failure_code, void_code};

/// `GET /v1/status`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    pub(crate) chain_id: ChainId,
    pub(crate) chain_name: String,
    pub(crate) node_id: NodeId,
    pub(crate) name: String,
    pub(crate) mode: &'static str,
    pub(crate) role: &'static str,
    pub(crate) incarnation: String,
    pub(crate) term: Term,
    pub(crate) leader: Option<NodeId>,
    pub(crate) leader_api: Option<String>,
    pub(crate) height: Height,
    pub(crate) committed: Height,
    pub(crate) applied: Height,
    #[serde(rename = "final")]
    pub(crate) is_final: Option<Height>,
    pub(crate) tip: Height,
    pub(crate) last_block_hash: BlockHash,
    pub(crate) quorum: usize,
    pub(crate) voters: usize,
    pub(crate) reachable: usize,
    pub(crate) live_peers: Vec<NodeId>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) roster_hash: RosterHash,
    pub(crate) lead: Lead,
    pub(crate) catching_up: Option<CatchingUp>,
    pub(crate) reason: Option<String>,
    pub(crate) started_ms: u64,
}

/// How far behind a node is, and how fast it comes closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CatchingUp {
    pub(crate) from: Height,
    pub(crate) to: Height,
    pub(crate) blocks_per_second: u64,
}

/// What a node knows of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Peer {
    pub(crate) node_id: NodeId,
    pub(crate) name: String,
    pub(crate) voter: bool,
    pub(crate) state: &'static str,
    pub(crate) last_seen_ms: Option<u64>,
    pub(crate) height: Option<Height>,
    pub(crate) term: Option<Term>,
    pub(crate) api: Option<String>,
}

/// `GET /v1/height`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeightInfo {
    pub(crate) height: Height,
    pub(crate) applied: Height,
    pub(crate) hash: BlockHash,
    pub(crate) term: Term,
}

/// A block.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BlockInfo {
    pub(crate) height: Height,
    pub(crate) hash: BlockHash,
    pub(crate) term: Term,
    pub(crate) parent: BlockHash,
    pub(crate) kind: BlockKind,
    pub(crate) proposer: NodeId,
    pub(crate) time_us: TimeUs,
    pub(crate) body_root: BodyRoot,
    pub(crate) roster_hash: RosterHash,
    pub(crate) executed: Height,
    pub(crate) state_root: StateRoot,
    pub(crate) size: usize,
    pub(crate) tx_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) txs: Option<Txs>,
    pub(crate) certified_by: Option<BlockRef>,
}

/// The transactions of a block.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Txs {
    Ids(Vec<TxId>),
    Full(Vec<TxInfo>),
}

/// A transaction of a block.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TxInfo {
    pub(crate) id: TxId,
    pub(crate) index: usize,
    pub(crate) sender: AccountKey,
    pub(crate) nonce: Nonce,
    pub(crate) ops: Vec<OperationInfo>,
    pub(crate) status: &'static str,
}

/// An operation of a transaction.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OperationInfo {
    op: &'static str,
    #[serde(flatten)]
    key: answer::Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountKey>,
}

impl OperationInfo {
    fn of(operation: &Operation) -> Self {
        let (value, expect, account) = match operation {
            Operation::Put { value, .. } | Operation::Update { value, .. } => {
                (Some(base64(value)), None, None)
            }
            Operation::Cas { expected, value, .. } => {
                (Some(base64(value)), Some(expected.as_ref().map(|old| base64(old))), None)
            }
            Operation::Remove { .. } => (None, None, None),
            Operation::Grant { account, .. } | Operation::Revoke { account, .. } => {
                (None, None, Some(*account))
            }
        };
        let key = answer::Key(operation.key().clone());
        Self { op: operation.name(), key, value, expect, account }
    }
}

/// `GET /v1/headers`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeaderInfo {
    pub(crate) height: Height,
    pub(crate) hash: BlockHash,
    pub(crate) raw: String,
}

impl HeaderInfo {
    /// The raw bytes are those that the hash is of.
    pub(crate) fn of(header: &Header) -> Self {
        Self { height: header.height, hash: header.hash(), raw: base64(&header.message()) }
    }
}

/// `GET /v1/accounts/…`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AccountInfo {
    pub(crate) sender: AccountKey,
    pub(crate) next_nonce: Nonce,
    pub(crate) window_base: Nonce,
    pub(crate) grants: Vec<String>,
    pub(crate) admin: bool,
}

/// `GET /v1/state/…`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub(crate) key: answer::Key,
    pub(crate) value: String,
    pub(crate) height: Height,
    pub(crate) tx: TxId,
    pub(crate) read_height: Height,
    pub(crate) consistency: &'static str,
    pub(crate) proof: Option<()>,
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

/// What a block looks like, with what became of its transactions if all of them are to be told.
pub(crate) fn block_info(
    block: &Block,
    txs: Option<&dyn Fn(&Block) -> Txs>,
    certified_by: Option<BlockRef>,
) -> BlockInfo {
    let header = block.header();
    BlockInfo {
        height: header.height,
        hash: block.hash(),
        term: header.term,
        parent: header.parent,
        kind: header.kind,
        proposer: header.proposer,
        time_us: header.time,
        body_root: header.body_root,
        roster_hash: header.roster_hash,
        executed: header.executed,
        state_root: header.state_root,
        size: block.bytes().len(),
        tx_count: header.transactions,
        txs: txs.map(|txs| txs(block)),
        certified_by,
    }
}

/// The ids of a block's transactions.
pub(crate) fn ids(block: &Block) -> Txs {
    Txs::Ids(block.body().transactions.iter().map(SignedTransaction::id).collect())
}

/// A block's transactions, all of them.
pub(crate) fn full(block: &Block, outcomes: &[Outcome]) -> Txs {
    let transactions = block.body().transactions.iter().enumerate();
    let info = |(index, transaction): (usize, &SignedTransaction)| TxInfo {
        id: transaction.id(),
        index,
        sender: transaction.content().sender,
        nonce: transaction.content().nonce,
        ops: transaction.content().operations.iter().map(OperationInfo::of).collect(),
        status: outcomes.get(index).map_or("committed", |outcome| match outcome.status {
            TxOutcome::Applied => "applied",
            TxOutcome::Failed { .. } | TxOutcome::Void(_) => "failed",
        }),
    };
    Txs::Full(transactions.map(info).collect())
}

/// A commit certificate for a height, with the headers that lead to it.
pub(crate) fn certificate(
    covers: Height,
    path: &[SignedHeader],
    certificate: &Certificate,
    roster: &Roster,
) -> answer::Certificate {
    let of = certificate.block();
    let signature = |signed: &quorate_chain::certificate::Signed| answer::SignatureOf {
        node_id: signed.signer,
        signature: signed.signature.to_string(),
    };
    answer::Certificate {
        covers,
        of: answer::Ref { height: of.height, term: of.term, hash: of.hash },
        path: path.iter().map(|header| base64(&header.header.message())).collect(),
        roster_hash: certificate.roster_hash(),
        quorum: u32::try_from(roster.current().quorum(QuorumKind::Commit)).unwrap_or(u32::MAX),
        signatures: certificate.signatures().iter().map(signature).collect(),
    }
}

/// What became of a transaction that stands in a block. If that is not kept, nor are the operations.
pub(crate) fn outcome(id: TxId, operations: &[Operation], placed: Placed) -> answer::Outcome {
    let Placed { block, index, status, duplicate } = placed;
    let (word, error) = match status {
        TxOutcome::Applied => (answer::TxStatus::Applied, None),
        TxOutcome::Failed { operation, failure } => {
            let key = operations.get(usize::from(operation)).map(Operation::key);
            let key = key.map_or_else(String::new, |key| format!(" on {}", shown(key)));
            let detail = format!("operation {operation}{key}: {}", failure_code(failure).title());
            let error = answer::OutcomeError { code: failure_code(failure), detail };
            (answer::TxStatus::Failed, Some(error))
        }
        TxOutcome::Void(void) => {
            let code = void_code(void);
            let error = answer::OutcomeError { code, detail: code.title().to_owned() };
            (answer::TxStatus::Failed, Some(error))
        }
    };
    let results = operations.iter().map(|operation| answer::OperationResult {
        op: operation.name().to_owned(),
        key: answer::Key(operation.key().clone()),
        // If one fails, none takes effect.
        ok: error.is_none(),
    });
    let results = results.collect();
    answer::Outcome {
        id,
        status: word,
        height: Some(block.height),
        index: Some(index),
        term: Some(block.term),
        block_hash: Some(block.hash),
        certificate: None,
        results,
        error,
        duplicate,
    }
}

/// What is known of a transaction that stands in no block.
pub(crate) fn unplaced(id: TxId, status: answer::TxStatus) -> answer::Outcome {
    answer::Outcome {
        id,
        status,
        height: None,
        index: None,
        term: None,
        block_hash: None,
        certificate: None,
        results: Vec::new(),
        error: None,
        duplicate: false,
    }
}

/// A transaction whose last height went by without it.
pub(crate) fn expired(id: TxId) -> answer::Outcome {
    let code = Code::Expired;
    let error = answer::OutcomeError { code, detail: code.title().to_owned() };
    answer::Outcome { error: Some(error), ..unplaced(id, answer::TxStatus::Expired) }
}

fn shown(key: &Bytes) -> String {
    match std::str::from_utf8(key) {
        Ok(text) => format!("{text:?}"),
        Err(_) => base64(key),
    }
}
