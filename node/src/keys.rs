//! Files of secret keys.
//!
//! ```text
//! # Whoever can read this file can sign in its owner's name.
//! quorate-key = "1"
//! public = "<64 hex digits>"
//! secret = "<64 hex digits>"
//! log = "<16 hex digits>"       a validator's: the name of the log that knows what it has signed
//! signed = "no"                 a validator's: whether it may have signed anything yet
//! development = "yes"            of a key made for a testnet only
//! ```
//!
//! A file that others than its owner may read or write is refused. The secret is erased from memory
//! when it is no longer needed, and no error and no log line has it.
//!
//! A validator that has lost its log no longer knows what it has signed. The key tells: if it has signed,
//! and the log in the home goes by another name or there is none, then the node must recover before it
//! signs again.
//!
//! Left out: passphrases, which keys of accounts may have. A validator that starts by itself would need
//! it beside the file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use quorate_chain::crypto::SecretKey;
use quorate_consensus::config::Incarnation;
use zeroize::Zeroizing;

use crate::home;

const VERSION: &str = "1";

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The operating system said no.
    #[error("key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error("key file {} has mode {mode:03o}: others may use it; `chmod 600` it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no key file, or of another version.
    #[error("key file {}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What a validator's key file says of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The name of the log that knows what the key has signed.
    pub incarnation: Incarnation,
    /// Whether it may have signed anything.
    pub signed: bool,
}

/// A new secret, from the randomness of the operating system.
///
/// # Errors
/// If it has none to give.
pub fn new_seed() -> io::Result<Zeroizing<[u8; 32]>> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(seed)
}

/// What a key file says.
#[derive(Debug)]
pub struct KeyFile {
    /// The key.
    pub key: SecretKey,
    /// What it says of a validator's log; accounts have none.
    pub log: Option<Used>,
    /// Whether it was made for a testnet, so that others may know it.
    pub development: bool,
}

impl KeyFile {
    /// What the file of this secret says.
    #[must_use]
    pub fn of(seed: &[u8; 32], log: Option<Used>) -> Self {
        Self { key: SecretKey::from_seed(seed), log, development: false }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, others may use it, or it is no key file.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        use std::os::unix::fs::PermissionsExt as _;

        let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        let mode = facts.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open { path: path.to_owned(), mode });
        }
        // Room from the beginning: a buffer that grows leaves copies of the secret behind.
        let mut text = Zeroizing::new(String::with_capacity(4096));
        file.by_ref().take(4096).read_to_string(&mut text).map_err(failed)?;
        parse(&text).map_err(|what| KeyFileError::Content { path: path.to_owned(), what })
    }

    /// Writes it, readable by its owner alone, in place of what was there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), KeyFileError> {
        let seed = self.key.seed();
        let mut secret = Zeroizing::new([0; 64]);
        HEXLOWER.encode_mut(&*seed, &mut *secret);
        let mut text = Zeroizing::new(Vec::with_capacity(4096));
        let line = |text: &mut Vec<u8>, name: &str, value: &[u8]| {
            for part in [name.as_bytes(), b" = \"", value, b"\"\n"] {
                text.extend_from_slice(part);
            }
        };
        text.extend_from_slice(b"# Whoever can read this file can sign in its owner's name.\n");
        line(&mut text, "quorate-key", VERSION.as_bytes());
        line(&mut text, "public", self.key.account_key().to_string().as_bytes());
        line(&mut text, "secret", &*secret);
        if let Some(Used { incarnation, signed }) = self.log {
            line(&mut text, "log", format!("{:016x}", incarnation.0).as_bytes());
            line(&mut text, "signed", if signed { b"yes" } else { b"no" });
        }
        if self.development {
            line(&mut text, "development", b"yes");
        }
        home::replace(path, &text, 0o600)
            .map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
    }
}

fn parse(text: &str) -> Result<KeyFile, &'static str> {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or("a line is not `name = \"value\"`")?;
        let value = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        fields.push((name.trim(), value.ok_or("a line is not `name = \"value\"`")?));
    }
    let mut take = |wanted: &str| {
        let at = fields.iter().position(|(name, _)| *name == wanted)?;
        Some(fields.remove(at).1)
    };
    match take("quorate-key") {
        Some(VERSION) => {}
        Some(_) => return Err("it is of another version"),
        None => return Err("it is no key file: it has no line `quorate-key`"),
    }
    let (public, secret) = (take("public"), take("secret").ok_or("it has no secret")?);
    let (log, signed, development) = (take("log"), take("signed"), take("development"));
    if !fields.is_empty() || development.is_some_and(|said| said != "yes") {
        return Err("it says something that this version does not know");
    }
    let mut seed = Zeroizing::new([0; 32]);
    let length = HEXLOWER.decode_len(secret.len());
    if length != Ok(32) || HEXLOWER.decode_mut(secret.as_bytes(), &mut *seed).is_err() {
        return Err("its secret is not 64 hex digits");
    }
    let log = match (log, signed) {
        (None, None) => None,
        (Some(log), Some(signed)) => Some(Used {
            incarnation: Incarnation(
                u64::from_str_radix(log, 16).map_err(|_| "its log is not 16 hex digits")?,
            ),
            signed: match signed {
                "yes" => true,
                "no" => false,
                _ => return Err("its `signed` is neither yes nor no"),
            },
        }),
        _ => return Err("`log` and `signed` go together"),
    };
    let key = SecretKey::from_seed(&seed);
    match public {
        Some(public) if public == key.account_key().to_string() => {
            Ok(KeyFile { key, log, development: development.is_some() })
        }
        _ => Err("its public key is not that of its secret"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        let used = Used { incarnation: Incarnation(0x1234), signed: true };
        for log in [None, Some(used), Some(Used { signed: false, ..used })] {
            KeyFile::of(&[7; 32], log).write(&path).unwrap();
            let back = KeyFile::read(&path).unwrap();
            assert!(!back.development);
            assert_eq!(back.key.account_key(), SecretKey::from_seed(&[7; 32]).account_key());
            assert_eq!(back.log, log);
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = KeyFile::read(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Open { mode: 0o640, .. }), "{error}");
    }

    #[test]
    fn a_file_that_says_anything_else_is_refused_without_telling_the_secret() {
        let secret = "07".repeat(32);
        let public = SecretKey::from_seed(&[7; 32]).account_key();
        let head = format!("quorate-key = \"1\"\npublic = \"{public}\"\n");
        for (text, expected) in [
            (String::new(), "no key file"),
            (format!("quorate-key = \"2\"\nsecret = \"{secret}\"\n"), "another version"),
            (head.clone(), "no secret"),
            (format!("{head}secret = \"{}\"\n", &secret[2..]), "64 hex digits"),
            (format!("{head}secret = \"{secret}\"\nextra = \"1\"\n"), "does not know"),
            (format!("{head}secret = \"{secret}\"\nlog = \"12\"\n"), "go together"),
            (
                head.replace(&public.to_string(), &secret) + &format!("secret = \"{secret}\"\n"),
                "public key",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
            assert!(!error.contains(&secret));
        }
    }
}
