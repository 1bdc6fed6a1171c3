//! Both engines find what a walk through all messages finds, whatever was said and whatever is searched.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use protocol::Timestamp;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::search::{Phrase, Place, Query};
use crate::words::{MAX_WORDS, Tokens, document, words};

mod postgresql;
mod sqlite;

/// One that was said.
#[derive(Clone, Debug)]
struct Message {
    network: String,
    channel: String,
    nick: String,
    text: String,
}

impl Message {
    fn document(&self) -> Tokens {
        document(&self.network, &self.channel, &self.nick, &self.text)
    }

    fn is_found_by(&self, query: &Query) -> bool {
        let said: Vec<String> = words(&self.text).iter().map(str::to_owned).collect();
        let has = |phrase: &Phrase| {
            let phrase: Vec<&str> = phrase.words().collect();
            said.windows(phrase.len()).any(|window| window == phrase)
        };
        let is_by = |nick: &String| fold(nick) == fold(&self.nick);
        let is_at = |place: &Place| self.is_at(place);
        let is_on = |network: &String| fold(network) == fold(&self.network);
        query.all.iter().all(has)
            && !query.none.iter().any(has)
            && (query.from.is_empty() || query.from.iter().any(is_by))
            && !query.not_from.iter().any(is_by)
            && (query.channels.is_empty() || query.channels.iter().any(is_at))
            && !query.not_channels.iter().any(is_at)
            && (query.networks.is_empty() || query.networks.iter().any(is_on))
            && !query.not_networks.iter().any(is_on)
    }

    fn is_at(&self, place: &Place) -> bool {
        let (asked, here) = (fold(&place.channel), fold(&self.channel));
        let is_bare = asked.starts_with(char::is_alphanumeric);
        place.network.as_ref().is_none_or(|network| fold(network) == fold(&self.network))
            && (asked == here || is_bare && format!("#{asked}") == here)
    }
}

fn fold(name: &str) -> String {
    name.to_lowercase().replace('[', "{").replace(']', "}").replace('\\', "|").replace('^', "~")
}

const NETWORKS: &[&str] = &["libera", "OFTC", "a-b"];
const CHANNELS: &[&str] = &["#rust", "#Go", "go", "&it's", "#a/b", "##\"x|", "#東京"];
const NICKS: &[&str] = &["alice", "Bob", "[bob]", "{bob}", "a'b", "q\"q", "back\\slash", "a", "é", "東", "%"];
/// What is said and searched: words, what separates them, and what means something to an engine.
const WORDS: &[&str] = &[
    "a",
    "b",
    "A",
    "ab",
    "a-b",
    "b a",
    "a b a",
    "it's",
    "é",
    "e",
    "東",
    "京",
    "東京",
    "rust-lang",
    "rust",
    "lang",
    "=a",
    "@libera",
    "##rust",
    "AND",
    "NOT",
    "OR",
    "NEAR",
    "*",
    "'",
    "\\",
    "(",
    ":",
    "🎉",
    "\x02a\x02b",
    "from:a",
];

fn message() -> impl Strategy<Value = Message> {
    let text = prop::collection::vec(select(WORDS), 0..8).prop_map(|pieces| pieces.join(" "));
    (select(NETWORKS), select(CHANNELS), select(NICKS), text).prop_map(|(network, channel, nick, text)| Message {
        network: network.to_owned(),
        channel: channel.to_owned(),
        nick: nick.to_owned(),
        text,
    })
}

fn term() -> impl Strategy<Value = String> {
    let phrase = prop::collection::vec(select(WORDS), 1..4).prop_map(|pieces| format!("\"{}\"", pieces.join(" ")));
    let place = prop_oneof![
        select(CHANNELS).prop_map(|channel| format!("in:{channel}")),
        (select(NETWORKS), select(CHANNELS)).prop_map(|(network, channel)| format!("in:{network}/{channel}")),
        select(NETWORKS).prop_map(|network| format!("on:{network}")),
    ];
    let word = select(WORDS).prop_map(str::to_owned);
    let nick = select(NICKS).prop_map(|nick| format!("from:{nick}"));
    let term = prop_oneof![4 => word, 2 => phrase, 2 => nick, 1 => place];
    (prop::bool::weighted(0.3), term)
        .prop_map(|(is_negative, term)| if is_negative { format!("-{term}") } else { term })
}

fn search() -> impl Strategy<Value = String> {
    let period = prop_oneof![3 => Just(""), 1 => Just("after:1970 ")];
    (period, prop::collection::vec(term(), 1..5)).prop_map(|(period, terms)| format!("{period}{}", terms.join(" ")))
}

const CASES: u32 = 500;

type Rows = BTreeSet<i64>;

fn by_walking(messages: &[Message], query: &Query) -> Rows {
    (1..).zip(messages).filter(|(_, message)| message.is_found_by(query)).map(|(row, _)| row).collect()
}

/// An engine with an index of its own.
trait Engine {
    /// Indexes these instead of what there was, as rows 1, 2, ….
    async fn index(&mut self, documents: &[Tokens]);
    /// The rows that a search finds.
    async fn find(&mut self, query: &Query) -> Rows;
    /// The tokens of a row as they are indexed, in their order.
    async fn tokens_of(&mut self, row: i64) -> Vec<String>;
}

