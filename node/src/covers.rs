//! The certificates of the newest blocks, for whoever hears what became of a transaction.
//!
//! That is told the moment a block is applied, often to many at once, and the certificate belongs to it. The applier has
//! both in its hands then: so nobody looks for them in the store, and what clients are told is put together once for each
//! block. What is older, or was not applied by this process, is in the store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use quorate_chain::block::SignedHeader;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::Height;
use quorate_chain::roster::Roster;
use quorate_client::answer;
use quorate_replica::io::ApplyJob;

use crate::api::certificate;

/// How many heights are kept.
const HEIGHTS: usize = 1_024;
/// Most blocks under one certificate that are kept: the path to it is told with each of them. More come together only
/// when a node catches up, and nobody waits for what is in them.
const BLOCKS: usize = 32;

/// Blocks in a row, and the certificate for the last of them.
#[derive(Debug)]
pub(crate) struct Cover {
    headers: Vec<SignedHeader>,
    certificate: Checked<Certificate>,
    /// The roster in force at the last block.
    roster: Arc<Roster>,
    /// What clients are told of each block, once somebody has asked.
    told: Vec<OnceLock<Arc<answer::Certificate>>>,
}

impl Cover {
    /// That of a job; none if its certificate is for a block that it does not have, or there are many below that.
    pub(crate) fn of(job: &ApplyJob) -> Option<Self> {
        let (_, last) = job.blocks.last()?;
        if last.block != job.certificate.block() || job.blocks.len() > BLOCKS {
            return None;
        }
        Some(Self {
            headers: job.blocks.iter().map(|(block, _)| block.signed_header().clone()).collect(),
            certificate: job.certificate.clone(),
            roster: Arc::clone(&last.roster),
            told: job.blocks.iter().map(|_| OnceLock::new()).collect(),
        })
    }

    fn at(&self, height: Height) -> Option<Arc<answer::Certificate>> {
        let first = self.headers.first()?.header.height;
        let at = usize::try_from(height.get().checked_sub(first.get())?).ok()?;
        let tell = || {
            let path = &self.headers[at + 1..];
            Arc::new(certificate(height, path, &self.certificate, &self.roster))
        };
        Some(Arc::clone(self.told.get(at)?.get_or_init(tell)))
    }
}

#[derive(Debug, Default)]
struct Newest {
    /// Ascending.
    covers: VecDeque<Arc<Cover>>,
    /// How many heights they have.
    heights: usize,
}

/// The newest certificates.
#[derive(Debug, Default)]
pub(crate) struct Covers(Mutex<Newest>);

impl Covers {
    /// Blocks have been applied, with what covers them.
    pub(crate) fn add(&self, more: impl IntoIterator<Item = Cover>) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for cover in more {
            newest.heights += cover.headers.len();
            newest.covers.push_back(Arc::new(cover));
        }
        while newest.heights > HEIGHTS {
            let oldest = newest.covers.pop_front();
            newest.heights -= oldest.map_or(0, |oldest| oldest.headers.len());
        }
    }

    /// More have signed for a block than were needed to commit it.
    pub(crate) fn keep(&self, certificate: &Checked<Certificate>) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let block = certificate.block();
        let same = newest.covers.iter_mut().find(|cover| cover.certificate.block() == block);
        if let Some(cover) = same {
            *cover = Arc::new(Cover {
                headers: cover.headers.clone(),
                certificate: certificate.clone(),
                roster: Arc::clone(&cover.roster),
                told: cover.headers.iter().map(|_| OnceLock::new()).collect(),
            });
        }
    }

    /// What covers a height, if it is here.
    pub(crate) fn at(&self, height: Height) -> Option<Arc<answer::Certificate>> {
        let cover = {
            let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let end = |cover: &Arc<Cover>| cover.certificate.block().height;
            let at = newest.covers.partition_point(|cover| end(cover) < height);
            Arc::clone(newest.covers.get(at)?)
        };
        cover.at(height)
    }
}

#[cfg(test)]
mod tests {
    use quorate_chain::certificate::Signed;
    use quorate_chain::ids::{NodeId, RosterHash, Signature};
    use quorate_chain::state::Changes;
    use quorate_chain::statement::Statement;
    use quorate_consensus::log::Anchor;
    use quorate_replica::store::suite::Chain;

    use super::*;

    fn job(chain: &mut Chain, blocks: usize) -> ApplyJob {
        let batch = chain.batch(blocks, Changes::new());
        let standing = batch.standing;
        let placed = batch.blocks.into_iter().map(|executed| {
            let anchor = Anchor { block: executed.block.block_ref(), ..standing.applied.clone() };
            (executed.block, anchor)
        });
        ApplyJob { blocks: placed.collect(), certificate: standing.certificate.unwrap() }
    }

    /// How many headers lead from a height to its certificate, and how many have signed that.
    fn seen(covers: &Covers, height: u64) -> Option<(usize, usize)> {
        let found = covers.at(Height::new(height))?;
        assert_eq!(found.covers.get(), height);
        Some((found.path.len(), found.signatures.len()))
    }

    #[test]
    fn each_height_has_its_path_and_the_certificate_that_most_have_signed() {
        let (covers, mut chain) = (Covers::default(), Chain::default());
        let (one, two) = (job(&mut chain, 1), job(&mut chain, 3));
        let block = two.certificate.block();
        covers.add([one, two].iter().filter_map(Cover::of));
        let signers = seen(&covers, 1).unwrap().1;
        let expected = [None, Some(0), Some(2), Some(1), Some(0), None];
        let found = [0, 1, 2, 3, 4, 5].map(|height| seen(&covers, height));
        assert_eq!(found, expected.map(|path| path.map(|path| (path, signers))));
        let signed = |id| Signed { signer: NodeId::new(id), signature: Signature::new([7; 64]) };
        let signatures = (0..7).map(signed).collect();
        let more = Certificate::assemble(Statement::Ack { block }, RosterHash::ZERO, signatures);
        covers.keep(&Checked::vouch(more));
        assert_eq!((seen(&covers, 1), seen(&covers, 3)), (Some((0, signers)), Some((1, 7))));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (covers, mut chain) = (Covers::default(), Chain::default());
        assert!(Cover::of(&job(&mut chain, BLOCKS + 1)).is_none());
        for _ in 0..HEIGHTS {
            let job = job(&mut chain, 2);
            covers.add(Cover::of(&job));
        }
        let tip = chain.batch(1, Changes::new()).standing.applied.block.height.get() - 1;
        let there: Vec<_> = (1..=tip).filter(|height| seen(&covers, *height).is_some()).collect();
        assert_eq!((there.len(), there.last()), (HEIGHTS, Some(&tip)));
    }
}
