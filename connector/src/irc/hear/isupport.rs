//! What the server says of itself (005 ISUPPORT): how names are compared, which ranks there are, how much of what it takes.
//! The tokens are those of draft-hardy-irc-isupport and of modern.ircdocs.horse; what is not told is as in RFC 1459.
//!
//! UTF8ONLY needs nothing here: all that goes out is UTF-8 anyway, and what comes in and is not is replaced.

use std::borrow::Cow;

use crate::irc::hear::casemap::CaseMapping;
use crate::irc::hear::channel_modes::ChannelModes;
use crate::irc::hear::framing::{MAX_LINE_BYTES, MAX_LINELEN};
use crate::irc::hear::ranks::Ranks;

/// The shortest and the longest nick that a server may allow, in bytes (RFC 1459 has 9).
const NICKLEN: (usize, usize) = (9, 128);
/// How many modes with a parameter a MODE may change where the server does not say (RFC 1459, section 4.2.3.1).
const DEFAULT_MODES: usize = 3;
/// The most that are put on one line, whatever the server says; also of targets.
const MAX_ON_A_LINE: usize = 64;
/// How many parts of a list are looked at (CHANLIMIT, TARGMAX).
const MAX_PARTS: usize = 64;
/// The longest list of characters that is believed (CHANTYPES, STATUSMSG), in bytes.
const MAX_CHARACTERS: usize = 32;
/// How many ways to name a message are looked at (MSGREFTYPES).
const MAX_REFERENCES: usize = 8;

/// What the server has told, at first as RFC 1459 has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Isupport {
    /// CASEMAPPING: how names are compared.
    pub casemapping: CaseMapping,
    /// PREFIX: the ranks in a channel.
    pub ranks: Ranks,
    /// CHANTYPES: the characters that channels' names begin with.
    pub channel_types: String,
    /// CHANMODES: which channel modes have parameters.
    pub channel_modes: ChannelModes,
    /// CHANLIMIT, or MAXCHANNELS: how many channels of these types we may be in, as in `("#&", 50)`.
    pub channel_limits: Vec<(String, usize)>,
    /// BOT: the letter of the user mode that marks a bot (IRCv3 `bot-mode`), on networks that have it.
    pub bot: Option<char>,
    /// CHATHISTORY: how many messages of its history the network tells at once at most, 0 for any number.
    pub history: usize,
    /// MSGREFTYPES: how a message of the history may be named: `timestamp`, `msgid`.
    pub message_references: Vec<String>,
    /// NICKLEN, or MAXNICKLEN: the most bytes of a nick; `None` if it is not told.
    pub nick_bytes: Option<usize>,
    /// LINELEN: the most bytes of a line, CR LF included and tags not; 512 at least.
    pub line_bytes: usize,
    /// MODES: how many modes with a parameter one MODE may change, 1 to 64.
    pub modes: usize,
    /// STATUSMSG: the marks that may stand before a channel as a target; `None` if it is not told.
    pub status_marks: Option<String>,
    /// WHOX: WHO tells accounts, if it is asked for them.
    pub whox: bool,
    /// MONITOR: it tells when a nick is taken or left (IRCv3 `monitor`).
    pub monitor: bool,
    targets: Targets,
}

/// TARGMAX and MAXTARGETS: how many targets a command may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Targets {
    /// Of the commands named, in capitals.
    of: Vec<(String, usize)>,
    /// Of any command.
    any: Option<usize>,
}

impl Default for Isupport {
    fn default() -> Self {
        Isupport {
            casemapping: CaseMapping::default(),
            ranks: Ranks::default(),
            channel_types: "#&".to_owned(),
            channel_modes: ChannelModes::default(),
            channel_limits: Vec::new(),
            bot: None,
            history: 0,
            message_references: vec!["timestamp".to_owned()],
            nick_bytes: None,
            line_bytes: MAX_LINE_BYTES,
            modes: DEFAULT_MODES,
            status_marks: None,
            whox: false,
            monitor: false,
            targets: Targets::default(),
        }
    }
}

impl Isupport {
    /// Takes a parameter like `CASEMAPPING=ascii`, or `-CASEMAPPING`, which takes that back. Those that it doesn't know,
    /// and values that make no sense, change nothing.
    pub fn take(&mut self, parameter: &str) {
        match (parameter.strip_prefix('-'), parameter.split_once('=')) {
            (Some(name), _) => self.forget(name),
            (None, Some((name, value))) => self.learn(name, &unescaped(value)),
            (None, None) => self.learn_flag(parameter),
        }
    }

    /// How many targets a command may have: what is told, 1 to 64, or `otherwise`. `command` is in capitals.
    pub fn targets(&self, command: &str, otherwise: usize) -> usize {
        let told = self.targets.of.iter().find(|(name, _)| name == command).map(|(_, limit)| *limit);
        told.or(self.targets.any).unwrap_or(otherwise)
    }

