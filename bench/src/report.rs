//! What was measured, for people and for programs.

use serde::Serialize;

use crate::load::Run;
use crate::usage::Usage;
use crate::work::{Kind, System};

/// What is measured: a kind of work, by so many clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// What they do.
    pub(crate) kind: Kind,
    /// How many there are.
    pub(crate) clients: u64,
    /// How many requests are due in a second; `None` in a closed loop.
    pub(crate) rate: Option<u64>,
}

impl Case {
    /// What it is called.
    pub(crate) fn name(&self) -> String {
        let name = self.kind.name();
        self.rate.map_or_else(|| name.to_owned(), |rate| format!("{name}, {rate}/s due"))
    }
}

/// What one repetition has shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// Transactions or reads in a second.
    pub(crate) per_second: f64,
    /// Keys written or read in a second.
    pub(crate) operations_per_second: f64,
    /// How long a request took, in milliseconds.
    pub(crate) min_ms: f64,
    /// The half took no longer.
    pub(crate) p50_ms: f64,
    /// Of a hundred, one took longer.
    pub(crate) p99_ms: f64,
    /// The longest.
    pub(crate) max_ms: f64,
    /// Time of a processor for each transaction or read, of all nodes together, in microseconds.
    pub(crate) cpu_us: Option<f64>,
    /// The same of each process, in the order of the nodes.
    pub(crate) cpu_us_each: Option<Vec<f64>>,
    /// Bytes written to disks for each, of all nodes together.
    pub(crate) written: Option<f64>,
    /// Syncs of logs in a second, of all nodes together.
    pub(crate) fsyncs_per_second: Option<f64>,
    /// Resident memory of the node that has most, in MiB.
    pub(crate) resident_mib: Option<f64>,
    /// How often a client was told to come again later.
    pub(crate) put_off: u64,
}

impl Figures {
    /// What a run of so many requests has shown.
    pub(crate) fn new(kind: Kind, run: &Run, used: Option<&Usage>) -> Self {
        let requests = run.latency.len() as f64;
        let seconds = run.time.as_secs_f64().max(1e-9);
        let done = requests * kind.done() as f64;
        let ms = |micros: u64| micros as f64 / 1e3;
        let each = |used: f64| used / done.max(1.0);
        let cpu_each = used.map(|used| used.cpu.iter().map(|cpu| each(cpu.as_secs_f64() * 1e6)));
        let cpu_us_each: Option<Vec<f64>> = cpu_each.map(Iterator::collect);
        Self {
            per_second: done / seconds,
            operations_per_second: requests * kind.operations() as f64 / seconds,
            min_ms: ms(run.latency.min()),
            p50_ms: ms(run.latency.value_at_quantile(0.5)),
            p99_ms: ms(run.latency.value_at_quantile(0.99)),
            max_ms: ms(run.latency.max()),
            cpu_us: cpu_us_each.as_ref().map(|all| all.iter().sum()),
            cpu_us_each,
            written: used.map(|used| each(used.written as f64)),
            fsyncs_per_second: used.and_then(|used| Some(used.fsyncs? as f64 / seconds)),
            resident_mib: used.map(|used| used.resident as f64 / f64::from(1 << 20)),
            put_off: run.put_off,
        }
    }
}

/// All repetitions of a case.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Of what.
    pub(crate) system: System,
    /// What was measured.
    pub(crate) case: Case,
    /// What came of it, each time.
    pub(crate) runs: Vec<Figures>,
}

/// All that is to be said.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// Bytes of each value, and how many keys there are.
    pub(crate) value: usize,
    pub(crate) keys: u64,
    /// The height of the chain before and after.
    pub(crate) heights: (u64, u64),
    /// How long a client takes to make and sign a transaction, in microseconds.
    pub(crate) signing_us: f64,
    /// One for each case.
    pub(crate) rows: Vec<Row>,
}

/// The least, the one in the middle, and the greatest.
pub(crate) fn spread(runs: &[Figures], of: impl Fn(&Figures) -> f64) -> (f64, f64, f64) {
    let mut all: Vec<f64> = runs.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    let at = |at: usize| all.get(at).copied().unwrap_or_default();
    (at(0), at(all.len() / 2), at(all.len().saturating_sub(1)))
}

/// The one in the middle of what may not be known.
fn middle(runs: &[Figures], of: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
    runs.iter().all(|run| of(run).is_some()).then(|| spread(runs, |run| of(run).unwrap_or(0.0)).1)
}

