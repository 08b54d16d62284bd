//! The one canonical encoding. Its bytes are written down in `docs/format.md`.
//!
//! - An integer is big-endian and has a fixed length.
//! - A byte string is its length as a `u32`, then the bytes. Text is the UTF-8 bytes of a string.
//! - A list is its count as a `u32`, then the items.
//! - An option is one byte, 0 or 1, then the value if it is 1.
//! - An enum is one byte, the tag, then the fields of the variant.
//! - A struct is its fields, in the order of the page.
//!
//! Each value has exactly one encoding, and each encoding that decodes is the encoding of what it
//! decodes to: lengths have limits, sets are sorted, nothing may follow the last field. A length is
//! compared with its limit and with the bytes that are left before anything is allocated.
//!
//! Decoding borrows: a byte string inside a decoded value shares the memory of the bytes it came
//! from.
//!
//! Left out: schema evolution. A header and a transaction carry a version, and an unknown version is
//! refused.

use bytes::Bytes;

use crate::ids::{
    AccountKey, BlockHash, BlockRef, BodyRoot, ChainId, Hash, Height, NodeId, Nonce, RosterHash,
    Signature, StateRoot, Term, TimeUs, TxId,
};

/// Bytes that are not the encoding of the value they should be.
///
/// `field` is the name the format gives the field, `offset` where it begins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("{field} at offset {offset} needs {needed} bytes, {left} are left")]
    Short {
        /// The field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// How many bytes it takes.
        needed: usize,
        /// How many bytes there are.
        left: usize,
    },
    /// A length or a count beyond its limit.
    #[error("{field} at offset {offset} has length {found}, at most {limit} is allowed")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// The length that stands there.
        found: usize,
        /// The largest length allowed.
        limit: usize,
    },
    /// A tag or a version that nobody has defined.
    #[error("{field} at offset {offset} has the unknown tag {found}")]
    UnknownTag {
        /// The field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// The tag that stands there.
        found: u8,
    },
    /// A value that has another, canonical encoding, or none at all.
    #[error("{field} at offset {offset} is not valid: {rule}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// Bytes after the last field.
    #[error("{left} bytes follow the last field, which ends at offset {offset}")]
    Trailing {
        /// Where the last field ends.
        offset: usize,
        /// How many bytes follow.
        left: usize,
    },
}

/// A value with a canonical encoding.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The encoding alone.
    fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode(&mut out);
        Bytes::from(out)
    }
}

/// A value that can be read back from its canonical encoding.
pub trait Decode: Sized {
    /// Reads one value and leaves the reader behind it.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where.
    fn decode(from: &mut Reader) -> Result<Self, DecodeError>;

    /// Reads one value that takes up all of `bytes`.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where; bytes that are left over are wrong.
    fn from_bytes(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes.clone());
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// Appends a byte string.
///
/// # Panics
/// If it is longer than a `u32` can say: every byte string of the format has a far lower limit.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends the count of a list.
///
/// # Panics
/// If it is larger than a `u32` can say: every list of the format has a far lower limit.
pub fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("every length in the format has a limit below 2^32");
    out.extend_from_slice(&count.to_be_bytes());
}

/// Appends a list.
pub fn put_list<T: Encode>(out: &mut Vec<u8>, items: &[T]) {
    put_count(out, items.len());
    for item in items {
        item.encode(out);
    }
}

/// Appends an option.
pub fn put_option<T: Encode>(out: &mut Vec<u8>, value: Option<&T>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        value.encode(out);
    }
}

/// Reads an encoding from its front to its end.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    offset: usize,
}

impl Reader {
    /// A reader at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Where the next field begins.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The bytes read since `start`.
    ///
    /// # Panics
    /// If `start` is ahead of the reader.
    #[must_use]
    pub fn read_since(&self, start: usize) -> &[u8] {
        &self.bytes[start..self.offset]
    }

