//! Many worlds at once, one on each core, with a line that says how far they are.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::dials::Choice;
use crate::life::{Outcome, live, remember_panics};
use crate::report::Tally;

/// What to run, and until when.
pub(crate) struct Plan {
    /// The first world; the others differ in their seed.
    pub(crate) first: Choice,
    /// How many.
    pub(crate) seeds: u64,
    /// How many at once.
    pub(crate) jobs: usize,
    /// Whether the first failure ends it.
    pub(crate) stop_at_first_failure: bool,
    /// No world begins after this much time.
    pub(crate) wall: Option<Duration>,
}

/// What came of all of them.
pub(crate) struct Sum {
    /// How many worlds were lived through.
    pub(crate) worlds: u64,
    /// What happened in all of them.
    pub(crate) tally: Tally,
    /// Those that failed, by seed.
    pub(crate) failed: Vec<Outcome>,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Lives through many worlds.
pub(crate) fn run(plan: &Plan) -> Sum {
    remember_panics();
    let begin = Instant::now();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (to, outcomes) = mpsc::channel();
    let mut sum =
        Sum { worlds: 0, tally: Tally::default(), failed: Vec::new(), took: Duration::ZERO };
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            let (to, next, stop) = (to.clone(), &next, &stop);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let late = plan.wall.is_some_and(|wall| begin.elapsed() > wall);
                    if at >= plan.seeds || late || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let seed = plan.first.seed.wrapping_add(at);
                    let outcome = live(&Choice { seed, ..plan.first.clone() });
                    if to.send(outcome).is_err() {
                        return;
                    }
                }
            });
        }
        drop(to);
        let mut line = Line::new(plan.seeds, begin);
        for outcome in outcomes {
            sum.worlds += 1;
            sum.tally.add(&outcome.tally);
            if outcome.failure.is_some() {
                sum.failed.push(outcome);
                if plan.stop_at_first_failure {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            line.show(&sum);
        }
        line.end();
    });
    sum.took = begin.elapsed();
    sum.failed.sort_by_key(|outcome| outcome.choice.seed);
    sum
}

/// One line on a terminal that is written over again and again; nothing elsewhere.
struct Line {
    seeds: u64,
    begin: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl Line {
    fn new(seeds: u64, begin: Instant) -> Self {
        Self { seeds, begin, shown: None, terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, sum: &Sum) {
        let fresh = self.shown.is_some_and(|shown| shown.elapsed() < Duration::from_millis(100));
        if !self.terminal || fresh {
            return;
        }
        self.shown = Some(Instant::now());
        let done = usize::try_from(sum.worlds * 30 / self.seeds.max(1)).unwrap_or(30);
        let bar = format!("{}{}", "━".repeat(done), "─".repeat(30_usize.saturating_sub(done)));
        let speed = speed(&sum.tally, self.begin.elapsed());
        let _ = write!(
            std::io::stderr(),
            "\r{bar} {}/{} seeds, {} failed, {speed}\x1b[K",
            sum.worlds,
            self.seeds,
            sum.failed.len()
        );
    }

    fn end(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// How fast worlds go by.
pub(crate) fn speed(tally: &Tally, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-9);
    let per_second = |count: u64| count as f64 / seconds;
    format!(
        "{:.1} node-hours/s, {:.0} events/s, {:.0} × real time",
        per_second(tally.node_seconds) / 3_600.0,
        per_second(tally.events),
        per_second(tally.seconds)
    )
}
