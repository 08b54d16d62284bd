//! A replica that executes block after block, and short names for what it executes.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use bytes::Bytes;
use quorate_chain::crypto::SecretKey;
use quorate_chain::execute::{Execution, Rules, Writers};
use quorate_chain::ids::{ChainId, Height, Nonce};
use quorate_chain::outcome::{Failure, Status};
use quorate_chain::roster::Admins;
use quorate_chain::state::{StateRead, Value};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};

use super::{Replica, account, admin, client, height, transaction};

pub const CHAIN: ChainId = ChainId::new([7; 32]);

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub fn put(key: &str, value: &str) -> Operation {
    Operation::Put { key: bytes(key), value: bytes(value) }
}

pub fn update(key: &str, value: &str) -> Operation {
    Operation::Update { key: bytes(key), value: bytes(value) }
}

pub fn remove(key: &str) -> Operation {
    Operation::Remove { key: bytes(key) }
}

pub fn cas(key: &str, expected: Option<&str>, value: &str) -> Operation {
    Operation::Cas { key: bytes(key), expected: expected.map(bytes), value: bytes(value) }
}

pub fn grant(to: u8, prefix: &str) -> Operation {
    Operation::Grant { account: account(to), prefix: bytes(prefix) }
}

pub fn revoke(from: u8, prefix: &str) -> Operation {
    Operation::Revoke { account: account(from), prefix: bytes(prefix) }
}

pub fn by(sender: u8, nonce: u64, operations: Vec<Operation>) -> SignedTransaction {
    transaction(CHAIN, &client(sender), nonce, operations)
}

pub fn by_admin(id: u8, nonce: u64, operations: Vec<Operation>) -> SignedTransaction {
    transaction(CHAIN, &admin(id), nonce, operations)
}

pub fn until(last: u64, nonce: u64, operations: Vec<Operation>) -> SignedTransaction {
    let content = Transaction {
        chain_id: CHAIN,
        sender: account(0),
        nonce: Nonce::new(nonce),
        expires: Some(Height::new(last)),
        approvers: Vec::new(),
        operations,
    };
    content.sign(&client(0)).unwrap()
}

pub const fn failed(operation: u8, failure: Failure) -> Status {
    Status::Failed { operation, failure }
}

pub fn admins(threshold: u16, count: u8) -> Admins {
    let mut keys: Vec<_> = (0..count).map(|id| admin(id).account_key()).collect();
    keys.sort();
    Admins { threshold, keys }
}

/// A replica that executes block after block.
pub struct Bench {
    pub replica: Replica,
    pub writers: Writers,
    pub admins: Admins,
    pub height: u64,
}

impl Bench {
    pub fn new(writers: Writers) -> Self {
        let replica = Replica::new(&super::genesis(1));
        Self { replica, writers, admins: admins(1, 2), height: 0 }
    }

    pub fn execute(&mut self, transactions: &[SignedTransaction]) -> Execution {
        self.height += 1;
        let rules = Rules { writers: self.writers, admins: &self.admins };
        self.replica.execute(&rules, height(self.height), transactions)
    }

    pub fn block(&mut self, transactions: &[SignedTransaction]) -> Vec<Status> {
        let done = self.execute(transactions);
        let ids: Vec<_> = done.outcomes.iter().map(|outcome| outcome.tx).collect();
        assert_eq!(ids, transactions.iter().map(SignedTransaction::id).collect::<Vec<_>>());
        done.outcomes.iter().map(|outcome| outcome.status).collect()
    }

    pub fn one(&mut self, transaction: &SignedTransaction) -> Status {
        self.block(std::slice::from_ref(transaction))[0]
    }

    pub fn value(&self, key: &str) -> Option<Value> {
        let Ok(value) = self.replica.state.value(&bytes(key));
        value
    }

    pub fn text(&self, key: &str) -> Option<String> {
        self.value(key).map(|value| String::from_utf8(value.bytes.to_vec()).unwrap())
    }

    pub fn next_nonce(&self, key: &SecretKey) -> u64 {
        let Ok(nonces) = self.replica.state.nonces(key.account_key());
        nonces.next().get()
    }
}
