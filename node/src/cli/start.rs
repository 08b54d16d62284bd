//! `quorate start`: runs a node until it is told to stop.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::settings::{Settings, environment};
use crate::Node;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::home::Home;
use crate::telemetry;

/// Run the node whose home this is, until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// The directory that holds all the node keeps [default: $QUORATE_HOME].
    #[arg(long, value_name = "DIRECTORY")]
    home: Option<PathBuf>,
    /// Run one validator with a chain of its own, in memory: no home, no files, gone when it ends.
    #[arg(long, conflicts_with = "home")]
    dev: bool,
    /// An address to listen at: host:port for clients, a multiaddress for other nodes. May be given
    /// twice.
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Where to find other nodes: multiaddresses with /p2p/ and the peer id at their ends, separated by commas.
    #[arg(long, value_name = "ADDRESS,…")]
    peers: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What a node without a home is set to, where nothing else is said: it need not wait for others.
const ALONE: &str = r#"
storage = "memory"
heartbeat = "20ms"
election_timeout = "100ms"
p2p.listen = "/ip4/127.0.0.1/tcp/0"
"#;

/// How long a node that is told to stop has for the rest of its start.
const NEARLY: Duration = Duration::from_millis(250);

/// What tells the process to stop.
struct Signals(Signal, Signal);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// Runs a node until it fails or the process is asked to stop. Asked once, it stops in order; asked again, or
/// before it had started, it stops at once, which is as safe as it is for a process to be killed.
async fn run(home: Option<Home>, config: Config) -> Result<(), Failure> {
    let no_signals = |error| Failure::new(Exit::Bug, format!("no signals: {error}"));
    let mut signals = Signals::new().map_err(no_signals)?;
    let mut starting = tokio::spawn(async move {
        match home {
            Some(home) => Node::start(home, config).await,
            None => Node::start_alone(config).await,
        }
    });
    let mut asked = false;
    let started = tokio::select! {
        started = &mut starting => Some(started),
        () = signals.next() => {
            asked = true;
            // It may have said that it has started and not have come so far as to hear this.
            timeout(NEARLY, starting).await.ok()
        }
    };
    let Some(started) = started else {
        tracing::warn!("stopped before it had started; nothing is lost");
        return Ok(());
    };
    let node = started.map_err(|error| Failure::new(Exit::Bug, error))??;
    if !asked {
        tokio::select! {
            failure = node.failed() => {
                tracing::error!("{failure}");
                tokio::select! {
                    () = node.abandon() => {}
                    () = signals.next() => {}
                }
                return Err(failure);
            }
            () = signals.next() => {}
        }
    }
    tokio::select! {
        stopped = node.shutdown() => stopped,
        () = signals.next() => {
            tracing::warn!("told to stop again: stopped at once; the next start goes on from the log");
            Ok(())
        }
    }
}

impl Start {
    /// Runs the node.
    pub(super) fn run(self) -> Result<(), Failure> {
        let root = || self.home.clone().or_else(super::reach::home);
        let home = match self.dev.then_some(None).or_else(|| root().map(Some)) {
            Some(Some(root)) => Some(Home::open(&root).map_err(|error| error.failure())?),
            Some(None) => None,
            None => return Err(Failure::new(Exit::Usage, "which home? Say --home, or --dev")),
        };
        let config = self.config(home.as_ref())?;
        telemetry::begin(config.log, config.log_format);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Bug, format!("no runtime: {error}")))?;
        let ended = runtime.block_on(run(home, config));
        // What still hangs in the runtime may not keep the process alive.
        runtime.shutdown_timeout(Duration::from_millis(500));
        ended
    }

    fn config(&self, home: Option<&Home>) -> Result<Config, Failure> {
        let file = match home.map(|home| home.layout().config()) {
            Some(path) => std::fs::read_to_string(&path).map_err(|error| {
                Failure::new(Exit::Configuration, format!("{}: {error}", path.display()))
            })?,
            None => ALONE.to_owned(),
        };
        let listen = self.listen.iter().map(|address| {
            let key = if address.starts_with('/') { "p2p-listen" } else { "api-listen" };
            (key.to_owned(), address.clone())
        });
        let peers = self.peers.iter().map(|peers| ("p2p-peers".to_owned(), peers.clone()));
        let flags = listen.chain(peers).chain(self.settings.0.iter().cloned());
        Config::load(&file, environment()?, flags)
            .map_err(|error| Failure::new(Exit::Configuration, error))
    }
}
