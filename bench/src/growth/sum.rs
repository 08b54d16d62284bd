//! How the cost has grown, for people, for programs and for a browser.

use std::fmt::Write as _;

use serde::Serialize;

use crate::page::{self, Section};
use crate::plot::{Line, svg};
use crate::report::Figures;
use crate::work::System;

/// By how much the cost of a transaction may grow over the chain.
const GOAL: f64 = 1.5;
const MIB: f64 = 1_048_576.0;
/// What some columns are.
const LEGEND: &str =
    "end, local, start: SIGTERM to the end; a start to a local read, and to a linearizable one\n";

/// A chain of some length, or with some keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Mark {
    /// How many transactions or keys were asked for.
    pub(super) at: u64,
    /// How many transactions there were before it was measured.
    pub(super) transactions: u64,
    /// Batches of a hundred by 64 clients.
    pub(super) figures: Figures,
    /// How many transactions there were afterwards.
    pub(super) held: u64,
    /// Bytes of all files then, of all nodes together.
    pub(super) disk_bytes: u64,
    /// How long nodes took to end, in seconds.
    pub(super) ended_s: f64,
    /// How long it took from their start until each had answered a local read.
    pub(super) local_s: f64,
    /// How long it took from their start until each had answered a linearizable read.
    pub(super) started_s: f64,
}

/// A group of some size.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Size {
    /// How many validators it has.
    pub(super) validators: u16,
    /// Batches of a hundred by 64 clients.
    pub(super) batches: Figures,
    /// Single writes by 64 clients.
    pub(super) writes: Figures,
    /// Single writes by one.
    pub(super) alone: Figures,
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    /// How many validators the chain has.
    pub(super) validators: u16,
    /// How many keys it is about, and groups of each size.
    pub(super) keys: u64,
    /// Bytes of each value.
    pub(super) value: u32,
    /// How long each was measured.
    pub(super) seconds: u64,
    /// By the length of the chain.
    pub(super) chain: Vec<Mark>,
    /// By the number of keys.
    pub(super) spread: Vec<Mark>,
    /// By the number of validators.
    pub(super) groups: Vec<Size>,
}

/// What a transaction costs at the last mark, as a multiple of the first.
fn ratio(marks: &[Mark]) -> Option<f64> {
    let [first, .., last] = marks else { return None };
    let (first, last) = (first.figures.cpu_us?, last.figures.cpu_us?);
    (first > 0.0).then(|| last / first)
}

fn validators(count: u16) -> String {
    format!("{count} validator{}", if count == 1 { "" } else { "s" })
}

fn known(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
}

/// A table of marks.
fn table(marks: &[Mark], title: &str) -> String {
    let mut out = format!(
        "{title:<14} {:>11} {:>9} {:>8} {:>9} {:>8} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8}\n",
        "held",
        "a second",
        "CPU µs",
        "written B",
        "MiB",
        "p50 ms",
        "p99 ms",
        "disk MiB",
        "end s",
        "local s",
        "start s"
    );
    for mark in marks {
        let Figures { per_second, cpu_us, written, resident_mib, p50_ms, p99_ms, .. } =
            &mark.figures;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:<14} {:>11} {per_second:>9.0} {:>8} {:>9} {:>8} {p50_ms:>9.2} {p99_ms:>9.2} {:>9.0} {:>8.2} {:>8.2} {:>8.2}",
            mark.at,
            mark.transactions,
            known(*cpu_us, 1),
            known(*written, 0),
            known(*resident_mib, 0),
            mark.disk_bytes as f64 / MIB,
            mark.ended_s,
            mark.local_s,
            mark.started_s,
        );
    }
    out
}

/// A table of sizes.
fn sizes(groups: &[Size]) -> String {
    let mut out = format!(
        "{:<14} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n{:<14} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
        "",
        "batches",
        "",
        "",
        "",
        "writes",
        "",
        "",
        "1 client",
        "",
        "validators",
        "a second",
        "CPU µs",
        "p50 ms",
        "p99 ms",
        "a second",
        "p50 ms",
        "p99 ms",
        "p50 ms",
        "p99 ms"
    );
    for Size { validators, batches, writes, alone } in groups {
        let _ = writeln!(
            out,
            "{validators:<14} {:>9.0} {:>8} {:>9.2} {:>9.2} {:>9.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
            batches.per_second,
            known(batches.cpu_us, 1),
            batches.p50_ms,
            batches.p99_ms,
            writes.per_second,
            writes.p50_ms,
            writes.p99_ms,
            alone.p50_ms,
            alone.p99_ms,
        );
    }
    out
}

impl Sum {
    /// It as tables.
    pub(crate) fn text(&self) -> String {
        let mut out = format!(
            "batches of 100 by 64 clients at random keys, values of {} bytes, {} s each\n",
            self.value, self.seconds
        );
        out.push_str(LEGEND);
        for part in [self.chain_text(), self.spread_text(), self.groups_text()] {
            if !part.is_empty() {
                out.extend(["\n", &part]);
            }
        }
        out
    }

    fn chain_text(&self) -> String {
        if self.chain.is_empty() {
            return String::new();
        }
        let mut out = format!(
            "By the chain (held is what it held before): {} and {} keys\n",
            validators(self.validators),
            self.keys
        );
        out.push_str(&table(&self.chain, "transactions"));
        if let Some(ratio) = ratio(&self.chain) {
            let word = if ratio <= GOAL { "met" } else { "missed" };
            let _ = writeln!(
                out,
                "CPU of a transaction, the last to the first: {ratio:.2} (at most {GOAL} is {word})"
            );
        }
        out
    }

