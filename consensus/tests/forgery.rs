//! Signatures that are not what they claim to be, where only a signature stands between a liar and a
//! change of leader. Each test first shows that the true thing would have had its effect.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::World;
use common::forge::certificate;
use common::keys::{CHAIN, Key, key, roster, sign};
use quorate_chain::block::{Block, BlockKind, Body, Draft};
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockHash, BlockRef, Height, NodeId, StateRoot, Term};
use quorate_chain::roster::{Part, Roster};
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_consensus::config::{Boot, Incarnation};
use quorate_consensus::effect::Effect;
use quorate_consensus::event::Event;
use quorate_consensus::life::{Life, SignedLife};
use quorate_consensus::message::{Append, Beat, Known, Lap, Message, Nonce, Proof, Snapshot};
use quorate_consensus::time::Span;

/// Three nodes that follow node 0.
fn led() -> World {
    let mut world = World::new(3, 64);
    world.timeout(0);
    world.run(Span::millis(300));
    assert_eq!(world.core(2).unwrap().leader(), Some(NodeId::new(0)));
    world
}

/// Whether node 2, which hears its leader, gives node 1 a pre-vote under this handover.
fn is_granted(handover: impl Fn(Statement, &Roster) -> SignedStatement) -> bool {
    let mut world = led();
    let (core, roster) = (world.core(1).unwrap(), world.first_roster());
    let (term, tip) = (core.term(), core.log().tip().block);
    let leaves = Statement::Handover { term, to: NodeId::new(1), tip };
    let request = Message::PreVoteRequest {
        term: term.next().unwrap(),
        tip,
        roster: roster.clone().into(),
        proof: None,
        handover: Some(handover(leaves, &roster)),
    };
    world.arrive(1, 2, request);
    let answer = world.take(2, 1, None).unwrap();
    assert!(matches!(answer, Message::Vote(_) | Message::Refuse { .. }), "{answer:?}");
    matches!(answer, Message::Vote(_))
}

/// A leader seals a block that says that it was itself applied when it was sealed, on a chain that is at rest.
#[test]
fn who_seals_on_the_applied_block_what_may_not_stand_there_is_convicted() {
    let mut world = led();
    let (from, log) = (NodeId::new(0), world.core(1).unwrap().log());
    assert_eq!(log.applied().block, log.tip().block);
    let (parent, tip) = (log.tip().block, log.tip().clone());
    let draft = Draft {
        chain_id: CHAIN,
        roster_hash: tip.roster.hash(),
        kind: BlockKind::Transactions,
        parent,
        term: parent.term,
        proposer: from,
        time: tip.time,
        executed: parent.height.next().unwrap(),
        state_root: StateRoot::new([1; 32]),
        body: Body::default(),
    };
    let sealed = Block::seal(draft, &Key(key(0))).unwrap();
    let append = Append {
        term: parent.term,
        election: None,
        lap: Lap(0),
        beat: Beat(9),
        parent,
        blocks: vec![sealed],
        certificate: None,
    };
    let message = Message::Append(Box::new(append));
    let effects = world.tap(1, Event::Received { from, message });
    let convicted = effects.iter().any(|effect| matches!(effect, Effect::Convict(_)));
    assert!(convicted, "{effects:#?}");
}

#[test]
fn a_handover_counts_only_with_the_signature_of_the_leader() {
    assert!(is_granted(|leaves, roster| sign(0, leaves, roster.hash())));
    assert!(!is_granted(|leaves, roster| sign(1, leaves, roster.hash())));
    // Node 1 signs, and says that node 0 did.
    assert!(!is_granted(|leaves, roster| {
        let signer = NodeId::new(0);
        SignedStatement { signer, ..sign(1, leaves, roster.hash()) }
    }));
}

/// The term of node 2 after it was shown a certificate of term 9 by these voters of this joint roster.
fn term_after(joint: &Roster, signers: &[u32]) -> Term {
    let mut world = led();
    let tip = world.core(1).unwrap().log().tip().block;
    let elected = Statement::Vote { term: Term::new(9), candidate: NodeId::new(1), tip };
    let certificate = certificate(elected, joint, signers);
    world.arrive(1, 2, Message::Stale(Proof { certificate, roster: joint.clone().into() }));
    world.core(2).unwrap().term()
}

#[test]
fn a_joint_roster_is_believed_only_if_one_half_of_it_is_known() {
    let known = roster(3).current().clone();
    let next = Part { changes: 1, ..known.clone() };
    let step_away = Roster::joint(known.clone(), next.clone()).unwrap();
    assert_eq!(term_after(&step_away, &[0, 1]), Term::new(9));
    // One of whose halves nobody here has heard.
    let far = Roster::joint(next, Part { changes: 2, ..known }).unwrap();
    assert_eq!(term_after(&far, &[0, 1]), Term::new(1));
}

/// Whether node 2, which runs, goes on after it was shown this start of its own log.
fn goes_on(start: impl Fn(Life) -> SignedLife) -> bool {
    let mut world = led();
    let life = start(world.core(2).unwrap().life());
    let known = Known { life, other: None, vote: None, ack: None };
    world.may_halt = true;
    world.arrive(1, 2, Message::Known(Box::new(known)));
    world.core(2).is_some()
}

