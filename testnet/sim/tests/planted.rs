//! Each check is fed a false history and must see it.

use std::sync::Arc;

use quorate_chain::block::{Block, BlockKind, Body, Draft};
use quorate_chain::certificate::{Certificate, Signed};
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockHash, BlockRef, Height, NodeId, Signature, StateRoot, Term, TimeUs};
use quorate_chain::statement::Statement;
use quorate_consensus::ballot::{Ballot, Choice as Vote};
use quorate_consensus::effect::{Record, Ticket};
use quorate_consensus::log::Anchor;
use quorate_replica::io::{Answer, JournalJob, Placed, Refusal, Written};
use quorate_sim::checks::{
    Heights, Held, few_messages, goes_forward, is_above, keeps_prefix, kept_in_order, may_displace,
};
use quorate_sim::clients::Clients;
use quorate_sim::dials::Dials;
use quorate_sim::genesis::{found, node_key};
use quorate_sim::ledger::Ledger;
use quorate_sim::promises::Promises;
use quorate_sim::report::Tally;
use quorate_sim::seat::Said;
use quorate_sim::signatures::Signatures;
use quorate_sim::violation::Check;
use quorate_wal::Space;

fn block(term: u64, height: u64, name: u8) -> BlockRef {
    let hash = BlockHash::new([name; 32]);
    BlockRef { term: Term::new(term), height: Height::new(height), hash }
}

pub(super) fn ballot(term: u64, choice: Vote) -> Record {
    Record::Ballot(Ballot { term: Term::new(term), choice, ..Ballot::default() })
}

pub(super) fn vote_for(candidate: u32) -> Vote {
    Vote::For { candidate: NodeId::new(candidate), tip: block(0, 0, 0) }
}

pub(super) fn vote(term: u64, candidate: u32) -> Statement {
    let (term, candidate) = (Term::new(term), NodeId::new(candidate));
    Statement::Vote { term, candidate, tip: block(0, 0, 0) }
}

pub(super) fn seen(check: Check, rule: &str) {
    assert_eq!(check.unwrap_err().rule, rule);
}

pub(super) fn promises() -> Promises {
    Promises::new(NodeId::new(0), block(0, 0, 0))
}

fn job(ticket: u64, record: Record) -> JournalJob {
    JournalJob::Record { ticket: Ticket(ticket), record }
}

pub(super) fn persist(promises: &mut Promises, ticket: u64, record: Record) {
    promises.shadow.give(&job(ticket, record));
    let written = Written { ticket: Some(Ticket(ticket)), started: None, space: Space::Ok };
    promises.shadow.persisted(&written, |_| Ok(())).unwrap();
}

#[test]
fn a_vote_before_the_ballot_is_durable_is_seen() {
    let mut promises = promises();
    promises.shadow.give(&job(1, ballot(1, vote_for(1))));
    seen(promises.says(&vote(1, 1)), "no vote leaves before the ballot is durable");
}

#[test]
fn a_vote_that_changes_is_seen() {
    let mut promises = promises();
    persist(&mut promises, 1, ballot(1, vote_for(1)));
    promises.says(&vote(1, 1)).unwrap();
    seen(promises.says(&vote(1, 2)), "a vote never changes");
}

#[test]
fn an_ack_of_what_is_not_durable_is_seen() {
    let ack = Statement::Ack { block: block(1, 1, 1) };
    seen(promises().says(&ack), "no ack leaves before the block is durable");
}

#[test]
fn a_log_that_comes_back_shorter_is_seen() {
    let mut promises = promises();
    persist(&mut promises, 1, ballot(2, vote_for(1)));
    // A record that was on its way may be there or not.
    promises.shadow.give(&job(2, ballot(3, Vote::Open)));
    let (old, new) = (Term::new(2), Term::new(3));
    let genesis = block(0, 0, 0);
    assert_eq!(promises.clone().comes_back(old, vote_for(1), genesis), None);
    assert_eq!(promises.clone().comes_back(new, Vote::Open, genesis), None);
    let wrong = promises.comes_back(Term::new(1), Vote::Open, genesis).unwrap();
    assert_eq!(wrong.rule, "a log comes back with what was durable");
}

pub(super) fn branch(above: BlockRef, blocks: Vec<Checked<Block>>) -> Record {
    Record::Branch { above, blocks }
}

pub(super) fn ack(block: &Block) -> Statement {
    Statement::Ack { block: block.block_ref() }
}

