//! The store in SQLite is the twin of the one in memory: two validators that live the same life, one on
//! each, are asked the same questions and give the same answers; also after a restart.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm)]

use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::checked::Checked;
use quorate_chain::crypto::{Ed25519, SecretKey};
use quorate_chain::execute::Writers;
use quorate_chain::genesis::{Genesis, GenesisAdmins, GenesisGrant, GenesisValidator, VERSION};
use quorate_chain::ids::{AccountKey, ChainId, Height, NodeId, Nonce, TimeUs};
use quorate_chain::roster::Lead;
use quorate_chain::state::StateRead;
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use quorate_consensus::config::Incarnation;
use quorate_consensus::message::Nonce as StartNonce;
use quorate_consensus::time::{Moment, Now, Span};
use quorate_replica::io::{Input, Output, Submission};
use quorate_replica::setup::{Birth, Limits};
use quorate_replica::store::{MemoryStore, Store, StoreReader, suite};
use quorate_replica::{Replica, Setup, open};
use quorate_store::{SqliteStore, StoreError};
use quorate_wal::{Memory, Options};
use rusqlite::{Connection, OpenFlags};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn genesis() -> Genesis {
    let granted = secret(11).account_key();
    Genesis {
        version: VERSION,
        name: "twins".to_owned(),
        time_us: TimeUs::new(1),
        testnet: true,
        writers: Writers::Anyone,
        admins: GenesisAdmins { threshold: 1, keys: vec![secret(10).account_key()] },
        validators: vec![GenesisValidator {
            name: "node0".to_owned(),
            key: secret(1).validator_key(),
            p2p: Vec::new(),
            api: Vec::new(),
            lead: Lead::Yes,
        }],
        vote_quorum: None,
        finality_quorum: None,
        grants: vec![GenesisGrant { account: granted, prefix: "a".to_owned() }],
    }
}

fn chain_id() -> ChainId {
    Genesis::chain_id(&genesis().to_file())
}

fn setup() -> Setup {
    Setup {
        genesis: genesis(),
        chain_id: chain_id(),
        id: NodeId::new(0),
        signer: Arc::new(secret(1)),
        verifier: Arc::new(Ed25519),
        birth: Birth::Fresh(Incarnation(7)),
        lead: None,
        limits: Limits { snapshot_every: 7, ..Limits::default() },
        wal: Options { segment: 256 << 10, ..Options::default() },
        seed: 3,
    }
}

/// One validator, alone in its group, on some store.
struct Life<S: Store> {
    replica: Replica<Memory, S>,
    moment: Moment,
}

impl<S: Store> Life<S> {
    fn begin(disk: Memory, store: S, moment: Moment) -> Self {
        let now = Now { moment, time: TimeUs::new(moment.as_micros()) };
        Self { replica: open(&setup(), disk, store, now, StartNonce(3)).unwrap(), moment }
    }

    fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let now = Now { moment: self.moment, time: TimeUs::new(self.moment.as_micros()) };
            let mut outputs = Vec::new();
            self.replica.driver.handle(now, input, &mut outputs);
            for output in outputs {
                match output {
                    Output::Write(job) => {
                        let written = self.replica.journal.write([job]).unwrap();
                        inputs.insert(0, Input::Written(written));
                    }
                    Output::Apply(job) => {
                        let applied = self.replica.applier.apply([job]).unwrap();
                        inputs.insert(0, Input::Applied(applied));
                    }
                    Output::Stop(why) => panic!("{why}"),
                    _ => {}
                }
            }
        }
    }

    /// Lets time pass to the next deadline.
    fn tick(&mut self) {
        self.moment = self.moment.max(self.replica.driver.deadline());
        self.handle(Input::Tick);
    }
}

/// A transaction over few keys, so that they are written, overwritten, removed and missed.
fn transaction(random: &mut Random, nonces: &mut [u64; 3]) -> Checked<SignedTransaction> {
    let sender = usize::try_from(random.below(3)).unwrap();
    nonces[sender] += 1;
    let mut operations = Vec::new();
    for _ in 0..=random.below(3) {
        let names: [&[u8]; 6] = [b"a", b"a/1", b"a/2", b"b", b"b\xff", b"\xff\xff"];
        let key = Bytes::from_static(names[usize::try_from(random.below(6)).unwrap()]);
        let value = Bytes::from(vec![7; usize::try_from(random.below(6_000)).unwrap()]);
        operations.push(match random.below(5) {
            0 => Operation::Put { key, value },
            1 | 2 => Operation::Update { key, value },
            _ => Operation::Remove { key },
        });
    }
    let key = secret(20 + u8::try_from(sender).unwrap());
    let transaction = Transaction {
        chain_id: chain_id(),
        sender: key.account_key(),
        nonce: Nonce::new(nonces[sender]),
        expires: None,
        approvers: Vec::new(),
        operations,
    };
    transaction.sign(&key).unwrap().verify(chain_id(), &Ed25519).unwrap()
}

