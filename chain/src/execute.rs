//! What a block does to the state.
//!
//! Execution is total: whatever stands in a block, every transaction gets an outcome. It is the same
//! on every node, because it depends on nothing but the state before, the block, and the rules that
//! are in force at it. It changes nothing by itself: it returns what has changed, for a store to take
//! over in one piece. The only error is that of a state that cannot be read.
//!
//! Of each transaction, in order:
//! 1. past its last height, or with a nonce that is used or too far ahead, it is void;
//! 2. its nonce is used;
//! 3. its operations take effect one after the other, each seeing those before it; at the first one
//!    that fails all are undone, and the transaction has failed.
//!
//! So what becomes of a nonce does not depend on what the operations find, and a leader that knows
//! the blocks above the state never needs to seal a void transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{AccountKey, Height};
use crate::limits;
use crate::outcome::{Failure, Outcome, Status, Void};
use crate::roster::{Admins, Roster};
use crate::state::{Changes, Grants, NonceError, Nonces, StateEntry, StateKey, StateRead, Value};
use crate::transaction::{Operation, SignedTransaction};

/// Who may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Writers {
    /// Whoever has a key.
    Anyone,
    /// Whoever has been granted a prefix of the key that is written.
    Granted,
}

/// What is in force at a block beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Who may write.
    pub writers: Writers,
    /// Who may give grants.
    pub admins: &'a Admins,
}

impl<'a> Rules<'a> {
    /// The rules at a block under this roster. While a change is under way, the admins of the part
    /// that is being left are in charge.
    #[must_use]
    pub const fn under(roster: &'a Roster, writers: Writers) -> Self {
        Self { writers, admins: &roster.current().admins }
    }
}

/// A value that a transaction has written, for those who keep history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The transaction's place in the block.
    pub index: u32,
    /// The operation's place in the transaction.
    pub operation: u8,
    /// The key.
    pub key: Bytes,
    /// The value; `None` if it was removed.
    pub value: Option<Bytes>,
}

/// What a block has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Execution {
    /// The outcome of each transaction, in order.
    pub outcomes: Vec<Outcome>,
    /// Every value written, in order, values overwritten in the same block included.
    pub writes: Vec<Write>,
    /// The entries it has touched, as they are now. One may be as it was, or absent as before.
    pub changes: Changes,
}

/// Executes the transactions of a block on the state before it. Their signatures have been verified,
/// as those of every block that is acked: an approver counts because it has signed.
///
/// # Errors
/// If the state cannot be read. Nothing has changed then.
pub fn execute<S: StateRead>(
    state: &S,
    rules: &Rules<'_>,
    height: Height,
    transactions: &[SignedTransaction],
) -> Result<Execution, S::Error> {
    let (grants, done) = (BTreeMap::new(), Execution::default());
    let mut block = InBlock { state, rules, height, grants, done };
    for transaction in transactions {
        let status = block.transaction(transaction)?;
        block.done.outcomes.push(Outcome { tx: transaction.id(), status });
    }
    Ok(block.done)
}

/// A block half executed.
struct InBlock<'a, S> {
    state: &'a S,
    rules: &'a Rules<'a>,
    height: Height,
    /// The grants of every account that has been asked for, as they are now: an account is read once.
    grants: BTreeMap<AccountKey, Arc<Grants>>,
    done: Execution,
}

impl<S: StateRead> InBlock<'_, S> {
    fn transaction(&mut self, signed: &SignedTransaction) -> Result<Status, S::Error> {
        let content = signed.content();
        if content.expires.is_some_and(|last| self.height > last) {
            return Ok(Status::Void(Void::Expired));
        }
        let mut nonces = self.nonces(content.sender)?;
        match nonces.take(content.nonce) {
            Ok(()) => {}
            Err(NonceError::Used) => return Ok(Status::Void(Void::NonceUsed)),
            Err(NonceError::TooFar) => return Ok(Status::Void(Void::NonceTooFar)),
        }
        let used = Some(StateEntry::Nonces(nonces));
        self.done.changes.insert(StateKey::Nonces(content.sender), used);

        let index = u32::try_from(self.done.outcomes.len()).unwrap_or(u32::MAX);
        let (values, grants) = (BTreeMap::new(), BTreeMap::new());
        let mut within = InTransaction { block: self, signed, values, grants };
        for (place, operation) in (0_u8..).zip(&content.operations) {
            if let Err(failure) = within.operation(operation)? {
                return Ok(Status::Failed { operation: place, failure });
            }
        }
        let (values, grants) = (within.values, within.grants);
        for (account, grants) in grants {
            let left = (!grants.0.is_empty()).then(|| StateEntry::Grants((*grants).clone()));
            self.done.changes.insert(StateKey::Grants(account), left);
            self.grants.insert(account, grants);
        }
        self.done.changes.extend(values);
        self.done.writes.extend(writes(index, &content.operations));
        Ok(Status::Applied)
    }

    fn value(&self, key: &Bytes) -> Result<Option<Value>, S::Error> {
        match self.done.changes.get(&StateKey::Value(key.clone())) {
            Some(Some(StateEntry::Value(value))) => Ok(Some(value.clone())),
            Some(_) => Ok(None),
            None => self.state.value(key),
        }
    }

    fn has(&self, key: &Bytes) -> Result<bool, S::Error> {
        match self.done.changes.get(&StateKey::Value(key.clone())) {
            Some(entry) => Ok(entry.is_some()),
            None => self.state.has(key),
        }
    }

    fn nonces(&self, account: AccountKey) -> Result<Nonces, S::Error> {
        match self.done.changes.get(&StateKey::Nonces(account)) {
            Some(Some(StateEntry::Nonces(nonces))) => Ok(*nonces),
            Some(_) => Ok(Nonces::default()),
            None => self.state.nonces(account),
        }
    }

    fn grants(&mut self, account: AccountKey) -> Result<Arc<Grants>, S::Error> {
        if let Some(grants) = self.grants.get(&account) {
            return Ok(Arc::clone(grants));
        }
        let grants = Arc::new(self.state.grants(account)?);
        self.grants.insert(account, Arc::clone(&grants));
        Ok(grants)
    }
}

