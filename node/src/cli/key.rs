//! `quorate key`: the files of accounts' keys.

use std::path::PathBuf;

use quorate_chain::ids::AccountKey;
use quorate_client::KeyFile as AccountFile;
use serde::Serialize;

use super::output::{self, Done, Output};
use super::reach::{home, key_path, passphrase};
use crate::exit::{Exit, Failure};
use crate::keys::KeyFile;

/// Make and show keys.
#[derive(Debug, clap::Args)]
pub(super) struct Key {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key for an account and print its public half.
    New {
        /// A path for the file, or a name: then it is NAME.key in keys/ of the home.
        #[arg(value_name = "FILE|NAME")]
        key: String,
        /// The home [default: $QUORATE_HOME].
        #[arg(long, value_name = "DIRECTORY")]
        home: Option<PathBuf>,
        /// Put it under the passphrase that QUORATE_PASSPHRASE says, or the first line of the file that
        /// QUORATE_PASSPHRASE_FILE names.
        #[arg(long)]
        passphrase: bool,
    },
    /// Print the public half of a key, an account's or a validator's.
    Show {
        /// A file, or the name of one in keys/ of the testnet or the home.
        #[arg(value_name = "FILE|NAME")]
        key: String,
    },
}

/// What is printed of a key.
#[derive(Serialize)]
struct Shown {
    public_key: AccountKey,
    kind: &'static str,
    file: PathBuf,
}

impl Key {
    /// Runs the command.
    pub(super) fn run(self, output: Output) -> Done {
        let configuration =
            |error: &dyn std::fmt::Display| Failure::new(Exit::Configuration, error);
        let shown = match self.what {
            What::New { key, home, passphrase: sealed } => {
                let path = new_path(&key, home)?;
                let made = match passphrase()?.filter(|_| sealed) {
                    Some(passphrase) => AccountFile::generate_under(&path, &passphrase),
                    None if sealed => {
                        let why =
                            "which passphrase? Set QUORATE_PASSPHRASE or QUORATE_PASSPHRASE_FILE";
                        return Err(Failure::new(Exit::Usage, why).into());
                    }
                    None => AccountFile::generate(&path),
                };
                let made = made.map_err(|error| configuration(&error))?;
                Shown { public_key: made.public(), kind: "account", file: path }
            }
            What::Show { key } => {
                let file = key_path(&key)?;
                // That of a validator is no account's, and the other way round.
                if let Ok(public_key) = AccountFile::public_of(&file) {
                    Shown { public_key, kind: "account", file }
                } else {
                    let read = KeyFile::read(&file).map_err(|error| configuration(&error))?;
                    Shown { public_key: read.key.account_key(), kind: "validator", file }
                }
            }
        };
        match output {
            Output::Text => output::line(&shown.public_key.to_string()),
            Output::Json => output::json(&shown),
        }
    }
}

fn new_path(key: &str, named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if key.contains(std::path::MAIN_SEPARATOR) || key.ends_with(".key") {
        return Ok(PathBuf::from(key));
    }
    let home = named.or_else(home).ok_or_else(|| {
        let sentence = format!(
            "in which home shall the key `{key}` be? Say --home, or name a file: ./{key}.key"
        );
        Failure::new(Exit::Usage, sentence)
    })?;
    Ok(home.join("keys").join(format!("{key}.key")))
}