/// Every answer that a store gives, as text.
fn answers<R: StoreReader>(reader: &R) -> Vec<String>
where
    <R as StateRead>::Error: std::fmt::Debug,
{
    let mut said = vec![
        format!("{:?}", reader.standing().unwrap()),
        format!("{:?}", reader.oldest().unwrap()),
        format!("{:?}", reader.leaves_after(None, 1_000).unwrap()),
    ];
    let top = reader.standing().unwrap().unwrap().applied.block.height.get();
    for height in (0..=top + 2).map(Height::new) {
        let block = reader.block(height).unwrap();
        if let Some(block) = &block {
            said.push(format!("{:?}", reader.height_of(block.hash()).unwrap()));
            for signed in &block.body().transactions {
                said.push(format!("{:?}", reader.place(signed.id()).unwrap()));
            }
        }
        said.push(format!("{block:?} {:?}", block.as_ref().map(|block| block.bytes())));
        said.push(format!("{:?}", reader.outcomes(height).unwrap()));
        said.push(format!("{:?}", reader.state_root(height).unwrap()));
        said.push(format!("{:?}", reader.roster(height).unwrap()));
        said.push(format!("{:?}", reader.certificate(height).unwrap()));
        for bytes in [0, 1, 20_000, 1 << 30] {
            said.push(format!("{:?}", reader.range(height, bytes).unwrap()));
        }
    }
    let frozen = reader.frozen().unwrap();
    for standing in &frozen {
        let (height, mut after) = (standing.applied.block.height, None);
        while let Some((key, _)) = reader.frozen_entries(height, after, 1).unwrap().unwrap().pop() {
            after = Some(key.path());
            said.push(format!("{:?}", reader.frozen_entries(height, after, 9_000).unwrap()));
        }
    }
    said.push(format!("{frozen:?}"));
    for prefix in [&b""[..], b"a", b"a/", b"b", b"\xff", b"z"] {
        for after in [None, Some(&b"a"[..]), Some(b"a/1"), Some(b"b\xff")] {
            for limit in [0, 1, 100] {
                said.push(format!("{:?}", reader.scan(prefix, after, limit).unwrap()));
            }
        }
    }
    for key in [&b"a"[..], b"a/1", b"a/2", b"b", b"b\xff", b"\xff\xff", b"never"] {
        said.push(format!("{:?}", reader.value(&Bytes::copy_from_slice(key)).unwrap()));
        let whole = reader.history(key, None, 1_000).unwrap();
        for version in &whole {
            let at = (version.height, version.index, version.operation);
            said.push(format!("{:?}", reader.history(key, Some(at), 3).unwrap()));
        }
        let nowhere = Some((Height::new(top / 2), 9, 9));
        said.push(format!("{whole:?} {:?}", reader.history(key, nowhere, 2).unwrap()));
    }
    for seed in [10, 11, 20, 21, 22] {
        let account: AccountKey = secret(seed).account_key();
        said.push(format!(
            "{:?} {:?}",
            reader.nonces(account).unwrap(),
            reader.grants(account).unwrap()
        ));
    }
    said
}

