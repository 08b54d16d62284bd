//! What a transaction costs in the store as the chain grows: `cargo bench -p quorate-store`.
//!
//! Blocks of 1,000 transactions, each an update of a random key with 256 bytes, go into a new file, up to
//! five million; `QUORATE_MILLIONS=1` stops earlier. Printed is the time of `Store::apply` for each
//! transaction around every million, and its ratio to the first. Nothing is executed and no signature
//! is made: this is the store alone.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_chain::block::{Block, BlockKind, Body, Draft};
use quorate_chain::crypto::{SecretKey, Signer, ValidatorKey};
use quorate_chain::execute::Write;
use quorate_chain::genesis::{Genesis, GenesisAdmins, GenesisValidator, VERSION};
use quorate_chain::ids::{
    AccountKey, BlockRef, ChainId, Hash, Height, NodeId, Nonce, Signature, StateRoot, Term, TimeUs,
};
use quorate_chain::outcome::{Outcome, Status};
use quorate_chain::roster::{Lead, Roster};
use quorate_chain::state::{Changes, Nonces, StateEntry, StateKey, Value};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use quorate_consensus::log::Anchor;
use quorate_replica::store::{Batch, Executed, Standing, Store, StoreReader};
use quorate_store::SqliteStore;

const TRANSACTIONS: u64 = 1_000;
const VALUE: usize = 256;
const SENDERS: u64 = 64;
/// Blocks measured around each million.
const MEASURED: u64 = 50;
/// Blocks from one checkpoint to the next.
const CHECKPOINT: u64 = 1_000;
const CHAIN: ChainId = ChainId::new([7; 32]);

/// A signer whose signatures nobody will look at.
struct Unsigned(ValidatorKey);

impl Signer for Unsigned {
    fn key(&self) -> ValidatorKey {
        self.0.clone()
    }

    fn sign(&self, _: &[u8]) -> Signature {
        Signature::new([0; 64])
    }
}

/// The same arbitrary numbers in every run.
fn arbitrary(number: u64) -> [u8; 32] {
    *Hash::of(&[b"arbitrary", &number.to_be_bytes()]).as_bytes()
}

fn roster(key: &ValidatorKey) -> Roster {
    let admin = SecretKey::from_seed(&[9; 32]).account_key();
    let genesis = Genesis {
        version: VERSION,
        name: "bench".to_owned(),
        time_us: TimeUs::new(1),
        testnet: true,
        writers: quorate_chain::execute::Writers::Anyone,
        admins: GenesisAdmins { threshold: 1, keys: vec![admin] },
        validators: vec![GenesisValidator {
            name: "node0".to_owned(),
            key: key.clone(),
            p2p: Vec::new(),
            api: Vec::new(),
            lead: Lead::Yes,
        }],
        vote_quorum: None,
        finality_quorum: None,
        grants: Vec::new(),
    };
    genesis.roster().unwrap()
}

/// A chain in the making, and where it stands.
struct Chain {
    signer: Unsigned,
    senders: Vec<AccountKey>,
    standing: Standing,
    count: u64,
}

impl Chain {
    fn new() -> Self {
        let key = SecretKey::from_seed(&[1; 32]).validator_key();
        let applied = Anchor {
            block: CHAIN.genesis_ref(),
            kind: None,
            time: TimeUs::ZERO,
            leader: None,
            roster: Arc::new(roster(&key)),
            roster_since: Height::ZERO,
        };
        let standing = Standing {
            applied,
            state_root: StateRoot::ZERO,
            size: None,
            outcomes: Hash::ZERO,
            certificate: None,
            replaced: None,
        };
        let sender = |number| SecretKey::from_seed(&arbitrary(number)).account_key();
        let senders = (0..SENDERS).map(sender).collect();
        Self { signer: Unsigned(key), senders, standing, count: 0 }
    }

