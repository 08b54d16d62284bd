//! What convicts a validator, and what honest ones sign that does not.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, new_member, node, somewhere, term, update, validator};
use quorate_chain::block::{Block, BlockKind, Body, EnterChange, Header, Item, SignedHeader};
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::crypto::Ed25519;
use quorate_chain::evidence::{Evidence, EvidenceError, MalformedBlock, ProvenItem, RosterHistory};
use quorate_chain::ids::{
    BlockHash, BlockRef, ChainId, Hash, Height, NodeId, RosterHash, Signature, StateRoot, TimeUs,
};
use quorate_chain::merkle;
use quorate_chain::roster::{Change, ChangeError, Roster};
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_chain::well_formed::Malformed;

/// A chain of five validators, led by 0 in term 1, two blocks high.
fn world() -> World {
    let mut world = World::new(5);
    world.open(1, 0, &[0, 1, 2]);
    world.transactions(vec![update(world.chain_id, 0, 0, "a", "1")]);
    world
}

fn history(world: &World) -> RosterHistory<'_> {
    let [genesis, later @ ..] = &world.rosters[..] else { unreachable!() };
    RosterHistory { genesis_time: world.time, genesis, later }
}

fn verify(world: &World, evidence: Evidence) -> Result<NodeId, EvidenceError> {
    // What convicts here convicts wherever its bytes are read.
    assert_eq!(Evidence::from_bytes(&evidence.to_bytes()), Ok(evidence.clone()));
    let conviction = evidence.clone().verify(world.chain_id, &history(world), &Ed25519)?;
    assert_eq!(**conviction.evidence(), evidence);
    let id = evidence.accused();
    assert_eq!(*conviction.key(), validator(id.get()).validator_key());
    Ok(id)
}

const NO_CONFLICT: Result<NodeId, EvidenceError> = Err(EvidenceError::NoConflict);

fn vote(term: u64, candidate: u32, tip: BlockRef) -> Statement {
    Statement::Vote { term: common::term(term), candidate: node(candidate), tip }
}

fn ack(block: BlockRef) -> Statement {
    Statement::Ack { block }
}

fn by(world: &World, id: u32, statement: Statement) -> SignedStatement {
    world.sign(statement, world.roster(), id)
}

/// Changes one bit.
fn forge(signature: &mut Signature) {
    let mut bytes = *signature.as_bytes();
    bytes[7] ^= 1;
    *signature = Signature::new(bytes);
}

/// A block on the tip, made different from others there by its time.
fn signed(world: &World, later: u64) -> SignedHeader {
    let mut draft = world.draft(BlockKind::Transactions, Body::default());
    draft.time = TimeUs::new(draft.time.get() + later);
    world.seal(draft).signed_header().clone()
}

#[test]
fn two_blocks_in_one_place_convict() {
    let world = world();
    let (a, b) = (signed(&world, 0), signed(&world, 1));
    assert_eq!(verify(&world, Evidence::TwoBlocks { a: a.clone(), b: b.clone() }), Ok(node(0)));
    assert_eq!(verify(&world, Evidence::TwoBlocks { a: b.clone(), b: a.clone() }), Ok(node(0)));

    // Also on different parents, and although nobody stored one of them.
    let mut draft = world.draft(BlockKind::Transactions, Body::default());
    draft.parent = somewhere(1, 2, 9);
    let elsewhere = world.seal(draft).signed_header().clone();
    assert_eq!(verify(&world, Evidence::TwoBlocks { a: a.clone(), b: elsewhere }), Ok(node(0)));

    let mut forged = b.clone();
    forge(&mut forged.signature);
    let bad = Err(EvidenceError::BadSignature { id: node(0) });
    assert_eq!(verify(&world, Evidence::TwoBlocks { a: a.clone(), b: forged.clone() }), bad);
    assert_eq!(verify(&world, Evidence::TwoBlocks { a: forged, b: a }), bad);
}

