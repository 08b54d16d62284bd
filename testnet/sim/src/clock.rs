//! The clocks of one node: how fast they run, and how they jump.

use quorate_chain::ids::TimeUs;
use quorate_consensus::time::{Moment, Now};

/// A rate of one: local microseconds in 1,000 microseconds of the world.
pub const TRUE_RATE: u64 = 1_000;

/// The clocks of one node. One never goes back, though it may stand still; the calendar may do anything.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The world's time at which the rate was last set.
    since: u64,
    /// What the clock said then.
    said: u64,
    rate: u64,
    /// How far the calendar is from the clock.
    calendar: i64,
}

impl Clock {
    /// A clock that says some time at the world's beginning.
    #[must_use]
    pub const fn new(said: u64) -> Self {
        Self { since: 0, said, rate: TRUE_RATE, calendar: 1_700_000_000_000_000 }
    }

    fn moment(&self, world: u64) -> u64 {
        self.said + (world - self.since) * self.rate / TRUE_RATE
    }

    /// What the clocks say.
    #[must_use]
    pub fn now(&self, world: u64) -> Now {
        let moment = self.moment(world);
        let time = TimeUs::new(moment.saturating_add_signed(self.calendar));
        Now { moment: Moment::micros(moment), time }
    }

    /// The world's time at which the clock will say this; never, if it stands still.
    #[must_use]
    pub fn when(&self, moment: Moment, world: u64) -> Option<u64> {
        let missing = moment.as_micros().saturating_sub(self.said);
        let needed = (missing.saturating_mul(TRUE_RATE)).checked_div(self.rate)?;
        // One more, because what the clock says is rounded down.
        Some(self.since.saturating_add(needed).saturating_add(1).max(world))
    }

    /// From now on it runs at this rate.
    pub fn set_rate(&mut self, world: u64, rate: u64) {
        self.said = self.moment(world);
        self.since = world;
        self.rate = rate;
    }

    /// It jumps ahead.
    pub fn jump(&mut self, world: u64, ahead: u64) {
        self.set_rate(world, self.rate);
        self.said += ahead;
    }

    /// The calendar is set to be this far from the clock's usual one.
    pub fn set_calendar(&mut self, off: i64) {
        self.calendar = 1_700_000_000_000_000 + off;
    }

    /// Whether it runs as it should.
    #[must_use]
    pub const fn is_true(&self) -> bool {
        self.rate == TRUE_RATE
    }
}
