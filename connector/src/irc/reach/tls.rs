//! TLS with a server: not a byte of ours is sent before it has proved who it is. We may have a certificate, too.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::irc::Server;
use crate::irc::reach::dial::DialError;
use crate::irc::reach::fingerprint::Fingerprint;
use crate::irc::reach::pem::{self, FileError, Identity};
use crate::irc::reach::trust::{Certificate, Trust, Verifier};

/// How long the handshake may take, once a server has accepted the connection: 10 s.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// How a network's servers prove who they are, and how we do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// By what they are trusted.
    pub trust: Trust,
    /// What we present to those that ask for a certificate; services may know us by it (CertFP, SASL EXTERNAL).
    pub certificate: Option<ClientCertificate>,
}

/// A certificate of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The PEM file with it, and with what leads to its authority.
    pub file: PathBuf,
    /// The PEM file with its key, which is not encrypted; may be the same.
    pub key_file: PathBuf,
}

impl ClientCertificate {
    /// Whether its files can be used now, and fit together; its fingerprint.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn check(&self) -> Result<Fingerprint, FileError> {
        let identity = pem::identity(&self.file, &self.key_file)?;
        let fingerprint = identity.chain.first().map(|der| Fingerprint::of(der));
        let nobody = Arc::new(Verifier::of_pinned(Vec::new()));
        client_config(nobody, Some((self, identity))).map_err(|why| match why {
            DialError::File(why) => why,
            why => FileError::new(&self.file, format!("can't be used: {why}")),
        })?;
        fingerprint.ok_or_else(|| FileError::new(&self.file, "holds no certificate"))
    }
}

/// An encrypted connection, and by whom it was answered.
pub(crate) struct Encrypted<S> {
    pub stream: TlsStream<S>,
    pub certificate: Option<Certificate>,
}

impl Tls {
    /// Encrypts a connection to a server that proves who it is.
    pub(crate) async fn encrypt<S>(&self, server: &Server, plain: S) -> Result<Encrypted<S>, DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Ready { config, verifier } = self.prepare().await?;
        let no_tls = |why: String| DialError::Tls { server: server.to_string(), why };
        let name = ServerName::try_from(server.host.clone())
            .map_err(|_| no_tls(format!("no certificate can be for the host {:?}", server.host)))?;
        match timeout(HANDSHAKE_WITHIN, TlsConnector::from(Arc::new(config)).connect(name, plain)).await {
            Ok(Ok(stream)) => Ok(Encrypted { stream, certificate: verifier.presented() }),
            Ok(Err(why)) => Err(failure(server, why, &verifier)),
            Err(_) => Err(DialError::TimedOut { server: server.to_string(), within: HANDSHAKE_WITHIN }),
        }
    }

    /// Reads the files, which may wait for a disk.
    async fn prepare(&self) -> Result<Ready, DialError> {
        let tls = self.clone();
        let preparing = tokio::task::spawn_blocking(move || tls.ready());
        preparing.await.unwrap_or_else(|why| Err(DialError::NoRoots(why.to_string())))
    }

    fn ready(&self) -> Result<Ready, DialError> {
        let provider = Arc::new(ring::default_provider());
        let of = |roots| Verifier::of_authorities(roots, &provider).map_err(DialError::NoRoots);
        let verifier = Arc::new(match &self.trust {
            Trust::System => of(system_roots()?)?,
            Trust::File(path) => of(pem::roots(path)?)?,
            Trust::Pinned(pinned) => Verifier::of_pinned(pinned.clone()),
        });
        let identity = match &self.certificate {
            Some(files) => Some((files, pem::identity(&files.file, &files.key_file)?)),
            None => None,
        };
        Ok(Ready { config: client_config(verifier.clone(), identity)?, verifier })
    }
}

/// Everything for one handshake.
struct Ready {
    config: ClientConfig,
    verifier: Arc<Verifier>,
}

fn client_config(
    verifier: Arc<Verifier>,
    identity: Option<(&ClientCertificate, Identity)>,
) -> Result<ClientConfig, DialError> {
    // the provider is named, since with several of them linked the default one is a panic
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|why| DialError::NoRoots(why.to_string()))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let Some((files, Identity { chain, key })) = identity else { return Ok(builder.with_no_client_auth()) };
    let unusable = |why: rustls::Error| match why {
        rustls::Error::InconsistentKeys(_) => {
            FileError::new(&files.key_file, format!("holds a key that is not that of {}", files.file.display()))
        }
        why => FileError::new(&files.file, format!("can't be used with its key: {why}")),
    };
    Ok(builder.with_client_auth_cert(chain, key).map_err(unusable)?)
}

/// The system's root certificates.
fn system_roots() -> Result<RootCertStore, DialError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(DialError::NoRoots(why.join("; ")));
    }
    Ok(roots)
}

/// Why a handshake failed.
fn failure(server: &Server, why: io::Error, verifier: &Verifier) -> DialError {
    let tls = why.get_ref().and_then(|why| why.downcast_ref::<rustls::Error>());
    if let Some(distrust) = tls.and_then(|why| verifier.distrust(why)) {
        return DialError::Untrusted { server: server.to_string(), distrust };
    }
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => DialError::Tls {
            server: server.to_string(),
            why: "what answers there speaks no TLS: is the port right, or should it be irc:// instead of ircs://?"
                .into(),
        },
        Some(why) => DialError::Tls { server: server.to_string(), why: why.to_string() },
        // it closed the connection: it may be busy, or may not want us now
        None => DialError::Refused { server: server.to_string(), why },
    }
}
