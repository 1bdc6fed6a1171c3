//! What a line must contain before a pattern can match it.
//!
//! A pattern is read as `regex_syntax` parses it. Either a search for a few literals answers it by itself ([`Need::Sure`]), or any
//! line that it matches contains one of a few literals ([`Need::Maybe`]), or nothing cheap can be said ([`Need::Unknown`]).
//!
//! Literals are compared **folded**: ASCII letters in lower case, and the two other characters that Unicode folds to ASCII, `ſ` and
//! `K` (the Kelvin sign), as `s` and `k`. Folding maps character to character, so what a line contains, the folded line contains
//! folded: that alone makes `(?i)` sound, whatever else it folds.

use regex_syntax::hir::literal::{Extractor, Literal, Seq};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Dot, Hir, HirKind, Look, LookSet, Repetition};
use regex_syntax::try_is_word_character;

/// The most literals looked for on behalf of one pattern: past it the search grows faster than it saves.
const MAX_LITERALS: usize = 64;

/// The most bytes of one literal: what is longer is cut, since this many tell two patterns apart. It bounds the automaton.
const MAX_LITERAL_BYTES: usize = 32;

/// The most characters of a class that are spelt out as literals (`[0-9]` has 10); a larger class ends a literal.
const MAX_CLASS: usize = 16;

/// The most often that a pattern's literals may be expected, in hits for each byte of ordinary chat. Past it (`e`, `an`) most lines
/// would be candidates, and trying them costs more than one more pattern in the set does.
const MAX_FREQUENCY: f64 = 1.0 / 256.0;

/// What each byte of a literal adds to its cost, in the same unit: of two equally rare sets, the smaller.
const COST_PER_BYTE: f64 = 1e-9;

/// What a line needs for a pattern to match it.
pub(super) enum Need {
    /// Nothing: the pattern matches every line.
    Nothing,
    /// One of these, and then it does match. None at all: it never matches.
    Sure(Vec<Sighting>),
    /// One of these folded literals, and then it may match.
    Maybe(Vec<Box<[u8]>>),
    /// Unknown: the pattern has to be tried.
    Unknown,
}

/// A literal that is all of a pattern, with what has to hold around it.
#[derive(Debug)]
pub(super) struct Sighting {
    /// The literal, folded.
    pub(super) folded: Box<[u8]>,
    /// The literal as it must stand in the line; none when any ASCII case will do.
    pub(super) exact: Option<Box<[u8]>>,
    /// What has to hold where it begins.
    pub(super) before: LookSet,
    /// What has to hold where it ends.
    pub(super) after: LookSet,
}

impl Sighting {
    /// True when the literal, seen folded from `start` to `end` of a line whose bytes kept their places, is a match there.
    pub(super) fn holds(&self, line: &str, start: usize, end: usize) -> bool {
        self.exact.as_ref().is_none_or(|exact| line.as_bytes().get(start..end) == Some(exact))
            && self.before.iter().all(|look| holds(look, line, start))
            && self.after.iter().all(|look| holds(look, line, end))
    }
}

/// The assertions that [`holds`] knows; a pattern with another one is left to its regex.
fn is_usual(look: Look) -> bool {
    matches!(look, Look::Start | Look::End | Look::WordUnicode)
}

fn holds(look: Look, line: &str, at: usize) -> bool {
    let (Some(before), Some(after)) = (line.get(..at), line.get(at..)) else {
        return false;
    };
    let is_word = |char: Option<char>| char.is_some_and(|char| try_is_word_character(char).unwrap_or(false));
    match look {
        Look::Start => before.is_empty(),
        Look::End => after.is_empty(),
        Look::WordUnicode => is_word(before.chars().next_back()) != is_word(after.chars().next()),
        _ => false,
    }
}

/// Reads off a pattern what a line needs.
pub(super) fn need(pattern: &Hir) -> Need {
    if pattern.properties().minimum_len() == Some(0) && pattern.properties().look_set().is_empty() {
        return Need::Nothing;
    }
    if let Some(sightings) = sightings(pattern) {
        return Need::Sure(sightings);
    }
    match rarest(&folded(pattern)) {
        Some(set) if set.frequency <= MAX_FREQUENCY => Need::Maybe(set.literals),
        _ => Need::Unknown,
    }
}

