//! Commit certificates: the newest one reached, and those for blocks still to come.

use std::collections::BTreeMap;

use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, Height};

/// Most certificates kept for blocks that are not here yet.
const AHEAD: usize = 64;

/// Commit certificates, verified.
///
/// A certificate above the committed tip is kept until the chain reaches it: otherwise a node that
/// chases the tip would forget, again and again, what it could have committed by.
#[derive(Clone, Debug, Default)]
pub struct Commits {
    /// The newest one for a block at or below the committed tip.
    reached: Option<Checked<Certificate>>,
    /// Those for blocks above it, by height.
    ahead: BTreeMap<Height, Checked<Certificate>>,
}

impl Commits {
    /// Begins with the certificate of the committed tip, if there is one.
    #[must_use]
    pub const fn new(reached: Option<Checked<Certificate>>) -> Self {
        Self { reached, ahead: BTreeMap::new() }
    }

    /// The newest certificate for a block at or below the committed tip.
    #[must_use]
    pub const fn reached(&self) -> Option<&Checked<Certificate>> {
        self.reached.as_ref()
    }

    /// Whether this very statement is known already.
    #[must_use]
    pub fn knows(&self, certificate: &Certificate) -> bool {
        let held = self.ahead.get(&certificate.block().height);
        held.or(self.reached.as_ref())
            .is_some_and(|known| known.statement() == certificate.statement())
    }

    /// The highest block that is certified and not reached yet.
    #[must_use]
    pub fn wanted(&self) -> Option<BlockRef> {
        self.ahead.last_key_value().map(|(_, certificate)| certificate.block())
    }

    /// Keeps a certificate for a block above the committed tip.
    pub fn keep(&mut self, certificate: Checked<Certificate>) {
        let height = certificate.block().height;
        let newer = self.ahead.get(&height).is_none_or(|held| held.term() < certificate.term());
        if newer {
            self.ahead.insert(height, certificate);
        }
        if self.ahead.len() > AHEAD {
            // The highest one proves the most, the lowest one is reached first; both are kept.
            let middle = self.ahead.keys().nth(AHEAD / 2).copied();
            middle.map(|height| self.ahead.remove(&height));
        }
    }

    /// The highest kept certificate for a block on the chain.
    pub fn on_chain(&self, held: impl Fn(BlockRef) -> bool) -> Option<&Checked<Certificate>> {
        self.ahead.values().rev().find(|certificate| held(certificate.block()))
    }

    /// The committed tip has reached this height.
    pub fn reach(&mut self, committed: Height) {
        while let Some(first) = self.ahead.first_entry() {
            if *first.key() > committed {
                break;
            }
            self.reached = Some(first.remove());
        }
    }
}
