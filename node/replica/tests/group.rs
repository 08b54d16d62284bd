//! Replicas together: what a client is told is what all have applied.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod common;

use common::{Group, Key, key, update};
use quorate_chain::checked::Checked;
use quorate_chain::ids::{ChainId, NodeId};
use quorate_chain::outcome::Status;
use quorate_consensus::life::{Life, SignedLife};
use quorate_consensus::message::{Known, Message, Nonce};
use quorate_consensus::reads::ReadId;
use quorate_consensus::time::Span;
use quorate_replica::io::{Answer, Input, Output, Refusal, Submission};
use quorate_replica::store::{Store, StoreReader};

#[test]
fn three_replicas_apply_a_transaction_and_tell_its_client() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let transaction = update(group.chain_id, 0, 0);
    let id = transaction.id();
    let submission = group.submit(leader, transaction);
    group.settle();
    let Some(Answer::Placed(placed)) = group.answers.get(&submission) else {
        panic!("{:?}", group.answers)
    };
    assert_eq!((placed.status, placed.duplicate), (Status::Applied, false));
    let placed = *placed;
    group.run(Span::millis(500));
    group.assert_equal();
    for node in group.ids() {
        let place = group.node(node).store.reader().place(id).unwrap().unwrap();
        assert_eq!((place.block, place.index), (placed.block, placed.index));
    }
}

#[test]
fn a_follower_forwards_to_the_leader_and_answers_by_itself() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.settle();
    let follower = (leader + 1) % 3;
    let submission = group.submit(follower, update(group.chain_id, 0, 0));
    group.settle();
    assert!(matches!(group.answers.get(&submission), Some(Answer::Placed(_))));
}

/// What a node says of its life when it starts.
fn greeting(out: &[Output]) -> Option<SignedLife> {
    out.iter().find_map(|output| match output {
        Output::Send { message: Message::Greet(life), .. } => Some(*life),
        _ => None,
    })
}

/// Tells a node that another process has begun from a copy of the same log.
fn known_twin(chain_id: ChainId, node: u32, life: SignedLife) -> Message {
    let twin = Life { nonce: Nonce(life.life.nonce.0 + 1), ..life.life };
    let twin = twin.sign(chain_id, NodeId::new(node), &Key(key(node)));
    Message::Known(Box::new(Known { life, other: Some(twin), vote: None, ack: None }))
}

#[test]
fn a_node_that_must_stop_leaves_nobody_without_an_answer() {
    let mut group = Group::new(3);
    let (now, chain_id) = (group.now(), group.chain_id);
    let driver = &mut group.node_mut(0).replica.as_mut().unwrap().driver;
    let mut out = Vec::new();
    let submit = |number: u64| Input::Submit {
        submission: Submission(number),
        transaction: Checked::vouch(update(chain_id, 0, number)),
    };
    driver.handle(now, submit(0), &mut out);
    driver.handle(now, Input::Tick, &mut out);
    let message = known_twin(chain_id, 0, greeting(&out).unwrap());
    out.clear();
    driver.handle(now, Input::Received { from: NodeId::new(1), message }, &mut out);
    assert!(matches!(out.last(), Some(Output::Stop(_))), "{out:?}");
    driver.handle(now, submit(1), &mut out);
    driver.handle(now, Input::Read { read: ReadId(7) }, &mut out);
    let answers: Vec<_> = out
        .iter()
        .filter_map(|output| match output {
            Output::Answer { submission, answer } => Some((submission.0, answer.clone())),
            _ => None,
        })
        .collect();
    let stopping = Answer::Refused(Refusal::Stopping);
    assert_eq!(answers, [(0, Answer::Unknown), (1, stopping)]);
    assert!(matches!(out.last(), Some(Output::RefuseRead { read: ReadId(7), .. })));
}

/// What the core of a leader answers to these when it stops before it could.
fn answers_at_a_stop(inputs: impl IntoIterator<Item = Input>) -> Vec<String> {
    let mut group = Group::new(3);
    let (now, chain_id) = (group.now(), group.chain_id);
    let mut lives = Vec::new();
    for id in group.ids() {
        let mut out = Vec::new();
        group.node_mut(id).replica.as_mut().unwrap().driver.handle(now, Input::Tick, &mut out);
        lives.push(greeting(&out).unwrap());
    }
    let leader = group.elect();
    group.run(Span::millis(300));
    let now = group.now();
    let driver = &mut group.node_mut(leader).replica.as_mut().unwrap().driver;
    let mut out = Vec::new();
    for input in inputs {
        // It has to ask the others first, and nobody hears it.
        driver.handle(now, input, &mut out);
    }
    let answers = |out: &[Output]| {
        let answer = |output: &Output| match output {
            Output::RefuseRead { read, .. } => Some(format!("read {}", read.0)),
            Output::Serve { .. } => Some("served".to_owned()),
            Output::TransferEnded(end) => Some(format!("{end:?}")),
            _ => None,
        };
        out.iter().filter_map(answer).collect::<Vec<_>>()
    };
    assert_eq!(answers(&out), [""; 0], "they wait");
    let message = known_twin(chain_id, leader, lives[leader as usize]);
    let from = NodeId::new((leader + 1) % 3);
    driver.handle(now, Input::Received { from, message }, &mut out);
    assert!(matches!(out.last(), Some(Output::Stop(_))), "{out:?}");
    answers(&out)
}

#[test]
fn a_leader_that_must_stop_answers_who_waits_for_the_core() {
    let reads = [7, 8].map(|read| Input::Read { read: ReadId(read) });
    assert_eq!(answers_at_a_stop(reads), ["read 7", "read 8"]);
    let transfer = Input::Transfer { to: None };
    assert_eq!(answers_at_a_stop([transfer]), ["NotLeading { leader: None }"]);
}
