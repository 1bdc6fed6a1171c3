//! Which nicks are one. A network's rule (CASEMAPPING) is not told by events, and there are several: by some `bob[` and `bob{`
//! are one nick, by others they are two people. So somebody is kept by what all rules have in common, small letters from A to Z:
//! servers write a nick in one way in all that they tell, and nobody ever stands in for another. People who ask write it
//! as they like: they find it by the widest rule, [`crate::fold`], unless it is there to the letter.

/// What somebody is kept by.
pub(super) fn key(nick: &str) -> String {
    nick.to_ascii_lowercase()
}

/// Those that have the nick by the rule of all networks; all that were found, if there is none.
pub(super) fn to_the_letter<T>(mut found: Vec<T>, nick: &str, of: impl Fn(&T) -> &str) -> Vec<T> {
    let asked = key(nick);
    if found.iter().any(|it| key(of(it)) == asked) {
        found.retain(|it| key(of(it)) == asked);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_by_rfc_1459_are_found_by_each_other_and_kept_apart() {
        let twins = || vec!["bob[", "Bob{"];
        assert_eq!(crate::fold("bob["), crate::fold("BOB{"));
        assert_eq!(to_the_letter(twins(), "BOB[", |nick| nick), ["bob["]);
        assert_eq!(to_the_letter(vec!["bob["], "bob{", |nick| nick), ["bob["]);
    }
}
