//! Addressing: a line that begins with the bot's nick and `:` or `,` is meant for the bot.

/// What is said to `nick`: the text behind `<nick>:` or `<nick>,` and the spaces after it. `None` if the text does not
/// begin so. `same` compares nicks by the network's rules, which never change a nick's length in bytes.
pub(crate) fn said_to<'a>(nick: &str, text: &'a str, same: impl Fn(&str, &str) -> bool) -> Option<&'a str> {
    let (name, rest) = text.split_at_checked(nick.len())?;
    let rest = rest.strip_prefix([':', ','])?;
    (!nick.is_empty() && same(name, nick)).then(|| rest.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_pubbot(text: &str) -> Option<&str> {
        said_to("pubbot", text, str::eq_ignore_ascii_case)
    }

    #[test]
    fn a_nick_with_a_colon_or_a_comma_is_removed_with_the_space_behind_it() {
        assert_eq!(to_pubbot("pubbot: ping"), Some("ping"));
        assert_eq!(to_pubbot("PubBot,ping"), Some("ping"));
        assert_eq!(to_pubbot("pubbot:"), Some(""));
    }

    #[test]
    fn other_lines_are_meant_for_nobody_in_particular() {
        for text in ["", "pub", "pubbot", "pubbot ping", "pubbot2: ping", "hey pubbot: ping", "pübbot: x", "ppppppü:"]
        {
            assert_eq!(to_pubbot(text), None, "{text}");
        }
        assert_eq!(said_to("", ": x", str::eq_ignore_ascii_case), None);
    }
}
