//! Self-signed certificates for a test: a server's, which the test's clients trust, or a client's, which a server knows by its fingerprint.

use rcgen::CertifiedKey;
use ring::digest::{SHA256, digest};

/// A certificate that signs itself, and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    pem: String,
    key_pem: String,
    fingerprint: String,
}

impl Certificate {
    /// Makes one for these names or addresses, like `irc.test` or `127.0.0.1`; for a client any name will do.
    pub fn for_names(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(names).expect("names that a certificate can have");
        Self { pem: cert.pem(), key_pem: signing_key.serialize_pem(), fingerprint: fingerprint(cert.der()) }
    }

    /// The certificate as PEM. A client that trusts it trusts the server that has it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The private key as PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The SHA-256 of the certificate in hexadecimal, in small letters: what IRC servers call CertFP.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

fn fingerprint(der: &[u8]) -> String {
    digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
