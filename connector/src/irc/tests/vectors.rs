//! The vectors that IRC parsers are compared by, <https://github.com/ircdocs/parser-tests> (CC0): all of them. They come as
//! a Python package, which `scripts/test` installs; without it, as in a plain `cargo test`, there is nothing to compare.

use std::collections::BTreeMap;
use std::process::Command as Program;

use irc_proto::{Command, Message, Prefix};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::irc::hear::casemap::CaseMapping;
use crate::irc::hear::framing::{Framing, MODE};
use crate::irc::speak::line::Line;
use crate::irc::{Hostname, Mask};

/// The vectors of one kind, at least so many; `None` where no Python is named that has them. A Python without them is a
/// failure.
fn vectors<T: DeserializeOwned>(kind: &str, at_least: usize) -> Option<Vec<T>> {
    #[expect(clippy::disallowed_methods, reason = "the test's own switch")]
    let Ok(python) = std::env::var("PUBBOT_TEST_PYTHON") else {
        eprintln!(
            "{kind} was not compared: PUBBOT_TEST_PYTHON names no Python that has irc_parser_tests (see scripts/test)"
        );
        return None;
    };
    let program = format!("import json, parser_tests.data as d; print(json.dumps(d.{kind}['tests']))");
    let output = Program::new(python).args(["-c", &program]).output().expect("PUBBOT_TEST_PYTHON is no program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "PUBBOT_TEST_PYTHON has no irc_parser_tests: run scripts/test: {said}");
    let vectors: Vec<T> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(vectors.len() >= at_least, "{kind} has {} vectors only", vectors.len());
    Some(vectors)
}

/// What a line is made of.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Atoms {
    tags: BTreeMap<String, String>,
    source: Option<String>,
    verb: String,
    params: Vec<String>,
}

impl From<Message> for Atoms {
    fn from(message: Message) -> Self {
        let (verb, params) = words(message.command);
        // of two tags of one name the last counts
        let tags = message.tags.into_iter().flatten().map(|tag| (tag.0, tag.1.unwrap_or_default())).collect();
        Atoms { tags, source: message.prefix.map(|prefix| prefix.to_string()), verb, params }
    }
}

/// A command with its parameters: of those that the parser knows, as they were.
fn words(command: Command) -> (String, Vec<String>) {
    let (verb, params) = match command {
        Command::Raw(mode, params) if mode == MODE => ("MODE".to_owned(), params),
        Command::Raw(verb, params) => (verb, params),
        Command::Response(number, params) => (format!("{:03}", number as u16), params),
        Command::PRIVMSG(target, text) => ("PRIVMSG".to_owned(), vec![target, text]),
        Command::JOIN(channel, account, name) => {
            ("JOIN".to_owned(), [Some(channel), account, name].into_iter().flatten().collect())
        }
        Command::AWAY(why) => ("AWAY".to_owned(), why.into_iter().collect()),
        other => panic!("how are the words of {other:?} put together?"),
    };
    (verb, params)
}

#[test]
fn lines_are_read_as_all_parsers_should() {
    #[derive(Deserialize)]
    struct Vector {
        input: String,
        atoms: Atoms,
    }
    for Vector { input, atoms } in vectors("msg_split", 35).into_iter().flatten() {
        let mut framing = Framing::new("test");
        framing.feed(format!("{input}\r\n").as_bytes());
        let message = framing.next_message().unwrap_or_else(|| panic!("{input:?} was left out"));
        assert_eq!(Atoms::from(message), atoms, "{input:?}");
        assert!(framing.next_message().is_none());
    }
}

/// A client names no source (RFC 2812, section 2.3), so lines are compared without it.
#[test]
fn lines_are_written_as_all_parsers_should() {
    #[derive(Deserialize)]
    struct Vector {
        atoms: Atoms,
        matches: Vec<String>,
    }
    for Vector { atoms, matches } in vectors("msg_join", 15).into_iter().flatten() {
        let (last, words) = match atoms.params.split_last() {
            Some((last, words)) => (Some([last.as_str()]), words),
            None => (None, [].as_slice()),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let tags = atoms.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let line = Line::new(&atoms.verb, &words, last.as_ref().map(<[&str; 1]>::as_slice)).tagged(tags);
        let mut written = Vec::new();
        line.write(None, true, &mut written);
        let line = std::str::from_utf8(&written).unwrap().strip_suffix("\r\n").unwrap();
        let source = atoms.source.as_ref().map(|source| format!(":{source} ")).unwrap_or_default();
        assert!(matches.iter().any(|expected| expected.replacen(&source, "", 1) == line), "{line:?}: {matches:?}");
    }
}

#[test]
fn addresses_are_taken_apart_as_all_parsers_should() {
    #[derive(Deserialize)]
    struct Vector {
        source: String,
        atoms: BTreeMap<String, String>,
    }
    for Vector { source, atoms } in vectors("userhost_split", 9).into_iter().flatten() {
        let Prefix::Nickname(nick, user, host) = Prefix::new_from_str(&source) else {
            panic!("{source:?} is a server")
        };
        let found = [("nick", nick), ("user", user), ("host", host)];
        let found: BTreeMap<String, String> = found
            .into_iter()
            .filter(|(_, part)| !part.is_empty())
            .map(|(name, part)| (name.to_owned(), part))
            .collect();
        assert_eq!(found, atoms, "{source:?}");
    }
}

#[test]
fn masks_fit_whom_they_should() {
    #[derive(Deserialize)]
    struct Vector {
        mask: String,
        matches: Vec<String>,
        fails: Vec<String>,
    }
    for Vector { mask, matches, fails } in vectors("mask_match", 6).into_iter().flatten() {
        let parsed: Mask = mask.parse().unwrap();
        for casemapping in [CaseMapping::Ascii, CaseMapping::Rfc1459] {
            let fits = |address: &String| parsed.fits(address, casemapping);
            assert!(matches.iter().all(fits), "{mask}: {matches:?}");
            assert!(!fails.iter().any(fits), "{mask}: {fails:?}");
        }
    }
}

/// What the vectors call valid is valid for every machine: a local name is none.
#[test]
fn hostnames_are_valid_where_they_should_be() {
    #[derive(Deserialize)]
    struct Vector {
        host: String,
        valid: bool,
    }
    for Vector { host, valid } in vectors("validate_hostname", 13).into_iter().flatten() {
        assert_eq!(Hostname::of(&host) == Ok(Hostname::Qualified), valid, "{host:?}");
    }
}
