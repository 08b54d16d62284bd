//! On a chain that only those may write to who were granted something, nobody else takes up room.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod common;

use bytes::Bytes;
use common::{Group, client, genesis, limits, update};
use quorate_chain::checked::Checked;
use quorate_chain::crypto::SecretKey;
use quorate_chain::execute::Writers;
use quorate_chain::genesis::GenesisGrant;
use quorate_chain::ids::{AccountKey, NodeId, Nonce};
use quorate_chain::outcome::{Failure, Status};
use quorate_chain::state::StateRead;
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use quorate_consensus::time::Span;
use quorate_replica::io::{Answer, Input, Refusal, Submission};
use quorate_replica::store::Store;

/// A chain on which client 1 may write what it writes.
fn group() -> Group {
    let mut genesis = genesis(3);
    genesis.writers = Writers::Granted;
    let account = client(1).account_key();
    genesis.grants = vec![GenesisGrant { account, prefix: "client1".to_owned() }];
    let mut group = Group::of(&genesis, limits());
    group.elect();
    group.run(Span::millis(300));
    group
}

fn admin() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

fn by(group: &Group, key: &SecretKey, nonce: u64, operation: Operation) -> SignedTransaction {
    let content = Transaction {
        chain_id: group.chain_id,
        sender: key.account_key(),
        nonce: Nonce::new(nonce),
        expires: None,
        approvers: Vec::new(),
        operations: vec![operation],
    };
    content.sign(key).unwrap()
}

fn grant(account: AccountKey) -> Operation {
    Operation::Grant { account, prefix: Bytes::from_static(b"client2") }
}

fn status(group: &Group, submission: Submission) -> Status {
    match group.answers.get(&submission) {
        Some(Answer::Placed(placed)) => placed.status,
        answer => panic!("{submission:?}: {answer:?}"),
    }
}

#[test]
fn a_stranger_is_refused_at_every_node_and_nothing_of_it_stays() {
    let mut group = group();
    let height = group.applied(0);
    for node in group.ids() {
        let submission = group.submit(node, update(group.chain_id, 2, u64::from(node)));
        assert_eq!(group.answers[&submission], Answer::Refused(Refusal::NotPermitted));
        assert_eq!(group.replica(node).driver.status().mempool.transactions, 0);
    }
    group.run(Span::millis(1_000));
    assert_eq!(group.applied(0), height, "no block was made for it");
    let nonces = group.node(0).store.reader().nonces(client(2).account_key()).unwrap();
    assert_eq!(nonces.next(), Nonce::ZERO);
    let submission = group.submit(0, update(group.chain_id, 1, 0));
    group.run(Span::millis(500));
    assert_eq!(status(&group, submission), Status::Applied);
}

#[test]
fn a_leader_takes_nothing_of_a_stranger_that_is_forwarded() {
    let mut group = group();
    let leader = group.leader().unwrap();
    let from = NodeId::new((leader + 1) % 3);
    let all = [2, 1].map(|id| Checked::vouch(update(group.chain_id, id, 0)));
    group.give(leader, Input::Forwarded { from, transactions: all.into() });
    let waits = group.replica(leader).driver.status().mempool.transactions;
    assert_eq!(waits, 1, "that of who may write");
    group.run(Span::millis(500));
    let nonces = group.node(leader).store.reader().nonces(client(2).account_key()).unwrap();
    assert_eq!(nonces.next(), Nonce::ZERO);
}

#[test]
fn whoever_is_just_being_granted_something_is_taken() {
    let mut group = group();
    let leader = group.leader().unwrap();
    group.node_mut(leader).hold_disk = true;
    let granted = by(&group, &admin(), 0, grant(client(2).account_key()));
    let granted = group.submit(leader, granted);
    let put = group.submit(leader, update(group.chain_id, 2, 0));
    let stranger = group.submit(leader, update(group.chain_id, 3, 0));
    assert_eq!(group.answers.len(), 1, "the grant is in flight");
    assert_eq!(group.answers[&stranger], Answer::Refused(Refusal::NotPermitted));
    group.node_mut(leader).hold_disk = false;
    group.run(Span::millis(1_000));
    assert_eq!([granted, put].map(|it| status(&group, it)), [Status::Applied; 2]);
    // And of whom it is taken back is a stranger again; what stands in the chain is not called refused.
    let prefix = Bytes::from_static(b"client2");
    let revoke = Operation::Revoke { account: client(2).account_key(), prefix };
    let revoked = by(&group, &admin(), 1, revoke);
    group.submit(leader, revoked);
    group.run(Span::millis(1_000));
    let again = group.submit(leader, update(group.chain_id, 2, 0));
    assert_eq!(group.answers[&again], Answer::Refused(Refusal::NonceUsed));
    let more = group.submit(leader, update(group.chain_id, 2, 1));
    assert_eq!(group.answers[&more], Answer::Refused(Refusal::NotPermitted));
}

#[test]
fn an_admin_is_taken_whatever_it_was_granted() {
    let mut group = group();
    let put = Operation::Update { key: "a".into(), value: Bytes::new() };
    let submission = group.submit(0, by(&group, &admin(), 0, put));
    // Somebody else's order that an admin stands behind, too.
    let mut approved = by(&group, &client(2), 0, grant(client(2).account_key())).content().clone();
    approved.approvers = vec![admin().account_key()];
    let approval = approved.approve(&admin());
    let signature = client(2).sign(&approved.message());
    let approved = group.submit(0, approved.assemble(signature, &[approval]).unwrap());
    group.run(Span::millis(1_000));
    let failed = Status::Failed { operation: 0, failure: Failure::NotPermitted };
    assert_eq!(status(&group, submission), failed, "execution decides");
    assert_eq!(status(&group, approved), Status::Applied);
}
