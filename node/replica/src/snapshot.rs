//! Snapshots: a state, and what it takes to believe it.
//!
//! A state is frozen after every K-th block. It can be offered once a certified header names it as
//! executed: whoever gets it computes its root again and compares.
//!
//! ```text
//!            anchor                 names the anchor's state      certified
//!   …─────────▶■───────────□──────────────▶□──────────────□──────────▶■ ◀── certificate
//!              └ header, roster, entries   └────── headers of the path ──────┘
//! ```
//!
//! What is checked, before anything takes the place of what is here (`Head::check`, then the root):
//!
//! 1. the certificate is for the block that was offered as the certified one, by the roster that was offered. More
//!    may have signed it since; what was checked takes the place of what was offered. And that roster is one
//!    that this node knows: in force at its own applied block, a half of it, the joint one of which it knows a half,
//!    or one to which the chain of rosters leads from there (see `rosters`);
//! 2. the headers of the path lead from the anchor to the certified block, by parent hash;
//! 3. one of them names the anchor's height as executed: its state root is the one that counts, and it is made
//!    of the number of the entries and the link of the outcomes that are brought;
//! 4. the roster brought is the one that the anchor's header names, and has the anchor's proposer, whose
//!    signature is on that header (a state at the block that removes its leader is not offered, so an older one is);
//! 5. the entries, ascending by path, make that state root together with the link of the outcomes.
//!
//! From the first height of the roster on, certificates by it count for leaving it; the source says where
//! that is, and it is believed as far as it is not above the anchor: certificates have to be by that
//! roster anyway, and for an ancestor.
//!
//! **Getting it.** The head comes first, then the steps of the chain of rosters, then the entries. One piece
//! is asked for at a time and staged before the next; a piece that does not come is asked for again, and a
//! source that does not bring it, or brings something else, is given up. So of the entries no more than a
//! piece is ever held.
//!
//! **Installing.** The store takes it over in one transaction and is made safe against a power cut; then
//! the log begins anew above the anchor, with the ballot that the certificate leads to if it is of a
//! higher term. Between the two the store knows what the log still reaches ([`Replaced`]), so that a crash
//! there is not taken for damage. The certificate that was offered stays in the store until its block is
//! applied, beside that of what is applied before it: what was promised to blocks that the log does not have any
//! more is kept as long as the certificate is known.
//!
//! **Kept meanwhile.** A frozen state does not go for a newer one while somebody is getting it, nor do the blocks
//! above it, nor before it has got these blocks, as long as all that takes no longer than it may ([`Demand`]).
//!
//! **Not taken.** Whatever is wrong with an offer or its source is told to the operator ([`Failure`]), and another
//! source is tried.
//!
//! **How long it may take.** A source cannot bring more entries than the state root proves, so it comes to an end
//! whoever brings it. Who makes it come slowly is given up when the time is up that so many entries may take;
//! since that may be the fault of the way and not of the source, the next one may take twice as long, and so on until
//! one is installed.
//!
//! Left out: a bound on the bytes of entries below what the format allows for so many, since a state root says
//! nothing of them before all are here; to distrust who has lied for longer than who could not bring it; freezing
//! without a pause: the state is copied between two batches.
//!
//! [`Replaced`]: crate::store::Replaced

mod demand;
mod download;
mod failure;
mod piece;
pub(crate) mod rosters;

use std::sync::Arc;

use quorate_chain::block::{Header, SignedHeader};
use quorate_chain::certificate::CertificatePath;
use quorate_chain::commitment;
use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{BlockRef, ChainId, Hash, Height, StateRoot};
use quorate_chain::limits;
use quorate_chain::proof::RosterStep;
use quorate_chain::roster::Roster;
use quorate_chain::state::StateRead;
use quorate_chain::state_root::StateSize;
use quorate_consensus::log::Anchor;
use quorate_consensus::message::{Proof, Snapshot};

use crate::store::{Entries, Standing, StoreReader};

pub use demand::Demand;
pub(crate) use download::{Download, Pace, Step, timeouts};
pub use failure::Failure;

/// Asks for a piece of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The anchor.
    pub block: BlockRef,
    /// What is asked for.
    pub what: Wanted,
}

/// The piece that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What it takes to believe it.
    Head,
    /// Steps from one roster to the next, above a height.
    Steps {
        /// The height of the last one that is known.
        above: Height,
    },
    /// Entries above a path, or from the first one on.
    Entries {
        /// The path of the last entry that is here.
        after: Option<Hash>,
    },
}

/// A piece of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What it takes to believe it.
    Head(Box<Head>),
    /// The next steps, ascending by height; none after the last.
    Steps(Vec<RosterStep>),
    /// The next entries, ascending by path; none after the last.
    Entries(Entries),
    /// It is not kept any more.
    Gone,
}

/// What it takes to believe a snapshot, besides its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The header of the anchor.
    pub anchor: SignedHeader,
    /// The roster in force at the anchor.
    pub roster: Roster,
    /// The first height under that roster.
    pub roster_since: Height,
    /// How many entries it has, and what proves it.
    pub size: StateSize,
    /// The link of the outcomes at the anchor.
    pub outcomes: Hash,
    /// The headers above the anchor, and the certificate for the last of them.
    pub path: CertificatePath,
}

