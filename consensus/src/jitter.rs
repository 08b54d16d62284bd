//! Timeouts that differ from node to node and from time to time, drawn from a seed (Raft §5.2).

use quorate_chain::roster::Lead;

use crate::message::Nonce;
use crate::time::Span;

/// A source of arbitrary numbers that a seed determines (SplitMix64).
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// The source that begins at this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number for one question.
    pub fn nonce(&mut self) -> Nonce {
        Nonce(self.draw())
    }

    /// A span from nothing to just below `limit`.
    pub fn below(&mut self, limit: Span) -> Span {
        Span::micros(self.draw() % limit.as_micros().max(1))
    }

    /// How long to hear nothing before campaigning: [T, 2T) for the willing, the shorter half of it
    /// for those who would rather lead, four times as long for those who would rather not.
    pub fn election_timeout(&mut self, base: Span, lead: Lead) -> Span {
        let extra = self.below(base).as_micros();
        match lead {
            Lead::Prefer => Span::micros(base.as_micros().saturating_add(extra / 4)),
            Lead::Yes => Span::micros(base.as_micros().saturating_add(extra)),
            Lead::No => Span::micros(base.as_micros().saturating_add(extra)).times(4),
        }
    }
}
