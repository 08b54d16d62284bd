//! What needs no disk: signatures, hashes, reading, putting blocks together, encryption.

use std::hint::black_box;

use bytes::Bytes;
use quorate_chain::block::Body;
use quorate_chain::codec::{Decode as _, Encode};
use quorate_chain::crypto::Ed25519;
use quorate_chain::ids::{Hash, Height, TxId};
use quorate_chain::outcome::{Outcome, Status};
use quorate_chain::state::{StateEntry, StateKey, Value};
use quorate_chain::transaction::{Operation, SignedTransaction, verify_all};
use quorate_node::exit::Failure;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::clock::{Cost, each};
use super::{GROUP, LEAST};
use crate::group::bug;
use crate::work::{Account, Field, MANY};

/// Signatures that are checked together.
pub(crate) const TOGETHER: [usize; 3] = [64, 128, 1_024];
/// Bytes that Noise encrypts at once, with the 16 of the tag.
const FRAME: usize = 65_535;
/// Leaves of the state in a bucket that is full.
const BUCKET: f64 = 8.0;

/// Whose transactions a batch is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Senders {
    /// One after the other, of so many.
    InTurn(usize),
    /// A hundred of one, as a request brings them, then of the next.
    Requests,
}

impl Senders {
    /// All that are measured.
    pub(crate) const ALL: [Self; 3] = [Self::InTurn(64), Self::InTurn(256), Self::Requests];

    /// Who sends the transaction at this place.
    pub(crate) fn at(self, place: usize) -> usize {
        match self {
            Self::InTurn(count) => place % count.max(1),
            Self::Requests => place / usize::try_from(MANY).unwrap_or(usize::MAX),
        }
    }

    /// What it is called.
    pub(crate) fn name(self) -> String {
        match self {
            Self::InTurn(count) => format!("{count} senders in turn"),
            Self::Requests => format!("{MANY} of each sender"),
        }
    }
}

/// So many transactions, as clients send them.
pub(crate) fn transactions(
    count: usize,
    senders: Senders,
    field: &Field,
) -> Result<Vec<SignedTransaction>, Failure> {
    let mut accounts: Vec<Account> = Vec::new();
    let one = |place| {
        let at = senders.at(place);
        while accounts.len() <= at {
            accounts.push(Account::new(7, accounts.len() as u64));
        }
        SignedTransaction::from_bytes(&accounts[at].update(field)?).map_err(bug)
    };
    (0..count).map(one).collect()
}

/// Checks so many signatures together, as a node does; without reading, and without the hash that is the id.
pub(crate) fn signatures(
    together: usize,
    senders: Senders,
    field: &Field,
) -> Result<Cost, Failure> {
    let batch = transactions(together, senders, field)?;
    let check = || verify_all(&batch, field.chain_id, &Ed25519);
    each(LEAST, together, check).map_err(bug)
}

/// An input of SHA-256, and how often there is one of its size for each transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Input {
    bytes: usize,
    times: f64,
}

/// How many of so many nodes are above some of so many writes at random places.
fn touched(nodes: f64, writes: f64) -> f64 {
    nodes * (1.0 - (1.0 - 1.0 / nodes).powf(writes))
}

/// All that is hashed for a transaction besides its id, if a group is a block: its leaf in the block and that of its
/// outcome, with a node for each in the trees above; the path and the digest of its entry; and what all entries of
/// the group write anew of the tree of the state, buckets and the nodes above them.
fn inputs(transaction: &SignedTransaction, keys: u64) -> Vec<Input> {
    let id: TxId = transaction.id();
    let outcome = Outcome { tx: id, status: Status::Applied }.to_bytes().len();
    let mut state = 0;
    let mut entry = 0;
    if let Some(Operation::Update { key, value }) = transaction.content().operations.first() {
        let value = Value { height: Height::ZERO, tx: id, bytes: value.clone() };
        state = b"quorate/1/key".len() + StateKey::Value(key.clone()).to_bytes().len();
        entry = b"quorate/1/entry".len() + StateEntry::Value(value).to_bytes().len();
    }
    let leaf = 2 + TxId::LENGTH + transaction.signature_bytes().len();
    let node = 1 + 2 * Hash::LENGTH;
    let once = |bytes| Input { bytes, times: 1.0 };
    let mut inputs = vec![once(leaf), once(1 + outcome), once(state), once(entry)];
    inputs.push(Input { bytes: node, times: 2.0 });

    let (keys, group) = (keys as f64, GROUP as f64);
    // Buckets that are split when they are full are as full as this on average.
    let full = BUCKET * std::f64::consts::LN_2;
    let mut nodes = (keys / full).max(1.0);
    let bucket = (1.0 + full * 2.0 * Hash::LENGTH as f64) as usize;
    inputs.push(Input { bytes: bucket, times: touched(nodes, group) / group });
    while nodes > 1.0 {
        nodes = (nodes / 2.0).max(1.0);
        inputs.push(Input { bytes: node, times: touched(nodes, group) / group });
    }
    inputs
}

