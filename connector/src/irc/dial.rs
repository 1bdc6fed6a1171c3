//! Connects to a server: name, TCP, TLS. With TLS, not a byte of ours is sent before the server has proved by a
//! certificate of the system's roots that it is who it should be.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Network;

/// How long it may take in all, from the name to the end of the TLS handshake.
const DIAL_WITHIN: Duration = Duration::from_secs(30);
/// How long one of several addresses may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The reading half of a connection.
pub(super) type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// The writing half of a connection.
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection to a server.
pub(super) struct Socket {
    pub reader: Reader,
    pub writer: Writer,
    /// The server's address, where it has one.
    pub address: Option<SocketAddr>,
}

/// Connects; a test has its own way.
pub(super) trait Dial: Send + Sync {
    fn dial(&self) -> impl Future<Output = Result<Socket, DialError>> + Send;
}

/// Why there is no connection.
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
    /// Nobody answers there.
    #[error("no connection to {host} port {port}: {why}")]
    Refused {
        /// The host as configured.
        host: String,
        /// The port as configured.
        port: u16,
        /// What the system said of the last address tried.
        why: io::Error,
    },
    /// The server could not prove who it is, or does not speak TLS.
    #[error("no TLS with {host}: {why}")]
    Tls {
        /// The host as configured.
        host: String,
        /// What is wrong.
        why: io::Error,
    },
    /// This system has no root certificates to verify a server by.
    #[error("no TLS: this system has no usable root certificates ({0})")]
    NoRoots(String),
    /// It took too long.
    #[error("no connection to {host} port {port} within {} s", DIAL_WITHIN.as_secs())]
    TimedOut {
        /// The host as configured.
        host: String,
        /// The port as configured.
        port: u16,
    },
}

/// Connects to a network's server.
pub(super) struct Dialer {
    host: String,
    port: u16,
    tls: bool,
}

impl Dialer {
    pub fn new(network: &Network) -> Self {
        Dialer { host: network.host.clone(), port: network.port, tls: network.tls }
    }

    async fn connect(&self) -> Result<Socket, DialError> {
        let tcp = self.tcp().await?;
        let address = tcp.peer_addr().ok();
        if !self.tls {
            let (reader, writer) = tcp.into_split();
            return Ok(Socket { reader: Box::new(reader), writer: Box::new(writer), address });
        }
        let (reader, writer) = tokio::io::split(self.encrypt(tcp, system_roots().await?).await?);
        Ok(Socket { reader: Box::new(reader), writer: Box::new(writer), address })
    }

    async fn tcp(&self) -> Result<TcpStream, DialError> {
        let not_found = |why| DialError::NotFound { host: self.host.clone(), why };
        let addresses = lookup_host((self.host.as_str(), self.port)).await.map_err(not_found)?;
        let mut failure = io::Error::other("it has no address");
        for address in addresses {
            match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    // without it, lines could wait 40 ms for a delayed ACK
                    if let Err(why) = tcp.set_nodelay(true) {
                        tracing::debug!(%why, "TCP_NODELAY can't be set");
                    }
                    return Ok(tcp);
                }
                Ok(Err(why)) => failure = why,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(DialError::Refused { host: self.host.clone(), port: self.port, why: failure })
    }

    async fn encrypt<S>(&self, plain: S, roots: RootCertStore) -> Result<tokio_rustls::client::TlsStream<S>, DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed = |why| DialError::Tls { host: self.host.clone(), why };
        let name = ServerName::try_from(self.host.clone()).map_err(|why| failed(io::Error::other(why)))?;
        let config = client_config(roots).map_err(|why| failed(io::Error::other(why)))?;
        TlsConnector::from(Arc::new(config)).connect(name, plain).await.map_err(failed)
    }
}

