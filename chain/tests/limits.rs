//! A length or a count beyond its limit is refused where it stands, before anything is read or
//! allocated for it.
//!
//! So decoding allocates no more than its input and the limits explain. A byte string is shared with
//! the input and allocates nothing. A list is given room for what it claims to hold only after that
//! number has been compared with its limit and with the bytes that are left, and for no more than
//! 1,024 items before the first of them has been read; no item takes more than some 25 times the room
//! of its smallest encoding.
#![allow(clippy::unwrap_used)]

mod common;
mod fixtures;
mod story;

use std::collections::BTreeMap;

use bytes::Bytes;
use fixtures::{Fixture, codec_of, read_all};
use quorate_chain::block::{BlockKind, Body};
use quorate_chain::codec::{Decode, DecodeError, Encode};
use quorate_chain::limits;
use quorate_chain::transaction::{Operation, SignedTransaction};
use story::{Story, text};

/// By the last word of the field's name these are lengths and counts.
fn counted(field: &str) -> bool {
    field.ends_with(" length") || field.ends_with(" count")
}

fn with_number(fixture: &Fixture, at: usize, number: u32) -> Bytes {
    let mut bytes = fixture.bytes.to_vec();
    bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    Bytes::from(bytes)
}

/// The limit of every length and count in the fixtures, as the decoders tell it.
fn limits_found() -> BTreeMap<(String, usize), usize> {
    let mut found = BTreeMap::new();
    for fixture in read_all() {
        let codec = codec_of(&fixture.kind).unwrap();
        for (at, field) in fixture.fields.iter().filter(|(_, field)| counted(field)) {
            let told = codec(&with_number(&fixture, *at, u32::MAX)).unwrap_err();
            let DecodeError::TooLong { offset, found: number, limit, .. } = told else {
                unreachable!("{} {} {field} at {at}: {told}", fixture.kind, fixture.name);
            };
            assert_eq!((offset, number), (*at, u32::MAX as usize), "{} {field}", fixture.kind);
            let beyond = codec(&with_number(&fixture, *at, u32::try_from(limit).unwrap() + 1));
            assert_eq!(beyond.unwrap_err(), told_of(&told, limit + 1));

            // As many as are allowed, and nothing behind: it errs there, if not before.
            let most = with_number(&fixture, *at, u32::try_from(limit).unwrap()).slice(..at + 4);
            let DecodeError::Short { offset, .. } = codec(&most).unwrap_err() else {
                unreachable!("{} {} {field} at {at}", fixture.kind, fixture.name);
            };
            assert!(offset <= at + 4, "{} {field}", fixture.kind);
            *found.entry((field.clone(), limit)).or_insert(0) += 1;
        }
    }
    found
}

/// The same error for another number.
fn told_of(told: &DecodeError, number: usize) -> DecodeError {
    let mut told = told.clone();
    if let DecodeError::TooLong { found, .. } = &mut told {
        *found = number;
    }
    told
}

#[test]
fn every_length_and_count_has_its_limit() {
    let found = limits_found();
    let found: Vec<_> = found.keys().map(|(field, limit)| (field.as_str(), *limit)).collect();
    let expected = [
        ("above count", 4_096),
        ("address length", 256),
        ("admin count", 16),
        ("api address count", 8),
        ("approval count", 16),
        ("approver count", 16),
        ("free length", 128),
        ("grant count", 64),
        ("header count", 4_096),
        ("key length", 1_024),
        ("leaf count", 8),
        ("member count", 64),
        ("name length", 64),
        ("operation count", 128),
        ("p2p address count", 8),
        ("prefix length", 1_024),
        ("sibling count", 64),
        ("sibling count", 256),
        ("signature count", 128),
        ("step count", 16),
        ("transaction count", 10_000),
        ("value length", 256 * 1_024),
    ];
    assert_eq!(found, expected);
}

#[test]
fn five_bytes_cannot_claim_four_billion() {
    let lie = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 1]);
    for (kind, codec) in fixtures::CODECS {
        assert!(codec(&lie).is_err(), "{kind}");
    }
}

/// A transaction of exactly this many bytes.
fn transaction(story: &Story, size: usize) -> Result<SignedTransaction, DecodeError> {
    let value = |length: usize| Bytes::from(vec![7; length]);
    let update = |length| Operation::Update { key: text("k"), value: value(length) };
    let mut operations = vec![update(limits::VALUE), update(limits::VALUE - 1_000), update(0)];
    let content = quorate_chain::transaction::Transaction {
        chain_id: story.chain_id(),
        sender: common::account(0),
        nonce: quorate_chain::ids::Nonce::new(0),
        expires: None,
        approvers: Vec::new(),
        operations: operations.clone(),
    };
    let without = content.message().len() + 64;
    operations[2] = update(size - without);
    let content = quorate_chain::transaction::Transaction { operations, ..content };
    content.sign(&common::client(0))
}

#[test]
fn a_transaction_has_at_most_512_kib() {
    let story = Story::new();
    let largest = transaction(&story, limits::TRANSACTION).unwrap();
    assert_eq!(largest.bytes().len(), limits::TRANSACTION);
    let found = limits::TRANSACTION + 1;
    let expected =
        DecodeError::TooLong { field: "transaction", offset: 0, found, limit: limits::TRANSACTION };
    assert_eq!(transaction(&story, found).unwrap_err(), expected);
}

#[test]
fn a_body_has_at_most_4_mib() {
    let story = Story::new();
    let largest = transaction(&story, limits::TRANSACTION).unwrap();
    // The option's tag and the count of the list take five bytes.
    for (size, fits) in [(limits::TRANSACTION - 5, true), (limits::TRANSACTION - 4, false)] {
        let mut transactions = vec![largest.clone(); 7];
        transactions.push(transaction(&story, size).unwrap());
        let body = Body { item: None, transactions };
        let bytes = body.to_bytes();
        assert_eq!(bytes.len() <= limits::BODY, fits);
        assert_eq!(Body::from_bytes(&bytes).is_ok(), fits);
        let draft = story.draft(BlockKind::Transactions, body, 2);
        let sealed = quorate_chain::block::Block::seal(draft, &common::validator(0));
        assert_eq!(sealed.is_ok(), fits);
    }
}

#[test]
fn no_domain_is_a_prefix_of_another() {
    use quorate_chain::ids::{NodeId, Term};
    use quorate_chain::statement::Statement;
    let (term, tip) = (Term::new(1), quorate_chain::ids::ChainId::ZERO.genesis_ref());
    let (candidate, to) = (NodeId::new(0), NodeId::new(0));
    let statements = [
        Statement::PreVote { term, candidate, tip },
        Statement::Vote { term, candidate, tip },
        Statement::Ack { block: tip },
        Statement::Handover { term, to, tip },
    ];
    let mut domains: Vec<&[u8]> = statements.iter().map(Statement::domain).collect();
    domains.extend([
        quorate_chain::block::DOMAIN,
        quorate_chain::transaction::DOMAIN,
        quorate_chain::roster::CHANGE_DOMAIN,
        quorate_chain::recovery::DOMAIN,
    ]);
    for (at, one) in domains.iter().enumerate() {
        for (other_at, other) in domains.iter().enumerate() {
            assert!(at == other_at || !one.starts_with(other), "{one:?} {other:?}");
        }
    }
}
