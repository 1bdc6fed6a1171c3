//! The settings that change at run time, as a worker has them in memory: those of the file, with the database's over them.
//! Looked at for each event, so never asked for: one cheap question every two seconds tells whether anything has changed.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use protocol::{Chat, ChatKind, Timestamp};
use serde::Deserialize;
use store::settings::{Change, Name, Scope, Snapshot, Value};
use store::{Error, Store};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the database is asked for the number of the last change.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The settings of a process; clones share them. While the database is away, what was known last goes on.
#[derive(Clone, Debug)]
pub struct LiveSettings {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Option<Store>,
    file: Snapshot,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    /// The number of the last change that is in it; `None`: the database was not read yet.
    number: Option<i64>,
    settings: Arc<Snapshot>,
}

impl Default for LiveSettings {
    /// Nothing is set, and nothing can be.
    fn default() -> Self {
        LiveSettings::new(Snapshot::default(), None)
    }
}

impl LiveSettings {
    /// What the file says, until the database was read.
    pub fn new(file: Snapshot, store: Option<Store>) -> Self {
        let known = RwLock::new(Known { number: None, settings: Arc::new(file.clone()) });
        LiveSettings { inner: Arc::new(Inner { store, file, known }) }
    }

    /// All settings as they are known now.
    pub fn now(&self) -> Arc<Snapshot> {
        self.inner.known.read().unwrap_or_else(PoisonError::into_inner).settings.clone()
    }

    /// What the file says.
    pub fn file(&self) -> &Snapshot {
        &self.inner.file
    }

    /// Reads the database, if anything has changed there.
    ///
    /// # Errors
    /// When it can't be asked; what was known stays.
    pub async fn refresh(&self) -> Result<(), Error> {
        let Some(store) = &self.inner.store else { return Ok(()) };
        // the number first: what changes in between is read again the next time
        let number = store.settings().latest().await?;
        if self.inner.known.read().unwrap_or_else(PoisonError::into_inner).number == Some(number) {
            return Ok(());
        }
        let settings = Arc::new(self.inner.file.under(&store.settings().all().await?));
        *self.inner.known.write().unwrap_or_else(PoisonError::into_inner) = Known { number: Some(number), settings };
        Ok(())
    }

    /// Changes a setting, or takes it back to what the file says (`None`), for this process at once.
    ///
    /// # Errors
    /// [`Error::Unfit`] for what can't be set there, and when the database does not take it.
    pub async fn set(
        &self,
        scope: &Scope,
        name: &Name,
        value: Option<&Value>,
        who: &str,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        let Some(store) = &self.inner.store else {
            let why = "this bot has no database to remember it in".to_owned();
            return Err(Error::Unfit { what: name.to_string(), why });
        };
        let change = store.settings().set(scope, name, value, who, now).await?;
        if let Err(why) = self.refresh().await {
            tracing::warn!(%why, "a setting was changed, and is known here a little later");
        }
        Ok(change)
    }

    /// Keeps up with the database until stopped.
    pub(crate) async fn keep_up(self, stop: CancellationToken) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut away = false;
        while stop.run_until_cancelled(look.tick()).await.is_some() {
            let looked = self.refresh().await;
            match &looked {
                Err(why) if !away => tracing::warn!(%why, "settings can't be read: what was known goes on"),
                Ok(()) if away => tracing::info!("settings can be read again"),
                _ => {}
            }
            away = looked.is_err();
        }
    }
}

/// Where an event happened, if it did in a channel or with a person.
#[derive(Deserialize)]
struct Place {
    network: String,
    channel: String,
}

/// The scope of a chat event.
pub(crate) fn scope(event: &protocol::Event, chat: Option<&Chat>) -> Option<Scope> {
    if let Some(chat) = chat {
        return Some(Scope::of(&chat.head.network, &chat.head.channel));
    }
    let _: ChatKind = event.key.chat_kind()?;
    let place: Place = event.decode().ok()?;
    Some(Scope::of(&place.network, &place.channel))
}
