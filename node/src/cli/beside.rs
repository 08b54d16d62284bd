//! Commands that are programs of their own: `quorate testnet …` runs `quorate-testnet …`, which stands beside this
//! program or where commands are, as cargo and git do with their subcommands.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::output::{Done, Output};
use crate::exit::{Exit, Failure};

/// Everything that follows goes to the other program.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct Beside {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
}

impl Beside {
    /// Becomes the program that does this; returns only if there is none.
    pub(super) fn run(self, what: &str, output: Output) -> Done {
        let package = format!("quorate-{what}");
        let name = format!("{package}{}", env::consts::EXE_SUFFIX);
        let told = env::var_os("QUORATE_BIN_DIR").map(PathBuf::from);
        let own = env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
        let beside = told.into_iter().chain(own).map(|place| place.join(&name));
        let program = beside.into_iter().find(|program| program.is_file());
        let error = Command::new(program.unwrap_or_else(|| PathBuf::from(&name)))
            .args(self.heard(output))
            .exec();
        let sentence = format!("{name}: {error}; cargo build --release -p {package} makes it");
        Err(Failure::new(Exit::Configuration, sentence).into())
    }

    /// What the other program is called with: what is to be printed may have been said before its name.
    fn heard(self, output: Output) -> Vec<OsString> {
        let mut arguments = self.arguments;
        let says =
            |argument: &OsString| argument.to_str().is_some_and(|it| it.starts_with("--output"));
        if output == Output::Json && !arguments.iter().any(says) {
            arguments.extend(["--output", "json"].map(OsString::from));
        }
        arguments
    }
}
