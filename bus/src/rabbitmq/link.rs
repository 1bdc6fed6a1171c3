//! A connection that is always being had: opened, watched, and opened again when it breaks. Whoever uses it waits for
//! it to be up, and tells when it is of no use any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Event;
use protocol::Ambient;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connection::{Connection, close_channel, explain};
use super::place::Place;
use crate::Error;

/// lapin tells of most ends of a connection, not of all: this is how often we look ourselves.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Says once for all links that the broker is away, and once that it is there.
pub(super) struct Outage {
    place: Place,
    state: Mutex<State>,
}

struct State {
    /// Links that are not up.
    down: usize,
    /// It was said already that the broker is away.
    said_away: bool,
    /// It was said already that the broker is there.
    said_there: bool,
}

impl Outage {
    /// For so many links, none of which is up yet.
    pub(super) fn new(place: Place, links: usize) -> Self {
        Outage { place, state: Mutex::new(State { down: links, said_away: false, said_there: false }) }
    }

    fn link_down(&self) {
        self.lock().down += 1;
    }

    fn is_away(&self, why: &str) {
        let mut state = self.lock();
        state.said_there = false;
        if !std::mem::replace(&mut state.said_away, true) {
            tracing::warn!("the broker at {} is away: {why}; trying again until it comes", self.place);
        }
    }

    fn link_up(&self) {
        let mut state = self.lock();
        state.down = state.down.saturating_sub(1);
        if state.down == 0 {
            state.said_away = false;
            if !std::mem::replace(&mut state.said_there, true) {
                tracing::info!("the broker at {} is there", self.place);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is up.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: Arc<Connection>,
    /// Since when.
    pub(super) since: Instant,
    /// There was another one before.
    pub(super) is_again: bool,
    useless: Arc<Notify>,
}

impl Live {
    /// The connection did not do what it should: it is to be torn down, and another opened.
    pub(super) fn give_up(&self) {
        self.useless.notify_one();
    }

    /// Something on this connection was not answered. That can be one queue's fault, which nobody else should suffer
    /// for: the connection is given up only when it opens no channel either.
    pub(super) async fn doubt(&self) {
        match self.connection.channel().await {
            Ok(channel) => close_channel(&channel).await,
            Err(_) => self.give_up(),
        }
    }
}

/// Where to connect to, and as who.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) outage: Arc<Outage>,
    pub(super) ambient: Arc<dyn Ambient>,
}

/// The way to a connection that may break and be replaced. Clones share it.
#[derive(Clone)]
pub(super) struct Link {
    up: watch::Receiver<Option<Live>>,
    place: Place,
}

impl Link {
    /// Connects, waiting for the broker if need be. The link, and what keeps it up until `stop`.
    ///
    /// # Errors
    /// [`Error::Refused`] when the broker refuses us.
    pub(super) async fn connect(login: Login, stop: CancellationToken) -> Result<(Self, Keeper), Error> {
        let connection = login.connect(Patience::UntilRefused).await?;
        let live = Live::new(connection, false);
        let (sender, up) = watch::channel(Some(live.clone()));
        let link = Link { up, place: login.place.clone() };
        Ok((link, Keeper { login, sender, live, stop }))
    }

    /// A link that is had from the moment on at which somebody wants it, and what keeps it up until `stop`.
    pub(super) fn when_wanted(
        login: Login,
        wanted: CancellationToken,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, up) = watch::channel(None);
        let link = Link { up, place: login.place.clone() };
        let keep = async move {
            let connecting = async {
                wanted.cancelled().await;
                login.outage.link_down();
                login.connect(Patience::Always).await
            };
            let connected = tokio::select! {
                connected = connecting => connected,
                () = stop.cancelled() => return,
            };
            // with this patience it never gives up
            let Ok(connection) = connected else { return };
            let live = Live::new(connection, false);
            sender.send_replace(Some(live.clone()));
            Keeper { login, sender, live, stop }.run().await;
        };
        (link, keep)
    }

    /// Waits until the connection is up.
    ///
    /// # Errors
    /// [`Error::Closed`] when it was closed by us.
    pub(super) async fn live(&mut self) -> Result<Live, Error> {
        loop {
            let up = self.up.wait_for(Option::is_some).await.map_err(|_| Error::Closed)?.clone();
            match up {
                Some(live) if live.connection.is_open() => return Ok(live),
                // it has just ended, and its keeper has not seen it yet
                Some(live) => self.lost(&live).await,
                None => {}
            }
        }
    }

    /// Waits until this connection is up no more.
    pub(super) async fn lost(&mut self, live: &Live) {
        let same = |up: &Option<Live>| up.as_ref().is_some_and(|up| Arc::ptr_eq(&up.connection, &live.connection));
        // an error means that the link has ended, and with it the connection
        self.up.wait_for(|up| !same(up)).await.ok();
    }

    pub(super) fn away(&self) -> Error {
        Error::Away { broker: self.place.to_string(), why: "the connection broke".to_owned() }
    }
}

impl Live {
    fn new(connection: Connection, is_again: bool) -> Self {
        Live { connection: Arc::new(connection), since: Instant::now(), is_again, useless: Arc::default() }
    }
}

/// What to do about a refusal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// At first it is a mistake in the configuration.
    UntilRefused,
    /// Later somebody has changed the broker, and may change it back.
    Always,
}

