//! A Unix socket by which other processes on the same machine reach the broker of a running one: the command line
//! talks to the embedded broker of `pubbot up` through it.
//!
//! Whoever may open the file may do everything; the file belongs to its owner alone.

mod listener;
mod remote;
mod server;
mod wire;

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use self::listener::Listener;
pub use self::remote::{Remote, connect};
use crate::Broker;

/// Listens on `path` and serves the broker there until `stop`. [`Listener`] does the same in two steps, for whoever
/// has to know when the socket is there.
///
/// # Errors
/// See [`Listener::bind`].
pub async fn serve(path: &Path, broker: Arc<dyn Broker>, stop: CancellationToken) -> io::Result<()> {
    Listener::bind(path).await?.serve(broker, stop).await;
    Ok(())
}