impl Dial for Dialer {
    async fn dial(&self) -> Result<Socket, DialError> {
        let late = |_| DialError::TimedOut { host: self.host.clone(), port: self.port };
        timeout(DIAL_WITHIN, self.connect()).await.map_err(late)?
    }
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    // the provider is named, since with several of them linked the default one is a panic
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

/// The system's root certificates, read anew at each connection: they change while a bot runs for years.
async fn system_roots() -> Result<RootCertStore, DialError> {
    let loading = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
    let found = loading.await.map_err(|why| DialError::NoRoots(why.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(DialError::NoRoots(why.join("; ")));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
    use rustls::ServerConfig;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio_rustls::TlsAcceptor;

    /// An authority of the test's own.
    struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        fn roots(&self) -> RootCertStore {
            let mut roots = RootCertStore::empty();
            roots.add(self.0.der().clone()).unwrap();
            roots
        }

        /// A server that proves to be `name`, by a certificate that is valid until the beginning of that year.
        fn server(&self, name: &str, until: i32) -> TlsAcceptor {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.not_after = date_time_ymd(until, 1, 1);
            let certificate: CertificateDer<'static> = params.signed_by(&key, &self.0).unwrap().into();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
            TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate], key).unwrap()))
        }
    }

    fn dialer() -> Dialer {
        Dialer { host: "irc.test".into(), port: 6697, tls: true }
    }

    /// What a server reads if the bot sends its password as soon as it has a connection.
    async fn password_seen_by(server: TlsAcceptor, roots: RootCertStore) -> (Result<(), DialError>, String) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let serving = tokio::spawn(async move {
            let mut seen = Vec::new();
            if let Ok(mut stream) = server.accept(theirs).await {
                while matches!(stream.read_buf(&mut seen).await, Ok(1..)) {}
            }
            String::from_utf8(seen).unwrap()
        });
        let mut dialed = dialer().encrypt(ours, roots).await;
        if let Ok(stream) = &mut dialed {
            stream.write_all(b"PASS :sesame\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
        }
        let seen = serving.await.unwrap();
        (dialed.map(drop), seen)
    }

    #[tokio::test]
    async fn a_server_that_proves_to_be_the_host_is_spoken_to() {
        let authority = Authority::new();
        let (dialed, seen) = password_seen_by(authority.server("irc.test", 4000), authority.roots()).await;
        dialed.unwrap();
        assert_eq!(seen, "PASS :sesame\r\n");
    }

    #[tokio::test]
    async fn another_name_an_unknown_authority_and_an_expired_certificate_are_refused_before_a_byte_is_sent() {
        let (known, unknown) = (Authority::new(), Authority::new());
        for server in [known.server("irc.evil", 4000), unknown.server("irc.test", 4000), known.server("irc.test", 2000)]
        {
            let (dialed, seen) = password_seen_by(server, known.roots()).await;
            assert!(matches!(dialed, Err(DialError::Tls { .. })), "{dialed:?}");
            assert_eq!(seen, "");
        }
    }

    #[tokio::test]
    async fn a_server_without_tls_gets_nothing_but_a_handshake() {
        let (ours, mut theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(64 * 1024);
        theirs.write_all(b":irc.test NOTICE * :*** hello\r\n").await.unwrap();
        let dialed = dialer().encrypt(ours, Authority::new().roots()).await;
        assert!(matches!(dialed, Err(DialError::Tls { .. })));
        let mut seen = Vec::new();
        theirs.read_to_end(&mut seen).await.unwrap();
        // a TLS record of the type handshake (RFC 8446, section 5.1)
        assert_eq!(seen[0], 22);
    }

    #[tokio::test]
    async fn a_host_that_is_no_name_and_a_port_where_nobody_listens_are_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let refused = Dialer { host: "127.0.0.1".into(), port, tls: false }.dial().await;
        assert!(matches!(refused, Err(DialError::Refused { .. })));
        let nowhere = Dialer { host: "no host".into(), port, tls: false }.dial().await;
        assert!(matches!(nowhere, Err(DialError::NotFound { .. })));
    }
}
