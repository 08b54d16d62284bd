//! Everything goes wrong at once, on real processes, and afterwards it is looked at whether what was promised
//! was kept.
//!
//! ```text
//! hands    do what decks of faults say, each one thing at a time: kill, hang, part, slow, hand over
//! clients  write and read all the while at any node, and keep every answer    ─┐
//! watchers ask every node every so often how it fares                          ├─▶ History ─ check ─▶ Violations
//! then     all is mended; who leads and what the nodes hold is asked          ─┘
//! ```
//!
//! The run is over when its time is up. Then everything is undone, the nodes are given some time to agree, and
//! one more transaction must be acknowledged. What was asked, and what the nodes hold in the end, is judged
//! by [`check`], which is a function of the history alone.
//!
//! A seed determines what the decks hold and what the clients want, but neither time nor scheduling:
//! the same seed does not give the same run. `quorate testnet sim` plays runs that repeat.

mod aftermath;
mod check;
mod fault;
mod hands;
mod history;
mod load;
mod page;
mod picture;
mod replay;
mod report;
mod violation;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use quorate_client::{Client, Error, Testnet};
use quorate_node::exit::{Exit, Failure};

use crate::directory::Directory;
use hands::{Span, Table};
use history::{History, Micros, Operation, Sighting};
use load::Load;

pub(crate) use page::page;
pub(crate) use report::Report;

/// How many things are done at the same time.
const HANDS: u64 = 3;
/// How often it is looked for nodes that have ended by themselves.
const PAUSE: Duration = Duration::from_millis(200);

/// How it shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// For how long.
    pub(crate) time: Duration,
    /// What faults and operations follow from.
    pub(crate) seed: u64,
    /// How many clients there are.
    pub(crate) clients: usize,
}

/// What has happened, before it is judged.
struct Run {
    operations: Vec<Operation>,
    sightings: Vec<Sighting>,
    spans: Vec<Span>,
    /// When everything was undone, and when the nodes had agreed after that.
    mended: Micros,
    agreed: Option<Micros>,
}

/// Does all of that to a testnet that runs, and judges it. It ends early when that is `enough`; `tell` hears
/// now and then how it goes.
pub(crate) fn run(
    directory: &Directory,
    testnet: &Testnet,
    plan: &Plan,
    enough: &AtomicBool,
    tell: &dyn Fn(&str),
) -> Result<Report, Failure> {
    let unheard = |error: Error| Failure::new(Exit::NoQuorum, error);
    let client = Client::new(&testnet.nodes()).map_err(unheard)?;
    let from = client.height().map_err(unheard)?.height;
    let count =
        u16::try_from(testnet.nodes.len()).map_err(|error| Failure::new(Exit::Bug, error))?;
    let said = aftermath::logs(testnet);
    let begin = Instant::now();
    let load = Load {
        seed: plan.seed,
        begin,
        chain_id: testnet.chain_id,
        apis: testnet.nodes.iter().map(|node| node.api.clone()).collect(),
        prefix: format!("chaos/{from}/"),
        over: AtomicBool::new(false),
        count: AtomicU64::new(0),
    };
    let table = Table::new(directory.clone(), begin, plan.seed, count);
    let run = happen(testnet, plan, enough, &load, &table, tell)?;
    tell("looking at what the nodes hold");
    let alive = table.alive(&testnet.nodes);
    let (history, mut violations) = aftermath::gather(&alive, from, &load.prefix, &run);
    tell(&format!("checking {} operations", run.operations.len()));
    violations.extend(history.iter().flat_map(check::check));
    let history = history.unwrap_or_else(|| History {
        operations: run.operations,
        sightings: run.sightings,
        ..History::default()
    });
    violations.extend(aftermath::panics(testnet, &said));
    violations.extend(table.wrongs());
    Ok(Report {
        plan: *plan,
        nodes: count,
        spans: run.spans,
        history,
        violations,
        mended: run.mended,
        agreed: run.agreed,
    })
}

/// Lets it happen, until everything is undone.
fn happen(
    testnet: &Testnet,
    plan: &Plan,
    enough: &AtomicBool,
    load: &Load,
    table: &Table,
    tell: &dyn Fn(&str),
) -> Result<Run, Failure> {
    thread::scope(|scope| {
        // However this ends, nobody goes on.
        let _end = End { load, table };
        let working: Vec<_> =
            (0..plan.clients).map(|number| scope.spawn(move || load.work(number))).collect();
        let nodes = testnet.nodes.iter();
        let watching: Vec<_> = nodes
            .map(|node| scope.spawn(move || watch::sightings(node, table, &load.over)))
            .collect();
        let playing: Vec<_> =
            (0..HANDS).map(|hand| scope.spawn(move || table.play(hand))).collect();
        let mut told = Instant::now();
        while load.begin.elapsed() < plan.time && !enough.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
            table.look();
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                let (so_far, count) = (load.begin.elapsed(), load.count.load(Ordering::Relaxed));
                tell(&format!("{:.0} s: {count} operations", so_far.as_secs_f64()));
            }
        }
        table.end();
        let spans = playing.into_iter().map(joined).collect::<Result<Vec<_>, _>>()?;
        tell("all is mended now");
        table.mend(&testnet.nodes);
        let mended = table.now();
        let alive = table.alive(&testnet.nodes);
        // The clients go on until the nodes have agreed on who leads.
        let led = aftermath::agreed(&alive, |heights| heights.iter().all(Option::is_some));
        load.over.store(true, Ordering::Relaxed);
        let mut operations = Vec::new();
        for (number, client) in working.into_iter().enumerate() {
            match joined(client)? {
                Ok(told) => operations.extend(told),
                Err(error) => table.wrong(&format!("client {number}"), error),
            }
        }
        let equal = led && aftermath::one_more(testnet) && aftermath::are_equal(&alive);
        let agreed = equal.then(|| table.now());
        let mut sightings = Vec::new();
        for watcher in watching {
            sightings.extend(joined(watcher)?.map_err(|error| Failure::new(Exit::Bug, error))?);
        }
        let spans = spans.into_iter().flatten().collect();
        Ok(Run { operations, sightings, spans, mended, agreed })
    })
}

/// Ends the threads of a run when it is dropped.
struct End<'a> {
    load: &'a Load,
    table: &'a Table,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.load.over.store(true, Ordering::Relaxed);
        self.table.end();
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T, Failure> {
    thread.join().map_err(|_| Failure::new(Exit::Bug, "a thread of the run has ended early"))
}
