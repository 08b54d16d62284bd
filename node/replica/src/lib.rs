//! One validator without its outside world.
//!
//! A [`Replica`] is three parts, each owned by one thread in the node and called one after the other by
//! the simulator:
//!
//! ```text
//!                 Input                          JournalJob
//!   clients ─────▶┌────────┐────────────────────▶┌─────────┐ write: one sync for all that waits
//!   validators ──▶│ Driver │◀── Written ─────────│ Journal │──▶ wal::Disk
//!   time ────────▶│        │                     └─────────┘
//!                 │  core  │      ApplyJob       ┌─────────┐ apply: one transaction of the store
//!    Output ◀─────│ mempool│────────────────────▶│ Applier │──▶ Store
//!                 └────────┘◀── Applied ─────────└─────────┘
//! ```
//!
//! [`Driver::handle`](driver::Driver::handle) takes one [`Input`](io::Input) and appends
//! [`Output`](io::Output)s, which are carried out in order. What is slow is a job: it goes out as an
//! output, is done by [`Journal`](journal::Journal), [`Applier`](apply::Applier) or
//! [`fetch`](fetch::fetch), and what came of it comes back as one input. A job that fails has no
//! input: its error stops the node.
//!
//! Nothing here knows a socket, a clock, a thread or randomness; files come through
//! [`quorate_wal::Disk`], the rest of what is kept through [`Store`](store::Store).

pub mod apply;
pub mod driver;
pub mod fetch;
mod forward;
pub mod io;
pub mod journal;
mod mempool;
mod overlay;
pub mod record;
mod repair;
mod replay;
pub mod restore;
mod seal;
pub mod setup;
pub mod snapshot;
pub mod store;

pub use mempool::Load;
pub use repair::Repaired;
pub use replay::ReplayError;
pub use restore::{Found, OpenError, Replica, open};
pub use setup::Setup;
