//! A report as one page for a browser: nothing is loaded from elsewhere, and nothing in it runs.

use std::fmt::Write as _;

use super::fault::Kind;
use super::history::{Answer, Micros};
use super::picture::{self, Bar, Picture};
use super::report::{Report, nodes};
use super::violation::seconds;

const STYLE: &str = "
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
         color: #1c2733; background: #fff }
  h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin-top: 2rem }
  .well, .ill { padding: .6rem 1rem; border-radius: .4rem; margin: 1rem 0 }
  .well { background: #e3f4e6 } .ill { background: #fbe1df }
  table { border-collapse: collapse } td, th { text-align: left; padding: .15rem 1.2rem .15rem 0; vertical-align: top }
  td.number { text-align: right; font-variant-numeric: tabular-nums }
  svg { width: 100%; height: auto; font: 11px system-ui, sans-serif }
  .key { display: inline-block; width: .8em; height: .8em; border-radius: .15em; margin: 0 .35em 0 1em }
  details { margin-top: 1rem } .columns { display: flex; flex-wrap: wrap; gap: 0 4rem }
  @media (prefers-color-scheme: dark) { body { color: #d8e0e8; background: #161b21 } svg text { fill: #d8e0e8 }
    .well { background: #1d3a24 } .ill { background: #4a2320 } }
";

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = String::new();
    let seed = report.plan.seed;
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Quorate: chaos with seed {seed}</title>\
         <style>{STYLE}</style></head><body>\n<h1>Chaos with seed {seed}</h1>\n<p>{} nodes, {} clients, {} s.</p>\n",
        report.nodes,
        report.plan.clients,
        seconds(report.mended)
    );
    verdict(report, &mut out);
    out.push_str("<h2>What happened when</h2>\n");
    out.push_str(&picture::svg(&drawn(report)));
    legend(&mut out);
    out.push_str("<div class=\"columns\">\n");
    operations(report, &mut out);
    faults(report, &mut out);
    out.push_str("</div>\n");
    every_fault(report, &mut out);
    out.push_str("</body></html>\n");
    out
}

fn verdict(report: &Report, out: &mut String) {
    if report.violations.is_empty() {
        out.push_str(
            "<p class=\"well\">Nothing acknowledged was lost, doubled or moved; every read was fresh; all nodes \
             are equal.</p>\n",
        );
        return;
    }
    let _ = write!(out, "<div class=\"ill\"><b>{} violations</b><ul>", report.violations.len());
    for violation in &report.violations {
        let _ = write!(out, "<li>{}</li>", escaped(&violation.to_string()));
    }
    out.push_str("</ul></div>\n");
}

/// What the picture shows.
fn drawn(report: &Report) -> Picture {
    let end = report.agreed.unwrap_or(report.mended).max(1);
    let mut bars = Vec::new();
    for span in &report.spans {
        for node in &span.fault.nodes {
            bars.push(Bar {
                lane: (*node).into(),
                begin: span.begin,
                end: span.end,
                colour: colour(span.fault.kind),
                faint: span.refused.is_some() || span.fault.kind == Kind::Partition,
                title: told(span),
            });
        }
    }
    let (stall, acknowledged) =
        (report.stall(), |answer: &Answer| matches!(answer, Answer::Ordered { .. }));
    let operations = &report.history.operations;
    Picture {
        end,
        lanes: (0..report.nodes).map(|node| format!("node{node}")).collect(),
        bars,
        leaders: reigns(report),
        moments: operations.iter().filter(|it| acknowledged(&it.answer)).map(|it| it.end).collect(),
        shaded: (stall.begin, stall.end),
        mended: report.mended,
    }
}

/// Who led when, as the nodes have seen it: only who is seen in the highest term so far counts.
fn reigns(report: &Report) -> Vec<(usize, Micros, Micros)> {
    let mut seen: Vec<_> = report.history.sightings.iter().collect();
    seen.sort_by_key(|sighting| sighting.at);
    let (mut highest, mut reigns) = (None, Vec::<(usize, Micros, Micros)>::new());
    for sighting in seen {
        let Some(leader) = sighting.leader.and_then(|leader| usize::try_from(leader.get()).ok())
        else {
            continue;
        };
        match reigns.last_mut() {
            Some(last) if highest == Some(sighting.term) => last.2 = sighting.at,
            Some(_) if highest > Some(sighting.term) => {}
            Some(_) | None => {
                highest = Some(sighting.term);
                reigns.push((leader, sighting.at, sighting.at));
            }
        }
    }
    reigns
}

const fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Kill => "#c0392b",
        Kind::Blackout => "#5b1a13",
        Kind::Pause => "#7f8c8d",
        Kind::Partition => "#8e44ad",
        Kind::Isolate => "#b97ad1",
        Kind::SlowNet => "#e8b93a",
        Kind::Loss => "#c99a12",
        Kind::SlowDisk => "#d9a066",
        Kind::WriteError => "#d35400",
        Kind::SyncError => "#e67e22",
        Kind::DiskFull => "#a04000",
        Kind::TornWrite => "#f0543c",
        Kind::Transfer => "#2471a3",
    }
}

