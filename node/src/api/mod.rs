//! What the node offers to clients. The operations are plain functions (`ledger`); a dialect only
//! translates.

mod answers;
mod events;
mod expired;
mod group;
mod http;
mod known;
mod ledger;
mod metrics;
mod pace;
pub mod problem;
mod reading;
mod room;
mod serve;
mod state;
mod status;
mod stream;
mod submitting;

use std::sync::Arc;

use tokio::net::TcpListener;

pub(crate) use answers::certificate;
pub(crate) use expired::Expired;
pub(crate) use ledger::{Facts, Ledger, Level, Liveness, Neighbour, Neighbourhood};
pub(crate) use pace::Pace;
pub(crate) use reading::Readers;
pub(crate) use room::Requests;
pub(crate) use serve::{Bounds, Server};

/// Begins to serve clients.
///
/// # Errors
/// If the listener does not know its address.
pub(crate) fn serve(
    ledger: Arc<Ledger>,
    listener: TcpListener,
    bounds: Bounds,
) -> std::io::Result<Server> {
    let ending = Arc::clone(&ledger.ending);
    Server::start(listener, http::router(ledger), bounds, &ending)
}
