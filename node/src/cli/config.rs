//! `quorate config`: what a node would be set to, and where each setting comes from.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{self, Done, Output};
use super::reach::home;
use super::settings::{Settings, environment};
use crate::config::{Config, KEYS, Origins, Source};
use crate::exit::{Exit, Failure};
use crate::home::Layout;

/// Show and check what a node is set to.
#[derive(Debug, clap::Args)]
pub(super) struct Configuration {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print every setting with its value and where it was set.
    Show(Place),
    /// Say whether a node could be set like this.
    Check(Place),
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The home whose config.toml is read [default: $QUORATE_HOME; without one, no file].
    #[arg(long, value_name = "DIRECTORY")]
    home: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// A setting as it is printed.
#[derive(Serialize)]
struct Setting {
    name: &'static str,
    value: String,
    origin: &'static str,
}

impl Place {
    fn load(self) -> Result<(Config, Origins), Failure> {
        let configuration =
            |error: &dyn std::fmt::Display| Failure::new(Exit::Configuration, error);
        let file = match self.home.or_else(home).map(|home| Layout::new(home).config()) {
            Some(path) => std::fs::read_to_string(&path)
                .map_err(|error| configuration(&format!("{}: {error}", path.display())))?,
            None => String::new(),
        };
        Config::load_with_origins(&file, environment()?, self.settings.0)
            .map_err(|error| configuration(&error))
    }
}

impl Configuration {
    /// Runs the command.
    pub(super) fn run(self, output: Output) -> Done {
        match self.what {
            What::Check(place) => {
                place.load()?;
                match output {
                    Output::Text => output::line("a node can be set like this"),
                    Output::Json => output::json(&serde_json::json!({ "ok": true })),
                }
            }
            What::Show(place) => {
                let (config, origins) = place.load()?;
                let setting = |key: &crate::config::Key| Setting {
                    name: key.name,
                    value: (key.show)(&config),
                    origin: match origins.get(key.name) {
                        None => "default",
                        Some(Source::File) => "file",
                        Some(Source::Environment) => "environment",
                        Some(Source::Flag) => "flag",
                    },
                };
                let settings: Vec<_> = KEYS.iter().map(setting).collect();
                match output {
                    Output::Json => output::json(&serde_json::json!({ "settings": settings })),
                    Output::Text => {
                        settings.iter().try_for_each(|Setting { name, value, origin }| {
                            output::line(&format!("{name:<22} {value:<34} {origin}"))
                        })
                    }
                }
            }
        }
    }
}
