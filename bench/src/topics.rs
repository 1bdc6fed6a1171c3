//! Topic patterns: what it costs to find those that a key matches, three ways, in one run: the pattern tree that walks a
//! set of places at once, a tree that goes back and tries again, and one pattern after another.
//!
//! Then one pattern that is made to be slow, against a key that almost matches it. All ways must find the same.

use std::collections::HashMap;
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Args;
use protocol::{Pattern, PatternTree, RoutingKey};
use serde::Serialize;

use crate::Format;
use crate::failure::{Context, Failure, Result};
use crate::machine::Machine;

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
/// Keys that are looked up in turn.
const KEYS: usize = 200;
/// Batches of all keys, the ways taking turns; the median batch counts.
const BATCHES: usize = 9;
/// One way's share of a batch lasts at least so long, by walking the keys again.
const BATCH: Duration = Duration::from_millis(20);
/// The hostile pattern `#.a.#.a…`: how often, and how many words `a` its key has.
const HOSTILE: usize = 6;
const HOSTILE_KEY: usize = 28;

/// Options of `bench topics`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    format: Format,
    /// Measure fewer batches
    #[arg(long)]
    quick: bool,
}

/// The values of all patterns that a key matches, in any order.
type Way<'a> = &'a dyn Fn(&RoutingKey) -> Vec<usize>;

/// ns a key.
#[derive(Serialize)]
struct Row {
    patterns: usize,
    tree: f64,
    backtracking: f64,
    one_by_one: f64,
    /// Patterns that a key matches, on average.
    matched: f64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    ns_a_key: Vec<Row>,
    hostile: Row,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    let batches = if options.quick { 3 } else { BATCHES };
    let mut rows = Vec::new();
    for size in SIZES {
        eprintln!("bench: {size} patterns");
        rows.push(measure(&patterns(size)?, &keys(size)?, batches)?);
    }
    eprintln!("bench: a hostile pattern");
    let (pattern, key) = hostile()?;
    let hostile = measure(&[pattern], &[key], batches)?;
    let report = Report { machine: Machine::this(), ns_a_key: rows, hostile };
    if options.format.json {
        println!("{}", serde_json::to_string(&report).context("the report can't be written as JSON")?);
    } else {
        print!("{}", text(&report));
    }
    Ok(())
}

fn text(report: &Report) -> String {
    let mut text = format!("{}\n\ntopic patterns: ns a key, medians\n\n", report.machine);
    let _ = writeln!(
        text,
        "{:>16} {:>12} {:>14} {:>12} {:>9}",
        "patterns", "pattern tree", "backtracking", "one by one", "matched"
    );
    for row in &report.ns_a_key {
        let Row { patterns, tree, backtracking, one_by_one, matched } = row;
        let _ = writeln!(text, "{patterns:>16} {tree:>12.0} {backtracking:>14.0} {one_by_one:>12.0} {matched:>9.2}");
    }
    let Row { tree, backtracking, one_by_one, matched, .. } = &report.hostile;
    let name = format!("one, {HOSTILE} × `#.a`");
    let _ = writeln!(text, "{name:>16} {tree:>12.0} {backtracking:>14.0} {one_by_one:>12.0} {matched:>9.2}");
    text
}

fn measure(patterns: &[Pattern], keys: &[RoutingKey], batches: usize) -> Result<Row> {
    let (mut tree, mut backtracking) = (PatternTree::default(), Backtracking::default());
    for (value, pattern) in patterns.iter().enumerate() {
        tree.insert(pattern, value);
        backtracking.insert(pattern, value);
    }
    let ways: [Way; 3] =
        [&|key| tree.matches(key).into_iter().copied().collect(), &|key| backtracking.matches(key), &|key| {
            (0..patterns.len()).filter(|&value| patterns[value].matches(key)).collect()
        }];
    let matched = agree(&ways, keys)?;
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..batches {
        for (way, times) in ways.into_iter().zip(&mut times) {
            times.push(ns_a_key(way, keys));
        }
    }
    let [tree, backtracking, one_by_one] = times.map(median);
    Ok(Row { patterns: patterns.len(), tree, backtracking, one_by_one, matched: matched as f64 / keys.len() as f64 })
}

