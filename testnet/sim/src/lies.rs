//! The key-holder who lies.
//!
//! One of the first validators runs the real replica, and the world lies in its name, with its key: on top of
//! what it sends, instead of it, and out of nothing. It may
//!
//! - seal a second block in a place and show it to some, ack both, and certify the second one as soon as a
//!   quorum has fallen for it;
//! - vote for whoever asks, in one term as often as it is asked, and pre-vote for anybody;
//! - ack what it has not stored, and say that it has stored and applied what is not there;
//! - withhold blocks;
//! - claim terms and heights up to the last number there is, with certificates that it alone has signed;
//! - send again what it has signed long ago;
//! - bring pieces of snapshots that are not what they claim to be, and offer snapshots that there are not;
//! - collect genuine pre-votes in the elections of others, and use them when there is a leader (`hoard`);
//! - append as if it led, with votes that it alone has signed;
//! - answer greetings, questions where it stands and reads with what it has made up;
//! - ask for blocks again and again.
//!
//! What is owed then: what honest validators promise by themselves stays true; nothing that it sends stops or
//! convicts an honest one; and if honest validators have committed different blocks, what was signed around
//! them names the liar and nobody else (`forks`). Not owed are what a plain majority with a liar in it cannot
//! have: one leader a term, leaders that hold what was committed, fresh reads. But a second leader needs the liar's
//! vote in both elections, and one that lacks a committed block needs the liar's vote and either its ack of that
//! block or its seal (`ledger`). One that recovers may be told too little by it, if those who know more stay away.
//! When the faults end it is put out of service, and progress is asked of the others.
//!
//! Left out: more than it could send anyway. How much a node takes from one peer is for the network to say.
#![expect(clippy::wildcard_enum_match_arm, reason = "nothing is owed to a liar's messages")]

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_chain::block::{Block, Draft};
use quorate_chain::certificate::{Certificate, Signed};
use quorate_chain::checked::Checked;
use quorate_chain::crypto::Signer;
use quorate_chain::ids::{
    BlockHash, BlockRef, Height, NodeId, RosterHash, StateRoot, Term, TimeUs,
};
use quorate_chain::roster::{QuorumKind, Roster};
use quorate_chain::state::StateEntry;
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_consensus::life::{Life, SignedLife};
use quorate_consensus::message::{Append, Beat, Known, Lap, Message, Nonce, Proof, Snapshot};
use quorate_replica::snapshot::Piece;

use crate::dials::{Dials, Fault};
use crate::dice::Dice;
use crate::genesis::node_key;
use crate::hoard::Hoard;
use crate::violation::Check;
use crate::world::{Cargo, World};

/// Most second blocks that it keeps acks of.
const TWINS: usize = 64;
/// How often it asks for the same blocks at once.
const BURST: usize = 64;
/// Most of its own messages that it keeps to send again.
const KEPT: usize = 64;

/// The validator that lies.
pub struct Liar {
    /// Who.
    pub node: NodeId,
    key: Arc<dyn Signer>,
    dice: Dice,
    /// The acks of each second block, by signer, with the roster that they name.
    twins: BTreeMap<BlockRef, (Arc<Roster>, BTreeMap<NodeId, SignedStatement>)>,
    kept: Vec<Message>,
    hoard: Hoard,
    /// Who gets no blocks.
    withheld: Option<NodeId>,
}

impl Liar {
    /// One of the first validators, if one is to lie and the others are a quorum.
    #[must_use]
    pub fn new(seed: u64, dials: &Dials) -> Option<Self> {
        let mut dice = Dice::new(seed, 5);
        let node = NodeId::new(u32::try_from(dice.below(u64::from(dials.nodes))).unwrap_or(0));
        (dials.has(Fault::Liar) && dials.nodes >= 3).then(|| Self {
            node,
            key: dials.signatures.signer(node_key(node)),
            dice,
            twins: BTreeMap::new(),
            kept: Vec::new(),
            hoard: Hoard::default(),
            withheld: None,
        })
    }

