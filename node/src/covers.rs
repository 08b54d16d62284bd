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

/// How many heights are kept, but for those that belong to the newest certificate.
const HEIGHTS: usize = 1_024;

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
    /// That of a job; none if its certificate is for a block that it does not have.
    pub(crate) fn of(job: &ApplyJob) -> Option<Self> {
        let (_, last) = job.blocks.last()?;
        if last.block != job.certificate.block() {
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
        while newest.heights > HEIGHTS && newest.covers.len() > 1 {
            let oldest = newest.covers.pop_front();
            newest.heights -= oldest.map_or(0, |oldest| oldest.headers.len());
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
