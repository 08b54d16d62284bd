//! What replay reads of logs that are whole, and of those that are not.

use quorate_chain::block::{BlockKind, Body, Draft};
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{BlockHash, ChainId, NodeId, RosterHash, StateRoot, TimeUs};
use quorate_wal::{Memory, Options, Tag, Wal};

use super::*;
use crate::record::parts;

const GENESIS: BlockRef =
    BlockRef { term: Term::ZERO, height: Height::ZERO, hash: BlockHash::ZERO };

fn block(parent: BlockRef, term: u64, time: u64) -> Block {
    naming(Height::ZERO, parent, term, time)
}

fn naming(executed: Height, parent: BlockRef, term: u64, time: u64) -> Block {
    let draft = Draft {
        chain_id: ChainId::ZERO,
        roster_hash: RosterHash::ZERO,
        kind: BlockKind::Transactions,
        parent,
        term: Term::new(term),
        proposer: NodeId::new(0),
        time: TimeUs::new(time),
        executed,
        state_root: StateRoot::ZERO,
        body: Body { item: None, transactions: Vec::new() },
    };
    let sealed = Block::seal(draft, &SecretKey::from_seed(&[1; 32]));
    sealed.expect("a block without transactions is small").into_inner()
}

#[test]
fn blocks_that_took_the_place_of_others_of_their_term_are_found() {
    let mut replay = Replay::new(GENESIS);
    let first = block(GENESIS, 2, 0);
    let second = block(first.block_ref(), 2, 0);
    let third = block(second.block_ref(), 2, 0);
    let chain = || [&first, &second, &third].into_iter().cloned();
    replay.branch(Lsn::ZERO, GENESIS, chain());
    // The same blocks once more, and others of a later term, replace nothing that could be acked again.
    replay.branch(Lsn::ZERO, GENESIS, chain());
    replay.branch(Lsn::ZERO, first.block_ref(), [block(first.block_ref(), 3, 0)].into_iter());
    assert_eq!(replay.replaced, (Term::ZERO, Height::ZERO));
    replay.branch(Lsn::ZERO, GENESIS, chain());
    let twin = block(first.block_ref(), 2, 1);
    replay.branch(Lsn::ZERO, first.block_ref(), [twin].into_iter());
    assert_eq!(replay.replaced, (Term::new(2), Height::new(3)));
    let above = replay.replaced();
    assert!(above.blocks.is_empty());
    // The block of term 3, which has long been replaced.
    assert_eq!(above.highest, (Term::new(3), Height::new(2)));
}

#[test]
fn a_branch_cuts_all_that_stood_above_its_parent() {
    let mut replay = Replay::new(GENESIS);
    let first = block(GENESIS, 2, 0);
    let second = block(first.block_ref(), 2, 0);
    let third = block(second.block_ref(), 2, 0);
    let other = block(first.block_ref(), 3, 0);
    let stays = [first.block_ref(), other.block_ref()];
    replay.branch(Lsn::ZERO, GENESIS, [first.clone(), second, third].into_iter());
    replay.branch(Lsn::ZERO, first.block_ref(), [other].into_iter());
    let above = replay.finish().expect("it is whole");
    let held: Vec<_> = above.blocks.iter().map(|block| block.block_ref()).collect();
    assert_eq!(held, stays);
}

#[test]
fn a_block_whose_certificate_is_lost_is_not_covered() {
    let first = block(GENESIS, 1, 0);
    let second = naming(first.block_ref().height, first.block_ref(), 1, 0);
    let blocks = vec![Checked::vouch(first), Checked::vouch(second)];
    let above = Above { blocks, ..Above::default() };
    assert_eq!(above.covered(Height::ZERO), 1);
    assert_eq!(above.covered(Height::new(1)), 2);
}

/// A log of short segments.
fn small() -> Options {
    Options { segment: 8 * 512, align: 512, spares: 0, ..Options::default() }
}

/// A chain of so many blocks on the genesis.
fn chain(count: u64) -> Vec<Block> {
    let mut below = GENESIS;
    let next = |_| {
        let block = block(below, 2, 0);
        below = block.block_ref();
        block
    };
    (0..count).map(next).collect()
}

/// The chain as the parts of one branch, a block in each.
fn in_parts(blocks: &[Block]) -> Vec<(Tag, Bytes)> {
    let checked: Vec<_> = blocks.iter().cloned().map(Checked::vouch).collect();
    parts(GENESIS, &checked, 0)
}

/// What is read of parts, of which the log has none but these.
fn read(applied: BlockRef, parts: &[(Tag, Bytes)]) -> Replay {
    let mut replay = Replay::new(applied);
    for (lsn, (tag, payload)) in (1..).map(Lsn::new).zip(parts) {
        let entry = Entry::Record { kind: BRANCH, tag: *tag, payload };
        replay.visit(&Record { lsn, entry });
    }
    replay
}

