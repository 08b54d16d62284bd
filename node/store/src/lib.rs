//! The store: one SQLite file behind the replica's [`Store`](quorate_replica::store::Store) seam.
//!
//! One connection writes, any number read. A batch of blocks is one transaction: blocks, outcomes,
//! state, history, rosters, certificates and the applied height are there together or not at all. SQLite
//! runs with `synchronous = NORMAL`: a power cut may take the newest transactions, in order, and the log
//! has them, because it is pruned only below a height up to which [`SqliteStore`] was made durable.
//!
//! `schema` has the tables; people may open the file with the `sqlite3` shell and look at the views
//! `blocks`, `transactions`, `state`, `history` and `evidence`.

mod batch;
mod blocks;
mod connect;
mod convicted;
mod entries;
mod error;
mod index;
mod keeper;
mod keys;
mod path;
mod place;
mod read;
mod schema;
mod snapshot;
mod standing;
mod state;
mod steps;
mod versions;
mod write;
mod writer;

pub use error::StoreError;
pub use read::SqliteReader;
pub use write::SqliteStore;
