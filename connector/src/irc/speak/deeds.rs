//! An action becomes lines: one line for each, but for modes more where a server takes few of them at once.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::{Deed, ModeChange};

use crate::irc::hear::framing::MAX_LINE_BYTES;
use crate::irc::hear::isupport::Isupport;
use crate::irc::speak::line::Line;
use crate::irc::speak::multiline::Multiline;

/// What this server lets us do.
#[derive(Clone, Default)]
pub(crate) struct Abilities {
    /// What it says of itself.
    pub isupport: Arc<Isupport>,
    /// It takes tags (IRCv3 `message-tags`).
    pub takes_tags: bool,
    /// How much one message may have, where several lines can be one.
    pub multiline: Option<Multiline>,
    /// The nick that is configured.
    pub nick: String,
    /// Nobody else can be speaking for us, so that the nick need not keep a second bot silent.
    pub is_alone: bool,
}

/// Why something can't be done here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Undoable {
    /// It would do nothing.
    Pointless(&'static str),
    /// It should not have been asked for.
    Wrong(String),
}

impl Abilities {
    /// Whether something can be said there: to those of some rank (`@#channel`) only where the server passes it on to them
    /// (005 ISUPPORT, STATUSMSG).
    ///
    /// # Errors
    /// What the server can't do.
    pub fn check_target(&self, target: &str) -> Result<(), Undoable> {
        let channel = target.trim_start_matches(|c| self.isupport.ranks.has_mark(c));
        let marks = &target[..target.len() - channel.len()];
        let is_channel = |name: &str| name.starts_with(|c| self.isupport.channel_types.contains(c));
        let known = self.isupport.status_marks.as_deref().unwrap_or_default();
        if is_channel(target) || !is_channel(channel) || marks.chars().all(|mark| known.contains(mark)) {
            return Ok(());
        }
        let known = match known {
            "" => "to no ranks of a channel alone (it names no STATUSMSG)".to_owned(),
            known => format!("to these ranks alone: {known} (STATUSMSG)"),
        };
        Err(Undoable::Wrong(format!("nothing can be said to {target:?}: this server passes messages on {known}")))
    }

    /// The lines that do something, one at least.
    ///
    /// # Errors
    /// Why it can't be done.
    pub fn lines(&self, deed: &Deed) -> Result<VecDeque<Line>, Undoable> {
        let line = match deed {
            Deed::Join { channel, key } => Line::join(channel, key.as_deref().unwrap_or_default()),
            Deed::Part { channel, reason } => Line::part(channel, reason.as_deref()),
            Deed::Topic { channel, topic } => Line::topic(channel, topic),
            Deed::Kick { channel, nick, reason } => Line::kick(channel, nick, reason.as_deref()),
            Deed::Invite { channel, nick } => Line::invite(nick, channel),
            Deed::Mode { channel, modes, parameters } => return self.modes(channel, modes, parameters),
            Deed::Nick { nick } => self.nick(nick)?,
            Deed::Tag { .. } if !self.takes_tags => {
                return Err(Undoable::Pointless("this server takes no tags (message-tags)"));
            }
            Deed::Tag { channel, tags } => {
                self.check_target(channel)?;
                Line::tags(channel).tagged(tags.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            }
            Deed::Raw { line } => Line::raw(line),
        };
        Ok(VecDeque::from([line]))
    }

    /// Another nick than the configured one would let a second bot in beside us.
    fn nick(&self, nick: &str) -> Result<Line, Undoable> {
        if self.is_alone || self.isupport.casemapping.same(nick, &self.nick) {
            return Ok(Line::nick(nick));
        }
        Err(Undoable::Wrong(format!(
            "the bot goes by no other nick than {:?}: by that the server keeps a second connector out, so over RabbitMQ it \
             is changed in the configuration alone",
            self.nick
        )))
    }

    /// As many lines as it takes, with as many modes each as the server takes at once (005 ISUPPORT, MODES).
    fn modes(&self, channel: &str, modes: &str, parameters: &[String]) -> Result<VecDeque<Line>, Undoable> {
        let changes = self.isupport.channel_modes.changes(&self.isupport.ranks, modes, parameters);
        let taken = changes.iter().filter(|change| change.parameter.is_some()).count();
        if taken < parameters.len() {
            return Err(Undoable::Wrong(format!(
                "the modes {modes:?} take {taken} parameters on this server (PREFIX, CHANMODES), and there are {}",
                parameters.len()
            )));
        }
        let mut lines = VecDeque::new();
        let mut rest = changes.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.fitting(channel, rest));
            lines.push_back(Line::modes(channel, &signed(now), &parameters_of(now)));
            rest = later;
        }
        match lines.is_empty() {
            true => Err(Undoable::Wrong(format!("{modes:?} changes no mode"))),
            false => Ok(lines),
        }
    }

    /// How many of these changes fit on one line; one at least.
    fn fitting(&self, channel: &str, changes: &[ModeChange]) -> usize {
        let most = self.isupport.modes.max(1);
        let fits = |count: &usize| {
            let (now, parameters) = (&changes[..*count], parameters_of(&changes[..*count]));
            let bytes = "MODE  \r\n".len()
                + channel.len()
                + signed(now).len()
                + parameters.iter().map(|parameter| 1 + parameter.len()).sum::<usize>();
            parameters.len() <= most && bytes <= MAX_LINE_BYTES
        };
        (1..=changes.len()).take_while(fits).last().unwrap_or(1)
    }
}

