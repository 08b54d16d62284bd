//! Blocks and certificates by height.

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::ids::{BlockRef, Height};
use quorate_consensus::codec::RANGE;
use rusqlite::{Connection, OptionalExtension};

use crate::error::StoreError;
use crate::standing::decode;

pub(crate) fn number(height: Height) -> i64 {
    // A height that no chain reaches asks for nothing.
    i64::try_from(height.get()).unwrap_or(i64::MAX)
}

pub(crate) fn height(number: i64) -> Height {
    Height::new(number.cast_unsigned())
}

/// The block that a snapshot stands on: of the blocks that are kept, the first one stands on it.
pub(crate) fn below_all(db: &Connection) -> Result<Option<BlockRef>, StoreError> {
    let mut select = db.prepare_cached("SELECT base FROM chain")?;
    let base = select.query_row([], |row| row.get::<_, Option<Vec<u8>>>(0))?;
    base.map(|bytes| decode("the block below all others", bytes)).transpose()
}

/// The signed header of the block that a snapshot stands on, if it is at this height.
pub(crate) fn base_header(db: &Connection, at: Height) -> Result<Option<Vec<u8>>, StoreError> {
    if below_all(db)?.is_none_or(|base| base.height != at) {
        return Ok(None);
    }
    let mut select = db.prepare_cached("SELECT base_header FROM chain")?;
    Ok(select.query_row([], |row| row.get(0))?)
}

/// The block at a height, if it is kept whole.
pub(crate) fn block(db: &Connection, at: Height) -> Result<Option<Block>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT bytes FROM block JOIN chain
         WHERE height = ?1 AND (height >= pruned OR kind NOT IN ('transactions', 'closing'))",
    )?;
    let bytes = select.query_row([number(at)], |row| row.get(0)).optional()?;
    bytes.map(|bytes| decode("a block", bytes)).transpose()
}

/// The lowest certificate at a height or above it, up to another.
pub(crate) fn certificate(
    db: &Connection,
    from: Height,
    to: Height,
) -> Result<Option<Certificate>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT bytes FROM certificate WHERE height BETWEEN ?1 AND ?2 ORDER BY height LIMIT 1",
    )?;
    let bytes = select.query_row([number(from), number(to)], |row| row.get(0)).optional()?;
    bytes.map(|bytes| decode("a certificate", bytes)).transpose()
}

/// The last certified height from one on that still fits into so many bytes of blocks, or else the
/// first one beyond; nothing if there is none, or a block on the way is not kept.
pub(crate) fn range_end(
    db: &Connection,
    from: Height,
    bytes: usize,
) -> Result<Option<Height>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT height, length(block.bytes), certificate.height IS NOT NULL
         FROM block LEFT JOIN certificate USING (height)
         WHERE height >= ?1 AND ?1 >= (SELECT pruned FROM chain) ORDER BY height",
    )?;
    let mut rows = select.query([number(from)])?;
    let (mut next, mut room, mut end) = (Some(from), bytes, None);
    while let Some(row) = rows.next()? {
        let (at, certified): (Height, bool) = (height(row.get(0)?), row.get(2)?);
        let size = usize::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
        let many = at.get() - from.get() >= RANGE as u64;
        let full = at != from && size > room || many;
        if Some(at) != next || (full && end.is_some()) {
            break;
        }
        (next, room) = (at.next(), room.saturating_sub(size));
        if certified {
            end = Some(at);
        }
    }
    Ok(end)
}
