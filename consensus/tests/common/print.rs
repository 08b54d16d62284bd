//! Effects and states as one line each, for scripts.

use quorate_chain::block::Header;
use quorate_chain::evidence::Evidence;
use quorate_chain::ids::Height;
use quorate_chain::statement::Statement;
use quorate_consensus::ballot::Choice;
use quorate_consensus::effect::{Effect, Record};
use quorate_consensus::message::{Known, Message};
use quorate_consensus::raft::Core;

/// A block as height@term: in a script there is one block of a height and term.
fn at(block: quorate_chain::ids::BlockRef) -> String {
    format!("{}@{}", block.height, block.term)
}

pub fn name(message: &Message) -> &'static str {
    match message {
        Message::PreVoteRequest { .. } => "PreVoteRequest",
        Message::VoteRequest { .. } => "VoteRequest",
        Message::Vote(_) => "Vote",
        Message::Refuse { .. } => "Refuse",
        Message::Append(append) if append.blocks.is_empty() => "Heartbeat",
        Message::Append(_) => "Append",
        Message::Stored(_) => "Stored",
        Message::Reject { .. } => "Reject",
        Message::Stale(_) => "Stale",
        Message::Committed(_) => "Committed",
        Message::Pull { .. } => "Pull",
        Message::Pulled { .. } => "Pulled",
        Message::Snapshot(_) => "Snapshot",
        Message::Handover(_) => "Handover",
        Message::ReadRequest { .. } => "ReadRequest",
        Message::ReadAt { .. } => "ReadAt",
        Message::Greet(_) => "Greet",
        Message::Known(_) => "Known",
        Message::Whereabouts { .. } => "Whereabouts",
        Message::Standing { .. } => "Standing",
        Message::Recovering { .. } => "Recovering",
    }
}

fn sort(evidence: &Evidence) -> String {
    match evidence {
        Evidence::TwoBlocks { a, .. } => format!("two blocks at {}", at(a.header.block_ref())),
        Evidence::TwoVotes { a, .. } => format!("two votes in term {}", a.statement.term()),
        Evidence::TwoAcks { a, .. } => format!("two acks at {}", at(a.statement.block())),
        Evidence::VoteBelowAck { ack, vote } => {
            format!("{} and {}", statement(&ack.statement), statement(&vote.statement))
        }
        Evidence::Malformed(block) => {
            format!("malformed block {}", at(block.child.header.block_ref()))
        }
    }
}

fn statement(said: &Statement) -> String {
    match said {
        Statement::PreVote { term, candidate, tip } => {
            format!("prevote for {candidate} in term {term} on {}", at(*tip))
        }
        Statement::Vote { term, candidate, tip } => {
            format!("vote for {candidate} in term {term} on {}", at(*tip))
        }
        Statement::Ack { block } => format!("ack {}", at(*block)),
        Statement::Handover { term, to, tip } => {
            format!("handover of term {term} to {to} on {}", at(*tip))
        }
    }
}

fn message(message: &Message) -> String {
    let detail = match message {
        Message::PreVoteRequest { term, tip, .. } => format!("term {term}, tip {}", at(*tip)),
        Message::VoteRequest { tip, proof, .. } => {
            format!("term {}, tip {}", proof.certificate.term(), at(*tip))
        }
        Message::Vote(said) | Message::Handover(said) => statement(&said.statement),
        Message::Refuse { tip, committed, proof } => {
            let term = proof.as_ref().map_or(0, |proof| proof.certificate.term().get());
            format!("term {term}, tip {}, committed {}", at(*tip), at(*committed))
        }
        Message::Append(append) => {
            let blocks: Vec<_> = append.blocks.iter().map(|block| at(block.block_ref())).collect();
            let certified =
                append.certificate.as_ref().map_or("none".to_owned(), |it| at(it.block()));
            format!(
                "term {}, lap {}, parent {}, blocks [{}], certified {certified}",
                append.term,
                append.lap.0,
                at(append.parent),
                blocks.join(" ")
            )
        }
        Message::Stored(stored) => {
            let acks: Vec<_> = stored.acks.iter().map(|ack| at(ack.statement.block())).collect();
            let (matched, applied) = (at(stored.matched), stored.applied);
            format!("matched {matched}, applied {applied}, acks [{}]", acks.join(" "))
        }
        Message::Reject { lap, committed, unknown, .. } => {
            let unknown = if *unknown { ", unknown leader" } else { "" };
            format!("lap {}, committed {}{unknown}", lap.0, at(*committed))
        }
        Message::Snapshot(snapshot) => {
            format!(
                "at {}, certified {}",
                at(snapshot.block),
                at(snapshot.proof.certificate.block())
            )
        }
        Message::Stale(proof) => format!("term {}", proof.certificate.term()),
        Message::Committed(certificate) => at(certificate.block()),
        Message::Pull { committed } => format!("above {}", at(*committed)),
        Message::Pulled { parent, blocks, certificate } => {
            let blocks: Vec<_> = blocks.iter().map(|block| at(block.block_ref())).collect();
            let certified = certificate.as_ref().map_or("none".to_owned(), |it| at(it.block()));
            format!("above {}: [{}], certified {certified}", at(*parent), blocks.join(" "))
        }
        Message::ReadRequest { .. } | Message::Whereabouts { .. } => {
            return name(message).to_owned();
        }
        Message::ReadAt { height, .. } => {
            height.map_or("refused".to_owned(), |height| height.to_string())
        }
        Message::Greet(life) => format!("boot {}", life.life.boot),
        Message::Known(known) => {
            let Known { other, vote, ack, .. } = &**known;
            let other = other.map(|life| format!("boot {}", life.life.boot));
            let said = [vote, ack].into_iter().flatten().map(|said| statement(&said.statement));
            let known: Vec<_> = other.into_iter().chain(said).collect();
            if known.is_empty() { "nothing".to_owned() } else { known.join(", ") }
        }
        Message::Standing { proof, .. } => {
            let term = proof.as_ref().map_or(0, |proof| proof.certificate.term().get());
            format!("term {term}")
        }
        Message::Recovering { above } => format!("above term {above}"),
    };
    format!("{} {detail}", name(message))
}

