//! What a group of processes costs and how long it is without a leader:
//! `cargo bench -p quorate-testnet --bench processes
//! [latency|outage|idle|hint|startup]`.
//!
//! Each figure stands beside the bare cost of what it is made of, on the same machine at the same time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark says so by panicking"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::Place;
use quorate_chain::crypto::{Ed25519, Message, SecretKey, SenderSignature, Verifier as _};
use quorate_client::{Client, TestnetNode};
use rustix::process::{Pid, Signal, kill_process};

const HOME: &str = "NODE_HOME";

fn main() {
    common::be_a_node();
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let all = [
        ("latency", latency as fn()),
        ("outage", outage),
        ("idle", idle),
        ("hint", hint),
        ("startup", startup),
    ];
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            run();
        }
    }
}

fn place(nodes: u16) -> Place {
    let place = Place::new("idle", HOME);
    place.up(nodes, &[]);
    place
}

/// Runs something so often, and returns how long each took, sorted.
fn times(count: usize, mut run: impl FnMut()) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        run();
        times.push(begin.elapsed());
    }
    times.sort();
    times
}

fn show(what: &str, times: &[Duration]) {
    let ms = |time: Duration| format!("{:8.3}", time.as_secs_f64() * 1e3);
    let [min, median, p99, max] = [0, times.len() / 2, times.len() * 99 / 100, times.len() - 1];
    println!(
        "  {what:<44} min {} median {} p99 {} max {} ms",
        ms(times[min]),
        ms(times[median]),
        ms(times[p99]),
        ms(times[max])
    );
}

/// One client, one transaction at a time, three nodes.
fn latency() {
    let place = place(3);
    let alice = place.alice();
    let leader = alice.client().status().unwrap().leader.unwrap().get();
    let client = place.node(leader.try_into().unwrap());
    let alice = client.account(SecretKey::from_seed(&[7; 32])).waiting(common::patient());
    alice.put("warm", "up").unwrap();
    println!("one client, one transaction at a time, three nodes, 256 B:");
    let (value, mut at) = ([7; 256], 0);
    let parts = ["log_write_seconds", "apply_seconds"];
    let before = parts.map(|part| timed(&client, part));
    let put = times(1_000, || {
        at += 1;
        alice.update(format!("key{at}"), value).unwrap();
    });
    show("from submit to certified outcome", &put);
    for (part, (seconds, count)) in parts.into_iter().zip(before) {
        let (seconds_now, count_now) = timed(&client, part);
        let (seconds, count) = (seconds_now - seconds, count_now - count);
        let (each, often) = (seconds / count * 1e3, count / 1_000.0);
        println!("  of that: {part:<35} mean {each:8.3} ms, {often:.1} times (leader)");
    }

    let key = SecretKey::from_seed(&[7; 32]);
    let message = [7; 400];
    show(
        "of that: a signature made",
        &times(1_000, || {
            let _ = key.sign(&message);
        }),
    );
    let signature = [SenderSignature {
        key: key.account_key(),
        message: Message::new(&message),
        signature: key.sign(&message),
    }];
    show("of that: a signature checked", &times(1_000, || Ed25519.senders(&signature).unwrap()));
    let mut file = File::create(place.dir.join("sync")).unwrap();
    file.write_all(&vec![0; 1 << 20]).unwrap();
    file.sync_all().unwrap();
    let sync = times(300, || {
        file.rewind().unwrap();
        file.write_all(&[1; 4096]).unwrap();
        file.sync_data().unwrap();
    });
    show("of that: 4 KiB synced, at least twice", &sync);
    show("of that: a round trip between nodes, at least", &round_trips());
    show("of that: a round trip of HTTP", &times(1_000, || drop(client.body("/livez").unwrap())));
}

/// How long something took a node, all together in seconds, and how often.
fn timed(client: &Client, what: &str) -> (f64, f64) {
    let page = client.body("/metrics").unwrap();
    let value = |name: String| {
        let of_name = |line: &&str| line.starts_with(&name);
        let line = page.lines().find(of_name).unwrap_or_else(|| panic!("no {name}"));
        line[name.len()..].trim().parse::<f64>().unwrap()
    };
    (value(format!("quorate_{what}_sum")), value(format!("quorate_{what}_count")))
}

/// What passes between nodes for one transaction, over a bare connection on loopback, there and back.
fn round_trips() -> Vec<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let echo = thread::spawn(move || {
        let mut piece = [0; 800];
        while far.read_exact(&mut piece).is_ok() && far.write_all(&piece).is_ok() {}
    });
    let mut piece = [7; 800];
    let times = times(1_000, || {
        near.write_all(&piece).unwrap();
        near.read_exact(&mut piece).unwrap();
    });
    drop(near);
    echo.join().unwrap();
    times
}

