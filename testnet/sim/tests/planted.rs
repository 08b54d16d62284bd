//! Each check is fed a false history and must see it.

use quorate_chain::ids::{BlockHash, BlockRef, Height, NodeId, Term};
use quorate_chain::statement::Statement;
use quorate_consensus::ballot::{Ballot, Choice as Vote};
use quorate_consensus::effect::{Record, Ticket};
use quorate_replica::io::{JournalJob, Written};
use quorate_sim::dials::Dials;
use quorate_sim::genesis::found;
use quorate_sim::ledger::Ledger;
use quorate_sim::promises::Promises;
use quorate_sim::violation::Check;
use quorate_wal::Space;

fn block(term: u64, height: u64, name: u8) -> BlockRef {
    let hash = BlockHash::new([name; 32]);
    BlockRef { term: Term::new(term), height: Height::new(height), hash }
}

fn ballot(term: u64, choice: Vote) -> Record {
    Record::Ballot(Ballot { term: Term::new(term), choice, ..Ballot::default() })
}

fn vote_for(candidate: u32) -> Vote {
    Vote::For { candidate: NodeId::new(candidate), tip: block(0, 0, 0) }
}

fn vote(term: u64, candidate: u32) -> Statement {
    let (term, candidate) = (Term::new(term), NodeId::new(candidate));
    Statement::Vote { term, candidate, tip: block(0, 0, 0) }
}

fn seen(check: Check, rule: &str) {
    assert_eq!(check.unwrap_err().rule, rule);
}

fn promises() -> Promises {
    Promises::new(NodeId::new(0), block(0, 0, 0))
}

fn job(ticket: u64, record: Record) -> JournalJob {
    JournalJob::Record { ticket: Ticket(ticket), record }
}

fn persist(promises: &mut Promises, ticket: u64, record: Record) {
    promises.shadow.give(&job(ticket, record));
    let written = Written { ticket: Some(Ticket(ticket)), started: None, space: Space::Ok };
    promises.shadow.persisted(&written, |_| Ok(())).unwrap();
}

#[test]
fn two_leaders_of_a_term_are_seen() {
    let founding = found(&Dials::calm(3));
    let mut ledger = Ledger::new(&founding.genesis, founding.chain_id, true);
    ledger.leads(NodeId::new(0), Term::new(1)).unwrap();
    ledger.leads(NodeId::new(0), Term::new(1)).unwrap();
    seen(ledger.leads(NodeId::new(1), Term::new(1)), "at most one leader a term");
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