#[test]
fn blocks_that_an_honest_proposer_seals_do_not_convict() {
    let mut world = world();
    let first = signed(&world, 0);
    let both = |b: SignedHeader| Evidence::TwoBlocks { a: first.clone(), b };
    // The same block twice, whatever its signature.
    assert_eq!(verify(&world, both(first.clone())), NO_CONFLICT);
    let mut again = first.clone();
    forge(&mut again.signature);
    assert_eq!(verify(&world, both(again)), NO_CONFLICT);
    // At one height in another term.
    let reopened = world.seal(world.opening_draft(2, 0, &[0, 1, 2])).signed_header().clone();
    assert_eq!(reopened.header.height, first.header.height);
    assert_eq!(verify(&world, both(reopened)), NO_CONFLICT);
    // By someone else at the same place.
    let mut draft = world.draft(BlockKind::Transactions, Body::default());
    draft.proposer = node(1);
    assert_eq!(verify(&world, both(world.seal(draft).signed_header().clone())), NO_CONFLICT);
    // At another height.
    world.transactions(Vec::new());
    assert_eq!(verify(&world, both(signed(&world, 0))), NO_CONFLICT);
}

#[test]
fn two_votes_in_one_term_convict() {
    let world = world();
    let one = by(&world, 3, vote(2, 1, world.tip()));
    let base = [
        vote(2, 2, world.tip()),
        vote(2, 1, somewhere(1, 2, 9)),
        vote(2, 1, somewhere(1, 3, 9)),
        vote(2, 2, world.chain_id.genesis_ref()),
    ];
    for other in base {
        let evidence = Evidence::TwoVotes { a: one.clone(), b: by(&world, 3, other) };
        assert_eq!(verify(&world, evidence), Ok(node(3)), "{other:?}");
    }
    // Also when they were given under different rosters.
    let mut changed = world.clone();
    changed.enter(vec![Change::Add(new_member(5, false))], &[0, 1, 2]);
    let other = by(&changed, 3, vote(2, 1, changed.tip()));
    assert_eq!(verify(&changed, Evidence::TwoVotes { a: one, b: other }), Ok(node(3)));
}

#[test]
fn votes_that_an_honest_validator_gives_do_not_convict() {
    let world = world();
    let one = by(&world, 3, vote(2, 1, world.tip()));
    let two = |b: SignedStatement| Evidence::TwoVotes { a: one.clone(), b };
    // The same vote again, also under another roster hash.
    assert_eq!(verify(&world, two(one.clone())), NO_CONFLICT);
    // For someone else in a later term.
    assert_eq!(verify(&world, two(by(&world, 3, vote(3, 2, world.tip())))), NO_CONFLICT);
    // By someone else.
    assert_eq!(verify(&world, two(by(&world, 2, vote(2, 2, world.tip())))), NO_CONFLICT);
    // Pre-votes bind to nothing, and a handover is no vote.
    let pre = |candidate| Statement::PreVote {
        term: term(2),
        candidate: node(candidate),
        tip: world.tip(),
    };
    let (a, b) = (by(&world, 3, pre(1)), by(&world, 3, pre(2)));
    assert_eq!(verify(&world, Evidence::TwoVotes { a: a.clone(), b: b.clone() }), NO_CONFLICT);
    assert_eq!(verify(&world, two(b)), NO_CONFLICT);
    assert_eq!(verify(&world, Evidence::TwoAcks { a: a.clone(), b: a }), NO_CONFLICT);
    let handover = |to| Statement::Handover { term: term(2), to: node(to), tip: world.tip() };
    let (a, b) = (by(&world, 3, handover(1)), by(&world, 3, handover(2)));
    assert_eq!(verify(&world, Evidence::TwoVotes { a, b }), NO_CONFLICT);
}

#[test]
fn two_acks_in_one_place_convict() {
    let world = world();
    let acks = |world: &World, a, b| Evidence::TwoAcks {
        a: by(world, 2, ack(a)),
        b: by(world, 2, ack(b)),
    };
    let other = somewhere(1, 2, 9);
    assert_eq!(verify(&world, acks(&world, world.tip(), other)), Ok(node(2)));
    assert_eq!(verify(&world, acks(&world, other, world.tip())), Ok(node(2)));
    // One block twice; one height in two terms; two heights in one term.
    assert_eq!(verify(&world, acks(&world, other, other)), NO_CONFLICT);
    assert_eq!(verify(&world, acks(&world, other, somewhere(2, 2, 8))), NO_CONFLICT);
    assert_eq!(verify(&world, acks(&world, other, somewhere(1, 3, 8))), NO_CONFLICT);
    let stranger =
        Evidence::TwoAcks { a: by(&world, 2, ack(other)), b: by(&world, 3, ack(world.tip())) };
    assert_eq!(verify(&world, stranger), NO_CONFLICT);
}

