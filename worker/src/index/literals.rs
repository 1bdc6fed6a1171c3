//! What a line must contain before a pattern can match it.
//!
//! Any match of a pattern contains one of a few literals: a prefix of the pattern, or of what is left of it after
//! some part, or of something inside. All are tried, and the rarest in ordinary chat are taken. All literals are
//! [folded](super::fold).

use regex_syntax::hir::literal::{Extractor, Seq};
use regex_syntax::hir::{Hir, HirKind};

use super::fold;

/// The most literals looked for on behalf of one pattern: past it the search grows faster than it saves.
const MAX_LITERALS: usize = 64;

/// The most bytes of one literal: what is longer is cut, since this many tell two patterns apart. It bounds the
/// automaton.
const MAX_LITERAL_BYTES: usize = 32;

/// The most often that a pattern's literals may be expected, in hits for each byte of ordinary chat. Past it (`e`,
/// `an`) most lines would be candidates, and trying them costs more than one more pattern in a set does.
const MAX_FREQUENCY: f64 = 1.0 / 256.0;

/// What each byte of a literal adds to its frequency: of two equally rare sets, the smaller is better.
const COST_PER_BYTE: f64 = 1e-9;

/// The rarest folded literals of which every match of a pattern contains one. None when there are none, or only
/// common ones.
pub(super) fn required(pattern: &Hir) -> Option<Vec<Box<[u8]>>> {
    let set = rarest(&fold::pattern(pattern))?;
    (set.frequency < MAX_FREQUENCY).then_some(set.literals)
}

/// True when one of these folded literals is seen seldom enough to be looked for.
pub(super) fn are_rare<'l>(literals: impl Iterator<Item = &'l [u8]>) -> bool {
    frequency(literals) < MAX_FREQUENCY
}

pub(super) fn extractor() -> Extractor {
    let mut extractor = Extractor::new();
    extractor.limit_class(fold::MAX_CLASS).limit_literal_len(MAX_LITERAL_BYTES).limit_total(MAX_LITERALS);
    extractor
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

    /// What the prefixes of some parts give, when every match has one.
    fn of(prefixes: &Seq) -> Option<Set> {
        let literals = prefixes.literals()?;
        let usable = literals.iter().all(|literal| !literal.is_empty());
        usable.then(|| Set::new(literals.iter().map(|literal| literal.as_bytes().into()).collect()))
    }
}

/// The rarest literals that a folded pattern requires.
fn rarest(pattern: &Hir) -> Option<Set> {
    let parts = match pattern.kind() {
        HirKind::Concat(parts) => &parts[..],
        _ => std::slice::from_ref(pattern),
    };
    let prefixes: Vec<Seq> = parts.iter().map(|part| extractor().extract(part)).collect();
    let runs = (0..parts.len()).filter_map(|start| Set::of(&run(&prefixes[start..])));
    let inside = parts.iter().filter_map(rarest_inside);
    runs.chain(inside).min_by(|one, other| one.frequency.total_cmp(&other.frequency))
}

/// The rarest literals that deeper parts of one part require.
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
    let of_one = |literal: &[u8]| literal.iter().map(|byte| byte_frequency(*byte)).product::<f64>();
    literals.map(|literal| of_one(literal) + COST_PER_BYTE * literal.len() as f64).sum()
}

/// How often a folded byte is to be expected, roughly: bytes lean on each other, so rare ones are not taken as
/// rare as they are.
fn byte_frequency(byte: u8) -> f64 {
    match byte {
        b' ' => 1.0 / 5.0,
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b'h' | b'l' => 1.0 / 12.0,
        b'a'..=b'z' => 1.0 / 32.0,
        b'0' | 0x80.. => 1.0 / 16.0,
        b'.' | b',' | b'\'' => 1.0 / 64.0,
        _ => 1.0 / 256.0,
    }
}

#[cfg(test)]
mod tests {
    use super::required;

    fn literals(pattern: &str) -> Vec<String> {
        let required = required(&regex_syntax::parse(pattern).unwrap()).unwrap_or_default();
        required.into_iter().map(|literal| String::from_utf8(literal.into()).unwrap()).collect()
    }

    #[test]
    fn the_rarest_part_is_taken_wherever_it_stands() {
        assert_eq!(literals(r"\w+ is a (?<thing>\w+)-shaped thing"), ["-shaped thing"]);
        assert_eq!(literals(r"(?:the|an?) quux"), ["the quux", "an quux", "a quux"]);
        assert_eq!(literals(r"^(?:.*foo|\d+ bars)+$"), ["foo", " bars"]);
    }

    #[test]
    fn case_and_digits_make_no_difference() {
        assert_eq!(literals("(?i)Thanks?"), ["thanks", "thank"]);
        assert_eq!(literals(r"\b\d{4}-[01]\d-\d\d\b"), ["-00-00"]);
    }

    #[test]
    fn what_most_lines_contain_is_not_worth_looking_for() {
        for pattern in [r"^\d+$", r"\w+", "e", r"\w+ \w+", "an|the", "x*", r"[a-z]{3}", r"(foo|\d)"] {
            assert!(literals(pattern).is_empty(), "{pattern}");
        }
    }

    #[test]
    fn a_long_literal_is_cut() {
        assert_eq!(literals(&"quux".repeat(20)), ["quux".repeat(8)]);
    }
}
