//! Noticing what no honest validator signs.
//!
//! Evidence is the five kinds of [`quorate_chain::evidence`] and nothing else: two blocks in one place,
//! two votes in a term, two acks in one place, a vote below an ack, a malformed block. What is
//! verified here anyway is remembered for a while, and compared with what comes later: blocks when they
//! are judged, taken or not; votes and acks alone and in certificates. What conflicts is put together,
//! verified, and said once.
//!
//! What is never evidence: acks for different blocks at one height in different terms, pre-votes for two
//! candidates, votes for others in later terms, a block that nobody stored; and all that is not signed,
//! such as a reject, a number that is too high, or a message that means nothing.
//!
//! Bounded: of each validator the newest `MOST` votes, acks and blocks are remembered, and no more than
//! `MOST_CONVICTIONS` convictions are said. So it may miss a conflict with something old. The store of
//! blocks has more, and [`accuse`](quorate_chain::evidence::accuse()) finds the guilty of two histories.
//!
//! Left out: what is done about it. Evidence changes no vote and no leader: one that lies is out-voted or
//! not listened to, as the other rules say.

use std::collections::{BTreeMap, BTreeSet};

use quorate_chain::block::{Block, Header, SignedHeader};
use quorate_chain::evidence::{Evidence, MalformedBlock, ProvenItem, RosterHistory};
use quorate_chain::ids::{Height, NodeId, Term};
use quorate_chain::merkle;
use quorate_chain::roster::Roster;
use quorate_chain::statement::{SignedStatement, Statement};

use crate::effect::Effect;
use crate::judge::Proven;
use crate::log::Anchor;
use crate::raft::Core;

/// Most votes, acks and blocks remembered of one validator, each.
const MOST: usize = 256;
/// Most convictions of one validator that are said.
const MOST_CONVICTIONS: usize = 16;

/// Where a statement or block stands: its term, and its height if it is one at a height.
type Place = (Term, Height);

/// What one validator has been seen to sign.
#[derive(Clone, Debug, Default)]
struct Seen {
    votes: BTreeMap<Term, SignedStatement>,
    acks: BTreeMap<Place, SignedStatement>,
    blocks: BTreeMap<Place, SignedHeader>,
    /// What has been said of it: the kind of evidence, and where.
    convicted: BTreeSet<(u8, Place)>,
}

/// What the validators have been seen to sign.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness(BTreeMap<NodeId, Seen>);

impl Witness {
    /// The vote of the highest term and the ack of the highest rank of a validator.
    pub(crate) fn newest(
        &self,
        node: NodeId,
    ) -> (Option<SignedStatement>, Option<SignedStatement>) {
        let newest = |seen: &Seen| {
            let vote = seen.votes.last_key_value().map(|(_, vote)| vote.clone());
            (vote, seen.acks.last_key_value().map(|(_, ack)| ack.clone()))
        };
        self.0.get(&node).map_or((None, None), newest)
    }
}

impl Seen {
    fn vote(&mut self, vote: &SignedStatement, at: Term, rank: Place) -> Vec<Evidence> {
        let mut found = Vec::new();
        if let Some(before) = self.votes.get(&at) {
            if before.statement != vote.statement {
                found.push(Evidence::TwoVotes { a: before.clone(), b: vote.clone() });
            }
            return found;
        }
        let below = self.acks.range(..(at, Height::ZERO)).next_back();
        if let Some((_, ack)) = below.filter(|(place, _)| **place > rank) {
            found.push(Evidence::VoteBelowAck { ack: ack.clone(), vote: vote.clone() });
        }
        keep(&mut self.votes, at, vote.clone());
        found
    }

    fn ack(&mut self, ack: &SignedStatement, at: Place) -> Vec<Evidence> {
        let mut found = Vec::new();
        if let Some(before) = self.acks.get(&at) {
            if before.statement != ack.statement {
                found.push(Evidence::TwoAcks { a: before.clone(), b: ack.clone() });
            }
            return found;
        }
        let later = at.0.next().map(|next| self.votes.range(next..));
        let below = later.into_iter().flatten().find(|(_, it)| it.statement.block().rank() < at);
        if let Some((_, vote)) = below {
            found.push(Evidence::VoteBelowAck { ack: ack.clone(), vote: vote.clone() });
        }
        keep(&mut self.acks, at, ack.clone());
        found
    }

