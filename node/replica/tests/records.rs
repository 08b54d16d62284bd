//! What stands in the log, byte for byte, and that no bytes there cause a panic.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bolero::check;
use bytes::Bytes;
use common::Group;
use quorate_chain::block::Block;
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::ids::{BlockRef, Hash, Height, TxId};
use quorate_chain::state::{StateEntry, StateKey, Value};
use quorate_consensus::ballot::Ballot;
use quorate_consensus::config::Incarnation;
use quorate_replica::record::{BRANCH, CERTIFICATE, Life, Part, START, parts};
use quorate_replica::snapshot::{Ask, Piece, Wanted};
use quorate_replica::store::{Store, StoreReader};
use quorate_wal::Tag;

const TRIES: usize = 1_500;

/// The blocks of a small chain, and the block that the first one stands on.
fn blocks() -> (BlockRef, Vec<Block>) {
    let mut group = Group::new(1);
    group.elect();
    for nonce in 0..4 {
        group.submit(0, common::update(group.chain_id, 1, nonce));
        group.settle();
    }
    let reader = group.node(0).store.reader();
    let block = |height| reader.block(Height::new(height)).unwrap();
    (group.chain_id.genesis_ref(), (1..).map_while(block).collect())
}

fn life() -> Life {
    let group = {
        let mut group = Group::new(1);
        group.elect();
        group
    };
    let ballot = group.replica(0).driver.core().ballot().clone();
    let ballot = Ballot { recovering: true, ..ballot };
    Life { incarnation: Incarnation(0x0102_0304_0506_0708), boot: 3, ballot }
}

#[test]
fn the_first_preamble_is_these_bytes() {
    let ballot = Ballot::default();
    let life = Life { incarnation: Incarnation(7), boot: 1, ballot };
    let expected = [
        [0, 0, 0, 0, 0, 0, 0, 7].as_slice(), // incarnation
        &[0, 0, 0, 0, 0, 0, 0, 1],           // boot
        &[1],                                // a ballot
        &[0; 8],                             // term
        &[0],                                // no proof
        &[1],                                // no vote
        &[0],                                // not recovering
    ]
    .concat();
    assert_eq!(life.to_bytes(), expected);
    assert_eq!(Life::from_bytes(&life.to_bytes()), Ok(life));
}

#[test]
fn a_preamble_comes_back_as_it_was() {
    let life = life();
    assert!(life.ballot.proof.is_some());
    assert_eq!(Life::from_bytes(&life.to_bytes()), Ok(life));
}

#[test]
fn a_part_is_these_bytes() {
    let (above, blocks) = blocks();
    let part = Part { number: 1, more: true, above, blocks: blocks[..2].to_vec() };
    let expected = [
        [0, 0, 0, 1].as_slice(), // number
        &[1],                    // more follow
        &[0; 16],                // term and height of the block below
        above.hash.as_bytes(),
        &[0, 0, 0, 2], // blocks
        blocks[0].bytes(),
        blocks[1].bytes(),
    ]
    .concat();
    assert_eq!(part.to_bytes(), expected);
    assert_eq!(Part::from_bytes(&part.to_bytes()), Ok(part));
}

#[test]
fn kinds_have_these_numbers() {
    assert_eq!([BRANCH, START, CERTIFICATE], [1, 2, 3]);
}

#[test]
fn a_branch_is_cut_into_parts_that_fit() {
    let (above, blocks) = blocks();
    let checked: Vec<_> = blocks.iter().cloned().map(Checked::vouch).collect();
    let most = blocks.iter().map(|block| block.bytes().len()).max().unwrap();
    for limit in [0, most + 60, 2 * most + 60, usize::MAX] {
        let made = parts(above, &checked, limit);
        let mut seen = Vec::new();
        for (number, (tag, bytes)) in (0_u32..).zip(&made) {
            let part = Part::from_bytes(bytes).unwrap();
            assert!(bytes.len() <= limit || part.blocks.len() == 1, "it fits");
            assert_eq!((part.number, part.above), (number, above));
            assert_eq!(part.more, number as usize + 1 < made.len());
            let last = blocks.last().unwrap().block_ref();
            assert_eq!(*tag, Tag { term: last.term.get(), height: last.height.get() });
            seen.extend(part.blocks);
        }
        assert_eq!(seen, blocks, "with {limit}");
    }
}

/// What decodes is encoded as it came.
fn probe<T: Decode + Encode>(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    T::from_bytes(&bytes).is_ok_and(|value| {
        assert_eq!(value.to_bytes(), bytes);
        true
    })
}

#[test]
fn fuzz_part_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::<Part>(bytes);
    });
}

#[test]
fn fuzz_snapshot_ask_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::<Ask>(bytes);
    });
}

#[test]
fn fuzz_snapshot_piece_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::<Piece>(bytes);
    });
}

#[test]
fn what_asks_for_a_snapshot_is_these_bytes() {
    let block = blocks().0;
    let place = [[0; 16].as_slice(), block.hash.as_bytes()].concat();
    let ask = Ask { block, what: Wanted::Head };
    assert_eq!(ask.to_bytes(), [place.as_slice(), &[1]].concat());
    let ask = Ask { block, what: Wanted::Entries { after: None } };
    assert_eq!(ask.to_bytes(), [place.as_slice(), &[2, 0]].concat());
    let ask = Ask { block, what: Wanted::Entries { after: Some(Hash::new([7; 32])) } };
    assert_eq!(ask.to_bytes(), [place.as_slice(), &[2, 1], &[7; 32]].concat());
    let ask = Ask { block, what: Wanted::Steps { above: Height::new(0x0102) } };
    assert_eq!(ask.to_bytes(), [place.as_slice(), &[3, 0, 0, 0, 0, 0, 0, 1, 2]].concat());
    let entries = vec![(StateKey::Value(Bytes::from_static(b"k")), entry())];
    let expected = [
        [2, 0, 0, 0, 1].as_slice(), // entries, one
        &[1, 0, 0, 0, 1, b'k'],     // the value of a key
        &[1, 0, 0, 0, 0, 0, 0, 0, 9],
        &[3; 32],
        &[0, 0, 0, 2, b'o', b'k'],
    ]
    .concat();
    assert_eq!(Piece::Entries(entries).to_bytes(), expected);
    assert_eq!(Piece::Gone.to_bytes(), [3].as_slice());
    assert_eq!(Piece::Steps(Vec::new()).to_bytes(), [4, 0, 0, 0, 0].as_slice());
}

/// A value, written at height 9.
fn entry() -> StateEntry {
    let (height, tx) = (Height::new(9), TxId::new([3; 32]));
    StateEntry::Value(Value { height, tx, bytes: Bytes::from_static(b"ok") })
}

#[test]
fn fuzz_life_bytes() {
    check!().with_iterations(TRIES).for_each(|bytes: &[u8]| {
        probe::<Life>(bytes);
    });
}

#[test]
fn a_changed_byte_is_refused_or_means_something_else() {
    let (above, blocks) = blocks();
    let part = Part { number: 0, more: false, above, blocks: blocks[..1].to_vec() };
    for bytes in [part.to_bytes(), life().to_bytes()] {
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = bytes.to_vec();
                changed[at] ^= change;
                probe::<Part>(&changed);
                probe::<Life>(&changed);
            }
            assert!(!probe::<Part>(&bytes[..at]) && !probe::<Life>(&bytes[..at]), "cut at {at}");
        }
    }
}
