//! The journal: it owns the log, and makes records durable.
//!
//! One call of [`Journal::write`] takes all jobs that wait and makes them durable with one sync, as far
//! as they fit into one group. The newest ballot is the preamble of the log, so that no pruning can
//! forget a vote. Records become durable in the order in which they were given.
//!
//! A full disk is not an error: what could not be written waits, [`Written::space`] says how much
//! room is left, and the next call tries again. How much can wait is the driver's to bound. Everything
//! else that the disk refuses is final.

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_chain::codec::Encode;
use quorate_chain::ids::{BlockRef, Height};
use quorate_consensus::config::Incarnation;
use quorate_consensus::effect::{Record, Ticket};
use quorate_wal::{Disk, Entry, Error, Options, Space, Tag, Wal};

use crate::io::{JournalJob, Written};
use crate::record::{self, BRANCH, CERTIFICATE, Life, START};

/// A record on its way into the log.
#[derive(Clone, Debug)]
struct Piece {
    /// Kind and tag of a record; the preamble has none.
    head: Option<(u8, Tag)>,
    payload: Bytes,
    /// What is done with it.
    ends: Option<Done>,
}

/// A job that is done.
#[derive(Clone, Copy, Debug)]
enum Done {
    Record(Ticket),
    Start(BlockRef),
}

/// What a journal has done while nothing waited.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Whether there is more to do at once.
    pub more: bool,
    /// For the driver, if there is more or less room than it was told last: where nothing is written, nothing else
    /// would say so.
    pub room: Option<Written>,
}

/// The owner of the log.
#[derive(Debug)]
pub struct Journal<D> {
    wal: Wal<D>,
    life: Life,
    max_record: usize,
    waiting: VecDeque<Piece>,
    /// What will be done with the staged group.
    staged: Vec<Done>,
    /// The last record that is durable.
    done: Option<Ticket>,
    /// Where the log was begun anew last.
    started: Option<BlockRef>,
    /// How much room there was when the driver was told last.
    told: Space,
}

impl<D: Disk> Journal<D> {
    pub(crate) fn new(wal: Wal<D>, life: Life, options: &Options) -> Self {
        Self {
            told: wal.space(),
            wal,
            life,
            max_record: options.max_record,
            waiting: VecDeque::new(),
            staged: Vec::new(),
            done: None,
            started: None,
        }
    }

    /// Writes down that a life begins, and where, if the log still has to begin anew.
    pub(crate) fn begin(&mut self, start: Option<BlockRef>) -> Result<(), Error> {
        self.stage_life();
        if let Some(block) = start {
            self.stage_start(block);
        }
        self.write_waiting()
    }

    /// Makes these jobs durable, and what waits from before.
    ///
    /// # Errors
    /// If the disk failed: then the node must stop.
    pub fn write(&mut self, jobs: impl IntoIterator<Item = JournalJob>) -> Result<Written, Error> {
        for job in jobs {
            self.stage(job);
        }
        let written = self.write_waiting();
        match written {
            Ok(()) | Err(Error::NoSpace { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(self.written())
    }

    /// How far the log has come, and how much room there is.
    fn written(&mut self) -> Written {
        self.told = self.space();
        Written { ticket: self.done, started: self.started, space: self.told }
    }

    fn stage(&mut self, job: JournalJob) {
        match job {
            JournalJob::Record { ticket, record: Record::Ballot(ballot) } => {
                self.life.ballot = ballot;
                self.stage_life();
                self.ends_with(Done::Record(ticket));
            }
            JournalJob::Record { ticket, record: Record::Branch { above, blocks } } => {
                let parts = record::parts(above, &blocks, self.max_record);
                let piece =
                    |(tag, payload)| Piece { head: Some((BRANCH, tag)), payload, ends: None };
                self.waiting.extend(parts.into_iter().map(piece));
                self.ends_with(Done::Record(ticket));
            }
            JournalJob::Record { ticket, record: Record::Certificate(certificate) } => {
                let head = Some((CERTIFICATE, record::about(certificate.block())));
                let ends = Some(Done::Record(ticket));
                self.waiting.push_back(Piece { head, payload: certificate.to_bytes(), ends });
            }
            JournalJob::Start { block, ballot } => {
                if let Some(ballot) = ballot {
                    self.life.ballot = ballot;
                    self.stage_life();
                }
                self.stage_start(block);
            }
        }
    }

    fn stage_life(&mut self) {
        let payload = self.life.to_bytes();
        self.waiting.push_back(Piece { head: None, payload, ends: None });
    }

    fn stage_start(&mut self, block: BlockRef) {
        let head = Some((START, record::tag(block)));
        let ends = Some(Done::Start(block));
        self.waiting.push_back(Piece { head, payload: block.to_bytes(), ends });
    }

    fn ends_with(&mut self, done: Done) {
        if let Some(last) = self.waiting.back_mut() {
            last.ends = Some(done);
        }
    }

    fn write_waiting(&mut self) -> Result<(), Error> {
        while let Some(piece) = self.waiting.front() {
            if !self.wal.fits(piece.payload.len()) {
                self.commit()?;
            }
            let Some(piece) = self.waiting.front() else { break };
            let payload = &piece.payload[..];
            let entry = match piece.head {
                Some((kind, tag)) => Entry::Record { kind, tag, payload },
                None => Entry::Preamble(payload),
            };
            self.wal.push(entry)?;
            self.staged.extend(piece.ends);
            self.waiting.pop_front();
        }
        self.commit()
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.wal.commit()?;
        for done in self.staged.drain(..) {
            match done {
                Done::Record(ticket) => self.done = Some(ticket),
                Done::Start(block) => self.started = Some(block),
            }
        }
        Ok(())
    }

    /// Whether something waits for room on the disk.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.staged.is_empty()
    }

    /// Lets go of what is below a height. Returns how many segments are gone.
    ///
    /// # Errors
    /// If the disk failed: then the node must stop.
    pub fn prune(&mut self, below: Height) -> Result<usize, Error> {
        match self.wal.prune(below.get()) {
            // The note that must come first does not fit; there will be another time.
            Err(Error::NoSpace { .. }) => Ok(0),
            pruned => pruned,
        }
    }

    /// One bounded step of what is better done while nothing waits. While there is little room it is to be done
    /// again after a while: it finds out whether there is more.
    ///
    /// # Errors
    /// If the disk failed: then the node must stop.
    pub fn idle_work(&mut self) -> Result<Idle, Error> {
        let more = self.wal.idle_work()?;
        let changed = self.space() != self.told;
        Ok(Idle { more, room: changed.then(|| self.written()) })
    }

    /// How much room there is.
    #[must_use]
    pub fn space(&self) -> Space {
        if self.is_waiting() { Space::Reserve } else { self.wal.space() }
    }

    /// How often the log was begun, this time included.
    #[must_use]
    pub const fn boot(&self) -> u64 {
        self.life.boot
    }

    /// The name of the log.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.life.incarnation
    }

    /// The log, to look at.
    #[must_use]
    pub const fn wal(&self) -> &Wal<D> {
        &self.wal
    }

    /// Gives the disk back.
    #[must_use]
    pub fn into_disk(self) -> D {
        self.wal.into_disk()
    }
}
