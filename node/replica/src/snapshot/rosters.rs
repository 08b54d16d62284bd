//! The chain of rosters: a step from each to the next.
//!
//! A [`RosterStep`] shows the block that entered a change, and a certificate by the roster that it brought
//! for it or a descendant. Whoever trusts the roster before it trusts the one after it then.
//!
//! **Made** by the applier, in the transaction that applies the first block which completes it: the one that a
//! certificate by the new roster covers, or the next roster block, which carries such a certificate. There is one a
//! change, it is small, and it is kept for ever: also when a snapshot takes the place of the blocks.
//!
//! **Handed on** after the head of a snapshot, page by page, from the height on that is applied at the receiver.
//! Each is checked on what the receiver trusts already, so a source can make it keep no more than a
//! quorum has signed; and of those it takes [`STEPS`] at most.
//!
//! Left out: steps of changes that were applied before steps were kept. A store that lacks one leads nobody over it,
//! and who needs it says so ([`Failure`]). A step is lost too where a snapshot takes the place of a change that has
//! been entered here, and not yet left, and that no certificate at hand has completed: whoever asks this node for it
//! later has to ask another. The same goes where the source kept a step back that was not needed to believe it.

use std::sync::Arc;

use quorate_chain::block::{Block, Header, Item};
use quorate_chain::certificate::{Certificate, CertificatePath};
use quorate_chain::checked::Checked;
use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{BlockRef, ChainId, Height};
use quorate_chain::limits;
use quorate_chain::proof::{RosterStep, Trust};
use quorate_chain::roster::Roster;
use quorate_chain::state::StateRead;
use quorate_consensus::log::Anchor;
use quorate_consensus::message::Snapshot;

use super::Failure;
use crate::store::{Standing, StoreReader};

/// Most steps that are followed to a snapshot.
const STEPS: usize = 1 << 14;

/// A committed block, what is known of its place, and a certificate that covers it.
type Committed = (Checked<Block>, Anchor, Checked<Certificate>);

/// The change whose step is not complete yet, by the height of the block that entered it.
#[derive(Debug)]
pub(crate) struct Pending(Option<Height>);

impl Pending {
    /// Nothing waits: what is below is not here.
    pub(crate) const NONE: Self = Self(None);

    /// What waits in a store.
    pub(crate) fn restored<R: StoreReader>(
        reader: &R,
        standing: &Standing,
    ) -> Result<Self, <R as StateRead>::Error> {
        let since = standing.applied.roster_since;
        let Some(below) = since.previous() else { return Ok(Self::NONE) };
        let kept = reader.roster_steps(below, 0)?;
        if kept.first().is_some_and(|step| step.header.height == since) {
            return Ok(Self::NONE);
        }
        let block = reader.block(since)?;
        let enters =
            block.as_ref().and_then(|block| block.body().item.as_ref()).is_some_and(enters);
        Ok(Self(enters.then_some(since)))
    }

    /// The steps that are complete with these blocks, which are about to be applied.
    pub(crate) fn complete<R: StoreReader>(
        &mut self,
        reader: &R,
        run: &[Committed],
    ) -> Result<Vec<RosterStep>, <R as StateRead>::Error> {
        let mut steps = Vec::new();
        for (block, anchor, _) in run {
            let Some(item) = &block.body().item else { continue };
            let left = match item {
                Item::Enter { certificate, .. } | Item::Leave { certificate } => Some(certificate),
                Item::Recovery(_) => None,
                Item::Opening(_) => continue,
            };
            if let (Some(entered), Some(certificate)) = (self.0, left) {
                steps.extend(step(reader, run, entered, certificate)?);
            }
            self.0 = enters(item).then_some(anchor.block.height);
        }
        let (Some(entered), Some((_, tip, certificate))) = (self.0, run.last()) else {
            return Ok(steps);
        };
        let by_it = certificate.roster_hash() == tip.roster.hash();
        if by_it && certificate.block().height <= tip.block.height {
            let step = step(reader, run, entered, certificate)?;
            if step.is_some() {
                self.0 = None;
            }
            steps.extend(step);
        }
        Ok(steps)
    }
}

/// Whether a block with this item brings a roster that only a step leads to. The one that a joint roster
/// turns into is known with it.
const fn enters(item: &Item) -> bool {
    match item {
        Item::Enter { .. } | Item::Recovery(_) => true,
        Item::Leave { .. } | Item::Opening(_) => false,
    }
}

