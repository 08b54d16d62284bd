//! Fixtures that need no chain: operations, transactions, rosters, statements, entries.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_chain::ids::{AccountKey, Height, Nonce, TxId};
use quorate_chain::outcome::{Failure, Outcome, Status, Void};
use quorate_chain::recovery::SignedRecovery;
use quorate_chain::roster::{
    Admins, Change, Lead, Member, Part, QuorumSize, Role, Roster, RosterChange,
};
use quorate_chain::state::{Grants, Nonces, StateEntry, StateKey, Value};
use quorate_chain::statement::Statement;
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};

use crate::Made;
use crate::common::{account, admin, client, height, new_member, node, somewhere, term, validator};
use crate::layout;
use crate::story::{Story, put, text};

pub(crate) fn all(story: &Story) -> Vec<Made> {
    let mut all = operations();
    all.extend(transactions(story));
    all.extend(rosters());
    all.extend(changes(story));
    all.extend(statements(story));
    all.extend(entries());
    all.extend(outcomes());
    all
}

fn every_operation() -> Vec<(&'static str, Operation)> {
    let (key, value) = (text("key"), text("value"));
    let cas = |expected| Operation::Cas { key: key.clone(), expected, value: value.clone() };
    vec![
        ("put", Operation::Put { key: key.clone(), value: value.clone() }),
        ("put-empty-value", Operation::Put { key: key.clone(), value: Bytes::new() }),
        ("update", Operation::Update { key: key.clone(), value: value.clone() }),
        ("remove", Operation::Remove { key: key.clone() }),
        ("cas-expected", cas(Some(text("old")))),
        ("cas-expected-empty", cas(Some(Bytes::new()))),
        ("cas-absent", cas(None)),
        ("grant", Operation::Grant { account: account(1), prefix: text("b/") }),
        ("grant-all", Operation::Grant { account: account(1), prefix: Bytes::new() }),
        ("revoke", Operation::Revoke { account: account(1), prefix: text("b/") }),
    ]
}

fn operations() -> Vec<Made> {
    let made = |(name, operation)| Made::new("operation", name, layout::operation, &operation);
    every_operation().into_iter().map(made).collect()
}

fn transactions(story: &Story) -> Vec<Made> {
    let plain = Transaction {
        chain_id: story.chain_id(),
        sender: account(0),
        nonce: Nonce::new(7),
        expires: None,
        approvers: Vec::new(),
        operations: vec![put("greeting", "hello")],
    };
    let mut full = plain.clone();
    full.expires = Some(Height::new(1_000));
    full.operations = every_operation().into_iter().map(|(_, operation)| operation).collect();
    full.approvers = vec![admin(0).account_key(), admin(1).account_key()];
    full.approvers.sort();
    let approvals = [full.approve(&admin(0)), full.approve(&admin(1))];
    let signature = client(0).sign(&full.message());
    let cases = [
        ("plain", plain.clone(), plain.clone().sign(&client(0)).unwrap(), "by client 0"),
        ("full", full.clone(), full.assemble(signature, &approvals).unwrap(), "with approvals"),
    ];
    let mut made = Vec::new();
    for (name, content, signed, about) in cases {
        let message = Bytes::from(content.message());
        assert!(signed.bytes().starts_with(&message));
        let kind = "transaction-message";
        made.push(
            Made::of_bytes(kind, name, layout::message, message)
                .about("what the sender and the approvers sign"),
        );
        made.push(transaction(name, &signed).about(about));
    }
    made
}

fn transaction(name: &str, signed: &SignedTransaction) -> Made {
    Made::new("transaction", name, layout::transaction, signed)
        .derive("id", signed.id().as_bytes())
        .derive("body leaf", quorate_chain::block::transaction_leaf(signed).as_bytes())
}

fn member(id: u32, role: Role, lead: Lead) -> Member {
    let new = new_member(id, false);
    Member { id: node(id), name: new.name, key: new.key, p2p: new.p2p, api: new.api, role, lead }
}

