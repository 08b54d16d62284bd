//! Who may change the directory of a testnet.
//!
//! Whoever makes, starts or deletes a testnet holds its directory locked, and so does its supervisor as long as it
//! lives: the operating system lets go of the lock however a process ends. What is locked is the directory itself, so
//! nothing is left behind. The lock of each home is its node's, and keeps a home in which a node runs from being deleted.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use quorate_node::exit::{Exit, Failure};

use crate::directory::Directory;
use crate::supervisor::control;

/// How long another command may take until it has let go.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried.
const PAUSE: Duration = Duration::from_millis(20);

/// The directory of a testnet, locked as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    directory: Directory,
    /// Whether it was not there before.
    is_new: bool,
    file: File,
}

impl Lock {
    /// Locks a directory in which no testnet runs, and makes it if it is not there.
    pub(crate) fn take(directory: &Directory) -> Result<Self, Failure> {
        let root = directory.root();
        let failed =
            |error: io::Error| Failure::new(Exit::Storage, format!("{}: {error}", root.display()));
        let (end, is_new) = (Instant::now() + PATIENCE, !root.exists());
        loop {
            if control::is_running(directory) {
                return Err(control::runs(directory));
            }
            fs::create_dir_all(root).map_err(failed)?;
            match locked(directory) {
                Ok(Some(file)) => return Ok(Self { directory: directory.clone(), is_new, file }),
                Ok(None) => {}
                Err(error) => return Err(failed(error)),
            }
            if Instant::now() > end {
                let sentence =
                    format!("another command makes, starts or deletes {}", root.display());
                return Err(Failure::new(Exit::Configuration, sentence));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Leaves nothing behind if nothing has come of it.
    pub(crate) fn give_up(self) {
        if self.is_new {
            // It stays if something is in it.
            let _ = fs::remove_dir(self.directory.root());
        }
    }

    /// Deletes the directory and all that is in it, unless that is something else than a testnet, or in use.
    pub(crate) fn delete(self) -> Result<(), Failure> {
        self.directory.clear()?;
        let root = self.directory.root();
        fs::remove_dir(root)
            .map_err(|error| Failure::new(Exit::Storage, format!("{}: {error}", root.display())))
    }

    /// The lock as the standard input of a child, which never reads it: so the child holds it too, from its very
    /// beginning on.
    pub(crate) fn hand_on(self) -> Stdio {
        self.file.into()
    }
}

/// The directory if nobody else holds it and it has not been deleted meanwhile.
fn locked(directory: &Directory) -> io::Result<Option<File>> {
    let root = directory.root();
    let file = match File::open(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let (ours, there) = (file.metadata()?, fs::metadata(root));
    Ok(there.is_ok_and(|there| there.ino() == ours.ino()).then_some(file))
}
