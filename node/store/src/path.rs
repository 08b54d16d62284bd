//! Paths of the state as the table of entries has them: in two halves.
//!
//! The first half is a number, and so SQLite compares it in a fraction of the time that it takes for bytes. Numbers have a
//! sign and bytes have none: with its highest bit turned, a half sorts like the bytes that it is made of.

use quorate_chain::ids::Hash;

use crate::error::StoreError;

/// Bytes of the second half, which is the larger one.
const REST: usize = Hash::LENGTH - 8;

/// A path in two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Halves {
    pub(crate) first: i64,
    pub(crate) rest: [u8; REST],
}

impl Halves {
    pub(crate) fn of(path: &Hash) -> Self {
        let (first, rest) = path.as_bytes().split_at(8);
        let first = first.try_into().map_or(0, u64::from_be_bytes);
        let rest = rest.try_into().unwrap_or([0; REST]);
        Self { first: (first ^ 1 << 63).cast_signed(), rest }
    }
}

/// What the halves of a path are above, if it comes after this one.
pub(crate) fn above(after: Option<&Hash>) -> (i64, Vec<u8>) {
    let halves = after.map(Halves::of);
    // Whatever has a length is above the empty string.
    halves.map_or((i64::MIN, Vec::new()), |Halves { first, rest }| (first, rest.to_vec()))
}

/// The path that has these halves.
pub(crate) fn join(first: i64, rest: &[u8]) -> Result<Hash, StoreError> {
    let mut path = [0; Hash::LENGTH];
    let (head, tail) = path.split_at_mut(8);
    head.copy_from_slice(&(first.cast_unsigned() ^ 1 << 63).to_be_bytes());
    if rest.len() != tail.len() {
        return Err(StoreError::Missing { what: "a path" });
    }
    tail.copy_from_slice(rest);
    Ok(Hash::new(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_make_the_path_and_sort_like_it() {
        let mut last = None;
        for byte in [0x00, 0x01, 0x7f, 0x80, 0x81, 0xff] {
            for end in [0x00, 0xff] {
                let mut path = [byte; Hash::LENGTH];
                path[Hash::LENGTH - 1] = end;
                let Halves { first, rest } = Halves::of(&Hash::new(path));
                assert_eq!(join(first, &rest).unwrap(), Hash::new(path));
                assert!(last < Some((first, rest)), "{byte:02x}");
                last = Some((first, rest));
            }
        }
        assert!(join(0, &[0; 7]).is_err());
    }
}
