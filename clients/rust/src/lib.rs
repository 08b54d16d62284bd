//! The Rust client of a Quorate ledger.
//!
//! ```no_run
//! use quorate_client::{Client, KeyFile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:7600,http://127.0.0.1:7601")?;
//! let alice = client.account(KeyFile::read("alice.key".as_ref())?.into_secret());
//! let outcome = alice.put("greeting", "hello")?;
//! let entry = client.get("greeting")?.expect("it was put there");
//! assert_eq!((&entry.value[..], Some(entry.height)), (&b"hello"[..], outcome.height));
//! # Ok(())
//! # }
//! ```
//!
//! **Nodes.** A client knows some nodes of the group. It asks the one that answered last, and the
//! next one if that fails. Which of them leads is no concern of it: every node serves reads and has
//! writes ordered.
//!
//! **Again.** A transaction is signed once and sent as often as it takes. The chain takes the same
//! bytes once, so a client that does not know what became of them sends them again, to the same node
//! or to another. What a node answers says whether that makes sense ([`problem::Retry`]); the client
//! goes on until its time is up. It then says which of two it is: nothing has happened
//! ([`Error::NoNode`], [`Error::Refused`]), or nobody knows ([`Error::Unknown`]).
//!
//! **Threads.** Calls block. Clients and accounts can be shared by threads, and are cheap to copy.
//! The work is waiting for one answer, so an async program loses nothing by a blocking thread for
//! each transaction under way.
//!
//! Left out: verification. A client believes its nodes; who does not asks for certificates and
//! receipts and checks them with `quorate-chain`. Left out as well: TLS, for now.

mod account;
pub mod answer;
mod base64;
mod client;
mod error;
mod events;
mod http;
mod key_file;
mod nodes;
mod passphrase;
pub mod path;
pub mod problem;
mod testnet;

pub use account::{Account, Batch};
pub use client::{Client, Level, Wait};
pub use error::Error;
pub use events::{Event, Events, Wanted};
pub use http::Failure;
pub use key_file::{KeyFile, KeyFileError};
pub use passphrase::Passphrase;
pub use testnet::{Testnet, TestnetNode, TestnetNodeState};
