//! A log that is damaged.
//!
//! Every record that is intact is read around the damage, and a new log is written beside the old one,
//! which is kept under another name. Whether the validator may go on as before depends on what is gone:
//!
//! - If a ballot and a branch that fits come after the last lost record, nothing that counts is gone:
//!   the ballot is the newest, and the branch names every block below it by hash.
//! - Else votes or acks may be forgotten. The new log has another name (incarnation), and the
//!   validator is *recovering*: it signs nothing, gets the lost blocks from the others like any node that
//!   was away, each under the hash that the next one or a certificate names, and is readmitted by
//!   them (`consensus.md` §7). That it never silently has less than it had is so because until then it
//!   counts for nothing.
//!
//! - A commit certificate may be lost, and blocks that name a state which only it covers be left. They are
//!   as good as lost: nobody takes what nothing covers, and a leader that had them would stop the group.
//!
//! A log that never got as far as the store, because it is missing, or is an old copy, is damaged in
//! just this sense. So is one that is intact and has parts of a branch without the others (`replay`).
//!
//! Left out: fetching single blocks before the validator takes part again. It saves a readmission, for
//! damage that leaves the end of the log intact but a hole in the blocks that are not applied yet; those
//! are at most a window.

use quorate_chain::block::{BlockKind, Item};
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::ids::{Height, Term};
use quorate_chain::state::StateRead;
use quorate_consensus::ballot::Ballot;
use quorate_consensus::config::Incarnation;
use quorate_consensus::judge::Proven;
use quorate_wal::{Disk, Entry, Rebuild, Report, salvage};

use crate::record::{self, BRANCH, CERTIFICATE, Life, START};
use crate::replay::{Replay, ReplayError};
use crate::restore::{Kept, OpenError, floor, identity, options, store_failed};
use crate::setup::Setup;
use crate::store::{Standing, StoreReader};

/// What was wrong with a log, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The damage. Each place of it is told, and so is a log that is intact and has lost records all the same.
    pub report: Option<Report>,
    /// What was lost of a branch that stood in several records.
    pub cut: Option<ReplayError>,
    /// How many blocks above the applied one were saved.
    pub saved: usize,
    /// Whether something that was signed may be forgotten.
    pub forgotten: bool,
}

/// Writes a damaged log anew.
pub(crate) fn repair<D: Disk, R: StoreReader>(
    setup: &Setup,
    mut disk: D,
    standing: &Standing,
    reader: &R,
    salt: u64,
) -> Result<Kept<D>, OpenError>
where
    <R as StateRead>::Error: std::error::Error + Send + Sync + 'static,
{
    let applied = standing.applied.block;
    let mut replay = Replay::new(applied);
    let identity = identity(setup);
    let reached = floor(standing);
    let (report, preamble) =
        salvage(&mut disk, &identity, reached, |record| replay.visit(&record))?;
    // A preamble that does not decode is as good as lost.
    let life = preamble.and_then(|bytes| Life::from_bytes(&bytes.into()).ok());
    let whole = life.is_some() && replay.is_whole(report.as_ref());
    let cut = replay.loss();
    let mut above = replay.salvaged();
    // The certificate that covers what a block names stood in the log before it, and may be lost.
    let certified = standing.certificates().map(|certificate| certificate.block().height).max();
    let floor = certified.unwrap_or_default().max(applied.height);
    let whole = whole && above.covered(floor) == above.blocks.len();
    // The new log would not tell which acks of this term must not be given again.
    let twice = |life: &Life| above.replaced.0 == life.ballot.term && life.ballot.term > Term::ZERO;
    let whole = whole && !life.as_ref().is_some_and(twice);
    // Nor that it has had a block of higher rank, which may have been acked and binds votes.
    let last = above.blocks.last().map_or(applied, |block| block.block_ref());
    let whole = whole && above.highest <= last.rank();
    let life = match life {
        Some(life) if whole => life,
        life => {
            let mut ballot = life.map_or_else(Ballot::default, |life| life.ballot);
            if ballot.term < applied.term {
                ballot = ballot.raised(proof(reader, standing)?);
            }
            // What is of a later term than the ballot has to come again, with the proof of its term.
            let known = |block: &&Checked<_>| term(block) <= ballot.term;
            let keep = above.blocks.iter().take_while(known).count();
            above.blocks.truncate(keep);
            above.certificates.retain(|certificate| certificate.term() <= ballot.term);
            above.blocks.truncate(above.covered(floor));
            ballot.recovering = true;
            Life { incarnation: Incarnation(salt), boot: 0, ballot }
        }
    };

    let life = raised(life, standing);

    let mut rebuild = Rebuild::begin(disk, &identity, options(setup))?;
    rebuild.push(Entry::Preamble(&life.to_bytes()))?;
    let (start, tag) = (applied.to_bytes(), record::tag(applied));
    rebuild.push(Entry::Record { kind: START, tag, payload: &start })?;
    for certificate in &above.certificates {
        let (tag, payload) = (record::about(certificate.block()), certificate.to_bytes());
        rebuild.push(Entry::Record { kind: CERTIFICATE, tag, payload: &payload })?;
    }
    if !above.blocks.is_empty() {
        for (tag, payload) in record::parts(applied, &above.blocks, options(setup).max_record) {
            rebuild.push(Entry::Record { kind: BRANCH, tag, payload: &payload })?;
        }
    }
    let wal = rebuild.finish()?;
    let saved = above.blocks.len();
    let repaired = Some(Repaired { report, cut, saved, forgotten: !whole });
    Ok(Kept { wal, life, above, torn: None, repaired, start: None })
}

/// A life whose ballot has come to the term of the certificate by which a snapshot was installed.
pub(crate) fn raised(life: Life, standing: &Standing) -> Life {
    let proof = standing.replaced.as_ref().map(|replaced| &replaced.proof);
    let Some(proof) = proof.filter(|proof| proof.term() > life.ballot.term) else { return life };
    Life { ballot: life.ballot.raised(proof.clone()), ..life }
}

fn term(block: &quorate_chain::block::Block) -> Term {
    block.block_ref().term
}

/// A proof of the term of the applied block, or of a later one, from what the store has.
fn proof<R: StoreReader>(reader: &R, standing: &Standing) -> Result<Proven, OpenError>
where
    <R as StateRead>::Error: std::error::Error + Send + Sync + 'static,
{
    let anchor = &standing.applied;
    if let Some(replaced) = &standing.replaced {
        return Ok(replaced.proof.clone());
    }
    if let Some(certificate) = &standing.certificate
        && certificate.roster_hash() == anchor.roster.hash()
    {
        let (certificate, roster) = (certificate.clone(), anchor.roster.clone());
        return Ok(Proven { certificate, roster });
    }
    // The certificate is by a roster that is still to come. The term's first block has another proof.
    let term = anchor.block.term;
    let mut height = Some(anchor.block.height);
    while let Some(at) = height.filter(|at| *at > Height::ZERO) {
        let Some(block) = reader.block(at).map_err(store_failed)? else { break };
        let below = at.previous();
        if block.header().kind == BlockKind::Opening
            && let Some(Item::Opening(election)) = &block.body().item
            && let Some(below) = below
            && let Some((_, roster)) = reader.roster(below).map_err(store_failed)?
        {
            return Ok(Proven { certificate: Checked::vouch(election.clone()), roster });
        }
        height = below.filter(|_| !block.header().kind.begins_term());
    }
    Err(OpenError::NoProof { term })
}
