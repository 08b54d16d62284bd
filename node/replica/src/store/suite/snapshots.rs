//! States that are frozen, staged and installed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::checked::Checked;
use quorate_chain::ids::Nonce;
use quorate_chain::state::{Changes, Grants, Nonces, StateEntry, StateKey, StateRead};
use quorate_chain::state_root::Leaf;
use quorate_consensus::judge::Proven;

use super::chain::{self, Chain, account, genesis, key};
use super::{begun, height, put};
use crate::store::{Convicted, Entries, Install, Replaced, Standing, Store, StoreReader};

pub(super) fn run<S: Store>(fresh: impl Fn() -> S) {
    a_frozen_state_stays_as_it_was(fresh());
    of_the_frozen_states_the_one_asked_for_is_kept(fresh());
    what_is_staged_is_not_part_of_the_state(fresh());
    an_installed_state_takes_the_place_of_all(fresh(), fresh());
    an_installed_state_goes_on_like_any_other(fresh(), fresh());
    an_installed_state_is_there_for_others_if_that_is_wanted(fresh(), fresh());
}

/// A state by its keys, as the changes of a chain have left it.
#[derive(Default)]
struct Model(BTreeMap<StateKey, StateEntry>);

impl Model {
    fn change(&mut self, changes: &Changes) {
        for (key, entry) in changes {
            match entry {
                Some(entry) => self.0.insert(key.clone(), entry.clone()),
                None => self.0.remove(key),
            };
        }
    }

    /// Its entries in the order of their paths.
    fn entries(&self) -> Entries {
        let mut entries: Entries = self.0.clone().into_iter().collect();
        entries.sort_by_key(|(key, _)| key.path());
        entries
    }
}

fn nonces(changes: &mut Changes, of: u8, used: u64) {
    let mut nonces = Nonces::default();
    nonces.take(Nonce::new(used)).unwrap();
    changes.insert(StateKey::Nonces(account(of)), Some(StateEntry::Nonces(nonces)));
}

/// Applies a block that makes these changes.
fn apply<S: Store>(store: &mut S, chain: &mut Chain, model: &mut Model, changes: Changes) {
    let batch = chain.batch(1, changes);
    model.change(&batch.changes);
    store.apply(batch).unwrap();
}

/// Three blocks' changes: a little of everything in the first, what moves it in the others.
fn changes(step: u64) -> Changes {
    let mut changes = Changes::new();
    match step {
        0 => {
            for name in ["a", "b", "c", "d", "e"] {
                put(&mut changes, 0, name, name);
            }
            nonces(&mut changes, 1, 5);
            let grants = StateEntry::Grants(Grants([Bytes::from_static(b"a/")].into()));
            changes.insert(StateKey::Grants(account(1)), Some(grants));
        }
        1 => {
            put(&mut changes, 0, "a", "again");
            put(&mut changes, 0, "new", "new");
            changes.insert(key("b"), None);
            nonces(&mut changes, 1, 9);
            nonces(&mut changes, 2, 1);
        }
        _ => {
            put(&mut changes, 0, "b", "back");
            put(&mut changes, 0, "a", "and again");
            changes.insert(key("new"), None);
            changes.insert(StateKey::Grants(account(1)), None);
            nonces(&mut changes, 1, 10);
        }
    }
    changes
}

/// All entries of a frozen state, read in pieces of about so many bytes.
fn pieces<R: StoreReader>(reader: &R, at: u64, bytes: usize) -> Option<Entries>
where
    <R as StateRead>::Error: std::fmt::Debug,
{
    let (mut all, mut after) = (Entries::new(), None);
    loop {
        let piece = reader.frozen_entries(height(at), after, bytes).unwrap()?;
        let Some((last, _)) = piece.last() else { return Some(all) };
        after = Some(last.path());
        all.extend(piece);
    }
}

fn a_frozen_state_stays_as_it_was<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    let mut model = Model::default();
    let mut then = BTreeMap::new();
    for step in 0..3 {
        apply(&mut store, &mut chain, &mut model, changes(step));
        let at = chain.tip().height;
        if step < 2 {
            let newest = then.keys().last().copied().map(height);
            assert!(store.freeze(newest).unwrap(), "this store can freeze");
            then.insert(at.get(), (model.entries(), chain.tip()));
        }
        let reader = store.reader();
        for (at, (entries, block)) in &then {
            for bytes in [0, 60, 1 << 20] {
                assert_eq!(pieces(&reader, *at, bytes).as_ref(), Some(entries), "{bytes} a piece");
            }
            let one = reader.frozen_entries(height(*at), None, 0).unwrap().unwrap();
            assert_eq!(one.len(), 1, "at least one, and no more than asked for");
            let frozen = reader.frozen().unwrap();
            let found = frozen.iter().find(|it| it.applied.block == *block).unwrap();
            assert_eq!(found.state_root, chain::root(height(*at)));
            assert_eq!(found.size.map(|size| size.count), Some(*at));
        }
    }
    assert!(store.reader().frozen_entries(height(3), None, 9).unwrap().is_none());
}

