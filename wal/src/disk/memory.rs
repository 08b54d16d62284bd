//! The simulated disk: what was written, what of it is durable, and every way it can go wrong.
//!
//! Each file has two contents, the cache (what a read sees) and the platter (what a power cut
//! leaves), and the set of 512-byte sectors that differ. Names work the same way: changes wait in a
//! list until the directory is synced. [`Memory::crash`] asks for each unsynced sector and each
//! unsynced name whether it made it, so a test can keep none, all, a prefix or any subset.
//!
//! Faults while running come from a [`Hook`], called before each operation. Faults at rest are
//! edits: [`Memory::overwrite`], [`Memory::break_sector`], [`Memory::lose_file`], [`Memory::put_file`].
//!
//! A clone is a full copy and cheap: pages are shared until written, pages of zeros cost nothing.
//!
//! Left out: sectors torn in the middle (disks write sectors whole, and the log would call such a
//! state damage, not a torn tail) and time (the caller's world has the clock).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Disk, Operation};
use crate::error::EIO;
use crate::frame::{SECTOR, is_blank};

const PAGE: usize = 4096;

/// A disk in memory.
///
/// Invariants: outside the dirty ranges of a file whose syncs all succeeded, cache and platter are
/// equal; a name in either table has its inode.
#[derive(Clone, Default)]
pub struct Memory {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending: Vec<Pending>,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    seed: u64,
    operations: u64,
    capacity: Option<u64>,
    down: bool,
    hook: Option<Hook>,
}

/// Called before each operation; decides what becomes of it. Clones of a disk share it.
pub type Hook = Arc<Mutex<dyn FnMut(&Step<'_>) -> Verdict + Send>>;

/// An operation about to happen.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// How many operations came before.
    pub index: u64,
    /// Which one.
    pub operation: Operation,
    /// On which file; empty for the directory.
    pub file: &'a str,
    /// At which offset.
    pub offset: u64,
    /// How many bytes.
    pub bytes: usize,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It happens.
    Proceed,
    /// The power goes out before it happens; everything fails until [`Memory::crash`].
    Crash,
    /// It fails with this error and does nothing. A failed sync also forgets that its sectors were
    /// dirty: a second sync would succeed without writing them, as kernels do.
    Fail(io::ErrorKind),
    /// It claims success and does nothing.
    Lose,
    /// A write lands at this offset instead.
    Misdirect(u64),
    /// A read returns the file as it was before its last sync.
    Stale,
}

/// Something that a power cut may or may not leave behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// A sector of a file.
    Sector {
        /// The file, by its present name; empty if it was removed.
        file: String,
        /// The sector: offset divided by 512.
        sector: u64,
    },
    /// A create, rename or remove.
    Name {
        /// Which of the three.
        operation: Operation,
        /// The name that appears or goes away.
        file: String,
    },
}

#[derive(Clone)]
struct Pending {
    operation: Operation,
    from: String,
    to: String,
    inode: u64,
}

type Page = Option<Arc<[u8; PAGE]>>;

#[derive(Clone, Default)]
struct Content {
    length: u64,
    pages: Arc<Vec<Page>>,
}

#[derive(Clone, Default)]
struct Inode {
    cache: Content,
    platter: Content,
    dirty: BTreeSet<u64>,
    former: Option<Content>,
    /// Sectors that cannot be read.
    broken: BTreeSet<u64>,
}

impl Content {
    fn page(&self, index: usize) -> Option<&[u8; PAGE]> {
        self.pages.get(index).and_then(|page| page.as_deref())
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        let mut at = offset as usize;
        let mut rest = into;
        while !rest.is_empty() {
            let start = at % PAGE;
            let take = rest.len().min(PAGE - start);
            let (now, later) = rest.split_at_mut(take);
            match self.page(at / PAGE) {
                Some(page) => now.copy_from_slice(&page[start..start + take]),
                None => now.fill(0),
            }
            at += take;
            rest = later;
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset as usize;
        let mut rest = bytes;
        self.length = self.length.max(offset + bytes.len() as u64);
        while !rest.is_empty() {
            let start = at % PAGE;
            let (now, later) = rest.split_at(rest.len().min(PAGE - start));
            if self.page(at / PAGE).is_some() || !is_blank(now) {
                let pages = Arc::make_mut(&mut self.pages);
                if pages.len() <= at / PAGE {
                    pages.resize(at / PAGE + 1, None);
                }
                let page = pages[at / PAGE].get_or_insert_with(|| Arc::new([0; PAGE]));
                Arc::make_mut(page)[start..start + now.len()].copy_from_slice(now);
            }
            at += now.len();
            rest = later;
        }
    }

    fn take_sector(&mut self, other: &Content, sector: u64) {
        let offset = sector * SECTOR as u64;
        let bytes = other.length.saturating_sub(offset).min(SECTOR as u64) as usize;
        let mut buffer = [0; SECTOR];
        other.read(offset, &mut buffer[..bytes]);
        self.write(offset, &buffer[..bytes]);
    }
}

impl Inode {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.cache.write(offset, bytes);
        let first = offset / SECTOR as u64;
        let end = (offset + bytes.len() as u64).div_ceil(SECTOR as u64);
        self.dirty.extend(first..end);
        // What is written over gets another sector.
        self.broken.retain(|sector| !(first..end).contains(sector));
    }

