//! Homes of validators on one machine, for tests.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod process;
pub(crate) mod validators;

use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use quorate_chain::crypto::SecretKey;
use quorate_chain::execute::Writers;
use quorate_chain::genesis::{Genesis, GenesisAdmins, GenesisValidator, VERSION};
use quorate_chain::ids::TimeUs;
use quorate_chain::roster::Lead;
use quorate_node::config::Config;
use quorate_node::home::{Home, NewHome};

/// The secret of validator `at`.
pub(crate) fn seed(at: u8) -> [u8; 32] {
    [at + 1; 32]
}

/// A genesis of so many validators.
pub(crate) fn genesis(validators: u8) -> Genesis {
    genesis_at(&vec![None; usize::from(validators)])
}

/// The first port that is tried, and how many there are: below those that systems give to whoever asks
/// for any, so that no connection takes one between the finding and the use.
const PORTS: (u16, u16) = (10_000, 20_000);

/// Ports of this machine that nobody has, and that nobody gets by chance. Each is given out once.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (first, many) = PORTS;
    // Test processes that run side by side begin at different ones.
    let begin = std::process::id().wrapping_mul(7_919) % u32::from(many);
    let begin = u16::try_from(begin).expect("it is below a number of ports");
    let mut tried = std::iter::repeat_with(|| {
        first + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % many) % many
    });
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    tried.by_ref().take(usize::from(many)).filter(free).take(count).collect()
}

/// A genesis of validators that listen for each other at these ports.
pub(crate) fn genesis_at(ports: &[Option<u16>]) -> Genesis {
    let admin = SecretKey::from_seed(&[200; 32]).account_key();
    Genesis {
        version: VERSION,
        name: "test".to_owned(),
        time_us: TimeUs::new(1_700_000_000_000_000),
        testnet: true,
        writers: Writers::Anyone,
        admins: GenesisAdmins { threshold: 1, keys: vec![admin] },
        validators: (0..)
            .zip(ports)
            .map(|(at, port)| GenesisValidator {
                name: format!("node{at}"),
                key: SecretKey::from_seed(&seed(at)).validator_key(),
                p2p: port.iter().map(|port| address(*port)).collect(),
                api: Vec::new(),
                lead: Lead::Yes,
            })
            .collect(),
        vote_quorum: None,
        finality_quorum: None,
        grants: Vec::new(),
    }
}

/// Where a validator listens for others.
pub(crate) fn address(port: u16) -> String {
    format!("/ip4/127.0.0.1/tcp/{port}")
}

/// Settings for tests: free ports, short files, and times that a busy machine keeps.
pub(crate) fn config() -> Config {
    Config {
        api_listen: ([127, 0, 0, 1], 0).into(),
        p2p_listen: address(0),
        wal_segment: 256 << 10,
        heartbeat: Duration::from_millis(50),
        election_timeout: Duration::from_millis(500),
        ..Config::default()
    }
}

/// Makes the home of validator `at`.
pub(crate) fn home(root: &Path, at: u8, genesis: &Genesis, config: &Config) {
    let file = genesis.to_file();
    let (genesis, seed) = (Some(&file[..]), &seed(at));
    let new = NewHome { config, genesis, seed, validator: None, development: false };
    Home::create(root, &new).expect("a new directory takes a home");
}
