//! Reading the store for clients: any store behind one type, a few readers at a time.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quorate_chain::block::{Block, SignedHeader};
use quorate_chain::certificate::Certificate;
use quorate_chain::ids::{AccountKey, BlockHash, Height, TxId};
use quorate_chain::outcome::Outcome;
use quorate_chain::roster::Roster;
use quorate_chain::state::{Grants, Nonces, StateRead, Value};
use quorate_replica::io::Unreadable;
use quorate_replica::store::{Place, StoreReader, Version};
use quorate_store::StoreError;
use tokio::sync::Semaphore;

/// How many readers there are at most. Each has a connection to the database.
const READERS: usize = 8;

/// What was found, or that the store cannot be read.
pub(crate) type Found<T> = Result<T, Unreadable>;

/// What clients ask of a store.
pub(crate) trait Reading: Send {
    /// Another reader of the same store.
    fn fork(&self) -> Box<dyn Reading>;
    /// The applied height.
    fn applied(&self) -> Found<Height>;
    /// The block at a height.
    fn block(&self, height: Height) -> Found<Option<Block>>;
    /// The header of the block at a height, which is kept longer than the block.
    fn header(&self, height: Height) -> Found<Option<SignedHeader>>;
    /// The height of a block.
    fn height_of(&self, hash: BlockHash) -> Found<Option<Height>>;
    /// The lowest height whose block is kept.
    fn oldest(&self) -> Found<Option<Height>>;
    /// The lowest certificate at a height or above it.
    fn certificate(&self, from: Height) -> Found<Option<Certificate>>;
    /// Where a transaction stands.
    fn place(&self, tx: TxId) -> Found<Option<Place>>;
    /// The outcomes of the block at a height.
    fn outcomes(&self, height: Height) -> Found<Option<Vec<Outcome>>>;
    /// The roster in force at a height.
    fn roster(&self, height: Height) -> Found<Option<Arc<Roster>>>;
    /// The nonces that an account has used, and what it may write.
    fn account(&self, account: AccountKey) -> Found<(Nonces, Grants)>;
    /// The value of a key.
    fn value(&self, key: &Bytes) -> Found<Option<Value>>;
    /// The values of keys that begin with a prefix and stand after a key, in order.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize)
    -> Found<Vec<(Bytes, Value)>>;
    /// What a key has been, newest first, before a place in the chain if one is given.
    fn history(
        &self,
        key: &[u8],
        before: Option<(Height, u32, u8)>,
        limit: usize,
    ) -> Found<Vec<Version>>;
}

/// Whether all blocks from the first one on were executed here: a node that has begun with a state of others knows
/// nothing of what was before.
pub(super) fn is_whole(store: &dyn Reading) -> Found<bool> {
    let first = Height::new(1);
    Ok(store.applied()? < first || store.outcomes(first)?.is_some())
}

/// The lowest height whose block is kept, or would be: right after a node has begun with a state of others it has none.
pub(super) fn first_kept(store: &dyn Reading) -> Found<Height> {
    // Read first: a block that is applied meanwhile is kept.
    let applied = store.applied()?;
    Ok(store.oldest()?.or(applied.next()).unwrap_or(applied))
}

/// Whether the store is as good as ever, and only could not be opened once more just now.
pub(super) fn is_exhausted(error: &Unreadable) -> bool {
    matches!(error.0.downcast_ref(), Some(StoreError::Exhausted))
}

fn unreadable<E: Error + Send + Sync + 'static>(error: E) -> Unreadable {
    Unreadable(Arc::new(error))
}

