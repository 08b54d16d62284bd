//! The simulator: lives of groups that must keep every promise, and whether the checks bite.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod excuse;
mod healed;
mod leaders;
mod planted;
mod shelves;
mod twins;

use std::sync::atomic::{AtomicU64, Ordering};

use quorate_sim::dials::Choice;
use quorate_sim::life::{Failure, live};
use quorate_sim::shrink::command;

fn choice(seed: u64, seconds: u64) -> Choice {
    Choice { seed, nodes: None, seconds, without: Vec::new(), events: None, standard: false }
}

fn assert_well(choice: &Choice) {
    if let Some(Failure { rule, found, .. }) = live(choice).failure {
        panic!("{rule}: {found}\nagain: cargo run --release -p quorate-sim -- {}", command(choice));
    }
}

#[test]
fn the_same_seed_has_the_same_trace() {
    for seed in [3, 4] {
        let (one, two) = (live(&choice(seed, 20)), live(&choice(seed, 20)));
        assert_eq!((one.trace, &one.tally), (two.trace, &two.tally), "seed {seed}");
    }
    assert_ne!(live(&choice(3, 20)).trace, live(&choice(4, 20)).trace);
}

/// The lives of these seeds, on all cores.
fn all_are_well(seeds: u64, seconds: u64) {
    let next = AtomicU64::new(1);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds {
                        return;
                    }
                    assert_well(&choice(seed, seconds));
                }
            });
        }
    });
}

#[test]
fn lives_of_a_minute_keep_every_promise() {
    all_are_well(SEEDS, 60);
}

const SEEDS: u64 = 200;

/// False alarms: a liar brought whoever was taken out of the roster to a term that no member knows.
#[test]
fn a_term_that_only_strangers_know_does_not_matter() {
    for seed in [72_269, 73_391] {
        assert_well(&choice(seed, 120));
    }
}
