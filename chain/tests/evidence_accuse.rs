//! Two committed blocks that exclude each other always name someone who lied, and nobody honest.
//!
//! [`Group`] plays both branches at once. Its honest validators follow the rules for acks, votes,
//! seals and tips; liars do whatever is asked of them. Where the two branches both end up with a
//! commit certificate, `accuse` must find liars.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use common::{Random, World, new_member, node};
use quorate_chain::block::{Block, BlockKind, Body, Item};
use quorate_chain::certificate::Certificate;
use quorate_chain::crypto::Ed25519;
use quorate_chain::evidence::{Branch, Evidence, accuse};
use quorate_chain::ids::{BlockRef, TimeUs};
use quorate_chain::roster::{Change, QuorumKind, Roster};

/// What an honest validator remembers.
#[derive(Clone, Default)]
struct Honest {
    term: u64,
    /// The chain it holds, without the genesis.
    chain: Vec<BlockRef>,
}

impl Honest {
    fn rank(&self) -> (u64, u64) {
        self.chain.last().map_or((0, 0), |tip| (tip.term.get(), tip.height.get()))
    }

    /// Takes over a chain whose last block is of term `term`, and whether it did. A tip never goes
    /// down, and no block of the current term is replaced.
    fn take(&mut self, chain: &[BlockRef], term: u64) -> bool {
        let tip = chain.last().map_or((0, 0), |tip| (tip.term.get(), tip.height.get()));
        let mut pairs = self.chain.iter().zip(chain);
        let replaces = pairs.any(|(old, new)| old != new && old.term.get() == term);
        let extends = chain.starts_with(&self.chain) || tip.0 > self.rank().0;
        if term < self.term || tip < self.rank() || replaces || !extends {
            return false;
        }
        self.term = term;
        self.chain = chain.to_vec();
        true
    }
}

/// One of the two chains.
#[derive(Clone)]
struct Side {
    world: World,
    /// Who has acked which of its blocks.
    acks: BTreeMap<BlockRef, BTreeSet<u32>>,
    /// Certificates, and the length of the chain where each was made.
    certified: Vec<(usize, Certificate)>,
}

impl Side {
    fn chain(&self) -> Vec<BlockRef> {
        self.world.blocks.iter().map(Block::block_ref).collect()
    }
}

struct Group {
    random: Random,
    liars: BTreeSet<u32>,
    honest: BTreeMap<u32, Honest>,
    /// What has been sealed first, by leader, term and height.
    sealed: BTreeMap<(u32, u64, u64), BlockRef>,
    sides: Vec<Side>,
}

