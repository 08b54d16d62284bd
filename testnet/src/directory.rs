//! The directory of a testnet: keys, genesis and homes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_chain::crypto::{SecretKey, ValidatorKey};
use quorate_chain::execute::Writers;
use quorate_chain::genesis::{Genesis, GenesisAdmins, GenesisValidator, VERSION};
use quorate_chain::ids::{Hash, TimeUs};
use quorate_chain::roster::Lead;
use quorate_client::{KeyFile, Testnet, TestnetNode, TestnetNodeState};
use quorate_node::config::Config;
use quorate_node::exit::{Exit, Failure};
use quorate_node::home::{Home, HomeError, Layout, NewHome};
use quorate_node::keys;
use zeroize::Zeroizing;

use crate::options::{Options, PORTS};
use crate::{peer_id, ports};

const FORMAT: &str = "quorate-testnet 1";
/// The accounts of every testnet.
const ACCOUNTS: [&str; 3] = ["alice", "bob", "admin"];
/// Small files of the log: a testnet lives on one disk with everything else.
const WAL_SEGMENT: u64 = 5 << 20;
/// The longest path that a socket can have is 107 bytes, and homes have one of their own.
const LONGEST_PATH: usize = 80;

/// A testnet's directory.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    root: PathBuf,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(Exit::Storage, format!("{}: {error}", path.display()))
}

fn configuration(sentence: String) -> Failure {
    Failure::new(Exit::Configuration, sentence)
}