fn corpora() -> impl Strategy<Value = (Vec<Message>, Vec<String>)> {
    (prop::collection::vec(message(), 0..12), prop::collection::vec(search(), 1..6))
}

fn queries(searches: &[String]) -> impl Iterator<Item = Query> {
    searches.iter().filter_map(|search| Query::parse(search, Timestamp::from_millis(0), 0).ok())
}

/// Random searches over random messages: the engine finds what a walk finds, and there is something to be found.
fn compare_with_a_walk(runtime: &Runtime, engine: impl Engine) {
    let engine = Mutex::new(engine);
    let (found, missed) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&corpora(), |(messages, searches)| {
        runtime.block_on(async {
            let mut engine = engine.lock().await;
            engine.index(&messages.iter().map(Message::document).collect::<Vec<_>>()).await;
            for query in queries(&searches) {
                let rows = by_walking(&messages, &query);
                found.set(found.get() + rows.len());
                missed.set(missed.get() + messages.len() - rows.len());
                prop_assert_eq!(engine.find(&query).await, rows, "{:?}", query);
            }
            Ok(())
        })
    });
    checked.unwrap();
    assert!(found.get() > 100 && missed.get() > 100, "{} found, {} not", found.get(), missed.get());
}

/// What is hard on tokens: names with everything in them, every ASCII character, the longest, the most, the most repeated.
fn hard_messages() -> Vec<Message> {
    let ascii: String = (0..128_u8).map(char::from).collect();
    let many: String = (0..MAX_WORDS).map(|n| format!("{n} ")).collect();
    let messages = [
        ("libera", "#c", "Alice", "é東京 Straße हिन्दी x\u{301}"),
        (&ascii, &ascii, &ascii, &ascii),
        ("\u{200b}", "#\u{85}\u{a0}\u{2028}", "\u{feff}🎉", ""),
        (&"É".repeat(300), &"東".repeat(300), &"'\\\"".repeat(200), &"x".repeat(9_000)),
        ("n", "#c", "a", &many),
        ("n", "#c", "a", &"ha ".repeat(MAX_WORDS)),
        ("n", "#c", "a", &format!("{}ho hum", "ha ".repeat(600))),
        ("n", "#\" OR \"#c", "\" NOT \"=a", ""),
        ("n", "#' | '#c", "\\' & '", ""),
    ];
    let owned = |(network, channel, nick, text): (&str, &str, &str, &str)| Message {
        network: network.to_owned(),
        channel: channel.to_owned(),
        nick: nick.to_owned(),
        text: text.to_owned(),
    };
    messages.into_iter().map(owned).collect()
}

fn hard_documents() -> Vec<Tokens> {
    hard_messages().iter().map(Message::document).collect()
}

async fn each_token_is_one(engine: &mut impl Engine) {
    let documents = hard_documents();
    engine.index(&documents).await;
    for (row, tokens) in (1..).zip(&documents) {
        let indexed = engine.tokens_of(row).await;
        let fed: Vec<&str> = tokens.iter().filter(|token| *token != ".").collect();
        assert_eq!(indexed, fed, "row {row}");
    }
}

/// Whoever has such a name is found by it, in such a place, and nobody else is.
async fn hard_names_find_their_rows(engine: &mut impl Engine) {
    engine.index(&hard_documents()).await;
    for (row, message) in (1..).zip(hard_messages()).filter(|(_, message)| message.nick != "a") {
        let place = Place { network: Some(message.network), channel: message.channel };
        let by_nick = Query { from: vec![message.nick], ..Query::default() };
        let by_place =
            Query { channels: vec![place], none: Phrase::of("ha").into_iter().collect(), ..Query::default() };
        for query in [by_nick, by_place] {
            assert_eq!(engine.find(&query).await, Rows::from([row]), "{query:?}");
        }
    }
}

/// Phrases are found that are long, or stand behind many repetitions.
async fn hard_searches_find_their_rows(engine: &mut impl Engine) {
    engine.index(&hard_documents()).await;
    let phrase: String = (100..300).map(|n| format!("{n} ")).collect();
    let long: Vec<String> = vec!["from:\u{feff}🎉".into(), format!("\"{phrase}\""), "x".repeat(900), "東".repeat(300)];
    let cases = [
        ("from:alice", vec![1]),
        ("in:#c é -from:bob", vec![1]),
        ("from:alice in:#c 東京 \"cafe\"", vec![]),
        ("\"ho hum\"", vec![7]),
        ("\"ha ho\"", vec![]),
        ("\"ha ha\" -hum", vec![6]),
        ("on:n from:a -ha", vec![5]),
        (&long[0], vec![3]),
        (&long[1], vec![5]),
        (&long[2], vec![4]),
        (&long[3], vec![]),
    ];
    for (search, rows) in cases {
        let query = Query::parse(search, Timestamp::from_millis(0), 0).unwrap();
        assert_eq!(engine.find(&query).await, Rows::from_iter(rows), "{search}");
    }
}
