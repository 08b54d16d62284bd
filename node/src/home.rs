//! The home of a node: the directory that holds all it keeps.
//!
//! ```text
//! config.toml    what it is set to             keys/        validator.key, 0600
//! genesis.json   what all nodes agree on       wal/         the log
//! FORMAT         the version of this layout    chain.db     blocks and state
//! LOCK           held, with the process id     snapshots/   admin.sock
//! validator.json what a genesis says of it
//! ```
//!
//! `FORMAT` is written last, so a home that was not made to its end is told from one that was. `LOCK` is
//! held by the operating system as long as the process lives, however it ends; the number in it only
//! tells people whom to look for.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use quorate_chain::genesis::GenesisValidator;
use quorate_consensus::config::Incarnation;

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::keys::{KeyFile, KeyFileError, Used};

/// The version of the layout that this program reads and writes.
pub const FORMAT: &str = "quorate-home 1";

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// The operating system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// What should have been read or written.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// There is no home.
    #[error("{} is no home of a node: it has no FORMAT; `quorate init` makes one", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It was made by another version.
    #[error("{} has format {found:?}, this program reads {FORMAT:?}", path.display())]
    Format {
        /// Which home.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// Another process uses it.
    #[error("{} is in use by process {pid}", path.display())]
    Locked {
        /// Which home.
        path: PathBuf,
        /// Who uses it; `?` if it has not said.
        pid: String,
    },
    /// There is a home already.
    #[error("{} is a home already; nothing was changed", path.display())]
    Exists {
        /// Which home.
        path: PathBuf,
    },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

impl HomeError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// How a process ends because of it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let exit = match self {
            Self::Io { .. } | Self::Locked { .. } => Exit::Storage,
            Self::Missing { .. } | Self::Format { .. } | Self::Exists { .. } | Self::Key(_) => {
                Exit::Configuration
            }
        };
        Failure::new(exit, self)
    }
}

/// The places in a home.
#[derive(Clone, Debug)]
pub struct Layout(PathBuf);

impl Layout {
    /// The places in this directory.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// What the node is set to.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// What all nodes of the chain agree on.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.0.join("genesis.json")
    }

    /// What a genesis says of the validator.
    #[must_use]
    pub fn validator(&self) -> PathBuf {
        self.0.join("validator.json")
    }

    /// The key of the validator.
    #[must_use]
    pub fn validator_key(&self) -> PathBuf {
        self.0.join("keys").join("validator.key")
    }

    /// The directory of the log.
    #[must_use]
    pub fn wal(&self) -> PathBuf {
        self.0.join("wal")
    }

    /// The database of blocks and state.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.0.join("chain.db")
    }

    /// Where the operator of the running node speaks to it.
    #[must_use]
    pub fn admin(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    fn lock(&self) -> PathBuf {
        self.0.join("LOCK")
    }

    fn format(&self) -> PathBuf {
        self.0.join("FORMAT")
    }
}

/// What a new home begins with.
#[derive(Debug)]
pub struct NewHome<'a> {
    /// What the node is set to.
    pub config: &'a Config,
    /// The genesis file, byte for byte, if there is one yet.
    pub genesis: Option<&'a [u8]>,
    /// The secret of the validator's key.
    pub seed: &'a [u8; 32],
    /// What a genesis shall say of the validator, if there is none yet.
    pub validator: Option<&'a GenesisValidator>,
    /// Whether the key is for testnets only.
    pub development: bool,
}

/// A home that this process alone uses, until it is dropped.
#[derive(Debug)]
pub struct Home {
    layout: Layout,
    _lock: File,
}

impl Home {
    /// Makes a home. What was there of an attempt that did not come to its end is overwritten.
    ///
    /// # Errors
    /// If there is a home already, or it cannot be written.
    pub fn create(root: &Path, new: &NewHome<'_>) -> Result<Layout, HomeError> {
        let layout = Layout::new(root);
        if layout.format().exists() {
            return Err(HomeError::Exists { path: root.to_owned() });
        }
        for directory in [layout.wal(), root.join("keys"), root.join("snapshots")] {
            fs::create_dir_all(&directory).map_err(HomeError::io(&directory))?;
        }
        private_directory(&root.join("keys"))?;
        write_durably(&layout.config(), new.config.to_file().as_bytes())?;
        if let Some(genesis) = new.genesis {
            write_durably(&layout.genesis(), genesis)?;
        }
        if let Some(validator) = new.validator {
            let mut text = serde_json::to_vec_pretty(validator).expect("it has a JSON form");
            text.push(b'\n');
            write_durably(&layout.validator(), &text)?;
        }
        let incarnation = Incarnation(random_number().map_err(HomeError::io(root))?);
        let used = Some(Used { incarnation, signed: false });
        KeyFile { development: new.development, ..KeyFile::of(new.seed, used) }
            .write(&layout.validator_key())?;
        write_durably(&layout.format(), format!("{FORMAT}\n").as_bytes())?;
        sync_directory(root)?;
        Ok(layout)
    }

    /// Opens a home and keeps everybody else out.
    ///
    /// # Errors
    /// If it is none, is of another version, or somebody is in.
    pub fn open(root: &Path) -> Result<Self, HomeError> {
        let layout = Layout::new(root);
        let format = match fs::read_to_string(layout.format()) {
            Ok(format) => format,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(HomeError::Missing { path: root.to_owned() });
            }
            Err(error) => return Err(HomeError::io(&layout.format())(error)),
        };
        if format.trim_end() != FORMAT {
            let found = format.trim_end().to_owned();
            return Err(HomeError::Format { path: root.to_owned(), found });
        }
        let lock = lock(&layout)?;
        Ok(Self { layout, _lock: lock })
    }

    /// Its places.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }
}

fn lock(layout: &Layout) -> Result<File, HomeError> {
    let path = layout.lock();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(HomeError::io(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = file.read_to_string(&mut pid);
            let pid = read.ok().map(|_| pid.trim().to_owned()).filter(|pid| !pid.is_empty());
            let pid = pid.unwrap_or_else(|| "?".to_owned());
            return Err(HomeError::Locked { path: layout.root().to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(HomeError::io(&path)(error)),
    }
    let told = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    told.map_err(HomeError::io(&path))?;
    Ok(file)
}

/// A random number from the operating system.
///
/// # Errors
/// If it has none to give.
pub fn random_number() -> io::Result<u64> {
    getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
}

/// Writes a file beside its place and moves it there, so that it is there whole or not at all.
pub(crate) fn write_durably(path: &Path, content: &[u8]) -> Result<(), HomeError> {
    replace(path, content, 0o644).map_err(HomeError::io(path))
}

/// The same, with the rights that the file shall have.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let beside = path.with_extension("tmp");
    // What an attempt that failed has left may have other rights.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn sync_directory(path: &Path) -> Result<(), HomeError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(HomeError::io(path))
}

fn private_directory(path: &Path) -> Result<(), HomeError> {
    use std::os::unix::fs::PermissionsExt as _;

    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(HomeError::io(path))
}
