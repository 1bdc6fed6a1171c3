//! Certificates and keys in PEM files: those of authorities that we trust, and our own. They are read anew at each
//! connection, since they are renewed while a bot runs for years; at the start, to tell at once what is wrong with them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// No file of certificates is longer: 4 MiB, ten times the bundle of a distribution.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A file of certificates or keys that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} {why}", .path.display())]
pub struct FileError {
    /// The file as configured.
    pub path: PathBuf,
    /// What is wrong with it, as the end of a sentence that begins with its name.
    pub why: String,
}

impl FileError {
    pub(crate) fn new(path: &Path, why: impl Into<String>) -> Self {
        FileError { path: path.to_owned(), why: why.into() }
    }
}

/// A certificate of our own with what leads to its authority, and its key.
pub(crate) struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// The authorities in a file.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, &read(path)?)? {
        let unusable = |why| FileError::new(path, format!("holds a certificate that can't be used: {why}"));
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(roots)
}

/// A certificate of our own, and its key, which may stand in the same file.
pub(crate) fn identity(certificate: &Path, key: &Path) -> Result<Identity, FileError> {
    let chain = certificates(certificate, &read(certificate)?)?;
    let text = read(key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|why| {
        let encrypted = text.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
        let why = if encrypted {
            "holds a key that is encrypted: pubbot can't ask for its password, so decrypt it".to_owned()
        } else {
            format!("holds no private key in PEM (-----BEGIN PRIVATE KEY-----): {why}")
        };
        FileError::new(key, why)
    })?;
    Ok(Identity { chain, key })
}

/// How an encrypted key is announced (RFC 7468, section 11; and OpenSSL's older form).
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// The certificates in a text, one at least.
fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(FileError::new(path, "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"))
        }
        Ok(certificates) => Ok(certificates),
        Err(why) => Err(FileError::new(path, format!("is no PEM: {why}"))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > MAX_FILE_BYTES => {
            Err(FileError::new(path, format!("is longer than {} MiB", MAX_FILE_BYTES >> 20)))
        }
        Ok(_) => Ok(text),
        Err(why) => Err(FileError::new(path, format!("can't be read: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    /// A file with this text.
    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn certificate_and_key() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["irc.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_key_may_stand_in_the_file_of_its_certificate() {
        let (certificate, key) = certificate_and_key();
        let (one, other) = (file(&certificate), file(&key));
        assert_eq!(identity(one.path(), other.path()).unwrap().chain.len(), 1);
        let both = file(&format!("{key}\n{certificate}"));
        assert_eq!(identity(both.path(), both.path()).unwrap().chain.len(), 1);
        assert_eq!(roots(both.path()).unwrap().len(), 1);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_name() {
        let (certificate, key) = certificate_and_key();
        let (sound, without_key) = (file(&certificate), file(&key.replace("PRIVATE", "ENCRYPTED PRIVATE")));
        let unreadable = Path::new("/nowhere/x.pem");
        for (found, path, told) in [
            (roots(unreadable).map(drop), unreadable, "can't be read: No such file"),
            (roots(Path::new("/")).map(drop), Path::new("/"), "can't be read: Is a directory"),
            (roots(file("hello").path()).map(drop), Path::new(""), "holds no certificate in PEM"),
            (roots(file(&certificate.replace("MII", "???")).path()).map(drop), Path::new(""), "is no PEM"),
            (roots(file(&certificate.replace("MII", "AII")).path()).map(drop), Path::new(""), "can't be used"),
            (roots(file(&"x".repeat(5 << 20)).path()).map(drop), Path::new(""), "is longer than 4 MiB"),
            (identity(sound.path(), sound.path()).map(drop), sound.path(), "holds no private key in PEM"),
            (identity(sound.path(), without_key.path()).map(drop), without_key.path(), "holds a key that is encrypted"),
        ] {
            let why = found.unwrap_err();
            assert!(why.to_string().contains(told), "{told}: {why}");
            assert!(path == Path::new("") || why.path == path, "{why}");
            assert!(why.to_string().starts_with(&why.path.display().to_string()));
        }
    }
}
