//! The async runtime that commands run in: one for the whole process. TOKIO_WORKER_THREADS sets how many threads it
//! has, otherwise as many as there are processors.

use crate::failure::Failure;

/// Runs a command to its end. What still waits for standard input then is left behind.
pub fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::failed(format!("the runtime can't start: {why}")))?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}
