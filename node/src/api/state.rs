//! Reading the state: the value of a key, keys that share a prefix, what a key has been.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use quorate_chain::block::Block;
use quorate_chain::ids::{Height, TxId};
use quorate_chain::state::Value;
use quorate_chain::transaction::SignedTransaction;
use quorate_client::answer;
use quorate_client::problem::{Code, Problem};
use quorate_replica::store::Version;
use serde::{Deserialize, Serialize};

use super::answers::{self, base64};
use super::ledger::{Answered, Ledger};
use super::problem::{bad_request, problem};
use super::reading::{Found, Reading, first_kept, is_whole};

/// About how many bytes are read for one list.
const LIST_BYTES: usize = 4 << 20;
/// How many values are read at a time, so that a list of large ones is not read in vain.
const PAGE: usize = 32;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Consistency {
    /// It sees all that was acknowledged, anywhere, before it began.
    Linearizable,
    /// The same, on a leader's word that it still leads. No node here gives out leases, so it is as
    /// good as linearizable, and as dear.
    Lease,
    /// It sees what is applied here.
    Local,
}

/// How something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) consistency: Consistency,
    /// As of which height; the newest if none is said.
    pub(crate) at: Option<Height>,
    pub(crate) patience: Duration,
}

/// Which keys are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) prefix: Bytes,
    pub(crate) after: Option<Bytes>,
    pub(crate) limit: usize,
}

impl Scan {
    /// What a cursor says: after which key the list goes on. So it stays good for ever, whatever
    /// happens to that key.
    pub(crate) fn after(cursor: &str) -> Answered<Bytes> {
        let after = BASE64URL_NOPAD.decode(cursor.as_bytes()).map(Bytes::from);
        after.map_err(|_| bad_request(format!("`{cursor}` is no cursor of this list")))
    }
}

/// A place in the history of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionPlace(Height, u32, u8);

impl VersionPlace {
    /// What a cursor says.
    pub(crate) fn read(cursor: &str) -> Answered<Self> {
        let mut parts = cursor.split('.');
        let place = (|| {
            let height = parts.next()?.parse().ok()?;
            let place =
                Self(Height::new(height), parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            parts.next().is_none().then_some(place)
        })();
        place.ok_or_else(|| bad_request(format!("`{cursor}` is no cursor of this list")))
    }
}

/// An item of a list of keys.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Item {
    #[serde(flatten)]
    key: answer::Key,
    value: String,
    height: Height,
    tx: TxId,
}

/// `GET /v1/state?prefix=…`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Items {
    items: Vec<Item>,
    read_height: Height,
    cursor: Option<String>,
}

/// A value that a key had.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VersionInfo {
    height: Height,
    index: u32,
    tx: TxId,
    op: &'static str,
    value: Option<String>,
}

/// `GET /v1/state/…/history`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct History {
    #[serde(flatten)]
    key: answer::Key,
    versions: Vec<VersionInfo>,
    cursor: Option<String>,
}

/// Something read from one state, and its height. A batch may be applied while it is read: then it is
/// read again.
fn settled<T>(store: &dyn Reading, read: impl Fn() -> Found<T>) -> Found<(T, Height)> {
    loop {
        let before = store.applied()?;
        let found = read()?;
        if before == store.applied()? {
            return Ok((found, before));
        }
    }
}

fn not_found(read_height: Height) -> Box<Problem> {
    let detail = format!("the key has no value at height {read_height}");
    let mut problem = problem(Code::KeyNotFound, detail);
    problem.read_height = Some(read_height);
    problem
}

/// What a key was.
enum Then {
    Value(Value),
    Nothing,
    /// It is not kept.
    Unknown,
}

/// What a key was after the block at a height that is applied.
fn then(store: &dyn Reading, key: &Bytes, height: Height) -> Found<Then> {
    let before = height.next().map(|next| (next, 0, 0));
    if let Some(Version { height, tx, value, .. }) = store.history(key, before, 1)?.pop() {
        return Ok(value.map_or(Then::Nothing, |bytes| Then::Value(Value { height, tx, bytes })));
    }
    if is_whole(store)? {
        // Its history is all that there was.
        return Ok(Then::Nothing);
    }
    // What came with a state of others has no history: it is there until it changes.
    let now = store.value(key)?.filter(|value| value.height <= height);
    let changed = || Ok(!store.history(key, None, 1)?.is_empty());
    Ok(match now {
        Some(value) => Then::Value(value),
        None if changed()? => Then::Unknown,
        None => Then::Nothing,
    })
}

