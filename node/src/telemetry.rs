//! What a node tells of itself: one line for each event that matters, with height and term.
//!
//! The core emits no logs. What is told here is taken from what goes into the driver and what comes out
//! of it.

use std::io::IsTerminal as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use quorate_chain::evidence::Conviction;
use quorate_chain::ids::Height;
use quorate_consensus::handover::TransferEnd;
use quorate_replica::io::{Input, Notice};
use quorate_replica::restore::Found;
use tracing::{Level, debug, error, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

use crate::config::LogFormat;

/// What decides how much is told, once it is told anything.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Libraries below are heard only when something is wrong.
fn told(level: Level) -> Targets {
    Targets::new().with_target("quorate_node", level).with_default(Level::WARN)
}

/// Begins to tell, on standard error, what is as grave as this or graver. Done once in a process; later
/// calls change nothing.
pub(crate) fn begin(level: Level, format: LogFormat) {
    let (ours, handle) = reload::Layer::new(told(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    if tracing_subscriber::registry().with(ours).with(lines).try_init().is_ok() {
        // Nobody was faster: there is one subscriber in a process.
        let _ = LEVEL.set(handle);
    }
    // Else somebody else in this process tells already.
}

/// From now on what is as grave as this or graver is told, if it is us who tell.
pub(crate) fn set_level(level: Level) {
    if let Some(handle) = LEVEL.get() {
        // It fails only when there is no subscriber any more.
        let _ = handle.reload(told(level));
    }
}

/// Words that others can give cause for as often as they like: so many in a while are said, the rest is counted.
pub(crate) struct Seldom(Mutex<Said>);

struct Said {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Seldom {
    /// In so long,
    const WHILE: Duration = Duration::from_secs(10);
    /// so many lines.
    const LINES: u32 = 10;

    /// Nothing has been said.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Said { since: None, lines: 0, left_out: 0 }))
    }

    /// Whether it may be said now; then, how often it was not since it was said last, if it was not.
    pub(crate) fn now(&self, now: Instant) -> Option<Option<u64>> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.since.is_none_or(|since| now.saturating_duration_since(since) >= Self::WHILE) {
            (said.since, said.lines) = (Some(now), 0);
        }
        if said.lines == Self::LINES {
            said.left_out += 1;
            return None;
        }
        said.lines += 1;
        let left_out = std::mem::take(&mut said.left_out);
        Some((left_out > 0).then_some(left_out))
    }
}

/// What the log had to tell when it was opened.
pub(crate) fn found(found: &Found) {
    let Found { torn, repaired, recovering, logged: _ } = found;
    if let Some(torn) = torn {
        let (file, bytes) = (&torn.file, torn.bytes);
        info!(
            file,
            bytes, "the group in flight at the last crash was cut off; it was not confirmed"
        );
    }
    if let Some(repaired) = repaired {
        let report = repaired.report.as_ref();
        for damage in report.map_or(&[][..], |report| &report.damages) {
            let (file, offset, bytes) = (&damage.file, damage.offset, damage.bytes);
            error!(file, offset, bytes, fault = %damage.fault, "the log is damaged");
        }
        if let Some(cut) = &repaired.cut {
            error!(fault = %cut, "the log has lost a part of a branch");
        }
        let saved = repaired.saved;
        warn!(saved, "the log was written anew from what is intact; the damaged files are kept");
    }
    if *recovering {
        warn!(
            "this validator may have forgotten what it signed: it signs nothing until readmitted"
        );
    }
}

/// Something happened to the driver.
pub(crate) fn input(input: &Input) {
    match input {
        Input::LinkOpened { node } => {
            static OPENED: Seldom = Seldom::new();
            if let Some(left_out) = OPENED.now(Instant::now()) {
                info!(peer = node.get(), left_out, "a link is open");
            }
        }
        Input::LinkLost { node } => {
            static LOST: Seldom = Seldom::new();
            if let Some(left_out) = LOST.now(Instant::now()) {
                info!(peer = node.get(), left_out, "a link is closed");
            }
        }
        Input::Transfer { to: Some(to) } => {
            info!(to = to.get(), "leadership is to be handed over");
        }
        Input::Transfer { to: None } => info!("leadership is to be handed over"),
        Input::Willing(lead) => info!(?lead, "the will to lead has changed"),
        Input::Readmit => warn!("readmitted by the operator's word"),
        Input::Applied(applied) => {
            for block in &applied.blocks {
                let (at, transactions) = (block.block, block.outcomes.len());
                let (height, term) = (at.height.get(), at.term.get());
                debug!(height, term, hash = %at.hash, transactions, "applied");
            }
        }
        Input::Tick
        | Input::Received { .. }
        | Input::Submit { .. }
        | Input::Forwarded { .. }
        | Input::Read { .. }
        | Input::Written(_)
        | Input::Fetched(_)
        | Input::Shutdown
        | Input::Change { .. }
        | Input::Brought { .. }
        | Input::Staged(_)
        | Input::Installed(_) => {}
    }
}

/// A transfer of leadership that was asked for here is over.
pub(crate) fn transfer(end: TransferEnd) {
    info!(%end, "a transfer of leadership has ended");
}

/// Somebody has signed what no honest validator signs.
pub(crate) fn conviction(conviction: &Conviction) {
    let evidence = conviction.evidence().get();
    error!(key = %conviction.key(), ?evidence, "a validator is convicted by its own signatures");
}

/// Something that the driver wants known, and how high the chain is committed here.
pub(crate) fn notice(notice: &Notice, height: Height) {
    let height = height.get();
    match notice {
        Notice::Committed { block } => {
            debug!(height = block.height.get(), term = block.term.get(), "committed");
        }
        Notice::Sealed { block, transactions } => {
            let (height, term) = (block.height.get(), block.term.get());
            debug!(height, term, transactions, "sealed");
        }
        Notice::Leader { term, leader: Some(leader) } => {
            info!(height, term = term.get(), leader = leader.get(), "a leader is known");
        }
        Notice::Leader { term, leader: None } => {
            info!(height, term = term.get(), "no leader is known");
        }
        Notice::NotTaken { from, refusal } => {
            debug!(from = from.get(), %refusal, "a forwarded transaction was not taken");
        }
        Notice::Dropped { reason } => debug!(%reason, "a transaction was dropped"),
        Notice::Void { block, index } => {
            // A leader that lies can fill its blocks with them.
            static VOID: Seldom = Seldom::new();
            if let Some(left_out) = VOID.now(Instant::now()) {
                let what = "a block holds a transaction that counts for nothing";
                warn!(%block, index, left_out, "{what}");
            }
        }
        Notice::SnapshotFailed { from, block, why } => {
            let (from, height) = (from.get(), block.height.get());
            warn!(from, height, %why, "a snapshot that was offered is not taken");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_too_often_is_counted_and_said_later() {
        let (seldom, begin) = (Seldom::new(), Instant::now());
        let said = (0..100).filter_map(|_| seldom.now(begin)).collect::<Vec<_>>();
        assert_eq!(said, vec![None; Seldom::LINES as usize]);
        assert_eq!(seldom.now(begin + Seldom::WHILE), Some(Some(90)));
        assert_eq!(seldom.now(begin + Seldom::WHILE), Some(None));
    }
}
