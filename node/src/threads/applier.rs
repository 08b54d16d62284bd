//! The applier's thread: one transaction of the store for all that waits.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::evidence::Conviction;
use quorate_replica::apply::{Applier, ApplyError};
use quorate_replica::io::{ApplyJob, Input, InstallJob, StageJob};
use quorate_replica::store::Store;

use super::{Ending, Gates};
use crate::covers::Cover;
use crate::exit::{Exit, Failure};

/// Most jobs in one transaction of the store: what was committed shall soon be seen.
const JOBS: usize = 64;

/// After so long without a task what was applied is written, as far as it waits for more.
const SOON: Duration = Duration::from_millis(20);
/// How often somebody looks after that whether the store is as good as it was: what is written late may fail late.
const LOOK: Duration = Duration::from_secs(1);

/// What the driver wants of the applier.
pub(super) enum Task {
    /// Apply blocks.
    Apply(ApplyJob),
    /// Keep a certificate that more have signed.
    Keep(Checked<Certificate>),
    /// Keep evidence.
    Convict(Box<Conviction>),
    /// Stage entries of a snapshot.
    Stage(StageJob),
    /// Install the snapshot that was staged.
    Install(Box<InstallJob>),
}

fn failed<E: std::error::Error>(error: &ApplyError<E>) -> Failure {
    Failure::new(Exit::Storage, error)
}

/// The next task. Before one is waited for the applier hears that there is none, and if none comes for a while what was
/// applied is settled. `None` if nobody can give one any more.
fn next<S: Store>(
    tasks: &Receiver<Task>,
    applier: &mut Applier<S>,
) -> Result<Option<Task>, Failure> {
    if let Ok(task) = tasks.try_recv() {
        return Ok(Some(task));
    }
    applier.pause().map_err(|error| failed(&error))?;
    match tasks.recv_timeout(SOON) {
        Ok(task) => return Ok(Some(task)),
        Err(RecvTimeoutError::Disconnected) => return Ok(None),
        Err(RecvTimeoutError::Timeout) => applier.settle().map_err(|error| failed(&error))?,
    }
    loop {
        match tasks.recv_timeout(LOOK) {
            Ok(task) => return Ok(Some(task)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => applier.settle().map_err(|error| failed(&error))?,
        }
    }
}

/// Works until nobody can give tasks any more; then what was applied is made safe.
pub(super) fn run<S: Store>(
    mut applier: Applier<S>,
    tasks: &Receiver<Task>,
    gates: &Gates,
    ending: &Ending,
) -> Result<(), Failure> {
    while let Some(first) = next(tasks, &mut applier)? {
        let mut waiting = Some(first);
        while let Some(task) = waiting.take().or_else(|| tasks.try_recv().ok()) {
            if ending.drops_all() {
                return Ok(());
            }
            let done = match task {
                Task::Apply(first) => {
                    let mut jobs = vec![first];
                    while jobs.len() < JOBS
                        && let Ok(next) = tasks.try_recv()
                    {
                        match next {
                            Task::Apply(job) => jobs.push(job),
                            Task::Keep(_)
                            | Task::Convict(_)
                            | Task::Stage(_)
                            | Task::Install(_) => {
                                waiting = Some(next);
                                break;
                            }
                        }
                    }
                    let covers: Vec<_> = jobs.iter().filter_map(Cover::of).collect();
                    let begun = Instant::now();
                    let applied = applier.apply(jobs);
                    if applied.is_ok() {
                        // Before anybody hears that they are applied.
                        gates.covers.add(covers);
                    }
                    gates.meter.applies.took(begun.elapsed());
                    applied.map(|applied| Some(Input::Applied(applied)))
                }
                Task::Keep(certificate) => {
                    gates.covers.keep(&certificate);
                    applier.keep(certificate).map(|()| None)
                }
                Task::Convict(conviction) => applier.convict(&conviction).map(|()| None),
                Task::Stage(job) => applier.stage(job).map(|taken| Some(Input::Staged(taken))),
                Task::Install(job) => {
                    applier.install(*job).map(|installed| Some(Input::Installed(installed)))
                }
            };
            if let Some(input) = done.map_err(|error| failed(&error))? {
                gates.inbox.complete(input);
            }
        }
    }
    if !ending.drops_all() {
        applier.checkpoint().map_err(|error| failed(&error))?;
    }
    Ok(())
}