#[test]
fn a_vote_for_a_tip_below_an_earlier_ack_convicts() {
    let world = world();
    let judge = |acked: BlockRef, statement: Statement| {
        let (ack, vote) = (by(&world, 4, ack(acked)), by(&world, 4, statement));
        verify(&world, Evidence::VoteBelowAck { ack, vote })
    };
    let acked = somewhere(3, 7, 1);
    assert_eq!(judge(acked, vote(4, 1, somewhere(3, 6, 2))), Ok(node(4)));
    assert_eq!(judge(acked, vote(9, 1, somewhere(3, 6, 2))), Ok(node(4)));
    // A higher block of a lower term ranks below.
    assert_eq!(judge(acked, vote(4, 1, somewhere(2, 100, 2))), Ok(node(4)));
    // The same rank, or a higher one: also of another block, and at a lower height.
    assert_eq!(judge(acked, vote(4, 1, acked)), NO_CONFLICT);
    assert_eq!(judge(acked, vote(4, 1, somewhere(3, 7, 2))), NO_CONFLICT);
    assert_eq!(judge(acked, vote(5, 1, somewhere(4, 2, 2))), NO_CONFLICT);
    // A vote of the block's own term or of an earlier one came before the ack.
    assert_eq!(judge(acked, vote(3, 1, somewhere(2, 6, 2))), NO_CONFLICT);
    assert_eq!(judge(acked, vote(2, 1, somewhere(1, 1, 2))), NO_CONFLICT);
    // A pre-vote promises nothing.
    let pre = Statement::PreVote { term: term(4), candidate: node(1), tip: somewhere(3, 6, 2) };
    assert_eq!(judge(acked, pre), NO_CONFLICT);

    let vote = vote(4, 1, somewhere(3, 6, 2));
    let (ack, other) = (by(&world, 4, ack(acked)), by(&world, 3, vote));
    let stranger = Evidence::VoteBelowAck { ack: ack.clone(), vote: other };
    assert_eq!(verify(&world, stranger), NO_CONFLICT);
    // The two in each other's place.
    let swapped = Evidence::VoteBelowAck { ack: by(&world, 4, vote), vote: ack };
    assert_eq!(verify(&world, swapped), NO_CONFLICT);
}

#[test]
fn a_forged_statement_convicts_nobody() {
    let world = world();
    let (one, two) =
        (by(&world, 3, vote(2, 1, world.tip())), by(&world, 3, vote(2, 2, world.tip())));
    let bad = Err(EvidenceError::BadSignature { id: node(3) });
    for place in 0..2 {
        for wrong in 0..3 {
            let mut both = [one.clone(), two.clone()];
            match wrong {
                0 => forge(&mut both[place].signature),
                1 => both[place].roster_hash = RosterHash::new([9; 32]),
                _ => both[place].signature = by(&world, 4, both[place].statement).signature,
            }
            let [a, b] = both;
            assert_eq!(verify(&world, Evidence::TwoVotes { a, b }), bad);
        }
    }
    // Someone else's statements under the accused's name.
    let mut both = [one, two].map(|signed| SignedStatement { signer: node(4), ..signed });
    let bad = Err(EvidenceError::BadSignature { id: node(4) });
    let [a, b] = both.clone();
    assert_eq!(verify(&world, Evidence::TwoVotes { a, b }), bad);
    both.iter_mut().for_each(|signed| signed.signer = node(9));
    let [a, b] = both;
    let unknown = Err(EvidenceError::UnknownSigner { id: node(9) });
    assert_eq!(verify(&world, Evidence::TwoVotes { a, b }), unknown);
}

