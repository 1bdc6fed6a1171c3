//! The fingerprint of a certificate: what a self-signed server is known by, and what services know us by (CertFP).

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, digest};

/// How long a SHA-256 is.
const BYTES: usize = 32;

/// The SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; BYTES]);

impl Fingerprint {
    /// Of a certificate, given as DER.
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(digest(&SHA256, der).as_ref());
        Fingerprint(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    /// 64 hexadecimal digits, small or large; between two of them may stand a colon, as OpenSSL writes it.
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Option<Vec<u8>> = pairs(text).and_then(|pairs| pairs.into_iter().map(byte).collect());
        match bytes.map(<[u8; BYTES]>::try_from) {
            Some(Ok(bytes)) => Ok(Fingerprint(bytes)),
            Some(Err(bytes)) => {
                let algorithm = match bytes.len() {
                    20 => ", as in a SHA-1",
                    64 => ", as in a SHA-512",
                    _ => "",
                };
                Err(format!("expected a SHA-256, 64 hexadecimal digits; found {}{algorithm}", 2 * bytes.len()))
            }
            None => Err("expected a SHA-256, 64 hexadecimal digits, with or without a colon after every second".into()),
        }
    }
}

/// The text in pieces of two: at the colons if there are any.
fn pairs(text: &str) -> Option<Vec<&str>> {
    if text.contains(':') {
        return Some(text.split(':').collect());
    }
    let even = text.is_ascii() && text.len().is_multiple_of(2);
    even.then(|| (0..text.len()).step_by(2).filter_map(|at| text.get(at..at + 2)).collect())
}

fn byte(pair: &str) -> Option<u8> {
    let is_hex = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SHA-256 of "abc" (FIPS 180-4).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn it_is_the_sha256_and_is_read_as_it_is_written() {
        let abc = Fingerprint::of(b"abc");
        assert_eq!(abc.to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(abc));
        let colons: Vec<String> = (0..64).step_by(2).map(|at| ABC[at..at + 2].to_uppercase()).collect();
        assert_eq!(colons.join(":").parse(), Ok(abc));
    }

    #[test]
    fn what_is_none_is_told_with_what_is_expected() {
        for (wrong, told) in [
            (ABC[..40].to_owned(), "found 40, as in a SHA-1"),
            (ABC.repeat(2), "found 128, as in a SHA-512"),
            (ABC[..62].to_owned(), "found 62"),
            (String::new(), "found 0"),
            (ABC[..63].to_owned(), "with or without a colon"),
            (ABC.replace('a', "g"), "with or without a colon"),
            (ABC.replace("ba", "+a"), "with or without a colon"),
            (ABC.replace("ba", "b:a"), "with or without a colon"),
            ("ä".repeat(32), "with or without a colon"),
        ] {
            let why = wrong.parse::<Fingerprint>().unwrap_err();
            assert!(why.contains("64 hexadecimal digits") && why.contains(told), "{wrong}: {why}");
        }
    }
}
