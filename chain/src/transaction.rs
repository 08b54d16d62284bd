//! Signed transactions.
//!
//! A transaction is a list of operations by one sender, all or none of which take effect. Its bytes
//! begin with the domain of its signature, so the message that is signed is a prefix of the
//! transaction itself:
//!
//! ```text
//! "quorate/1/tx" ‖ chain id ‖ sender ‖ nonce ‖ expiry ‖ approvers ‖ operations ‖ signatures
//! └──────────────── what the sender and every approver sign; its hash is the id ┘
//! ```
//!
//! The id is the SHA-256 of the message, so it is known before anybody signs, and no other signature
//! under the same message makes another transaction of it. Another message with the same sender and
//! nonce competes with it, and the first one in the chain wins.
//!
//! Approvers are admins who sign the same message. The message names them, so nobody on the way can
//! take an approval off. Only grants need approvals, and the sender counts as one if it is an admin.
//!
//! Left out: fees, and any order between transactions of one sender beyond the order in the chain.

mod operation;

use std::sync::Arc;

use bytes::Bytes;

use crate::checked::Checked;
use crate::codec::{Decode, DecodeError, Encode, Reader, put_count, put_list, put_option};
use crate::crypto::{
    BadSender, KeyError, Message, SecretKey, SenderSignature, Verifier, check_account_key,
};
use crate::ids::{AccountKey, ChainId, Hash, Height, Nonce, Signature, TxId};
use crate::limits;

pub use operation::Operation;
pub(crate) use operation::decode_key;

/// What a transaction's bytes and its signed message begin with.
pub const DOMAIN: &[u8] = b"quorate/1/tx";

/// What a sender asks for, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The chain it is meant for.
    pub chain_id: ChainId,
    /// Who asks.
    pub sender: AccountKey,
    /// The sender's number for it, used at most once.
    pub nonce: Nonce,
    /// The last height at which it may take effect.
    pub expires: Option<Height>,
    /// The admins who sign it too, sorted, the sender not among them.
    pub approvers: Vec<AccountKey>,
    /// What is to be done, in order.
    pub operations: Vec<Operation>,
}

impl Transaction {
    fn encode_message(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(DOMAIN);
        self.chain_id.encode(out);
        self.sender.encode(out);
        self.nonce.encode(out);
        put_option(out, self.expires.as_ref());
        put_list(out, &self.approvers);
        put_list(out, &self.operations);
    }

    fn decode_message(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let domain = from.array::<{ DOMAIN.len() }>("transaction")?;
        Reader::require(domain == DOMAIN, "transaction", offset, "it begins with quorate/1/tx")?;
        let chain_id = ChainId::decode(from)?;
        let sender = AccountKey::decode(from)?;
        let nonce = Nonce::decode(from)?;
        let expires = from.option("expiry")?;
        let offset = from.offset();
        let approvers: Vec<AccountKey> = from.list("approvers", limits::ADMINS)?;
        let sorted = approvers.is_sorted_by(|a, b| a < b);
        Reader::require(sorted, "approvers", offset, "they are sorted, each once")?;
        let others = !approvers.contains(&sender);
        Reader::require(others, "approvers", offset, "the sender is not among them")?;
        let offset = from.offset();
        let operations: Vec<_> = from.list("operations", limits::OPERATIONS)?;
        let some = !operations.is_empty();
        Reader::require(some, "operations", offset, "a transaction has at least one operation")?;
        Ok(Self { chain_id, sender, nonce, expires, approvers, operations })
    }

    /// The bytes that the sender and every approver sign.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_message(&mut out);
        out
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> TxId {
        TxId::new(*Hash::of(&[&self.message()]).as_bytes())
    }

    /// Puts the sender's signature under it.
    ///
    /// # Errors
    /// If the transaction is not one that the format allows, or names approvers.
    pub fn sign(self, key: &SecretKey) -> Result<SignedTransaction, DecodeError> {
        let signature = key.sign(&self.message());
        self.assemble(signature, &[])
    }

    /// An approver's signature under it.
    #[must_use]
    pub fn approve(&self, key: &SecretKey) -> Approval {
        Approval { admin: key.account_key(), signature: key.sign(&self.message()) }
    }

