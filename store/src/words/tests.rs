//! What is a word, and that both engines are told the same of it.

use super::*;
use proptest::prelude::*;

fn split(text: &str) -> Vec<String> {
    words(text).iter().map(str::to_owned).collect()
}

#[test]
fn whatever_is_neither_letter_nor_digit_separates_words() {
    let cases = [
        ("Hello, World!", "hello world"),
        ("rust-lang foo_bar user@host", "rust lang foo bar user host"),
        ("https://example.com/a?b=1&c", "https example com a b 1 c"),
        ("don't C++ #rust", "don t c rust"),
        ("it’s “so” – and…so", "it s so and so"),
        ("\x01ACTION waves\x01", "action waves"),
        ("a\tb\nc\0d\u{a0}e\u{3000}f", "a b c d e f"),
        ("", ""),
        (" %--\" ", ""),
        ("🎉 ❤️ 1️⃣", "1"),
    ];
    for (text, expected) in cases {
        assert_eq!(words(text).fts5(), expected, "{text:?}");
    }
}

#[test]
fn a_word_has_one_spelling() {
    let cases = [
        ("Café CAFÉ cafe\u{301}", "cafe cafe cafe"),
        ("Ｆｕｌｌ ﬁne ² ½", "full fine 2 1 2"),
        ("Straße STRAẞE", "straße straße"),
        ("İstanbul Øl Łódź", "istanbul øl łodz"),
        ("ΟΔΟΣ οδός", "οδοσ οδοσ"),
        ("Ёж мой Мои", "еж мой мои"),
        ("한국어 हिन्दी", "한국어 हिन्दी"),
        ("a\u{200b}lice Auto\u{ad}bahn", "alice autobahn"),
        ("b\x02ol\x02d \x0304red\x03 \x0304,05é", "bold red e"),
    ];
    for (text, expected) in cases {
        assert_eq!(words(text).fts5(), expected, "{text:?}");
    }
}

#[test]
fn without_spaces_between_words_each_letter_is_one() {
    assert_eq!(words("東京タワー2号 ｶﾞ").fts5(), "東 京 タ ワ ー 2 号 ガ");
    assert_eq!(words("か\u{3099}き゚x").fts5(), "が き\u{309a} x");
    assert_eq!(words("ที่นี่").fts5(), "ที่ นี่");
}

#[test]
fn a_long_word_is_cut_between_characters_and_the_next_one_is_not() {
    assert_eq!(split(&format!("{} end", "x".repeat(100))), ["x".repeat(64).as_str(), "end"]);
    assert_eq!(split(&format!("x{}y end", "ж".repeat(40))), [format!("x{}", "ж".repeat(31)).as_str(), "end"]);
}

#[test]
fn only_the_first_words_of_a_long_message_count() {
    let text: String = (0..MAX_WORDS + 5).map(|n| format!("w{n} ")).collect();
    let tokens = split(&text);
    assert_eq!(tokens.len(), MAX_WORDS);
    assert_eq!(tokens.last().map(String::as_str), Some("w1999"));
    assert_eq!(document("n", "#c", "a", &text).iter().count(), MAX_WORDS + 3);
}

#[test]
fn a_word_that_comes_too_often_leaves_a_gap() {
    let tokens = split(&"ha ".repeat(MAX_REPEATS + 1).replacen("ha ", "ha ho ", 1));
    assert_eq!(tokens.len(), MAX_REPEATS + 2);
    assert_eq!(tokens[..3], ["ha", "ho", "ha"]);
    assert_eq!(tokens.last().map(String::as_str), Some(GAP));
    let literal = words(&"ha ".repeat(MAX_REPEATS + 9)).tsvector();
    assert!(literal.ends_with("'ha':255"), "{literal}");
}

