//! A small group of validators that seals and certifies blocks, for the tests of this crate.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod bench;
pub mod ledger;

use bytes::Bytes;
use quorate_chain::block::{Block, BlockKind, Body, Draft, EnterChange, Header, Item};
use quorate_chain::certificate::{Certificate, CertificatePath, Signed};
use quorate_chain::checked::Checked;
use quorate_chain::commitment::{Commitment, EntryProof, leaf_changes};
use quorate_chain::crypto::{Ed25519, SecretKey};
use quorate_chain::execute::{Execution, Rules, Writers, execute};
use quorate_chain::genesis::{Genesis, GenesisAdmins, GenesisValidator};
use quorate_chain::ids::{
    AccountKey, BlockHash, BlockRef, ChainId, Hash, Height, NodeId, Nonce, StateRoot, Term, TimeUs,
};
use quorate_chain::roster::{Change, Lead, NewMember, Roster, RosterChange, SignedRosterChange};
use quorate_chain::state::{MemoryState, StateKey};
use quorate_chain::state_root::{MemoryLeaves, StateTree};
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use quorate_chain::well_formed::{self, Malformed, Parent};

/// The secret key of validator `id`, also of those who are not in a roster yet.
pub fn validator(id: u32) -> SecretKey {
    SecretKey::from_seed(&[u8::try_from(id + 1).unwrap(); 32])
}

/// The secret key of client `id`.
pub fn client(id: u8) -> SecretKey {
    SecretKey::from_seed(&[100 + id; 32])
}

/// The secret key of admin `id`.
pub fn admin(id: u8) -> SecretKey {
    SecretKey::from_seed(&[200 + id; 32])
}

pub fn node(id: u32) -> NodeId {
    NodeId::new(id)
}

pub fn height(height: u64) -> Height {
    Height::new(height)
}

pub fn term(term: u64) -> Term {
    Term::new(term)
}

/// The genesis of `voters` validators and two admins, one of whom suffices.
pub fn genesis(voters: u32) -> Genesis {
    Genesis {
        version: 1,
        name: "test".to_owned(),
        time_us: TimeUs::new(1_700_000_000_000_000),
        testnet: true,
        writers: Writers::Anyone,
        admins: GenesisAdmins {
            threshold: 1,
            keys: vec![admin(0).account_key(), admin(1).account_key()],
        },
        validators: (0..voters)
            .map(|id| GenesisValidator {
                name: format!("node{id}"),
                key: validator(id).validator_key(),
                p2p: vec![format!("/ip4/127.0.0.1/tcp/{}", 7700 + id)],
                api: vec![format!("http://127.0.0.1:{}", 7600 + id)],
                lead: Lead::Yes,
            })
            .collect(),
        vote_quorum: None,
        finality_quorum: None,
        grants: Vec::new(),
    }
}

