//! The simulator: lives of groups that must keep every promise, and whether the checks bite.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod planted;

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

/// Seeds that once broke something, with what it was.
const REGRESSIONS: &[(u64, u64, &str)] = &[
    (16, 60, "after a blackout the log was longer than two windows, and nobody took it over"),
    (95, 60, "blocks that were lost in front of a full window were never sent again"),
    (8, 60, "a slow store let the log grow without bound"),
];

#[test]
fn what_once_broke_holds() {
    for (seed, seconds, _) in REGRESSIONS {
        assert_well(&choice(*seed, *seconds));
    }
}

#[test]
fn lives_of_a_minute_keep_every_promise() {
    (1..=SEEDS).for_each(|seed| assert_well(&choice(seed, 60)));
}

const SEEDS: u64 = 40;