    /// Joins the signatures, which may have been made far apart, to the bytes that travel. They are
    /// not verified here.
    ///
    /// # Errors
    /// If the transaction is not one that the format allows, or these are not the approvals of its
    /// approvers.
    pub fn assemble(
        &self,
        signature: Signature,
        approvals: &[Approval],
    ) -> Result<SignedTransaction, DecodeError> {
        let mut out = self.message();
        let offset = out.len();
        signature.encode(&mut out);
        for approver in &self.approvers {
            let own = approvals.iter().find(|approval| approval.admin == *approver);
            let rule = "every approver has signed";
            let missing = DecodeError::Invalid { field: "approvals", offset, rule };
            own.ok_or(missing)?.signature.encode(&mut out);
        }
        let all = approvals.len() == self.approvers.len();
        Reader::require(all, "approvals", offset, "they are those of the approvers")?;
        SignedTransaction::from_bytes(&Bytes::from(out))
    }
}

/// An admin's signature under somebody else's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Who approves.
    pub admin: AccountKey,
    /// The signature.
    pub signature: Signature,
}

impl Encode for Approval {
    fn encode(&self, out: &mut Vec<u8>) {
        self.admin.encode(out);
        self.signature.encode(out);
    }
}

impl Decode for Approval {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { admin: AccountKey::decode(from)?, signature: Signature::decode(from)? })
    }
}

/// Reads approvals, which are sorted by admin and name each admin once.
pub(crate) fn decode_approvals(from: &mut Reader) -> Result<Vec<Approval>, DecodeError> {
    let offset = from.offset();
    let approvals: Vec<Approval> = from.list("approvals", limits::ADMINS)?;
    let sorted = approvals.is_sorted_by(|a, b| a.admin < b.admin);
    Reader::require(sorted, "approvals", offset, "they are sorted by admin, each admin once")?;
    Ok(approvals)
}

/// A transaction as it travels and stands in a block. It keeps the bytes it came in, and with them all
/// that they are a part of: see [`SignedTransaction::detached`].
///
/// Invariant: `bytes` is the canonical encoding of `content` and one signature for the sender and each
/// approver, and `id` the SHA-256 of its message.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    bytes: Bytes,
    message_length: usize,
    id: TxId,
    /// Shared: it goes from the mempool into a block, and is forwarded, as often as it takes.
    content: Arc<Transaction>,
}

impl SignedTransaction {
    /// Bytes of the smallest that there can be: it removes a key of one byte.
    pub const SMALLEST: usize = {
        let message = DOMAIN.len() + ChainId::LENGTH + AccountKey::LENGTH + 8 + 1 + 4 + 4;
        message + (1 + 4 + 1) + Signature::LENGTH
    };

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> TxId {
        self.id
    }

    /// Its canonical bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the sender asks for.
    #[must_use]
    pub fn content(&self) -> &Transaction {
        &self.content
    }

    /// How many bytes of memory it leads to: its own bytes and its content, which takes many times as
    /// many when its operations are small. Copies share them.
    #[must_use]
    pub fn held(&self) -> usize {
        let Transaction { approvers, operations, .. } = self.content();
        self.bytes.len()
            + size_of::<Transaction>()
            + approvers.capacity() * size_of::<AccountKey>()
            + operations.capacity() * size_of::<Operation>()
    }

    /// The same with bytes of its own, for whoever keeps it: one that was read out of a larger piece
    /// holds all of that in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        let bytes = Bytes::copy_from_slice(&self.bytes);
        let content = Transaction::decode_message(&mut Reader::new(bytes.clone()));
        let content = Arc::new(content.expect("these bytes have been decoded before"));
        Self { bytes, content, ..*self }
    }

    /// The bytes after the message: the sender's signature, then the approvers'.
    #[must_use]
    pub fn signature_bytes(&self) -> &[u8] {
        &self.bytes[self.message_length..]
    }

    /// The signatures it carries, the sender's first.
    fn signatures(&self) -> impl Iterator<Item = SenderSignature<'_>> {
        let bytes = &self.bytes[..self.message_length];
        let message = Message::hashed(bytes, Hash::new(*self.id.as_bytes()));
        let content = self.content();
        let keys = std::iter::once(content.sender).chain(content.approvers.iter().copied());
        let (signatures, _) = self.signature_bytes().as_chunks::<{ Signature::LENGTH }>();
        keys.zip(signatures).map(move |(key, signature)| SenderSignature {
            key,
            message,
            signature: Signature::new(*signature),
        })
    }

    /// Checks that it is meant for this chain and that every signature on it is good.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(
        self,
        chain_id: ChainId,
        verifier: &dyn Verifier,
    ) -> Result<Checked<Self>, TransactionError> {
        match verify_all(std::slice::from_ref(&self), chain_id, verifier) {
            Ok(()) => Ok(Checked::verified(self)),
            Err(bad) => Err(bad.reason),
        }
    }
}

