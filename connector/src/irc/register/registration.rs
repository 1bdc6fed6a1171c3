//! The beginning of a session, step by step: capabilities, login, welcome. Each step has a time limit of its own, and
//! what is to be sent next is all that comes out: nothing here waits or writes. Also which nick to ask for when one is
//! refused, and which JOIN lines to send.
//!
//! Where the login is required, nothing gets past it: without it there is an end, and never a JOIN.

use std::sync::Arc;
use std::time::Duration;

use irc_proto::{Command, Message};
use protocol::{Ambient, check_destination};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::irc::ended::Ended;
use crate::irc::hear::framing::{MAX_LINE_BYTES, numbered};
use crate::irc::register::capabilities::{Capabilities, Negotiation, SASL};
use crate::irc::register::login::Sasl;
use crate::irc::register::sasl::{Exchange, Move, SaslError};
use crate::irc::register::scram::{Last, Salting};
use crate::irc::speak::line::Line;
use crate::irc::{Channel, Network};

/// How long a server that is spoken to in plain may take to say whether it wants TLS, before it is told a password.
const SOUND_WITHIN: Duration = Duration::from_secs(5);
/// How long a server may take to offer its capabilities, once it has begun to, and to grant those we ask for.
pub(crate) const NEGOTIATE_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to answer each line of the login: its services have to be asked.
const LOG_IN_WITHIN: Duration = Duration::from_secs(20);
/// How long it may take to say `001`: from the connection on, if it knows nothing of capabilities, else from their end.
pub(crate) const WELCOME_WITHIN: Duration = Duration::from_secs(60);

/// One session's registration. What is agreed upon then may change later, so it lives as long as the session.
pub(crate) struct Registration {
    network: Arc<Network>,
    ambient: Arc<dyn Ambient>,
    nicks: Nicks,
    negotiation: Negotiation,
    exchange: Option<Exchange>,
    step: Step,
    until: Instant,
    in_plain: bool,
    welcomed: bool,
    logged_in: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// It is spoken to in plain, and there is a password for it: first it may ask for TLS (IRCv3 `sts`).
    Sounding,
    /// We have said who we are, and asked for capabilities; a server may not know of them.
    Begun,
    /// It does.
    Capabilities,
    /// SASL is under way.
    Login,
    /// All is said.
    Welcome,
    /// We are in, and nothing is under way.
    Over,
}

/// What to do next.
pub(crate) enum Todo {
    /// Send these lines, if there are any.
    Send(Vec<Line>),
    /// Do this work first: see [`Registration::lines`].
    Salt(Salting),
}

impl Todo {
    fn nothing() -> Self {
        Todo::Send(Vec::new())
    }

    fn lines(self) -> Vec<Line> {
        match self {
            Todo::Send(lines) => lines,
            Todo::Salt(_) => Vec::new(),
        }
    }
}

impl Registration {
    pub fn new(network: Arc<Network>, ambient: Arc<dyn Ambient>) -> Self {
        Registration {
            nicks: Nicks::new(&network.nick),
            negotiation: Negotiation::new(network.login.sasl != Sasl::Off),
            network,
            ambient,
            exchange: None,
            step: Step::Begun,
            until: Instant::now() + WELCOME_WITHIN,
            in_plain: false,
            welcomed: false,
            logged_in: false,
        }
    }

    /// The connection is not encrypted: whoever is between hears what is said.
    pub fn in_plain(&mut self) {
        self.in_plain = true;
    }

    /// The first lines of a session.
    pub fn opening(&mut self) -> Vec<Line> {
        if self.in_plain && self.network.password.is_some() {
            self.enter(Step::Sounding);
            return vec![Line::capabilities()];
        }
        let (mut lines, capabilities) = (self.introduction(), Line::capabilities());
        lines.insert(usize::from(self.network.password.is_some()), capabilities);
        lines
    }

    /// Who we are. The password goes before the rest (RFC 2812, section 3.1.1).
    fn introduction(&mut self) -> Vec<Line> {
        let nick = self.nicks.next().unwrap_or_default();
        let network = &self.network;
        let password = network.password.as_ref().map(Line::pass);
        let lines = [Line::nick(&nick), Line::user(&network.user, &network.realname)];
        password.into_iter().chain(lines).collect()
    }

    /// The server has not asked for TLS.
    fn introduce(&mut self) -> Todo {
        self.enter(Step::Begun);
        Todo::Send(self.introduction())
    }

    /// The nick to ask for when the last one was refused with these words.
    ///
    /// # Errors
    /// [`Ended::NoNick`] after the twelfth.
    pub fn next_nick(&mut self, refusal: &str) -> Result<String, Ended> {
        self.nicks.next().ok_or_else(|| Ended::NoNick(refusal.to_owned()))
    }

