//! Chance, from a seed: every part of the world has dice of its own, so that turning one fault off
//! leaves the throws for the others as they were.

/// Dice that a seed determines (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice for one part of the world.
    #[must_use]
    pub fn new(seed: u64, part: u64) -> Self {
        let mut dice = Self(seed ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.draw();
        dice
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit; zero if there is none.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The upper half of a product: near enough to even, and no division.
        let wide = u128::from(self.draw()) * u128::from(limit);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// The same, to index with.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// A number from a range, both ends included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Whether something happens that happens so often in a million times.
    pub fn chance(&mut self, in_a_million: u64) -> bool {
        self.below(1_000_000) < in_a_million
    }

    /// Heads or tails.
    pub fn flip(&mut self) -> bool {
        self.draw() >> 63 == 1
    }

    /// A number from a range such that each order of magnitude is as likely as any other.
    pub fn spread(&mut self, low: u64, high: u64) -> u64 {
        let (mut from, mut steps) = (low.max(1), 0);
        while from < high {
            from = from.saturating_mul(2);
            steps += 1;
        }
        let floor = low.max(1).saturating_mul(1 << self.below(steps.max(1)));
        self.between(floor.min(high), floor.saturating_mul(2).min(high))
    }
}
