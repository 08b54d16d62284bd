//! What a node wants done, and what becomes of it: messages go to the network, jobs to disk and store, answers to
//! the clients.

use quorate_chain::ids::{BlockRef, Height, NodeId};
use quorate_consensus::effect::{Halt, Record};
use quorate_consensus::message::Message;
use quorate_replica::driver::LONGEST;
use quorate_replica::fetch::fetch;
use quorate_replica::io::{
    Answer, ApplyJob, FetchJob, Input, JournalJob, Output, Placed, Refusal, Stop, Submission,
};
use quorate_replica::store::{Place, Store, StoreReader};

use crate::lives::Death;
use crate::seat::{Retired, StoreJob};
use crate::tell;
use crate::violation::{Check, Violation, hold, unreadable};
use crate::world::{Cargo, Happening, World};

impl World {
    /// What a client is told: of what may stand in the chain already, the store is asked first.
    fn looked_up(&self, at: usize, submission: Submission, answer: Answer) -> Answer {
        let unsure = matches!(answer, Answer::Refused(Refusal::NonceUsed | Refusal::Expired));
        let tx = self.clients.submitted(submission).filter(|_| unsure);
        let (Some(tx), Some(replica)) = (tx, &self.seats[at].replica) else { return answer };
        match replica.applier.store().reader().place(tx) {
            Ok(Some(Place { block, index, outcome })) => {
                let status = outcome.status;
                Answer::Placed(Placed { block, index, status, duplicate: true })
            }
            Ok(None) => answer,
            Err(_) => Answer::Unknown,
        }
    }

    /// Carries out one output.
    pub(super) fn carry_out(&mut self, at: usize, output: Output) -> Check {
        let seat = &mut self.seats[at];
        let life = seat.life;
        match output {
            Output::Send { to, message } => return self.send(at, to, message),
            Output::Forward { to, transactions } => {
                return self.dispatch(at, to, Cargo::Transactions(transactions));
            }
            Output::Write(job) => return self.write(at, job),
            Output::Apply(job) => return self.commit(at, job),
            Output::Fetch(job) => {
                let due = self.now + 100 + self.dice.below(2_000) + self.seats[at].slow_store;
                self.schedule.at(due, Happening::Read(at, life, job));
            }
            Output::Answer { submission, answer } => {
                let answer = self.looked_up(at, submission, answer);
                let (base, ledger) = (self.seats[at].base, &self.ledger);
                let tally = &mut self.tally;
                return self.clients.answered(submission, &answer, base, ledger, tally);
            }
            Output::Keep(certificate) => {
                let kept = seat.replica.as_mut().map(|replica| replica.applier.keep(certificate));
                return hold(!matches!(kept, Some(Err(_))), "a store keeps", || {
                    format!("{kept:?}")
                });
            }
            Output::Prune { below } => {
                let pruned = seat.replica.as_mut().map(|replica| replica.journal.prune(below));
                if matches!(pruned, Some(Err(_))) {
                    return self.disk_failed(at);
                }
            }
            Output::Changed { .. } => self.tally.roster_changes += 1,
            Output::Ask { to, ask } => return self.dispatch(at, to, Cargo::Ask(ask)),
            Output::Stage(job) => self.store_job(at, StoreJob::Stage(job)),
            Output::Install(job) => self.store_job(at, StoreJob::Install(job)),
            Output::Serve { read, height } => {
                self.tally.reads += 1;
                let honest = self.liar.is_none() && self.twins.is_none();
                return self.clients.served((at, life), read, height, honest);
            }
            Output::RefuseRead { read, .. } => return self.clients.refused((at, life), read),
            Output::Convict(conviction) => {
                let rule = "nobody is convicted who is honest";
                let accused = conviction.evidence().get().accused();
                let lies = self.liar.as_ref().is_some_and(|liar| liar.node == accused)
                    || self.twins.as_ref().is_some_and(|twins| twins.node == accused);
                return hold(lies, rule, || format!("{conviction:?}"));
            }
            Output::TransferEnded(_) | Output::Notice(_) => {}
            Output::Stop(stop) => return self.stopped(at, stop),
        }
        Ok(())
    }

    fn write(&mut self, at: usize, job: JournalJob) -> Check {
        if let JournalJob::Record { record: Record::Branch { blocks, .. }, .. } = &job {
            self.see_blocks(blocks)?;
        }
        let seat = &mut self.seats[at];
        seat.promises.shadow.give(&job);
        seat.jobs.push_back(job);
        self.begin_write(at);
        Ok(())
    }

    fn commit(&mut self, at: usize, job: ApplyJob) -> Check {
        if let Some(archive) = &mut self.ledger.archive {
            archive.certificate(job.certificate.get());
            job.blocks.iter().for_each(|(_, anchor)| archive.roster(&anchor.roster));
        }
        if let Some((ours, theirs)) = self.fork(&job) {
            return self.judge_fork(ours, theirs);
        }
        let before = self.ledger.height();
        self.ledger.committed(self.seats[at].node, &job.blocks, &job.certificate)?;
        self.check_certificate(at, &job)?;
        self.count_commits(before);
        self.seats[at].applies.push_back(StoreJob::Apply(job));
        self.check_leaders()?;
        self.begin_apply(at);
        Ok(())
    }

