//! What is done to the nodes, drawn from a seed. Which node it meets depends on who leads and on what else is
//! under way at that moment, so the same seed gives the same plan but not the same run.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_sim::dice::Dice;
use serde::Serialize;

use crate::bad_disk::{Calls, DiskError, Misdeed};

/// The kinds of things that go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A node is killed.
    Kill,
    /// All nodes are killed at once that nothing else is being done to.
    Blackout,
    /// A node hangs.
    Pause,
    /// The nodes are parted into two groups.
    Partition,
    /// A node is cut off from all others.
    Isolate,
    /// Whatever comes to a node or from it takes longer.
    SlowNet,
    /// Some of what comes to a node or from it is lost at first.
    Loss,
    /// A node's disk takes longer.
    SlowDisk,
    /// A node's disk fails to write.
    WriteError,
    /// A node's disk fails to keep what was written.
    SyncError,
    /// A node's disk is full.
    DiskFull,
    /// A node is killed in the middle of a write.
    TornWrite,
    /// Leadership is handed over.
    Transfer,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 13] = [
        Self::Kill,
        Self::Blackout,
        Self::Pause,
        Self::Partition,
        Self::Isolate,
        Self::SlowNet,
        Self::Loss,
        Self::SlowDisk,
        Self::WriteError,
        Self::SyncError,
        Self::DiskFull,
        Self::TornWrite,
        Self::Transfer,
    ];

    /// What people call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Blackout => "blackout",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Isolate => "isolate",
            Self::SlowNet => "slow net",
            Self::Loss => "loss",
            Self::SlowDisk => "slow disk",
            Self::WriteError => "write error",
            Self::SyncError => "sync error",
            Self::DiskFull => "disk full",
            Self::TornWrite => "torn write",
            Self::Transfer => "transfer",
        }
    }

    /// Whether a node that this is done to is no help to the others.
    const fn takes_out(self) -> bool {
        match self {
            Self::Kill | Self::Blackout | Self::Pause | Self::Isolate => true,
            Self::Partition | Self::SlowNet | Self::Loss | Self::SlowDisk | Self::Transfer => false,
            Self::WriteError | Self::SyncError | Self::DiskFull | Self::TornWrite => true,
        }
    }

    /// What a disk does wrong, if it fails.
    pub(crate) fn failing(self) -> Option<Misdeed> {
        let fails = |error, calls| Some(Misdeed::Fail { error, calls, times: 1 });
        match self {
            Self::WriteError => fails(DiskError::Eio, Calls::Writes),
            Self::SyncError => fails(DiskError::Eio, Calls::Syncs),
            Self::DiskFull => fails(DiskError::Enospc, Calls::Writes),
            Self::TornWrite => Some(Misdeed::Tear),
            Self::Kill | Self::Blackout | Self::Pause | Self::Partition | Self::Isolate => None,
            Self::SlowNet | Self::Loss | Self::SlowDisk | Self::Transfer => None,
        }
    }

    /// Whether it is done to the lines between nodes, of which there is one set.
    pub(crate) const fn parts(self) -> bool {
        matches!(self, Self::Partition | Self::Isolate)
    }
}

/// Something that is done to some nodes for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What.
    pub(crate) kind: Kind,
    /// To whom. Of a partition, one of the groups; of a transfer, who shall lead.
    pub(crate) nodes: BTreeSet<u16>,
    /// How much slower everything is, if it is slower.
    pub(crate) delay: Duration,
    /// How much is lost, in a thousand, if something is.
    pub(crate) lost: u16,
    /// How long it lasts.
    pub(crate) hold: Duration,
}

/// What is the case when a fault is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    /// How many nodes there are.
    pub(crate) count: u16,
    /// Who leads, as far as anybody has said.
    pub(crate) leader: Option<u16>,
    /// The nodes that something is being done to.
    pub(crate) taken: BTreeSet<u16>,
    /// Those of them that are no help to the others.
    pub(crate) out: BTreeSet<u16>,
    /// Whether nodes are parted.
    pub(crate) parted: bool,
}

