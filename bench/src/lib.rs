//! How fast a chain is: `quorate bench`.
//!
//! A group of validators is started for it, real processes on this machine with their logs on its disk, unless
//! nodes are named. Clients that know nothing but HTTP ask it for one thing after another, and every answer is
//! looked at: a write counts when it is said to be applied.
//!
//! ```text
//! work     what is asked for: signed ahead, so that signing costs nothing while it is timed
//! load     clients in a closed loop, or requests at a fixed rate (timed from when they were due)
//! usage    what that has cost the nodes: processor, memory, bytes written, fsyncs
//! ceiling  what the bare work of three validators leaves room for, and how near the running system comes to it
//! growth   how the cost grows with the chain, the keys and the validators
//! failover how long nobody can write after the leader was killed, or stood still
//! report   one row for each kind of work and number of clients; repeated, with the spread
//! page     one page with the plots (`plot`) of all of it (`charts`, `growth`), whatever was measured when
//! bed      a group and those who write to it; `group` starts ours or names one, `others` starts etcd and NATS, and they
//!          are `processes` that are gone afterwards, also when SIGINT or SIGTERM ends it
//! ```
//!
//! Clients run on the machine of the nodes and take their share of it. Keep that in mind when figures of several
//! machines are compared; side by side on one they are fair.

#![warn(clippy::print_stderr, clippy::print_stdout)]

mod bed;
mod ceiling;
mod charts;
mod cli;
mod connection;
mod failover;
mod group;
mod growth;
mod load;
mod others;
mod page;
mod plot;
mod processes;
mod progress;
mod protobuf;
mod report;
mod usage;
mod work;

pub use cli::main;
