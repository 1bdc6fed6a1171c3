//! The index against each regex in turn, and the cases that are easy to get wrong.

use super::*;
use proptest::prelude::*;

fn index(patterns: &[&str]) -> TriggerIndex {
    TriggerIndex::build(patterns.iter().copied()).unwrap()
}

fn found(patterns: &[&str], line: &str) -> Vec<usize> {
    let mut found = Found::default();
    index(patterns).matches(line, &mut found);
    found.ids().to_vec()
}

#[test]
fn an_index_without_patterns_finds_nothing() {
    assert!(index(&[]).is_empty());
    assert!(found(&[], "hello").is_empty());
}

#[test]
fn matches_come_in_ascending_order_and_once_each() {
    let patterns = [r"^\w+ ", "foo|bar", "deploy (prod|staging)", r"foo=(?<foo>\w+)", "", r"\bbar\b"];
    assert_eq!(found(&patterns, "foo foo bar foo=1"), [0, 1, 3, 4, 5]);
}

#[test]
fn a_pattern_that_can_be_empty_matches_every_line() {
    assert_eq!(found(&["", "x*", "(a|)", "^"], ""), [0, 1, 2, 3]);
    assert_eq!(found(&["", "x*", "(a|)", "^"], "hello"), [0, 1, 2, 3]);
}

#[test]
fn a_pattern_that_can_never_match_never_does() {
    assert!(found(&[r"[^\s\S]", r"foo[^\s\S]", r"foo\bbar"], "foobar").is_empty());
    assert_eq!(found(&[r"foo|[^\s\S]", r"\d|[^\s\S]", r"|[^\s\S]"], "foo 1"), [0, 1, 2]);
}

#[test]
fn a_literal_inside_another_is_found_too() {
    assert_eq!(found(&["posts", "ost", "compost", "postscript"], "composts"), [0, 1, 2]);
}

#[test]
fn anchors_hold_at_the_ends_of_the_line() {
    let patterns = ["^ping$", "^ping", "ping$", "ping", r"\Aping\z"];
    assert_eq!(found(&patterns, "ping"), [0, 1, 2, 3, 4]);
    assert_eq!(found(&patterns, "ping ping "), [1, 3]);
    assert_eq!(found(&patterns, "a ping"), [2, 3]);
}

#[test]
fn a_word_ends_where_unicode_says() {
    let patterns = [r"\bword\b", r"\Bword", r"(?-u:\b)word\b"];
    assert_eq!(found(&patterns, "sword word"), [0, 1, 2]);
    assert_eq!(found(&patterns, "äword"), [1, 2]);
    assert_eq!(found(&patterns, "…word…"), [0, 2]);
}

#[test]
fn an_assertion_alone_is_tried_on_every_line() {
    let patterns = [r"^\b", r"\b^|x$", r"(?:foo)?\B$", "^", "$", r"^\B"];
    assert_eq!(found(&patterns, "ſ: é"), [0, 1, 3, 4]);
    assert_eq!(found(&patterns, "…"), [2, 3, 4, 5]);
}

#[test]
fn case_matters_unless_the_pattern_says_so() {
    let patterns = ["Thanks", "(?i)thanks?", "(?i:t)hanks", "T(?i)HANKS"];
    assert_eq!(found(&patterns, "Thanks"), [0, 1, 2, 3]);
    assert_eq!(found(&patterns, "thanks"), [1, 2]);
    assert_eq!(found(&patterns, "tHANK"), [1]);
}

#[test]
fn what_unicode_folds_to_ascii_is_found_where_case_does_not_matter() {
    let patterns = ["(?i)thanks", "thanks", "than\u{212A}", "than\u{212A}ſ", "(?i-u)thanks"];
    assert_eq!(found(&patterns, "many than\u{212A}ſ"), [0, 2, 3]);
    assert_eq!(found(&patterns, "THANKS"), [0, 4]);
    assert_eq!(found(&patterns, "ſ: thanks"), [0, 1, 4]);
}

#[test]
fn letters_beyond_ascii_ignore_case_too() {
    assert_eq!(found(&["(?i)straße", "(?i)άλφα"], "STRAẞE ΆΛΦΑ"), [0, 1]);
}

#[test]
fn a_literal_deep_inside_is_enough() {
    let patterns = [r"(\w+)\s(deploy|releas)ed", r"(?:\d+ (?:apples|pears) ?)+", r"(a.*first|b.*second)x"];
    assert!(index(&patterns).sets.is_empty());
    assert_eq!(found(&patterns, "bob released 12 pears and a very first b: secondx"), [0, 1, 2]);
}

#[test]
fn patterns_of_literals_alone_are_never_compiled() {
    let patterns = ["deploy (prod|staging)", r"\bword\b", "(?i)thanks?", "^ping$", r"foo=(?<foo>\w+)"];
    let index = index(&patterns);
    let mut found = Found::default();
    index.matches("a word: deploy prod, THANKS, foo=1", &mut found);
    assert_eq!(found.ids(), [0, 1, 2, 4]);
    assert!(index.patterns.iter().all(|pattern| pattern.regex.get().is_none()));
}

#[test]
fn a_pattern_is_compiled_when_a_line_first_needs_it() {
    let index = index(&[r"foo=(?<foo>\w+)!", r"bar=(?<bar>\w+)!"]);
    let mut found = Found::default();
    index.matches("foo=1!", &mut found);
    let compiled: Vec<bool> = index.patterns.iter().map(|pattern| pattern.regex.get().is_some()).collect();
    assert_eq!(compiled, [true, false]);
    assert_eq!(&index.regex(0).unwrap().captures("foo=1!").unwrap()["foo"], "1");
    assert!(index.regex(2).is_none());
}

