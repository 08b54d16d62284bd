//! A true history, and every way in which one can be false.

use quorate_chain::ids::{BlockHash, Height, NodeId, Term, TxId};

use super::*;
use crate::chaos::history::{Action, Change, Tx};

fn tx(number: u8) -> TxId {
    TxId::new([number; 32])
}

fn hash(number: u8) -> BlockHash {
    BlockHash::new([number; 32])
}

fn place(height: u64, index: u32) -> Place {
    Place { height: Height::new(height), index }
}

fn block(height: u8, txs: Vec<Tx>) -> Block {
    Block {
        height: Height::new(height.into()),
        hash: hash(height),
        parent: hash(height - 1),
        term: Term::new(1),
        proposer: NodeId::new(0),
        txs,
    }
}

fn does(number: u8, key: &str, action: Action, applied: bool) -> Tx {
    Tx { id: tx(number), changes: vec![Change { key: key.to_owned(), action }], applied }
}

fn write(number: u8, (begin, end): (Micros, Micros), at: Place, applied: bool) -> Operation {
    let hash = hash(u8::try_from(at.height.get()).unwrap());
    let answer = Answer::Ordered { place: at, hash, applied };
    let what = What::Write { tx: tx(number), again: false };
    Operation { client: 0, begin, end, what, answer }
}

fn entry(value: &str, height: u64, number: u8) -> Entry {
    Entry { value: value.to_owned(), height: Height::new(height), tx: tx(number) }
}

fn read(key: &str, (begin, end): (Micros, Micros), height: u64, entry: Option<Entry>) -> Operation {
    let what = What::Read { key: key.to_owned(), local: false };
    let answer = Answer::Value { entry, read_height: Height::new(height) };
    Operation { client: 1, begin, end, what, answer }
}

fn sighting(height: u8, seen: u8, leader: u32) -> Sighting {
    Sighting {
        at: 0,
        node: NodeId::new(2),
        term: Term::new(1),
        leader: Some(NodeId::new(leader)),
        height: Height::new(height.into()),
        hash: hash(seen),
    }
}

/// Two keys, five transactions of which one fails, and nothing wrong.
fn truth() -> History {
    let text = str::to_owned;
    let chain = vec![
        block(4, vec![]),
        block(5, vec![does(1, "a", Action::Put(text("1")), true)]),
        block(
            6,
            vec![
                does(2, "a", Action::Put(text("2")), false),
                does(3, "b", Action::Cas(None, text("3")), true),
            ],
        ),
        block(7, vec![does(4, "a", Action::Cas(Some(text("1")), text("4")), true)]),
        block(8, vec![does(5, "b", Action::Remove, true)]),
    ];
    let operations = vec![
        write(1, (10, 20), place(5, 0), true),
        read("a", (30, 40), 5, Some(entry("1", 5, 1))),
        write(2, (50, 60), place(6, 0), false),
        write(3, (50, 61), place(6, 1), true),
        read("b", (70, 80), 6, Some(entry("3", 6, 3))),
        write(4, (90, 100), place(7, 0), true),
        // Under way at the same time as what removes it, so either is right.
        read("b", (105, 130), 7, Some(entry("3", 6, 3))),
        write(5, (110, 120), place(8, 0), true),
        read("b", (140, 150), 8, None),
    ];
    let blocks = chain.iter().map(|block| (block.height, block.hash)).collect();
    let entries = vec![("a".to_owned(), entry("4", 7, 4))];
    let holdings = vec![Holdings { node: NodeId::new(0), blocks, entries, as_of: Height::new(8) }];
    History { operations, sightings: vec![sighting(6, 6, 0)], chain, holdings }
}

/// What is found in the true history once this has been done to it.
fn found(lie: impl FnOnce(&mut History)) -> Vec<Violation> {
    let mut history = truth();
    lie(&mut history);
    check(&history)
}

fn answer(history: &mut History, at: usize) -> &mut Answer {
    &mut history.operations[at].answer
}

