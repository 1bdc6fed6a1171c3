//! How much memory a compiled pattern takes, told without compiling it.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Bytes of one state of the automaton, and a little.
const STATE: usize = 48;

/// About how many bytes compiling a pattern takes, as `RegexBuilder::size_limit` counts them; more rather than
/// less.
pub(super) fn estimate(pattern: &Hir) -> usize {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => STATE,
        HirKind::Literal(literal) => STATE.saturating_mul(literal.0.len()),
        HirKind::Class(class) => of_class(class),
        HirKind::Repetition(repetition) => {
            let copies = repetition.max.unwrap_or(repetition.min.saturating_add(1)) as usize;
            estimate(&repetition.sub).saturating_add(STATE).saturating_mul(copies)
        }
        HirKind::Capture(capture) => estimate(&capture.sub).saturating_add(2 * STATE),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(STATE, |sum, part| sum.saturating_add(estimate(part)).saturating_add(STATE))
        }
    }
}

/// A range of characters is up to four states for each length of its UTF-8 form; ranges near each other share most
/// of them.
fn of_class(class: &Class) -> usize {
    match class {
        Class::Unicode(class) if class.is_ascii() => 2 * STATE + 16 * class.ranges().len(),
        Class::Unicode(class) => 16 * STATE + 2 * STATE * class.ranges().len(),
        Class::Bytes(class) => 2 * STATE + 16 * class.ranges().len(),
    }
}

#[cfg(test)]
mod tests {
    use super::estimate;
    use regex::RegexBuilder;

    /// The lazily compiled patterns rely on it: what is estimated at half the limit must not exceed the limit.
    #[test]
    fn compiling_takes_at_most_twice_the_estimate() {
        let parts = [
            "x",
            "abc",
            r"\w",
            r"\W",
            r"\d",
            r"\D",
            r"\s",
            r"\S",
            ".",
            "(?s:.)",
            "(?i:k)",
            "(?i:straße)",
            r"\p{L}",
            r"\P{L}",
            r"\p{Greek}",
            r"\P{Greek}",
            "[^a]",
            "[a-z]",
            r"[\u{80}-\u{10FFFF}]",
            r"[\u{7FF}-\u{800}]",
            r"[\u{FFFF}-\u{10000}]",
            "()",
            r"\b",
            "^",
            "(a|b|cd)",
            "(?:)",
            "[aé]",
            r"[α-ω]",
            r"(?:\w|-)",
            r"[\w-]",
            r"\p{Lu}",
            r"\p{Emoji}",
            "(?i)ab",
            "(x)",
            r"[\w&&[^\d]]",
            r"[^\w]",
        ];
        let shapes = |part: &str| {
            [
                format!("(?:{part})"),
                format!("(?:{part})*"),
                format!("(?:{part}){{20}}"),
                format!("(?:{part}){{3,40}}"),
                format!("(?:(?:{part})?){{30}}"),
                format!("(?:{part}|q){{9,}}"),
                format!("((?:{part})+){{4}}"),
            ]
        };
        for pattern in parts.iter().flat_map(|part| shapes(part)) {
            let hir = regex_syntax::parse(&pattern).unwrap();
            // a kilobyte for what is paid once
            let limit = 2 * estimate(&hir) + 1024;
            let built = RegexBuilder::new(&pattern).size_limit(limit).build();
            assert!(built.is_ok(), "{pattern}: estimated {}", estimate(&hir));
        }
    }

    #[test]
    fn an_estimate_is_not_wildly_too_high() {
        for (pattern, at_most) in [(r"\w", 150_000), (r"foo=(?<foo>\w+)", 160_000), ("x{1000}", 150_000)] {
            assert!(estimate(&regex_syntax::parse(pattern).unwrap()) < at_most, "{pattern}");
        }
    }

    #[test]
    fn an_estimate_of_nested_repetitions_does_not_overflow() {
        let pattern = format!("{}x{}", "(?:".repeat(20), "{1000})".repeat(20));
        assert_eq!(estimate(&regex_syntax::parse(&pattern).unwrap()), usize::MAX);
    }
}
