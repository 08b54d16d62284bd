//! Certificates, and the headers that lead to them: what they prove, and each way they do not.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::{World, genesis, new_member, node, somewhere, term};
use quorate_chain::certificate::{
    Certificate, CertificateError, CertificateKind, CertificatePath, Signed,
};
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::crypto::Ed25519;
use quorate_chain::ids::{BlockRef, ChainId, Height, NodeId, Signature};
use quorate_chain::roster::{Change, Roster};
use quorate_chain::statement::Statement;

/// A chain of five validators, led by 0 in term 1, six blocks high.
fn world() -> World {
    let mut world = World::new(5);
    world.open(1, 0, &[0, 1, 2]);
    for _ in 0..5 {
        world.transactions(Vec::new());
    }
    world
}

/// The same with a joint roster: the old five, and new ones with 5 and 6 beside them.
fn joint() -> World {
    let mut world = world();
    let steps = [5, 6].map(|id| Change::Add(new_member(id, false)));
    let promote = [5, 6].map(|id| Change::Promote { id: node(id) });
    world.enter([steps, promote].concat(), &[0, 1, 2]);
    world
}

fn check(world: &World, certificate: &Certificate) -> Result<(), CertificateError> {
    certificate.check(world.chain_id, world.roster(), &Ed25519)
}

fn forge(signed: &Signed) -> Signed {
    let mut bytes = *signed.signature.as_bytes();
    bytes[40] ^= 1;
    Signed { signer: signed.signer, signature: Signature::new(bytes) }
}

fn again(certificate: &Certificate, signatures: Vec<Signed>) -> Certificate {
    Certificate::assemble(*certificate.statement(), certificate.roster_hash(), signatures)
}

fn vote(world: &World) -> Statement {
    Statement::Vote { term: term(2), candidate: node(1), tip: world.tip() }
}

fn pre_vote(world: &World) -> Statement {
    Statement::PreVote { term: term(2), candidate: node(1), tip: world.tip() }
}

#[test]
fn a_majority_of_voters_certifies() {
    let world = world();
    let ack = Statement::Ack { block: world.tip() };
    for (statement, kind) in [
        (pre_vote(&world), CertificateKind::PreVote),
        (vote(&world), CertificateKind::Election),
        (ack, CertificateKind::Commit),
    ] {
        let certificate = world.certificate(statement, &[4, 0, 2]);
        assert_eq!(certificate.kind(), kind);
        assert_eq!((certificate.term(), certificate.block()), (statement.term(), world.tip()));
        assert_eq!(check(&world, &certificate), Ok(()));
        let checked = certificate.clone().verify(world.chain_id, world.roster(), &Ed25519);
        assert_eq!(checked.unwrap().into_inner(), certificate);
        let few = world.certificate(statement, &[4, 2]);
        assert_eq!(check(&world, &few), Err(CertificateError::NoQuorum { signers: 2 }));
        let none = world.certificate(statement, &[]);
        assert_eq!(check(&world, &none), Err(CertificateError::NoQuorum { signers: 0 }));
    }
}

#[test]
fn elections_take_the_vote_quorum_and_commits_the_majority() {
    let mut genesis = genesis(5);
    (genesis.vote_quorum, genesis.finality_quorum) = (Some(4), Some(5));
    let mut world = World::with(&genesis);
    world.open(1, 0, &[0, 1, 2, 3]);
    for statement in [vote(&world), pre_vote(&world)] {
        let found = check(&world, &world.certificate(statement, &[0, 1, 2]));
        assert_eq!(found, Err(CertificateError::NoQuorum { signers: 3 }));
        assert_eq!(check(&world, &world.certificate(statement, &[0, 1, 2, 3])), Ok(()));
    }
    assert_eq!(check(&world, &world.commit(&[0, 1, 2])), Ok(()));
}

#[test]
fn a_certificate_by_another_roster_proves_nothing() {
    let (before, after) = (world(), joint());
    let certificate = before.commit(&[0, 1, 2]);
    let expected = CertificateError::OtherRoster {
        expected: after.roster().hash(),
        found: before.roster().hash(),
    };
    assert_eq!(check(&after, &certificate), Err(expected));
    // The signers sign the roster: its hash cannot be exchanged.
    let renamed = Certificate::assemble(
        *certificate.statement(),
        after.roster().hash(),
        after.commit(&[0, 1, 2, 3]).signatures().iter().map(forge).collect(),
    );
    assert_eq!(check(&after, &renamed), Err(CertificateError::BadSignature { signer: node(0) }));
    let moved: Vec<_> =
        before.certificate(*certificate.statement(), &[0, 1, 2, 3]).signatures().to_vec();
    let moved = Certificate::assemble(*certificate.statement(), after.roster().hash(), moved);
    assert_eq!(check(&after, &moved), Err(CertificateError::BadSignature { signer: node(0) }));
}

