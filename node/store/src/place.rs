//! One number for the place of a transaction, and one for the place of a write.

use quorate_chain::ids::Height;

use crate::error::StoreError;
use crate::schema::{INDEX_BITS, OPERATION_BITS};

const INDEX: i64 = (1 << INDEX_BITS) - 1;
const OPERATION: i64 = (1 << OPERATION_BITS) - 1;

/// The place of a transaction.
pub(crate) fn place(height: Height, index: u32) -> Result<i64, StoreError> {
    version(height, index, 0).map(|version| version >> OPERATION_BITS)
}

/// The place of a write: the number of a version.
pub(crate) fn version(height: Height, index: u32, operation: u8) -> Result<i64, StoreError> {
    let too_high = StoreError::TooHigh { height };
    let number = i64::try_from(height.get()).ok();
    let number = number.filter(|height| *height < 1 << (63 - INDEX_BITS - OPERATION_BITS));
    let Some(number) = number else { return Err(too_high) };
    let (index, operation) = (i64::from(index) & INDEX, i64::from(operation) & OPERATION);
    Ok((number << INDEX_BITS | index) << OPERATION_BITS | operation)
}

/// The number below which the versions stand that come before a place; none if all do. A client may
/// name any place, also one that no write can have.
pub(crate) fn before(height: Height, index: u32, operation: u8) -> Option<i64> {
    let beyond = i64::from(i64::from(operation) > OPERATION);
    let index = index.min(u32::try_from(INDEX).unwrap_or(u32::MAX));
    let operation = operation.min(u8::try_from(OPERATION).unwrap_or(u8::MAX));
    version(height, index, operation).ok()?.checked_add(beyond)
}

/// Height and index of a place.
pub(crate) fn split_place(place: i64) -> (Height, u32) {
    let index = u32::try_from(place & INDEX).unwrap_or_default();
    (Height::new((place >> INDEX_BITS).cast_unsigned()), index)
}

/// Height, index and operation of a version.
pub(crate) fn split_version(version: i64) -> (Height, u32, u8) {
    let (height, index) = split_place(version >> OPERATION_BITS);
    (height, index, u8::try_from(version & OPERATION).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_gives_back_what_it_was_made_of_and_sorts_in_the_order_of_the_chain() {
        let mut last = -1;
        for height in [0, 1, 2, 77, (1 << 42) - 1] {
            for index in [0, 1, 9_999] {
                for operation in [0, 127] {
                    let height = Height::new(height);
                    let number = version(height, index, operation).unwrap();
                    assert_eq!(split_version(number), (height, index, operation));
                    assert_eq!(split_place(place(height, index).unwrap()), (height, index));
                    assert!(number > last);
                    last = number;
                }
            }
        }
        assert!(version(Height::new(1 << 42), 0, 0).is_err());
    }

    #[test]
    fn before_any_place_at_all_stands_what_comes_before_it() {
        let height = Height::new(7);
        let number = |index, operation| version(height, index, operation).unwrap();
        assert_eq!(before(height, 3, 5), Some(number(3, 5)));
        assert_eq!(before(height, 3, 128), Some(number(4, 0)));
        assert_eq!(before(height, 3, 255), Some(number(4, 0)));
        assert!(before(height, u32::MAX, 0) > Some(number(9_999, 127)));
        let last = before(height, u32::MAX, 255);
        assert_eq!(last, version(Height::new(8), 0, 0).ok());
        assert_eq!(before(Height::new((1 << 42) - 1), u32::MAX, 255), None);
        assert_eq!(before(Height::new(1 << 42), 0, 0), None);
        assert_eq!(before(Height::new(u64::MAX), 0, 0), None);
    }
}
