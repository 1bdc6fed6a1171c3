//! Runs a transactional handler: the inbox says whether it has run for this event before; what it changes, what it says and
//! that it has run become true together, or not at all.

use std::sync::Arc;
use std::time::Duration;

use store::plugin_data::Inbox;
use store::{Error as StoreError, Writing};
use tokio::runtime::Handle;
use tokio::sync::{MappedMutexGuard, Mutex};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::handler::Erased;
use crate::storage::inside;
use crate::{Context, Error, Reply};

/// How long a transaction may be open. On SQLite nobody else writes meanwhile, and whoever has waited for longer than 5 s
/// gives up for the time being.
const TRANSACTION_WITHIN: Duration = Duration::from_secs(4);

/// A transaction that is open, until it is taken out: to be committed, or because it took too long.
#[derive(Clone, Debug)]
pub(crate) struct Open(Arc<Mutex<Option<Writing>>>);

impl Open {
    /// What statements are run on.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] when it was taken back.
    pub(crate) async fn writing(&self) -> Result<MappedMutexGuard<'_, Writing>, StoreError> {
        inside(self.0.lock().await).ok_or(StoreError::TooLong { limit: TRANSACTION_WITHIN })
    }

    async fn take(&self) -> Result<Writing, StoreError> {
        self.0.lock().await.take().ok_or(StoreError::TooLong { limit: TRANSACTION_WITHIN })
    }

    /// Takes it back when it is over, however the handler has ended, or when it has taken too long, whatever the handler does.
    async fn close(self, over: CancellationToken) {
        timeout(TRANSACTION_WITHIN, over.cancelled()).await.ok();
        drop(self.0.lock().await.take());
    }
}

/// Runs the handler in a transaction, unless it has run for this event; then it says what it said. `main` is a runtime
/// that no handler can block.
pub(crate) async fn run(
    handler: &Erased,
    name: &str,
    mut context: Context,
    main: &Handle,
) -> Result<Vec<Reply>, Error> {
    let database = context.database.clone();
    let database = database.ok_or_else(|| crate::extract::misuse("Store", "a worker with .database(…)"))?;
    let (event, now) = (context.event.id, context.ambient.now());
    let writing = database.write().await?;
    if let Inbox::Done(replies) = writing.inbox(event, name, now).await? {
        tracing::debug!(handler = name, %event, "a handler has run for this event before: it says the same again");
        return serde_json::from_str(&replies).map_err(Error::from);
    }
    let open = Open(Arc::new(Mutex::new(Some(writing))));
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    main.spawn(open.clone().close(over));
    context.transaction = Some(open.clone());
    let replies = handler(context).await?;
    let writing = open.take().await?;
    writing.keep_replies(event, name, &serde_json::to_string(&replies)?).await?;
    writing.commit().await?;
    Ok(replies)
}