/// Folds a line into `folded`, in place of what was there. True when every byte kept its place.
pub(super) fn fold_line(line: &str, folded: &mut Vec<u8>) -> bool {
    folded.clear();
    if line.is_ascii() || !line.contains(['ſ', 'K']) {
        folded.extend_from_slice(line.as_bytes());
        folded.make_ascii_lowercase();
        return true;
    }
    let mut bytes = [0; 4];
    for char in line.chars() {
        folded.extend_from_slice(fold(char).encode_utf8(&mut bytes).as_bytes());
    }
    false
}

fn fold(char: char) -> char {
    match char {
        'ſ' => 's',
        'K' => 'k',
        _ => char.to_ascii_lowercase(),
    }
}

fn extractor() -> Extractor {
    let mut extractor = Extractor::new();
    extractor.limit_class(MAX_CLASS).limit_literal_len(MAX_LITERAL_BYTES).limit_total(MAX_LITERALS);
    extractor
}

/// The pattern as finitely many literals between assertions, if that is all it is: `\bword\b`, `deploy (prod|staging)`, `(?i)thanks?`.
fn sightings(pattern: &Hir) -> Option<Vec<Sighting>> {
    let (before, middle, after) = peel(pattern);
    let fixed = middle.properties().look_set().is_empty() && middle.properties().minimum_len() != Some(0);
    if !fixed || !before.union(after).iter().all(is_usual) {
        return None;
    }
    let any_case = ignores_case(&middle);
    let found = extractor().extract(&if any_case { folded(&middle) } else { middle });
    let literals = found.literals()?;
    if !literals.iter().all(Literal::is_exact) {
        return None;
    }
    let sighting = |literal: &Literal| {
        let folded = fold_bytes(literal.as_bytes());
        let exact = (!any_case).then(|| literal.as_bytes().into());
        Sighting { folded, exact, before, after }
    };
    let sightings: Vec<_> = literals.iter().map(sighting).collect();
    (frequency(sightings.iter().map(|it| &*it.folded)) <= MAX_FREQUENCY).then_some(sightings)
}

/// Takes the assertions off both ends.
fn peel(pattern: &Hir) -> (LookSet, Hir, LookSet) {
    let (mut before, mut after) = (LookSet::empty(), LookSet::empty());
    let HirKind::Concat(mut parts) = pattern.kind().clone() else {
        return (before, pattern.clone(), after);
    };
    while let Some(HirKind::Look(look)) = parts.last().map(Hir::kind) {
        after.set_insert(*look);
        parts.pop();
    }
    let leading = parts.iter().map_while(|part| match part.kind() {
        HirKind::Look(look) => Some(*look),
        _ => None,
    });
    let leading: Vec<Look> = leading.collect();
    parts.drain(..leading.len());
    leading.into_iter().for_each(|look| before.set_insert(look));
    (before, Hir::concat(parts), after)
}

/// True when a line that keeps its bytes in folding matches whenever its folded form matches the folded pattern.
fn ignores_case(pattern: &Hir) -> bool {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => {
            fold_bytes(&literal.0) == literal.0 && !literal.0.iter().any(u8::is_ascii_alphabetic)
        }
        HirKind::Class(class) => {
            let Some(chars) = chars(class) else {
                return false;
            };
            let both = |char: char| [fold(char), fold(char).to_ascii_uppercase()];
            chars.iter().all(|char| both(*char).iter().all(|case| chars.contains(case)))
        }
        HirKind::Repetition(repetition) => ignores_case(&repetition.sub),
        HirKind::Capture(capture) => ignores_case(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(ignores_case),
    }
}

/// The characters of a class; none when they are too many to be of use (three cases a letter: `k`, `K`, `K`).
fn chars(class: &Class) -> Option<Vec<char>> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) if class.is_ascii() => {
            class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
        Class::Bytes(_) => return None,
    };
    let many = ranges.iter().map(|(start, end)| *end as usize - *start as usize + 1).sum::<usize>() > 3 * MAX_CLASS;
    (!many).then(|| ranges.into_iter().flat_map(|(start, end)| start..=end).collect())
}

