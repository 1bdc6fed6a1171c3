//! "Did you mean …?": the known word nearest to one that is not known. For keys, variables, routes, plugins and words
//! of routing keys alike.

/// The candidate that `word` was probably meant to be: at most a third of it is mistyped.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `: did you mean "nick"?`, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|near| format!(": did you mean {near:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        assert_eq!(nearest("nik", ["url", "nick"]), Some("nick"));
        assert_eq!(nearest("chanels", ["user", "channels"]), Some("channels"));
        assert_eq!(nearest("NICK", ["nick"]), Some("nick"));
        assert_eq!(nearest("x", ["url", "nick"]), None);
        assert_eq!(did_you_mean("nik", ["nick"]), ": did you mean \"nick\"?");
    }
}
