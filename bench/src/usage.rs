//! What the nodes have used up so far: what the kernel says of their processes, and what they say themselves.

use std::fs;
use std::time::Duration;

use quorate_client::Client;

/// What a node has used up, or all of them together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Time of a processor, of each process.
    pub(crate) cpu: Vec<Duration>,
    /// Bytes that went to a disk.
    pub(crate) written: u64,
    /// Syncs of the log, if they are counted.
    pub(crate) fsyncs: Option<u64>,
    /// Bytes of memory that are resident now, of the node that has most.
    pub(crate) resident: u64,
}

impl Usage {
    /// With what another node has used up.
    fn and(mut self, other: Self) -> Self {
        self.cpu.extend(other.cpu);
        Self {
            cpu: self.cpu,
            written: self.written + other.written,
            fsyncs: self.fsyncs.zip(other.fsyncs).map(|(one, other)| one + other),
            resident: self.resident.max(other.resident),
        }
    }

    /// What was used up since then. Memory is as it is.
    pub(crate) fn since(self, before: Self) -> Self {
        let cpu = self.cpu.iter().zip(before.cpu);
        Self {
            cpu: cpu.map(|(now, then)| now.saturating_sub(then)).collect(),
            written: self.written.saturating_sub(before.written),
            fsyncs: self.fsyncs.zip(before.fsyncs).map(|(now, then)| now.saturating_sub(then)),
            resident: self.resident,
        }
    }
}

/// What all these processes have used up; `None` if the kernel does not say it here.
pub(crate) fn of(nodes: &[(u32, Option<Client>)]) -> Option<Usage> {
    let none = Usage { fsyncs: Some(0), ..Usage::default() };
    nodes
        .iter()
        .map(|(pid, client)| of_one(*pid, client.as_ref()))
        .try_fold(none, |sum, one| Some(sum.and(one?)))
}

/// Of one process; a node of ours says more than the kernel.
fn of_one(pid: u32, client: Option<&Client>) -> Option<Usage> {
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let cpu = ticks(&file("stat")?)?;
    let hertz = rustix::param::clock_ticks_per_second();
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let resident: u64 = file("statm")?.split(' ').nth(1)?.parse().ok()?;
    let io = file("io")?;
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()?;
    let metrics = client.and_then(|client| client.body("/metrics").ok()).unwrap_or_default();
    let fsyncs =
        metrics.lines().find_map(|line| line.strip_prefix("quorate_log_write_seconds_count "));
    Some(Usage {
        cpu: vec![Duration::from_secs_f64(cpu as f64 / hertz as f64)],
        written,
        fsyncs: fsyncs.and_then(|count| count.trim().parse().ok()),
        resident: resident * page,
    })
}

/// Ticks of the clock that a process has run for, in the kernel and outside. Its name, in brackets, may be anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<_> = fields.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(number(11)? + number(12)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_whatever_the_process_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 40 0 0 20 0 9 0 100 1 2";
        assert_eq!(ticks(stat), Some(290));
        assert_eq!(ticks("7 (a) S 1"), None);
    }
}
