//! Logging in on networks without SASL: a word to NickServ after the welcome, and a short wait for its answer, since
//! some channels let only those in who are logged in.

use std::time::Duration;

use irc_proto::{Command, Message, Prefix};
use protocol::ReplyKind;

use crate::Secret;
use crate::irc::hear::framing::{MODE, numbered};
use crate::irc::register::login::{Login, Sasl};
use crate::irc::speak::line::Line;

/// How long the channels wait for NickServ's answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

pub(crate) const NICKSERV: &str = "NickServ";
/// The mode of those who are logged in.
const REGISTERED: char = 'r';
/// What NickServ's answers have in common, whichever services they are (Atheme, Anope, DALnet's).
const ANSWERS: [&str; 8] = [
    "identified",
    "accepted",
    "logged in",
    "invalid",
    "incorrect",
    "not registered",
    "n't registered",
    "not a registered",
];

/// What to say to NickServ, if anything: its own password, or without SASL the account's.
pub(crate) fn identify(login: &Login) -> Option<Line> {
    let password = password(login)?;
    let account = login.account.as_ref().map(|account| format!("{account} ")).unwrap_or_default();
    let text = format!("IDENTIFY {account}{}", password.expose());
    Some(Line::say(ReplyKind::Chat, NICKSERV, &text))
}

/// The password that it may be told, if there is one.
pub(crate) fn password(login: &Login) -> Option<&Secret> {
    let of_the_account = login.password.as_ref().filter(|_| login.sasl == Sasl::Off);
    login.nickserv_password.as_ref().or(of_the_account)
}

/// Whether this is an answer that leaves no doubt that it won't take the password, or that there is no NickServ.
pub(crate) fn is_refusal(message: &Message) -> bool {
    match &message.command {
        Command::NOTICE(_, text) => {
            let text = text.to_ascii_lowercase();
            text.contains("invalid") || text.contains("incorrect")
        }
        command => matches!(numbered(command), Some((401, _))),
    }
}

/// Whether this is NickServ's answer, or what the server says because of it.
pub(crate) fn is_answer(message: &Message, is_me: impl Fn(&str) -> bool) -> bool {
    match &message.command {
        Command::NOTICE(_, text) => {
            let from_nickserv = matches!(&message.prefix, Some(Prefix::Nickname(nick, ..)) if is_nickserv(nick));
            let text = text.to_ascii_lowercase();
            from_nickserv && ANSWERS.iter().any(|answer| text.contains(answer))
        }
        Command::Raw(mode, parameters) if mode == MODE => {
            matches!(parameters.as_slice(), [nick, modes, ..] if is_me(nick) && set(modes).any(|mode| mode == REGISTERED))
        }
        command => match numbered(command) {
            Some((900, _)) => true,
            // nobody of that name is there
            Some((401, [_, nick, ..])) => is_nickserv(nick),
            _ => false,
        },
    }
}

/// The modes that `+ir-w` sets.
fn set(modes: &str) -> impl Iterator<Item = char> {
    let mut sets = true;
    modes.chars().filter(move |mode| {
        sets = if matches!(mode, '+' | '-') { *mode == '+' } else { sets };
        sets && *mode != '+'
    })
}

/// Whether this is NickServ.
pub(crate) fn is_nickserv(nick: &str) -> bool {
    nick.eq_ignore_ascii_case(NICKSERV)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irc::hear::framing::Framing;

    fn heard(line: &str) -> Message {
        let mut framing = Framing::new("test");
        framing.feed(format!("{line}\n").as_bytes());
        framing.next_message().unwrap()
    }

    fn said(login: &Login) -> Option<String> {
        identify(login).map(|line| String::from_utf8_lossy(line.bytes()).trim_end().to_owned())
    }

    #[test]
    fn it_is_told_its_own_password_or_without_sasl_the_accounts() {
        let account = Login { account: Some("bot".into()), password: Some(Secret::new("sesame")), ..Login::default() };
        assert_eq!(said(&account).unwrap(), "PRIVMSG NickServ :IDENTIFY bot sesame");
        let nickserv = Login { nickserv_password: Some(Secret::new("open")), ..Login::default() };
        assert_eq!(said(&nickserv).unwrap(), "PRIVMSG NickServ :IDENTIFY open");
        assert_eq!(said(&Login::default()), None);
        for sasl in [Sasl::Required, Sasl::Preferred] {
            assert_eq!(said(&Login { sasl, ..account.clone() }), None);
        }
        let both = Login { sasl: Sasl::Preferred, nickserv_password: Some(Secret::new("open")), ..account };
        assert_eq!(said(&both).unwrap(), "PRIVMSG NickServ :IDENTIFY bot open");
    }

    #[test]
    fn an_answer_is_one_of_several_things() {
        let is = |line: &str| is_answer(&heard(line), |nick| nick == "pubbot");
        for line in [
            ":NickServ!s@services NOTICE pubbot :You are now identified for \x02bot\x02.",
            ":nickserv!s@services NOTICE pubbot :Password accepted - you are now recognized.",
            ":NickServ!s@services NOTICE pubbot :Password incorrect.",
            ":NickServ!s@services NOTICE pubbot :\x02pubbot_\x02 is not a registered nickname.",
            ":irc.test 900 pubbot pubbot!p@h bot :You are now logged in as bot",
            ":NickServ MODE pubbot :+r",
            ":irc.test MODE pubbot +ir",
            ":irc.test 401 pubbot NickServ :No such nick/channel",
        ] {
            assert!(is(line), "{line}");
        }
        for line in [
            ":NickServ!s@services NOTICE pubbot :This nickname is registered and protected: /msg NickServ IDENTIFY",
            ":NickServ!s@services NOTICE pubbot :This nickname is registered. Please choose a different nickname, or identify",
            ":alice!a@h NOTICE pubbot :You are now identified",
            ":irc.test MODE alice +r",
            ":irc.test MODE pubbot -r+i",
            ":irc.test 401 pubbot alice :No such nick/channel",
        ] {
            assert!(!is(line), "{line}");
        }
    }
}
