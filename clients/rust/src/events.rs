//! What happens on the chain, as it happens or from any height on.
//!
//! A line to a node may end at any time. The next one begins where the last one ended: with the
//! height of the last event, of which those are passed over that have been seen, since a node always
//! tells the events of a height in the same order. So none is lost and none comes twice, whichever
//! node tells them.

use std::io::BufRead;
use std::thread;
use std::time::{Duration, Instant};

use quorate_chain::ids::Height;
use serde::Deserialize;

use crate::client::Client;
use crate::error::Error;
use crate::path;
use crate::problem::{Problem, Retry};

/// How long one line is listened to. A node that hangs is left after that; one that does not is
/// asked again, which costs nothing.
const LINE: Duration = Duration::from_secs(60);
/// How long to wait before the next node is asked.
const PAUSE: Duration = Duration::from_millis(100);

/// What to hear of. Without topics: of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `block`, `leadership`, `state` or `peer`.
    pub topics: Vec<String>,
    /// Of the state, only keys that begin like this.
    pub prefix: Vec<u8>,
    /// From which height on; from now on if none is said.
    pub from: Option<Height>,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its topic.
    pub topic: String,
    /// The height it belongs to; events of the topic `peer` belong to none.
    pub height: Option<Height>,
    /// What is said of it, as JSON.
    pub data: String,
}

impl Event {
    /// What is said of it.
    ///
    /// # Errors
    /// If it does not say that.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.data)
    }
}

/// Events, one after the other, for ever. After an error there is no more.
pub struct Events {
    client: Client,
    wanted: Wanted,
    /// The height of the last event, and how many of that height were seen.
    seen: Option<(Height, usize)>,
    /// How many of them the open line has told again.
    again: usize,
    line: Option<Box<dyn BufRead + Send>>,
    /// Whether the open line, or the last one, has told anything.
    told: bool,
    /// When the last line ended, or nobody could be asked for one for the first time.
    without_since: Instant,
    ended: bool,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { wanted, seen, .. } = self;
        f.debug_struct("Events").field("wanted", wanted).field("seen", seen).finish_non_exhaustive()
    }
}

impl Events {
    /// Begins to listen. What happens from now on is heard, even if the first line fails.
    pub(crate) fn begin(client: Client, wanted: Wanted) -> Result<Self, Error> {
        let from = match wanted.from {
            Some(from) => from,
            None => Height::new(client.height()?.applied.get().saturating_add(1)),
        };
        Ok(Self {
            client,
            wanted: Wanted { from: Some(from), ..wanted },
            seen: None,
            again: 0,
            line: None,
            told: false,
            without_since: Instant::now(),
            ended: false,
        })
    }

    /// Opens a line to the node that is asked next.
    fn open(&mut self) -> Result<(), Error> {
        let from = self.seen.map(|(height, _)| height).or(self.wanted.from);
        let path = path::events(&self.wanted.topics, &self.wanted.prefix, from);
        (self.again, self.told) = (0, false);
        self.line = Some(self.client.line(&path, LINE)?);
        Ok(())
    }

    /// Whether an event is new. Those of the last height come again on a new line.
    fn is_new(&mut self, event: &Event) -> bool {
        let Some(height) = event.height else { return true };
        match &mut self.seen {
            Some((last, count)) if *last == height => {
                self.again += 1;
                if self.again <= *count {
                    return false;
                }
                *count += 1;
            }
            Some((last, _)) if height < *last => return false,
            seen => {
                *seen = Some((height, 1));
                self.again = 1;
            }
        }
        true
    }

    /// The next event on the open line; `None` when the line has ended.
    fn read(&mut self) -> Option<Event> {
        let line = self.line.as_mut()?;
        let event = read_event(line);
        self.told |= event.is_some();
        if event.is_none() {
            self.line = None;
            self.without_since = Instant::now();
            if !self.told {
                // Whoever hangs up at once is not asked without end at once.
                thread::sleep(PAUSE);
            }
        }
        event
    }

    fn wait_or_give_up(&mut self, error: Error) -> Option<Error> {
        let refused =
            matches!(&error, Error::Refused { problem, .. } if problem.retry != Retry::SameBytes);
        if refused || self.without_since.elapsed() >= self.client.timeout() {
            self.ended = true;
            return Some(error);
        }
        thread::sleep(PAUSE);
        None
    }
}

impl Iterator for Events {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            if self.line.is_none()
                && let Err(error) = self.open()
            {
                match self.wait_or_give_up(error) {
                    Some(error) => return Some(Err(error)),
                    None => continue,
                }
            }
            let Some(event) = self.read() else { continue };
            if event.topic == "problem" {
                self.ended = true;
                return Some(Err(refused(event.data)));
            }
            if self.is_new(&event) {
                return Some(Ok(event));
            }
        }
        None
    }
}

fn refused(body: String) -> Error {
    match serde_json::from_str::<Problem>(&body) {
        Ok(problem) => Error::Refused { problem: Box::new(problem), body },
        Err(error) => Error::Nonsense {
            url: "/v1/events".to_owned(),
            status: 200,
            what: format!("a problem that cannot be read ({error})"),
        },
    }
}

/// Reads up to the empty line that ends an event. An event that is cut off has not happened.
fn read_event(line: &mut impl BufRead) -> Option<Event> {
    let (mut topic, mut height, mut data) = (None, None, None);
    loop {
        let mut text = String::new();
        let length = line.read_line(&mut text).ok()?;
        let text = text.strip_suffix('\n')?;
        if length == 0 {
            return None;
        }
        if text.is_empty() {
            match (topic.take(), data.take()) {
                (Some(topic), Some(data)) => return Some(Event { topic, height, data }),
                // A comment, or something that we do not know.
                _ => height = None,
            }
        } else if let Some(name) = text.strip_prefix("event: ") {
            topic = Some(name.to_owned());
        } else if let Some(id) = text.strip_prefix("id: ") {
            height = id.parse().ok().map(Height::new);
        } else if let Some(json) = text.strip_prefix("data: ") {
            data = Some(json.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_whole_or_not_at_all() {
        let text = ":\n\nevent: block\nid: 7\ndata: {\"height\":7}\n\nevent: peer\ndata: {}\n\nevent: block\nid: 8\n";
        let mut line = text.as_bytes();
        let block = read_event(&mut line).unwrap();
        assert_eq!((block.topic.as_str(), block.height), ("block", Some(Height::new(7))));
        assert_eq!(block.data, "{\"height\":7}");
        let peer = read_event(&mut line).unwrap();
        assert_eq!((peer.topic.as_str(), peer.height), ("peer", None));
        assert_eq!(read_event(&mut line), None);
    }
}
