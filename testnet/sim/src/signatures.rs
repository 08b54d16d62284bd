//! Signatures for a world in which only those who hold a key use it.
//!
//! With real ones on every message, a simulation spends nearly all of its time on the curve. The stand-in
//! binds a signature to key and message by a fast hash that anyone could compute; the world never forges one
//! except on purpose, with bytes that do not fit. One seed in a hundred has the real ones.

use std::sync::Arc;

use quorate_chain::crypto::{
    BadSender, BadSignature, Ed25519, SecretKey, SenderSignature, Signer, ValidatorKey, Verifier,
};
use quorate_chain::ids::Signature;

/// Whose signatures these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// A hash.
    StandIn,
    /// Ed25519.
    Real,
}

impl Signatures {
    /// What checks them.
    #[must_use]
    pub fn verifier(self) -> Arc<dyn Verifier> {
        match self {
            Self::StandIn => Arc::new(StandIn),
            Self::Real => Arc::new(Ed25519),
        }
    }

    /// What a validator signs with.
    #[must_use]
    pub fn signer(self, key: SecretKey) -> Arc<dyn Signer> {
        match self {
            Self::StandIn => Arc::new(StandInKey(key.validator_key())),
            Self::Real => Arc::new(key),
        }
    }

    /// The signature of a sender or an admin.
    #[must_use]
    pub fn sign(self, key: &SecretKey, public: &[u8; 32], message: &[u8]) -> Signature {
        match self {
            Self::StandIn => stand_in(public, message),
            Self::Real => key.sign(message),
        }
    }
}

/// A signature made of the key and the message.
fn stand_in(key: &[u8; 32], message: &[u8]) -> Signature {
    let (mut left, mut right) = (0x243f_6a88_85a3_08d3_u64, 0x1319_8a2e_0370_7344_u64);
    let mut mix = |word: u64| {
        let wide = u128::from(left ^ word) * u128::from(right ^ 0xa076_1d64_78bd_642f);
        let bytes = wide.to_le_bytes();
        left = word_of(&bytes[..8]) ^ right;
        right = word_of(&bytes[8..]).wrapping_add(word);
    };
    key.chunks(8).chain(message.chunks(8)).for_each(|chunk| mix(word_of(chunk)));
    mix(message.len() as u64);
    mix(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(&left.to_le_bytes());
    bytes[8..16].copy_from_slice(&right.to_le_bytes());
    Signature::new(bytes)
}

fn word_of(chunk: &[u8]) -> u64 {
    match <[u8; 8]>::try_from(chunk) {
        Ok(bytes) => u64::from_le_bytes(bytes),
        Err(_) => chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

#[derive(Debug)]
struct StandInKey(ValidatorKey);

impl Signer for StandInKey {
    fn key(&self) -> ValidatorKey {
        self.0.clone()
    }

    fn sign(&self, message: &[u8]) -> Signature {
        stand_in(self.0.as_bytes(), message)
    }
}

#[derive(Debug)]
struct StandIn;

impl Verifier for StandIn {
    fn validator(
        &self,
        key: &ValidatorKey,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        if stand_in(key.as_bytes(), message) == *signature { Ok(()) } else { Err(BadSignature) }
    }

    fn senders(&self, batch: &[SenderSignature<'_>]) -> Result<(), BadSender> {
        let good = |item: &SenderSignature<'_>| {
            stand_in(item.key.as_bytes(), item.message.bytes()) == item.signature
        };
        batch.iter().position(|item| !good(item)).map_or(Ok(()), |index| Err(BadSender { index }))
    }
}
