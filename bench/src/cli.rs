//! The command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use quorate_node::exit::{Exit, Failure};
use quorate_node::stderr;
use tokio::runtime::Builder;

use crate::bed::{Bed, Signing};
use crate::ceiling::Ceiling;
use crate::charts;
use crate::failover::Failover;
use crate::group::Group;
use crate::growth::Growth;
use crate::others;
use crate::page::{Page, Section};
use crate::processes::end_by_signals;
use crate::progress::Progress;
use crate::report::{Case, Report, Row};
use crate::work::{Field, Kind, System};

/// Connections that share what is due at a fixed rate.
const CALLERS: u64 = 256;

/// How fast a chain is: clients ask nodes for one thing after another, and every answer is looked at.
///
/// Without --nodes three validators are started for it on this machine, with their logs on its disk, and are gone
/// afterwards. What is measured beside them takes turns with them.
#[derive(Debug, Parser)]
#[command(
    name = "quorate bench",
    bin_name = "quorate bench",
    version,
    args_conflicts_with_subcommands = true
)]
struct Bench {
    #[command(subcommand)]
    command: Option<Command>,
    /// What is printed: text for people, or one line of JSON.
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    output: Output,
    /// Nodes that are there, such as http://127.0.0.1:7600,…; what is written stays on their chain, which has to let anyone
    /// write: the accounts of the clients are new.
    #[arg(long, value_name = "URL,…")]
    nodes: Option<String>,
    /// What else is measured beside it: groups of three of these, which have to be installed.
    #[arg(long, value_name = "SYSTEM,…", value_delimiter = ',', conflicts_with = "nodes")]
    with: Vec<System>,
    /// How many validators are started.
    #[arg(long, value_name = "COUNT", default_value = "3", conflicts_with = "nodes", value_parser = clap::value_parser!(u16).range(1..=9))]
    validators: u16,
    /// Where their directory is [default: where temporary files are].
    #[arg(long, value_name = "DIR", conflicts_with = "nodes")]
    dir: Option<PathBuf>,
    /// What is asked for.
    #[arg(
        long,
        value_name = "KIND,…",
        value_delimiter = ',',
        default_value = "writes,hot,batches,operations,reads,local"
    )]
    work: Vec<Kind>,
    /// How many clients at once, one after the other; a node takes hardly more connections than a thousand.
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', default_value = "1,64,256,1000", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    clients: Vec<u64>,
    /// Writes that are due in a second from 256 clients, whatever becomes of those before; all are signed ahead, and held in
    /// memory.
    #[arg(long, value_name = "RATE,…", value_delimiter = ',', default_value = "1000,5000", value_parser = clap::value_parser!(u64).range(1..=50_000))]
    rates: Vec<u64>,
    /// How long each is measured; all that is sent meanwhile is signed ahead, and held in memory.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// How often.
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u64).range(1..=100))]
    repeat: u64,
    /// Bytes of each value.
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    value: u32,
    /// How many keys are written before anything is measured.
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    keys: u64,
    /// Ask all nodes, and not only the one that leads.
    #[arg(long)]
    all: bool,
    /// Where all of it goes as a page for a browser, with plots. Of a page that is there only this section changes.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What else can be measured.
#[derive(Debug, Subcommand)]
enum Command {
    Ceiling(Ceiling),
    Growth(Growth),
    Failover(Failover),
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let bench: Bench = match quorate_node::cli::parsed(std::env::args_os()) {
        Ok(bench) => bench,
        Err(exit) => return exit.into(),
    };
    let output = bench.output;
    match end_by_signals().and_then(|()| bench.run()) {
        Ok(()) => Exit::Success.into(),
        Err(failure) => {
            match output {
                Output::Text => stderr::line(format_args!("quorate bench: {failure}")),
                Output::Json => stderr::line(failure.to_json()),
            }
            failure.exit.into()
        }
    }
}

impl Bench {
    fn run(self) -> Result<(), Failure> {
        match &self.command {
            Some(Command::Ceiling(ceiling)) => {
                let sum = ceiling.measured()?;
                return said(self.output, || sum.text(), || sum.json());
            }
            Some(Command::Growth(growth)) => {
                let sum = growth.measured()?;
                return said(self.output, || sum.text(), || sum.json());
            }
            Some(Command::Failover(failover)) => {
                let told = failover.measured()?;
                return said(self.output, || told.text(), || told.json());
            }
            None => {}
        }
        let page = self.report.as_deref().map(Page::in_file).transpose()?;
        let first = match &self.nodes {
            Some(nodes) => Group::named(nodes)?,
            None => Group::quorate(self.validators, self.dir.as_deref(), None)?,
        };
        let mut groups = vec![first];
        for system in &self.with {
            groups.push(others::start(*system, self.dir.as_deref())?);
        }
        let beds = groups.into_iter().map(|group| self.bed(group)).collect::<Result<_, _>>()?;
        let report = self.measured(beds)?;
        // Before anything is said: who listened may have gone, and the page is not to be in vain.
        page.map_or(Ok(()), |page| page.put([(Section::Work, charts::section(&report))]))?;
        said(self.output, || report.text(), || report.json())
    }

    fn bed(&self, group: Group) -> Result<Bed, Failure> {
        let most = self.clients.iter().copied().chain([CALLERS]).max().unwrap_or(CALLERS);
        Bed::new(group, (self.keys, self.value), most)
    }

    fn cases(&self) -> Vec<Case> {
        let closed = self.work.iter().flat_map(|kind| {
            self.clients.iter().map(|clients| Case { kind: *kind, clients: *clients, rate: None })
        });
        let open = self.rates.iter().map(|rate| Case {
            kind: Kind::Writes,
            clients: CALLERS.min(*rate),
            rate: Some(*rate),
        });
        let open = open.filter(|_| self.work.contains(&Kind::Writes));
        closed.chain(open).collect()
    }

    fn measured(&self, mut beds: Vec<Bed>) -> Result<Report, Failure> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Bug, error))?;
        let mut rows = Vec::new();
        for case in self.cases() {
            for (at, bed) in beds.iter().enumerate() {
                let system = bed.group.system;
                if system.does(case.kind) {
                    rows.push((at, Row { system, case, runs: Vec::new() }));
                }
            }
        }
        let repeat = usize::try_from(self.repeat).unwrap_or(usize::MAX);
        let mut progress = Progress::new(rows.len() * repeat);
        progress.at("writing all keys");
        beds.iter_mut().try_for_each(|bed| bed.sow(&runtime, |_| {}).map(drop))?;
        let (low, mut signing) = (beds[0].group.height()?, Signing::default());
        for _ in 0..self.repeat {
            for (at, row) in &mut rows {
                let (name, Case { clients, .. }) = (row.case.name(), row.case);
                progress.at(&format!("{}: {name}, {clients} clients", row.system.name()));
                let figures = beds[*at].figures(
                    &runtime,
                    &row.case,
                    (self.seconds, self.all),
                    &mut signing,
                )?;
                row.runs.push(figures);
                progress.step();
            }
        }
        let Bed { group, field: Field { value, keys, .. }, .. } = &beds[0];
        let signing_us = signing.took.as_secs_f64() * 1e6 / (signing.count.max(1) as f64);
        let (nodes, heights) = (group.nodes.len(), (low, group.height()?));
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        Ok(Report { nodes, value: *value, keys: *keys, heights, signing_us, rows })
    }
}

/// Prints what was measured.
fn said(
    output: Output,
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> serde_json::Value,
) -> Result<(), Failure> {
    let text = match output {
        Output::Text => text(),
        Output::Json => json().to_string() + "\n",
    };
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::new(Exit::Storage, error))
}