impl Directory {
    /// The directory at this path, which need not be there yet.
    pub(crate) fn new(root: PathBuf) -> Result<Self, Failure> {
        if root.as_os_str().len() > LONGEST_PATH {
            let sentence = format!(
                "{}: a testnet's path has at most {LONGEST_PATH} bytes, because sockets are in it",
                root.display()
            );
            return Err(configuration(sentence));
        }
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The socket of the supervisor.
    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// What is wrong with the disks of its nodes.
    pub(crate) fn faults(&self) -> PathBuf {
        self.root.join("faults")
    }

    /// The file that is there while the testnet runs.
    pub(crate) fn testnet_file(&self) -> PathBuf {
        self.root.join(Testnet::FILE)
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.root.join("genesis.json")
    }

    fn format(&self) -> PathBuf {
        self.root.join("FORMAT")
    }

    /// The home of a node.
    pub(crate) fn home(&self, node: u16) -> PathBuf {
        self.root.join(name(node))
    }

    /// The key file of an account.
    pub(crate) fn key(&self, account: &str) -> PathBuf {
        self.root.join("keys").join(format!("{account}.key"))
    }

    /// Whether a testnet was made here, to its end.
    pub(crate) fn exists(&self) -> bool {
        self.format().exists()
    }

    /// Deletes what is in it, unless it is something else than a testnet, or a node runs in one of its homes.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        let entries = fs::read_dir(&self.root).and_then(|entries| {
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()
        });
        let mut entries = entries.map_err(io(&self.root))?;
        if !entries.is_empty() && !self.exists() && !self.genesis().exists() {
            let root = self.root.display();
            return Err(configuration(format!("{root} is no testnet, so it is not deleted")));
        }
        // Nobody starts a node in one of them meanwhile.
        let mut homes = Vec::new();
        for path in &entries {
            match Home::open(path) {
                Ok(home) => homes.push(home),
                Err(HomeError::Locked { path, pid }) => {
                    let path = path.display();
                    let sentence = format!("{path} is in use by process {pid}; nothing is deleted");
                    return Err(configuration(sentence));
                }
                // It is no home, or none that a node of ours could run in.
                Err(_) => {}
            }
        }
        // What tells that this is a testnet goes last, so that who is interrupted can go on.
        entries.sort_by_key(|path| *path == self.genesis());
        for path in entries {
            let is_directory = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            let remove = if is_directory { fs::remove_dir_all } else { fs::remove_file };
            remove(&path).map_err(io(&path))?;
        }
        Ok(())
    }

    /// The ports that the nodes of a new testnet would have, if it can be made.
    pub(crate) fn ports_of_new(options: &Options) -> Result<Vec<u16>, Failure> {
        let count = options.count();
        options.check(count)?;
        let places = places(options, &vec![Config::default(); usize::from(count)], true)?;
        Ok(places.iter().flat_map(|place| [place.api, place.p2p]).collect())
    }

    /// Makes homes, keys and genesis if there are none, and sets the nodes as the options say.
    pub(crate) fn prepare(&self, options: &Options) -> Result<(), Failure> {
        let count = if self.exists() { self.count()? } else { options.count() };
        if let Some(wanted) = options.nodes.filter(|wanted| *wanted != count) {
            let root = self.root.display();
            let sentence = format!(
                "{root} has {count} nodes, not {wanted}; --fresh deletes it and makes a new one"
            );
            return Err(configuration(sentence));
        }
        options.check(count)?;
        if self.exists() { self.set(options, count) } else { self.make(options, count) }
    }

    /// How many nodes it has.
    pub(crate) fn count(&self) -> Result<u16, Failure> {
        let genesis = self.read_genesis()?.1;
        u16::try_from(genesis.validators.len()).map_err(|error| Failure::new(Exit::Bug, error))
    }

    fn read_genesis(&self) -> Result<(Vec<u8>, Genesis), Failure> {
        let path = self.genesis();
        let file = fs::read(&path).map_err(io(&path))?;
        let genesis = Genesis::parse(&file)
            .map_err(|error| configuration(format!("{}: {error}", path.display())))?;
        Ok((file, genesis))
    }

    fn make(&self, options: &Options, count: u16) -> Result<(), Failure> {
        if fs::read_dir(&self.root).is_ok_and(|mut listing| listing.next().is_some()) {
            let root = self.root.display();
            let sentence = format!(
                "{root} is not empty and no testnet that was made to its end; --fresh deletes one"
            );
            return Err(configuration(sentence));
        }
        fs::create_dir_all(&self.root).map_err(io(&self.root))?;
        let mut admin = None;
        for account in ACCOUNTS {
            let secret = SecretKey::from_seed(&*seed(options.seed, account)?);
            admin = Some(secret.account_key());
            KeyFile::write_development(&self.key(account), secret)
                .map_err(|e| configuration(e.to_string()))?;
        }
        let seeds = (0..count).map(|node| seed(options.seed, &name(node)));
        let seeds = seeds.collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<_> =
            seeds.iter().map(|seed| SecretKey::from_seed(seed).validator_key()).collect();
        let places = places(options, &vec![Config::default(); usize::from(count)], true)?;
        let genesis = Genesis {
            version: VERSION,
            name: "testnet".to_owned(),
            time_us: now(),
            testnet: true,
            writers: Writers::Anyone,
            admins: GenesisAdmins { threshold: 1, keys: admin.into_iter().collect() },
            validators: validators(&keys, &places, options.behind_lines),
            vote_quorum: None,
            finality_quorum: None,
            grants: Vec::new(),
        };
        let file = genesis.to_file();
        let new = Config { wal_segment: WAL_SEGMENT, ..Config::default() };
        let configs = configs(options, vec![new; usize::from(count)], &places, &keys);
        for (node, (config, seed)) in (0..count).zip(configs.iter().zip(&seeds)) {
            let genesis = Some(&file[..]);
            let new = NewHome { config, genesis, seed, validator: None, development: true };
            Home::create(&self.home(node), &new).map_err(|error| error.failure())?;
        }
        fs::write(self.genesis(), &file).map_err(io(&self.genesis()))?;
        fs::write(self.format(), format!("{FORMAT}\n")).map_err(io(&self.format()))
    }

    /// Sets the nodes of a testnet that exists.
    fn set(&self, options: &Options, count: u16) -> Result<(), Failure> {
        let (_, genesis) = self.read_genesis()?;
        let keys: Vec<_> = genesis.validators.iter().map(|each| each.key.clone()).collect();
        let before = (0..count).map(|node| self.config(node)).collect::<Result<Vec<_>, _>>()?;
        let places = places(options, &before, false)?;
        let configs = configs(options, before, &places, &keys);
        for (node, config) in (0..count).zip(&configs) {
            let path = Layout::new(self.home(node)).config();
            let beside = path.with_extension("tmp");
            fs::write(&beside, config.to_file())
                .and_then(|()| fs::rename(&beside, &path))
                .map_err(io(&path))?;
        }
        Ok(())
    }

    /// What a node is set to, by its file alone.
    pub(crate) fn config(&self, node: u16) -> Result<Config, Failure> {
        let path = Layout::new(self.home(node)).config();
        let file = fs::read_to_string(&path).map_err(io(&path))?;
        Config::load(&file, [], [])
            .map_err(|error| configuration(format!("{}: {error}", path.display())))
    }

    /// Every port that its nodes listen on.
    pub(crate) fn ports(&self) -> Result<Vec<u16>, Failure> {
        let mut ports = Vec::new();
        for node in 0..self.count()? {
            let config = self.config(node)?;
            ports.extend([config.api_listen.port(), port_of(&config.p2p_listen)]);
        }
        Ok(ports)
    }

    /// What `testnet.json` says of it while nothing runs.
    pub(crate) fn describe(&self) -> Result<Testnet, Failure> {
        let (file, genesis) = self.read_genesis()?;
        let roster = genesis.roster().map_err(|error| configuration(error.to_string()))?;
        let voters = genesis.validators.len();
        let quorum = genesis.vote_quorum.map_or(voters / 2 + 1, usize::from);
        let mut nodes = Vec::new();
        for (node, member) in (0..).zip(&roster.current().members) {
            let config = self.config(node)?;
            let home = self.home(node);
            nodes.push(TestnetNode {
                node_id: member.id,
                name: member.name.clone(),
                mode: "validator".to_owned(),
                state: TestnetNodeState::Dead,
                pid: None,
                api: format!("http://{}", config.api_listen),
                p2p: format!("{}/p2p/{}", config.p2p_listen, peer_id(&member.key)),
                log: home.join("node.log"),
                home,
            });
        }
        Ok(Testnet {
            dir: self.root.clone(),
            chain_id: Genesis::chain_id(&file),
            genesis: self.genesis(),
            supervisor_pid: std::process::id(),
            quorum: u32::try_from(quorum).map_err(|error| Failure::new(Exit::Bug, error))?,
            nodes,
            keys: ACCOUNTS.iter().map(|name| ((*name).to_owned(), self.key(name))).collect(),
        })
    }
}

