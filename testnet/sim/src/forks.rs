//! Two blocks of honest validators that exclude each other, in a world with a liar: what was signed around them
//! must name it, and nobody else.
#![expect(clippy::wildcard_enum_match_arm, reason = "only a few messages bring certificates")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_chain::block::Block;
use quorate_chain::certificate::{Certificate, CertificateKind};
use quorate_chain::crypto::Verifier;
use quorate_chain::evidence::{Branch, RosterHistory, accuse};
use quorate_chain::ids::{BlockHash, BlockRef, ChainId, Height, RosterHash, TimeUs};
use quorate_chain::roster::Roster;
use quorate_consensus::message::{Message, Proof};

use crate::violation::{Check, Violation, hold};
use crate::world::World;

/// Every block that was stored or sent, every commit certificate that was sent and every roster under which
/// something was committed, in a world with a liar.
#[derive(Debug, Default)]
pub struct Archive {
    blocks: BTreeMap<BlockHash, Block>,
    /// All that there are for a block: the liar sends some that are none.
    certificates: BTreeMap<(Height, BlockHash), Vec<Certificate>>,
    rosters: BTreeMap<RosterHash, Arc<Roster>>,
}

impl Archive {
    /// Keeps a block.
    pub fn block(&mut self, block: &Block) {
        self.blocks.entry(block.hash()).or_insert_with(|| block.clone());
    }

    /// Keeps a certificate.
    pub fn certificate(&mut self, certificate: &Certificate) {
        let block = certificate.block();
        let same = self.certificates.entry((block.height, block.hash)).or_default();
        if !same.contains(certificate) {
            same.push(certificate.clone());
        }
    }

    /// Keeps a roster.
    pub fn roster(&mut self, roster: &Arc<Roster>) {
        self.rosters.entry(roster.hash()).or_insert_with(|| Arc::clone(roster));
    }

    /// Throws away every certificate that is none.
    fn verify(&mut self, chain_id: ChainId, verifier: &dyn Verifier) {
        let rosters = &self.rosters;
        let good = |certificate: &Certificate| {
            let roster = rosters.get(&certificate.roster_hash());
            roster.is_some_and(|roster| certificate.check(chain_id, roster, verifier).is_ok())
        };
        self.certificates.values_mut().for_each(|same| same.retain(good));
    }

    /// Keeps the blocks and the certificate that a message brings.
    pub fn message(&mut self, message: &Message) {
        let blocks = match message {
            Message::Append(append) => append.blocks.as_slice(),
            Message::Pulled { blocks, .. } => blocks.as_slice(),
            _ => &[],
        };
        blocks.iter().for_each(|block| self.block(block));
        let proof = |proof: &'_ Option<Proof>| proof.as_ref().map(|it| it.certificate.clone());
        let certificate = match message {
            Message::Append(append) => append.certificate.clone(),
            Message::Pulled { certificate, .. } => certificate.clone(),
            Message::Committed(certificate) => Some(certificate.clone()),
            // What raises a term may be a commit certificate too.
            Message::PreVoteRequest { proof: it, .. }
            | Message::Refuse { proof: it, .. }
            | Message::Standing { proof: it, .. } => proof(it),
            Message::Stale(it) | Message::VoteRequest { proof: it, .. } => {
                Some(it.certificate.clone())
            }
            Message::Snapshot(snapshot) => Some(snapshot.proof.certificate.clone()),
            _ => None,
        };
        let commits = |it: &Certificate| it.kind() == CertificateKind::Commit;
        certificate.filter(commits).into_iter().for_each(|it| self.certificate(&it));
    }

    /// The chain from a block down, as far as it is known.
    fn down(&self, from: BlockHash) -> impl Iterator<Item = &Block> {
        let first = self.blocks.get(&from);
        std::iter::successors(first, |block| self.blocks.get(&block.header().parent))
    }

    /// What stands above `below`, up to the lowest certificate that covers a block.
    fn branch(&self, block: BlockRef, shared: &BTreeSet<BlockHash>) -> Option<Branch> {
        let above = self.certificates.range((block.height, BlockHash::new([0; 32]))..);
        above.flat_map(|(_, same)| same).find_map(|certificate| {
            let own = |it: &&Block| !shared.contains(&it.hash());
            let mut blocks: Vec<_> = self.down(certificate.block().hash).take_while(own).collect();
            blocks.reverse();
            if !blocks.iter().any(|it| it.block_ref() == block) {
                return None;
            }
            let headers = blocks.iter().map(|it| it.signed_header().clone()).collect();
            let items = blocks.iter().filter_map(|it| it.body().item.clone()).collect();
            Some(Branch { headers, items, certificate: certificate.clone() })
        })
    }
}

impl World {
    /// Honest validators have committed two blocks at one height.
    pub(super) fn judge_fork(&mut self, ours: BlockRef, theirs: BlockRef) -> Check {
        let unfounded = |found: String| Violation { rule: "a fork names who lied", found };
        let chain_id = self.chain_id();
        let (Some(liar), Some(archive)) = (&self.liar, &mut self.ledger.archive) else {
            return Err(unfounded(format!("{ours} and {theirs}, and nobody lies")));
        };
        for replica in self.seats.iter().filter_map(|seat| seat.replica.as_ref()) {
            let log = replica.driver.core().log();
            log.rosters().chain([&log.applied().roster]).for_each(|roster| archive.roster(roster));
        }
        archive.verify(chain_id, &*self.verifier);
        let archive = &*archive;
        let hashes = |of: BlockRef| archive.down(of.hash).map(Block::hash).collect::<BTreeSet<_>>();
        let shared: BTreeSet<_> = hashes(ours).intersection(&hashes(theirs)).copied().collect();
        let branches = (archive.branch(ours, &shared), archive.branch(theirs, &shared));
        let (Some(a), Some(b)) = branches else {
            return Err(unfounded(format!("{ours} and {theirs}: not both are certified")));
        };
        let genesis = &self.founding.genesis;
        let Ok(roster) = genesis.roster() else { return Ok(()) };
        let rosters = RosterHistory { genesis_time: TimeUs::ZERO, genesis: &roster, later: &[] };
        let mut named = false;
        for evidence in accuse(&a, &b) {
            let who = evidence.accused();
            if evidence.verify(chain_id, &rosters, &*self.verifier).is_ok() {
                named |= who == liar.node;
                let rule = "a fork names nobody who is honest";
                hold(who == liar.node, rule, || format!("{ours} and {theirs}: {who}"))?;
            }
        }
        hold(named, "a fork names who lied", || format!("{ours} and {theirs}"))?;
        self.tally.forks += 1;
        self.forked = true;
        Ok(())
    }
}
