//! What is wrong with a configuration, told with file, line and column, the line itself, and what was expected. All of
//! it at once. Of the line nothing is shown that may be a secret.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use super::tree::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    pub origin: Origin,
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    /// What is wrong there.
    pub fn new(origin: Origin, message: impl Into<String>) -> Self {
        Problem { origin, message: message.into(), hint: None }
    }

    /// Adds what is allowed.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Problem { hint: Some(hint.into()), ..self }
    }
}

/// A file that was read.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

/// Everything that is wrong with a configuration, in the order of its places.
#[derive(Debug)]
pub struct Report {
    source: Source,
    problems: Vec<Problem>,
}

impl Report {
    /// Puts the problems in order.
    pub fn new(source: Source, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match &problem.origin {
            Origin::File(span) => span.start,
            Origin::Variable(_) | Origin::Flag(_) => usize::MAX,
        });
        Report { source, problems }
    }

    /// A file, a variable or an option that is wrong as a whole.
    pub fn alone(message: impl Into<String>) -> Self {
        let problem = Problem::new(Origin::Variable(String::new()), message);
        Report { source: Source::default(), problems: vec![problem] }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\nerror: ")?;
            }
            self.problem(f, problem)?;
        }
        Ok(())
    }
}

impl Report {
    fn problem(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
        let Problem { origin, message, hint } = problem;
        match origin {
            Origin::File(span) => {
                let place = Place::of(&self.source.text, span);
                write!(f, "{}:{}:{}: {message}", self.source.path.display(), place.line, place.column)?;
                place.snippet(f)?;
            }
            Origin::Variable(name) if name.is_empty() => f.write_str(message)?,
            Origin::Variable(name) => write!(f, "environment variable {name}: {message}")?,
            Origin::Flag(name) => write!(f, "option {name}: {message}")?,
        }
        match hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

/// A place in a text, as people count: from 1, in characters.
struct Place<'a> {
    line: usize,
    column: usize,
    text: &'a str,
    /// How many characters of the line are meant.
    width: usize,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, span: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
        let begin = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let column = text[begin..start].chars().count() + 1;
        let width = text[start..end].lines().next().unwrap_or_default().chars().count().max(1);
        Place { line: text[..start].matches('\n').count() + 1, column, text: line, width }
    }

    /// The line with the place underlined; not where that could show a secret.
    fn snippet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() || may_hold_a_secret(self.text) {
            return Ok(());
        }
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let text = self.with_other_texts_hidden();
        let (indent, mark) = (" ".repeat(self.column - 1), "^".repeat(self.width));
        write!(f, "\n  {margin} |\n  {number} | {text}\n  {margin} | {indent}{mark}")
    }

    /// The line, of whose texts only the one that is meant shows: what stands behind a mistyped key may be a secret.
    fn with_other_texts_hidden(&self) -> String {
        let is_quote = |c: &char| matches!(c, '"' | '\'');
        let first = self.column - 1;
        let one_text = self.text.chars().nth(first).is_some_and(|c| is_quote(&c));
        let meant = if one_text { first..first + self.width } else { 0..0 };
        let mut quote = None;
        let shown = self.text.chars().enumerate().map(|(index, c)| {
            match quote {
                Some(open) if open == c => quote = None,
                None if is_quote(&c) => quote = Some(c),
                Some(_) if !meant.contains(&index) => return '*',
                _ => {}
            }
            if c.is_control() { ' ' } else { c }
        });
        shown.collect()
    }
}

/// A password, a channel's key, or a URL with credentials may stand on this line.
fn may_hold_a_secret(line: &str) -> bool {
    let line = line.to_lowercase();
    ["pass", "key", "secret", "@", "\"\"\"", "'''"].iter().any(|word| line.contains(word))
}
