//! Who waits for an answer, and what all of them are told when the driver stops.

use std::collections::BTreeSet;

use quorate_consensus::event::ChangeId;
use quorate_consensus::handover::TransferEnd;
use quorate_consensus::membership::Refusal as ChangeRefusal;
use quorate_consensus::reads::{ReadId, Unread};

use super::Driver;
use crate::io::{Answer, Input, Output, Refusal, Stop};
use crate::store::Store;

/// Who waits for an answer of the core. Whoever is in it has had none.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) reads: BTreeSet<ReadId>,
    pub(super) changes: BTreeSet<ChangeId>,
    /// Orders to hand over, which have no names.
    pub(super) transfers: usize,
}

impl Waiting {
    /// One who has ordered a transfer is answered; false if there is none.
    pub(super) const fn end_transfer(&mut self) -> bool {
        let waits = self.transfers > 0;
        self.transfers = self.transfers.saturating_sub(1);
        waits
    }

    /// The core says no more: answers all.
    pub(super) fn abandon(&mut self, out: &mut Vec<Output>) {
        let Self { reads, changes, transfers } = std::mem::take(self);
        let leader = None;
        let why = Unread::NoLeader;
        out.extend(reads.into_iter().map(|read| Output::RefuseRead { read, why }));
        // One that stands in a block has been answered.
        let refused =
            |id| Output::Changed { id, outcome: Err(ChangeRefusal::NotLeader { leader }) };
        out.extend(changes.into_iter().map(refused));
        let end = || Output::TransferEnded(TransferEnd::NotLeading { leader });
        out.extend(std::iter::repeat_with(end).take(transfers));
    }
}

impl<S: Store> Driver<S> {
    pub(super) fn stop(&mut self, why: Stop, out: &mut Vec<Output>) {
        self.stopped = true;
        self.answer_unknown(out);
        self.waiting.abandon(out);
        out.push(Output::Stop(why));
    }

    pub(super) fn shutdown(&mut self, out: &mut Vec<Output>) {
        self.stopping = true;
        self.answer_unknown(out);
    }

    pub(super) fn answer_unknown(&mut self, out: &mut Vec<Output>) {
        let waiting = self.mempool.abandon();
        let unknown = |submission| Output::Answer { submission, answer: Answer::Unknown };
        out.extend(waiting.into_iter().map(unknown));
    }

    /// The driver has stopped: whoever waits for an answer gets one.
    pub(super) fn refuse(&self, input: &Input, out: &mut Vec<Output>) {
        let leader = None;
        match input {
            Input::Submit { submission, .. } => {
                let (submission, answer) = (*submission, Answer::Refused(Refusal::Stopping));
                out.push(Output::Answer { submission, answer });
            }
            Input::Read { read } => {
                out.push(Output::RefuseRead { read: *read, why: Unread::NoLeader });
            }
            Input::Change { id, .. } => {
                let outcome = Err(ChangeRefusal::NotLeader { leader });
                out.push(Output::Changed { id: *id, outcome });
            }
            Input::Transfer { .. } => {
                out.push(Output::TransferEnded(TransferEnd::NotLeading { leader }));
            }
            Input::Tick
            | Input::Received { .. }
            | Input::LinkOpened { .. }
            | Input::LinkLost { .. }
            | Input::Forwarded { .. }
            | Input::Willing(_)
            | Input::Readmit
            | Input::Written(_)
            | Input::Applied(_)
            | Input::Fetched(_)
            | Input::Brought { .. }
            | Input::Staged(_)
            | Input::Installed(_)
            | Input::Shutdown => {}
        }
    }
}
