//! A node that says what it is told to say, and remembers what it was asked.
#![allow(dead_code, reason = "each file of tests uses its part")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use quorate_chain::codec::Decode as _;
use quorate_chain::transaction::SignedTransaction;

/// What it does with a request.
#[derive(Clone)]
pub(crate) enum Step {
    /// It answers with this status and body.
    Say(u16, String),
    /// It reads the request and hangs up.
    HangUp,
    /// It reads the request and never says anything.
    BeSilent,
}

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// The path without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The transaction that was sent.
    pub(crate) fn transaction(&self) -> SignedTransaction {
        SignedTransaction::from_bytes(&Bytes::from(self.body.clone()))
            .expect("a transaction was sent")
    }
}

/// A scripted node. Whether it is ready, its status and accounts are answered without a script.
pub(crate) struct Node {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

const CHAIN: &str = "7777777777777777777777777777777777777777777777777777777777777777";

impl Node {
    pub(crate) fn start(next_nonce: u64, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::begin(next_nonce, true, steps)
    }

    /// One that says that it is not ready.
    pub(crate) fn unready(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::begin(0, false, steps)
    }

    fn begin(next_nonce: u64, ready: bool, steps: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let mut steps: VecDeque<_> = steps.into_iter().collect();
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let Some((request, mut stream)) = read(stream.expect("it is accepted")) else {
                    continue;
                };
                let path = request.path().to_owned();
                let step = if path == "/readyz" {
                    Step::Say(if ready { 200 } else { 503 }, String::new())
                } else if path == "/v1/status" {
                    Step::Say(200, status())
                } else if path.starts_with("/v1/accounts/") {
                    Step::Say(200, account(next_nonce))
                } else {
                    seen.lock().expect("nobody panics while holding it").push(request);
                    steps.pop_front().unwrap_or(Step::HangUp)
                };
                match step {
                    Step::Say(status, body) => {
                        let length = body.len();
                        let _ = write!(
                            stream,
                            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                        );
                    }
                    Step::HangUp => {}
                    Step::BeSilent => silent.push(stream),
                }
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked beside status and account, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panics while holding it").clone()
    }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

fn read(stream: TcpStream) -> Option<(Asked, TcpStream)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&length| length > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length is a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((Asked { target, body }, reader.into_inner()))
}

fn status() -> String {
    format!(
        r#"{{"version":"0.1.0","chain_id":"{CHAIN}","chain_name":"test","node_id":0,"name":"node0","mode":"validator",
        "role":"leader","term":1,"leader":0,"height":3,"applied":3,"last_block_hash":"{CHAIN}","roster_hash":"{CHAIN}","quorum":2,"voters":3,
        "reachable":3,"live_peers":[0,1,2],"peers":[],"a_new_field":true}}"#
    )
}

fn account(next: u64) -> String {
    format!(
        r#"{{"sender":"{CHAIN}","next_nonce":{next},"window_base":0,"grants":[],"admin":false}}"#
    )
}

/// An outcome with these fields beside the id.
pub(crate) fn outcome(status: &str, height: u64) -> String {
    format!(
        r#"{{"id":"{CHAIN}","status":"{status}","height":{height},"index":0,"term":1,"block_hash":"{CHAIN}",
        "certificate":null,"results":[{{"op":"put","key":"k","ok":true}}],"error":null,"duplicate":false}}"#
    )
}

/// A problem with this code and these three verdicts.
pub(crate) fn problem(status: u16, code: &str, outcome: &str, retry: &str) -> String {
    format!(
        r#"{{"type":"https://quorate.invalid/errors/{code}","title":"t","status":{status},"code":"{code}","detail":"d",
        "outcome":{outcome},"retry":"{retry}","tx":null,"reachable":null,"needed":null,"leader_api":null}}"#
    )
}
