//! What a validator can say that is not so: every kind of message with every kind of wrong name, number,
//! signature and size, as far as one key can sign it.

use bytes::Bytes;
use quorate_chain::block::{Block, BlockKind, Body, Draft, Item};
use quorate_chain::certificate::{Certificate, Signed};
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode as _, Encode as _};
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{
    BlockHash, BlockRef, ChainId, Height, NodeId, RosterHash, Signature, StateRoot, Term, TimeUs,
};
use quorate_chain::roster::{Lead, Roster};
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_consensus::codec::Incoming;
use quorate_consensus::config::{Boot, Incarnation};
use quorate_consensus::life::{Life, SignedLife};
use quorate_consensus::message::{
    Append, Beat, Known, Lap, Message, Nonce, Proof, Snapshot, Stored,
};
use quorate_replica::snapshot::{Ask, Wanted};

/// How many kinds of message there are.
pub(crate) const KINDS: usize = 20;

/// The kind of a message. Whoever adds one gives it a lie below.
pub(crate) const fn kind(message: &Message) -> &'static str {
    match message {
        Message::PreVoteRequest { .. } => "pre-vote request",
        Message::VoteRequest { .. } => "vote request",
        Message::Vote(_) => "vote",
        Message::Refuse { .. } => "refuse",
        Message::Append(_) => "append",
        Message::Stored(_) => "stored",
        Message::Reject { .. } => "reject",
        Message::Stale(_) => "stale",
        Message::Committed(_) => "committed",
        Message::Pull { .. } => "pull",
        Message::Pulled { .. } => "pulled",
        Message::Snapshot(_) => "snapshot",
        Message::Handover(_) => "handover",
        Message::ReadRequest { .. } => "read request",
        Message::ReadAt { .. } => "read at",
        Message::Greet(_) => "greet",
        Message::Known(_) => "known",
        Message::Whereabouts { .. } => "whereabouts",
        Message::Standing { .. } => "standing",
        Message::Recovering { .. } => "recovering",
    }
}

/// Numbers that look like chance, the same in every run (xorshift).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is below a length")
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn flips(&mut self) -> bool {
        self.next() & 1 == 0
    }
}

/// A validator that lies.
pub(crate) struct Liar {
    key: SecretKey,
    id: NodeId,
    chain_id: ChainId,
    roster: Roster,
    chance: Chance,
    /// Messages of others, to be said again as one's own, and what they speak of.
    heard: Vec<Bytes>,
    blocks: Vec<BlockRef>,
    proofs: Vec<Proof>,
    lives: Vec<SignedLife>,
    statements: Vec<SignedStatement>,
}

/// How much of what it has heard it remembers.
const MEMORY: usize = 64;

impl Liar {
    pub(crate) fn new(key: SecretKey, id: NodeId, chain_id: ChainId, roster: Roster) -> Self {
        let (heard, proofs, lives, statements) = Default::default();
        let (chance, blocks) = (Chance(0x9e37_79b9_7f4a_7c15), vec![chain_id.genesis_ref()]);
        Self { key, id, chain_id, roster, chance, heard, blocks, proofs, lives, statements }
    }

    /// Whether it has what it takes to abuse the words of others.
    pub(crate) const fn knows(&self) -> bool {
        !self.heard.is_empty()
            && self.blocks.len() > 1
            && !self.proofs.is_empty()
            && !self.lives.is_empty()
            && !self.statements.is_empty()
    }

    fn keep<T>(&mut self, place: fn(&mut Self) -> &mut Vec<T>, what: T) {
        let at = self.chance.below(MEMORY);
        let place = place(self);
        if place.len() < MEMORY {
            place.push(what);
        } else {
            place[at] = what;
        }
    }

    /// Remembers what an honest validator has said.
    pub(crate) fn hear(&mut self, bytes: &Bytes) {
        let Ok(incoming) = Incoming::from_bytes(bytes) else { return };
        self.keep(|all| &mut all.heard, bytes.clone());
        for block in incoming.blocks() {
            self.keep(|all| &mut all.blocks, block.block_ref());
        }
        match incoming.message() {
            Message::PreVoteRequest { proof: Some(proof), .. }
            | Message::VoteRequest { proof, .. }
            | Message::Refuse { proof: Some(proof), .. }
            | Message::Stale(proof)
            | Message::Standing { proof: Some(proof), .. } => {
                self.keep(|all| &mut all.proofs, proof.clone());
            }
            Message::Append(append) => {
                if let Some(election) = append.election.clone() {
                    self.keep(|all| &mut all.proofs, election);
                }
                if let Some(certificate) = append.certificate.clone() {
                    for said in certificate.signed_statements() {
                        self.keep(|all| &mut all.statements, said);
                    }
                    let proof = Proof { certificate, roster: self.roster.clone().into() };
                    self.keep(|all| &mut all.proofs, proof);
                }
            }
            Message::Vote(said) | Message::Handover(said) => {
                self.keep(|all| &mut all.statements, said.clone());
            }
            Message::Stored(stored) => {
                for ack in &stored.acks {
                    self.keep(|all| &mut all.statements, ack.clone());
                }
            }
            Message::Greet(life) => self.keep(|all| &mut all.lives, *life),
            Message::Known(known) => self.keep(|all| &mut all.lives, known.life),
            Message::PreVoteRequest { proof: None, .. }
            | Message::Refuse { proof: None, .. }
            | Message::Standing { proof: None, .. }
            | Message::Reject { .. }
            | Message::Committed(_)
            | Message::Pull { .. }
            | Message::Pulled { .. }
            | Message::Snapshot(_)
            | Message::ReadRequest { .. }
            | Message::ReadAt { .. }
            | Message::Whereabouts { .. }
            | Message::Recovering { .. } => {}
        }
    }