fn of_the_frozen_states_the_one_asked_for_is_kept<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    let mut model = Model::default();
    assert!(store.reader().frozen().unwrap().is_empty());
    let mut then = BTreeMap::new();
    // The newest one stays, then an older one in the place of that, then none, and one that there is not.
    for (step, keep, left) in [
        (0, None, vec![1]),
        (1, Some(1), vec![2, 1]),
        (2, Some(2), vec![3, 2]),
        (0, Some(2), vec![4, 2]),
        (1, Some(2), vec![5, 2]),
        (2, None, vec![6]),
        (0, Some(1), vec![7]),
    ] {
        apply(&mut store, &mut chain, &mut model, changes(step));
        then.insert(chain.tip().height.get(), model.entries());
        store.freeze(keep.map(height)).unwrap();
        let reader = store.reader();
        let frozen = reader.frozen().unwrap();
        let heights: Vec<_> = frozen.iter().map(|it| it.applied.block.height.get()).collect();
        assert_eq!(heights, left);
        for (at, entries) in &then {
            let kept = left.contains(at).then(|| entries.clone());
            assert_eq!(pieces(&reader, *at, 100), kept, "{at} of {left:?}");
        }
    }
}

fn leaves(entries: &Entries) -> Vec<Leaf> {
    let leaf =
        |(key, entry): &(StateKey, StateEntry)| Leaf { path: key.path(), digest: entry.digest() };
    entries.iter().map(leaf).collect()
}

fn what_is_staged_is_not_part_of_the_state<S: Store>(store: S) {
    let (mut store, mut chain) = begun(store);
    let mut model = Model::default();
    apply(&mut store, &mut chain, &mut model, changes(0));
    let mut other = Model::default();
    other.change(&changes(1));
    let staged = other.entries();
    for _ in 0..2 {
        // The first ones take the place of all that were staged before.
        assert!(store.stage(staged[..1].to_vec(), true).unwrap(), "this store can stage");
        assert_eq!(store.reader().staged_leaves(None, 10).unwrap(), leaves(&staged[..1].to_vec()));
        store.stage(staged[1..].to_vec(), false).unwrap();
    }
    let reader = store.reader();
    assert_eq!(reader.staged_leaves(None, 100).unwrap(), leaves(&staged));
    let after = Some(staged[0].0.path());
    assert_eq!(reader.staged_leaves(after, 1).unwrap(), leaves(&staged)[1..2]);
    assert_eq!(reader.leaves_after(None, 100).unwrap(), leaves(&model.entries()));
    assert!(reader.value(&Bytes::from_static(b"new")).unwrap().is_none());
}

/// A chain of three blocks, its state, and the standing that a snapshot of it brings.
fn source<S: Store>(source: S) -> (Chain, Model, Standing) {
    let (mut store, mut chain) = begun(source);
    let mut model = Model::default();
    for step in 0..3 {
        apply(&mut store, &mut chain, &mut model, changes(step));
    }
    let standing = store.reader().standing().unwrap().unwrap();
    (chain, model, standing)
}

fn replaced() -> Replaced {
    let certificate = chain::certificate(genesis().applied.block, 1).into_inner();
    let roster = Arc::new(chain::roster(3));
    let proof = Proven { certificate: Checked::vouch(certificate), roster };
    Replaced { applied: genesis().applied.block, proof }
}

/// Installs a state in a store that holds another chain.
fn install<S: Store>(store: S, chain: &Chain, model: &Model, standing: &Standing) -> S {
    installed(store, chain, model, standing, false)
}

fn installed<S: Store>(
    store: S,
    source: &Chain,
    model: &Model,
    standing: &Standing,
    frozen: bool,
) -> S {
    let (mut store, mut chain) = begun(store);
    let mut changes = Changes::new();
    put(&mut changes, 0, "old", "old");
    put(&mut changes, 0, "a", "old");
    store.apply(chain.batch(2, changes)).unwrap();
    store.freeze(None).unwrap();
    store.stage(model.entries(), true).unwrap();
    let (key, evidence) = (chain::validator(1), chain::two_votes(1, 1));
    store.convict(Convicted { key, evidence }).unwrap();
    let standing = Standing { replaced: Some(replaced()), ..standing.clone() };
    let (header, steps) = (source.header(), Vec::new());
    let install = Install { standing, header, frozen, steps };
    assert!(store.install(install).unwrap(), "this store can install");
    store
}

