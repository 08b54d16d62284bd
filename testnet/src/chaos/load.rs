//! Clients that write and read as fast as they like, and keep all that they are told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{BlockHash, ChainId, Hash, Height, Nonce};
use quorate_chain::transaction::{SignedTransaction, Transaction};
use quorate_client::answer::{Outcome, TxStatus};
use quorate_client::problem::{Effect, Problem};
use quorate_client::{Batch, Client, Error, Level, Wait, path};
use quorate_sim::dice::Dice;

use super::history::{Answer, Entry, Micros, Operation, Place, What};

/// Keys that all clients write and read.
const SHARED: u64 = 12;
/// How long a node alone is asked, and how long all are.
const ALONE: Duration = Duration::from_millis(1_500);
const TOGETHER: Duration = Duration::from_secs(4);
/// The longest pause between two operations.
const PAUSE_MS: u64 = 40;

/// What all clients have in common.
#[derive(Debug)]
pub(crate) struct Load {
    /// What the dice of every client follow from.
    pub(crate) seed: u64,
    /// When the run began.
    pub(crate) begin: Instant,
    /// The chain.
    pub(crate) chain_id: ChainId,
    /// Where each node serves clients.
    pub(crate) apis: Vec<String>,
    /// What their keys begin with.
    pub(crate) prefix: String,
    /// Set when they shall end.
    pub(crate) over: AtomicBool,
    /// Operations so far.
    pub(crate) count: AtomicU64,
}

/// One client.
struct Worker<'a> {
    load: &'a Load,
    number: usize,
    dice: Dice,
    key: SecretKey,
    nonce: Nonce,
    all: Client,
    each: Vec<Client>,
    told: Vec<Operation>,
    values: u64,
}

impl Load {
    /// Works until it shall end; returns all that was told.
    pub(crate) fn work(&self, number: usize) -> Result<Vec<Operation>, Error> {
        let dice = Dice::new(self.seed, 1_000 + number as u64);
        let client =
            |nodes: &str, timeout| Client::new(nodes).map(|client| client.with_timeout(timeout));
        // Each begins with another node.
        let mut apis = self.apis.clone();
        let turn = number % apis.len();
        apis.rotate_left(turn);
        let all = client(&apis.join(","), TOGETHER)?;
        let each = self.apis.iter().map(|api| client(api, ALONE)).collect::<Result<_, _>>()?;
        let domain = b"quorate/chaos-client/1";
        let number_bytes = (number as u64).to_be_bytes();
        let own =
            Hash::of(&[domain, &self.seed.to_be_bytes(), self.prefix.as_bytes(), &number_bytes]);
        let key = SecretKey::from_seed(own.as_bytes());
        let nonce = all.account_info(key.account_key())?.next_nonce;
        let (told, values) = (Vec::new(), 0);
        let mut worker = Worker { load: self, number, dice, key, nonce, all, each, told, values };
        while !self.over.load(Ordering::Relaxed) {
            worker.turn()?;
            self.count.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(worker.dice.below(PAUSE_MS)));
        }
        Ok(worker.told)
    }
}