fn legend(out: &mut String) {
    out.push_str("<p>");
    for kind in Kind::ALL {
        let _ = write!(
            out,
            "<span class=\"key\" style=\"background:{}\"></span>{}",
            colour(kind),
            kind.name()
        );
    }
    let _ = writeln!(
        out,
        "<span class=\"key\" style=\"background:{}\"></span>leads</p>\n<p>Below: acknowledged transactions per \
         second; shaded: the longest time without one; the line: all is mended.</p>",
        picture::LEADS
    );
}

fn rows(title: &str, rows: &[(&str, String)], out: &mut String) {
    let _ = write!(out, "<div><h2>{title}</h2><table>");
    for (name, value) in rows {
        let _ = write!(out, "<tr><td>{name}</td><td class=\"number\">{}</td></tr>", escaped(value));
    }
    out.push_str("</table></div>\n");
}

fn operations(report: &Report, out: &mut String) {
    let (tally, stall) = (report.tally(), report.stall());
    let ((low, high), (first, last, leaders)) = (report.heights(), report.terms());
    let agreed = report.agreed.map_or("never".to_owned(), |at| {
        format!("after {} s", seconds(at.saturating_sub(report.mended)))
    });
    let stalled =
        format!("{} s, from {} s on", seconds(stall.end - stall.begin), seconds(stall.begin));
    let all = [
        ("operations", report.history.operations.len().to_string()),
        ("writes that took effect", tally.applied.to_string()),
        ("writes that failed as they should", tally.failed.to_string()),
        ("writes in doubt", tally.unknown.to_string()),
        ("writes that came to nothing", tally.nothing.to_string()),
        ("reads answered", tally.read.to_string()),
        ("reads not answered", tally.unread.to_string()),
        ("height", format!("{low} to {high}")),
        ("term", format!("{first} to {last}, {leaders} leaders")),
        ("longest time without an acknowledgement", stalled),
        ("all nodes equal once all was mended", agreed),
    ];
    rows("What the chain did", &all, out);
}

fn faults(report: &Report, out: &mut String) {
    let count = |kind: &Kind| (kind.name(), report.count(*kind).to_string());
    let mut all = vec![("all", report.effective().to_string())];
    all.extend(Kind::ALL.iter().map(count));
    rows("What was done to the nodes", &all, out);
}

fn every_fault(report: &Report, out: &mut String) {
    let mut spans: Vec<_> = report.spans.iter().collect();
    spans.sort_by_key(|span| span.begin);
    out.push_str("<details><summary>Each of them</summary><ol>\n");
    for span in spans {
        let _ = writeln!(out, "<li>{}</li>", escaped(&told(span)));
    }
    out.push_str("</ol></details>\n");
}

