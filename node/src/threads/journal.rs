//! The journal's thread: one sync for all that waits.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use quorate_chain::ids::Height;
use quorate_replica::io::{Input, JournalJob};
use quorate_replica::journal::{Idle, Journal};
use quorate_wal::{Disk, Space};

use super::{Ending, Gates};
use crate::exit::{Exit, Failure};

/// After so long without an order the log does what is better done while nothing waits.
const QUIET: Duration = Duration::from_millis(20);
/// After so many groups without a quiet moment it does a step of that anyway.
const BUSY: u32 = 64;
/// How often a full disk is tried again.
const FULL: Duration = Duration::from_secs(1);

/// What the driver wants of the journal.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all orders are of the large kind")]
pub(super) enum Order {
    /// Make a record durable.
    Write(JournalJob),
    /// Let go of what is below a height.
    Prune(Height),
}

fn failed(error: &quorate_wal::Error) -> Failure {
    Failure::new(Exit::Storage, format!("the log: {error}"))
}

/// Works until nobody can give orders any more.
pub(super) fn run<D: Disk>(
    mut journal: Journal<D>,
    orders: &Receiver<Order>,
    gates: &Gates,
    ending: &Ending,
) -> Result<(), Failure> {
    let (mut idle, mut busy) = (false, 0);
    loop {
        let short = idle && journal.space() != Space::Ok;
        let first = if journal.is_waiting() || short {
            orders.recv_timeout(FULL)
        } else if idle {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            orders.recv_timeout(QUIET)
        };
        if ending.drops_all() {
            return Ok(());
        }
        let first = match first {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => None,
        };
        if first.is_none() && !journal.is_waiting() {
            idle = !idle_work(&mut journal, gates)?;
            busy = 0;
            continue;
        }
        idle = false;
        let mut below = None;
        let jobs = first.into_iter().chain(orders.try_iter()).filter_map(|order| match order {
            Order::Write(job) => Some(job),
            Order::Prune(height) => {
                below = below.max(Some(height));
                None
            }
        });
        let jobs: Vec<_> = jobs.collect();
        if !jobs.is_empty() || journal.is_waiting() {
            let begun = Instant::now();
            let written = journal.write(jobs).map_err(|error| failed(&error))?;
            gates.meter.log_writes.took(begun.elapsed());
            if ending.drops_all() {
                return Ok(());
            }
            gates.inbox.complete(Input::Written(written));
        }
        if let Some(below) = below {
            journal.prune(below).map_err(|error| failed(&error))?;
        }
        busy += 1;
        if busy >= BUSY {
            idle_work(&mut journal, gates)?;
            busy = 0;
        }
    }
}

/// Does what is better done while nothing waits, and tells the driver if there is another amount of room. Returns
/// whether there is more to do.
fn idle_work<D: Disk>(journal: &mut Journal<D>, gates: &Gates) -> Result<bool, Failure> {
    let Idle { more, room } = journal.idle_work().map_err(|error| failed(&error))?;
    if let Some(written) = room {
        gates.inbox.complete(Input::Written(written));
    }
    Ok(more)
}
