//! How long to wait before a peer is dialled again.

use std::time::Duration;

/// Waiting times that double. A part of each is left to chance, so that nodes that lost each other
/// together do not come back in step.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, next: least }
    }

    /// The next wait: between half of the full one and all of it.
    pub(super) fn next(&mut self, random: u64) -> Duration {
        let full = self.next;
        self.next = full.saturating_mul(2).min(self.most);
        let half = full / 2;
        let part = u32::try_from(random % 1_024).unwrap_or_default();
        half + half * part / 1_024
    }

    /// The peer was there: it is worth while to be quick again.
    pub(super) fn reset(&mut self) {
        self.next = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_are_never_longer() {
        let (least, most) = (Duration::from_millis(50), Duration::from_millis(800));
        for random in [0, 511, 1_023, u64::MAX] {
            let mut backoff = Backoff::new(least, most);
            let mut full = least;
            for _ in 0..8 {
                let wait = backoff.next(random);
                assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
                full = (full * 2).min(most);
            }
            backoff.reset();
            assert!(backoff.next(random) <= least);
        }
    }
}
