//! What is typed, and what is understood.

use proptest::prelude::*;
use protocol::Timestamp;

use crate::search::{Fts5, MAX_QUERY_BYTES, MAX_QUERY_WORDS, Phrase, Place, Query, QueryError, to_fts5, to_tsquery};

const NOW: &str = "2026-11-28T12:00:00Z";

fn parse(text: &str) -> Result<Query, QueryError> {
    Query::parse(text, Timestamp::parse(NOW).unwrap(), 0)
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn joined(phrases: &[Phrase]) -> Vec<String> {
    phrases.iter().map(|phrase| phrase.words().collect::<Vec<_>>().join(" ")).collect()
}

fn place(network: Option<&str>, channel: &str) -> Place {
    Place { network: network.map(str::to_owned), channel: channel.to_owned() }
}

#[test]
fn words_and_phrases_must_be_there_and_what_has_a_minus_may_not() {
    let query = parse(r#"Rust  "Borrow  Checker" rust-lang -slow -"go lang" -C++ foo"a b"bar"#).unwrap();
    assert_eq!(joined(&query.all), ["rust", "borrow checker", "rust lang", "foo", "a b", "bar"]);
    assert_eq!(joined(&query.none), ["slow", "go lang", "c"]);
}

#[test]
fn a_quote_without_end_ends_with_the_text_and_any_quote_will_do() {
    assert_eq!(joined(&parse(r#"a "b c -d"#).unwrap().all), ["a", "b c d"]);
    assert_eq!(joined(&parse("“b c” „d e“ f").unwrap().all), ["b c", "d e", "f"]);
}

#[test]
fn filters_name_people_places_and_networks() {
    let query = parse("FROM:Alice from:[bob] -from:carol in:#rust in:libera/#go -in:x on:oftc -on:efnet w").unwrap();
    assert_eq!((query.from, query.not_from), (vec!["Alice".into(), "[bob]".into()], vec!["carol".into()]));
    assert_eq!(query.channels, [place(None, "#rust"), place(Some("libera"), "#go")]);
    assert_eq!(query.not_channels, [place(None, "x")]);
    assert_eq!((query.networks, query.not_networks), (vec!["oftc".into()], vec!["efnet".into()]));
    assert_eq!(joined(&query.all), ["w"]);
}

#[test]
fn a_channel_may_have_slashes_of_its_own() {
    assert_eq!(parse("in:#a/b").unwrap().channels, [place(None, "#a/b")]);
    assert_eq!(parse("in:net/#a/b").unwrap().channels, [place(Some("net"), "#a/b")]);
    assert_eq!(parse("in:net/").unwrap().channels, [place(None, "net/")]);
}

#[test]
fn what_only_looks_like_a_filter_is_words() {
    let query = parse(r#"https://example.com login:now "from:alice" xfrom:bob"#).unwrap();
    assert_eq!(joined(&query.all), ["https example com", "login now", "from alice", "xfrom bob"]);
}

#[test]
fn formatting_is_left_out_and_a_lonely_minus_is_nothing() {
    assert_eq!(joined(&parse("\x02bo\x02ld - \x0304,05red % --").unwrap().all), ["bold", "red"]);
}

#[test]
fn periods_narrow_each_other() {
    let query = parse("after:7d after:yesterday before:2027 before:\"2026-11-28 10:00\"").unwrap();
    assert_eq!(query.after.map(|at| at.to_string()).as_deref(), Some("2026-11-27T00:00:00.000Z"));
    assert_eq!(query.before.map(|at| at.to_string()).as_deref(), Some("2026-11-28T10:00:00.000Z"));
}

#[test]
fn each_mistake_is_one_sentence() {
    let cases = [
        (
            "  ",
            "a search needs something to look for: a word, a \"phrase\", or a filter such as from:alice or in:#rust",
        ),
        (
            "% --",
            "\"% --\" can't be searched for: a search needs a word with letters or digits, or a filter such as from:alice",
        ),
        (
            "\"",
            r#""\"" can't be searched for: a search needs a word with letters or digits, or a filter such as from:alice"#,
        ),
        (
            "-a -from:bob",
            "\"-a -from:bob\" only says what must not be there: add a word, or a filter such as from:alice or after:7d",
        ),
        (
            "a before:yesterdayish",
            "\"before:yesterdayish\": expected a date such as 2026-11-28, 2026-11 or 2026-11-28T10:00, or today, \
             yesterday, 3h, 7d or 2w",
        ),
        ("-before:today a", "\"-before:today\" can't have a minus: before: and after: are each other's opposite"),
        (
            "from: alice",
            "\"from:\" needs a value right behind it, as in from:alice; to look for the word itself, write it without \
             the colon",
        ),
        (
            "a after:2026-11 before:2026-11",
            "no time is both after 2026-11-01T00:00:00.000Z and before 2026-11-01T00:00:00.000Z",
        ),
    ];
    for (text, sentence) in cases {
        assert_eq!(error(text), sentence);
    }
}

#[test]
fn a_long_search_is_refused_and_the_longest_is_not() {
    assert!(parse(&"x".repeat(MAX_QUERY_BYTES)).is_ok());
    assert_eq!(error(&"x ".repeat(5_120)), "the search has 10240 bytes, and at most 1000 are allowed");
    assert!(parse(&"x ".repeat(MAX_QUERY_WORDS)).is_ok());
    assert_eq!(parse(&"x ".repeat(MAX_QUERY_WORDS + 1)), Err(QueryError::TooManyWords));
    assert!(error(&format!("before:{}", "é".repeat(99))).len() < 200);
}

#[test]
fn only_a_filter_is_enough_to_leave_something_out() {
    for text in ["from:alice -x", "in:#rust -from:bob", "on:libera -x", "after:7d -x", "before:today"] {
        assert!(parse(text).is_ok(), "{text}");
    }
}

#[test]
fn the_engines_are_asked_in_their_own_words() {
    let query = parse("rust-lang it's from:alice from:bob in:libera/#rust -slow -\"go lang\"").unwrap();
    assert_eq!(
        to_fts5(&query),
        Fts5::Matching(
            "(((\"rust lang\")) AND ((\"it s\")) AND ((\"=alice\") OR (\"=bob\")) \
             AND ((\"@libera\" AND \"##rust\"))) NOT ((\"slow\") OR (\"go lang\"))"
                .into()
        )
    );
    assert_eq!(
        to_tsquery(&query).as_deref(),
        Some(
            "((('rust' <-> 'lang'))) & ((('it' <-> 's'))) & ((('=alice')) | (('=bob'))) \
             & ((('@libera') & ('##rust'))) & !((('slow')) | (('go' <-> 'lang')))"
        )
    );
    assert_eq!(
        (to_fts5(&parse("after:7d").unwrap()), to_tsquery(&parse("after:7d").unwrap())),
        (Fts5::Everything, None)
    );
    let without = parse("after:7d -x").unwrap();
    assert_eq!(to_fts5(&without), Fts5::NotMatching("((\"x\"))".into()));
    assert_eq!(to_tsquery(&without).as_deref(), Some("!((('x')))"));
}

proptest! {
    #[test]
    fn any_text_is_a_search_or_one_sentence(
        text in "(?s).*|[-\"“a:. ]*|((-|from:|in:|on:|before:|after:|\"|[0-9a-z/#]{1,3}| ){0,3}){0,9}",
        now: i64, offset: i32,
    ) {
        match Query::parse(&text, Timestamp::from_millis(now), offset) {
            Ok(query) => {
                to_fts5(&query);
                to_tsquery(&query);
            }
            Err(error) => {
                let sentence = error.to_string();
                prop_assert!(!sentence.contains(char::is_control) && sentence.chars().count() < 500, "{}", sentence);
            }
        }
    }
}