#[test]
fn evidence_from_another_chain_convicts_nobody() {
    let world = world();
    let other = ChainId::new([9; 32]);
    let rosters: &[Roster] = &world.rosters;
    let judge = |evidence: Evidence| {
        evidence.verify(other, rosters, &Ed25519).map(|good| good.evidence().accused())
    };
    let (a, b) = (signed(&world, 0), signed(&world, 1));
    assert_eq!(judge(Evidence::TwoBlocks { a, b: b.clone() }), NO_CONFLICT);
    let (a, vote) =
        (by(&world, 3, vote(2, 1, world.tip())), by(&world, 3, vote(2, 2, world.tip())));
    let bad = Err(EvidenceError::BadSignature { id: node(3) });
    assert_eq!(judge(Evidence::TwoVotes { a, b: vote.clone() }), bad);
    let ack = by(&world, 3, ack(somewhere(1, 9, 1)));
    assert_eq!(judge(Evidence::VoteBelowAck { ack, vote }), bad);
    // A block that belongs to another chain is not malformed on this one.
    let parent = Some(world.header(2).clone());
    let malformed = MalformedBlock { parent, child: b, item: None };
    assert_eq!(judge(Evidence::Malformed(Box::new(malformed))), NO_CONFLICT);
}

#[test]
fn one_who_has_left_the_roster_is_still_accused() {
    let mut world = world();
    let (a, b) = (by(&world, 4, vote(2, 1, world.tip())), by(&world, 4, vote(2, 2, world.tip())));
    world.enter(vec![Change::Remove { id: node(4) }], &[0, 1, 2]);
    world.leave(&[0, 1, 2]);
    assert!(world.roster().member(node(4)).is_none());
    assert_eq!(verify(&world, Evidence::TwoVotes { a, b }), Ok(node(4)));
}

/// Validators 7 and 8 are added on two branches, both with the id 5.
#[test]
fn of_two_that_were_given_one_id_the_one_who_signed_is_convicted() {
    let world = world();
    let branch = |who: u32| {
        let mut world = world.clone();
        let add = Change::Add(new_member(who, false));
        world.enter(vec![add, Change::Promote { id: node(5) }], &[0, 1, 2]);
        world.roster().clone()
    };
    let (abandoned, chain) = (branch(7), branch(8));
    assert_ne!(abandoned.member(node(5)).unwrap().key, chain.member(node(5)).unwrap().key);
    let sign = |who: u32, roster: &Roster, statement: Statement| SignedStatement {
        signature: validator(who).sign(&statement.message(world.chain_id, roster.hash())),
        signer: node(5),
        roster_hash: roster.hash(),
        statement,
    };
    let (one, two) = (vote(2, 1, world.tip()), vote(2, 2, world.tip()));
    let block = |who: u32, later: u64| {
        let mut draft = world.draft(BlockKind::Transactions, Body::default());
        (draft.proposer, draft.time) = (node(5), TimeUs::new(draft.time.get() + later));
        Block::seal(draft, &validator(who)).unwrap().into_inner().signed_header().clone()
    };
    let [genesis] = &world.rosters[..] else { unreachable!() };
    for rosters in [
        [genesis.clone(), abandoned.clone(), chain.clone()],
        [chain.clone(), genesis.clone(), abandoned.clone()],
    ] {
        let convicts = |evidence: Evidence| {
            let found = evidence.verify(world.chain_id, &rosters[..], &Ed25519);
            found.map(|conviction| conviction.key().clone())
        };
        for (who, roster) in [(7, &abandoned), (8, &chain)] {
            let key = Ok(validator(who).validator_key());
            let votes = [one, two].map(|statement| sign(who, roster, statement));
            let [a, b] = votes;
            assert_eq!(convicts(Evidence::TwoVotes { a, b }), key);
            let (a, b) = (block(who, 0), block(who, 1));
            assert_eq!(convicts(Evidence::TwoBlocks { a, b }), key);
            let malformed = MalformedBlock {
                parent: Some(world.header(2).clone()),
                child: block(who, 0),
                item: None,
            };
            assert_eq!(convicts(Evidence::Malformed(Box::new(malformed))), key);
        }
        // What each of them signed once convicts neither.
        let mixed = Evidence::TwoVotes { a: sign(7, &abandoned, one), b: sign(8, &chain, two) };
        assert_eq!(convicts(mixed), Err(EvidenceError::BadSignature { id: node(5) }));
        let mixed = Evidence::TwoBlocks { a: block(7, 0), b: block(8, 1) };
        assert_eq!(convicts(mixed), Err(EvidenceError::BadSignature { id: node(5) }));
    }
}

