//! Execution agrees with a naive model, is the same every time, and takes whatever a block holds.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use common::bench::{CHAIN, admins};
use common::{Random, Replica, account, admin, genesis, height};
use quorate_chain::block::{Block, BlockKind, Body, Draft};
use quorate_chain::codec::Decode;
use quorate_chain::execute::{Rules, Writers, execute};
use quorate_chain::ids::{AccountKey, Height, NodeId, Nonce, Signature, StateRoot, TimeUs, TxId};
use quorate_chain::limits;
use quorate_chain::outcome::{Failure, Status, Void};
use quorate_chain::roster::Admins;
use quorate_chain::state::{MemoryState, StateEntry, StateKey, StateRead};
use quorate_chain::transaction::{Approval, Operation, SignedTransaction, Transaction};

type Values = BTreeMap<Bytes, (u64, TxId, Bytes)>;
type Prefixes = BTreeMap<AccountKey, BTreeSet<Bytes>>;

/// The state as the modules describe it, without a thought for speed.
#[derive(Clone, Default)]
struct Model {
    values: Values,
    used: BTreeMap<AccountKey, BTreeSet<u64>>,
    grants: Prefixes,
}

impl Model {
    fn execute(&mut self, rules: &Rules<'_>, at: u64, signed: &SignedTransaction) -> Status {
        let content = signed.content();
        if content.expires.is_some_and(|last| last.get() < at) {
            return Status::Void(Void::Expired);
        }
        let used = self.used.entry(content.sender).or_default();
        if let Err(void) = usable(used, content.nonce.get()) {
            return Status::Void(void);
        }
        used.insert(content.nonce.get());
        let before = (self.values.clone(), self.grants.clone());
        for (place, operation) in (0..).zip(&content.operations) {
            if let Err(failure) = self.operation(rules, at, signed, operation) {
                (self.values, self.grants) = before;
                return Status::Failed { operation: place, failure };
            }
        }
        Status::Applied
    }

    fn operation(
        &mut self,
        rules: &Rules<'_>,
        at: u64,
        signed: &SignedTransaction,
        operation: &Operation,
    ) -> Result<(), Failure> {
        let sender = signed.content().sender;
        let mut agreeing: BTreeSet<_> = signed.content().approvers.iter().copied().collect();
        agreeing.insert(sender);
        agreeing.retain(|key| rules.admins.keys.contains(key));
        let approved = agreeing.len() >= usize::from(rules.admins.threshold);
        let granted = self.grants.get(&sender).cloned().unwrap_or_default();
        let open = rules.writers == Writers::Anyone;
        let may = |key: &Bytes| open || granted.iter().any(|prefix| key.starts_with(prefix));
        let allowed = match operation {
            Operation::Grant { .. } | Operation::Revoke { .. } => approved,
            Operation::Put { key, .. }
            | Operation::Update { key, .. }
            | Operation::Remove { key }
            | Operation::Cas { key, .. } => may(key),
        };
        if !allowed {
            return Err(Failure::NotPermitted);
        }
        let found = self.values.get(operation.key()).map(|(_, _, value)| value.clone());
        let mut set = |key: &Bytes, value: &Bytes| {
            self.values.insert(key.clone(), (at, signed.id(), value.clone()));
        };
        match operation {
            Operation::Put { .. } if found.is_some() => return Err(Failure::KeyExists),
            Operation::Cas { expected, .. } if *expected != found => return Err(Failure::Mismatch),
            Operation::Put { key, value }
            | Operation::Update { key, value }
            | Operation::Cas { key, value, .. } => set(key, value),
            Operation::Remove { key } => {
                self.values.remove(key).ok_or(Failure::KeyNotFound)?;
            }
            Operation::Grant { account, prefix } => {
                let prefixes = self.grants.entry(*account).or_default();
                prefixes.insert(prefix.clone());
                if prefixes.len() > limits::GRANTS {
                    return Err(Failure::TooManyGrants);
                }
            }
            Operation::Revoke { account, prefix } => {
                let prefixes = self.grants.entry(*account).or_default();
                if !prefixes.remove(prefix) {
                    return Err(Failure::KeyNotFound);
                }
            }
        }
        Ok(())
    }

