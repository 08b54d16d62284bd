//! `quorate init`: a home for a validator.

use std::path::{Path, PathBuf};

use quorate_chain::crypto::SecretKey;
use quorate_chain::genesis::GenesisValidator;
use quorate_chain::roster::Lead;
use serde::Serialize;

use super::output::{self, Done, Output};
use super::reach::home;
use super::settings::Settings;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::home::{Home, NewHome};
use crate::keys;
use crate::stderr;

/// Make a home for a validator: a key, a documented config.toml, and validator.json, which goes to
/// whoever puts the genesis together.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The directory that shall hold all the node keeps [default: $QUORATE_HOME].
    #[arg(long, value_name = "DIRECTORY")]
    home: Option<PathBuf>,
    /// What people call the validator [default: the name of the directory].
    #[arg(long)]
    name: Option<String>,
    /// Where other nodes reach it, such as /dns4/node0.example.org/tcp/7700; may be given twice
    /// [default: where it listens].
    #[arg(long, value_name = "ADDRESS")]
    p2p: Vec<String>,
    /// Where clients reach it, such as `https://node0.example.org`; may be given twice [default: where
    /// it listens].
    #[arg(long, value_name = "URL")]
    api: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What is printed of a new home.
#[derive(Serialize)]
struct Made<'a> {
    home: &'a Path,
    validator: &'a GenesisValidator,
}

impl Init {
    /// Makes the home.
    pub(super) fn run(self, output: Output) -> Done {
        let usage = |what: &str| Failure::new(Exit::Usage, what);
        let root = self.home.or_else(home).ok_or_else(|| usage("which home? Say --home"))?;
        let own = root.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let name = self.name.or(own).ok_or_else(|| usage("which name? Say --name"))?;
        let config = Config::load("", [], self.settings.0)
            .map_err(|error| Failure::new(Exit::Configuration, error))?;
        let seed = keys::new_seed()
            .map_err(|error| Failure::new(Exit::Bug, format!("no random numbers: {error}")))?;
        let listens = !config.api_listen.ip().is_unspecified() && config.api_listen.port() != 0;
        let own_api = listens.then(|| format!("http://{}", config.api_listen));
        let validator = GenesisValidator {
            name,
            key: SecretKey::from_seed(&seed).validator_key(),
            p2p: or(self.p2p, Some(config.p2p_listen.clone())),
            api: or(self.api, own_api),
            lead: config.lead.unwrap_or(Lead::Yes),
        };
        let new = NewHome {
            config: &config,
            genesis: None,
            seed: &seed,
            validator: Some(&validator),
            development: false,
        };
        let layout = Home::create(&root, &new).map_err(|error| error.failure())?;
        match output {
            Output::Json => output::json(&Made { home: &root, validator: &validator }),
            Output::Text => {
                stderr::line(format_args!(
                    "{} is made. Give {} to whoever runs `quorate genesis create`, put the genesis.json \
                     that comes back beside it, and `quorate start --home {}`.",
                    root.display(),
                    layout.validator().display(),
                    root.display()
                ));
                output::line(&validator.key.to_string())
            }
        }
    }
}

/// What was given, or else the default.
fn or(given: Vec<String>, default: Option<String>) -> Vec<String> {
    if given.is_empty() { default.into_iter().collect() } else { given }
}