    fn says(
        &self,
        world: &World,
        statement: Statement,
        roster_hash: RosterHash,
    ) -> SignedStatement {
        let message = statement.message(world.chain_id(), roster_hash);
        let (signer, signature) = (self.node, self.key.sign(&message));
        SignedStatement { statement, roster_hash, signer, signature }
    }

    /// A certificate that it alone has signed, for everybody in the roster.
    fn certificate(&self, world: &World, statement: Statement, roster: &Roster) -> Certificate {
        let own = self.says(world, statement, roster.hash()).signature;
        let signed = roster.ids().into_iter().map(|signer| Signed { signer, signature: own });
        Certificate::assemble(statement, roster.hash(), signed.collect())
    }
}

/// A second block for the place of one.
fn twin(block: &Block, key: &dyn Signer, root: bool) -> Option<Checked<Block>> {
    let (header, below) = (block.header().clone(), block.block_ref().height.previous()?);
    let parent = BlockRef { term: header.term, height: below, hash: header.parent };
    let state_root = if root { StateRoot::ZERO } else { header.state_root };
    let draft = Draft {
        chain_id: header.chain_id,
        roster_hash: header.roster_hash,
        kind: header.kind,
        parent,
        term: header.term,
        proposer: header.proposer,
        time: TimeUs::new(header.time.get() + 1),
        executed: header.executed,
        state_root,
        body: block.body().clone(),
    };
    Block::seal(draft, key).ok()
}

impl World {
    /// The liar sends something. Returns what it sends instead, if anything.
    pub(super) fn lie(&mut self, at: usize, to: NodeId, message: Message) -> Option<Message> {
        let Some(mut liar) = self.liar.take() else { return Some(message) };
        let strength = self.dials.strength(Fault::Liar);
        let lies = liar.node == self.seats[at].node && strength > 0;
        let said = if lies { self.lied(&mut liar, to, message, strength) } else { Some(message) };
        self.liar = Some(liar);
        said
    }

    fn lied(
        &mut self,
        liar: &mut Liar,
        to: NodeId,
        mut message: Message,
        strength: u64,
    ) -> Option<Message> {
        if liar.kept.len() < KEPT {
            liar.kept.push(message.clone());
        } else if liar.dice.chance(100_000) {
            let place = liar.dice.index(KEPT);
            liar.kept[place] = message.clone();
        }
        if liar.withheld == Some(to)
            && matches!(message, Message::Append(_) | Message::Pulled { .. })
        {
            return None;
        }
        if !liar.dice.chance(strength * 30_000) {
            return Some(message);
        }
        match &mut message {
            Message::Append(append) => {
                let last = append.blocks.last()?;
                if last.header().proposer == liar.node {
                    let second = twin(last, &*liar.key, liar.dice.below(8) == 0)?;
                    let roster = Arc::clone(&self.core_of(liar.node)?.log().tip().roster);
                    liar.twins.insert(second.block_ref(), (roster, BTreeMap::new()));
                    if liar.twins.len() > TWINS {
                        liar.twins.pop_first();
                    }
                    append.blocks.pop();
                    append.blocks.push(second);
                }
            }
            Message::Stored(stored) => {
                let log = self.core_of(to)?.log();
                let (block, roster) = (log.tip().block, log.tip().roster.hash());
                if block.term == stored.term {
                    stored.matched = block;
                    stored.acks.push(liar.says(self, Statement::Ack { block }, roster));
                }
                stored.applied = Height::new(u64::MAX >> liar.dice.below(64));
            }
            Message::Reject { committed, unknown, .. } => {
                committed.height = Height::new(u64::MAX >> liar.dice.below(64));
                *unknown = liar.dice.flip();
            }
            _ => return None,
        }
        self.tally.fault(Fault::Liar);
        Some(message)
    }

