//! What services are asked to do for our nick: NickServ takes it from whoever has it and is not us. Which command it
//! knows is found out by trying: `REGAIN` (Atheme), `RECOVER` (Anope), `GHOST` (older ones, and most others).
//!
//! Whoever is logged in tells no password. The password goes along only where NickServ was told it in this session
//! already, and took it.

use std::time::Duration;

use irc_proto::{Command, Message, Prefix};
use protocol::ReplyKind;
use tokio::time::Instant;

use crate::irc::doubling::Doubling;
use crate::irc::hear::framing::numbered;
use crate::irc::register::login::Login;
use crate::irc::register::nickserv::{NICKSERV, is_nickserv, password};
use crate::irc::speak::line::Line;

/// The commands, in the order in which they are tried.
const COMMANDS: [&str; 3] = ["REGAIN", "RECOVER", "GHOST"];
/// How long NickServ may take to answer one: what it says later is about something else.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait until it is asked again: at first, and at most.
const PAUSES: Doubling = Doubling::new(60, 600);
/// How long to wait when it has refused.
const REFUSED: Duration = Duration::from_secs(600);

/// What NickServ says of a command that it doesn't know; `command` is among it, too (Atheme, Anope, DALnet's).
const UNKNOWN: [&str; 5] = ["unknown", "invalid", "unrecognized", "no such", "not a valid"];
/// What it says when it won't.
const REFUSALS: [&str; 13] = [
    "denied",
    "incorrect",
    "invalid",
    "not registered",
    "n't registered",
    "not a registered",
    "authorized",
    "authorised",
    "permission",
    "cannot",
    "can't",
    "may not",
    "suspended",
];

/// What NickServ's words mean for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing, or nothing that is known.
    None,
    /// It does not know this command, or won't do it.
    No,
    /// It says something else: it may have done it.
    Perhaps,
}

/// One session's dealings with NickServ about the nick.
pub(crate) struct Services {
    /// When it is asked next; `None` while there is no need, or it is of no use.
    next: Option<Instant>,
    /// The place of the command to try; behind the last one there is none that it knows.
    command: usize,
    asked: Option<Instant>,
    pauses: Doubling,
    /// It was told our password, and did not refuse it.
    took_password: bool,
}

impl Default for Services {
    fn default() -> Self {
        Services { next: None, command: 0, asked: None, pauses: PAUSES, took_password: false }
    }
}

impl Services {
    /// The nick is not ours: it is to be asked at this time, or later if it has refused before.
    pub fn begin(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.max(at)));
    }

    /// Not before this time.
    pub fn put_off(&mut self, until: Instant) {
        self.next = self.next.map(|next| next.max(until));
    }

    /// When it is to be asked.
    pub fn next(&self) -> Option<Instant> {
        self.next.filter(|_| self.command < COMMANDS.len())
    }

    /// NickServ has answered to our password; whether it was refused.
    pub fn told_password(&mut self, refused: bool) {
        self.took_password = !refused;
    }

    /// Whether it was told our password, and did not refuse it.
    pub fn took_password(&self) -> bool {
        self.took_password
    }

    /// What to say to it now; `logged_in`: it knows us by our account. Without that and without a password nothing.
    pub fn ask(&mut self, nick: &str, login: &Login, logged_in: bool) -> Option<Line> {
        let now = Instant::now();
        self.next = None;
        let secret = match logged_in {
            true => String::new(),
            false => format!(" {}", password(login).filter(|_| self.took_password)?.expose()),
        };
        let command = COMMANDS.get(self.command)?;
        self.asked = Some(now);
        self.next = Some(now + self.pauses.pause());
        Some(Line::say(ReplyKind::Chat, NICKSERV, &format!("{command} {nick}{secret}")))
    }

    /// Takes what NickServ says.
    pub fn hear(&mut self, message: &Message) -> Answer {
        if self.asked.is_none_or(|asked| asked.elapsed() > ANSWER_WITHIN) {
            return Answer::None;
        }
        match answer(message) {
            Some(Said::Unknown) => {
                self.command += 1;
                self.asked = None;
                self.next = Some(Instant::now());
                Answer::No
            }
            Some(Said::Refused) => {
                self.asked = None;
                self.took_password = false;
                self.next = Some(Instant::now() + REFUSED);
                Answer::No
            }
            Some(Said::Absent) => {
                (self.asked, self.next) = (None, None);
                Answer::No
            }
            Some(Said::Else) => Answer::Perhaps,
            None => Answer::None,
        }
    }
}

/// What NickServ, or the server about it, has said.
enum Said {
    Unknown,
    Refused,
    Absent,
    Else,
}

