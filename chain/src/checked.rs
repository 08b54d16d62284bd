//! The type that only verification makes.
//!
//! What has been verified is said where one is made: of a transaction every signature; of a block its
//! body, that is its root and its transactions (who may seal it, the chain tells); of a statement or a
//! certificate every signature, by the roster that it names.
//!
//! What arrives from a peer or a client is a bare `T`. A function that relies on its signatures
//! takes a `Checked<T>`, and the verifying functions of this crate are the only ones that return
//! one, with a single door beside them: [`Checked::vouch`]. Where that door may be used is listed in
//! the tidy test of the workspace.

use std::ops::Deref;

/// A value that has been verified by itself. It cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checked<T>(T);

impl<T> Checked<T> {
    /// Says that verification has just succeeded.
    pub(crate) const fn verified(value: T) -> Self {
        Self(value)
    }

    /// Takes the caller's word for it: the value is our own signature, has been verified before it
    /// was stored, or belongs to a simulated world.
    pub const fn vouch(value: T) -> Self {
        Self(value)
    }

    /// The value.
    pub const fn get(&self) -> &T {
        &self.0
    }

    /// The value, no longer marked.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
