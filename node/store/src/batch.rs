//! What a batch of blocks adds to the tables.

use quorate_chain::certificate::Certificate;
use quorate_chain::codec::Encode;
use quorate_chain::ids::{Hash, TxId};
use quorate_chain::state::{Changes, StateEntry, StateKey};
use quorate_chain::state_root;
use quorate_replica::store::{Batch, Executed};
use rusqlite::{Connection, params};

use crate::error::StoreError;
use crate::index::Index;
use crate::keys::{self, Keys};
use crate::path::Halves;
use crate::place::{place, version};
use crate::standing::{self, kind_name};
use crate::steps;

/// What one batch adds, within its transaction.
pub(crate) struct Taking<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) keys: &'a Keys<'a>,
    pub(crate) index: &'a Index,
    /// The height of the state that was frozen last.
    pub(crate) frozen: Option<i64>,
}

impl Taking<'_> {
    pub(crate) fn batch(&self, batch: &Batch) -> Result<(), StoreError> {
        for executed in &batch.blocks {
            self.block(executed)?;
        }
        self.entries(&batch.changes, &batch.leaves)?;
        if let Some(certificate) = &batch.standing.certificate {
            keep(self.db, certificate)?;
        }
        steps::keep(self.db, &batch.steps)?;
        standing::write(self.db, &batch.standing)
    }

    fn block(&self, executed: &Executed) -> Result<(), StoreError> {
        let (block, header) = (&executed.block, executed.block.header());
        let height = header.height.get().cast_signed();
        self.db
            .prepare_cached("INSERT INTO block VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
            .execute(params![
                height,
                header.term.get().cast_signed(),
                block.hash().as_bytes(),
                kind_name(header.kind),
                header.proposer.get(),
                header.time.get().cast_signed(),
                header.transactions,
                executed.state_root.as_bytes(),
                block.bytes().as_ref(),
            ])?;
        if let Some(roster) = &executed.roster {
            self.db
                .prepare_cached("REPLACE INTO roster VALUES (?1, ?2)")?
                .execute(params![height, roster.to_bytes().as_ref()])?;
        }
        self.transactions(executed)?;
        self.writes(executed)
    }

    fn transactions(&self, executed: &Executed) -> Result<(), StoreError> {
        let height = executed.block.header().height;
        let transactions = &executed.block.body().transactions;
        let mut places = Vec::with_capacity(transactions.len());
        for (index, (signed, outcome)) in (0..).zip(transactions.iter().zip(&executed.outcomes)) {
            let (at, id, content) = (place(height, index)?, signed.id(), signed.content());
            // The id stands in a column of its own.
            let outcome = outcome.to_bytes().split_off(TxId::LENGTH);
            self.db.prepare_cached("INSERT INTO tx VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
                params![
                    at,
                    id.as_bytes(),
                    content.sender.as_bytes(),
                    content.nonce.get().cast_signed(),
                    outcome.as_ref(),
                ],
            )?;
            places.push((id, at));
        }
        self.index.add(self.db, places)
    }

    fn writes(&self, executed: &Executed) -> Result<(), StoreError> {
        let height = executed.block.header().height;
        for write in &executed.writes {
            let number = version(height, write.index, write.operation)?;
            self.keys.add(number, &write.key, write.value.as_deref())?;
        }
        Ok(())
    }

    /// Puts the entries of the state in their places. Those of the leaves that are known are not computed again.
    pub(crate) fn entries(
        &self,
        changes: &Changes,
        leaves: &state_root::Changes,
    ) -> Result<(), StoreError> {
        for (key, entry) in changes {
            let digest = |path: &Hash| match leaves.get(path) {
                Some(digest) => *digest,
                None => entry.as_ref().map(StateEntry::digest),
            };
            match key {
                // A key that was touched and never written is as it was.
                StateKey::Value(name) => self.keys.put(name, digest)?,
                StateKey::Nonces(_) | StateKey::Grants(_) => {
                    let path = key.path();
                    self.keep_before(path)?;
                    put(self.db, key, path, entry.as_ref(), digest(&path))?;
                }
            }
        }
        Ok(())
    }

    /// Keeps what an entry was in the state that was frozen last, unless it has changed since.
    fn keep_before(&self, path: Hash) -> Result<(), StoreError> {
        let Some(frozen) = self.frozen else { return Ok(()) };
        let Halves { first, rest } = Halves::of(&path);
        self.db
            .prepare_cached(
                "INSERT OR IGNORE INTO before
                     VALUES (?1, ?2, (SELECT content FROM entry WHERE half = ?3 AND rest = ?4))",
            )?
            .execute(params![frozen, path.as_bytes(), first, rest])?;
        Ok(())
    }
}

/// Puts nonces or grants in their place.
pub(crate) fn put(
    db: &Connection,
    key: &StateKey,
    path: Hash,
    entry: Option<&StateEntry>,
    digest: Option<Hash>,
) -> Result<(), StoreError> {
    let (kind, name) = match key {
        StateKey::Value(name) => (keys::VALUE, name.as_ref()),
        StateKey::Nonces(account) => (2, account.as_bytes().as_slice()),
        StateKey::Grants(account) => (3, account.as_bytes().as_slice()),
    };
    let Halves { first, rest } = Halves::of(&path);
    let (digest, content) = (digest.map(|digest| *digest.as_bytes()), entry.map(Encode::to_bytes));
    db.prepare_cached(
        "INSERT INTO entry (half, rest, digest, kind, name, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (half, rest) DO UPDATE
             SET digest = excluded.digest, content = excluded.content",
    )?
    .execute(params![first, rest, digest, kind, name, content.as_deref()])?;
    Ok(())
}

pub(crate) fn keep(db: &Connection, certificate: &Certificate) -> Result<(), StoreError> {
    let height = certificate.block().height.get().cast_signed();
    db.prepare_cached("REPLACE INTO certificate VALUES (?1, ?2)")?
        .execute(params![height, certificate.to_bytes().as_ref()])?;
    Ok(())
}
