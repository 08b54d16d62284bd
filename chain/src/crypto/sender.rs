//! The senders' rule, one at a time and in batches.
//!
//! A batch is checked by one sum instead of many: for coefficients `z`, one for each signature, it
//! asks whether `[8]` times the sum of `[z](R + [k]A - [s]B)` vanishes. If all signatures are good it
//! does, whatever the coefficients. If one is bad, it does for at most one in 2^128 choices of its
//! coefficient, the others being what they are. So a sum that vanishes settles the batch, and one that
//! does not is taken apart until the first bad signature stands alone before the rule for one.
//!
//! # The coefficients
//!
//! They are no secret and need no luck: they are drawn from a hash of the whole batch, that is of
//! every key, signature and hash of a message. Whoever changes a bit anywhere draws all of them anew, so the
//! only way to a bad batch that passes is to try some 2^128 of them, which is what breaking a key
//! costs as well. Nothing may be left out of the hash:
//!
//! - with the signatures left out, two of them can be made bad so that their errors cancel;
//! - with the messages left out, the coefficients would be known first and the messages chosen then.
//!   To find 1,024 messages that make the sum vanish is a generalised birthday problem (Wagner,
//!   CRYPTO 2002) and takes some 2^33 steps, an hour's work.
//!
//! The library hands the coefficients out in the order of a hash table with a seed of its own, so two
//! nodes may give one coefficient to different signatures. The bound holds for every order.

use std::convert::Infallible;

use ed25519_zebra::{Signature, VerificationKey, VerificationKeyBytes, batch};
use rand_core::{TryCryptoRng, TryRng, utils};
use sha2::{Digest, Sha256};

use super::{SenderSignature, check_account_key};

/// The smallest batch that takes less time than its signatures one at a time: two take 28 us each
/// instead of 31. No verdict depends on it.
const SMALLEST_BATCH: usize = 2;

// One cannot be taken apart.
const _: () = assert!(SMALLEST_BATCH >= 2);

