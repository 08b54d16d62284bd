//! Evidence.

use quorate_chain::block::SignedHeader;
use quorate_chain::codec::Encode;
use quorate_chain::crypto::ValidatorKey;
use quorate_chain::evidence::Evidence;
use quorate_chain::ids::{Hash, Height, Term};
use quorate_chain::statement::SignedStatement;
use quorate_replica::store::{Convicted, EVIDENCE};
use rusqlite::{Connection, params};

use crate::blocks::number;
use crate::error::StoreError;
use crate::standing::{decode, hash};

/// Which of the five it is, by a name for people, and where.
fn told(evidence: &Evidence) -> (&'static str, Term, Height) {
    let signed = |it: &SignedStatement| (it.statement.term(), it.statement.block().height);
    let header = |it: &SignedHeader| (it.header.term, it.header.height);
    let (kind, (term, height)) = match evidence {
        Evidence::TwoBlocks { a, .. } => ("two blocks", header(a)),
        Evidence::TwoVotes { a, .. } => ("two votes", signed(a)),
        Evidence::TwoAcks { a, .. } => ("two acks", signed(a)),
        Evidence::VoteBelowAck { vote, .. } => ("vote below ack", signed(vote)),
        Evidence::Malformed(block) => ("malformed block", header(&block.child)),
    };
    (kind, term, height)
}

/// Keeps evidence, unless it is there or there is enough against its key.
pub(crate) fn keep(db: &Connection, convicted: &Convicted) -> Result<(), StoreError> {
    let Convicted { key, evidence } = convicted;
    let bytes = evidence.to_bytes();
    let name = Hash::of(&[key.as_bytes(), &bytes]);
    let (kind, term, height) = told(evidence);
    db.execute(
        "INSERT OR IGNORE INTO conviction (hash, node, key, kind, term, height, bytes)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
         WHERE (SELECT count(*) FROM conviction WHERE key = ?3) < ?8",
        params![
            name.as_bytes(),
            evidence.accused().get(),
            key.as_bytes(),
            kind,
            term.get().cast_signed(),
            number(height),
            bytes.as_ref(),
            i64::try_from(EVIDENCE).unwrap_or(i64::MAX),
        ],
    )?;
    Ok(())
}

/// All that was kept.
pub(crate) fn all(db: &Connection) -> Result<Vec<Convicted>, StoreError> {
    let mut select = db.prepare_cached("SELECT key, bytes FROM conviction ORDER BY number")?;
    let rows = select.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))?;
    let mut found = Vec::new();
    for row in rows {
        let (key, bytes) = row?;
        let key = ValidatorKey::from_bytes(&hash("a convicted key", &key)?)
            .map_err(|_| StoreError::Missing { what: "a convicted key" })?;
        found.push(Convicted { key, evidence: decode("evidence", bytes)? });
    }
    Ok(found)
}