impl Group {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let voters = u32::try_from(random.below(5)).unwrap() + 2;
        let liars = (0..voters).filter(|_| random.chance(45)).collect();
        let world = World::new(voters);
        let side = Side { world, acks: BTreeMap::new(), certified: Vec::new() };
        let honest = (0..16).map(|id| (id, Honest::default())).collect();
        Self { random, liars, honest, sealed: BTreeMap::new(), sides: vec![side] }
    }

    fn lies(&self, id: u32) -> bool {
        self.liars.contains(&id)
    }

    /// Shows the tip of a side to its members; those who may, or lie, ack it.
    fn ack(&mut self, side: usize) {
        let chain = self.sides[side].chain();
        let Some(tip) = chain.last().copied() else { return };
        let share = *self.random.pick(&[40, 80, 100]);
        for id in self.sides[side].world.roster().ids() {
            let id = id.get();
            let heard = self.random.chance(share);
            let takes = self.lies(id)
                || heard && self.honest.get_mut(&id).unwrap().take(&chain, tip.term.get());
            if takes && self.sides[side].world.roster().is_voter(node(id)) {
                self.sides[side].acks.entry(tip).or_default().insert(id);
            }
        }
        if let Some(certificate) = self.certificate(side) {
            self.sides[side].certified.push((chain.len(), certificate));
        }
    }

    /// The certificate for the tip of a side, if a quorum has acked it.
    fn certificate(&self, side: usize) -> Option<Certificate> {
        let Side { world, acks, .. } = &self.sides[side];
        let signers = acks.get(&world.tip())?;
        let nodes = signers.iter().map(|id| node(*id)).collect();
        let enough = world.roster().has_quorum(QuorumKind::Commit, &nodes);
        enough.then(|| world.commit(&signers.iter().copied().collect::<Vec<_>>()))
    }

    /// Puts a block on a side, if its leader would have sealed it.
    fn push(&mut self, side: usize, block: Block) {
        let at = block.block_ref();
        let leader = block.header().proposer.get();
        let mut chain = self.sides[side].chain();
        chain.push(at);
        // An honest leader holds what it seals.
        let own = self.honest.get_mut(&leader).unwrap();
        if !self.liars.contains(&leader) && !own.take(&chain, at.term.get()) {
            return;
        }
        let place = (leader, at.term.get(), at.height.get());
        let sealed = *self.sealed.entry(place).or_insert(at);
        assert!(sealed == at || self.lies(leader), "an honest leader seals one block in a place");
        self.sides[side].world.push(block);
        self.ack(side);
    }

    fn seal(&mut self, side: usize) {
        let later = self.random.below(1_000);
        let world = &self.sides[side].world;
        if world.blocks.is_empty() {
            return;
        }
        let mut draft = world.draft(BlockKind::Transactions, Body::default());
        draft.time = TimeUs::new(draft.time.get() + later);
        let block = world.seal(draft);
        self.push(side, block);
    }

    fn elect(&mut self, side: usize) {
        let chain = self.sides[side].chain();
        let tip = chain.last().map_or((0, 0), |tip| (tip.term.get(), tip.height.get()));
        let roster = self.sides[side].world.roster().clone();
        let ids: Vec<_> = roster.ids().iter().map(|id| id.get()).collect();
        let candidate = *self.random.pick(&ids);
        let term = tip.0 + 1 + self.random.below(3);
        let willing = self.honest.get_mut(&candidate).unwrap();
        if !roster.is_voter(node(candidate)) {
            return;
        }
        if !self.liars.contains(&candidate) {
            // It campaigns on what it holds, after it has pulled what is higher.
            let current = willing.term.max(tip.0);
            let holds = willing.chain == chain || tip > willing.rank();
            if term <= willing.term || !holds || !willing.take(&chain, current) {
                return;
            }
        }
        let voters: Vec<_> = ids
            .into_iter()
            .filter(|id| {
                let honest = &self.honest[id];
                let may = term > honest.term && tip >= honest.rank();
                roster.is_voter(node(*id)) && (self.lies(*id) || may)
            })
            .collect();
        let nodes = voters.iter().map(|id| node(*id)).collect();
        if !roster.has_quorum(QuorumKind::Election, &nodes) {
            return;
        }
        for id in &voters {
            let honest = self.honest.get_mut(id).unwrap();
            honest.term = honest.term.max(term);
        }
        let world = &self.sides[side].world;
        let block = world.seal(world.opening_draft(term, candidate, &voters));
        self.push(side, block);
    }

    /// Enters a roster change or leaves one, on a certificate for the tip.
    fn change(&mut self, side: usize) {
        let Some(certificate) = self.certificate(side) else { return };
        let signers: Vec<_> = certificate.signers().iter().map(|id| id.get()).collect();
        let world = &self.sides[side].world;
        let block = if world.roster().is_joint() {
            world.seal(world.leave_draft(&signers))
        } else {
            let next = world.roster().current().next_id;
            let last = *world.roster().ids().last().unwrap();
            let add = Change::Add(new_member(next.get(), false));
            let steps = match self.random.below(3) {
                _ if next.get() > 12 => return,
                0 if world.roster().ids().len() > 1 => vec![Change::Remove { id: last }],
                1 => vec![add, Change::Promote { id: next }],
                _ => vec![add, Change::Promote { id: next }, Change::Remove { id: last }],
            };
            world.seal(world.enter_draft(steps, &signers))
        };
        self.push(side, block);
    }

    fn step(&mut self, side: usize, changes: bool) {
        match self.random.below(10) {
            0..4 => self.seal(side),
            4..8 => self.elect(side),
            8 => self.ack(side),
            _ if changes => self.change(side),
            _ => {}
        }
    }

    /// Lets the group go on together, then on two sides.
    fn run(seed: u64, changes: bool) -> Self {
        let mut group = Self::new(seed);
        for _ in 0..group.random.below(6) {
            group.step(0, changes);
        }
        group.sides.push(group.sides[0].clone());
        for _ in 0..20 {
            let side = usize::from(group.random.chance(50));
            group.step(side, changes);
        }
        group
    }

    /// Two branches that end where both sides are committed above what they share.
    fn conflict(&mut self) -> Option<(Branch, Branch)> {
        let [a, b] = &self.sides[..] else { unreachable!() };
        let common = a.chain().iter().zip(b.chain()).take_while(|(x, y)| **x == *y).count();
        let mut pick = |side: &Side| {
            let above: Vec<_> = side.certified.iter().filter(|(end, _)| *end > common).collect();
            if above.is_empty() {
                return None;
            }
            let (end, certificate) = (*self.random.pick(&above)).clone();
            Some(branch(side, common, end, certificate))
        };
        Some((pick(a)?, pick(b)?))
    }
}

