//! The tests that every implementation of [`Store`] must pass: call [`run`] with a maker of empty
//! stores of the chain [`CHAIN`], from a test of the implementation.
//!
//! The blocks are made here. They are well linked and hold what they say, but nobody was elected and
//! nothing executed: a store judges nothing. What survives a crash is for the implementation's own
//! tests, because only they can crash it.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "these are tests")]

pub(crate) mod chain;
mod snapshots;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::ids::{AccountKey, BlockHash, Hash, Height, TxId};
use quorate_chain::outcome::{Failure, Outcome, Status, Void};
use quorate_chain::state::{Changes, Grants, Nonces, StateEntry, StateKey, StateRead, Value};
use quorate_chain::state_root::{Leaf, MemoryLeaves, StateTree};

use super::{Convicted, EVIDENCE, Store, StoreReader};
pub use chain::{CHAIN, Chain, genesis};
use chain::{account, key};

/// Runs all tests, each on a fresh store.
///
/// # Panics
/// If the store does not keep a promise.
pub fn run<S: Store>(fresh: impl Fn() -> S) {
    nothing_is_there_before_the_genesis(fresh());
    a_store_begins_at_the_genesis(fresh());
    a_genesis_may_grant_to_any_number_of_accounts(fresh());
    a_block_is_found_by_height_and_by_hash(fresh());
    a_transaction_stands_where_it_took_effect(fresh());
    the_state_is_what_the_batches_left(fresh());
    keys_are_scanned_in_order_and_by_prefix(fresh());
    the_history_of_a_key_is_told_newest_first(fresh());
    the_leaves_are_those_of_the_entries(fresh());
    a_range_ends_at_a_certified_block(fresh());
    a_better_certificate_takes_the_place_of_the_one_before(fresh());
    rosters_are_in_force_from_their_block_on(fresh());
    every_reader_sees_what_was_applied(fresh());
    of_a_pruned_block_all_but_the_body_is_kept(fresh());
    evidence_is_kept_once_and_not_without_end(fresh());
    steps::run(&fresh);
    snapshots::run(fresh);
}

fn height(height: u64) -> Height {
    Height::new(height)
}

fn begun<S: Store>(mut store: S) -> (S, Chain) {
    store.begin(genesis(), &Changes::new()).unwrap();
    (store, Chain::default())
}

fn nothing_is_there_before_the_genesis<S: Store>(store: S) {
    let reader = store.reader();
    assert!(reader.standing().unwrap().is_none());
    assert_eq!(reader.applied().unwrap(), Height::ZERO);
    assert!(reader.block(height(1)).unwrap().is_none());
    assert!(reader.oldest().unwrap().is_none());
    assert!(reader.range(height(1), 1_000).unwrap().is_none());
    assert!(reader.leaves_after(None, 10).unwrap().is_empty());
    assert_eq!(reader.nonces(account(1)).unwrap(), Nonces::default());
}

fn a_store_begins_at_the_genesis<S: Store>(mut store: S) {
    let grants = Grants([Bytes::from_static(b"a/")].into());
    let entry = StateEntry::Grants(grants.clone());
    let changes = Changes::from([(StateKey::Grants(account(1)), Some(entry))]);
    store.begin(genesis(), &changes).unwrap();
    let reader = store.reader();
    let standing = reader.standing().unwrap().unwrap();
    assert_eq!(standing.applied.block, genesis().applied.block);
    assert_eq!(standing.applied.roster, genesis().applied.roster);
    assert_eq!(standing.state_root, genesis().state_root);
    assert_eq!(reader.grants(account(1)).unwrap(), grants);
    assert_eq!(reader.state_root(height(0)).unwrap(), Some(standing.state_root));
    assert_eq!(reader.leaves_after(None, 10).unwrap().len(), 1);
    let (since, roster) = reader.roster(height(0)).unwrap().unwrap();
    assert_eq!((since, roster), (height(0), standing.applied.roster));
}

fn a_genesis_may_grant_to_any_number_of_accounts<S: Store>(mut store: S) {
    let name = |number: u16| {
        let mut bytes = [0; AccountKey::LENGTH];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        AccountKey::new(bytes)
    };
    let grants = Grants([Bytes::from_static(b"a/")].into());
    let entry = StateEntry::Grants(grants.clone());
    let one = |number| (StateKey::Grants(name(number)), Some(entry.clone()));
    store.begin(genesis(), &(0..300).map(one).collect()).unwrap();
    let reader = store.reader();
    assert_eq!(reader.grants(name(299)).unwrap(), grants);
    assert_eq!(reader.leaves_after(None, 1_000).unwrap().len(), 300);
}

