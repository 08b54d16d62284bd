//! Arbitrary bytes before every decoder: none panics, and what decodes is encoded as it came.
//!
//! Random bytes seldom get past the first fields, so under `cargo test` this says little; with a
//! fuzzer that follows branches (`testnet/fuzz.sh`) it is where the decoders are searched. From real
//! encodings begins `fuzz_mutations`.
#![allow(clippy::unwrap_used)]

mod common;
mod probe;
mod story;

use bolero::check;

const TRIES: usize = 1_500;

#[test]
fn fuzz_transaction_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::transaction(bytes);
    });
}

#[test]
fn fuzz_roster_change_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::roster_change(bytes);
    });
}

#[test]
fn fuzz_roster_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::roster(bytes);
    });
}

#[test]
fn fuzz_signed_statement_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::signed_statement(bytes);
    });
}

#[test]
fn fuzz_certificate_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::certificate(bytes);
    });
}

#[test]
fn fuzz_certificate_path_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::certificate_path(bytes);
    });
}

#[test]
fn fuzz_signed_header_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::signed_header(bytes);
    });
}

#[test]
fn fuzz_block_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::block(bytes);
    });
}

#[test]
fn fuzz_recovery_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::recovery(bytes);
    });
}

#[test]
fn fuzz_evidence_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::evidence(bytes);
    });
}

#[test]
fn fuzz_state_key_bytes() {
    let probe = probe::probe_of("state-key");
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe(bytes);
    });
}

#[test]
fn fuzz_state_entry_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::state_entry(bytes);
    });
}

#[test]
fn fuzz_nonces_bytes() {
    // The tag of a nonces entry, then the bytes.
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        let entry = [&[2], bytes].concat();
        probe::state_entry(&entry);
    });
}

#[test]
fn fuzz_outcome_bytes() {
    let probe = probe::probe_of("outcome");
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe(bytes);
    });
}

#[test]
fn fuzz_inclusion_proof_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::inclusion_proof(bytes);
    });
}

#[test]
fn fuzz_state_proof_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::state_proof(bytes);
    });
}

#[test]
fn fuzz_entry_proof_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::entry_proof(bytes);
    });
}

#[test]
fn fuzz_receipt_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::receipt(bytes);
    });
}

#[test]
fn fuzz_state_receipt_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::state_receipt(bytes);
    });
}

#[test]
fn fuzz_roster_step_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::roster_step(bytes);
    });
}

#[test]
fn fuzz_genesis_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::genesis(bytes);
    });
}
