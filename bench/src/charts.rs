//! What was measured of each kind of work, as the first section of the page.

use std::fmt::Write as _;

use crate::page;
use crate::plot::{Line, svg};
use crate::report::{Figures, Report, Row, spread};
use crate::work::{Kind, System};

const KINDS: [Kind; 6] =
    [Kind::Writes, Kind::Hot, Kind::Batches, Kind::Operations, Kind::Reads, Kind::Local];
const SYSTEMS: [System; 3] = [System::Quorate, System::Etcd, System::Nats];

/// The section.
pub(crate) fn section(report: &Report) -> String {
    let mut out = page::heading("How fast");
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<p>{} nodes, values of {} bytes, {} keys. Each point is \
         the middle of {} runs; the line through it reaches from the least to the most.",
        report.nodes,
        report.value,
        report.keys,
        report.rows.iter().map(|row| row.runs.len()).max().unwrap_or(0)
    );
    for system in SYSTEMS.into_iter().filter(|it| of(report, *it).next().is_some()) {
        let _ = write!(
            out,
            "<span class=\"key\" style=\"background:{}\"></span>{}",
            page::colour(system),
            system.name()
        );
    }
    out.push_str("</p>\n");
    for kind in KINDS {
        let rate = lines(report, kind, |run| run.per_second);
        if rate.is_empty() {
            continue;
        }
        let _ = write!(out, "<h3>{}</h3>\n<div class=\"plots\">\n", kind.name());
        out.push_str(&svg(
            &rate,
            "clients",
            if kind.writes() { "transactions/s" } else { "reads/s" },
        ));
        out.push_str(&svg(&lines(report, kind, |run| run.p50_ms), "clients", "p50, ms"));
        out.push_str(&svg(&lines(report, kind, |run| run.p99_ms), "clients", "p99, ms"));
        out.push_str("</div>\n");
    }
    out.push_str(&page::figures(&report.text()));
    out
}

fn of(report: &Report, system: System) -> impl Iterator<Item = &Row> {
    report.rows.iter().filter(move |row| row.system == system)
}

/// A figure of closed loops by the number of clients, a line for each system.
fn lines(report: &Report, kind: Kind, figure: fn(&Figures) -> f64) -> Vec<Line> {
    let line = |system: System| {
        let rows =
            of(report, system).filter(|row| row.case.kind == kind && row.case.rate.is_none());
        let point = |row: &Row| {
            let (least, middle, most) = spread(&row.runs, figure);
            (row.case.clients as f64, middle, (least, most))
        };
        let mut points: Vec<_> = rows.map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { name: system.name().to_owned(), colour: page::colour(system), points }
    };
    SYSTEMS.into_iter().map(line).filter(|line| !line.points.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Case;

    fn row(system: System, clients: u64, per_second: f64) -> Row {
        let case = Case { kind: Kind::Writes, clients, rate: None };
        Row { system, case, runs: vec![Figures { per_second, ..Figures::default() }] }
    }

    #[test]
    fn each_system_has_its_line_and_each_kind_that_was_measured_its_plots() {
        let rows = vec![
            row(System::Quorate, 64, 9_000.0),
            row(System::Quorate, 1, 300.0),
            row(System::Etcd, 1, 900.0),
        ];
        let report =
            Report { nodes: 3, value: 256, keys: 10, heights: (1, 2), signing_us: 15.0, rows };
        let lines = lines(&report, Kind::Writes, |run| run.per_second);
        let points: Vec<Vec<_>> =
            lines.iter().map(|line| line.points.iter().map(|it| it.0).collect()).collect();
        assert_eq!(points, [vec![1.0, 64.0], vec![1.0]]);
        let section = section(&report);
        assert_eq!(section.matches("<svg").count(), 3);
        assert!(!section.contains("<script") && !section.contains("nats</"), "{section}");
    }
}
