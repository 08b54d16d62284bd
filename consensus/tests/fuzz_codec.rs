//! Arbitrary bytes, and the golden fixtures mutated, before the decoders of records and messages: none
//! panics, and what decodes is encoded as it came.
#![allow(clippy::unwrap_used)]

#[path = "../../chain/tests/fixtures/mod.rs"]
mod fixtures;
#[path = "../../chain/tests/mutate/mod.rs"]
mod mutate;

use std::sync::LazyLock;

use bolero::check;
use bytes::Bytes;
use fixtures::Fixture;
use mutate::{Mutations, mutate};
use quorate_chain::codec::{Decode, Encode};
use quorate_consensus::codec::Written;

const TRIES: usize = 1_500;

/// Returns whether the bytes decode.
fn probe<T: Decode + Encode>(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let value = T::from_bytes(&bytes);
    if let Ok(value) = &value {
        assert_eq!(value.to_bytes(), bytes, "there is another encoding of the same");
    }
    value.is_ok()
}

/// Mutates fixtures of one type. Without a mutation they decode.
fn probe_mutated<T: Decode + Encode>(
    fixtures: &[Fixture],
    one: u16,
    other: u16,
    mutations: &Mutations,
) {
    let take = |number: u16| &fixtures[usize::from(number) % fixtures.len()];
    let decodes = probe::<T>(&mutate(&take(one).bytes, &take(other).bytes, mutations));
    assert!(decodes || !mutations.0.is_multiple_of(4), "{}", take(one).name);
}

static RECORDS: LazyLock<Vec<Fixture>> = LazyLock::new(|| fixtures::read("record"));

#[test]
fn fuzz_record_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::<Written>(bytes);
    });
}

#[test]
fn fuzz_mutated_records() {
    type Input = (u16, u16, Mutations);
    check!().with_iterations(TRIES).with_type::<Input>().for_each(|(one, other, mutations)| {
        probe_mutated::<Written>(&RECORDS, *one, *other, mutations);
    });
}
