//! The disk of a seat: what is done to it, and what a hook decides while it works.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_wal::{Hook, Memory, Operation, Step, Verdict};

use crate::dice::Dice;

/// A disk that the log and the world share.
pub type Shared = Arc<Mutex<Memory>>;

/// What will go wrong on a disk.
#[derive(Debug, Default)]
struct Plan {
    /// The power goes out after so many more operations.
    crash_in: Option<u64>,
    /// The next write or sync fails.
    fail_next: Option<ErrorKind>,
    /// The next write lands this far away.
    misdirect_next: Option<u64>,
    /// The next operation of this kind is only claimed to have happened, or a read is an old one.
    lie_next: Option<Operation>,
    /// What has gone wrong of it.
    done: bool,
}

impl Plan {
    fn decide(&mut self, step: &Step<'_>) -> Verdict {
        if let Some(left) = self.crash_in {
            if left == 0 {
                self.done = true;
                return Verdict::Crash;
            }
            self.crash_in = Some(left - 1);
        }
        let writes = matches!(step.operation, Operation::Write | Operation::Sync);
        if writes && let Some(kind) = self.fail_next.take() {
            self.done = true;
            return Verdict::Fail(kind);
        }
        if step.operation == Operation::Write
            && let Some(away) = self.misdirect_next.take()
        {
            self.done = true;
            return Verdict::Misdirect(step.offset.saturating_sub(away));
        }
        if self.lie_next == Some(step.operation) {
            (self.lie_next, self.done) = (None, true);
            let stale = step.operation == Operation::Read;
            return if stale { Verdict::Stale } else { Verdict::Lose };
        }
        Verdict::Proceed
    }
}

/// The disk of a seat.
#[derive(Clone, Debug)]
pub struct SeatDisk {
    memory: Shared,
    plan: Arc<Mutex<Plan>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SeatDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let memory = Arc::new(Mutex::new(Memory::new(seed)));
        Self { memory, plan: Arc::default() }
    }

    /// The handle that the log gets.
    #[must_use]
    pub fn handle(&self) -> Shared {
        Arc::clone(&self.memory)
    }

    fn change_plan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut locked(&self.plan));
        let plan = Arc::clone(&self.plan);
        let hook: Hook = Arc::new(Mutex::new(move |step: &Step<'_>| locked(&plan).decide(step)));
        locked(&self.memory).set_hook(Some(hook));
    }

    /// The power goes out after so many more operations.
    pub fn crash_in(&self, operations: u64) {
        self.change_plan(|plan| plan.crash_in = Some(operations));
    }

    /// The next write or sync fails; later ones would succeed.
    pub fn fail_next(&self, kind: ErrorKind) {
        self.change_plan(|plan| plan.fail_next = Some(kind));
    }

    /// The next write lands so many bytes before where it should.
    pub fn misdirect_next(&self, away: u64) {
        self.change_plan(|plan| plan.misdirect_next = Some(away));
    }

    /// The next operation of this kind is only claimed to have happened; a read returns what was there before
    /// the last sync.
    pub fn lie_next(&self, operation: Operation) {
        self.change_plan(|plan| plan.lie_next = Some(operation));
    }

    /// Everything that is on it now, cache and platter.
    #[must_use]
    pub fn copy(&self) -> Memory {
        locked(&self.memory).clone()
    }

    /// Another disk is put in its place.
    pub fn replace(&self, by: Memory) {
        *locked(&self.memory) = by;
    }

    /// Nothing more goes wrong by plan. Returns whether something did.
    pub fn end_plan(&self) -> bool {
        let plan = std::mem::take(&mut *locked(&self.plan));
        locked(&self.memory).set_hook(None);
        plan.done
    }

    /// The process is gone and the machine lives: the cache survives.
    pub fn restart(&self) {
        locked(&self.memory).restart();
    }

    /// The power is gone: of what was not synced, chance keeps what it likes.
    pub fn power_cut(&self, dice: &mut Dice) {
        let keep = [0, 1_000_000, 500_000, 100_000][dice.index(4)];
        locked(&self.memory).crash(|_| dice.chance(keep));
    }

    /// The disk has no room for more than what it holds and a little.
    pub fn fill_up(&self, spare: u64) {
        let mut memory = locked(&self.memory);
        let names: Vec<String> = memory.names().map(str::to_owned).collect();
        let used: usize = names.iter().filter_map(|name| memory.bytes(name)).map(|b| b.len()).sum();
        memory.set_capacity(Some(used as u64 + spare));
    }

    /// There is room again.
    pub fn make_room(&self) {
        locked(&self.memory).set_capacity(None);
    }

    /// Changes a bit, or makes zeros of a sector, somewhere where something stands; one in eight bits is in a
    /// sector that cannot be read any more. Returns whether there was anything.
    pub fn damage(&self, dice: &mut Dice, zeros: bool) -> bool {
        let mut memory = locked(&self.memory);
        let names: Vec<String> = memory.names().map(str::to_owned).collect();
        if names.is_empty() {
            return false;
        }
        let name = &names[dice.index(names.len())];
        let Some(bytes) = memory.bytes(name) else { return false };
        let used: Vec<usize> =
            (0..bytes.len() / 512).filter(|at| bytes[at * 512..][..512] != [0; 512]).collect();
        if used.is_empty() {
            return false;
        }
        let sector = used[dice.index(used.len())] * 512;
        if zeros {
            memory.overwrite(name, sector as u64, &[0; 512]);
        } else {
            let (at, bit) = (sector + dice.index(512), dice.below(8));
            if bit == 7 {
                memory.break_sector(name, at as u64);
            } else {
                memory.overwrite(name, at as u64, &[bytes[at] ^ (1 << bit)]);
            }
        }
        true
    }
}
