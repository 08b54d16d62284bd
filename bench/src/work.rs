//! What is asked for: whole requests, made and signed before anything is timed.

use std::ops::Range;

use bytes::Bytes;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{ChainId, Nonce};
use quorate_chain::transaction::{Operation, Transaction};
use quorate_client::path;
use quorate_node::exit::{Exit, Failure};

use crate::connection::nats;
use crate::protobuf;

/// Transactions in a batch, and operations in a large transaction.
pub(crate) const MANY: u64 = 100;
/// Keys that are written all the time.
const HOT: u64 = 100;
/// How long a node may take with a write, at most.
const PATIENCE: &str = "60s";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum System {
    /// This.
    #[value(skip)]
    Quorate,
    /// A group of three with its usual settings: a log that is synced before anything is acknowledged; no signatures.
    Etcd,
    /// A stream of three replicas in files, which are not synced before anything is acknowledged; no signatures.
    Nats,
}

impl System {
    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quorate => "quorate",
            Self::Etcd => "etcd",
            Self::Nats => "nats",
        }
    }

    /// Whether it can do such work.
    pub(crate) const fn does(self, kind: Kind) -> bool {
        match self {
            Self::Quorate => true,
            Self::Etcd => !matches!(kind, Kind::Batches),
            Self::Nats => matches!(kind, Kind::Writes | Kind::Hot),
        }
    }
}

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A transaction in each request, of one write of a random key.
    Writes,
    /// The same, of one of a hundred keys.
    Hot,
    /// A hundred of these transactions in each request.
    Batches,
    /// A transaction in each request, of a hundred writes.
    Operations,
    /// Reads of random keys that see all that was acknowledged before.
    Reads,
    /// Reads of what a node has applied.
    Local,
}

impl Kind {
    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::Hot => "writes of hot keys",
            Self::Batches => "batches of 100",
            Self::Operations => "100 operations",
            Self::Reads => "reads",
            Self::Local => "local reads",
        }
    }

    /// How much is done by a request: transactions or reads.
    pub(crate) const fn done(self) -> u64 {
        match self {
            Self::Batches => MANY,
            Self::Writes | Self::Hot | Self::Operations | Self::Reads | Self::Local => 1,
        }
    }

    /// How many keys are written or read by a request.
    pub(crate) const fn operations(self) -> u64 {
        match self {
            Self::Batches | Self::Operations => MANY,
            Self::Writes | Self::Hot | Self::Reads | Self::Local => 1,
        }
    }

    /// Whether anything is written.
    pub(crate) const fn writes(self) -> bool {
        match self {
            Self::Writes | Self::Hot | Self::Batches | Self::Operations => true,
            Self::Reads | Self::Local => false,
        }
    }
}

/// What is written where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// The chain.
    pub(crate) chain_id: ChainId,
    /// How many keys there are.
    pub(crate) keys: u64,
    /// Bytes of each value.
    pub(crate) value: usize,
}

impl Field {
    /// The name of a key.
    fn key(number: u64) -> Bytes {
        Bytes::from(format!("bench/{number:010}"))
    }

    /// Transactions of a hundred operations that write each of these keys once.
    pub(crate) fn sown(
        &self,
        system: System,
        keys: Range<u64>,
        by: &mut Account,
    ) -> Result<Vec<Bytes>, Failure> {
        let numbers: Vec<u64> = keys.collect();
        let chunks = numbers.chunks(usize::try_from(MANY).unwrap_or(usize::MAX));
        chunks.map(|chunk| by.writing(system, chunk, self)).collect()
    }

    /// A request for the first of all keys: for what a node has applied, or for one that sees all that was acknowledged
    /// before.
    pub(crate) fn first(local: bool) -> Bytes {
        read(&Self::key(0), local)
    }
}

/// Somebody who writes: a key, the next nonce, and what follows from a number.
pub(crate) struct Account {
    key: SecretKey,
    nonce: Nonce,
    dice: u64,
}

