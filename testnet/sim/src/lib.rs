//! Lives of many validators in a simulated world: the real replica with a simulated network, disk, clock and
//! clients, under every fault at once.
//!
//! ```text
//!   dials      what this seed's world is like, which faults it has, and why each check is fair
//!   world      virtual time: one event after the other; lives, outputs, visits, trouble, operator,
//!              healing are parts of it
//!   checks     what must be true of one process
//!   network    when a message comes, if at all       garble     what a damaged frame still means
//!   disk       what a disk does to what was written   shelf     where a store is kept, and what a death leaves
//!   excuse     until when a damaged machine may lack things
//!   clock      how fast time goes at one node        seat       one machine and the process on it
//!   ledger     the one chain that all must agree on  promises   what each has said, and what its disk has
//!   lies       the key-holder who lies                forks      who is named when the liar forks the group
//!   twins      two processes with one key
//!   heard      what a process has heard since it began
//!   hoard      what the liar keeps of elections      statements what leaves a node must be true
//!   signatures those of a world                      genesis    how a world is founded
//!   clients    transactions, and the oracle          life       one world from beginning to end
//!   crowd      many worlds at once                   shrink     the smallest world that fails as well
//!   schedule   what will happen, in order            dice       chance
//!   violation  a promise that was broken             report, tell  what has happened
//! ```
//!
//! First anything may happen, then everything heals: there must be a leader soon, all must become equal, and
//! a fresh transaction must go through. The checks run after every event and cost what has changed.

pub mod checks;
pub mod cli;
pub mod clients;
pub mod clock;
mod crowd;
pub mod dials;
pub mod dice;
pub mod disk;
pub mod excuse;
pub mod forks;
mod garble;
pub mod genesis;
pub mod healing;
pub mod heard;
mod hoard;
pub mod ledger;
pub mod lies;
pub mod life;
mod lives;
pub mod network;
mod operator;
mod outputs;
pub mod promises;
pub mod report;
pub mod schedule;
pub mod seat;
pub mod shelf;
pub mod shrink;
pub mod signatures;
mod statements;
mod tell;
mod trouble;
pub mod twins;
pub mod violation;
mod visits;
pub mod world;
