//! The nodes of a testnet as processes.
//!
//! What is known of them stands under one lock. A node's process is reaped under that lock, so a
//! signal never goes to a process that has taken over the number of one that is gone.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, thread};

use quorate_client::{Client, Testnet, TestnetNode, TestnetNodeState};
use quorate_node::exit::{Exit, Failure};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::trouble::Trouble;
use crate::directory::Directory;

/// How long a node may take to do what a signal asks for.
const SIGNALLED: Duration = Duration::from_secs(10);
/// How long a node may take to end in order; then it is killed.
const ENDING: Duration = Duration::from_secs(10);
/// How long a node that was revived may take until it answers.
const REVIVED: Duration = Duration::from_secs(30);

/// Hears what happens.
pub(crate) type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// The nodes, and who waits for what happens to them.
pub(crate) struct Group {
    directory: Directory,
    program: PathBuf,
    trouble: Trouble,
    tell: Tell,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    testnet: Testnet,
    /// Whether `testnet.json` is there, and so kept current.
    published: bool,
    ending: bool,
    /// How the newest process of each node ended.
    ends: Vec<Option<ExitStatus>>,
}

impl Group {
    pub(crate) fn new(directory: Directory, tell: Tell) -> Result<Self, Failure> {
        let testnet = directory.describe()?;
        let ends = vec![None; testnet.nodes.len()];
        let state = State { testnet, published: false, ending: false, ends };
        let (program, trouble) = (program()?, Trouble::new(&directory)?);
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Ok(Self { directory, program, trouble, tell, state, changed })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something holds; `false` if the time is over.
    fn wait(&self, limit: Duration, holds: impl Fn(&State) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut state = self.lock();
        while !holds(&state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Tells what has happened.
    pub(crate) fn tell(&self, what: &str) {
        (self.tell)(what);
    }

    /// What can go wrong around the nodes.
    pub(crate) const fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// What is known now.
    pub(crate) fn testnet(&self) -> Testnet {
        self.lock().testnet.clone()
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.lock().ending
    }

    pub(crate) fn begin_ending(&self) {
        self.lock().ending = true;
        self.changed.notify_all();
    }

    pub(crate) fn wait_until_ending(&self) {
        let mut state = self.lock();
        while !state.ending {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes `testnet.json` from now on.
    pub(crate) fn publish(&self) -> Result<Testnet, Failure> {
        let mut state = self.lock();
        state.published = true;
        self.write(&state)?;
        Ok(state.testnet.clone())
    }

    fn write(&self, state: &State) -> Result<(), Failure> {
        if !state.published {
            return Ok(());
        }
        let path = self.directory.testnet_file();
        let beside = path.with_extension("tmp");
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Exit::Storage, format!("{}: {error}", path.display()))
        };
        let file = serde_json::to_string(&state.testnet).map_err(|error| failed(&error))?;
        fs::write(&beside, file + "\n")
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|error| failed(&error))
    }

    /// Starts every node, this one first.
    pub(crate) fn start_all(self: &Arc<Self>, first: Option<u16>) -> Result<(), Failure> {
        let count = self.lock().testnet.nodes.len();
        let first = first.map(usize::from).filter(|first| *first < count);
        let rest = (0..count).filter(|node| Some(*node) != first);
        for node in first.into_iter().chain(rest) {
            self.start(node)?;
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, node: usize) -> Result<(), Failure> {
        let mut state = self.lock();
        let known = &state.testnet.nodes[node];
        if known.pid.is_some() || state.ending {
            // Another order was faster, or whoever ends the testnet has told all processes that there were.
            return Ok(());
        }
        let mut command = command(&self.program, known)?;
        self.trouble.surround(&mut command, node, known)?;
        let child = command.spawn().map_err(|error| {
            Failure::new(Exit::Storage, format!("{}: {error}", self.program.display()))
        })?;
        state.ends[node] = None;
        set(&mut state.testnet.nodes[node], TestnetNodeState::Running, Some(child.id()));
        let written = self.write(&state);
        if state.published {
            self.tell(&format!("{} is started again", state.testnet.nodes[node].name));
        }
        drop(state);
        // Whatever became of the file: it runs.
        let watcher = Arc::clone(self);
        thread::spawn(move || watcher.watch(node, child));
        written
    }

    /// Follows a process until it has ended, whoever stops, continues or ends it.
    fn watch(&self, node: usize, mut child: Child) {
        let pid = pid_of(child.id());
        loop {
            let every = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED;
            let news = match waitid(WaitId::Pid(pid), every | WaitIdOptions::NOWAIT) {
                Ok(Some(news)) => news,
                Ok(None) | Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            };
            let mut state = self.lock();
            if news.stopped() || news.continued() {
                let seen = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED;
                // What is taken counts: more may have happened since.
                let Ok(Some(taken)) = waitid(WaitId::Pid(pid), seen | WaitIdOptions::NOHANG) else {
                    continue;
                };
                let stopped = taken.stopped();
                let now =
                    if stopped { TestnetNodeState::Paused } else { TestnetNodeState::Running };
                set(&mut state.testnet.nodes[node], now, Some(child.id()));
            } else {
                state.ends[node] = child.wait().ok();
                set(&mut state.testnet.nodes[node], TestnetNodeState::Dead, None);
            }
            self.told(&state, node);
            self.changed.notify_all();
            if state.testnet.nodes[node].state == TestnetNodeState::Dead {
                return;
            }
        }
    }

    /// Says what has become of a node, in the file and in words.
    fn told(&self, state: &State, node: usize) {
        if let Err(failure) = self.write(state) {
            (self.tell)(&failure.sentence);
        }
        let TestnetNode { name, state: now, .. } = &state.testnet.nodes[node];
        match state.ends[node] {
            Some(status) if !state.ending => (self.tell)(&format!("{name} is dead: {status}")),
            Some(_) => {}
            None => (self.tell)(&format!("{name} is {now}")),
        }
    }

    /// A node that has died although nobody wanted it to, and how a testnet ends because of it.
    pub(crate) fn casualty(&self) -> Option<Failure> {
        self.dead().into_iter().find_map(|node| self.death(node))
    }

    /// How a node has died, and how a command ends because of it.
    fn death(&self, node: usize) -> Option<Failure> {
        let state = self.lock();
        let status = state.ends[node]?;
        let TestnetNode { name, log, .. } = &state.testnet.nodes[node];
        let how = match status.signal() {
            Some(signal) => format!("was killed by signal {signal}"),
            None => format!("ended with code {}", status.code().unwrap_or_default()),
        };
        let sentence = format!("{name} {how}: {} ({})", last_line(log), log.display());
        let exit = match status.code() {
            Some(3) => Exit::Configuration,
            Some(9) => Exit::Storage,
            Some(_) | None => Exit::NoQuorum,
        };
        Some(Failure::new(exit, sentence))
    }

    fn signal(&self, node: usize, signal: Signal) {
        if let Some(pid) = self.lock().testnet.nodes[node].pid {
            // It may have ended in this moment; then its watcher says so.
            let _ = kill_process(pid_of(pid), signal);
        }
    }

    fn signal_and_wait(
        &self,
        nodes: &[usize],
        signal: Signal,
        effect: impl Fn(TestnetNodeState) -> bool,
    ) -> Result<(), Failure> {
        for node in nodes {
            self.signal(*node, signal);
        }
        let all = |state: &State| nodes.iter().all(|node| effect(state.testnet.nodes[*node].state));
        if self.wait(SIGNALLED, all) {
            return Ok(());
        }
        Err(Failure::new(Exit::NoQuorum, "a node does not do what the signal says"))
    }

    /// Kills nodes, as a power cut would.
    pub(crate) fn kill(&self, nodes: &[usize]) -> Result<(), Failure> {
        self.signal_and_wait(nodes, Signal::KILL, |state| state == TestnetNodeState::Dead)
    }

    /// Stops nodes where they stand.
    pub(crate) fn pause(&self, nodes: &[usize]) -> Result<(), Failure> {
        self.refuse_dead(nodes)?;
        self.signal_and_wait(nodes, Signal::STOP, |state| state != TestnetNodeState::Running)
    }

    /// Lets stopped nodes go on.
    pub(crate) fn resume(&self, nodes: &[usize]) -> Result<(), Failure> {
        self.refuse(nodes, TestnetNodeState::Dead, "is dead; revive it instead")?;
        self.signal_and_wait(nodes, Signal::CONT, |state| state != TestnetNodeState::Paused)
    }

    /// Starts dead nodes again, in their homes as they are.
    pub(crate) fn revive(self: &Arc<Self>, nodes: &[usize]) -> Result<(), Failure> {
        self.refuse(nodes, TestnetNodeState::Paused, "is paused; resume it instead")?;
        for node in nodes {
            if self.lock().testnet.nodes[*node].state == TestnetNodeState::Dead {
                self.start(*node)?;
            }
        }
        nodes.iter().try_for_each(|node| self.wait_until_alive(*node))
    }

    fn wait_until_alive(&self, node: usize) -> Result<(), Failure> {
        let TestnetNode { api, name, .. } = self.lock().testnet.nodes[node].clone();
        let client = Client::new(&api).map_err(|error| Failure::new(Exit::Bug, error))?;
        let client = client.with_timeout(Duration::from_secs(1));
        let end = Instant::now() + REVIVED;
        while Instant::now() < end {
            if client.body("/livez").is_ok() {
                return Ok(());
            }
            let state = self.lock();
            if state.ending {
                return Err(Failure::new(Exit::NoNode, "the testnet is being ended"));
            }
            let dead = state.testnet.nodes[node].state == TestnetNodeState::Dead;
            drop(state);
            if dead {
                let sentence = format!("{name} died again");
                return Err(self.death(node).unwrap_or(Failure::new(Exit::NoQuorum, sentence)));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(Failure::new(Exit::NoQuorum, format!("{name} does not answer")))
    }

    fn refuse(&self, nodes: &[usize], now: TestnetNodeState, why: &str) -> Result<(), Failure> {
        let state = self.lock();
        let found = nodes.iter().map(|node| &state.testnet.nodes[*node]).find(|n| n.state == now);
        match found {
            None => Ok(()),
            Some(node) => Err(Failure::new(Exit::Rejected, format!("{} {why}", node.name))),
        }
    }

    /// Refuses if one of these is dead.
    pub(crate) fn refuse_dead(&self, nodes: &[usize]) -> Result<(), Failure> {
        self.refuse(nodes, TestnetNodeState::Dead, "is dead; revive it first")
    }

    /// The nodes that are dead.
    pub(crate) fn dead(&self) -> Vec<usize> {
        let state = self.lock();
        let dead = |node: &usize| state.testnet.nodes[*node].state == TestnetNodeState::Dead;
        (0..state.testnet.nodes.len()).filter(dead).collect()
    }

    /// Ends all nodes: in order if they can, by force if not.
    pub(crate) fn end(&self) {
        self.begin_ending();
        let count = self.lock().testnet.nodes.len();
        for signal in [Signal::TERM, Signal::CONT] {
            (0..count).for_each(|node| self.signal(node, signal));
        }
        let dead = |state: &State| {
            state.testnet.nodes.iter().all(|node| node.state == TestnetNodeState::Dead)
        };
        if !self.wait(ENDING, dead) {
            (0..count).for_each(|node| self.signal(node, Signal::KILL));
            self.wait(SIGNALLED, dead);
        }
    }
}

fn set(node: &mut TestnetNode, state: TestnetNodeState, pid: Option<u32>) {
    node.state = state;
    node.pid = pid;
}

fn pid_of(pid: u32) -> Pid {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    raw.expect("the system numbers processes from 1 to far below 2^31")
}

/// The last line of a file that says anything.
fn last_line(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}

/// The `quorate` command: in `QUORATE_BIN_DIR`, else beside this program, else where commands are.
pub(crate) fn program() -> Result<PathBuf, Failure> {
    let name = format!("quorate{}", env::consts::EXE_SUFFIX);
    let told = env::var_os("QUORATE_BIN_DIR").map(PathBuf::from);
    let own = env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned));
    let path = env::var_os("PATH").unwrap_or_default();
    let places = told.into_iter().chain(own).chain(env::split_paths(&path));
    let found = places.map(|place| place.join(&name)).find(|program| program.is_file());
    found.ok_or_else(|| {
        let sentence = "the `quorate` command is not there: build it (cargo build -p quorate-node), \
                        or name its directory in QUORATE_BIN_DIR";
        Failure::new(Exit::Configuration, sentence)
    })
}

/// What runs a node.
fn command(program: &Path, node: &TestnetNode) -> Result<Command, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(Exit::Storage, format!("{}: {error}", path.display()))
    };
    let log: File = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&node.log)
        .map_err(|error| failed(&node.log, error))?;
    let errors = log.try_clone().map_err(|error| failed(&node.log, error))?;
    let mut command = Command::new(program);
    // A node of a testnet is set by its file; what its maker's own node is set to is no concern.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("QUORATE_")) {
            command.env_remove(name);
        }
    }
    command
        .arg("start")
        .arg("--home")
        .arg(&node.home)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0);
    Ok(command)
}
