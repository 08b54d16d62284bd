//! A flag for every setting of a node, and what the environment says.

use std::env;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Config, KEYS};
use crate::exit::{Exit, Failure};

/// The variables of the environment that may be settings, as text.
///
/// # Errors
/// If one of ours is no text.
pub(super) fn environment() -> Result<Vec<(String, String)>, Failure> {
    let mut found = Vec::new();
    for (name, value) in env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => found.push((name, value)),
            Err(value) if name.starts_with("QUORATE_") => {
                let sentence = format!("{name} is no text: {}", value.display());
                return Err(Failure::new(Exit::Configuration, sentence));
            }
            Err(_) => {}
        }
    }
    Ok(found)
}

/// The settings that were made by flags: names without dashes before them, and values.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings(pub(super) Vec<(String, String)>);

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let default = Config::default();
        KEYS.iter().fold(command, |command, key| {
            let shown = (key.show)(&default);
            let shown = if shown.is_empty() { "nothing" } else { &shown };
            let help = format!("{} [default: {shown}]", key.meaning);
            command.arg(Arg::new(key.name).long(key.flag()).value_name("VALUE").help(help))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |key: &crate::config::Key| {
            let value = matches.get_one::<String>(key.name)?;
            Some((key.flag(), value.clone()))
        };
        Ok(Self(KEYS.iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
