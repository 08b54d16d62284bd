//! Every record and message, byte for byte.
//!
//! The fixtures stand in `consensus/tests/golden`; how they are written is said in
//! `chain/tests/fixtures`. What is in a log must be readable by the next version, and validators of
//! two versions talk to each other while a group is upgraded: a change of a fixture breaks both.
//!
//! After a change that is meant, write them anew and look at what it did to them:
//!
//! ```text
//! QUORATE_BLESS=1 cargo test -p quorate-consensus --test golden && git diff consensus/tests/golden
//! ```
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../chain/tests/common/mod.rs"]
mod common;
#[path = "../../../chain/tests/fixtures/mod.rs"]
mod fixtures;
#[allow(dead_code)]
#[path = "../../../chain/tests/golden/layout.rs"]
mod layout;
#[path = "../samples/mod.rs"]
mod samples;
mod shape;

use std::fmt::Write as _;
use std::{env, fs};

use bytes::Bytes;
use layout::{Layout, Sheet};
use quorate_chain::block::BlockError;
use quorate_chain::codec::{Decode, DecodeError, Encode};
use quorate_chain::crypto::Ed25519;
use quorate_chain::ids::{ChainId, Term};
use quorate_consensus::codec::{Incoming, Written};
use quorate_consensus::effect::Record;
use quorate_consensus::message::Message;

/// The fixtures of one type as this program makes them.
fn text(kind: &str, layout: Layout, made: &[(&str, Bytes)]) -> String {
    let mut text = format!("# {kind}\n");
    for (name, bytes) in made {
        write!(text, "\n[{name}]\n{}", Sheet::write(bytes, layout)).unwrap();
    }
    text
}

/// Compares what is made with what is stored, and stores it if that is asked for.
fn compare(kind: &str, layout: Layout, made: &[(&str, Bytes)]) {
    let path = fixtures::folder().join(kind).with_extension("hex");
    let text = text(kind, layout, made);
    if env::var_os("QUORATE_BLESS").is_some() {
        fs::write(path, text).unwrap();
        return;
    }
    for (name, bytes) in made {
        let stored = fixtures::read(kind).into_iter().find(|fixture| fixture.name == *name);
        let same = stored.is_some_and(|fixture| fixture.bytes == *bytes);
        assert!(same, "{kind} {name} is now\n{}", Sheet::write(bytes, layout));
    }
    assert!(fs::read_to_string(path).unwrap() == text, "{kind}: names, or one too many");
}

/// Every fixture of a type decodes, to what encodes as it stands there.
fn reread<T: Decode + Encode>(kind: &str) {
    for fixture in fixtures::read(kind) {
        let again = T::from_bytes(&fixture.bytes).map(|value| value.to_bytes());
        assert_eq!(again, Ok(fixture.bytes), "{kind} {}", fixture.name);
    }
}

#[test]
fn every_record_is_encoded_as_it_was() {
    let encode = |(name, record): (&'static str, Record)| (name, record.to_bytes());
    let made: Vec<_> = samples::records().into_iter().map(encode).collect();
    compare("record", shape::record, &made);
    reread::<Written>("record");
}

#[test]
fn a_record_comes_back_as_what_it_was() {
    for (name, record) in samples::records() {
        let written = Written::from_bytes(&record.to_bytes()).unwrap();
        match (record, written) {
            (Record::Ballot(ballot), Written::Ballot { term, proof, choice, recovering }) => {
                let shown = ballot.proof.map(|proof| proof.to_proof());
                let ours = (ballot.term, shown, ballot.choice, ballot.recovering);
                assert_eq!(ours, (term, proof, choice, recovering), "{name}");
            }
            (Record::Certificate(certificate), Written::Certificate(read)) => {
                assert_eq!(*certificate, read, "{name}");
            }
            (Record::Branch { above, blocks }, Written::Branch { above: stood, blocks: read }) => {
                let blocks: Vec<_> = blocks.into_iter().map(|block| block.into_inner()).collect();
                assert_eq!((above, blocks), (stood, read), "{name}");
            }
            (record, written) => panic!("{name}: {record:?} came back as {written:?}"),
        }
    }
}

#[test]
fn a_ballot_is_the_record_that_keeps_it() {
    for (name, record) in samples::records() {
        let bytes = record.to_bytes();
        if let Record::Ballot(ballot) = record {
            assert_eq!(ballot.to_bytes(), bytes, "{name}");
        }
    }
}

#[test]
fn every_message_is_encoded_as_it_was() {
    let encode = |(name, message): (&'static str, Message)| (name, message.to_bytes());
    let made: Vec<_> = samples::messages(&samples::world()).into_iter().map(encode).collect();
    compare("message", shape::message, &made);
    reread::<Incoming>("message");
}

#[test]
fn a_message_whose_blocks_are_good_comes_back_as_what_it_was() {
    let world = samples::world();
    for (name, message) in samples::messages(&world) {
        let incoming = Incoming::from_bytes(&message.to_bytes()).unwrap();
        assert_eq!(incoming.verify(world.chain_id, &Ed25519), Ok(message), "{name}");
    }
}

#[test]
fn a_message_with_a_bad_block_does_not_get_in() {
    let world = samples::world();
    for (name, message) in samples::messages(&world) {
        let mut bytes = message.to_bytes().to_vec();
        // The value of the transaction in the second block, which its signature covers.
        let Some(at) = bytes.windows(5).position(|window| window == b"value") else { continue };
        bytes[at] ^= 1;
        let incoming = Incoming::from_bytes(&Bytes::from(bytes)).unwrap();
        assert_eq!(incoming.blocks().len(), 2, "{name}");
        let refused = incoming.verify(world.chain_id, &Ed25519);
        assert!(matches!(refused, Err(BlockError::BodyRoot { .. })), "{name}: {refused:?}");
    }
}

#[test]
fn a_message_with_blocks_of_another_chain_does_not_get_in() {
    let world = samples::world();
    let other = ChainId::new([9; 32]);
    let mut refused = 0;
    for (name, message) in samples::messages(&world) {
        let incoming = Incoming::from_bytes(&message.to_bytes()).unwrap();
        let brings = !incoming.blocks().is_empty();
        assert_eq!(incoming.verify(other, &Ed25519).is_err(), brings, "{name}");
        refused += usize::from(brings);
    }
    assert_eq!(refused, 2);
}

/// Overwrites the first place where `old` stands, and decodes.
fn decode_with(record: &Record, old: &[u8], new: &[u8]) -> Result<Written, DecodeError> {
    let mut bytes = record.to_bytes().to_vec();
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    bytes[at..at + old.len()].copy_from_slice(new);
    Written::from_bytes(&Bytes::from(bytes))
}

#[test]
fn a_ballot_whose_proof_is_not_of_its_term_is_refused() {
    for (name, record) in samples::records() {
        let Record::Ballot(ballot) = &record else { continue };
        let (term, other) = (ballot.term.to_bytes(), Term::new(9).to_bytes());
        let refused = decode_with(&record, &term, &other).unwrap_err();
        assert!(matches!(refused, DecodeError::Invalid { field: "term", .. }), "{name}: {refused}");
    }
}

#[test]
fn a_proof_that_brings_another_roster_is_refused() {
    let (_, record) =
        samples::records().into_iter().find(|(name, _)| *name == "ballot-open").unwrap();
    let refused = decode_with(&record, b"node0", b"nodeX").unwrap_err();
    assert!(matches!(refused, DecodeError::Invalid { field: "roster", .. }), "{refused}");
}