/// The values that operations write when all of them take effect.
fn writes(index: u32, operations: &[Operation]) -> impl Iterator<Item = Write> {
    (0_u8..).zip(operations).filter_map(move |(operation, content)| {
        let (key, value) = match content {
            Operation::Put { key, value }
            | Operation::Update { key, value }
            | Operation::Cas { key, value, .. } => (key, Some(value.clone())),
            Operation::Remove { key } => (key, None),
            Operation::Grant { .. } | Operation::Revoke { .. } => return None,
        };
        Some(Write { index, operation, key: key.clone(), value })
    })
}

/// A transaction half executed. What it has changed is not yet the block's.
struct InTransaction<'a, 'b, S> {
    block: &'a mut InBlock<'b, S>,
    signed: &'a SignedTransaction,
    values: Changes,
    grants: BTreeMap<AccountKey, Arc<Grants>>,
}

impl<S: StateRead> InTransaction<'_, '_, S> {
    fn operation(&mut self, operation: &Operation) -> Result<Result<(), Failure>, S::Error> {
        let failure = match operation {
            Operation::Grant { account, prefix } => self.grant(*account, prefix)?,
            Operation::Revoke { account, prefix } => self.revoke(*account, prefix)?,
            Operation::Put { key, .. }
            | Operation::Update { key, .. }
            | Operation::Remove { key }
            | Operation::Cas { key, .. } => self.write(operation, key)?,
        };
        Ok(failure.map_or(Ok(()), Err))
    }

    /// Writes a value, or says why not.
    fn write(&mut self, operation: &Operation, key: &Bytes) -> Result<Option<Failure>, S::Error> {
        if !self.may_write(key)? {
            return Ok(Some(Failure::NotPermitted));
        }
        let written = match operation {
            Operation::Put { .. } if self.has(key)? => return Ok(Some(Failure::KeyExists)),
            Operation::Remove { .. } if !self.has(key)? => return Ok(Some(Failure::KeyNotFound)),
            Operation::Cas { expected, .. }
                if *expected != self.value(key)?.map(|value| value.bytes) =>
            {
                return Ok(Some(Failure::Mismatch));
            }
            Operation::Put { value, .. }
            | Operation::Update { value, .. }
            | Operation::Cas { value, .. } => Some(value.clone()),
            Operation::Remove { .. } | Operation::Grant { .. } | Operation::Revoke { .. } => None,
        };
        let (height, tx) = (self.block.height, self.signed.id());
        let entry = written.map(|bytes| StateEntry::Value(Value { height, tx, bytes }));
        self.values.insert(StateKey::Value(key.clone()), entry);
        Ok(None)
    }

    fn grant(&mut self, account: AccountKey, prefix: &Bytes) -> Result<Option<Failure>, S::Error> {
        if !self.is_approved() {
            return Ok(Some(Failure::NotPermitted));
        }
        let mut grants = (*self.grants(account)?).clone();
        grants.0.insert(prefix.clone());
        if grants.0.len() > limits::GRANTS {
            return Ok(Some(Failure::TooManyGrants));
        }
        self.grants.insert(account, Arc::new(grants));
        Ok(None)
    }

    fn revoke(&mut self, account: AccountKey, prefix: &Bytes) -> Result<Option<Failure>, S::Error> {
        if !self.is_approved() {
            return Ok(Some(Failure::NotPermitted));
        }
        let mut grants = (*self.grants(account)?).clone();
        if !grants.0.remove(prefix) {
            return Ok(Some(Failure::KeyNotFound));
        }
        self.grants.insert(account, Arc::new(grants));
        Ok(None)
    }

    fn may_write(&mut self, key: &Bytes) -> Result<bool, S::Error> {
        match self.block.rules.writers {
            Writers::Anyone => Ok(true),
            Writers::Granted => Ok(self.grants(self.signed.content().sender)?.allow(key)),
        }
    }

    /// Whether enough admins stand behind the transaction.
    fn is_approved(&self) -> bool {
        let content = self.signed.content();
        let all = std::iter::once(content.sender).chain(content.approvers.iter().copied());
        self.block.rules.admins.approve(all)
    }

    fn value(&self, key: &Bytes) -> Result<Option<Value>, S::Error> {
        match self.values.get(&StateKey::Value(key.clone())) {
            Some(Some(StateEntry::Value(value))) => Ok(Some(value.clone())),
            Some(_) => Ok(None),
            None => self.block.value(key),
        }
    }

    fn has(&self, key: &Bytes) -> Result<bool, S::Error> {
        match self.values.get(&StateKey::Value(key.clone())) {
            Some(entry) => Ok(entry.is_some()),
            None => self.block.has(key),
        }
    }

    fn grants(&mut self, account: AccountKey) -> Result<Arc<Grants>, S::Error> {
        match self.grants.get(&account) {
            Some(grants) => Ok(Arc::clone(grants)),
            None => self.block.grants(account),
        }
    }
}
