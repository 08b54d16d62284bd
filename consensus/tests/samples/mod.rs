//! A value of every kind that a core keeps or says, out of one short chain.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::crypto::Ed25519;
use quorate_chain::ids::{NodeId, Term};
use quorate_chain::roster::Roster;
use quorate_chain::statement::Statement;
use quorate_consensus::ballot::{Ballot, Choice};
use quorate_consensus::effect::Record;
use quorate_consensus::judge::Proven;

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

/// Records, each with a name.
pub fn records() -> Vec<(&'static str, Record)> {
    let world = world();
    let elected = proven(&world, election(&world), world.roster());
    let (candidate, tip) = (NodeId::new(1), world.tip());
    let voted = Ballot { choice: Choice::For { candidate, tip }, ..Ballot::of(elected.clone()) };
    let joint = joint(&world);
    let ack = world.certificate_by(Statement::Ack { block: tip }, &joint, &[0, 1, 2]);
    let spent = Ballot { choice: Choice::Spent, ..Ballot::of(proven(&world, ack, &joint)) };
    let above = world.chain_id.genesis_ref();
    vec![
        ("ballot-first", Record::Ballot(Ballot::default())),
        ("ballot-open", Record::Ballot(Ballot::of(elected))),
        ("ballot-voted", Record::Ballot(voted)),
        ("ballot-spent", Record::Ballot(spent)),
        ("branch", Record::Branch { above, blocks: blocks(&world) }),
        ("branch-cut", Record::Branch { above, blocks: Vec::new() }),
    ]
}
