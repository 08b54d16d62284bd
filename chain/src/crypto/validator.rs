//! The validators' rule, and the key it takes.
//!
//! Left out: tables of multiples of keys that are used again and again. The library's own are read in constant
//! time and in portable code, and lose against its sum with doublings where that uses AVX-512. Tables that are read
//! plainly win a little while all of them are in the processor's cache, and lose when they are not.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ed25519_dalek::{SigningKey, Verifier as _, VerifyingKey};

use super::keys::check_bytes;
use super::{BadSignature, KeyError};
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::ids::{AccountKey, Signature};

/// An Ed25519 public key with which a validator signs.
///
/// It is kept decoded, because decoding costs a fifth of a verification. Equality, order and hash
/// are those of its 32 bytes.
///
/// **Invariant**: the bytes are the canonical encoding of a point of the curve that is not of small
/// order. So a signature that one such key accepts, no other accepts for the same message, and the
/// same key accepts for no other. The point may have a part of small order beside the main one. Its
/// owner made it so, on purpose, and most of what such a key signs is refused, by everyone alike.
#[derive(Clone)]
pub struct ValidatorKey(VerifyingKey);

impl ValidatorKey {
    /// How many bytes it has.
    pub const LENGTH: usize = 32;

    /// Decodes a key.
    ///
    /// # Errors
    /// If the bytes break the invariant.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        check_bytes(bytes)?;
        VerifyingKey::from_bytes(bytes).map(Self).map_err(|_| KeyError::NotAPoint)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half of a secret key: a multiple of the base point by a number that is a multiple
    /// of 8 and not of the group's order, so the invariant holds.
    pub(super) fn of(secret: &SigningKey) -> Self {
        Self(secret.verifying_key())
    }

    /// The validators' rule.
    ///
    /// It accepts what the library's `verify_strict` accepts. That one decodes `R`, a fifth of its time, to
    /// see whether it is of small order. But `verify` computes what `R` should be and compares the
    /// canonical bytes of that with the bytes given. So an `R` that is no point, or is not written
    /// canonically, fails there, and the eight that are left are known by their bytes. `A` is never of
    /// small order.
    pub(super) fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
        check_bytes(signature.r_bytes()).map_err(|_| BadSignature)?;
        self.0.verify(message, &signature).map_err(|_| BadSignature)
    }
}

impl PartialEq for ValidatorKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ValidatorKey {}

impl PartialOrd for ValidatorKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ValidatorKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for ValidatorKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for ValidatorKey {
    /// Lowercase hex; a precision shortens it, as in `{key:.8}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER.encode(self.as_bytes()))
    }
}

impl fmt::Debug for ValidatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValidatorKey({self:.8})")
    }
}

impl FromStr for ValidatorKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        // Both kinds of key are written alike.
        let key: AccountKey = text.parse()?;
        Self::from_bytes(key.as_bytes())
    }
}

impl serde::Serialize for ValidatorKey {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ValidatorKey {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Encode for ValidatorKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl Decode for ValidatorKey {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let bytes = from.array("validator key")?;
        Self::from_bytes(&bytes).map_err(|_| DecodeError::Invalid {
            field: "validator key",
            offset,
            rule: "a canonical point of the curve, not of small order",
        })
    }
}