fn a_block_is_found_by_height_and_by_hash<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    store.apply(chain.batch(3, Changes::new())).unwrap();
    let reader = store.reader();
    for block in &chain.blocks {
        let at = block.block_ref();
        assert_eq!(reader.block(at.height).unwrap().as_ref(), Some(block));
        assert_eq!(reader.height_of(at.hash).unwrap(), Some(at.height));
        assert_eq!(reader.outcomes(at.height).unwrap().unwrap().len(), 2);
        assert_eq!(reader.state_root(at.height).unwrap(), Some(chain::root(at.height)));
    }
    let roots = |heights: &[u64]| {
        heights.iter().map(|at| (height(*at), chain::root(height(*at)))).collect::<Vec<_>>()
    };
    assert_eq!(reader.earlier_roots(height(4), 9).unwrap(), roots(&[3, 2, 1]));
    assert_eq!(reader.earlier_roots(height(3), 1).unwrap(), roots(&[2]));
    assert_eq!(reader.earlier_roots(height(1), 9).unwrap(), []);
    assert_eq!(reader.standing().unwrap().unwrap().applied.block, chain.tip());
    assert_eq!(reader.applied().unwrap(), chain.tip().height);
    assert_eq!(reader.oldest().unwrap(), Some(height(1)));
    assert!(reader.block(height(0)).unwrap().is_none());
    assert!(reader.block(height(4)).unwrap().is_none());
    assert!(reader.height_of(BlockHash::ZERO).unwrap().is_none());
    assert!(reader.outcomes(height(4)).unwrap().is_none());
    assert!(reader.state_root(height(4)).unwrap().is_none());
}

fn a_transaction_stands_where_it_took_effect<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    let mut batch = chain.batch(2, Changes::new());
    let failed = Status::Failed { operation: 3, failure: Failure::Mismatch };
    batch.blocks[0].outcomes[1].status = failed;
    batch.blocks[1].outcomes[0].status = Status::Void(Void::Expired);
    let ids: Vec<TxId> =
        batch.blocks.iter().flat_map(|block| &block.outcomes).map(|outcome| outcome.tx).collect();
    store.apply(batch).unwrap();
    let reader = store.reader();
    let place = |at: usize| reader.place(ids[at]).unwrap();
    let first = place(0).unwrap();
    assert_eq!((first.block, first.index), (chain.blocks[0].block_ref(), 0));
    assert_eq!(first.outcome, Outcome { tx: ids[0], status: Status::Applied });
    let second = place(1).unwrap();
    assert_eq!((second.index, second.outcome.status), (1, failed));
    assert!(place(2).is_none(), "what is void stands nowhere");
    assert!(place(3).is_some());
    assert!(reader.place(TxId::ZERO).unwrap().is_none());
    // The void one comes to stand elsewhere, and what stands is not moved by being void again.
    let [first_block, second_block] = [0, 1].map(|at: usize| chain.blocks[at].body().clone());
    let [moved, stays] = [second_block, first_block].map(|body| body.transactions[0].clone());
    let mut again = chain.batch_of(vec![moved, stays]);
    again.blocks[0].outcomes[1].status = Status::Void(Void::NonceUsed);
    store.apply(again).unwrap();
    assert_eq!(reader.place(ids[2]).unwrap().unwrap().block, chain.tip());
    assert_eq!(reader.place(ids[0]).unwrap(), Some(first));
}

fn value(at: u64, bytes: &str) -> StateEntry {
    let bytes = Bytes::copy_from_slice(bytes.as_bytes());
    StateEntry::Value(Value { height: height(at), tx: TxId::ZERO, bytes })
}

fn put(changes: &mut Changes, at: u64, name: &str, bytes: &str) {
    changes.insert(key(name), Some(value(at, bytes)));
}

