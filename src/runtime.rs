//! The async runtime that commands run in: one thread for the whole process. What its tasks hand to each other is small,
//! and waking another thread for it would cost more than the work does. Handlers run elsewhere, on threads of their own.

use crate::failure::Failure;

/// Runs a command to its end. What still waits for standard input then is left behind.
pub fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::failed(format!("the runtime can't start: {why}")))?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}
