//! Which certificates are to be believed.
//!
//! Raft takes over any higher term that it hears of (§5.1), and never asks its own roster whom to hear (thesis
//! 4.1). Here a term comes with a certificate, and what follows says under which rosters one is good.
//!
//! A certificate may be judged by the rosters in force at the committed tip and above, and by those
//! one step away: a joint roster of which one half is known, because its quorum holds a quorum of
//! that half; and a half of a joint roster that is known, because the joint roster may have been left.
//! An election certificate is also good if the block that it opened a term with is on the chain: it
//! was judged there.
//!
//! A certificate that only raises a term, one of pre-votes or an election, may also be by one of the newest
//! [`LEFT`](crate::log::LEFT) rosters that were left. Without that a validator that got its term from the
//! last quorum of a roster, and was away while it was left, can convince nobody and follow nobody: a term
//! never falls, and the others ask it for one that it has passed. What such a quorum could do with keys
//! that are out of use is to make the others elect a leader anew. A commit certificate by a roster that was
//! left is not taken: those who signed it could name a block that nobody has.

use std::sync::Arc;

use quorate_chain::certificate::{Certificate, CertificateKind};
use quorate_chain::checked::Checked;
use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{ChainId, Term};
use quorate_chain::roster::Roster;

use crate::log::{Entry, Log};
use crate::message::Proof;

/// A certificate that was judged and found good, with its roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The certificate.
    pub certificate: Checked<Certificate>,
    /// The roster that it names.
    pub roster: Arc<Roster>,
}

impl Proven {
    /// Its term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.certificate.term()
    }

    /// What others are shown of it.
    #[must_use]
    pub fn to_proof(&self) -> Proof {
        Proof { certificate: self.certificate.get().clone(), roster: Arc::clone(&self.roster) }
    }
}

/// What came of judging a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good.
    Good(Proven),
    /// Nobody here can say: its roster is too far from those known.
    Unknown,
    /// It is not what it claims to be.
    Bad,
}

/// Judges a certificate by what a log knows, and by blocks `above` it that were judged on it. `brought` is
/// the roster that its sender says it is by.
#[must_use]
pub fn judge(
    log: &Log,
    above: &[Entry],
    certificate: &Certificate,
    brought: Option<&Arc<Roster>>,
    chain_id: ChainId,
    verifier: &dyn Verifier,
) -> Verdict {
    if certificate.kind() == CertificateKind::Election
        && let Some(own) = log.opening(certificate.statement())
    {
        return Verdict::Good(own.clone());
    }
    let Some(roster) = find(log, above, certificate, brought) else { return Verdict::Unknown };
    match certificate.clone().verify(chain_id, &roster, verifier) {
        Ok(certificate) => Verdict::Good(Proven { certificate, roster }),
        Err(_) => Verdict::Bad,
    }
}

/// The roster that the certificate names, if it may be believed.
fn find(
    log: &Log,
    above: &[Entry],
    certificate: &Certificate,
    brought: Option<&Arc<Roster>>,
) -> Option<Arc<Roster>> {
    let hash = certificate.roster_hash();
    let raises_only = certificate.kind() != CertificateKind::Commit;
    if let Some(left) = log.left().find(|left| raises_only && left.hash() == hash) {
        return Some(Arc::clone(left));
    }
    let rosters = || log.rosters().chain(rosters_of(above));
    for known in rosters() {
        if known.hash() == hash {
            return Some(Arc::clone(known));
        }
        if let Some(half) = known.halves().into_iter().find(|half| half.hash() == hash) {
            return Some(Arc::new(half));
        }
    }
    let joint = brought.filter(|roster| roster.hash() == hash && roster.is_joint())?;
    let known = |half: Roster| rosters().any(|known| known.hash() == half.hash());
    joint.halves().into_iter().any(known).then(|| Arc::clone(joint))
}

/// The rosters that these blocks bring.
fn rosters_of(blocks: &[Entry]) -> impl Iterator<Item = &Arc<Roster>> {
    let anchors = blocks.iter().map(|entry| &entry.anchor);
    anchors.filter(|anchor| anchor.roster_since == anchor.block.height).map(|anchor| &anchor.roster)
}
