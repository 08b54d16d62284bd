//! Where things are asked for.

use std::fmt::Write as _;
use std::time::Duration;

use quorate_chain::ids::{AccountKey, BlockHash, Height, TxId};

use crate::base64;
use crate::client::Level;

/// How a block is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockName {
    /// By its place.
    Height(Height),
    /// By its hash.
    Hash(BlockHash),
    /// The newest committed one.
    Latest,
}

impl From<Height> for BlockName {
    fn from(height: Height) -> Self {
        Self::Height(height)
    }
}

impl From<BlockHash> for BlockName {
    fn from(hash: BlockHash) -> Self {
        Self::Hash(hash)
    }
}

/// Text that names no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a height nor a hash nor `latest`")]
pub struct NotABlock(String);

impl std::str::FromStr for BlockName {
    type Err = NotABlock;

    fn from_str(text: &str) -> Result<Self, NotABlock> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        // A hash of 64 decimal digits would be too large for a height.
        if let Ok(height) = text.parse() {
            return Ok(Self::Height(Height::new(height)));
        }
        text.parse().map(Self::Hash).map_err(|_| NotABlock(text.to_owned()))
    }
}

/// What is told of a block's transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Txs {
    /// Their ids.
    Ids,
    /// All of them.
    Full,
}

/// A block.
#[must_use]
pub fn block(name: BlockName, txs: Txs) -> String {
    let name = match name {
        BlockName::Height(height) => height.to_string(),
        BlockName::Hash(hash) => hash.to_string(),
        BlockName::Latest => "latest".to_owned(),
    };
    match txs {
        Txs::Ids => format!("/v1/blocks/{name}"),
        Txs::Full => format!("/v1/blocks/{name}?txs=full"),
    }
}

/// The certificate that covers a height.
#[must_use]
pub fn certificate(height: Height) -> String {
    format!("/v1/blocks/{height}/certificate")
}

/// What became of a transaction.
#[must_use]
pub fn tx(id: TxId) -> String {
    format!("/v1/txs/{id}")
}

/// What is known of a sender.
#[must_use]
pub fn account(key: AccountKey) -> String {
    format!("/v1/accounts/{key}")
}

/// The value of a key. A key that is not text, or that would be taken for a step in the path, goes
/// into the query.
#[must_use]
pub fn state(key: &[u8]) -> String {
    let text = std::str::from_utf8(key).ok().filter(|text| !["", ".", ".."].contains(text));
    match text {
        Some(text) => format!("/v1/state/{}", escaped(text.as_bytes())),
        None => {
            format!("/v1/state?key_base64={}", escaped(base64::encode(key).as_bytes()))
        }
    }
}

/// A key in a path, or what stands for it there and what the query then says.
fn key(key: &[u8]) -> (String, Option<String>) {
    let text = std::str::from_utf8(key).ok().filter(|text| !["", ".", "..", "-"].contains(text));
    match text {
        Some(text) => (escaped(text.as_bytes()), None),
        None => ("-".to_owned(), Some(escaped(base64::encode(key).as_bytes()))),
    }
}

/// What a key has been, newest first, at most so many, after a cursor if one is given.
#[must_use]
pub fn history(of: &[u8], limit: usize, cursor: Option<&str>) -> String {
    let (name, encoded) = key(of);
    let mut path = format!("/v1/state/{name}/history?limit={limit}");
    if let Some(encoded) = encoded {
        path.push_str(&format!("&key_base64={encoded}"));
    }
    if let Some(cursor) = cursor {
        path.push_str(&format!("&cursor={}", escaped(cursor.as_bytes())));
    }
    path
}

/// Keys that begin with a prefix, in order, at most so many, after a cursor if one is given.
#[must_use]
pub fn scan(prefix: &[u8], limit: usize, cursor: Option<&str>) -> String {
    let mut path = format!("/v1/state?limit={limit}&{}", prefix_query(prefix));
    if let Some(cursor) = cursor {
        path.push_str(&format!("&cursor={}", escaped(cursor.as_bytes())));
    }
    path
}

fn prefix_query(prefix: &[u8]) -> String {
    match std::str::from_utf8(prefix) {
        Ok(text) => format!("prefix={}", escaped(text.as_bytes())),
        Err(_) => format!("prefix_base64={}", escaped(base64::encode(prefix).as_bytes())),
    }
}

/// Events of these topics, or of all.
#[must_use]
pub fn events(topics: &[String], prefix: &[u8], from: Option<Height>) -> String {
    let mut path = format!("/v1/events?{}", prefix_query(prefix));
    if !topics.is_empty() {
        path.push_str(&format!("&topics={}", escaped(topics.join(",").as_bytes())));
    }
    if let Some(from) = from {
        path.push_str(&format!("&from={from}"));
    }
    path
}

/// The query of a transaction that is sent.
pub(crate) fn wait(level: Level, timeout: Duration) -> String {
    let level = match level {
        Level::Accepted => "accepted",
        Level::Committed => "committed",
        Level::Applied => "applied",
    };
    format!("?wait={level}&timeout={}ms", timeout.as_millis())
}

/// RFC 3986 §2.1, all but the unreserved characters.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_path_that_no_server_takes_apart() {
        assert_eq!(state(b"greeting"), "/v1/state/greeting");
        assert_eq!(state(b"a/b c?d=%#"), "/v1/state/a%2Fb%20c%3Fd%3D%25%23");
        assert_eq!(state("ä".as_bytes()), "/v1/state/%C3%A4");
        assert_eq!(state(b".."), "/v1/state?key_base64=Li4%3D");
        assert_eq!(state(&[0xff]), "/v1/state?key_base64=%2Fw%3D%3D");
    }

    #[test]
    fn a_block_is_named_in_three_ways() {
        assert_eq!("7".parse(), Ok(BlockName::Height(Height::new(7))));
        assert_eq!("latest".parse(), Ok(BlockName::Latest));
        let hash = "0123456789abcdef".repeat(4);
        assert_eq!(hash.parse(), Ok(BlockName::Hash(hash.parse().unwrap())));
        assert!("newest".parse::<BlockName>().is_err());
    }
}
