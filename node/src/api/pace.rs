//! How fast a number grows.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A rate over the last moments in which somebody asked for it.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<(Instant, u64, u64)>);

/// A rate is taken over at least so long.
const SPAN: Duration = Duration::from_millis(500);

impl Pace {
    /// A number that is this now.
    pub(crate) fn new(number: u64) -> Self {
        Self(Mutex::new((Instant::now(), number, 0)))
    }

    /// How much the number, which is this now, has grown in a second of late.
    pub(crate) fn per_second(&self, number: u64) -> u64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, before, rate) = *last;
        let passed = at.elapsed();
        if passed < SPAN {
            return rate;
        }
        let grown = u128::from(number.saturating_sub(before));
        let rate = u64::try_from(grown * 1_000 / passed.as_millis().max(1)).unwrap_or(u64::MAX);
        *last = (Instant::now(), number, rate);
        rate
    }
}
