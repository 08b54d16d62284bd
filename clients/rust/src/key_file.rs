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
//! Under a passphrase there is no `secret` but two other lines:
//!
//! ```text
//! sealed = "<64 hex digits>"     the secret, xor scrypt(passphrase, salt, N = 2^15, r = 8, p = 1)
//! salt = "<32 hex digits>"       by chance, for this file alone
//! ```
//!
//! So the passphrase is right if what comes out has the public key of the file.
//!
//! The secret is the seed of RFC 8032. A file that others may use is refused, because then others
//! may have the key. The key of a validator has more lines, and is refused here: what it signs is
//! for its node to decide.
//!
//! Left out: passphrases for the keys of validators, which start without anybody there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::AccountKey;
use zeroize::Zeroizing;

use crate::passphrase::Passphrase;

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
    /// It is under a passphrase, and none was given.
    #[error("{}: it is under a passphrase; say it in QUORATE_PASSPHRASE, or its file in \
        QUORATE_PASSPHRASE_FILE", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
    },
    /// It is under another passphrase.
    #[error("{}: the passphrase does not fit", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
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
        Self::read_with(path, None)
    }

    /// Reads a file that may be under a passphrase.
    ///
    /// # Errors
    /// As for [`KeyFile::read`], or if it is under another passphrase.
    pub fn read_with(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, KeyFileError> {
        let text = read_text(path)?;
        let malformed = |what| KeyFileError::Malformed { path: path.to_owned(), what };
        let lines = parse(&text).map_err(malformed)?;
        let development = lines.development;
        let seed = match (lines.secret, lines.sealed, lines.salt) {
            (Some(secret), None, None) => bytes(secret).ok_or("its secret is not 64 hex digits"),
            (None, Some(sealed), Some(salt)) => {
                let given = passphrase;
                let given = given.ok_or_else(|| KeyFileError::Sealed { path: path.to_owned() })?;
                let sealed = bytes(sealed).ok_or("what is sealed is not 64 hex digits");
                let salt = bytes(salt).ok_or("its salt is not 32 hex digits");
                sealed.and_then(|sealed| Ok(given.hide(&sealed, &*salt?)))
            }
            (None, None, None) => Err("it has no secret"),
            _ => Err("a secret is in the clear, or sealed with a salt"),
        };
        let secret = SecretKey::from_seed(&*seed.map_err(malformed)?);
        if lines.public != Some(secret.account_key().to_string().as_str()) {
            return Err(match lines.sealed {
                Some(_) => KeyFileError::Passphrase { path: path.to_owned() },
                None => malformed("its public key is not that of its secret"),
            });
        }
        Ok(Self { path: path.to_owned(), secret, development })
    }

    /// The public key of a file, under a passphrase or not.
    ///
    /// # Errors
    /// If it cannot be read, or is no key file of an account.
    pub fn public_of(path: &Path) -> Result<AccountKey, KeyFileError> {
        let text = read_text(path)?;
        let malformed = |what| KeyFileError::Malformed { path: path.to_owned(), what };
        let public = parse(&text).map_err(malformed)?.public;
        let public = public.and_then(|text| text.parse().ok());
        public.ok_or_else(|| malformed("it has no public key"))
    }

    /// Makes a key by chance and a file for it under a passphrase. The file must not exist.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn generate_under(path: &Path, passphrase: &Passphrase) -> Result<Self, KeyFileError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut seed[..]).map_err(KeyFileError::Random)?;
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(KeyFileError::Random)?;
        let (sealed, salt_hex) = (passphrase.hide(&seed, &salt), HEXLOWER.encode(&salt));
        let secret = SecretKey::from_seed(&seed);
        let lines = [("sealed", HEXLOWER.encode(&*sealed)), ("salt", salt_hex)];
        let mut text = head(secret.account_key());
        for (name, value) in lines {
            text.extend_from_slice(format!("{name} = \"{value}\"\n").as_bytes());
        }
        write_new(path, &text)?;
        Ok(Self { path: path.to_owned(), secret, development: false })
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
        let mut hex = Zeroizing::new([0; 64]);
        HEXLOWER.encode_mut(&secret.seed()[..], &mut hex[..]);
        let mut text = head(secret.account_key());
        for part in [b"secret = \"", &hex[..], b"\"\n"] {
            text.extend_from_slice(part);
        }
        if development {
            text.extend_from_slice(b"development = \"yes\"\n");
        }
        write_new(path, &text)?;
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

/// The text of a file that nobody else may use.
fn read_text(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let io = |error| KeyFileError::Io { path: path.to_owned(), error };
    let file = File::open(path).map_err(io)?;
    check_mode(path, &file.metadata().map_err(io)?)?;
    // Room from the beginning: a buffer that grows leaves copies of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize));
    file.take(LONGEST).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// What every key file begins with. There is room for the rest.
fn head(public: AccountKey) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST as usize));
    text.extend_from_slice(b"# Whoever can read this file can sign in its owner's name.\n");
    text.extend_from_slice(format!("quorate-key = \"{VERSION}\"\n").as_bytes());
    text.extend_from_slice(format!("public = \"{public}\"\n").as_bytes());
    text
}

fn write_new(path: &Path, text: &[u8]) -> Result<(), KeyFileError> {
    let io = |error| KeyFileError::Io { path: path.to_owned(), error };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io)?;
    }
    let mut file = create(path).map_err(io)?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(io)
}

/// Bytes of a known length in hex.
fn bytes<const LENGTH: usize>(hex: &str) -> Option<Zeroizing<[u8; LENGTH]>> {
    let mut bytes = Zeroizing::new([0; LENGTH]);
    let fits = HEXLOWER.decode_len(hex.len()) == Ok(LENGTH);
    let decoded = fits && HEXLOWER.decode_mut(hex.as_bytes(), &mut bytes[..]).is_ok();
    decoded.then_some(bytes)
}

/// The lines of a file.
#[derive(Default)]
struct Lines<'a> {
    public: Option<&'a str>,
    secret: Option<&'a str>,
    sealed: Option<&'a str>,
    salt: Option<&'a str>,
    development: bool,
}

fn parse(text: &str) -> Result<Lines<'_>, &'static str> {
    let (mut lines, mut version, mut development) = (Lines::default(), None, None);
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or("a line is not `name = \"value\"`")?;
        let value = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.ok_or("a line is not `name = \"value\"`")?;
        let field = match name.trim() {
            "quorate-key" => &mut version,
            "public" => &mut lines.public,
            "secret" => &mut lines.secret,
            "sealed" => &mut lines.sealed,
            "salt" => &mut lines.salt,
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
    Ok(Lines { development: development.is_some(), ..lines })
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