/// A transaction of one `update`, by client `id`.
pub fn update(chain_id: ChainId, id: u8, nonce: u64, key: &str, value: &str) -> SignedTransaction {
    let operation = Operation::Update {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    transaction(chain_id, &client(id), nonce, vec![operation])
}

pub fn transaction(
    chain_id: ChainId,
    sender: &SecretKey,
    nonce: u64,
    operations: Vec<Operation>,
) -> SignedTransaction {
    let content = Transaction {
        chain_id,
        sender: sender.account_key(),
        nonce: Nonce::new(nonce),
        expires: None,
        approvers: Vec::new(),
        operations,
    };
    content.sign(sender).unwrap()
}

/// A chain under construction, with every roster it has had.
#[derive(Clone)]
pub struct World {
    pub chain_id: ChainId,
    pub file: Vec<u8>,
    pub rosters: Vec<Roster>,
    pub blocks: Vec<Block>,
    pub time: TimeUs,
}

impl World {
    pub fn new(voters: u32) -> Self {
        Self::with(&genesis(voters))
    }

    pub fn with(genesis: &Genesis) -> Self {
        let file = genesis.to_file();
        let chain_id = Genesis::chain_id(&file);
        let rosters = vec![genesis.roster().unwrap()];
        Self { chain_id, file, rosters, blocks: Vec::new(), time: genesis.time_us }
    }

    pub fn roster(&self) -> &Roster {
        self.rosters.last().unwrap()
    }

    pub fn tip(&self) -> BlockRef {
        self.blocks.last().map_or(self.chain_id.genesis_ref(), Block::block_ref)
    }

    pub fn parent(&self) -> Parent<'_> {
        match self.blocks.last() {
            Some(block) => Parent::of(block.header(), self.roster()),
            None => {
                Parent { block: self.tip(), time: self.time, proposer: None, roster: self.roster() }
            }
        }
    }

    /// A draft on the tip by the proposer of the tip.
    pub fn draft(&self, kind: BlockKind, body: Body) -> Draft {
        let tip = self.tip();
        Draft {
            chain_id: self.chain_id,
            roster_hash: self.roster().hash(),
            kind,
            parent: tip,
            term: tip.term,
            proposer: self.parent().proposer.unwrap_or_default(),
            time: TimeUs::new(self.parent().time.get() + 1_000),
            executed: Height::ZERO,
            state_root: StateRoot::ZERO,
            body,
        }
    }

    /// Seals a draft by the key of its proposer.
    pub fn seal(&self, draft: Draft) -> Block {
        let key = validator(draft.proposer.get());
        Block::seal(draft, &key).unwrap().into_inner()
    }

    /// Whether the block may follow the tip.
    pub fn check(&self, block: &Block) -> Result<Option<Roster>, Malformed> {
        let item = block.body().item.as_ref();
        well_formed::check(&self.parent(), block.header(), item, self.chain_id, &Ed25519)
    }

    /// Puts a block on the tip.
    pub fn push(&mut self, block: Block) -> BlockRef {
        let brought = self.check(&block).unwrap();
        self.rosters.extend(brought);
        self.blocks.push(block);
        self.tip()
    }

    /// The draft of an opening block, elected by `voters` of the roster in force.
    pub fn opening_draft(&self, number: u64, proposer: u32, voters: &[u32]) -> Draft {
        let vote =
            Statement::Vote { term: term(number), candidate: node(proposer), tip: self.tip() };
        let item = Some(Item::Opening(self.certificate(vote, voters)));
        let body = Body { item, transactions: Vec::new() };
        let mut draft = self.draft(BlockKind::Opening, body);
        draft.term = term(number);
        draft.proposer = node(proposer);
        draft
    }

    pub fn open(&mut self, number: u64, proposer: u32, voters: &[u32]) -> BlockRef {
        let draft = self.opening_draft(number, proposer, voters);
        self.push(self.seal(draft))
    }

    pub fn transactions(&mut self, transactions: Vec<SignedTransaction>) -> BlockRef {
        let body = Body { item: None, transactions };
        let draft = self.draft(BlockKind::Transactions, body);
        self.push(self.seal(draft))
    }

    /// The statement signed by these validators under the roster in force.
    pub fn certificate(&self, statement: Statement, signers: &[u32]) -> Certificate {
        self.certificate_by(statement, self.roster(), signers)
    }

    pub fn certificate_by(
        &self,
        statement: Statement,
        roster: &Roster,
        signers: &[u32],
    ) -> Certificate {
        let signed = |id: &u32| {
            let signed = self.sign(statement, roster, *id);
            Signed { signer: signed.signer, signature: signed.signature }
        };
        Certificate::assemble(statement, roster.hash(), signers.iter().map(signed).collect())
    }

    pub fn sign(&self, statement: Statement, roster: &Roster, id: u32) -> SignedStatement {
        let message = statement.message(self.chain_id, roster.hash());
        SignedStatement {
            statement,
            roster_hash: roster.hash(),
            signer: node(id),
            signature: validator(id).sign(&message),
        }
    }

    /// A commit certificate for the tip under the roster in force.
    pub fn commit(&self, signers: &[u32]) -> Certificate {
        self.certificate(Statement::Ack { block: self.tip() }, signers)
    }

    /// Headers above `above` up to the tip, certified there.
    pub fn path(&self, above: u64, signers: &[u32]) -> CertificatePath {
        let above = usize::try_from(above).unwrap();
        let headers = self.blocks[above..].iter().map(|block| block.header().clone()).collect();
        CertificatePath { headers, certificate: self.commit(signers) }
    }

    pub fn header(&self, at: u64) -> &Header {
        self.blocks[usize::try_from(at).unwrap() - 1].header()
    }

    /// A change of the roster in force, approved by the first admin.
    pub fn change(&self, steps: Vec<Change>) -> SignedRosterChange {
        let change =
            RosterChange { chain_id: self.chain_id, roster_hash: self.roster().hash(), steps };
        let approval = change.approve(&admin(0));
        change.assemble(vec![approval])
    }

    /// The block that enters a change, with a certificate for the tip by `signers`.
    pub fn enter_draft(&self, steps: Vec<Change>, signers: &[u32]) -> Draft {
        let signed = self.change(steps);
        let joint = self.roster().apply(signed.change()).unwrap();
        let change = EnterChange::Ordered(signed);
        let item = Some(Item::Enter { change, certificate: self.commit(signers) });
        let mut draft = self.draft(BlockKind::Enter, Body { item, transactions: Vec::new() });
        draft.roster_hash = joint.hash();
        draft
    }

    /// The block that leaves the joint roster, with a certificate for the tip by `signers`.
    pub fn leave_draft(&self, signers: &[u32]) -> Draft {
        let item = Some(Item::Leave { certificate: self.commit(signers) });
        let mut draft = self.draft(BlockKind::Leave, Body { item, transactions: Vec::new() });
        draft.roster_hash = self.roster().left().unwrap().hash();
        draft
    }

    pub fn enter(&mut self, steps: Vec<Change>, signers: &[u32]) -> BlockRef {
        let draft = self.enter_draft(steps, signers);
        self.push(self.seal(draft))
    }

    pub fn leave(&mut self, signers: &[u32]) -> BlockRef {
        let draft = self.leave_draft(signers);
        self.push(self.seal(draft))
    }
}