#[test]
fn the_truth_is_believed() {
    assert_eq!(check(&truth()), []);
}

#[test]
fn an_acknowledged_transaction_that_is_gone_is_missed() {
    let lost = Violation::Lost { tx: tx(5), said: place(8, 0) };
    assert!(found(|history| drop(history.chain[4].txs.pop())).contains(&lost));
}

#[test]
fn a_transaction_that_stands_twice_is_seen() {
    let twice = Violation::Doubled { tx: tx(3), places: vec![place(6, 1), place(8, 1)] };
    let lie = |history: &mut History| {
        let again = history.chain[2].txs[1].clone();
        history.chain[4].txs.push(Tx { applied: true, ..again });
    };
    assert!(found(lie).contains(&twice));
}

#[test]
fn a_transaction_that_was_acknowledged_elsewhere_is_seen() {
    let moved = Violation::Moved { tx: tx(4), said: place(7, 1), stands: place(7, 0) };
    let lie = |history: &mut History| {
        *answer(history, 5) = Answer::Ordered { place: place(7, 1), hash: hash(7), applied: true };
    };
    assert!(found(lie).contains(&moved));
    // Another block at the same height is another place.
    let moved = Violation::Moved { tx: tx(4), said: place(7, 0), stands: place(7, 0) };
    let lie = |history: &mut History| {
        *answer(history, 5) = Answer::Ordered { place: place(7, 0), hash: hash(9), applied: true };
    };
    assert!(found(lie).contains(&moved));
}

#[test]
fn what_had_come_to_nothing_must_not_stand_and_what_is_in_doubt_may() {
    let denied = Violation::Denied { tx: tx(4), stands: place(7, 0) };
    assert_eq!(found(|history| *answer(history, 5) = Answer::Nothing), [denied]);
    assert_eq!(found(|history| *answer(history, 5) = Answer::Unknown), []);
}

#[test]
fn an_outcome_against_the_rules_is_seen_whoever_tells_it() {
    let wrong =
        |said: bool| Violation::Outcome { tx: tx(2), at: place(6, 0), applied: !said, said };
    assert_eq!(found(|history| history.chain[2].txs[0].applied = true), [wrong(true)]);
    let lie = |history: &mut History| {
        *answer(history, 2) = Answer::Ordered { place: place(6, 0), hash: hash(6), applied: true };
    };
    assert_eq!(found(lie), [wrong(true)]);
}

#[test]
fn what_became_of_others_transactions_is_not_judged() {
    let nothing = |applied| Tx { id: tx(99), changes: Vec::new(), applied };
    for applied in [true, false] {
        assert_eq!(found(|history| history.chain[4].txs.push(nothing(applied))), []);
    }
}

#[test]
fn a_transaction_takes_effect_in_all_its_parts_or_in_none() {
    let lie = |history: &mut History| {
        // Its second part fails, so the first must not be seen; yet it is.
        let failing = Change { key: "b".to_owned(), action: Action::Put("4".to_owned()) };
        history.chain[3].txs[0].changes.push(failing);
    };
    let found = found(lie);
    assert!(found.iter().any(|it| matches!(it, Violation::Outcome { applied: false, .. })));
    assert!(found.iter().any(|it| matches!(it, Violation::State { key, .. } if key == "a")));
}

#[test]
fn a_write_below_what_was_known_before_it_is_out_of_order() {
    let order = Violation::Order { asked: 65, later: place(6, 0), earlier: place(6, 1) };
    assert_eq!(found(|history| history.operations[2].begin = 65), [order]);
    // What was sent again stands where it stood.
    let lie = |history: &mut History| {
        history.operations[2].begin = 65;
        history.operations[2].what = What::Write { tx: tx(2), again: true };
    };
    assert_eq!(found(lie), []);
}

