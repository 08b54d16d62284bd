//! The system as it runs: batches of a hundred by 256 clients, and what they take of a processor themselves.

use std::path::Path;

use quorate_node::exit::{Exit, Failure};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use super::clock::of_process;
use super::{KEYS, VALIDATORS, VALUE};
use crate::bed::seed;
use crate::group::Group;
use crate::load::{self, Client};
use crate::report::Figures;
use crate::work::{Account, Field, Kind, System};

/// How many clients there are.
const CLIENTS: u64 = 256;

/// What one repetition has shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Running {
    /// What any benchmark says.
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// Time of a processor that the clients took for each transaction, in microseconds.
    pub(crate) load_us: f64,
}

/// Measures a new group of validators, again and again.
pub(super) fn measured(
    seconds: u64,
    repeat: u64,
    place: Option<&Path>,
) -> Result<Vec<Running>, Failure> {
    if repeat == 0 {
        return Ok(Vec::new());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Bug, error))?;
    let group = Group::quorate(VALIDATORS, place, None)?;
    let field = Field { chain_id: group.chain_id()?, keys: KEYS, value: VALUE };
    let seed = seed();
    let mut accounts: Vec<_> = (0..CLIENTS).map(|number| Account::new(seed, number)).collect();
    // All keys are written first: another write of one is what the rest is about.
    let mut sower = Account::new(seed, CLIENTS);
    let requests = field.sown(System::Quorate, 0..KEYS, &mut sower)?;
    let sowing = vec![Client { node: group.targets(false)[0], requests }];
    runtime.block_on(load::closed(System::Quorate, Kind::Operations, sowing))?;
    let mut runs = Vec::new();
    for _ in 0..repeat {
        let one = run(&runtime, &group, &field, &mut accounts, 1)?;
        let first = one.figures.per_second / (CLIENTS * Kind::Batches.done()) as f64;
        let each = ((seconds as f64 * first) as u64).max(1);
        runs.push(run(&runtime, &group, &field, &mut accounts, each)?);
    }
    Ok(runs)
}

/// So many requests of each client.
fn run(
    runtime: &Runtime,
    group: &Group,
    field: &Field,
    accounts: &mut [Account],
    each: u64,
) -> Result<Running, Failure> {
    let node = group.targets(false)[0];
    let client = |account: &mut Account| {
        let request = |_| account.request(System::Quorate, Kind::Batches, field);
        Ok(Client { node, requests: (0..each).map(request).collect::<Result<_, _>>()? })
    };
    let clients = accounts.iter_mut().map(client).collect::<Result<Vec<_>, Failure>>()?;
    let (before, own) = (group.usage(), of_process());
    let run = runtime.block_on(load::closed(System::Quorate, Kind::Batches, clients))?;
    let own = of_process().saturating_sub(own);
    let used = group.usage().zip(before).map(|(now, before)| now.since(before));
    let done = (each * CLIENTS * Kind::Batches.done()) as f64;
    let figures = Figures::new(Kind::Batches, &run, used.as_ref());
    Ok(Running { figures, load_us: own.as_secs_f64() * 1e6 / done })
}
