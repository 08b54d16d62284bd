//! The command line: lives, as many as one likes.

use std::time::Duration;

use clap::Args;

use crate::crowd::{self, Plan, Sum};
use crate::dials::{Choice, Dials, Fault};
use crate::life::{Failure, live_in};
use crate::shrink::{command, shrink};
use crate::world::World;

/// Lives of groups of validators in simulated worlds with every fault, and whether they keep their
/// promises.
#[derive(Debug, Args)]
pub struct Sim {
    /// How many worlds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The seed of the first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many validators each begins with; by the seed if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=9))]
    nodes: Option<u32>,
    /// How many simulated minutes the faults last.
    #[arg(long, default_value_t = 2)]
    minutes: u64,
    /// The same in seconds.
    #[arg(long, conflicts_with = "minutes")]
    seconds: Option<u64>,
    /// Faults that are turned off.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Fault>,
    /// Faults that are left on; all others are turned off.
    #[arg(long, value_delimiter = ',', conflicts_with = "without")]
    only: Option<Vec<Fault>>,
    /// Every fault in every world, with five validators and ten blocks a second: what speed is measured in.
    #[arg(long)]
    standard: bool,
    /// Ends each world after so many events.
    #[arg(long)]
    events: Option<u64>,
    /// How many worlds at once; as many as there are cores if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Begins no world after the first failure.
    #[arg(long)]
    stop_at_first_failure: bool,
    /// Begins no world after so many minutes of real time.
    #[arg(long)]
    max_minutes_wall: Option<u64>,
    /// Does not look for a smaller world that fails as well.
    #[arg(long)]
    no_shrink: bool,
    /// Tells every message of the first world from this simulated second on.
    #[arg(long, value_name = "SECOND")]
    tell: Option<f64>,
}

/// Most failures that are shrunk and told at length.
const TOLD: usize = 5;

impl Sim {
    /// Runs them, says what happened, and fails if one of them did.
    ///
    /// # Errors
    /// Says which promises were broken, with the seeds that show it.
    pub fn run(&self) -> Result<(), String> {
        let plan = self.plan();
        if let Some(from) = self.tell {
            return tell(&plan.first, from);
        }
        let sum = crowd::run(&plan);
        println!(
            "{} worlds of {} seconds, {} failed, in {:.1} s: {}",
            sum.worlds,
            plan.first.seconds,
            sum.failed.len(),
            sum.took.as_secs_f64(),
            crowd::speed(&sum.tally, sum.took)
        );
        println!("{}", sum.tally);
        if sum.failed.is_empty() {
            return Ok(());
        }
        self.report_failures(&plan, &sum);
        let seeds: Vec<String> = sum.failed.iter().map(|it| it.choice.seed.to_string()).collect();
        Err(format!("promises were broken with seed {}", seeds.join(", ")))
    }

    fn report_failures(&self, plan: &Plan, sum: &Sum) {
        for outcome in &sum.failed {
            let Some(failure) = &outcome.failure else { continue };
            println!("seed {} failed: {}", outcome.choice.seed, failure.rule);
        }
        for outcome in sum.failed.iter().take(if plan.stop_at_first_failure { 1 } else { TOLD }) {
            let Some(failure) = &outcome.failure else { continue };
            println!("\nseed {} after {} events:", outcome.choice.seed, failure.events);
            println!("  {}: {}", failure.rule, failure.found);
            println!("  again:   quorate-testnet sim {}", command(&outcome.choice));
            if !self.no_shrink {
                let (choice, Failure { events, found, .. }) = shrink(&outcome.choice, failure);
                println!("  smaller: quorate-testnet sim {}", command(&choice));
                println!("           {events} events: {found:.400}");
            }
        }
    }

    /// What to run.
    fn plan(&self) -> Plan {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let without = match &self.only {
            Some(only) => {
                Fault::ALL.iter().copied().filter(|fault| !only.contains(fault)).collect()
            }
            None => self.without.clone(),
        };
        Plan {
            first: Choice {
                seed: self.from,
                nodes: self.nodes,
                seconds: self.seconds.unwrap_or(60 * self.minutes),
                without,
                events: self.events,
                standard: self.standard,
            },
            seeds: self.seeds,
            jobs: self.jobs.unwrap_or(cores),
            stop_at_first_failure: self.stop_at_first_failure,
            wall: self.max_minutes_wall.map(|minutes| Duration::from_secs(60 * minutes)),
        }
    }
}

/// Lives through one world and tells every message.
fn tell(choice: &Choice, from: f64) -> Result<(), String> {
    let dials = Dials::draw(choice);
    eprintln!("{dials:#?}");
    let mut world = World::with(choice, dials);
    world.tell_from = (from * 1e6) as u64;
    if let Some(liar) = &world.liar {
        eprintln!("node {} lies", liar.node);
    }
    let outcome = live_in(choice, world);
    println!("trace {:016x}\n{}", outcome.trace, outcome.tally);
    match outcome.failure {
        Some(Failure { rule, found, .. }) => Err(format!("{rule}: {found}")),
        None => Ok(()),
    }
}
