//! How many transactions a second this machine has room for, and how near the running system comes to that:
//! `quorate bench ceiling`.
//!
//! ```text
//! ceiling = cores / what a transaction costs at least, on all three validators together
//! ```
//!
//! What it costs at least is measured here and now, each part by itself in a loop on one thread: nothing but the
//! libraries that do the work, on transactions like those of `quorate bench --work batches`, in groups of 1,000 that
//! are a block, a sync and a transaction of the database each. Counted is the time of a processor and not of a clock,
//! so that other work on the machine does little harm.
//!
//! | part | what is done, for each transaction | where |
//! |---|---|---|
//! | signatures | its signature is checked, once, in the batch that costs the least | on all |
//! | hashes | its leaves in the block and in the outcomes, its entry, its share of the trees | on all |
//! | reading | its bytes are read, and hashed: its id | on all |
//! | store | SQLite, with the smallest tables that keep what is promised | on all |
//! | log | its bytes are written to a file, and its share of a sync | on all |
//! | joining | its bytes are put into a block | on the leader |
//! | encryption | its bytes are encrypted for each follower | on the leader, twice |
//! | decryption | and decrypted | on the followers |
//!
//! Left out is what could be done in another way, or not at all: HTTP and JSON, sockets, threads that wake each other,
//! the mempool, execution, elections, certificates (one for a whole block). So nobody comes near it; the running system
//! shows what all of that costs.
//!
//! Clients run on the same machine and take their share of it. What they take is measured while the system runs; the
//! ceiling is said without it and with it.

mod bare;
mod clock;
mod disk;
mod running;
mod sum;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quorate_chain::ids::ChainId;
use quorate_node::exit::Failure;

use crate::processes::Processes;
use crate::progress::Progress;
use crate::work::Field;
use bare::{Senders, TOGETHER};
use clock::Cost;
use sum::{Batch, Part, Sum};

/// How long each part is measured, at least.
const LEAST: Duration = Duration::from_secs(1);
/// Transactions in a block, a sync, and a transaction of the database.
const GROUP: usize = 1_000;
/// Validators of the running system.
const VALIDATORS: u16 = 3;
/// How many keys there are, and bytes of a value.
const KEYS: u64 = 10_000;
const VALUE: usize = 256;

/// How many transactions a second this machine has room for, and how near a group of three comes to that.
///
/// Each part of what has to be done for a transaction is measured by itself, on one core: that is the least that it can
/// cost. Then 256 clients send batches of a hundred to three validators on this machine.
#[derive(Debug, Args)]
pub(crate) struct Ceiling {
    /// How long the running system is measured: a batch by each client takes about one. All that is sent is signed ahead, and
    /// held in memory.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// How often; 0 for never.
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u64).range(..=100))]
    repeat: u64,
    /// Where its directory is, and the log and the store that are measured [default: where temporary files are].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Ceiling {
    /// Measures the parts, and then the running system.
    pub(crate) fn measured(&self) -> Result<Sum, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut progress = Progress::new(Senders::ALL.len() * TOGETHER.len() + 6 + 1);
        let field = Field { chain_id: ChainId::ZERO, keys: KEYS, value: VALUE };
        let batches = batches(&field, &mut progress)?;
        let parts = self.parts(&field, &batches, &mut progress)?;
        progress.at("the running system");
        let runs = running::measured(self.seconds, self.repeat, self.dir.as_deref())?;
        Ok(Sum { cores, batches, parts, runs })
    }

    fn parts(
        &self,
        field: &Field,
        batches: &[Batch],
        progress: &mut Progress,
    ) -> Result<Vec<Part>, Failure> {
        let own = Processes::below(self.dir.as_deref())?;
        let mut now = |what: &str| {
            progress.step();
            progress.at(what);
        };
        let (body, bytes) = bare::body(field)?;
        let others = VALIDATORS - 1;
        let part = |name, cost, times| Part { name, cost, times };
        let least = batches.iter().min_by(|a, b| a.cost.cpu_us.total_cmp(&b.cost.cpu_us));
        let signatures = least.map_or_else(Cost::default, |batch| batch.cost);
        now("hashes");
        let hashes = bare::hashes(field)?;
        now("reading");
        let reading = bare::reading(&bytes)?;
        now("the store");
        let store = disk::store(own.path(), (field.keys, field.value), bytes.len())?;
        now("the log");
        let log = disk::log(own.path(), bytes.len())?;
        now("joining");
        let joining = bare::joining(&body)?;
        now("encryption");
        let (encryption, decryption) = bare::encryption(bytes.len() / GROUP)?;
        Ok(vec![
            part("signatures", signatures, VALIDATORS),
            part("hashes", hashes, VALIDATORS),
            part("reading", reading, VALIDATORS),
            part("store", store, VALIDATORS),
            part("log", log, VALIDATORS),
            part("joining", joining, 1),
            part("encryption", encryption, others),
            part("decryption", decryption, others),
        ])
    }
}

/// What a check of a signature costs, by how many are checked together and whose they are.
fn batches(field: &Field, progress: &mut Progress) -> Result<Vec<Batch>, Failure> {
    let mut batches = Vec::new();
    for senders in Senders::ALL {
        for together in TOGETHER {
            progress.at("signatures");
            let cost = bare::signatures(together, senders, field)?;
            batches.push(Batch { senders: senders.name(), together, cost });
            progress.step();
        }
    }
    Ok(batches)
}
