//! `-` on the command line: what is meant comes from standard input. For `say` and `publish`, so that a script need not
//! care what a shell does to its text.

use std::io::Read;

use crate::failure::Failure;

/// More is refused: 1 MiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// The argument itself, or standard input to its end if the argument is `-`.
pub fn or_stdin(argument: String) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument);
    }
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|why| Failure::failed(format!("standard input can't be read: {why}")))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Failure::usage(format!("standard input has more than {} KiB", MAX_BYTES / 1024)));
    }
    Ok(text)
}