#[test]
fn a_pattern_that_is_no_regex_is_refused_by_its_position() {
    let error = TriggerIndex::build(["fine", "(oops"]).unwrap_err();
    assert!(matches!(error, TriggerError::Syntax { .. }), "{error}");
    assert_eq!(error.id(), Some(1));
    assert!(error.to_string().contains("(oops"), "{error}");
    let error = TriggerIndex::build([r"(?-u)\xFF"]).unwrap_err();
    assert!(matches!(error, TriggerError::Syntax { id: 0, .. }), "{error}");
}

#[test]
fn a_pattern_that_would_be_huge_is_refused() {
    for pattern in [
        "x{1000}{1000}",
        r"\w{500}",
        "((x{100}){100}){100}",
        r"(?i)[\w\d]{1,200}",
        "(?:a{0}){900}{900}{900}b{900}{900}",
    ] {
        let error = TriggerIndex::build(["fine", pattern]).unwrap_err();
        assert!(matches!(error, TriggerError::TooLarge { id: 1, .. }), "{error}");
        assert!(error.to_string().contains(pattern), "{error}");
    }
    assert!(TriggerIndex::build([r"\w{1,50}", "x{1000}", r".{0,400}"]).is_ok());
}

#[test]
fn a_pattern_nested_too_deep_is_refused() {
    let deep = |levels: usize| format!("{}x{}", "(".repeat(levels), ")".repeat(levels));
    assert!(TriggerIndex::build([&*deep(90)]).is_ok());
    assert!(TriggerIndex::build([&*deep(1000)]).is_err());
}

#[test]
fn sets_that_grow_too_large_are_split() {
    let patterns: Vec<String> = (1..40).map(|n| format!(r"^\w{{{n}}}$")).collect();
    let index = TriggerIndex::build(patterns.iter().map(|pattern| &**pattern)).unwrap();
    assert!(index.sets.len() > 1);
    let mut found = Found::default();
    index.matches("äbcdefghij", &mut found);
    assert_eq!(found.ids(), [9]);
}

#[test]
fn space_is_reused_from_one_index_to_another() {
    let mut found = Found::default();
    index(&["foo", "bar", r"\d"]).matches("foo bar 1", &mut found);
    assert_eq!(found.ids(), [0, 1, 2]);
    index(&["quux"]).matches("foo bar", &mut found);
    assert!(found.ids().is_empty());
}

/// Text in few letters, so that patterns and lines meet often, with those that fold strangely.
const ALPHABET: &[&str] =
    &["a", "b", "k", "s", "K", "S", "ſ", "\u{212A}", "é", "É", " ", "1", "2", "٣", "=", "ka", "bas", "ask "];

fn atom() -> impl Strategy<Value = String> {
    let literal = prop::collection::vec(prop::sample::select(ALPHABET), 1..5).prop_map(|parts| parts.concat());
    let special = prop::sample::select(vec![
        r"\w",
        r"\d",
        r"\s",
        ".",
        "[ab]",
        "[^a]",
        "[a-s\u{212A}]",
        "[k\u{212A}]",
        r"\b",
        r"\B",
        "^",
        "$",
        r"(?-u:\b)",
        "(?m:^)",
        "(?m:$)",
        "",
        "[é-ſ]",
        r"\b{start}",
        r"\b{end}",
        "[[:alpha:]]",
        "[0-9]",
        "[1-9a]",
        r"\d{2}",
        r"\w+",
        r"\S+",
        r"\d+",
        "(?-u:[a-k])",
        r"[^\s\S]",
    ]);
    prop_oneof![4 => literal, 2 => special.prop_map(str::to_owned)]
}

fn pattern() -> impl Strategy<Value = String> {
    let tree = atom().prop_recursive(4, 24, 4, |inner| {
        let repeat = prop::sample::select(vec!["?", "*", "+", "{2}", "{1,2}", "{0,3}", "+?", "{2,}", "{0}"]);
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            1 => inner.clone().prop_map(|part| format!("({part})")),
            1 => inner.clone().prop_map(|part| format!("(?i:{part})")),
            1 => inner.clone().prop_map(|part| format!("(?i-u:{part})")),
            1 => inner.clone().prop_map(|part| format!("(?x: {part} )")),
            2 => (inner, repeat).prop_map(|(part, repeat)| format!("(?:{part}){repeat}")),
        ]
    });
    (prop::sample::select(vec!["", "", "(?i)", "(?s)", "(?x)", "(?m)"]), tree)
        .prop_map(|(flags, tree)| format!("{flags}{tree}"))
}

fn line() -> impl Strategy<Value = String> {
    let parts = [ALPHABET, &["\n", "x", "А", "日本", "🎉", "\r\n"]].concat();
    prop::collection::vec(prop::sample::select(parts), 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_each_regex_finds(
        patterns in prop::collection::vec(pattern().prop_filter("compiles", |it| Regex::new(it).is_ok()), 0..8),
        lines in prop::collection::vec(line(), 1..8),
    ) {
        let index = TriggerIndex::build(patterns.iter().map(|it| &**it)).unwrap();
        let mut found = Found::default();
        for line in &lines {
            index.matches(line, &mut found);
            let matches = |id: &usize| Regex::new(&patterns[*id]).unwrap().is_match(line);
            let each: Vec<usize> = (0..patterns.len()).filter(matches).collect();
            prop_assert_eq!(found.ids(), each, "{:?} on {:?}", patterns, line);
        }
    }
}
