//! What the fuzzer runs (`fuzz/`), for a moment and without it: the seeds, and some made of their parts.

use std::path::Path;

use proptest::prelude::*;

use crate::irc::fuzzing;

/// What conversations are made of: a fuzzer finds out by itself.
const PARTS: &str = include_str!("../../../../fuzz/irc.dict");

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let seeds: Vec<Vec<u8>> = files.map(|file| std::fs::read(file).unwrap()).collect();
    assert!(seeds.len() >= 5, "{} has {} files", folder.display(), seeds.len());
    seeds
}

/// The words of the fuzzer's dictionary.
fn words() -> Vec<Vec<u8>> {
    let quoted = PARTS.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    let words: Vec<Vec<u8>> = quoted.map(unescaped).collect();
    assert!(words.len() > 50);
    words
}

/// Its only escapes are `\x` and two digits.
fn unescaped(word: &str) -> Vec<u8> {
    let mut parts = word.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// Whole lines and words of all seeds, some with a byte that is wrong.
fn script(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<Vec<u8>> =
        seeds(target).iter().flat_map(|seed| seed.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec)).collect();
    let part = prop_oneof![
        4 => prop::sample::select(lines),
        2 => prop::sample::select(words()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    (any::<u8>(), prop::collection::vec(part, 0..40)).prop_map(|(first, parts)| [vec![first], parts.concat()].concat())
}

#[test]
fn the_seeds_of_lines_break_nothing() {
    seeds("line").iter().for_each(|seed| fuzzing::line(seed));
}

#[test]
fn the_seeds_of_conversations_break_nothing() {
    let mut settled = 0;
    for seed in seeds("session") {
        settled += fuzzing::session(&seed);
        for first in (0..=u8::MAX).step_by(5) {
            fuzzing::session(&[&[first], &seed[1..]].concat());
        }
    }
    assert!(settled >= 10, "they reach little: {settled} replies were settled");
}

proptest! {
    #[test]
    fn no_lines_break_the_parser(bytes in script("line")) {
        fuzzing::line(&bytes);
    }

    #[test]
    fn no_conversation_breaks_a_session(bytes in script("session")) {
        fuzzing::session(&bytes);
    }
}
