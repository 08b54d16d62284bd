//! From a home to a running node, and back.
//!
//! ```text
//! lock the home ▶ read genesis and key ▶ open store and log ▶ the key says that it signs from now on
//!               ▶ threads ▶ network ▶ clients
//! ```
//!
//! Stopping goes the other way round: leadership is handed over, clients get their answers, the threads
//! finish what they have. Each has its time, five seconds together with what the runtime takes; a thread that has
//! not finished by then is told to drop what it has. Killing does nothing of that: what a dead process would not
//! have written is not written. Neither loses anything that was promised: what is not applied is applied again
//! from the log at the next start.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_chain::genesis::Genesis;
use quorate_consensus::message::Nonce;
use quorate_replica::io::Input;
use quorate_replica::store::{MemoryStore, Store};
use quorate_store::SqliteStore;
use quorate_wal::Disk;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::admin;
use crate::api::{self, Bounds, Ledger, Pace, Readers, Requests, Server};
use crate::clock::Clock;
use crate::config::{Config, Storage};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::{self, Home};
use crate::papers::{Papers, cannot_open, configuration, no_random};
use crate::telemetry;
use crate::threads::{End, Ending, Gates, Plan, Threads, View};
use crate::traffic::{Identity, Traffic};

/// How long leadership may take to be handed over.
const HANDOVER: Duration = Duration::from_millis(1_250);
/// How long clients may take to get the answers that are under way.
const FAREWELL: Duration = Duration::from_millis(750);
/// How long the threads may take to finish what they have.
const FINISH: Duration = Duration::from_millis(1_250);
/// How long they may take to drop it, and the network to close.
const LEAVE: Duration = Duration::from_millis(250);

/// About how many bytes of what clients have sent may wait for answers.
const REQUESTS: usize = 256 << 20;

/// A running node.
pub struct Node {
    ledger: Arc<Ledger>,
    server: Server,
    threads: Threads,
    network: JoinHandle<()>,
    ending: Arc<Ending>,
    /// Where the operator speaks to it.
    admin: Option<admin::Socket>,
    /// Held as long as the node runs.
    _home: Option<Home>,
}

impl Node {
    /// Starts the node of a home. Clients are served as soon as it returns.
    ///
    /// # Errors
    /// Why it cannot run.
    pub async fn start(home: Home, config: Config) -> Result<Self, Failure> {
        let papers = Papers::read(&home, config.node_id)?;
        if config.storage == Storage::Memory && !papers.genesis.testnet {
            return Err(configuration(
                "storage in memory is for chains whose genesis says testnet",
            ));
        }
        let listener = listen(&config).await?;
        match config.storage {
            Storage::File => {
                let path = home.layout().wal();
                let disk = quorate_wal::File::open(&path).map_err(|error| {
                    Failure::new(Exit::Storage, format!("{}: {error}", path.display()))
                })?;
                let path = home.layout().store();
                let store = SqliteStore::open(&path, Genesis::chain_id(&papers.file))
                    .and_then(SqliteStore::with_keeper);
                let store = store.map_err(|error| {
                    Failure::new(Exit::Storage, format!("{}: {error}", path.display()))
                })?;
                Self::open(Some(home), &config, papers, listener, disk, store).await
            }
            Storage::Memory => Self::open_in_memory(Some(home), &config, papers, listener).await,
        }
    }

    /// Starts a validator that is a group of its own, without a home: all it has is in memory.
    ///
    /// # Errors
    /// Why it cannot run.
    pub async fn start_alone(config: Config) -> Result<Self, Failure> {
        let papers = Papers::of_development()?;
        let listener = listen(&config).await?;
        Self::open_in_memory(None, &config, papers, listener).await
    }

    async fn open_in_memory(
        home: Option<Home>,
        config: &Config,
        papers: Papers,
        listener: TcpListener,
    ) -> Result<Self, Failure> {
        let disk = quorate_wal::Memory::new(home::random_number().map_err(no_random)?);
        Self::open(home, config, papers, listener, disk, MemoryStore::new()).await
    }

