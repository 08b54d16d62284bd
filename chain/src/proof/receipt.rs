//! Receipts: one file that proves what became of a transaction, or what a key had.

use crate::block::{Header, transaction_leaf};
use crate::certificate::CertificatePath;
use crate::codec::{Decode, DecodeError, Encode, Reader, put_list, put_option};
use crate::commitment::{EntryProof, EntryProofError, state_root};
use crate::crypto::Verifier;
use crate::ids::{BlockRef, Hash, Height, StateRoot, Term};
use crate::limits;
use crate::merkle::{InclusionError, InclusionProof};
use crate::outcome::{self, Outcome};
use crate::proof::{Trust, TrustError};
use crate::state::{StateEntry, StateKey};
use crate::transaction::SignedTransaction;

/// Proof that a transaction stands in a committed block and, as soon as a committed header names the
/// state of that block or a later one, of its outcome.
///
/// A void outcome speaks of this place alone: the same transaction may have been applied at another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction.
    pub transaction: SignedTransaction,
    /// The header of the block that holds it.
    pub header: Header,
    /// Its place in the body.
    pub inclusion: InclusionProof,
    /// What became of it.
    pub outcome: Option<OutcomeProof>,
    /// Proof that the block is committed.
    pub path: CertificatePath,
}

/// Proof of an outcome, against the state root of a header above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeProof {
    /// The outcome.
    pub outcome: Outcome,
    /// Its place among the outcomes of its block.
    pub inclusion: InclusionProof,
    /// The link of the outcomes below that block.
    pub below: Hash,
    /// The roots of the outcomes of the blocks above it, up to the one whose state a header names.
    pub above: Vec<Hash>,
    /// The root of the entries at that height.
    pub entries: Hash,
}

impl Receipt {
    /// Checks all of it. The transaction's signature was checked by every validator that acked the
    /// block, and is not checked again.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self, trust: &mut Trust, verifier: &dyn Verifier) -> Result<(), ReceiptError> {
        trust.check_path(self.header.block_ref(), &self.path, verifier)?;
        // The item of an opening block is a leaf before the transactions.
        let items = u64::from(self.header.kind.begins_term());
        let count = items + u64::from(self.header.transactions);
        let leaf = transaction_leaf(&self.transaction);
        self.inclusion.verify(leaf, count, Hash::new(*self.header.body_root.as_bytes()))?;
        match &self.outcome {
            None => Ok(()),
            Some(proof) => self.check_outcome(proof, items),
        }
    }

    fn check_outcome(&self, proof: &OutcomeProof, items: u64) -> Result<(), ReceiptError> {
        if proof.outcome.tx != self.transaction.id() {
            return Err(ReceiptError::OtherTransaction);
        }
        let count = u64::from(self.header.transactions);
        let place = self.inclusion.index.checked_sub(items);
        if place != Some(proof.inclusion.index) || proof.inclusion.count != count {
            return Err(ReceiptError::OtherPlace);
        }
        let root = proof.inclusion.root(proof.outcome.leaf())?;
        let roots = std::iter::once(&root).chain(&proof.above);
        let link = roots.fold(proof.below, |below, root| outcome::link(below, *root));
        let height = self.header.height.get().saturating_add(proof.above.len() as u64);
        find_root(&self.header, &self.path, Height::new(height), state_root(proof.entries, link))
    }
}

/// Finds a header, from `first` up to the certified one, that names this state and whose word for it
/// counts.
fn find_root(
    first: &Header,
    path: &CertificatePath,
    height: Height,
    root: StateRoot,
) -> Result<(), ReceiptError> {
    let headers = || std::iter::once(first).chain(&path.headers);
    let mut naming = headers().filter(|header| header.executed == height);
    let Some(oldest) = naming.clone().next() else {
        return Err(ReceiptError::NotNamed { height });
    };
    match naming.find(|header| check_compared(header, path).is_ok()) {
        None => check_compared(oldest, path),
        Some(header) if header.state_root != root => {
            Err(ReceiptError::Root { height, named: header.state_root, found: root })
        }
        Some(_) => Ok(()),
    }
}

