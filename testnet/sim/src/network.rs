//! The network: when a message comes, how often, and whether at all.

use quorate_consensus::message::Message;

use crate::dials::{Dials, Fault};
use crate::dice::Dice;
use crate::report::Tally;

/// Most messages kept to come again.
const KEPT: usize = 32;

/// The network between seats.
#[derive(Debug)]
pub struct Network {
    dice: Dice,
    seats: usize,
    /// Which way is cut: from seat × seats + to.
    cut: Vec<bool>,
    /// When the last message in order arrives, on each way.
    last: Vec<u64>,
    /// How much longer the messages of a seat take.
    slow: Vec<u64>,
    /// Old messages, with their sender and receiver.
    kept: Vec<(usize, usize, Message)>,
}

/// When a message comes: not at all, once or twice.
pub type Arrivals = [Option<u64>; 2];

impl Network {
    /// A whole network.
    #[must_use]
    pub fn new(seed: u64, seats: usize) -> Self {
        let (dice, ways) = (Dice::new(seed, 2), seats * seats);
        let (cut, last, slow) = (vec![false; ways], vec![0; ways], vec![0; seats]);
        Self { dice, seats, cut, last, slow, kept: Vec::new() }
    }

    /// When a message that is sent now arrives.
    pub fn arrivals(
        &mut self,
        dials: &Dials,
        tally: &mut Tally,
        (from, to): (usize, usize),
        now: u64,
    ) -> Arrivals {
        let way = from * self.seats + to;
        let strength = |fault| dials.strength(fault);
        if self.cut[way] {
            return [None, None];
        }
        let loss = strength(Fault::Loss);
        if loss > 0 && self.dice.chance(loss * loss * 20_000) {
            tally.fault(Fault::Loss);
            return [None, None];
        }
        let usual = dials.latency / 2 + self.dice.below(dials.latency) + self.slow[from];
        let mut at = now + usual + self.slow[to];
        if dials.has(Fault::Delay) && self.dice.chance(strength(Fault::Delay) * 5_000) {
            tally.fault(Fault::Delay);
            at += self.dice.spread(1_000, 5_000_000);
        }
        if dials.has(Fault::Reorder) && self.dice.chance(strength(Fault::Reorder) * 50_000) {
            tally.fault(Fault::Reorder);
            at += self.dice.below(20 * dials.latency);
        } else {
            at = at.max(self.last[way] + 1);
            self.last[way] = at;
        }
        let twice =
            dials.has(Fault::Duplicate) && self.dice.chance(strength(Fault::Duplicate) * 20_000);
        if !twice {
            return [Some(at), None];
        }
        tally.fault(Fault::Duplicate);
        [Some(at), Some(at + self.dice.below(50 * dials.latency))]
    }

    /// How many seats there may be.
    #[must_use]
    pub const fn seats(&self) -> usize {
        self.seats
    }

    /// Whether a way is cut.
    #[must_use]
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[from * self.seats + to]
    }

    /// Keeps a copy of some messages, to come again much later.
    pub fn keep(&mut self, dials: &Dials, from: usize, to: usize, message: &Message) {
        if !dials.has(Fault::Replay) || !self.dice.chance(5_000) {
            return;
        }
        let copy = (from, to, message.clone());
        if self.kept.len() < KEPT {
            self.kept.push(copy);
        } else {
            let place = self.dice.index(KEPT);
            self.kept[place] = copy;
        }
    }

    /// An old message that comes again.
    pub fn replay(&mut self) -> Option<(usize, usize, Message)> {
        if self.kept.is_empty() {
            return None;
        }
        let place = self.dice.index(self.kept.len());
        Some(self.kept[place].clone())
    }

    /// Cuts some ways between these seats and joins the others. Returns the ways that are newly cut.
    pub fn cut_anew(&mut self, strength: u64, among: &[usize]) -> Vec<(usize, usize)> {
        let mut new = Vec::new();
        let shape = self.dice.below(4);
        let [one, two] = [(); 2].map(|()| among[self.dice.index(among.len())]);
        for &from in among {
            for &to in among {
                let cut = match shape {
                    // One is alone; one hears nobody; two halves; anything.
                    0 => from == one || to == one,
                    1 => to == one,
                    2 => (from <= two) != (to <= two),
                    _ => self.dice.chance(strength * 150_000),
                } && from != to;
                if cut && !std::mem::replace(&mut self.cut[from * self.seats + to], cut) {
                    new.push((from, to));
                }
                self.cut[from * self.seats + to] = cut;
            }
        }
        new
    }

    /// All ways are open.
    pub fn join_all(&mut self) {
        self.cut.fill(false);
    }

    /// The messages from and to a seat take so much longer.
    pub fn slow_down(&mut self, seat: usize, longer: u64) {
        self.slow[seat] = longer;
    }

    /// Everything is as it should be.
    pub fn heal(&mut self) {
        self.join_all();
        self.slow.fill(0);
        self.kept.clear();
    }
}
