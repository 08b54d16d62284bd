//! A network around a world: messages take time, and links may be cut one way.

use std::collections::BTreeMap;

use quorate_consensus::message::Message;
use quorate_consensus::time::{Moment, Span};

use super::World;
use super::random::Random;

/// A world whose messages take from one to five milliseconds, in order on each link.
pub struct Net {
    pub world: World,
    pub random: Random,
    flying: BTreeMap<(Moment, u64), (u32, u32, Message)>,
    sent: u64,
    /// When the newest message on a link arrives.
    newest: BTreeMap<(u32, u32), Moment>,
    /// Who led each term.
    pub leaders: BTreeMap<u64, u32>,
}

impl Net {
    pub fn new(world: World, seed: u64) -> Self {
        Self {
            world,
            random: Random(seed),
            flying: BTreeMap::new(),
            sent: 0,
            newest: BTreeMap::new(),
            leaders: BTreeMap::new(),
        }
    }

    /// Lets time pass, while every leader seals a block now and then.
    pub fn run(&mut self, span: Span, between_blocks: Span) {
        let end = self.world.moment.after(span);
        while self.world.moment < end {
            let next = self.world.moment.after(between_blocks).min(end);
            self.run_until(next);
            for id in self.world.ids() {
                self.world.seal(id);
                self.take_off();
            }
        }
    }

    fn run_until(&mut self, end: Moment) {
        loop {
            let arrival = self.flying.first_key_value().map(|(at, _)| at.0);
            let tick = self.world.due().map(|(moment, _)| moment);
            let Some(next) = arrival.into_iter().chain(tick).min().filter(|next| *next <= end)
            else {
                break;
            };
            self.world.moment = self.world.moment.max(next);
            if arrival == Some(next) {
                let (_, (from, to, message)) = self.flying.pop_first().unwrap();
                self.world.arrive(from, to, message);
            } else if let Some((_, id)) = self.world.due() {
                self.world.timeout(id);
            }
            self.take_off();
        }
        self.world.moment = end;
    }

    /// What was sent is on its way.
    pub fn take_off(&mut self) {
        let now = self.world.moment;
        while let Some((from, to, message)) = self.world.wire.pop_front() {
            let arrival = now.after(Span::micros(1_000 + self.random.below(4_000)));
            let newest = self.newest.entry((from, to)).or_default();
            *newest = arrival.max(*newest);
            self.sent += 1;
            self.flying.insert((*newest, self.sent), (from, to, message));
        }
        self.world.check_leaders(&mut self.leaders);
    }

    /// The highest committed height of all.
    pub fn committed(&self) -> u64 {
        let ids = self.world.ids().into_iter();
        let cores = ids.filter_map(|id| self.world.core(id));
        cores.map(|core| core.log().committed().height.get()).max().unwrap()
    }
}