impl Report {
    /// It as a table.
    pub(crate) fn text(&self) -> String {
        let mut out = format!(
            "{} nodes, values of {} bytes, {} keys, height {} to {}; a client signs in {:.1} µs\n\n",
            self.nodes, self.value, self.keys, self.heights.0, self.heights.1, self.signing_us
        );
        out.push_str(&format!(
            "{:<8} {:<24} {:>7} {:>9} {:>17} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9} {:>8} {:>7}\n",
            "",
            "work",
            "clients",
            "a second",
            "(least–most)",
            "min ms",
            "p50 ms",
            "p99 ms",
            "max ms",
            "CPU µs",
            "written B",
            "fsyncs/s",
            "MiB"
        ));
        for row in &self.rows {
            out.push_str(&self.line(row));
        }
        if self.rows.iter().flat_map(|row| &row.runs).any(|run| run.put_off > 0) {
            out.push_str("Clients were told to come again later, or that nobody knew yet, and sent the same bytes again.\n");
        }
        let ratios = self.ratios();
        if !ratios.is_empty() {
            out.push_str(&format!(
                "\nQuorate as a multiple of others; it alone checks signatures, and NATS does not sync before it answers\n\n\
                 {:<8} {:<24} {:>7} {:>9} {:>7} {:>7} {:>7}\n",
                "", "work", "clients", "a second", "p50", "p99", "CPU"
            ));
            ratios.iter().for_each(|ratio| out.push_str(ratio));
        }
        out
    }

    /// How ours compares with the same work elsewhere, a line each; batches with the most transactions that the other can
    /// do in a second, and large transactions with the most operations.
    fn ratios(&self) -> Vec<String> {
        let ours = self.rows.iter().filter(|row| row.system == System::Quorate);
        let others = [System::Etcd, System::Nats];
        let pairs = ours.flat_map(|row| others.map(|other| (row, other)));
        pairs.filter_map(|(row, other)| self.ratio(row, other)).collect()
    }

    fn ratio(&self, ours: &Row, other: System) -> Option<String> {
        let of_other = self.rows.iter().filter(|row| row.system == other);
        let Case { kind, clients, .. } = ours.case;
        let most = |row: &&Row| row.case.kind.writes() && row.case.rate.is_none();
        let rate = |row: &Row| {
            let large = kind == Kind::Operations;
            let of = |run: &Figures| if large { run.operations_per_second } else { run.per_second };
            spread(&row.runs, of).1
        };
        let many = matches!(kind, Kind::Batches | Kind::Operations);
        let theirs = if many {
            of_other.filter(most).max_by(|a, b| rate(a).total_cmp(&rate(b)))?
        } else {
            of_other.clone().find(|row| row.case == ours.case)?
        };
        let by = |of: fn(&Figures) -> f64| spread(&ours.runs, of).1 / spread(&theirs.runs, of).1;
        // Of what the rate counts: theirs may be single writes, where ours are a hundred at once.
        let cpu = |row: &Row| {
            let operations = row.case.kind.operations() / row.case.kind.done();
            let parts = if kind == Kind::Operations { operations } else { 1 };
            Some(middle(&row.runs, |run| run.cpu_us)? / parts as f64)
        };
        let cpu = cpu(ours).zip(cpu(theirs));
        let time = |ratio: f64| if many { "-".to_owned() } else { format!("{ratio:.2}") };
        Some(format!(
            "{:<8} {:<24} {:>7} {:>9.2} {:>7} {:>7} {:>7}\n",
            other.name(),
            ours.case.name(),
            clients,
            rate(ours) / rate(theirs),
            time(by(|run| run.p50_ms)),
            time(by(|run| run.p99_ms)),
            cpu.map_or_else(|| "-".to_owned(), |(ours, theirs)| format!("{:.2}", ours / theirs)),
        ))
    }