    fn number(&mut self) -> u64 {
        let near = self.chance.of(&self.blocks).height.get();
        let some = self.chance.next();
        self.chance.of(&[0, 1, 2, near, near + 1, some, u64::MAX - 1, u64::MAX])
    }

    fn term(&mut self) -> Term {
        let near = self.chance.of(&self.blocks).term.get();
        let other = self.number();
        Term::new(self.chance.of(&[0, 1, near, near + 1, near + 2, other]))
    }

    fn height(&mut self) -> Height {
        Height::new(self.number())
    }

    fn nonce(&mut self) -> Nonce {
        Nonce(self.number())
    }

    fn node(&mut self) -> NodeId {
        NodeId::new(self.chance.of(&[0, 1, 2, 3, 4, 77, u32::MAX]))
    }

    fn lead(&mut self) -> Lead {
        self.chance.of(&[Lead::No, Lead::Yes, Lead::Prefer])
    }

    /// A block that there is, or one that there is not, or a mixture of both.
    fn block(&mut self) -> BlockRef {
        let real = self.chance.of(&self.blocks);
        let (term, height) = (self.term(), self.height());
        let hash = BlockHash::new([self.chance.of(&[0, 7, 255]); 32]);
        let made = [
            real,
            BlockRef { term, ..real },
            BlockRef { height, ..real },
            BlockRef { hash, ..real },
            BlockRef { term, height, hash },
        ];
        self.chance.of(&made)
    }

    fn roster_hash(&mut self) -> RosterHash {
        self.chance.of(&[self.roster.hash(), RosterHash::new([9; 32])])
    }

    fn statement(&mut self) -> Statement {
        let (term, candidate, tip) = (self.term(), self.node(), self.block());
        let all = [
            Statement::PreVote { term, candidate, tip },
            Statement::Vote { term, candidate, tip },
            Statement::Ack { block: tip },
            Statement::Handover { term, to: candidate, tip },
        ];
        self.chance.of(&all)
    }

    fn sign(&mut self, statement: Statement) -> SignedStatement {
        let roster_hash = self.roster_hash();
        let signature = self.key.sign(&statement.message(self.chain_id, roster_hash));
        // Sometimes in another's name.
        let signer = if self.chance.flips() { self.id } else { self.node() };
        SignedStatement { statement, roster_hash, signer, signature }
    }

    /// Something signed: by itself, or by another who meant something else.
    fn signed(&mut self) -> SignedStatement {
        if !self.statements.is_empty() && self.chance.flips() {
            return self.chance.of(&self.statements);
        }
        let statement = self.statement();
        self.sign(statement)
    }

    /// A certificate whose signatures are all the liar's own, in the names of all.
    fn certificate(&mut self) -> Certificate {
        if !self.proofs.is_empty() && self.chance.flips() {
            return self.chance.of(&self.proofs).certificate;
        }
        let statement = loop {
            let statement = self.statement();
            if !matches!(statement, Statement::Handover { .. }) {
                break statement;
            }
        };
        let roster_hash = self.roster_hash();
        let own = self.key.sign(&statement.message(self.chain_id, roster_hash));
        let count = u32::try_from(self.chance.below(6)).expect("it is small");
        let other = Signature::new([3; 64]);
        let signatures = (0..count).map(|signer| {
            let signature = if self.chance.flips() { own } else { other };
            Signed { signer: NodeId::new(signer), signature }
        });
        let signatures = signatures.collect();
        Certificate::assemble(statement, roster_hash, signatures)
    }

    fn proof(&mut self) -> Proof {
        if !self.proofs.is_empty() && self.chance.flips() {
            return self.chance.of(&self.proofs);
        }
        // One that names another roster cannot even be written down.
        let certificate = loop {
            let certificate = self.certificate();
            if certificate.roster_hash() == self.roster.hash() {
                break certificate;
            }
        };
        Proof { certificate, roster: self.roster.clone().into() }
    }

    fn perhaps<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Option<T> {
        self.chance.flips().then(|| make(self))
    }