/// Proof that a block holds its item.
fn proven(block: &Block) -> ProvenItem {
    let inclusion = merkle::prove(&block.body().leaves(), 0).unwrap();
    ProvenItem { item: block.body().item.clone().unwrap(), inclusion }
}

fn malformed(parent: &Header, block: &Block, item: Option<ProvenItem>) -> Evidence {
    let (parent, child) = (Some(parent.clone()), block.signed_header().clone());
    Evidence::Malformed(Box::new(MalformedBlock { parent, child, item }))
}

#[test]
fn a_block_that_may_not_stand_on_its_parent_convicts() {
    let world = world();
    let parent = world.header(2);
    let plain = || world.draft(BlockKind::Transactions, Body::default());

    let mut stranger = plain();
    stranger.proposer = node(3);
    assert_eq!(verify(&world, malformed(parent, &world.seal(stranger), None)), Ok(node(3)));
    let mut old = plain();
    old.time = TimeUs::new(parent.time.get() - 1);
    assert_eq!(verify(&world, malformed(parent, &world.seal(old), None)), Ok(node(0)));
    let mut ahead = plain();
    ahead.executed = Height::new(3);
    assert_eq!(verify(&world, malformed(parent, &world.seal(ahead), None)), Ok(node(0)));
    let mut roster = plain();
    roster.roster_hash = RosterHash::new([9; 32]);
    assert_eq!(verify(&world, malformed(parent, &world.seal(roster), None)), Ok(node(0)));
    let mut skipped = plain();
    skipped.parent.height = Height::new(7);
    assert_eq!(verify(&world, malformed(parent, &world.seal(skipped), None)), Ok(node(0)));

    // Elected by too few, shown with the certificate.
    let few = world.seal(world.opening_draft(2, 1, &[1, 2]));
    assert_eq!(verify(&world, malformed(parent, &few, Some(proven(&few)))), Ok(node(1)));
    // A roster block whose certificate is by too few.
    let mut few = world.enter_draft(vec![Change::Remove { id: node(4) }], &[0, 1, 2]);
    let Some(Item::Enter { certificate, .. }) = &mut few.body.item else { unreachable!() };
    *certificate = world.certificate(ack(world.tip()), &[0]);
    let few = world.seal(few);
    assert_eq!(verify(&world, malformed(parent, &few, Some(proven(&few)))), Ok(node(0)));
    // A change that no admin approved.
    let mut forged = world.enter_draft(vec![Change::Remove { id: node(4) }], &[0, 1, 2]);
    let Some(Item::Enter { change, .. }) = &mut forged.body.item else { unreachable!() };
    let order = world.change(vec![Change::Remove { id: node(4) }]).change().clone();
    *change = EnterChange::Ordered(order.assemble(Vec::new()));
    let forged = world.seal(forged);
    let unapproved = ChangeError::Unapproved { approvals: 0, threshold: 1 };
    assert_eq!(world.check(&forged), Err(Malformed::Change(unapproved)));
    assert_eq!(verify(&world, malformed(parent, &forged, Some(proven(&forged)))), Ok(node(0)));
}

#[test]
fn a_well_formed_block_convicts_nobody() {
    let world = world();
    let parent = world.header(2);
    let plain = world.seal(world.draft(BlockKind::Transactions, Body::default()));
    assert_eq!(verify(&world, malformed(parent, &plain, None)), NO_CONFLICT);
    let opening = world.seal(world.opening_draft(2, 1, &[1, 2, 3]));
    let item = proven(&opening);
    assert_eq!(verify(&world, malformed(parent, &opening, Some(item.clone()))), NO_CONFLICT);
    // The accuser keeps the item back, or shows another.
    assert_eq!(verify(&world, malformed(parent, &opening, None)), NO_CONFLICT);
    let few = world.seal(world.opening_draft(2, 1, &[1, 2]));
    let found = verify(&world, malformed(parent, &opening, Some(proven(&few))));
    assert!(matches!(found, Err(EvidenceError::Inclusion(_))));
    let mut moved = item;
    moved.inclusion = merkle::prove(&[moved.item.leaf(), Hash::ZERO], 0).unwrap();
    let found = verify(&world, malformed(parent, &opening, Some(moved)));
    assert!(matches!(found, Err(EvidenceError::Inclusion(_))));
    // The accuser names another parent, or makes one up.
    assert_eq!(verify(&world, malformed(world.header(1), &plain, None)), NO_CONFLICT);
    let mut invented = parent.clone();
    invented.proposer = node(4);
    assert_eq!(verify(&world, malformed(&invented, &plain, None)), NO_CONFLICT);
}

