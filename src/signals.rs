//! Ctrl-C and SIGTERM: the first asks to stop in order, the second ends the process at once, for whoever has no
//! patience with a broker or a network that does not answer.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// A token that the first SIGINT or SIGTERM cancels. The second one ends the process with status 130 or 143.
pub fn stop() -> Result<CancellationToken, Failure> {
    let listen = |kind| signal(kind).map_err(|why| Failure::failed(format!("signals can't be received: {why}")));
    let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    tokio::spawn(heed(interrupt, terminate, stop.clone()));
    Ok(stop)
}

async fn heed(mut interrupt: Signal, mut terminate: Signal, stop: CancellationToken) {
    next(&mut interrupt, &mut terminate).await;
    tracing::info!("stopping; once more ends at once");
    stop.cancel();
    let number = next(&mut interrupt, &mut terminate).await;
    std::process::exit(128 + number);
}

/// The number of the next signal.
async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> i32 {
    tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
    }
}