    fn spread_text(&self) -> String {
        if self.spread.is_empty() {
            return String::new();
        }
        let mut out = "By the keys (held are transactions): 1 validator\n".to_owned();
        out.push_str(&table(&self.spread, "keys"));
        if let Some(ratio) = ratio(&self.spread) {
            let _ = writeln!(out, "CPU of a transaction, the last to the first: {ratio:.2}");
        }
        out
    }

    fn groups_text(&self) -> String {
        if self.groups.is_empty() {
            return String::new();
        }
        let head = format!("By the validators, all on this machine: {} keys\n", self.keys);
        head + &sizes(&self.groups)
    }

    /// It as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "value_bytes": self.value, "seconds": self.seconds,
            "validators": self.validators, "keys": self.keys,
            "chain": self.chain, "chain_cpu_ratio": ratio(&self.chain), "chain_cpu_goal": GOAL,
            "spread": self.spread, "spread_cpu_ratio": ratio(&self.spread),
            "groups": self.groups,
        })
    }

    /// The sections of a page about what was measured.
    pub(crate) fn sections(&self) -> Vec<(Section, String)> {
        let marks = |across, marks: &[Mark], at: fn(&Mark) -> u64| {
            plots(across, marks, |mark| at(mark) as f64, |mark| &mark.figures)
        };
        let sizes = |of: fn(&Size) -> &Figures| {
            plots("validators", &self.groups, |size| f64::from(size.validators), of)
        };
        let batches = "Batches of 100 transactions by 64 clients.";
        let groups = [
            format!("<h3>{batches}</h3>\n{}", sizes(|it| &it.batches)),
            format!("<h3>Single writes by 64 clients.</h3>\n{}", sizes(|it| &it.writes)),
        ];
        let chain = marks("transactions", &self.chain, |mark| mark.transactions);
        let keys = marks("keys", &self.spread, |mark| mark.at);
        let all = [
            (Section::Chain, "By the chain", batches, chain, self.chain_text()),
            (Section::Keys, "By the keys", batches, keys, self.spread_text()),
            (Section::Groups, "By the validators", "", groups.concat(), self.groups_text()),
        ];
        let measured = all.into_iter().filter(|(.., text)| !text.is_empty());
        let section = |(section, title, what, plots, text): (_, &str, &str, String, String)| {
            let about = format!(
                "<p>{what} Values of {} bytes, {} s each. CPU is that of all nodes together.</p>\n",
                self.value, self.seconds
            );
            let legend = if section == Section::Groups { "" } else { LEGEND };
            let figures = page::figures(&[&text, legend].concat());
            (section, [page::heading(title), about, plots, figures].concat())
        };
        measured.map(section).collect()
    }
}

/// Three plots side by side.
fn plots<T>(
    across: &str,
    rows: &[T],
    at: impl Fn(&T) -> f64,
    figures: impl Fn(&T) -> &Figures,
) -> String {
    let line = |of: fn(&Figures) -> Option<f64>| {
        let point = |row: &T| {
            let up = of(figures(row))?;
            Some((at(row), up, (up, up)))
        };
        let (name, colour) = (System::Quorate.name().to_owned(), page::colour(System::Quorate));
        [Line { name, colour, points: rows.iter().filter_map(point).collect() }]
    };
    let rate = svg(&line(|it| Some(it.per_second)), across, "transactions/s");
    let cpu = svg(&line(|it| it.cpu_us), across, "CPU of a transaction, µs");
    let p99 = svg(&line(|it| Some(it.p99_ms)), across, "p99, ms");
    format!("<div class=\"plots\">\n{rate}{cpu}{p99}</div>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at: u64, cpu_us: Option<f64>) -> Mark {
        let figures = Figures { per_second: 9_000.0, cpu_us, ..Figures::default() };
        Mark { at, transactions: at + 100, figures, started_s: 0.25, ..Mark::default() }
    }

    #[test]
    fn the_last_mark_is_compared_with_the_first() {
        let three = [mark(0, Some(20.0)), mark(5, Some(90.0)), mark(10, Some(25.0))];
        assert_eq!(ratio(&three), Some(1.25));
        assert_eq!(ratio(&three[..1]), None);
        assert_eq!(ratio(&[mark(0, None), mark(1, Some(1.0))]), None);
        assert_eq!(ratio(&[mark(0, Some(0.0)), mark(1, Some(1.0))]), None);
    }

    #[test]
    fn tables_say_what_was_measured_and_whether_the_goal_is_met() {
        let chain = vec![mark(0, Some(20.0)), mark(1_000_000, Some(40.0))];
        let sum = Sum { validators: 1, keys: 10, chain, ..Sum::default() };
        let text = sum.text();
        assert!(text.contains("the last to the first: 2.00 (at most 1.5 is missed)"), "{text}");
        let line = text.lines().find(|line| line.starts_with("1000000 ")).unwrap_or_default();
        assert!(
            line.contains(" 1000100 ") && line.contains(" 9000 ") && line.contains(" 40.0 "),
            "{line}"
        );
        assert!(line.ends_with(" 0.25") && !text.contains("By the keys"), "{text}");
        assert_eq!(sum.json()["chain_cpu_ratio"], 2.0);
    }

    #[test]
    fn what_was_measured_has_a_section_with_its_plots() {
        let groups = vec![Size { validators: 3, ..Size::default() }];
        let sum = Sum { spread: vec![mark(10, Some(1.0))], groups, ..Sum::default() };
        let sections = sum.sections();
        let plots: Vec<_> = sections
            .iter()
            .map(|(section, text)| (*section, text.matches("<svg").count()))
            .collect();
        assert_eq!(plots, [(Section::Keys, 3), (Section::Groups, 6)]);
    }
}
