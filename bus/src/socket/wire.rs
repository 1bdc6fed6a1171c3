//! What crosses the socket. A frame is its length (4 bytes, big-endian), a JSON object, a line feed, and a message's
//! body as it is, if there is one. Compact JSON has no line feed of its own.

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use protocol::{Pattern, RoutingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::topology::argument_name;
use crate::{Address, Argument, Delay, Error, Outcome, Properties, Queue};

/// A frame without its length, at most: 1 MiB.
pub(super) const MAX_FRAME: usize = 1024 * 1024;
/// Changes when older programs could no longer talk to newer ones.
pub(super) const VERSION: u32 = 1;

/// What a client asks. `n` numbers the questions of one connection; the answer repeats it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Request {
    /// Followed by the body.
    Publish {
        n: u64,
        to: To,
        mandatory: bool,
        properties: Properties,
    },
    Declare {
        n: u64,
        queue: AskedQueue,
    },
    /// `n` is the consumer's number from now on.
    Consume {
        n: u64,
        queue: AskedQueue,
        prefetch: u16,
    },
    Depth {
        n: u64,
        queue: String,
    },
    Settle {
        consumer: u64,
        tag: u64,
        outcome: Outcome,
    },
    /// The consumer takes no more; what it holds it still settles.
    Cancel {
        consumer: u64,
    },
}

/// What the server says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum Answer {
    /// First of all.
    Welcome {
        version: u32,
        prefix: String,
    },
    Done {
        n: u64,
        error: Option<Trouble>,
    },
    /// How many messages wait in a queue, if there is one.
    Depth {
        n: u64,
        messages: Option<u64>,
    },
    /// Followed by the body.
    Delivery {
        consumer: u64,
        tag: u64,
        key: String,
        #[serde(default)]
        queue: String,
        properties: Properties,
        attempts: u32,
    },
    /// The broker was closed.
    Ended {
        consumer: u64,
    },
    /// The last answer, to a request that can't be understood.
    Malformed {
        why: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum To {
    Topic(String),
    Queue(String),
    Later { queue: String, after: Delay },
}

impl From<&Address> for To {
    fn from(address: &Address) -> Self {
        match address {
            Address::Topic(key) => To::Topic(key.to_string()),
            Address::Queue(name) => To::Queue(name.clone()),
            Address::Later { queue, after } => To::Later { queue: queue.clone(), after: *after },
        }
    }
}

impl To {
    pub(super) fn address(self) -> Result<Address, String> {
        match self {
            To::Topic(key) => Ok(Address::Topic(RoutingKey::parse(&key).map_err(|why| format!("{key:?}: {why}"))?)),
            To::Queue(name) => Ok(Address::Queue(name)),
            To::Later { queue, after } => Ok(Address::Later { queue, after }),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AskedQueue {
    name: String,
    bindings: Vec<String>,
    fanout: Option<String>,
    exclusive: bool,
    arguments: Vec<(String, Argument)>,
}

impl From<&Queue> for AskedQueue {
    fn from(queue: &Queue) -> Self {
        AskedQueue {
            name: queue.name.clone(),
            bindings: queue.bindings.iter().map(Pattern::to_string).collect(),
            fanout: queue.fanout.clone(),
            exclusive: queue.exclusive,
            arguments: queue.arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        }
    }
}

impl AskedQueue {
    pub(super) fn queue(self) -> Result<Queue, String> {
        let pattern = |text: String| Pattern::parse(&text).map_err(|why| format!("{text:?}: {why}"));
        let argument = |(name, value): (String, Argument)| match argument_name(&name) {
            Some(name) => Ok((name, value)),
            None => Err(format!("{name:?} is no argument of a queue that is known here")),
        };
        Ok(Queue {
            name: self.name,
            bindings: self.bindings.into_iter().map(pattern).collect::<Result<_, _>>()?,
            fanout: self.fanout,
            exclusive: self.exclusive,
            arguments: self.arguments.into_iter().map(argument).collect::<Result<_, _>>()?,
        })
    }
}

/// An [`Error`] on its way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trouble {
    Away { broker: String, why: String },
    Refused { broker: String, why: String },
    Unroutable(String),
    Full(String),
    OtherArguments { queue: String, argument: String, asked: String, found: String },
    Queue { queue: String, why: String },
    TooLarge { what: String, bytes: usize, limit: usize },
    Closed,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Away { broker, why } => Trouble::Away { broker, why },
            Error::Refused { broker, why } => Trouble::Refused { broker, why },
            Error::Unroutable(to) => Trouble::Unroutable(to),
            Error::Full(to) => Trouble::Full(to),
            Error::OtherArguments { queue, argument, asked, found } => {
                Trouble::OtherArguments { queue, argument, asked, found }
            }
            Error::Queue { queue, why } => Trouble::Queue { queue, why },
            Error::TooLarge { what, bytes, limit } => Trouble::TooLarge { what, bytes, limit },
            Error::Closed => Trouble::Closed,
            other @ (Error::Url(_)
            | Error::TimedOut { .. }
            | Error::NotRunning { .. }
            | Error::NotFromOutside(_)
            | Error::NotOnDisk
            | Error::Folder { .. }) => Trouble::Away { broker: "the other end".to_owned(), why: other.to_string() },
        }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away { broker, why } => Error::Away { broker, why },
            Trouble::Refused { broker, why } => Error::Refused { broker, why },
            Trouble::Unroutable(to) => Error::Unroutable(to),
            Trouble::Full(to) => Error::Full(to),
            Trouble::OtherArguments { queue, argument, asked, found } => {
                Error::OtherArguments { queue, argument, asked, found }
            }
            Trouble::Queue { queue, why } => Error::Queue { queue, why },
            Trouble::TooLarge { what, bytes, limit } => Error::TooLarge { what, bytes, limit },
            Trouble::Closed => Error::Closed,
        }
    }
}

