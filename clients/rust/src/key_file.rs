//! Files with the secret key of an account.
//!
//! ```text
//! # Whoever can read this file can sign in its owner's name.
//! quorate-key = "1"
//! public = "<64 hex digits>"
//! secret = "<64 hex digits>"
//! development = "yes"            of a key made for a testnet only
//! ```
//!
//! The secret is the seed of RFC 8032. A file that others may use is refused, because then others
//! may have the key. The key of a validator has more lines, and is refused here: what it signs is
//! for its node to decide.
//!
//! Left out: passphrases. A key that must not lie on a disk in the clear belongs on another machine,
//! where transactions are signed offline.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::AccountKey;
use zeroize::Zeroizing;

/// The version that this program reads and writes.
const VERSION: &str = "1";
/// No key file is longer.
const LONGEST: u64 = 4_096;

/// The key of an account, with where it came from.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    secret: SecretKey,
    development: bool,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others may read or change it.
    #[error("{}: others have access to it (mode {mode:03o}); chmod 600 it, and use another key if \
        others may have seen this one", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no file of a key.
    #[error("{}: not the key file of an account: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The operating system gives no random numbers.
    #[error("no random numbers for a new key: {0}")]
    Random(getrandom::Error),
}

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, others may read it, or it holds no key of an account.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let io = |error| KeyFileError::Io { path: path.to_owned(), error };
        let file = File::open(path).map_err(io)?;
        check_mode(path, &file.metadata().map_err(io)?)?;
        let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize));
        file.take(LONGEST).read_to_string(&mut text).map_err(io)?;
        let (secret, development) =
            parse(&text).map_err(|what| KeyFileError::Malformed { path: path.to_owned(), what })?;
        Ok(Self { path: path.to_owned(), secret, development })
    }

    /// Makes a key by chance and a file for it, which must not exist.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn generate(path: &Path) -> Result<Self, KeyFileError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut seed[..]).map_err(KeyFileError::Random)?;
        Self::write(path, SecretKey::from_seed(&seed))
    }

    /// Writes a key into a file, which must not exist.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn write(path: &Path, secret: SecretKey) -> Result<Self, KeyFileError> {
        Self::write_as(path, secret, false)
    }

    /// The same, with the mark of a key that others may know: it is for testnets only.
    ///
    /// # Errors
    /// As for [`KeyFile::write`].
    pub fn write_development(path: &Path, secret: SecretKey) -> Result<Self, KeyFileError> {
        Self::write_as(path, secret, true)
    }

    fn write_as(path: &Path, secret: SecretKey, development: bool) -> Result<Self, KeyFileError> {
        let io = |error| KeyFileError::Io { path: path.to_owned(), error };
        let mut hex = Zeroizing::new([0; 64]);
        HEXLOWER.encode_mut(&secret.seed()[..], &mut hex[..]);
        let public = secret.account_key();
        // Room from the beginning: a buffer that grows leaves copies of the secret behind.
        let mut text = Zeroizing::new(Vec::with_capacity(LONGEST as usize));
        text.extend_from_slice(b"# Whoever can read this file can sign in its owner's name.\n");
        text.extend_from_slice(format!("quorate-key = \"{VERSION}\"\n").as_bytes());
        text.extend_from_slice(format!("public = \"{public}\"\nsecret = \"").as_bytes());
        text.extend_from_slice(&hex[..]);
        text.extend_from_slice(b"\"\n");
        if development {
            text.extend_from_slice(b"development = \"yes\"\n");
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        let mut file = create(path).map_err(io)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(io)?;
        Ok(Self { path: path.to_owned(), secret, development })
    }

    /// Whether it was made for a testnet, so that others may know it.
    #[must_use]
    pub const fn is_development(&self) -> bool {
        self.development
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> AccountKey {
        self.secret.account_key()
    }

    /// The key, to sign with.
    #[must_use]
    pub fn into_secret(self) -> SecretKey {
        self.secret
    }
}

fn parse(text: &str) -> Result<(SecretKey, bool), &'static str> {
    let (mut version, mut public, mut secret, mut development) = (None, None, None, None);
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or("a line is not `name = \"value\"`")?;
        let value = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.ok_or("a line is not `name = \"value\"`")?;
        let field = match name.trim() {
            "quorate-key" => &mut version,
            "public" => &mut public,
            "secret" => &mut secret,
            "development" if value == "yes" => &mut development,
            "log" | "signed" => {
                return Err("it is the key of a validator, which only its node uses");
            }
            _ => return Err("it says something that this version does not know"),
        };
        if field.replace(value).is_some() {
            return Err("it says something twice");
        }
    }
    match version {
        Some(VERSION) => {}
        Some(_) => return Err("it is of another version"),
        None => return Err("it is no key file: it has no line `quorate-key`"),
    }
    let secret = secret.ok_or("it has no secret")?;
    let mut seed = Zeroizing::new([0; 32]);
    let length = HEXLOWER.decode_len(secret.len());
    if length != Ok(32) || HEXLOWER.decode_mut(secret.as_bytes(), &mut seed[..]).is_err() {
        return Err("its secret is not 64 hex digits");
    }
    let key = SecretKey::from_seed(&seed);
    match public {
        Some(public) if public == key.account_key().to_string() => Ok((key, development.is_some())),
        _ => Err("its public key is not that of its secret"),
    }
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(KeyFileError::Exposed { path: path.to_owned(), mode })
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &fs::Metadata) -> Result<(), KeyFileError> {
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
