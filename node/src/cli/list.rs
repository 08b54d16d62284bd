//! Commands that print lists: `scan`, `history`, `watch`, `peers`, `validators`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use quorate_chain::ids::Height;
use quorate_client::answer::{History, Items};
use quorate_client::{Event, Wanted, path};
use serde_json::Value;

use super::output::{self, Done, Ended, Output};
use super::reach::Nodes;
use super::read::{read, show};
use crate::exit::{Exit, Failure};
use crate::stderr;

/// How a list is cut.
#[derive(Debug, clap::Args)]
struct Part {
    /// How many to print at most: up to 1000.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    /// Where to go on: the cursor of the list before.
    #[arg(long)]
    cursor: Option<String>,
}

/// Keys that begin alike.
#[derive(Debug, clap::Args)]
pub(super) struct Scan {
    /// How they begin; all keys if it is empty.
    #[arg(default_value = "")]
    prefix: OsString,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    nodes: Nodes,
}

/// A key and what it has been.
#[derive(Debug, clap::Args)]
pub(super) struct ShowHistory {
    /// The key.
    key: OsString,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    nodes: Nodes,
}

/// What to hear of.
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Which events: block, leadership, state, peer.
    #[arg(long, value_name = "TOPIC,…", value_delimiter = ',')]
    topics: Vec<String>,
    /// Of the state, only keys that begin like this.
    #[arg(long, default_value = "")]
    prefix: OsString,
    /// From which height on [default: from now on].
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    /// How many events to print before ending.
    #[arg(long, value_name = "COUNT")]
    count: Option<usize>,
    #[command(flatten)]
    nodes: Nodes,
}

/// Nothing but which nodes.
#[derive(Debug, clap::Args)]
pub(super) struct Group {
    #[command(flatten)]
    nodes: Nodes,
}

/// A key as people read it; what is no text has its bytes in hex.
fn shown(key: &[u8]) -> String {
    std::str::from_utf8(key).map_or_else(
        |_| data_encoding::HEXLOWER.encode(key),
        |text| text.escape_debug().to_string(),
    )
}

/// A value as people read it, on one line and not longer than that.
fn shown_value(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if text.chars().count() <= 80 => text.escape_debug().to_string(),
        Ok(_) | Err(_) => format!("({} bytes)", value.len()),
    }
}

fn more(cursor: Option<&String>) {
    if let Some(cursor) = cursor {
        stderr::line(format_args!("there is more: --cursor {cursor}"));
    }
}

impl Scan {
    /// Shows the keys that begin alike.
    pub(super) fn run(self, output: Output) -> Done {
        let Part { limit, cursor } = &self.part;
        let path = path::scan(self.prefix.as_bytes(), *limit, cursor.as_deref());
        show(&self.nodes, &path, output, |found: &Items| {
            for item in &found.items {
                output::line(&format!("{}\t{}", shown(&item.key.0), shown_value(&item.value)))?;
            }
            more(found.cursor.as_ref());
            Ok(())
        })
    }
}

impl ShowHistory {
    /// Shows what a key has been.
    pub(super) fn run(self, output: Output) -> Done {
        let Part { limit, cursor } = &self.part;
        let path = path::history(self.key.as_bytes(), *limit, cursor.as_deref());
        show(&self.nodes, &path, output, |found: &History| {
            for version in &found.versions {
                let value = version.value.as_ref();
                let value =
                    value.and_then(|text| data_encoding::BASE64.decode(text.as_bytes()).ok());
                let value = value.map_or_else(|| "-".to_owned(), |value| shown_value(&value));
                let (height, op, tx) = (version.height, &version.op, version.tx);
                output::line(&format!("{height}\t{op}\t{value}\t{tx}"))?;
            }
            more(found.cursor.as_ref());
            Ok(())
        })
    }
}

impl Watch {
    /// Prints events as they come, until the process is ended or there were enough.
    pub(super) fn run(self, output: Output) -> Done {
        let wanted = Wanted {
            topics: self.topics,
            prefix: self.prefix.as_bytes().to_owned(),
            from: self.from.map(Height::new),
        };
        let events = self.nodes.client()?.events(wanted)?;
        for event in events.take(self.count.unwrap_or(usize::MAX)) {
            let event = event?;
            match output {
                Output::Json => output::line(&named(&event)?)?,
                Output::Text => {
                    let height = event.height.map_or_else(|| "-".to_owned(), |h| h.to_string());
                    output::line(&format!("{height}\t{}\t{}", event.topic, event.data))?;
                }
            }
        }
        Ok(())
    }
}

/// An event as one object: what is said of it, its topic and its id.
fn named(event: &Event) -> Result<String, Ended> {
    let mut object: serde_json::Map<String, Value> = read(&event.data)?;
    object.insert("event".to_owned(), event.topic.clone().into());
    object.insert("id".to_owned(), event.height.map(Height::get).into());
    serde_json::to_string(&object).map_err(|error| Failure::new(Exit::Bug, error).into())
}

/// Some fields of each object of a list, as columns under their names.
fn columns(body: &Value, list: &str, fields: &[&str]) -> Done {
    let items = body.get(list).and_then(Value::as_array).into_iter().flatten();
    let row = |item: &Value| fields.iter().map(|name| cell(item.get(*name))).collect();
    let heading: Vec<String> = fields.iter().map(|name| name.replace('_', " ")).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(items.map(row)).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..fields.len()).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: String = cells.map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        output::line(line.trim_end())?;
    }
    Ok(())
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

impl Group {
    /// Shows the other nodes, as one of them sees them.
    pub(super) fn peers(self, output: Output) -> Done {
        let fields = ["node_id", "name", "state", "last_seen_ms", "height", "term", "api"];
        show(&self.nodes, "/v1/peers", output, |body: &Value| columns(body, "peers", &fields))
    }

    /// Shows who is in the roster.
    pub(super) fn validators(self, output: Output) -> Done {
        let fields =
            ["node_id", "name", "state", "voter", "lead", "last_signed_height", "public_key"];
        show(&self.nodes, "/v1/validators", output, |body: &Value| {
            columns(body, "validators", &fields)
        })
    }
}