/// The index of the first bad key or signature.
pub(super) fn first_bad(batch: &[SenderSignature<'_>]) -> Option<usize> {
    let bad_key = batch.iter().position(|item| check_account_key(&item.key).is_err());
    let checked = &batch[..bad_key.unwrap_or(batch.len())];
    first_bad_signature(checked).or(bad_key)
}

/// The index of the first bad signature.
fn first_bad_signature(batch: &[SenderSignature<'_>]) -> Option<usize> {
    if batch.len() < SMALLEST_BATCH {
        first_bad_alone(batch)
    } else if sum_vanishes(batch) {
        None
    } else {
        narrow(batch)
    }
}

/// The same for a batch whose sum did not vanish. Wherever the bad signature stands, this takes about
/// as long as that sum did, and both together hardly longer than every signature alone.
fn narrow(batch: &[SenderSignature<'_>]) -> Option<usize> {
    if batch.len() < SMALLEST_BATCH {
        return first_bad_alone(batch);
    }
    let (front, back) = batch.split_at(batch.len() / 2);
    // If the front is good, the back cannot be: its own sum need not be asked.
    first_bad_signature(front).or_else(|| narrow(back).map(|index| front.len() + index))
}

/// The same, one at a time.
fn first_bad_alone(batch: &[SenderSignature<'_>]) -> Option<usize> {
    batch.iter().position(|item| !is_good(item))
}

/// The rule for one.
fn is_good(item: &SenderSignature<'_>) -> bool {
    let signature = Signature::from_bytes(item.signature.as_bytes());
    VerificationKey::try_from(*item.key.as_bytes())
        .is_ok_and(|key| key.verify(&signature, item.message.bytes).is_ok())
}

/// The rule for all at once.
fn sum_vanishes(batch: &[SenderSignature<'_>]) -> bool {
    let mut sum = batch::Verifier::new();
    for item in batch {
        let key = VerificationKeyBytes::from(*item.key.as_bytes());
        let signature = Signature::from_bytes(item.signature.as_bytes());
        sum.queue((key, signature, item.message.bytes));
    }
    sum.verify(Coefficients::of(batch)).is_ok()
}

/// SHA-256 in counter mode. The library draws 16 bytes for each signature, so one hash makes two
/// coefficients.
struct Coefficients {
    seed: [u8; 32],
    /// How many hashes have been made.
    hashes: u64,
    hash: [u8; 32],
    /// Whether the second half of the hash is still to be used.
    half_left: bool,
}

impl Coefficients {
    const HALF: usize = 16;

    fn of(batch: &[SenderSignature<'_>]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"quorate sender batch");
        for item in batch {
            hasher.update(item.key.as_bytes());
            hasher.update(item.signature.as_bytes());
            hasher.update(item.message.hash.as_bytes());
        }
        Self { seed: hasher.finalize().into(), hashes: 0, hash: [0; 32], half_left: false }
    }
}

impl TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for piece in dst.chunks_mut(Self::HALF) {
            let half = if self.half_left {
                &self.hash[Self::HALF..]
            } else {
                let mut hasher = Sha256::new_with_prefix(self.seed);
                hasher.update(self.hashes.to_be_bytes());
                self.hash = hasher.finalize().into();
                self.hashes += 1;
                &self.hash[..Self::HALF]
            };
            piece.copy_from_slice(&half[..piece.len()]);
            self.half_left = !self.half_left;
        }
        Ok(())
    }
}

/// What the trait asks is that nobody can predict the next bytes from the last. Here the seed can be
/// computed by anyone who has the batch; the module says why that is enough for this one use.
impl TryCryptoRng for Coefficients {}

#[cfg(test)]
mod tests {
    use rand_core::Rng;

    use super::*;
    use crate::crypto::{Message, SecretKey};
    use crate::ids::{AccountKey, Hash, Signature as Bytes64};

    fn item(seed: u8, message: &[u8]) -> SenderSignature<'_> {
        let key = SecretKey::from_seed(&[seed; 32]);
        let signature = key.sign(message);
        SenderSignature { key: key.account_key(), message: Message::new(message), signature }
    }

    #[test]
    fn coefficients_depend_on_every_byte_of_the_batch() {
        let batch = [item(1, b"one"), item(2, b"two")];
        let (key, signature) = (batch[1].key, batch[1].signature);
        let joined = [b"one", &key.as_bytes()[..], signature.as_bytes(), b"two"].concat();
        let mut seeds = vec![
            Coefficients::of(&batch).seed,
            Coefficients::of(&batch[..1]).seed,
            Coefficients::of(&[]).seed,
            Coefficients::of(&[batch[1], batch[0]]).seed,
            Coefficients::of(&[batch[0], batch[1], batch[1]]).seed,
            Coefficients::of(&[SenderSignature { message: Message::new(&joined), ..batch[0] }])
                .seed,
            Coefficients::of(&[
                SenderSignature { message: Message::new(b"onf"), ..batch[0] },
                batch[1],
            ])
            .seed,
            Coefficients::of(&[
                SenderSignature { message: Message::new(b"one\0"), ..batch[0] },
                batch[1],
            ])
            .seed,
        ];
        for at in 0..64 {
            let mut signature = *batch[1].signature.as_bytes();
            signature[at] ^= 1;
            let signature = Bytes64::new(signature);
            seeds.push(
                Coefficients::of(&[batch[0], SenderSignature { signature, ..batch[1] }]).seed,
            );
        }
        for at in 0..32 {
            let mut key = *batch[1].key.as_bytes();
            key[at] ^= 1;
            let key = AccountKey::new(key);
            seeds.push(Coefficients::of(&[batch[0], SenderSignature { key, ..batch[1] }]).seed);
        }
        let count = seeds.len();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), count);
        assert_eq!(Coefficients::of(&batch).seed, Coefficients::of(&batch).seed);
    }

    /// A sum that is too strict changes no verdict and so no other test sees it: it would only let
    /// some senders make every batch slow.
    #[test]
    fn the_sum_itself_follows_the_rule() {
        // "Taming the many EdDSAs", case 9: a mixed key, and R of small order in a second encoding.
        let key =
            "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43".parse().unwrap();
        let message: Hash =
            "84b698d39be126ff55fe45079e6c8bf64a0d7db6994560b4e96b7021eb39c1a1".parse().unwrap();
        let r: Hash =
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f".parse().unwrap();
        let s: Hash =
            "084d5b99c2a9463d9c8bd5026916996984eeec87ddf1d3be329006ace1b37b09".parse().unwrap();
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(r.as_bytes());
        signature[32..].copy_from_slice(s.as_bytes());
        let signature = Bytes64::new(signature);
        let edge = SenderSignature { key, message: Message::new(message.as_bytes()), signature };
        assert!(sum_vanishes(&[item(1, b"one"), edge, item(2, b"two")]));
        assert!(!sum_vanishes(&[
            item(1, b"one"),
            SenderSignature { message: Message::new(b""), ..edge }
        ]));
    }

    #[test]
    fn coefficients_are_the_halves_of_numbered_hashes() {
        let mut coefficients = Coefficients::of(&[]);
        let mut expected = Vec::new();
        for number in 0..3_u64 {
            let hash = [&coefficients.seed[..], &number.to_be_bytes()].concat();
            expected.extend_from_slice(&Sha256::digest(hash));
        }
        let mut drawn = [0; 96];
        for half in drawn.chunks_mut(16) {
            coefficients.fill_bytes(half);
        }
        assert_eq!(drawn[..], expected[..]);
        let mut at_once = [0; 96];
        Coefficients::of(&[]).fill_bytes(&mut at_once);
        assert_eq!(at_once, drawn);
    }
}