#[test]
fn names_are_tokens_that_no_word_is() {
    assert_eq!(nick_token("Alice"), "=alice");
    assert_eq!(nick_token(r"[X]\^"), nick_token("{x}|~"));
    assert_eq!(channel_token("#Rust"), "##rust");
    assert_eq!(network_token("Libera"), "@libera");
    assert_eq!(nick_token("a b\0c\u{a0}d\u{2028}"), "=a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}");
    assert_eq!(nick_token(&"é".repeat(300)).len(), 255);
    assert_eq!(document("Libera", "#Rust", "Al", "=al @libera ##rust").fts5(), "@libera ##rust =al al libera rust");
}

#[test]
fn a_tsvector_has_positions_and_its_quotes_and_backslashes_are_doubled() {
    assert_eq!(words("a b a").tsvector(), "'a':1 'b':2 'a':3");
    assert_eq!(document("n", r"#it's\x", "q", "").tsvector(), "'@n':1 '##it''s|x':2 '=q':3");
    let mut lexeme = String::new();
    push_lexeme(&mut lexeme, r"a'b\c");
    assert_eq!(lexeme, r"'a''b\\c'");
    assert_eq!(words("").tsvector(), "");
}

/// Both engines take a token as one: none is empty, too long, or has something in it that separates.
fn assert_sound(tokens: &Tokens, longest: usize) {
    assert!(tokens.is_empty() || tokens.fts5().split(' ').all(|token| !token.is_empty()));
    for token in tokens.iter() {
        assert!(token.len() <= longest, "{token:?}");
        assert!(!token.contains(|c: char| c.is_whitespace() || c.is_control()), "{token:?}");
    }
}

proptest! {
    #[test]
    fn the_words_of_words_are_the_same_words(text in "\\PC*|(?s).*|[a-zé東ี่ก가\\x02\\x03,0-9 ]*") {
        let once = words(&text);
        assert_sound(&once, MAX_WORD_BYTES);
        prop_assert_eq!(words(once.fts5()), once);
    }

    #[test]
    fn the_case_of_ascii_does_not_matter(text in "[ -~é東]*") {
        prop_assert_eq!(words(&text.to_ascii_uppercase()), words(&text.to_ascii_lowercase()));
    }

    #[test]
    fn the_fast_path_of_ascii_splits_as_the_other_does(text in "[\\x00-\\x7f]*") {
        let mut splitter = Splitter::with_room_for(0);
        splitter.add_unicode(&without_formatting(&text));
        prop_assert_eq!(splitter.tokens(), words(&text));
    }

    #[test]
    fn any_names_are_three_sound_tokens(network in "(?s).{0,9}", channel in "(?s).*", nick in "(?s).*", text in "(?s).*") {
        let tokens = document(&network, &channel, &nick, &text);
        assert_sound(&tokens, MAX_NAME_BYTES);
        prop_assert_eq!(tokens.iter().count(), 3 + words(&text).iter().count());
        prop_assert!(words(&text).iter().all(|word| !word.starts_with([NICK, CHANNEL, NETWORK])));
    }
}

/// `cargo test --release -p store splits_a_second -- --ignored --nocapture` tells how fast it is.
#[test]
#[ignore = "tells a figure, and proves nothing"]
fn splits_a_second() {
    let lines = [
        (
            "ASCII",
            "so I tried https://example.com/a?b=c and it said: error[E0382] borrow of moved value `x`, any idea?",
        ),
        ("accents", "alors j'ai essayé la même chose hier, ça marchait très bien, mais là c'est cassé à nouveau"),
        ("Cyrillic", "я вчера попробовал то же самое, и всё работало, а сегодня опять сломалось, что делать"),
        ("kana", "昨日同じことを試したらうまくいったのに、今日はまた壊れている。どうすればいいですか"),
    ];
    const TIMES: u32 = 200_000;
    for (name, line) in lines {
        let begun = std::time::Instant::now();
        let bytes: usize = (0..TIMES)
            .map(|_| document("libera", "#rust", "alice", std::hint::black_box(line)))
            .map(|tokens| tokens.fts5().len() + tokens.tsvector().len())
            .sum();
        let each = begun.elapsed() / TIMES;
        println!("{name}: {each:?} a message with both encodings ({bytes} bytes)");
    }
}
