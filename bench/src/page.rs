//! What was measured as one page for a browser: nothing is loaded from elsewhere, and nothing in it runs.

use std::fmt::Write as _;
use std::path::Path;

use quorate_node::exit::{Exit, Failure};

use crate::plot::{Line, svg};
use crate::report::{Figures, Report, Row, spread};
use crate::work::{Kind, System};

const STYLE: &str = "
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
         color: #1c2733; background: #fff }
  h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 0 }
  .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1rem 2rem }
  svg { width: 100%; height: auto; font: 11px system-ui, sans-serif } .grid { stroke: #8899aa; stroke-opacity: .25 }
  .key { display: inline-block; width: .8em; height: .8em; border-radius: .15em; margin: 0 .35em 0 1em }
  pre { overflow-x: auto; font: 12px/1.5 ui-monospace, monospace }
  @media (prefers-color-scheme: dark) { body { color: #d8e0e8; background: #161b21 } svg text { fill: #d8e0e8 } }
";

const KINDS: [Kind; 6] =
    [Kind::Writes, Kind::Hot, Kind::Batches, Kind::Operations, Kind::Reads, Kind::Local];
const SYSTEMS: [System; 3] = [System::Quorate, System::Etcd, System::Nats];

/// The colour of a system's lines.
pub(crate) const fn colour(system: System) -> &'static str {
    match system {
        System::Quorate => "#2a6fdb",
        System::Etcd => "#d9822b",
        System::Nats => "#3a9d5d",
    }
}

/// What every page begins with, to the end of its heading.
pub(crate) fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Quorate: {}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n",
        title.to_lowercase()
    )
}

/// What every page ends with: all figures as text.
pub(crate) fn foot(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<h2>All figures</h2>\n<pre>{text}</pre>\n</body></html>\n")
}

/// Writes a page to a file.
pub(crate) fn write(path: &Path, page: &str) -> Result<(), Failure> {
    let storage = |error| Failure::new(Exit::Storage, format!("{}: {error}", path.display()));
    std::fs::write(path, page).map_err(storage)
}

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = head("How fast");
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
            colour(system),
            system.name()
        );
    }
    out.push_str("</p>\n");
    for kind in KINDS {
        let rate = lines(report, kind, |run| run.per_second);
        if rate.is_empty() {
            continue;
        }
        let _ = write!(out, "<h2>{}</h2>\n<div class=\"plots\">\n", kind.name());
        out.push_str(&svg(
            &rate,
            "clients",
            if kind.writes() { "transactions/s" } else { "reads/s" },
        ));
        out.push_str(&svg(&lines(report, kind, |run| run.p50_ms), "clients", "p50, ms"));
        out.push_str(&svg(&lines(report, kind, |run| run.p99_ms), "clients", "p99, ms"));
        out.push_str("</div>\n");
    }
    out.push_str(&foot(&report.text()));
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
        Line { name: system.name().to_owned(), colour: colour(system), points }
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
        let page = page(&report);
        assert!(page.starts_with("<!doctype html>") && page.matches("<svg").count() == 3);
        assert!(!page.contains("<script") && !page.contains("nats</"), "{page}");
    }
}
