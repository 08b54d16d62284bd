//! Which of a sender's nonces have been used.
//!
//! Nonces start at 0 and slide: one up to [`crate::limits::NONCE_WINDOW`] above the highest used so far
//! moves the window, one that was skipped may still come late as long as it is within the window, and
//! everything below is used. Parallel clients may therefore share a key, and no nonce is ever used
//! twice.
//!
//! ```text
//!    used ──────────┐ ┌──── the last 1,024 below `next`: used unless marked free ────┐ ┌─ free
//!  0 … next − 1,025 │ │ next − 1,024 …                                     next − 1 │ │ next …
//! ```

use crate::codec::{Decode, DecodeError, Encode, Reader, put_bytes};
use crate::ids::Nonce;
use crate::limits::NONCE_WINDOW;

const WORDS: usize = (NONCE_WINDOW / 64) as usize;

/// What is known of a sender's nonces.
///
/// Invariant: a nonce is marked free only if it is at least 0 and below `next`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nonces {
    /// One above the highest used.
    next: u64,
    /// Bit i, counted from the lowest of the first word, marks the nonce next − 1 − i as free.
    free: [u64; WORDS],
}

/// Why a nonce cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceError {
    /// It has been used, or lies below the window.
    Used,
    /// It lies above the window.
    TooFar,
}

impl Nonces {
    /// The nonce that a sender should use next.
    #[must_use]
    pub const fn next(&self) -> Nonce {
        Nonce::new(self.next)
    }

    /// The lowest nonce of the window.
    #[must_use]
    pub const fn base(&self) -> Nonce {
        Nonce::new(self.next.saturating_sub(NONCE_WINDOW))
    }

    /// Whether a nonce can be used.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(&self, nonce: Nonce) -> Result<(), NonceError> {
        let nonce = nonce.get();
        match nonce.checked_sub(self.next) {
            // The very last number is never used, so that there always is a next one.
            Some(ahead) if ahead < NONCE_WINDOW && nonce < u64::MAX => Ok(()),
            Some(_) => Err(NonceError::TooFar),
            None if self.is_free(self.next - 1 - nonce) => Ok(()),
            None => Err(NonceError::Used),
        }
    }

    /// Uses a nonce.
    ///
    /// # Errors
    /// Why it cannot be used; then nothing has changed.
    pub fn take(&mut self, nonce: Nonce) -> Result<(), NonceError> {
        self.check(nonce)?;
        let nonce = nonce.get();
        match nonce.checked_sub(self.next) {
            Some(skipped) => {
                self.shift(skipped + 1);
                for place in 1..=skipped {
                    self.set(place, true);
                }
                self.next = nonce + 1;
            }
            None => self.set(self.next - 1 - nonce, false),
        }
        Ok(())
    }

    fn is_free(&self, place: u64) -> bool {
        place < NONCE_WINDOW && self.free[(place / 64) as usize] >> (place % 64) & 1 == 1
    }

    fn set(&mut self, place: u64, free: bool) {
        if place < NONCE_WINDOW {
            let bit = 1 << (place % 64);
            let word = &mut self.free[(place / 64) as usize];
            *word = if free { *word | bit } else { *word & !bit };
        }
    }

    /// Moves every mark up by `by` places; what leaves the window is used from now on.
    fn shift(&mut self, by: u64) {
        let (words, bits) = ((by / 64) as usize, by % 64);
        let old = self.free;
        for (at, word) in self.free.iter_mut().enumerate() {
            let from = |back: usize| at.checked_sub(back).map_or(0, |at| old[at]);
            let carry = if bits == 0 { 0 } else { from(words + 1) >> (64 - bits) };
            *word = from(words) << bits | carry;
        }
    }
}

impl Encode for Nonces {
    fn encode(&self, out: &mut Vec<u8>) {
        self.next().encode(out);
        let bytes: Vec<u8> = self.free.iter().flat_map(|word| word.to_le_bytes()).collect();
        let length = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        put_bytes(out, &bytes[..length]);
    }
}

impl Decode for Nonces {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let next = from.u64("next nonce")?;
        Reader::require(next > 0, "next nonce", offset, "without a used nonce there is no entry")?;
        let offset = from.offset();
        let bytes = from.bytes("free nonces", WORDS * 8)?;
        let trimmed = bytes.last() != Some(&0);
        Reader::require(trimmed, "free nonces", offset, "trailing zeros are left out")?;
        let mut free = [0; WORDS];
        for (word, chunk) in free.iter_mut().zip(bytes.chunks(8)) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_le_bytes(eight);
        }
        let nonces = Self { next, free };
        let beyond = (next..NONCE_WINDOW).any(|place| nonces.is_free(place));
        Reader::require(!beyond, "free nonces", offset, "a free nonce is at least 0")?;
        Reader::require(!nonces.is_free(0), "free nonces", offset, "the highest one is used")?;
        Ok(nonces)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The rule as the module states it, with all that was ever used in a set.
    fn model(used: &BTreeSet<u64>, nonce: u64) -> Result<(), NonceError> {
        let next = used.last().map_or(0, |top| top + 1);
        if nonce >= next {
            return if nonce - next < NONCE_WINDOW { Ok(()) } else { Err(NonceError::TooFar) };
        }
        let seen = used.contains(&nonce) || next - nonce > NONCE_WINDOW;
        if seen { Err(NonceError::Used) } else { Ok(()) }
    }

    #[test]
    fn it_agrees_with_the_rule_on_any_order_of_nonces() {
        let mut random = 1_u64;
        for reach in [1, 2, 70, 1_024, 1_030, 2_500] {
            let (mut nonces, mut used) = (Nonces::default(), BTreeSet::new());
            for _ in 0..3_000 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let low = nonces.next().get().saturating_sub(reach);
                let nonce = low + (random >> 33) % (2 * reach);
                let expected = model(&used, nonce);
                assert_eq!(nonces.take(Nonce::new(nonce)), expected, "nonce {nonce} in {nonces:?}");
                if expected.is_ok() {
                    used.insert(nonce);
                }
                let decoded = Nonces::from_bytes(&nonces.to_bytes());
                assert_eq!(decoded.ok(), (nonces.next > 0).then_some(nonces));
            }
        }
    }

    #[test]
    fn one_after_the_other_leaves_no_marks() {
        let mut nonces = Nonces::default();
        for nonce in 0..5_000 {
            nonces.take(Nonce::new(nonce)).unwrap();
        }
        assert_eq!(nonces.to_bytes().len(), 12);
    }

    #[test]
    fn the_end_of_the_numbers_is_out_of_reach() {
        let mut end = Nonces { next: u64::MAX, free: [0; WORDS] };
        assert_eq!(end.take(Nonce::new(u64::MAX)), Err(NonceError::TooFar));
    }
}