impl std::fmt::Debug for SignedTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedTransaction")
            .field("id", &self.id)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

impl Encode for SignedTransaction {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
}

impl Decode for SignedTransaction {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let start = from.offset();
        let content = Transaction::decode_message(from)?;
        let message_length = from.offset() - start;
        let id = TxId::new(*Hash::of(&[from.read_since(start)]).as_bytes());
        for _ in 0..=content.approvers.len() {
            Signature::decode(from)?;
        }
        let bytes = from.since(start);
        if bytes.len() > limits::TRANSACTION {
            return Err(DecodeError::TooLong {
                field: "transaction",
                offset: start,
                found: bytes.len(),
                limit: limits::TRANSACTION,
            });
        }
        Ok(Self { bytes, message_length, id, content: Arc::new(content) })
    }
}

impl Checked<SignedTransaction> {
    /// The same with bytes of its own: see [`SignedTransaction::detached`].
    #[must_use]
    pub fn detached(&self) -> Self {
        Self::verified(self.get().detached())
    }
}

/// Why a transaction is not acceptable on a chain, whatever the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// It is meant for another chain.
    #[error("it is meant for chain {found:.16}, this is chain {expected:.16}")]
    WrongChain {
        /// This chain.
        expected: ChainId,
        /// The chain it names.
        found: ChainId,
    },
    /// The sender or an approving admin is not a usable key.
    #[error("{key} is not a usable key: {reason}")]
    BadKey {
        /// The key.
        key: AccountKey,
        /// What is wrong with it.
        reason: KeyError,
    },
    /// A signature does not fit its key and the message.
    #[error("the signature of {key} does not fit")]
    BadSignature {
        /// Whose signature it should be.
        key: AccountKey,
    },
}

/// The first unacceptable transaction of several.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction {index} ({id:.16}): {reason}")]
pub struct BadTransaction {
    /// Its place among them, counted from 0.
    pub index: usize,
    /// Its name.
    pub id: TxId,
    /// What is wrong with it.
    pub reason: TransactionError,
}

/// Checks that all of these are meant for this chain and that every signature on them is good.
///
/// # Errors
/// The first one that is not acceptable, and why. The verdict on each does not depend on the others.
pub fn verify_all(
    transactions: &[SignedTransaction],
    chain_id: ChainId,
    verifier: &dyn Verifier,
) -> Result<(), BadTransaction> {
    let stranger = transactions.iter().position(|tx| tx.content.chain_id != chain_id);
    let before = &transactions[..stranger.unwrap_or(transactions.len())];
    let batch: Vec<_> = before.iter().flat_map(SignedTransaction::signatures).collect();
    verifier
        .senders(&batch)
        .map_err(|BadSender { index }| blame(before, index, batch[index].key))?;
    match stranger {
        None => Ok(()),
        Some(index) => Err(BadTransaction {
            index,
            id: transactions[index].id,
            reason: TransactionError::WrongChain {
                expected: chain_id,
                found: transactions[index].content.chain_id,
            },
        }),
    }
}

/// Checks transactions that have nothing to do with each other: the verdict on each, in order. It costs
/// the least when all of them are good.
pub fn verify_each(
    transactions: Vec<SignedTransaction>,
    chain_id: ChainId,
    verifier: &dyn Verifier,
) -> Vec<Result<Checked<SignedTransaction>, TransactionError>> {
    let good = verify_all(&transactions, chain_id, verifier).is_ok();
    let each = transactions.into_iter().map(|transaction| match good {
        true => Ok(Checked::verified(transaction)),
        // One by one: a batch for each bad one would let a stranger make the work grow with its square.
        false => transaction.verify(chain_id, verifier),
    });
    each.collect()
}

/// Finds the transaction to which the signature at `position` of the batch belongs.
fn blame(transactions: &[SignedTransaction], position: usize, key: AccountKey) -> BadTransaction {
    let mut signatures = 0;
    let index = transactions
        .iter()
        .position(|tx| {
            signatures += 1 + tx.content.approvers.len();
            signatures > position
        })
        .expect("the verifier names a signature of the batch it was given");
    let reason = match check_account_key(&key) {
        Ok(()) => TransactionError::BadSignature { key },
        Err(reason) => TransactionError::BadKey { key, reason },
    };
    BadTransaction { index, id: transactions[index].id, reason }
}

/// Appends transactions as a list.
pub(crate) fn put_transactions(out: &mut Vec<u8>, transactions: &[SignedTransaction]) {
    put_count(out, transactions.len());
    for transaction in transactions {
        out.extend_from_slice(&transaction.bytes);
    }
}
