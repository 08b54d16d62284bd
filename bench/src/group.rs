//! The nodes that are asked: some that are there, or some that are started for it and gone afterwards.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use quorate_chain::ids::ChainId;
use quorate_client::Client;
use quorate_node::config::Config;
use quorate_node::exit::{Exit, Failure};
use rustix::process::Signal;

use crate::processes::Processes;
use crate::usage::{self, Usage};
use crate::work::{Field, System};

/// How long nodes may take until they have a leader.
const READY: Duration = Duration::from_secs(60);
/// How often they are asked.
const PAUSE: Duration = Duration::from_millis(50);

/// How long nodes may take to be there again.
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

/// So many ports that nobody listens at now.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let bound = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let bound = bound.collect::<Result<Vec<_>, _>>().map_err(bug)?;
    bound.iter().map(|listener| Ok(listener.local_addr().map_err(bug)?.port())).collect()
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

/// Waits until a node that was started again answers this request as it should.
fn answered(own: &Processes, node: &SocketAddr, request: &[u8]) -> Result<(), Failure> {
    let end = Instant::now() + RESTART;
    while answers(node, request).is_none() {
        own.all_run()?;
        if Instant::now() > end {
            let sentence = format!("{node} does not answer after it was started again");
            return Err(Failure::new(Exit::NoQuorum, sentence));
        }
        std::thread::sleep(INSTANT);
    }
    Ok(())
}

/// The address of a node that is named as people do it.
fn named(node: &str) -> Result<SocketAddr, Failure> {
    let text = node.trim().trim_end_matches('/').trim_start_matches("http://");
    let wrong = |why: &dyn std::fmt::Display| {
        let sentence = format!("`{node}` is not such as http://127.0.0.1:7600: {why}");
        Failure::new(Exit::Usage, sentence)
    };
    let all: Vec<_> = text.to_socket_addrs().map_err(|error| wrong(&error))?.collect();
    // A name may stand for several, such as ::1 and 127.0.0.1: the one where somebody listens.
    let listens = |address: &&SocketAddr| TcpStream::connect_timeout(address, ANSWER).is_ok();
    let one = if all.len() > 1 { all.iter().find(listens) } else { None };
    one.or(all.first()).copied().ok_or_else(|| wrong(&"it has no address"))
}

fn api(node: &SocketAddr) -> String {
    format!("http://{node}")
}

impl Group {
    /// Nodes of ours that are there.
    pub(crate) fn named(nodes: &str) -> Result<Self, Failure> {
        let nodes = nodes.split(',').map(named).collect::<Result<_, _>>()?;
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
        let own = Processes::below(place)?;
        let (testnet, dir) = (program("quorate-testnet"), own.path().join("t"));
        let init = own.output(
            Command::new(&testnet)
                .args(["init", "--api-port", "0", "--p2p-port", "0", "-n", &count.to_string()])
                .arg("--dir")
                .arg(&dir),
        )?;
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
        group.until("the validators have no leader", || group.agreed())?;
        Ok(group)
    }

    /// Waits until something is there, or one of the own nodes has ended.
    pub(crate) fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> Result<T, Failure> {
        let end = Instant::now() + READY;
        while Instant::now() < end {
            if let Some(found) = look() {
                return Ok(found);
            }
            self.own.as_ref().map_or(Ok(()), Processes::all_run)?;
            std::thread::sleep(PAUSE);
        }
        let sentence = format!("{what} after {} s", READY.as_secs());
        Err(Failure::new(Exit::NoQuorum, sentence))
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
        let ids = self.own.as_ref()?.ids();
        let client = |node: &SocketAddr| match self.system {
            System::Quorate => Client::new(&api(node)).ok(),
            System::Etcd | System::Nats => None,
        };
        usage::of(&ids.into_iter().zip(self.nodes.iter().map(client)).collect::<Vec<_>>())
    }

    /// Ends own nodes of ours and starts them again, with what they have on their disks.
    pub(crate) fn restart(&self) -> Result<Restart, Failure> {
        let (nodes, own) = (&self.nodes, self.own()?);
        let ended = own.end()?;
        let begin = Instant::now();
        own.again()?;
        nodes.iter().try_for_each(|node| answered(own, node, &Field::first(true)))?;
        let local = begin.elapsed();
        nodes.iter().try_for_each(|node| answered(own, node, &Field::first(false)))?;
        Ok(Restart { ended, local, started: begin.elapsed() })
    }

    /// Sends the process of the leader a signal that it does not hear, and says which of the own nodes that was, and when.
    pub(crate) fn strike_leader(&self, signal: Signal) -> Result<(usize, Instant), Failure> {
        let leads = |targets: &[SocketAddr]| match targets {
            [leader] => self.nodes.iter().position(|node| node == leader),
            _ => None,
        };
        let leader = leads(&self.targets(false)).ok_or_else(|| bug("nobody leads"))?;
        self.own()?.strike(leader, signal)?;
        Ok((leader, Instant::now()))
    }

    /// Starts an own node again that was struck, after it is dead for sure.
    pub(crate) fn revive(&self, node: usize) -> Result<(), Failure> {
        self.own()?.revive(node)
    }

    fn own(&self) -> Result<&Processes, Failure> {
        self.own.as_ref().ok_or_else(|| bug("nodes of others are not ended"))
    }

    /// The bytes of all files of own nodes.
    pub(crate) fn bytes(&self) -> u64 {
        self.own.as_ref().map_or(0, Processes::bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_named_by_addresses_or_by_names() {
        let group = Group::named("http://127.0.0.1:7600/, [::1]:1,localhost:2").unwrap();
        let (ports, local): (Vec<_>, Vec<_>) =
            group.nodes.iter().map(|it| (it.port(), it.ip().is_loopback())).unzip();
        assert_eq!((ports, local), (vec![7600, 1, 2], vec![true; 3]));
        for wrong in ["", "localhost", "https://localhost:1", "localhost:1/v1", "localhost:99999"] {
            let failure = Group::named(wrong).map(drop).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            let says = format!("`{wrong}` is not such as http://127.0.0.1:7600: ");
            assert!(failure.sentence.starts_with(&says), "{failure}");
        }
    }
}
