//! The parts put together, for people and for programs.

use serde::Serialize;

use super::clock::Cost;
use super::running::Running;
use super::{GROUP, KEYS, VALUE};

/// What a check of a signature costs in one kind of batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Batch {
    /// Whose signatures they are.
    pub(crate) senders: String,
    /// How many are checked together.
    pub(crate) together: usize,
    /// Of each.
    #[serde(flatten)]
    pub(crate) cost: Cost,
}

/// A part of what has to be done for a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Part {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What it costs once.
    #[serde(flatten)]
    pub(crate) cost: Cost,
    /// How often it is done by the validators together.
    pub(crate) times: u16,
}

impl Part {
    /// What it costs all validators together, in microseconds of a processor.
    fn all(&self) -> f64 {
        self.cost.cpu_us * f64::from(self.times)
    }
}

/// All that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Sum {
    /// How many processors there are.
    pub(crate) cores: usize,
    /// Checks of signatures.
    pub(crate) batches: Vec<Batch>,
    /// All parts.
    pub(crate) parts: Vec<Part>,
    /// The running system, each time.
    pub(crate) runs: Vec<Running>,
}

/// How near the running system comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Share {
    /// Transactions in a second.
    per_second: f64,
    /// Time of a processor that the validators took for each, in microseconds.
    cpu_us: Option<f64>,
    /// The same of the clients.
    load_us: f64,
    /// Transactions in a second that there is room for with these clients on the same machine.
    ceiling_with_load: f64,
    /// Of the ceiling.
    of_ceiling: f64,
    /// Of the ceiling with the clients on the same machine.
    of_ceiling_with_load: f64,
    /// The sum of the parts, of what the validators took.
    of_cpu: Option<f64>,
}

/// The run in the middle, by how much was done.
fn middle(runs: &[Running]) -> Option<&Running> {
    let mut runs: Vec<_> = runs.iter().collect();
    runs.sort_by(|a, b| a.figures.per_second.total_cmp(&b.figures.per_second));
    runs.get(runs.len() / 2).copied()
}

impl Sum {
    /// What a transaction costs at least, in microseconds of a processor.
    fn least_us(&self) -> f64 {
        self.parts.iter().map(Part::all).sum()
    }

    /// How many transactions a second there is room for, if each takes so long.
    fn room(&self, each_us: f64) -> f64 {
        self.cores as f64 * 1e6 / each_us.max(1e-9)
    }

    fn share(&self) -> Option<Share> {
        let Running { figures, load_us } = middle(&self.runs)?;
        let least = self.least_us();
        let with_load = self.room(least + load_us);
        Some(Share {
            per_second: figures.per_second,
            cpu_us: figures.cpu_us,
            load_us: *load_us,
            ceiling_with_load: with_load,
            of_ceiling: figures.per_second / self.room(least),
            of_ceiling_with_load: figures.per_second / with_load,
            of_cpu: figures.cpu_us.map(|cpu_us| least / cpu_us.max(1e-9)),
        })
    }

    /// It as tables.
    pub(crate) fn text(&self) -> String {
        let mut out = format!(
            "What a transaction costs at least: values of {VALUE} bytes, {KEYS} keys, {GROUP} in a group; µs of a processor\n\n\
             {:<14} {:>8} {:>6} {:>8} {:>10}\n",
            "", "once", "times", "all", "µs by clock"
        );
        for part in &self.parts {
            let Part { name, cost, times } = part;
            out.push_str(&format!(
                "{name:<14} {:>8.2} {times:>6} {:>8.2} {:>10.2}\n",
                cost.cpu_us,
                part.all(),
                cost.wall_us
            ));
        }
        let least = self.least_us();
        out.push_str(&format!("{:<14} {:>8} {:>6} {least:>8.2}\n\n", "sum", "", ""));
        out.push_str(&self.signatures());
        out.push_str(&format!(
            "\nceiling: {} cores / {least:.2} µs = {:.0} transactions/s\n",
            self.cores,
            self.room(least)
        ));
        if let Some(share) = self.share() {
            out.push_str(&share.text());
        }
        out
    }

    /// What a check of a signature costs, a line for each kind of senders.
    fn signatures(&self) -> String {
        let mut out = "A signature, by how many are checked together; the least counts".to_owned();
        let mut senders = "";
        for batch in &self.batches {
            if batch.senders != senders {
                senders = &batch.senders;
                out.push_str(&format!("\n{senders:<24}"));
            }
            out.push_str(&format!("  {:>5}: {:>5.2}", batch.together, batch.cost.cpu_us));
        }
        out.push('\n');
        out
    }

    /// It as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let least = self.least_us();
        serde_json::json!({
            "cores": self.cores, "value_bytes": VALUE, "keys": KEYS, "group": GROUP,
            "parts": self.parts, "signatures": self.batches, "least_us": least,
            "ceiling": self.room(least), "runs": self.runs, "share": self.share(),
        })
    }
}

impl Share {
    fn text(&self) -> String {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let known = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
        format!(
            "with the clients ({:.2} µs) on the same cores: {:.0} transactions/s\n\n\
             running, batches of 100 by 256 clients: {:.0} transactions/s, {} µs of a processor\n\
             that is {} of the ceiling, {} with the clients; the sum is {} of what the validators take\n",
            self.load_us,
            self.ceiling_with_load,
            self.per_second,
            known(self.cpu_us.map(|cpu_us| format!("{cpu_us:.1}"))),
            percent(self.of_ceiling),
            percent(self.of_ceiling_with_load),
            known(self.of_cpu.map(percent)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Figures;

    fn run(per_second: f64) -> Running {
        let figures = Figures { per_second, cpu_us: Some(50.0), ..Figures::default() };
        Running { figures, load_us: 5.0 }
    }

    #[test]
    fn the_ceiling_is_what_the_cores_have_room_for() {
        let cost = |cpu_us| Cost { cpu_us, wall_us: cpu_us };
        let part = |name, cpu_us, times| Part { name, cost: cost(cpu_us), times };
        let batch = Batch { senders: "64 senders".to_owned(), together: 64, cost: cost(5.0) };
        let sum = Sum {
            cores: 2,
            batches: vec![batch],
            parts: vec![part("signatures", 5.0, 3), part("joining", 5.0, 1)],
            runs: vec![run(90_000.0), run(20_000.0), run(40_000.0)],
        };
        let json = sum.json();
        assert_eq!((json["least_us"].as_f64(), json["ceiling"].as_f64()), (Some(20.0), Some(1e5)));
        assert_eq!(json["share"]["of_ceiling"], 0.4);
        assert_eq!(json["share"]["of_ceiling_with_load"], 0.5);
        assert_eq!(json["share"]["of_cpu"], 0.4);
        assert_eq!(json["parts"][0]["cpu_us"], 5.0);
        let text = sum.text();
        assert!(
            text.contains("100000 transactions/s") && text.contains("40 % of the ceiling, 50 %")
        );
    }

    #[test]
    fn without_a_run_nothing_is_claimed_of_one() {
        let sum = Sum { cores: 1, batches: Vec::new(), parts: Vec::new(), runs: Vec::new() };
        assert!(sum.json()["share"].is_null() && !sum.text().contains("running"));
    }
}