impl Worker<'_> {
    fn turn(&mut self) -> Result<(), Error> {
        match self.dice.below(100) {
            0..45 => self.read(false),
            45..55 => self.read(true),
            _ => self.write()?,
        }
        Ok(())
    }

    fn now(&self) -> Micros {
        Micros::try_from(self.load.begin.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    fn note(&mut self, begin: Micros, what: What, answer: Answer) {
        let operation = Operation { client: self.number, begin, end: self.now(), what, answer };
        self.told.push(operation);
    }

    /// A key that all use.
    fn shared_key(&mut self) -> String {
        format!("{}r{}", self.load.prefix, self.dice.below(SHARED))
    }

    /// A value that nobody has written yet.
    fn value(&mut self) -> String {
        self.values += 1;
        format!("{}.{}", self.number, self.values)
    }

    /// Reads a key at one node.
    fn read(&mut self, local: bool) {
        let key = self.shared_key();
        let node = self.dice.index(self.each.len());
        let question = path::state(key.as_bytes()) + if local { "?consistency=local" } else { "" };
        let begin = self.now();
        let answer = reading(self.each[node].body(&question));
        self.note(begin, What::Read { key, local }, answer);
    }

    /// Writes, and goes on with the same bytes for a while if nobody says what became of them. Now and then it
    /// sends once more what has been acknowledged.
    fn write(&mut self) -> Result<(), Error> {
        let signed = self.sign()?;
        let (tx, begin) = (signed.id(), self.now());
        let mut answer = self.send(&signed);
        for _ in 0..self.dice.below(4) {
            if answer != Answer::Unknown {
                break;
            }
            // That nothing has come of this try says nothing of those before.
            let next = self.send(&signed);
            answer = if next == Answer::Nothing { Answer::Unknown } else { next };
        }
        if answer != Answer::Nothing {
            self.nonce = self.nonce.next().unwrap_or(self.nonce);
        }
        let acknowledged = matches!(answer, Answer::Ordered { .. });
        self.note(begin, What::Write { tx, again: false }, answer);
        if acknowledged && self.dice.chance(50_000) {
            let (begin, answer) = (self.now(), self.send(&signed));
            // A node that has not come so far yet does not know it, and this try has come to nothing there.
            let answer = if answer == Answer::Nothing { Answer::Unknown } else { answer };
            self.note(begin, What::Write { tx, again: true }, answer);
        }
        Ok(())
    }

    /// Something to write that was never written before: a nonce is used again if nothing came of it, and the
    /// same bytes would be the same transaction.
    fn sign(&mut self) -> Result<SignedTransaction, Error> {
        let (key, value) = (self.shared_key(), self.value());
        let own = format!("{}u{}/{value}", self.load.prefix, self.number);
        let batch = match self.dice.below(10) {
            0..3 => Batch::new().update(&key, &value),
            3..5 => Batch::new().put(own, &value),
            5 => Batch::new().put(&key, &value),
            6 => Batch::new().remove(&key).put(own, &value),
            7..9 => {
                let expected = self.last_seen(&key);
                Batch::new().cas(&key, expected.as_deref().map(str::as_bytes), &value)
            }
            // Two keys or none.
            _ => Batch::new().put(own, &value).remove(&key),
        };
        let transaction = Transaction {
            chain_id: self.load.chain_id,
            sender: self.key.account_key(),
            nonce: self.nonce,
            expires: None,
            approvers: Vec::new(),
            operations: batch.into_operations(),
        };
        Ok(transaction.sign(&self.key)?)
    }

    /// What a key was when this client last read it.
    fn last_seen(&self, key: &str) -> Option<String> {
        let seen = |operation: &Operation| match (&operation.what, &operation.answer) {
            (What::Read { key: of, .. }, Answer::Value { entry, .. }) if of == key => {
                Some(entry.as_ref().map(|entry| entry.value.clone()))
            }
            (What::Read { .. } | What::Write { .. }, _) => None,
        };
        self.told.iter().rev().take(200).find_map(seen).flatten()
    }

    /// Sends a transaction to one node, or to one after the other.
    fn send(&mut self, signed: &SignedTransaction) -> Answer {
        let wait = |timeout| Wait { level: Level::Applied, timeout };
        if self.dice.chance(400_000) {
            let node = self.dice.index(self.each.len());
            return writing(self.each[node].submit(signed.bytes(), wait(ALONE)));
        }
        writing(self.all.submit(signed.bytes(), wait(TOGETHER)))
    }
}

/// What an answer to a read says.
fn reading(answer: Result<String, Error>) -> Answer {
    match answer {
        Ok(body) => match serde_json::from_str::<quorate_client::answer::Entry>(&body) {
            Ok(entry) => Answer::Value {
                entry: Some(Entry {
                    value: String::from_utf8_lossy(&entry.value).into_owned(),
                    height: entry.height,
                    tx: entry.tx,
                }),
                read_height: entry.read_height,
            },
            Err(error) => Answer::Nonsense(format!("{error}: {body}")),
        },
        Err(Error::Refused { problem, .. }) => match problem.read_height {
            Some(read_height) => Answer::Value { entry: None, read_height },
            None => Answer::Unknown,
        },
        Err(error) => silence(&error),
    }
}

/// What an answer to a write says.
fn writing(answer: Result<Outcome, Error>) -> Answer {
    match answer {
        Ok(outcome) => ordered(&outcome),
        Err(Error::Refused { problem, .. }) => match &*problem {
            Problem { outcome: Effect::Ordered(outcome), .. } => ordered(outcome),
            Problem { .. } if problem.nothing_happened() => Answer::Nothing,
            Problem { .. } => Answer::Unknown,
        },
        // It has reached nobody.
        Err(Error::NoNode { .. }) => Answer::Nothing,
        Err(error) => silence(&error),
    }
}

fn silence(error: &Error) -> Answer {
    if matches!(error, Error::Nonsense { .. }) {
        return Answer::Nonsense(error.to_string());
    }
    Answer::Unknown
}

fn ordered(outcome: &Outcome) -> Answer {
    let place: Option<(Height, u32, BlockHash)> =
        outcome.height.zip(outcome.index).zip(outcome.block_hash).map(|((h, i), b)| (h, i, b));
    match (outcome.status, place) {
        (TxStatus::Applied | TxStatus::Failed, Some((height, index, hash))) => Answer::Ordered {
            place: Place { height, index },
            hash,
            applied: outcome.status == TxStatus::Applied,
        },
        (TxStatus::Applied | TxStatus::Failed, None) => {
            Answer::Nonsense(format!("{} is said to be executed, but not where", outcome.id))
        }
        (TxStatus::Unknown | TxStatus::Pending | TxStatus::Committed | TxStatus::Expired, _) => {
            Answer::Unknown
        }
    }
}