    fn block(&mut self, block: &SignedHeader) -> Option<Evidence> {
        let at = (block.header.term, block.header.height);
        match self.blocks.get(&at) {
            None => keep(&mut self.blocks, at, block.clone()),
            Some(before) if before.header != block.header => {
                return Some(Evidence::TwoBlocks { a: before.clone(), b: block.clone() });
            }
            Some(_) => {}
        }
        None
    }
}

/// Remembers one more, and forgets the oldest.
fn keep<K: Ord, V>(seen: &mut BTreeMap<K, V>, at: K, what: V) {
    seen.insert(at, what);
    if seen.len() > MOST {
        seen.pop_first();
    }
}

impl Core {
    /// A statement has been verified.
    pub(crate) fn see_statement(&mut self, said: &SignedStatement) {
        let seen = self.witness.0.entry(said.signer).or_default();
        let found = match said.statement {
            Statement::Vote { term, tip, .. } => seen.vote(said, term, tip.rank()),
            Statement::Ack { block } => seen.ack(said, block.rank()),
            Statement::PreVote { .. } | Statement::Handover { .. } => Vec::new(),
        };
        for evidence in found {
            self.convict(evidence);
        }
    }

    /// A block has been judged, with its proposer's signature.
    pub(crate) fn see_block(&mut self, block: &Block, opening: Option<&Proven>) {
        if let Some(opening) = opening {
            self.see_certificate(opening.certificate.get());
        }
        let signed = block.signed_header();
        let seen = self.witness.0.entry(signed.header.proposer).or_default();
        if let Some(evidence) = seen.block(signed) {
            self.convict(evidence);
        }
    }

    /// A block may not stand on this parent, which is on the chain or comes with it.
    pub(crate) fn see_malformed(&mut self, parent: &Anchor, below: Option<&Header>, child: &Block) {
        let genesis = parent.block == self.config.chain_id.genesis_ref();
        let below = below.filter(|header| header.block_ref() == parent.block);
        let header = below.or_else(|| self.log.header(parent.block));
        if header.is_none() && !genesis {
            // It was applied before the start. The next one that comes will do.
            return;
        }
        let item = child.body().item.clone().and_then(|item| {
            Some(ProvenItem { item, inclusion: merkle::prove(&child.body().leaves(), 0)? })
        });
        let (parent, child) = (header.cloned(), child.signed_header().clone());
        self.convict(Evidence::Malformed(Box::new(MalformedBlock { parent, child, item })));
    }

    /// Says that somebody is convicted, if it is so and has not been said.
    fn convict(&mut self, evidence: Evidence) {
        let (kind, place) = place(&evidence);
        let said = |seen: &Seen| {
            seen.convicted.len() >= MOST_CONVICTIONS || seen.convicted.contains(&(kind, place))
        };
        if self.witness.0.get(&evidence.accused()).is_some_and(said) {
            return;
        }
        let (chain_id, verifier) = (self.config.chain_id, &*self.verifier);
        let known: Vec<Roster> = self.log.rosters().map(|roster| (**roster).clone()).collect();
        let applied = self.log.applied();
        let conviction = if applied.block == chain_id.genesis_ref() {
            let (genesis_time, genesis) = (applied.time, &*applied.roster);
            let history = RosterHistory { genesis_time, genesis, later: &known };
            evidence.clone().verify(chain_id, &history, verifier)
        } else {
            evidence.clone().verify(chain_id, known.as_slice(), verifier)
        };
        let Ok(conviction) = conviction else { return };
        let seen = self.witness.0.entry(evidence.accused()).or_default();
        seen.convicted.insert((kind, place));
        self.effects.push(Effect::Convict(Box::new(conviction)));
    }
}

