//! What a validator that lies may send: every kind of message, signed with its own key, or with the
//! keys of those who lie together with it.

use std::sync::Arc;

use quorate_chain::block::{Block, BlockKind, Body, Draft};
use quorate_chain::certificate::{Certificate, Signed};
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockHash, BlockRef, ChainId, Height, NodeId, Term, TimeUs};
use quorate_chain::roster::{Lead, Roster};
use quorate_chain::statement::Statement;
use quorate_consensus::config::Incarnation;
use quorate_consensus::life::Life;
use quorate_consensus::message::{
    Append, Beat, Known, Lap, Message, Nonce, Proof, Snapshot, Stored,
};

use super::World;
use super::keys::{CHAIN, Key, key, sign, sign_on, state_root};

/// The lies, and nobody is harmed by one.
pub const LIES: [&str; 17] = [
    "PreVoteRequest",
    "UnderHandover",
    "Recovering",
    "Standing",
    "Greet",
    "Known",
    "VoteRequest",
    "Vote",
    "Refuse",
    "Append",
    "Stored",
    "Reject",
    "Stale",
    "Committed",
    "Pull",
    "Pulled",
    "Handover",
];

/// A block that nobody has sealed.
fn nowhere(term: u64, height: u64) -> BlockRef {
    let hash = BlockHash::new([0xee; 32]);
    BlockRef { term: Term::new(term), height: Height::new(height), hash }
}

/// Another chain, which may have the same validators.
const ELSEWHERE: ChainId = ChainId::new([8; 32]);

pub fn certificate(statement: Statement, roster: &Roster, signers: &[u32]) -> Certificate {
    certificate_on(CHAIN, statement, roster, signers)
}

fn certificate_on(
    chain_id: ChainId,
    statement: Statement,
    roster: &Roster,
    signers: &[u32],
) -> Certificate {
    let signed = signers.iter().map(|id| {
        let said = sign_on(chain_id, *id, statement, roster.hash());
        Signed { signer: said.signer, signature: said.signature }
    });
    Certificate::assemble(statement, roster.hash(), signed.collect())
}

impl World {
    /// A lie of `liar` to `victim`, of a term and about a height, with the signatures of `signers`.
    pub fn forged(
        &self,
        (liar, victim): (u32, u32),
        name: &str,
        (term, height): (u64, u64),
        signers: &[u32],
    ) -> Message {
        let (tip, term) = (nowhere(term, height), Term::new(term));
        match name {
            "PreVoteRequest" | "UnderHandover" | "VoteRequest" | "Vote" | "Refuse"
            | "RefuseByPreVotes" | "Stale" | "StaleByCommit" | "StaleByPreVotes" | "Handover"
            | "Recovering" | "Standing" | "Known" | "Greet" => {
                self.forged_election((liar, victim), name, term, tip, signers)
            }
            _ => self.forged_chain((liar, victim), name, term, tip, signers),
        }
    }

    /// The roster that the chain begins with.
    pub fn first_roster(&self) -> Roster {
        (*self.genesis.roster).clone()
    }

    fn forged_election(
        &self,
        (liar, victim): (u32, u32),
        name: &str,
        term: Term,
        tip: BlockRef,
        signers: &[u32],
    ) -> Message {
        let (roster, candidate) = (Arc::new(self.first_roster()), NodeId::new(liar));
        let (victims, to) = (self.core(victim).unwrap().log().tip().block, NodeId::new(victim));
        let prove = |statement| {
            let certificate = certificate(statement, &roster, signers);
            Proof { certificate, roster: roster.clone() }
        };
        let pre_voted = Statement::PreVote { term, candidate, tip };
        let voted = Statement::Vote { term, candidate, tip };
        let say = |statement| sign(liar, statement, roster.hash());
        match name {
            "PreVoteRequest" => {
                let (proof, roster) = (Some(prove(pre_voted)), roster.clone());
                let term = term.next().unwrap_or(term);
                Message::PreVoteRequest { term, tip, roster, proof, handover: None }
            }
            "VoteRequest" => Message::VoteRequest { tip, proof: prove(pre_voted), handover: None },
            "Vote" => Message::Vote(say(Statement::Vote { term, candidate: to, tip: victims })),
            "Refuse" => Message::Refuse { proof: Some(prove(voted)), tip, committed: tip },
            "RefuseByPreVotes" => {
                Message::Refuse { proof: Some(prove(pre_voted)), tip, committed: tip }
            }
            "Stale" => Message::Stale(prove(voted)),
            "StaleByPreVotes" => Message::Stale(prove(pre_voted)),
            "StaleByCommit" => Message::Stale(prove(Statement::Ack { block: tip })),
            "Handover" => Message::Handover(say(Statement::Handover { term, to, tip: victims })),
            "Recovering" => Message::Recovering { above: term },
            "Standing" => {
                let nonce = match self.remembered(victim, liar, "Whereabouts", None) {
                    Some(Message::Whereabouts { nonce }) => nonce,
                    _ => Nonce(tip.height.get()),
                };
                let proof = (term > Term::ZERO).then(|| prove(voted));
                Message::Standing { nonce, proof, roster_hash: roster.hash() }
            }
            "Known" => {
                let life = self.core(victim).unwrap().life();
                // Only the victim itself could have signed either.
                let sign = |life: Life| life.sign(CHAIN, NodeId::new(victim), &Key(key(liar)));
                let (life, other) = (sign(life), sign(Life { nonce: Nonce(term.get()), ..life }));
                let vote = say(Statement::Vote { term, candidate, tip });
                let ack = say(Statement::Ack { block: tip });
                Message::Known(Box::new(Known {
                    life,
                    other: Some(other),
                    vote: Some(vote),
                    ack: Some(ack),
                }))
            }
            "Greet" => {
                let life = self.core(victim).unwrap().life();
                Message::Greet(life.sign(CHAIN, candidate, &Key(key(liar))))
            }
            "UnderHandover" => {
                let before = Term::new(term.get().saturating_sub(1));
                let handover =
                    say(Statement::Handover { term: before, to: candidate, tip: victims });
                let (roster, handover) = (roster.clone(), Some(handover));
                Message::PreVoteRequest { term, tip: victims, roster, proof: None, handover }
            }
            unknown => panic!("{unknown}: no such lie"),
        }
    }

