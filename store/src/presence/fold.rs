//! Which nicks are one. A network's rule (CASEMAPPING) is not told by events, and there are several: by some `bob[` and `bob{`
//! are one nick, by others they are two people. So somebody is kept by what all rules have in common, small letters from A to Z:
//! servers write a nick in one way in all that they tell, and nobody ever stands in for another. People who ask write it
//! as they like: they find it by the widest rule, RFC 1459 and all of Unicode's small letters, unless it is there to the letter.

/// What somebody is kept by.
pub(super) fn key(nick: &str) -> String {
    nick.to_ascii_lowercase()
}

/// What somebody is found by.
pub(super) fn folded(nick: &str) -> String {
    let by_rfc1459 = |c| match c {
        '[' => '{',
        ']' => '}',
        '\\' => '|',
        '^' => '~',
        c => c,
    };
    nick.chars().flat_map(char::to_lowercase).map(by_rfc1459).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_by_rfc_1459_are_found_by_each_other_and_kept_apart() {
        assert_eq!(folded(r"Ärger[]\^"), "ärger{}|~");
        assert_ne!(key("bob["), key("BOB{"));
        assert_eq!(key("Bob["), key("bOB["));
    }
}
