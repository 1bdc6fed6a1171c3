//! Regex triggers: what one line costs when many patterns wait for it, three ways, in one run.
//!
//! Each regex in turn; one `RegexSet` with raised limits; the worker's index. A pattern that matches then gives
//! its captures, in all three. The lines come from a seed and never repeat, in the run or between its parts; they
//! are plain ASCII, which favours the `RegexSet` (a Unicode `\b` makes it slow on others). The patterns in use are
//! compiled before the clock starts.
//!
//! A `RegexSet` makes its automaton as it goes and is slow where lines are new to it: it is measured early, from
//! line 1,000 to line 8,000, and settled, after 50,000 more lines. Ratios mean something on a busy machine, times
//! less so: each is the median of several batches, the ways taking turns.

#![allow(clippy::expect_used, reason = "the patterns are the benchmark's own, and known to be valid")]

use std::collections::HashSet;
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use regex::{Regex, RegexSet, RegexSetBuilder};
use serde::Serialize;
use worker::index::{Found, TriggerIndex};

use crate::random::Random;

/// How many triggers, and whether each regex in turn is measured too.
const SIZES: [(usize, bool); 4] = [(10, true), (100, true), (1_000, true), (10_000, false)];

/// Batches of lines, and lines in each; the median batch counts.
const BATCHES: usize = 7;
const LINES: usize = 1_000;

/// Batches between the early measurement and the settled one.
const SETTLING: usize = 50;

/// Of so many lines, one is written to match a trigger.
const ONE_MATCHES_IN: usize = 20;

/// The most triggers in use: those that lines are written for.
const IN_USE: usize = 50;

/// Bytes that one `RegexSet` may take, and its lazy automaton: enough for 10,000 patterns.
const SET_LIMIT: usize = 4 << 30;
const SET_STATES_LIMIT: usize = 256 << 20;

const COMMON: &str = "\
    the be to of and a in that have it for not on with he as you do at this but his by from they we say her she or \
    will my one all would there their what so up out if about who get which go me when make can like time no \
    just him know take people into year your good some could them see other than then now look only come its \
    over think also back after use two how our work first well way even new want because any these give day most \
    us is are was been lol yeah ok hmm maybe server build thing anyone why does still broken today merge branch \
    release test tests fixed thanks please again tomorrow morning error line file patch";

const SYLLABLES: [&str; 40] = [
    "ba", "be", "bi", "bo", "ca", "ce", "co", "cu", "da", "de", "di", "do", "fa", "fe", "ga", "go", "ha", "hi", "ka",
    "ki", "la", "le", "li", "lo", "ma", "me", "mi", "mo", "na", "ne", "no", "pa", "pe", "ra", "re", "ri", "sa", "se",
    "ta", "ton",
];

const ENDINGS: [&str; 8] = ["er", "ing", "x", "ly", "nt", "st", "n", "ck"];

/// What was measured at one number of triggers.
#[derive(Serialize)]
struct Row {
    triggers: usize,
    early: Cost,
    settled: Cost,
    regex_set_build_ms: f64,
    index_build_ms: f64,
    /// growth of the resident set by building, in KiB, where the system tells
    regex_set_kib: Option<u64>,
    index_kib: Option<u64>,
    /// share of the measured lines that matched something
    matched: f64,
}

/// ns a line.
#[derive(Clone, Copy, Serialize)]
struct Cost {
    in_turn: Option<f64>,
    regex_set: f64,
    index: f64,
    /// index / regex_set
    ratio: f64,
}

