//! When what was applied survives a power cut, and what is told of it.
//!
//! Invariant: the log may forget a block only if the store has it after a power cut at that very moment, however long
//! the store takes to make it safe. And however long that is, what is not safe has a bound.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Group, genesis, limits, update};

use quorate_chain::ids::Height;
use quorate_replica::setup::Limits;
use quorate_replica::store::{Store as _, StoreReader as _};

const WINDOW: usize = 10_000;

/// A node alone, in whose store a checkpoint is through when it was asked for so often.
fn alone(limits: Limits, late: u32) -> Group {
    let mut group = Group::late(&genesis(1), limits, |_| late);
    group.elect();
    group
}

/// One more block.
fn grow(group: &mut Group, nonce: u64) {
    group.submit(0, update(group.chain_id, u8::try_from(nonce % 9).unwrap(), nonce));
    group.settle();
}

/// Up to where a power cut now would leave the store, if it takes all that it may.
fn safe(group: &Group) -> Height {
    let mut after = group.node(0).store.copy();
    after.power_cut(0);
    after.reader().standing().unwrap().unwrap().applied.block.height
}

/// The bytes of the blocks that stand above a height.
fn bytes(group: &Group, above: Height) -> usize {
    let reader = group.node(0).store.reader();
    let heights = above.get() + 1..=group.applied(0).get();
    let blocks = heights.map(|height| reader.block(Height::new(height)).unwrap().unwrap());
    blocks.map(|block| block.bytes().len()).sum()
}

#[test]
fn a_store_is_made_safe_after_so_many_bytes_too() {
    let limits = Limits { checkpoint_every: u64::MAX, window_bytes: WINDOW, ..limits() };
    let mut group = alone(limits, 0);
    for nonce in 0..100 {
        grow(&mut group, nonce);
        assert!(bytes(&group, safe(&group)) < WINDOW, "safe up to {}", safe(&group));
    }
    assert!(bytes(&group, Height::ZERO) > 3 * WINDOW);
}

#[test]
fn nothing_counts_as_safe_before_it_is() {
    for late in [0, 1, 2, 5] {
        let mut group = alone(Limits { checkpoint_every: 8, ..limits() }, late);
        for nonce in 0..60 {
            grow(&mut group, nonce);
            let told = group.replica(0).driver.status().checkpointed;
            assert!(told <= safe(&group), "{told} of {}, late {late}", safe(&group));
        }
        let told = group.replica(0).driver.status().checkpointed;
        assert!(told.get() + 2 * 8 > group.applied(0).get(), "it goes on: {told}, late {late}");
    }
}

#[test]
fn who_applies_waits_for_a_disk_that_does_not_keep_up() {
    let limits = Limits { checkpoint_every: u64::MAX, window_bytes: WINDOW, ..limits() };
    let mut group = alone(limits, u32::MAX);
    for nonce in 0..100 {
        grow(&mut group, nonce);
        let told = group.replica(0).driver.status().checkpointed;
        assert!(told <= safe(&group));
        assert!(bytes(&group, told) < 2 * WINDOW + 1_000, "{told} of {}", group.applied(0));
    }
    assert!(bytes(&group, Height::ZERO) > 3 * WINDOW);
}
