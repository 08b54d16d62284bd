//! Time of a processor: what a thread, or all of a process, has run for, however busy the machine is.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// What one of many things has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// Time of a processor, in microseconds.
    pub(crate) cpu_us: f64,
    /// Time from the beginning to the end, in microseconds.
    pub(crate) wall_us: f64,
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// How long this process has run, all threads together.
pub(crate) fn of_process() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Does a task once, and then again and again for at least so long. Each time it does `count` things; what is returned
/// is what one of them has cost on average.
pub(crate) fn each<E>(
    least: Duration,
    count: usize,
    mut task: impl FnMut() -> Result<(), E>,
) -> Result<Cost, E> {
    // What is read for the first time costs more.
    task()?;
    let (cpu, wall) = (read(ClockId::ThreadCPUTime), Instant::now());
    let mut done = 0;
    while done == 0 || wall.elapsed() < least {
        task()?;
        done += count;
    }
    let (cpu, wall) = (read(ClockId::ThreadCPUTime).saturating_sub(cpu), wall.elapsed());
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / done.max(1) as f64;
    Ok(Cost { cpu_us: micros(cpu), wall_us: micros(wall) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_done_at_least_twice_and_its_failure_is_told() {
        let mut times = 0;
        let cost = each(Duration::ZERO, 10, || {
            times += 1;
            Ok::<_, ()>(())
        });
        assert!(times == 2 && cost.unwrap().wall_us >= 0.0);
        assert_eq!(each(Duration::ZERO, 1, || Err("no")), Err("no"));
    }
}
