//! Writing a damaged log anew.
//!
//! The caller salvages the intact records, fetches the lost ones elsewhere, and hands all of them
//! over. They go into a new generation of segments whose names do not count yet. One rename
//! switches over, and only after it the old files are put aside, still byte for byte what they
//! were.
//!
//! ```text
//!   write …-1.new …-2.new …-3.new ▶ sync names ▶ rename …-3.new to …-3.wal ▶ sync names  ◀ here
//!                                              ▶ rename the others ▶ old …wal to …damaged ▶ sync
//! ```
//!
//! A crash before the switch leaves the old log, one after it the new one; opening finishes the
//! renames.
//!
//! Left out: removing the damaged files. They are evidence, and the operator's.

use crate::disk::{Disk, Operation};
use crate::error::Error;
use crate::layout::Layout;
use crate::options::Options;
use crate::record::{Entry, Lsn};
use crate::segment::{Role, SegmentName};
use crate::space::Spares;
use crate::wal::{Ledger, Wal, start_segment};

/// A new log in the making, beside the old one.
#[derive(Debug)]
pub struct Rebuild<D> {
    wal: Wal<D>,
    old: Vec<SegmentName>,
}

impl<D: Disk> Rebuild<D> {
    /// Begins. What an earlier rebuild left unfinished is removed, and so are the spare segments.
    ///
    /// On an error start again from [`Wal::open`]: nothing has been switched.
    pub fn begin(mut disk: D, identity: &[u8], options: Options) -> Result<Rebuild<D>, Error> {
        options.check(identity)?;
        let layout = Layout::read(&mut disk)?;
        let abandoned = layout.abandoned.iter().map(SegmentName::format);
        for file in abandoned.chain(layout.unfinished).chain(layout.spares) {
            disk.remove(&file).map_err(Error::disk(Operation::Remove, &file))?;
        }
        // The removals must be past before a new file takes one of the names.
        disk.sync_directory().map_err(Error::disk(Operation::SyncDirectory, ""))?;
        let used = layout.damaged.iter().chain(&layout.abandoned).chain(&layout.log);
        let generation = used.map(|name| name.generation).max().unwrap_or(0).saturating_add(1);
        let old = layout.old.into_iter().chain(layout.log).collect();
        let ledger = Ledger { next: Lsn::ZERO.next(), oldest: 1, ..Ledger::default() };
        let name = SegmentName { generation, number: 1, role: Role::New };
        let mut spares = Spares::default();
        let active = start_segment(&mut disk, &mut spares, identity, &options, &ledger, name, 0)?;
        let mut wal = Wal::assemble(disk, identity, options, active, ledger);
        wal.role = Role::New;
        Ok(Rebuild { wal, old })
    }

    /// Adds an entry; groups are written as they fill. The numbers begin at 1 again.
    pub fn push(&mut self, entry: Entry<'_>) -> Result<Lsn, Error> {
        let length = match entry {
            Entry::Record { payload, .. } | Entry::Preamble(payload) => payload.len(),
        };
        if !self.wal.fits(length) {
            self.wal.commit()?;
        }
        self.wal.push(entry)
    }

    /// Switches over to the new log and puts the old files aside.
    pub fn finish(mut self) -> Result<Wal<D>, Error> {
        self.wal.commit()?;
        self.wal.mark()?;
        let numbers = 1..=self.wal.active.header.number;
        let generation = self.wal.active.header.generation;
        let new = |number| SegmentName { generation, number, role: Role::New };
        // The last one is the switch.
        for (index, number) in numbers.rev().enumerate() {
            self.rename(new(number), Role::Live)?;
            if index == 0 {
                self.sync_names()?;
            }
        }
        for name in std::mem::take(&mut self.old) {
            self.rename(name, Role::Damaged)?;
        }
        self.sync_names()?;
        let mut wal = self.wal;
        wal.role = Role::Live;
        wal.active.file =
            SegmentName { role: Role::Live, ..new(wal.active.header.number) }.format();
        wal.closed.iter_mut().for_each(|closed| closed.name.role = Role::Live);
        Ok(wal)
    }

    fn rename(&mut self, name: SegmentName, role: Role) -> Result<(), Error> {
        let to = SegmentName { role, ..name }.format();
        let disk = &mut self.wal.disk;
        disk.rename(&name.format(), &to).map_err(Error::disk(Operation::Rename, &to))
    }

    fn sync_names(&mut self) -> Result<(), Error> {
        let synced = self.wal.disk.sync_directory();
        synced.map_err(Error::disk(Operation::SyncDirectory, ""))
    }
}
