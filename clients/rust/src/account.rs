//! Someone who writes: a key, and the nonces that it has given out.
//!
//! Two clients may share a key. They may then choose the same nonce, and the chain takes one of the
//! two transactions. The other is signed again with another nonce, but only if the very first answer
//! to its bytes was that the nonce is taken: then they are not under way anywhere. Once a try may
//! have reached a node without an answer, the bytes stay as they are, because a second transaction
//! beside them could take effect too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{AccountKey, ChainId, Nonce};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};

use crate::answer::Outcome;
use crate::client::{Asked, Client, Wait};
use crate::error::Error;
use crate::problem::Code;

/// How many nonces are tried for one transaction.
const NONCES_TRIED: u32 = 12;

/// A client with a key. It can be shared by threads, and copies share their nonces.
#[derive(Clone, Debug)]
pub struct Account {
    client: Client,
    wait: Wait,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    key: SecretKey,
    next: Mutex<Option<Next>>,
}

/// What is known of the chain's own account of this key.
#[derive(Clone, Copy, Debug)]
struct Next {
    chain_id: ChainId,
    nonce: Nonce,
    /// Whether the chain is asked again before another nonce is given out.
    stale: Option<Stale>,
}

/// Why the chain is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stale {
    /// Others use nonces too: go on above theirs and above those given out here.
    Behind,
    /// More were given out than the window takes: begin again where the chain is.
    Ahead,
}

impl Account {
    pub(crate) fn new(client: Client, key: SecretKey) -> Self {
        let inner = Inner { key, next: Mutex::new(None) };
        Self { client, wait: Wait::default(), inner: Arc::new(inner) }
    }

    /// The same account, waiting for something else.
    #[must_use]
    pub fn waiting(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> AccountKey {
        self.inner.key.account_key()
    }

    /// The nodes it writes through.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Sets a key that has no value.
    ///
    /// # Errors
    /// If it has one, or as for [`Account::send`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Outcome, Error> {
        self.send(Batch::new().put(key, value))
    }

    /// Sets a key, whether or not it has a value.
    ///
    /// # Errors
    /// As for [`Account::send`].
    pub fn update(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Outcome, Error> {
        self.send(Batch::new().update(key, value))
    }

    /// Takes a key's value away.
    ///
    /// # Errors
    /// If it has none, or as for [`Account::send`].
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<Outcome, Error> {
        self.send(Batch::new().remove(key))
    }

    /// Sets a key if its value is as expected; `None` expects none.
    ///
    /// # Errors
    /// If it is not, or as for [`Account::send`].
    pub fn cas(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Outcome, Error> {
        self.send(Batch::new().cas(key, expected, value))
    }

    /// Does all of these or none of them.
    ///
    /// # Errors
    /// If the chain refuses them or one fails, or nobody says in time what became of them.
    pub fn send(&self, batch: Batch) -> Result<Outcome, Error> {
        let body = self.send_for_body(batch)?;
        serde_json::from_str(&body).map_err(|error| Error::Nonsense {
            url: self.client.nodes().join(","),
            status: 200,
            what: format!("a body that cannot be read ({error})"),
        })
    }

    /// The same, but returns the answer byte for byte.
    ///
    /// # Errors
    /// As for [`Account::send`].
    pub fn send_for_body(&self, batch: Batch) -> Result<String, Error> {
        let mut tries = 0;
        loop {
            let signed = self.sign(batch.operations.clone(), tries)?;
            let Asked { result, in_doubt } =
                self.client.send(signed.id(), signed.bytes(), self.wait);
            tries += 1;
            let stale = result.as_ref().err().and_then(nonce_is_unusable);
            if let Some(next) = self.lock().as_mut() {
                next.stale = next.stale.or(stale);
            }
            if stale.is_none() || in_doubt || tries == NONCES_TRIED {
                return result;
            }
        }
    }

    fn sign(&self, operations: Vec<Operation>, tries: u32) -> Result<SignedTransaction, Error> {
        let (chain_id, nonce) = self.take_nonce(tries)?;
        let transaction = Transaction {
            chain_id,
            sender: self.key(),
            nonce,
            expires: None,
            approvers: Vec::new(),
            operations,
        };
        Ok(transaction.sign(&self.inner.key)?)
    }

    /// Takes the next nonce. After a collision it skips some by chance, more each time, so that
    /// those who share the key do not collide again and again; nonces that are skipped cost nothing.
    fn take_nonce(&self, tries: u32) -> Result<(ChainId, Nonce), Error> {
        let mut next = self.lock();
        let known = match *next {
            Some(known) if known.stale.is_none() => known,
            before => self.ask_chain(before)?,
        };
        let span = (1_u64 << tries.min(8)) - 1;
        let skipped = if span == 0 { 0 } else { random()? & span };
        let taken = Nonce::new(known.nonce.get().saturating_add(skipped));
        *next = Some(Next { nonce: taken.next().unwrap_or(taken), ..known });
        Ok((known.chain_id, taken))
    }

    fn ask_chain(&self, before: Option<Next>) -> Result<Next, Error> {
        let chain_id = match before {
            Some(before) => before.chain_id,
            None => self.client.chain_id()?,
        };
        let mut nonce = self.client.account_info(self.key())?.next_nonce;
        if let Some(Next { nonce: own, stale: Some(Stale::Behind), .. }) = before {
            nonce = nonce.max(own);
        }
        Ok(Next { chain_id, nonce, stale: None })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Next>> {
        self.inner.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a node refused the nonce, and nothing else.
fn nonce_is_unusable(error: &Error) -> Option<Stale> {
    let problem = error.problem().filter(|problem| problem.nothing_happened())?;
    if problem.code == Code::NonceUsed {
        Some(Stale::Behind)
    } else if problem.code == Code::NonceTooFar {
        Some(Stale::Ahead)
    } else {
        None
    }
}

fn random() -> Result<u64, Error> {
    getrandom::u64().map_err(Error::Random)
}

/// Operations that take effect together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    operations: Vec<Operation>,
}

impl Batch {
    /// Nothing to do yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key that has no value.
    #[must_use]
    pub fn put(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.and(Operation::Put { key: own(key), value: own(value) })
    }

    /// Sets a key, whether or not it has a value.
    #[must_use]
    pub fn update(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.and(Operation::Update { key: own(key), value: own(value) })
    }

    /// Takes a key's value away.
    #[must_use]
    pub fn remove(self, key: impl AsRef<[u8]>) -> Self {
        self.and(Operation::Remove { key: own(key) })
    }

    /// Sets a key if its value is as expected; `None` expects none.
    #[must_use]
    pub fn cas(
        self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Self {
        self.and(Operation::Cas { key: own(key), expected: expected.map(own), value: own(value) })
    }

    /// The operations, in order.
    #[must_use]
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    /// Any operation.
    #[must_use]
    pub fn and(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }
}

fn own(bytes: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(bytes.as_ref())
}