/// A frame with its length.
///
/// # Errors
/// [`Error::TooLarge`] above 1 MiB.
pub(super) fn frame(head: &impl Serialize, body: &[u8]) -> Result<Vec<u8>, Error> {
    let mut frame = vec![0; 4];
    let too_large = |bytes| Error::TooLarge { what: "a message on the socket".to_owned(), bytes, limit: MAX_FRAME };
    serde_json::to_writer(&mut frame, head).map_err(|_| too_large(0))?;
    frame.push(b'\n');
    frame.extend_from_slice(body);
    let length = frame.len() - 4;
    match u32::try_from(length) {
        Ok(prefix) if length <= MAX_FRAME => frame[..4].copy_from_slice(&prefix.to_be_bytes()),
        _ => return Err(too_large(length)),
    }
    Ok(frame)
}

/// Why no further frame can be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The connection ended, perhaps in the middle of a frame.
    Over,
    Malformed(String),
}

impl From<io::Error> for Unreadable {
    fn from(_: io::Error) -> Self {
        Unreadable::Over
    }
}

/// The frames that come in, until the other end closes in order or something is wrong.
pub(super) fn frames<T: DeserializeOwned>(
    reader: impl AsyncRead + Unpin,
) -> impl Stream<Item = Result<(T, Bytes), Unreadable>> {
    unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match read(&mut reader).await {
            Ok(Some(frame)) => Some((Ok(frame), Some(reader))),
            Ok(None) => None,
            Err(why) => Some((Err(why), None)),
        }
    })
}

async fn read<T: DeserializeOwned>(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<(T, Bytes)>, Unreadable> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length).await {
        Ok(_) => {}
        Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(why) => return Err(why.into()),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(Unreadable::Malformed(format!("a frame of {length} bytes; at most {MAX_FRAME} are allowed")));
    }
    let mut frame = vec![0; length];
    reader.read_exact(&mut frame).await?;
    let frame = Bytes::from(frame);
    let end = frame.iter().position(|byte| *byte == b'\n').unwrap_or(length);
    let head = serde_json::from_slice(&frame[..end]).map_err(|why| Unreadable::Malformed(why.to_string()))?;
    Ok(Some((head, frame.slice((end + 1).min(length)..))))
}
