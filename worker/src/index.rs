//! Which of many patterns match a line, without trying each.
//!
//! Most patterns cannot match unless the line contains some literal: one Aho-Corasick automaton looks for all of
//! those at once, and only the patterns whose literal was seen are tried (`literals`). A pattern that is hardly more
//! than literals needs no trying (`sighting`). The few that have no usable literal stand together in a `RegexSet`.
//! A pattern's own regex is compiled when it is first needed: ten thousand compiled ones would take gigabytes and
//! seconds.

mod fold;
mod literals;
mod sighting;
mod size;

use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

use sighting::{Classes, Sighting};

/// The most patterns in one index; ordinary ones take about a kilobyte each.
pub const MAX_PATTERNS: usize = 100_000;

/// The most bytes that one compiled pattern may take, as `RegexBuilder::size_limit` counts them: 64 times `\w`, or
/// a literal of 100,000 characters. That takes 20 ms to compile, in the way of a line.
pub const SIZE_LIMIT: usize = 4 * 1024 * 1024;

/// The deepest nesting of a pattern, in levels. `regex` and `regex-syntax` recurse by it.
pub const NEST_LIMIT: u32 = 100;

/// The most bytes of the states that one pattern's lazy automaton keeps; past it they are dropped and made again.
const STATES_LIMIT: usize = 2 * 1024 * 1024;

/// The most bytes of one set of patterns without literals, as [`SIZE_LIMIT`] counts them; when they need more they
/// are split.
const SET_SIZE_LIMIT: usize = 2 * 1024 * 1024;

/// The most bytes of the states that a set's lazy automaton keeps. With less than about three times
/// [`SET_SIZE_LIMIT`] it would be given up for an engine that is a hundred times slower.
const SET_STATES_LIMIT: usize = 16 * 1024 * 1024;

/// The most bytes of an automaton in its fastest form, a table of all states and bytes; past it the compact form
/// is used, which takes a tenth of the memory and, for each byte of a line, some times as long.
const TABLE_LIMIT: usize = 2 * 1024 * 1024;

/// Why an index could not be built. Ids are the patterns' positions.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// A pattern is not a regex, or is nested deeper than [`NEST_LIMIT`].
    #[error("pattern {id} is not a valid regex: {source}")]
    Syntax {
        /// The pattern's position.
        id: usize,
        /// What is wrong with it; shows the pattern and the place.
        source: Box<regex_syntax::Error>,
    },
    /// A pattern would take more than [`SIZE_LIMIT`] when compiled.
    #[error("pattern {id} (`{pattern}`) is too large: it would compile to more than {SIZE_LIMIT} bytes")]
    TooLarge {
        /// The pattern's position.
        id: usize,
        /// The pattern.
        pattern: String,
    },
    /// A pattern was refused by the regex engine for another reason.
    #[error("pattern {id} (`{pattern}`) is not usable: {source}")]
    Refused {
        /// The pattern's position.
        id: usize,
        /// The pattern.
        pattern: String,
        /// What the engine says.
        source: Box<regex::Error>,
    },
    /// More than [`MAX_PATTERNS`].
    #[error("more than {MAX_PATTERNS} patterns")]
    TooMany,
    /// The automaton of the literals could not be built.
    #[error("the literals of the patterns cannot be searched: {0}")]
    Literals(#[from] aho_corasick::BuildError),
}

/// Many patterns, each known by its position, ready to be looked for in a line at once.
///
/// Searching is what [`Regex::is_match`] does for each: anywhere in the line, Unicode on. Built once, shared by
/// reference between tasks.
#[derive(Debug)]
pub struct TriggerIndex {
    patterns: Vec<Pattern>,
    /// Those that match every line.
    always: Vec<usize>,
    /// Those that are tried on every line: what needs no character but an assertion, as `^\b`. They are not in a
    /// set, because `RegexSet::is_match` panics (regex-automata 0.4.18) when such patterns meet a line that is not
    /// ASCII.
    tried: Vec<usize>,
    automaton: AhoCorasick,
    /// What each literal of the automaton stands for.
    meanings: Vec<Meaning>,
    sightings: Vec<(usize, Sighting)>,
    candidates: Vec<usize>,
    sets: Vec<Set>,
}

#[derive(Debug)]
struct Pattern {
    source: Box<str>,
    /// None when it would not compile, which building has ruled out.
    regex: OnceLock<Option<Regex>>,
}

/// What follows from a literal's being in the folded line.
#[derive(Debug)]
struct Meaning {
    /// Matches, where the sighting holds (`sightings`).
    sightings: Range<usize>,
    /// Patterns to be tried (`candidates`).
    candidates: Range<usize>,
}

/// Patterns without a usable literal, searched together.
#[derive(Debug)]
struct Set {
    ids: Vec<usize>,
    set: RegexSet,
}

/// The patterns that matched a line, and space to find them in: kept from line to line, so that a line without a
/// match allocates nothing once the space has grown to the longest line (a few times its bytes).
#[derive(Debug, Default)]
pub struct Found {
    ids: Vec<usize>,
    folded: Vec<u8>,
    literals: Vec<usize>,
    candidates: Vec<usize>,
}