/// What was done, in a line.
fn told(span: &super::hands::Span) -> String {
    let fault = &span.fault;
    let how = match fault.kind {
        Kind::SlowNet | Kind::SlowDisk => format!(" by {} ms", fault.delay.as_millis()),
        Kind::Loss => format!(" of {} in 1,000", fault.lost),
        Kind::Kill | Kind::Blackout | Kind::Pause | Kind::Partition | Kind::Isolate => {
            String::new()
        }
        Kind::WriteError | Kind::SyncError | Kind::DiskFull | Kind::TornWrite => String::new(),
        Kind::Transfer => String::new(),
    };
    let refused =
        span.refused.as_ref().map_or(String::new(), |why| format!("; came to nothing: {why}"));
    format!(
        "{} to {} s: {}{how}, {}{refused}",
        seconds(span.begin),
        seconds(span.end),
        fault.kind.name(),
        nodes(span)
    )
}

/// Text that a browser takes for nothing else.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use quorate_chain::ids::{BlockHash, Height, TxId};

    use super::*;
    use crate::chaos::Plan;
    use crate::chaos::fault::Fault;
    use crate::chaos::hands::Span;
    use crate::chaos::history::{History, Operation, Place, What};
    use crate::chaos::violation::Violation;

    fn acknowledged(end: Micros) -> Operation {
        let place = Place { height: Height::new(1), index: 0 };
        Operation {
            client: 0,
            begin: 0,
            end,
            what: What::Write { tx: TxId::ZERO, again: false },
            answer: Answer::Ordered { place, hash: BlockHash::ZERO, applied: true },
        }
    }

    fn report(violations: Vec<Violation>) -> Report {
        let fault = |kind| Fault {
            kind,
            nodes: BTreeSet::from([1, 2]),
            delay: Duration::from_millis(7),
            lost: 9,
            hold: Duration::ZERO,
        };
        let span = |kind, begin, end, refused: Option<&str>| Span {
            fault: fault(kind),
            begin,
            end,
            refused: refused.map(str::to_owned),
        };
        let spans = vec![
            span(Kind::SlowNet, 1_500_000, 3_000_000, None),
            span(Kind::Kill, 7_000_000, 8_000_000, None),
            span(Kind::Transfer, 9_000_000, 9_000_000, Some("<no>")),
        ];
        let operations = [1_000_000, 2_000_000, 6_000_000, 8_000_000].map(acknowledged).to_vec();
        Report {
            plan: Plan { time: Duration::from_secs(9), seed: 5, clients: 3 },
            nodes: 3,
            spans,
            history: History { operations, ..History::default() },
            violations,
            mended: 9_000_000,
            agreed: Some(9_250_000),
        }
    }

    #[test]
    fn the_longest_time_without_an_acknowledgement_is_told_with_what_was_done_in_it() {
        let text = report(Vec::new()).text();
        let line = "without an acknowledgement for 4.000 s at most, from 2.000 s on: slow net 1,2";
        assert!(text.lines().any(|told| told == line), "{text}");
        assert!(text.contains("all nodes equal 0.250 s after all was mended"));
        assert!(text.contains("faults      2\n") && text.contains("0, 1 more came to nothing"));
    }

    #[test]
    fn a_page_shows_what_was_wrong_and_takes_no_text_for_more() {
        let well = page(&report(Vec::new()));
        assert!(
            well.contains("class=\"well\"")
                && well.contains("&lt;no&gt;")
                && !well.contains("<no>")
        );
        let ill = page(&report(vec![Violation::NoProgress("a < b".to_owned())]));
        assert!(ill.contains("class=\"ill\"") && ill.contains("no progress: a &lt; b"));
        // Of the nodes that were slow and killed, each has both in its lane, and nobody has led.
        assert_eq!(well.matches("slow net, 1,2</title>").count(), 0);
        assert_eq!(well.matches("slow net by 7 ms, 1,2</title>").count(), 2);
        assert_eq!(well.matches("<title>leads</title>").count(), 0);
    }
}