    /// The certificate of a commit verifies under the roster that it names, as the node knows it.
    fn check_certificate(&self, at: usize, job: &ApplyJob) -> Check {
        let Some(replica) = &self.seats[at].replica else { return Ok(()) };
        let (certificate, log) = (&job.certificate, replica.driver.core().log());
        let place = log.anchor(certificate.block().height);
        let among = job.blocks.iter().map(|(_, anchor)| anchor);
        let here = among.chain(place).find(|anchor| anchor.block == certificate.block());
        let checked =
            here.map(|anchor| certificate.check(self.chain_id(), &anchor.roster, &*self.verifier));
        hold(matches!(checked, Some(Ok(()))), "every certificate verifies", || {
            format!("node {}: {:?}, {checked:?}", self.seats[at].node, certificate.statement())
        })
    }

    /// A node can go no further.
    fn stopped(&mut self, at: usize, stop: Stop) -> Check {
        let node = self.seats[at].node;
        if self.liar.as_ref().is_some_and(|liar| liar.node == node) {
            return self.die(at, Death::Killed);
        }
        match stop {
            Stop::Halt(Halt::OldCopy { .. } | Halt::Twin { .. }) if self.seats[at].damaged => {
                self.die(at, Death::Killed)?;
                self.seats[at].retired = Some(Retired::Refuses);
                self.tally.refusals += 1;
                Ok(())
            }
            Stop::Halt(Halt::Contradiction { ours, theirs }) if self.liar.is_some() => {
                self.judge_fork(ours, theirs)
            }
            // By a clock that runs twice as fast, and jumps, half of its patience is enough.
            Stop::DiskHangs if self.seats[at].hangs_for(self.now) > LONGEST.as_micros() / 3 => {
                self.die(at, Death::Killed)
            }
            Stop::Halt(_) | Stop::Store(_) | Stop::DiskHangs => {
                let rule = "no correct node stops for what others say";
                Err(Violation { rule, found: format!("node {node}: {stop}") })
            }
        }
    }

    /// Two blocks of which one is committed and this job would commit the other, in a world with a liar.
    fn fork(&self, job: &ApplyJob) -> Option<(BlockRef, BlockRef)> {
        self.liar.as_ref()?;
        job.blocks.iter().find_map(|(block, _)| {
            let theirs = block.block_ref();
            let ours = self.ledger.block(theirs.height)?.block_ref();
            (ours != theirs).then_some((ours, theirs))
        })
    }

    fn store_job(&mut self, at: usize, job: StoreJob) {
        self.seats[at].applies.push_back(job);
        self.begin_apply(at);
    }

    fn count_commits(&mut self, before: Height) {
        for height in before.get() + 1..=self.ledger.height().get() {
            self.tally.blocks += 1;
            let block = self.ledger.block(Height::new(height));
            let count = block.map_or(0, |block| block.body().transactions.len());
            self.tally.transactions += count as u64;
        }
    }

    fn send(&mut self, at: usize, to: NodeId, message: Message) -> Check {
        self.tally.messages += 1;
        self.check_statements(at, &message)?;
        let Some(message) = self.lie(at, to, message) else { return Ok(()) };
        if let Some(to_seat) = self.way(at, to) {
            self.network.keep(&self.dials, at, to_seat, &message);
        }
        self.dispatch(at, to, Cargo::Message(Box::new(message)))
    }

    /// Something leaves for another node.
    pub(super) fn dispatch(&mut self, at: usize, to: NodeId, cargo: Cargo) -> Check {
        if let (Some(archive), Cargo::Message(message)) = (&mut self.ledger.archive, &cargo) {
            archive.message(message);
        }
        let (way, from) = (self.way(at, to), self.seats[at].node);
        let Some(to_seat) = way else { return Ok(()) };
        if !self.garble(&cargo)? {
            return Ok(());
        }
        let ways = (at, to_seat);
        let arrivals = self.network.arrivals(&self.dials, &mut self.tally, ways, self.now);
        let [Some(first), second] = arrivals else { return Ok(()) };
        if let Some(second) = second {
            let copy = cargo.clone();
            self.schedule.at(second, Happening::Arrive { to: to_seat, from, cargo: copy });
        }
        self.schedule.at(first, Happening::Arrive { to: to_seat, from, cargo });
        Ok(())
    }

    /// Blocks have been read for another node.
    pub(super) fn read(&mut self, at: usize, life: u32, job: FetchJob) -> Check {
        let seat = &self.seats[at];
        let Some(replica) = seat.replica.as_ref().filter(|_| seat.life == life) else {
            return Ok(());
        };
        let applier = &replica.applier;
        let fetched = fetch(&applier.store().reader(), applier.demand(), job);
        let fetched = fetched.map_err(|error| unreadable(seat.node, &error))?;
        if self.now >= self.tell_from {
            tell::fetched(self.now, at, job, &fetched);
        }
        self.give(at, 6, Input::Fetched(fetched))
    }
}
