//! The real disk.
//!
//! Group commits go around the page cache (`O_DIRECT | O_DSYNC`) on Linux where the file system allows it:
//! that is the fastest durable write there is, and its error belongs to the very bytes that were
//! handed over, not to some dirty page of earlier. Where it is refused, on other systems, and for bytes that are not
//! aligned, a buffered write and `fdatasync` do the same.
//!
//! Left out: any use of `fallocate` (blocks allocated but not written are hardly faster than a
//! growing file) and memory maps (an I/O error would be a signal).

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Disk;

/// The name of the file whose lock says that the directory is in use.
const LOCK: &str = "lock";
/// Addresses, offsets and lengths of direct writes are multiples of this.
const DIRECT_ALIGN: usize = 4096;
#[cfg(target_os = "linux")]
const O_DSYNC: i32 = 0o10_000;

/// The flags of a handle for direct, synced writes, where they are known. They differ from one processor to the
/// next, and another system gives the same bits another meaning: then a write would be called durable that is not.
#[cfg(all(target_os = "linux", any(target_arch = "aarch64", target_arch = "arm")))]
const DIRECT: Option<i32> = Some(0o200_000 | O_DSYNC);
/// The same for these processors.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "x86", target_arch = "riscv64")
))]
const DIRECT: Option<i32> = Some(0o40_000 | O_DSYNC);
/// Not known: a buffered write and a sync.
#[cfg(not(all(
    target_os = "linux",
    any(
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "riscv64"
    )
)))]
const DIRECT: Option<i32> = None;

/// A directory of the file system. Flat: names with a separator are refused.
#[derive(Debug)]
pub struct File {
    directory: PathBuf,
    /// Held for its lock; `None` when reading only.
    lock: Option<fs::File>,
    handles: BTreeMap<String, Handles>,
}

#[derive(Debug)]
struct Handles {
    buffered: fs::File,
    direct: Option<fs::File>,
}

impl File {
    /// Opens a directory for one log, making it if need be, and locks it against a second process.
    pub fn open(directory: &Path) -> io::Result<File> {
        if !directory.is_dir() {
            fs::create_dir_all(directory)?;
            if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty())
            {
                fs::File::open(parent)?.sync_all()?;
            }
        }
        let options = OpenOptions::new().create(true).append(true).clone();
        let lock = options.open(directory.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(File { directory: directory.into(), lock: Some(lock), handles: BTreeMap::new() })
    }

    /// Opens a directory to look at, even one in use. Every change is refused.
    pub fn read_only(directory: &Path) -> io::Result<File> {
        fs::read_dir(directory)?;
        Ok(File { directory: directory.into(), lock: None, handles: BTreeMap::new() })
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        if plain { Ok(self.directory.join(name)) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn changeable(&self) -> io::Result<()> {
        if self.lock.is_some() { Ok(()) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }

    fn handles(&mut self, name: &str) -> io::Result<&Handles> {
        if !self.handles.contains_key(name) {
            let path = self.path(name)?;
            let write = self.lock.is_some();
            let buffered = OpenOptions::new().read(true).write(write).open(&path)?;
            // A file system without direct writes says so here; buffered ones serve as well.
            let direct = DIRECT.filter(|_| write).and_then(|flags| {
                OpenOptions::new().write(true).custom_flags(flags).open(&path).ok()
            });
            let handles = Handles { buffered, direct };
            self.handles.insert(name.to_owned(), handles);
        }
        self.handles.get(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for File {
    fn list(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // A name that is not text is not ours.
            if let Ok(name) = entry.file_name().into_string()
                && name != LOCK
                && entry.file_type()?.is_file()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn length(&mut self, name: &str) -> io::Result<u64> {
        Ok(self.handles(name)?.buffered.metadata()?.len())
    }

    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.handles(name)?.buffered.read_exact_at(into, offset)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.changeable()?;
        OpenOptions::new().write(true).create_new(true).open(self.path(name)?)?;
        Ok(())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.changeable()?;
        self.handles(name)?.buffered.write_all_at(bytes, offset)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.changeable()?;
        self.handles(name)?.buffered.sync_data()
    }

    fn write_synced(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.changeable()?;
        let aligned = bytes.as_ptr().addr().is_multiple_of(DIRECT_ALIGN)
            && bytes.len().is_multiple_of(DIRECT_ALIGN)
            && offset.is_multiple_of(DIRECT_ALIGN as u64);
        let handles = self.handles(name)?;
        match &handles.direct {
            Some(direct) if aligned => direct.write_all_at(bytes, offset),
            Some(_) | None => {
                handles.buffered.write_all_at(bytes, offset)?;
                handles.buffered.sync_data()
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.changeable()?;
        fs::rename(self.path(from)?, self.path(to)?)?;
        self.handles.remove(to);
        if let Some(handles) = self.handles.remove(from) {
            self.handles.insert(to.to_owned(), handles);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.changeable()?;
        self.handles.remove(name);
        fs::remove_file(self.path(name)?)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.changeable()?;
        fs::File::open(&self.directory)?.sync_all()
    }

    fn salt(&mut self) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::other)
    }
}
