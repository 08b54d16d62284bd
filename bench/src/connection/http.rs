//! HTTP/1.1, kept open for the next request. No more of it is read than nodes send.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest head of an answer.
const LONGEST_HEAD: usize = 16 * 1_024;

/// A connection to a node.
pub(crate) struct Http {
    stream: TcpStream,
    received: BytesMut,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: BytesMut,
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes of the head, and of the body after it.
    length: usize,
    body: usize,
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Reads a head that is here as a whole; `None` if it is not.
fn head(received: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        let fits = received.len() <= LONGEST_HEAD;
        return if fits { Ok(None) } else { Err(nonsense("the head of an answer does not end")) };
    };
    let text = std::str::from_utf8(&received[..end]).map_err(|_| nonsense("a head is no text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| nonsense("an answer has no status"))?;
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.trim().parse().ok());
    let body = length.ok_or_else(|| nonsense("an answer does not say how long it is"))?;
    Ok(Some(Head { status, length: end + 4, body }))
}

impl Http {
    /// Connects to a node.
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::with_capacity(4_096) })
    }

    /// Sends a request and waits for the answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        let head = loop {
            if let Some(head) = head(&self.received)? {
                break head;
            }
            self.receive().await?;
        };
        while self.received.len() < head.length + head.body {
            self.receive().await?;
        }
        self.received.advance(head.length);
        Ok(Answer { status: head.status, body: self.received.split_to(head.body) })
    }

    async fn receive(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a node has hung up")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_here_as_a_whole() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nx: y\r\n\r\nbody";
        for end in 0..text.len() - 4 {
            assert_eq!(head(&text[..end]).unwrap(), None);
        }
        let whole = Head { status: 200, length: text.len() - 4, body: 12 };
        assert_eq!(head(text).unwrap(), Some(whole));
    }

    #[test]
    fn what_is_no_answer_is_said_to_be_none() {
        for nonsense in ["HTTP/1.1 200 OK\r\n\r\n", "hello\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
            assert!(head(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
        assert!(head(&vec![b'a'; LONGEST_HEAD + 1]).is_err());
    }
}
