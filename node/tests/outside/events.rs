//! Events: none is lost, none comes twice, and nobody who is slow costs more.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use quorate_chain::ids::Height;
use quorate_client::{Client, Event, Wanted};
use quorate_node::config::Config;
use serde_json::Value;

use crate::common;
use crate::group::{Group, PATIENCE, eventually, group, patient};
use crate::http::{connect, get, head, json};

/// What a node tells from a height on, line by line.
fn open(url: &str, query: &str, headers: &str) -> BufReader<TcpStream> {
    let mut stream = connect(url);
    write!(stream, "GET /v1/events?{query} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let (status, headers) = head(&mut reader).unwrap();
    let kind = headers.iter().find(|(name, _)| name == "content-type").unwrap();
    assert_eq!((status, kind.1.as_str()), (200, "text/event-stream"));
    reader
}

/// The next event: its topic, its id and its data.
fn next(reader: &mut BufReader<TcpStream>) -> (String, Option<u64>, Value) {
    let (mut topic, mut id) = (String::new(), None);
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the line has ended");
        if let Some(name) = line.strip_prefix("event: ") {
            topic = name.trim().to_owned();
        } else if let Some(text) = line.strip_prefix("id: ") {
            id = Some(text.trim().parse().unwrap());
        } else if let Some(data) = line.strip_prefix("data: ") {
            return (topic, id, serde_json::from_str(data).unwrap());
        }
    }
}

#[test]
fn a_chain_is_told_from_its_beginning_and_goes_on() {
    let (group, account) = (group(), group().account(60));
    let outcome = account.put("events/a", "1").unwrap();
    let height = outcome.height.unwrap().get();
    let mut line = open(group.url(1), "topics=block,leadership&from=1", "");
    let (topic, id, first) = next(&mut line);
    assert_eq!((topic.as_str(), id), ("leadership", Some(1)));
    let opening = json(group.url(0), "/v1/blocks/1");
    for (field, of_block) in [("height", "height"), ("term", "term"), ("leader", "proposer")] {
        assert_eq!(first[field], opening[of_block], "{first}");
    }
    let votes: Vec<u64> =
        first["votes"].as_array().unwrap().iter().map(|vote| vote.as_u64().unwrap()).collect();
    assert!(votes.len() >= 2 && votes.iter().all(|vote| *vote < 3), "{first}");
    assert!(votes.is_sorted_by(|one, other| one < other), "{first}");
    let (mut expected, mut seen) = (1, false);
    while !seen {
        let (topic, id, data) = next(&mut line);
        if topic == "block" {
            assert_eq!((data["height"].as_u64(), id), (Some(expected), Some(expected)));
            let block = json(group.url(0), &format!("/v1/blocks/{expected}"));
            for field in ["hash", "term", "proposer", "tx_count", "time_us"] {
                assert_eq!(data[field], block[field], "{field} of {expected}");
            }
            seen = expected == height;
            expected += 1;
        }
    }
    let later = account.put("events/b", "2").unwrap().height.unwrap().get();
    while next(&mut line).1 != Some(later) {}
}

#[test]
fn the_state_is_told_key_by_key_and_only_what_took_effect() {
    let (group, account) = (group(), group().account(61));
    let first = account.put("events/state/k", "1").unwrap();
    account.put("events/state/k", "2").unwrap_err();
    account.put("events/elsewhere", "x").unwrap();
    let last = account.remove("events/state/k").unwrap();
    let from = first.height.unwrap();
    let mut line =
        open(group.url(2), &format!("topics=state&prefix=events/state/&from={from}"), "");
    let (topic, id, data) = next(&mut line);
    assert_eq!((topic.as_str(), id), ("state", Some(from.get())));
    assert_eq!((&data["key"], &data["value"]), (&"events/state/k".into(), &"MQ==".into()));
    assert_eq!(data["tx"], first.id.to_string());
    let (_, id, data) = next(&mut line);
    assert_eq!((id, &data["value"]), (last.height.map(Height::get), &Value::Null));
    // Behind the last one that a client has.
    let resumed = format!("last-event-id: {from}\r\n");
    let mut line = open(group.url(0), "topics=state&prefix=events/state/&from=1", &resumed);
    assert_eq!(next(&mut line).1, last.height.map(Height::get));
}