impl<R> Reading for R
where
    R: StoreReader + 'static,
    <R as StateRead>::Error: Error + Send + Sync + 'static,
{
    fn fork(&self) -> Box<dyn Reading> {
        Box::new(self.clone())
    }

    fn applied(&self) -> Found<Height> {
        StoreReader::applied(self).map_err(unreadable)
    }

    fn block(&self, height: Height) -> Found<Option<Block>> {
        StoreReader::block(self, height).map_err(unreadable)
    }

    fn header(&self, height: Height) -> Found<Option<SignedHeader>> {
        StoreReader::header(self, height).map_err(unreadable)
    }

    fn height_of(&self, hash: BlockHash) -> Found<Option<Height>> {
        StoreReader::height_of(self, hash).map_err(unreadable)
    }

    fn oldest(&self) -> Found<Option<Height>> {
        StoreReader::oldest(self).map_err(unreadable)
    }

    fn certificate(&self, from: Height) -> Found<Option<Certificate>> {
        StoreReader::certificate(self, from).map_err(unreadable)
    }

    fn place(&self, tx: TxId) -> Found<Option<Place>> {
        StoreReader::place(self, tx).map_err(unreadable)
    }

    fn outcomes(&self, height: Height) -> Found<Option<Vec<Outcome>>> {
        StoreReader::outcomes(self, height).map_err(unreadable)
    }

    fn roster(&self, height: Height) -> Found<Option<Arc<Roster>>> {
        let found = StoreReader::roster(self, height).map_err(unreadable)?;
        Ok(found.map(|(_, roster)| roster))
    }

    fn account(&self, account: AccountKey) -> Found<(Nonces, Grants)> {
        let nonces = StateRead::nonces(self, account).map_err(unreadable)?;
        Ok((nonces, StateRead::grants(self, account).map_err(unreadable)?))
    }

    fn value(&self, key: &Bytes) -> Found<Option<Value>> {
        StateRead::value(self, key).map_err(unreadable)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Found<Vec<(Bytes, Value)>> {
        StoreReader::scan(self, prefix, after, limit).map_err(unreadable)
    }

    fn history(
        &self,
        key: &[u8],
        before: Option<(Height, u32, u8)>,
        limit: usize,
    ) -> Found<Vec<Version>> {
        StoreReader::history(self, key, before, limit).map_err(unreadable)
    }
}

/// Readers that wait for work.
pub(crate) struct Readers {
    first: Mutex<Box<dyn Reading>>,
    idle: Mutex<Vec<Box<dyn Reading>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Readers of the store that this one reads.
    pub(crate) fn new<R>(reader: R) -> Self
    where
        R: StoreReader + 'static,
        <R as StateRead>::Error: Error + Send + Sync + 'static,
    {
        let first: Box<dyn Reading> = Box::new(reader);
        let (first, idle) = (Mutex::new(first), Mutex::default());
        Self { first, idle, permits: Arc::new(Semaphore::new(READERS)) }
    }

    fn take(&self) -> Box<dyn Reading> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let first = || self.first.lock().unwrap_or_else(PoisonError::into_inner).fork();
        idle.unwrap_or_else(first)
    }

    /// Reads, on a thread where waiting for the disk is no harm. `None` if the work was cut short
    /// because the process ends.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        what: impl FnOnce(&dyn Reading) -> T + Send + 'static,
    ) -> Option<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let readers = Arc::clone(self);
        let work = move || {
            // It goes with the work, which goes on when whoever has asked for it does not wait any more.
            let _permit = permit;
            let reader = readers.take();
            let found = what(&*reader);
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            found
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use quorate_replica::store::{MemoryStore, Store as _};
    use tokio::sync::oneshot;

    use super::*;

    /// A store right after a state of others was installed, or at the genesis: it has no block.
    struct Empty {
        applied: Height,
    }

    impl Reading for Empty {
        fn fork(&self) -> Box<dyn Reading> {
            Box::new(Self { applied: self.applied })
        }
        fn applied(&self) -> Found<Height> {
            Ok(self.applied)
        }
        fn block(&self, _: Height) -> Found<Option<Block>> {
            Ok(None)
        }
        fn header(&self, _: Height) -> Found<Option<SignedHeader>> {
            Ok(None)
        }
        fn height_of(&self, _: BlockHash) -> Found<Option<Height>> {
            Ok(None)
        }
        fn oldest(&self) -> Found<Option<Height>> {
            Ok(None)
        }
        fn certificate(&self, _: Height) -> Found<Option<Certificate>> {
            Ok(None)
        }
        fn place(&self, _: TxId) -> Found<Option<Place>> {
            Ok(None)
        }
        fn outcomes(&self, _: Height) -> Found<Option<Vec<Outcome>>> {
            Ok(None)
        }
        fn roster(&self, _: Height) -> Found<Option<Arc<Roster>>> {
            Ok(None)
        }
        fn account(&self, _: AccountKey) -> Found<(Nonces, Grants)> {
            Ok((Nonces::default(), Grants::default()))
        }
        fn value(&self, _: &Bytes) -> Found<Option<Value>> {
            Ok(None)
        }
        fn scan(&self, _: &[u8], _: Option<&[u8]>, _: usize) -> Found<Vec<(Bytes, Value)>> {
            Ok(Vec::new())
        }
        fn history(&self, _: &[u8], _: Option<(Height, u32, u8)>, _: usize) -> Found<Vec<Version>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn below_a_state_of_others_nothing_is_kept_and_nothing_is_known() {
        let (genesis, state) =
            (Empty { applied: Height::ZERO }, Empty { applied: Height::new(48) });
        assert_eq!(first_kept(&genesis).unwrap(), Height::new(1));
        assert_eq!(first_kept(&state).unwrap(), Height::new(49));
        assert!(is_whole(&genesis).unwrap() && !is_whole(&state).unwrap());
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_lets_nobody_in_before_its_reader_has_come_back() {
        let readers = Arc::new(Readers::new(MemoryStore::new().reader()));
        let mut gates = Vec::new();
        for _ in 0..READERS {
            let ((open, gate), (begin, begun)) = (mpsc::channel::<()>(), oneshot::channel());
            let busy = Arc::clone(&readers);
            let client = tokio::spawn(async move {
                let work = move |_: &dyn Reading| (begin.send(()), gate.recv().is_err());
                busy.read(work).await
            });
            begun.await.unwrap();
            client.abort();
            assert!(client.await.unwrap_err().is_cancelled());
            gates.push(open);
        }
        assert_eq!(readers.permits.available_permits(), 0);
        drop(gates);
        assert_eq!(readers.read(|store| store.oldest().unwrap()).await, Some(None));
    }
}
