//! Tells what happens, for whoever wants to understand a failure.

use quorate_chain::ids::NodeId;
use quorate_consensus::effect::Record;
use quorate_consensus::event::Fetched as Found;
use quorate_consensus::message::Message;
use quorate_replica::io::{FetchJob, Fetched, JournalJob, Output};
use quorate_replica::snapshot::Piece;

use crate::world::Cargo;

/// Something arrives.
pub(super) fn arrival(now: u64, from: NodeId, to: usize, cargo: &Cargo) {
    let what = match cargo {
        Cargo::Transactions(transactions) => format!("{} transactions", transactions.len()),
        Cargo::Message(message) => short(message),
        Cargo::Ask(ask) => format!("{ask:?}"),
        Cargo::Piece(piece) => format!("a piece, gone: {}", matches!(piece, Piece::Gone)),
    };
    eprintln!("{:>13.6} {from} → {to} {what}", now as f64 / 1e6);
}

fn short(message: &Message) -> String {
    match message {
        Message::PreVoteRequest { term, tip, proof, handover, .. } => {
            let proof = proof.as_ref().map(|proof| proof.certificate.term().get());
            format!(
                "PreVoteRequest term {term}, tip {tip}, proof {proof:?}, {}",
                handover.is_some()
            )
        }
        Message::VoteRequest { tip, proof, .. } => {
            format!("VoteRequest term {}, tip {tip}", proof.certificate.term())
        }
        Message::Vote(said) => format!("{:?}", said.statement),
        Message::Refuse { proof, tip, committed } => {
            let proof = proof.as_ref().map(|proof| proof.certificate.term().get());
            format!("Refuse proof {proof:?}, tip {tip}, committed {committed}")
        }
        Message::Append(append) => format!(
            "Append term {}, election {}, lap {}, beat {}, parent {}, {} blocks, certificate {:?}",
            append.term,
            append.election.is_some(),
            append.lap.0,
            append.beat.0,
            append.parent,
            append.blocks.len(),
            append.certificate.as_ref().map(|certificate| certificate.block().to_string())
        ),
        Message::Stored(stored) => format!(
            "Stored term {}, matched {}, applied {}, {} acks",
            stored.term,
            stored.matched,
            stored.applied,
            stored.acks.len()
        ),
        Message::Reject { lap, committed, unknown, .. } => {
            format!("Reject lap {}, committed {committed}, unknown {unknown}", lap.0)
        }
        Message::Stale(proof) => format!("Stale {:?}", proof.certificate.statement()),
        Message::Committed(certificate) => format!("Committed {}", certificate.block()),
        Message::Pull { committed } => format!("Pull above {committed}"),
        Message::Pulled { parent, blocks, certificate } => format!(
            "Pulled above {parent}, {} blocks, certificate {:?}",
            blocks.len(),
            certificate.as_ref().map(|certificate| certificate.block().to_string())
        ),
        Message::Snapshot(snapshot) => format!("Snapshot at {}", snapshot.block),
        Message::Handover(said) => format!("{:?}", said.statement),
        Message::ReadRequest { .. }
        | Message::ReadAt { .. }
        | Message::Greet(_)
        | Message::Known(_)
        | Message::Whereabouts { .. }
        | Message::Standing { .. }
        | Message::Recovering { .. } => format!("{message:?}"),
    }
}

/// Blocks have been read for another node.
pub(super) fn fetched(now: u64, at: usize, job: FetchJob, fetched: &Fetched) {
    let what = match &fetched.found {
        Found::Blocks { parent, blocks, .. } => format!("{} blocks above {parent}", blocks.len()),
        Found::Pruned { .. } => "nothing: pruned".to_owned(),
    };
    let FetchJob { node, from, .. } = job;
    eprintln!("{:>13.6} {at} read for {node} from {from}: {what}", now as f64 / 1e6);
}

/// A driver wants something done.
pub(super) fn outputs(now: u64, at: usize, kind: u64, out: &[Output]) {
    for output in out {
        let what = match output {
            Output::Send { .. } | Output::Answer { .. } => continue,
            Output::Forward { to, transactions } => {
                format!("forwards {} to {to}", transactions.len())
            }
            Output::Write(JournalJob::Record { record: Record::Ballot(ballot), .. }) => {
                format!("writes term {}, {:?}", ballot.term, ballot.choice)
            }
            Output::Write(JournalJob::Record {
                record: Record::Certificate(certificate), ..
            }) => {
                format!("writes a certificate for {}", certificate.block())
            }
            Output::Write(JournalJob::Record {
                record: Record::Branch { above, blocks }, ..
            }) => {
                format!("writes {} blocks above {above}", blocks.len())
            }
            Output::Write(JournalJob::Start { block, .. }) => format!("begins the log at {block}"),
            Output::Apply(job) => format!("applies {} blocks", job.blocks.len()),
            Output::Fetch(job) => format!("reads from {} for {}", job.from, job.node),
            Output::Keep(certificate) => format!("keeps {}", certificate.block()),
            Output::Ask { to, ask } => format!("asks {to} for {ask:?}"),
            Output::Stage(job) => format!("stages {} entries", job.entries.len()),
            Output::Install(job) => format!("installs {}", job.standing.applied.block),
            Output::Serve { read, height } => format!("serves {read:?} at {height}"),
            Output::RefuseRead { read, why } => format!("refuses {read:?}: {why}"),
            Output::TransferEnded(end) => format!("a transfer ends: {end:?}"),
            Output::Convict(conviction) => format!("convicts: {conviction:?}"),
            Output::Changed { outcome, .. } => format!("answers a change: {outcome:?}"),
            Output::Prune { below } => format!("prunes below {below}"),
            Output::Notice(notice) => format!("{notice:?}"),
            Output::Stop(stop) => format!("stops: {stop}"),
        };
        eprintln!("{:>13.6} {at} after {kind}: {what}", now as f64 / 1e6);
    }
}