pub fn header(header: &Header) -> String {
    let (height, term, kind) = (header.height, header.term, header.kind);
    let time = header.time.get() / 1_000;
    format!("{height}@{term} {kind:?} at {time} ms, executed {}\n", header.executed)
}

pub fn effect(id: u32, effect: &Effect) -> String {
    let text = match effect {
        Effect::Persist { record: Record::Ballot(ballot), .. } => {
            let choice = match ballot.choice {
                Choice::Open => "no vote".to_owned(),
                Choice::For { candidate, .. } => format!("vote for {candidate}"),
                Choice::Spent => "vote spent".to_owned(),
            };
            let recovering = if ballot.recovering { ", recovering" } else { "" };
            format!("persist ballot: term {}, {choice}{recovering}", ballot.term)
        }
        Effect::Persist { record: Record::Certificate(certificate), .. } => {
            format!("persist certificate: {}", at(certificate.block()))
        }
        Effect::Persist { record: Record::Branch { above, blocks }, .. } => {
            let blocks: Vec<_> = blocks.iter().map(|block| at(block.block_ref())).collect();
            format!("persist above {}: [{}]", at(*above), blocks.join(" "))
        }
        Effect::Send { to, message: sent } => format!("→ {to} {}", message(sent)),
        Effect::Sign { statement: said, .. } => format!("sign {}", statement(said)),
        Effect::Offer(slot) => format!(
            "offer {:?} on {}, executed {}, {:?}",
            slot.kind,
            at(slot.parent),
            slot.executed,
            slot.urgency
        ),
        Effect::Withdraw => "withdraw the slot".to_owned(),
        Effect::Commit { block, .. } => format!("commit {}", at(*block)),
        Effect::Fetch { node, from, .. } => format!("fetch from {from} for {node}"),
        Effect::Final(certificate) => format!("final {}", at(certificate.block())),
        Effect::Changed { outcome: Ok(height), .. } => format!("change enters at {height}"),
        Effect::Changed { outcome: Err(why), .. } => format!("change refused: {why}"),
        Effect::Install { from, snapshot } => format!("install {} from {from}", at(snapshot.block)),
        Effect::Serve { read, height } => format!("serve read {} at {height}", read.0),
        Effect::RefuseRead { read, why } => format!("refuse read {}: {why}", read.0),
        Effect::TransferEnded(end) => format!("transfer: {end}"),
        Effect::Convict(conviction) => {
            format!("convict {}: {}", conviction.evidence().accused(), sort(conviction.evidence()))
        }
        Effect::Halt(why) => format!("halt: {why}"),
    };
    format!("{id}: {text}\n")
}

pub fn status(id: u32, core: Option<&Core>, applied: Height, halted: bool) -> String {
    let Some(core) = core else {
        let state = if halted { "halted" } else { "dead" };
        return format!("{id}: {state}, applied {applied}\n");
    };
    let leader = core.leader().map_or("none".to_owned(), |leader| leader.to_string());
    let behind = core.final_height() < core.log().committed().height;
    let last = if behind { format!(", final {}", core.final_height()) } else { String::new() };
    format!(
        "{id}: {:?} term {} leader {leader} tip {} committed {} applied {applied}{last}\n",
        core.standing(),
        core.term(),
        at(core.log().tip().block),
        at(core.log().committed()),
    )
}