impl Found {
    /// The positions of the patterns that matched, ascending, each once.
    pub fn ids(&self) -> &[usize] {
        &self.ids
    }
}

impl TriggerIndex {
    /// Builds the index of some patterns; the id of each is its position. All are checked, hardly any is compiled:
    /// about 10 µs and a kilobyte a pattern.
    ///
    /// # Errors
    ///
    /// When a pattern is not a regex, nested deeper than [`NEST_LIMIT`] or larger than [`SIZE_LIMIT`], and when
    /// there are more than [`MAX_PATTERNS`].
    pub fn build<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<TriggerIndex, TriggerError> {
        let mut draft = Draft::default();
        let mut kept = Vec::new();
        for (id, source) in patterns.into_iter().enumerate() {
            if id >= MAX_PATTERNS {
                return Err(TriggerError::TooMany);
            }
            let (pattern, hir) = Pattern::parse(id, source)?;
            draft.add(id, &hir);
            kept.push(pattern);
        }
        draft.finish(kept)
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// True when there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Finds the patterns that match `line`, in place of what was found before. Takes a few nanoseconds a byte,
    /// and what the candidates' regexes take: each is linear in the line.
    pub fn matches(&self, line: &str, found: &mut Found) {
        found.ids.clear();
        found.ids.extend(&self.always);
        found.candidates.clear();
        found.candidates.extend(&self.tried);
        self.search_literals(line, found);
        self.try_candidates(line, found);
        self.search_sets(line, found);
        sort_once(&mut found.ids);
    }

    fn search_literals(&self, line: &str, found: &mut Found) {
        let Found { ids, folded, literals, candidates } = found;
        literals.clear();
        let in_place = fold::line(line, folded);
        for seen in self.automaton.find_overlapping_iter(folded.as_slice()) {
            let literal = seen.pattern().as_usize();
            let meaning = &self.meanings[literal];
            if !meaning.candidates.is_empty() {
                literals.push(literal);
            }
            for (id, sighting) in &self.sightings[meaning.sightings.clone()] {
                if !in_place {
                    candidates.push(*id);
                } else if sighting.holds(line, seen.start(), seen.end()) {
                    ids.push(*id);
                }
            }
        }
        sort_once(literals);
        for literal in literals {
            candidates.extend(&self.candidates[self.meanings[*literal].candidates.clone()]);
        }
    }

    fn try_candidates(&self, line: &str, found: &mut Found) {
        sort_once(&mut found.candidates);
        let matches = |id: &&usize| self.regex(**id).is_some_and(|regex| regex.is_match(line));
        found.ids.extend(found.candidates.iter().filter(matches));
    }

    fn search_sets(&self, line: &str, found: &mut Found) {
        // `matches` allocates, `is_match` does not
        for Set { ids, set } in self.sets.iter().filter(|it| it.set.is_match(line)) {
            found.ids.extend(set.matches(line).iter().map(|at| ids[at]));
        }
    }

    /// A pattern's regex, for its captures. The first call compiles it: 10 µs to [some milliseconds](SIZE_LIMIT).
    ///
    /// None when there is no pattern of this id.
    pub fn regex(&self, id: usize) -> Option<&Regex> {
        self.patterns.get(id)?.regex()
    }
}

fn sort_once(ids: &mut Vec<usize>) {
    ids.sort_unstable();
    ids.dedup();
}

impl Pattern {
    /// Checks a pattern. One that may be too large is compiled now, to know; that it is not is then certain of all
    /// others.
    fn parse(id: usize, source: &str) -> Result<(Pattern, Hir), TriggerError> {
        let mut parser = ParserBuilder::new().nest_limit(NEST_LIMIT).build();
        let hir = parser.parse(source).map_err(|error| TriggerError::Syntax { id, source: Box::new(error) })?;
        let pattern = Pattern { source: source.into(), regex: OnceLock::new() };
        if size::estimate(&hir) > SIZE_LIMIT / 2 {
            let regex = pattern.compile().map_err(|error| TriggerError::refused(id, source, error))?;
            pattern.regex.get_or_init(|| Some(regex));
        }
        Ok((pattern, hir))
    }

    fn regex(&self) -> Option<&Regex> {
        let compile = || {
            let report = |error: &regex::Error| {
                tracing::error!(pattern = %self.source, %error, "A trigger cannot be compiled and will never match");
            };
            self.compile().inspect_err(report).ok()
        };
        self.regex.get_or_init(compile).as_ref()
    }

    fn compile(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&self.source)
            .nest_limit(NEST_LIMIT)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(STATES_LIMIT)
            .build()
    }
}

impl TriggerError {
    /// The position of the pattern that is to blame, when one is.
    pub fn id(&self) -> Option<usize> {
        match self {
            TriggerError::Syntax { id, .. } | TriggerError::TooLarge { id, .. } | TriggerError::Refused { id, .. } => {
                Some(*id)
            }
            TriggerError::TooMany | TriggerError::Literals(_) => None,
        }
    }

