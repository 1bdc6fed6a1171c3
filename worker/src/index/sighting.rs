//! Patterns that a search for literals answers by itself.
//!
//! `deploy (prod|staging)`, `\bword\b`, `(?i)thanks?` and `foo=(?<foo>\w+)` are a few literals with something to
//! hold around them: when a literal is seen and that holds, the pattern matches, and its regex is needed for the
//! captures alone.

use std::sync::Arc;

use regex_syntax::hir::literal::Literal;
use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind, Look, LookSet};
use regex_syntax::try_is_word_character;

use super::{fold, literals};

/// The most classes kept to be compared with what stands beside a literal; most patterns share `\w`, `\d` and
/// `\S`.
const MAX_CLASSES: usize = 16;

/// A literal that, where its edges hold, is a match.
#[derive(Debug)]
pub(super) struct Sighting {
    /// The literal as it must stand in the line; none when its folded form is enough.
    exact: Option<Box<[u8]>>,
    before: Edge,
    after: Edge,
}

/// What has to hold at one end of a literal.
#[derive(Clone, Debug)]
struct Edge {
    looks: LookSet,
    /// What the next character has to be, outwards.
    class: Option<Arc<ClassUnicode>>,
}

/// Classes at edges, each once: `\w` has 6 KiB of ranges.
#[derive(Default)]
pub(super) struct Classes(Vec<Arc<ClassUnicode>>);

impl Sighting {
    /// True when the literal, seen folded from `start` to `end` of a line whose bytes kept their places, is a
    /// match there.
    pub(super) fn holds(&self, line: &str, start: usize, end: usize) -> bool {
        let (Some(head), Some(seen), Some(tail)) = (line.get(..start), line.get(start..end), line.get(end..)) else {
            return false;
        };
        self.exact.as_ref().is_none_or(|exact| **exact == *seen.as_bytes())
            && self.before.holds(head.chars().next_back(), seen.chars().next())
            && self.after.holds(tail.chars().next(), seen.chars().next_back())
    }
}

impl Edge {
    fn holds(&self, outside: Option<char>, inside: Option<char>) -> bool {
        self.looks.iter().all(|look| match look {
            Look::WordUnicode => is_word(outside) != is_word(inside),
            _ => outside.is_none(),
        }) && self.class.as_ref().is_none_or(|class| outside.is_some_and(|char| contains(class, char)))
    }
}

fn is_word(char: Option<char>) -> bool {
    char.is_some_and(|char| try_is_word_character(char).unwrap_or(false))
}

fn contains(class: &ClassUnicode, char: char) -> bool {
    let ranges = class.ranges();
    let at = ranges.partition_point(|range| range.end() < char);
    ranges.get(at).is_some_and(|range| range.start() <= char)
}

impl Classes {
    fn share(&mut self, class: &ClassUnicode) -> Option<Arc<ClassUnicode>> {
        if let Some(known) = self.0.iter().find(|known| ***known == *class) {
            return Some(Arc::clone(known));
        }
        (self.0.len() < MAX_CLASSES).then(|| {
            self.0.push(Arc::new(class.clone()));
            Arc::clone(&self.0[self.0.len() - 1])
        })
    }
}

/// The literals, folded, that a pattern consists of, if that is all there is to it.
pub(super) fn of(pattern: &Hir, classes: &mut Classes) -> Option<Vec<(Box<[u8]>, Sighting)>> {
    let mut parts = match pattern.kind() {
        HirKind::Concat(parts) => &parts[..],
        _ => std::slice::from_ref(pattern),
    };
    let before = take_edge(&mut parts, <[Hir]>::split_first, Look::Start, classes)?;
    let after = take_edge(&mut parts, <[Hir]>::split_last, Look::End, classes)?;
    let middle = Hir::concat(parts.to_vec());
    if !middle.properties().look_set().is_empty() || middle.properties().minimum_len() == Some(0) {
        return None;
    }
    let folded_is_enough = fold::loses_nothing(&middle);
    let found = literals::extractor().extract(&if folded_is_enough { fold::pattern(&middle) } else { middle });
    let sighting = |literal: &Literal| {
        let exact = (!folded_is_enough).then(|| literal.as_bytes().into());
        let sighting = Sighting { exact, before: before.clone(), after: after.clone() };
        literal.is_exact().then(|| (fold::literal(literal.as_bytes()), sighting))
    };
    let sightings: Vec<_> = found.literals()?.iter().map(sighting).collect::<Option<_>>()?;
    literals::are_rare(sightings.iter().map(|(literal, _)| &**literal)).then_some(sightings)
}

type Split = fn(&[Hir]) -> Option<(&Hir, &[Hir])>;

/// Takes off one end what may be checked beside a literal: assertions; or what may be empty, and then a class.
/// None when it cannot be checked.
fn take_edge(parts: &mut &[Hir], split: Split, end: Look, classes: &mut Classes) -> Option<Edge> {
    let mut edge = Edge { looks: LookSet::empty(), class: None };
    let mut trimmed = false;
    while let Some((outer, rest)) = split(parts) {
        match bare(outer).kind() {
            HirKind::Look(look) if !trimmed && (*look == end || *look == Look::WordUnicode) => {
                edge.looks.set_insert(*look)
            }
            HirKind::Repetition(repetition) if repetition.min == 0 && edge.looks.is_empty() => trimmed = true,
            HirKind::Repetition(repetition) if repetition.min == 1 && edge.looks.is_empty() => {
                let HirKind::Class(Class::Unicode(class)) = bare(&repetition.sub).kind() else { break };
                edge.class = Some(classes.share(class)?);
                *parts = rest;
                break;
            }
            _ => break,
        }
        *parts = rest;
    }
    Some(edge)
}

/// A part without the captures around it.
fn bare(part: &Hir) -> &Hir {
    match part.kind() {
        HirKind::Capture(capture) => bare(&capture.sub),
        _ => part,
    }
}
