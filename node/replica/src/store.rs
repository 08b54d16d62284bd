//! The seam between a replica and what it keeps besides its log.
//!
//! One writer, many readers. What a store promises:
//!
//! 1. [`Store::apply_from`] is one transaction: after a crash all of a batch is there or nothing of it, and
//!    of several batches none without those before it.
//! 2. A reader sees a batch whole or not at all, and as soon as `apply_from` has returned.
//! 3. After a power cut, or the end of the process, at least what the last [`Store::checkpoint`] covered is there, and what the last
//!    [`Store::begin_checkpoint`] did once [`Store::is_safe`] has said so. What
//!    came after it may be gone, newest first: the log has it, because it is pruned only below a checkpoint.
//!
//! **Rosters.** The steps from each roster to the next are kept for ever, beyond pruning and the installation of
//! a state: who comes from an old roster is led by them to the one of now.
//!
//! **Old blocks.** A store that prunes ([`Store::prune`]) keeps of a block the header, the outcomes of its
//! transactions and what they wrote; and it keeps whole, for ever, every block with an item: who could
//! seal and who could vote is proven by them.
//!
//! [`suite`] has the tests that every implementation must pass.

mod memory;
pub mod suite;

use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::block::{Block, SignedHeader};
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::crypto::ValidatorKey;
use quorate_chain::evidence::Evidence;
use quorate_chain::execute::Write;
use quorate_chain::ids::{BlockHash, BlockRef, Hash, Height, StateRoot, TxId};
use quorate_chain::outcome::Outcome;
use quorate_chain::proof::RosterStep;
use quorate_chain::roster::Roster;
use quorate_chain::state::{Changes, StateEntry, StateKey, StateRead, Value};
use quorate_chain::state_root::{self, Leaf, Leaves, StateSize};
use quorate_consensus::judge::Proven;
use quorate_consensus::log::Anchor;

pub use memory::{MemoryError, MemoryReader, MemoryStore};

/// Where a store stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The applied tip; the genesis at first.
    pub applied: Anchor,
    /// The state there.
    pub state_root: StateRoot,
    /// How many entries that is, with what proves it; not known in what an older version has written.
    pub size: Option<StateSize>,
    /// The newest link of the outcomes.
    pub outcomes: Hash,
    /// The newest commit certificate, for the applied tip or a descendant.
    pub certificate: Option<Checked<Certificate>>,
    /// What a snapshot took the place of, and by which right, until the block that it came with a certificate
    /// for is applied.
    pub replaced: Option<Replaced>,
}

impl Standing {
    /// The commit certificates that a validator must know after a crash: the newest one, and the one that came
    /// with a snapshot.
    pub fn certificates(&self) -> impl Iterator<Item = &Checked<Certificate>> {
        let brought = self.replaced.iter().map(|replaced| &replaced.proof.certificate);
        self.certificate.iter().chain(brought)
    }
}

/// What a snapshot took the place of. Until the log has been begun anew it is only as long as this says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The applied tip before. As soon as something is applied above the snapshot, the log has been begun anew
    /// and is as long as the store: then it is the applied tip itself.
    pub applied: BlockRef,
    /// The certificate that came with the snapshot, with its roster. A ballot may rest on it, and promises do
    /// that the log does not have any more: they are kept as long as it is known.
    pub proof: Proven,
}

impl Replaced {
    /// What is left of it when a block above the snapshot is applied.
    pub(crate) fn above(self, applied: BlockRef) -> Option<Self> {
        let certified = self.proof.certificate.block().height;
        (certified > applied.height).then_some(Self { applied, ..self })
    }
}

/// What a store takes over with a snapshot, besides the entries that were staged.
#[derive(Clone, Debug)]
pub struct Install {
    /// Where the store stands then.
    pub standing: Standing,
    /// The header of the block that it stands on.
    pub header: SignedHeader,
    /// Whether the state is frozen for others, too: blocks below it are not there for them.
    pub frozen: bool,
    /// The steps from one roster to the next that lead to it, from where the store stands now.
    pub steps: Vec<RosterStep>,
}

/// Entries of a state, ascending by path.
pub type Entries = Vec<(StateKey, StateEntry)>;

/// A block that was applied, and what came of it.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The block.
    pub block: Checked<Block>,
    /// The roster in force at it, if it is the first under that roster.
    pub roster: Option<Arc<Roster>>,
    /// What became of its transactions, in order.
    pub outcomes: Vec<Outcome>,
    /// Every value that it wrote, in order.
    pub writes: Vec<Write>,
    /// The state after it.
    pub state_root: StateRoot,
}

/// Everything that one transaction of the store takes over.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The blocks, in order, the first one right above the applied tip.
    pub blocks: Vec<Executed>,
    /// What they make of the entries of the state, all of them together.
    pub changes: Changes,
    /// What that means to the leaves of the state.
    pub leaves: state_root::Changes,
    /// The steps from one roster to the next that they complete.
    pub steps: Vec<RosterStep>,
    /// Where the store stands after them.
    pub standing: Standing,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The block.
    pub block: BlockRef,
    /// Its place in the block.
    pub index: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// Blocks in order, up to one that has a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The block that the first one stands on.
    pub parent: BlockRef,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// The certificate for the last of them.
    pub certificate: Certificate,
}