#[test]
fn a_write_below_what_a_read_has_seen_is_out_of_order() {
    let order =
        Violation::Order { asked: 85, later: place(6, 0), earlier: Place::end_of(Height::new(6)) };
    assert_eq!(found(|history| history.operations[2].begin = 85), [order]);
}

#[test]
fn a_read_that_does_not_see_what_was_known_before_it_is_stale() {
    let stale = |height| Violation::Stale {
        key: "b".to_owned(),
        asked: 140,
        read_height: Height::new(height),
        earlier: place(8, 0),
    };
    let old = || Some(entry("3", 6, 3));
    let lie = |history: &mut History| history.operations[8] = read("b", (140, 150), 7, old());
    assert_eq!(found(lie), [stale(7)]);
    // One that does not ask for more may be behind.
    let lie = |history: &mut History| {
        history.operations[8] = read("b", (140, 150), 7, old());
        history.operations[8].what = What::Read { key: "b".to_owned(), local: true };
    };
    assert_eq!(found(lie), []);
}

#[test]
fn a_read_that_sees_less_than_an_earlier_read_is_stale() {
    // Nobody has been told of the removal but the one who read the key before.
    let lie = |history: &mut History| {
        *answer(history, 7) = Answer::Unknown;
        history.operations.push(read("b", (160, 170), 7, Some(entry("3", 6, 3))));
    };
    assert!(matches!(&found(lie)[..], [Violation::Stale { asked: 160, .. }]));
}

#[test]
fn a_value_that_the_key_did_not_have_is_seen() {
    for wrong in [None, Some(entry("2", 5, 1)), Some(entry("1", 6, 1)), Some(entry("1", 5, 2))] {
        let lie = |history: &mut History| history.operations[1] = read("a", (30, 40), 5, wrong);
        assert!(matches!(&found(lie)[..], [Violation::Value { .. }]));
    }
}

#[test]
fn a_committed_block_that_is_another_one_later_is_seen() {
    let lie = |history: &mut History| history.sightings.push(sighting(7, 9, 0));
    assert!(matches!(&found(lie)[..], [Violation::Changed { .. }]));
}

#[test]
fn a_second_leader_of_a_term_is_seen() {
    let two = |one, other| Violation::TwoLeaders {
        term: Term::new(1),
        one: NodeId::new(one),
        other: NodeId::new(other),
    };
    assert_eq!(found(|history| history.sightings.push(sighting(7, 7, 3))), [two(0, 3)]);
    assert_eq!(found(|history| history.chain[4].proposer = NodeId::new(4)), [two(0, 4)]);
}

#[test]
fn a_chain_that_is_none_is_seen() {
    let broken = || vec![Violation::Broken { height: Height::new(7) }];
    assert_eq!(found(|history| history.chain[3].parent = hash(9)), broken());
    let lie = |history: &mut History| history.chain[2].term = Term::new(2);
    assert_eq!(found(lie), broken());
}

#[test]
fn a_node_without_the_others_blocks_or_state_is_seen() {
    let unequal = |height| Violation::Unequal { node: NodeId::new(0), height: Height::new(height) };
    assert_eq!(found(|history| history.holdings[0].blocks.truncate(4)), [unequal(8)]);
    assert_eq!(found(|history| history.holdings[0].blocks[1].1 = hash(9)), [unequal(5)]);
    for wrong in [vec![], vec![("a".to_owned(), entry("1", 5, 1))]] {
        let lie = |history: &mut History| history.holdings[0].entries = wrong;
        assert!(matches!(&found(lie)[..], [Violation::State { .. }]));
    }
    let more = || ("b".to_owned(), entry("3", 6, 3));
    let found = found(|history| history.holdings[0].entries.push(more()));
    assert!(matches!(&found[..], [Violation::State { .. }]));
}

#[test]
fn an_answer_that_is_none_is_seen() {
    let lie = |history: &mut History| *answer(history, 1) = Answer::Nonsense("<html>".to_owned());
    assert!(matches!(&found(lie)[..], [Violation::Nonsense { .. }]));
}
