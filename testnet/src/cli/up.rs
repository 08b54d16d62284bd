//! `up` and `init`: making a testnet and starting it.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{env, io};

use quorate_client::Testnet;
use quorate_node::config::values::show_duration;
use quorate_node::exit::{Exit, Failure};
use quorate_node::stderr;
use serde::{Deserialize, Serialize};

use super::orders::is_alive;
use super::{Output, json, print};
use crate::directory::Directory;
use crate::live::{self, Live};
use crate::lock::Lock;
use crate::options::{At, Options, time};
use crate::ports;
use crate::supervisor::{self, Ending, Start, control, leader, statuses};

/// Start a testnet, a new one or the one that is there, until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(super) struct Up {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    options: Options,
    /// Return once every node is ready; `down` ends the testnet.
    #[arg(long)]
    detach: bool,
    /// Delete the testnet that is there first.
    #[arg(long)]
    fresh: bool,
    /// How long the nodes may take until all are ready.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "60s")]
    timeout: Duration,
}

/// Make keys, genesis and homes, and start nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    options: Options,
    /// Delete the testnet that is there first.
    #[arg(long)]
    fresh: bool,
}

/// Hold a testnet together: what `up --detach` starts.
#[derive(Debug, clap::Args)]
pub(super) struct Supervise {
    #[command(flatten)]
    at: At,
    #[arg(long)]
    leader: Option<u16>,
    #[arg(long, value_parser = time)]
    timeout: Duration,
}

/// What a supervisor says to who has started it, in one line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Ready(Testnet),
    Failed(u8, String),
}

/// A testnet that nobody else touches as long as the lock is held. `check` has the last word before one that was there
/// is deleted.
fn prepare(
    at: &At,
    options: &Options,
    fresh: bool,
    check: impl FnOnce() -> Result<(), Failure>,
) -> Result<(Directory, Lock), Failure> {
    let directory = Directory::new(at.dir()?)?;
    let lock = Lock::take(&directory)?;
    let make = || {
        if Testnet::in_dir(directory.root()).is_some_and(|left| is_alive(&left)) {
            return Err(control::abandoned(&directory, Exit::Configuration));
        }
        if fresh {
            check()?;
            directory.clear()?;
        }
        directory.prepare(options)
    };
    match make() {
        Ok(()) => Ok((directory, lock)),
        Err(failure) => {
            lock.give_up();
            Err(failure)
        }
    }
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        let check = || Directory::ports_of_new(&self.options).map(drop);
        let (directory, _lock) = prepare(&self.at, &self.options, self.fresh, check)?;
        for node in 0..directory.count()? {
            print(&format!("quorate start --home {}\n", directory.home(node).display()))?;
        }
        Ok(())
    }
}

impl Up {
    /// A testnet for another command, which ends it.
    pub(super) const fn new(at: At, options: Options) -> Self {
        Self { at, options, detach: true, fresh: false, timeout: Duration::from_secs(60) }
    }

    /// A testnet that can be started. A new one is not left behind if it cannot, and none is deleted for it.
    fn prepare(&self) -> Result<(Directory, Lock), Failure> {
        let new = self.fresh || !Directory::new(self.at.dir()?)?.exists();
        let check = || ports::check_free(&Directory::ports_of_new(&self.options)?);
        let (directory, lock) = prepare(&self.at, &self.options, self.fresh, check)?;
        match ports::check_free(&directory.ports()?) {
            Ok(()) => Ok((directory, lock)),
            Err(taken) => {
                if new {
                    lock.delete()?;
                }
                Err(taken)
            }
        }
    }

