//! How long a machine whose disk has broken a promise is excused for what it lacks.
//!
//! Damage may take back what a validator has signed. Until it has shown, the validator may come back with less than
//! it had, may find out that it has forgotten something, or may refuse to run. Nothing of it lasts longer than the next
//! start: that reads every byte of the log and tells every changed one that counts (`wal/tests/damage.rs`), and writes
//! the log anew then, or refuses. Files that were put aside are never read again.
//! So when a start has brought all that there was, and nothing went wrong in it, there is nothing to be excused any more:
//!
//! ```text
//!   spoils ──▶ excused ──▶ a start brings everything ──▶ it may sign, and does not recover ──▶ not excused
//!                 ▲                  │ damaged again                                               │
//!                 └──────────────────┴─────────────────────────────────────────────────────────────┘
//! ```
//!
//! - *All that there was* is what was durable when the process died; all votes and acks of all lives, because after a
//!   loss that was excused the log counts from what was left; the committed prefix; and the certificates for what its
//!   blocks name, which a store takes with it.
//! - It may sign only when it has heard what others know of it, so the excuse lasts until then.
//! - A sync that was a lie, of a file or of names, is an exception: the cache has what the platter lacks, and a start
//!   reads the cache. That shows when the power goes, and such a disk is excused until then. A copy of it lies as well.
//!
//! Left out: an end for two processes with one key. Neither ever knows what the other has signed.

/// What is excused of one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excuse {
    excused: bool,
    lied_to: bool,
    came_whole: bool,
}

impl Excuse {
    /// The disk breaks a promise, or is going to.
    pub const fn begin(&mut self) {
        (self.excused, self.came_whole) = (true, false);
    }

    /// What it breaks is that it claims to have done something: starts may not see that yet.
    pub const fn is_a_lie(&mut self) {
        self.lied_to = true;
    }

    /// The disk is now a copy of one that was excused like this: its platter lacks what that one lacked.
    pub const fn takes_over(&mut self, copied: Self) {
        self.lied_to |= copied.lied_to;
    }

    /// The power is gone, and with it all that was never written.
    pub const fn lies_show(&mut self) {
        self.lied_to = false;
    }

    /// A process starts; `whole` says whether it has brought all that there was, from a disk that did what it said.
    pub const fn starts(&mut self, whole: bool) {
        self.came_whole = whole && !self.lied_to;
    }

    /// The process may sign, and does not recover.
    pub const fn may_sign(&mut self) {
        if self.came_whole {
            self.excused = false;
        }
    }

    /// Whether the machine may lack what it had.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.excused
    }
}
