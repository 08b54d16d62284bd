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
use quorate_chain::crypto::Ed25519;
use quorate_consensus::codec::{Incoming, Written};

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

/// Verifies what decodes, too.
fn probe_message(bytes: &[u8]) -> bool {
    let decodes = probe::<Incoming>(bytes);
    if let Ok(incoming) = Incoming::from_bytes(&Bytes::copy_from_slice(bytes)) {
        let chain_id = incoming.blocks().first().map(|block| block.header().chain_id);
        let verified = incoming.verify(chain_id.unwrap_or_default(), &Ed25519);
        if let Ok(message) = verified {
            assert_eq!(message.to_bytes(), bytes, "a block was lost on the way");
        }
    }
    decodes
}

/// Mutates fixtures. Without a mutation they decode.
fn probe_mutated(fixtures: &[Fixture], input: &Input, probe: fn(&[u8]) -> bool) {
    let (one, other, mutations) = input;
    let take = |number: u16| &fixtures[usize::from(number) % fixtures.len()];
    let decodes = probe(&mutate(&take(*one).bytes, &take(*other).bytes, mutations));
    assert!(decodes || !mutations.0.is_multiple_of(4), "{}", take(*one).name);
}

/// One fixture, another to splice from, and what is done.
type Input = (u16, u16, Mutations);

static RECORDS: LazyLock<Vec<Fixture>> = LazyLock::new(|| fixtures::read("record"));
static MESSAGES: LazyLock<Vec<Fixture>> = LazyLock::new(|| fixtures::read("message"));

#[test]
fn fuzz_record_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::<Written>(bytes);
    });
}

#[test]
fn fuzz_mutated_records() {
    check!().with_iterations(TRIES).with_type::<Input>().for_each(|input| {
        probe_mutated(&RECORDS, input, probe::<Written>);
    });
}

#[test]
fn fuzz_message_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe_message(bytes);
    });
}

#[test]
fn fuzz_mutated_messages() {
    check!().with_iterations(2 * TRIES).with_type::<Input>().for_each(|input| {
        probe_mutated(&MESSAGES, input, probe_message);
    });
}
