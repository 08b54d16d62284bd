//! Which frozen states somebody is getting: what keeps them, and for how long.
//!
//! A store keeps two frozen states, and who gets one in the middle of that would have to begin anew with
//! each that is frozen: where states follow each other faster than a link carries one, never to end. So
//! the older one is kept, with the blocks above it, while pieces of it or these blocks are asked for.
//!
//! Whoever asks cannot keep it for ever: after as many heights at which a state could have been frozen as
//! a state of that size may take election timeouts, it goes. The newer one, which is offered
//! meanwhile, has the same time from then on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorate_chain::ids::Height;

/// At how many of the heights for a frozen state nobody has to ask for a piece until nobody is getting it
/// any more: who has lost one asks again after an election timeout, and who has the last one has to install the
/// state before it asks for the blocks above it.
const QUIET: u32 = 8;

/// What is asked for, told by who reads pieces, and seen by the applier.
#[derive(Debug, Default)]
pub struct Demand {
    /// For each state that is asked for, at how many heights for a frozen state nobody has asked since.
    quiet: Mutex<BTreeMap<Height, u32>>,
}

impl Demand {
    /// Somebody gets a piece of the state that was frozen at a height, or blocks above it.
    pub(crate) fn asked(&self, frozen: Height) {
        self.quiet().insert(frozen, 0);
    }

    /// One of the heights for a frozen state is reached.
    pub(crate) fn pass(&self) {
        self.quiet().retain(|_, quiet| {
            *quiet += 1;
            *quiet <= QUIET
        });
    }

    /// Whether somebody is getting the state that was frozen at a height.
    pub(crate) fn is_for(&self, frozen: Height) -> bool {
        self.quiet().contains_key(&frozen)
    }

    fn quiet(&self) -> MutexGuard<'_, BTreeMap<Height, u32>> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
