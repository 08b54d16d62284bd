//! HTTP, byte by byte, so that tests see what is sent and can send what no client would.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::group::PATIENCE;

/// What a node has answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem that it must be.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(
            (self.status, self.kind.as_str()),
            (status, "application/problem+json"),
            "{text}"
        );
        let problem = self.json();
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&code.into(), &status.into()),
            "{text}"
        );
        for field in [
            "type",
            "title",
            "detail",
            "outcome",
            "retry",
            "tx",
            "reachable",
            "needed",
            "leader_api",
        ] {
            assert!(problem.get(field).is_some(), "{field} is missing: {text}");
        }
        problem
    }
}

/// A connection to a node.
pub(crate) fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a request and reads the answer to its end. A node that hangs up early has answered before.
pub(crate) fn ask(url: &str, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
    let mut stream = connect(url);
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(body);
    read(stream).expect("it answers")
}

/// Reads an answer; nothing if the node hung up without one.
pub(crate) fn read(stream: TcpStream) -> Option<Reply> {
    let mut reader = BufReader::new(stream);
    let (status, headers) = head(&mut reader)?;
    let of =
        |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let mut body = Vec::new();
    match of("content-length") {
        Some(length) => {
            body.resize(length.parse().unwrap(), 0);
            reader.read_exact(&mut body).ok()?;
        }
        None => drop(reader.read_to_end(&mut body)),
    }
    Some(Reply { status, kind: of("content-type").unwrap_or_default(), body })
}

/// The status and the headers of an answer.
pub(crate) fn head(reader: &mut BufReader<TcpStream>) -> Option<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    Some((status, headers))
}

/// Asks for something.
pub(crate) fn get(url: &str, path: &str) -> Reply {
    ask(url, "GET", path, &[], &[])
}

/// Asks for something that must be there.
pub(crate) fn json(url: &str, path: &str) -> Value {
    let reply = get(url, path);
    let text = String::from_utf8_lossy(&reply.body);
    assert_eq!((reply.status, reply.kind.as_str()), (200, "application/json"), "{path}: {text}");
    reply.json()
}

/// Sends the bytes of a transaction.
pub(crate) fn post(url: &str, path: &str, body: &[u8]) -> Reply {
    ask(url, "POST", path, &["content-type: application/octet-stream"], body)
}
