//! A value of every kind that a core keeps or says, out of one short chain.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::crypto::Ed25519;
use quorate_chain::ids::{Height, NodeId, Term};
use quorate_chain::roster::{Lead, Roster};
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_consensus::ballot::{Ballot, Choice};
use quorate_consensus::config::{Boot, Incarnation};
use quorate_consensus::effect::Record;
use quorate_consensus::judge::Proven;
use quorate_consensus::life::Life;
use quorate_consensus::message::{
    Append, Beat, Known, Lap, Message, Nonce, Proof, Snapshot, Stored,
};

use crate::common::{World, update};

/// A chain of an opening block and one with a transaction, both by validator 0 in term 1.
pub fn world() -> World {
    let mut world = World::new(3);
    world.open(1, 0, &[0, 2]);
    world.transactions(vec![update(world.chain_id, 1, 0, "key", "value")]);
    world
}

pub fn blocks(world: &World) -> Vec<Checked<Block>> {
    let check = |block: &Block| block.clone().verify_body(world.chain_id, &Ed25519).unwrap();
    world.blocks.iter().map(check).collect()
}

/// The votes by which validator 1 leads term 2, on the tip.
pub fn election(world: &World) -> Certificate {
    let (term, candidate) = (Term::new(2), NodeId::new(1));
    world.certificate(Statement::Vote { term, candidate, tip: world.tip() }, &[1, 2])
}

/// A joint roster: that of the chain, and one that has a fourth member.
pub fn joint(world: &World) -> Roster {
    let new = crate::common::new_member(3, false);
    let change = world.change(vec![quorate_chain::roster::Change::Add(new)]);
    world.roster().apply(change.change()).unwrap()
}

pub fn proven(world: &World, certificate: Certificate, roster: &Roster) -> Proven {
    let certificate = certificate.verify(world.chain_id, roster, &Ed25519).unwrap();
    Proven { certificate, roster: Arc::new(roster.clone()) }
}

fn handover(world: &World) -> SignedStatement {
    let (term, to) = (Term::new(1), NodeId::new(1));
    world.sign(Statement::Handover { term, to, tip: world.tip() }, world.roster(), 0)
}

fn proof(world: &World) -> Proof {
    proven(world, election(world), world.roster()).to_proof()
}

fn elections(world: &World) -> Vec<(&'static str, Message)> {
    let (term, tip, committed) = (Term::new(2), world.tip(), world.blocks[0].block_ref());
    let (roster, handover) = (world.roster().clone(), Some(handover(world)));
    let vote =
        world.sign(Statement::Vote { term, candidate: NodeId::new(1), tip }, world.roster(), 2);
    let (first, proven) = (None, Some(proof(world)));
    let unproven = Message::PreVoteRequest {
        term,
        tip,
        roster: joint(world).into(),
        proof: first.clone(),
        handover: None,
    };
    let request = Message::PreVoteRequest {
        term,
        tip,
        roster: roster.into(),
        proof: proven.clone(),
        handover: handover.clone(),
    };
    vec![
        ("pre-vote-request-first", unproven),
        ("pre-vote-request", request),
        ("vote-request", Message::VoteRequest { tip, proof: proof(world), handover }),
        ("vote-request-bare", Message::VoteRequest { tip, proof: proof(world), handover: None }),
        ("vote", Message::Vote(vote)),
        ("refuse-first", Message::Refuse { proof: first, tip, committed }),
        ("refuse", Message::Refuse { proof: proven, tip, committed }),
        ("stale", Message::Stale(proof(world))),
        ("handover", Message::Handover(self::handover(world))),
    ]
}

