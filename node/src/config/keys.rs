//! The list of settings.

use std::fmt::Display;
use std::str::FromStr;

use quorate_chain::ids::NodeId;
use quorate_chain::roster::Lead;

use super::values::{bytes, duration, show_bytes, show_duration};
use super::{Config, LogFormat, Storage};
use crate::net;

/// A setting.
#[derive(Clone, Copy)]
pub struct Key {
    /// Its name, as the file has it.
    pub name: &'static str,
    /// What its value is.
    pub unit: &'static str,
    /// What it is for.
    pub meaning: &'static str,
    /// A sensible value beside the default.
    pub example: &'static str,
    /// Sets it; `None` if the value cannot be read.
    pub read: fn(&mut Config, &str) -> Option<()>,
    /// Its value, as it would be written.
    pub show: fn(&Config) -> String,
}

impl Key {
    /// The flag, without the dashes before it.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// The environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("QUORATE_{}", self.name.replace('.', "_").to_uppercase())
    }
}

const TIME: &str = "a time: 100ms, 2s";
const SIZE: &str = "a size: 512KiB, 4MiB";
const COUNT: &str = "a count, at least 1";
/// The highest count of anything: sums of some of them are still numbers.
const MOST: usize = 1 << 30;

fn parsed<T: FromStr>(to: &mut T, text: &str) -> Option<()> {
    *to = text.parse().ok()?;
    Some(())
}

fn count(to: &mut usize, text: &str) -> Option<()> {
    *to = text.parse().ok().filter(|count| (1..=MOST).contains(count))?;
    Some(())
}

fn size(to: &mut usize, text: &str) -> Option<()> {
    *to = usize::try_from(bytes(text)?).ok()?;
    Some(())
}

fn multiaddress(text: &str) -> Option<String> {
    net::is_address(text).then(|| text.to_owned())
}

/// A multiaddress without the id of a peer says where somebody is, and not who.
fn address_of_peer(text: &str) -> Option<String> {
    net::is_address_of_peer(text).then(|| text.to_owned())
}

fn optional(value: Option<impl Display>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn lead(text: &str) -> Option<Option<Lead>> {
    match text {
        "roster" => Some(None),
        "no" => Some(Some(Lead::No)),
        "yes" => Some(Some(Lead::Yes)),
        "prefer" => Some(Some(Lead::Prefer)),
        _ => None,
    }
}

const fn show_lead(lead: Option<Lead>) -> &'static str {
    match lead {
        None => "roster",
        Some(Lead::No) => "no",
        Some(Lead::Yes) => "yes",
        Some(Lead::Prefer) => "prefer",
    }
}