    fn refused(id: usize, pattern: &str, error: regex::Error) -> TriggerError {
        let pattern = pattern.to_owned();
        match error {
            regex::Error::CompiledTooBig(_) => TriggerError::TooLarge { id, pattern },
            error => TriggerError::Refused { id, pattern, source: Box::new(error) },
        }
    }
}

/// An index in the making.
#[derive(Default)]
struct Draft {
    always: Vec<usize>,
    tried: Vec<usize>,
    wanted: Vec<Wanted>,
    in_sets: Vec<usize>,
    classes: Classes,
}

/// A folded literal to look for, and the pattern on whose behalf.
struct Wanted {
    literal: Box<[u8]>,
    id: usize,
    /// None when the pattern has to be tried.
    sighting: Option<Sighting>,
}

impl Draft {
    fn add(&mut self, id: usize, pattern: &Hir) {
        let needs = pattern.properties();
        if needs.minimum_len() == Some(0) && needs.look_set().is_empty() {
            self.always.push(id);
        } else if let Some(sightings) = sighting::of(pattern, &mut self.classes) {
            let wanted = |(literal, sighting)| Wanted { literal, id, sighting: Some(sighting) };
            self.wanted.extend(sightings.into_iter().map(wanted));
        } else if let Some(literals) = literals::required(pattern) {
            self.wanted.extend(literals.into_iter().map(|literal| Wanted { literal, id, sighting: None }));
        } else if needs.minimum_len().is_some_and(|bytes| bytes > 0) {
            self.in_sets.push(id);
        } else {
            self.tried.push(id);
        }
    }

    fn finish(mut self, patterns: Vec<Pattern>) -> Result<TriggerIndex, TriggerError> {
        let (mut literals, mut meanings) = (Vec::new(), Vec::new());
        let (mut sightings, mut candidates) = (Vec::new(), Vec::new());
        self.wanted.sort_by(|one, other| one.literal.cmp(&other.literal));
        for same in self.wanted.chunk_by_mut(|one, other| one.literal == other.literal) {
            let (first_sighting, first_candidate) = (sightings.len(), candidates.len());
            for Wanted { id, sighting, .. } in same.iter_mut() {
                match sighting.take() {
                    Some(sighting) => sightings.push((*id, sighting)),
                    None => candidates.push(*id),
                }
            }
            literals.push(std::mem::take(&mut same[0].literal));
            let (sightings, candidates) = (first_sighting..sightings.len(), first_candidate..candidates.len());
            meanings.push(Meaning { sightings, candidates });
        }
        drop(self.wanted);
        let sets = sets(&patterns, &self.in_sets)?;
        let automaton = automaton(&literals)?;
        Ok(TriggerIndex {
            patterns,
            always: self.always,
            tried: self.tried,
            automaton,
            meanings,
            sightings,
            candidates,
            sets,
        })
    }
}

fn automaton(literals: &[Box<[u8]>]) -> Result<AhoCorasick, aho_corasick::BuildError> {
    let table = table_bytes(literals) <= TABLE_LIMIT;
    let kind = if table { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
    AhoCorasick::builder().match_kind(MatchKind::Standard).kind(Some(kind)).prefilter(false).build(literals)
}

/// The most that the table takes: four bytes for each state (one a byte) and kind of byte (all that stand nowhere
/// are one kind; the number is rounded up to a power of two).
fn table_bytes(literals: &[Box<[u8]>]) -> usize {
    let mut kinds = [false; 256];
    let mut states = 1;
    for literal in literals {
        states += literal.len();
        literal.iter().for_each(|byte| kinds[usize::from(*byte)] = true);
    }
    let kinds = 1 + kinds.iter().filter(|kind| **kind).count();
    4 * states * kinds.next_power_of_two()
}

/// Puts patterns in sets, as few as the limit allows.
fn sets(patterns: &[Pattern], ids: &[usize]) -> Result<Vec<Set>, TriggerError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sources = ids.iter().map(|id| &*patterns[*id].source);
    let limit = if ids.len() == 1 { SIZE_LIMIT } else { SET_SIZE_LIMIT };
    let set =
        RegexSetBuilder::new(sources).nest_limit(NEST_LIMIT).size_limit(limit).dfa_size_limit(SET_STATES_LIMIT).build();
    match set {
        Ok(set) => Ok(vec![Set { ids: ids.to_vec(), set }]),
        Err(regex::Error::CompiledTooBig(_)) if ids.len() > 1 => {
            let (first, second) = ids.split_at(ids.len() / 2);
            let mut sets_of_both = sets(patterns, first)?;
            sets_of_both.extend(sets(patterns, second)?);
            Ok(sets_of_both)
        }
        Err(error) => Err(TriggerError::refused(ids[0], &patterns[ids[0]].source, error)),
    }
}

#[cfg(test)]
mod tests;