#[test]
fn acks_of_another_term_below_a_vote_or_for_two_blocks_are_seen() {
    let (mut said, first) = (promises(), block(0, 0, 0));
    let (one, other) = (sealed(first, 1, 0), sealed(first, 1, 1));
    persist(&mut said, 1, ballot(1, vote_for(1)));
    said.says(&vote(1, 1)).unwrap();
    persist(&mut said, 2, branch(first, vec![one.clone()]));
    said.says(&ack(&one)).unwrap();
    let mut twice = said.clone();
    persist(&mut twice, 3, branch(first, vec![other.clone()]));
    seen(twice.says(&ack(&other)), "no two acks for one slot");
    let mut later = said.clone();
    persist(&mut later, 3, ballot(3, vote_for(1)));
    seen(later.says(&ack(&one)), "acks are for blocks of the own term");
    // Even if the disk were as it was before the vote.
    later.says(&vote(3, 1)).unwrap();
    let mut old = later.clone();
    old.forgets(Term::new(1), Vote::Open, [one.block_ref()]);
    seen(old.says(&ack(&one)), "no ack below a vote");
}

#[test]
fn what_a_disk_has_taken_back_is_known() {
    let genesis = genesis_ref();
    let (one, two) = (sealed(genesis, 2, 0), sealed(genesis, 2, 1));
    let mut said = Promises::new(NodeId::new(0), genesis);
    persist(&mut said, 1, ballot(2, Vote::Open));
    persist(&mut said, 2, branch(genesis, vec![one.clone()]));
    said.says(&ack(&one)).unwrap();
    let (term, tip) = (Term::new(2), one.block_ref());
    assert!(!said.go_beyond(term, Vote::Open, tip));
    assert!(said.go_beyond(term, Vote::Open, genesis), "an ack is forgotten");
    persist(&mut said, 3, ballot(3, vote_for(1)));
    said.says(&vote(3, 1)).unwrap();
    assert!(said.go_beyond(term, Vote::Open, tip), "a vote is forgotten");
    assert!(said.go_beyond(Term::new(3), vote_for(2), tip), "it was for another one");
    for known in [vote_for(1), Vote::Spent] {
        assert!(!said.go_beyond(Term::new(3), known, tip));
    }
    // What the disk still holds may be acked, from its first block to its last.
    let above = sealed(two.block_ref(), 2, 2);
    said.forgets(term, Vote::Open, [genesis, two.block_ref(), above.block_ref()]);
    let mut other = Promises::new(NodeId::new(0), genesis);
    std::mem::swap(&mut other.shadow, &mut said.shadow);
    other.says(&ack(&two)).unwrap();
    other.says(&ack(&above)).unwrap();
    seen(other.says(&ack(&one)), "no ack leaves before the block is durable");
}

#[test]
fn a_readmission_below_what_is_forgotten_is_seen() {
    let genesis = genesis_ref();
    let one = sealed(genesis, 2, 0);
    let mut said = Promises::new(NodeId::new(0), genesis);
    let are_below = |said: &Promises, spent, committed| {
        is_above(NodeId::new(0), said.are_below(Term::new(spent), Term::new(committed)))
    };
    let rule = "who is readmitted is above what it has forgotten";
    are_below(&said, 1, 1).unwrap();
    persist(&mut said, 1, ballot(2, Vote::Open));
    persist(&mut said, 2, branch(genesis, vec![one.clone()]));
    said.says(&ack(&one)).unwrap();
    seen(are_below(&said, 2, 2), rule);
    are_below(&said, 3, 3).unwrap();
    persist(&mut said, 3, ballot(4, vote_for(1)));
    said.says(&vote(4, 1)).unwrap();
    seen(are_below(&said, 3, 3), rule);
    are_below(&said, 4, 3).unwrap();
}

pub(super) fn ledger() -> Ledger {
    let founding = found(&Dials::calm(3));
    Ledger::new(&founding.genesis, founding.chain_id, false)
}

pub(super) fn genesis_ref() -> BlockRef {
    found(&Dials::calm(3)).chain_id.genesis_ref()
}

/// A block of node 0; two that differ in `name` differ in their time.
pub(super) fn sealed(parent: BlockRef, term: u64, name: u64) -> Checked<Block> {
    let founding = found(&Dials::calm(3));
    let draft = Draft {
        chain_id: founding.chain_id,
        roster_hash: founding.genesis.roster().unwrap().hash(),
        kind: BlockKind::Transactions,
        parent,
        term: Term::new(term),
        proposer: NodeId::new(0),
        time: TimeUs::new(name),
        executed: Height::ZERO,
        state_root: StateRoot::ZERO,
        body: Body { item: None, transactions: Vec::new() },
    };
    Block::seal(draft, &*Signatures::StandIn.signer(node_key(NodeId::new(0)))).unwrap()
}

