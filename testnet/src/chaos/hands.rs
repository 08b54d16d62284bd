//! Hands that do to the nodes what a deck says, each one thing at a time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use quorate_chain::ids::NodeId;
use quorate_client::{Testnet, TestnetNode, TestnetNodeState};
use quorate_node::exit::{Exit, Failure};

use super::fault::{Card, Deck, Fault, Kind, World};
use super::history::Micros;
use super::violation::Violation;
use crate::bad_disk::{Misdeed, failures};
use crate::directory::Directory;
use crate::supervisor::control::{self, Order};
use crate::supervisor::{HandedOver, hand_over};

/// How long a leader may take to hand over.
const TRANSFER: Duration = Duration::from_secs(3);
/// How long a node may take to end once its disk has failed: far longer than it needs on any machine.
const ENDING: Duration = Duration::from_secs(30);
/// How often it is looked whether something can be done now.
const PAUSE: Duration = Duration::from_millis(40);

/// Something that was done, and when.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// What was done to whom.
    pub(crate) fault: Fault,
    /// When it began.
    pub(crate) begin: Micros,
    /// When it was undone.
    pub(crate) end: Micros,
    /// Why it came to nothing, if it did.
    pub(crate) refused: Option<String>,
}

/// What all hands have in common.
#[derive(Debug)]
pub(crate) struct Table {
    directory: Directory,
    begin: Instant,
    seed: u64,
    world: Mutex<World>,
    over: AtomicBool,
    wrong: Mutex<Vec<Violation>>,
    /// The nodes that are dead, and of which something was said because of that.
    mourned: Mutex<BTreeSet<u16>>,
}

