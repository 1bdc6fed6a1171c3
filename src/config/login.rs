//! The keys of `[networks.<name>]` that say how to log in to the network's services, and under which modes. What can't
//! work is told at the start: an account without its password, a login with nothing to log in with.

use connector::Secret;
use connector::irc::{Login, Mechanism, Sasl};

use super::network::{checked_line, secret};
use super::section::{Found, Section};
use super::tree::{Node, Value};

/// More modes than this no server has.
const MAX_MODES: usize = 64;

/// Takes the keys of the login; with `has_client_certificate`, SASL EXTERNAL can be used.
pub fn login(section: &mut Section<'_>, has_client_certificate: bool) -> Login {
    let has_password = section.has("account_password") || section.has("account_password_file");
    let has_account = section.has("account");
    check_whole(section, has_account, has_password || has_client_certificate);
    let sasl_origin = section.origin("sasl");
    let account = section.parsed("account", checked_word);
    let password = secret(section, "account_password", "account_password_file", text);
    let nickserv_password = secret(section, "nickserv_password", "nickserv_password_file", word);
    let usual = if has_account && has_password { Sasl::Required } else { Sasl::Off };
    let sasl = section.parsed("sasl", sasl).unwrap_or(usual);
    let mechanisms = mechanisms(section);
    let usable = |mechanism: &Mechanism| match mechanism {
        Mechanism::External => has_client_certificate,
        Mechanism::ScramSha256 | Mechanism::Plain => has_account || has_password,
    };
    if let Some(origin) = sasl_origin.filter(|_| sasl != Sasl::Off && !mechanisms.iter().any(usable)) {
        let what = section.path("sasl");
        section.complain(&origin, format!("{what}: there is nothing to log in with: set account and account_password"));
    }
    Login { account, password, sasl, mechanisms, has_client_certificate, nickserv_password }
}

/// An account needs a password of some kind, and an account's password an account.
fn check_whole(section: &mut Section<'_>, has_account: bool, has_proof: bool) {
    let for_nickserv = section.has("nickserv_password") || section.has("nickserv_password_file");
    if let Some(origin) = section.origin("account").filter(|_| !has_proof && !for_nickserv) {
        let what = section.path("account_password");
        section.complain(&origin, format!("{what} is missing: an account needs its password, here or in a file"));
    }
    for key in ["account_password", "account_password_file"] {
        if let Some(origin) = section.origin(key).filter(|_| !has_account) {
            let what = section.path("account");
            section.complain(&origin, format!("{what} is missing: whose password is this?"));
        }
    }
}

fn text(text: &str) -> Result<Secret, String> {
    checked_line(text).map(Secret::new)
}

fn word(text: &str) -> Result<Secret, String> {
    checked_word(text).map(Secret::new)
}

/// One word: what is said to NickServ is split at spaces.
fn checked_word(word: &str) -> Result<String, String> {
    if word.starts_with(':') || word.contains(char::is_whitespace) {
        return Err("it is one word, and doesn't begin with a colon".to_owned());
    }
    checked_line(word)
}

fn sasl(word: &str) -> Result<Sasl, String> {
    match word {
        "required" => Ok(Sasl::Required),
        "preferred" => Ok(Sasl::Preferred),
        "off" => Ok(Sasl::Off),
        word => Err(format!("{word:?} is not known; expected \"required\", \"preferred\" or \"off\"")),
    }
}

/// Which may be used; without the key, all of them.
fn mechanisms(section: &mut Section<'_>) -> Vec<Mechanism> {
    let what = section.path("sasl_mechanisms");
    let Some(Found { value, origin }) = section.list("sasl_mechanisms") else { return Mechanism::ALL.to_vec() };
    if value.is_empty() {
        section.complain(&origin, format!("{what}: expected at least one of {}", names()));
    }
    value.into_iter().filter_map(|node| mechanism(section, &what, node)).collect()
}

fn mechanism(section: &mut Section<'_>, what: &str, node: Node) -> Option<Mechanism> {
    let Value::Text(name) = &node.value else {
        return section.wrong(what, &node.origin, "a mechanism's name in quotes", &node.value);
    };
    let known = Mechanism::from_name(name);
    if known.is_none() {
        section.complain(&node.origin, format!("{what}: {name:?} is not known; expected one of {}", names()));
    }
    known
}

fn names() -> String {
    Mechanism::ALL.map(|mechanism| format!("{:?}", mechanism.name())).join(", ")
}

/// User modes as the MODE command takes them, none of which has a parameter.
pub fn checked_modes(modes: &str) -> Result<String, String> {
    let letters = |c: char| c.is_ascii_alphabetic() || matches!(c, '+' | '-');
    let sound = modes.starts_with(['+', '-']) && modes.ends_with(|c: char| c.is_ascii_alphabetic());
    if !sound || !modes.chars().all(letters) || modes.len() > MAX_MODES {
        return Err(format!("{modes:?} are no modes: write \"+i\", \"+iB\" or \"+i-w\""));
    }
    Ok(modes.to_owned())
}
