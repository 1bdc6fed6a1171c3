//! `pubbot archive drop`: single lines go out of the archive, and are found and exported no more.

use clap::Args;
use store::Store;

use crate::failure::Failure;
use crate::terminal::tell;

const EXAMPLES: &str = "\
Example:
  pubbot archive drop 1883078492160100353

The key stands behind each line that `pubbot search` finds. The line is gone for good; only an import of the log that it \
came from would bring it back.";

/// Take single lines out of the archive, for good
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Drop {
    /// Their keys, as `pubbot search` shows them
    #[arg(required = true, value_name = "KEY", value_parser = clap::value_parser!(i64).range(0..))]
    keys: Vec<i64>,
}

impl Drop {
    pub async fn run(self, store: &Store) -> Result<(), Failure> {
        let (mut dropped, mut missing) = (0_usize, Vec::new());
        for key in self.keys {
            match store.archive().take_out_message(key).await? {
                true => dropped += 1,
                false => missing.push(key.to_string()),
            }
        }
        match dropped {
            0 => {}
            1 => tell("1 line dropped"),
            dropped => tell(&format!("{dropped} lines dropped")),
        }
        match missing.as_slice() {
            [] => Ok(()),
            missing => Err(Failure::failed(format!(
                "there is no line with the key {}; `pubbot search` shows the keys",
                missing.join(", ")
            ))),
        }
    }
}
