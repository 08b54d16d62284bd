//! Ports on loopback that are free.
//!
//! A free port is looked for below the range from which the system takes the near ends of outgoing
//! connections. In that range a port that is free now may be the near end of another node's
//! connection by the time a node wants to listen on it. Each process looks in a stretch of its own
//! first, which it holds with a locked file as long as it lives, so that two launchers at the same time
//! do not choose the same ports: a launcher lives until its nodes listen.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use quorate_node::exit::{Exit, Failure};

/// Where the range of near ends begins if the system does not say.
const NEAR_ENDS: u16 = 32_768;
const LOWEST: u16 = 10_240;
/// How many ports a process looks at before it comes to those of the next one.
const STRETCH: u32 = 256;
/// How far from each other two processes begin that come to the same stretch, one after the other.
const APART: u32 = 16;
/// How many of them this process has looked at, so that no two testnets in it choose the same ones.
static LOOKED_AT: AtomicU32 = AtomicU32::new(0);

/// Whether something could listen there now.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Ports that follow each other from `first` on; 0 stands for any that are free.
pub(crate) fn choose(first: u16, count: u16, taken: &[u16]) -> Result<Vec<u16>, Failure> {
    if first == 0 {
        return free(count, taken);
    }
    let last = first.checked_add(count.saturating_sub(1)).ok_or_else(|| {
        let sentence = format!("{count} ports from {first} on are more than there are");
        Failure::new(Exit::Configuration, sentence)
    })?;
    Ok((first..=last).collect())
}

fn free(count: u16, taken: &[u16]) -> Result<Vec<u16>, Failure> {
    let range = candidates();
    let length = u32::from(range.end - range.start);
    let stretches = length / STRETCH;
    // The ports of a testnet that is down for a moment look free: who comes to its stretch later begins
    // elsewhere in it.
    let begin = std::process::id() / stretches * APART % STRETCH;
    let start = stretch(stretches) * STRETCH + begin;
    let mut found = Vec::new();
    for _ in 0..length {
        if found.len() == usize::from(count) {
            break;
        }
        let step = LOOKED_AT.fetch_add(1, Ordering::Relaxed) % length;
        // Below the length of a range of 16-bit numbers, so it fits.
        let port = range.start + ((start + step) % length) as u16;
        if !taken.contains(&port) && is_free(port) {
            found.push(port);
        }
    }
    if found.len() < usize::from(count) {
        return Err(Failure::new(Exit::Configuration, "there are not enough free ports"));
    }
    Ok(found)
}

/// The stretch of this process, of so many. If all are held, one is shared.
fn stretch(count: u32) -> u32 {
    static HELD: OnceLock<(u32, Option<File>)> = OnceLock::new();
    let (number, _) = HELD.get_or_init(|| {
        let first = std::process::id() % count;
        let mut numbers = (0..count).map(|step| (first + step) % count);
        let held = numbers.find_map(|number| Some((number, Some(hold(number)?))));
        held.unwrap_or((first, None))
    });
    *number
}

/// Holds a stretch as long as the file is open, unless another process does.
fn hold(number: u32) -> Option<File> {
    let path = std::env::temp_dir().join(format!("quorate-ports-{number}"));
    let file = File::options().create(true).truncate(false).write(true).open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

fn candidates() -> Range<u16> {
    let told = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let told = told.and_then(|text| text.split_whitespace().next()?.parse().ok());
    let end: u16 = told.unwrap_or(NEAR_ENDS);
    if end > LOWEST + 1_000 { LOWEST..end } else { LOWEST..u16::MAX }
}

/// Refuses if one of these is taken, and says which.
pub(crate) fn check_free(ports: &[u16]) -> Result<(), Failure> {
    let taken: Vec<_> = ports.iter().filter(|port| !is_free(**port)).map(u16::to_string).collect();
    if taken.is_empty() {
        return Ok(());
    }
    let sentence = format!(
        "port {} of 127.0.0.1 is taken: end what listens there, or choose others with --api-port \
         and --p2p-port (0 takes free ones)",
        taken.join(", ")
    );
    Err(Failure::new(Exit::Configuration, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_free_and_different() {
        let ports = choose(0, 6, &[]).unwrap();
        let mut different = ports.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), 6);
        check_free(&ports).unwrap();
    }

    #[test]
    fn a_stretch_is_held_once_at_a_time() {
        // One that nobody looks in.
        let number = u32::MAX - std::process::id();
        let held = hold(number).unwrap();
        assert!(hold(number).is_none());
        drop(held);
        assert!(hold(number).is_some());
        let _ = fs::remove_file(std::env::temp_dir().join(format!("quorate-ports-{number}")));
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let port = choose(0, 1, &[]).unwrap()[0];
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let failure = check_free(&[port]).unwrap_err();
        assert_eq!(failure.exit, Exit::Configuration);
        assert!(failure.sentence.contains(&port.to_string()));
    }

    #[test]
    fn ports_that_are_named_follow_each_other_and_end_at_65535() {
        assert_eq!(choose(7_600, 3, &[]).unwrap(), [7_600, 7_601, 7_602]);
        assert!(choose(65_534, 3, &[]).is_err());
    }
}
