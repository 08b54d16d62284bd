//! Groups of three of what others offer for the same job, started like ours: etcd, and NATS with a stream of three
//! replicas. Their settings are those that they come with.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use quorate_node::exit::{Exit, Failure};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::connection::Http;
use crate::connection::nats::Nats;
use crate::group::{Group, Pace, bug, free_ports};
use crate::processes::Processes;
use crate::work::System;

const COUNT: usize = 3;
const STREAM: &str = "BENCH";

fn addresses(ports: &[u16]) -> Vec<SocketAddr> {
    ports.iter().map(|port| (Ipv4Addr::LOCALHOST, *port).into()).collect()
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Starts one of them.
pub(crate) fn start(system: System, place: Option<&Path>) -> Result<Group, Failure> {
    match system {
        System::Etcd => etcd(place, None),
        System::Nats => nats(place),
        System::Quorate => Group::quorate(3, place, None),
    }
}

/// Starts one of them that is as patient as this.
pub(crate) fn paced(system: System, place: Option<&Path>, pace: Pace) -> Result<Group, Failure> {
    match system {
        System::Etcd => etcd(place, Some(pace)),
        System::Quorate => Group::quorate(3, place, Some(pace)),
        System::Nats => {
            let sentence = "nats has no settings for how soon a leader is missed";
            Err(Failure::new(Exit::Usage, sentence))
        }
    }
}

fn etcd(place: Option<&Path>, pace: Option<Pace>) -> Result<Group, Failure> {
    let own = Processes::below(place)?;
    let ports = free_ports(2 * COUNT)?;
    let (clients, peers) = ports.split_at(COUNT);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let member = |at: usize| format!("n{at}={}", url(peers[at]));
    let members: Vec<_> = (0..COUNT).map(member).collect();
    for at in 0..COUNT {
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(own.path().join(format!("n{at}")));
        command.args(["--name", &format!("n{at}"), "--log-level", "error"]);
        command.args(["--listen-client-urls", &url(clients[at])]);
        command.args(["--advertise-client-urls", &url(clients[at])]);
        command.args(["--listen-peer-urls", &url(peers[at])]);
        command.args(["--initial-advertise-peer-urls", &url(peers[at])]);
        command.args(["--initial-cluster", &members.join(","), "--initial-cluster-state", "new"]);
        // Its bound on what it keeps, two gigabytes, is not what is measured.
        command.args(["--quota-backend-bytes", "8589934592"]);
        if let Some(Pace { heartbeat, election }) = pace {
            command.args(["--heartbeat-interval", &heartbeat.as_millis().to_string()]);
            command.args(["--election-timeout", &election.as_millis().to_string()]);
        }
        own.start(command, &format!("n{at}.log"))?;
    }
    let group = Group::of(System::Etcd, addresses(clients), own);
    group.until("etcd has no leader", || {
        group.nodes.iter().any(|node| leads_etcd(*node)).then_some(())
    })?;
    Ok(group)
}

/// Whether this node of etcd leads, by its own word.
pub(crate) fn leads_etcd(node: SocketAddr) -> bool {
    let request =
        "POST /v3/maintenance/status HTTP/1.1\r\nhost: node\r\ncontent-length: 2\r\n\r\n{}";
    let told = runtime().and_then(|runtime| {
        runtime.block_on(async { Http::open(node).await?.ask(request.as_bytes()).await })
    });
    let status: Option<Value> = told.ok().and_then(|told| serde_json::from_slice(&told.body).ok());
    status.is_some_and(|status| {
        let own = &status["header"]["member_id"];
        !own.is_null() && status["leader"] == *own
    })
}

fn nats(place: Option<&Path>) -> Result<Group, Failure> {
    let own = Processes::below(place)?;
    let ports = free_ports(2 * COUNT)?;
    let (clients, peers) = ports.split_at(COUNT);
    let routes: Vec<_> =
        peers.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
    for at in 0..COUNT {
        let store = own.path().join(format!("n{at}"));
        let file = format!(
            "listen: \"127.0.0.1:{}\"\nserver_name: n{at}\njetstream {{ store_dir: \"{}\" }}\n\
             cluster {{ name: bench, listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
            clients[at],
            store.display(),
            peers[at],
            routes.join(", ")
        );
        let path = own.path().join(format!("n{at}.conf"));
        std::fs::write(&path, file).map_err(bug)?;
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(path);
        own.start(command, &format!("n{at}.log"))?;
    }
    let group = Group::of(System::Nats, addresses(clients), own);
    let stream = json!({
        "name": STREAM, "subjects": ["bench.>"], "retention": "limits", "storage": "file",
        "num_replicas": COUNT, "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
    });
    let made = || {
        let made = call(group.nodes[0], "STREAM.CREATE", &stream.to_string())?;
        (made["config"]["num_replicas"] == json!(COUNT)).then_some(())
    };
    group.until("NATS has no stream", made)?;
    group.until("the stream has no leader", || nats_leader(group.nodes[0]).map(drop))?;
    Ok(group)
}

/// Asks a server something of the stream.
fn call(node: SocketAddr, what: &str, payload: &str) -> Option<Value> {
    let subject = format!("$JS.API.{what}.{STREAM}");
    let answer = runtime().ok()?.block_on(async {
        let ask = async { Nats::open(node).await?.call(&subject, payload.as_bytes()).await };
        // Nobody answers as long as the servers have not found each other.
        let patience = std::time::Duration::from_secs(2);
        tokio::time::timeout(patience, ask).await.ok()?.ok()
    });
    answer.and_then(|answer: Bytes| serde_json::from_slice(&answer).ok())
}

fn nats_leader(node: SocketAddr) -> Option<String> {
    call(node, "STREAM.INFO", "")?["cluster"]["leader"].as_str().map(str::to_owned)
}

/// Whether this server leads the stream.
pub(crate) fn leads_nats(group: &Group, node: SocketAddr) -> bool {
    let at = group.nodes.iter().position(|other| *other == node);
    at.zip(nats_leader(node)).is_some_and(|(at, leader)| leader == format!("n{at}"))
}
