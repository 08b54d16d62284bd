//! A flag for every setting of a node.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Config, KEYS};

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