    /// The types of channels that this one is counted with, and how many of those we may be in; `None` if there is no limit.
    pub fn channel_limit(&self, channel: &str) -> Option<(&str, usize)> {
        let limit = self.channel_limits.iter().find(|(types, _)| channel.starts_with(|c| types.contains(c)));
        limit.map(|(types, limit)| (types.as_str(), *limit))
    }

    /// As much of a nick as the server lets us have: it cuts longer ones.
    pub fn nick_that_fits<'a>(&self, nick: &'a str) -> &'a str {
        self.nick_bytes.map_or(nick, |bytes| &nick[..nick.floor_char_boundary(bytes)])
    }

    /// Splits a target into the marks of those whom it is for and the channel: `@#c` are the operators of `#c`. Without
    /// STATUSMSG any mark of a rank counts. `None` for what is no channel.
    pub fn split_target<'a>(&self, target: &'a str) -> Option<(&'a str, &'a str)> {
        let is_channel = |name: &&str| name.starts_with(|c| self.channel_types.contains(c));
        let is_mark = |c| self.status_marks.as_ref().map_or_else(|| self.ranks.has_mark(c), |marks| marks.contains(c));
        // a mark may be a type of channels, too: `+c`
        let name = [target.trim_start_matches(is_mark), target].into_iter().find(is_channel)?;
        Some(target.split_at(target.len() - name.len()))
    }

    /// Whether it is a channel, perhaps with a mark before it.
    pub fn is_channel(&self, target: &str) -> bool {
        self.split_target(target).is_some()
    }

    /// Splits a word of a list of names: the marks, of which there may be several (IRCv3 `multi-prefix`), and the nick,
    /// behind which the address may stand (`userhost-in-names`).
    pub fn split_member<'a>(&self, word: &'a str) -> (&'a str, &'a str) {
        let member = word.trim_start_matches(|c| self.ranks.has_mark(c));
        let marks = &word[..word.len() - member.len()];
        (marks, member.split_once('!').map_or(member, |(nick, _)| nick))
    }

    fn learn(&mut self, name: &str, value: &str) {
        match name {
            "CASEMAPPING" => self.casemapping = CaseMapping::from_isupport(value),
            "PREFIX" => self.ranks = Ranks::parse(value).unwrap_or_else(|| self.ranks.clone()),
            "CHANTYPES" => self.channel_types = characters(value),
            "CHANMODES" => self.channel_modes.learn(value),
            "CHANLIMIT" => self.channel_limits = parts(value).filter_map(channel_limit).collect(),
            "MAXCHANNELS" if self.channel_limits.is_empty() => {
                let types = self.channel_types.clone();
                self.channel_limits = limit(value).map(|limit| (types, limit)).into_iter().collect();
            }
            "BOT" => self.bot = value.chars().next().filter(char::is_ascii_alphabetic),
            "CHATHISTORY" => self.history = number(value).unwrap_or(0),
            "MSGREFTYPES" => {
                self.message_references = value.split(',').take(MAX_REFERENCES).map(str::to_owned).collect();
            }
            "NICKLEN" | "MAXNICKLEN" => self.nick_bytes = number(value).map(|it| it.clamp(NICKLEN.0, NICKLEN.1)),
            "LINELEN" => {
                self.line_bytes = number(value).unwrap_or(MAX_LINE_BYTES).clamp(MAX_LINE_BYTES, MAX_LINELEN);
            }
            // without a number there is no limit
            "MODES" => self.modes = on_a_line(value),
            "TARGMAX" => self.targets.of = parts(value).filter_map(command_targets).collect(),
            "MAXTARGETS" => self.targets.any = Some(on_a_line(value)),
            "STATUSMSG" => self.status_marks = Some(characters(value)),
            _ => self.learn_flag(name),
        }
    }

    /// A parameter without a value.
    fn learn_flag(&mut self, name: &str) {
        match name {
            "WHOX" => self.whox = true,
            "MONITOR" => self.monitor = true,
            "MODES" => self.modes = MAX_ON_A_LINE,
            _ => {}
        }
    }

    /// What the server says that it has no longer is as it was at first.
    fn forget(&mut self, name: &str) {
        let first = Isupport::default();
        match name {
            "CASEMAPPING" => self.casemapping = first.casemapping,
            "PREFIX" => self.ranks = first.ranks,
            "CHANTYPES" => self.channel_types = first.channel_types,
            "CHANMODES" => self.channel_modes = first.channel_modes,
            "CHANLIMIT" | "MAXCHANNELS" => self.channel_limits = first.channel_limits,
            "BOT" => self.bot = first.bot,
            "CHATHISTORY" => self.history = first.history,
            "MSGREFTYPES" => self.message_references = first.message_references,
            "NICKLEN" | "MAXNICKLEN" => self.nick_bytes = first.nick_bytes,
            "LINELEN" => self.line_bytes = first.line_bytes,
            "MODES" => self.modes = first.modes,
            "TARGMAX" => self.targets.of = first.targets.of,
            "MAXTARGETS" => self.targets.any = first.targets.any,
            "STATUSMSG" => self.status_marks = first.status_marks,
            "WHOX" => self.whox = first.whox,
            "MONITOR" => self.monitor = first.monitor,
            _ => {}
        }
    }
}