fn replication(world: &World) -> Vec<(&'static str, Message)> {
    let (tip, parent) = (world.tip(), world.chain_id.genesis_ref());
    let (incarnation, certificate) = (Incarnation(0xfeed_face), world.commit(&[0, 1]));
    let append = Append {
        term: Term::new(1),
        election: Some(proof(world)),
        lap: Lap(3),
        beat: Beat(77),
        parent,
        blocks: blocks(world),
        certificate: Some(certificate.clone()),
    };
    let heartbeat = Append {
        election: None,
        parent: tip,
        blocks: Vec::new(),
        certificate: None,
        ..append.clone()
    };
    let ack = |block| world.sign(Statement::Ack { block }, world.roster(), 1);
    let stored = |acks| {
        Message::Stored(Box::new(Stored {
            term: Term::new(1),
            matched: tip,
            applied: Height::new(1),
            incarnation,
            lead: Lead::Yes,
            beat: Beat(77),
            acks,
        }))
    };
    let reject = |unknown| Message::Reject { lap: Lap(3), committed: parent, incarnation, unknown };
    let pulled = |blocks, certificate| Message::Pulled { parent, blocks, certificate };
    let snapshot = Snapshot { block: world.blocks[0].block_ref(), proof: proof(world) };
    vec![
        ("append", Message::Append(Box::new(append))),
        ("append-heartbeat", Message::Append(Box::new(heartbeat))),
        ("stored", stored(world.blocks.iter().map(|block| ack(block.block_ref())).collect())),
        ("stored-without-acks", stored(Vec::new())),
        ("reject", reject(false)),
        ("reject-unknown", reject(true)),
        ("committed", Message::Committed(certificate.clone())),
        ("pull", Message::Pull { committed: parent }),
        ("pulled", pulled(blocks(world), Some(certificate))),
        ("pulled-nothing", pulled(Vec::new(), None)),
        ("snapshot", Message::Snapshot(Box::new(snapshot))),
    ]
}

/// Messages, each with a name.
pub fn messages(world: &World) -> Vec<(&'static str, Message)> {
    let mut all = elections(world);
    all.extend(replication(world));
    all.extend(questions(world));
    all
}

fn questions(world: &World) -> Vec<(&'static str, Message)> {
    let (tip, nonce, roster_hash) = (world.tip(), Nonce(0xabcd), world.roster().hash());
    let life = |boot, nonce| {
        let life = Life { incarnation: Incarnation(0xfeed_face), boot: Boot(boot), nonce };
        life.sign(world.chain_id, NodeId::new(2), &crate::common::validator(2))
    };
    let (now, before) = (life(8, nonce), life(7, Nonce(0x1234)));
    let vote = Statement::Vote { term: Term::new(2), candidate: NodeId::new(1), tip };
    let vote = Some(world.sign(vote, world.roster(), 2));
    let ack = Some(world.sign(Statement::Ack { block: tip }, world.roster(), 2));
    vec![
        ("read-request", Message::ReadRequest { nonce }),
        ("read-at", Message::ReadAt { nonce, height: Some(Height::new(2)) }),
        ("read-at-refused", Message::ReadAt { nonce, height: None }),
        ("greet", Message::Greet(now)),
        ("known", Message::Known(Box::new(Known { life: now, other: Some(before), vote, ack }))),
        (
            "known-nothing",
            Message::Known(Box::new(Known { life: now, other: None, vote: None, ack: None })),
        ),
        ("whereabouts", Message::Whereabouts { nonce }),
        ("standing-first", Message::Standing { nonce, proof: None, roster_hash }),
        ("standing", Message::Standing { nonce, proof: Some(proof(world)), roster_hash }),
        ("recovering", Message::Recovering { above: Term::new(2) }),
    ]
}

/// Records, each with a name.
pub fn records() -> Vec<(&'static str, Record)> {
    let world = world();
    let elected = proven(&world, election(&world), world.roster());
    let (candidate, tip) = (NodeId::new(1), world.tip());
    let voted = Ballot {
        choice: Choice::For { candidate, tip },
        ..Ballot::default().raised(elected.clone())
    };
    let joint = joint(&world);
    let ack = world.certificate_by(Statement::Ack { block: tip }, &joint, &[0, 1, 2]);
    let spent =
        Ballot { choice: Choice::Spent, ..Ballot::default().raised(proven(&world, ack, &joint)) };
    let above = world.chain_id.genesis_ref();
    let certificate =
        world.certificate_by(Statement::Ack { block: tip }, world.roster(), &[0, 1, 2]);
    let certificate = proven(&world, certificate, world.roster()).certificate;
    vec![
        ("ballot-first", Record::Ballot(Ballot::default())),
        ("ballot-open", Record::Ballot(Ballot::default().raised(elected))),
        ("ballot-voted", Record::Ballot(voted)),
        ("ballot-spent", Record::Ballot(spent)),
        ("ballot-recovering", Record::Ballot(Ballot { recovering: true, ..Ballot::default() })),
        ("certificate", Record::Certificate(certificate)),
        ("branch", Record::Branch { above, blocks: blocks(&world) }),
        ("branch-cut", Record::Branch { above, blocks: Vec::new() }),
    ]
}