fn answer(message: &Message) -> Option<Said> {
    if let Some((401, [_, nick, ..])) = numbered(&message.command) {
        return is_nickserv(nick).then_some(Said::Absent);
    }
    let Command::NOTICE(_, text) = &message.command else { return None };
    let Some(Prefix::Nickname(nick, ..)) = &message.prefix else { return None };
    if !is_nickserv(nick) {
        return None;
    }
    let text = text.to_lowercase();
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    Some(match () {
        () if text.contains("command") && has(&UNKNOWN) => Said::Unknown,
        () if has(&REFUSALS) => Said::Refused,
        () => Said::Else,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use tokio::time::advance;

    fn login() -> Login {
        Login { nickserv_password: Some(Secret::new("sesame")), ..Login::default() }
    }

    fn text(line: Option<Line>) -> Option<String> {
        line.map(|line| String::from_utf8_lossy(line.bytes()).trim_end().to_owned())
    }

    fn says(services: &mut Services, text: &str) -> Answer {
        services.hear(&format!(":NickServ!s@services NOTICE pubbot_ :{text}").parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_commands_are_tried_one_after_the_other_until_one_is_known() {
        let mut services = Services::default();
        services.begin(Instant::now());
        for (command, unknown) in [
            ("REGAIN", "Unknown command \u{2}REGAIN\u{2}. \"/msg NickServ HELP\" for help."),
            ("RECOVER", "Invalid command. Use \u{2}/msg NickServ help\u{2} for a command listing."),
            ("GHOST", "Unknown command [GHOST]"),
        ] {
            assert_eq!(services.next(), Some(Instant::now()));
            let said = text(services.ask("pubbot", &login(), true)).unwrap();
            assert_eq!(said, format!("PRIVMSG NickServ :{command} pubbot"));
            assert_eq!(says(&mut services, unknown), Answer::No);
        }
        assert_eq!(services.next(), None, "there is no other");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_followed_by_ten_minutes_and_what_may_be_a_success_by_a_minute_and_more() {
        for refusal in [
            "Access denied.",
            "\u{2}pubbot\u{2} is not a registered nickname.",
            "You are not authorized to perform this operation.",
            "Password incorrect.",
        ] {
            let mut services = Services::default();
            services.ask("pubbot", &login(), true);
            assert_eq!(says(&mut services, refusal), Answer::No, "{refusal}");
            assert_eq!(services.next(), Some(Instant::now() + REFUSED), "{refusal}");
        }
        let mut services = Services::default();
        for pause in [60, 120, 240, 480, 600, 600] {
            services.ask("pubbot", &login(), true);
            assert_eq!(says(&mut services, "\u{2}pubbot\u{2} has been ghosted."), Answer::Perhaps);
            assert_eq!(services.next(), Some(Instant::now() + Duration::from_secs(pause)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_password_is_told_only_to_a_nickserv_that_took_it_before() {
        let mut services = Services::default();
        services.begin(Instant::now());
        assert!(services.ask("pubbot", &login(), false).is_none());
        assert_eq!(services.next(), None);
        services.told_password(true);
        assert!(services.ask("pubbot", &login(), false).is_none(), "it was refused");
        services.told_password(false);
        assert_eq!(text(services.ask("pubbot", &login(), false)).unwrap(), "PRIVMSG NickServ :REGAIN pubbot sesame");
        assert_eq!(says(&mut services, "Invalid password for \u{2}pubbot\u{2}."), Answer::No);
        assert!(services.ask("pubbot", &login(), false).is_none(), "once is enough");
        assert!(services.ask("pubbot", &Login::default(), false).is_none(), "there is none");
    }

    #[tokio::test(start_paused = true)]
    async fn others_are_not_believed_nor_what_comes_late_and_who_is_not_there_is_not_asked_again() {
        let mut services = Services::default();
        services.ask("pubbot", &login(), true);
        let heard = |services: &mut Services, line: &str| services.hear(&line.parse().unwrap());
        assert_eq!(heard(&mut services, ":alice!a@h NOTICE pubbot_ :Unknown command"), Answer::None);
        assert_eq!(heard(&mut services, ":NickServ!s@services PRIVMSG pubbot_ :Unknown command"), Answer::None);
        assert_eq!(heard(&mut services, ":irc.test 401 pubbot_ alice :No such nick"), Answer::None);
        advance(ANSWER_WITHIN + Duration::from_secs(1)).await;
        assert_eq!(says(&mut services, "Access denied."), Answer::None);
        services.ask("pubbot", &login(), true);
        assert_eq!(heard(&mut services, ":irc.test 401 pubbot_ NickServ :No such nick"), Answer::No);
        assert_eq!(services.next(), None);
    }
}
