//! Commands that read: `get`, `height`, `block`, `status`.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;

use quorate_chain::ids::TimeUs;
use quorate_client::answer::{Block, Entry, HeightInfo, Status as NodeStatus};
use quorate_client::path::{self, BlockName, Txs};
use quorate_client::problem::Code;
use serde::de::DeserializeOwned;

use super::output::{self, Done, Ended, Output};
use super::reach::Nodes;
use crate::api::problem::problem;
use crate::exit::{Exit, Failure};

/// A key whose value is read.
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// The key.
    key: OsString,
    /// Read it as of this height.
    #[arg(long, value_name = "HEIGHT")]
    at: Option<u64>,
    /// Read what the node that is asked has applied, however old that is.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    nodes: Nodes,
}

/// Nothing but which nodes.
#[derive(Debug, clap::Args)]
pub(super) struct Height {
    #[command(flatten)]
    nodes: Nodes,
}

/// A block.
#[derive(Debug, clap::Args)]
pub(super) struct ShowBlock {
    /// Which one: its height, its hash, or `latest`.
    #[arg(value_name = "HEIGHT|HASH|latest")]
    block: BlockName,
    /// Show the transactions in full and not their ids alone.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    nodes: Nodes,
}

/// A node.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// End with 6 if the node knows of no leader.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    nodes: Nodes,
}

/// Asks, prints the body in JSON, and gives it to `text` otherwise.
pub(super) fn show<T: DeserializeOwned>(
    nodes: &Nodes,
    path: &str,
    output: Output,
    text: impl FnOnce(&T) -> Done,
) -> Done {
    let body = nodes.client()?.body(path)?;
    match output {
        Output::Json => output::body(&body),
        Output::Text => text(&read(&body)?),
    }
}

/// Reads what a node has said.
pub(super) fn read<T: DeserializeOwned>(body: &str) -> Result<T, Ended> {
    serde_json::from_str(body).map_err(|error| {
        let sentence = format!("a node's answer cannot be read: {error}");
        Failure::new(Exit::NoNode, sentence).into()
    })
}

/// Why a node that knows of no leader is not as good as one that does.
pub(super) fn leaderless(status: NodeStatus) -> Ended {
    let mut problem = problem(Code::NoLeader, status.reason.unwrap_or_default());
    problem.reachable = Some(status.reachable);
    problem.needed = Some(status.quorum);
    let sentence = format!("{}: {}", status.name, problem.detail);
    Ended::stated(Exit::NoQuorum, sentence, serde_json::to_string(&problem).ok())
}

impl Get {
    /// Shows the value of a key.
    pub(super) fn run(self, output: Output) -> Done {
        let mut path = path::state(self.key.as_bytes());
        let mut and = |text: String| {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&text);
        };
        if let Some(at) = self.at {
            and(format!("at={at}"));
        }
        if self.local {
            and("consistency=local".to_owned());
        }
        show(&self.nodes, &path, output, |entry: &Entry| {
            output::raw(&entry.value)?;
            if io::stdout().is_terminal() { output::raw(b"\n") } else { Ok(()) }
        })
    }
}

impl Height {
    /// Shows the committed height.
    pub(super) fn run(self, output: Output) -> Done {
        show(&self.nodes, "/v1/height", output, |info: &HeightInfo| {
            output::line(&info.height.to_string())
        })
    }
}

impl ShowBlock {
    /// Shows a block.
    pub(super) fn run(self, output: Output) -> Done {
        let txs = if self.full { Txs::Full } else { Txs::Ids };
        show(&self.nodes, &path::block(self.block, txs), output, |block: &Block| {
            output::line(&block_text(block))
        })
    }
}

impl Status {
    /// Shows how a node fares.
    pub(super) fn run(self, output: Output) -> Done {
        let body = self.nodes.client()?.body("/v1/status")?;
        let status: NodeStatus = read(&body)?;
        if self.check && status.leader.is_none() {
            return Err(leaderless(status));
        }
        match output {
            Output::Json => output::body(&body),
            Output::Text => output::line(&status_text(&status)),
        }
    }
}

fn block_text(block: &Block) -> String {
    let certified = block.certified_by.as_ref();
    let mut lines = vec![
        format!("height        {}", block.height),
        format!("hash          {}", block.hash),
        format!("parent        {}", block.parent),
        format!("term          {}", block.term),
        format!("kind          {}", block.kind),
        format!("proposer      {}", block.proposer),
        format!("time          {}", time_text(block.time_us)),
        format!("state         {} (after height {})", block.state_root, block.executed),
        match certified {
            Some(by) => {
                format!(
                    "certified     by the certificate of height {}, term {}",
                    by.height, by.term
                )
            }
            None => "certified     not yet".to_owned(),
        },
        format!("transactions  {}", block.tx_count),
    ];
    for tx in &block.txs {
        let id = tx.as_str().or_else(|| tx.get("id")?.as_str()).unwrap_or("?");
        let status = tx.get("status").and_then(serde_json::Value::as_str).unwrap_or_default();
        lines.push(format!("  {id} {status}").trim_end().to_owned());
        for operation in tx.get("ops").and_then(serde_json::Value::as_array).into_iter().flatten() {
            lines.push(format!("    {operation}"));
        }
    }
    lines.join("\n")
}

fn status_text(status: &NodeStatus) -> String {
    let leader = match status.leader {
        Some(leader) => format!("node {leader}"),
        None => "nobody".to_owned(),
    };
    let mut lines = vec![
        format!("{} ({}, {}) of {}", status.name, status.mode, status.role, status.chain_name),
        format!("chain       {}", status.chain_id),
        format!("leader      {leader}, term {}", status.term),
        format!("height      {} (applied {})", status.height, status.applied),
        format!("last block  {}", status.last_block_hash),
        format!(
            "reachable   {} of {} voters, {} needed",
            status.reachable, status.voters, status.quorum
        ),
    ];
    for peer in &status.peers {
        let height = peer.height.map_or_else(String::new, |height| format!(" at height {height}"));
        lines.push(format!("  {:<10} {}{height}", peer.name, peer.state));
    }
    if let Some(reason) = &status.reason {
        lines.push(format!("stands still: {reason}"));
    }
    lines.join("\n")
}

/// A time as RFC 3339 has it, by the civil calendar (days counted from March, so that leap days are
/// last).
fn time_text(time: TimeUs) -> String {
    let (seconds, micros) = (time.get() / 1_000_000, time.get() % 1_000_000);
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * march + 2) / 5 + 1, (march + 2) % 12 + 1);
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (1_798_761_599, "2026-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            let time = TimeUs::new(seconds * 1_000_000 + 7);
            assert_eq!(time_text(time), format!("{text}.000007Z"));
        }
    }
}
