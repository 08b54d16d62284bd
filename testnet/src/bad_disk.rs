//! Disks that misbehave, without the nodes' knowledge: a small library, written in C and made when a testnet
//! starts, is loaded into their processes before all others (`testnet/shim/disk.c`). What is wrong with a
//! node's disk stands in a file that the library has in its memory, so it can be changed at any time.
//!
//! It takes Linux and a C compiler. Where one of them is missing a testnet runs all the same, and says so
//! when a disk shall misbehave.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use quorate_node::exit::{Exit, Failure};
use serde::{Deserialize, Serialize};

const SOURCE: &str = include_str!("../shim/disk.c");
/// Bytes of the file that says what is wrong: six numbers.
const LENGTH: usize = 24;
/// Where in it some of them stand, in bytes.
const DELAY: u64 = 0;
const ERROR: u64 = 4;
const COUNT: u64 = 8;
const CALLS: u64 = 12;
const TORN: u64 = 16;
const FAILED: u64 = 20;

/// What a disk does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Misdeed {
    /// Each write and each sync takes so much longer.
    Slow(Duration),
    /// The next calls fail.
    Fail {
        /// How.
        error: DiskError,
        /// Which calls.
        calls: Calls,
        /// How many of them.
        times: u32,
    },
    /// The next write is done in part, and the process is killed.
    Tear,
    /// It does not fail or tear anything any more.
    Behave,
}

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DiskError {
    /// EIO: the medium is broken.
    Eio,
    /// ENOSPC: it is full.
    Enospc,
}

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Calls {
    /// That it writes.
    Writes,
    /// That what was written stays.
    Syncs,
    /// Both.
    Both,
}

impl Misdeed {
    /// What is written where, in this order.
    fn numbers(self) -> Vec<(u64, u32)> {
        match self {
            Self::Slow(delay) => {
                vec![(DELAY, micros(delay))]
            }
            Self::Fail { error, calls, times } => {
                let error = match error {
                    DiskError::Eio => 5,
                    DiskError::Enospc => 28,
                };
                let calls = match calls {
                    Calls::Writes => 1,
                    Calls::Syncs => 2,
                    Calls::Both => 3,
                };
                vec![(ERROR, error), (CALLS, calls), (COUNT, times)]
            }
            Self::Tear => vec![(TORN, 1)],
            Self::Behave => vec![(COUNT, 0), (TORN, 0)],
        }
    }
}

/// What can be made of the disks of a testnet.
#[derive(Debug)]
pub(crate) struct BadDisks {
    folder: PathBuf,
    /// The library, or why there is none.
    shim: Result<PathBuf, String>,
    /// How slow the disk under each home is.
    slow: Mutex<BTreeMap<PathBuf, Duration>>,
}

impl BadDisks {
    /// Makes the library, in a folder that is made for it.
    pub(crate) fn new(folder: PathBuf) -> Self {
        let shim = build(&folder);
        Self { folder, shim, slow: Mutex::default() }
    }

    /// Has a process whose home this is run on a disk that can misbehave. As slow as it was it stays; nothing else
    /// is wrong with it yet.
    pub(crate) fn preload(&self, command: &mut Command, home: &Path) -> Result<(), Failure> {
        let Ok(shim) = &self.shim else { return Ok(()) };
        let control = self.control(home);
        let slow = self.slow().get(home).copied().unwrap_or_default();
        let mut numbers = [0; LENGTH];
        numbers[..4].copy_from_slice(&micros(slow).to_ne_bytes());
        fs::write(&control, numbers).map_err(|error| storage(&control, &error))?;
        command.env("LD_PRELOAD", shim);
        command.env("TESTNET_DISK", control).env("TESTNET_HOME", home);
        Ok(())
    }

    /// Has the disk of a node do something wrong.
    pub(crate) fn set(&self, home: &Path, misdeed: Misdeed) -> Result<(), Failure> {
        match &self.shim {
            Err(_) if [Misdeed::Slow(Duration::ZERO), Misdeed::Behave].contains(&misdeed) => {
                return Ok(());
            }
            Err(why) => {
                let sentence = format!("no disk can misbehave here: {why}");
                return Err(Failure::new(Exit::Configuration, sentence));
            }
            Ok(_) => {}
        }
        if let Misdeed::Slow(delay) = misdeed {
            self.slow().insert(home.to_owned(), delay);
        }
        let control = self.control(home);
        let write = |file: fs::File| {
            let numbers = misdeed.numbers();
            numbers
                .into_iter()
                .try_for_each(|(at, number)| file.write_all_at(&number.to_ne_bytes(), at))
        };
        let file = OpenOptions::new().write(true).open(&control);
        file.and_then(write).map_err(|error| storage(&control, &error))
    }

    fn slow(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Duration>> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn control(&self, home: &Path) -> PathBuf {
        self.folder.join(home.file_name().unwrap_or_default())
    }
}

fn micros(delay: Duration) -> u32 {
    u32::try_from(delay.as_micros()).unwrap_or(u32::MAX)
}

/// How many calls of a node have failed or were torn since it was started.
pub(crate) fn failures(folder: &Path, home: &Path) -> u32 {
    let number = |file: Vec<u8>| {
        let at = usize::try_from(FAILED).ok()?;
        Some(u32::from_ne_bytes(*file.get(at..)?.first_chunk()?))
    };
    let file = home.file_name().and_then(|name| fs::read(folder.join(name)).ok());
    file.and_then(number).unwrap_or(0)
}

fn storage(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Storage, format!("{}: {error}", path.display()))
}

