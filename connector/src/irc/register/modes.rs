//! The modes that the bot gives itself: those configured, and on networks that have it (ISUPPORT `BOT`, IRCv3 `bot-mode`)
//! the mark that it is a bot.

use crate::irc::speak::line::Line;

/// One session's modes.
pub(crate) struct Modes {
    configured: Option<String>,
    /// The mark was set, or is not to be.
    marked: bool,
}

impl Modes {
    /// `configured` as in `+iB-w`.
    pub fn new(configured: Option<String>) -> Self {
        Modes { configured, marked: false }
    }

    /// What is configured, right after the welcome.
    pub fn of_configuration(&self, nick: &str) -> Option<Line> {
        self.configured.as_ref().map(|modes| Line::mode(nick, modes))
    }

    /// The mark of a bot, once the server has said which letter that is; whoever configures that letter has decided.
    pub fn of_a_bot(&mut self, nick: &str, letter: Option<char>) -> Option<Line> {
        let letter = letter.filter(|_| !self.marked)?;
        self.marked = true;
        let decided = self.configured.as_ref().is_some_and(|modes| modes.contains(letter));
        (!decided).then(|| Line::mode(nick, &format!("+{letter}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: Option<Line>) -> Option<String> {
        line.map(|line| String::from_utf8_lossy(line.bytes()).trim_end().to_owned())
    }

    #[test]
    fn the_mark_of_a_bot_is_set_once_unless_the_configuration_names_it() {
        let mut modes = Modes::new(Some("+iw".into()));
        assert_eq!(text(modes.of_configuration("pubbot")).as_deref(), Some("MODE pubbot +iw"));
        assert_eq!(text(modes.of_a_bot("pubbot", None)), None);
        assert_eq!(text(modes.of_a_bot("pubbot", Some('B'))).as_deref(), Some("MODE pubbot +B"));
        assert_eq!(text(modes.of_a_bot("pubbot", Some('B'))), None);
        assert_eq!(text(Modes::new(Some("-B".into())).of_a_bot("pubbot", Some('B'))), None);
        assert_eq!(text(Modes::new(None).of_configuration("pubbot")), None);
    }
}
