//! Disks that misbehave, without the nodes' knowledge: a small library, written in C and made when a testnet
//! starts, is loaded into their processes before all others (`testnet/shim/disk.c`). What is wrong with a
//! node's disk stands in a file that the library has in its memory, so it can be changed at any time.
//!
//! It takes Linux and a C compiler. Where one of them is missing a testnet runs all the same, and says so
//! when a disk shall misbehave.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use quorate_node::exit::{Exit, Failure};

const SOURCE: &str = include_str!("../shim/disk.c");
/// Bytes of the file that says what is wrong: five numbers.
const LENGTH: usize = 20;

/// What can be made of the disks of a testnet.
#[derive(Debug)]
pub(crate) struct BadDisks {
    folder: PathBuf,
    /// The library, or why there is none.
    shim: Result<PathBuf, String>,
}

impl BadDisks {
    /// Makes the library, in a folder that is made for it.
    pub(crate) fn new(folder: PathBuf) -> Self {
        let shim = build(&folder);
        Self { folder, shim }
    }

    /// Has a process whose home this is run on a disk that can misbehave, and does not yet.
    pub(crate) fn preload(&self, command: &mut Command, home: &Path) -> Result<(), Failure> {
        let Ok(shim) = &self.shim else { return Ok(()) };
        let control = self.control(home);
        fs::write(&control, [0; LENGTH]).map_err(|error| storage(&control, &error))?;
        command.env("LD_PRELOAD", shim);
        command.env("TESTNET_DISK", control).env("TESTNET_HOME", home);
        Ok(())
    }

    /// Makes each write and each sync of a node take so much longer.
    pub(crate) fn slow(&self, home: &Path, delay: Duration) -> Result<(), Failure> {
        match &self.shim {
            Err(_) if delay.is_zero() => return Ok(()),
            Err(why) => {
                let sentence = format!("no disk can misbehave here: {why}");
                return Err(Failure::new(Exit::Configuration, sentence));
            }
            Ok(_) => {}
        }
        let control = self.control(home);
        let micros = u32::try_from(delay.as_micros()).unwrap_or(u32::MAX);
        OpenOptions::new()
            .write(true)
            .open(&control)
            .and_then(|file| file.write_all_at(&micros.to_ne_bytes(), 0))
            .map_err(|error| storage(&control, &error))
    }

    fn control(&self, home: &Path) -> PathBuf {
        self.folder.join(home.file_name().unwrap_or_default())
    }
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
        fn write(&self, name: &str, faults: [u32; 5]) -> (bool, String) {
            let mut command = Command::new("dd");
            let file = self.path.join(name);
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
        assert_eq!(home.write("file", [0; 5]), (true, String::new()));
        assert_eq!(fs::metadata(home.path.join("file")).unwrap().len(), 8_192);
    }

    #[test]
    fn writes_and_syncs_fail_as_often_as_they_shall() {
        let home = Home::new();
        let (done, said) = home.write("file", [0, 5, 1, 2, 0]);
        assert!(
            !done && said.contains("fdatasync") && said.contains("Input/output error"),
            "{said}"
        );
        let (done, said) = home.write("file", [0, 28, 1, 1, 0]);
        assert!(!done && said.contains("No space left on device"), "{said}");
        // None is left.
        assert!(home.write("file", [0, 28, 0, 3, 0]).0);
    }

    #[test]
    fn a_torn_write_is_done_in_part_and_ends_the_process() {
        let home = Home::new();
        assert!(!home.write("file", [0, 0, 0, 0, 1]).0);
        assert_eq!(fs::metadata(home.path.join("file")).unwrap().len(), 2_048);
    }

    #[test]
    fn only_what_is_in_the_home_is_on_that_disk() {
        let home = Home::new();
        let elsewhere = home.root.path().join("file");
        assert!(home.write(elsewhere.to_str().unwrap(), [0, 5, 9, 3, 1]).0);
    }

    #[test]
    fn a_slow_disk_takes_its_time() {
        let home = Home::new();
        let begin = Instant::now();
        assert!(home.write("file", [30_000, 0, 0, 0, 0]).0);
        assert!(begin.elapsed() >= Duration::from_millis(90), "two writes and a sync");
    }
}