#[test]
fn a_line_without_news_is_heard_to_be_open_every_15_seconds() {
    let mut line = open(group().url(2), "topics=state&prefix=events/nothing", "");
    let mut comment = || {
        let mut text = String::new();
        while text.trim() != ":" {
            text.clear();
            assert_ne!(line.read_line(&mut text).unwrap(), 0, "the line has ended");
            assert!(!text.starts_with("event"), "{text}");
        }
        Instant::now()
    };
    let [first, second] = [comment(), comment()];
    // The first one is on its way for no longer than the second.
    let passed = second - first;
    assert!(passed > Duration::from_secs(12) && passed < PATIENCE, "{passed:?}");
}

#[test]
fn who_is_there_is_told_without_ids() {
    let mut line = open(group().url(0), "topics=peer", "");
    for expected in [1, 2] {
        let (topic, id, data) = next(&mut line);
        assert_eq!((topic.as_str(), id, &data["node_id"]), ("peer", None, &expected.into()));
        assert!(data["state"].is_string());
    }
}

/// Passes bytes on, and cuts every line after a few of them, fewer or more each time.
fn shears(to: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (own, to) = (listener.local_addr().unwrap(), to.trim_start_matches("http://").to_owned());
    thread::spawn(move || {
        for (at, client) in listener.incoming().enumerate() {
            let (Ok(mut client), Ok(mut node)) = (client, TcpStream::connect(&to)) else {
                continue;
            };
            let mut up = (client.try_clone().unwrap(), node.try_clone().unwrap());
            thread::spawn(move || drop(std::io::copy(&mut up.0, &mut up.1)));
            thread::spawn(move || {
                let most = 300 + (at as u64 * 977) % 4_000;
                let _ = std::io::copy(&mut (&mut node).take(most), &mut client);
                let _ = (client.shutdown(Shutdown::Both), node.shutdown(Shutdown::Both));
            });
        }
    });
    format!("http://{own}")
}

#[test]
fn a_line_that_is_cut_again_and_again_loses_and_doubles_nothing() {
    let (group, account) = (group(), group().account(62));
    let from = account.put("events/cut", "begin").unwrap().height.unwrap();
    let mut last = from;
    for at in 0..30 {
        let batch = (0..5).fold(quorate_client::Batch::new(), |batch, key| {
            batch.update(format!("events/cut/{key}"), format!("{at}"))
        });
        last = account.send(batch).unwrap().height.unwrap();
    }
    let wanted = |from| Wanted {
        from: Some(from),
        prefix: b"events/cut".to_vec(),
        topics: ["state", "block"].map(str::to_owned).to_vec(),
    };
    let told = |client: &Client| -> Vec<Event> {
        let events = client.events(wanted(from)).unwrap().map(Result::unwrap);
        events.take_while(|event| event.height <= Some(last)).collect()
    };
    // One more block, so that the last height is whole when the next one begins.
    account.put("events/cut/end", "end").unwrap();
    let whole = told(&group.node(0));
    assert!(whole.iter().filter(|event| event.topic == "state").count() > 150);
    let nodes = (0..3).map(|at| shears(group.url(at))).collect::<Vec<_>>().join(",");
    let cut = told(&Client::new(&nodes).unwrap().with_timeout(PATIENCE));
    assert_eq!(cut, whole);
}

#[test]
fn who_reads_slowly_misses_nothing() {
    let (group, account) = (group(), group().account(63));
    let from = account.put("events/slow", "begin").unwrap().height.unwrap();
    let mut line = open(group.url(0), &format!("topics=state&prefix=events/slow&from={from}"), "");
    let large = vec![b'x'; 200 << 10];
    let heights: Vec<_> = (0..60)
        .map(|at| account.put(format!("events/slow/{at}"), &large).unwrap().height.unwrap().get())
        .collect();
    next(&mut line);
    for height in heights {
        assert_eq!(next(&mut line).1, Some(height));
    }
}

#[test]
fn beyond_the_bound_subscribers_are_refused_and_make_room_when_they_go() {
    let config = Config { api_subscribers: 3, ..common::config() };
    let group = Group::start("subscribers", 1, &config);
    let lines: Vec<_> = (0..3).map(|_| open(group.url(0), "topics=block", "")).collect();
    let problem = get(group.url(0), "/v1/events").problem(429, "rate_limited");
    assert_eq!(problem["retry"], "same_bytes");
    drop(lines);
    eventually("there is room again", || {
        let mut stream = connect(group.url(0));
        write!(stream, "GET /v1/events?from=1 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        head(&mut BufReader::new(stream)).unwrap().0 == 200
    });
    patient(&group.node(0), 64).put("events/after", "v").unwrap();
}
