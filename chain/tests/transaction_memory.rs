//! What a transaction costs in memory, which is not what it costs on the wire.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{World, client, update};
use quorate_chain::block::{BlockKind, Body};
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, Reader};
use quorate_chain::ids::Nonce;
use quorate_chain::limits;
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};

fn removals(count: usize) -> SignedTransaction {
    let key = Bytes::from_static(b"k");
    Transaction {
        chain_id: World::new(1).chain_id,
        sender: client(1).account_key(),
        nonce: Nonce::ZERO,
        expires: None,
        approvers: Vec::new(),
        operations: vec![Operation::Remove { key }; count],
    }
    .sign(&client(1))
    .unwrap()
}

#[test]
fn small_operations_hold_many_times_the_bytes_that_they_travel_in() {
    let one = removals(1);
    assert_eq!(one.bytes().len(), SignedTransaction::SMALLEST);
    let many = removals(limits::OPERATIONS);
    let operations = limits::OPERATIONS * size_of::<Operation>();
    assert!(many.held() >= many.bytes().len() + operations, "{}", many.held());
    assert!(many.held() > 12 * many.bytes().len(), "that is what the bound is for");
    assert!(many.held() < many.bytes().len() + operations + 1_024, "and no more than it has");
}

#[test]
fn one_that_is_detached_lets_go_of_what_it_came_in() {
    let chain_id = World::new(1).chain_id;
    let own: Vec<_> = (0..4).map(|nonce| update(chain_id, 1, nonce, "key", "value")).collect();
    let frame: Vec<u8> = own.iter().flat_map(|own| own.bytes().to_vec()).collect();
    let frame = Bytes::from(frame);
    let read = SignedTransaction::decode(&mut Reader::new(frame.clone())).unwrap();
    assert!(!frame.is_unique(), "it holds all that it was read out of");
    let kept = Checked::vouch(read).detached();
    assert!(frame.is_unique(), "and now it does not");
    assert_eq!(kept.get(), &own[0]);
    assert_eq!(kept.content(), own[0].content());
    assert_eq!((kept.id(), kept.signature_bytes()), (own[0].id(), own[0].signature_bytes()));
}

#[test]
fn a_copy_and_the_block_it_is_sealed_into_share_the_content() {
    let mut chain = World::new(1);
    chain.open(1, 0, &[0]);
    let transaction = update(chain.chain_id, 1, 0, "key", "value");
    assert!(std::ptr::eq(transaction.clone().content(), transaction.content()));
    let body = Body { item: None, transactions: vec![transaction.clone()] };
    let block = chain.seal(chain.draft(BlockKind::Transactions, body));
    assert!(std::ptr::eq(block.body().transactions[0].content(), transaction.content()));
}
