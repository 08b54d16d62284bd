//! Commit certificates: the newest one reached, and those for blocks still to come.
//!
//! They stand in the place of Raft's commit index (§5.3), which is believed on the leader's word, and would commit
//! whatever block stands at that height here.

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
    /// Begins with certificates that were kept. Some may be for blocks above the applied tip: one that
    /// covered what was applied, and that a crash took from the disk again, and those that stand in the log.
    #[must_use]
    pub fn restored(
        kept: impl IntoIterator<Item = Checked<Certificate>>,
        applied: Height,
        held: impl Fn(BlockRef) -> bool,
    ) -> Self {
        let mut commits = Self::default();
        for certificate in kept {
            let height = certificate.block().height;
            let reached = commits.reached.as_ref().map(|it| it.block().height);
            if height > applied {
                commits.keep(certificate, &held);
            } else if Some(height) > reached {
                commits.reached = Some(certificate);
            }
        }
        commits
    }

    /// Those for blocks above the committed tip.
    pub fn into_ahead(self) -> impl Iterator<Item = Checked<Certificate>> {
        self.ahead.into_values()
    }

    /// All that are kept.
    pub fn all(&self) -> impl Iterator<Item = &Certificate> {
        self.reached.iter().chain(self.ahead.values()).map(|certificate| certificate.get())
    }

    /// The newest certificate for a block at or below the committed tip.
    #[must_use]
    pub const fn reached(&self) -> Option<&Checked<Certificate>> {
        self.reached.as_ref()
    }

    /// Puts a certificate with more signers in the place of the one for the same block.
    pub fn improve(&mut self, certificate: &Checked<Certificate>) {
        let kept = self.ahead.get_mut(&certificate.block().height).or(self.reached.as_mut());
        if let Some(kept) = kept.filter(|kept| kept.statement() == certificate.statement()) {
            *kept = certificate.clone();
        }
    }

    /// Whether this very statement is known already.
    #[must_use]
    pub fn knows(&self, certificate: &Certificate) -> bool {
        let held = self.ahead.get(&certificate.block().height);
        held.or(self.reached.as_ref())
            .is_some_and(|known| known.statement() == certificate.statement())
    }

    /// The height of the highest block that is known to be certified.
    #[must_use]
    pub fn highest(&self) -> Height {
        let newest = self.newest_ahead().or(self.reached());
        newest.map_or(Height::ZERO, |certificate| certificate.block().height)
    }

    /// The highest block that is certified and not reached yet.
    #[must_use]
    pub fn wanted(&self) -> Option<BlockRef> {
        self.ahead.last_key_value().map(|(_, certificate)| certificate.block())
    }

    /// The certificate for the highest block that is not reached yet.
    #[must_use]
    pub fn newest_ahead(&self) -> Option<&Checked<Certificate>> {
        self.ahead.last_key_value().map(|(_, certificate)| certificate)
    }

    /// Keeps a certificate for a block above the committed tip. `held` says whether a block is on the chain.
    pub fn keep(&mut self, certificate: Checked<Certificate>, held: impl Fn(BlockRef) -> bool) {
        let height = certificate.block().height;
        let newer = self.ahead.get(&height).is_none_or(|held| held.term() < certificate.term());
        if newer {
            self.ahead.insert(height, certificate);
        }
        if self.ahead.len() > AHEAD {
            self.let_go(height, held);
        }
    }

    /// Lets go of one certificate. The highest one proves the most, the lowest one is reached first; both
    /// are kept. So is the highest one on the chain, which commits it as soon as it is durable, and the
    /// newest one: it comes with the blocks that it is for, and nothing else may ever cover them.
    fn let_go(&mut self, newest: Height, held: impl Fn(BlockRef) -> bool) {
        let commits = self.on_chain(held).map(|certificate| certificate.block().height);
        let spare = |height: &&Height| **height != newest && Some(**height) != commits;
        let middle = self.ahead.keys().filter(spare).nth(AHEAD / 2).copied();
        middle.map(|height| self.ahead.remove(&height));
    }

    /// The kept certificate for a block above the committed tip, at a height.
    #[must_use]
    pub fn ahead_at(&self, height: Height) -> Option<&Certificate> {
        self.ahead.get(&height).map(|certificate| certificate.get())
    }

    /// The kept certificates for blocks above the committed tip, up to a height.
    pub fn ahead_to(&self, height: Height) -> impl Iterator<Item = &Certificate> {
        self.ahead.range(..=height).map(|(_, certificate)| certificate.get())
    }

    /// The newest certificate for a block of the chain at or below a height.
    #[must_use]
    pub fn up_to(
        &self,
        height: Height,
        held: impl Fn(BlockRef) -> bool,
    ) -> Option<&Checked<Certificate>> {
        let mut ahead = self.ahead.range(..=height).map(|(_, certificate)| certificate).rev();
        ahead.find(|certificate| held(certificate.block())).or(self.reached.as_ref())
    }

    /// The highest kept certificate for a block on the chain.
    pub fn on_chain(&self, held: impl Fn(BlockRef) -> bool) -> Option<&Checked<Certificate>> {
        self.ahead.values().rev().find(|certificate| held(certificate.block()))
    }

    /// Lets go of certificates for blocks that are not held.
    pub fn keep_only(&mut self, held: impl Fn(BlockRef) -> bool) {
        self.ahead.retain(|_, certificate| held(certificate.block()));
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