fn refs(blocks: &[Block]) -> Vec<BlockRef> {
    blocks.iter().map(Block::block_ref).collect()
}

fn held(above: &Above) -> Vec<BlockRef> {
    above.blocks.iter().map(|block| block.block_ref()).collect()
}

#[test]
fn pruning_takes_no_part_of_a_branch_whose_end_is_needed() {
    let blocks = chain(20);
    let open = |disk, visit: &mut dyn FnMut(Record<'_>)| {
        let opened = Wal::open(disk, b"x", small(), Tag::ZERO, visit);
        opened.expect("the log is whole").0
    };
    for applied in 0_usize..20 {
        let mut wal = open(Memory::new(7), &mut |_| {});
        for (tag, payload) in in_parts(&blocks) {
            let entry = Entry::Record { kind: BRANCH, tag, payload: &payload };
            wal.append(&[entry]).expect("there is room");
        }
        assert!(wal.segments() > 4, "the parts stand in several segments");
        wal.prune(applied as u64 + 1).expect("the disk is good");
        let mut disk = wal.into_disk();
        disk.restart();
        let applied_ref = applied.checked_sub(1).map_or(GENESIS, |at| blocks[at].block_ref());
        let mut replay = Replay::new(applied_ref);
        let mut numbers = Vec::new();
        let visit = &mut |record: Record<'_>| {
            replay.visit(&record);
            if let Entry::Record { kind: BRANCH, payload, .. } = record.entry {
                let part = Part::from_bytes(&Bytes::copy_from_slice(payload));
                numbers.push(part.expect("it was written here").number);
            }
        };
        drop(open(disk, visit));
        assert_eq!(numbers, (0..20).collect::<Vec<u32>>(), "above {applied}");
        let above = replay.finish().expect("nothing is lost");
        assert_eq!(held(&above), refs(&blocks[applied..]), "above {applied}");
    }
}

#[test]
fn parts_whose_beginning_is_applied_are_read() {
    let blocks = chain(6);
    let parts = in_parts(&blocks);
    // So older logs were pruned: what is gone is applied.
    for gone in 1_usize..6 {
        for applied in gone..6 {
            let replay = read(blocks[applied - 1].block_ref(), &parts[gone..]);
            assert!(replay.is_whole(None));
            let above = replay.finish().expect("what is gone is applied");
            assert_eq!(held(&above), refs(&blocks[applied..]), "{gone} gone, {applied} applied");
        }
    }
}

#[test]
fn parts_whose_beginning_is_needed_are_a_loss() {
    let blocks = chain(6);
    let parts = in_parts(&blocks);
    for gone in 1_usize..6 {
        for applied in 0..gone {
            let below = applied.checked_sub(1).map_or(GENESIS, |at| blocks[at].block_ref());
            let replay = read(below, &parts[gone..]);
            assert!(!replay.is_whole(None), "{gone} gone, {applied} applied");
            let error = replay.finish().expect_err("blocks are lost");
            let found = blocks[gone].block_ref();
            assert_eq!(error, ReplayError::Headless { lsn: Lsn::new(1), found });
            assert!(error.is_loss());
        }
    }
}

#[test]
fn a_branch_that_a_crash_left_without_its_end_counts_for_nothing_unless_it_is_applied() {
    let blocks = chain(6);
    let parts = in_parts(&blocks);
    let above = read(GENESIS, &parts[..4]).finish().expect("it was never durable");
    assert_eq!(held(&above), []);
    let applied = blocks[1].block_ref();
    let replay = read(applied, &parts[..4]);
    assert!(!replay.is_whole(None));
    let error = replay.finish().expect_err("it was durable: blocks of it are applied");
    assert_eq!(error, ReplayError::Endless { above: GENESIS, applied });
    // Once a life has begun after it, what it says is not of the branch's time any more.
    let mut replay = read(applied, &parts[..4]);
    replay.visit(&Record { lsn: Lsn::new(9), entry: Entry::Preamble(b"a life") });
    assert_eq!(held(&replay.finish().expect("it was never durable")), []);
}

#[test]
fn parts_of_two_branches_are_not_put_together() {
    let blocks = chain(3);
    let twins: Vec<_> = {
        let first = block(GENESIS, 3, 1);
        let second = block(first.block_ref(), 3, 1);
        vec![first, second]
    };
    let (parts, others) = (in_parts(&blocks), in_parts(&twins));
    let replay = read(GENESIS, &[parts[0].clone(), others[1].clone()]);
    let found = twins[1].block_ref();
    let error = replay.finish().expect_err("the first part of the second branch is lost");
    assert_eq!(error, ReplayError::Headless { lsn: Lsn::new(2), found });
}