/// A value that a key had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The height of the block that wrote it.
    pub height: Height,
    /// The transaction's place in the block.
    pub index: u32,
    /// The operation's place in the transaction.
    pub operation: u8,
    /// The transaction.
    pub tx: TxId,
    /// The value; `None` if it was removed.
    pub value: Option<Bytes>,
}

/// Evidence that was kept, and the key that it convicts. It was verified before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convicted {
    /// The key that made every signature in it.
    pub key: ValidatorKey,
    /// What convicts it.
    pub evidence: Evidence,
}

/// Most evidence that is kept against one key: more says nothing new.
pub const EVIDENCE: usize = 64;

/// What is asked of a store, by any number of readers.
pub trait StoreReader:
    Clone + Send + StateRead + Leaves<Error = <Self as StateRead>::Error>
{
    /// Where the store stands; `None` before [`Store::begin`].
    ///
    /// # Errors
    /// If the store cannot be read; so with all that follow.
    fn standing(&self) -> Result<Option<Standing>, <Self as StateRead>::Error>;

    /// The applied height; zero before [`Store::begin`].
    fn applied(&self) -> Result<Height, <Self as StateRead>::Error> {
        let standing = self.standing()?;
        Ok(standing.map_or(Height::ZERO, |standing| standing.applied.block.height))
    }

    /// The block at a height, if it is kept whole: from [`StoreReader::oldest`] on every one is, and of
    /// those below it the ones with an item.
    fn block(&self, height: Height) -> Result<Option<Block>, <Self as StateRead>::Error>;

    /// The header of the block at a height.
    fn header(&self, height: Height) -> Result<Option<SignedHeader>, <Self as StateRead>::Error>;

    /// The height of the block with this hash.
    fn height_of(&self, hash: BlockHash) -> Result<Option<Height>, <Self as StateRead>::Error>;

    /// The lowest height from which on every block is kept whole; `None` if none is.
    fn oldest(&self) -> Result<Option<Height>, <Self as StateRead>::Error>;

    /// Blocks from a height on: about so many bytes of them, and no more than [`RANGE`](quorate_consensus::codec::RANGE), but on to the first one with a
    /// certificate if that takes more. `None` if the first one, or a certified one above it, is not kept.
    fn range(
        &self,
        from: Height,
        bytes: usize,
    ) -> Result<Option<Range>, <Self as StateRead>::Error>;

    /// The lowest certificate at a height or above it.
    fn certificate(&self, from: Height) -> Result<Option<Certificate>, <Self as StateRead>::Error>;

    /// Where the transaction with this id stands, to effect or failed. One that was void does not count:
    /// it may still come to stand elsewhere.
    fn place(&self, tx: TxId) -> Result<Option<Place>, <Self as StateRead>::Error>;

    /// The outcomes of the block at a height.
    fn outcomes(&self, height: Height) -> Result<Option<Vec<Outcome>>, <Self as StateRead>::Error>;

    /// The state after the block at a height.
    fn state_root(&self, height: Height) -> Result<Option<StateRoot>, <Self as StateRead>::Error>;

    /// The states after the blocks below a height, newest first, at most so many: all of them without a gap
    /// that are known.
    fn earlier_roots(
        &self,
        below: Height,
        most: usize,
    ) -> Result<Vec<(Height, StateRoot)>, <Self as StateRead>::Error>;

    /// The roster in force at a height, and its first height.
    fn roster(
        &self,
        height: Height,
    ) -> Result<Option<(Height, Arc<Roster>)>, <Self as StateRead>::Error>;

    /// The leaves of the state whose paths are above one, ascending, at most so many.
    fn leaves_after(
        &self,
        after: Option<Hash>,
        limit: usize,
    ) -> Result<Vec<Leaf>, <Self as StateRead>::Error>;

    /// The values of keys that begin with a prefix and stand after a key, in order, at most so many.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Value)>, <Self as StateRead>::Error>;

    /// What a key has been, newest first, strictly before a place in the chain if one is given, at most
    /// so many.
    fn history(
        &self,
        key: &[u8],
        before: Option<(Height, u32, u8)>,
        limit: usize,
    ) -> Result<Vec<Version>, <Self as StateRead>::Error>;

    /// The steps from one roster to the next that were entered above a height, ascending: at least one if there
    /// is one, about so many bytes.
    fn roster_steps(
        &self,
        above: Height,
        bytes: usize,
    ) -> Result<Vec<RosterStep>, <Self as StateRead>::Error>;

    /// Who is convicted by what, in the order in which it was kept.
    fn convicted(&self) -> Result<Vec<Convicted>, <Self as StateRead>::Error>;

    /// Where the store stood when its state was frozen, newest first. A store that cannot freeze has
    /// none.
    fn frozen(&self) -> Result<Vec<Standing>, <Self as StateRead>::Error> {
        Ok(Vec::new())
    }

    /// The entries of the state that was frozen at a height, ascending by path from above one on: at
    /// least one, about so many bytes. `None` if no such state is kept.
    fn frozen_entries(
        &self,
        _height: Height,
        _after: Option<Hash>,
        _bytes: usize,
    ) -> Result<Option<Entries>, <Self as StateRead>::Error> {
        Ok(None)
    }

    /// The leaves of the entries that were staged, like [`StoreReader::leaves_after`].
    fn staged_leaves(
        &self,
        _after: Option<Hash>,
        _limit: usize,
    ) -> Result<Vec<Leaf>, <Self as StateRead>::Error> {
        Ok(Vec::new())
    }
}

