//! Taking a snapshot: what the driver does between the core's wish for one and its end.

use std::sync::Arc;

use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, Height, NodeId};
use quorate_chain::roster::Roster;
use quorate_chain::state::StateRead;
use quorate_consensus::event::{Event, Installed};
use quorate_consensus::judge::Proven;
use quorate_consensus::log::Anchor;
use quorate_consensus::message::Snapshot;
use quorate_consensus::time::Now;

use super::Driver;
use crate::io::{Answer, InstallJob, JournalJob, Notice, Output, StageJob};
use crate::snapshot::{CheckedHead, Download, Failure, Piece, Step};
use crate::store::{Replaced, Standing, Store};

impl<S: Store> Driver<S> {
    /// The core wants a snapshot.
    pub(super) fn download(
        &mut self,
        now: Now,
        from: NodeId,
        offer: Snapshot,
        out: &mut Vec<Output>,
    ) {
        let here = self.core.log().applied();
        let mut download = Download::new(from, offer, self.chain_id, here, self.pace, now.moment);
        let step = download.begin(now.moment);
        self.download = Some(download);
        self.take_step(now, step, out);
    }

    /// A piece has come.
    pub(super) fn brought(&mut self, now: Now, from: NodeId, piece: Piece, out: &mut Vec<Output>) {
        let Some(download) = self.download.as_mut().filter(|it| it.from == from) else { return };
        let step = download.brought(now.moment, piece, &*self.verifier);
        self.take_step(now, step, out);
    }

    /// Time has passed.
    pub(super) fn download_tick(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(download) = &mut self.download else { return };
        let step = download.tick(now.moment);
        self.take_step(now, step, out);
    }

    /// Entries have been staged, or the store takes none.
    pub(super) fn staged(&mut self, now: Now, taken: bool, out: &mut Vec<Output>) {
        let Some(download) = &mut self.download else { return };
        let step =
            if taken { download.staged(now.moment) } else { Step::GiveUp(Failure::NotTaken) };
        self.take_step(now, step, out);
    }

    fn take_step(&mut self, now: Now, step: Step, out: &mut Vec<Output>) {
        let Some(download) = &self.download else { return };
        match step {
            Step::Ask(ask) => out.push(Output::Ask { to: download.from, ask }),
            Step::Stage(entries, first) => out.push(Output::Stage(StageJob { entries, first })),
            Step::Install => match &download.head {
                Some(head) => {
                    let standing = self.standing_after(head, &download.offer);
                    let (header, steps) = (head.header.clone(), download.rosters.steps().to_vec());
                    out.push(Output::Install(Box::new(InstallJob { standing, header, steps })));
                }
                None => self.give_up(now, Failure::Unproven, out),
            },
            Step::GiveUp(why) => self.give_up(now, why, out),
            Step::Wait => {}
        }
    }

    fn give_up(&mut self, now: Now, why: Failure, out: &mut Vec<Output>) {
        if matches!(why, Failure::Slow { .. }) {
            self.pace.factor = self.pace.factor.saturating_mul(2);
        }
        if let Some(Download { from, offer, .. }) = self.download.take() {
            out.push(Output::Notice(Notice::SnapshotFailed { from, block: offer.block, why }));
        }
        self.step(now, Event::Installed(None), out);
    }

    fn standing_after(&self, head: &CheckedHead, offer: &Snapshot) -> Standing {
        let proof = proven(offer);
        Standing {
            applied: head.anchor.clone(),
            state_root: head.state_root,
            size: Some(head.size),
            outcomes: head.outcomes,
            certificate: Some(proof.certificate.clone()),
            replaced: Some(Replaced { applied: self.core.log().applied().block, proof }),
        }
    }

    /// The snapshot stands in the store, or it was not what it claimed to be: then its source is given up.
    pub(super) fn installed(&mut self, now: Now, good: bool, out: &mut Vec<Output>) {
        if !good {
            return self.give_up(now, Failure::Root, out);
        }
        let Some(download) = self.download.take() else { return };
        let Some(head) = download.head else { return };
        self.pace.factor = 1;
        let certificate = proven(&download.offer);
        let block = head.anchor.block;
        let higher = certificate.term() > self.core.term();
        let ballot = higher.then(|| self.core.ballot().raised(certificate.clone()));
        out.push(Output::Write(JournalJob::Start { block, ballot }));
        let (anchor, state_root) = (head.anchor, head.state_root);
        let left = self.left_before(&anchor);
        self.starting = Some(Installed { anchor, left, state_root, certificate });
        self.begin_anew(block.height, out);
    }

    /// The rosters that are known here to have been left before this block. What a source says of them is
    /// not taken: whoever held their keys could raise terms.
    fn left_before(&self, anchor: &Anchor) -> Vec<Arc<Roster>> {
        let log = self.core.log();
        let here = &log.applied().roster;
        let left = log.left().chain(std::iter::once(here));
        left.filter(|roster| roster.hash() != anchor.roster.hash()).cloned().collect()
    }

    /// The log has begun anew.
    pub(super) fn started(&mut self, now: Now, block: BlockRef, out: &mut Vec<Output>) {
        let starting = self.starting.take_if(|it| it.anchor.block == block);
        if let Some(installed) = starting {
            self.step(now, Event::Installed(Some(Box::new(installed))), out);
        }
    }

    /// The applied state is that of a snapshot: what was read before counts no more.
    fn begin_anew(&mut self, applied: Height, out: &mut Vec<Output>) {
        self.handed = applied;
        self.logged.clear();
        self.checkpointed = applied;
        for account in self.mempool.begin_anew() {
            let Some(nonces) = self.read(|reader| reader.nonces(account), out) else { return };
            let unknown = self.mempool.renew(account, nonces).into_iter();
            let answer = |submission| Output::Answer { submission, answer: Answer::Unknown };
            out.extend(unknown.map(answer));
        }
    }
}

/// The certificate of an offer, whose head was checked by it.
fn proven(offer: &Snapshot) -> Proven {
    Proven {
        certificate: Checked::vouch(offer.proof.certificate.clone()),
        roster: offer.proof.roster.clone(),
    }
}
