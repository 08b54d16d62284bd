//! As much of NATS as publishing to a stream needs: a message with an address for the answer, and the answer.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Asked;

/// Where answers go; each connection has its own.
const INBOX: &str = "_INBOX.bench";

/// A connection to a server.
pub(crate) struct Nats {
    stream: TcpStream,
    received: BytesMut,
    inbox: String,
}

/// A message to a subject, without the address for its answer, which belongs to a connection.
pub(crate) fn published(subject: &str, payload: &[u8]) -> Bytes {
    [subject.as_bytes(), b"\n", payload].concat().into()
}

fn nonsense(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

impl Nats {
    /// Connects to a server, and listens for answers.
    pub(crate) async fn open(node: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(node).await?;
        stream.set_nodelay(true)?;
        let port = stream.local_addr()?.port();
        let inbox = format!("{INBOX}.{port}");
        let mut nats = Self { stream, received: BytesMut::new(), inbox };
        let info = nats.line().await?;
        if !info.starts_with("INFO ") {
            return Err(nonsense(format!("a server began with {info}")));
        }
        let hello = r#"{"verbose":false,"pedantic":false,"lang":"bench","version":"0"}"#;
        let begin = format!("CONNECT {hello}\r\nSUB {} 1\r\n", nats.inbox);
        nats.stream.write_all(begin.as_bytes()).await?;
        Ok(nats)
    }

    async fn receive(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a server has hung up")),
            _ => Ok(()),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let line = self.received.split_to(end);
                self.received.advance(2);
                return String::from_utf8(line.to_vec()).map_err(nonsense);
            }
            self.receive().await?;
        }
    }

    /// The next message, which is for the inbox; meanwhile the server may ask whether somebody is there.
    async fn message(&mut self) -> io::Result<Bytes> {
        loop {
            let line = self.line().await?;
            match line.split(' ').next() {
                Some("PING") => self.stream.write_all(b"PONG\r\n").await?,
                Some("PONG" | "+OK" | "INFO") => {}
                Some("MSG") => {
                    let length = line.rsplit(' ').next().and_then(|length| length.parse().ok());
                    let length: usize = length.ok_or_else(|| nonsense(&line))?;
                    while self.received.len() < length + 2 {
                        self.receive().await?;
                    }
                    let payload = self.received.split_to(length).freeze();
                    self.received.advance(2);
                    return Ok(payload);
                }
                Some(_) | None => return Err(nonsense(line)),
            }
        }
    }

    /// Sends a message and waits for the answer.
    pub(crate) async fn call(&mut self, subject: &str, payload: &[u8]) -> io::Result<Bytes> {
        let head = format!("PUB {subject} {} {}\r\n", self.inbox, payload.len());
        let whole = [head.as_bytes(), payload, b"\r\n"].concat();
        self.stream.write_all(&whole).await?;
        self.message().await
    }

    pub(super) async fn ask(&mut self, request: &Bytes) -> io::Result<Asked> {
        let end = request.iter().position(|byte| *byte == b'\n').unwrap_or(request.len());
        let subject = std::str::from_utf8(&request[..end]).map_err(nonsense)?;
        let answer = self.call(subject, request.get(end + 1..).unwrap_or_default()).await?;
        let stored = answer.windows(6).any(|part| part == b"\"seq\":");
        Ok(if stored { Asked::Done } else { Asked::not("not stored", &answer) })
    }
}