impl Account {
    /// One of many that belong to a seed.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        let dice = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { key: SecretKey::from_seed(&bytes), nonce: Nonce::new(0), dice }
    }

    /// Any number (SplitMix64).
    fn draw(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn value(&mut self, field: &Field) -> Bytes {
        let mut value = Vec::with_capacity(field.value + 8);
        while value.len() < field.value {
            value.extend_from_slice(&self.draw().to_le_bytes());
        }
        value.truncate(field.value);
        value.into()
    }

    fn signed(&mut self, operations: Vec<Operation>, field: &Field) -> Result<Bytes, Failure> {
        let transaction = Transaction {
            chain_id: field.chain_id,
            sender: self.key.account_key(),
            nonce: self.nonce,
            expires: None,
            approvers: Vec::new(),
            operations,
        };
        let large = |wrong| Failure::new(Exit::Usage, format!("a transaction: {wrong}"));
        let signed = transaction.sign(&self.key).map_err(large)?;
        self.nonce = self.nonce.next().unwrap_or(self.nonce);
        Ok(signed.bytes().clone())
    }

    /// A transaction that writes these keys.
    fn transaction(&mut self, keys: &[u64], field: &Field) -> Result<Bytes, Failure> {
        let write = |number: &u64| {
            let (key, value) = (Field::key(*number), self.value(field));
            Operation::Update { key, value }
        };
        let operations = keys.iter().map(write).collect();
        self.signed(operations, field)
    }

    /// A transaction that writes a random key.
    pub(crate) fn update(&mut self, field: &Field) -> Result<Bytes, Failure> {
        let key = self.draw() % field.keys.max(1);
        self.transaction(&[key], field)
    }

    /// A request that writes these keys, all or none.
    fn writing(&mut self, system: System, keys: &[u64], field: &Field) -> Result<Bytes, Failure> {
        let pairs = |account: &mut Self| -> Vec<(Bytes, Bytes)> {
            keys.iter().map(|key| (Field::key(*key), account.value(field))).collect()
        };
        Ok(match system {
            System::Quorate => posted("", &self.transaction(keys, field)?),
            System::Etcd => match pairs(self).as_slice() {
                [(key, value)] => protobuf::put(key, value),
                many => protobuf::transaction(many),
            },
            System::Nats => {
                let messages = pairs(self);
                let (key, value) = messages.first().cloned().unwrap_or_default();
                nats::published(&subject(&key), &value)
            }
        })
    }

    /// Random keys for a request: no key twice, which etcd would refuse, and more keys than there are if need be.
    fn drawn(&mut self, kind: Kind, field: &Field) -> Vec<u64> {
        let (writes, keys) = match kind {
            Kind::Hot => (1, HOT.min(field.keys)),
            Kind::Operations => (MANY, field.keys),
            Kind::Writes | Kind::Batches | Kind::Reads | Kind::Local => (1, field.keys),
        };
        let keys = keys.max(writes);
        let (first, apart) = (self.draw() % keys, keys / writes);
        (0..writes).map(|at| (first + at * apart) % keys).collect()
    }

    /// The next request of a kind.
    pub(crate) fn request(
        &mut self,
        system: System,
        kind: Kind,
        field: &Field,
    ) -> Result<Bytes, Failure> {
        let drawn = self.drawn(kind, field);
        match kind {
            Kind::Writes | Kind::Hot | Kind::Operations => self.writing(system, &drawn, field),
            Kind::Batches => {
                let mut body = u32::try_from(MANY).unwrap_or(u32::MAX).to_le_bytes().to_vec();
                for _ in 0..MANY {
                    let transaction = self.update(field)?;
                    let length = u32::try_from(transaction.len()).unwrap_or(u32::MAX);
                    body.extend_from_slice(&length.to_le_bytes());
                    body.extend_from_slice(&transaction);
                }
                Ok(posted("/batch", &body))
            }
            Kind::Reads | Kind::Local => {
                let (key, local) = (Field::key(drawn[0]), kind == Kind::Local);
                Ok(match system {
                    System::Etcd => protobuf::range(&key, local),
                    System::Quorate | System::Nats => read(&key, local),
                })
            }
        }
    }
}

/// A subject of the stream that stands for a key.
fn subject(key: &[u8]) -> String {
    String::from_utf8_lossy(key).replace('/', ".")
}

