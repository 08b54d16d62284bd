//! `chaos`: everything goes wrong at once.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use quorate_client::Testnet;
use quorate_node::exit::{Exit, Failure};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::up::Up;
use super::{Output, json, print, running};
use crate::chaos::{self, Plan};
use crate::directory::Directory;
use crate::lock::Lock;
use crate::options::{At, Options};
use crate::supervisor::control::{self, Order};

/// Kill, hang, part, slow and depose nodes at random under load, and check that every promise was kept: 0, or 8
/// if one was not.
///
/// Ctrl-C ends it early, and what happened until then is judged.
///
/// It is done to the testnet that runs. If none does, one is made for it in a directory of its own, on free
/// ports, and deleted at the end unless something was wrong or --dir says where it shall be.
#[derive(Debug, clap::Args)]
pub(super) struct Chaos {
    #[command(flatten)]
    at: At,
    /// For how long.
    #[arg(long, value_name = "MINUTES", default_value = "1", value_parser = minutes)]
    minutes: Duration,
    /// What faults and operations follow from [default: a random number].
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How many clients write and read.
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// How many validators a testnet has that is made for it.
    #[arg(short = 'n', long = "nodes", value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: Option<u16>,
    /// Where the report goes, as a page for a browser [default: chaos-SEED.html, here].
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: Option<f64> =
        text.parse().ok().filter(|minutes| (0.0..=10_000.0).contains(minutes));
    let minutes = minutes.ok_or("minutes are a number, such as 30 or 0.5")?;
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

/// Where it happens.
struct Stage {
    directory: Directory,
    testnet: Testnet,
    /// Whether it was made for this.
    own: bool,
    /// Whether it is deleted unless something was wrong.
    passing: bool,
}

impl Chaos {
    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let seed = self.seed.unwrap_or_else(|| u64::from(std::process::id()));
        let plan = Plan { time: self.minutes, seed, clients: self.clients.into() };
        let stage = self.stage()?;
        tell(&format!("chaos with seed {seed} in {}", stage.directory.root().display()));
        let enough = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            let registered = signal_hook::flag::register(signal, Arc::clone(&enough));
            registered.map_err(|error| Failure::new(Exit::Bug, error))?;
        }
        let report = chaos::run(&stage.directory, &stage.testnet, &plan, &enough, &tell);
        let kept = stage.leave(report.as_ref().is_ok_and(|report| report.violations.is_empty()));
        let report = report?;
        let page = self.report.unwrap_or_else(|| format!("chaos-{seed}.html").into());
        if !report.violations.is_empty() {
            write(&stage.directory.root().join("chaos-history.jsonl"), &report.operations()?)?;
        }
        match output {
            Output::Text => print(&report.text())?,
            Output::Json => print(&(json(&report.json())? + "\n"))?,
        }
        write(&page, &chaos::page(&report))?;
        tell(&format!("the report is in {}", page.display()));
        kept?;
        if report.violations.is_empty() {
            return Ok(());
        }
        let dir = stage.directory.root().display();
        let sentence = format!(
            "broken promises: {}; what the nodes hold is kept in {dir}",
            report.violations.len()
        );
        Err(Failure::new(Exit::Verification, sentence))
    }

    fn stage(&self) -> Result<Stage, Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        if control::is_running(&directory) {
            let testnet = running(&directory)?;
            return Ok(Stage { directory, testnet, own: false, passing: false });
        }
        let passing = self.at.dir.is_none();
        let directory = if passing { Directory::new(passing_place()?)? } else { directory };
        let at = At { dir: Some(directory.root().to_owned()) };
        let ports = Some(0);
        let options =
            Options { nodes: self.nodes, api_port: ports, p2p_port: ports, ..Options::default() };
        let testnet = Up::new(at, options).begin()?;
        Ok(Stage { directory, testnet, own: true, passing })
    }
}

/// Tells how it goes. If nobody listens any more, it goes on all the same.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::new(Exit::Storage, format!("{}: {error}", path.display()));
    std::fs::write(path, text).map_err(failed)
}

/// A new directory that belongs to nobody.
fn passing_place() -> Result<PathBuf, Failure> {
    let made = tempfile::Builder::new().prefix("quorate-chaos-").tempdir();
    made.map(tempfile::TempDir::keep).map_err(|error| Failure::new(Exit::Storage, error))
}

impl Stage {
    /// Ends a testnet that was made for this, and deletes it if nothing was wrong.
    fn leave(&self, well: bool) -> Result<(), Failure> {
        if !self.own {
            return Ok(());
        }
        control::order(&self.directory, &Order::Down)?;
        if self.passing && well { Lock::take(&self.directory)?.delete() } else { Ok(()) }
    }
}