    fn transaction(&mut self) -> SignedTransaction {
        self.count += 1;
        let key = Bytes::copy_from_slice(&arbitrary(self.count)[..16]);
        let value = Bytes::from(arbitrary(!self.count).repeat(VALUE / 32));
        let content = Transaction {
            chain_id: CHAIN,
            sender: self.senders[usize::try_from(self.count % SENDERS).unwrap()],
            nonce: Nonce::new(self.count / SENDERS + 1),
            expires: None,
            approvers: Vec::new(),
            operations: vec![Operation::Update { key, value }],
        };
        content.assemble(Signature::new([0; 64]), &[]).unwrap()
    }

    /// The next block, and what executing it would have given.
    fn next(&mut self) -> Batch {
        let transactions: Vec<_> = (0..TRANSACTIONS).map(|_| self.transaction()).collect();
        let parent = self.standing.applied.block;
        let draft = Draft {
            chain_id: CHAIN,
            roster_hash: self.standing.applied.roster.hash(),
            kind: BlockKind::Transactions,
            parent,
            term: Term::new(1),
            proposer: NodeId::new(0),
            time: TimeUs::new(parent.height.get()),
            executed: parent.height,
            state_root: StateRoot::ZERO,
            body: Body { item: None, transactions },
        };
        let block = Block::seal(draft, &self.signer).unwrap();
        let here: BlockRef = block.block_ref();
        let (mut outcomes, mut writes, mut changes) = (Vec::new(), Vec::new(), Changes::new());
        for (index, signed) in (0..).zip(&block.body().transactions) {
            let (tx, content) = (signed.id(), signed.content());
            outcomes.push(Outcome { tx, status: Status::Applied });
            let Operation::Update { key, value } = &content.operations[0] else { continue };
            let (key, value) = (key.clone(), value.clone());
            writes.push(Write {
                index,
                operation: 0,
                key: key.clone(),
                value: Some(value.clone()),
            });
            let value = Value { height: here.height, tx, bytes: value };
            changes.insert(StateKey::Value(key), Some(StateEntry::Value(value)));
            let mut nonces = Nonces::default();
            nonces.take(Nonce::new(1)).unwrap();
            let nonces = Some(StateEntry::Nonces(nonces));
            changes.insert(StateKey::Nonces(content.sender), nonces);
        }
        self.standing.applied.block = here;
        let executed =
            Executed { block, roster: None, outcomes, writes, state_root: StateRoot::ZERO };
        let leaves = quorate_chain::commitment::leaf_changes(&changes);
        Batch {
            blocks: vec![executed],
            changes,
            leaves,
            steps: Vec::new(),
            standing: self.standing.clone(),
        }
    }
}

fn main() {
    let millions = std::env::var("QUORATE_MILLIONS").map_or(5, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain.db");
    let mut store = SqliteStore::open(&file, CHAIN).unwrap();
    let mut chain = Chain::new();
    store.begin(chain.standing.clone(), &Changes::new()).unwrap();
    let (mut first, mut window) = (None, Vec::new());
    println!("transactions   µs each   of the first   lookup by id µs   file MiB");
    for block in 1..=millions * 1_000 + MEASURED {
        let batch = chain.next();
        let id = batch.blocks[0].outcomes[0].tx;
        let begin = Instant::now();
        store.apply(batch).unwrap();
        if block % CHECKPOINT == 0 {
            store.checkpoint().unwrap();
        }
        window.push(begin.elapsed());
        if block % 1_000 == MEASURED {
            let spent: Duration =
                window.iter().rev().take(usize::try_from(MEASURED).unwrap()).sum();
            let each = spent.as_secs_f64() * 1e6 / (MEASURED * TRANSACTIONS) as f64;
            let first = *first.get_or_insert(each);
            let begin = Instant::now();
            assert!(store.reader().place(id).unwrap().is_some());
            let lookup = begin.elapsed().as_secs_f64() * 1e6;
            let size = std::fs::metadata(&file).unwrap().len() >> 20;
            let count = (block - MEASURED) * TRANSACTIONS;
            println!(
                "{count:>12}   {each:>7.1}   {:>12.2}   {lookup:>15.0}   {size:>8}",
                each / first
            );
            window.clear();
        }
    }
}