    fn sync(&mut self) {
        self.former = Some(self.platter.clone());
        for sector in std::mem::take(&mut self.dirty) {
            self.platter.take_sector(&self.cache, sector);
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.names.iter().map(|(name, inode)| (name, self.inodes[inode].cache.length));
        f.debug_map().entries(files).finish()
    }
}

impl Memory {
    /// An empty disk. The seed is for the salts.
    #[must_use]
    pub fn new(seed: u64) -> Memory {
        Memory { seed, ..Memory::default() }
    }

    /// Sets the hook that decides over each operation, or takes it away.
    pub fn set_hook(&mut self, hook: Option<Hook>) {
        self.hook = hook;
    }

    /// Limits the bytes of all files together; a write that needs more fails with
    /// [`io::ErrorKind::StorageFull`].
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    /// How many operations there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// All that a power cut now might lose, in the order in which [`Memory::crash`] asks.
    #[must_use]
    pub fn unsynced(&self) -> Vec<Unsynced> {
        let mut all = Vec::new();
        let mut copy = self.clone();
        copy.crash(|thing| {
            all.push(thing.clone());
            false
        });
        all
    }

    /// The power goes out and comes back: what was synced stays, of the rest what `keep` says.
    pub fn crash(&mut self, mut keep: impl FnMut(&Unsynced) -> bool) {
        let by_inode: BTreeMap<u64, String> =
            self.names.iter().map(|(name, inode)| (*inode, name.clone())).collect();
        for (number, inode) in &mut self.inodes {
            let file = by_inode.get(number).cloned().unwrap_or_default();
            for sector in std::mem::take(&mut inode.dirty) {
                if keep(&Unsynced::Sector { file: file.clone(), sector }) {
                    inode.platter.take_sector(&inode.cache, sector);
                }
            }
            inode.cache = inode.platter.clone();
            inode.former = None;
        }
        for change in std::mem::take(&mut self.pending) {
            let file = change.to.clone();
            if keep(&Unsynced::Name { operation: change.operation, file }) {
                self.durable_names.remove(&change.from);
                if change.operation != Operation::Remove {
                    self.durable_names.insert(change.to, change.inode);
                }
            }
        }
        self.names = self.durable_names.clone();
        self.forget_lost_inodes();
        self.down = false;
    }

    /// The process dies and comes back, the power stays on: the cache survives.
    pub fn restart(&mut self) {
        self.down = false;
    }

    /// The bytes of a file as a read would see them.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let content = &self.inodes.get(self.names.get(name)?)?.cache;
        let mut bytes = vec![0; content.length as usize];
        content.read(0, &mut bytes);
        Some(bytes)
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Rot: changes bytes of a file on the platter and in the cache, unseen by the hook.
    pub fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) {
        if let Some(inode) = self.names.get(name).and_then(|inode| self.inodes.get_mut(inode)) {
            inode.cache.write(offset, bytes);
            inode.platter.write(offset, bytes);
        }
    }

    /// The sector of a file at this offset cannot be read any more, until it is written again.
    pub fn break_sector(&mut self, name: &str, offset: u64) {
        if let Some(inode) = self.names.get(name).and_then(|inode| self.inodes.get_mut(inode)) {
            inode.broken.insert(offset / SECTOR as u64);
        }
    }

    /// A file is gone for good.
    pub fn lose_file(&mut self, name: &str) {
        self.names.remove(name);
        self.durable_names.remove(name);
        self.pending.retain(|change| change.to != name);
        self.forget_lost_inodes();
    }