fn an_installed_state_takes_the_place_of_all<S: Store>(here: S, there: S) {
    let (chain, model, standing) = source(there);
    let store = install(here, &chain, &model, &standing);
    let reader = store.reader();
    let found = reader.standing().unwrap().unwrap();
    assert_eq!(found.applied.block, chain.tip());
    assert_eq!((found.state_root, found.outcomes), (standing.state_root, standing.outcomes));
    assert_eq!(found.size, standing.size);
    assert_eq!(found.replaced, Some(replaced()));
    assert_eq!(reader.convicted().unwrap().len(), 1, "what was proven stays proven");
    assert_eq!(reader.leaves_after(None, 100).unwrap(), leaves(&model.entries()));
    assert!(reader.staged_leaves(None, 9).unwrap().is_empty());
    assert!(reader.frozen().unwrap().is_empty(), "what was frozen before is of another life");
    assert!(reader.oldest().unwrap().is_none(), "with a snapshot come no blocks");
    assert!(reader.block(height(1)).unwrap().is_none());
    assert!(
        reader.block(height(3)).unwrap().is_none() && reader.header(height(2)).unwrap().is_none()
    );
    assert_eq!(
        reader.header(height(3)).unwrap(),
        Some(chain.header()),
        "that of the block it stands on"
    );
    assert!(reader.outcomes(height(1)).unwrap().is_none());
    assert_eq!(reader.state_root(height(3)).unwrap(), Some(chain::root(height(3))));
    assert!(reader.value(&Bytes::from_static(b"old")).unwrap().is_none());
    for (key, entry) in &model.0 {
        let (StateKey::Value(key), StateEntry::Value(value)) = (key, entry) else { continue };
        assert_eq!(reader.value(key).unwrap().as_ref(), Some(value));
        assert!(reader.history(key, None, 9).unwrap().is_empty(), "nor does the history");
        assert_eq!(reader.scan(key, None, 1).unwrap(), [(key.clone(), value.clone())]);
    }
    let (since, roster) = reader.roster(height(9)).unwrap().unwrap();
    assert_eq!((since, &roster), (standing.applied.roster_since, &standing.applied.roster));
    let certificate = reader.certificate(height(0)).unwrap().unwrap();
    assert_eq!(certificate.block(), chain.tip());
}

fn an_installed_state_goes_on_like_any_other<S: Store>(here: S, there: S) {
    let (mut chain, mut model, standing) = source(there);
    let mut store = install(here, &chain, &model, &standing);
    let mut after = Changes::new();
    put(&mut after, 0, "a", "after");
    nonces(&mut after, 3, 7);
    changes(0).into_keys().filter(|it| *it == key("c")).for_each(|it| drop(after.insert(it, None)));
    apply(&mut store, &mut chain, &mut model, after);
    store.freeze(None).unwrap();
    let frozen = model.entries();
    let mut later = Changes::new();
    put(&mut later, 0, "d", "later");
    apply(&mut store, &mut chain, &mut model, later);
    let reader = store.reader();
    assert_eq!(pieces(&reader, 4, 80), Some(frozen));
    assert_eq!(reader.leaves_after(None, 100).unwrap(), leaves(&model.entries()));
    let history = reader.history(b"a", None, 9).unwrap();
    assert_eq!(history.len(), 1, "the history begins above the snapshot");
    assert_eq!(history[0].value, Some(Bytes::from_static(b"after")));
    assert!(reader.standing().unwrap().unwrap().replaced.is_none());
    assert_eq!(reader.oldest().unwrap(), Some(height(4)));
    let range = reader.range(height(4), 1 << 20).unwrap().unwrap();
    assert_eq!(range.parent, standing.applied.block);
    assert_eq!(range.blocks, chain.blocks[3..]);
    assert!(reader.range(height(3), 1 << 20).unwrap().is_none());
    assert!(reader.place(chain.blocks[4].body().transactions[0].id()).unwrap().is_some());
    assert!(reader.place(chain.blocks[0].body().transactions[0].id()).unwrap().is_none());
}

fn an_installed_state_is_there_for_others_if_that_is_wanted<S: Store>(here: S, there: S) {
    let (mut chain, mut model, standing) = source(there);
    let mut store = installed(here, &chain, &model, &standing, true);
    let installed = model.entries();
    let mut after = Changes::new();
    put(&mut after, 0, "a", "after");
    nonces(&mut after, 3, 7);
    apply(&mut store, &mut chain, &mut model, after);
    let reader = store.reader();
    let frozen = reader.frozen().unwrap();
    assert_eq!(frozen.len(), 1, "and what was frozen before is gone");
    assert_eq!((frozen[0].state_root, frozen[0].size), (standing.state_root, standing.size));
    assert_eq!(frozen[0].applied.block, standing.applied.block);
    assert_eq!(pieces(&reader, 3, 80), Some(installed));
    // It goes like any other.
    store.freeze(None).unwrap();
    assert_eq!(pieces(&store.reader(), 3, 80), None);
}
