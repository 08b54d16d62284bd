//! A chain of headers, checked from a block that is trusted to its last one.

use std::collections::VecDeque;

use crate::block::{Item, SignedHeader};
use crate::certificate::Certificate;
use crate::crypto::{BadSignature, ValidatorKey, Verifier};
use crate::evidence::ProvenItem;
use crate::ids::{BlockRef, ChainId, Height, NodeId, TimeUs};
use crate::limits;
use crate::merkle::InclusionError;
use crate::roster::Roster;
use crate::well_formed::{self, Malformed, Parent};

/// An audit of a chain, standing at one block.
///
/// It holds every header to all rules: links, terms, elections, proposers' signatures, rosters. What
/// it does not say is that the last blocks are committed; a certificate says that.
#[derive(Clone, Debug)]
pub struct Audit {
    chain_id: ChainId,
    block: BlockRef,
    time: TimeUs,
    leader: Option<(NodeId, ValidatorKey)>,
    roster: Roster,
    /// The first height under that roster.
    roster_since: Height,
    /// The newest blocks, the last one at the end.
    recent: VecDeque<BlockRef>,
}

impl Audit {
    /// Begins at the genesis.
    #[must_use]
    pub fn genesis(chain_id: ChainId, time: TimeUs, roster: Roster) -> Self {
        let block = chain_id.genesis_ref();
        Self {
            chain_id,
            block,
            time,
            leader: None,
            roster,
            roster_since: block.height,
            recent: VecDeque::from([block]),
        }
    }

    /// The block it stands at.
    #[must_use]
    pub const fn block(&self) -> BlockRef {
        self.block
    }

    /// The roster in force there.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Steps on to the next block. A block that opens a term or changes the roster comes with its
    /// item.
    ///
    /// # Errors
    /// Why that block may not stand there. The audit stands where it stood.
    pub fn step(
        &mut self,
        signed: &SignedHeader,
        proven: Option<&ProvenItem>,
        verifier: &dyn Verifier,
    ) -> Result<(), AuditError> {
        let header = &signed.header;
        if let Some(proven) = proven {
            proven.check(header)?;
        }
        let item = proven.map(|proven| &proven.item);
        let proposer = self.leader.as_ref().map(|(id, _)| *id);
        let parent = Parent { block: self.block, time: self.time, proposer, roster: &self.roster };
        let brought = well_formed::check(&parent, header, item, self.chain_id, verifier)?;
        if let Some(Item::Enter { certificate, .. } | Item::Leave { certificate }) = item {
            self.check_ancestor(certificate)?;
        }
        let leader = match &self.leader {
            Some(leader) if !header.kind.begins_term() => leader.clone(),
            _ => {
                // Who opens a term was elected by the roster below, or named with the one it brings.
                let roster = brought.as_ref().unwrap_or(&self.roster);
                let member = roster.member(header.proposer);
                let member = member.ok_or(Malformed::Stranger { proposer: header.proposer })?;
                (header.proposer, member.key.clone())
            }
        };
        signed.check(&leader.1, verifier)?;

        self.block = header.block_ref();
        self.time = header.time;
        self.leader = Some(leader);
        if let Some(roster) = brought {
            self.roster = roster;
            self.roster_since = header.height;
        }
        if self.recent.len() > limits::PATH {
            self.recent.pop_front();
        }
        self.recent.push_back(self.block);
        Ok(())
    }

    /// Checks that the block certified in a roster block is an ancestor, under the roster being left.
    fn check_ancestor(&self, certificate: &Certificate) -> Result<(), AuditError> {
        let block = certificate.block();
        let below = self.block.height.get().checked_sub(block.height.get());
        let place = below.and_then(|below| {
            (self.recent.len() as u64).checked_sub(below + 1).map(|place| place as usize)
        });
        // The whole ref: an ack under another term is no ack for this block, and convicts nobody.
        let ancestor = place.and_then(|place| self.recent.get(place));
        if ancestor != Some(&block) || block.height < self.roster_since {
            return Err(AuditError::NotAncestor { certified: block, since: self.roster_since });
        }
        Ok(())
    }
}

/// Why a chain ends before its next block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The block may not stand on its parent.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The item shown is not in the block.
    #[error("its item: {0}")]
    Inclusion(#[from] InclusionError),
    /// The proposer did not sign it.
    #[error("its proposer: {0}")]
    BadSignature(#[from] BadSignature),
    /// A roster block rests on a certificate for a block that is not below it.
    #[error("its certificate is for {certified}, no ancestor of it at height {since} or above")]
    NotAncestor {
        /// The certified block.
        certified: BlockRef,
        /// Where the roster that is left began.
        since: Height,
    },
}