#[test]
fn one_signature_by_a_stranger_or_a_forger_spoils_a_certificate() {
    let world = world();
    let good = world.commit(&[0, 1, 2, 3]);
    assert_eq!(check(&world, &good), Ok(()));
    let stranger = world.commit(&[0, 1, 2, 3, 9]);
    assert_eq!(check(&world, &stranger), Err(CertificateError::NotVoter { signer: node(9) }));

    // Three good ones are a quorum by themselves; the fourth is forged.
    for at in 0..4 {
        let mut signatures = good.signatures().to_vec();
        signatures[at] = forge(&signatures[at]);
        let signer = signatures[at].signer;
        let found = check(&world, &again(&good, signatures));
        assert_eq!(found, Err(CertificateError::BadSignature { signer }));
    }
    // Someone else's signature, or one's own on another statement.
    let mut signatures = good.signatures().to_vec();
    signatures[3].signature = signatures[2].signature;
    let found = check(&world, &again(&good, signatures.clone()));
    assert_eq!(found, Err(CertificateError::BadSignature { signer: node(3) }));
    signatures[3] = world.certificate(vote(&world), &[3]).signatures()[0].clone();
    let found = check(&world, &again(&good, signatures));
    assert_eq!(found, Err(CertificateError::BadSignature { signer: node(3) }));
    let other = good.check(ChainId::new([1; 32]), world.roster(), &Ed25519);
    assert_eq!(other, Err(CertificateError::BadSignature { signer: node(0) }));
}

#[test]
fn a_learner_does_not_sign() {
    let mut world = world();
    world.enter(vec![Change::Add(new_member(5, true))], &[0, 1, 2]);
    let found = check(&world, &world.commit(&[0, 1, 5]));
    assert_eq!(found, Err(CertificateError::NotVoter { signer: node(5) }));
}

#[test]
fn what_a_learner_or_a_stranger_says_is_not_gathered() {
    let mut world = world();
    world.enter(vec![Change::Add(new_member(5, true))], &[0, 1, 2]);
    let (ack, roster) = (Statement::Ack { block: world.tip() }, world.roster());
    let say = |id| Checked::vouch(world.sign(ack, roster, id));
    let gathered = Certificate::gather(ack, roster, &[say(0), say(5), say(2), say(9), say(1)]);
    let certificate = gathered.unwrap().into_inner();
    assert_eq!(certificate.signers(), [0, 1, 2].map(node).into());
    assert_eq!(check(&world, &certificate), Ok(()));
    assert_eq!(Certificate::gather(ack, roster, &[say(0), say(1), say(5)]), None);
}

#[test]
fn a_joint_roster_takes_a_quorum_of_both_parts() {
    // Old: 0 to 4. New: 0 to 6.
    let world = joint();
    let no = |signers| Err(CertificateError::NoQuorum { signers });
    assert_eq!(check(&world, &world.commit(&[0, 1, 2])), no(3));
    assert_eq!(check(&world, &world.commit(&[0, 1, 5, 6])), no(4));
    assert_eq!(check(&world, &world.commit(&[0, 1, 2, 5])), Ok(()));
    assert_eq!(check(&world, &world.commit(&[0, 1, 2, 3])), Ok(()));
    assert_eq!(check(&world, &world.certificate(vote(&world), &[0, 1, 5, 6])), no(4));

    // Half of the old ones leave, too: no quorum of the new ones alone is enough.
    let mut world = self::world();
    world.enter([2, 3, 4].map(|id| Change::Remove { id: node(id) }).to_vec(), &[0, 1, 2]);
    assert_eq!(check(&world, &world.commit(&[0, 1])), no(2));
    assert_eq!(check(&world, &world.commit(&[0, 2, 3])), no(3));
    assert_eq!(check(&world, &world.commit(&[0, 1, 4])), Ok(()));
    // Each part by itself is another roster.
    let halves: Vec<Roster> = world.roster().halves();
    let two = world.certificate_by(Statement::Ack { block: world.tip() }, &halves[1], &[0, 1]);
    assert!(matches!(check(&world, &two), Err(CertificateError::OtherRoster { .. })));
    assert_eq!(two.check(world.chain_id, &halves[1], &Ed25519), Ok(()));
}

#[test]
fn signatures_are_sorted_and_each_signer_stands_once() {
    let world = world();
    let certificate = world.commit(&[3, 1, 4, 0, 3, 1]);
    let signers: Vec<_> = certificate.signatures().iter().map(|signed| signed.signer).collect();
    assert_eq!(signers, [0, 1, 3, 4].map(NodeId::new));
    assert_eq!(certificate.signers(), BTreeSet::from([0, 1, 3, 4].map(NodeId::new)));
    let bytes = certificate.to_bytes();
    assert_eq!(Certificate::from_bytes(&bytes), Ok(certificate.clone()));

    // Two signatures in the wrong order, or one twice, do not decode.
    let item = NodeId::ZERO.to_bytes().len() + Signature::LENGTH;
    let first = bytes.len() - 4 * item;
    let mut swapped = bytes.to_vec();
    swapped[first..first + 2 * item].rotate_left(item);
    assert!(Certificate::from_bytes(&swapped.into()).is_err());
    let mut twice = bytes.to_vec();
    twice.copy_within(first..first + item, first + item);
    assert!(Certificate::from_bytes(&twice.into()).is_err());
}

