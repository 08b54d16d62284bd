//! A group that is measured, and who writes there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quorate_node::exit::Failure;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::group::{Group, bug};
use crate::load::{self, Client, Run};
use crate::report::{Case, Figures};
use crate::work::{Account, Field, Kind, MANY, System};

/// Requests by which it is found out how many fit into the time, of all clients together; each has one at least.
const PROBE: u64 = 64;
/// Keys that are written by what is signed at a time, and clients that share them.
const SOWN: u64 = 20_000;
const SOWERS: u64 = 16;
/// Transactions that are signed at a time, at most, when a chain is filled: while as many are on their way.
const SIGNED: u64 = 20_000;

/// A group, and what is needed to measure it.
pub(crate) struct Bed {
    /// The nodes.
    pub(crate) group: Group,
    /// What is written there.
    pub(crate) field: Field,
    accounts: Vec<Account>,
}

/// How many transactions of ours were signed, and how long that took.
#[derive(Default)]
pub(crate) struct Signing {
    /// How many.
    pub(crate) count: u64,
    /// How long.
    pub(crate) took: Duration,
}

/// Clients and batches of each, chunk by chunk, until there were so many batches: none has more transactions than may be
/// signed at a time.
fn chunks(batches: u64, clients: u64) -> impl Iterator<Item = (u64, u64)> {
    let clients = clients.clamp(1, SIGNED / Kind::Batches.done());
    let most = SIGNED / Kind::Batches.done() / clients;
    let mut left = batches;
    std::iter::from_fn(move || {
        let chunk = match left {
            0 => return None,
            few if few < clients => (few, 1),
            many => (clients, (many / clients).min(most)),
        };
        left -= chunk.0 * chunk.1;
        Some(chunk)
    })
}

/// Something that no other run has had: who writes with it has no past on a chain.
pub(crate) fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |time| time.as_nanos());
    u64::try_from(nanos & u128::from(u64::MAX)).unwrap_or_default() ^ u64::from(std::process::id())
}

impl Bed {
    /// A group with so many clients, keys, and bytes of a value. Nothing is written yet.
    pub(crate) fn new(
        group: Group,
        (keys, value): (u64, u32),
        clients: u64,
    ) -> Result<Self, Failure> {
        let value = usize::try_from(value).unwrap_or(usize::MAX);
        let field = Field { chain_id: group.chain_id()?, keys, value };
        let seed = seed();
        let accounts = (0..=clients).map(|number| Account::new(seed, number)).collect();
        Ok(Self { group, field, accounts })
    }

    /// Writes all keys, so many at a time that what is signed has room in memory; says after each time how many are
    /// written. Returns how many transactions that took.
    pub(crate) fn sow(
        &mut self,
        runtime: &Runtime,
        mut written: impl FnMut(u64),
    ) -> Result<u64, Failure> {
        let system = self.group.system;
        // What cannot read need not have all of them.
        if !system.does(Kind::Operations) {
            return Ok(0);
        }
        let node = self.group.targets(false)[0];
        let (mut first, mut count) = (0, 0);
        while first < self.field.keys {
            let end = self.field.keys.min(first + SOWN);
            let share = (end - first).div_ceil(SOWERS).next_multiple_of(MANY);
            let mut clients = Vec::new();
            for (number, sower) in (0..SOWERS).zip(&mut self.accounts) {
                let (low, high) = (first + number * share, first + (number + 1) * share);
                let requests = self.field.sown(system, low.min(end)..high.min(end), sower)?;
                count += requests.len() as u64;
                clients.push(Client { node, requests });
            }
            clients.retain(|client| !client.requests.is_empty());
            runtime.block_on(load::closed(system, Kind::Operations, clients))?;
            first = end;
            written(first);
        }
        Ok(count)
    }