    /// Whether a state is this one.
    fn assert_is(&self, state: &MemoryState) {
        let mut values = Values::new();
        let mut grants = Prefixes::new();
        for (key, entry) in state.entries() {
            match (key, entry) {
                (StateKey::Value(key), StateEntry::Value(value)) => {
                    let value = (value.height.get(), value.tx, value.bytes.clone());
                    values.insert(key.clone(), value);
                }
                (StateKey::Grants(account), StateEntry::Grants(found)) => {
                    grants.insert(*account, found.0.clone());
                }
                (StateKey::Nonces(account), StateEntry::Nonces(nonces)) => {
                    let used = &self.used[account];
                    let next = nonces.next().get();
                    for nonce in next.saturating_sub(1_100)..next + 1_100 {
                        let (found, model) = (nonces.check(Nonce::new(nonce)), usable(used, nonce));
                        assert_eq!(found.is_ok(), model.is_ok(), "nonce {nonce} of {account}");
                    }
                }
                other => unreachable!("an entry of another kind than its key: {other:?}"),
            }
        }
        assert_eq!(values, self.values);
        let mut expected = self.grants.clone();
        expected.retain(|_, prefixes| !prefixes.is_empty());
        assert_eq!(grants, expected);
        let senders = self.used.iter().filter(|(_, used)| !used.is_empty()).count();
        let kinds = state.entries().keys().filter(|key| matches!(key, StateKey::Nonces(_)));
        assert_eq!(kinds.count(), senders);
    }
}

fn usable(used: &BTreeSet<u64>, nonce: u64) -> Result<(), Void> {
    let next = used.last().map_or(0, |top| top + 1);
    if nonce >= next.saturating_add(1_024) {
        Err(Void::NonceTooFar)
    } else if used.contains(&nonce) || nonce + 1_024 < next {
        Err(Void::NonceUsed)
    } else {
        Ok(())
    }
}

/// Few keys, few accounts and few prefixes, so that they meet.
struct Workload {
    random: Random,
    expiring: bool,
    nonces: BTreeMap<u8, u64>,
}

impl Workload {
    fn new(seed: u64, expiring: bool) -> Self {
        Self { random: Random(seed), expiring, nonces: BTreeMap::new() }
    }

    fn key(&mut self) -> Bytes {
        let key = format!("{}{}", self.random.pick(&["a", "b", "ab", "c/"]), self.random.below(5));
        Bytes::from(key)
    }

    fn operation(&mut self) -> Operation {
        let (key, value) = (self.key(), Bytes::from(self.random.below(3).to_string()));
        let account = account(u8::try_from(self.random.below(6)).unwrap());
        let prefix =
            Bytes::from_static(self.random.pick(&["", "a", "ab", "b", "c/", "c/1"]).as_bytes());
        match self.random.below(13) {
            0..3 => Operation::Put { key, value },
            3..6 => Operation::Update { key, value },
            6..8 => Operation::Remove { key },
            8..10 => {
                let expected = self.random.chance(70).then(|| Bytes::from_static(b"1"));
                Operation::Cas { key, expected, value }
            }
            10..12 => Operation::Grant { account, prefix },
            _ => Operation::Revoke { account, prefix },
        }
    }

    fn transaction(&mut self) -> SignedTransaction {
        let id = u8::try_from(self.random.below(8)).unwrap();
        let sender = if id < 6 { account(id) } else { admin(id - 6).account_key() };
        let next = self.nonces.entry(id).or_default();
        let nonce = match self.random.below(20) {
            0 => *next + 1_000 + self.random.below(50),
            1 | 2 => next.saturating_sub(self.random.below(1_100)),
            3..5 => *next + self.random.below(10),
            _ => *next,
        };
        *next = (*next).max(nonce + 1);
        let expires =
            (self.expiring && self.random.chance(20)).then(|| Height::new(self.random.below(400)));
        let operations = (0..=self.random.below(4)).map(|_| self.operation()).collect();
        let mut approvals: Vec<_> = (0..3)
            .filter(|_| self.random.chance(30))
            .map(|id| admin(id).account_key())
            .filter(|key| *key != sender)
            .map(|admin| Approval { admin, signature: Signature::new([0; 64]) })
            .collect();
        approvals.sort_by_key(|approval| approval.admin);
        let approvers = approvals.iter().map(|approval| approval.admin).collect();
        Transaction {
            chain_id: CHAIN,
            sender,
            nonce: Nonce::new(nonce),
            expires,
            approvers,
            operations,
        }
        .assemble(Signature::new([0; 64]), &approvals)
        .unwrap()
    }
}