fn posted(to: &str, body: &[u8]) -> Bytes {
    let head = format!(
        "POST /v1/txs{to}?timeout={PATIENCE} HTTP/1.1\r\nhost: node\r\ncontent-type: application/octet-stream\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat().into()
}

/// A read of a key.
fn read(key: &[u8], local: bool) -> Bytes {
    let consistency = if local { "?consistency=local" } else { "" };
    asked(&format!("{}{consistency}", path::state(key)))
}

fn asked(path: &str) -> Bytes {
    format!("GET {path} HTTP/1.1\r\nhost: node\r\n\r\n").into()
}

/// Whether an answer says that all of it was done.
pub(crate) fn is_done(kind: Kind, status: u16, body: &[u8]) -> bool {
    match kind {
        Kind::Reads | Kind::Local => status == 200,
        Kind::Writes | Kind::Hot | Kind::Operations | Kind::Batches => {
            let applied = b"\"status\":\"applied\"";
            let count = body.windows(applied.len()).filter(|part| part == applied).count();
            (200..300).contains(&status) && u64::try_from(count) == Ok(kind.done())
        }
    }
}

/// Whether an answer says that there was no room for it, or that nobody knows yet what becomes of it; or so of some of a
/// batch: the same bytes may be sent again.
pub(crate) fn is_put_off(kind: Kind, status: u16, body: &[u8]) -> bool {
    let says = |what: &[u8]| body.windows(what.len()).any(|part| part == what);
    let some = || says(b"\"status\":429") || says(b"\"status\":504");
    matches!(status, 429 | 504) || kind == Kind::Batches && status == 200 && some()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says so by panicking")]
mod tests {
    use std::collections::BTreeSet;

    use quorate_chain::codec::Decode as _;
    use quorate_chain::transaction::SignedTransaction;

    use super::*;

    const FIELD: Field = Field { chain_id: ChainId::ZERO, keys: 1_000, value: 256 };

    fn body(request: &Bytes) -> Bytes {
        let at = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        request.slice(at..)
    }

    #[test]
    fn each_request_holds_as_much_as_its_kind_says() {
        let mut account = Account::new(7, 0);
        for kind in [Kind::Writes, Kind::Hot, Kind::Operations] {
            let request = account.request(System::Quorate, kind, &FIELD).unwrap();
            let transaction = SignedTransaction::from_bytes(&body(&request)).unwrap();
            assert_eq!(transaction.content().operations.len() as u64, kind.operations());
        }
        let batch = body(&account.request(System::Quorate, Kind::Batches, &FIELD).unwrap());
        assert_eq!(u32::from_le_bytes(batch[..4].try_into().unwrap()), 100);
        let read = account.request(System::Quorate, Kind::Local, &FIELD).unwrap();
        assert!(read.starts_with(b"GET /v1/state/bench") && read.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn a_large_transaction_names_no_key_twice_however_few_there_are() {
        let mut account = Account::new(7, 0);
        for keys in [1, 10, 99, 100, 150, 1_000] {
            let drawn = account.drawn(Kind::Operations, &Field { keys, ..FIELD });
            assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 100, "{keys}: {drawn:?}");
        }
    }

    #[test]
    fn nonces_follow_each_other_and_all_keys_are_sown() {
        let mut account = Account::new(7, 1);
        let sown = FIELD.sown(System::Quorate, 0..FIELD.keys, &mut account).unwrap();
        let nonces = sown.iter().map(|request| {
            SignedTransaction::from_bytes(&body(request)).unwrap().content().nonce.get()
        });
        assert_eq!(nonces.collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn an_answer_counts_only_if_all_was_applied() {
        let applied = br#"{"status":"applied","index":0}"#;
        assert!(is_done(Kind::Writes, 201, applied));
        assert!(!is_done(Kind::Writes, 201, br#"{"status":"failed"}"#));
        assert!(!is_done(Kind::Writes, 409, applied));
        assert!(!is_done(Kind::Batches, 200, &applied.repeat(99)));
        assert!(is_done(Kind::Batches, 200, &applied.repeat(100)));
        assert!(is_done(Kind::Reads, 200, b"") && !is_done(Kind::Reads, 404, b""));
    }

    #[test]
    fn what_found_no_room_or_is_not_known_yet_is_sent_again() {
        let full = br#"{"outcomes":[{"code":"mempool_full","status":429}]}"#;
        let unknown = br#"{"outcomes":[{"code":"outcome_unknown","status":504}]}"#;
        assert!(is_put_off(Kind::Batches, 200, full) && is_put_off(Kind::Writes, 429, b""));
        assert!(is_put_off(Kind::Batches, 200, unknown) && is_put_off(Kind::Writes, 504, b""));
        assert!(!is_put_off(Kind::Batches, 200, br#"{"outcomes":[{"status":"failed"}]}"#));
    }
}
