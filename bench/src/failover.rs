//! How long nobody can write when the leader is killed: `quorate bench failover`.
//!
//! Every few milliseconds a write is sent to one node after the other, each over a connection of its own and whatever
//! became of those before: a write that waits for somebody dead keeps none of the next ones waiting. The leader's process
//! is killed; the pause is from there to the first acknowledgement of a write that was sent after it. Then the process is
//! started again, and once every node takes writes it is the next leader's turn.
//!
//! The kernel closes the connections of a process that is killed, and whoever had one may know at once. A machine without
//! power closes nothing: `--freeze` stops the process instead, so that only its silence tells.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use quorate_node::exit::{Exit, Failure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::bed::seed;
use crate::connection::{self, Asked};
use crate::group::{Group, Pace, bug};
use crate::others;
use crate::progress::Progress;
use crate::work::{Account, Field, Kind, System};

/// How often a write is sent.
const EVERY: Duration = Duration::from_millis(5);
/// How long one is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long nobody may be able to write.
const LONGEST: Duration = Duration::from_secs(60);
/// How long all nodes take writes before the leader is killed.
const CALM: Duration = Duration::from_secs(1);

/// How long nobody can write after the leader was killed.
///
/// Groups of three are started for it on this machine, and are gone afterwards.
#[derive(Debug, Args)]
pub(crate) struct Failover {
    /// What else is measured beside it, by turns: etcd, which has to be installed; NATS cannot be told how soon a leader is
    /// missed.
    #[arg(long, value_name = "SYSTEM,…", value_delimiter = ',')]
    with: Vec<System>,
    /// How often a leader is heard when there is nothing to say, in milliseconds.
    #[arg(long, value_name = "MS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    heartbeat: u64,
    /// How long it may be silent until others campaign, in milliseconds.
    #[arg(long, value_name = "MS", default_value = "300", value_parser = clap::value_parser!(u64).range(10..=100_000))]
    election: u64,
    /// Stop the leader's process where it is instead of killing it: its connections stay open, and only its silence tells.
    #[arg(long)]
    freeze: bool,
    /// How often the leader is killed.
    #[arg(long, value_name = "COUNT", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    repeat: u64,
    /// Where the directories are [default: where temporary files are].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The pauses of one system.
pub(crate) struct Pauses {
    system: System,
    pauses: Vec<Duration>,
}

/// What was measured.
pub(crate) struct Told {
    pace: Pace,
    freeze: bool,
    rows: Vec<Pauses>,
}

/// An acknowledged write.
#[derive(Clone, Copy, Debug)]
struct Acked {
    node: usize,
    sent: Instant,
    heard: Instant,
}

/// Writers that go on until they are dropped.
struct Writers {
    stop: Arc<AtomicBool>,
    acked: UnboundedReceiver<Acked>,
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn written(system: System, node: SocketAddr, request: Bytes) -> bool {
    let write = async {
        let mut open = connection::open(system, [node]).await.ok()?.pop()?;
        open.ask(Kind::Writes, &request).await.ok()
    };
    matches!(tokio::time::timeout(PATIENCE, write).await, Ok(Some(Asked::Done)))
}

/// Sends a write every few milliseconds. Each has an account of its own, so that none has to wait for the nonce of another.
async fn write(
    system: System,
    nodes: Vec<SocketAddr>,
    field: Field,
    stop: Arc<AtomicBool>,
    tell: UnboundedSender<Acked>,
) {
    let (seed, mut number) = (seed(), 0);
    let mut due = tokio::time::interval(EVERY);
    while !stop.load(Ordering::Relaxed) {
        for (node, address) in nodes.iter().copied().enumerate() {
            due.tick().await;
            number += 1;
            let request = Account::new(seed, number).request(system, Kind::Writes, &field);
            let (Ok(request), tell) = (request, tell.clone()) else { return };
            tokio::spawn(async move {
                let sent = Instant::now();
                if written(system, address, request).await {
                    // Nobody listens to what comes after the end.
                    let _ = tell.send(Acked { node, sent, heard: Instant::now() });
                }
            });
        }
    }
}

impl Writers {
    fn start(group: &Group, field: Field, runtime: &Runtime) -> Self {
        let (tell, acked) = unbounded_channel();
        let stop = Arc::<AtomicBool>::default();
        let nodes = group.nodes.clone();
        runtime.spawn(write(group.system, nodes, field, Arc::clone(&stop), tell));
        Self { stop, acked }
    }

    /// The next acknowledged write.
    fn next(&mut self, runtime: &Runtime, end: Instant) -> Result<Acked, Failure> {
        let next = async { tokio::time::timeout_at(end.into(), self.acked.recv()).await };
        let next = runtime.block_on(next);
        next.ok().flatten().ok_or_else(|| {
            let sentence = format!("nobody can write, for {} s", LONGEST.as_secs());
            Failure::new(Exit::NoQuorum, sentence)
        })
    }

    /// Waits until every node has taken writes for a while that were sent from now on.
    fn calm(&mut self, nodes: usize, runtime: &Runtime) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut since = vec![None; nodes];
        let is_calm = |since: &[Option<Instant>], acked: &Acked| {
            since.iter().all(|since| since.is_some_and(|since| acked.sent - since > CALM))
        };
        loop {
            let acked = self.next(runtime, begin + LONGEST)?;
            if acked.sent > begin {
                since[acked.node].get_or_insert(acked.sent);
                if is_calm(&since, &acked) {
                    return Ok(());
                }
            }
        }
    }

