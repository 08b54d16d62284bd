//! `quorate start`: runs a node until it is told to stop.

use std::path::PathBuf;

use super::settings::Settings;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::home::Home;

/// Run the node whose home this is, until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// The directory that holds all the node keeps.
    #[arg(long, value_name = "DIRECTORY")]
    home: PathBuf,
    /// An address to listen at: host:port for clients, a multiaddress for other nodes. May be given
    /// twice.
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Where to find other nodes: multiaddresses, separated by commas.
    #[arg(long, value_name = "ADDRESS,…")]
    peers: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

impl Start {
    /// Runs the node.
    pub(super) fn run(self) -> Result<(), Failure> {
        let home = Home::open(&self.home).map_err(|error| error.failure())?;
        self.config(&home)?;
        Err(Failure::new(Exit::Bug, "the node is not built yet; see README.md for what works"))
    }

    fn config(&self, home: &Home) -> Result<Config, Failure> {
        let path = home.layout().config();
        let file = std::fs::read_to_string(&path).map_err(|error| {
            Failure::new(Exit::Configuration, format!("{}: {error}", path.display()))
        })?;
        let listen = self.listen.iter().map(|address| {
            let key = if address.starts_with('/') { "p2p-listen" } else { "api-listen" };
            (key.to_owned(), address.clone())
        });
        let peers = self.peers.iter().map(|peers| ("p2p-peers".to_owned(), peers.clone()));
        let flags = listen.chain(peers).chain(self.settings.0.iter().cloned());
        Config::load(&file, std::env::vars(), flags)
            .map_err(|error| Failure::new(Exit::Configuration, error))
    }
}
