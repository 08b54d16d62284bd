//! What is committed goes to the applier, in jobs of about a message each.
//!
//! A job ends in a block with a certificate, and the store keeps that one. Others are brought blocks in ranges
//! that end in such a block, each in one message. More than fits into one may be committed at once, by the newest
//! certificate: after a start all that the log has, or what a slow disk has held up. So the certificates in between, which
//! stand in the log too, end jobs of their own.

use std::collections::BTreeMap;

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, Height};
use quorate_chain::roster::QuorumKind;
use quorate_consensus::codec::RANGE;
use quorate_consensus::log::Anchor;

use super::Driver;
use crate::io::{ApplyJob, Notice, Output};
use crate::store::Store;

/// Certificates in the log, by block.
pub(super) type Logged = BTreeMap<BlockRef, Checked<Certificate>>;

/// A job that is being put together.
#[derive(Default)]
struct Job {
    blocks: Vec<(Checked<Block>, Anchor)>,
    bytes: usize,
    /// How many of its blocks, and bytes of them, the last certificate covers that one of them has.
    end: Option<(usize, usize, Checked<Certificate>)>,
}

impl Job {
    fn add(
        &mut self,
        block: Checked<Block>,
        anchor: Anchor,
        certificate: Option<&Checked<Certificate>>,
    ) {
        self.bytes += block.bytes().len();
        self.blocks.push((block, anchor));
        if let Some(certificate) = certificate {
            self.end = Some((self.blocks.len(), self.bytes, certificate.clone()));
        }
    }

    /// Takes off all up to the last certificate.
    fn split(&mut self) -> Option<ApplyJob> {
        let (count, bytes, certificate) = self.end.take()?;
        let rest = self.blocks.split_off(count);
        let blocks = std::mem::replace(&mut self.blocks, rest);
        self.bytes -= bytes;
        Some(ApplyJob { blocks, certificate })
    }
}

impl<S: Store> Driver<S> {
    /// A certificate goes into the log.
    pub(super) fn has_logged(&mut self, certificate: &Checked<Certificate>) {
        if certificate.block().height > self.handed {
            self.logged.insert(certificate.block(), certificate.clone());
        }
    }

    /// The chain is committed up to a block, by a certificate that covers it.
    pub(super) fn committed(
        &mut self,
        block: BlockRef,
        certificate: Checked<Certificate>,
        out: &mut Vec<Output>,
    ) {
        let first = Height::new(self.handed.get() + 1);
        let log = self.core.log();
        let by_all = log.anchor(block.height).is_some_and(|anchor| {
            let signers = certificate.signers();
            certificate.roster_hash() == anchor.roster.hash()
                && anchor.roster.has_quorum(QuorumKind::Finality, &signers)
        });
        let mut job = Job::default();
        for entry in log.from(first).take_while(|it| it.anchor.block.height <= block.height) {
            let bytes = job.bytes + entry.block.bytes().len();
            if bytes > self.message_bytes || job.blocks.len() >= RANGE {
                out.extend(job.split().map(Output::Apply));
            }
            let known = self.logged.get(&entry.anchor.block);
            job.add(entry.block.clone(), entry.anchor.clone(), known);
        }
        out.push(Output::Apply(ApplyJob { blocks: job.blocks, certificate }));
        self.logged.retain(|logged, _| logged.height > block.height);
        self.handed = block.height;
        if by_all {
            self.finished = block.height;
        }
        out.push(Output::Notice(Notice::Committed { block }));
    }
}
