//! How a process is told to stop: it answers who waits, and ends well.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::process::{PATIENCE, Process};
use rustix::process::{Pid, Signal, kill_process};

fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.arg("start").arg("--home").arg(home);
    command
}

fn terminate(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
}

fn ended(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "it does not stop");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_listens_is_told_and_the_process_ends_well() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    common::home(&home, 0, &common::genesis(1), &common::config());
    let mut node = Process::start(&mut command(&home));
    let mut stream = TcpStream::connect(&node.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    terminate(&node.child);
    // To its end, which is not an error.
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "cut off: {rest}");
    let status = ended(&mut node.child);
    assert!(status.success(), "{status}");
}

/// The genesis is one that nobody ever writes: the start hangs where it reads it.
#[test]
fn a_start_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    common::home(&home, 0, &common::genesis(1), &common::config());
    let genesis = home.join("genesis.json");
    fs::remove_file(&genesis).unwrap();
    assert!(Command::new("mkfifo").arg(&genesis).status().unwrap().success());
    let mut node = command(&home).stdin(Stdio::null()).spawn().unwrap();
    // It can be opened for writing once the node reads.
    let writer = OpenOptions::new().write(true).open(&genesis).unwrap();
    terminate(&node);
    let status = ended(&mut node);
    drop(writer);
    assert!(status.success(), "{status}");
}