/// Four voters and two learners, with quorums above the majority and two of three admins.
fn large_part() -> Part {
    let mut members = vec![
        member(0, Role::Voter, Lead::Prefer),
        member(1, Role::Voter, Lead::Yes),
        member(3, Role::Voter, Lead::No),
        member(4, Role::Voter, Lead::Yes),
        member(5, Role::Learner { promote: false }, Lead::No),
        member(8, Role::Learner { promote: true }, Lead::Yes),
    ];
    members[0].api = vec!["https://a.example:7600".to_owned(), "http://[::1]:7600".to_owned()];
    members[1].p2p = Vec::new();
    Part {
        members,
        next_id: node(9),
        changes: 7,
        vote_quorum: QuorumSize::Voters(4),
        finality_quorum: QuorumSize::Voters(3),
        admins: three_admins(),
    }
}

fn three_admins() -> Admins {
    let mut keys: Vec<AccountKey> = (0..3).map(|id| admin(id).account_key()).collect();
    keys.sort();
    Admins { threshold: 2, keys }
}

/// One voter, who is its own admin.
fn small_part() -> Part {
    Part {
        members: vec![member(0, Role::Voter, Lead::Yes)],
        next_id: node(1),
        changes: 0,
        vote_quorum: QuorumSize::Majority,
        finality_quorum: QuorumSize::Majority,
        admins: Admins { threshold: 1, keys: vec![validator(0).account_key()] },
    }
}

fn rosters() -> Vec<Made> {
    let mut next = large_part();
    next.changes += 1;
    next.members.retain(|member| member.id != node(4));
    next.vote_quorum = QuorumSize::Majority;
    let joint = Roster::joint(large_part(), next).unwrap();
    let single = Roster::single(small_part()).unwrap();
    let of = |name, roster: &Roster| {
        Made::new("roster", name, layout::roster, roster)
            .derive("roster hash", roster.hash().as_bytes())
    };
    let mut made: Vec<_> = large_part()
        .members
        .iter()
        .map(|member| Made::new("member", &member.name, layout::member, member))
        .collect();
    made.push(Made::new("part", "small", layout::part, &small_part()));
    made.push(Made::new("part", "large", layout::part, &large_part()));
    made.push(of("single", &single));
    made.push(of("joint", &joint));
    made
}

fn every_change() -> Vec<(&'static str, Change)> {
    vec![
        ("add", Change::Add(new_member(3, true))),
        ("remove", Change::Remove { id: node(2) }),
        ("promote", Change::Promote { id: node(3) }),
        (
            "update",
            Change::Update {
                id: node(1),
                name: "frankfurt-1".to_owned(),
                p2p: vec!["/dns4/n1.example/tcp/7700".to_owned()],
                api: vec!["https://n1.example".to_owned()],
                lead: Lead::Prefer,
            },
        ),
        ("set-admins", Change::SetAdmins(three_admins())),
        (
            "set-quorums",
            Change::SetQuorums { vote: QuorumSize::Voters(2), finality: QuorumSize::Majority },
        ),
    ]
}

fn changes(story: &Story) -> Vec<Made> {
    let mut made: Vec<_> = every_change()
        .into_iter()
        .map(|(name, step)| Made::new("roster-change-step", name, layout::change_step, &step))
        .collect();
    let change = RosterChange {
        chain_id: story.chain_id(),
        roster_hash: story.roster_at(3).hash(),
        steps: every_change().into_iter().map(|(_, step)| step).collect(),
    };
    let approvals = vec![change.approve(&admin(0)), change.approve(&admin(1))];
    let joint = story.roster_at(3).apply(&change).unwrap();
    let signed = change.assemble(approvals);
    made.push(
        Made::new("roster-change", "every-step", layout::roster_change, &signed)
            .about("of the first roster of the chain; by two admins, one would do")
            .derive("joint roster", joint.hash().as_bytes())
            .derive("roster after it", joint.left().unwrap().hash().as_bytes()),
    );
    let signed: SignedRecovery = story.recovery();
    let roster = Roster::single(signed.recovery().part.clone()).unwrap();
    made.push(
        Made::new("recovery", "two-go-on", layout::recovery, &signed)
            .about("over block 3; node 0 is gone, node 2 leads")
            .derive("roster hash", roster.hash().as_bytes()),
    );
    made
}