pub(super) fn certificate(block: &Block, signers: &[u32]) -> Certificate {
    let hash = block.header().roster_hash;
    let signature = Signature::new([0; 64]);
    let signed = signers.iter().map(|id| Signed { signer: NodeId::new(*id), signature });
    Certificate::assemble(ack(block), hash, signed.collect())
}

pub(super) fn anchor(block: &Block) -> Anchor {
    let roster = Arc::new(found(&Dials::calm(3)).genesis.roster().unwrap());
    let (time, since) = (block.header().time, Height::ZERO);
    let kind = Some(block.header().kind);
    Anchor { block: block.block_ref(), kind, time, leader: None, roster, roster_since: since }
}

/// A node learns that blocks are committed, by these.
pub(super) fn commits(ledger: &mut Ledger, blocks: &[&Checked<Block>], signers: &[u32]) -> Check {
    let last = certificate(blocks.last().unwrap(), signers);
    let blocks: Vec<_> = blocks.iter().map(|it| ((*it).clone(), anchor(it))).collect();
    ledger.committed(NodeId::new(0), &blocks, &last)
}

/// Seen, and on the disks of these.
pub(super) fn store(ledger: &mut Ledger, block: &Block, nodes: &[u32]) {
    ledger.seen(block).unwrap();
    nodes.iter().for_each(|id| ledger.durable(NodeId::new(*id), block.block_ref()).unwrap());
}

#[test]
fn blocks_without_a_parent_twice_in_a_slot_or_from_nowhere_are_seen() {
    let mut ledger = ledger();
    let one = sealed(genesis_ref(), 1, 0);
    ledger.seen(&one).unwrap();
    let stray = sealed(block(1, 5, 7), 1, 0);
    seen(ledger.seen(&stray), "the chain of hashes is whole and ranks rise");
    seen(
        ledger.seen(&sealed(one.block_ref(), 0, 0)),
        "the chain of hashes is whole and ranks rise",
    );
    seen(ledger.seen(&sealed(genesis_ref(), 1, 1)), "no correct node fills a slot twice");
    seen(ledger.durable(NodeId::new(0), block(1, 1, 7)), "what is durable was sealed");
}

#[test]
fn commits_without_disks_quorum_or_in_another_chain_are_seen() {
    let (one, other) = (sealed(genesis_ref(), 1, 0), sealed(genesis_ref(), 2, 1));
    let fresh = || {
        let mut ledger = ledger();
        store(&mut ledger, &one, &[0, 1]);
        store(&mut ledger, &other, &[0, 1, 2]);
        ledger
    };
    commits(&mut fresh(), &[&one], &[0, 1]).unwrap();
    seen(commits(&mut fresh(), &[&one], &[0, 2]), "commits are by durable logs");
    seen(commits(&mut fresh(), &[&one], &[0]), "commits are by a quorum");
    let mut ledger = fresh();
    commits(&mut ledger, &[&one], &[0, 1]).unwrap();
    seen(commits(&mut ledger, &[&other], &[0, 1]), "committed blocks are the same everywhere");
    let above = sealed(other.block_ref(), 2, 2);
    store(&mut ledger, &above, &[0, 1]);
    seen(commits(&mut ledger, &[&above], &[0, 1]), "what is committed is one chain");
}

#[test]
fn states_that_differ_or_come_before_the_commit_are_seen() {
    let (mut ledger, one) = (ledger(), sealed(genesis_ref(), 1, 0));
    let (here, node) = (one.block_ref(), NodeId::new(0));
    store(&mut ledger, &one, &[0, 1]);
    let early = ledger.applied(node, here, StateRoot::ZERO, &[]);
    seen(early, "only what is committed is applied");
    commits(&mut ledger, &[&one], &[0, 1]).unwrap();
    ledger.applied(node, here, StateRoot::ZERO, &[]).unwrap();
    let differs = ledger.applied(NodeId::new(1), here, StateRoot::new([1; 32]), &[]);
    seen(differs, "one height, one state");
}