#[test]
fn another_process_is_believed_in_only_if_it_has_the_key() {
    let id = NodeId::new(2);
    let twin = |life: Life| Life { nonce: Nonce(life.nonce.0 + 1), ..life };
    let later = |life: Life| Life { boot: Boot(life.boot.0 + 1), ..life };
    let sooner = |life: Life| Life { boot: Boot(life.boot.0 - 1), ..life };
    let elsewhere = |life: Life| Life { incarnation: Incarnation(99), ..twin(life) };
    assert!(!goes_on(|life| twin(life).sign(CHAIN, id, &Key(key(2)))));
    assert!(!goes_on(|life| later(life).sign(CHAIN, id, &Key(key(2)))));
    // What is no other process now running from this log, and what node 1 has made up.
    assert!(goes_on(|life| life.sign(CHAIN, id, &Key(key(2)))));
    assert!(goes_on(|life| sooner(life).sign(CHAIN, id, &Key(key(2)))));
    assert!(goes_on(|life| elsewhere(life).sign(CHAIN, id, &Key(key(2)))));
    assert!(goes_on(|life| twin(life).sign(CHAIN, id, &Key(key(1)))));
    assert!(goes_on(|life| later(life).sign(CHAIN, NodeId::new(1), &Key(key(2)))));
}

/// A leader that signs two blocks may get both certified, by its own ack and that of one other each. Who has
/// acked the first takes over the second, because it is certified, and says nothing of it: an ack would be
/// evidence against somebody who is honest.
#[test]
fn what_took_the_place_of_an_acked_block_in_the_same_term_is_not_acked() {
    let mut world = led();
    world.settle();
    world.history = Some(Vec::new());
    world.cut(0, 1, true);
    assert!(world.seal(0));
    world.carry(Some((0, 2)));
    let Some(Message::Stored(stored)) = world.take(2, 0, Some("Stored")) else {
        panic!("node 2 stores the first block");
    };
    let acked: Vec<_> = stored.acks.iter().map(|said| said.statement.block()).collect();
    let Some(Message::Append(append)) = world.twin(0, 2) else { panic!("it was sent one block") };
    let second = append.blocks[0].block_ref();
    assert_eq!((acked.len(), acked[0].height, acked[0].term), (1, second.height, second.term));
    let certified = Statement::Ack { block: second };
    let certificate = Some(certificate(certified, &world.first_roster(), &[0, 1]));
    let (parent, blocks) = (append.parent, append.blocks);
    world.arrive(0, 2, Message::Pulled { parent, blocks, certificate });
    assert_eq!(world.core(2).unwrap().log().committed(), second);
    world.run(Span::millis(300));
    for number in 1.. {
        let sent = world.remembered(2, 0, "Stored", Some(number));
        let Some(Message::Stored(stored)) = sent else { break };
        assert!(stored.acks.iter().all(|said| said.statement.block() != second), "{stored:?}");
    }
}

/// A leader that says nothing of its window and brings block upon block as if somebody had asked for them, none of them
/// certified.
#[test]
fn blocks_that_nobody_asked_for_fill_two_windows_and_no_more() {
    let mut world = led();
    world.settle();
    // What node 2 says to it is heard by nobody.
    world.cut_one_way(2, 0, true);
    world.cut_one_way(2, 1, true);
    for _ in 0..20 {
        let log = world.core(2).unwrap().log();
        let (parent, term) = (log.tip().block, log.tip().block.term);
        let mut blocks: Vec<Checked<Block>> = Vec::new();
        for _ in 0..32 {
            let below = blocks.last().map_or(parent, |block| block.block_ref());
            blocks.push(world.forged_block((0, 2), below, term));
        }
        world.arrive(0, 2, Message::Pulled { parent, blocks, certificate: None });
        world.settle();
    }
    let held = world.core(2).unwrap().log().len();
    assert!(held >= 64, "only what is too much is not taken: {held} blocks");
    assert!(held <= 2 * 64 + 32, "{held} blocks");
}

/// Whoever takes a state acks nothing meanwhile. A state that is certified by a roster that nobody knows may be right, but
/// who hears a leader that it can judge takes it only from that one: else any member could keep all from acking.
#[test]
fn a_state_under_an_unknown_roster_is_taken_from_the_leader_alone() {
    let takes = |from: u32| {
        let mut world = led();
        world.settle();
        let tip = world.core(2).unwrap().log().tip().block;
        let (term, height) = (Term::new(tip.term.get() + 1), Height::new(100));
        let block = BlockRef { term, height, hash: BlockHash::new([7; 32]) };
        let unknown = Arc::new(roster(5));
        let certificate = certificate(Statement::Ack { block }, &unknown, &[0, 1, 2, 3, 4]);
        let proof = Proof { certificate, roster: unknown };
        let message = Message::Snapshot(Box::new(Snapshot { block, proof }));
        let effects = world.tap(2, Event::Received { from: NodeId::new(from), message });
        effects.iter().any(|effect| matches!(effect, Effect::Install { .. }))
    };
    assert!(takes(0), "the leader's own");
    assert!(!takes(1));
}