fn the_state_is_what_the_batches_left<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    let mut changes = Changes::new();
    put(&mut changes, 1, "a", "one");
    put(&mut changes, 1, "b", "two");
    let mut nonces = Nonces::default();
    nonces.take(nonces.next()).unwrap();
    changes.insert(StateKey::Nonces(account(1)), Some(StateEntry::Nonces(nonces)));
    store.apply(chain.batch(1, changes)).unwrap();
    let mut changes = Changes::from([(key("a"), None), (key("none"), None)]);
    put(&mut changes, 2, "b", "three");
    store.apply(chain.batch(1, changes)).unwrap();
    // Touched, and neither read nor written.
    let mut touched = chain.batch(1, Changes::new());
    touched.changes.insert(key("ghost"), None);
    store.apply(touched).unwrap();
    let reader = store.reader();
    assert!(reader.value(&Bytes::from_static(b"ghost")).unwrap().is_none());
    assert!(reader.value(&Bytes::from_static(b"a")).unwrap().is_none());
    assert!(reader.value(&Bytes::from_static(b"none")).unwrap().is_none());
    let found = reader.value(&Bytes::from_static(b"b")).unwrap().unwrap();
    assert_eq!((found.height, &found.bytes[..]), (height(2), b"three".as_slice()));
    assert_eq!(reader.nonces(account(1)).unwrap(), nonces);
    assert_eq!(reader.nonces(account(2)).unwrap(), Nonces::default());
    assert_eq!(reader.grants(account(1)).unwrap(), Grants::default());
}

fn keys_are_scanned_in_order_and_by_prefix<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    let mut changes = Changes::new();
    for name in ["a", "a/2", "a/1", "a/10", "b", "\u{ff}"] {
        put(&mut changes, 1, name, name);
    }
    store.apply(chain.batch(1, changes)).unwrap();
    let reader = store.reader();
    let scan = |prefix: &str, after: Option<&str>, limit| {
        let found = reader.scan(prefix.as_bytes(), after.map(str::as_bytes), limit).unwrap();
        let name = |(key, value): (Bytes, Value)| {
            assert_eq!(key, value.bytes);
            String::from_utf8(key.to_vec()).unwrap()
        };
        found.into_iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(scan("a/", None, 10), ["a/1", "a/10", "a/2"]);
    assert_eq!(scan("a/", None, 2), ["a/1", "a/10"]);
    assert_eq!(scan("a/", Some("a/10"), 2), ["a/2"]);
    assert_eq!(scan("a/", Some("a"), 1), ["a/1"]);
    assert_eq!(scan("a/", Some("b"), 1), [""; 0]);
    assert_eq!(scan("", None, 10).len(), 6);
    assert_eq!(scan("c", None, 10), [""; 0]);
    assert_eq!(scan("", None, 0), [""; 0]);
}

fn the_history_of_a_key_is_told_newest_first<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    let mut changes = Changes::new();
    put(&mut changes, 2, "k", "3");
    put(&mut changes, 2, "other", "4");
    let mut batch = chain.batch(2, changes);
    let write = |index, operation, name: &str, value: Option<&str>| {
        chain::write(index, operation, name, value)
    };
    batch.blocks[0].writes =
        vec![write(0, 0, "k", Some("1")), write(0, 1, "k", None), write(1, 0, "k", Some("2"))];
    batch.blocks[1].writes = vec![write(0, 0, "k", Some("3")), write(0, 1, "other", Some("4"))];
    let ids: Vec<TxId> = batch.blocks[0].outcomes.iter().map(|outcome| outcome.tx).collect();
    store.apply(batch).unwrap();
    let reader = store.reader();
    let all = reader.history(b"k", None, 10).unwrap();
    let places: Vec<_> = all.iter().map(|it| (it.height.get(), it.index, it.operation)).collect();
    assert_eq!(places, [(2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 0, 0)]);
    assert_eq!(all[2].value, None);
    assert_eq!(all[3].value, Some(Bytes::from_static(b"1")));
    assert_eq!((all[1].tx, all[3].tx), (ids[1], ids[0]));
    assert_eq!(reader.history(b"k", None, 2).unwrap(), all[..2]);
    assert_eq!(reader.history(b"k", Some((height(1), 1, 0)), 1).unwrap(), all[2..3]);
    assert!(reader.history(b"none", None, 10).unwrap().is_empty());
    // Any place may be named, also one that nothing can stand at.
    let before = |at: u64, index, operation| {
        reader.history(b"k", Some((height(at), index, operation)), 10).unwrap()
    };
    assert_eq!(before(1, 0, 255), all[2..]);
    assert_eq!(before(1, u32::MAX, 0), all[1..]);
    for at in [3, 1 << 42, 1 << 63, u64::MAX] {
        assert_eq!(before(at, u32::MAX, u8::MAX), all, "{at}");
        assert_eq!(before(at, 0, 0), all, "{at}");
    }
    assert!(before(0, 0, 0).is_empty());
}

