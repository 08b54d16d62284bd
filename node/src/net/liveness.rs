//! Who is there. Only silence tells: a link can be open with nobody at its end.

use std::time::Duration;

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    /// It has a link and was heard a moment ago.
    Alive,
    /// Its link is closed, or it has been silent for a while.
    Suspect,
    /// It has been silent for long, or was never heard.
    Dead,
}

impl Liveness {
    /// Judges a peer by how long it has been silent; `None` if it was never heard.
    #[must_use]
    pub fn of(
        linked: bool,
        silence: Option<Duration>,
        suspect_after: Duration,
        dead_after: Duration,
    ) -> Self {
        match silence {
            None => Self::Dead,
            Some(silence) if silence > dead_after => Self::Dead,
            Some(silence) if !linked || silence > suspect_after => Self::Suspect,
            Some(_) => Self::Alive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_makes_suspect_then_dead_and_a_closed_link_suspect_at_once() {
        let of = |linked, silence: Option<u64>| {
            let limits = (Duration::from_millis(700), Duration::from_millis(1_500));
            Liveness::of(linked, silence.map(Duration::from_millis), limits.0, limits.1)
        };
        assert_eq!(of(true, Some(0)), Liveness::Alive);
        assert_eq!(of(true, Some(700)), Liveness::Alive);
        assert_eq!(of(true, Some(701)), Liveness::Suspect);
        assert_eq!(of(true, Some(1_501)), Liveness::Dead);
        assert_eq!(of(false, Some(0)), Liveness::Suspect);
        assert_eq!(of(false, Some(1_501)), Liveness::Dead);
        assert_eq!(of(false, None), Liveness::Dead);
    }
}