/// `+ov-b`
fn signed(changes: &[ModeChange]) -> String {
    let (mut text, mut sign) = (String::new(), None);
    for change in changes {
        if sign.replace(change.set) != Some(change.set) {
            text.push(if change.set { '+' } else { '-' });
        }
        text.push(change.mode);
    }
    text
}

fn parameters_of(changes: &[ModeChange]) -> Vec<&str> {
    changes.iter().filter_map(|change| change.parameter.as_deref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::MAX_MODE_PARAMETERS;

    fn server(isupport: &[&str]) -> Abilities {
        let mut known = Isupport::default();
        isupport.iter().for_each(|parameter| known.take(parameter));
        Abilities { isupport: Arc::new(known), nick: "pubbot".into(), ..Abilities::default() }
    }

    fn deed(json: serde_json::Value) -> Deed {
        serde_json::from_value(json).unwrap()
    }

    fn lines(server: &Abilities, json: serde_json::Value) -> Vec<String> {
        let Ok(lines) = server.lines(&deed(json)) else { panic!("it can be done") };
        lines.iter().map(|line| String::from_utf8_lossy(line.bytes()).trim_end().to_owned()).collect()
    }

    fn ops(modes: &str, nicks: usize) -> serde_json::Value {
        let nicks: Vec<String> = (0..nicks).map(|n| format!("n{n}")).collect();
        serde_json::json!({"do": "mode", "channel": "#a", "modes": modes, "parameters": nicks})
    }

    #[test]
    fn a_list_of_modes_is_cut_as_the_server_says() {
        assert_eq!(lines(&server(&[]), ops("+oooov", 5)), ["MODE #a +ooo n0 n1 n2", "MODE #a +ov n3 n4"]);
        assert_eq!(lines(&server(&["MODES=1"]), ops("+o-v", 2)), ["MODE #a +o n0", "MODE #a -v n1"]);
        assert_eq!(lines(&server(&["MODES"]), ops("+oooov", 5)), ["MODE #a +oooov n0 n1 n2 n3 n4"]);
        // those without a parameter don't count
        assert_eq!(lines(&server(&["MODES=1"]), ops("+mno-i", 1)), ["MODE #a +mno-i n0"]);
        assert_eq!(lines(&server(&[]), ops("m", 0)), ["MODE #a +m"]);
    }

    #[test]
    fn parameters_that_no_mode_takes_are_an_error() {
        let why = server(&[]).lines(&deed(ops("+m", 1))).err();
        assert!(matches!(why, Some(Undoable::Wrong(why)) if why.contains("take 0 parameters")));
        assert!(server(&[]).lines(&deed(ops("+-", 0))).is_err());
    }

    #[test]
    fn only_a_bot_that_is_alone_goes_by_another_nick() {
        let nick = |nick: &str| deed(serde_json::json!({"do": "nick", "nick": nick}));
        let (over_rabbitmq, alone) = (server(&[]), Abilities { is_alone: true, ..server(&[]) });
        assert!(over_rabbitmq.lines(&nick("PubBot")).is_ok());
        assert!(matches!(over_rabbitmq.lines(&nick("other")), Err(Undoable::Wrong(why)) if why.contains("\"pubbot\"")));
        assert!(alone.lines(&nick("other")).is_ok());
    }

    #[test]
    fn ranks_are_spoken_to_where_the_server_knows_them() {
        let wrong = |server: &Abilities, target: &str| server.check_target(target).is_err();
        let knowing = server(&["PREFIX=(ohv)@%+", "STATUSMSG=@+", "CHANTYPES=#"]);
        assert!(!wrong(&knowing, "@#a") && !wrong(&knowing, "+#a") && wrong(&knowing, "%#a"));
        assert!(wrong(&server(&[]), "@#a") && !wrong(&server(&[]), "#a") && !wrong(&server(&[]), "alice"));
    }

    #[test]
    fn tags_go_only_where_there_are_any() {
        let tag = deed(serde_json::json!({"do": "tag", "channel": "#a", "tags": {"+typing": "active"}}));
        assert!(matches!(server(&[]).lines(&tag), Err(Undoable::Pointless(_))));
        assert!(Abilities { takes_tags: true, ..server(&[]) }.lines(&tag).is_ok());
    }

    proptest! {
        #[test]
        fn every_line_of_modes_fits_and_together_they_ask_for_all(
            modes in "[+-]?[ovbklmn+-]{1,40}",
            most in 0..8_usize,
            size in 1..200_usize,
        ) {
            let server = server(&[&format!("MODES={most}")]);
            let parameters = vec!["x".repeat(size); MAX_MODE_PARAMETERS];
            let asked = server.isupport.channel_modes.changes(&server.isupport.ranks, &modes, &parameters);
            let taken = asked.iter().filter(|change| change.parameter.is_some()).count();
            prop_assume!(!asked.is_empty());
            let Ok(lines) = server.modes("#a", &modes, &parameters[..taken]) else { panic!("they can be set") };
            let mut done = Vec::new();
            for line in &lines {
                prop_assert!(line.bytes().len() <= MAX_LINE_BYTES);
                let words: Vec<String> = line.words().map(str::to_owned).collect();
                prop_assert!(words.len() - 3 <= most.max(1));
                done.extend(server.isupport.channel_modes.changes(&server.isupport.ranks, &words[2], &words[3..]));
            }
            prop_assert_eq!(done, asked);
        }
    }
}
