//! Which files of the directory are the log.
//!
//! The log is the highest generation that has at least one `.wal` file. A rebuild writes the next
//! generation as `.new` files and switches over by renaming a single one of them: before that the
//! `.new` files mean nothing, after it the others belong to the log too, whatever they are called.

use crate::disk::{Disk, Operation};
use crate::error::Error;
use crate::segment::{Role, SegmentName};

/// The files, sorted by what they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) generation: u64,
    /// The segments of the log in order.
    pub(crate) log: Vec<SegmentName>,
    /// Segments of earlier generations not yet put aside.
    pub(crate) old: Vec<SegmentName>,
    /// Segments of a rebuild that was never switched to.
    pub(crate) abandoned: Vec<SegmentName>,
    /// Segments put aside by rebuilds.
    pub(crate) damaged: Vec<SegmentName>,
    /// Files of zeros, ready.
    pub(crate) spares: Vec<String>,
    /// Files of zeros, not ready.
    pub(crate) unfinished: Vec<String>,
}

/// Prefix of prepared files.
pub(crate) const SPARE: &str = "spare-";
/// Extension of prepared files that are complete.
pub(crate) const READY: &str = ".zero";
/// Extension of prepared files that are not.
pub(crate) const UNREADY: &str = ".tmp";

impl Layout {
    pub(crate) fn read<D: Disk>(disk: &mut D) -> Result<Layout, Error> {
        let mut layout = Layout::default();
        let names = disk.list().map_err(Error::disk(Operation::List, ""))?;
        let mut segments: Vec<SegmentName> =
            names.iter().filter_map(|name| SegmentName::parse(name)).collect();
        // By number, and of two with one number the live one first.
        segments.sort_unstable();
        let live = segments.iter().filter(|name| name.role == Role::Live);
        layout.generation = live.map(|name| name.generation).max().unwrap_or(0);
        for name in segments {
            let current = name.generation == layout.generation;
            match name.role {
                Role::Damaged => layout.damaged.push(name),
                Role::Live if !current => layout.old.push(name),
                Role::New if !current => layout.abandoned.push(name),
                // Generation 0 is never written: it means that no log is there.
                Role::New if layout.generation == 0 => layout.abandoned.push(name),
                Role::Live | Role::New => {
                    if layout.log.last().is_none_or(|last| last.number != name.number) {
                        layout.log.push(name);
                    }
                }
            }
        }
        for name in names.into_iter().filter(|name| name.starts_with(SPARE)) {
            if name.ends_with(READY) {
                layout.spares.push(name);
            } else if name.ends_with(UNREADY) {
                layout.unfinished.push(name);
            }
        }
        Ok(layout)
    }
}