/// A head that was checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckedHead {
    pub(crate) anchor: Anchor,
    pub(crate) header: SignedHeader,
    pub(crate) size: StateSize,
    pub(crate) outcomes: Hash,
    pub(crate) state_root: StateRoot,
}

impl Head {
    /// Checks all but the entries against what was offered; `None` if something is wrong.
    pub(crate) fn check(
        &self,
        offer: &Snapshot,
        chain_id: ChainId,
        verifier: &dyn Verifier,
    ) -> Option<CheckedHead> {
        let header = &self.anchor.header;
        let block = header.block_ref();
        let Proof { certificate, roster } = &offer.proof;
        let same = self.path.certificate.statement() == certificate.statement();
        if block != offer.block || !same {
            return None;
        }
        self.path.check(block, chain_id, roster, verifier).ok()?;
        let names = |above: &&Header| above.executed == block.height;
        let state_root = self.path.headers.iter().find(names)?.state_root;
        let since = self.roster_since <= block.height;
        if self.roster.hash() != header.roster_hash || !since {
            return None;
        }
        if commitment::state_root(self.size.root(), self.outcomes) != state_root {
            return None;
        }
        let proposer = self.roster.member(header.proposer)?;
        self.anchor.check(&proposer.key, verifier).ok()?;
        let anchor = Anchor {
            block,
            kind: Some(header.kind),
            time: header.time,
            leader: Some((proposer.id, proposer.key.clone())),
            roster: Arc::new(self.roster.clone()),
            roster_since: self.roster_since,
        };
        let (header, size, outcomes) = (self.anchor.clone(), self.size, self.outcomes);
        Some(CheckedHead { anchor, header, size, outcomes, state_root })
    }
}

/// The newest snapshot that can be offered.
///
/// # Errors
/// If the store cannot be read.
pub(crate) fn newest<R: StoreReader>(
    reader: &R,
) -> Result<Option<Snapshot>, <R as StateRead>::Error> {
    for standing in reader.frozen()? {
        if let Some((head, roster)) = head(reader, &standing)? {
            let certificate = head.path.certificate;
            let proof = Proof { certificate, roster };
            return Ok(Some(Snapshot { block: standing.applied.block, proof }));
        }
    }
    Ok(None)
}

/// Whether the roster at a block has the key that its header is signed with: not where a leader leaves, with the block
/// that removes it.
fn knows_its_leader(anchor: &Anchor) -> bool {
    anchor
        .leader
        .as_ref()
        .is_some_and(|(id, key)| anchor.roster.member(*id).is_some_and(|member| member.key == *key))
}

/// What it takes to believe a frozen state, with the roster of its certificate; `None` if no certified
/// header names it, or not yet, or nobody could check the signature under the header of its block.
fn head<R: StoreReader>(
    reader: &R,
    frozen: &Standing,
) -> Result<Option<(Head, Arc<Roster>)>, <R as StateRead>::Error> {
    let (anchor, Some(size)) = (&frozen.applied, frozen.size) else { return Ok(None) };
    if !knows_its_leader(anchor) {
        return Ok(None);
    }
    let Some(signed) = reader.header(anchor.block.height)? else { return Ok(None) };
    let (mut headers, mut named) = (Vec::new(), false);
    let mut next = anchor.block.height.next();
    while let Some(height) = next.filter(|_| headers.len() < limits::PATH) {
        let Some(SignedHeader { header, .. }) = reader.header(height)? else { return Ok(None) };
        named |= header.executed == anchor.block.height;
        let block = header.block_ref();
        headers.push(header);
        let certificate = reader.certificate(height)?;
        let certificate = certificate.filter(|it| named && it.block() == block);
        if let Some(certificate) = certificate
            && let Some((_, roster)) = reader.roster(height)?
            && roster.hash() == certificate.roster_hash()
        {
            let path = CertificatePath { headers, certificate };
            let head = Head {
                anchor: signed,
                roster: (*anchor.roster).clone(),
                roster_since: anchor.roster_since,
                size,
                outcomes: frozen.outcomes,
                path,
            };
            return Ok(Some((head, roster)));
        }
        next = height.next();
    }
    Ok(None)
}

/// Reads a piece of a snapshot for another node, which is getting it.
///
/// # Errors
/// If the store cannot be read: then the node must stop.
pub fn piece<R: StoreReader>(
    reader: &R,
    demand: &Demand,
    ask: Ask,
    bytes: usize,
) -> Result<Piece, <R as StateRead>::Error> {
    let frozen = reader.frozen()?;
    let Some(frozen) = frozen.into_iter().find(|it| it.applied.block == ask.block) else {
        return Ok(Piece::Gone);
    };
    demand.asked(ask.block.height);
    Ok(match ask.what {
        Wanted::Head => {
            head(reader, &frozen)?.map_or(Piece::Gone, |(head, _)| Piece::Head(Box::new(head)))
        }
        Wanted::Steps { above } => Piece::Steps(reader.roster_steps(above, bytes)?),
        Wanted::Entries { after } => {
            let entries = reader.frozen_entries(ask.block.height, after, bytes)?;
            entries.map_or(Piece::Gone, Piece::Entries)
        }
    })
}
