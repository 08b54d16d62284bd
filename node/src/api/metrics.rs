//! `GET /metrics`: the node in numbers, as Prometheus reads them.
//!
//! An election shows in `quorate_term`, `quorate_leader` and `quorate_leader_changes_total`; a slow disk
//! in `quorate_log_write_seconds`; a peer that lags in `quorate_peer_height` beside `quorate_height`.

use std::fmt::{Display, Write as _};

use quorate_chain::roster::QuorumKind;
use quorate_consensus::raft::Standing;

use super::ledger::{Ledger, Liveness};
use crate::meter::{BOUNDS, Times};

/// A text that grows. Writing to it does not fail.
struct Page(String);

impl Page {
    /// What follows is this.
    fn about(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP quorate_{name} {help}\n# TYPE quorate_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "quorate_{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.about(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let name = format!("{name}_total");
        self.about(&name, "counter", help);
        self.sample(&name, "", value);
    }

    fn times(&mut self, name: &str, help: &str, times: &Times) {
        self.about(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let (below, all) = times.up_to();
        for (bound, count) in BOUNDS.iter().zip(below) {
            let bound = *bound as f64 / 1e6;
            self.sample(&bucket, &format!("{{le=\"{bound}\"}}"), count);
        }
        self.sample(&bucket, "{le=\"+Inf\"}", all);
        self.sample(&format!("{name}_sum"), "", times.seconds());
        self.sample(&format!("{name}_count"), "", all);
    }
}

impl Ledger {
    /// The node in numbers.
    pub(crate) fn metrics(&self) -> String {
        let mut page = Page(String::new());
        page.about("info", "gauge", "What this node is.");
        let (version, node) = (env!("CARGO_PKG_VERSION"), self.facts.id);
        page.sample("info", &format!("{{version=\"{version}\",node_id=\"{node}\"}}"), 1);
        self.standing_in_numbers(&mut page);
        self.peers_in_numbers(&mut page);
        self.counts(&mut page);
        page.0
    }

    fn standing_in_numbers(&self, page: &mut Page) {
        let view = self.view.borrow().clone();
        let (status, current) = (&view.status, view.roster.current());
        page.gauge("term", "The term.", status.term);
        let leader = status.leader.map_or(-1, |leader| i64::from(leader.get()));
        page.gauge("leader", "The node that leads; -1 if none is known.", leader);
        let leads = u8::from(status.standing == Standing::Leader);
        page.gauge("is_leader", "Whether this node leads.", leads);
        page.about("height", "gauge", "Heights of this node.");
        for (kind, height) in [
            ("tip", status.tip.height),
            ("committed", status.committed.height),
            ("applied", status.applied.height),
            ("checkpointed", status.checkpointed),
        ] {
            page.sample("height", &format!("{{kind=\"{kind}\"}}"), height);
        }
        page.gauge("voters", "Validators that vote.", current.voters().count());
        page.gauge("quorum", "How many of them decide.", current.quorum(QuorumKind::Commit));
        page.gauge("reachable", "How many of them are reached.", self.reachable(&view));
        page.gauge("recovering", "Whether it signs nothing.", u8::from(status.recovering));
        page.gauge("mempool_transactions", "Transactions that wait.", status.mempool.transactions);
        page.gauge("mempool_bytes", "Bytes of memory they take.", status.mempool.memory);
        let low = u8::from(status.space > quorate_wal::Space::Ok);
        page.gauge("disk_low", "Whether the disk is nearly full.", low);
        let free = self.subscribers.available_permits();
        page.gauge("subscribers_free", "How many more clients may hear events.", free);
    }

    fn peers_in_numbers(&self, page: &mut Page) {
        let neighbours = self.neighbours();
        let label = |node| format!("{{peer=\"{node}\"}}");
        page.about("peer_alive", "gauge", "Whether another node is there.");
        for other in neighbours.values() {
            let alive = u8::from(other.liveness == Liveness::Alive);
            page.sample("peer_alive", &label(other.node), alive);
        }
        page.about("peer_height", "gauge", "The committed height of another node, by its word.");
        for other in neighbours.values() {
            if let Some(height) = other.committed {
                page.sample("peer_height", &label(other.node), height);
            }
        }
        page.about("peer_silence_seconds", "gauge", "How long ago another node was heard.");
        for other in neighbours.values() {
            if let Some(silence) = other.last_seen {
                page.sample("peer_silence_seconds", &label(other.node), silence.as_secs_f64());
            }
        }
    }

    fn counts(&self, page: &mut Page) {
        let meter = &self.meter;
        let help = "How long a group of records took to be durable.";
        page.times("log_write_seconds", help, &meter.log_writes);
        page.times("apply_seconds", "How long a batch of blocks took.", &meter.applies);
        for (name, help, counter) in [
            ("campaigns", "Campaigns of this node.", &meter.campaigns),
            ("leader_changes", "How often another leader became known.", &meter.leaders),
            ("leader_losses", "How often no leader was known.", &meter.leader_losses),
            ("links_lost", "Connections to other nodes that closed.", &meter.links_lost),
            ("blocks_sealed", "Blocks sealed here.", &meter.sealed),
            ("blocks_applied", "Blocks applied.", &meter.blocks),
            ("not_taken", "Transactions not taken, or dropped.", &meter.not_taken),
        ] {
            page.counter(name, help, counter.get());
        }
        page.about("transactions_total", "counter", "Transactions in applied blocks.");
        for (outcome, counter) in
            [("applied", &meter.applied), ("failed", &meter.failed), ("void", &meter.void)]
        {
            page.sample("transactions_total", &format!("{{outcome=\"{outcome}\"}}"), counter.get());
        }
        let dropped = self.inbox.dropped() + self.pool.dropped();
        page.counter("messages_dropped", "Messages dropped for want of room.", dropped);
    }
}
