//! What came of a run, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quorate_chain::ids::{Height, Term};
use quorate_node::exit::{Exit, Failure};
use serde_json::{Value, json};

use super::Plan;
use super::fault::Kind;
use super::hands::Span;
use super::history::{Answer, History, Micros, Operation, What};
use super::violation::{Violation, seconds};

/// Violations that are told one by one; of more there is only the number.
const TOLD: usize = 20;

/// All that is to be said of a run.
#[derive(Debug)]
pub(crate) struct Report {
    /// How it was meant to be.
    pub(crate) plan: Plan,
    /// How many nodes there were.
    pub(crate) nodes: u16,
    /// What was done to them.
    pub(crate) spans: Vec<Span>,
    /// What was asked and answered, and what the nodes hold.
    pub(crate) history: History,
    /// What was wrong.
    pub(crate) violations: Vec<Violation>,
    /// When everything was undone.
    pub(crate) mended: Micros,
    /// When the nodes had agreed after that, if they had.
    pub(crate) agreed: Option<Micros>,
}

/// A number of operations by what came of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) applied: usize,
    pub(crate) failed: usize,
    pub(crate) nothing: usize,
    pub(crate) unknown: usize,
    pub(crate) read: usize,
    pub(crate) unread: usize,
}

/// The longest time in which nothing was acknowledged that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) begin: Micros,
    pub(crate) end: Micros,
}