    /// Batches by so many clients until so many transactions are written, chunk by chunk: one is signed while the one
    /// before is sent. Says after each how many are written.
    pub(crate) fn fill(
        &mut self,
        runtime: &Runtime,
        transactions: u64,
        most_clients: u64,
        signing: &mut Signing,
        mut written: impl FnMut(u64),
    ) -> Result<(), Failure> {
        let (kind, system) = (Kind::Batches, self.group.system);
        let mut done = 0;
        let mut sent: Option<(JoinHandle<Result<Run, Failure>>, u64)> = None;
        for (clients, each) in chunks(transactions.div_ceil(kind.done()), most_clients) {
            let case = Case { kind, clients, rate: None };
            let targets = self.group.targets(false);
            let ready = self.clients(&case, each, &targets, signing)?;
            if let Some((run, count)) = sent.take() {
                runtime.block_on(run).map_err(bug)??;
                done += count;
                written(done);
            }
            let run = runtime.spawn(load::closed(system, kind, ready));
            sent = Some((run, clients * each * kind.done()));
        }
        if let Some((run, count)) = sent {
            runtime.block_on(run).map_err(bug)??;
            written(done + count);
        }
        Ok(())
    }

    /// Measures a case once: first how many requests fit into the time, then those.
    pub(crate) fn figures(
        &mut self,
        runtime: &Runtime,
        case: &Case,
        (seconds, all): (u64, bool),
        signing: &mut Signing,
    ) -> Result<Figures, Failure> {
        let targets = self.group.targets(all);
        let each = match case.rate {
            Some(rate) => (rate * seconds).div_ceil(case.clients),
            None => {
                let few = (PROBE / case.clients).max(1);
                let probe = self.clients(case, few, &targets, signing)?;
                let run = self.ran(runtime, case, probe)?;
                let one = run.time.as_secs_f64() / few as f64;
                ((seconds as f64 / one.max(1e-6)) as u64).max(1)
            }
        };
        let clients = self.clients(case, each, &targets, signing)?;
        let before = self.group.usage();
        let run = self.ran(runtime, case, clients)?;
        let used = self.group.usage().zip(before).map(|(now, before)| now.since(before));
        Ok(Figures::new(case.kind, &run, used.as_ref()))
    }

    fn ran(&self, runtime: &Runtime, case: &Case, clients: Vec<Client>) -> Result<Run, Failure> {
        let Case { kind, rate, .. } = *case;
        runtime.block_on(async {
            match rate {
                None => load::closed(self.group.system, kind, clients).await,
                Some(rate) => load::open(self.group.system, kind, clients, rate).await,
            }
        })
    }

    /// Clients with so many requests each.
    fn clients(
        &mut self,
        case: &Case,
        each: u64,
        targets: &[SocketAddr],
        signing: &mut Signing,
    ) -> Result<Vec<Client>, Failure> {
        let begin = Instant::now();
        let count = usize::try_from(case.clients).unwrap_or(usize::MAX);
        let (field, system) = (self.field, self.group.system);
        let accounts = self.accounts.iter_mut().take(count).enumerate();
        let clients = accounts.map(|(number, account)| {
            let requests = (0..each).map(|_| account.request(system, case.kind, &field));
            let node = targets[number % targets.len()];
            Ok(Client { node, requests: requests.collect::<Result<_, _>>()? })
        });
        let clients = clients.collect::<Result<Vec<_>, Failure>>()?;
        if case.kind.writes() && system == System::Quorate {
            signing.count += each * case.clients * case.kind.done();
            signing.took += begin.elapsed();
        }
        Ok(clients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_add_up_and_none_is_larger_than_what_may_be_signed_at_a_time() {
        for batches in [0, 1, 63, 64, 65, 192, 9_999, 100_000] {
            let all: Vec<_> = chunks(batches, 64).collect();
            assert_eq!(all.iter().map(|(clients, each)| clients * each).sum::<u64>(), batches);
            let fits = |(clients, each): &(u64, u64)| clients * each * 100 <= SIGNED;
            assert!(all.iter().all(fits), "{all:?}");
        }
        assert_eq!(chunks(300, 64).collect::<Vec<_>>(), [(64, 3), (64, 1), (44, 1)]);
        assert_eq!(chunks(2, 1_000).collect::<Vec<_>>(), [(2, 1)]);
    }
}
