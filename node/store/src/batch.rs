//! What a batch of blocks adds to the tables.

use std::cell::RefCell;

use quorate_chain::certificate::Certificate;
use quorate_chain::codec::Encode;
use quorate_chain::ids::{Hash, TxId};
use quorate_chain::state::{Changes, StateEntry, StateKey};
use quorate_chain::state_root;
use quorate_replica::store::{Batch, Executed, Standing};
use rusqlite::{Connection, params};

use crate::entries::EntryTable;
use crate::error::StoreError;
use crate::index::Index;
use crate::keys::Keys;
use crate::place::{place, version};
use crate::standing::kind_name;
use crate::steps;

/// What one batch adds, within its transaction.
pub(crate) struct Taking<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) keys: &'a Keys<'a>,
    pub(crate) index: &'a Index,
    pub(crate) entries: &'a RefCell<EntryTable>,
}

impl Taking<'_> {
    pub(crate) fn batch(&self, batch: Batch) -> Result<Standing, StoreError> {
        for executed in &batch.blocks {
            self.block(executed)?;
        }
        self.entries(batch.changes, &batch.leaves)?;
        if let Some(certificate) = &batch.standing.certificate {
            keep(self.db, certificate)?;
        }
        steps::keep(self.db, &batch.steps)?;
        Ok(batch.standing)
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

    /// Takes over the entries of the state. The digests of leaves that are known are not computed again.
    pub(crate) fn entries(
        &self,
        changes: Changes,
        leaves: &state_root::Changes,
    ) -> Result<(), StoreError> {
        for (key, entry) in changes {
            let digest = |path: &Hash| match leaves.get(path) {
                Some(digest) => *digest,
                None => entry.as_ref().map(StateEntry::digest),
            };
            match &key {
                StateKey::Value(name) => {
                    let known = self.keys.get(name)?;
                    // A key that was touched and never written is as it was.
                    if let Some(newest) = known.written {
                        let digest = digest(&known.path);
                        self.entries.borrow_mut().put_key(known.path, name, newest, digest);
                    }
                }
                StateKey::Nonces(_) | StateKey::Grants(_) => {
                    let path = key.path();
                    let digest = digest(&path);
                    self.entries.borrow_mut().put_account(path, &key, entry, digest);
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn keep(db: &Connection, certificate: &Certificate) -> Result<(), StoreError> {
    let height = certificate.block().height.get().cast_signed();
    db.prepare_cached("REPLACE INTO certificate VALUES (?1, ?2)")?
        .execute(params![height, certificate.to_bytes().as_ref()])?;
    Ok(())
}
