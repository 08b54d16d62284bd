//! Processes that belong to the benchmark, and end with it, in a directory that goes with them.
//!
//! They end when the value that stands for them is dropped. SIGINT and SIGTERM drop nothing, so all that there are stand in a
//! list, and a thread that hears these signals takes them away before the process ends:
//!
//! ```text
//! the list ── held until the process is over: nothing new begins
//!   └ each's children ── held as well: none is started, or started again, behind its back
//! ```
//!
//! Left out is SIGHUP, which who starts something with `nohup` does not want to be heard, and SIGKILL, which nobody hears.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use quorate_node::exit::{Exit, Failure};
use quorate_node::stderr;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::group::bug;

/// How long processes may take to end.
const END: Duration = Duration::from_secs(600);
/// How often they are asked whether they have.
const INSTANT: Duration = Duration::from_millis(2);
/// How often it is tried to remove a directory that somebody still writes to, and the pause in between.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// How many lines are repeated that one has said at last.
const LINES: usize = 5;

/// All that would be left behind.
static ALL: Mutex<Vec<Arc<Own>>> = Mutex::new(Vec::new());

/// Whether it was said that directories are in memory.
static WARNED: Once = Once::new();

/// A process, how it is started again, and where it says something.
struct Started {
    child: Child,
    command: Command,
    log: PathBuf,
}

/// Processes and their directory, whoever takes them away.
struct Own {
    started: Mutex<Vec<Started>>,
    directory: PathBuf,
}

/// Processes that end when this is dropped, in a directory that goes with them.
pub(crate) struct Processes(Arc<Own>);

/// What a mutex holds, also after somebody has panicked with it: it is about what has to be taken away.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn missing(program: &OsStr, error: &std::io::Error) -> Failure {
    let sentence = format!("{}: {error}; it has to be built, or installed", program.display());
    Failure::new(Exit::Configuration, sentence)
}

fn spawned(command: &mut Command) -> Result<Child, Failure> {
    command.spawn().map_err(|error| missing(command.get_program(), &error))
}

/// What is said of a directory that no disk has.
fn in_memory(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "quorate bench: {directory} is in memory, where a sync costs nothing: --dir names a place on a disk"
    )
}

/// Whether a directory is in memory, as far as the kernel says so here.
#[cfg(target_os = "linux")]
fn is_memory(directory: &Path) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    // The number has 32 bits; the field is as wide as a word, with or without a sign.
    let kind = rustix::fs::statfs(directory).map(|known| known.f_type as u32);
    matches!(kind, Ok(TMPFS | RAMFS))
}

/// Whether a directory is in memory, as far as the kernel says so here.
#[cfg(not(target_os = "linux"))]
const fn is_memory(_: &Path) -> bool {
    false
}