    /// Takes a message of the registration; `None` if it is about something else.
    ///
    /// # Errors
    /// [`Ended::Sasl`].
    pub fn hear(&mut self, message: &Message) -> Result<Option<Todo>, Ended> {
        match &message.command {
            Command::CAP(_, subcommand, third, last) => {
                let parameters: Vec<&str> = [third.as_deref(), last.as_deref()].into_iter().flatten().collect();
                self.capability(subcommand.to_str(), &parameters).map(Some)
            }
            Command::AUTHENTICATE(part) => match &mut self.exchange {
                Some(exchange) => {
                    let next = exchange.hear(part);
                    self.go_on(next).map(Some)
                }
                None => Ok(Some(Todo::nothing())),
            },
            command => match numbered(command) {
                // it knows no capabilities, or nothing before we are registered
                Some((400.., _)) if self.step == Step::Sounding => Ok(Some(self.introduce())),
                // a server that knows no capabilities registers us without them
                Some((421, [_, command, ..])) if command == "CAP" => Ok(Some(Todo::nothing())),
                Some((number @ 900..=908, parameters)) => {
                    self.told(number, parameters.get(1..).unwrap_or_default()).map(Some)
                }
                _ => Ok(None),
            },
        }
    }

    /// The lines that are to be sent in the end; slow work is done before, on a thread for such things.
    ///
    /// # Errors
    /// [`Ended::Sasl`].
    pub async fn lines(&mut self, mut todo: Todo) -> Result<Vec<Line>, Ended> {
        loop {
            match todo {
                Todo::Send(lines) => return Ok(lines),
                Todo::Salt(salting) => {
                    let working = spawn_blocking(|| salting.work());
                    let last = working.await.unwrap_or_else(|panic| std::panic::resume_unwind(Box::new(panic)));
                    todo = self.salted(last)?;
                }
            }
        }
    }

    /// The work is done.
    ///
    /// # Errors
    /// [`Ended::Sasl`].
    fn salted(&mut self, last: Last) -> Result<Todo, Ended> {
        match &mut self.exchange {
            Some(exchange) => {
                let next = exchange.salted(last);
                self.go_on(next)
            }
            None => Ok(Todo::nothing()),
        }
    }

    /// `001` came: whether we may go in.
    ///
    /// # Errors
    /// [`Ended::Sasl`] when the login is required, and was left out.
    pub fn welcomed(&mut self) -> Result<(), Ended> {
        if self.network.login.sasl == Sasl::Required && !self.logged_in {
            return Err(SaslError::NotOffered.into());
        }
        (self.welcomed, self.step, self.exchange) = (true, Step::Over, None);
        Ok(())
    }

    /// When the present step has to be over.
    pub fn until(&self) -> Option<Instant> {
        (self.step != Step::Over).then_some(self.until)
    }

    /// It is not: what to do about it.
    ///
    /// # Errors
    /// [`Ended`], by the step.
    pub fn late(&mut self) -> Result<Todo, Ended> {
        match self.step {
            Step::Sounding => Ok(self.introduce()),
            Step::Begun | Step::Welcome => Err(Ended::NotWelcomed),
            Step::Capabilities => Err(Ended::NotNegotiated),
            Step::Login => {
                let abort = self.exchange.as_mut().map(Exchange::give_up);
                let next = self.not_logged_in(SaslError::TimedOut(LOG_IN_WITHIN.as_secs()))?;
                Ok(Todo::Send(abort.into_iter().chain(next.lines()).collect()))
            }
            Step::Over => Ok(Todo::nothing()),
        }
    }

    /// What was agreed upon so far.
    pub fn agreed(&self) -> Capabilities {
        self.negotiation.agreed()
    }

    /// The names of all capabilities that were granted.
    pub fn granted(&self) -> &[&'static str] {
        self.negotiation.granted()
    }

    /// Whether the network knows us by our account.
    pub fn is_logged_in(&self) -> bool {
        self.logged_in
    }

