//! What waits is bounded by memory, and holds no more than it is.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use quorate_chain::codec::{Decode, Reader};
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{BlockHash, ChainId, Term};
use quorate_chain::limits;
use quorate_chain::transaction::{Operation, Transaction};

use super::*;

/// A sender of whom nothing is known.
pub(super) fn known() -> Known {
    Known { nonces: Nonces::default(), has_a_say: true }
}

pub(super) fn mempool(memory: usize) -> Mempool {
    Mempool::new(Room { transactions: 10_000, memory, sender: 10_000 })
}

fn signed_at(sender: u16, nonce: Nonce) -> Checked<SignedTransaction> {
    with(sender, nonce, vec![Operation::Remove { key: "k".into() }])
}

fn signed(sender: u16, operations: Vec<Operation>) -> Checked<SignedTransaction> {
    with(sender, Nonce::ZERO, operations)
}

fn with(sender: u16, nonce: Nonce, operations: Vec<Operation>) -> Checked<SignedTransaction> {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&sender.to_be_bytes());
    let key = SecretKey::from_seed(&seed);
    let transaction = Transaction {
        chain_id: ChainId::new([1; 32]),
        sender: key.account_key(),
        nonce,
        expires: None,
        approvers: Vec::new(),
        operations,
    };
    Checked::vouch(transaction.sign(&key).unwrap())
}

/// A transaction of a sender that travels in so many bytes.
pub(super) fn transaction(sender: u16, size: usize) -> Checked<SignedTransaction> {
    // A value takes the bytes of its length, too.
    let value = vec![1; size - SignedTransaction::SMALLEST - 4].into();
    let signed = signed(sender, vec![Operation::Update { key: "k".into(), value }]);
    assert_eq!(signed.bytes().len(), size);
    signed
}

#[test]
fn a_mempool_is_bounded_by_what_it_takes_in_memory() {
    const MEMORY: usize = 1 << 20;
    let mut mempool = mempool(MEMORY);
    let remove = Operation::Remove { key: Bytes::from_static(b"k") };
    let all: Vec<_> =
        (0..2_000).map(|sender| signed(sender, vec![remove.clone(); limits::OPERATIONS])).collect();
    let travels: usize = all.iter().map(|it| it.bytes().len()).sum();
    assert!(travels < 2 * MEMORY, "by what travels, half of them would fit");
    let taken = all.into_iter().take_while(|it| {
        mempool.take(it.clone(), known(), Height::ZERO, None) != Err(Refusal::Full)
    });
    let taken: Vec<_> = taken.collect();
    mempool.check();
    let operations = limits::OPERATIONS * size_of::<Operation>();
    let least = operations + size_of::<SignedTransaction>() + size_of::<Transaction>();
    let memory: usize = taken.iter().map(|it| least + it.bytes().len()).sum();
    assert!(memory <= MEMORY, "{} of them take {memory}", taken.len());
    assert!(memory >= MEMORY / 2, "and there is room for what the bound says: {memory}");
}

#[test]
fn what_is_kept_lets_go_of_the_message_it_came_in() {
    let frame: Vec<u8> = (0..50).flat_map(|it| transaction(it, 300).bytes().to_vec()).collect();
    let frame = Bytes::from(frame);
    let mut reader = Reader::new(frame.clone());
    let mut mempool = mempool(1 << 20);
    for _ in 0..50 {
        let transaction = Checked::vouch(SignedTransaction::decode(&mut reader).unwrap());
        mempool.take(transaction, known(), Height::ZERO, None).unwrap();
    }
    drop(reader);
    assert!(frame.is_unique());
    let batch = mempool.batch(Height::new(1), 10, 10_000);
    let kept = mempool.offered(batch[0].id()).unwrap();
    assert!(std::ptr::eq(batch[0].content(), kept.content()), "a block shares what waits");
}

#[test]
fn whose_nonce_is_used_while_nothing_of_it_waits_cannot_use_it_again() {
    let mut mempool = mempool(1 << 20);
    let (first, second) = (transaction(1, 300), transaction(1, 400));
    let account = first.content().sender;
    let block = |height| BlockRef {
        term: Term::new(1),
        height: Height::new(height),
        hash: BlockHash::new([0; 32]),
    };
    let applied = |mempool: &mut Mempool, height, transaction: &Checked<SignedTransaction>| {
        mempool.lifted(transaction.id());
        mempool.flight.push(Height::new(height), vec![transaction.get().clone()]);
        let outcome = Outcome { tx: transaction.id(), status: Status::Applied };
        mempool.applied(block(height), &[outcome]);
        mempool.check();
    };
    mempool.take(first.clone(), known(), Height::ZERO, None).unwrap();
    applied(&mut mempool, 1, &first);
    let nonces = mempool.nonces(account).expect("it is remembered");
    assert_eq!(nonces.check(Nonce::ZERO), Err(NonceError::Used));
    // What others have sent comes by way of a block alone.
    let other = signed_at(1, Nonce::new(5));
    applied(&mut mempool, 2, &other);
    let nonces = mempool.nonces(account).expect("it is remembered");
    assert_eq!(nonces.check(Nonce::new(5)), Err(NonceError::Used));
    // Whoever asks the store finds what it was some time ago.
    let taken = mempool.take(second, known(), Height::new(2), None);
    assert_eq!(taken, Err(Refusal::NonceUsed));
    mempool.begin_anew();
    assert!(mempool.nonces(account).is_none(), "the state is another one");
}
