//! The nodes that are asked: some that are there, or some that are started for it and gone afterwards.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_chain::ids::ChainId;
use quorate_client::Client;
use quorate_node::config::Config;
use quorate_node::exit::{Exit, Failure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::usage::{self, Usage};
use crate::work::{Field, System};

/// How long nodes may take until they have a leader.
const READY: Duration = Duration::from_secs(60);
/// How often they are asked.
const PAUSE: Duration = Duration::from_millis(50);

/// How long nodes may take to end, or to be there again.
const RESTART: Duration = Duration::from_secs(600);
/// How often they are asked whether they are.
const INSTANT: Duration = Duration::from_millis(2);
/// How long a node may take with a single answer then.
const ANSWER: Duration = Duration::from_secs(5);

/// How long nodes took to end, and to be there again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Restart {
    /// From SIGTERM until all had ended.
    pub(crate) ended: Duration,
    /// From their start until each of them had answered a read of what it has applied.
    pub(crate) local: Duration,
    /// From their start until each of them had answered a read that sees all that was acknowledged before.
    pub(crate) started: Duration,
}

/// How soon a leader is missed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How often it is heard when there is nothing to say.
    pub(crate) heartbeat: Duration,
    /// How long it may be silent.
    pub(crate) election: Duration,
}

/// Nodes of one system.
pub(crate) struct Group {
    /// What they are.
    pub(crate) system: System,
    /// Where clients reach them.
    pub(crate) nodes: Vec<SocketAddr>,
    own: Option<Processes>,
}

/// Processes that belong to the benchmark, and end with it, in a directory that goes with them.
pub(crate) struct Processes {
    children: Vec<(Child, Command)>,
    directory: TempDir,
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (child, _) in &mut self.children {
            // One that has ended is ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// That something is wrong which should not be.
pub(crate) fn bug(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Bug, error)
}

fn unheard(error: quorate_client::Error) -> Failure {
    Failure::new(Exit::NoNode, error)
}

/// Where another program of ours is: where `QUORATE_BIN_DIR` says, or beside this one.
fn program(name: &str) -> PathBuf {
    let told = std::env::var_os("QUORATE_BIN_DIR").map(PathBuf::from);
    let own = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
    let mut places = told.into_iter().chain(own).map(|place| place.join(name));
    places.find(|place| place.is_file()).unwrap_or_else(|| name.into())
}

fn missing(program: &OsStr, error: &std::io::Error) -> Failure {
    let sentence = format!("{}: {error}; it has to be built, or installed", program.display());
    Failure::new(Exit::Configuration, sentence)
}

impl Processes {
    /// None yet, in a directory below this one.
    pub(crate) fn below(place: Option<&Path>) -> Result<Self, Failure> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("quorate-bench-");
        let made = place.map_or_else(|| builder.tempdir(), |place| builder.tempdir_in(place));
        let directory = made.map_err(|error| Failure::new(Exit::Storage, error))?;
        Ok(Self { children: Vec::new(), directory })
    }

    /// Their directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// One more; what it says goes to a file of this name.
    pub(crate) fn start(&mut self, mut command: Command, log: &str) -> Result<(), Failure> {
        let path = self.path().join(log);
        let storage = |error| Failure::new(Exit::Storage, format!("{}: {error}", path.display()));
        let log = File::create(&path).map_err(storage)?;
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(bug)?).stderr(log);
        let program = command.get_program().to_owned();
        let child = command.spawn().map_err(|error| missing(&program, &error))?;
        self.children.push((child, command));
        Ok(())
    }

    /// Tells all of them to end, and waits until they have; returns how long that took.
    fn end(&mut self) -> Result<Duration, Failure> {
        let begin = Instant::now();
        for (child, _) in &self.children {
            // One that has ended is ended.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
        while self.children.iter_mut().any(|(child, _)| matches!(child.try_wait(), Ok(None))) {
            if begin.elapsed() > RESTART {
                return Err(bug(format!("nodes run on {} s after SIGTERM", RESTART.as_secs())));
            }
            std::thread::sleep(INSTANT);
        }
        Ok(begin.elapsed())
    }

    /// Starts all of them again that have ended.
    fn again(&mut self) -> Result<(), Failure> {
        for (child, command) in &mut self.children {
            let program = command.get_program().to_owned();
            *child = command.spawn().map_err(|error| missing(&program, &error))?;
        }
        Ok(())
    }

    /// Waits until a node that was started again answers this request as it should.
    fn answers(&mut self, node: &SocketAddr, request: &[u8]) -> Result<(), Failure> {
        let end = Instant::now() + RESTART;
        while answers(node, request).is_none() {
            let over = |(child, _): &mut (Child, Command)| !matches!(child.try_wait(), Ok(None));
            if self.children.iter_mut().any(over) || Instant::now() > end {
                let sentence = format!("{node} does not answer after it was started again");
                return Err(Failure::new(Exit::NoQuorum, sentence));
            }
            std::thread::sleep(INSTANT);
        }
        Ok(())
    }

    /// The bytes of all files in their directory.
    fn bytes(&self) -> u64 {
        let (mut sum, mut left) = (0, vec![self.path().to_owned()]);
        while let Some(directory) = left.pop() {
            // What is gone since it was listed takes no room.
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(known) if known.is_dir() => left.push(entry.path()),
                    Ok(known) => sum += known.len(),
                    Err(_) => {}
                }
            }
        }
        sum
    }
}