fn statements(story: &Story) -> Vec<Made> {
    let tip = somewhere(5, 70, 0xab);
    let (number, to) = (term(6), node(2));
    let roster = story.roster_at(3);
    let cases = [
        ("prevote", Statement::PreVote { term: number, candidate: to, tip }),
        ("vote", Statement::Vote { term: number, candidate: to, tip }),
        ("ack", Statement::Ack { block: tip }),
        ("handover", Statement::Handover { term: term(5), to, tip }),
    ];
    let mut made = Vec::new();
    for (name, statement) in cases {
        let message = statement.message(story.chain_id(), roster.hash());
        made.push(
            Made::new("statement", name, layout::statement, &statement)
                .about("the message is for the first roster of the chain")
                .derive("message", &message),
        );
        let signed = story.world.sign(statement, roster, 1);
        let about = "by node 1";
        let kind = "signed-statement";
        made.push(Made::new(kind, name, layout::signed_statement, &signed).about(about));
    }
    made
}

fn nonces(used: &[u64]) -> Nonces {
    let mut nonces = Nonces::default();
    for nonce in used {
        nonces.take(Nonce::new(*nonce)).unwrap();
    }
    nonces
}

fn entries() -> Vec<Made> {
    let keys = [
        ("value", StateKey::Value(text("key"))),
        ("nonces", StateKey::Nonces(account(0))),
        ("grants", StateKey::Grants(account(0))),
    ];
    let value = Value { height: height(9), tx: TxId::new([0xcd; 32]), bytes: text("value") };
    let grants: BTreeSet<_> = ["", "a/", "b/"].iter().map(|prefix| text(prefix)).collect();
    let entries = [
        ("value", StateEntry::Value(value), ""),
        ("nonces", StateEntry::Nonces(nonces(&[0, 1, 2])), "used: 0, 1, 2"),
        ("nonces-with-gaps", StateEntry::Nonces(nonces(&[0, 3, 12, 5])), "used: 0, 3, 5, 12"),
        ("nonces-far", StateEntry::Nonces(nonces(&[9, 1_033, 2_056])), "used: 9, 1033, 2056"),
        ("grants", StateEntry::Grants(Grants(grants)), ""),
    ];
    let mut made: Vec<_> = keys
        .iter()
        .map(|(name, key)| {
            Made::new("state-key", name, layout::state_key, key)
                .derive("path", key.path().as_bytes())
        })
        .collect();
    for (name, entry, about) in entries {
        made.push(
            Made::new("state-entry", name, layout::state_entry, &entry)
                .about(about)
                .derive("digest", entry.digest().as_bytes()),
        );
    }
    made
}

fn outcomes() -> Vec<Made> {
    let failed = |failure| Status::Failed { operation: 1, failure };
    let cases = [
        ("applied", Status::Applied),
        ("failed-not-permitted", failed(Failure::NotPermitted)),
        ("failed-key-exists", failed(Failure::KeyExists)),
        ("failed-key-not-found", failed(Failure::KeyNotFound)),
        ("failed-mismatch", failed(Failure::Mismatch)),
        ("failed-too-large", failed(Failure::TooManyGrants)),
        ("void-nonce-used", Status::Void(Void::NonceUsed)),
        ("void-nonce-too-far", Status::Void(Void::NonceTooFar)),
        ("void-expired", Status::Void(Void::Expired)),
    ];
    let made = |(name, status)| {
        let outcome = Outcome { tx: TxId::new([0xcd; 32]), status };
        Made::new("outcome", name, layout::outcome, &outcome)
            .derive("leaf", outcome.leaf().as_bytes())
    };
    cases.into_iter().map(made).collect()
}