/// Executes a workload in blocks of up to `most` transactions, beside the model.
fn run(
    workload: &[SignedTransaction],
    rules: &Rules<'_>,
    random: &mut Random,
    most: u64,
) -> (Replica, Model, Vec<Status>) {
    let mut replica = Replica::new(&genesis(1));
    let mut again = replica.clone();
    let (mut model, mut statuses) = (Model::default(), Vec::new());
    let (mut left, mut at) = (workload, 0);
    while !left.is_empty() {
        let size = usize::try_from(random.below(most + 1)).unwrap().min(left.len());
        let (block, rest) = left.split_at(size);
        (left, at) = (rest, at + 1);
        let done = replica.execute(rules, height(at), block);
        assert_eq!(done, again.execute(rules, height(at), block));
        assert_eq!(replica.commitment.root(), again.commitment.root());
        for (tx, outcome) in block.iter().zip(&done.outcomes) {
            let expected = model.execute(rules, at, tx);
            assert_eq!(outcome.status, expected, "at height {at}: {tx:?}");
            statuses.push(expected);
        }
    }
    model.assert_is(&replica.state);
    (replica, model, statuses)
}

fn count(statuses: &[Status], of: Status) -> usize {
    statuses.iter().filter(|status| **status == of).count()
}

#[test]
fn it_agrees_with_the_model() {
    for (seed, writers, admins) in [
        (1, Writers::Anyone, admins(1, 2)),
        (2, Writers::Granted, admins(1, 2)),
        (3, Writers::Granted, admins(2, 3)),
    ] {
        let rules = Rules { writers, admins: &admins };
        let mut workload = Workload::new(seed, true);
        let transactions: Vec<_> = (0..2_000).map(|_| workload.transaction()).collect();
        let (_, _, statuses) = run(&transactions, &rules, &mut Random(seed), 12);
        // It is worth something only if everything happens in it.
        for void in [Void::Expired, Void::NonceUsed, Void::NonceTooFar] {
            assert!(count(&statuses, Status::Void(void)) > 5, "seed {seed}: {void:?}");
        }
        for failure in [Failure::KeyExists, Failure::KeyNotFound, Failure::Mismatch] {
            let of = |place| count(&statuses, Status::Failed { operation: place, failure });
            assert!(of(0) > 5 && of(1) > 0, "seed {seed}: {failure:?}");
        }
        let applied = count(&statuses, Status::Applied);
        assert!(applied > 30, "seed {seed}: {applied} applied");
    }
}

#[test]
fn how_transactions_are_cut_into_blocks_changes_nothing_but_heights() {
    let admins = admins(1, 2);
    let rules = Rules { writers: Writers::Granted, admins: &admins };
    let mut workload = Workload::new(9, false);
    let transactions: Vec<_> = (0..2_000).map(|_| workload.transaction()).collect();
    let (whole, _, first) = run(&transactions, &rules, &mut Random(1), 400);
    let (cut, _, second) = run(&transactions, &rules, &mut Random(2), 3);
    assert_eq!(first, second);
    let without_heights = |replica: &Replica| {
        let mut entries = replica.state.entries().clone();
        for entry in entries.values_mut() {
            if let StateEntry::Value(value) = entry {
                value.height = Height::ZERO;
            }
        }
        entries
    };
    assert_eq!(without_heights(&whole), without_heights(&cut));
    assert_ne!(whole.state, cut.state);
}