    fn capability(&mut self, subcommand: &str, parameters: &[&str]) -> Result<Todo, Ended> {
        if self.step == Step::Begun && subcommand == "LS" {
            self.enter(Step::Capabilities);
        }
        let mut lines = self.negotiation.hear(subcommand, parameters);
        if self.step == Step::Sounding && self.negotiation.is_listed() {
            lines.splice(0..0, self.introduction());
            self.enter(Step::Capabilities);
        }
        if self.step == Step::Capabilities && self.negotiation.is_listed() && !self.can_log_in() {
            // what is granted is so before the end is read
            let end = self.log_in()?;
            return Ok(Todo::Send(lines.into_iter().chain(end.lines()).collect()));
        }
        if !lines.is_empty() || !self.negotiation.is_settled() {
            return Ok(Todo::Send(lines));
        }
        let granted = |name| subcommand == "ACK" && parameters.iter().any(|it| it.split(' ').any(|it| it == name));
        match self.step {
            Step::Capabilities => self.log_in(),
            // the services are back
            Step::Over if granted(SASL) && !self.logged_in => self.log_in(),
            _ => Ok(Todo::nothing()),
        }
    }

    /// Whether there is to be a login, and the server offers one.
    fn can_log_in(&self) -> bool {
        self.network.login.sasl != Sasl::Off && self.negotiation.offered(SASL).is_some()
    }

    /// All that is to be agreed upon is: logs in, if that is wanted.
    fn log_in(&mut self) -> Result<Todo, Ended> {
        if self.network.login.sasl == Sasl::Off {
            return Ok(self.end_negotiation());
        }
        if !self.negotiation.has(SASL) {
            return self.not_logged_in(SaslError::NotOffered);
        }
        let nonce: String = (0..3).map(|_| format!("{:016x}", self.ambient.random())).collect();
        let mut exchange = Exchange::new(&self.network.login, nonce);
        let next = exchange.begin(self.negotiation.offered(SASL).unwrap_or_default());
        self.exchange = Some(exchange);
        self.go_on(next)
    }

    /// One of the numbers from 900 to 908, and what follows our nick.
    fn told(&mut self, number: u16, parameters: &[String]) -> Result<Todo, Ended> {
        match (number, &mut self.exchange) {
            (900, _) => {
                let account = parameters.get(1).map_or("", String::as_str);
                tracing::info!(network = self.network.name, account, "logged in");
                self.logged_in = true;
                Ok(Todo::nothing())
            }
            (901, _) => {
                tracing::warn!(network = self.network.name, "logged out: the network knows us by no account now");
                self.logged_in = false;
                Ok(Todo::nothing())
            }
            (number, Some(exchange)) => {
                let next = exchange.told(number, parameters);
                self.go_on(next)
            }
            (_, None) => Ok(Todo::nothing()),
        }
    }

    fn go_on(&mut self, next: Move) -> Result<Todo, Ended> {
        match next {
            Move::Nothing => Ok(Todo::nothing()),
            Move::Send(lines) => {
                self.enter(Step::Login);
                Ok(Todo::Send(lines))
            }
            Move::Salt(salting) => Ok(Todo::Salt(salting)),
            Move::LoggedIn => {
                self.logged_in = true;
                Ok(self.end_negotiation())
            }
            Move::Failed(why) => self.not_logged_in(why),
        }
    }

    fn not_logged_in(&mut self, why: SaslError) -> Result<Todo, Ended> {
        let is_required = self.network.login.sasl == Sasl::Required && !self.welcomed;
        if is_required || why.is_distrust() {
            return Err(why.into());
        }
        tracing::warn!(network = self.network.name, %why, "going on without the account");
        Ok(self.end_negotiation())
    }

    fn end_negotiation(&mut self) -> Todo {
        self.exchange = None;
        if self.welcomed {
            self.step = Step::Over;
            return Todo::nothing();
        }
        self.enter(Step::Welcome);
        Todo::Send(vec![Line::capabilities_end()])
    }

    fn enter(&mut self, step: Step) {
        let within = match step {
            Step::Sounding => SOUND_WITHIN,
            Step::Capabilities => NEGOTIATE_WITHIN,
            Step::Login => LOG_IN_WITHIN,
            Step::Begun | Step::Welcome | Step::Over => WELCOME_WITHIN,
        };
        (self.step, self.until) = (step, Instant::now() + within);
    }
}

/// How many bytes of a nick are kept before a digit: any server takes nicks of 9 bytes (RFC 2812, section 1.2.1).
const STEM_BYTES: usize = 8;

/// Nicks to ask for, in turn: the one wanted, then 11 like it.
pub(crate) struct Nicks {
    wanted: String,
    asked: usize,
}

impl Nicks {
    pub fn new(wanted: &str) -> Self {
        Nicks { wanted: wanted.to_owned(), asked: 0 }
    }
}

impl Iterator for Nicks {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let wanted = &self.wanted;
        let nick = match self.asked {
            0 => wanted.clone(),
            n @ 1..=2 => format!("{wanted}{}", "_".repeat(n)),
            n @ 3..=11 => format!("{}{}", &wanted[..wanted.floor_char_boundary(STEM_BYTES)], n - 2),
            _ => return None,
        };
        self.asked += 1;
        Some(nick)
    }
}

