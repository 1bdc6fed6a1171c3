//! The file with the hosts that want TLS only: JSON, so that an operator can read it, and delete a host from it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::Policies;

/// No such file is longer: 1 MiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What stands in the file; nothing, if there is none.
pub(super) fn read(path: &Path) -> Result<Policies, String> {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut text)) {
        Ok(_) => serde_json::from_slice(&text).map_err(|why| format!("it is damaged: {why}")),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Policies::new()),
        Err(why) => Err(why.to_string()),
    }
}

/// Writes the file so that after a crash it is the old one or the new one.
pub(super) fn write(path: &Path, policies: &Policies) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(policies)?)?;
    file.sync_all()?;
    fs::rename(&new, path)
}