/// How long nothing can be written after kill -9 of the leader.
fn outage() {
    const TRIALS: usize = 20;
    let place = place(5);
    let mut gaps = Vec::new();
    for trial in 0..TRIALS {
        place.ok(&["wait", "--leader", "--equal"]);
        let nodes = place.testnet().nodes;
        let leader = place.client().status().unwrap().leader.unwrap();
        let (victim, others): (Vec<TestnetNode>, Vec<_>) =
            nodes.into_iter().partition(|node| node.node_id == leader);
        let urls: Vec<_> = others.iter().map(|node| node.api.as_str()).collect();
        let client = Client::new(&urls.join(",")).unwrap();
        let alice = client.account(SecretKey::from_seed(&[7; 32])).waiting(common::patient());
        alice.update("warm", "up").unwrap();
        let pid = Pid::from_raw(victim[0].pid.unwrap().try_into().unwrap()).unwrap();
        let begin = Instant::now();
        kill_process(pid, Signal::KILL).unwrap();
        alice.update(format!("trial{trial}"), "v").unwrap();
        gaps.push(begin.elapsed());
        place.ok(&["revive", "--all"]);
    }
    gaps.sort();
    println!(
        "from kill -9 of the leader to the next certified outcome, five nodes, {TRIALS} trials:"
    );
    show("without writes", &gaps);
}

/// How soon it is known that a process has been killed, and that it is back.
fn hint() {
    const TRIALS: usize = 20;
    let place = place(3);
    let (mut lost, mut dead, mut back) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TRIALS {
        place.ok(&["wait", "--leader", "--equal"]);
        let nodes = place.testnet().nodes;
        let client = place.node(0);
        let leader = client.status().unwrap().leader.unwrap().get();
        let victim = if leader == 1 { 2 } else { 1 };
        let state = || {
            let peers = client.status().unwrap().peers;
            peers.into_iter().find(|peer| peer.node_id.get() == victim).unwrap().state
        };
        let until = |begin: Instant, wanted: &dyn Fn(&str) -> bool| {
            while !wanted(&state()) {
                thread::sleep(Duration::from_micros(200));
            }
            begin.elapsed()
        };
        let pid = Pid::from_raw(nodes[victim as usize].pid.unwrap().try_into().unwrap()).unwrap();
        let begin = Instant::now();
        kill_process(pid, Signal::KILL).unwrap();
        lost.push(until(begin, &|state| state != "alive"));
        dead.push(until(begin, &|state| state == "dead"));
        place.ok(&["revive", &victim.to_string()]);
        // Its port was open before its clients could ask.
        back.push(until(Instant::now(), &|state| state == "alive"));
    }
    println!("kill -9 of a follower, as another node's /v1/status tells of it, {TRIALS} trials:");
    for (what, mut times) in [
        ("from the kill: not alive", lost),
        ("from the kill: dead", dead),
        ("from its /livez: alive", back),
    ] {
        times.sort();
        show(what, &times);
    }
}

/// How long a node takes from its start to its first answer, by how long its chain is.
fn startup() {
    const TRIALS: usize = 10;
    let place = place(1);
    let alice = place.alice();
    println!("one validator, kill -9, from `revive` to /livez, {TRIALS} trials:");
    let mut at = 0;
    for blocks in [100_u64, 1_000, 10_000, 30_000] {
        while place.client().height().unwrap().height.get() < blocks {
            for _ in 0..50 {
                at += 1;
                alice.update(format!("key{}", at % 100), [7; 256]).unwrap();
            }
        }
        let mut times = times(TRIALS, || {
            place.ok(&["kill", "0"]);
            place.ok(&["revive", "0"]);
        });
        times.sort();
        show(&format!("kill and revive, {blocks} blocks"), &times);
    }
}

/// What five validators cost that have nothing to do.
fn idle() {
    const SPAN: Duration = Duration::from_secs(20);
    let place = place(5);
    thread::sleep(Duration::from_secs(3));
    let nodes = place.testnet().nodes;
    let before: Vec<_> = nodes.iter().map(|node| ticks(node.pid.unwrap())).collect();
    thread::sleep(SPAN);
    println!("five validators at rest for {} s:", SPAN.as_secs());
    for (node, before) in nodes.iter().zip(before) {
        let used = ticks(node.pid.unwrap()) - before;
        // A tick is a hundredth of a second, so ticks a second are hundredths of a core.
        let share = used as f64 / SPAN.as_secs_f64();
        let resident = resident(node.pid.unwrap());
        println!("  {:<8} {share:5.2} % of a core, {resident:4} MiB resident", node.name);
    }
}

/// Processor time, in ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Memory, in MiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}