impl Login {
    /// Tries until there is a connection.
    async fn connect(&self, patience: Patience) -> Result<Connection, Error> {
        let mut backoff = Backoff::new(self.ambient.clone());
        loop {
            match Connection::open(&self.place, &self.name).await {
                Ok(connection) => {
                    self.outage.link_up();
                    return Ok(connection);
                }
                Err(why @ Error::Refused { .. }) if patience == Patience::UntilRefused => return Err(why),
                Err(why) => {
                    tracing::debug!(why = reason(&why), "no connection yet");
                    self.outage.is_away(reason(&why));
                }
            }
            backoff.sleep().await;
        }
    }
}

fn reason(why: &Error) -> &str {
    match why {
        Error::Away { why, .. } | Error::Refused { why, .. } => why,
        _ => "no answer",
    }
}

/// Keeps a link up.
pub(super) struct Keeper {
    login: Login,
    sender: watch::Sender<Option<Live>>,
    live: Live,
    stop: CancellationToken,
}

impl Keeper {
    /// Runs until it is stopped; then the connection says goodbye.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            let why = tokio::select! {
                why = watch_over(&self.live) => why,
                () = stop.cancelled() => break,
            };
            self.sender.send_replace(None);
            self.login.outage.link_down();
            self.login.outage.is_away(&why);
            self.live.connection.tear_down();
            let connected = tokio::select! {
                connected = self.login.connect(Patience::Always) => connected,
                () = stop.cancelled() => return,
            };
            // with this patience it never gives up
            let Ok(connection) = connected else { return };
            self.live = Live::new(connection, true);
            self.sender.send_replace(Some(self.live.clone()));
        }
        self.live.connection.close().await;
    }
}

/// Waits for the connection's end: why it ended.
async fn watch_over(live: &Live) -> String {
    let events = live.connection.lapin.events_listener();
    tokio::pin!(events);
    let mut look = interval(LOOK_EVERY);
    let mut last_error = None;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(why)) => {
                    tracing::warn!(why, "the broker takes no messages for now");
                }
                Some(Event::ConnectionUnblocked) => tracing::info!("the broker takes messages again"),
                Some(Event::Error(why)) => last_error = Some(explain(&why)),
                Some(_) => {}
                None => return last_error.unwrap_or_else(|| "the connection ended".to_owned()),
            },
            _ = look.tick() => {}
            () = live.useless.notified() => return "it does not answer".to_owned(),
        }
        if !live.connection.is_open() {
            return last_error.unwrap_or_else(|| "the connection ended".to_owned());
        }
    }
}