impl World {
    /// Notes that something is being done.
    pub(crate) fn take(&mut self, fault: &Fault) {
        self.parted |= fault.kind.parts();
        if fault.kind != Kind::Partition {
            self.taken.extend(&fault.nodes);
        }
        if fault.kind.takes_out() {
            self.out.extend(&fault.nodes);
        }
    }

    /// Notes that it is over.
    pub(crate) fn release(&mut self, fault: &Fault) {
        self.parted &= !fault.kind.parts();
        if fault.kind != Kind::Partition {
            self.taken.retain(|node| !fault.nodes.contains(node));
            self.out.retain(|node| !fault.nodes.contains(node));
        }
    }

    /// The nodes that nothing is being done to.
    pub(crate) fn free(&self) -> Vec<u16> {
        (0..self.count).filter(|node| !self.taken.contains(node)).collect()
    }
}

/// What shall be done next. All that is left to chance is in it, so that how long it waits changes nothing of what
/// comes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    /// What.
    pub(crate) kind: Kind,
    /// How long nothing is done before.
    pub(crate) gap: Duration,
    hold: Duration,
    delay: Duration,
    lost: u16,
    /// Whether it may leave the nodes without a quorum.
    last_straw: bool,
    /// Whether it is for the leader, if nothing is being done to that.
    leader: bool,
    /// Which node it is for otherwise, of those that are free.
    which: u64,
    /// On which side of a partition each node is.
    sides: u64,
}

/// A shuffled pack of all kinds, so that each comes as often as any other.
#[derive(Clone, Debug)]
pub(crate) struct Deck {
    dice: Dice,
    kinds: Vec<Kind>,
}

impl Deck {
    /// One of several that belong to a seed.
    pub(crate) fn new(seed: u64, part: u64) -> Self {
        Self { dice: Dice::new(seed, part), kinds: Vec::new() }
    }

    /// The next card.
    pub(crate) fn draw(&mut self) -> Card {
        if self.kinds.is_empty() {
            self.kinds = Kind::ALL.to_vec();
            for at in (1..self.kinds.len()).rev() {
                self.kinds.swap(at, self.dice.index(at + 1));
            }
        }
        let kind = self.kinds.pop().unwrap_or(Kind::Kill);
        let dice = &mut self.dice;
        // With all nodes dead nothing can go wrong, so that is soon over.
        let longest = if kind == Kind::Blackout { 1_000 } else { 8_000 };
        Card {
            kind,
            gap: Duration::from_millis(dice.spread(400, 6_000)),
            hold: Duration::from_millis(dice.spread(100, longest)),
            delay: Duration::from_millis(dice.spread(1, 200)),
            lost: u16::try_from(dice.spread(1, 300)).unwrap_or_default(),
            last_straw: dice.chance(30_000),
            leader: dice.chance(350_000),
            which: dice.draw(),
            sides: dice.draw(),
        }
    }
}

impl Card {
    /// What is done, unless there is nobody now to whom it could be done. Only now and then there is no
    /// quorum left.
    pub(crate) fn choose(&self, world: &World) -> Option<Fault> {
        let kind = self.kind;
        let free = world.free();
        if free.is_empty() || kind.parts() && world.parted {
            return None;
        }
        let minority = usize::from(world.count.saturating_sub(1) / 2);
        let too_many = kind.takes_out() && world.out.len() >= minority;
        if too_many && kind != Kind::Blackout && !self.last_straw {
            return None;
        }
        let leader = world.leader.filter(|leader| free.contains(leader));
        let nodes = match kind {
            Kind::Blackout if free.len() <= minority => return None,
            Kind::Blackout => free.into_iter().collect(),
            Kind::Partition => self.group(world.count)?,
            Kind::Transfer => {
                // One that something else is being done to might never answer.
                let leader = leader?;
                let others: Vec<_> = free.into_iter().filter(|node| *node != leader).collect();
                BTreeSet::from([self.one_of(&others)?])
            }
            Kind::Kill
            | Kind::Pause
            | Kind::Isolate
            | Kind::SlowNet
            | Kind::Loss
            | Kind::SlowDisk
            | Kind::WriteError
            | Kind::SyncError
            | Kind::DiskFull
            | Kind::TornWrite => {
                let node = leader.filter(|_| self.leader).or_else(|| self.one_of(&free))?;
                BTreeSet::from([node])
            }
        };
        let Self { delay, lost, hold, .. } = *self;
        Some(Fault { kind, nodes, delay, lost, hold })
    }

