//! One connection to RabbitMQ, from its first packet to its end. lapin's own recovery stays off. A connection can
//! always be torn down: we keep a second handle to its socket, so that no thread of lapin's waits on a dead one.

use std::future::Future;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::types::ShortString;
use lapin::uri::AMQPScheme;
use lapin::{Channel, ConnectionProperties, ErrorKind};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::place::Place;
use crate::Error;

/// A connection that is not ready after this is given up: name, TCP, TLS and login together.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long the broker may take to answer one request (open, declare, bind, consume, cancel). Declaring a quorum queue
/// waits for an election, which takes the longest.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long an orderly goodbye may take; closing everything may take 5 s.
pub(super) const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// Reply codes of a broker that knows us and says no (AMQP 0-9-1, section 1.8).
const ACCESS_REFUSED: u16 = 403;
const NOT_ALLOWED: u16 = 530;
const REPLY_SUCCESS: u16 = 200;

/// A second handle to a connection's socket. Dropped, it ends the connection for both sides: lapin's thread reads an
/// end of file then, and ends too.
struct Leash(TcpStream);

impl Leash {
    fn pull(&self) {
        // an error means that it is closed already
        self.0.shutdown(Shutdown::Both).ok();
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.pull();
    }
}

/// An open connection. Dropped, it is torn down.
pub(super) struct Connection {
    pub(super) lapin: lapin::Connection,
    place: Place,
    // dropped last: lapin says goodbye first, if it can
    leash: Leash,
}

impl Connection {
    /// Opens a connection that the broker lists under `name`.
    ///
    /// # Errors
    /// [`Error::Refused`] when the broker says no to our name, password or virtual host, else [`Error::Away`].
    pub(super) async fn open(place: &Place, name: &str) -> Result<Self, Error> {
        let away = |why: String| Error::Away { broker: place.to_string(), why };
        match timeout(CONNECT_WITHIN, Self::log_in(place, name)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(why)) if refuses(&why) => Err(Error::Refused { broker: place.to_string(), why: explain(&why) }),
            Ok(Err(why)) => Err(away(explain(&why))),
            Err(_) => Err(away(format!("no answer within {} s", CONNECT_WITHIN.as_secs()))),
        }
    }

    async fn log_in(place: &Place, name: &str) -> lapin::Result<Self> {
        let uri = &place.uri;
        let runtime = lapin::runtime::default_runtime()?;
        // not left to lapin: there, a socket that is refused at once can go unnoticed, and time-outs are few
        let addresses = lookup_host((uri.authority.host.as_str(), uri.authority.port)).await?;
        let stream = AsyncTcpStream::connect(&runtime, addresses.collect::<Vec<_>>()).await?;
        let AsyncTcpStream::Plain(plain) = &stream else { return Err(aborted()) };
        let leash = Leash(plain.get_ref().as_fd().try_clone_to_owned()?.into());
        let stream = match uri.scheme {
            AMQPScheme::AMQP => stream,
            AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, TLSConfig::default()).await?,
        };
        let stream = Mutex::new(Some(stream));
        let take = async move |_, _| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            stream.ok_or_else(aborted)
        };
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let lapin = lapin::Connection::connector(uri.clone(), runtime, take, properties).await?;
        Ok(Connection { lapin, place: place.clone(), leash })
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// [`Error::Away`] or [`Error::TimedOut`].
    pub(super) async fn channel(&self) -> Result<Channel, Error> {
        self.answer("open a channel", self.lapin.create_channel()).await
    }

    /// Does something on a channel of its own, which is closed after it: what the broker refuses closes a channel.
    ///
    /// # Errors
    /// As [`Connection::channel`] and `work`.
    pub(super) async fn on_a_channel<T, F>(&self, work: impl FnOnce(Channel) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let channel = self.channel().await?;
        let done = work(channel.clone()).await;
        close_channel(&channel).await;
        done
    }

    /// Waits for the broker's answer to a request.
    ///
    /// # Errors
    /// [`Error::Away`] with what it said, or [`Error::TimedOut`].
    pub(super) async fn answer<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Error> {
        match timeout(ANSWER_WITHIN, request).await {
            Ok(answer) => answer.map_err(|why| self.away(&why)),
            Err(_) => Err(Error::TimedOut { what, after: ANSWER_WITHIN }),
        }
    }

    pub(super) fn away(&self, why: &lapin::Error) -> Error {
        self.gone(&explain(why))
    }

    pub(super) fn gone(&self, why: &str) -> Error {
        Error::Away { broker: self.place.to_string(), why: why.to_owned() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.lapin.status().connected()
    }

    /// The broker accepts nothing for now: an alarm for memory or disk.
    pub(super) fn is_blocked(&self) -> bool {
        self.lapin.status().blocked()
    }

    /// After how much silence both ends get suspicious, as agreed with the broker; `None` when they never do.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        let seconds = self.lapin.configuration().heartbeat();
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// Says goodbye, for at most 1 s; then the connection is torn down.
    pub(super) async fn close(&self) {
        if self.is_open() {
            // what it answers changes nothing: the socket is shut next
            timeout(GOODBYE_WITHIN, self.lapin.close(REPLY_SUCCESS, "closed".into())).await.ok();
        }
        self.tear_down();
    }

    /// Ends it at once.
    pub(super) fn tear_down(&self) {
        self.leash.pull();
    }
}

/// Closes a channel in order, for at most 1 s.
pub(super) async fn close_channel(channel: &Channel) {
    if channel.status().connected() {
        // what it answers changes nothing: nobody uses the channel any more
        timeout(GOODBYE_WITHIN, channel.close(REPLY_SUCCESS, "closed".into())).await.ok();
    }
}

fn aborted() -> lapin::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted).into()
}

/// It is our name, password or virtual host that is wrong. "Too many connections" and "still starting" come under the
/// same codes, but pass.
fn refuses(why: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = why.kind() else { return false };
    let text = error.get_message().as_str();
    matches!(error.get_id(), ACCESS_REFUSED | NOT_ALLOWED) && !text.contains("limit") && !text.contains("is down")
}

/// What went wrong, in the words of whoever noticed it.
pub(super) fn explain(why: &lapin::Error) -> String {
    match why.kind() {
        ErrorKind::IOError(why) => without_number(&why.to_string()),
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => "it does not speak AMQP 0-9-1".to_owned(),
        ErrorKind::MissingHeartbeatError => "it fell silent".to_owned(),
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => "the connection ended".to_owned(),
        _ => why.to_string(),
    }
}

/// "Connection refused (os error 111)" without the number.
fn without_number(text: &str) -> String {
    let text = text.split(" (os error").next().unwrap_or(text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text.starts_with("I/O") => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// A text as AMQP's short string.
///
/// # Errors
/// [`Error::Unroutable`] for more than 255 bytes: no exchange, queue or key can have such a name.
pub(super) fn short(text: &str) -> Result<ShortString, Error> {
    ShortString::try_new(text).map_err(|_| Error::Unroutable(text.to_owned()))
}