/// A value as it is meant: `\x20` is a space, `\x5C` a backslash, `\x3D` an equals sign; other escapes of two digits are ASCII, too.
fn unescaped(value: &str) -> Cow<'_, str> {
    let mut parts = value.split("\\x");
    let Some(first) = parts.next().filter(|first| first.len() < value.len()) else { return Cow::Borrowed(value) };
    let mut text = first.to_owned();
    for part in parts {
        let escaped = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii);
        match (escaped, part.get(2..)) {
            (Some(byte), Some(rest)) => {
                text.push(char::from(byte));
                text.push_str(rest);
            }
            _ => {
                text.push_str("\\x");
                text.push_str(part);
            }
        }
    }
    Cow::Owned(text)
}

fn parts(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split(',').take(MAX_PARTS).filter_map(|part| part.split_once(':'))
}

/// `#&:50`; without a number there is no limit.
fn channel_limit((types, most): (&str, &str)) -> Option<(String, usize)> {
    Some((characters(types), limit(most)?))
}

/// A limit of channels; ngircd says 0 where there is none.
fn limit(value: &str) -> Option<usize> {
    number(value).filter(|limit| *limit > 0)
}

/// `JOIN:4`; without a number there is no limit.
fn command_targets((command, limit): (&str, &str)) -> Option<(String, usize)> {
    Some((command.to_ascii_uppercase(), on_a_line(limit)))
}

fn on_a_line(value: &str) -> usize {
    number(value).unwrap_or(MAX_ON_A_LINE).clamp(1, MAX_ON_A_LINE)
}

/// A number; one too large for this machine is its largest.
fn number(value: &str) -> Option<usize> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(usize::MAX))
}