/// A pattern for the folded line: it matches at least the folded form of everything that `pattern` matches.
fn folded(pattern: &Hir) -> Hir {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(fold_bytes(&literal.0)),
        HirKind::Class(class) => match chars(class) {
            Some(chars) => {
                let ranges = chars.into_iter().map(fold).map(|char| ClassUnicodeRange::new(char, char));
                Hir::class(Class::Unicode(ClassUnicode::new(ranges)))
            }
            None => Hir::dot(Dot::AnyChar),
        },
        HirKind::Repetition(repetition) => {
            Hir::repetition(Repetition { sub: Box::new(folded(&repetition.sub)), ..repetition.clone() })
        }
        HirKind::Capture(capture) => folded(&capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(folded).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(folded).collect()),
    }
}

fn fold_bytes(literal: &[u8]) -> Box<[u8]> {
    match std::str::from_utf8(literal) {
        Ok(text) => text.chars().map(fold).collect::<String>().into_bytes().into(),
        Err(_) => literal.to_ascii_lowercase().into(),
    }
}

/// Literals of which any match contains one, and how often they are to be expected.
struct Set {
    literals: Vec<Box<[u8]>>,
    frequency: f64,
}

impl Set {
    fn new(literals: Vec<Box<[u8]>>) -> Set {
        let frequency = frequency(literals.iter().map(|it| &**it));
        Set { literals, frequency }
    }

    /// What a prefix of the rest of the pattern gives, when every match has one.
    fn of(seq: &Seq) -> Option<Set> {
        let literals = seq.literals()?;
        let usable = literals.iter().all(|literal| !literal.is_empty());
        usable.then(|| Set::new(literals.iter().map(|literal| literal.as_bytes().into()).collect()))
    }
}

fn rarer(one: Option<Set>, other: Option<Set>) -> Option<Set> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if one.frequency <= other.frequency { one } else { other }),
        (one, other) => one.or(other),
    }
}

/// The rarest literals of which every match of a folded pattern contains one.
fn rarest(pattern: &Hir) -> Option<Set> {
    let parts = match pattern.kind() {
        HirKind::Concat(parts) => &parts[..],
        _ => std::slice::from_ref(pattern),
    };
    let seqs: Vec<Seq> = parts.iter().map(|part| extractor().extract(part)).collect();
    let runs = (0..seqs.len()).filter_map(|start| Set::of(&run(&seqs[start..])));
    let inner = parts.iter().filter_map(rarest_inside);
    runs.chain(inner).fold(None, |best, set| rarer(best, Some(set)))
}

/// The literals that deeper parts of one part require.
fn rarest_inside(part: &Hir) -> Option<Set> {
    match part.kind() {
        HirKind::Repetition(repetition) if repetition.min > 0 => rarest(&repetition.sub),
        HirKind::Alternation(branches) => {
            let sets: Option<Vec<Set>> = branches.iter().map(rarest).collect();
            let literals: Vec<_> = sets?.into_iter().flat_map(|set| set.literals).collect();
            (literals.len() <= MAX_LITERALS).then(|| Set::new(literals))
        }
        _ => None,
    }
}

/// The prefixes of parts that follow each other, as far as they stay few.
fn run(parts: &[Seq]) -> Seq {
    let mut parts = parts.iter();
    let mut run = parts.next().cloned().unwrap_or_else(Seq::infinite);
    for part in parts {
        let fits = run.max_cross_len(part).is_some_and(|len| len <= MAX_LITERALS);
        if !fits || run.is_inexact() {
            break;
        }
        run.cross_forward(&mut part.clone());
        run.keep_first_bytes(MAX_LITERAL_BYTES);
    }
    run
}

/// How often one of these literals is to be expected at one place of ordinary chat, and a little for each byte.
fn frequency<'l>(literals: impl Iterator<Item = &'l [u8]>) -> f64 {
    literals
        .map(|literal| {
            literal.iter().map(|byte| byte_frequency(*byte)).product::<f64>() + COST_PER_BYTE * literal.len() as f64
        })
        .sum()
}

/// How often a folded byte is to be expected, as a rounded share. Letters lean on each other, so the rare ones are not taken as rarer.
fn byte_frequency(byte: u8) -> f64 {
    match byte {
        b' ' => 1.0 / 5.0,
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b'h' | b'l' => 1.0 / 12.0,
        b'a'..=b'z' => 1.0 / 32.0,
        b'0'..=b'9' | b'.' | b',' | b'\'' => 1.0 / 64.0,
        0x80.. => 1.0 / 16.0,
        _ => 1.0 / 256.0,
    }
}
