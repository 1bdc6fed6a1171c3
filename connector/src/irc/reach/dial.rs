//! Connects to one of a network's servers: name, address, TCP, TLS. The servers are tried in turn, and of each one its
//! addresses; after a lost connection the next server comes first.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::irc::reach::pem::FileError;
use crate::irc::reach::resolve::addresses;
use crate::irc::reach::tls::{Encrypted, Tls};
use crate::irc::reach::trust::{Certificate, Distrust};
use crate::irc::{Network, Server, Sts};

/// How long it may take with one server, from the name to the end of the TLS handshake: 30 s.
const DIAL_WITHIN: Duration = Duration::from_secs(30);
/// How long one of several addresses may take to accept the connection: 5 s, in which the system tries three times.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The reading half of a connection.
pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// The writing half of a connection.
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection to a server.
pub(crate) struct Socket {
    pub reader: Reader,
    pub writer: Writer,
    /// The server, as it was dialed: through TLS, if its host has asked for that, on whatever port.
    pub server: Server,
    /// The addresses of the server, in the order in which they are tried, and the one that answered.
    pub addresses: Vec<SocketAddr>,
    pub address: Option<SocketAddr>,
    /// The certificate by which it was trusted.
    pub certificate: Option<Certificate>,
}

/// Connects; a test has its own way.
pub(crate) trait Dial: Send + Sync {
    fn dial(&self) -> impl Future<Output = Result<Socket, DialError>> + Send;
}

/// Why there is no connection, and what to do about it where something can be done.
#[derive(Debug, Error)]
pub enum DialError {
    /// The host's name leads nowhere.
    #[error("the host {host:?} can't be found: {why}")]
    NotFound {
        /// The host as configured.
        host: String,
        /// What the resolver said.
        why: io::Error,
    },
    /// Nobody answers there, or whoever does hangs up.
    #[error("no connection to {server}: {why}")]
    Refused {
        /// Host and port.
        server: String,
        /// What the system said.
        why: io::Error,
    },
    /// It took too long.
    #[error("no connection to {server} within {} s", .within.as_secs())]
    TimedOut {
        /// Host and port.
        server: String,
        /// The limit.
        within: Duration,
    },
    /// The server could not prove who it is.
    #[error("{server} is not trusted, and was told nothing: {distrust}")]
    Untrusted {
        /// Host and port.
        server: String,
        /// Why.
        distrust: Distrust,
    },
    /// There is no way to speak TLS with it.
    #[error("no TLS with {server}: {why}")]
    Tls {
        /// Host and port.
        server: String,
        /// What is wrong.
        why: String,
    },
    /// This system has no root certificates to verify a server by.
    #[error("no TLS: this system has no usable root certificates ({0}); install them, or name a ca_file")]
    NoRoots(String),
    /// A file of certificates can't be used.
    #[error("no TLS: {0}")]
    File(#[from] FileError),
    /// None of several could be reached, or of several addresses none.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    All(Vec<DialError>),
}

impl DialError {
    /// Whether it says by itself what to do about it.
    pub fn is_about_trust(&self) -> bool {
        matches!(self, DialError::Untrusted { .. } | DialError::Tls { .. } | DialError::NoRoots(_) | DialError::File(_))
    }

    /// Of several failures: the only one, or all.
    fn of(mut failures: Vec<DialError>) -> Self {
        match failures.len() {
            1 => failures.remove(0),
            _ => DialError::All(failures),
        }
    }
}

/// Connects to a network's servers.
pub(crate) struct Dialer {
    /// For the log.
    network: String,
    servers: Vec<Server>,
    tls: Tls,
    sts: Sts,
    /// Which server comes first next time.
    next: AtomicUsize,
}

impl Dialer {
    /// Of a network, whose hosts may have asked for TLS.
    pub fn new(network: &Network, sts: &Sts) -> Self {
        let (name, servers, tls) = (network.name.clone(), network.servers.clone(), network.tls.clone());
        Dialer { network: name, servers, tls, sts: sts.clone(), next: AtomicUsize::new(0) }
    }

    /// Connects to one server, as it has to be spoken to.
    pub async fn dial_server(&self, server: &Server) -> Result<Socket, DialError> {
        let server = self.sts.as_dialed(server);
        let late = |_| DialError::TimedOut { server: server.to_string(), within: DIAL_WITHIN };
        timeout(DIAL_WITHIN, self.connect(&server)).await.map_err(late)?
    }

    async fn connect(&self, server: &Server) -> Result<Socket, DialError> {
        let addresses = addresses(server).await?;
        let socket = self.try_each(server, &addresses).await?;
        Ok(Socket { addresses, ..socket })
    }

    /// One address after the other, until one does.
    pub async fn try_each(&self, server: &Server, addresses: &[SocketAddr]) -> Result<Socket, DialError> {
        let mut failures = Vec::new();
        for address in addresses {
            match self.try_address(server, *address).await {
                Ok(socket) => return Ok(socket),
                Err(why) => failures.push(why),
            }
        }
        // of the same server the last says as much as all, unless one says more than that nobody is there
        let telling = failures.iter().rposition(|why| !matches!(why, DialError::Refused { .. }));
        let telling = telling.unwrap_or(failures.len().saturating_sub(1));
        failures.drain(..).nth(telling).map_or_else(|| Err(DialError::All(Vec::new())), Err)
    }

    async fn try_address(&self, server: &Server, address: SocketAddr) -> Result<Socket, DialError> {
        let refused = |why| DialError::Refused { server: server.to_string(), why };
        let late = |_| refused(io::ErrorKind::TimedOut.into());
        let connecting = timeout(CONNECT_WITHIN, TcpStream::connect(address)).await.map_err(late)?;
        let tcp = connecting.map_err(refused)?;
        // without it, lines could wait 40 ms for a delayed ACK
        if let Err(why) = tcp.set_nodelay(true) {
            tracing::debug!(%why, "TCP_NODELAY can't be set");
        }
        let (server, addresses, address) = (server.clone(), vec![address], Some(address));
        if !server.tls {
            let (reader, writer) = tcp.into_split();
            return Ok(Socket {
                reader: Box::new(reader),
                writer: Box::new(writer),
                server,
                addresses,
                address,
                certificate: None,
            });
        }
        let Encrypted { stream, certificate } = self.tls.encrypt(&server, tcp).await?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Socket { reader: Box::new(reader), writer: Box::new(writer), server, addresses, address, certificate })
    }

    /// The place of the server that comes first now: the next one, unless the last one is to be dialed again through TLS.
    fn first(&self) -> usize {
        let next = self.next.load(Ordering::Relaxed);
        let last = next.checked_sub(1).and_then(|last| self.servers.get(last));
        let again = last.is_some_and(|last| !last.tls && self.sts.wants_tls(&last.host));
        if again { next - 1 } else { next }
    }
}

impl Dial for Dialer {
    async fn dial(&self) -> Result<Socket, DialError> {
        let first = self.first();
        let mut failures = Vec::new();
        for turn in 0..self.servers.len() {
            let place = (first + turn) % self.servers.len();
            match self.dial_server(&self.servers[place]).await {
                Ok(socket) => {
                    self.next.store(place + 1, Ordering::Relaxed);
                    for why in failures {
                        tracing::warn!(network = self.network, %why, "another server was taken");
                    }
                    return Ok(socket);
                }
                Err(why) => failures.push(why),
            }
        }
        Err(DialError::of(failures))
    }
}
