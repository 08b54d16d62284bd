//! `quorate wal`: looking at a log without changing it.

use std::path::PathBuf;

use quorate_replica::record;
use quorate_wal::{Damage, File, Inspection, RecordFacts, RecordKind, SegmentFacts};
use serde_json::{Value, json};

use super::output::{self, Done, Output};
use super::reach::home;
use crate::exit::{Exit, Failure};
use crate::home::Layout;

/// Look at the log of a node.
#[derive(Debug, clap::Args)]
pub(super) struct Wal {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print what stands in a log, segment by segment, and precisely what is damaged. Ends with 9 if
    /// anything is. The node may run meanwhile; then the end may look torn.
    Inspect {
        /// The directory of the log [default: wal/ of the home].
        directory: Option<PathBuf>,
        /// The home [default: $QUORATE_HOME].
        #[arg(long, value_name = "DIRECTORY", conflicts_with = "directory")]
        home: Option<PathBuf>,
        /// Print every record.
        #[arg(long)]
        records: bool,
    },
}

impl Wal {
    /// Runs the command.
    pub(super) fn run(self, output: Output) -> Done {
        let What::Inspect { directory, home: named, records } = self.what;
        let place = directory.or_else(|| Some(Layout::new(named.or_else(home)?).wal()));
        let place = place.ok_or_else(|| Failure::new(Exit::Usage, "which log? Say --home"))?;
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Exit::Storage, format!("{}: {error}", place.display()))
        };
        let mut disk = File::read_only(&place).map_err(|error| failed(&error))?;
        let found = quorate_wal::inspect(&mut disk).map_err(|error| failed(&error))?;
        match output {
            Output::Json => output::json(&as_json(&found, records))?,
            Output::Text => tell(&found, records)?,
        }
        match found.damages.len() {
            0 => Ok(()),
            count => Err(failed(&format!("{count} damaged places, listed above")).into()),
        }
    }
}

/// What a record is, for people.
fn kind(record: &RecordFacts) -> String {
    match record.what {
        RecordKind::Preamble => "preamble".to_owned(),
        RecordKind::Mark => "mark".to_owned(),
        RecordKind::Seal => "seal".to_owned(),
        RecordKind::Record { kind: record::BRANCH, .. } => "branch".to_owned(),
        RecordKind::Record { kind: record::START, .. } => "start".to_owned(),
        RecordKind::Record { kind: record::CERTIFICATE, .. } => "certificate".to_owned(),
        RecordKind::Record { kind, .. } => format!("kind {kind}"),
    }
}

fn tag(record: &RecordFacts) -> Option<String> {
    match record.what {
        RecordKind::Record { tag, .. } => Some(tag.to_string()),
        RecordKind::Preamble | RecordKind::Mark | RecordKind::Seal => None,
    }
}

fn tell(found: &Inspection, records: bool) -> Done {
    for segment in &found.segments {
        let SegmentFacts { file, bytes, generation, first, .. } = segment;
        let count = segment.records.len();
        output::line(&format!(
            "{file}: {bytes} bytes, generation {generation}, {count} records from {first} on"
        ))?;
        for record in segment.records.iter().filter(|_| records) {
            let (offset, lsn, bytes) = (record.offset, record.lsn, record.bytes);
            let tag = tag(record).unwrap_or_default();
            output::line(&format!("  {offset:>10} {lsn} {} {bytes} bytes {tag}", kind(record)))?;
        }
    }
    if let Some(torn) = &found.torn {
        output::line(&format!(
            "torn: {} at offset {}, {} bytes: the group in flight when the process ended; no harm",
            torn.file, torn.offset, torn.bytes
        ))?;
    }
    for damage in &found.damages {
        output::line(&format!("damage: {damage}"))?;
    }
    for file in &found.put_aside {
        output::line(&format!("put aside by a repair: {file}"))?;
    }
    output::line(&format!("spare segments: {}", found.spares.len()))
}

fn as_json(found: &Inspection, records: bool) -> Value {
    let record = |record: &RecordFacts| {
        json!({
            "offset": record.offset, "lsn": record.lsn.to_string(), "kind": kind(record),
            "tag": tag(record), "bytes": record.bytes,
        })
    };
    let segment = |segment: &SegmentFacts| {
        let list: Vec<_> = segment.records.iter().filter(|_| records).map(record).collect();
        json!({
            "file": segment.file, "bytes": segment.bytes, "generation": segment.generation,
            "number": segment.number, "first": segment.first.to_string(),
            "record_count": segment.records.len(), "records": records.then_some(list),
        })
    };
    let damage = |damage: &Damage| {
        json!({
            "file": damage.file, "offset": damage.offset, "bytes": damage.bytes,
            "fault": damage.fault.to_string(), "sentence": damage.to_string(),
        })
    };
    json!({
        "segments": found.segments.iter().map(segment).collect::<Vec<_>>(),
        "damages": found.damages.iter().map(damage).collect::<Vec<_>>(),
        "torn": found.torn.as_ref().map(|torn| {
            json!({ "file": torn.file, "offset": torn.offset, "bytes": torn.bytes })
        }),
        "put_aside": found.put_aside,
        "spares": found.spares,
    })
}
