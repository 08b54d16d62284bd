//! Time, as far as the core knows it: numbers that somebody else counts.

use quorate_chain::ids::TimeUs;

/// A span of time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

impl Span {
    /// A span of so many microseconds.
    #[must_use]
    pub const fn micros(micros: u64) -> Self {
        Self(micros)
    }

    /// A span of so many milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// How many microseconds it has.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// So many times as long.
    #[must_use]
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

/// A moment of a clock that never goes back, counted from wherever it began. It decides when to act
/// and nothing else: no safety rests on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// So many microseconds after the clock began.
    #[must_use]
    pub const fn micros(micros: u64) -> Self {
        Self(micros)
    }

    /// How many microseconds after the clock began.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment a span later.
    #[must_use]
    pub const fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// How long after another moment; nothing if it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// What the clocks say when an event is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The clock that never goes back.
    pub moment: Moment,
    /// The calendar, for the time in headers.
    pub time: TimeUs,
}
