//! Steps from one roster to the next.

use quorate_chain::block::{Header, Item};
use quorate_chain::certificate::CertificatePath;
use quorate_chain::codec::Encode;
use quorate_chain::proof::RosterStep;
use quorate_chain::state::Changes;

use super::chain::{self, Chain};
use super::{begun, height};
use crate::store::{Install, Store, StoreReader};

pub(super) fn run<S: Store>(fresh: impl Fn() -> S) {
    steps_are_told_in_order_and_page_by_page(fresh());
    steps_outlive_blocks_and_snapshots(fresh());
}

/// Something like a step over the block at a height, and what it shows for it.
fn step(chain: &Chain, at: u64, signers: u32) -> RosterStep {
    let header = |at: u64| chain.blocks[usize::try_from(at - 1).unwrap()].header().clone();
    let (parent, header): (Header, Header) = (header(at - 1), header(at));
    let certificate = chain::certificate(header.block_ref(), signers).into_inner();
    let item = Item::Leave { certificate: certificate.clone() };
    let path = CertificatePath { headers: vec![header.clone()], certificate };
    RosterStep { parent, header, item, path }
}

/// A store of a chain of nine blocks with steps over those of even height.
fn stepped<S: Store>(store: S) -> (S, Chain, Vec<RosterStep>) {
    let (mut store, mut chain) = begun(store);
    let mut all = Vec::new();
    for at in [3, 6, 9] {
        let mut batch = chain.batch(3, Changes::new());
        batch.steps =
            (at - 2..=at).filter(|at| at % 2 == 0).map(|at| step(&chain, at, 1)).collect();
        all.extend(batch.steps.clone());
        store.apply(batch).unwrap();
    }
    (store, chain, all)
}

fn steps_are_told_in_order_and_page_by_page<S: Store>(store: S) {
    let (mut store, mut chain, all) = stepped(store);
    let reader = store.reader();
    assert_eq!(all.len(), 4);
    assert_eq!(reader.roster_steps(height(0), usize::MAX).unwrap(), all);
    assert_eq!(reader.roster_steps(height(2), usize::MAX).unwrap(), all[1..]);
    assert_eq!(reader.roster_steps(height(3), usize::MAX).unwrap(), all[1..]);
    assert_eq!(reader.roster_steps(height(8), usize::MAX).unwrap(), []);
    assert_eq!(reader.roster_steps(height(0), 0).unwrap(), all[..1], "at least one");
    let two = all[..2].iter().map(|step| step.to_bytes().len()).sum();
    assert_eq!(reader.roster_steps(height(0), two).unwrap(), all[..2], "not more than asked for");
    // A step that is there stays as it is.
    let mut batch = chain.batch(1, Changes::new());
    batch.steps = vec![step(&chain, 4, 2)];
    store.apply(batch).unwrap();
    assert_eq!(store.reader().roster_steps(height(0), usize::MAX).unwrap(), all);
}

fn steps_outlive_blocks_and_snapshots<S: Store>(store: S) {
    let (mut store, mut chain, mut all) = stepped(store);
    store.prune(height(9)).unwrap();
    assert_eq!(store.reader().roster_steps(height(0), usize::MAX).unwrap(), all);
    let standing = chain.batch(5, Changes::new()).standing;
    let header = chain.header();
    let brought: Vec<_> = [8, 11, 13].into_iter().map(|at| step(&chain, at, 2)).collect();
    all.extend(brought[1..].to_vec());
    store.stage(Vec::new(), true).unwrap();
    assert!(
        store.install(Install { standing, header, frozen: false, steps: brought }).unwrap(),
        "this store can install"
    );
    assert_eq!(store.reader().roster_steps(height(0), usize::MAX).unwrap(), all);
}