/// The state as the writer of a store has it, and its leaves.
pub trait State<E>: StateRead<Error = E> + Leaves<Error = E> {}

impl<E, S: StateRead<Error = E> + Leaves<Error = E>> State<E> for S {}

/// The writer of a store.
pub trait Store {
    /// Why it could not do what was asked: the disk, never the question.
    type Error: std::error::Error + Send + Sync + 'static;
    /// What reads it.
    type Reader: StoreReader + StateRead<Error = Self::Error> + Leaves<Error = Self::Error>;

    /// A reader.
    fn reader(&self) -> Self::Reader;

    /// Begins an empty store: at the genesis, with the state there.
    ///
    /// # Errors
    /// If the store cannot be written; so with all that follow.
    fn begin(&mut self, standing: Standing, changes: &Changes) -> Result<(), Self::Error>;

    /// Takes over a batch that is made of the state as it is. In one transaction: what it takes to make it is read
    /// on the way to writing it, without the detour over a reader. If none can be made nothing of it is taken over, and
    /// what would not survive a power cut may be gone.
    fn apply_from<E: From<Self::Error>>(
        &mut self,
        make: impl FnOnce(&dyn State<Self::Error>) -> Result<Batch, E>,
    ) -> Result<(), E>;

    /// Takes over a batch, in one transaction.
    fn apply(&mut self, batch: Batch) -> Result<(), Self::Error> {
        self.apply_from(|_| Ok(batch))
    }

    /// Nothing waits for the next batch at the moment: what was taken over may be written, if there is enough of it.
    fn pause(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// There is nothing to do: what was taken over and is still on its way is written now, as far as a store writes
    /// several batches at a time. Readers see all of it before, too.
    fn settle(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Keeps a commit certificate in the place of the one for the same block, or beside the others.
    fn keep(&mut self, certificate: Certificate) -> Result<(), Self::Error>;

    /// Keeps evidence for ever, also against a power cut, beyond the installation of a state: each once, and
    /// at most [`EVIDENCE`] against one key.
    fn convict(&mut self, convicted: Convicted) -> Result<(), Self::Error>;

    /// Begins to make all that was taken over survive a power cut. A store that can do that while it takes over more does
    /// not wait for it, and [`Store::is_safe`] says when it is through.
    fn begin_checkpoint(&mut self) -> Result<(), Self::Error> {
        self.checkpoint()
    }

    /// Whether all that had been taken over when a checkpoint was begun last survives a power cut.
    fn is_safe(&mut self) -> Result<bool, Self::Error> {
        Ok(true)
    }

    /// Makes all that was taken over survive a power cut.
    fn checkpoint(&mut self) -> Result<(), Self::Error>;

    /// Forgets what is not needed any more below a height, which is not above the applied tip: the bodies of
    /// blocks without an item, and certificates.
    fn prune(&mut self, below: Height) -> Result<(), Self::Error>;

    /// Keeps the state as it is now for others, and of those kept before only the one at a height, if there
    /// is one. Returns whether this store can.
    fn freeze(&mut self, _keep: Option<Height>) -> Result<bool, Self::Error> {
        Ok(false)
    }

    /// Stages entries of a state that somebody sends; the first ones take the place of all that were
    /// staged before. They are not part of the state. Returns whether this store can.
    fn stage(&mut self, _entries: Entries, _first: bool) -> Result<bool, Self::Error> {
        Ok(false)
    }

    /// Makes what was staged the state, in one transaction: blocks, outcomes, history, rosters and frozen states of before
    /// are gone, the steps between rosters are not. Returns whether this store can.
    fn install(&mut self, _install: Install) -> Result<bool, Self::Error> {
        Ok(false)
    }
}

/// How many leaves are read at a time.
const PAGE: usize = 1_024;

/// All leaves, read page by page.
pub(crate) fn pages<E>(
    read: impl Fn(Option<Hash>, usize) -> Result<Vec<Leaf>, E>,
) -> impl Iterator<Item = Result<Leaf, E>> {
    let mut page: std::vec::IntoIter<Leaf> = Vec::new().into_iter();
    let mut after = None;
    std::iter::from_fn(move || {
        if page.len() == 0 {
            match read(after, PAGE) {
                Ok(leaves) => page = leaves.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
        let leaf = page.next()?;
        after = Some(leaf.path);
        Some(Ok(leaf))
    })
}