    /// Something arrives at the liar: it votes for and acks whatever it is asked to, besides what its own
    /// process does, and collects what others have signed for its second blocks.
    pub(super) fn tempt(&mut self, to: usize, from: NodeId, message: &Message) -> Check {
        let Some(mut liar) = self.liar.take() else { return Ok(()) };
        let strength = self.dials.strength(Fault::Liar);
        let tempted = liar.node == self.seats[to].node && strength > 0;
        let lies = if tempted { self.tempted(&mut liar, from, message) } else { Vec::new() };
        self.liar = Some(liar);
        for (receiver, lie) in lies {
            self.tally.fault(Fault::Liar);
            self.dispatch(to, receiver, Cargo::Message(Box::new(lie)))?;
        }
        Ok(())
    }

    fn tempted(&self, liar: &mut Liar, from: NodeId, message: &Message) -> Vec<(NodeId, Message)> {
        match message {
            Message::PreVoteRequest { term, tip, roster, .. } if liar.dice.flip() => {
                let wanted = Statement::PreVote { term: *term, candidate: from, tip: *tip };
                vec![(from, Message::Vote(liar.says(self, wanted, roster.hash())))]
            }
            Message::VoteRequest { tip, proof, .. } if liar.dice.flip() => {
                let term = proof.certificate.term();
                let wanted = Statement::Vote { term, candidate: from, tip: *tip };
                let vote = Message::Vote(liar.says(self, wanted, proof.roster.hash()));
                let mut lies = self.ask_meanwhile(liar, proof).unwrap_or_default();
                lies.push((from, vote));
                lies
            }
            Message::Vote(said) => {
                liar.hoard.hear(said);
                Vec::new()
            }
            Message::Greet(life) if liar.dice.flip() => {
                vec![(from, self.made_up_memory(liar, from, *life))]
            }
            Message::Whereabouts { nonce } => {
                self.made_up_standing(liar, *nonce).map(|lie| (from, lie)).into_iter().collect()
            }
            Message::ReadRequest { nonce } if liar.dice.flip() => {
                let height = Height::new(u64::MAX >> liar.dice.below(64));
                let height = liar.dice.flip().then_some(height);
                vec![(from, Message::ReadAt { nonce: *nonce, height })]
            }
            Message::Stored(stored) => {
                let mut whole = Vec::new();
                for said in &stored.acks {
                    let Statement::Ack { block } = said.statement else { continue };
                    let own = liar.says(self, said.statement, said.roster_hash);
                    let Some((roster, acks)) = liar.twins.get_mut(&block) else { continue };
                    acks.insert(liar.node, own);
                    acks.insert(said.signer, said.clone());
                    let signers = acks.keys().copied().collect();
                    if roster.has_quorum(QuorumKind::Commit, &signers) {
                        let signed = acks
                            .values()
                            .map(|said| Signed { signer: said.signer, signature: said.signature });
                        let signed = signed.collect();
                        let (statement, hash) = (said.statement, said.roster_hash);
                        let certificate = Certificate::assemble(statement, hash, signed);
                        let all = signers.into_iter().filter(|id| *id != liar.node);
                        whole.extend(all.map(|id| (id, Message::Committed(certificate.clone()))));
                    }
                }
                whole
            }
            _ => Vec::new(),
        }
    }

    /// In an election of another the liar asks all for pre-votes for the term after that.
    fn ask_meanwhile(&self, liar: &mut Liar, proof: &Proof) -> Option<Vec<(NodeId, Message)>> {
        let term = proof.certificate.term().next().filter(|_| liar.dice.flip())?;
        let log = self.core_of(liar.node)?.log();
        let (tip, roster) = (log.tip().block, Arc::clone(&log.tip().roster));
        let wanted = Statement::PreVote { term, candidate: liar.node, tip };
        liar.hoard.ask(liar.says(self, wanted, roster.hash()), &roster);
        let (proof, handover) = (Some(proof.clone()), None);
        let others = roster.ids().into_iter().filter(|id| *id != liar.node);
        let request = Message::PreVoteRequest { term, tip, roster, proof, handover };
        Some(others.map(|id| (id, request.clone())).collect())
    }