fn characters(value: &str) -> String {
    value[..value.floor_char_boundary(MAX_CHARACTERS)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(parameters: &[&str]) -> Isupport {
        let mut isupport = Isupport::default();
        parameters.iter().for_each(|parameter| isupport.take(parameter));
        isupport
    }

    #[test]
    fn it_learns_casemapping_ranks_and_channel_types() {
        let isupport = told(&["CASEMAPPING=ascii", "PREFIX=(qaohv)~&@%+", "CHANTYPES=#", "EXCEPTS", "PREFIX"]);
        assert_eq!(isupport.casemapping, CaseMapping::Ascii);
        assert_eq!(isupport.split_member("~@alice"), ("~@", "alice"));
        assert!(isupport.is_channel("#a") && isupport.is_channel("@#a"));
        assert!(!isupport.is_channel("&a") && !isupport.is_channel("alice") && !isupport.is_channel(""));
    }

    #[test]
    fn it_learns_how_much_of_what_the_server_takes() {
        let isupport =
            told(&["NICKLEN=16", "LINELEN=4096", "MODES=6", "TARGMAX=JOIN:4,KICK:1,PRIVMSG:", "CHANLIMIT=#&:25,!:"]);
        assert_eq!((isupport.nick_bytes, isupport.line_bytes, isupport.modes), (Some(16), 4096, 6));
        assert_eq!(isupport.nick_that_fits("abcdefghijklmnopqrst"), "abcdefghijklmnop");
        let targets = ["JOIN", "KICK", "PRIVMSG", "PART"].map(|command| isupport.targets(command, 7));
        assert_eq!(targets, [4, 1, MAX_ON_A_LINE, 7]);
        assert_eq!(isupport.channel_limit("#a"), Some(("#&", 25)));
        assert_eq!(isupport.channel_limit("!a"), None);
        let old = told(&["MAXCHANNELS=10", "MAXTARGETS=2", "MODES"]);
        assert_eq!(old.channel_limit("&a"), Some(("#&", 10)));
        assert_eq!((old.targets("JOIN", 7), old.modes), (2, MAX_ON_A_LINE));
    }

    #[test]
    fn absurd_values_are_bounded() {
        let huge = "99999999999999999999999999";
        let of = |name: &str, value: &str| told(&[&format!("{name}={value}")]);
        assert_eq!((of("LINELEN", huge).line_bytes, of("LINELEN", "80").line_bytes), (MAX_LINELEN, 512));
        assert_eq!((of("NICKLEN", huge).nick_bytes, of("NICKLEN", "0").nick_bytes), (Some(128), Some(9)));
        assert_eq!((of("MODES", huge).modes, of("MODES", "0").modes), (MAX_ON_A_LINE, 1));
        assert_eq!(of("TARGMAX", &format!("JOIN:{huge}")).targets("JOIN", 1), MAX_ON_A_LINE);
        assert_eq!(of("CHANLIMIT", "#:0").channel_limit("#a"), None, "as ngircd says that there is no limit");
        assert_eq!(of("CHANTYPES", &"#".repeat(500)).channel_types.len(), MAX_CHARACTERS);
        assert_eq!(of("PREFIX", "(ov)@").ranks, Ranks::default());
        let parts: Vec<String> = (0..1000).map(|n| format!("C{n}:1")).collect();
        assert_eq!(of("TARGMAX", &parts.join(",")).targets.of.len(), MAX_PARTS);
    }

    #[test]
    fn what_is_taken_back_is_as_it_was_at_first() {
        let tokens = [
            "CASEMAPPING=ascii",
            "PREFIX=(o)@",
            "CHANTYPES=!",
            "CHANMODES=a,b,c,d",
            "CHANLIMIT=#:5",
            "BOT=B",
            "NICKLEN=30",
            "LINELEN=2048",
            "MODES=12",
            "TARGMAX=JOIN:1",
            "MAXTARGETS=3",
            "STATUSMSG=@",
            "WHOX",
        ];
        let mut isupport = told(&tokens);
        assert!(isupport.whox);
        for token in tokens {
            isupport.take(&format!("-{}", token.split('=').next().unwrap()));
        }
        assert_eq!(isupport, Isupport::default());
    }

    #[test]
    fn escapes_are_taken_for_what_they_mean() {
        for (value, meant) in [
            (r"My\x20Network", "My Network"),
            (r"\x3D\x5C", r"=\"),
            (r"a\xzzb\x2", r"a\xzzb\x2"),
            ("plain", "plain"),
            (r"\xe4x\x20", r"\xe4x "),
        ] {
            assert_eq!(unescaped(value), meant);
        }
        assert_eq!(told(&[r"STATUSMSG=\x40"]).status_marks.as_deref(), Some("@"));
    }

    #[test]
    fn a_target_may_be_for_a_rank_alone() {
        let isupport = told(&["PREFIX=(ohv)@%+", "CHANTYPES=#+"]);
        assert_eq!(isupport.split_target("@#c"), Some(("@", "#c")));
        assert_eq!(isupport.split_target("@%#c"), Some(("@%", "#c")));
        assert_eq!(isupport.split_target("#c"), Some(("", "#c")));
        assert_eq!(isupport.split_target("+c"), Some(("", "+c")), "a channel without modes");
        assert_eq!(isupport.split_target("+#c"), Some(("+", "#c")));
        assert_eq!(isupport.split_target("@alice"), None);
        let told = told(&["PREFIX=(ohv)@%+", "STATUSMSG=@"]);
        assert_eq!((told.split_target("@#c"), told.split_target("%#c")), (Some(("@", "#c")), None));
    }

    #[test]
    fn a_word_of_a_list_of_names_may_have_several_marks_and_an_address() {
        let isupport = Isupport::default();
        assert_eq!(isupport.split_member("@+alice!a@some.host"), ("@+", "alice"));
        assert_eq!(isupport.split_member("bob"), ("", "bob"));
        assert_eq!(told(&["PREFIX="]).split_member("@alice"), ("", "@alice"), "a network without ranks has no marks");
    }

    #[test]
    fn the_mode_of_a_bot_is_a_letter() {
        for (parameter, letter) in [("BOT=B", Some('B')), ("BOT=", None), ("BOT=+", None), ("BOT", None)] {
            assert_eq!(told(&[parameter]).bot, letter, "{parameter}");
        }
    }

    proptest! {
        #[test]
        fn no_parameter_can_make_it_panic(
            name in "-?(CASEMAPPING|PREFIX|CHANTYPES|CHANMODES|CHANLIMIT|MAXCHANNELS|BOT|NICKLEN|LINELEN|MODES|TARGMAX|STATUSMSG)",
            value in "=?[(){}a-z#@+:,0-9ü\\\\x]{0,40}",
            target in "[#@+ü]{0,4}[a-zü]{0,30}",
        ) {
            let isupport = told(&[&format!("{name}{value}")]);
            isupport.split_target(&target);
            isupport.split_member(&target);
            isupport.nick_that_fits(&target);
            prop_assert!(isupport.modes > 0 && isupport.targets("JOIN", 1) > 0);
        }
    }
}