fn the_leaves_are_those_of_the_entries<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    let mut expected = MemoryLeaves::new();
    let mut tree = StateTree::new();
    for step in 0..3 {
        let mut changes = Changes::new();
        for number in 0..40 {
            let name = format!("{}", number + step * 20);
            let entry = (number % 5 != step).then(|| value(step, &name));
            changes.insert(key(&name), entry);
        }
        let batch = chain.batch(1, changes);
        let leaves = batch.leaves.clone();
        // The tree reads the leaves before the change from the store, bucket by bucket.
        let reader = store.reader();
        tree.update(&leaves, &reader).unwrap();
        expected.apply(&leaves);
        store.apply(batch).unwrap();
    }
    let reader = store.reader();
    let all: Vec<Leaf> = expected.iter().collect();
    assert_eq!(reader.leaves_after(None, 1_000).unwrap(), all);
    assert_eq!(reader.leaves_after(Some(all[4].path), 3).unwrap(), all[5..8]);
    assert_eq!(reader.leaves_after(Some(Hash::new([0xff; 32])), 3).unwrap(), []);
    let rebuilt = StateTree::rebuild(all.iter().map(|leaf| Ok::<_, ()>(*leaf))).unwrap();
    assert_eq!(rebuilt.root(), tree.root());
    for leaf in &all {
        let proof = tree.prove(leaf.path, &[], &reader).unwrap();
        assert_eq!(proof.verify(tree.root(), leaf.path).unwrap(), Some(leaf.digest));
    }
}

fn a_range_ends_at_a_certified_block<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    // Certificates for 2, for 5, and for 9, which is not there yet.
    store.apply(chain.batch(2, Changes::new())).unwrap();
    store.apply(chain.batch(3, Changes::new())).unwrap();
    let mut ahead = chain.batch(2, Changes::new());
    ahead.standing.certificate = Some(chain::certificate(chain.somewhere(9), 1));
    store.apply(ahead).unwrap();
    let mut last = chain.batch(2, Changes::new());
    last.standing.certificate = Some(chain::certificate(chain.somewhere(11), 1));
    let reader = store.reader();
    let size = chain.blocks[0].bytes().len();
    let range = |from: u64, bytes: usize| {
        let range = reader.range(height(from), bytes).unwrap()?;
        let last = range.blocks.last().unwrap().block_ref();
        assert_eq!(range.certificate.block(), last, "the certificate is for the last block");
        let first = usize::try_from(from - 1).unwrap();
        let below = chain.blocks.get(first.wrapping_sub(1)).map(|block| block.block_ref());
        assert_eq!(range.parent, below.unwrap_or(genesis().applied.block));
        assert_eq!(range.blocks, chain.blocks[first..first + range.blocks.len()]);
        Some(last.height.get())
    };
    assert_eq!(range(1, 0), Some(2), "on to a certified block, whatever it takes");
    assert_eq!(range(1, 2 * size), Some(2));
    assert_eq!(range(1, 4 * size), Some(2), "no further than the bytes when there is one");
    assert_eq!(range(1, 100 * size), Some(5));
    assert_eq!(range(3, 0), Some(5));
    assert_eq!(range(6, 100 * size), None, "nothing above is certified yet");
    assert_eq!(range(8, 0), None);
    store.apply(last).unwrap();
    assert_eq!(range(6, 0), Some(9), "the certificate that was ahead counts now");
}

fn a_better_certificate_takes_the_place_of_the_one_before<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    store.apply(chain.batch(2, Changes::new())).unwrap();
    let reader = store.reader();
    let signers = |from: u64| {
        let found = reader.certificate(height(from)).unwrap();
        found.map(|certificate| (certificate.block().height.get(), certificate.signers().len()))
    };
    assert_eq!(signers(0), Some((2, 1)));
    store.keep(chain::certificate(chain.tip(), 3).into_inner()).unwrap();
    assert_eq!(signers(2), Some((2, 3)));
    assert_eq!(signers(3), None);
    store.keep(chain::certificate(chain.blocks[0].block_ref(), 2).into_inner()).unwrap();
    assert_eq!(signers(0), Some((1, 2)));
}