/// The step over the block at a height, with a certificate by the roster that it brought; `None` if a header on the
/// way is not here, or the way is longer than the format allows.
fn step<R: StoreReader>(
    reader: &R,
    run: &[Committed],
    entered: Height,
    certificate: &Certificate,
) -> Result<Option<RosterStep>, <R as StateRead>::Error> {
    let at = |height: Height| {
        run.iter().map(|(block, _, _)| block).find(|block| block.header().height == height)
    };
    let header = |height: Height| -> Result<Option<Header>, <R as StateRead>::Error> {
        match at(height) {
            Some(block) => Ok(Some(block.header().clone())),
            None => Ok(reader.header(height)?.map(|signed| signed.header)),
        }
    };
    let block = match at(entered) {
        Some(block) => Some(block.get().clone()),
        None => reader.block(entered)?,
    };
    let certified = certificate.block().height;
    let Some(length) = certified.get().checked_sub(entered.get()) else { return Ok(None) };
    let (Some(block), Some(below)) = (block, entered.previous()) else { return Ok(None) };
    let (Some(item), Some(parent)) = (block.body().item.clone(), header(below)?) else {
        return Ok(None);
    };
    if length > limits::PATH as u64 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    for above in 1..=length {
        let Some(header) = header(Height::new(entered.get() + above))? else { return Ok(None) };
        headers.push(header);
    }
    let path = CertificatePath { headers, certificate: certificate.clone() };
    Ok(Some(RosterStep { parent, header: block.header().clone(), item, path }))
}

/// The steps on the way from what is applied here to what a snapshot is certified by.
#[derive(Debug)]
pub(crate) struct Chain {
    applied: BlockRef,
    here: Arc<Roster>,
    trust: Trust,
    steps: Vec<RosterStep>,
    /// Whether the source has no more, or none that is needed.
    done: bool,
}

impl Chain {
    /// Begins where this node stands.
    pub(crate) fn new(chain_id: ChainId, here: &Anchor) -> Self {
        let (applied, roster) = (here.block, Arc::clone(&here.roster));
        let trust = Trust::new(chain_id, (*roster).clone(), applied);
        Self { applied, here: roster, trust, steps: Vec::new(), done: false }
    }

    /// Whether all has come.
    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }

    /// The height above which the next steps are wanted.
    pub(crate) fn above(&self) -> Height {
        self.steps.last().map_or(self.applied.height, |step| step.header.height)
    }

    /// Takes a page of steps. Returns whether it was one that was waited for.
    pub(crate) fn take(
        &mut self,
        page: Vec<RosterStep>,
        offer: &Snapshot,
        verifier: &dyn Verifier,
    ) -> Result<bool, Failure> {
        let certified = offer.proof.certificate.block().height;
        if page.first().is_some_and(|step| step.header.height <= self.above()) {
            // What was asked for before.
            return Ok(false);
        }
        self.done = page.is_empty();
        for step in page {
            let height = step.header.height;
            if height > certified {
                self.done = true;
                break;
            }
            let (applied, known) = (self.applied.height, self.here.hash());
            if self.steps.len() == STEPS {
                return Err(Failure::TooManySteps { applied, most: STEPS });
            }
            let crossed = self.trust.cross(&step, verifier);
            crossed.map_err(|why| Failure::Step { applied, known, height, why: Box::new(why) })?;
            self.steps.push(step);
        }
        if self.done {
            self.lead_to(offer, verifier)?;
        }
        Ok(true)
    }

    /// Checks that the steps lead to the roster that a snapshot is certified by.
    fn lead_to(&self, offer: &Snapshot, verifier: &dyn Verifier) -> Result<(), Failure> {
        let certificate = &offer.proof.certificate;
        let path = CertificatePath { headers: Vec::new(), certificate: certificate.clone() };
        let reached = self.trust.clone().check_path(certificate.block(), &path, verifier);
        let roster = &offer.proof.roster;
        if reached.is_ok() || is_known(roster, &self.here) || is_known(roster, self.trust.roster())
        {
            return Ok(());
        }
        Err(Failure::Rosters {
            applied: self.applied.height,
            known: self.here.hash(),
            needed: roster.hash(),
            steps: self.steps.len(),
        })
    }

    /// What is to be handed on.
    pub(crate) fn steps(&self) -> &[RosterStep] {
        &self.steps
    }
}

/// Whether certificates by this roster are to be believed by a node that knows another to be in force: it is the
/// same, a half of it, or the joint one of which it knows a half.
fn is_known(roster: &Roster, here: &Roster) -> bool {
    let half = |of: &Roster, half: &Roster| of.halves().iter().any(|it| it.hash() == half.hash());
    let shares = || here.halves().iter().any(|ours| half(roster, ours));
    roster.hash() == here.hash() || half(here, roster) || roster.is_joint() && shares()
}