    /// What the liar says that it knows of a validator: another start of its log, a vote and an ack that it
    /// never gave, signed with the only key that the liar has.
    fn made_up_memory(&self, liar: &Liar, of: NodeId, start: SignedLife) -> Message {
        let Life { incarnation, boot, nonce } = start.life;
        let other = Life { incarnation, boot, nonce: Nonce(!nonce.0) };
        let other = Some(other.sign(self.chain_id(), of, &*liar.key));
        let (roster_hash, height) = (RosterHash::new([0xee; 32]), Height::new(u64::MAX));
        let block =
            BlockRef { term: Term::new(u64::MAX), height, hash: BlockHash::new([0xee; 32]) };
        let vote = Statement::Vote { term: block.term, candidate: liar.node, tip: block };
        let said = [vote, Statement::Ack { block }].map(|statement| {
            let said = liar.says(self, statement, roster_hash);
            Some(SignedStatement { signer: of, ..said })
        });
        let [vote, ack] = said;
        Message::Known(Box::new(Known { life: start, other, vote, ack }))
    }

    /// Where the liar says that it stands: in a term of which it has the only signature, or before all terms.
    fn made_up_standing(&self, liar: &mut Liar, nonce: Nonce) -> Option<Message> {
        let tip = self.core_of(liar.node)?.log().tip();
        let (roster, tip) = (Arc::clone(&tip.roster), tip.block);
        let roster_hash = roster.hash();
        let term = Term::new(u64::MAX >> liar.dice.below(64));
        let said =
            liar.says(self, Statement::Vote { term, candidate: liar.node, tip }, roster_hash);
        let signed = vec![Signed { signer: said.signer, signature: said.signature }];
        let certificate = Certificate::assemble(said.statement, roster_hash, signed);
        let proof = liar.dice.flip().then_some(Proof { certificate, roster });
        Some(Message::Standing { nonce, proof, roster_hash })
    }

    /// The liar makes something up, and sends it to somebody. Returns whether it did.
    pub(super) fn make_up(&mut self) -> Result<bool, crate::violation::Violation> {
        let Some(mut liar) = self.liar.take() else { return Ok(false) };
        let to = NodeId::new(u32::try_from(liar.dice.index(self.seats.len())).unwrap_or(0));
        liar.withheld = liar.dice.chance(300_000).then_some(to);
        let made = self.made_up(&mut liar, to);
        let at = self.seat_of(liar.node).unwrap_or_default();
        let runs = self.seats[at].is_running() && to != liar.node;
        self.liar = Some(liar);
        let Some(message) = made.filter(|_| runs) else { return Ok(false) };
        let times = if matches!(message, Message::Pull { .. }) { BURST } else { 1 };
        for _ in 0..times {
            self.dispatch(at, to, Cargo::Message(Box::new(message.clone())))?;
        }
        Ok(true)
    }

