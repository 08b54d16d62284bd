//! Reading blocks for another node that lacks them.

use quorate_chain::checked::Checked;
use quorate_chain::state::StateRead;
use quorate_consensus::codec::BLOCKS;
use quorate_consensus::event::Fetched as Found;

use crate::io::{FetchJob, Fetched};
use crate::snapshot::{self, Demand};
use crate::store::StoreReader;

/// Reads blocks from the store. The range ends at a block with a certificate: whoever must cut a suffix
/// for it could not take less.
///
/// Who asks for blocks above a frozen state may have begun with that one, and needs what is above it until it has caught
/// up; so these questions count like those for the state.
///
/// # Errors
/// If the store cannot be read: then the node must stop.
pub fn fetch<R: StoreReader>(
    reader: &R,
    demand: &Demand,
    job: FetchJob,
) -> Result<Fetched, <R as StateRead>::Error> {
    let FetchJob { node, from, bytes } = job;
    // What no message can bring is as good as forgotten.
    let range = reader.range(from, bytes)?;
    let too_long = range.as_ref().is_some_and(|range| range.blocks.len() > BLOCKS);
    if let Some(range) = range.filter(|_| !too_long) {
        let frozen = reader.frozen()?;
        let mut heights = frozen.iter().map(|standing| standing.applied.block.height);
        heights.find(|height| *height < from).into_iter().for_each(|below| demand.asked(below));
        // What is in the store was verified before it was stored.
        let blocks = range.blocks.into_iter().map(Checked::vouch).collect();
        let (parent, certificate) = (range.parent, Some(range.certificate));
        return Ok(Fetched { node, found: Found::Blocks { parent, blocks, certificate } });
    }
    let Some(standing) = reader.standing()? else {
        return Ok(Fetched { node, found: Found::Pruned { snapshot: None } });
    };
    let applied = standing.applied.block;
    let kept = match reader.oldest()? {
        Some(oldest) => from >= oldest && !too_long,
        // With a snapshot came no blocks.
        None => from > applied.height,
    };
    let found = if kept {
        Found::Blocks { parent: applied, blocks: Vec::new(), certificate: None }
    } else {
        let snapshot = snapshot::newest(reader)?;
        Found::Pruned { snapshot: snapshot.map(Box::new) }
    };
    Ok(Fetched { node, found })
}
