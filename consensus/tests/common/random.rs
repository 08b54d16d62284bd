//! Random lives: where their chance comes from, and what all of them have in common.

use std::collections::BTreeMap;
use std::panic;

use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

use super::World;

/// A source of arbitrary numbers that a seed determines (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub fn node(&mut self, world: &World) -> u32 {
        self.node_of(u32::try_from(world.ids().len()).unwrap())
    }

    pub fn node_of(&mut self, count: u32) -> u32 {
        u32::try_from(self.below(u64::from(count))).unwrap()
    }

    /// One of the first few messages on their way, so that they overtake each other.
    pub fn message(&mut self, world: &World) -> usize {
        usize::try_from(self.below(8.min(world.wire.len() as u64))).unwrap()
    }
}

impl World {
    /// No two nodes ever lead in one term: `led` has those that did, by term.
    pub fn check_leaders(&self, led: &mut BTreeMap<u64, u32>) {
        for (id, term) in self.leaders() {
            let first = led.entry(term).or_insert(id);
            assert_eq!(*first, id, "two leaders in term {term}");
        }
    }

    /// A node that leads, if one does.
    pub fn leader(&self) -> Option<u32> {
        let leads = |id: &u32| self.core(*id).is_some_and(|it| it.standing() == Standing::Leader);
        self.ids().into_iter().find(leads)
    }

    /// Everything works again: links, nodes, disks, signers and stores.
    pub fn mend(&mut self) {
        self.heal();
        for id in self.ids() {
            if self.core(id).is_none() {
                self.start(id);
            }
            self.hold_disk(id, false);
            self.hold_apply(id, false);
            self.hold_signer(id, false);
            self.hold_store(id, false);
            self.hold_installs(id, false);
        }
    }

    /// Somebody leads, a fresh block is taken, and all members of the leader's roster come to one height,
    /// which is returned.
    pub fn come_together(&mut self, seed: u64) -> u64 {
        self.status();
        let Some(leader) = self.leader() else { panic!("seed {seed}: no leader\n{}", self.out) };
        assert!(self.seal(leader), "seed {seed}: the leader has no slot\n{}", self.out);
        self.run(Span::millis(2_000));
        self.out.clear();
        self.status();
        self.rosters();
        let members = self.roster_of(leader).ids().into_iter();
        let applied: Vec<_> = members.map(|id| self.applied(id.get())).collect();
        assert!(applied.windows(2).all(|two| two[0] == two[1]), "seed {seed}:\n{}", self.out);
        assert_eq!(applied[0], self.committed(leader), "seed {seed}:\n{}", self.out);
        self.check_same_chain();
        applied[0]
    }
}

/// Lives many lives and adds up what they count. `QUORATE_SEEDS` says how many, `QUORATE_FROM` which is
/// the first. Returns how many there were, too.
pub fn live_many<const N: usize>(default: u64, live: fn(u64) -> [u64; N]) -> (u64, [u64; N]) {
    let number = |name, default| std::env::var(name).map_or(default, |it| it.parse().unwrap());
    let (seeds, from) = (number("QUORATE_SEEDS", default), number("QUORATE_FROM", 0));
    let (mut all, mut bad) = ([0; N], Vec::new());
    for seed in from..from + seeds {
        match panic::catch_unwind(|| live(seed)) {
            Ok(life) => all = std::array::from_fn(|at| all[at] + life[at]),
            Err(_) => bad.push(seed),
        }
    }
    assert!(bad.is_empty(), "QUORATE_FROM={} QUORATE_SEEDS=1 replays the first of {bad:?}", bad[0]);
    (seeds, all)
}