/// Checks that the quorum that certified the path has compared the state that this header names.
///
/// A validator compares it before it acks the header's block, and it acks the blocks of a term in
/// order. A block of an older term it may have taken from whoever led, covered by the first of its
/// own term that it acks: what that one says of the state is the word of its proposer alone.
fn check_compared(header: &Header, path: &CertificatePath) -> Result<(), ReceiptError> {
    let certified = path.certificate.block();
    if header.term == certified.term {
        return Ok(());
    }
    let Header { height, term, .. } = *header;
    Err(ReceiptError::NotCompared { height, term, certified })
}

/// Proof of what a key had at the height that a committed header names. The certified block must be
/// of that header's term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateReceipt {
    /// The key.
    pub key: StateKey,
    /// What it had; `None` for nothing.
    pub entry: Option<StateEntry>,
    /// Its place in the state, or its absence.
    pub proof: EntryProof,
    /// The header that names the state.
    pub header: Header,
    /// Proof that this header's block is committed.
    pub path: CertificatePath,
}

impl StateReceipt {
    /// Checks all of it. Returns the height at which the key had that.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(
        &self,
        trust: &mut Trust,
        verifier: &dyn Verifier,
    ) -> Result<Height, ReceiptError> {
        trust.check_path(self.header.block_ref(), &self.path, verifier)?;
        check_compared(&self.header, &self.path)?;
        self.proof.check(self.header.state_root, &self.key, self.entry.as_ref())?;
        Ok(self.header.executed)
    }
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Its block is not shown to be committed.
    #[error("its block: {0}")]
    Trust(#[from] TrustError),
    /// It is not shown to stand in that block, or its outcome among the block's.
    #[error("its place: {0}")]
    Inclusion(#[from] InclusionError),
    /// The outcome is that of another transaction.
    #[error("the outcome is that of another transaction")]
    OtherTransaction,
    /// The outcome stands at another place than the transaction.
    #[error("the outcome stands at another place than the transaction")]
    OtherPlace,
    /// No header shown names the state at that height.
    #[error("no header shown names the state at height {height}")]
    NotNamed {
        /// The height.
        height: Height,
    },
    /// The header that names the state is of an older term than the certified block: nobody who
    /// certified that one need have compared it.
    #[error(
        "the header at height {height} names the state in term {term}, certified is {certified}"
    )]
    NotCompared {
        /// The height of the header.
        height: Height,
        /// Its term.
        term: Term,
        /// The certified block.
        certified: BlockRef,
    },
    /// The header names another state.
    #[error("the state at height {height} is {named:.16}, the receipt leads to {found:.16}")]
    Root {
        /// The height.
        height: Height,
        /// What the header names.
        named: StateRoot,
        /// What the receipt leads to.
        found: StateRoot,
    },
    /// The entry is not shown to be in that state.
    #[error("its entry: {0}")]
    Entry(#[from] EntryProofError),
}

impl Encode for OutcomeProof {
    fn encode(&self, out: &mut Vec<u8>) {
        self.outcome.encode(out);
        self.inclusion.encode(out);
        self.below.encode(out);
        put_list(out, &self.above);
        self.entries.encode(out);
    }
}

impl Decode for OutcomeProof {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            outcome: Outcome::decode(from)?,
            inclusion: InclusionProof::decode(from)?,
            below: Hash::decode(from)?,
            above: from.list("outcomes above", limits::PATH)?,
            entries: Hash::decode(from)?,
        })
    }
}

impl Encode for Receipt {
    fn encode(&self, out: &mut Vec<u8>) {
        self.transaction.encode(out);
        self.header.encode(out);
        self.inclusion.encode(out);
        put_option(out, self.outcome.as_ref());
        self.path.encode(out);
    }
}

impl Decode for Receipt {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            transaction: SignedTransaction::decode(from)?,
            header: Header::decode(from)?,
            inclusion: InclusionProof::decode(from)?,
            outcome: from.option("outcome")?,
            path: CertificatePath::decode(from)?,
        })
    }
}

impl Encode for StateReceipt {
    fn encode(&self, out: &mut Vec<u8>) {
        self.key.encode(out);
        put_option(out, self.entry.as_ref());
        self.proof.encode(out);
        self.header.encode(out);
        self.path.encode(out);
    }
}

impl Decode for StateReceipt {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            key: StateKey::decode(from)?,
            entry: from.option("entry")?,
            proof: EntryProof::decode(from)?,
            header: Header::decode(from)?,
            path: CertificatePath::decode(from)?,
        })
    }
}
