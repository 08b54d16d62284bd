//! A frozen state that somebody is getting is kept until it is there, but not for ever.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Carried, Group, limits, update};
use quorate_chain::ids::{BlockRef, Height, NodeId};
use quorate_consensus::event::Fetched;
use quorate_consensus::message::Message;
use quorate_consensus::time::Span;
use quorate_replica::fetch::fetch;
use quorate_replica::io::FetchJob;
use quorate_replica::setup::Limits;
use quorate_replica::snapshot::{Ask, Demand, Piece, Wanted};
use quorate_replica::store::{Store, StoreReader};

/// How many heights lie between two frozen states.
const EVERY: u64 = 5;

/// Whether something comes to node 2 slowly: pieces of a state, and ranges of blocks.
fn is_slow((_, to, carried): &(u32, u32, Carried)) -> bool {
    let slow = match carried {
        Carried::Piece(_) => true,
        Carried::Message(Message::Append(append)) => append.blocks.len() > 1,
        Carried::Message(_) | Carried::Transactions(_) | Carried::Ask(_) => false,
    };
    *to == 2 && slow
}

/// A group that goes on and forgets old blocks while node 2 is away.
struct Busy {
    group: Group,
    leader: u32,
    nonce: u64,
}

impl Busy {
    fn new() -> Self {
        let limits = Limits {
            snapshot_every: EVERY,
            checkpoint_every: 4,
            keep_blocks: 1,
            message_bytes: 3_500,
            ..limits()
        };
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
            self.settle();
        }
    }

    /// All is done and delivered but what comes to node 2 slowly.
    fn settle(&mut self) {
        let mut slow = Vec::new();
        for _ in 0..100_000 {
            let (held, rest) = self.group.wire.drain(..).partition(is_slow);
            slow.extend(Vec::from(held));
            self.group.wire = rest;
            let worked = self.group.ids().into_iter().any(|id| self.group.work(id));
            if !self.group.carry() && !worked {
                self.group.wire = slow.into();
                return;
            }
        }
        panic!("work without end");
    }

    /// The group goes on before each piece of a state, or range of blocks, that node 2 gets, until something holds.
    /// Returns how many these were.
    fn slowly(&mut self, blocks: u64, over: impl Fn(&Group) -> bool) -> usize {
        let mut count = 0;
        for _ in 0..10_000 {
            if over(&self.group) {
                return count;
            }
            if self.group.wire.iter().any(is_slow) {
                count += 1;
                self.go_on(blocks);
                let at = self.group.wire.iter().position(is_slow).unwrap();
                let next = self.group.wire.remove(at).unwrap();
                self.group.wire.push_front(next);
            }
            self.group.turn();
        }
        panic!("slow without end: {:?}", self.group.installs);
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
        let fetched =
            fetch(&self.group.node(self.leader).store.reader(), &Demand::default(), job).unwrap();
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
fn who_gets_a_state_slowly_gets_it_whole_and_the_blocks_above_it() {
    let mut busy = Busy::new();
    busy.group.start(2).unwrap();
    let pieces = busy.slowly(5 * EVERY, |group| !group.installs.is_empty());
    assert!(pieces > 5, "{pieces} pieces");
    let failed = |(_, notice): &&(u32, String)| notice.starts_with("SnapshotFailed");
    let failed: Vec<_> = busy.group.notices.iter().filter(failed).collect();
    assert_eq!(busy.group.installs, [(2, true)], "{failed:?}");
    let leader = busy.leader;
    let near = |group: &Group| group.applied(2).get() + EVERY > group.applied(leader).get();
    let ranges = busy.slowly(2, near);
    assert_eq!(busy.group.installs, [(2, true)], "no other state is needed");
    assert!(ranges > 10, "{ranges} ranges");
    busy.group.run(Span::millis(1_000));
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