    fn forged_chain(
        &self,
        (liar, victim): (u32, u32),
        name: &str,
        term: Term,
        tip: BlockRef,
        signers: &[u32],
    ) -> Message {
        let (roster, candidate) = (Arc::new(self.first_roster()), NodeId::new(liar));
        let log = self.core(victim).unwrap().log();
        let parent = log.tip().block;
        let certify = |block| certificate(Statement::Ack { block }, &roster, signers);
        match name {
            "Append" => {
                let voted = Statement::Vote { term, candidate, tip };
                let certificate = certificate(voted, &roster, signers);
                Message::Append(Box::new(Append {
                    term,
                    election: Some(Proof { certificate, roster: roster.clone() }),
                    lap: Lap(0),
                    beat: Beat(0),
                    parent,
                    blocks: vec![self.forged_block((liar, victim), parent, term)],
                    certificate: Some(certify(tip)),
                }))
            }
            "Stored" => {
                let held = log.anchor(tip.height).map(|anchor| anchor.block);
                let block = held.unwrap_or(tip);
                let ack = |id: &u32| sign(*id, Statement::Ack { block }, roster.hash());
                Message::Stored(Box::new(Stored {
                    term,
                    matched: block,
                    applied: tip.height,
                    incarnation: Incarnation(u64::from(liar)),
                    lead: Lead::Yes,
                    beat: Beat(tip.height.get()),
                    acks: signers.iter().map(ack).collect(),
                }))
            }
            "Reject" => {
                let incarnation = Incarnation(tip.height.get());
                Message::Reject { lap: Lap(0), committed: tip, incarnation, unknown: true }
            }
            "Committed" => Message::Committed(certify(tip)),
            "Pull" => Message::Pull { committed: tip },
            "Pulled" => {
                let block = self.forged_block((liar, victim), parent, term);
                let certificate = Some(certify(block.block_ref()));
                Message::Pulled { parent, blocks: vec![block], certificate }
            }
            "Snapshot" | "SnapshotOfAnotherChain" => {
                let chain_id = if name == "Snapshot" { CHAIN } else { ELSEWHERE };
                let acked = Statement::Ack { block: tip };
                let certificate = certificate_on(chain_id, acked, &roster, signers);
                let proof = Proof { certificate, roster: roster.clone() };
                Message::Snapshot(Box::new(Snapshot { block: tip, proof }))
            }
            unknown => panic!("{unknown}: no such lie"),
        }
    }

    /// A block that a validator seals without the right to.
    pub fn forged_block(
        &self,
        (liar, victim): (u32, u32),
        parent: BlockRef,
        term: Term,
    ) -> Checked<Block> {
        let draft = Draft {
            chain_id: CHAIN,
            roster_hash: self.genesis.roster.hash(),
            kind: BlockKind::Transactions,
            parent,
            term,
            proposer: NodeId::new(liar),
            time: TimeUs::new(self.moment.as_micros()),
            executed: self.nodes[victim as usize].applied,
            state_root: state_root(self.nodes[victim as usize].applied),
            body: Body { item: None, transactions: Vec::new() },
        };
        Block::seal(draft, &Key(key(liar))).unwrap()
    }

    /// An append that was once sent, but with another last block, sealed for the same place.
    pub fn twin(&self, from: u32, to: u32) -> Option<Message> {
        let Some(Message::Append(mut append)) = self.remembered(from, to, "Append", None) else {
            return None;
        };
        let last = append.blocks.pop()?;
        let (header, body) = (last.header().clone(), last.body().clone());
        let below = append.blocks.last().map_or(append.parent, |block| block.block_ref());
        let draft = Draft {
            chain_id: CHAIN,
            roster_hash: header.roster_hash,
            kind: header.kind,
            parent: below,
            term: header.term,
            proposer: header.proposer,
            time: TimeUs::new(header.time.get() + 1),
            executed: header.executed,
            state_root: header.state_root,
            body,
        };
        append.blocks.push(Block::seal(draft, &Key(key(from))).unwrap());
        Some(Message::Append(append))
    }

    /// That other block as part of a range, with a certificate by these signers.
    pub fn certified_twin(&self, from: u32, to: u32, signers: &[u32]) -> Option<Message> {
        let Some(Message::Append(append)) = self.twin(from, to) else { return None };
        let Append { parent, blocks, .. } = *append;
        let block = blocks.last()?.block_ref();
        let certificate = certificate(Statement::Ack { block }, &self.first_roster(), signers);
        Some(Message::Pulled { parent, blocks, certificate: Some(certificate) })
    }
}