impl Report {
    /// How many operations came to what.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for operation in &self.history.operations {
            let counted = match (&operation.what, &operation.answer) {
                (_, Answer::Ordered { applied: true, .. }) => &mut tally.applied,
                (_, Answer::Ordered { applied: false, .. }) => &mut tally.failed,
                (_, Answer::Nothing) => &mut tally.nothing,
                (_, Answer::Value { .. }) => &mut tally.read,
                (What::Write { .. }, Answer::Unknown | Answer::Nonsense(_)) => &mut tally.unknown,
                (What::Read { .. }, Answer::Unknown | Answer::Nonsense(_)) => &mut tally.unread,
            };
            *counted += 1;
        }
        tally
    }

    /// The longest time without an acknowledged write.
    pub(crate) fn stall(&self) -> Stall {
        let acknowledged = self
            .history
            .operations
            .iter()
            .filter(|operation| matches!(operation.answer, Answer::Ordered { .. }));
        let mut ends: Vec<_> = acknowledged.map(|operation| operation.end).collect();
        ends.extend([0, self.mended]);
        ends.sort_unstable();
        let gaps = ends.windows(2).map(|pair| Stall { begin: pair[0], end: pair[1] });
        gaps.max_by_key(|gap| gap.end - gap.begin).unwrap_or_default()
    }

    /// What was being done to the nodes at some time in a stall.
    fn meanwhile(&self, stall: &Stall) -> Vec<String> {
        let spans =
            self.spans.iter().filter(|span| span.begin < stall.end && span.end > stall.begin);
        spans.map(|span| format!("{} {}", span.fault.kind.name(), nodes(span))).collect()
    }

    /// How often something of this kind was done, and came to something.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        let done = |span: &&Span| span.fault.kind == kind && span.refused.is_none();
        self.spans.iter().filter(done).count()
    }

    /// To which nodes something of this kind was done, and how often.
    fn whom(&self, kind: Kind) -> String {
        let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
        let done = self.spans.iter().filter(|it| it.fault.kind == kind && it.refused.is_none());
        for node in done.flat_map(|span| &span.fault.nodes) {
            *counts.entry(*node).or_default() += 1;
        }
        let counts: Vec<_> =
            counts.iter().map(|(node, count)| format!("node{node} {count}")).collect();
        if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) }
    }

    /// How many things were done and came to something.
    pub(crate) fn effective(&self) -> usize {
        Kind::ALL.iter().map(|kind| self.count(*kind)).sum()
    }

    /// The lowest and the highest block of the run.
    pub(crate) fn heights(&self) -> (Height, Height) {
        let chain = &self.history.chain;
        let height =
            |block: Option<&super::history::Block>| block.map_or(Height::ZERO, |it| it.height);
        (height(chain.first()), height(chain.last()))
    }

    /// Its first and its last term, and how many of them have blocks.
    pub(crate) fn terms(&self) -> (Term, Term, usize) {
        let mut terms: Vec<_> = self.history.chain.iter().map(|block| block.term).collect();
        terms.dedup();
        let [first, last] = [terms.first(), terms.last()].map(|term| *term.unwrap_or(&Term::ZERO));
        (first, last, terms.len())
    }

    /// It in sentences.
    pub(crate) fn text(&self) -> String {
        let (mut out, tally, stall) = (String::new(), self.tally(), self.stall());
        let mut line = |text: String| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{text}");
        };
        let Plan { seed, clients, .. } = self.plan;
        line(format!(
            "chaos with seed {seed}: {} nodes, {clients} clients, {} s",
            self.nodes,
            seconds(self.mended)
        ));
        line(format!("faults      {}", self.effective()));
        for kind in Kind::ALL {
            let (done, tried) = (self.count(kind), |span: &&Span| span.fault.kind == kind);
            let nothing = self.spans.iter().filter(tried).count() - done;
            let nothing = match nothing {
                0 => String::new(),
                count => format!(", {count} more came to nothing"),
            };
            line(format!("  {:<11} {done}{}{nothing}", kind.name(), self.whom(kind)));
        }
        line(format!("operations  {}", self.history.operations.len()));
        line(format!(
            "  writes      {} applied, {} failed as they should, {} in doubt, {} that came to nothing",
            tally.applied, tally.failed, tally.unknown, tally.nothing
        ));
        line(format!("  reads       {} answered, {} not", tally.read, tally.unread));
        let ((low, high), (first, last, terms)) = (self.heights(), self.terms());
        line(format!(
            "chain       height {low} to {high}, term {first} to {last}, {terms} leaders"
        ));
        line(format!(
            "without an acknowledgement for {} s at most, from {} s on{}",
            seconds(stall.end - stall.begin),
            seconds(stall.begin),
            self.during(&stall)
        ));
        line(match self.agreed {
            Some(at) => {
                format!(
                    "all nodes equal {} s after all was mended",
                    seconds(at.saturating_sub(self.mended))
                )
            }
            None => "the nodes did not agree after all was mended".to_owned(),
        });
        line(self.verdict());
        out
    }

    fn during(&self, stall: &Stall) -> String {
        let meanwhile = self.meanwhile(stall);
        if meanwhile.is_empty() { String::new() } else { format!(": {}", meanwhile.join(", ")) }
    }

    fn verdict(&self) -> String {
        if self.violations.is_empty() {
            return "nothing acknowledged was lost, doubled or moved; every read was fresh; all nodes are equal"
                .to_owned();
        }
        let mut out = format!("{} VIOLATIONS", self.violations.len());
        for violation in self.violations.iter().take(TOLD) {
            let _ = write!(out, "\n  {violation}");
        }
        if self.violations.len() > TOLD {
            let _ = write!(out, "\n  and {} more", self.violations.len() - TOLD);
        }
        out
    }

    /// Every operation, a line of JSON each.
    pub(crate) fn operations(&self) -> Result<String, Failure> {
        let line = |operation: &Operation| serde_json::to_string(operation).map(|line| line + "\n");
        let lines: Result<String, _> = self.history.operations.iter().map(line).collect();
        lines.map_err(|error| Failure::new(Exit::Bug, error))
    }

    /// It as JSON.
    pub(crate) fn json(&self) -> Value {
        let (tally, stall) = (self.tally(), self.stall());
        let ((low, high), (first, last, terms)) = (self.heights(), self.terms());
        let kinds = Kind::ALL.iter().map(|kind| (kind.name().replace(' ', "_"), self.count(*kind)));
        let kinds: BTreeMap<_, _> = kinds.collect();
        let violations: Vec<_> = self.violations.iter().map(ToString::to_string).collect();
        let span = |span: &Span| {
            json!({
                "kind": span.fault.kind, "nodes": span.fault.nodes, "begin_ms": span.begin / 1_000,
                "end_ms": span.end / 1_000, "refused": span.refused,
            })
        };
        let done: Vec<_> = self.spans.iter().map(span).collect();
        json!({
            "seed": self.plan.seed, "nodes": self.nodes, "clients": self.plan.clients,
            "duration_ms": self.mended / 1_000, "faults": self.effective(), "faults_by_kind": kinds,
            "operations": self.history.operations.len(),
            "writes": {"applied": tally.applied, "failed": tally.failed, "unknown": tally.unknown, "nothing": tally.nothing},
            "reads": {"answered": tally.read, "unanswered": tally.unread},
            "heights": [low, high], "terms": [first, last], "leaders": terms,
            "longest_stall_ms": (stall.end - stall.begin) / 1_000, "longest_stall_at_ms": stall.begin / 1_000,
            "agreed_after_ms": self.agreed.map(|at| at.saturating_sub(self.mended) / 1_000),
            "done": done, "violations": violations,
        })
    }
}

/// The nodes that something was done to, as people read them.
pub(crate) fn nodes(span: &Span) -> String {
    let nodes: Vec<_> = span.fault.nodes.iter().map(ToString::to_string).collect();
    nodes.join(",")
}
