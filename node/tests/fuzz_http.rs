//! Any request at all, over a real socket: a node answers it, and never with a fault of its own.
//!
//! Runs under plain `cargo test`, and under `testnet/fuzz.sh`: the node is in this process, so coverage
//! guides it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use quorate_node::Node;
use quorate_node::home::Home;

const PATHS: &[&str] = &[
    "/v1/txs",
    "/v1/txs/batch",
    "/v1/state",
    "/v1/state/k",
    "/v1/state/k/history",
    "/v1/events",
    "/v1/blocks",
    "/v1/blocks/1",
    "/v1/headers",
];

/// What a query may begin with: numbers that a client chooses freely reach further than its words.
fn begin(choice: u8, numbers: (u64, u32, u8)) -> String {
    let (height, index, operation) = numbers;
    match choice % 6 {
        0 => format!("consistency=local&cursor={height}.{index}.{operation}&"),
        1 => format!("cursor={height}.{index}.{operation}&"),
        2 => format!("consistency=local&at={height}&"),
        3 => format!("from={height}&limit={index}&"),
        4 => {
            let after = BASE64URL_NOPAD.encode(&height.to_be_bytes());
            format!("consistency=local&limit={operation}&cursor={after}&")
        }
        _ => String::new(),
    }
}

/// The status that a request gets.
fn status(address: SocketAddr, request: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // It may have answered before all was sent.
    let _ = stream.write_all(request);
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer to {request:?}")).parse().unwrap()
}

#[test]
fn fuzz_http_request() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("home");
    common::home(&home, 0, &common::genesis(1), &common::config());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = Node::start(Home::open(&home).unwrap(), common::config());
    let node = runtime.block_on(node).unwrap();
    let address = node.api_address();
    let input = bolero::check!().with_type::<(u8, (u8, (u64, u32, u8)), bool, Vec<u8>, Vec<u8>)>();
    input.for_each(|(at, (choice, numbers), is_json, query, body)| {
        let path = PATHS[usize::from(*at) % PATHS.len()];
        let method = if path.starts_with("/v1/txs") { "POST" } else { "GET" };
        let (kind, length) = (if *is_json { "json" } else { "octet-stream" }, body.len());
        let head = format!(
            " HTTP/1.1\r\nhost: x\r\ncontent-type: application/{kind}\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        let graphic = query.iter().filter(|byte| byte.is_ascii_graphic());
        let mut request = format!("{method} {path}?{}", begin(*choice, *numbers)).into_bytes();
        // Behind what it knows a query has nothing else, more often than not.
        if choice % 2 == 0 {
            request.extend(graphic);
        }
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(body);
        let status = status(address, &request);
        assert!((200..500).contains(&status), "{status} for {request:?}");
    });
    runtime.block_on(node.shutdown()).unwrap();
}