#[test]
fn each_signature_is_a_statement_by_itself() {
    let world = world();
    let certificate = world.commit(&[0, 2]);
    for (signed, id) in certificate.signed_statements().zip([0, 2]) {
        assert_eq!(signed, world.sign(*certificate.statement(), world.roster(), id));
    }
}

fn path(world: &World, path: &CertificatePath, covered: BlockRef) -> Result<(), CertificateError> {
    assert_eq!(CertificatePath::from_bytes(&path.to_bytes()), Ok(path.clone()));
    path.check(covered, world.chain_id, world.roster(), &Ed25519)
}

#[test]
fn a_path_proves_every_block_below_the_certified_one() {
    let world = world();
    assert_eq!(path(&world, &world.path(0, &[0, 1, 2]), world.chain_id.genesis_ref()), Ok(()));
    for at in 1..=6 {
        let covered = world.header(at).block_ref();
        let good = world.path(at, &[0, 1, 2]);
        assert_eq!(good.headers.len() as u64, 6 - at);
        assert_eq!(path(&world, &good, covered), Ok(()));
        // It covers this block and no other.
        let other = BlockRef { hash: somewhere(0, 0, 9).hash, ..covered };
        let found = path(&world, &good, other);
        if at < 6 {
            assert_eq!(found, Err(CertificateError::BrokenPath { at: Height::new(at + 1) }));
        } else {
            let certified = world.tip();
            assert_eq!(found, Err(CertificateError::PathEnd { certified, found: other }));
        }
        let short = CertificatePath { headers: Vec::new(), certificate: world.commit(&[0, 1, 2]) };
        let end = (at < 6).then_some(covered);
        let expected = end.map(|found| CertificateError::PathEnd { certified: world.tip(), found });
        assert_eq!(path(&world, &short, covered).err(), expected);
    }
}

#[test]
fn a_path_with_a_broken_link_is_refused_wherever_it_breaks() {
    let world = world();
    let covered = world.header(1).block_ref();
    let good = world.path(1, &[0, 1, 2]);
    for at in 0..good.headers.len() {
        let height = good.headers[at].height;
        let mut skipped = good.clone();
        skipped.headers.remove(at);
        let last = at + 1 == good.headers.len();
        let expected = if last {
            let found = good.headers[at - 1].block_ref();
            CertificateError::PathEnd { certified: world.tip(), found }
        } else {
            CertificateError::BrokenPath { at: height.next().unwrap() }
        };
        assert_eq!(path(&world, &skipped, covered), Err(expected));

        let mut twice = good.clone();
        twice.headers.insert(at, good.headers[at].clone());
        assert_eq!(path(&world, &twice, covered), Err(CertificateError::BrokenPath { at: height }));

        let mut other = good.clone();
        other.headers[at].parent = somewhere(0, 0, 9).hash;
        assert_eq!(path(&world, &other, covered), Err(CertificateError::BrokenPath { at: height }));

        // The height alone: parent hashes still fit, from below.
        let mut higher = good.clone();
        higher.headers[at].height = Height::new(40);
        let broken = CertificateError::BrokenPath { at: Height::new(40) };
        assert_eq!(path(&world, &higher, covered), Err(broken));

        // Anything else in a header is another block.
        let mut renamed = good.clone();
        renamed.headers[at].executed = Height::new(1);
        let found = path(&world, &renamed, covered);
        let expected = if last {
            let found = renamed.headers[at].block_ref();
            CertificateError::PathEnd { certified: world.tip(), found }
        } else {
            CertificateError::BrokenPath { at: height.next().unwrap() }
        };
        assert_eq!(found, Err(expected));
    }
}

#[test]
fn a_path_ends_at_a_commit_certificate() {
    let world = world();
    let covered = world.header(4).block_ref();
    let mut elected = world.path(4, &[0, 1, 2]);
    elected.certificate = world.certificate(vote(&world), &[0, 1, 2]);
    let expected = CertificateError::OtherKind {
        expected: CertificateKind::Commit,
        found: CertificateKind::Election,
    };
    assert_eq!(path(&world, &elected, covered), Err(expected));

    // A quorum that acks the right hash under another term or height certifies nothing.
    let tip = world.tip();
    for certified in [
        BlockRef { term: term(2), ..tip },
        BlockRef { height: Height::new(7), ..tip },
        somewhere(1, 6, 9),
    ] {
        let mut other = world.path(4, &[0, 1, 2]);
        other.certificate = world.certificate(Statement::Ack { block: certified }, &[0, 1, 2]);
        let expected = CertificateError::PathEnd { certified, found: tip };
        assert_eq!(path(&world, &other, covered), Err(expected));
    }
    let mut few = world.path(4, &[0, 1]);
    assert_eq!(path(&world, &few, covered), Err(CertificateError::NoQuorum { signers: 2 }));
    few.certificate = world.commit(&[0, 1, 2, 3]);
    assert_eq!(path(&world, &few, covered), Ok(()));
}