fn build(folder: &Path) -> Result<PathBuf, String> {
    if !cfg!(target_os = "linux") {
        return Err("that takes Linux".to_owned());
    }
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let library = folder.join("disk.so");
    let mut compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-x", "c", "-", "-ldl", "-o"])
        .arg(&library)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("there is no C compiler (cc): {error}"))?;
    if let Some(mut input) = compiler.stdin.take() {
        // If it has ended already, it says why.
        let _ = input.write_all(SOURCE.as_bytes());
    }
    let output = compiler.wait_with_output().map_err(|error| format!("cc: {error}"))?;
    if output.status.success() {
        return Ok(library);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("cc: {}", said.lines().next().unwrap_or("it failed")))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A home, and what a disk does there: writes a file in sectors, and syncs it.
    struct Home {
        root: tempfile::TempDir,
        path: PathBuf,
        disks: BadDisks,
    }

    impl Home {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let (path, disks) =
                (root.path().join("node0"), BadDisks::new(root.path().join("faults")));
            disks.shim.as_ref().unwrap();
            fs::create_dir(&path).unwrap();
            Self { root, path, disks }
        }

        /// Writes a file there, or elsewhere; whether that succeeded, and what was said.
        fn write(&self, name: &str, faults: [u32; 6]) -> (bool, String) {
            self.write_with(name, faults, &[])
        }

        fn write_with(&self, name: &str, faults: [u32; 6], more: &[&str]) -> (bool, String) {
            let mut command = Command::new("dd");
            let file = self.path.join(name);
            command.args(more);
            command.args(["if=/dev/zero", "bs=4096", "count=2", "conv=fdatasync", "status=none"]);
            command.arg(format!("of={}", file.display())).env("LC_ALL", "C");
            self.disks.preload(&mut command, &self.path).unwrap();
            let bytes: Vec<_> = faults.into_iter().flat_map(u32::to_ne_bytes).collect();
            fs::write(self.disks.control(&self.path), bytes).unwrap();
            let output = command.output().unwrap();
            (output.status.success(), String::from_utf8(output.stderr).unwrap())
        }
    }

    #[test]
    fn a_good_disk_does_what_it_is_told() {
        let home = Home::new();
        assert_eq!(home.write("file", [0; 6]), (true, String::new()));
        assert_eq!(fs::metadata(home.path.join("file")).unwrap().len(), 8_192);
    }

    #[test]
    fn writes_and_syncs_fail_as_often_as_they_shall() {
        let home = Home::new();
        let (done, said) = home.write("file", [0, 5, 1, 2, 0, 0]);
        assert!(
            !done && said.contains("fdatasync") && said.contains("Input/output error"),
            "{said}"
        );
        assert_eq!(failures(&home.disks.folder, &home.path), 1);
        let (done, said) = home.write("file", [0, 28, 1, 1, 0, 0]);
        assert!(!done && said.contains("No space left on device"), "{said}");
        // None is left.
        assert!(home.write("file", [0, 28, 0, 3, 0, 0]).0);
    }

    #[test]
    fn a_write_that_is_a_sync_too_is_done_and_fails() {
        let home = Home::new();
        let (done, said) = home.write_with("file", [0, 5, 1, 2, 0, 0], &["oflag=dsync"]);
        assert!(!done && said.contains("writing"), "{said}");
        assert_eq!(fs::metadata(home.path.join("file")).unwrap().len(), 4_096);
    }

    #[test]
    fn a_torn_write_is_done_in_part_and_ends_the_process() {
        let home = Home::new();
        assert!(!home.write("file", [0, 0, 0, 0, 1, 0]).0);
        assert_eq!(failures(&home.disks.folder, &home.path), 1);
        assert_eq!(fs::metadata(home.path.join("file")).unwrap().len(), 2_048);
    }

    #[test]
    fn what_is_said_of_a_disk_is_what_the_library_reads() {
        let home = Home::new();
        let faults = || {
            let file = fs::read(home.disks.control(&home.path)).unwrap();
            let numbers = file.chunks(4).map(|four| u32::from_ne_bytes(four.try_into().unwrap()));
            numbers.collect::<Vec<_>>()
        };
        home.disks.preload(&mut Command::new("true"), &home.path).unwrap();
        let set = |misdeed| home.disks.set(&home.path, misdeed).unwrap();
        set(Misdeed::Slow(Duration::from_millis(2)));
        set(Misdeed::Fail { error: DiskError::Enospc, calls: Calls::Syncs, times: 3 });
        set(Misdeed::Tear);
        assert_eq!(faults(), [2_000, 28, 3, 2, 1, 0]);
        set(Misdeed::Behave);
        assert_eq!(faults(), [2_000, 28, 0, 2, 0, 0]);
        // Who starts again finds the disk as slow as it was, and good.
        set(Misdeed::Tear);
        home.disks.preload(&mut Command::new("true"), &home.path).unwrap();
        assert_eq!(faults(), [2_000, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn only_what_is_in_the_home_is_on_that_disk() {
        let home = Home::new();
        let elsewhere = home.root.path().join("file");
        assert!(home.write(elsewhere.to_str().unwrap(), [0, 5, 9, 3, 1, 0]).0);
    }

    #[test]
    fn a_slow_disk_takes_its_time() {
        let home = Home::new();
        let begin = Instant::now();
        assert!(home.write("file", [30_000, 0, 0, 0, 0, 0]).0);
        assert!(begin.elapsed() >= Duration::from_millis(90), "two writes and a sync");
    }
}