impl Table {
    pub(crate) fn new(directory: Directory, begin: Instant, seed: u64, count: u16) -> Self {
        let world = Mutex::new(World { count, ..World::default() });
        let (over, wrong) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        Self { directory, begin, seed, world, over, wrong, mourned: Mutex::default() }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time.
    pub(crate) fn now(&self) -> Micros {
        Micros::try_from(self.begin.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    /// That nothing more shall be begun, and what is being done shall be undone.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether nothing more shall be begun.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Notes who leads.
    pub(crate) fn led_by(&self, leader: NodeId) {
        self.world().leader = u16::try_from(leader.get()).ok();
    }

    /// Notes something that is wrong.
    pub(crate) fn wrong(&self, name: &str, what: impl std::fmt::Display) {
        let (name, at, what) = (name.to_owned(), self.now(), what.to_string());
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.push(Violation::Casualty { name, at, what });
    }

    /// All that was noted.
    pub(crate) fn wrongs(&self) -> Vec<Violation> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn mourned(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.mourned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which nodes are dead although nothing is being done to them.
    pub(crate) fn look(&self) {
        // Nobody revives a node and lets go of it between the two looks.
        let world = self.world();
        self.mourn(&world.free());
    }

    /// Does one thing after the other until all is over; returns all that was done.
    pub(crate) fn play(&self, hand: u64) -> Vec<Span> {
        let (mut deck, mut done) = (Deck::new(self.seed, hand), Vec::new());
        loop {
            let card = deck.draw();
            self.rest(card.gap);
            let Some(fault) = self.take(&card) else { return done };
            let begin = self.now();
            let refused = self.begin(&fault).err();
            if refused.is_none() && fault.kind != Kind::Transfer {
                self.rest(fault.hold);
            }
            if let Err(failure) = self.undo(&fault) {
                self.wrong(fault.kind.name(), format!("could not be undone: {failure}"));
                self.mourned().extend(&fault.nodes);
            }
            self.world().release(&fault);
            let refused = refused.map(|failure| failure.sentence);
            done.push(Span { fault, begin, end: self.now(), refused });
        }
    }

    /// Chooses to whom it is done, as soon as there is somebody.
    fn take(&self, card: &Card) -> Option<Fault> {
        while !self.is_over() {
            let mut world = self.world();
            if let Some(fault) = card.choose(&world) {
                world.take(&fault);
                return Some(fault);
            }
            drop(world);
            thread::sleep(PAUSE);
        }
        None
    }

    /// Waits, but not beyond the end.
    fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_over() && Instant::now() < end {
            thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
        }
    }

    fn order(&self, order: &Order) -> Result<(), Failure> {
        control::order(&self.directory, order).map(drop)
    }

    fn begin(&self, fault: &Fault) -> Result<(), Failure> {
        let nodes: Vec<u16> = fault.nodes.iter().copied().collect();
        if fault.kind != Kind::Partition {
            self.mourn(&nodes);
        }
        match fault.kind {
            Kind::Kill | Kind::Blackout => self.order(&Order::Kill { nodes }),
            Kind::Pause => self.order(&Order::Pause { nodes }),
            Kind::Partition => self.order(&Order::Partition { groups: vec![nodes] }),
            Kind::Isolate => self.order(&Order::Isolate { nodes }),
            Kind::SlowNet | Kind::Loss | Kind::SlowDisk => self.order(&slow(fault, true)),
            Kind::WriteError | Kind::SyncError | Kind::DiskFull | Kind::TornWrite => {
                self.fail(fault)
            }
            Kind::Transfer => {
                let to = nodes.first().copied().unwrap_or_default();
                match hand_over(&self.directory, to, TRANSFER)? {
                    HandedOver::Now => Ok(()),
                    HandedOver::Before => Err(Failure::new(Exit::NotFound, "it led already")),
                }
            }
        }
    }

    /// Notes those of these nodes that are dead though nothing was done to them that ends a node, each once for each
    /// death.
    fn mourn(&self, nodes: &[u16]) {
        let Some(testnet) = Testnet::in_dir(self.directory.root()) else { return };
        for at in nodes {
            let Some(node) = testnet.nodes.get(usize::from(*at)) else { continue };
            if node.state != TestnetNodeState::Dead {
                self.mourned().remove(at);
            } else if self.mourned().insert(*at) {
                self.wrong(&node.name, "has ended by itself");
            }
        }
    }

    /// Has a disk fail, and waits until its node has ended because of that: no node may go on after it. One whose disk was
    /// full for a moment may, if nothing but room for later was wanted then.
    fn fail(&self, fault: &Fault) -> Result<(), Failure> {
        let nodes: Vec<u16> = fault.nodes.iter().copied().collect();
        let Some(testnet) = Testnet::in_dir(self.directory.root()) else { return Ok(()) };
        let at = nodes.first().map_or(0, |node| usize::from(*node));
        let failures = || failures(&self.directory.faults(), &testnet.nodes[at].home);
        let misdeed = fault.kind.failing().unwrap_or(Misdeed::Behave);
        // A call that has failed before did not end it: it may have been for room that the log had in reserve.
        let before = failures();
        self.order(&Order::Disk { nodes: nodes.clone(), misdeed })?;
        let end = Instant::now() + fault.hold;
        while failures() == before && !self.is_over() && Instant::now() < end {
            thread::sleep(PAUSE);
        }
        self.order(&Order::Disk { nodes: nodes.clone(), misdeed: Misdeed::Behave })?;
        if failures() == before {
            // What has ended by now has not ended because of its disk.
            self.mourn(&nodes);
            return Err(Failure::new(Exit::NotFound, "it wrote nothing in that time"));
        }
        let is_dead = || {
            let now = Testnet::in_dir(self.directory.root());
            now.is_some_and(|now| now.nodes[at].state == TestnetNodeState::Dead)
        };
        let end = Instant::now() + ENDING;
        while !is_dead() {
            if Instant::now() > end && fault.kind == Kind::DiskFull {
                return Err(Failure::new(Exit::NotFound, "the log had room in reserve"));
            }
            if Instant::now() > end {
                let sentence =
                    format!("goes on although its disk has failed ({})", fault.kind.name());
                self.wrong(&testnet.nodes[at].name, &sentence);
                return Err(Failure::new(Exit::Verification, sentence));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn undo(&self, fault: &Fault) -> Result<(), Failure> {
        let nodes: Vec<u16> = fault.nodes.iter().copied().collect();
        match fault.kind {
            Kind::Kill | Kind::Blackout => self.order(&Order::Revive { nodes }),
            Kind::Pause => self.order(&Order::Resume { nodes }),
            Kind::Partition | Kind::Isolate => self.order(&Order::Heal),
            Kind::SlowNet | Kind::Loss => self.order(&slow(fault, false)),
            // No disk is so slow that its node may end.
            Kind::SlowDisk => {
                self.order(&slow(fault, false))?;
                self.mourn(&nodes);
                self.order(&Order::Revive { nodes })
            }
            Kind::WriteError | Kind::SyncError | Kind::DiskFull | Kind::TornWrite => {
                self.order(&Order::Revive { nodes })
            }
            Kind::Transfer => Ok(()),
        }
    }

    /// Undoes whatever may still be wrong.
    pub(crate) fn mend(&self, nodes: &[TestnetNode]) {
        let all: Vec<u16> = (0..self.world().count).collect();
        // All that was done is undone; who is dead all the same was not killed.
        self.mourn(&all);
        let fast = Some(Duration::ZERO);
        let slow = Order::Slow { nodes: all.clone(), disk: fast, net: fast, loss: Some(0) };
        let behave = Order::Disk { nodes: all.clone(), misdeed: Misdeed::Behave };
        let of_all = [Order::Heal, slow, behave].map(|order| (0, order));
        let revived = all.iter().map(|node| {
            let nodes = vec![*node];
            let order = match nodes_state(&self.directory, *node) {
                Some(TestnetNodeState::Paused) => Order::Resume { nodes },
                Some(TestnetNodeState::Running | TestnetNodeState::Dead) | None => {
                    Order::Revive { nodes }
                }
            };
            (usize::from(*node), order)
        });
        for (node, order) in of_all.into_iter().chain(revived) {
            if let Err(failure) = self.order(&order) {
                self.wrong(&nodes[node].name, failure);
            }
        }
    }

    /// Those of the nodes that run now.
    pub(crate) fn alive(&self, nodes: &[TestnetNode]) -> Vec<TestnetNode> {
        let now = Testnet::in_dir(self.directory.root()).map_or_else(Vec::new, |now| now.nodes);
        let runs = |node: &&TestnetNode| {
            let now = now.iter().find(|now| now.node_id == node.node_id);
            now.is_some_and(|now| now.state == TestnetNodeState::Running)
        };
        nodes.iter().filter(runs).cloned().collect()
    }
}

fn nodes_state(directory: &Directory, node: u16) -> Option<TestnetNodeState> {
    let testnet = Testnet::in_dir(directory.root())?;
    testnet.nodes.get(usize::from(node)).map(|node| node.state)
}

/// That nodes are slow as a fault has them, or no longer.
fn slow(fault: &Fault, on: bool) -> Order {
    let nodes = fault.nodes.iter().copied().collect();
    let (delay, lost) = if on { (fault.delay, fault.lost) } else { (Duration::ZERO, 0) };
    let when = |kind| fault.kind == kind;
    Order::Slow {
        nodes,
        disk: when(Kind::SlowDisk).then_some(delay),
        net: when(Kind::SlowNet).then_some(delay),
        loss: when(Kind::Loss).then_some(lost),
    }
}