/// The last lines of a file, as far as it can be read.
fn last_lines(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

impl Own {
    /// Kills the processes and removes the directory. Nothing is started as long as what it returns is held.
    fn gone(&self) -> MutexGuard<'_, Vec<Started>> {
        let mut started = locked(&self.started);
        for one in started.iter_mut() {
            // One that has ended is ended; one that stands still is killed like others.
            let _ = one.child.kill();
        }
        for one in started.iter_mut() {
            let _ = one.child.wait();
        }
        for _ in 0..TRIES {
            // The last try says no more than that there was one.
            let _ = std::fs::remove_dir_all(&self.directory);
            if !self.directory.exists() {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        started
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        drop(self.0.gone());
        locked(&ALL).retain(|own| !Arc::ptr_eq(own, &self.0));
    }
}

/// From now on SIGINT and SIGTERM end this process only after all that it has started is gone.
pub(crate) fn end_by_signals() -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(bug)?;
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(bug)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(bug)?;
    drop(inside);
    std::thread::spawn(move || {
        let code = runtime.block_on(async {
            // What a shell says of a process that such a signal has ended.
            tokio::select! {
                _ = interrupt.recv() => 128 + Signal::INT.as_raw(),
                _ = terminate.recv() => 128 + Signal::TERM.as_raw(),
            }
        });
        let all = locked(&ALL);
        let _held: Vec<_> = all.iter().map(|own| own.gone()).collect();
        std::process::exit(code);
    });
    Ok(())
}

impl Processes {
    /// None yet, in a directory below this one.
    pub(crate) fn below(place: Option<&Path>) -> Result<Self, Failure> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("quorate-bench-");
        let mut all = locked(&ALL);
        let made = place.map_or_else(|| builder.tempdir(), |place| builder.tempdir_in(place));
        let directory = made.map_err(|error| Failure::new(Exit::Storage, error))?.keep();
        if is_memory(&directory) {
            WARNED.call_once(|| stderr::line(in_memory(&directory)));
        }
        let own = Arc::new(Own { started: Mutex::default(), directory });
        all.push(Arc::clone(&own));
        Ok(Self(own))
    }

    /// Their directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0.directory
    }

    /// What a command says that is soon over: signals wait for its end, so that it leaves nothing either.
    pub(crate) fn output(&self, command: &mut Command) -> Result<Output, Failure> {
        let _waits = locked(&self.0.started);
        command.output().map_err(|error| missing(command.get_program(), &error))
    }

    /// One more; what it says goes to a file of this name.
    pub(crate) fn start(&self, mut command: Command, log: &str) -> Result<(), Failure> {
        let path = self.path().join(log);
        let storage = |error| Failure::new(Exit::Storage, format!("{}: {error}", path.display()));
        let mut started = locked(&self.0.started);
        let log = File::create(&path).map_err(storage)?;
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(bug)?).stderr(log);
        let child = spawned(&mut command)?;
        started.push(Started { child, command, log: path });
        Ok(())
    }

    /// Their ids, in the order of their starts.
    pub(crate) fn ids(&self) -> Vec<u32> {
        locked(&self.0.started).iter().map(|one| one.child.id()).collect()
    }

    /// Tells all of them to end, and waits until they have; returns how long that took.
    pub(crate) fn end(&self) -> Result<Duration, Failure> {
        let begin = Instant::now();
        for one in locked(&self.0.started).iter() {
            // One that has ended is ended.
            let _ = kill_process(Pid::from_child(&one.child), Signal::TERM);
        }
        let runs = |one: &mut Started| matches!(one.child.try_wait(), Ok(None));
        while locked(&self.0.started).iter_mut().any(runs) {
            if begin.elapsed() > END {
                return Err(bug(format!("nodes run on {} s after SIGTERM", END.as_secs())));
            }
            std::thread::sleep(INSTANT);
        }
        Ok(begin.elapsed())
    }

    /// Whether all of them run; if not, how the first that does not has ended, and the last lines that it has said.
    pub(crate) fn all_run(&self) -> Result<(), Failure> {
        for one in locked(&self.0.started).iter_mut() {
            if let Some(status) = one.child.try_wait().map_err(bug)? {
                let log = one.log.file_name().unwrap_or_default().display();
                let sentence = format!("{log}: {status}, after saying\n{}", last_lines(&one.log));
                return Err(Failure::new(Exit::NoQuorum, sentence));
            }
        }
        Ok(())
    }

    /// Starts all of them again that have ended.
    pub(crate) fn again(&self) -> Result<(), Failure> {
        for one in locked(&self.0.started).iter_mut() {
            one.child = spawned(&mut one.command)?;
        }
        Ok(())
    }

    /// Sends one of them a signal.
    pub(crate) fn strike(&self, at: usize, signal: Signal) -> Result<(), Failure> {
        let mut started = locked(&self.0.started);
        kill_process(Pid::from_child(&one(&mut started, at)?.child), signal).map_err(bug)
    }

    /// Starts one of them again that was struck, after it is dead for sure.
    pub(crate) fn revive(&self, at: usize) -> Result<(), Failure> {
        let mut started = locked(&self.0.started);
        let one = one(&mut started, at)?;
        one.child.kill().map_err(bug)?;
        one.child.wait().map_err(bug)?;
        one.child = spawned(&mut one.command)?;
        Ok(())
    }

    /// The bytes of all files in their directory.
    pub(crate) fn bytes(&self) -> u64 {
        let (mut sum, mut left) = (0, vec![self.path().to_owned()]);
        while let Some(directory) = left.pop() {
            // What is gone since it was listed takes no room.
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(known) if known.is_dir() => left.push(entry.path()),
                    Ok(known) => sum += known.len(),
                    Err(_) => {}
                }
            }
        }
        sum
    }
}

fn one(started: &mut [Started], at: usize) -> Result<&mut Started, Failure> {
    started.get_mut(at).ok_or_else(|| bug("there is no such process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn one_that_has_ended_is_told_with_what_it_said_at_last() {
        let own = Processes::below(None).unwrap();
        own.start(shell("exec sleep 600"), "a.log").unwrap();
        own.all_run().unwrap();
        own.start(shell("seq 9; echo no >&2; exit 3"), "b.log").unwrap();
        locked(&own.0.started)[1].child.wait().unwrap();
        let failure = own.all_run().unwrap_err();
        assert_eq!(failure.sentence, "b.log: exit status: 3, after saying\n6\n7\n8\n9\nno");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_in_memory_is_told_from_what_is_not() {
        let shared = Path::new("/dev/shm");
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        assert!(is_memory(shared) || !mounts.contains(" /dev/shm tmpfs "));
        assert!(!is_memory(Path::new("/proc")) && !is_memory(Path::new("/nowhere")));
        assert!(in_memory(shared).contains("/dev/shm is in memory"));
    }

    #[test]
    fn who_takes_all_away_leaves_no_process_and_no_directory_and_starts_nothing_more() {
        let own = Processes::below(None).unwrap();
        own.start(shell("exec sleep 600"), "a.log").unwrap();
        own.start(shell("exec sleep 600"), "b.log").unwrap();
        own.strike(1, Signal::STOP).unwrap();
        assert!(locked(&ALL).iter().any(|one| Arc::ptr_eq(one, &own.0)));
        let mut held = own.0.gone();
        let over = |one: &mut Started| matches!(one.child.try_wait(), Ok(Some(_)));
        assert!(held.iter_mut().all(over) && !own.path().exists());
        assert!(own.0.started.try_lock().is_err());
        drop(held);
        let known = Arc::clone(&own.0);
        drop(own);
        assert!(!locked(&ALL).iter().any(|one| Arc::ptr_eq(one, &known)));
    }
}