/// What node I is called.
fn name(node: u16) -> String {
    format!("node{node}")
}

/// Where a node is reached: by clients and by other nodes.
#[derive(Clone, Copy, Debug)]
struct Place {
    api: u16,
    p2p: u16,
}

/// The ports of all nodes. Those that nothing is said about stay; a new testnet has the usual ones.
fn places(options: &Options, before: &[Config], new: bool) -> Result<Vec<Place>, Failure> {
    let count = u16::try_from(before.len()).map_err(|error| Failure::new(Exit::Bug, error))?;
    let kept = |port: Option<u16>, usual: u16, now: Vec<u16>, taken: &[u16]| match port {
        // Free ones were asked for, and those it had are free: then nothing needs to change.
        Some(0) if !new && ports::check_free(&now).is_ok() => Ok(now),
        Some(first) => ports::choose(first, count, taken),
        None if new => ports::choose(usual, count, taken),
        None => Ok(now),
    };
    let now = before.iter().map(|config| config.api_listen.port()).collect();
    let api = kept(options.api_port, PORTS.0, now, &[])?;
    let now = before.iter().map(|config| port_of(&config.p2p_listen)).collect();
    let p2p = kept(options.p2p_port, PORTS.1, now, &api)?;
    if let Some(twice) = api.iter().find(|port| p2p.contains(port)) {
        let sentence = format!("port {twice} would serve clients and nodes alike");
        return Err(configuration(sentence));
    }
    Ok(api.into_iter().zip(p2p).map(|(api, p2p)| Place { api, p2p }).collect())
}

fn port_of(multiaddress: &str) -> u16 {
    multiaddress.rsplit('/').next().and_then(|port| port.parse().ok()).unwrap_or_default()
}

fn p2p_address(place: Place) -> String {
    format!("/ip4/{}/tcp/{}", Ipv4Addr::LOCALHOST, place.p2p)
}

fn validators(
    keys: &[ValidatorKey],
    places: &[Place],
    behind_lines: bool,
) -> Vec<GenesisValidator> {
    let each = (0..).zip(keys.iter().zip(places));
    each.map(|(node, (key, place))| GenesisValidator {
        name: name(node),
        key: key.clone(),
        p2p: if behind_lines { Vec::new() } else { vec![p2p_address(*place)] },
        api: vec![format!("http://{}:{}", Ipv4Addr::LOCALHOST, place.api)],
        lead: Lead::Yes,
    })
    .collect()
}

/// What each node is set to: as before, but for what the options and the places say.
fn configs(
    options: &Options,
    before: Vec<Config>,
    places: &[Place],
    keys: &[ValidatorKey],
) -> Vec<Config> {
    let address =
        |node: usize| format!("{}/p2p/{}", p2p_address(places[node]), peer_id(&keys[node]));
    let change = |(node, config): (usize, Config)| {
        let number = node as u64;
        let others = (0..places.len()).filter(|other| *other != node);
        let lead = lead(options, node).unwrap_or(config.lead);
        Config {
            api_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, places[node].api)),
            api_url: Some(format!("http://{}:{}", Ipv4Addr::LOCALHOST, places[node].api)),
            p2p_listen: p2p_address(places[node]),
            p2p_peers: others.map(address).collect(),
            lead,
            heartbeat: options.heartbeat.unwrap_or(config.heartbeat),
            election_timeout: options.election_timeout.unwrap_or(config.election_timeout),
            block_interval: options.block_interval.unwrap_or(config.block_interval),
            seed: options.seed.map_or(config.seed, |seed| seed.wrapping_add(number + 1).max(1)),
            ..config
        }
    };
    before.into_iter().enumerate().map(change).collect()
}

/// Whether a node wants to lead, if the options say anything about that.
fn lead(options: &Options, node: usize) -> Option<Option<Lead>> {
    let is = |other: &u16| usize::from(*other) == node;
    if options.leader.is_none() && options.eligible.is_empty() {
        return None;
    }
    let lead = if options.leader.iter().any(is) {
        Lead::Prefer
    } else if options.eligible.is_empty() || options.eligible.iter().any(is) {
        Lead::Yes
    } else {
        Lead::No
    };
    Some(Some(lead))
}

/// The secret of a key: a random one, or the one that belongs to this number and name.
fn seed(number: Option<u64>, name: &str) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let Some(number) = number else {
        return keys::new_seed().map_err(|error| Failure::new(Exit::Bug, error));
    };
    let domain = b"quorate/development-key/1";
    let hash = Hash::of(&[domain, &number.to_be_bytes(), name.as_bytes()]);
    Ok(Zeroizing::new(*hash.as_bytes()))
}

fn now() -> TimeUs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    TimeUs::new(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
