//! Commands that write: `put`, `update`, `remove`, `cas`, `grant`, `revoke`, `apply`.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bytes::Bytes;
use quorate_chain::ids::AccountKey;
use quorate_chain::transaction::Operation;
use quorate_client::Batch;
use quorate_client::answer::Outcome;

use super::operations;
use super::output::{self, Done, Ended, Output};
use super::reach::Writer;
use crate::exit::{Exit, Failure};

/// A key and a value.
#[derive(Debug, clap::Args)]
pub(super) struct Set {
    /// The key.
    key: OsString,
    /// The value: as it is, @FILE for the bytes of a file, or - for those of standard input.
    #[arg(allow_negative_numbers = true)]
    value: OsString,
    #[command(flatten)]
    writer: Writer,
}

/// A key.
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// The key.
    key: OsString,
    #[command(flatten)]
    writer: Writer,
}

/// A key, what its value must be, and what it shall be.
#[derive(Debug, clap::Args)]
pub(super) struct Cas {
    /// The key.
    key: OsString,
    /// The value that it must have: as it is, @FILE or -.
    #[arg(
        long,
        value_name = "VALUE",
        allow_negative_numbers = true,
        required_unless_present = "absent",
        conflicts_with = "absent"
    )]
    expect: Option<OsString>,
    /// It must have none.
    #[arg(long)]
    absent: bool,
    /// Its new value: as it is, @FILE or -.
    #[arg(allow_negative_numbers = true)]
    value: OsString,
    #[command(flatten)]
    writer: Writer,
}

/// An account and how the keys begin that it may write.
#[derive(Debug, clap::Args)]
pub(super) struct Grant {
    /// The account's public key.
    account: AccountKey,
    /// How the keys begin.
    prefix: OsString,
    #[command(flatten)]
    writer: Writer,
}

/// A file with operations.
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// The file, such as `{"ops":[{"op":"put","key":"a","value":"aGVsbG8="}]}`, or - for standard
    /// input. Values are base64; `key_base64` is for keys that are no text.
    #[arg(value_name = "FILE.json")]
    file: OsString,
    #[command(flatten)]
    writer: Writer,
}

impl Grant {
    /// Allows it.
    pub(super) fn grant(self, output: Output) -> Done {
        let (account, prefix) = (self.account, Bytes::copy_from_slice(self.prefix.as_bytes()));
        send(&self.writer, Batch::new().and(Operation::Grant { account, prefix }), output)
    }

    /// Takes it back.
    pub(super) fn revoke(self, output: Output) -> Done {
        let (account, prefix) = (self.account, Bytes::copy_from_slice(self.prefix.as_bytes()));
        send(&self.writer, Batch::new().and(Operation::Revoke { account, prefix }), output)
    }
}

impl Apply {
    /// Does what the file says.
    pub(super) fn run(self, output: Output) -> Done {
        send(&self.writer, operations::read(&self.file)?, output)
    }
}

impl Set {
    /// Sets a key that has no value.
    pub(super) fn put(self, output: Output) -> Done {
        let value = value(&self.value)?;
        send(&self.writer, Batch::new().put(self.key.as_bytes(), value), output)
    }

    /// Sets a key.
    pub(super) fn update(self, output: Output) -> Done {
        let value = value(&self.value)?;
        send(&self.writer, Batch::new().update(self.key.as_bytes(), value), output)
    }
}

impl Remove {
    /// Takes a key's value away.
    pub(super) fn run(self, output: Output) -> Done {
        send(&self.writer, Batch::new().remove(self.key.as_bytes()), output)
    }
}

impl Cas {
    /// Sets a key if its value is as expected.
    pub(super) fn run(self, output: Output) -> Done {
        let expected = self.expect.as_deref().map(value).transpose()?;
        let new = value(&self.value)?;
        let batch = Batch::new().cas(self.key.as_bytes(), expected.as_deref(), new);
        send(&self.writer, batch, output)
    }
}

fn send(writer: &Writer, batch: Batch, output: Output) -> Done {
    tell(&writer.account()?.send_for_body(batch)?, output)
}

/// Prints an outcome.
pub(super) fn tell(body: &str, output: Output) -> Done {
    match output {
        Output::Json => output::body(body),
        Output::Text => {
            let outcome: Outcome = serde_json::from_str(body)
                .map_err(|error| Failure::new(Exit::NoNode, format!("no outcome: {error}")))?;
            output::line(&sentence(&outcome))
        }
    }
}

/// What became of a transaction, in one line.
pub(super) fn sentence(outcome: &Outcome) -> String {
    let Outcome { id, status, height, error, .. } = outcome;
    let mut line = status.to_string();
    if let Some(height) = height {
        line.push_str(&format!(" height {height}"));
    }
    line.push_str(&format!(" tx {id}"));
    if let Some(error) = error {
        line.push_str(&format!(" {}: {}", error.code, error.detail));
    }
    line
}

/// The bytes that an argument means.
pub(super) fn value(argument: &OsStr) -> Result<Vec<u8>, Ended> {
    match argument.as_bytes().strip_prefix(b"@") {
        Some(file) => content(OsStr::from_bytes(file)),
        None if argument.as_bytes() == b"-" => content(argument),
        None => Ok(argument.as_bytes().to_owned()),
    }
}

/// The bytes of a file, or of standard input if it is `-`.
pub(super) fn content(file: &OsStr) -> Result<Vec<u8>, Ended> {
    let usage = |what: String| Ended::from(Failure::new(Exit::Usage, what));
    if file.as_bytes() == b"-" {
        let mut value = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut value);
        read.map_err(|error| usage(format!("standard input: {error}")))?;
        return Ok(value);
    }
    let path = Path::new(file);
    std::fs::read(path).map_err(|error| usage(format!("{}: {error}", path.display())))
}
