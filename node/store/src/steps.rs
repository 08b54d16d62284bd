//! Steps from one roster to the next.

use quorate_chain::codec::Encode;
use quorate_chain::ids::Height;
use quorate_chain::proof::RosterStep;
use rusqlite::{Connection, params};

use crate::blocks::number;
use crate::error::StoreError;
use crate::standing::decode;

/// Keeps steps, each once.
pub(crate) fn keep(db: &Connection, steps: &[RosterStep]) -> Result<(), StoreError> {
    for step in steps {
        db.prepare_cached("INSERT OR IGNORE INTO roster_step VALUES (?1, ?2)")?
            .execute(params![number(step.header.height), step.to_bytes().as_ref()])?;
    }
    Ok(())
}

/// Those above a height, ascending: at least one if there is one, about so many bytes.
pub(crate) fn above(
    db: &Connection,
    above: Height,
    bytes: usize,
) -> Result<Vec<RosterStep>, StoreError> {
    let mut select =
        db.prepare_cached("SELECT bytes FROM roster_step WHERE height > ?1 ORDER BY height")?;
    let mut rows = select.query([number(above)])?;
    let (mut room, mut steps) = (bytes, Vec::new());
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(0)?;
        if bytes.len() > room && !steps.is_empty() {
            break;
        }
        room = room.saturating_sub(bytes.len());
        steps.push(decode("a step between rosters", bytes)?);
    }
    Ok(steps)
}