    fn line(&self, row: &Row) -> String {
        let (least, per_second, most) = spread(&row.runs, |run| run.per_second);
        let known = |of: fn(&Figures) -> Option<f64>, digits: usize| {
            middle(&row.runs, of)
                .map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        format!(
            "{:<8} {:<24} {:>7} {:>9.0} {:>17} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>8} {:>9} {:>8} {:>7}\n",
            row.system.name(),
            row.case.name(),
            row.case.clients,
            per_second,
            format!("({least:.0}–{most:.0})"),
            spread(&row.runs, |run| run.min_ms).1,
            spread(&row.runs, |run| run.p50_ms).1,
            spread(&row.runs, |run| run.p99_ms).1,
            spread(&row.runs, |run| run.max_ms).1,
            known(|run| run.cpu_us, 1),
            known(|run| run.written, 0),
            known(|run| run.fsyncs_per_second, 0),
            known(|run| run.resident_mib, 0),
        )
    }

    /// It as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let row = |row: &Row| {
            let Case { kind, clients, rate } = row.case;
            serde_json::json!({ "system": row.system.name(), "work": kind.name(), "clients": clients, "rate": rate, "runs": row.runs })
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        serde_json::json!({
            "nodes": self.nodes, "value_bytes": self.value, "keys": self.keys,
            "heights": [self.heights.0, self.heights.1], "signing_us": self.signing_us,
            "rows": rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(per_second: f64, cpu_us: Option<f64>) -> Figures {
        Figures { per_second, cpu_us, ..Figures::default() }
    }

    #[test]
    fn a_row_shows_the_middle_and_the_spread() {
        let case = Case { kind: Kind::Writes, clients: 64, rate: None };
        let runs = vec![run(300.0, Some(9.0)), run(100.0, Some(7.0)), run(200.0, Some(8.0))];
        let system = System::Quorate;
        let rows = vec![Row { system, case, runs }];
        let report =
            Report { nodes: 3, value: 256, keys: 10, heights: (1, 2), signing_us: 15.0, rows };
        let text = report.text();
        let line = text.lines().last().unwrap_or_default();
        assert!(line.contains(" 200 ") && line.contains("(100–300)"), "{line}");
        assert!(line.contains(" 8.0 "), "{line}");
        assert_eq!(report.json()["rows"][0]["runs"][1]["per_second"], 100.0);
    }

    #[test]
    fn ours_stands_beside_the_same_work_of_others_and_batches_beside_their_best() {
        let row = |system, kind: Kind, clients, per_second: f64| {
            let operations_per_second = match kind {
                Kind::Operations => 100.0 * per_second,
                Kind::Writes | Kind::Hot | Kind::Batches | Kind::Reads | Kind::Local => per_second,
            };
            let figures = Figures {
                per_second,
                operations_per_second,
                p50_ms: 2.0,
                p99_ms: 4.0,
                cpu_us: Some(if kind == Kind::Operations { 400.0 } else { 8.0 }),
                ..Figures::default()
            };
            let case = Case { kind, clients, rate: None };
            Row { system, case, runs: vec![figures] }
        };
        let rows = vec![
            row(System::Quorate, Kind::Writes, 1, 300.0),
            row(System::Quorate, Kind::Batches, 1, 9_000.0),
            row(System::Quorate, Kind::Operations, 1, 100.0),
            row(System::Etcd, Kind::Operations, 1, 50.0),
            row(System::Etcd, Kind::Writes, 1, 100.0),
            row(System::Etcd, Kind::Writes, 64, 3_000.0),
            row(System::Nats, Kind::Writes, 64, 5_000.0),
        ];
        let report =
            Report { nodes: 3, value: 256, keys: 10, heights: (1, 2), signing_us: 15.0, rows };
        let ratios = report.ratios();
        assert_eq!(ratios.len(), 5, "{ratios:?}");
        let says = |at: usize, work: &str, figures: [&str; 4]| {
            let figures = figures.map(|figure| format!("{figure:>8}")).concat();
            assert!(ratios[at].contains(work) && ratios[at].contains(&figures), "{ratios:?}");
        };
        says(0, "writes", ["3.00", "1.00", "1.00", "1.00"]);
        says(1, "batches of 100", ["3.00", "-", "-", "1.00"]);
        says(2, "batches of 100", ["1.80", "-", "-", "1.00"]);
        // A hundred operations of 4 µs each, beside a hundred of etcd's, and beside single writes of 8 µs.
        says(3, "100 operations", ["2.00", "-", "-", "1.00"]);
        says(4, "100 operations", ["2.00", "-", "-", "0.50"]);
    }

    #[test]
    fn what_is_not_known_of_every_run_is_not_claimed() {
        assert_eq!(middle(&[run(1.0, Some(2.0)), run(1.0, None)], |run| run.cpu_us), None);
    }
}