    /// Opens what was kept and starts everything around it. Work that takes long stands in the caller's
    /// way: nothing else runs yet.
    async fn open<D, S>(
        home: Option<Home>,
        config: &Config,
        papers: Papers,
        listener: TcpListener,
        disk: D,
        store: S,
    ) -> Result<Self, Failure>
    where
        D: Disk + Send + 'static,
        S: Store + Send + 'static,
        S::Reader: 'static,
    {
        let clock = Clock::start();
        let bounds = Bounds {
            connections: files::room(config.api_connections)?,
            header_timeout: config.api_header_timeout,
            write_timeout: config.api_write_timeout,
        };
        let setup = papers.setup(config)?;
        let nonce = Nonce(home::random_number().map_err(no_random)?);
        let replica = quorate_replica::open(&setup, disk, store, clock.now(), nonce)
            .map_err(|e| cannot_open(&e))?;
        telemetry::found(&replica.found);
        let (incarnation, boot) = (replica.journal.incarnation(), replica.journal.boot());
        if let Some(home) = &home {
            papers.signs_from_now_on(home, incarnation)?;
        }
        let lead = config.lead.unwrap_or(papers.lead);
        let (id, chain_id) = (papers.id, setup.chain_id);
        let api = config.api_url.clone().or_else(|| own_url(&listener));
        let key = Arc::clone(&papers.key);
        let identity = Identity { id, key, chain_id, incarnation, boot, lead, api };

        let plan = Plan::new(config, &setup, clock);
        let (gates, ending) = (Gates::new(&plan), Ending::new());
        let view = View::of(&replica.driver);
        let traffic = Traffic::start(&identity, config, &view, &gates).await?;
        let readers = Readers::new(replica.applier.store().reader());
        let applied = replica.driver.status().applied.height;
        let links = Box::new(traffic.outgoing());
        let threads = Threads::start(replica, &plan, gates.clone(), links, &ending)
            .map_err(|error| Failure::new(Exit::Bug, format!("no thread: {error}")))?;
        let p2p = traffic.net.listening().to_vec();
        let facts = papers.facts(config, &identity, clock.now().time.get() / 1_000);
        let ledger = Arc::new(Ledger {
            facts,
            clock,
            view: threads.view.clone(),
            pool: gates.pool,
            inbox: gates.inbox,
            readers: Arc::new(readers),
            ending: Arc::clone(&ending),
            neighbourhood: traffic.neighbours(),
            pace: Pace::new(applied.get()),
            leaving: watch::Sender::new(false),
            lead: Mutex::new(lead),
            meter: gates.meter,
            covers: gates.covers,
            expired: api::Expired::default(),
            requests: Requests::of(REQUESTS),
            subscribers: Arc::new(Semaphore::new(config.api_subscribers)),
        });
        let network = traffic.run(identity, threads.view.clone(), Arc::clone(&ending));
        let server = api::serve(Arc::clone(&ledger), listener, bounds).map_err(configuration)?;
        let (node, height) = (id.get(), applied.get());
        tracing::info!(node, height, api = %server.address(), ?p2p, chain = %chain_id, "started");
        let admin = home.as_ref().and_then(|home| admin::open(home.layout(), &ledger));
        Ok(Self { ledger, server, threads, network, ending, admin, _home: home })
    }

    /// Where clients are served.
    #[must_use]
    pub const fn api_address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What clients can do with it.
    pub(crate) const fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Waits until the node ends by itself.
    pub async fn failed(&self) -> Failure {
        match self.ending.wait().await {
            End::Failed(failure) => failure,
            End::Asked | End::Killed => Failure::new(Exit::Success, "the node has stopped"),
        }
    }

    /// Hands leadership over, answers who waits, finishes what is under way, and stops: within five seconds,
    /// whatever hangs.
    ///
    /// # Errors
    /// If the node failed before it had stopped.
    pub async fn shutdown(self) -> Result<(), Failure> {
        let Self { ledger, server, mut threads, network, ending, admin, _home: home } = self;
        tracing::info!("stopping");
        drop(admin);
        ledger.leaving.send_replace(true);
        ledger.hand_over(HANDOVER).await;
        ledger.inbox.complete(Input::Shutdown);
        server.close(FAREWELL).await;
        ending.begin(End::Asked);
        let join = move || {
            threads.join();
            // As long as one of them works, the home is taken.
            drop(home);
        };
        finish(tokio::task::spawn_blocking(join), network, &ending).await?;
        match ending.said() {
            Some(End::Failed(failure)) => Err(failure),
            Some(End::Asked | End::Killed) | None => Ok(()),
        }
    }

