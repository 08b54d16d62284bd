//! Harnesses for what only this folder decodes: `cargo test`, or `testnet/fuzz.sh decoders`.

use bytes::Bytes;
use quorate_chain::codec::{Decode as _, Encode as _};
use quorate_chain::crypto::{
    BadSender, BadSignature, Ed25519, SecretKey, SenderSignature, ValidatorKey, Verifier,
};
use quorate_chain::ids::{ChainId, NodeId, Nonce, Signature};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use quorate_replica::io::Input;
use quorate_replica::snapshot::{Ask, Piece};

use super::beat::Beat;
use super::incoming::forwarded;

const CHAIN: ChainId = ChainId::ZERO;

/// Finds every signature good, so that what is behind it is reached.
struct Gullible;

impl Verifier for Gullible {
    fn validator(&self, _: &ValidatorKey, _: &[u8], _: &Signature) -> Result<(), BadSignature> {
        Ok(())
    }

    fn senders(&self, _: &[SenderSignature<'_>]) -> Result<(), BadSender> {
        Ok(())
    }
}

#[test]
fn beat() {
    let key = SecretKey::from_seed(&[1; 32]).validator_key();
    bolero::check!().with_iterations(10_000).with_max_len(1_024).for_each(|bytes: &[u8]| {
        let head = [&b"quorate/1/beat"[..], &CHAIN.to_bytes()].concat();
        let said = Bytes::from([&head[..], bytes].concat());
        let found = Beat::read(&said, CHAIN, &Gullible, |_| Some(key.clone()));
        // What is read as a beat is said in one way only; the signature stands behind it.
        if let Ok(beat) = found {
            assert_eq!(beat.to_bytes()[..], bytes[..bytes.len() - Signature::LENGTH]);
        }
        let _refused = Beat::read(&Bytes::copy_from_slice(bytes), CHAIN, &Gullible, |_| None);
    });
}

fn transaction(value: &[u8]) -> SignedTransaction {
    let secret = SecretKey::from_seed(&[7; 32]);
    let operation =
        Operation::Update { key: Bytes::from_static(b"k"), value: Bytes::copy_from_slice(value) };
    let transaction = Transaction {
        chain_id: CHAIN,
        sender: secret.account_key(),
        nonce: Nonce::new(value.len() as u64),
        expires: None,
        approvers: Vec::new(),
        operations: vec![operation],
    };
    transaction.sign(&secret).expect("it is small")
}

#[test]
fn forwarded_transactions() {
    let (from, good) = (NodeId::new(1), transaction(b"good"));
    bolero::check!().with_iterations(4_000).with_max_len(2_048).for_each(|bytes: &[u8]| {
        let _refused = forwarded(from, Bytes::copy_from_slice(bytes), CHAIN, &Gullible);
        // Behind a good one: all of it is taken, or what is read of it is not more than was sent.
        let body = Bytes::from([&good.bytes()[..], bytes].concat());
        let length = body.len();
        if let Some(input) = forwarded(from, body, CHAIN, &Ed25519) {
            let Input::Forwarded { transactions, .. } = *input else {
                unreachable!("nothing else is made of them")
            };
            assert_eq!(transactions[0].id(), good.id());
            let all: usize = transactions.iter().map(|one| one.bytes().len()).sum();
            assert!(all <= length);
        }
    });
}

#[test]
fn pieces_of_snapshots() {
    bolero::check!().with_iterations(10_000).with_max_len(2_048).for_each(|bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        if let Ok(ask) = Ask::from_bytes(&bytes) {
            assert_eq!(ask.to_bytes(), bytes);
        }
        if let Ok(piece) = Piece::from_bytes(&bytes) {
            assert_eq!(piece.to_bytes(), bytes);
        }
    });
}
