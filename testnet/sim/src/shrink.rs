//! Making a failing world smaller: fewer faults, fewer nodes, less time, as long as the same rule breaks.

use crate::dials::{Choice, Dials, Fault};
use crate::life::{Failure, Outcome, live};

/// Most worlds that are tried.
const TRIES: usize = 120;

/// The smallest choice found that breaks the same rule, and how it breaks.
#[must_use]
pub fn shrink(first: &Choice, failure: &Failure) -> (Choice, Failure) {
    let mut search = Search { best: first.clone(), failure: failure.clone(), tries: 0 };
    search.shorten();
    for nodes in [1, 2, 3, 4, 5] {
        if nodes < Dials::draw(&search.best).nodes {
            search.attempt(Choice { nodes: Some(nodes), ..search.best.clone() });
        }
    }
    // A fault that could not be left out may be, once others are.
    for _ in 0..2 {
        let faults: Vec<Fault> = Dials::draw(&search.best).faults().collect();
        for fault in faults {
            let mut choice = search.best.clone();
            choice.without.push(fault);
            search.attempt(choice);
        }
        search.shorten();
    }
    (search.best, search.failure)
}

struct Search {
    best: Choice,
    failure: Failure,
    tries: usize,
}

impl Search {
    fn attempt(&mut self, choice: Choice) -> bool {
        if self.tries >= TRIES {
            return false;
        }
        self.tries += 1;
        let Outcome { failure, .. } = live(&choice);
        match failure {
            Some(failure) if failure.rule == self.failure.rule => {
                (self.best, self.failure) = (choice, failure);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Ends the faults sooner.
    fn shorten(&mut self) {
        while self.best.seconds > 1 {
            let seconds = self.best.seconds.min(self.failure.moment.div_ceil(1_000_000));
            let half = seconds / 2;
            let shorter = |seconds| Choice { seconds, ..self.best.clone() };
            let (half, same) = (shorter(half.max(1)), shorter(seconds.max(1)));
            if !self.attempt(half) {
                if same.seconds < self.best.seconds {
                    self.attempt(same);
                }
                return;
            }
        }
    }
}

/// The command that lives through a choice again.
#[must_use]
pub fn command(choice: &Choice) -> String {
    let Choice { seed, nodes, seconds, without, events, standard } = choice;
    let mut line = format!("--seeds 1 --from {seed} --seconds {seconds}");
    if let Some(nodes) = nodes {
        line.push_str(&format!(" --nodes {nodes}"));
    }
    if !without.is_empty() {
        let names: Vec<&str> = without.iter().map(|fault| fault.name()).collect();
        line.push_str(&format!(" --without {}", names.join(",")));
    }
    if *standard {
        line.push_str(" --standard");
    }
    if let Some(events) = events {
        line.push_str(&format!(" --events {events}"));
    }
    line
}