    /// The bytes read since `start`, shared and not copied.
    ///
    /// # Panics
    /// If `start` is ahead of the reader.
    #[must_use]
    pub fn since(&self, start: usize) -> Bytes {
        self.bytes.slice(start..self.offset)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// If bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { offset: self.offset, left }),
        }
    }

    fn need(&self, field: &'static str, needed: usize) -> Result<(), DecodeError> {
        let left = self.left();
        if left < needed {
            return Err(DecodeError::Short { field, offset: self.offset, needed, left });
        }
        Ok(())
    }

    /// Reads a fixed number of bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        self.need(field, N)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[self.offset..self.offset + N]);
        self.offset += N;
        Ok(array)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// If none is left.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Reads a `u16`.
    ///
    /// # Errors
    /// If fewer than two bytes are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Reads a `u32`.
    ///
    /// # Errors
    /// If fewer than four bytes are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Reads a `u64`.
    ///
    /// # Errors
    /// If fewer than eight bytes are left.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Reads a byte that must be 0 or 1.
    ///
    /// # Errors
    /// If it is something else, or missing.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        let offset = self.offset;
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(DecodeError::UnknownTag { field, offset, found }),
        }
    }

    /// Reads the count of a list or the length of a byte string.
    ///
    /// # Errors
    /// If it is above `limit`, or missing.
    pub fn count(&mut self, field: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let offset = self.offset;
        let found = self.u32(field)? as usize;
        if found > limit {
            return Err(DecodeError::TooLong { field, offset, found, limit });
        }
        Ok(found)
    }

    /// Reads a byte string of at most `limit` bytes, shared and not copied.
    ///
    /// # Errors
    /// If it is longer than `limit`, or than what is left.
    pub fn bytes(&mut self, field: &'static str, limit: usize) -> Result<Bytes, DecodeError> {
        let length = self.count(field, limit)?;
        self.need(field, length)?;
        let start = self.offset;
        self.offset += length;
        Ok(self.bytes.slice(start..start + length))
    }

    /// Reads text of at most `limit` bytes.
    ///
    /// # Errors
    /// If it is too long, or not UTF-8.
    pub fn text(&mut self, field: &'static str, limit: usize) -> Result<String, DecodeError> {
        let offset = self.offset;
        let bytes = self.bytes(field, limit)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| DecodeError::Invalid {
            field,
            offset,
            rule: "text is UTF-8",
        })?;
        Ok(text.to_owned())
    }

    /// Reads a list of at most `limit` items.
    ///
    /// # Errors
    /// If it has more items than `limit`, or one of them does not decode.
    pub fn list<T: Decode>(
        &mut self,
        field: &'static str,
        limit: usize,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(field, limit)?;
        // No item is empty, so no more items than bytes can follow.
        self.need(field, count)?;
        let mut items = Vec::with_capacity(count.min(LIST_AHEAD));
        for _ in 0..count {
            items.push(T::decode(self)?);
        }
        Ok(items)
    }

    /// Reads an option.
    ///
    /// # Errors
    /// If its tag is neither 0 nor 1, or the value does not decode.
    pub fn option<T: Decode>(&mut self, field: &'static str) -> Result<Option<T>, DecodeError> {
        if self.bool(field)? { T::decode(self).map(Some) } else { Ok(None) }
    }

    /// Refuses what has been read since `offset` unless the rule holds.
    ///
    /// # Errors
    /// If it does not hold.
    pub fn require(
        holds: bool,
        field: &'static str,
        offset: usize,
        rule: &'static str,
    ) -> Result<(), DecodeError> {
        if holds { Ok(()) } else { Err(DecodeError::Invalid { field, offset, rule }) }
    }
}

/// How many items of a list are given room before the first is read. More grow as they come, so a
/// lying count costs nothing.
const LIST_AHEAD: usize = 1_024;

/// Encodes a newtype as its bare value.
macro_rules! plain {
    (u64: $($number:ident $field:literal),*; u32: $($small:ident $small_field:literal),*;
     bytes: $($array:ident $array_field:literal),*) => {
        $(impl Encode for $number {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.get().to_be_bytes());
            }
        }
        impl Decode for $number {
            fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
                from.u64($field).map(Self::new)
            }
        })*
        $(impl Encode for $small {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.get().to_be_bytes());
            }
        }
        impl Decode for $small {
            fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
                from.u32($small_field).map(Self::new)
            }
        })*
        $(impl Encode for $array {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_bytes());
            }
        }
        impl Decode for $array {
            fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
                from.array($array_field).map(Self::new)
            }
        })*
    };
}

plain! {
    u64: Height "height", Term "term", TimeUs "time", Nonce "nonce";
    u32: NodeId "node id";
    bytes: Hash "hash", ChainId "chain id", BlockHash "block hash", TxId "transaction id",
           RosterHash "roster hash", BodyRoot "body root", StateRoot "state root",
           AccountKey "account key", Signature "signature"
}

impl Encode for BlockRef {
    fn encode(&self, out: &mut Vec<u8>) {
        self.term.encode(out);
        self.height.encode(out);
        self.hash.encode(out);
    }
}

impl Decode for BlockRef {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            term: Term::decode(from)?,
            height: Height::decode(from)?,
            hash: BlockHash::decode(from)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_checked_before_anything_is_read() {
        let mut reader = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 1]));
        assert_eq!(
            reader.bytes("value", 100),
            Err(DecodeError::TooLong { field: "value", offset: 0, found: 0xffff_ffff, limit: 100 })
        );
        let mut reader = Reader::new(Bytes::from_static(&[0, 0, 0, 9, 1]));
        assert_eq!(
            reader.bytes("value", 100),
            Err(DecodeError::Short { field: "value", offset: 4, needed: 9, left: 1 })
        );
    }

    #[test]
    fn what_follows_the_last_field_is_refused() {
        let bytes = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 7, 9]);
        assert_eq!(Height::from_bytes(&bytes), Err(DecodeError::Trailing { offset: 8, left: 1 }));
        assert_eq!(Height::from_bytes(&bytes.slice(..8)), Ok(Height::new(7)));
    }

    #[test]
    fn a_byte_string_shares_memory() {
        let bytes = Bytes::from_static(&[0, 0, 0, 2, 8, 9]);
        let value = Reader::new(bytes.clone()).bytes("value", 2).unwrap();
        assert_eq!(value.as_ptr(), bytes[4..].as_ptr());
    }
}
