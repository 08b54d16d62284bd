//! The threads that read blocks for nodes that lack them.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use quorate_chain::state::StateRead;
use quorate_replica::fetch::fetch;
use quorate_replica::io::{FetchJob, Input};
use quorate_replica::snapshot::Demand;
use quorate_replica::store::StoreReader;

use super::Inbox;
use crate::exit::{Exit, Failure};

/// A queue that several threads take from.
pub(super) type Shared = Arc<Mutex<Receiver<FetchJob>>>;

/// Lets several threads take from a queue.
pub(super) fn shared(jobs: Receiver<FetchJob>) -> Shared {
    Arc::new(Mutex::new(jobs))
}

/// Works until nobody can give jobs any more.
pub(super) fn run<R: StoreReader>(
    reader: &R,
    demand: &Demand,
    jobs: &Shared,
    inbox: &Inbox,
) -> Result<(), Failure>
where
    <R as StateRead>::Error: std::fmt::Display,
{
    loop {
        // One waits for a job, the others wait for the lock.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return Ok(()) };
        let fetched = fetch(reader, demand, job);
        let fetched = fetched.map_err(|error| {
            Failure::new(Exit::Storage, format!("cannot read the store: {error}"))
        })?;
        inbox.complete(Input::Fetched(fetched));
    }
}
