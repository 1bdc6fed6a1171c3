//! Certificates for tests: an authority of their own, and servers that prove who they are by it, or don't.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;

use crate::irc::{ClientCertificate, Fingerprint};

/// A certificate and its key.
pub struct Pair {
    pub certificate: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

/// How a certificate is to be.
pub struct Plan {
    /// The host that it is for.
    pub name: &'static str,
    /// The years at whose beginning it begins and ends.
    pub years: [i32; 2],
}

impl Plan {
    /// One that is valid.
    pub fn of(name: &'static str) -> Self {
        Plan { name, years: [2000, 4000] }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new([self.name.to_owned()]).unwrap();
        [params.not_before, params.not_after] = self.years.map(|year| date_time_ymd(year, 1, 1));
        params
    }

    /// Signed by itself.
    pub fn self_signed(&self) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = self.params().self_signed(&key).unwrap();
        Pair { pem: certificate.pem(), certificate: certificate.into(), key }
    }
}

impl Pair {
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A server that has it.
    pub fn server(&self) -> TlsAcceptor {
        self.server_speaking(rustls::ALL_VERSIONS)
    }

    /// A server that has it, and speaks these versions of TLS.
    pub fn server_speaking(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsAcceptor {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
        acceptor(builder.with_single_cert(vec![self.certificate.clone()], self.key()).unwrap())
    }

    /// A server that presents it and has another key.
    pub fn thief_speaking(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsAcceptor {
        let other = PrivateKeyDer::try_from(KeyPair::generate().unwrap().serialize_der()).unwrap();
        let stolen = CertifiedKey::new(vec![self.certificate.clone()], any_supported_type(&other).unwrap());
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
        acceptor(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(stolen))))
    }

    /// A server that has it, and asks for a certificate of this authority.
    pub fn server_that_asks(&self, authority: &Authority) -> TlsAcceptor {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).unwrap();
        let asks = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_client_cert_verifier(asks);
        acceptor(builder.with_single_cert(vec![self.certificate.clone()], self.key()).unwrap())
    }

    /// Both in one file, as a certificate of our own.
    pub fn file(&self) -> (NamedTempFile, ClientCertificate) {
        let file = file(&format!("{}{}", self.pem, self.key.serialize_pem()));
        let own = ClientCertificate { file: file.path().to_owned(), key_file: file.path().to_owned() };
        (file, own)
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

fn acceptor(config: ServerConfig) -> TlsAcceptor {
    TlsAcceptor::from(Arc::new(config))
}

/// An authority of the test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // all have the same name: only the key tells them apart
        params.distinguished_name.push(DnType::CommonName, "an authority");
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate, as a file.
    pub fn file(&self) -> NamedTempFile {
        file(&self.0.pem())
    }

    /// A certificate that it has signed.
    pub fn signs(&self, plan: &Plan) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = plan.params().signed_by(&key, &self.0).unwrap();
        Pair { pem: certificate.pem(), certificate: certificate.into(), key }
    }
}

/// A file with this text.
fn file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write::<&Path, _>(file.path(), text).unwrap();
    file
}
