//! One start of one log, and the word of its validator that it began.
//!
//! ```text
//! "quorate/1/start" ‖ chain id ‖ validator ‖ incarnation ‖ boot ‖ nonce
//! ```
//!
//! A validator counts the starts of its log, durably, before it says anything. So two starts with one count
//! are two processes that run from copies of one log, or its disk has lost the count of the first; and only the
//! validator's own key can show them.
//!
//! Left out: when a start is shown, and what comes of it: see [`crate::amnesia`].

use quorate_chain::codec::Encode;
use quorate_chain::crypto::{Signer, ValidatorKey, Verifier};
use quorate_chain::ids::{ChainId, NodeId, Signature};

use crate::config::{Boot, Incarnation};
use crate::message::Nonce;

/// What the signed message begins with.
const DOMAIN: &[u8] = b"quorate/1/start";

/// One start of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Which log.
    pub incarnation: Incarnation,
    /// How often it had been begun.
    pub boot: Boot,
    /// Drawn at the start, from nothing that a copy of the log or of the settings has: two processes that begin
    /// copies do not share it, nor do two starts of a log whose disk has lost the count of the first.
    pub nonce: Nonce,
}

impl Life {
    /// The bytes that are signed.
    fn message(&self, chain_id: ChainId, id: NodeId) -> Vec<u8> {
        let mut out = DOMAIN.to_vec();
        chain_id.encode(&mut out);
        id.encode(&mut out);
        self.encode(&mut out);
        out
    }

    /// The word of this validator that it began so.
    #[must_use]
    pub fn sign(self, chain_id: ChainId, id: NodeId, signer: &dyn Signer) -> SignedLife {
        SignedLife { life: self, signature: signer.sign(&self.message(chain_id, id)) }
    }
}

/// A start, signed by the validator that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedLife {
    /// The start.
    pub life: Life,
    /// The signature.
    pub signature: Signature,
}

impl SignedLife {
    /// Whether this validator, with this key, signed it.
    #[must_use]
    pub fn is_by(
        &self,
        chain_id: ChainId,
        id: NodeId,
        key: &ValidatorKey,
        verifier: &dyn Verifier,
    ) -> bool {
        let message = self.life.message(chain_id, id);
        verifier.validator(key, &message, &self.signature).is_ok()
    }
}
