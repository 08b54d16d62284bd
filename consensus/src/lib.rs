//! Raft over blocks, as a pure state machine.
//!
//! [`raft::Core`] takes events ([`event::Event`]) and returns effects ([`effect::Effect`]). The rules are in
//! the module docs: [`candidate`](raft) for campaigns (Raft §5.2, §5.4.1), `follower` for appends and acks
//! (§5.3), `leader` for replication and commit (§5.3, §5.4.2), `adopt` for taking blocks over, `soundness` for
//! what must not be built upon, [`judge`] for whom to believe, [`membership`] for changes of the roster (§6),
//! and with Ongaro's thesis [`handover`] for transfers of leadership (3.10) and [`reads`] for reads (6.4).
//! `docs/paper.md` goes through these sections sentence by sentence.

mod acks;
mod adopt;
mod candidate;
mod executed;
mod finality;
mod follower;
mod leader;
mod records;
mod snapshots;
mod soundness;

pub mod amnesia;
pub mod ballot;
pub mod codec;
pub mod commits;
pub mod config;
pub mod durability;
pub mod effect;
pub mod event;
pub mod evidence;
pub mod handover;
pub mod jitter;
pub mod judge;
pub mod life;
pub mod log;
pub mod membership;
pub mod message;
pub mod progress;
pub mod raft;
pub mod reads;
pub mod restore;
pub mod role;
pub mod states;
pub mod time;