fn branch(side: &Side, from: usize, to: usize, certificate: Certificate) -> Branch {
    let blocks = &side.world.blocks[from..to];
    Branch {
        headers: blocks.iter().map(|block| block.signed_header().clone()).collect(),
        items: blocks.iter().filter_map(|block| block.body().item.clone()).collect(),
        certificate,
    }
}

/// The numbers of the sorts that were found, after all that must hold of them was checked.
fn judge(seed: u64, group: &Group, a: &Branch, b: &Branch) -> BTreeSet<u8> {
    let found = accuse(a, b);
    let show = || format!("seed {seed}, liars {:?}: {found:#?}", group.liars);
    assert!(!found.is_empty(), "{}\n{a:#?}\n{b:#?}", show());
    assert_eq!(accuse(b, a).len(), found.len(), "{}", show());
    let [one, two] = &group.sides[..] else { unreachable!() };
    let rosters = [one.world.rosters.clone(), two.world.rosters.clone()].concat();
    let rosters: &[Roster] = &rosters;
    let mut sorts = BTreeSet::new();
    let mut named = BTreeSet::new();
    for evidence in &found {
        let accused = evidence.accused();
        let verified = evidence.clone().verify(one.world.chain_id, rosters, &Ed25519);
        assert!(verified.is_ok(), "{verified:?}: {}", show());
        assert!(group.liars.contains(&accused.get()), "{accused} is honest: {}", show());
        let sort = match evidence {
            Evidence::TwoBlocks { .. } => 1,
            Evidence::TwoVotes { .. } => 2,
            Evidence::TwoAcks { .. } => 3,
            Evidence::VoteBelowAck { .. } => 4,
            Evidence::Malformed(_) => 5,
        };
        sorts.insert(sort);
        named.insert(accused);
    }
    let part = group.sides[0].world.rosters[0].current();
    let least = 2 * part.quorum(QuorumKind::Commit) - part.voters().count();
    if rosters.len() == 2 {
        assert!(sorts.contains(&1) || named.len() >= least, "{}", show());
    }
    sorts
}

/// How many conflicts there were, how many of them across roster blocks, and what was found.
fn search(seeds: Range<u64>, changes: bool) -> (usize, usize, BTreeMap<Vec<u8>, usize>) {
    let (mut conflicts, mut across, mut sorts) = (0, 0, BTreeMap::new());
    for seed in seeds {
        let mut group = Group::run(seed, changes);
        if let Some((a, b)) = group.conflict() {
            conflicts += 1;
            let mut items = a.items.iter().chain(&b.items);
            across += usize::from(items.any(|item| !matches!(item, Item::Opening(_))));
            let found = judge(seed, &group, &a, &b).into_iter().collect();
            *sorts.entry(found).or_default() += 1;
        }
    }
    (conflicts, across, sorts)
}

#[test]
fn two_commits_that_exclude_each_other_name_liars_and_nobody_else() {
    let (conflicts, _, sorts) = search(0..250, false);
    assert!(conflicts > 40, "{conflicts} conflicts: {sorts:?}");
    // Two acks in one place are found only where two branches end at one rank: see case 1.
    for sort in [1, 2, 4] {
        assert!(sorts.keys().any(|found| found.contains(&sort)), "{sort} in none of {sorts:?}");
    }
}

#[test]
fn so_do_they_across_roster_changes() {
    let (conflicts, across, sorts) = search(10_000..10_250, true);
    assert!(across > 20, "{across} of {conflicts} conflicts: {sorts:?}");
}

/// Five validators, led by 0 in term 1, two blocks high.
fn world() -> World {
    let mut world = World::new(5);
    world.open(1, 0, &[0, 1, 2]);
    world.transactions(Vec::new());
    world
}

/// The blocks of a world above a height, certified by these.
fn certified(world: &World, above: usize, signers: &[u32]) -> Branch {
    let side = Side { world: world.clone(), acks: BTreeMap::new(), certified: Vec::new() };
    branch(&side, above, world.blocks.len(), world.commit(signers))
}

/// What is found, as pairs of a sort and whom it accuses.
fn found(world: &World, a: &Branch, b: &Branch) -> Vec<(u8, u32)> {
    let rosters: &[Roster] = &world.rosters;
    let show = |evidence: Evidence| {
        let number = match &evidence {
            Evidence::TwoBlocks { .. } => 1,
            Evidence::TwoVotes { .. } => 2,
            Evidence::TwoAcks { .. } => 3,
            Evidence::VoteBelowAck { .. } => 4,
            Evidence::Malformed(_) => 5,
        };
        let conviction = evidence.verify(world.chain_id, rosters, &Ed25519).unwrap();
        (number, conviction.evidence().accused().get())
    };
    let mut both: Vec<_> = accuse(a, b).into_iter().map(show).collect();
    let mut swapped: Vec<_> = accuse(b, a).into_iter().map(show).collect();
    both.sort_unstable();
    swapped.sort_unstable();
    assert_eq!(both, swapped);
    both
}

