//! Looking at nodes: how they fare while it lasts, and what they hold in the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use quorate_chain::ids::{BlockHash, Height, NodeId, Term, TxId};
use quorate_client::path::{self, Txs};
use quorate_client::{Client, Error, TestnetNode};
use quorate_node::exit::{Exit, Failure};
use serde::Deserialize;

use super::hands::Table;
use super::history::{Action, Block, Change, Entry, Sighting, Tx};

/// How often a node is looked at, and how long it may take to say how it fares.
const PAUSE: Duration = Duration::from_millis(150);
const ANSWER: Duration = Duration::from_millis(700);
/// How long a node may take in the end.
const LONG: Duration = Duration::from_secs(30);
/// Blocks in one answer.
const PAGE: u64 = 1_000;

/// Looks at one node until all is over.
pub(crate) fn sightings(
    node: &TestnetNode,
    table: &Table,
    over: &AtomicBool,
) -> Result<Vec<Sighting>, Error> {
    let client = Client::new(&node.api)?.with_timeout(ANSWER);
    let mut seen = Vec::new();
    while !over.load(Ordering::Relaxed) {
        if let Ok(status) = client.status() {
            if status.role == "leader" {
                table.led_by(status.node_id);
            }
            seen.push(Sighting {
                at: table.now(),
                node: status.node_id,
                term: status.term,
                leader: status.leader,
                height: status.height,
                hash: status.last_block_hash,
            });
        }
        thread::sleep(PAUSE);
    }
    Ok(seen)
}

/// A block as nodes tell it.
#[derive(Deserialize)]
struct Told {
    height: Height,
    hash: BlockHash,
    parent: BlockHash,
    term: Term,
    proposer: NodeId,
    #[serde(default)]
    txs: Vec<ToldTx>,
}

#[derive(Deserialize)]
struct ToldTx {
    id: TxId,
    ops: Vec<ToldChange>,
    status: String,
}

#[derive(Deserialize)]
struct ToldChange {
    op: String,
    key: Option<String>,
    value: Option<String>,
    /// Not there, or what is expected, which may be nothing.
    expect: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    blocks: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    height: Height,
    hash: BlockHash,
}

fn asked<T>(answer: Result<T, Error>) -> Result<T, Failure> {
    answer.map_err(|error| Failure::new(Exit::NoQuorum, error))
}

fn read<T: for<'de> Deserialize<'de>>(body: &str) -> Result<T, Failure> {
    let nonsense = |error| Failure::new(Exit::Verification, format!("a node's answer: {error}"));
    serde_json::from_str(body).map_err(nonsense)
}

/// The blocks of the chain between two heights, a part of them from each node, with what concerns keys that
/// begin like this.
pub(crate) fn chain(
    nodes: &[TestnetNode],
    (from, to): (Height, Height),
    prefix: &str,
) -> Result<Vec<Block>, Failure> {
    let heights: Vec<u64> = (from.get()..=to.get()).collect();
    let part = heights.len().div_ceil(nodes.len()).max(1);
    let parts = thread::scope(|scope| {
        let fetch = |(heights, node): (&[u64], &TestnetNode)| {
            let (heights, api) = (heights.to_vec(), node.api.clone());
            scope.spawn(move || blocks(&api, &heights, prefix))
        };
        let fetching: Vec<_> = heights.chunks(part).zip(nodes).map(fetch).collect();
        let bug = || Failure::new(Exit::Bug, "a thread that fetches blocks has ended");
        let joined = fetching.into_iter().map(|part| part.join().unwrap_or_else(|_| Err(bug())));
        joined.collect::<Result<Vec<_>, Failure>>()
    })?;
    Ok(parts.into_iter().flatten().collect())
}

fn blocks(api: &str, heights: &[u64], prefix: &str) -> Result<Vec<Block>, Failure> {
    let client = asked(Client::new(api))?;
    let one = |height: &u64| {
        let name = path::BlockName::Height(Height::new(*height));
        let told: Told = read(&asked(client.body(&path::block(name, Txs::Full)))?)?;
        let Told { height, hash, parent, term, proposer, txs } = told;
        let txs = txs.into_iter().map(|tx| known(tx, prefix)).collect::<Result<_, _>>()?;
        Ok(Block { height, hash, parent, term, proposer, txs })
    };
    heights.iter().map(one).collect()
}

fn known(tx: ToldTx, prefix: &str) -> Result<Tx, Failure> {
    let mut changes = Vec::new();
    for ToldChange { op, key, value, expect } in tx.ops {
        let Some(key) = key.filter(|key| key.starts_with(prefix)) else { continue };
        let text = |base64: Option<String>| {
            let bytes = BASE64.decode(base64.unwrap_or_default().as_bytes());
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        let action = match op.as_str() {
            "put" => Action::Put(text(value)),
            "update" => Action::Update(text(value)),
            "remove" => Action::Remove,
            "cas" => Action::Cas(expect.map(|expect| text(Some(expect))), text(value)),
            other => return Err(Failure::new(Exit::Bug, format!("`{other}` is no operation"))),
        };
        changes.push(Change { key, action });
    }
    Ok(Tx { id: tx.id, changes, applied: tx.status == "applied" })
}

/// The blocks that a node holds between two heights.
pub(crate) fn hashes(
    node: &TestnetNode,
    (from, to): (Height, Height),
) -> Result<Vec<(Height, BlockHash)>, Failure> {
    let client = asked(Client::new(&node.api))?;
    let mut hashes = BTreeMap::new();
    let mut next = from.get();
    while next <= to.get() {
        let limit = PAGE.min(to.get() + 1 - next);
        let body = asked(client.body(&format!("/v1/blocks?from={next}&limit={limit}")))?;
        let page: Page = read(&body)?;
        if page.blocks.is_empty() {
            break;
        }
        next += page.blocks.len() as u64;
        hashes.extend(page.blocks.into_iter().map(|block| (block.height, block.hash)));
    }
    Ok(hashes.into_iter().collect())
}

/// The keys that begin like this, as a node has them, and a height at which it has them so.
///
/// Pages are read at a height each, and a transaction that comes late may change keys between two of them. So
/// all are read until they have been the same twice: then they were so when the first reading ended.
pub(crate) fn entries(
    node: &TestnetNode,
    prefix: &str,
) -> Result<(Vec<(String, Entry)>, Height), Failure> {
    let client = asked(Client::new(&node.api))?.with_timeout(LONG);
    let mut before = read_all(&client, prefix)?;
    loop {
        let now = read_all(&client, prefix)?;
        if now.0 == before.0 {
            return Ok(before);
        }
        before = now;
    }
}

/// Keys page by page, and the height of the last page.
fn read_all(client: &Client, prefix: &str) -> Result<(Vec<(String, Entry)>, Height), Failure> {
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let page = asked(client.scan(prefix, 1_000, cursor.as_deref()))?;
        let entry = |item: quorate_client::answer::Item| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let entry = Entry { value: text(&item.value), height: item.height, tx: item.tx };
            (text(&item.key.0), entry)
        };
        entries.extend(page.items.into_iter().map(entry));
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok((entries, page.read_height));
        }
    }
}
