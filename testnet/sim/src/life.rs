//! One world from beginning to end, whatever comes of it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::dials::{Choice, Dials};
use crate::report::Tally;
use crate::world::World;

thread_local! {
    /// What the last panic of this thread said.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What went wrong in a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The promise that was broken, or where a panic was.
    pub rule: String,
    /// The facts.
    pub found: String,
    /// How many events it took.
    pub events: u64,
    /// When it was, in simulated microseconds.
    pub moment: u64,
}

/// What came of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was chosen.
    pub choice: Choice,
    /// What happened.
    pub tally: Tally,
    /// The hash over every event.
    pub trace: u64,
    /// What went wrong, if anything did.
    pub failure: Option<Failure>,
}

/// From now on a panic is remembered instead of printed.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|info| {
        SAID.with_borrow_mut(|said| *said = info.to_string());
    }));
}

/// Lives through the world of a choice.
#[must_use]
pub fn live(choice: &Choice) -> Outcome {
    live_in(choice, World::with(choice, Dials::draw(choice)))
}

/// Lives through this world.
#[must_use]
pub fn live_in(choice: &Choice, mut world: World) -> Outcome {
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    let (events, moment) = (world.tally.events, world.now);
    let failure = match ended {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => {
            let (rule, found) = (violation.rule.to_owned(), violation.found);
            Some(Failure { rule, found, events, moment })
        }
        Err(_) => {
            let found = SAID.with_borrow(Clone::clone);
            // Where it was: the first line of what a panic says.
            let rule = found.lines().next().unwrap_or("a panic").to_owned();
            Some(Failure { rule, found, events, moment })
        }
    };
    Outcome { choice: choice.clone(), tally: world.tally, trace: world.trace, failure }
}