    fn made_up(&self, liar: &mut Liar, to: NodeId) -> Option<Message> {
        let victim = self.core_of(to)?;
        let (log, term) = (victim.log(), victim.term());
        let last = liar.dice.below(3) == 0;
        let term = Term::new(if last { u64::MAX } else { term.get() + liar.dice.below(2) });
        let near = log.tip().block.height.get() + liar.dice.below(3);
        let height = Height::new(if last { u64::MAX } else { near });
        let nowhere = BlockRef { term, height, hash: BlockHash::new([0xee; 32]) };
        let tip = if liar.dice.flip() { log.tip().block } else { nowhere };
        let (kind, place) = (liar.dice.below(14), liar.dice.index(liar.kept.len()));
        let genuine = liar.hoard.pick(&mut liar.dice);
        let liar = &*liar;
        let (roster, candidate) = (Arc::clone(&log.tip().roster), liar.node);
        let prove = |statement| Proof {
            certificate: liar.certificate(self, statement, &roster),
            roster: Arc::clone(&roster),
        };
        let voted = Statement::Vote { term, candidate, tip };
        let pre_voted = Statement::PreVote { term, candidate, tip };
        let certified = || liar.certificate(self, Statement::Ack { block: tip }, &roster);
        let committed = log.committed();
        Some(match kind {
            0 => {
                let (proof, roster) = (Some(prove(voted)), Arc::clone(&roster));
                Message::PreVoteRequest { term, tip, roster, proof, handover: None }
            }
            1 => Message::VoteRequest { tip, proof: prove(pre_voted), handover: None },
            2 => Message::Stale(prove(voted)),
            3 => Message::Committed(certified()),
            4 => {
                let leaves = Statement::Handover { term, to, tip: log.tip().block };
                Message::Handover(liar.says(self, leaves, roster.hash()))
            }
            5 => Message::Refuse { proof: Some(prove(voted)), tip, committed: nowhere },
            6 => Message::Pull { committed: if last { nowhere } else { committed } },
            7 => Message::Recovering { above: term },
            8 => {
                let mut blocks: Vec<_> = log.from(committed.height).collect();
                let entry = blocks.pop()?;
                let below = entry.block.block_ref().height.previous()?;
                let parent = BlockRef { hash: entry.block.header().parent, height: below, term };
                let second = twin(&entry.block, &*liar.key, false)?;
                Message::Pulled { parent, blocks: vec![second], certificate: Some(certified()) }
            }
            9 => {
                let election = Some(prove(voted));
                let (lap, beat, blocks) = (Lap(u64::MAX), Beat(u64::MAX), Vec::new());
                let (parent, certificate) = (tip, Some(certified()));
                let append = Append { term, election, lap, beat, parent, blocks, certificate };
                Message::Append(Box::new(append))
            }
            10 => {
                let proof = prove(Statement::Ack { block: tip });
                Message::Snapshot(Box::new(Snapshot { block: nowhere, proof }))
            }
            11 => Message::Stale(genuine?),
            12 => {
                let proof = genuine?;
                let tip = proof.certificate.block();
                Message::VoteRequest { tip, proof, handover: None }
            }
            _ => liar.kept.get(place)?.clone(),
        })
    }

    /// A piece of a snapshot that the liar brings.
    pub(super) fn spoil(&mut self, at: usize, piece: Piece) -> Piece {
        let strength = self.dials.strength(Fault::Liar);
        let (Some(liar), true) = (&mut self.liar, strength > 0) else { return piece };
        if liar.node != self.seats[at].node || !liar.dice.chance(strength * 100_000) {
            return piece;
        }
        self.tally.fault(Fault::Liar);
        match piece {
            Piece::Entries(mut entries) => {
                match liar.dice.below(3) {
                    0 => entries.reverse(),
                    1 => entries.truncate(entries.len() / 2),
                    _ => {
                        for (_, entry) in &mut entries {
                            if let StateEntry::Value(value) = entry {
                                value.bytes = bytes::Bytes::from_static(b"a lie");
                            }
                        }
                    }
                }
                Piece::Entries(entries)
            }
            Piece::Head(mut head) => {
                head.roster_since = Height::new(u64::MAX >> liar.dice.below(64));
                Piece::Head(head)
            }
            Piece::Steps(mut steps) => {
                if liar.dice.chance(500_000) {
                    steps.pop();
                } else if let Some(step) = steps.first_mut() {
                    step.path.headers.clear();
                }
                Piece::Steps(steps)
            }
            Piece::Gone => Piece::Gone,
        }
    }

    fn core_of(&self, node: NodeId) -> Option<&quorate_consensus::raft::Core> {
        let seat = &self.seats[self.seat_of(node)?];
        seat.replica.as_ref().map(|replica| replica.driver.core())
    }
}