/// What admins say of validator `id` when they add it.
pub fn new_member(id: u32, promote: bool) -> NewMember {
    NewMember {
        name: format!("node{id}"),
        key: validator(id).validator_key(),
        p2p: vec![format!("/ip4/127.0.0.1/tcp/{}", 7700 + id)],
        api: Vec::new(),
        lead: Lead::Yes,
        promote,
    }
}

pub fn account(id: u8) -> AccountKey {
    client(id).account_key()
}

pub fn somewhere(term: u64, height: u64, byte: u8) -> BlockRef {
    BlockRef {
        term: Term::new(term),
        height: Height::new(height),
        hash: BlockHash::new([byte; 32]),
    }
}

/// Takes a verified value apart again.
pub fn bare<T>(checked: Checked<T>) -> T {
    checked.into_inner()
}

/// A transaction that admins approve.
pub fn approved(
    chain_id: ChainId,
    sender: &SecretKey,
    nonce: u64,
    operations: Vec<Operation>,
    by: &[SecretKey],
) -> SignedTransaction {
    let mut approvers: Vec<_> = by.iter().map(SecretKey::account_key).collect();
    approvers.sort();
    let content = Transaction {
        chain_id,
        sender: sender.account_key(),
        nonce: Nonce::new(nonce),
        expires: None,
        approvers,
        operations,
    };
    let approvals: Vec<_> = by.iter().map(|key| content.approve(key)).collect();
    let signature = sender.sign(&content.message());
    content.assemble(signature, &approvals).unwrap()
}

/// What a node holds of the state.
#[derive(Clone)]
pub struct Replica {
    pub state: MemoryState,
    pub leaves: MemoryLeaves,
    pub commitment: Commitment,
}

impl Replica {
    pub fn new(genesis: &Genesis) -> Self {
        let mut state = MemoryState::default();
        state.apply(&genesis.state());
        let changes = leaf_changes(&genesis.state());
        let mut tree = StateTree::new();
        tree.update(&changes, &MemoryLeaves::new()).unwrap();
        let mut leaves = MemoryLeaves::new();
        leaves.apply(&changes);
        Self { state, leaves, commitment: Commitment::new(tree, Hash::ZERO) }
    }

    /// Executes a block, and takes over what it has done.
    pub fn execute(
        &mut self,
        rules: &Rules<'_>,
        height: Height,
        transactions: &[SignedTransaction],
    ) -> Execution {
        let Ok(done) = execute(&self.state, rules, height, transactions);
        let changes = self.commitment.advance(&done, &self.leaves).unwrap();
        self.leaves.apply(&changes);
        self.state.apply(&done.changes);
        done
    }

    pub fn prove(&self, key: &StateKey) -> EntryProof {
        let tree = self.commitment.entries();
        EntryProof {
            entries: tree.root(),
            outcomes: self.commitment.outcomes(),
            place: tree.prove(key.path(), &[], &self.leaves).unwrap(),
        }
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}