impl Ledger {
    /// Waits until the store here is as fresh as asked; says what it then is.
    async fn freshened(&self, read: Read) -> Answered<&'static str> {
        match read.consistency {
            Consistency::Linearizable | Consistency::Lease => {
                self.fresh(read.patience).await?;
                Ok("linearizable")
            }
            Consistency::Local => Ok("local"),
        }
    }

    /// The value of a key.
    pub(crate) async fn value(&self, key: Bytes, read: Read) -> Answered<(answers::Entry, Bytes)> {
        let consistency = self.freshened(read).await?;
        let (value, read_height) = match read.at {
            Some(height) => (self.value_at(key.clone(), height).await?, height),
            None => {
                let wanted = key.clone();
                let found = self.read(move |store| settled(store, || store.value(&wanted)));
                found.await?
            }
        };
        let Some(value) = value else { return Err(not_found(read_height)) };
        let entry = answers::Entry {
            key: answer::Key(key),
            value: base64(&value.bytes),
            height: value.height,
            tx: value.tx,
            read_height,
            consistency,
            proof: None,
        };
        Ok((entry, value.bytes))
    }

    /// The value that a key had after the block at a height.
    async fn value_at(&self, key: Bytes, height: Height) -> Answered<Option<Value>> {
        let next = height.next().unwrap_or(height);
        let found = self.read(move |store| {
            settled(store, || Ok((first_kept(store)?, then(store, &key, height)?)))
        });
        let ((first, then), applied) = found.await?;
        if height > applied {
            let detail = format!("there is no block {height}; the newest one is {applied}");
            return Err(problem(Code::BlockNotFound, detail));
        }
        // History reaches back as far as the first block that was executed here.
        if next < first {
            let oldest = first.previous().unwrap_or(first);
            return Err(problem(
                Code::Pruned,
                format!("the oldest state here is that of {oldest}"),
            ));
        }
        match then {
            Then::Value(value) => Ok(Some(value)),
            Then::Nothing => Ok(None),
            Then::Unknown => Err(problem(
                Code::Pruned,
                format!("the key has changed since {height}, and what it was is not kept here"),
            )),
        }
    }

    /// Keys that begin with a prefix, all as of one height. The list ends before its limit if the
    /// state moves on while it is read, or the values are large; the cursor says where it goes on.
    pub(crate) async fn scan(&self, scan: Scan, read: Read) -> Answered<Items> {
        self.freshened(read).await?;
        let found = self.read(move |store| {
            let Scan { prefix, after, limit } = scan;
            let page = |after: Option<&[u8]>, room: usize| {
                settled(store, || store.scan(&prefix, after, room.min(PAGE)))
            };
            let (mut found, read_height) = page(after.as_deref(), limit)?;
            let mut whole = found.len() < limit.min(PAGE);
            let mut bytes: usize = found.iter().map(|(_, value)| value.bytes.len()).sum();
            while !whole && found.len() < limit && bytes < LIST_BYTES {
                let last = found.last().map(|(key, _)| key.clone());
                let room = limit - found.len();
                let (more, height) = page(last.as_deref(), room)?;
                if height != read_height {
                    break;
                }
                whole = more.len() < room.min(PAGE);
                bytes += more.iter().map(|(_, value)| value.bytes.len()).sum::<usize>();
                found.extend(more);
            }
            Ok((found, read_height, whole))
        });
        let (found, read_height, whole) = found.await?;
        let last = found.last().filter(|_| !whole).map(|(key, _)| BASE64URL_NOPAD.encode(key));
        let item = |(key, value): (Bytes, Value)| Item {
            key: answer::Key(key),
            value: base64(&value.bytes),
            height: value.height,
            tx: value.tx,
        };
        let items = found.into_iter().map(item).collect();
        Ok(Items { items, read_height, cursor: last })
    }

    /// What a key has been, newest first, before a place in its history if one is given.
    pub(crate) async fn history(
        &self,
        key: Bytes,
        before: Option<VersionPlace>,
        limit: usize,
        read: Read,
    ) -> Answered<History> {
        self.freshened(read).await?;
        let wanted = key.clone();
        let found = self.read(move |store| {
            let mut before = before.map(|VersionPlace(height, index, op)| (height, index, op));
            let (mut infos, mut ended) = (Vec::new(), false);
            let mut names = Names::default();
            while !ended && infos.len() < limit && names.bytes < LIST_BYTES {
                let room = (limit - infos.len()).min(PAGE);
                let versions = store.history(&wanted, before, room)?;
                ended = versions.len() < room;
                for version in versions {
                    if names.bytes >= LIST_BYTES {
                        ended = false;
                        break;
                    }
                    before = Some((version.height, version.index, version.operation));
                    infos.push(names.told(store, version)?);
                }
            }
            Ok((infos, before.filter(|_| !ended)))
        });
        let (versions, last) = found.await?;
        let cursor = last.map(|(height, index, op)| format!("{height}.{index}.{op}"));
        Ok(History { key: answer::Key(key), versions, cursor })
    }
}

/// Names the operations that have made versions. Each stands in a block, which is read whole; so what is read counts
/// as what is told does.
#[derive(Default)]
struct Names {
    bytes: usize,
    last: Option<(Height, Option<Block>)>,
}

impl Names {
    /// A version with the name of the operation that made it. If its block is not kept, it is told by what it did.
    fn told(&mut self, store: &dyn Reading, version: Version) -> Found<VersionInfo> {
        let Version { height, index, operation, tx, value } = version;
        if self.last.as_ref().is_none_or(|(last, _)| *last != height) {
            let block = store.block(height)?;
            self.bytes += block.as_ref().map_or(0, |block| block.bytes().len());
            self.last = Some((height, block));
        }
        self.bytes += value.as_ref().map_or(0, Bytes::len);
        let block = self.last.as_ref().and_then(|(_, block)| block.as_ref());
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let transaction = block.and_then(|block| block.body().transactions.get(at));
        let name = |transaction: &SignedTransaction| {
            let operation = transaction.content().operations.get(usize::from(operation))?;
            Some(operation.name())
        };
        let by_effect = if value.is_some() { "update" } else { "remove" };
        let op = transaction.and_then(name).unwrap_or(by_effect);
        Ok(VersionInfo { height, index, tx, op, value: value.map(|bytes| BASE64.encode(&bytes)) })
    }
}