    /// Starts it in the background.
    pub(super) fn begin(&self) -> Result<Testnet, Failure> {
        let (directory, lock) = self.prepare()?;
        self.detach(&directory, lock)
    }

    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let begin = Instant::now();
        if self.detach {
            let testnet = self.begin()?;
            show(&testnet, output, begin.elapsed(), "`quorate testnet down` ends it").map_err(bug)
        } else {
            let (directory, _lock) = self.prepare()?;
            self.watched(&directory, output, begin)
        }
    }

    /// Holds it together in this process, for somebody who watches.
    fn watched(
        &self,
        directory: &Directory,
        output: Output,
        begin: Instant,
    ) -> Result<(), Failure> {
        let start = Start { first: self.options.leader, timeout: self.timeout };
        let (say, heard) = mpsc::channel::<String>();
        let watches = Arc::new(AtomicBool::new(false));
        let tell = {
            let (say, watches) = (say.clone(), Arc::clone(&watches));
            move |event: &str| {
                let told = watches.load(Ordering::Relaxed) && say.send(event.to_owned()).is_ok();
                if !told {
                    stderr::line(event);
                }
            }
        };
        let mut live = None;
        let ready = |testnet: &Testnet, ending: Ending| {
            show(testnet, output, begin.elapsed(), "Ctrl-C ends it")?;
            watches.store(true, Ordering::Relaxed);
            let terminal = output == Output::Text && live::is_there();
            let channel = (say, heard);
            live = Some(Live::start(directory.clone(), testnet.clone(), channel, terminal, ending));
            Ok(())
        };
        let done = supervisor::run(directory, &start, ready, Box::new(tell));
        drop(live);
        done
    }

    /// Starts a supervisor that stays, and waits for its word.
    fn detach(&self, directory: &Directory, lock: Lock) -> Result<Testnet, Failure> {
        let log = directory.root().join("supervisor.log");
        let errors = OpenOptions::new().create(true).append(true).open(&log);
        let errors = errors
            .map_err(|error| Failure::new(Exit::Storage, format!("{}: {error}", log.display())))?;
        let mut command = Command::new(env::current_exe().map_err(bug)?);
        command.args(["supervise", "--timeout", &show_duration(self.timeout), "--dir"]);
        command.arg(directory.root());
        if let Some(leader) = self.options.leader {
            command.args(["--leader", &leader.to_string()]);
        }
        command.stdin(lock.hand_on()).stdout(Stdio::piped()).stderr(errors);
        let mut supervisor = command.spawn().map_err(bug)?;
        let mut line = String::new();
        if let Some(words) = supervisor.stdout.take() {
            BufReader::new(words).read_line(&mut line).map_err(bug)?;
        }
        match serde_json::from_str(&line) {
            Ok(Word::Ready(testnet)) => Ok(testnet),
            Ok(Word::Failed(code, sentence)) => Err(Failure::new(control::exit(code), sentence)),
            Err(_) => {
                let sentence =
                    format!("the testnet was ended before it was ready ({})", log.display());
                Err(Failure::new(Exit::NoQuorum, sentence))
            }
        }
    }
}

impl Supervise {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Away from the terminal, so that neither Ctrl-C there nor its end reaches the testnet.
        rustix::process::setsid().map_err(|error| bug(error.into()))?;
        let directory = Directory::new(self.at.dir()?)?;
        let start = Start { first: self.leader, timeout: self.timeout };
        let ready = |testnet: &Testnet, _: Ending| say(&Word::Ready(testnet.clone()));
        let tell = Box::new(|event: &str| stderr::line(event));
        let done = supervisor::run(&directory, &start, ready, tell);
        if let Err(failure) = &done {
            // If nobody listens any more, the log has it.
            let _ = say(&Word::Failed(failure.exit.code(), failure.sentence.clone()));
        }
        done
    }
}

fn say(word: &Word) -> io::Result<()> {
    let line = serde_json::to_string(word)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn bug(error: io::Error) -> Failure {
    Failure::new(Exit::Bug, error)
}

/// Shows a testnet that is ready.
fn show(testnet: &Testnet, output: Output, took: Duration, end: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if output == Output::Json {
        let line = json(testnet).map_err(io::Error::other)?;
        writeln!(out, "{line}")?;
        return out.flush();
    }
    let statuses = statuses(&testnet.nodes);
    let leader = leader(&statuses);
    let leads = testnet.nodes.iter().position(|node| Some(node.node_id) == leader);
    let height = statuses.iter().flatten().map(|status| status.height.get()).max();
    let now = (leads, height.unwrap_or_default());
    // Whoever pastes what is shown into another terminal means this testnet.
    let usual = Testnet::usual_dir().is_some_and(|usual| usual == testnet.dir);
    let elsewhere = (!usual).then_some(testnet.dir.as_path());
    let banner = live::banner(testnet, now, (&command(), elsewhere), took, end);
    out.write_all(banner.as_bytes())?;
    out.flush()
}

/// What to type for `quorate` here: its name if it is where commands are, else its path.
fn command() -> String {
    let name = "quorate";
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|place| place.join(name).is_file()) {
        return name.to_owned();
    }
    let program = supervisor::program().unwrap_or_else(|_| name.into());
    let here = env::current_dir().unwrap_or_default();
    program.strip_prefix(here).unwrap_or(&program).display().to_string()
}
