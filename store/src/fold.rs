//! Names of people and channels as they are compared, the same for every network.

/// A name in small letters, with `{}|~` as those of `[]\^` (RFC 1459, section 2.2). On a network where these are not the same,
/// two names can become one: for looking things up that does no harm, and the database need not know which network has
/// which rules, which it may change any day.
pub fn fold(name: &str) -> String {
    name.chars().flat_map(fold_char).collect()
}

/// The same for a letter.
pub fn fold_char(c: char) -> impl Iterator<Item = char> {
    let c = match c {
        '[' => '{',
        ']' => '}',
        '\\' => '|',
        '^' => '~',
        c => c,
    };
    c.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_network_may_take_for_the_same_are_the_same() {
        assert_eq!(fold(r"Alice[]\^ÄΣ"), "alice{}|~äσ");
    }
}