    fn one_of(&self, nodes: &[u16]) -> Option<u16> {
        let count = u64::try_from(nodes.len()).ok().filter(|count| *count > 0)?;
        nodes.get(usize::try_from(self.which % count).ok()?).copied()
    }

    /// Some nodes, but not all.
    fn group(&self, count: u16) -> Option<BTreeSet<u16>> {
        let all: Vec<u16> = (0..count).collect();
        let some: BTreeSet<u16> =
            all.iter().copied().filter(|node| self.sides >> (node % 64) & 1 == 1).collect();
        let all_or_none = some.is_empty() || some.len() == all.len();
        let group = if all_or_none { self.one_of(&all).into_iter().collect() } else { some };
        (count > 1).then_some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(taken: &[u16], out: &[u16], parted: bool) -> World {
        let (taken, out) = (taken.iter().copied().collect(), out.iter().copied().collect());
        World { count: 5, leader: Some(2), taken, out, parted }
    }

    #[test]
    fn each_kind_comes_as_often_as_any_other() {
        let mut deck = Deck::new(1, 0);
        let drawn: Vec<_> = (0..10 * Kind::ALL.len()).map(|_| deck.draw()).collect();
        for kind in Kind::ALL {
            assert_eq!(drawn.iter().filter(|card| card.kind == kind).count(), 10, "{kind:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_deck_and_each_hand_has_its_own() {
        let cards = |seed, hand| {
            let mut deck = Deck::new(seed, hand);
            (0..100).map(|_| deck.draw()).collect::<Vec<_>>()
        };
        assert_eq!(cards(1, 0), cards(1, 0));
        assert_ne!(cards(1, 0), cards(1, 1));
        assert_ne!(cards(1, 0), cards(2, 0));
    }

    #[test]
    fn nothing_is_done_twice_to_one_node_and_a_quorum_is_mostly_left() {
        let (mut deck, mut last_straws) = (Deck::new(7, 0), 0);
        for _ in 0..2_000 * Kind::ALL.len() {
            let card = deck.draw();
            // However often it is looked, a card that is no last straw stays none.
            let mut looks = (0..100).map(|_| card.choose(&world(&[0, 1], &[0, 1], false)));
            let Some(fault) = looks.find_map(|fault| fault) else { continue };
            assert!(!fault.nodes.is_empty());
            if card.kind == Kind::Partition {
                assert!(fault.nodes.len() < 5);
            } else {
                assert!(fault.nodes.iter().all(|node| *node > 1), "{fault:?}");
            }
            last_straws += usize::from(card.kind == Kind::Kill);
        }
        assert!((1..200).contains(&last_straws), "{last_straws} of 2000");
    }

    #[test]
    fn nodes_are_parted_one_way_at_a_time_and_leadership_goes_to_another() {
        let mut deck = Deck::new(7, 0);
        for _ in 0..100 * Kind::ALL.len() {
            let card = deck.draw();
            let chosen = card.choose(&world(&[], &[], true));
            assert_eq!(chosen.is_none(), card.kind.parts(), "{card:?}");
            if card.kind == Kind::Transfer {
                assert!(!chosen.unwrap().nodes.contains(&2));
            }
        }
    }

    #[test]
    fn what_is_taken_is_released() {
        let mut deck = Deck::new(3, 0);
        for _ in Kind::ALL {
            let mut world = world(&[], &[], false);
            let before = world.clone();
            let fault = deck.draw().choose(&world).unwrap();
            world.take(&fault);
            assert_ne!(world, before);
            world.release(&fault);
            assert_eq!(world, before);
        }
    }
}
