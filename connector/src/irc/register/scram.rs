//! The client's part of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding: three values, each made of the one
//! before it by what the server has said. Nothing here waits or writes; the slow part is [`Salting::work`].
//!
//! SASLprep (RFC 4013) is not applied: account and password are used as they are configured, which is the same for all
//! of ASCII. A password with other characters that SASLprep would change is refused by the server, as if it were wrong.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac, pbkdf2};
use thiserror::Error;

use crate::Secret;

/// The fewest iterations that a server may ask for (RFC 7677, section 4). With fewer, what we answer would help too much
/// in guessing the password.
const MIN_ITERATIONS: u32 = 4096;
/// The most: about a second of work on a slow machine.
const MAX_ITERATIONS: u32 = 1_000_000;
/// The most bytes of salt.
const MAX_SALT_BYTES: usize = 1024;
/// "No channel binding", as it begins the first message.
const GS2_HEADER: &str = "n,,";
/// The same in base64, as it is repeated in the last.
const CHANNEL_BINDING: &str = "c=biws";

/// What the server said is not what a server says that knows the password.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No message of SCRAM, or one with an extension that we would have to know.
    #[error("it is no SCRAM message")]
    Malformed,
    /// It doesn't answer what we have sent.
    #[error("its nonce does not begin with ours")]
    Nonce,
    /// Too few would help in guessing the password, too many would keep us busy.
    #[error("it asks for {0} iterations; from {MIN_ITERATIONS} to {MAX_ITERATIONS} are sound")]
    Iterations(u64),
    /// It says that we are logged in before all was said, so it has proved nothing.
    #[error("it says that all is well before anything was proved")]
    Early,
    /// It does not know the password.
    #[error("its signature is wrong: it does not know the password")]
    Signature,
}

/// The first message is sent: who we are.
pub(crate) struct First {
    bare: String,
    nonce: String,
    password: Secret,
}

impl First {
    /// `nonce` is random, and holds neither a comma nor anything that can't be printed.
    pub fn new(account: &str, password: Secret, nonce: &str) -> Self {
        let account = account.replace('=', "=3D").replace(',', "=2C");
        First { bare: format!("n={account},r={nonce}"), nonce: nonce.to_owned(), password }
    }

    /// The first message.
    pub fn message(&self) -> String {
        format!("{GS2_HEADER}{}", self.bare)
    }

    /// The server's challenge: nonce, salt and iterations.
    ///
    /// # Errors
    /// [`Fault::Malformed`], [`Fault::Nonce`], [`Fault::Iterations`].
    pub fn challenged(self, challenge: &str) -> Result<Salting, Fault> {
        let mut attributes = challenge.split(',');
        let nonce = attribute(attributes.next(), "r=")?.to_owned();
        let salt = BASE64_STANDARD.decode(attribute(attributes.next(), "s=")?).map_err(|_| Fault::Malformed)?;
        let iterations: u64 = attribute(attributes.next(), "i=")?.parse().map_err(|_| Fault::Malformed)?;
        if nonce.strip_prefix(&self.nonce).is_none_or(str::is_empty) {
            return Err(Fault::Nonce);
        }
        if salt.is_empty() || salt.len() > MAX_SALT_BYTES {
            return Err(Fault::Malformed);
        }
        let sound = u32::try_from(iterations).ok().filter(|n| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(n));
        let iterations = sound.and_then(NonZeroU32::new).ok_or(Fault::Iterations(iterations))?;
        let unproved = format!("{CHANNEL_BINDING},r={nonce}");
        let signed = format!("{},{challenge},{unproved}", self.bare);
        Ok(Salting { password: self.password, salt, iterations, unproved, signed })
    }
}

/// The challenge is sound: what is left to be computed.
pub(crate) struct Salting {
    password: Secret,
    salt: Vec<u8>,
    iterations: NonZeroU32,
    /// The last message, without its proof.
    unproved: String,
    /// What both sides sign.
    signed: String,
}

