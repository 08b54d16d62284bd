//! What a block costs beside its bare signatures: `cargo bench -p quorate-chain --bench block`.
//!
//! Every figure is measured several times, in turns with the bare cost it is compared with; printed
//! is the median, and the ratio to the bare cost of the same run.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use ed25519_zebra::{Signature, VerificationKeyBytes, batch};
use quorate_chain::block::{Block, BlockKind, Body, Draft};
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::commitment::Commitment;
use quorate_chain::crypto::{Ed25519, SecretKey};
use quorate_chain::execute::{Rules, Writers, execute};
use quorate_chain::ids::{
    AccountKey, BlockHash, BlockRef, ChainId, Hash, Height, NodeId, Nonce, RosterHash, StateRoot,
    Term, TimeUs,
};
use quorate_chain::roster::Admins;
use quorate_chain::state::MemoryState;
use quorate_chain::state_root::{MemoryLeaves, StateTree};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};

const TRANSACTIONS: u64 = 1_000;
const VALUE: usize = 256;
const ROUNDS: usize = 15;
const CHAIN: ChainId = ChainId::new([7; 32]);

/// A source of arbitrary bytes that is the same in every run.
struct Counter(u64);

impl Counter {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 27
    }
}

impl rand_core::TryRng for Counter {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.next() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        for piece in dst.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Counter {}

/// A thousand transactions of one random key each, by so many senders in turn.
fn transactions(senders: u64, round: u64, random: &mut Counter) -> Vec<SignedTransaction> {
    let keys: Vec<_> = (0..senders)
        .map(|id| SecretKey::from_seed(Hash::of(&[&id.to_be_bytes()]).as_bytes()))
        .collect();
    (0..TRANSACTIONS)
        .map(|index| {
            let mut value = vec![0; VALUE];
            rand_core::TryRng::try_fill_bytes(random, &mut value).unwrap();
            let sender = &keys[(index % senders) as usize];
            let operation = Operation::Update {
                key: Bytes::from(format!("key{:012}", random.next() % 1_000_000)),
                value: Bytes::from(value),
            };
            let content = Transaction {
                chain_id: CHAIN,
                sender: sender.account_key(),
                nonce: Nonce::new(round * TRANSACTIONS + index / senders),
                expires: None,
                approvers: Vec::new(),
                operations: vec![operation],
            };
            content.sign(sender).unwrap()
        })
        .collect()
}

fn draft(transactions: Vec<SignedTransaction>) -> Draft {
    Draft {
        chain_id: CHAIN,
        roster_hash: RosterHash::ZERO,
        kind: BlockKind::Transactions,
        parent: BlockRef { term: Term::new(1), height: Height::new(1), hash: BlockHash::ZERO },
        term: Term::new(1),
        proposer: NodeId::new(0),
        time: TimeUs::new(1),
        executed: Height::ZERO,
        state_root: StateRoot::ZERO,
        body: Body { item: None, transactions },
    }
}

/// Microseconds per transaction of each of the tasks, the median of rounds in turns.
fn in_turns<const N: usize>(mut tasks: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut taken: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (task, taken) in tasks.iter_mut().zip(&mut taken) {
            let start = Instant::now();
            task();
            taken.push(start.elapsed().as_secs_f64() * 1e6 / TRANSACTIONS as f64);
        }
    }
    taken.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// Verifies nothing but the signatures of the transactions, by the library alone.
fn bare(items: &[(VerificationKeyBytes, Signature, Bytes)]) {
    let mut all = batch::Verifier::new();
    for (key, signature, message) in items {
        all.queue((*key, *signature, message));
    }
    all.verify(Counter(1)).unwrap();
}

fn verification(senders: u64) {
    let proposer = SecretKey::from_seed(&[1; 32]);
    let mut random = Counter(senders);
    let transactions = transactions(senders, 0, &mut random);
    let items: Vec<_> = transactions
        .iter()
        .map(|tx| {
            let message = Bytes::from(tx.content().message());
            let signature = &tx.bytes()[message.len()..message.len() + 64];
            let key = VerificationKeyBytes::from(*tx.content().sender.as_bytes());
            (key, Signature::try_from(signature).unwrap(), message)
        })
        .collect();
    let block = Block::seal(draft(transactions.clone()), &proposer).unwrap();
    let bytes = block.bytes().clone();
    let key = proposer.validator_key();

    let mut signatures = || bare(&items);
    let mut verify = || {
        let block = Block::from_bytes(&bytes).unwrap();
        black_box(block.verify(CHAIN, &key, &Ed25519).unwrap());
    };
    let mut seal = || {
        black_box(Block::seal(draft(transactions.clone()), &proposer).unwrap());
    };
    let [signatures, verify, seal] = in_turns([&mut signatures, &mut verify, &mut seal]);
    println!(
        "{senders:>5} senders   bare signatures {signatures:6.2} µs/tx   decode and verify {verify:6.2} \
         ({:.2} of bare speed)   seal {seal:5.2}",
        signatures / verify
    );
}

/// Execution and state root over a million keys that are there already.
fn execution() {
    let mut random = Counter(42);
    let (mut state, mut leaves) = (MemoryState::default(), MemoryLeaves::new());
    let admins = Admins { threshold: 1, keys: vec![AccountKey::ZERO] };
    let rules = Rules { writers: Writers::Anyone, admins: &admins };
    let mut commitment = Commitment::new(StateTree::new(), Hash::ZERO);
    // The million keys are put there without transactions, which would take minutes to sign.
    let fill: quorate_chain::state::Changes = (0..1_000_000_u64)
        .map(|number| {
            let value = quorate_chain::state::Value {
                height: Height::ZERO,
                tx: quorate_chain::ids::TxId::ZERO,
                bytes: Bytes::from(vec![7; VALUE]),
            };
            let key = Bytes::from(format!("key{number:012}"));
            let entry = quorate_chain::state::StateEntry::Value(value);
            (quorate_chain::state::StateKey::Value(key), Some(entry))
        })
        .collect();
    let filled = quorate_chain::execute::Execution { changes: fill, ..Default::default() };
    let changes = commitment.advance(&filled, &leaves).unwrap();
    leaves.apply(&changes);
    state.apply(&filled.changes);

    let (mut executed, mut rooted, mut keys) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS as u64 {
        let block = transactions(64, round, &mut random);
        let start = Instant::now();
        let done = execute(&state, &rules, Height::new(round + 1), &block).unwrap();
        executed.push(start.elapsed().as_secs_f64() * 1e6 / TRANSACTIONS as f64);
        let start = Instant::now();
        let changes = commitment.advance(&done, &leaves).unwrap();
        black_box(commitment.root());
        rooted.push(start.elapsed().as_secs_f64() * 1e6 / TRANSACTIONS as f64);
        leaves.apply(&changes);
        state.apply(&done.changes);
        keys = done.changes.len();
    }
    executed.sort_by(f64::total_cmp);
    rooted.sort_by(f64::total_cmp);
    let (executed, rooted) = (executed[ROUNDS / 2], rooted[ROUNDS / 2]);
    let per_key = rooted * TRANSACTIONS as f64 / keys as f64;
    println!(
        "1,000,000 keys   execute {executed:5.2} µs/tx   state root {rooted:5.2} µs/tx, \
         {per_key:.2} µs per key written ({keys} keys a block)"
    );
}

fn main() {
    println!("a block of {TRANSACTIONS} transactions, one {VALUE}-byte value each");
    for senders in [4, 64, TRANSACTIONS] {
        verification(senders);
    }
    execution();
    let encoded = transactions(4, 0, &mut Counter(1))[0].to_bytes().len();
    println!("a transaction has {encoded} bytes");
}
