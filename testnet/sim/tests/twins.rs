//! What two processes with one key have promised together, and what they have not.

use std::collections::BTreeSet;

use quorate_chain::ids::{Height, NodeId, RosterHash, Signature, Term};
use quorate_chain::roster::Lead;
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_consensus::ballot::Choice as Vote;
use quorate_consensus::config::{Boot, Incarnation};
use quorate_consensus::life::Life;
use quorate_consensus::message::{Beat, Message, Nonce, Stored};
use quorate_sim::dials::{Choice, Dials, Fault};
use quorate_sim::heard::Heard;
use quorate_sim::life::live;
use quorate_sim::promises::Promises;
use quorate_sim::report::Tally;
use quorate_sim::twins::Signing;

use crate::planted::{ack, ballot, branch, genesis_ref, persist, sealed, vote, vote_for};

/// A process that signs: its count, when it began and when it had its answers, and who has given them.
fn signing(boot: u64, begun: u64, since: u64, answered_by: &[(usize, u32)]) -> Signing {
    let nonce = Nonce(begun);
    Signing {
        node: NodeId::new(0),
        life: Life { incarnation: Incarnation(1), boot: Boot(boot), nonce },
        begun,
        since,
        answered_by: answered_by.iter().copied().collect::<BTreeSet<_>>(),
        is_member: true,
    }
}

#[test]
fn two_starts_with_one_count_or_an_older_one_that_somebody_knew_are_seen() {
    let first = signing(3, 10, 20, &[(1, 1), (2, 1)]);
    assert!(!first.should_have_stopped(&first), "it is itself");
    for begun in [15, 30] {
        let twin = signing(3, begun, 40, &[(2, 1), (3, 1)]);
        assert!(twin.should_have_stopped(&first));
        assert!(first.should_have_stopped(&twin), "whoever was answered second");
        // One that finds itself in no roster goes on, and the first was perhaps told of nobody.
        let mut removed = twin;
        removed.is_member = false;
        assert!(!first.should_have_stopped(&removed) && !removed.should_have_stopped(&first));
    }
    let mut removed = signing(3, 1, 5, &[(2, 1)]);
    removed.is_member = false;
    assert!(first.should_have_stopped(&removed), "it began when the other had its answers");
    let older = signing(2, 30, 40, &[(2, 1)]);
    assert!(older.should_have_stopped(&first));
    // It had its answers before the other one came.
    assert!(!first.should_have_stopped(&signing(4, 30, 40, &[(2, 1)])));
    assert!(!signing(4, 30, 40, &[(2, 1)]).should_have_stopped(&first), "it is the newest");
    assert!(!signing(2, 15, 40, &[(2, 1)]).should_have_stopped(&first), "it may have been first");
    // Nobody has answered both, or has died in between.
    assert!(!signing(3, 30, 40, &[(3, 1)]).should_have_stopped(&first));
    assert!(!signing(3, 30, 40, &[(2, 2)]).should_have_stopped(&first));
    let mut outside = signing(2, 30, 40, &[(2, 1)]);
    outside.is_member = false;
    assert!(!outside.should_have_stopped(&first), "it is in no roster that it knows");
    let mut elsewhere = signing(3, 30, 40, &[(2, 1)]);
    elsewhere.life.incarnation = Incarnation(2);
    assert!(!elsewhere.should_have_stopped(&first), "it has another log");
}

#[test]
fn what_two_processes_say_against_each_other_is_seen() {
    let genesis = genesis_ref();
    let (one, other) = (sealed(genesis, 2, 0), sealed(genesis, 2, 1));
    let mut said = Promises::new(NodeId::new(0), genesis);
    persist(&mut said, 1, ballot(2, vote_for(1)));
    said.says(&vote(2, 1)).unwrap();
    persist(&mut said, 2, branch(genesis, vec![one.clone()]));
    said.says(&ack(&one)).unwrap();

    assert!(!said.excludes(&vote(2, 1)), "it may say the same");
    assert!(said.excludes(&vote(2, 2)), "another vote in a term");
    assert!(!said.excludes(&ack(&one)));
    assert!(said.excludes(&ack(&other)), "another ack for a slot");
    assert!(said.excludes(&vote(3, 1)), "a vote for a tip below an ack");
    assert!(!said.excludes(&vote(1, 1)), "it was before the ack");
    let (term, candidate) = (quorate_chain::ids::Term::new(3), NodeId::new(1));
    let above = Statement::Vote { term, candidate, tip: one.block_ref() };
    assert!(!said.excludes(&above));

    persist(&mut said, 3, ballot(3, Vote::For { candidate, tip: one.block_ref() }));
    said.says(&above).unwrap();
    assert!(!said.excludes(&ack(&one)), "the vote knew of it");
    let next = sealed(one.block_ref(), 2, 2);
    assert!(said.excludes(&ack(&next)), "an ack above the tip of a later vote");
}

#[test]
fn what_has_been_heard_of_a_process_and_nothing_else_can_be_told_of_it() {
    let (genesis, node) = (genesis_ref(), NodeId::new(0));
    let one = sealed(genesis, 2, 0);
    let mut said = Promises::new(node, genesis);
    persist(&mut said, 1, ballot(2, vote_for(1)));
    said.says(&vote(2, 1)).unwrap();
    persist(&mut said, 2, branch(genesis, vec![one.clone()]));
    said.says(&ack(&one)).unwrap();
    let signed = |statement: Statement| SignedStatement {
        statement,
        roster_hash: RosterHash::ZERO,
        signer: node,
        signature: Signature::new([0; 64]),
    };

    let mut heard = Heard::default();
    let below = vote(3, 1);
    assert!(!heard.excludes(node, &below, &said), "nobody has told it anything");
    heard.hear(&Message::Vote(signed(vote(2, 1))));
    assert!(!heard.excludes(node, &below, &said), "the ack has not come");
    assert!(heard.excludes(node, &vote(2, 2), &said), "another vote in a term");
    heard.hear(&Message::Stored(Box::new(Stored {
        term: Term::new(2),
        matched: one.block_ref(),
        applied: Height::ZERO,
        incarnation: Incarnation(1),
        lead: Lead::Yes,
        beat: Beat(1),
        acks: vec![signed(ack(&one))],
    })));
    assert!(heard.excludes(node, &below, &said));
    // What a liar says in its name is not its word.
    let nothing = Promises::new(node, genesis);
    assert!(!heard.excludes(node, &below, &nothing));
}

#[test]
fn copies_run_and_some_stop() {
    let mut all = Tally::default();
    let only = [Fault::Clone, Fault::Crash, Fault::Cut];
    let without = Fault::ALL.iter().copied().filter(|fault| !only.contains(fault)).collect();
    let choice =
        Choice { seed: 0, nodes: Some(5), seconds: 30, without, events: None, standard: false };
    let seeds = (1..)
        .filter(|seed| Dials::draw(&Choice { seed: *seed, ..choice.clone() }).has(Fault::Clone));
    for seed in seeds.take(8) {
        let outcome = live(&Choice { seed, ..choice.clone() });
        assert_eq!(outcome.failure, None, "seed {seed}");
        all.add(&outcome.tally);
    }
    assert!(all.faults(Fault::Clone) > 0 && all.refusals > 0, "{all}");
}