#[test]
fn answers_and_reads_that_are_not_true_are_seen() {
    let dials = Dials::calm(3);
    let (ledger, mut tally) = (ledger(), Tally::default());
    let fresh = || Clients::new(1, &dials, found(&dials).chain_id);
    let told = Placed {
        block: block(1, 1, 1),
        index: 0,
        status: quorate_chain::outcome::Status::Applied,
        duplicate: false,
    };
    let mut answer = |clients: &mut Clients, submission, answer: &Answer| {
        clients.answered(submission, answer, Height::ZERO, &ledger, &mut tally)
    };
    let mut clients = fresh();
    let transaction = clients.next(0, &dials, &mut Tally::default());
    let submission = clients.submit(0, &transaction, 0, 1);
    seen(answer(&mut clients, submission, &Answer::Placed(told)), "what was told stands there");
    seen(answer(&mut clients, submission, &Answer::Unknown), "each submission is answered once");
    let submission = clients.submit(0, &transaction, 0, 1);
    let used = Answer::Refused(Refusal::NonceUsed);
    seen(answer(&mut clients, submission, &used), "nobody else uses a client's number");
    clients.submit(0, &transaction, 0, 1);
    assert_eq!(clients.unanswered(|_, _| true).unwrap().rule, "every submission is answered");
    let read = clients.read((0, 1));
    let elsewhere = clients.served((1, 1), read, Height::ZERO, true);
    seen(elsewhere, "a read is answered once, by who was asked");
}

#[test]
fn heights_out_of_order_and_more_messages_than_a_few_are_seen() {
    let (node, at) = (NodeId::new(0), Height::new);
    let good = Heights { applied: at(1), committed: at(2), durable: at(3), tip: at(4) };
    good.check(node).unwrap();
    for bad in [
        Heights { applied: at(3), ..good },
        Heights { committed: at(4), ..good },
        Heights { tip: at(1), ..good },
    ] {
        seen(bad.check(node), "applied ≤ committed ≤ durable and tip");
    }
    let said = Said { term: Term::new(2), committed: at(2), ..Said::default() };
    goes_forward(node, said, said).unwrap();
    for less in [Said { term: Term::new(1), ..said }, Said { committed: at(1), ..said }] {
        seen(goes_forward(node, said, less), "term, committed and applied never go back");
    }
    keeps_prefix(node, block(1, 1, 1), true).unwrap();
    let lost = keeps_prefix(node, block(1, 1, 1), false);
    seen(lost, "recovery never shortens the committed prefix");
    // Another block may stand there under a later leader, also one of the same term that a liar has sealed.
    let (reached, later) = (block(2, 51, 1), block(3, 52, 9));
    for instead in [block(3, 51, 2), block(2, 51, 2)] {
        assert!(may_displace(Some(instead), later, reached));
        assert!(!may_displace(Some(instead), block(2, 60, 9), reached), "the leader is the same");
    }
    // Or none yet; but a log of the same term that is shorter has lost it.
    assert!(may_displace(None, block(3, 50, 9), reached));
    assert!(!may_displace(None, block(2, 50, 9), reached), "the log is shorter");
    assert!(!may_displace(None, later, reached), "there is a gap");
    assert!(!may_displace(Some(reached), later, reached), "it is there");
    kept_in_order(node, Some(at(5)), &[at(10), at(5)], at(12)).unwrap();
    seen(kept_in_order(node, Some(at(11)), &[at(10)], at(12)), "pruned ≤ snapshot ≤ applied");
    seen(kept_in_order(node, Some(at(1)), &[at(13)], at(12)), "pruned ≤ snapshot ≤ applied");
    few_messages(5 * 6 * 1_000, 5, 1_000, 60).unwrap();
    seen(few_messages(1_000_000, 5, 1_000, 60), "messages are bounded");
}

#[test]
fn a_queue_and_a_log_that_grow_are_seen() {
    let node = NodeId::new(0);
    let good = Held {
        window: 4,
        came_with: 600,
        log: 608,
        window_bytes: 1 << 14,
        came_with_bytes: 1 << 20,
        bytes: (1 << 20) + (1 << 15),
        committed: 10,
        records: 16,
        unapplied: 10,
    };
    good.check(node).unwrap();
    // What the process has begun with is excused until it is applied.
    seen(Held { came_with: 0, ..good }.check(node), "memory is bounded");
    seen(Held { came_with_bytes: 0, ..good }.check(node), "memory is bounded");
    seen(Held { records: 100, ..good }.check(node), "queues are bounded");
    seen(Held { unapplied: 11, ..good }.check(node), "queues are bounded");
}
