//! Clients at the doors of nodes.

use quorate_chain::checked::Checked;
use quorate_chain::transaction::SignedTransaction;
use quorate_replica::io::{Input, Submission};

use crate::dials::Fault;
use crate::violation::{Check, Violation};
use crate::world::{Happening, World};

impl World {
    /// A client does something.
    pub(super) fn client(&mut self, client: usize) -> Check {
        if self.healing.is_some() {
            return Ok(());
        }
        let pause = self.clients.pause(&self.dials);
        self.schedule.at(self.now + pause, Happening::Client(client));
        if self.dials.has(Fault::BadClient) && self.dice.chance(20_000) {
            self.tally.fault(Fault::BadClient);
            return self.clients.bad(client, &self.dials, &*self.verifier);
        }
        let at = self.any_seat();
        if self.dice.chance(200_000) {
            return self.read_at(at);
        }
        let transaction = self.clients.next(client, &self.dials, &mut self.tally);
        self.submit(client, transaction, at).map(drop)
    }

    /// A client reads at a seat, if a process runs there and listens.
    fn read_at(&mut self, at: usize) -> Check {
        let seat = &self.seats[at];
        if !seat.listens(self.now) {
            return Ok(());
        }
        let read = self.clients.read((at, seat.life));
        self.give(at, 12, Input::Read { read })
    }

    /// A client submits a transaction at a seat, if a process runs there and listens. Returns what it waits for.
    pub(super) fn submit(
        &mut self,
        client: usize,
        transaction: Checked<SignedTransaction>,
        at: usize,
    ) -> Result<Option<Submission>, Violation> {
        let seat = &self.seats[at];
        if !seat.listens(self.now) {
            return Ok(None);
        }
        let submission = self.clients.submit(client, &transaction, at, seat.life);
        self.give(at, 8, Input::Submit { submission, transaction })?;
        Ok(Some(submission))
    }
}
