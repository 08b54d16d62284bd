//! The names and numbers of a ledger, each with a type of its own.
//!
//! A function that takes a height and a term cannot be called with the two swapped, and a hash of a
//! roster cannot pass for the hash of a block. None of these types converts from a bare number by
//! itself: `Height::new(7)` says what the seven is.
//!
//! Left out: arithmetic. A height has a next and a previous one, a term has a next one; nothing else
//! is ever computed from them.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Defines a newtype around an unsigned integer.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// The smallest one.
            pub const ZERO: Self = Self(0);

            /// Says that this number is one of these.
            #[must_use]
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The bare number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The one after this; `None` at the end of the range.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(next) => Some(Self(next)),
                    None => None,
                }
            }

            /// The one before this; `None` at zero.
            #[must_use]
            pub const fn previous(self) -> Option<Self> {
                match self.0.checked_sub(1) {
                    Some(previous) => Some(Self(previous)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The place of a block in the chain. The genesis file is height 0, the first block is height 1.
    Height(u64)
}
number! {
    /// The number of a leadership: at most one validator leads in a term. The genesis is term 0.
    Term(u64)
}
number! {
    /// The number of a validator in the roster, given once and never again.
    NodeId(u32)
}
number! {
    /// Microseconds since 1970-01-01T00:00:00Z. It informs readers; nothing rests on it.
    TimeUs(u64)
}
number! {
    /// A sender's own number for a transaction, used at most once.
    Nonce(u64)
}

/// Defines a newtype around 32 bytes that are written as lowercase hex.
macro_rules! hex32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// How many bytes it has.
            pub const LENGTH: usize = 32;
            /// All zeros.
            pub const ZERO: Self = Self([0; 32]);

            /// Says that these bytes are one of these.
            #[must_use]
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bare bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// Lowercase hex; a precision shortens it, as in `{hash:.8}`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self:.8})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                parse_hex(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex32! {
    /// A SHA-256 hash of something that has no narrower name.
    Hash
}
hex32! {
    /// The hash of the genesis file. Two chains never share it, and everything signed names it.
    ChainId
}
hex32! {
    /// The hash of a block's header, without its signature.
    BlockHash
}
hex32! {
    /// The hash of a transaction's message, which is all of it but the signatures.
    TxId
}
hex32! {
    /// The hash of a roster's bytes.
    RosterHash
}
hex32! {
    /// The root of the Merkle tree over the items of a block's body.
    BodyRoot
}
hex32! {
    /// What a header says of the state: the whole of it, and every outcome so far.
    StateRoot
}
hex32! {
    /// An Ed25519 public key that signs transactions.
    AccountKey
}

/// Text that is not the hex of 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HexError {
    /// The wrong number of characters.
    #[error("expected 64 characters of lowercase hex, found {found}")]
    Length {
        /// How many there were.
        found: usize,
    },
    /// A character that is no lowercase hex digit.
    #[error("expected lowercase hex, found another character at position {position}")]
    Digit {
        /// Where the first such character stands, counted from 0.
        position: usize,
    },
}

fn parse_hex(text: &str) -> Result<[u8; 32], HexError> {
    if text.len() != 64 {
        return Err(HexError::Length { found: text.chars().count() });
    }
    let mut bytes = [0; 32];
    HEXLOWER
        .decode_mut(text.as_bytes(), &mut bytes)
        .map_err(|partial| HexError::Digit { position: partial.error.position })?;
    Ok(bytes)
}

impl Hash {
    /// SHA-256 of the parts, one after the other.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

impl ChainId {
    /// The ref of the genesis, which is the parent of block 1.
    #[must_use]
    pub const fn genesis_ref(self) -> BlockRef {
        BlockRef { term: Term::ZERO, height: Height::ZERO, hash: BlockHash(self.0) }
    }
}

/// A block's place and name. Refs are ordered by rank, that is by term and then height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct BlockRef {
    /// The term in which the block was sealed.
    pub term: Term,
    /// The block's height.
    pub height: Height,
    /// The block's hash.
    pub hash: BlockHash,
}

impl BlockRef {
    /// What decides which of two chains is ahead (Raft §5.4.1).
    #[must_use]
    pub const fn rank(&self) -> (Term, Height) {
        (self.term, self.height)
    }
}

impl fmt::Display for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{:.8}", self.height, self.term, self.hash)
    }
}

/// A validator's signature, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature([u8; 64]);

impl Signature {
    /// How many bytes it has.
    pub const LENGTH: usize = 64;

    /// Says that these bytes are a signature.
    #[must_use]
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bare bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self:.8})")
    }
}

impl serde::Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_back_and_refuses_what_is_not_hex() {
        let id: TxId = "0123456789abcdef".repeat(4).parse().unwrap();
        assert_eq!(id.to_string(), "0123456789abcdef".repeat(4));
        assert_eq!(format!("{id:.8}"), "01234567");
        assert_eq!("ab".parse::<TxId>(), Err(HexError::Length { found: 2 }));
        let upper = format!("{}A", "0".repeat(63));
        assert_eq!(upper.parse::<TxId>(), Err(HexError::Digit { position: 63 }));
        assert!("ä".repeat(32).parse::<TxId>().is_err());
    }

    #[test]
    fn rank_is_term_then_height() {
        let at = |term, height| BlockRef {
            term: Term::new(term),
            height: Height::new(height),
            hash: BlockHash::ZERO,
        };
        assert!(at(2, 1).rank() > at(1, 9).rank());
        assert!(at(2, 3).rank() > at(2, 2).rank());
    }

    #[test]
    fn the_range_has_ends() {
        assert_eq!(Height::new(u64::MAX).next(), None);
        assert_eq!(Height::ZERO.previous(), None);
    }
}