    /// How long it took from then until a write was acknowledged that was sent since.
    fn pause(&mut self, since: Instant, runtime: &Runtime) -> Result<Duration, Failure> {
        loop {
            if let Some(pause) = after(since, self.next(runtime, since + LONGEST)?) {
                return Ok(pause);
            }
        }
    }
}

/// How long after an instant a write was acknowledged, if it was sent since.
fn after(since: Instant, acked: Acked) -> Option<Duration> {
    (acked.sent >= since).then(|| acked.heard - since)
}

impl Failover {
    /// Kills one leader after the other.
    pub(crate) fn measured(&self) -> Result<Told, Failure> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(bug)?;
        let (heartbeat, election) = (self.heartbeat, self.election);
        let pace = Pace {
            heartbeat: Duration::from_millis(heartbeat),
            election: Duration::from_millis(election),
        };
        let dir = self.dir.as_deref();
        let mut groups = vec![Group::quorate(3, dir, Some(pace))?];
        for system in &self.with {
            groups.push(others::paced(*system, dir, pace)?);
        }
        let rows = groups.iter().map(|it| Pauses { system: it.system, pauses: Vec::new() });
        let mut rows: Vec<_> = rows.collect();
        let steps = usize::try_from(self.repeat).unwrap_or(usize::MAX) * groups.len();
        let mut progress = Progress::new(steps);
        for _ in 0..self.repeat {
            for (group, row) in groups.iter_mut().zip(&mut rows) {
                progress.at(group.system.name());
                row.pauses.push(self.paused(group, &runtime)?);
                progress.step();
            }
        }
        Ok(Told { pace, freeze: self.freeze, rows })
    }

    /// Takes the leader away, and says how long nobody could write.
    fn paused(&self, group: &mut Group, runtime: &Runtime) -> Result<Duration, Failure> {
        let field = Field { chain_id: group.chain_id()?, keys: 10_000, value: 256 };
        let mut writers = Writers::start(group, field, runtime);
        writers.calm(group.nodes.len(), runtime)?;
        let signal = if self.freeze { Signal::STOP } else { Signal::KILL };
        let (leader, since) = group.strike_leader(signal)?;
        let pause = writers.pause(since, runtime)?;
        group.revive(leader)?;
        writers.calm(group.nodes.len(), runtime)?;
        Ok(pause)
    }
}

impl Pauses {
    /// The least, the middle and the most, in milliseconds.
    fn spread(&self) -> (f64, f64, f64) {
        let mut pauses: Vec<_> = self.pauses.iter().map(|it| it.as_secs_f64() * 1e3).collect();
        pauses.sort_by(f64::total_cmp);
        let at = |at: usize| pauses.get(at).copied().unwrap_or_default();
        (at(0), at(pauses.len() / 2), at(pauses.len().saturating_sub(1)))
    }
}

impl Told {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let Pace { heartbeat, election } = self.pace;
        let mut out = format!(
            "Nobody could write after the leader {}: heartbeat {} ms, election timeout {} ms, 3 nodes\n\n\
             {:9}{:>7}{:>11}{:>11}{:>11}\n",
            if self.freeze { "stood still" } else { "was killed" },
            heartbeat.as_millis(),
            election.as_millis(),
            "",
            "times",
            "least ms",
            "middle ms",
            "most ms",
        );
        let ours = self.rows.first().map_or(0.0, |row| row.spread().1);
        for row in &self.rows {
            let ((least, middle, most), count) = (row.spread(), row.pauses.len());
            // Writing to a string does not fail.
            let _ = writeln!(
                out,
                "{:9}{count:>7}{least:>11.0}{middle:>11.0}{most:>11.0}",
                row.system.name()
            );
        }
        for row in self.rows.iter().skip(1) {
            let (name, ratio) = (row.system.name(), ours / row.spread().1.max(1e-9));
            let _ = writeln!(out, "\nQuorate as a multiple of {name}, the middle: {ratio:.2}");
        }
        out
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let (least, middle, most) = row.spread();
            json!({
                "system": row.system.name(), "times": row.pauses.len(),
                "least_ms": least, "middle_ms": middle, "most_ms": most,
            })
        });
        let rows: Vec<_> = rows.collect();
        let Pace { heartbeat, election } = self.pace;
        let (heartbeat, election) = (heartbeat.as_secs_f64() * 1e3, election.as_secs_f64() * 1e3);
        json!({
            "heartbeat_ms": heartbeat, "election_timeout_ms": election, "freeze": self.freeze,
            "systems": rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_was_sent_before_the_kill_ends_no_pause() {
        let since = Instant::now();
        let (before, later) = (since - EVERY, since + 3 * EVERY);
        assert_eq!(after(since, Acked { node: 0, sent: before, heard: later }), None);
        let acked = Acked { node: 0, sent: since + EVERY, heard: later };
        assert_eq!(after(since, acked), Some(3 * EVERY));
    }

    #[test]
    fn the_middle_pauses_are_compared() {
        let row = |system, pauses: &[u64]| {
            let pauses = pauses.iter().map(|ms| Duration::from_millis(*ms)).collect();
            Pauses { system, pauses }
        };
        let pace = Pace { heartbeat: EVERY, election: CALM };
        let rows = vec![row(System::Quorate, &[90, 10, 100]), row(System::Etcd, &[300])];
        let told = Told { pace, freeze: false, rows };
        assert_eq!(told.rows[0].spread(), (10.0, 90.0, 100.0));
        assert!(told.text().ends_with("the middle: 0.30\n"), "{}", told.text());
        assert_eq!(told.json()["systems"][1]["middle_ms"], json!(300.0));
    }
}