/// How many matches there are, if all ways find the same.
fn agree(ways: &[Way], keys: &[RoutingKey]) -> Result<usize> {
    let mut count = 0;
    for key in keys {
        let mut found = ways.iter().map(|way| {
            let mut values = way(key);
            values.sort_unstable();
            values
        });
        let first = found.next().unwrap_or_default();
        if found.any(|other| other != first) {
            return Err(Failure::new(format!("the ways disagree about what {key} matches")));
        }
        count += first.len();
    }
    Ok(count)
}

fn ns_a_key(way: Way, keys: &[RoutingKey]) -> f64 {
    let (start, mut walks) = (Instant::now(), 0_u32);
    while walks == 0 || start.elapsed() < BATCH {
        for key in keys {
            black_box(way(black_box(key)));
        }
        walks += 1;
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(walks) / keys.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What workers, tails and plugins bind to: mostly one channel or kind, some with wildcards before the end.
fn patterns(count: usize) -> Result<Vec<Pattern>> {
    let pattern = |n: usize| match n % 10 {
        0..=4 => format!("chat.irc.#channel{n}.chat"),
        5 => format!("chat.irc.#channel{n}.*"),
        6 => format!("chat.*.#channel{n}.join"),
        7 => format!("feed.source{n}.#"),
        8 => format!("#.group{n}.done"),
        _ => format!("webhook.project{n}.*.main"),
    };
    let parse = |n| Pattern::parse(&pattern(n)).context("a pattern");
    (0..count).map(parse).collect()
}

/// Half of the keys are those of some pattern, half of none.
fn keys(count: usize) -> Result<Vec<RoutingKey>> {
    let key = |n: usize| match n % 10 {
        0..=5 => format!("chat.irc.#channel{n}.chat"),
        6 => format!("chat.irc.#channel{n}.join"),
        7 => format!("feed.source{n}.item.new"),
        8 => format!("build.nightly.group{n}.done"),
        _ => format!("webhook.project{n}.push.main"),
    };
    let parse = |n| RoutingKey::parse(&key(n)).context("a key");
    // 7919 is a prime: a spread over all patterns, and over as many beyond
    (0..KEYS).map(|n| parse(n * 7919 % (2 * count))).collect()
}

/// `#.a.#.a…` and a key of many `a` with another end: whoever tries every way to share them out is busy.
fn hostile() -> Result<(Pattern, RoutingKey)> {
    let pattern = Pattern::parse(&["#.a"; HOSTILE].join(".")).context("the hostile pattern")?;
    let key = RoutingKey::parse(&format!("{}.b", ["a"; HOSTILE_KEY].join("."))).context("the hostile key")?;
    Ok((pattern, key))
}

/// The usual tree: at a `#` it tries every number of words.
#[derive(Default)]
struct Backtracking {
    children: HashMap<String, Backtracking>,
    values: Vec<usize>,
}

impl Backtracking {
    fn insert(&mut self, pattern: &Pattern, value: usize) {
        let mut node = self;
        for word in pattern.words() {
            node = node.children.entry(word.to_owned()).or_default();
        }
        node.values.push(value);
    }

    fn matches(&self, key: &RoutingKey) -> Vec<usize> {
        let words: Vec<&str> = key.words().collect();
        let mut found = Vec::new();
        self.collect(&words, &mut found);
        // two ways through several `#` may find the same
        found.sort_unstable();
        found.dedup();
        found
    }

    fn collect(&self, words: &[&str], found: &mut Vec<usize>) {
        if let Some(rest) = self.children.get("#") {
            (0..=words.len()).for_each(|taken| rest.collect(&words[taken..], found));
        }
        let Some((first, rest)) = words.split_first() else {
            found.extend_from_slice(&self.values);
            return;
        };
        for child in [self.children.get(*first), self.children.get("*")].into_iter().flatten() {
            child.collect(rest, found);
        }
    }
}
