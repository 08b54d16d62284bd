//! The store in memory passes the suite, and loses in a power cut what it may lose and nothing else.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Group, update};
use quorate_chain::ids::Height;
use quorate_replica::store::{MemoryStore, Store, StoreReader, suite};

#[test]
fn the_store_in_memory_passes_the_suite() {
    suite::run(MemoryStore::new);
}

#[test]
fn a_power_cut_takes_whole_batches_newest_first() {
    let mut group = Group::new(1);
    group.elect();
    let mut copies = Vec::new();
    let ids: Vec<_> = (0..12)
        .map(|nonce| {
            let transaction = update(group.chain_id, 0, nonce);
            let id = transaction.id();
            group.submit(0, transaction);
            group.settle();
            copies.push((group.applied(0), group.node(0).store.copy()));
            id
        })
        .collect();
    let store = &group.node(0).store;
    let (top, most) = (group.applied(0), store.at_risk());
    for keep in 0..=most {
        let mut cut = store.copy();
        cut.power_cut(keep);
        let reader = cut.reader();
        let height = reader.standing().unwrap().unwrap().applied.block.height;
        assert!(keep < most || height == top, "with everything kept nothing is gone");
        assert!(reader.block(Height::new(height.get() + 1)).unwrap().is_none());
        let Some((_, then)) = copies.iter().find(|(at, _)| *at == height) else { continue };
        let then = then.reader();
        assert_eq!(reader.leaves_after(None, 100).unwrap(), then.leaves_after(None, 100).unwrap());
        assert_eq!(
            reader.history(b"client0", None, 100).unwrap(),
            then.history(b"client0", None, 100).unwrap()
        );
        for id in &ids {
            assert_eq!(reader.place(*id).unwrap(), then.place(*id).unwrap());
        }
    }
    assert!(most > 0, "something was at risk");
}