/// The lines that join all channels, as few as they fit on, with at most so many channels each; those with keys come first, since the keys of a JOIN belong
/// to its first channels. A channel or key that would not stay in its place is left out and named in the log.
pub(crate) fn join_lines(network: &str, channels: &[Channel], most: usize) -> Vec<Line> {
    let (mut sound, unsound): (Vec<&Channel>, Vec<&Channel>) = channels.iter().partition(|channel| is_sound(channel));
    for channel in unsound {
        tracing::error!(network, channel = channel.name, "not joined: its name or key can't be sent");
    }
    sound.sort_by_key(|channel| channel.key.is_none());
    let (mut lines, mut names, mut keys, mut on_line) = (Vec::new(), String::new(), String::new(), 0);
    for channel in sound {
        let key = channel.key.as_ref().map_or("", |key| key.expose());
        let length = "JOIN  \r\n".len() + names.len() + keys.len() + channel.name.len() + key.len() + 2;
        if !names.is_empty() && (length > MAX_LINE_BYTES || on_line >= most) {
            lines.push(Line::join(&std::mem::take(&mut names), &std::mem::take(&mut keys)));
            on_line = 0;
        }
        on_line += 1;
        add(&mut names, &channel.name);
        add(&mut keys, key);
    }
    if !names.is_empty() {
        lines.push(Line::join(&names, &keys));
    }
    lines
}

fn is_sound(channel: &Channel) -> bool {
    let key = channel.key.as_ref().map(|key| key.expose());
    check_destination(&channel.name).is_ok() && key.is_none_or(|key| check_destination(key).is_ok())
}

fn add(list: &mut String, item: &str) {
    if !list.is_empty() && !item.is_empty() {
        list.push(',');
    }
    list.push_str(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn lines(channels: &[(&str, Option<&str>)]) -> Vec<String> {
        lines_of(channels, usize::MAX)
    }

    fn lines_of(channels: &[(&str, Option<&str>)], most: usize) -> Vec<String> {
        let channels: Vec<Channel> = channels
            .iter()
            .map(|(name, key)| Channel {
                name: (*name).to_owned(),
                key: key.map(Secret::new),
                answers: crate::irc::Answers::All,
            })
            .collect();
        join_lines("test", &channels, most)
            .iter()
            .map(|line| String::from_utf8(line.bytes().to_vec()).unwrap().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn a_refused_nick_is_followed_by_others_like_it_a_bounded_number_of_times() {
        let nicks: Vec<String> = Nicks::new("pubbot").collect();
        assert_eq!(nicks[..5], ["pubbot", "pubbot_", "pubbot__", "pubbot1", "pubbot2"]);
        assert_eq!(nicks.len(), 12);
        assert_eq!(Nicks::new("pubbot-the-long").nth(3).unwrap(), "pubbot-t1");
    }

    #[test]
    fn channels_are_joined_in_one_line_those_with_keys_first() {
        assert_eq!(lines(&[("#a", None), ("#b", Some("k")), ("#c", Some("l"))]), ["JOIN #b,#c,#a k,l"]);
        assert_eq!(lines(&[]), Vec::<String>::new());
    }

    #[test]
    fn more_channels_than_fit_on_a_line_take_more_lines() {
        let names: Vec<String> = (0..30).map(|n| format!("#{}{n}", "x".repeat(40))).collect();
        let channels: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), Some("key"))).collect();
        let lines = lines(&channels);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() <= MAX_LINE_BYTES - 2));
        assert_eq!(lines.iter().map(|line| line.matches('#').count()).sum::<usize>(), 30);
        assert!(lines.iter().all(|line| line.matches('#').count() == line.matches("key").count()));
    }

    #[test]
    fn a_line_has_no_more_channels_than_the_server_takes() {
        let channels = [("#a", None), ("#b", Some("k")), ("#c", None), ("#d", None), ("#e", None)];
        assert_eq!(lines_of(&channels, 2), ["JOIN #b,#a k", "JOIN #c,#d", "JOIN #e"]);
        assert_eq!(lines_of(&channels[2..], 1), ["JOIN #c", "JOIN #d", "JOIN #e"]);
    }

    #[test]
    fn a_channel_or_key_that_would_leave_its_place_is_left_out() {
        assert_eq!(lines(&[("#a,#b", None), ("#c d", None), ("#e", Some("x y")), ("#f", None)]), ["JOIN #f"]);
    }
}
