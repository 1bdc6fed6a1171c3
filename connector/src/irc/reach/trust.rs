//! By what a server is trusted: a certificate of an authority, or a pinned one. What it presented is kept, so that a
//! refusal can say what to pin.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use protocol::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::irc::reach::fingerprint::Fingerprint;
use crate::irc::reach::pem::{self, FileError};

/// By what a network's servers are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// A certificate for their host, of an authority that this system trusts.
    #[default]
    System,
    /// A certificate for their host, of an authority in this PEM file and of no other.
    File(PathBuf),
    /// One of these certificates; for whom it is, and until when, does not matter.
    Pinned(Vec<Fingerprint>),
}

impl Trust {
    /// Whether its file can be used now.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn check(&self) -> Result<(), FileError> {
        match self {
            Trust::File(path) => pem::roots(path).map(drop),
            Trust::System | Trust::Pinned(_) => Ok(()),
        }
    }
}

/// What there is to know of a certificate that a server presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What it can be pinned by.
    pub fingerprint: Fingerprint,
    /// Until when it is valid, if that can be read.
    pub expires: Option<Timestamp>,
    /// It says that it has signed itself.
    pub is_self_signed: bool,
}

impl Certificate {
    fn of(der: &[u8]) -> Self {
        let fingerprint = Fingerprint::of(der);
        let Ok((_, read)) = X509Certificate::from_der(der) else {
            return Certificate { fingerprint, expires: None, is_self_signed: false };
        };
        let expires = read.validity().not_after.timestamp().checked_mul(1000).map(Timestamp::from_millis);
        Certificate { fingerprint, expires, is_self_signed: read.issuer() == read.subject() }
    }
}

/// Why a server is not trusted, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Distrust {
    /// Its certificate is for other names.
    #[error(
        "its certificate is for {}: is the host in its url right? If it is a server of your own, pin it with \
         fingerprint = \"{fingerprint}\"",
        if .names.is_empty() { "no name at all".to_owned() } else { .names.join(", ") }
    )]
    OtherName {
        /// Those that it is for.
        names: Vec<String>,
        /// The certificate's.
        fingerprint: Fingerprint,
    },
    /// Its certificate is no longer valid.
    #[error(
        "its certificate has expired{}: whoever runs it has to renew it; or is the clock of this machine wrong?",
        .at.map(|at| format!(" at {at}")).unwrap_or_default()
    )]
    Expired {
        /// When it did.
        at: Option<Timestamp>,
    },
    /// Its certificate is not valid yet.
    #[error("its certificate is not valid yet: is the clock of this machine right?")]
    NotYetValid,
    /// It has signed its certificate itself.
    #[error(
        "it has signed its certificate itself. If it is a server of your own, pin it with \
         fingerprint = \"{fingerprint}\""
    )]
    SelfSigned {
        /// The certificate's.
        fingerprint: Fingerprint,
    },
    /// Nobody whom we trust has signed its certificate.
    #[error(
        "its certificate is signed by nobody whom we trust. If it is a server of your own, pin it with \
         fingerprint = \"{fingerprint}\", or name the file of its authority as ca_file"
    )]
    Unknown {
        /// The certificate's.
        fingerprint: Fingerprint,
    },
    /// Its certificate is not the pinned one.
    #[error(
        "its certificate is not the one that is pinned: either somebody stands between, or it was renewed; if you know \
         that it was, pin the new one with fingerprint = \"{fingerprint}\""
    )]
    NotPinned {
        /// That of the certificate it has now.
        fingerprint: Fingerprint,
    },
    /// Its certificate can't be used for another reason.
    #[error("its certificate can't be used: {0}")]
    Unusable(String),
}

/// Verifies one server during one handshake.
#[derive(Debug)]
pub(crate) struct Verifier {
    how: How,
    algorithms: WebPkiSupportedAlgorithms,
    presented: OnceLock<Certificate>,
}

#[derive(Debug)]
enum How {
    Authorities(Arc<WebPkiServerVerifier>),
    Pinned(Vec<Fingerprint>),
}

impl Verifier {
    /// Trusts servers that have a certificate of one of these authorities. An error is worded by rustls: there are none.
    pub fn of_authorities(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let building = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        Ok(Verifier::new(How::Authorities(building.build().map_err(|why| why.to_string())?)))
    }

    /// Trusts servers that have one of these certificates.
    pub fn of_pinned(pinned: Vec<Fingerprint>) -> Self {
        Verifier::new(How::Pinned(pinned))
    }

    fn new(how: How) -> Self {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        Verifier { how, algorithms, presented: OnceLock::new() }
    }

    /// What the server presented, if it came so far.
    pub fn presented(&self) -> Option<Certificate> {
        self.presented.get().copied()
    }

    /// What an error of the handshake means; `None` if it is not about whom to trust.
    pub fn distrust(&self, why: &Error) -> Option<Distrust> {
        let Error::InvalidCertificate(why) = why else { return None };
        let presented = self.presented()?;
        let fingerprint = presented.fingerprint;
        Some(match why {
            CertificateError::NotValidForNameContext { presented: names, .. } => {
                Distrust::OtherName { names: names.iter().map(|name| plain(name)).collect(), fingerprint }
            }
            CertificateError::NotValidForName => Distrust::OtherName { names: Vec::new(), fingerprint },
            CertificateError::ExpiredContext { not_after, .. } => Distrust::Expired { at: moment(*not_after) },
            CertificateError::Expired => Distrust::Expired { at: None },
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Distrust::NotYetValid,
            CertificateError::ApplicationVerificationFailure => Distrust::NotPinned { fingerprint },
            // `Other` holds what only webpki has a name for, such as one that is an authority's, as tools make them
            CertificateError::UnknownIssuer | CertificateError::Other(_) if presented.is_self_signed => {
                Distrust::SelfSigned { fingerprint }
            }
            CertificateError::UnknownIssuer => Distrust::Unknown { fingerprint },
            why => Distrust::Unusable(why.to_string()),
        })
    }
}

/// A name that rustls writes as `DnsName("irc.test")`.
fn plain(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).to_owned()
}

const BAD_SIGNATURE: Error = Error::InvalidCertificate(CertificateError::BadSignature);

fn moment(time: UnixTime) -> Option<Timestamp> {
    i64::try_from(time.as_secs()).ok()?.checked_mul(1000).map(Timestamp::from_millis)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = self.presented.get_or_init(|| Certificate::of(end_entity));
        match &self.how {
            How::Authorities(by) => by
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                // the authority has the name of one that we trust, and another key
                .map_err(|why| if why == BAD_SIGNATURE { CertificateError::UnknownIssuer.into() } else { why }),
            How::Pinned(pinned) if pinned.contains(&presented.fingerprint) => Ok(ServerCertVerified::assertion()),
            How::Pinned(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    // without the next two, whoever has seen a pinned certificate could present it: they prove that the server has its key

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