    /// Ends the node as if its process had been killed: nothing is finished or flushed.
    pub async fn kill(self) {
        self.drop_all().await;
    }

    /// Ends a node that has failed, as killing does, but no later than one that stops would have: what has failed may
    /// hang, such as a disk.
    pub(crate) async fn abandon(self) {
        let _ = timeout(FINISH + LEAVE, self.drop_all()).await;
    }

    async fn drop_all(self) {
        let Self { ledger, server, mut threads, network, ending, admin, _home: home } = self;
        ending.begin(End::Killed);
        drop(admin);
        server.abort();
        drop(ledger);
        let join = move || {
            // The threads see it after the step that they are in.
            threads.join();
            // As long as one of them works, the home is taken.
            drop(home);
        };
        drop(tokio::join!(network, tokio::task::spawn_blocking(join)));
    }
}

/// Waits for the threads and the network of a node that was asked to stop, as long as they may take.
async fn finish(
    mut threads: JoinHandle<()>,
    network: JoinHandle<()>,
    ending: &Ending,
) -> Result<(), Failure> {
    let bug = |error| Failure::new(Exit::Bug, error);
    if let Ok(joined) = timeout(FINISH, &mut threads).await {
        joined.map_err(bug)?;
    } else {
        tracing::warn!("stopping takes too long: what is under way is left to the next start");
        ending.begin(End::Killed);
        if let Ok(joined) = timeout(LEAVE, threads).await {
            joined.map_err(bug)?;
        }
    }
    match timeout(LEAVE, network).await {
        Ok(closed) => closed.map_err(bug),
        Err(_) => Ok(()),
    }
}

async fn listen(config: &Config) -> Result<TcpListener, Failure> {
    TcpListener::bind(config.api_listen)
        .await
        .map_err(|error| configuration(format!("cannot listen at {}: {error}", config.api_listen)))
}

fn own_url(listener: &TcpListener) -> Option<String> {
    let address = listener.local_addr().ok().filter(|address| !address.ip().is_unspecified())?;
    Some(format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;

    /// A thread that hangs in a call of the disk, and a network that does not close.
    #[tokio::test(start_paused = true)]
    async fn what_hangs_keeps_no_node_from_stopping() {
        let ending = Ending::new();
        ending.begin(End::Asked);
        let (threads, network) = (tokio::spawn(future::pending()), tokio::spawn(future::pending()));
        finish(threads, network, &ending).await.unwrap();
        assert_eq!(ending.said(), Some(End::Killed));
    }

    #[tokio::test(start_paused = true)]
    async fn who_finishes_in_time_is_not_told_to_drop_anything() {
        let ending = Ending::new();
        ending.begin(End::Asked);
        let slow = tokio::spawn(tokio::time::sleep(FINISH / 2));
        finish(slow, tokio::spawn(future::ready(())), &ending).await.unwrap();
        assert_eq!(ending.said(), Some(End::Asked));
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_keeps_no_node_that_has_failed_from_ending() {
        let mut node = Node::start_alone(Config {
            api_listen: ([127, 0, 0, 1], 0).into(),
            p2p_listen: "/ip4/127.0.0.1/tcp/0".to_owned(),
            storage: Storage::Memory,
            ..Config::default()
        })
        .await
        .unwrap();
        node.network = tokio::spawn(future::pending());
        let disk = Failure::new(Exit::Storage, "the disk says no");
        node.ending.begin(End::Failed(disk.clone()));
        assert_eq!(node.failed().await, disk);
        node.abandon().await;
    }

    #[test]
    fn stopping_takes_less_than_five_seconds() {
        // See `cli::start`: the rest of a start, and what hangs in the runtime.
        let others = Duration::from_millis(250 + 500);
        let all = HANDOVER + FAREWELL + FINISH + LEAVE + LEAVE + others;
        // The rest is for what has no time of its own.
        assert!(all <= Duration::from_millis(4_500), "{all:?}");
    }
}