/// So many ports that nobody listens at now.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let bound = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let bound = bound.collect::<Result<Vec<_>, _>>().map_err(bug)?;
    bound.iter().map(|listener| Ok(listener.local_addr().map_err(bug)?.port())).collect()
}

/// Waits until something is there.
pub(crate) fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> Result<T, Failure> {
    let end = Instant::now() + READY;
    while Instant::now() < end {
        if let Some(found) = look() {
            return Ok(found);
        }
        std::thread::sleep(PAUSE);
    }
    let sentence = format!("{what} after {} s", READY.as_secs());
    Err(Failure::new(Exit::NoQuorum, sentence))
}

/// Whether a node answers this request as it should.
fn answers(node: &SocketAddr, request: &[u8]) -> Option<()> {
    let mut stream = TcpStream::connect_timeout(node, ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(request).ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    head.ends_with(b" 200").then_some(())
}

fn api(node: &SocketAddr) -> String {
    format!("http://{node}")
}

impl Group {
    /// Nodes of ours that are there.
    pub(crate) fn named(nodes: &str) -> Result<Self, Failure> {
        let address = |node: &str| {
            let text = node.trim().trim_end_matches('/').trim_start_matches("http://");
            text.parse().map_err(|_| {
                let sentence = format!("`{node}` is not such as http://127.0.0.1:7600");
                Failure::new(Exit::Usage, sentence)
            })
        };
        let nodes = nodes.split(',').map(address).collect::<Result<_, _>>()?;
        Ok(Self { system: System::Quorate, nodes, own: None })
    }

    /// Processes that were started for it.
    pub(crate) const fn of(system: System, nodes: Vec<SocketAddr>, own: Processes) -> Self {
        Self { system, nodes, own: Some(own) }
    }

    /// So many validators of ours, on free ports and with nothing between them, as patient as they are by themselves if
    /// nothing else is said.
    pub(crate) fn quorate(
        count: u16,
        place: Option<&Path>,
        pace: Option<Pace>,
    ) -> Result<Self, Failure> {
        let mut own = Processes::below(place)?;
        let (testnet, dir) = (program("quorate-testnet"), own.path().join("t"));
        let init = Command::new(&testnet)
            .args(["init", "--api-port", "0", "--p2p-port", "0", "-n", &count.to_string(), "--dir"])
            .arg(&dir)
            .output();
        let init = init.map_err(|error| missing(testnet.as_os_str(), &error))?;
        if !init.status.success() {
            return Err(bug(String::from_utf8_lossy(&init.stderr).trim()));
        }
        let mut nodes = Vec::new();
        for node in 0..count {
            let home = dir.join(format!("node{node}"));
            let file = std::fs::read_to_string(home.join("config.toml")).map_err(bug)?;
            nodes.push(Config::load(&file, [], []).map_err(bug)?.api_listen);
            let mut start = Command::new(program("quorate"));
            start.arg("start").arg("--home").arg(&home);
            if let Some(Pace { heartbeat, election }) = pace {
                start.env("QUORATE_HEARTBEAT", format!("{}ms", heartbeat.as_millis()));
                start.env("QUORATE_ELECTION_TIMEOUT", format!("{}ms", election.as_millis()));
            }
            own.start(start, &format!("node{node}.log"))?;
        }
        let group = Self::of(System::Quorate, nodes, own);
        until("the validators have no leader", || group.agreed())?;
        Ok(group)
    }

    /// Whether all nodes name one leader.
    fn agreed(&self) -> Option<()> {
        let leader = |node| Client::new(&api(node)).ok()?.status().ok()?.leader;
        let leaders: Vec<_> = self.nodes.iter().map(leader).collect::<Option<_>>()?;
        leaders.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
    }

    fn client(&self) -> Result<Client, Failure> {
        let nodes: Vec<_> = self.nodes.iter().map(api).collect();
        Client::new(&nodes.join(",")).map_err(unheard)
    }

    /// The chain, if this has one.
    pub(crate) fn chain_id(&self) -> Result<ChainId, Failure> {
        match self.system {
            System::Quorate => Ok(self.client()?.status().map_err(unheard)?.chain_id),
            System::Etcd | System::Nats => Ok(ChainId::ZERO),
        }
    }

    /// Its height.
    pub(crate) fn height(&self) -> Result<u64, Failure> {
        match self.system {
            System::Quorate => Ok(self.client()?.height().map_err(unheard)?.height.get()),
            System::Etcd | System::Nats => Ok(0),
        }
    }

    /// Where requests go: to the leader, or to one node after the other.
    pub(crate) fn targets(&self, all: bool) -> Vec<SocketAddr> {
        let leads = |node: &&SocketAddr| match self.system {
            System::Quorate => {
                let status = Client::new(&api(node)).ok().and_then(|client| client.status().ok());
                status.is_some_and(|status| status.role == "leader")
            }
            System::Etcd => crate::others::leads_etcd(**node),
            System::Nats => crate::others::leads_nats(self, **node),
        };
        // Nodes that were named may be without the leader.
        let leader = if all { None } else { self.nodes.iter().find(leads) };
        leader.map_or_else(|| self.nodes.clone(), |leader| vec![*leader])
    }

    /// What the nodes have used up, if they are processes of this benchmark.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let children = self.own.as_ref()?.children.iter().map(|(child, _)| child.id());
        let client = |node: &SocketAddr| match self.system {
            System::Quorate => Client::new(&api(node)).ok(),
            System::Etcd | System::Nats => None,
        };
        usage::of(&children.zip(self.nodes.iter().map(client)).collect::<Vec<_>>())
    }

    /// Ends own nodes of ours and starts them again, with what they have on their disks.
    pub(crate) fn restart(&mut self) -> Result<Restart, Failure> {
        let nodes = &self.nodes;
        let own = self.own.as_mut().ok_or_else(|| bug("nodes of others are not ended"))?;
        let ended = own.end()?;
        let begin = Instant::now();
        own.again()?;
        nodes.iter().try_for_each(|node| own.answers(node, &Field::first(true)))?;
        let local = begin.elapsed();
        nodes.iter().try_for_each(|node| own.answers(node, &Field::first(false)))?;
        Ok(Restart { ended, local, started: begin.elapsed() })
    }

    /// Sends the process of the leader a signal that it does not hear, and says which of the own nodes that was, and when.
    pub(crate) fn strike_leader(&mut self, signal: Signal) -> Result<(usize, Instant), Failure> {
        let leads = |targets: &[SocketAddr]| match targets {
            [leader] => self.nodes.iter().position(|node| node == leader),
            _ => None,
        };
        let leader = leads(&self.targets(false)).ok_or_else(|| bug("nobody leads"))?;
        kill_process(Pid::from_child(&self.own(leader)?.0), signal).map_err(bug)?;
        Ok((leader, Instant::now()))
    }

    /// Starts an own node again that was struck, after it is dead for sure.
    pub(crate) fn revive(&mut self, node: usize) -> Result<(), Failure> {
        let (child, command) = self.own(node)?;
        child.kill().map_err(bug)?;
        child.wait().map_err(bug)?;
        let program = command.get_program().to_owned();
        *child = command.spawn().map_err(|error| missing(&program, &error))?;
        Ok(())
    }

    fn own(&mut self, node: usize) -> Result<&mut (Child, Command), Failure> {
        let own = self.own.as_mut().and_then(|own| own.children.get_mut(node));
        own.ok_or_else(|| bug("nodes of others are not ended"))
    }

    /// The bytes of all files of own nodes.
    pub(crate) fn bytes(&self) -> u64 {
        self.own.as_ref().map_or(0, Processes::bytes)
    }
}