/// A transaction that decodes, and makes no sense.
fn garbage(random: &mut Random) -> SignedTransaction {
    let key = |random: &mut Random| {
        AccountKey::new([u8::try_from(random.below(4)).unwrap().wrapping_mul(85); 32])
    };
    let text = |random: &mut Random, least: u64| {
        let length = usize::try_from(least + random.below(4)).unwrap();
        Bytes::from(vec![random.number().to_le_bytes()[0]; length])
    };
    let operations = (0..=random.below(5))
        .map(|_| {
            let (name, value) = (text(random, 1), text(random, 0));
            match random.below(6) {
                0 => Operation::Put { key: name, value },
                1 => Operation::Update { key: name, value },
                2 => Operation::Remove { key: name },
                3 => Operation::Cas { key: name, expected: None, value },
                4 => Operation::Grant { account: key(random), prefix: value },
                _ => Operation::Revoke { account: key(random), prefix: value },
            }
        })
        .collect();
    let nonce = *random.pick(&[0, 1, 2, 1_024, u64::MAX - 1, u64::MAX]);
    let expires = *random.pick(&[None, Some(0), Some(1), Some(u64::MAX)]);
    let content = Transaction {
        chain_id: CHAIN,
        sender: key(random),
        nonce: Nonce::new(nonce),
        expires: expires.map(Height::new),
        approvers: Vec::new(),
        operations,
    };
    content.assemble(Signature::new([1; 64]), &[]).unwrap()
}

#[test]
fn whatever_decodes_executes() {
    let key = common::validator(0);
    let none = Admins { threshold: 0, keys: Vec::new() };
    let mut random = Random(4);
    let (mut decoded, mut executed) = (0, 0);
    for round in 0..400 {
        let transactions: Vec<_> = (0..random.below(6)).map(|_| garbage(&mut random)).collect();
        let draft = Draft {
            chain_id: CHAIN,
            roster_hash: Default::default(),
            kind: BlockKind::Transactions,
            parent: CHAIN.genesis_ref(),
            term: Default::default(),
            proposer: NodeId::ZERO,
            time: TimeUs::ZERO,
            executed: Height::ZERO,
            state_root: StateRoot::ZERO,
            body: Body { item: None, transactions },
        };
        let block = Block::seal(draft, &key).unwrap();
        let mut bytes = block.bytes().to_vec();
        for _ in 0..random.below(4) {
            let at = 284 + usize::try_from(random.below(bytes.len() as u64 - 284)).unwrap();
            bytes[at] = random.number().to_le_bytes()[0];
        }
        let Ok(block) = Block::from_bytes(&Bytes::from(bytes)) else { continue };
        decoded += 1;
        let mut replica = Replica::new(&genesis(1));
        let admins = admins(1, 2);
        let admins = if round % 2 == 0 { &admins } else { &none };
        for at in [0, 1, u64::MAX] {
            let rules =
                Rules { writers: *random.pick(&[Writers::Anyone, Writers::Granted]), admins };
            let transactions = &block.body().transactions;
            let done = replica.execute(&rules, height(at), transactions);
            assert_eq!(done.outcomes.len(), transactions.len());
            executed += transactions.len();
        }
    }
    assert!(decoded > 100 && executed > 1_000, "{decoded} blocks, {executed} transactions");
}

/// A state that cannot be read.
struct Broken;

impl StateRead for Broken {
    type Error = &'static str;

    fn value(&self, _: &Bytes) -> Result<Option<quorate_chain::state::Value>, Self::Error> {
        Err("value")
    }

    fn nonces(&self, account: AccountKey) -> Result<quorate_chain::state::Nonces, Self::Error> {
        if account == common::account(0) { Ok(Default::default()) } else { Err("nonces") }
    }

    fn grants(&self, _: AccountKey) -> Result<quorate_chain::state::Grants, Self::Error> {
        Err("grants")
    }
}

#[test]
fn a_state_that_cannot_be_read_is_the_only_error() {
    let admins = admins(1, 2);
    let update = |sender| common::update(CHAIN, sender, 0, "a", "1");
    let remove = Operation::Remove { key: Bytes::from_static(b"a") };
    let remove = common::transaction(CHAIN, &common::client(0), 0, vec![remove]);
    let run = |writers, tx| execute(&Broken, &Rules { writers, admins: &admins }, height(1), &[tx]);
    assert_eq!(run(Writers::Anyone, update(1)), Err("nonces"));
    assert_eq!(run(Writers::Anyone, remove), Err("value"));
    assert!(run(Writers::Anyone, update(0)).is_ok(), "it does not depend on what it replaces");
    assert_eq!(run(Writers::Granted, update(0)), Err("grants"));
}
