//! What a validator's signature costs to check: `cargo bench -p quorate-chain --bench signature`.
//!
//! The checks take turns with the library's own strict one, which accepts the same. Printed are the
//! fastest round and the median one.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use quorate_chain::crypto::{Ed25519, SecretKey, ValidatorKey, Verifier};

const ROUNDS: usize = 101;
const CHECKS: usize = 100;
const VALIDATORS: u8 = 3;

/// Microseconds for one of the checks that a task makes.
fn round(task: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    task();
    start.elapsed().as_secs_f64() * 1e6 / CHECKS as f64
}

fn main() {
    // As long as what a follower signs about a block.
    let message = [7; 120];
    let signed: Vec<_> = (0..VALIDATORS)
        .map(|seed| {
            let secret = SecretKey::from_seed(&[seed; 32]);
            (secret.validator_key(), secret.sign(&message))
        })
        .collect();
    let plain: Vec<_> = signed
        .iter()
        .map(|(key, signature)| {
            let key = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()).unwrap();
            (key, ed25519_dalek::Signature::from_bytes(signature.as_bytes()))
        })
        .collect();
    let turns = || signed.iter().cycle().take(CHECKS);
    let mut strict = || {
        for (key, signature) in plain.iter().cycle().take(CHECKS) {
            black_box(key.verify_strict(&message, signature)).unwrap();
        }
    };
    let mut held = || {
        for (key, signature) in turns() {
            black_box(Ed25519.validator(key, &message, signature)).unwrap();
        }
    };
    let mut decoded = || {
        for (key, signature) in turns() {
            let key = ValidatorKey::from_bytes(key.as_bytes()).unwrap();
            black_box(Ed25519.validator(&key, &message, signature)).unwrap();
        }
    };
    let mut taken: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        taken[0].push(round(&mut strict));
        taken[1].push(round(&mut held));
        taken[2].push(round(&mut decoded));
    }
    let names =
        ["the library's strict check", "a validator's key", "the same, and the key decoded"];
    for (name, mut times) in names.into_iter().zip(taken) {
        times.sort_by(f64::total_cmp);
        println!("{name:<40} {:6.2} µs, median {:6.2}", times[0], times[ROUNDS / 2]);
    }
}
