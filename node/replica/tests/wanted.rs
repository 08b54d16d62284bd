//! A frozen state that somebody is getting is kept until it is there, but not for ever.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Carried, Group, limits, update};
use quorate_chain::ids::{BlockRef, Height, NodeId};
use quorate_consensus::event::Fetched;
use quorate_replica::fetch::fetch;
use quorate_replica::io::FetchJob;
use quorate_replica::setup::Limits;
use quorate_replica::snapshot::{Ask, Piece, Wanted};
use quorate_replica::store::{Store, StoreReader};

/// How many heights lie between two frozen states.
const EVERY: u64 = 5;

/// A group that goes on and forgets old blocks while node 2 is away.
struct Busy {
    group: Group,
    leader: u32,
    nonce: u64,
}

impl Busy {
    fn new() -> Self {
        let limits =
            Limits { snapshot_every: EVERY, checkpoint_every: 4, keep_blocks: 1, ..limits() };
        let group = Group::without_2(limits);
        let leader = group.leader().unwrap();
        let mut busy = Self { group, leader, nonce: 3 };
        busy.go_on(40);
        busy
    }

    /// So many blocks more, of nine clients: their accounts are more than one piece.
    fn go_on(&mut self, blocks: u64) {
        let goal = self.group.applied(self.leader).get() + blocks;
        while self.group.applied(self.leader).get() < goal {
            let client = u8::try_from(self.nonce % 9).unwrap();
            let transaction = update(self.group.chain_id, client, self.nonce);
            self.nonce += 1;
            self.group.submit(self.leader, transaction);
            self.group.settle();
        }
    }

    /// The states that the leader keeps, the newest one first.
    fn frozen(&self) -> Vec<BlockRef> {
        let frozen = self.group.node(self.leader).store.reader().frozen().unwrap();
        frozen.iter().map(|standing| standing.applied.block).collect()
    }

    /// Somebody asks the leader for entries of a state. Returns whether it is still kept.
    fn gets(&self, block: BlockRef) -> bool {
        let ask = Ask { block, what: Wanted::Entries { after: None } };
        match self.group.piece(self.leader, ask) {
            Piece::Entries(_) => true,
            Piece::Gone => false,
            other @ (Piece::Head(_) | Piece::Steps(_)) => panic!("asked for entries: {other:?}"),
        }
    }

    /// What the leader offers to who lacks everything.
    fn offered(&self) -> BlockRef {
        let job = FetchJob { node: NodeId::new(2), from: Height::new(1), bytes: 1 };
        let fetched = fetch(&self.group.node(self.leader).store.reader(), job).unwrap();
        match fetched.found {
            Fetched::Pruned { snapshot } => snapshot.unwrap().block,
            Fetched::Blocks { .. } => panic!("the first block is still kept"),
        }
    }

    fn oldest(&self) -> Height {
        self.group.node(self.leader).store.reader().oldest().unwrap().unwrap()
    }
}

#[test]
fn who_gets_a_state_slowly_gets_it_whole() {
    let mut busy = Busy::new();
    busy.group.start(2).unwrap();
    let mut pieces = 0;
    for _ in 0..20_000 {
        if !busy.group.installs.is_empty() {
            break;
        }
        let is_piece = |(_, to, carried): &(u32, u32, Carried)| {
            *to == 2 && matches!(carried, Carried::Piece(_))
        };
        if let Some(at) = busy.group.wire.iter().position(is_piece) {
            pieces += 1;
            let piece = busy.group.wire.remove(at).unwrap();
            busy.go_on(3 * EVERY);
            busy.group.wire.push_front(piece);
        }
        busy.group.turn();
    }
    assert!(pieces > 5, "{pieces} pieces");
    let failed = |(_, notice): &&(u32, String)| notice.starts_with("SnapshotFailed");
    let failed: Vec<_> = busy.group.notices.iter().filter(failed).collect();
    assert_eq!(busy.group.installs, [(2, true)], "{failed:?}");
    let top = busy.group.applied(busy.leader);
    busy.group.run_until("node 2 has caught up", |group| group.applied(2) >= top);
    assert_eq!(busy.group.installs, [(2, true)], "the blocks above it are there too");
    busy.group.assert_equal();
}

#[test]
fn who_asks_for_ever_keeps_nothing_for_ever() {
    let mut busy = Busy::new();
    let first = busy.frozen()[1];
    let mut kept = 0;
    while busy.gets(first) {
        assert!(busy.oldest() <= first.height.next().unwrap(), "so are the blocks above it");
        busy.go_on(EVERY);
        kept += 1;
        assert!(kept < 100, "for ever");
    }
    assert!(kept > 50, "kept for {kept} states that could have been frozen");
    // What came second has its time, too.
    let second = busy.frozen()[1];
    let mut kept = 0;
    while busy.gets(second) {
        busy.go_on(EVERY);
        kept += 1;
        assert!(kept < 100, "for ever");
    }
    assert!(kept > 50, "kept for {kept} states that could have been frozen");
}

#[test]
fn a_newcomer_gets_the_newer_state_while_another_gets_the_older() {
    let mut busy = Busy::new();
    let (newer, older) = (busy.frozen()[0], busy.frozen()[1]);
    for _ in 0..20 {
        assert!(busy.gets(older));
        busy.go_on(EVERY);
        assert_eq!(busy.frozen(), [newer, older]);
    }
    assert_eq!(busy.offered(), newer);
    // The one has got it, and the other gets it whole.
    for _ in 0..20 {
        assert!(busy.gets(newer));
        busy.go_on(EVERY);
    }
    assert!(!busy.gets(older));
    assert_eq!(busy.frozen()[1], newer);
}

#[test]
fn what_nobody_asks_for_any_more_goes_soon() {
    let mut busy = Busy::new();
    let first = busy.frozen()[1];
    assert!(busy.gets(first));
    for _ in 0..20 {
        busy.go_on(EVERY);
    }
    let top = busy.group.applied(busy.leader).get();
    assert!(!busy.frozen().contains(&first));
    assert!(busy.frozen()[0].height.get() + 2 * EVERY > top);
    assert!(busy.oldest().get() + 4 * EVERY > top);
}
