//! Who signed what: keys, signatures, and the two rules by which a signature is good.
//!
//! Ed25519 is one equation and many edges, and implementations differ at the edges. Here a block is
//! either good on every node or on none, so each use of a signature has one rule, and every node
//! runs the same code for it.
//!
//! | | a validator's | a sender's |
//! |---|---|---|
//! | signs | headers, statements, roster changes | transactions |
//! | checked | one at a time | in batches, and alone to the same verdict |
//! | equation | `[s]B = R + [k]A` | `[8][s]B = [8]R + [8][k]A` (ZIP-215) |
//! | `s` | below the order of `B` | the same |
//! | encoding of `R` | the canonical one | any of the point's |
//! | `R` of small order | refused | accepted |
//! | encoding of `A` | the canonical one | the same |
//! | `A` of small order | refused | the same |
//!
//! `k` is SHA-512 over the bytes of `R`, the bytes of `A` and the message, reduced.
//!
//! The sender's rule has the factor 8 because only then can a batch agree with its signatures one at
//! a time: a sum with random coefficients cannot see the small-order part of a point reliably. That
//! is why no batch is ever checked by the validators' equation.
//!
//! What the validators' rule accepts, the senders' accepts too, and so does every verifier that
//! follows RFC 8032, with the factor or without it: a client may check a header with whatever
//! Ed25519 its platform has. The converse is not true and nothing needs it.
//!
//! A key of small order would sign every message at once; two encodings of one key would be two
//! accounts with one secret. Both kinds are refused as keys, for validators and senders alike.
//!
//! Left out: contexts and prehashing (what is signed begins with its own domain), other algorithms,
//! the making of seeds (this crate has no source of randomness) and their storage.

mod keys;
mod sender;
mod validator;

pub use keys::{KeyError, SecretKey, check_account_key};
pub use validator::ValidatorKey;

use crate::ids::{AccountKey, Hash, Signature};

/// A signature that its key did not make, as far as the rule for it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not good for this key and message")]
pub struct BadSignature;

/// A batch with a bad signature, or a key that may not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("item {index} of the batch has a bad key or a bad signature")]
pub struct BadSender {
    /// The first one, counted from 0.
    pub index: usize,
}

/// A message with its SHA-256. Who has hashed it already need not do so again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    bytes: &'a [u8],
    hash: Hash,
}

impl<'a> Message<'a> {
    /// A message that is hashed now.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, hash: Hash::of(&[bytes]) }
    }

    /// A message that has this hash: the id of a transaction.
    pub(crate) const fn hashed(bytes: &'a [u8], hash: Hash) -> Self {
        Self { bytes, hash }
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// What a sender signed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderSignature<'a> {
    /// Whose it should be.
    pub key: AccountKey,
    /// What is signed.
    pub message: Message<'a>,
    /// The signature.
    pub signature: Signature,
}

/// How signatures are checked.
///
/// The product has one implementation, [`Ed25519`]. It is a trait so that a simulation of months may
/// bring signatures that cost nothing.
///
/// A verdict is a function of the arguments and of nothing else.
pub trait Verifier: Send + Sync {
    /// Checks a validator's signature.
    ///
    /// # Errors
    /// If it is bad.
    fn validator(
        &self,
        key: &ValidatorKey,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature>;

    /// Checks the keys and the signatures of any number of senders. How they are put together into
    /// batches makes no difference to which are good.
    ///
    /// # Errors
    /// The first one that is bad.
    fn senders(&self, batch: &[SenderSignature<'_>]) -> Result<(), BadSender>;
}

/// What a validator signs with.
///
/// A trait for the same reason as [`Verifier`], and so that a key can live outside the process.
/// Senders need none: they are clients, and sign with a [`SecretKey`] or whatever they have.
pub trait Signer: Send + Sync {
    /// The key that checks what this signs.
    fn key(&self) -> ValidatorKey;

    /// Signs a message.
    fn sign(&self, message: &[u8]) -> Signature;
}

/// The two rules, as the module describes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ed25519;

impl Verifier for Ed25519 {
    fn validator(
        &self,
        key: &ValidatorKey,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        key.verify(message, signature)
    }

    fn senders(&self, batch: &[SenderSignature<'_>]) -> Result<(), BadSender> {
        sender::first_bad(batch).map_or(Ok(()), |index| Err(BadSender { index }))
    }
}

impl Signer for SecretKey {
    fn key(&self) -> ValidatorKey {
        self.validator_key()
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Self::sign(self, message)
    }
}
