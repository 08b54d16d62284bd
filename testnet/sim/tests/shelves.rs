//! The product's own store under the replica.

use quorate_chain::ids::{Hash, Height, StateRoot, Term};
use quorate_chain::state::Changes;
use quorate_consensus::log::Anchor;
use quorate_replica::store::{Standing, Store, StoreReader};
use quorate_sim::dials::{Choice, Dials, Fault};
use quorate_sim::dice::Dice;
use quorate_sim::genesis::found;
use quorate_sim::life::{Outcome, live_in};
use quorate_sim::shelf::{Keeping, Shelf};
use quorate_sim::world::World;

use super::planted::{anchor, certificate, genesis_ref, sealed};

fn life(choice: &Choice, keeping: Keeping) -> Outcome {
    let mut dials = Dials::draw(choice);
    (dials.keeping, dials.late_checkpoints) = (keeping, 0);
    let outcome = live_in(choice, World::with(choice, dials));
    let failure = &outcome.failure;
    assert!(failure.is_none(), "seed {}, {keeping:?}: {failure:?}", choice.seed);
    outcome
}

#[test]
fn a_world_without_power_cuts_is_the_same_on_either_store() {
    for seed in 1..=4 {
        let without = vec![Fault::Power, Fault::Blackout];
        let choice = Choice { without, ..super::choice(seed, 20) };
        let (memory, sqlite) =
            (life(&choice, Keeping::Memory), life(&choice, Keeping::SqliteAtOnce));
        assert_eq!((memory.trace, memory.tally), (sqlite.trace, sqlite.tally), "seed {seed}");
    }
}

#[test]
fn worlds_on_the_product_s_store_keep_every_promise_and_can_be_lived_again() {
    for seed in 1..=6 {
        let choice = super::choice(seed, 20);
        let (one, two) = (life(&choice, Keeping::Sqlite), life(&choice, Keeping::Sqlite));
        assert_eq!(one.trace, two.trace, "seed {seed}");
    }
}

/// Certificates that are kept after a checkpoint, of which chance decides what a power cut takes.
const AT_RISK: u64 = 5;

/// How many certificates are there after a power cut, if they are the first ones.
fn survivors(seed: u64) -> u64 {
    let chain_id = found(&Dials::calm(3)).chain_id;
    let mut shelf = Shelf::new(Keeping::SqliteAtOnce, 0, chain_id);
    let mut store = shelf.open().unwrap();
    let genesis =
        Anchor { block: genesis_ref(), kind: None, ..anchor(&sealed(genesis_ref(), 1, 0)) };
    let (state_root, outcomes) = (StateRoot::ZERO, Hash::ZERO);
    let standing = Standing {
        applied: genesis,
        state_root,
        size: None,
        outcomes,
        certificate: None,
        replaced: None,
    };
    store.begin(standing, &Changes::new()).unwrap();
    let mut parent = genesis_ref();
    for height in 1..=1 + AT_RISK {
        let block = sealed(parent, 1, height);
        store.keep(certificate(&block, &[0, 1])).unwrap();
        parent = block.block_ref();
        assert_eq!(parent.term, Term::new(1));
        if height == 1 {
            store.checkpoint().unwrap();
        }
    }
    // A process that is killed loses nothing.
    let left = shelf.left();
    drop(store);
    shelf.outlive(left);
    assert_eq!(kept(&shelf), 1 + AT_RISK);
    let store = shelf.open().unwrap();
    let left = shelf.left();
    drop(store);
    shelf.outlive(left);
    shelf.power_cut(&mut Dice::new(seed, 0));
    kept(&shelf)
}

/// How many certificates are there, without a gap; leaves things as a killed process does.
fn kept(shelf: &Shelf) -> u64 {
    let mut copy = Shelf::new(Keeping::Sqlite, 0, found(&Dials::calm(3)).chain_id);
    copy.replace(Some(shelf.copy()));
    let reader = copy.open().unwrap().reader();
    let there = |height: u64| {
        let found = reader.certificate(Height::new(height)).unwrap();
        found.is_some_and(|found| found.block().height == Height::new(height))
    };
    let count = (1..=1 + AT_RISK).take_while(|height| there(*height)).count() as u64;
    assert!(!(count + 1..=1 + AT_RISK).any(there), "the newest is lost first");
    count
}

#[test]
fn a_power_cut_takes_the_newest_of_what_was_not_synced() {
    let found: Vec<u64> = (0..40).map(survivors).collect();
    assert!(found.iter().all(|count| *count >= 1), "what was synced is there: {found:?}");
    assert!(found.contains(&1) && found.iter().any(|count| *count > 2), "{found:?}");
}
