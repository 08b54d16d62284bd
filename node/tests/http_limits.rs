//! Clients that are slow, large or many on purpose.

mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::process::{PATIENCE, Process, raise_open_files};
use quorate_node::config::Config;

/// A node with these limits in a process of its own.
struct Served {
    node: Process,
    _directory: tempfile::TempDir,
}

fn serve(config: &Config) -> Served {
    let directory = tempfile::tempdir().expect("there is room for files");
    common::home(directory.path(), 0, &common::genesis(1), config);
    Served { node: Process::of_home(directory.path()), _directory: directory }
}

fn connect(to: &Served) -> TcpStream {
    let stream = TcpStream::connect(&to.node.address).expect("the port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    stream
}

/// All that comes until the other end closes.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        // A reset is an end, too.
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it is still open");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One answer to a small request, with the connection left open.
fn livez(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: node\r\n\r\n").expect("it is open");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer comes");
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

#[test]
fn who_does_not_finish_the_head_of_a_request_is_cut_off() {
    let limit = Config { api_header_timeout: Duration::from_millis(200), ..common::config() };
    let served = serve(&limit);
    let mut silent = connect(&served);
    let mut slow = connect(&served);
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: no").expect("it is open");
    // It is over although a byte comes again and again.
    let mut trickle = slow.try_clone().expect("it is a socket");
    let trickling = std::thread::spawn(move || {
        while trickle.write_all(b"o").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert!(!rest(&mut slow).contains("200 OK"));
    trickling.join().expect("writing has failed in the end");
    assert_eq!(rest(&mut silent), "", "who says nothing at all is told nothing");
    let mut idle = connect(&served);
    assert!(livez(&mut idle).starts_with("HTTP/1.1 200 "));
    assert_eq!(rest(&mut idle), "", "nor may who was served stay for ever");
}

#[test]
fn a_request_that_is_too_large_is_refused_before_it_is_read() {
    let served = serve(&common::config());
    let mut announced = connect(&served);
    let head = format!(
        "POST /v1/txs HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        (1 << 20) + 1
    );
    announced.write_all(head.as_bytes()).expect("it is open");
    let answer = rest(&mut announced);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("too_large"), "{answer}");

    // Without a length it is cut off at the limit, whatever is still to come.
    let mut endless = connect(&served);
    let head = b"POST /v1/txs HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n";
    endless.write_all(head).expect("it is open");
    let chunk = [b"10000\r\n".as_slice(), &[0; 0x10000], b"\r\n"].concat();
    let mut written = 0_u64;
    while endless.write_all(&chunk).is_ok() {
        written += 0x10000;
        assert!(written < 1 << 30, "a gigabyte was taken");
    }
}

#[test]
fn connections_beyond_the_limit_wait_until_one_is_closed() {
    let two = Config { api_connections: 2, ..common::config() };
    let served = serve(&two);
    let [mut first, mut second] = [connect(&served), connect(&served)];
    for held in [&mut first, &mut second] {
        assert!(livez(held).starts_with("HTTP/1.1 200 "));
    }
    // The third one is taken by the operating system, and by nobody else.
    let mut third = connect(&served);
    third.write_all(b"GET /livez HTTP/1.1\r\nHost: node\r\n\r\n").expect("it is open");
    third.set_read_timeout(Some(Duration::from_millis(300))).expect("it is a socket");
    assert!(third.read(&mut [0]).is_err(), "nobody has read it");
    assert!(livez(&mut first).starts_with("HTTP/1.1 200 "), "who is in is served");
    drop(second);
    third.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    let mut byte = [0];
    third.read_exact(&mut byte).expect("there is room for it now");
    assert_eq!(&byte, b"H");
}

#[test]
fn who_never_reads_does_not_keep_others_out() {
    let limit = Config {
        api_connections: 4,
        api_subscribers: 1,
        api_write_timeout: Duration::from_millis(500),
        ..common::config()
    };
    let served = serve(&limit);
    // So that a list is more than what lies between the two ends.
    let client = served.node.client();
    let account = client.account(quorate_chain::crypto::SecretKey::from_seed(&[8; 32]));
    for at in 0..40 {
        account.put(format!("large/{at}"), vec![7; 200 << 10]).expect("there is a validator");
    }
    let _deaf: Vec<TcpStream> = ["/v1/state?prefix=large", "/v1/events?topics=state&from=1"]
        .iter()
        .cycle()
        .take(4)
        .map(|path| {
            let mut stream = connect(&served);
            let head = format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n");
            // Again and again, in case what waits is larger than an answer.
            stream.write_all(head.repeat(8).as_bytes()).expect("it is open");
            stream
        })
        .collect();
    let mut one = connect(&served);
    assert!(livez(&mut one).starts_with("HTTP/1.1 200 "), "there is room again");
    // Who hears events and does not read them is no subscriber for ever, either.
    let begun = Instant::now();
    loop {
        let mut subscriber = connect(&served);
        let head = b"GET /v1/events?topics=block&from=1 HTTP/1.1\r\nHost: node\r\n\r\n";
        subscriber.write_all(head).expect("it is open");
        let mut start = [0; 12];
        subscriber.read_exact(&mut start).expect("an answer comes");
        if start.ends_with(b"200") {
            break;
        }
        assert!(start.ends_with(b"429") && begun.elapsed() < PATIENCE, "{start:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// As many clients as may be connected, none of whom says anything: the next one waits, and is served when the first
/// of them is cut off.
#[test]
fn idle_connections_keep_others_out_no_longer_than_a_head_may_take() {
    let limit = Config { api_header_timeout: Duration::from_secs(4), ..common::config() };
    raise_open_files(limit.api_connections as u64 + 200);
    let mut served = serve(&limit);
    assert!(livez(&mut connect(&served)).starts_with("HTTP/1.1 200 "));
    let (before, begun) = (served.node.resident(), Instant::now());
    let mut idle: Vec<_> = (0..limit.api_connections).map(|_| connect(&served)).collect();
    let mut next = connect(&served);
    next.write_all(b"GET /livez HTTP/1.1\r\nHost: node\r\n\r\n").expect("it is open");
    next.set_read_timeout(Some(Duration::from_millis(300))).expect("it is a socket");
    let mut byte = [0];
    let heard = next.read(&mut byte);
    // On a machine that took too long for that the first one may have gone already.
    if begun.elapsed() < limit.api_header_timeout {
        assert!(heard.is_err(), "nobody has read it");
    }
    // What an idle one may take is in the documents for operators; the rest is for everything else.
    let grown = served.node.resident().saturating_sub(before);
    assert!(grown < (32 << 10) * idle.len() as u64 + (32 << 20), "by {grown} bytes");
    if heard.is_err() {
        next.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        next.read_exact(&mut byte).expect("there is room for it now");
    }
    assert_eq!(&byte, b"H");
    for one in &mut idle {
        assert_eq!(rest(one), "", "who says nothing at all is told nothing");
    }
    let account =
        served.node.client().account(quorate_chain::crypto::SecretKey::from_seed(&[9; 32]));
    account.put("after", "v").expect("it serves as before");
    assert!(served.node.child.try_wait().expect("it is a child").is_none());
}