impl Salting {
    /// Computes the proof: up to 1,000,000 rounds of PBKDF2, about 0.7 µs each.
    pub fn work(self) -> Last {
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let password = self.password.expose().as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, self.iterations, &self.salt, password, &mut salted);
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, stored_key.as_ref()), self.signed.as_bytes());
        let both = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = both.map(|(key, signature)| key ^ signature).collect();
        let server_key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&salted, b"Server Key").as_ref());
        let message = format!("{},p={}", self.unproved, BASE64_STANDARD.encode(proof));
        Last { message, server_key, signed: self.signed }
    }
}

impl fmt::Debug for Salting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salting(…)")
    }
}

/// The last message: the proof that we know the password. The server has to prove the same.
pub(crate) struct Last {
    message: String,
    server_key: hmac::Key,
    signed: String,
}

impl Last {
    /// The last message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The server's signature, compared in constant time.
    ///
    /// # Errors
    /// [`Fault::Signature`], or [`Fault::Malformed`].
    pub fn verify(&self, signature: &str) -> Result<(), Fault> {
        let signature = attribute(signature.split(',').next(), "v=")?;
        let signature = BASE64_STANDARD.decode(signature).map_err(|_| Fault::Malformed)?;
        hmac::verify(&self.server_key, self.signed.as_bytes(), &signature).map_err(|_| Fault::Signature)
    }
}

#[cfg(test)]
impl Last {
    /// What a server says that knows the password.
    pub fn signature(&self) -> String {
        format!("v={}", BASE64_STANDARD.encode(hmac::sign(&self.server_key, self.signed.as_bytes())))
    }
}

/// The value of an attribute that must stand here.
fn attribute<'a>(found: Option<&'a str>, name: &str) -> Result<&'a str, Fault> {
    found.and_then(|found| found.strip_prefix(name)).ok_or(Fault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7677, section 3
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn first() -> First {
        First::new("user", Secret::new("pencil"), NONCE)
    }

    #[test]
    fn the_conversation_of_rfc_7677_is_led_to_the_letter() {
        assert_eq!(first().message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let last = first().challenged(CHALLENGE).unwrap().work();
        assert_eq!(last.message(), PROOF);
        assert_eq!(last.verify(SIGNATURE), Ok(()));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let last = first().challenged(CHALLENGE).unwrap().work();
        for wrong in ["v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8=", "v=", "v=AAAA"] {
            assert_eq!(last.verify(wrong), Err(Fault::Signature), "{wrong}");
        }
        for wrong in ["", "e=other-error", "v", "v=!", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="] {
            assert_eq!(last.verify(wrong), Err(Fault::Malformed), "{wrong}");
        }
        let other = First::new("user", Secret::new("crayon"), NONCE).challenged(CHALLENGE).unwrap().work();
        assert_eq!(other.verify(SIGNATURE), Err(Fault::Signature));
    }

    #[test]
    fn an_unsound_challenge_is_refused() {
        let fault = |challenge: &str| first().challenged(challenge).unwrap_err();
        assert_eq!(fault(&CHALLENGE.replace("r=rOpr", "r=xOpr")), Fault::Nonce);
        assert_eq!(fault(&format!("r={NONCE},s=W22Z,i=4096")), Fault::Nonce);
        assert_eq!(fault(&CHALLENGE.replace("4096", "4095")), Fault::Iterations(4095));
        assert_eq!(fault(&CHALLENGE.replace("4096", "1000001")), Fault::Iterations(1_000_001));
        assert_eq!(fault(&CHALLENGE.replace("4096", "9999999999")), Fault::Iterations(9_999_999_999));
        let unsound = [String::new(), format!("m=x,{CHALLENGE}"), CHALLENGE.replace("s=W", "s=!")];
        let unsound = unsound.into_iter().chain([CHALLENGE.replace("i=4096", "i=-1"), format!("r={NONCE}x,s=,i=4096")]);
        for challenge in unsound {
            assert_eq!(fault(&challenge), Fault::Malformed, "{challenge}");
        }
    }

    #[test]
    fn a_comma_or_an_equals_sign_in_the_account_stays_in_its_place() {
        assert_eq!(First::new("a,b=c", Secret::new("x"), "n").message(), "n,,n=a=2Cb=3Dc,r=n");
    }
}
