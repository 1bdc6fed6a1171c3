//! Has the disk write down what was appended, for [`Durability::Power`](super::Durability): a thread of its own, so that
//! nobody who appends waits, and one fdatasync(2) serves everything that was appended meanwhile.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::Error;

/// The thread, and what it has to do. Dropped, the thread ends when it has done it.
#[derive(Debug)]
pub(super) struct Syncer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Files with something in them that may not be on the disk.
    files: Vec<Arc<File>>,
    waiting: Vec<oneshot::Sender<Result<(), Error>>>,
    /// Something could not be brought to the disk. The system says so once: from then on nobody can know what is there.
    has_failed: bool,
    over: bool,
}

/// Why something could not be written, until somebody takes note.
pub(crate) type Failure = Arc<Mutex<Option<io::Error>>>;

impl Syncer {
    /// Starts the thread.
    ///
    /// Why something could not be brought to the disk is left in `failure`.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn start(failure: Failure) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        thread::Builder::new().name("journal-sync".to_owned()).spawn(move || ours.run(&failure))?;
        Ok(Syncer(shared))
    }

    /// Something was appended to this file.
    pub fn appended(&self, file: &Arc<File>) {
        let mut state = self.0.lock();
        if !state.files.iter().any(|known| Arc::ptr_eq(known, file)) {
            state.files.push(file.clone());
        }
        self.0.changed.notify_one();
    }

    /// Everything is written anew to other files: what could not be brought to the disk before doesn't matter any more.
    pub fn forget_failure(&self) {
        self.0.lock().has_failed = false;
    }

    /// Resolves when all that was appended before is on the disk; to an error when anything could not be brought there.
    pub fn done(&self) -> oneshot::Receiver<Result<(), Error>> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().waiting.push(sender);
        self.0.changed.notify_one();
        receiver
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, failure: &Failure) {
        loop {
            let idle = |state: &mut State| state.files.is_empty() && state.waiting.is_empty() && !state.over;
            let state = self.changed.wait_while(self.lock(), idle);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            if state.files.is_empty() && state.waiting.is_empty() {
                return;
            }
            let (files, waiting) = (std::mem::take(&mut state.files), std::mem::take(&mut state.waiting));
            drop(state);
            let failed = files.iter().fold(None, |failed, file| file.sync_data().err().or(failed));
            if let Some(why) = failed {
                tracing::error!(%why, "the disk did not write down a journal: a power failure may lose messages");
                self.lock().has_failed = true;
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
            }
            let has_failed = self.lock().has_failed;
            for waiting in waiting {
                // whoever stopped waiting does not need to know
                waiting.send(if has_failed { Err(Error::NotOnDisk) } else { Ok(()) }).ok();
            }
        }
    }
}

/// Has the disk write down which files a folder has.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_a_disk_that_fails_is_told_so_until_everything_is_written_anew() {
        let (failure, folder) = (Failure::default(), tempfile::tempdir().unwrap());
        let syncer = Syncer::start(failure.clone()).unwrap();
        let done = || syncer.done().blocking_recv().unwrap();
        let good = Arc::new(File::create(folder.path().join("good")).unwrap());
        syncer.appended(&good);
        assert!(done().is_ok());
        // nothing can be brought to a disk there
        syncer.appended(&Arc::new(File::options().write(true).open("/dev/null").unwrap()));
        assert!(matches!(done(), Err(Error::NotOnDisk)));
        assert!(failure.lock().unwrap().take().is_some());
        // whoever comes later may have appended before
        syncer.appended(&good);
        assert!(matches!(done(), Err(Error::NotOnDisk)));
        syncer.forget_failure();
        assert!(done().is_ok());
    }
}