#[test]
fn both_stores_answer_every_question_alike() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain.db");
    let mut memory = Life::begin(Memory::new(1), MemoryStore::new(), Moment::default());
    let store = SqliteStore::open(&file, chain_id()).unwrap();
    let mut sqlite = Life::begin(Memory::new(1), store, Moment::default());
    let (mut random, mut nonces) = (Random(5), [0; 3]);
    for step in 0..60_u64 {
        let transactions: Vec<_> =
            (0..random.below(8)).map(|_| transaction(&mut random, &mut nonces)).collect();
        for (number, transaction) in (0..).zip(transactions) {
            let submission = Submission(step * 100 + number);
            memory.handle(Input::Submit { submission, transaction: transaction.clone() });
            sqlite.handle(Input::Submit { submission, transaction });
        }
        memory.tick();
        sqlite.tick();
        if step % 20 == 19 {
            let (left, right) = (memory.replica.applier, sqlite.replica.applier);
            let (left, right) = (left.into_store(), right.into_store());
            let (ours, theirs) = (answers(&left.reader()), answers(&right.reader()));
            assert!(ours.len() > 200, "{} answers", ours.len());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(ours, theirs);
            }
            assert_eq!(ours.len(), theirs.len());
            drop(right);
            // Both go on from what was kept; the log of each begins anew above it.
            let (a, b) = (memory.replica.journal, sqlite.replica.journal);
            memory = Life::begin(a.into_disk(), left, memory.moment.after(Span::millis(1)));
            let store = SqliteStore::open(&file, chain_id()).unwrap();
            sqlite = Life::begin(b.into_disk(), store, sqlite.moment.after(Span::millis(1)));
        }
    }
    assert!(memory.replica.driver.status().applied.height.get() > 50);
    people_can_read(&file, &sqlite.replica.applier.store().reader());
}

/// What `docs/store.md` says of the views, with the file open in another program.
fn people_can_read<R: StoreReader>(file: &std::path::Path, reader: &R)
where
    <R as StateRead>::Error: std::fmt::Debug,
{
    let db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let number =
        |question: &str| db.query_row(question, [], |row| row.get::<_, i64>(0)).expect(question);
    let top = reader.standing().unwrap().unwrap().applied.block;
    assert_eq!(number("SELECT count(*) FROM blocks"), top.height.get().cast_signed());
    let newest = "SELECT hash FROM blocks ORDER BY height DESC LIMIT 1";
    let newest: String = db.query_row(newest, [], |row| row.get(0)).unwrap();
    assert_eq!(newest, top.hash.to_string());
    let waiting = "SELECT sum(transactions) FROM blocks";
    assert_eq!(number("SELECT count(*) FROM transactions"), number(waiting));
    assert!(number("SELECT count(*) FROM transactions WHERE status = 'failed'") > 0);
    let keys = reader.scan(b"", None, 100).unwrap();
    assert_eq!(number("SELECT count(*) FROM state"), keys.len() as i64);
    let value: Vec<u8> =
        db.query_row("SELECT value FROM state WHERE key = 'a/1'", [], |row| row.get(0)).unwrap();
    let expected = reader.value(&Bytes::from_static(b"a/1")).unwrap().unwrap();
    assert_eq!(value, expected.bytes);
    let history = reader.history(b"a", None, 1_000).unwrap().len() as i64;
    assert_eq!(number("SELECT count(*) FROM history WHERE key = 'a'"), history);
    assert_eq!(number("SELECT count(*) FROM evidence"), 0);
}

/// A small block rewrites as many pages as it touches, however few its bytes.
#[test]
fn the_log_of_sqlite_stays_short_under_small_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain.db");
    let store = SqliteStore::open(&file, chain_id()).unwrap();
    let mut life = Life::begin(Memory::new(1), store, Moment::default());
    let (mut random, mut nonces) = (Random(5), [0; 3]);
    while life.replica.driver.status().applied.height.get() < 1_500 {
        let (submission, transaction) =
            (Submission(nonces[0] * 9), transaction(&mut random, &mut nonces));
        life.handle(Input::Submit { submission, transaction });
        life.tick();
    }
    let log = std::fs::metadata(folder.path().join("chain.db-wal")).unwrap().len();
    assert!(log < 40 << 20, "{} MiB", log >> 20);
}

#[test]
fn the_store_in_sqlite_passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    let open = || {
        number.set(number.get() + 1);
        let file = folder.path().join(format!("{}.db", number.get()));
        SqliteStore::open(&file, suite::CHAIN).unwrap()
    };
    suite::run(open);
    suite::run(|| open().with_keeper().unwrap());
}

#[test]
fn a_file_of_another_chain_or_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain.db");
    drop(SqliteStore::open(&file, chain_id()).unwrap());
    let other = SqliteStore::open(&file, ChainId::new([9; 32]));
    assert!(matches!(other, Err(StoreError::OtherChain { .. })), "{other:?}");
    let text = folder.path().join("text");
    std::fs::write(&text, "not a database, but long enough to look like one").unwrap();
    assert!(matches!(SqliteStore::open(&text, chain_id()), Err(StoreError::Sqlite(_))));
}
