//! Which 32 bytes may be a public key, and the secret key.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use super::ValidatorKey;
use crate::ids::{AccountKey, HexError, Signature};

/// Why something is not a public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The coordinate it stands for has a shorter encoding.
    #[error("a public key encodes a number below 2^255 - 19, this one does not")]
    NotCanonical,
    /// A key with which anyone can sign.
    #[error("a point of small order is no public key")]
    SmallOrder,
    /// No point of the curve has this coordinate.
    #[error("a public key is a point of the curve, this is none")]
    NotAPoint,
    /// Text that is not 32 bytes.
    #[error(transparent)]
    Hex(#[from] HexError),
}

/// The coordinates `y` of the eight points of small order: 0 (order 4), 1 (order 1), -1 (order 2),
/// and the two of order 8. Each stands for `x` and `-x`.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// Checks that bytes are the canonical encoding of a coordinate, and of no point of small order.
///
/// It compares bytes and does not decode, so it does not know whether they are a point: about half of
/// all bytes are none, and no signature is ever good for those. Whoever grants something to such a
/// key grants it to nobody.
///
/// # Errors
/// Which of the two it is not.
pub fn check_account_key(key: &AccountKey) -> Result<(), KeyError> {
    check_bytes(key.as_bytes())
}

/// The same for any public key, and for the `R` of a validator's signature.
pub(super) fn check_bytes(bytes: &[u8; 32]) -> Result<(), KeyError> {
    // The highest bit is the sign of `x`. Without it only `y` is left, so that 0 and "minus 0", an
    // encoding that some decoders refuse, are one.
    let mut y = *bytes;
    y[31] &= 0x7f;
    // Little-endian, and p is ed ff .. ff 7f.
    if y[0] >= 0xed && y[31] == 0x7f && y[1..31].iter().all(|&byte| byte == 0xff) {
        return Err(KeyError::NotCanonical);
    }
    if SMALL_ORDER.contains(&y) {
        return Err(KeyError::SmallOrder);
    }
    Ok(())
}

/// A secret key: the 32-byte seed of RFC 8032, erased from memory when it is dropped.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a seed. It is borrowed so that the caller can keep it where it will be erased.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Signs a message. The same message always has the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature::new(self.0.sign(message).to_bytes())
    }

    /// The public key, for a validator.
    #[must_use]
    pub fn validator_key(&self) -> ValidatorKey {
        ValidatorKey::of(&self.0)
    }

    /// The public key, for an account.
    #[must_use]
    pub fn account_key(&self) -> AccountKey {
        AccountKey::new(self.0.verifying_key().to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    /// The public key alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.account_key())
    }
}