#[test]
fn a_malformed_block_is_judged_by_the_parents_roster_and_signature() {
    let world = world();
    let parent = world.header(2);
    let mut draft = world.draft(BlockKind::Transactions, Body::default());
    (draft.time, draft.state_root) = (TimeUs::ZERO, StateRoot::new([1; 32]));
    let block = world.seal(draft);
    assert_eq!(verify(&world, malformed(parent, &block, None)), Ok(node(0)));

    let mut child = block.signed_header().clone();
    forge(&mut child.signature);
    let forged = MalformedBlock { parent: Some(parent.clone()), child, item: None };
    let bad = Err(EvidenceError::BadSignature { id: node(0) });
    assert_eq!(verify(&world, Evidence::Malformed(Box::new(forged))), bad);

    // A parent under a roster that nobody knows.
    let mut unknown = parent.clone();
    unknown.roster_hash = RosterHash::new([9; 32]);
    let mut draft = world.draft(BlockKind::Transactions, Body::default());
    draft.parent = BlockRef { hash: unknown.hash(), ..draft.parent };
    let orphan = world.seal(draft);
    assert_ne!(orphan.header().parent, BlockHash::ZERO);
    let expected = Err(EvidenceError::UnknownRoster { hash: RosterHash::new([9; 32]) });
    assert_eq!(verify(&world, malformed(&unknown, &orphan, None)), expected);
}

#[test]
fn a_first_block_that_may_not_stand_on_the_genesis_convicts() {
    let world = World::new(5);
    let on_genesis = |block: &Block, item: Option<ProvenItem>| {
        let child = block.signed_header().clone();
        Evidence::Malformed(Box::new(MalformedBlock { parent: None, child, item }))
    };
    let plain = || world.draft(BlockKind::Transactions, Body::default());
    // Nobody leads before the first term; nor is a term opened by too few.
    assert_eq!(verify(&world, on_genesis(&world.seal(plain()), None)), Ok(node(0)));
    let few = world.seal(world.opening_draft(1, 1, &[1, 2]));
    assert_eq!(verify(&world, on_genesis(&few, Some(proven(&few)))), Ok(node(1)));
    let mut old = world.opening_draft(1, 1, &[1, 2, 3]);
    old.time = TimeUs::new(world.time.get() - 1);
    let old = world.seal(old);
    assert_eq!(verify(&world, on_genesis(&old, Some(proven(&old)))), Ok(node(1)));
    let mut high = plain();
    high.parent.height = Height::new(6);
    let high = world.seal(high);
    assert_eq!(verify(&world, on_genesis(&high, None)), Ok(node(0)));

    // A good one, with its item and without; and blocks that stand elsewhere.
    let good = world.seal(world.opening_draft(1, 1, &[1, 2, 3]));
    assert_eq!(verify(&world, on_genesis(&good, Some(proven(&good)))), NO_CONFLICT);
    assert_eq!(verify(&world, on_genesis(&good, None)), NO_CONFLICT);
    let longer = self::world();
    let second = longer.seal(longer.draft(BlockKind::Transactions, Body::default()));
    assert_eq!(verify(&longer, on_genesis(&second, None)), NO_CONFLICT);
    // On the genesis of another chain.
    let few = on_genesis(&few, Some(proven(&few)));
    let elsewhere = few.clone().verify(ChainId::new([9; 32]), &history(&world), &Ed25519);
    assert_eq!(elsewhere, Err(EvidenceError::NoConflict));
    // By who does not know the genesis.
    let rosters: &[Roster] = &world.rosters;
    let unknown = few.verify(world.chain_id, rosters, &Ed25519);
    assert_eq!(unknown, Err(EvidenceError::UnknownGenesis));
}