/// All settings.
pub const KEYS: &[Key] = &[
    Key {
        name: "api.listen",
        unit: "an address: 127.0.0.1:7600",
        meaning: "where clients reach this node; port 0 takes a free one",
        example: "0.0.0.0:7600",
        read: |config, text| parsed(&mut config.api_listen, text),
        show: |config| config.api_listen.to_string(),
    },
    Key {
        name: "api.url",
        unit: "a URL, or nothing for the one in the roster",
        meaning: "what other nodes tell clients about where to find this one",
        example: "http://node0.example.org:7600",
        read: |config, text| {
            let good =
                text.is_empty() || text.starts_with("http://") || text.starts_with("https://");
            config.api_url = good.then(|| Some(text.to_owned()).filter(|text| !text.is_empty()))?;
            Some(())
        },
        show: |config| optional(config.api_url.as_ref()),
    },
    Key {
        name: "api.connections",
        unit: COUNT,
        meaning: "most connections of clients at a time; more wait",
        example: "128",
        read: |config, text| count(&mut config.api_connections, text),
        show: |config| config.api_connections.to_string(),
    },
    Key {
        name: "api.subscribers",
        unit: COUNT,
        meaning: "most clients that hear events at a time; more are refused with 429",
        example: "16",
        read: |config, text| count(&mut config.api_subscribers, text),
        show: |config| config.api_subscribers.to_string(),
    },
    Key {
        name: "api.header_timeout",
        unit: TIME,
        meaning: "how long a client may take to send the head of a request",
        example: "5s",
        read: |config, text| {
            config.api_header_timeout = duration(text).filter(|time| !time.is_zero())?;
            Some(())
        },
        show: |config| show_duration(config.api_header_timeout),
    },
    Key {
        name: "api.write_timeout",
        unit: TIME,
        meaning: "how long a client may read nothing of its answer before it is cut off",
        example: "10s",
        read: |config, text| {
            config.api_write_timeout = duration(text).filter(|time| !time.is_zero())?;
            Some(())
        },
        show: |config| show_duration(config.api_write_timeout),
    },
    Key {
        name: "p2p.listen",
        unit: "a multiaddress: /ip4/127.0.0.1/tcp/7700",
        meaning: "where other nodes reach this node",
        example: "/ip4/0.0.0.0/tcp/7700",
        read: |config, text| {
            config.p2p_listen = multiaddress(text)?;
            Some(())
        },
        show: |config| config.p2p_listen.clone(),
    },
    Key {
        name: "p2p.peers",
        unit: "a list of multiaddresses, separated by commas, each with /p2p/ and the peer id at its end: \
               /ip4/192.0.2.1/tcp/7700/p2p/12D3KooW…; `quorate validators --output json` tells the peer ids",
        meaning: "where other nodes are, in the place of their addresses in the roster",
        example: "/dns4/node1.example.org/tcp/7700/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
        read: |config, text| {
            let items = text.split(',').filter(|item| !item.is_empty());
            config.p2p_peers = items.map(address_of_peer).collect::<Option<_>>()?;
            Some(())
        },
        show: |config| config.p2p_peers.join(","),
    },
    Key {
        name: "storage",
        unit: "file or memory",
        meaning: "where blocks and state are kept; in memory only if the genesis says testnet",
        example: "memory",
        read: |config, text| {
            config.storage = match text {
                "file" => Storage::File,
                "memory" => Storage::Memory,
                _ => return None,
            };
            Some(())
        },
        show: |config| match config.storage {
            Storage::File => "file".to_owned(),
            Storage::Memory => "memory".to_owned(),
        },
    },
    Key {
        name: "node_id",
        unit: "genesis, or a number of the roster",
        meaning: "which node this is; to be set on one that is added after the genesis",
        example: "5",
        read: |config, text| {
            config.node_id = match text {
                "genesis" => None,
                number => Some(NodeId::new(number.parse().ok()?)),
            };
            Some(())
        },
        show: |config| {
            config.node_id.map_or_else(|| "genesis".to_owned(), |id| id.get().to_string())
        },
    },
    Key {
        name: "lead",
        unit: "roster, no, yes or prefer",
        meaning: "whether this validator wants to lead; roster: as the roster says",
        example: "prefer",
        read: |config, text| {
            config.lead = lead(text)?;
            Some(())
        },
        show: |config| show_lead(config.lead).to_owned(),
    },
    Key {
        name: "heartbeat",
        unit: TIME,
        meaning: "how often a leader is heard when there is nothing to say",
        example: "50ms",
        read: |config, text| {
            config.heartbeat = duration(text).filter(|time| !time.is_zero())?;
            Some(())
        },
        show: |config| show_duration(config.heartbeat),
    },
    Key {
        name: "election_timeout",
        unit: TIME,
        meaning: "the least time without a leader before a campaign; the same on all nodes",
        example: "500ms",
        read: |config, text| {
            config.election_timeout = duration(text).filter(|time| !time.is_zero())?;
            Some(())
        },
        show: |config| show_duration(config.election_timeout),
    },
    Key {
        name: "block.interval",
        unit: TIME,
        meaning: "one block in each, empty ones too; 0s makes blocks on demand",
        example: "100ms",
        read: |config, text| {
            config.block_interval = duration(text)?;
            Some(())
        },
        show: |config| show_duration(config.block_interval),
    },
    Key {
        name: "block.transactions",
        unit: COUNT,
        meaning: "most transactions that this node puts into a block",
        example: "1000",
        read: |config, text| count(&mut config.block_transactions, text),
        show: |config| config.block_transactions.to_string(),
    },
    Key {
        name: "block.bytes",
        unit: SIZE,
        meaning: "most bytes of transactions that this node puts into a block",
        example: "1MiB",
        read: |config, text| size(&mut config.block_bytes, text),
        show: |config| show_bytes(config.block_bytes as u64),
    },
    Key {
        name: "window.blocks",
        unit: COUNT,
        meaning: "most blocks in flight",
        example: "16",
        read: |config, text| count(&mut config.window_blocks, text),
        show: |config| config.window_blocks.to_string(),
    },
    Key {
        name: "window.bytes",
        unit: SIZE,
        meaning: "most bytes of blocks in flight; from 8MiB to 2GiB",
        example: "64MiB",
        read: |config, text| size(&mut config.window_bytes, text),
        show: |config| show_bytes(config.window_bytes as u64),
    },
    Key {
        name: "message_bytes",
        unit: SIZE,
        meaning: "most bytes of blocks in one message to another node; no more than window.bytes",
        example: "1MiB",
        read: |config, text| size(&mut config.message_bytes, text),
        show: |config| show_bytes(config.message_bytes as u64),
    },
    Key {
        name: "mempool.transactions",
        unit: COUNT,
        meaning: "most transactions that wait for a block; more are refused with 429",
        example: "10000",
        read: |config, text| count(&mut config.mempool_transactions, text),
        show: |config| config.mempool_transactions.to_string(),
    },
    Key {
        name: "mempool.bytes",
        unit: SIZE,
        meaning: "most bytes of memory for transactions that wait for a block",
        example: "16MiB",
        read: |config, text| size(&mut config.mempool_bytes, text),
        show: |config| show_bytes(config.mempool_bytes as u64),
    },
    Key {
        name: "mempool.sender",
        unit: COUNT,
        meaning: "most transactions of one sender that wait for a block; more are refused with 429",
        example: "256",
        read: |config, text| count(&mut config.mempool_sender, text),
        show: |config| config.mempool_sender.to_string(),
    },
    Key {
        name: "wal.segment",
        unit: SIZE,
        meaning: "size of a file of the log; three of them are kept at least; one that is smaller than 5MiB has \
                  no room for a full block, and a full disk then no reserve for it",
        example: "5MiB",
        read: |config, text| {
            config.wal_segment = bytes(text)?;
            Some(())
        },
        show: |config| show_bytes(config.wal_segment),
    },
    Key {
        name: "store.keep_blocks",
        unit: COUNT,
        meaning: "how many of the newest blocks are kept whole at least; 0 keeps all",
        example: "100000",
        read: |config, text| parsed(&mut config.keep_blocks, text),
        show: |config| config.keep_blocks.to_string(),
    },
    Key {
        name: "store.snapshot_every",
        unit: COUNT,
        meaning: "how many blocks lie between two states that are kept for others; alike on all nodes",
        example: "10000",
        read: |config, text| {
            parsed(&mut config.snapshot_every, text).filter(|()| config.snapshot_every > 0)
        },
        show: |config| config.snapshot_every.to_string(),
    },
    Key {
        name: "verify_threads",
        unit: COUNT,
        meaning: "threads that check signatures of what comes in",
        example: "4",
        read: |config, text| count(&mut config.verify_threads, text),
        show: |config| config.verify_threads.to_string(),
    },
    Key {
        name: "read_threads",
        unit: COUNT,
        meaning: "threads that read blocks for nodes that lag behind",
        example: "1",
        read: |config, text| count(&mut config.read_threads, text),
        show: |config| config.read_threads.to_string(),
    },
    Key {
        name: "seed",
        unit: "a number",
        meaning: "where the choice of election timeouts begins; 0 takes a random one",
        example: "7",
        read: |config, text| parsed(&mut config.seed, text),
        show: |config| config.seed.to_string(),
    },
    Key {
        name: "log",
        unit: "error, warn, info, debug or trace",
        meaning: "how much is told on standard error",
        example: "debug",
        read: |config, text| parsed(&mut config.log, text),
        show: |config| config.log.to_string().to_lowercase(),
    },
    Key {
        name: "log_format",
        unit: "text or json",
        meaning: "how it is told: a line for people, or an object on a line for programs",
        example: "json",
        read: |config, text| {
            config.log_format = match text {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return None,
            };
            Some(())
        },
        show: |config| match config.log_format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        },
    },
];
