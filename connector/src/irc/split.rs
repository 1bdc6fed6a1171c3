//! Cuts a text into pieces that fit on a line: between words where possible, never within a character.

/// Pieces of `text` of at most `limit` bytes each. The spaces where it is cut between words vanish; a word that is
/// longer than a line is cut between characters.
pub(super) fn split(text: &str, limit: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let piece = cut(&mut rest, limit);
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    })
}

fn cut<'a>(rest: &mut &'a str, limit: usize) -> &'a str {
    if rest.len() <= limit {
        return std::mem::take(rest);
    }
    let window = window(rest, limit);
    let between_words = match rest[window..].starts_with(' ') {
        true => Some(window),
        false => rest[..window].rfind(' ').filter(|&space| !rest[..space].trim_start_matches(' ').is_empty()),
    };
    let (piece, after) = rest.split_at(between_words.unwrap_or(window));
    match between_words {
        Some(_) => {
            *rest = after.trim_start_matches(' ');
            piece.trim_end_matches(' ')
        }
        None => {
            *rest = after;
            piece
        }
    }
}

/// The longest part within the limit that ends between characters; at least one character.
fn window(text: &str, limit: usize) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    text.floor_char_boundary(limit).max(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str, limit: usize) -> Vec<&str> {
        split(text, limit).collect()
    }

    #[test]
    fn a_text_that_fits_stays_as_it_is() {
        assert_eq!(pieces("  hello world ", 14), ["  hello world "]);
        assert_eq!(pieces("", 5), Vec::<&str>::new());
    }

    #[test]
    fn a_long_text_is_cut_between_words() {
        assert_eq!(pieces("the quick brown fox", 9), ["the quick", "brown fox"]);
        assert_eq!(pieces("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(pieces("the   quick", 8), ["the", "quick"]);
    }

    #[test]
    fn a_long_word_is_cut_between_characters() {
        assert_eq!(pieces("äöü", 3), ["ä", "ö", "ü"]);
        assert_eq!(pieces("ab cdefgh", 4), ["ab", "cdef", "gh"]);
        assert_eq!(pieces("     abcdefgh", 6), ["     a", "bcdefg", "h"]);
    }

    fn without_spaces(text: &str) -> String {
        text.replace(' ', "")
    }

    proptest! {
        #[test]
        fn nothing_is_lost_but_spaces_and_every_piece_fits(text in "[a-zäß€🎉 ]{0,200}|\\PC{0,100}", limit in 4..40_usize) {
            let pieces = pieces(&text, limit);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= limit));
            prop_assert_eq!(without_spaces(&pieces.concat()), without_spaces(&text));
        }

        #[test]
        fn words_that_fit_stay_whole(words in proptest::collection::vec("[a-zäß]{1,8}", 0..30), limit in 16..40_usize) {
            let text = words.join(" ");
            let found: Vec<String> =
                split(&text, limit).flat_map(|piece| piece.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
            prop_assert_eq!(found, words);
        }
    }
}
