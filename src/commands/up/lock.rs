//! The lock on a data folder: one `pubbot up` at a time. The file stays when the process is gone; what counts is the
//! system's lock on it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::failure::Failure;

/// Held as long as this process lives; the system releases it however the process ends.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the folder, if it is not there, and locks it.
    ///
    /// # Errors
    /// When another process has it, which is named; or when the folder can't be written.
    pub fn take(folder: &Path) -> Result<Lock, Failure> {
        let unusable = |why| Failure::failed(format!("the data folder {} can't be used: {why}", folder.display()));
        // whoever reaches the socket in it can speak as the bot
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        let path = folder.join("pubbot.lock");
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(folder, file)),
            Err(TryLockError::Error(why)) => return Err(unusable(why)),
        }
        let signed =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        signed.map_err(unusable)?;
        Ok(Lock { _file: file })
    }
}

/// Another process has the lock; its id stands in the file.
fn taken(folder: &Path, file: File) -> Failure {
    let mut holder = String::new();
    let process = match file.take(20).read_to_string(&mut holder) {
        Ok(_) if !holder.trim().is_empty() => format!("process {}", holder.trim()),
        _ => "another process".to_owned(),
    };
    Failure::failed(format!(
        "`pubbot up` runs on the data folder {} already, as {process}; stop it, or use another --data-dir",
        folder.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_the_second_hears_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        let first = Lock::take(&data).unwrap();
        let Err(Failure::Failed(why)) = Lock::take(&data) else { panic!("locked twice") };
        assert!(why.contains(&format!("process {}", std::process::id())), "{why}");
        drop(first);
        assert!(Lock::take(&data).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Lock::take(&file.path().join("data")), Err(Failure::Failed(_))));
    }
}