fn later(world: &mut World) -> BlockRef {
    world.time = TimeUs::new(world.time.get() + 1);
    let mut draft = world.draft(BlockKind::Transactions, Body::default());
    draft.time = TimeUs::new(draft.time.get() + 500);
    let block = world.seal(draft);
    world.push(block)
}

#[test]
fn case_1_a_leader_that_seals_two_blocks_is_named() {
    let (mut a, mut b) = (world(), world());
    a.transactions(Vec::new());
    later(&mut b);
    let (one, two) = (certified(&a, 2, &[0, 1, 2]), certified(&b, 2, &[0, 3, 4]));
    assert_eq!(found(&a, &one, &two), [(1, 0), (3, 0)]);
    // One higher on one side: the acks do not conflict, the blocks do.
    b.transactions(Vec::new());
    let two = certified(&b, 2, &[0, 3, 4]);
    assert_eq!(found(&a, &one, &two), [(1, 0)]);
    // The later opening stands on the second block: the leader is named alone.
    b.open(2, 3, &[1, 2, 3]);
    let two = certified(&b, 2, &[1, 2, 3]);
    assert_eq!(found(&a, &one, &two), [(1, 0)]);
}

#[test]
fn case_2_two_openings_of_one_term_name_voters_or_the_proposer() {
    let (mut a, mut b) = (world(), world());
    a.open(2, 1, &[1, 2, 3]);
    b.open(2, 4, &[0, 3, 4]);
    let (one, two) = (certified(&a, 2, &[1, 2, 0]), certified(&b, 2, &[4, 3, 0]));
    assert_eq!(found(&a, &one, &two), [(2, 3), (3, 0)]);

    let (mut a, mut b) = (world(), world());
    a.open(2, 1, &[1, 2, 3]);
    let mut draft = b.opening_draft(2, 1, &[1, 2, 3]);
    draft.time = TimeUs::new(draft.time.get() + 1);
    b.push(b.seal(draft));
    let (one, two) = (certified(&a, 2, &[1, 2, 3]), certified(&b, 2, &[1, 0, 4]));
    assert_eq!(found(&a, &one, &two), [(1, 1), (3, 1)]);
}

#[test]
fn case_3_voters_for_a_tip_below_their_ack_are_named() {
    let (mut a, mut b) = (world(), world());
    a.transactions(Vec::new());
    b.open(3, 3, &[1, 3, 4]);
    b.transactions(Vec::new());
    let (one, two) = (certified(&a, 2, &[0, 1, 2]), certified(&b, 2, &[3, 4, 2]));
    assert_eq!(found(&a, &one, &two), [(4, 1)]);
    // However many terms follow on the second branch, for a tip that ranks above the ack.
    b.open(4, 4, &[2, 3, 4]);
    let two = certified(&b, 2, &[2, 3, 4]);
    assert_eq!(found(&a, &one, &two), [(4, 1)]);
}

#[test]
fn a_certificate_in_a_roster_block_names_those_that_the_last_one_cannot() {
    // The first branch replaces all but one of the voters; the second never hears of it.
    let (mut a, mut b) = (world(), world());
    for new in 5..9 {
        let (add, promote) =
            (Change::Add(new_member(new, false)), Change::Promote { id: node(new) });
        let remove = Change::Remove { id: node(new - 4) };
        let old: Vec<_> = a.roster().ids().iter().map(|id| id.get()).collect();
        a.enter(vec![add, promote, remove], &old[..3]);
        let signers: Vec<_> = a.roster().ids().iter().map(|id| id.get()).collect();
        a.leave(&signers);
    }
    assert_eq!(a.roster().ids().len(), 5);
    b.open(2, 1, &[1, 2, 3]);
    let (one, two) = (certified(&a, 2, &[6, 7, 8]), certified(&b, 2, &[1, 2, 3]));
    assert!(one.certificate.signers().is_disjoint(&two.certificate.signers()));
    assert_eq!(found(&a, &one, &two), [(4, 1), (4, 2), (4, 3)]);
}

#[test]
fn one_chain_accuses_nobody() {
    let mut a = world();
    a.enter(vec![Change::Add(new_member(5, false))], &[0, 1, 2]);
    let short = certified(&a, 1, &[0, 1, 2]);
    a.leave(&[0, 1, 2]);
    a.open(2, 0, &[0, 1, 2]);
    a.open(3, 1, &[0, 1, 2]);
    a.transactions(Vec::new());
    let long = certified(&a, 0, &[1, 2, 0]);
    assert_eq!(found(&a, &short, &long), []);
    assert_eq!(found(&a, &long, &long), []);
}
