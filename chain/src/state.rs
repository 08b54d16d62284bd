//! The state: what the chain's transactions have made of the keys.
//!
//! It has three kinds of entries, each under a key of its own: the value of a key, the nonces of an
//! account, and the grants of an account. The commitment to the state knows an entry by its *path*,
//! the hash of its key, and its *digest*, the hash of its content:
//!
//! ```text
//! path   = SHA-256("quorate/1/key" ‖ encoded key)
//! digest = SHA-256("quorate/1/entry" ‖ encoded entry)
//! ```
//!
//! Left out: where entries are kept. [`StateRead`] is what execution asks of a store.

mod nonces;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, put_bytes, put_count};
use crate::ids::{AccountKey, Hash, Height, TxId};
use crate::limits;
use crate::transaction;

pub use nonces::{NonceError, Nonces};

/// The name of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateKey {
    /// The value of a key.
    Value(Bytes),
    /// The nonces that an account has used.
    Nonces(AccountKey),
    /// The prefixes that an account may write.
    Grants(AccountKey),
}

impl StateKey {
    /// Where the commitment to the state has it.
    #[must_use]
    pub fn path(&self) -> Hash {
        Hash::of(&[b"quorate/1/key", &self.to_bytes()])
    }
}

/// A value, and what wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The height of the block that wrote it.
    pub height: Height,
    /// The transaction that wrote it.
    pub tx: TxId,
    /// The value.
    pub bytes: Bytes,
}

/// The prefixes that an account may write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(pub BTreeSet<Bytes>);

impl Grants {
    /// Whether one of them covers this key.
    #[must_use]
    pub fn allow(&self, key: &[u8]) -> bool {
        self.0.iter().any(|prefix| key.starts_with(prefix))
    }
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateEntry {
    /// The value of a key.
    Value(Value),
    /// The nonces that an account has used.
    Nonces(Nonces),
    /// The prefixes that an account may write.
    Grants(Grants),
}

impl StateEntry {
    /// What the commitment to the state has of it.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Hash::of(&[b"quorate/1/entry", &self.to_bytes()])
    }
}

/// What execution asks of the state before a block.
pub trait StateRead {
    /// Why it could not answer: the disk, never the question.
    type Error;

    /// The value of a key.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn value(&self, key: &Bytes) -> Result<Option<Value>, Self::Error>;

    /// Whether a key has a value, which can be less work to find out than what it is.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn has(&self, key: &Bytes) -> Result<bool, Self::Error> {
        Ok(self.value(key)?.is_some())
    }

    /// The nonces that an account has used.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn nonces(&self, account: AccountKey) -> Result<Nonces, Self::Error>;

    /// The prefixes that an account may write.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn grants(&self, account: AccountKey) -> Result<Grants, Self::Error>;
}

/// What a block makes of the entries it touches; `None` where it leaves nothing.
pub type Changes = BTreeMap<StateKey, Option<StateEntry>>;

/// A state in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    entries: BTreeMap<StateKey, StateEntry>,
}

impl MemoryState {
    /// The entries, sorted by key.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<StateKey, StateEntry> {
        &self.entries
    }

    /// Takes over what a block has changed.
    pub fn apply(&mut self, changes: &Changes) {
        for (key, entry) in changes {
            match entry {
                Some(entry) => self.entries.insert(key.clone(), entry.clone()),
                None => self.entries.remove(key),
            };
        }
    }
}

impl StateRead for MemoryState {
    type Error = Infallible;

    fn value(&self, key: &Bytes) -> Result<Option<Value>, Infallible> {
        Ok(match self.entries.get(&StateKey::Value(key.clone())) {
            Some(StateEntry::Value(value)) => Some(value.clone()),
            Some(StateEntry::Nonces(_) | StateEntry::Grants(_)) | None => None,
        })
    }

    fn nonces(&self, account: AccountKey) -> Result<Nonces, Infallible> {
        Ok(match self.entries.get(&StateKey::Nonces(account)) {
            Some(StateEntry::Nonces(nonces)) => *nonces,
            Some(StateEntry::Value(_) | StateEntry::Grants(_)) | None => Nonces::default(),
        })
    }

    fn grants(&self, account: AccountKey) -> Result<Grants, Infallible> {
        Ok(match self.entries.get(&StateKey::Grants(account)) {
            Some(StateEntry::Grants(grants)) => grants.clone(),
            Some(StateEntry::Value(_) | StateEntry::Nonces(_)) | None => Grants::default(),
        })
    }
}

impl Encode for StateKey {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Value(key) => {
                out.push(1);
                put_bytes(out, key);
            }
            Self::Nonces(account) => {
                out.push(2);
                account.encode(out);
            }
            Self::Grants(account) => {
                out.push(3);
                account.encode(out);
            }
        }
    }
}

impl Decode for StateKey {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("state key")? {
            1 => Ok(Self::Value(transaction::decode_key(from)?)),
            2 => Ok(Self::Nonces(AccountKey::decode(from)?)),
            3 => Ok(Self::Grants(AccountKey::decode(from)?)),
            found => Err(DecodeError::UnknownTag { field: "state key", offset, found }),
        }
    }
}

impl Encode for Value {
    fn encode(&self, out: &mut Vec<u8>) {
        self.height.encode(out);
        self.tx.encode(out);
        put_bytes(out, &self.bytes);
    }
}

impl Decode for Value {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            height: Height::decode(from)?,
            tx: TxId::decode(from)?,
            bytes: from.bytes("value", limits::VALUE)?,
        })
    }
}

impl Encode for Grants {
    fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.0.len());
        for prefix in &self.0 {
            put_bytes(out, prefix);
        }
    }
}

impl Decode for Grants {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let count = from.count("grants", limits::GRANTS)?;
        let mut prefixes = Vec::with_capacity(count);
        for _ in 0..count {
            prefixes.push(from.bytes("prefix", limits::KEY)?);
        }
        let sorted = prefixes.is_sorted_by(|a, b| a < b);
        Reader::require(sorted, "grants", offset, "they are sorted, each prefix once")?;
        Reader::require(count > 0, "grants", offset, "without grants there is no entry")?;
        Ok(Self(prefixes.into_iter().collect()))
    }
}

impl Encode for StateEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Value(value) => {
                out.push(1);
                value.encode(out);
            }
            Self::Nonces(nonces) => {
                out.push(2);
                nonces.encode(out);
            }
            Self::Grants(grants) => {
                out.push(3);
                grants.encode(out);
            }
        }
    }
}

impl Decode for StateEntry {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("state entry")? {
            1 => Ok(Self::Value(Value::decode(from)?)),
            2 => Ok(Self::Nonces(Nonces::decode(from)?)),
            3 => Ok(Self::Grants(Grants::decode(from)?)),
            found => Err(DecodeError::UnknownTag { field: "state entry", offset, found }),
        }
    }
}