fn rosters_are_in_force_from_their_block_on<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    let other = Arc::new(chain::roster(2));
    let mut batch = chain.batch(3, Changes::new());
    batch.blocks[1].roster = Some(Arc::clone(&other));
    store.apply(batch).unwrap();
    let reader = store.reader();
    let first = genesis().applied.roster;
    let expected = [(0, &first), (0, &first), (2, &other), (2, &other), (2, &other)];
    for (at, (since, roster)) in (0..).zip(expected) {
        let found = reader.roster(height(at)).unwrap().unwrap();
        assert_eq!(found, (height(since), Arc::clone(roster)), "at height {at}");
    }
}

fn every_reader_sees_what_was_applied<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    let before = store.reader();
    let copy = before.clone();
    let mut seen = BTreeMap::new();
    for count in [1, 4, 2] {
        store.apply(chain.batch(count, Changes::new())).unwrap();
        store.checkpoint().unwrap();
        for reader in [&before, &copy, &store.reader()] {
            let standing = reader.standing().unwrap().unwrap();
            assert_eq!(standing.applied.block, chain.tip());
            let certificate = standing.certificate.unwrap();
            assert_eq!(certificate.block(), chain.tip());
            *seen.entry(chain.tip().height).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [3, 3, 3]);
}

fn of_a_pruned_block_all_but_the_body_is_kept<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    // One block of six carries an item.
    store.apply(chain.batch(1, Changes::new())).unwrap();
    store.apply(chain.opening()).unwrap();
    let mut changes = Changes::new();
    put(&mut changes, 5, "k", "v");
    store.apply(chain.batch(3, changes)).unwrap();
    store.apply(chain.batch(1, Changes::new())).unwrap();
    let outcomes = store.reader().outcomes(height(1)).unwrap();
    // Pruning twice, and less than before, changes nothing more.
    for below in [2, 4, 4, 3] {
        store.prune(height(below)).unwrap();
    }
    let reader = store.reader();
    assert_eq!(reader.oldest().unwrap(), Some(height(4)));
    let whole = |at| reader.block(height(at)).unwrap().is_some();
    assert_eq!([1, 2, 3, 4, 5, 6].map(whole), [false, true, false, true, true, true]);
    for block in &chain.blocks {
        let at = block.block_ref();
        let header = reader.header(at.height).unwrap();
        assert_eq!(header.as_ref(), Some(block.signed_header()));
        assert_eq!(reader.height_of(at.hash).unwrap(), Some(at.height));
        assert_eq!(reader.state_root(at.height).unwrap(), Some(chain::root(at.height)));
    }
    assert!(reader.header(height(7)).unwrap().is_none());
    assert_eq!(reader.outcomes(height(1)).unwrap(), outcomes);
    let tx = outcomes.unwrap()[1].tx;
    let place = reader.place(tx).unwrap().unwrap();
    assert_eq!((place.block, place.index), (chain.blocks[0].block_ref(), 1));
    assert_eq!(reader.history(b"k", None, 9).unwrap().len(), 1);
    assert!(reader.range(height(2), 1 << 20).unwrap().is_none(), "not whole from there on");
    let range = reader.range(height(4), 1 << 20).unwrap().unwrap();
    assert_eq!((range.parent, range.blocks.len()), (chain.blocks[2].block_ref(), 3));
    let lowest = reader.certificate(height(0)).unwrap().unwrap();
    assert_eq!(lowest.block().height, height(5), "those below are gone");
}

fn evidence_is_kept_once_and_not_without_end<S: Store>(store: S) {
    let (mut store, _) = begun(store);
    let of = |validator, term| Convicted {
        key: chain::validator(validator),
        evidence: chain::two_votes(validator, term),
    };
    for term in [7, 7, 8] {
        store.convict(of(1, term)).unwrap();
    }
    let mut kept = vec![of(1, 7), of(1, 8)];
    assert_eq!(store.reader().convicted().unwrap(), kept);
    for term in 0..2 * EVIDENCE as u64 {
        store.convict(of(2, term)).unwrap();
    }
    kept.extend((0..EVIDENCE as u64).map(|term| of(2, term)));
    assert_eq!(store.reader().convicted().unwrap(), kept);
}