    /// Blocks of its own, in a row.
    fn own_blocks(&mut self, parent: BlockRef) -> Vec<Checked<Block>> {
        let mut parent = parent;
        let mut blocks = Vec::new();
        for _ in 0..self.chance.below(6) {
            let item = Item::Opening(self.certificate());
            let opening = self.chance.flips();
            let draft = Draft {
                chain_id: self.chain_id,
                roster_hash: self.roster_hash(),
                kind: if opening { BlockKind::Opening } else { BlockKind::Transactions },
                term: self.term(),
                parent,
                proposer: if self.chance.flips() { self.id } else { self.node() },
                time: TimeUs::new(self.number()),
                executed: self.height(),
                state_root: StateRoot::new([5; 32]),
                body: Body { item: opening.then_some(item), transactions: Vec::new() },
            };
            let Ok(block) = Block::seal(draft, &self.key) else { break };
            parent = block.block_ref();
            blocks.push(block);
        }
        blocks
    }

    fn life(&mut self) -> SignedLife {
        if !self.lives.is_empty() && self.chance.flips() {
            return self.chance.of(&self.lives);
        }
        let life = Life {
            incarnation: Incarnation(self.number()),
            boot: Boot(self.number()),
            nonce: self.nonce(),
        };
        life.sign(self.chain_id, self.id, &self.key)
    }

    fn acks(&mut self) -> Vec<SignedStatement> {
        let count = self.chance.of(&[0, 1, 8, 300]);
        let ack = |liar: &mut Self| {
            let block = liar.block();
            liar.sign(Statement::Ack { block })
        };
        // One is signed and the rest are copies: it is the readers who are to have work.
        vec![ack(self); count]
    }

    fn append(&mut self) -> Append {
        let parent = self.block();
        Append {
            term: self.term(),
            election: self.perhaps(Self::proof),
            lap: Lap(self.number()),
            beat: Beat(self.number()),
            parent,
            blocks: self.own_blocks(parent),
            certificate: self.perhaps(Self::certificate),
        }
    }

    /// A lie of every kind.
    pub(crate) fn messages(&mut self) -> Vec<Message> {
        let stored = Stored {
            term: self.term(),
            matched: self.block(),
            applied: self.height(),
            incarnation: Incarnation(self.number()),
            lead: self.lead(),
            beat: Beat(self.number()),
            acks: self.acks(),
        };
        let parent = self.block();
        let known = Known {
            life: self.life(),
            other: self.perhaps(Self::life),
            vote: self.perhaps(Self::signed),
            ack: self.perhaps(Self::signed),
        };
        vec![
            Message::PreVoteRequest {
                term: self.term(),
                tip: self.block(),
                roster: self.roster.clone().into(),
                proof: self.perhaps(Self::proof),
                handover: self.perhaps(Self::signed),
            },
            Message::VoteRequest {
                tip: self.block(),
                proof: self.proof(),
                handover: self.perhaps(Self::signed),
            },
            Message::Vote(self.signed()),
            Message::Refuse {
                proof: self.perhaps(Self::proof),
                tip: self.block(),
                committed: self.block(),
            },
            Message::Append(Box::new(self.append())),
            Message::Stored(Box::new(stored)),
            Message::Reject {
                lap: Lap(self.number()),
                committed: self.block(),
                incarnation: Incarnation(self.number()),
                unknown: self.chance.flips(),
            },
            Message::Stale(self.proof()),
            Message::Committed(self.certificate()),
            Message::Pull { committed: self.block() },
            Message::Pulled {
                parent,
                blocks: self.own_blocks(parent),
                certificate: self.perhaps(Self::certificate),
            },
            Message::Snapshot(Box::new(Snapshot { block: self.block(), proof: self.proof() })),
            Message::Handover(self.signed()),
            Message::ReadRequest { nonce: self.nonce() },
            Message::ReadAt { nonce: self.nonce(), height: self.perhaps(Self::height) },
            Message::Greet(self.life()),
            Message::Known(Box::new(known)),
            Message::Whereabouts { nonce: self.nonce() },
            Message::Standing {
                nonce: self.nonce(),
                proof: self.perhaps(Self::proof),
                roster_hash: self.roster_hash(),
            },
            Message::Recovering { above: self.term() },
        ]
    }

    /// Bytes that are a message, nearly one, or a message of another.
    pub(crate) fn bytes(&mut self, message: &Message) -> Bytes {
        let mut bytes = message.to_bytes().to_vec();
        match self.chance.below(6) {
            0 if !self.heard.is_empty() => return self.chance.of(&self.heard),
            1 => {
                let at = self.chance.below(bytes.len());
                bytes[at] ^= 1 << self.chance.below(8);
            }
            // Nothing at all would be a sign of life.
            2 => bytes.truncate(1 + self.chance.below(bytes.len())),
            3 => bytes.extend_from_slice(&self.chance.next().to_be_bytes()),
            _ => {}
        }
        bytes.into()
    }

    /// A question for a piece of a snapshot.
    pub(crate) fn ask(&mut self) -> Bytes {
        let after = self.perhaps(|liar| liar.block().hash);
        let after = after.map(|hash| quorate_chain::ids::Hash::new(*hash.as_bytes()));
        let above = self.height();
        let what = [Wanted::Head, Wanted::Steps { above }, Wanted::Entries { after }];
        let what = self.chance.of(&what);
        Ask { block: self.block(), what }.to_bytes()
    }
}