/// Measures and prints a table, or JSON. Takes about half a minute in a release build.
///
/// # Panics
///
/// When the three ways disagree about what matches.
pub fn run(json: bool) {
    let mut seen = HashSet::new();
    let rows: Vec<Row> = SIZES.iter().map(|(triggers, in_turn)| measure(*triggers, *in_turn, &mut seen)).collect();
    if json {
        println!("{}", serde_json::json!({ "triggers": rows }));
    } else {
        print!("{}", table(&rows));
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from("regex triggers: ns a line, lines never repeat\n");
    let _ = writeln!(
        table,
        "{:>8}  {:>7}  {:>9} {:>9} {:>7} {:>6}  {:>10} {:>10}  {:>9} {:>8}  {:>7}",
        "triggers", "", "in turn", "RegexSet", "index", "ratio", "set built", "in memory", "built", "memory", "matched"
    );
    for row in rows {
        let megabytes = |kib: Option<u64>| kib.map_or("-".to_owned(), |kib| format!("{:.1} MB", kib as f64 / 1024.0));
        for (name, cost) in [("early", row.early), ("settled", row.settled)] {
            let in_turn = cost.in_turn.map_or("-".to_owned(), |ns| format!("{ns:.0}"));
            let Cost { regex_set, index, ratio, .. } = cost;
            let _ = write!(
                table,
                "{:>8}  {name:>7}  {in_turn:>9} {regex_set:>9.0} {index:>7.0} {ratio:>6.4}",
                row.triggers
            );
            let _ = writeln!(
                table,
                "  {:>7.1} ms {:>10}  {:>6.1} ms {:>8}  {:>5.1} %",
                row.regex_set_build_ms,
                megabytes(row.regex_set_kib),
                row.index_build_ms,
                megabytes(row.index_kib),
                100.0 * row.matched,
            );
        }
    }
    table
}

fn measure(triggers: usize, in_turn: bool, seen: &mut HashSet<String>) -> Row {
    let mut random = Random(triggers as u64);
    let triggers: Vec<Trigger> = (0..triggers).map(|n| random.trigger(n)).collect();
    let patterns = || triggers.iter().map(|trigger| &*trigger.pattern);
    let build = || TriggerIndex::build(patterns()).expect("the patterns are valid");
    let (index, index_build, index_kib) = built(build);
    let (set, set_build, set_kib) = built(|| {
        let mut builder = RegexSetBuilder::new(patterns());
        builder.size_limit(SET_LIMIT).dfa_size_limit(SET_STATES_LIMIT).build().expect("the patterns are valid")
    });
    let each: Vec<Regex> = if in_turn { patterns().map(compile).collect() } else { Vec::new() };
    in_use(triggers.len()).for_each(|id| _ = black_box(index.regex(id)));

    let mut chat = Chat { random, triggers: &triggers, judge: build(), found: Found::default(), seen };
    let mut ways = Ways { index: &index, found: Found::default(), set: &set, each: &each };
    ways.warm_up(&chat.lines(LINES));
    let (early, _) = ways.measure(&mut chat);
    (0..SETTLING).for_each(|_| ways.warm_up(&chat.lines(LINES)));
    let (settled, matched) = ways.measure(&mut chat);
    let row = Row {
        triggers: triggers.len(),
        early,
        settled,
        regex_set_build_ms: 1e3 * set_build.as_secs_f64(),
        index_build_ms: 1e3 * index_build.as_secs_f64(),
        regex_set_kib: set_kib,
        index_kib,
        matched: matched as f64 / (LINES * BATCHES) as f64,
    };
    // never freed, so that the next and larger ones have to take new memory and are seen to
    std::mem::forget((chat.judge, index, set, each));
    row
}

/// The three ways to find what matches a line.
struct Ways<'a> {
    index: &'a TriggerIndex,
    found: Found,
    set: &'a RegexSet,
    each: &'a [Regex],
}

/// How many lines matched something, how many matches there were.
#[derive(Default, Debug, PartialEq)]
struct Count {
    lines: usize,
    matches: usize,
}

impl Count {
    fn add(&mut self, matches: usize) {
        self.lines += usize::from(matches > 0);
        self.matches += matches;
    }
}

impl Ways<'_> {
    fn warm_up(&mut self, lines: &[String]) {
        black_box((self.index(lines), self.regex_set(lines)));
    }

    /// What a line costs now, and how many lines matched.
    fn measure(&mut self, chat: &mut Chat) -> (Cost, usize) {
        let (mut in_turn, mut regex_set, mut index, mut matched) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..BATCHES {
            let lines = chat.lines(LINES);
            let (count, time) = timed(|| self.index(&lines));
            index.push(per_line(time));
            let (same, time) = timed(|| self.regex_set(&lines));
            regex_set.push(per_line(time));
            assert_eq!(count, same, "the index and the RegexSet disagree");
            if !self.each.is_empty() {
                let (same, time) = timed(|| self.in_turn(&lines));
                in_turn.push(per_line(time));
                assert_eq!(count, same, "the index and the regexes disagree");
            }
            matched += count.lines;
        }
        let in_turn = (!in_turn.is_empty()).then(|| median(in_turn));
        let (regex_set, index) = (median(regex_set), median(index));
        (Cost { in_turn, regex_set, index, ratio: index / regex_set }, matched)
    }

    fn in_turn(&mut self, lines: &[String]) -> Count {
        let mut count = Count::default();
        for line in lines {
            let hits = self.each.iter().filter(|regex| regex.is_match(line));
            count.add(hits.inspect(|regex| drop(black_box(regex.captures(line)))).count());
        }
        count
    }

    fn regex_set(&mut self, lines: &[String]) -> Count {
        let mut count = Count::default();
        for line in lines {
            let hits = self.set.matches(line);
            count.add(hits.iter().inspect(|id| drop(black_box(self.captures(*id, line)))).count());
        }
        count
    }

    fn index(&mut self, lines: &[String]) -> Count {
        let mut count = Count::default();
        for line in lines {
            self.index.matches(line, &mut self.found);
            count.add(self.found.ids().iter().inspect(|id| drop(black_box(self.captures(**id, line)))).count());
        }
        count
    }

    /// The same compiled regexes for the set and the index: compiled once, when first needed.
    fn captures<'l>(&self, id: usize, line: &'l str) -> Option<regex::Captures<'l>> {
        self.index.regex(id)?.captures(line)
    }
}

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns are valid")
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = black_box(work());
    (result, start.elapsed())
}