    /// A file stands there, durable: out of an old backup, say. Replaces one of the same name.
    pub fn put_file(&mut self, name: &str, bytes: &[u8]) {
        self.lose_file(name);
        let mut content = Content::default();
        content.write(0, bytes);
        let inode = Inode { cache: content.clone(), platter: content, ..Inode::default() };
        let number = self.add_inode(inode);
        self.names.insert(name.to_owned(), number);
        self.durable_names.insert(name.to_owned(), number);
    }

    fn add_inode(&mut self, inode: Inode) -> u64 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, inode);
        number
    }

    fn forget_lost_inodes(&mut self) {
        let named = self.names.values().chain(self.durable_names.values());
        let waiting = self.pending.iter().map(|change| &change.inode);
        let alive: BTreeSet<u64> = named.chain(waiting).copied().collect();
        self.inodes.retain(|number, _| alive.contains(number));
    }

    fn inode(&mut self, name: &str) -> io::Result<&mut Inode> {
        let number = self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        self.inodes.get_mut(number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Asks the hook. `Ok(None)`: proceed. `Ok(Some(_))`: succeed in another way.
    fn step(
        &mut self,
        operation: Operation,
        file: &str,
        offset: u64,
        bytes: usize,
    ) -> io::Result<Option<Verdict>> {
        let index = self.operations;
        self.operations += 1;
        if self.down {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let Some(hook) = &self.hook else { return Ok(None) };
        let step = Step { index, operation, file, offset, bytes };
        let verdict = (hook.lock().unwrap_or_else(PoisonError::into_inner))(&step);
        match verdict {
            Verdict::Proceed => Ok(None),
            Verdict::Crash => {
                self.down = true;
                Err(io::ErrorKind::NotConnected.into())
            }
            Verdict::Fail(kind) => {
                if operation == Operation::Sync {
                    self.inode(file)?.dirty.clear();
                }
                Err(kind.into())
            }
            Verdict::Lose | Verdict::Misdirect(_) | Verdict::Stale => Ok(Some(verdict)),
        }
    }

    fn change_names(&mut self, operation: Operation, from: &str, to: &str, inode: u64) {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.pending.push(Pending { operation, from, to, inode });
    }
}

impl Disk for Memory {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.step(Operation::List, "", 0, 0)?;
        Ok(self.names.keys().cloned().collect())
    }

    fn length(&mut self, name: &str) -> io::Result<u64> {
        self.step(Operation::Length, name, 0, 0)?;
        Ok(self.inode(name)?.cache.length)
    }

    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let verdict = self.step(Operation::Read, name, offset, into.len())?;
        let inode = self.inode(name)?;
        let content = match (&inode.former, verdict) {
            (Some(former), Some(Verdict::Stale)) => former,
            _ => &inode.cache,
        };
        if offset.saturating_add(into.len() as u64) > inode.cache.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = (offset + into.len() as u64).div_ceil(SECTOR as u64);
        if inode.broken.range(offset / SECTOR as u64..end).next().is_some() {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        content.read(offset, into);
        Ok(())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.step(Operation::Create, name, 0, 0)?;
        if self.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.add_inode(Inode::default());
        self.names.insert(name.to_owned(), inode);
        self.change_names(Operation::Create, name, name, inode);
        Ok(())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = match self.step(Operation::Write, name, offset, bytes.len())? {
            Some(Verdict::Lose) => return Ok(()),
            Some(Verdict::Misdirect(elsewhere)) => elsewhere,
            _ => offset,
        };
        if let Some(capacity) = self.capacity {
            let lengths = self.names.values().map(|inode| self.inodes[inode].cache.length);
            let used: u64 = lengths.sum();
            let end = at + bytes.len() as u64;
            let growth = end.saturating_sub(self.inode(name)?.cache.length);
            if growth > 0 && used + growth > capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        self.inode(name)?.write(at, bytes);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let verdict = self.step(Operation::Sync, name, 0, 0)?;
        if verdict != Some(Verdict::Lose) {
            self.inode(name)?.sync();
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.step(Operation::Rename, to, 0, 0)?;
        let inode = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.names.insert(to.to_owned(), inode);
        self.change_names(Operation::Rename, from, to, inode);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.step(Operation::Remove, name, 0, 0)?;
        let inode = self.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        self.change_names(Operation::Remove, name, name, inode);
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        if self.step(Operation::SyncDirectory, "", 0, 0)? != Some(Verdict::Lose) {
            self.durable_names = self.names.clone();
            self.pending.clear();
            self.forget_lost_inodes();
        }
        Ok(())
    }

    fn salt(&mut self) -> io::Result<u64> {
        self.step(Operation::Salt, "", 0, 0)?;
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Ok(mixed ^ (mixed >> 31))
    }
}
