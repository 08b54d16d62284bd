//! What hides a secret in a file from who has the file alone.

use std::path::Path;
use std::{env, fmt, fs, io};

use zeroize::Zeroizing;

/// Guessing one passphrase takes 32 MiB and a tenth of a second.
const COST: (u8, u32, u32) = (15, 8, 1);

/// A passphrase. It is erased from memory when it is no longer needed, and never shown.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl Passphrase {
    /// This one.
    #[must_use]
    pub fn new(text: impl AsRef<[u8]>) -> Self {
        Self(Zeroizing::new(text.as_ref().to_owned()))
    }

    /// The first line of a file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = Zeroizing::new(fs::read(path)?);
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(Self::new(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// What the environment says: `QUORATE_PASSPHRASE`, or the file that `QUORATE_PASSPHRASE_FILE` names.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn from_environment() -> io::Result<Option<Self>> {
        if let Some(text) = env::var_os("QUORATE_PASSPHRASE").filter(|text| !text.is_empty()) {
            let text = Zeroizing::new(text.into_encoded_bytes());
            return Ok(Some(Self::new(&*text)));
        }
        let file = env::var_os("QUORATE_PASSPHRASE_FILE").filter(|path| !path.is_empty());
        file.map(|path| Self::read(Path::new(&path))).transpose()
    }

    /// A secret hidden under it, or, if it is hidden, the secret. Each salt is for one secret.
    pub(crate) fn hide(&self, secret: &[u8; 32], salt: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        let (log_n, r, p) = COST;
        let params = scrypt::Params::new(log_n, r, p).expect("the cost is one that scrypt takes");
        let mut mask = Zeroizing::new([0; 32]);
        scrypt::scrypt(&self.0, salt, &params, &mut mask[..]).expect("32 bytes can be made");
        for (mask, byte) in mask.iter_mut().zip(secret) {
            *mask ^= byte;
        }
        mask
    }
}