/// What was built, how long it took, by how many KiB the process grew.
fn built<T>(build: impl FnOnce() -> T) -> (T, Duration, Option<u64>) {
    let before = resident_kib();
    let (built, time) = timed(build);
    let grown = before.zip(resident_kib()).map(|(before, after)| after.saturating_sub(before));
    (built, time, grown)
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

fn per_line(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9 / LINES as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A pattern and a text that it matches.
struct Trigger {
    pattern: String,
    text: String,
}

/// The triggers that lines are written for: of all kinds, spread over all.
fn in_use(triggers: usize) -> impl Iterator<Item = usize> {
    (0..triggers.min(IN_USE)).map(move |n| n * 7919 % triggers)
}

impl Random {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A made-up word of so many syllables.
    fn word(&mut self, syllables: usize) -> String {
        (0..syllables).map(|_| self.pick(&SYLLABLES)).collect()
    }

    /// In ten: four that capture, two that choose, two words, one in any case; of a hundred, one or two have no
    /// literal.
    fn trigger(&mut self, n: usize) -> Trigger {
        let syllables = 3 + n % 2;
        let (word, other, number) = (self.word(syllables), self.word(2), self.below(1000));
        let (pattern, text) = match n % 10 {
            0 | 2 | 4 => (format!(r"{word}=(?<{word}>\w+)"), format!("{word}={other}")),
            6 => (format!(r"{word} #(?<number>\d+)"), format!("{word} #{number}")),
            1 | 5 => (format!("{word} (prod|staging)"), format!("{word} staging")),
            3 | 7 => (format!(r"\b{word}\b"), format!("{word}, {other}")),
            8 => (format!("(?i){word}s?"), word.to_uppercase()),
            _ => match n % 150 {
                9 => (format!(r"^\d+{}$", number % 10), format!("{number}")),
                59 => (format!(r"^[A-Z]{{2,}}-\d{{{}}}$", 3 + number % 5), format!("ABC-{number}")),
                109 => (format!(r"\b[4-9]\d{{{}}}\b", 7 + number % 9), "41414141".to_owned()),
                _ => (format!(r"https?://{word}\.example/(?<path>\S+)"), format!("http://{word}.example/{other}")),
            },
        };
        Trigger { pattern, text }
    }

    fn line(&mut self, common: &[&str], triggers: &[Trigger]) -> String {
        let mut words: Vec<String> = (0..4 + self.below(12)).map(|_| self.chat_word(common)).collect();
        if self.below(ONE_MATCHES_IN) == 0 {
            let in_use: Vec<usize> = in_use(triggers.len()).collect();
            let trigger = &triggers[in_use[self.below(in_use.len())]];
            let at = self.below(words.len() + 1);
            words.insert(at, trigger.text.clone());
        }
        words.join(" ")
    }

    /// More often than not a common word, else one of some 13,000, now and then a number or a link.
    fn chat_word(&mut self, common: &[&str]) -> String {
        match self.below(100) {
            0..55 => self.pick(common).to_owned(),
            55..75 => format!("{}{}", self.word(1), self.pick(&ENDINGS)),
            75..94 => format!("{}{}", self.word(2), self.pick(&ENDINGS)),
            94..98 => self.below(100_000).to_string(),
            98 => format!("https://{}.org/{}", self.word(2), self.below(1000)),
            _ => format!("{}!", self.pick(common)),
        }
    }
}

/// Where lines come from.
struct Chat<'a> {
    random: Random,
    triggers: &'a [Trigger],
    /// An index of its own, so that the measured one sees no line twice.
    judge: TriggerIndex,
    found: Found,
    seen: &'a mut HashSet<String>,
}

impl Chat<'_> {
    /// Lines that were never seen before; what they match is in use, so that nothing is compiled under the clock.
    fn lines(&mut self, count: usize) -> Vec<String> {
        let common: Vec<&str> = COMMON.split_whitespace().collect();
        let in_use: HashSet<usize> = in_use(self.triggers.len()).collect();
        let mut lines = Vec::with_capacity(count);
        while lines.len() < count {
            let line = self.random.line(&common, self.triggers);
            self.judge.matches(&line, &mut self.found);
            if self.found.ids().iter().all(|id| in_use.contains(id)) && self.seen.insert(line.clone()) {
                lines.push(line);
            }
        }
        lines
    }
}