/// Hashes what has to be hashed for a transaction.
pub(crate) fn hashes(field: &Field) -> Result<Cost, Failure> {
    let sample = transactions(1, Senders::Requests, field)?;
    let inputs = sample.first().map(|one| inputs(one, field.keys)).unwrap_or_default();
    let longest = inputs.iter().map(|input| input.bytes).max().unwrap_or(0);
    let bytes = vec![7; longest];
    each(LEAST, GROUP, || {
        for input in &inputs {
            for _ in 0..(input.times * GROUP as f64).round() as usize {
                black_box(Hash::of(&[&bytes[..input.bytes]]));
            }
        }
        Ok(())
    })
}

/// A block's worth of transactions, and the bytes that they are in it.
pub(crate) fn body(field: &Field) -> Result<(Body, Bytes), Failure> {
    let transactions = transactions(GROUP, Senders::Requests, field)?;
    let body = Body { item: None, transactions };
    let bytes = body.to_bytes();
    Ok((body, bytes))
}

/// Reads transactions, which hashes each of them once: that is its id.
pub(crate) fn reading(bytes: &Bytes) -> Result<Cost, Failure> {
    let read = || Body::from_bytes(bytes).map(|body| drop(black_box(body)));
    each(LEAST, GROUP, read).map_err(bug)
}

/// Puts the bytes of a block together.
pub(crate) fn joining(body: &Body) -> Result<Cost, Failure> {
    each(LEAST, GROUP, || {
        black_box(body.to_bytes());
        Ok(())
    })
}

fn cipher() -> Result<LessSafeKey, Failure> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]);
    Ok(LessSafeKey::new(key.map_err(bug)?))
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// What it costs to encrypt so many bytes for one follower, and to decrypt them there.
pub(crate) fn encryption(bytes: usize) -> Result<(Cost, Cost), Failure> {
    let cipher = cipher()?;
    let plain = FRAME - CHACHA20_POLY1305.tag_len();
    let mut frame = vec![7; plain];
    let seal = each(LEAST, plain, || {
        let tag = cipher.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut frame);
        black_box(tag).map(|_| ())
    });
    let mut sealed = vec![7; plain];
    cipher.seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed).map_err(bug)?;
    let mut frame = sealed.clone();
    let open = each(LEAST, plain, || {
        frame.copy_from_slice(&sealed);
        cipher.open_in_place(nonce(), Aad::empty(), &mut frame).map(drop)
    });
    let of = |each: Cost| Cost {
        cpu_us: each.cpu_us * bytes as f64,
        wall_us: each.wall_us * bytes as f64,
    };
    Ok((of(seal.map_err(bug)?), of(open.map_err(bug)?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says so by panicking")]
mod tests {
    use quorate_chain::ids::ChainId;

    use super::*;

    const FIELD: Field = Field { chain_id: ChainId::ZERO, keys: 10_000, value: 256 };

    #[test]
    fn senders_come_in_turn_or_a_hundred_times_each() {
        let of = |senders: Senders| [0, 63, 64, 99, 100].map(|place| senders.at(place));
        assert_eq!(of(Senders::InTurn(64)), [0, 63, 0, 35, 36]);
        assert_eq!(of(Senders::Requests), [0, 0, 0, 0, 1]);
        let sent = transactions(101, Senders::Requests, &FIELD).unwrap();
        assert_eq!(sent[0].content().sender, sent[99].content().sender);
        assert_ne!(sent[0].content().sender, sent[100].content().sender);
        assert!(verify_all(&sent, FIELD.chain_id, &Ed25519).is_ok());
    }

    #[test]
    fn a_node_above_many_writes_is_hashed_once() {
        assert!((touched(1.0, 1_000.0) - 1.0).abs() < 1e-9);
        assert!((touched(1e9, 1_000.0) - 1_000.0).abs() < 0.01);
        let sent = transactions(1, Senders::Requests, &FIELD).unwrap();
        let inputs = inputs(&sent[0], FIELD.keys);
        assert_eq!(inputs[..2].iter().map(|it| it.bytes).collect::<Vec<_>>(), [98, 34]);
        let above: f64 = inputs[6..].iter().map(|it| it.times).sum();
        assert!((1.0..3.0).contains(&above), "{above}");
    }
}
