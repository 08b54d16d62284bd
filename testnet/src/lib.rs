//! Local testnets: many nodes in one place.
//!
//! A testnet of processes lives in a directory. Every node has its home in it, as it would have on a
//! machine of its own; a supervisor starts the nodes, notices who dies, and takes orders through a
//! socket. It never starts a node again by itself: who died stays dead until somebody revives it.
//!
//! ```text
//! D/FORMAT         written last, when all the rest is there    D/keys/        alice, bob, admin
//! D/genesis.json   what all nodes agree on                     D/node0/ …     the homes
//! D/testnet.json   who runs where, while it runs               D/control.sock the supervisor's ear
//! ```

//! A [`Cluster`] is the same in one process, for tests and for programs that embed nodes.

#![warn(clippy::print_stderr, clippy::print_stdout)]

mod bad_disk;
mod chaos;
pub mod cli;
mod cluster;
mod directory;
mod lines;
mod live;
mod lock;
mod options;
mod peer_id;
mod ports;
mod proxy;
mod supervisor;

pub use cluster::{Cluster, Info, Plan, blocking};
pub use peer_id::peer_id;
