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
    over: bool,
}

impl Syncer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        thread::Builder::new().name("journal-sync".to_owned()).spawn(move || ours.run())?;
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

    /// Resolves when all that was appended before is on the disk, or could not be brought there.
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

    fn run(&self) {
        loop {
            let idle = |state: &mut State| state.files.is_empty() && state.waiting.is_empty() && !state.over;
            let state = self.changed.wait_while(self.lock(), idle);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            if state.files.is_empty() && state.waiting.is_empty() {
                return;
            }
            let (files, waiting) = (std::mem::take(&mut state.files), std::mem::take(&mut state.waiting));
            drop(state);
            for file in files {
                if let Err(why) = file.sync_data() {
                    tracing::error!(%why, "the disk did not write down a journal: a power failure may lose messages");
                }
            }
            for waiting in waiting {
                // whoever stopped waiting does not need to know
                waiting.send(Ok(())).ok();
            }
        }
    }
}

/// Has the disk write down which files a folder has.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
