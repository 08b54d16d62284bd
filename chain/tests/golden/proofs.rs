//! Fixtures from the chain: certificates, blocks, and what can be checked without a node.

use quorate_chain::block::Block;
use quorate_chain::merkle;
use quorate_chain::outcome;
use quorate_chain::state::StateKey;
use quorate_chain::statement::Statement;

use crate::Made;
use crate::common::{account, node, term};
use crate::layout;
use crate::story::{Story, text};

pub(crate) fn all(story: &Story) -> Vec<Made> {
    let mut all = heights(story);
    all.extend(certificates(story));
    all.extend(blocks(story));
    all.extend(inclusions());
    all.extend(receipts(story));
    all.extend(evidence(story));
    all
}

/// What follows from each block of the chain.
fn heights(story: &Story) -> Vec<Made> {
    let mut made = Vec::new();
    for (height, applied) in story.applied.iter().enumerate() {
        let commitment = &applied.commitment;
        let mut at = Made::of_bytes("chain", &height.to_string(), |_| {}, Default::default());
        if height == 0 {
            let roster = story.genesis.roster().unwrap();
            at = at
                .about("the genesis: genesis.json")
                .derive("chain id", story.chain_id().as_bytes())
                .derive("roster hash", roster.hash().as_bytes());
        } else {
            at = at
                .about("what block.hex leads to at this height")
                .derive("block hash", story.block(height).hash().as_bytes())
                .derive("outcomes", outcome::root(&applied.done.outcomes).as_bytes());
        }
        made.push(
            at.derive("outcomes link", commitment.outcomes().as_bytes())
                .derive("entries", commitment.entries().root().as_bytes())
                .derive("state root", commitment.root().as_bytes()),
        );
    }
    made
}

fn certificates(story: &Story) -> Vec<Made> {
    let tip = story.block(3).block_ref();
    let (number, candidate) = (term(2), node(1));
    let cases = [
        ("prevote", Statement::PreVote { term: number, candidate, tip }),
        ("election", Statement::Vote { term: number, candidate, tip }),
        ("commit", Statement::Ack { block: tip }),
    ];
    let roster = story.roster_at(3);
    let mut made = Vec::new();
    for (name, statement) in cases {
        let certificate = story.world.certificate_by(statement, roster, &[1, 2]);
        made.push(Made::new("certificate", name, layout::certificate, &certificate));
    }
    for (name, path) in
        [("itself", story.path(3, 3, &[0, 1, 2])), ("two-above", story.path(1, 3, &[0, 2]))]
    {
        made.push(Made::new("certificate-path", name, layout::path, &path));
    }
    made
}

fn blocks(story: &Story) -> Vec<Made> {
    let recovery = story.recovery_block();
    let promotion = story.promotion_block();
    let cases: [(&str, &Block); 8] = [
        ("opening", story.block(1)),
        ("transactions", story.block(2)),
        ("transactions-empty", story.block(3)),
        ("enter", story.block(4)),
        ("leave", story.block(5)),
        ("closing", story.block(6)),
        ("enter-promotion", &promotion),
        ("recovery", &recovery),
    ];
    let mut made = Vec::new();
    for (name, block) in cases {
        let mut whole = Made::new("block", name, layout::block, block)
            .derive("block hash", block.hash().as_bytes())
            .derive("body root", block.body().root().as_bytes());
        if let Some(item) = &block.body().item {
            whole = whole.derive("item leaf", item.leaf().as_bytes());
        }
        made.push(whole);
    }
    for (name, block) in [cases[0], cases[1], cases[3], cases[4], cases[5], cases[7]] {
        let header = block.header();
        assert_eq!(header.message().len(), 220);
        made.push(
            Made::new("header", name, layout::header, header)
                .derive("block hash", block.hash().as_bytes()),
        );
    }
    for (name, block) in [cases[0], cases[5]] {
        made.push(Made::new("signed-header", name, layout::signed_header, block.signed_header()));
    }
    for (name, block) in [("leave", story.block(5)), ("enter-promotion", &promotion)] {
        let item = block.body().item.as_ref().unwrap();
        made.push(
            Made::new("item", name, layout::item, item).derive("leaf", item.leaf().as_bytes()),
        );
    }
    made
}

/// Places in a list of five, whose leaves are the hashes of one byte each.
fn inclusions() -> Vec<Made> {
    let leaves: Vec<_> = (0..5_u8).map(|byte| merkle::leaf_hash(&[byte])).collect();
    let root = merkle::root(leaves.iter().copied());
    let made = |index: usize| {
        let proof = merkle::prove(&leaves, index).unwrap();
        Made::new("inclusion-proof", &format!("{index}-of-5"), layout::inclusion, &proof)
            .derive("leaf", leaves[index].as_bytes())
            .derive("root", root.as_bytes())
    };
    [0, 3, 4].into_iter().map(made).collect()
}

fn receipts(story: &Story) -> Vec<Made> {
    let mut made = Vec::new();
    let cases = [
        ("without-outcome", story.receipt(2, 1, None), "no header names its state yet"),
        ("applied", story.receipt(2, 1, Some(2)), "block 3 names the state of its block"),
        ("failed", story.receipt(2, 2, Some(2)), "in the same block"),
        ("opening-block", story.receipt(1, 0, Some(2)), "block 3 names the state one block above"),
    ];
    for (name, receipt, about) in cases {
        made.push(Made::new("receipt", name, layout::receipt, &receipt).about(about));
    }
    let keys = [
        ("value", StateKey::Value(text("a/first"))),
        ("absent", StateKey::Value(text("a/nothing"))),
        ("nonces", StateKey::Nonces(account(0))),
        ("grants", StateKey::Grants(account(1))),
    ];
    for (name, key) in keys {
        let receipt = story.state_receipt(key.clone());
        let place = &receipt.proof.place;
        made.push(
            Made::new("state-receipt", name, layout::state_receipt, &receipt)
                .derive("path", key.path().as_bytes()),
        );
        if matches!(name, "value" | "absent") {
            made.push(
                Made::new("state-proof", name, layout::state_proof, place)
                    .derive("path", key.path().as_bytes())
                    .derive("root", receipt.proof.entries.as_bytes()),
            );
        }
        if name == "value" {
            let root = receipt.header.state_root;
            made.push(
                Made::new("entry-proof", name, layout::entry_proof, &receipt.proof)
                    .derive("state root", root.as_bytes()),
            );
        }
    }
    let step = story.roster_step();
    made.push(
        Made::new("roster-step", "a-learner-comes", layout::roster_step, &step)
            .about("from the first roster of the chain"),
    );
    made
}

fn evidence(story: &Story) -> Vec<Made> {
    let made = |(name, evidence)| Made::new("evidence", name, layout::evidence, &evidence);
    story.evidence().into_iter().map(made).collect()
}