/// Which of the five it is, and where.
fn place(evidence: &Evidence) -> (u8, Place) {
    let at = |header: &Header| (header.term, header.height);
    match evidence {
        Evidence::TwoBlocks { a, .. } => (1, at(&a.header)),
        Evidence::TwoVotes { a, .. } => (2, (a.statement.term(), Height::ZERO)),
        Evidence::TwoAcks { a, .. } => (3, a.statement.block().rank()),
        Evidence::VoteBelowAck { vote, .. } => (4, (vote.statement.term(), Height::ZERO)),
        Evidence::Malformed(block) => (5, at(&block.child.header)),
    }
}

#[cfg(test)]
mod tests {
    use quorate_chain::ids::{BlockHash, BlockRef, RosterHash, Signature};

    use super::*;

    fn block(term: u64, height: u64, branch: u8) -> BlockRef {
        let hash = BlockHash::new([branch; 32]);
        BlockRef { term: Term::new(term), height: Height::new(height), hash }
    }

    fn said(statement: Statement) -> SignedStatement {
        let (roster_hash, signature) = (RosterHash::ZERO, Signature::new([0; 64]));
        SignedStatement { statement, roster_hash, signer: NodeId::new(1), signature }
    }

    fn vote(seen: &mut Seen, term: u64, candidate: u32, tip: BlockRef) -> usize {
        let (term, candidate) = (Term::new(term), NodeId::new(candidate));
        let vote = said(Statement::Vote { term, candidate, tip });
        seen.vote(&vote, term, tip.rank()).len()
    }

    fn ack(seen: &mut Seen, block: BlockRef) -> usize {
        seen.ack(&said(Statement::Ack { block }), block.rank()).len()
    }

    #[test]
    fn two_votes_in_a_term_conflict_and_the_same_vote_twice_does_not() {
        let mut seen = Seen::default();
        assert_eq!(vote(&mut seen, 2, 1, block(1, 5, 1)), 0);
        assert_eq!(vote(&mut seen, 2, 1, block(1, 5, 1)), 0);
        assert_eq!(vote(&mut seen, 3, 2, block(1, 5, 1)), 0);
        assert_eq!(vote(&mut seen, 2, 2, block(1, 5, 1)), 1);
        assert_eq!(vote(&mut seen, 2, 1, block(1, 6, 1)), 1);
    }

    #[test]
    fn two_acks_in_one_place_conflict_and_in_two_terms_do_not() {
        let mut seen = Seen::default();
        assert_eq!(ack(&mut seen, block(1, 5, 1)), 0);
        assert_eq!(ack(&mut seen, block(2, 5, 2)), 0);
        assert_eq!(ack(&mut seen, block(1, 5, 1)), 0);
        assert_eq!(ack(&mut seen, block(1, 5, 2)), 1);
    }

    #[test]
    fn a_vote_below_an_ack_conflicts_whichever_is_seen_first() {
        let mut seen = Seen::default();
        assert_eq!(ack(&mut seen, block(1, 5, 1)), 0);
        assert_eq!(ack(&mut seen, block(1, 3, 1)), 0);
        assert_eq!(vote(&mut seen, 2, 1, block(1, 4, 1)), 1);
        assert_eq!(vote(&mut seen, 3, 1, block(1, 5, 1)), 0);
        let mut seen = Seen::default();
        assert_eq!(vote(&mut seen, 2, 1, block(1, 4, 1)), 0);
        assert_eq!(ack(&mut seen, block(1, 4, 1)), 0);
        assert_eq!(ack(&mut seen, block(1, 5, 1)), 1);
        // An ack in the term of the vote, or a later one, denies nothing.
        assert_eq!(ack(&mut seen, block(2, 5, 1)), 0);
        assert_eq!(ack(&mut seen, block(3, 4, 1)), 0);
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_newest() {
        let mut seen = Seen::default();
        for height in 1..1_000 {
            ack(&mut seen, block(1, height, 1));
            vote(&mut seen, height, 1, block(height, 1, 1));
        }
        assert_eq!((seen.acks.len(), seen.votes.len()), (MOST, MOST));
        assert!(seen.acks.contains_key(&(Term::new(1), Height::new(999))));
    }
}
