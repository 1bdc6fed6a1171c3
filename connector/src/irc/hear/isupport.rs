//! What the server says of itself (005 ISUPPORT): how names are compared, which marks stand before nicks, what begins
//! a channel's name.

use crate::irc::hear::casemap::CaseMapping;
use crate::irc::hear::channel_modes::ChannelModes;

/// The parameters that matter here, at first those of RFC 1459.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Isupport {
    pub casemapping: CaseMapping,
    /// The marks of ranks, highest first: `@+`.
    pub marks: String,
    /// The characters that channels' names begin with.
    pub channel_types: String,
    /// Which channel modes have parameters.
    pub channel_modes: ChannelModes,
    /// The letter of the user mode that marks a bot (IRCv3 `bot-mode`), on networks that have it.
    pub bot: Option<char>,
    /// How many modes with a parameter one MODE may have; 3 unless the server says otherwise (RFC 2812, section 3.2.3).
    pub modes: usize,
    /// The marks before a channel's name that reach those of such a rank alone.
    pub statusmsg: String,
}

/// The usual number of modes.
const MODES: usize = 3;

impl Default for Isupport {
    fn default() -> Self {
        let (marks, channel_types) = ("@+".to_owned(), "#&".to_owned());
        let (casemapping, channel_modes) = Default::default();
        Isupport { casemapping, marks, channel_types, channel_modes, bot: None, modes: MODES, statusmsg: String::new() }
    }
}

impl Isupport {
    /// Takes a parameter like `CASEMAPPING=ascii`; those it doesn't know change nothing.
    pub fn take(&mut self, parameter: &str) {
        match parameter.split_once('=') {
            Some(("CASEMAPPING", name)) => self.casemapping = CaseMapping::from_isupport(name),
            Some(("CHANTYPES", types)) => self.channel_types = types.to_owned(),
            Some(("BOT", letter)) => self.bot = letter.chars().next().filter(char::is_ascii_alphabetic),
            // without a number there is no limit
            Some(("MODES", most)) => self.modes = most.parse().unwrap_or(usize::MAX),
            None if parameter == "MODES" => self.modes = usize::MAX,
            Some(("STATUSMSG", marks)) => marks.clone_into(&mut self.statusmsg),
            Some(("CHANMODES", kinds)) => self.channel_modes.learn(kinds),
            Some(("PREFIX", prefix)) => {
                let (letters, marks) = prefix.split_once(')').unwrap_or_default();
                self.marks = marks.to_owned();
                self.channel_modes.learn_ranks(letters.trim_start_matches('('));
            }
            _ => {}
        }
    }

    /// Splits the marks before a nick or a channel from its name.
    pub fn split_marks<'a>(&self, name: &'a str) -> (&'a str, &'a str) {
        let bare = name.trim_start_matches(|c| self.marks.contains(c));
        name.split_at(name.len() - bare.len())
    }

    /// Splits a word of a list of names: the marks, of which there may be several (IRCv3 `multi-prefix`), and the nick,
    /// behind which the address may stand (`userhost-in-names`).
    pub fn split_member<'a>(&self, word: &'a str) -> (&'a str, &'a str) {
        let (marks, member) = self.split_marks(word);
        (marks, member.split_once('!').map_or(member, |(nick, _)| nick))
    }

    /// Whether it is a channel, perhaps with a mark before it: `@#c` are the operators of `#c`.
    pub fn is_channel(&self, target: &str) -> bool {
        target.starts_with(|c| self.channel_types.contains(c))
            || self.split_marks(target).1.starts_with(|c| self.channel_types.contains(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_casemapping_marks_and_channel_types() {
        let mut isupport = Isupport::default();
        for parameter in ["CASEMAPPING=ascii", "PREFIX=(qaohv)~&@%+", "CHANTYPES=#", "NICKLEN=30", "EXCEPTS", "PREFIX"]
        {
            isupport.take(parameter);
        }
        assert_eq!(isupport.casemapping, CaseMapping::Ascii);
        assert_eq!(isupport.split_marks("~@alice"), ("~@", "alice"));
        assert!(isupport.is_channel("#a") && isupport.is_channel("@#a"));
        assert!(!isupport.is_channel("&a") && !isupport.is_channel("alice") && !isupport.is_channel(""));
    }

    #[test]
    fn a_word_of_a_list_of_names_may_have_several_marks_and_an_address() {
        let isupport = Isupport::default();
        assert_eq!(isupport.split_member("@+alice!a@some.host"), ("@+", "alice"));
        assert_eq!(isupport.split_member("bob"), ("", "bob"));
    }

    #[test]
    fn the_mode_of_a_bot_is_a_letter() {
        let mut isupport = Isupport::default();
        for (parameter, letter) in [("BOT=B", Some('B')), ("BOT=", None), ("BOT=+", None), ("BOT", None)] {
            isupport.take(parameter);
            assert_eq!(isupport.bot, letter, "{parameter}");
        }
    }

    #[test]
    fn a_network_without_ranks_has_no_marks() {
        let mut isupport = Isupport::default();
        isupport.take("PREFIX=");
        assert_eq!(isupport.split_marks("@alice"), ("", "@alice"));
    }
}
