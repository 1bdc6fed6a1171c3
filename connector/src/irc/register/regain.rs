//! How the bot comes to its own nick when somebody else has it, or its own ghost, without a fight and without spending
//! what it may say: the server is asked to tell when the nick is free (`MONITOR`; where there is none `ISON`, less and
//! less often), and only then `NICK` is sent. Services are asked to free it, if they know us. A `NICK` on the off
//! chance comes every 5 min, since not every server tells all.
//!
//! A state machine without I/O: what is heard goes in, and what is to be sent comes out when it is due.

use std::sync::Arc;
use std::time::Duration;

use irc_proto::{Command, Message};
use tokio::time::Instant;

use crate::irc::Network;
use crate::irc::doubling::Doubling;
use crate::irc::hear::framing::numbered;
use crate::irc::register::losses::Losses;
use crate::irc::register::services::{Answer, Services};
use crate::irc::speak::line::Line;

/// How soon we begin: the channels come first, where they may be joined under another nick.
const FIRST: Duration = Duration::from_millis(500);
/// How often a predecessor is called upon that still has the nick, and how often the first few looks come: whoever takes
/// over has to be quick.
const QUICK_EVERY: Duration = Duration::from_secs(2);
const QUICK_LOOKS: u32 = 5;
/// How long a predecessor that is called upon may take to bring its last lines to an end and leave by itself; then it is
/// stopped, cut off or deaf, and services may put it out.
const LEAVES_WITHIN: Duration = Duration::from_secs(4);
/// How often it is looked after that, where the server has to be asked: at first, and at most.
const LOOKS: Doubling = Doubling::new(4, 60);
/// How often the nick is asked for although nobody has said that it is free.
const ON_CHANCE_EVERY: Duration = Duration::from_secs(300);
/// How long a nick is left alone that the server keeps from everybody: at first, and at most. Some hold one for 15 min
/// after its owner has left (437).
const HELD: Doubling = Doubling::new(5, 300);
/// An answer to NICK that takes longer than this is not coming.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How soon to look after services have said something that may be a success.
const SOON: Duration = Duration::from_secs(1);

/// The nick is in use.
const IN_USE: u16 = 433;
/// The numbers by which a server refuses a change of the nick: no such nick is allowed, collision, banned in a channel,
/// held, too fast, not in this channel, restricted (RFC 2812, section 5.2; solanum, InspIRCd, UnrealIRCd).
const REFUSALS: [u16; 8] = [432, IN_USE, 435, 436, 437, 438, 447, 484];

/// How things stand at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    /// Our nick, as much of it as the server lets us have.
    pub nick: &'a str,
    /// The server has MONITOR.
    pub monitor: bool,
    /// The network knows us by our account.
    pub logged_in: bool,
    /// The lock is certainly ours, so whoever has the nick may not speak for us, and may be put out.
    pub has_lock: bool,
}

/// What a message means for the nick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It is about something else, or also.
    Other,
    /// It answers what was asked here, and nobody else need hear it.
    Ours,
    /// The nick was taken from us, though we have not asked for another.
    Taken,
}

/// One session's ways to its nick.
pub(crate) struct Regain {
    network: Arc<Network>,
    losses: Losses,
    services: Services,
    /// While the nick is not ours.
    search: Option<Search>,
    /// The server was asked to watch the nick.
    monitored: bool,
}

/// How the server is asked about the nick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// By MONITOR, if it has that.
    Monitor,
    /// By ISON.
    Ison,
    /// By NICK: it knows neither.
    Blind,
}

struct Search {
    begun: Instant,
    watch: Watch,
    /// When to look; `None` when the server tells.
    look: Option<Instant>,
    quick: u32,
    looks: Doubling,
    /// When to call upon the predecessor.
    call: Option<Instant>,
    /// When NICK is due, and since when it is under way.
    ask: Instant,
    asked: Option<Instant>,
    /// NICK is of no use before.
    not_before: Instant,
    held: Doubling,
}

impl Regain {
    pub fn new(network: Arc<Network>, losses: Losses) -> Self {
        Regain { network, losses, services: Services::default(), search: None, monitored: false }
    }

    /// How often the nick was taken from us.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// We have the nick: whether NickServ is to be told anew who has it, since it may not have known us by another.
    pub fn has(&mut self) -> bool {
        self.search.take().is_some() && self.services.took_password()
    }

    /// We have it not: whether that is new.
    pub fn lacks(&mut self) -> bool {
        if self.search.is_some() {
            return false;
        }
        let soon = Instant::now() + FIRST;
        let begin = self.losses.until().map_or(soon, |until| until.max(soon));
        self.services.begin(begin);
        self.search = Some(Search::new(begin));
        true
    }

    /// NickServ has answered to our password; whether it was refused.
    pub fn nickserv_answered(&mut self, refused: bool) {
        self.services.told_password(refused);
    }

    /// The network knows us by our account from now on.
    pub fn logged_in(&mut self) {
        if let Some(search) = &self.search {
            self.services.begin(Instant::now().max(search.not_before));
        }
    }

    /// When something is due.
    pub fn next(&self) -> Option<Instant> {
        let Some(search) = &self.search else { return self.monitored.then(Instant::now) };
        [Some(search.ask), search.look, search.call, self.services.next()].into_iter().flatten().min()
    }

    /// Whether the predecessor is to be called upon now.
    pub fn is_call_due(&self) -> bool {
        self.search.as_ref().is_some_and(|search| is_due(search.call))
    }

    /// What is to be sent now; `call` goes to the predecessor.
    pub fn due(&mut self, standing: Standing<'_>, call: Option<Line>) -> Vec<Line> {
        let nick = standing.nick;
        let Some(search) = &mut self.search else {
            let unwatch = std::mem::take(&mut self.monitored).then(|| Line::monitor('-', nick));
            return unwatch.into_iter().collect();
        };
        let now = Instant::now();
        if is_due(search.call) {
            search.call = call.is_some().then(|| now + QUICK_EVERY);
        }
        if call.is_some() {
            self.services.put_off(search.begun + LEAVES_WITHIN);
        }
        let mut lines: Vec<Line> = call.into_iter().collect();
        if is_due(self.services.next()) {
            match standing.has_lock {
                true => lines.extend(self.services.ask(nick, &self.network.login, standing.logged_in)),
                false => self.services.put_off(now + QUICK_EVERY),
            }
        }
        if is_due(search.look) {
            self.monitored |= search.watch == Watch::Monitor && standing.monitor;
            lines.extend(search.look(nick, standing.monitor));
        }
        if search.ask <= now {
            lines.extend(search.ask(nick));
        }
        lines
    }

    /// Takes what the server says; `me` is the nick that we have, `is_it` knows the one that we should have.
    pub fn hear(&mut self, message: &Message, me: &str, is_it: impl Fn(&str) -> bool) -> Meaning {
        let from_it = message.source_nickname().is_some_and(&is_it);
        let Some(search) = &mut self.search else {
            let renamed = matches!(&message.command, Command::NICK(new) if from_it && is_it(me) && !is_it(new));
            if !renamed {
                // RPL_MONONLINE, RPL_MONOFFLINE: the last words about it
                let late = matches!(numbered(&message.command), Some((730 | 731, _)));
                return if late { Meaning::Ours } else { Meaning::Other };
            }
            let pause = self.losses.note();
            tracing::warn!(network = self.network.name, left_alone_for = ?pause, "the nick was taken from us");
            return Meaning::Taken;
        };
        match &message.command {
            Command::QUIT(_) if from_it => search.is_free(),
            Command::NICK(new) if from_it && !is_it(new) => search.is_free(),
            Command::KILL(who, _) if is_it(who) => search.is_free(),
            Command::NOTICE(..) => {
                if self.services.hear(message) == Answer::Perhaps {
                    search.look_soon();
                }
            }
            command => {
                if let Some((number, parameters)) = numbered(command) {
                    self.services.hear(message);
                    return search.answered(&self.network.name, number, parameters, is_it);
                }
            }
        }
        Meaning::Other
    }
}

impl Search {
    fn new(begin: Instant) -> Self {
        Search {
            begun: begin,
            watch: Watch::Monitor,
            look: Some(begin),
            quick: QUICK_LOOKS,
            looks: LOOKS,
            call: Some(begin),
            ask: begin + ON_CHANCE_EVERY,
            asked: None,
            not_before: begin,
            held: HELD,
        }
    }

    fn look(&mut self, nick: &str, monitor: bool) -> Option<Line> {
        if self.watch == Watch::Monitor && monitor {
            self.look = None;
            return Some(Line::monitor('+', nick));
        }
        self.look = Some(Instant::now() + self.pause());
        match self.watch {
            Watch::Blind => self.ask(nick),
            Watch::Monitor | Watch::Ison => Some(Line::ison(nick)),
        }
    }

    fn pause(&mut self) -> Duration {
        match self.quick {
            0 => self.looks.pause(),
            _ => {
                self.quick -= 1;
                QUICK_EVERY
            }
        }
    }

    /// Asks for the nick, unless that is under way.
    fn ask(&mut self, nick: &str) -> Option<Line> {
        let now = Instant::now();
        self.ask = now + ON_CHANCE_EVERY;
        if self.asked.is_some_and(|asked| asked + ANSWER_WITHIN > now) {
            return None;
        }
        self.asked = Some(now);
        Some(Line::nick(nick))
    }

    /// Nobody has the nick, as far as can be seen.
    fn is_free(&mut self) {
        self.ask = self.ask.min(Instant::now().max(self.not_before));
    }

    fn look_soon(&mut self) {
        let soon = Instant::now() + SOON;
        self.look = self.look.map(|look| look.min(soon));
    }

    /// The server can't be asked in this way: looks in another way from now on.
    fn give_up(&mut self, watch: Watch, instead: Watch) {
        if self.watch == watch {
            (self.watch, self.look) = (instead, Some(Instant::now()));
        }
    }

    /// The server answers with a number.
    fn answered(&mut self, network: &str, number: u16, parameters: &[String], is_it: impl Fn(&str) -> bool) -> Meaning {
        let last = parameters.last().map_or("", String::as_str);
        let nicks = || last.split([',', ' ']).map(|who| who.split_once('!').map_or(who, |(nick, _)| nick));
        match number {
            // RPL_ISON, RPL_MONONLINE, RPL_MONOFFLINE
            303 if !nicks().any(&is_it) => self.is_free(),
            303 => self.held.reset(),
            730 if nicks().any(&is_it) => self.held.reset(),
            731 if nicks().any(&is_it) => self.is_free(),
            // ERR_MONLISTFULL, ERR_UNKNOWNCOMMAND
            734 => self.give_up(Watch::Monitor, Watch::Ison),
            421 => match parameters.get(1).map(String::as_str) {
                Some("MONITOR") => self.give_up(Watch::Monitor, Watch::Ison),
                Some("ISON") => self.give_up(self.watch, Watch::Blind),
                _ => return Meaning::Other,
            },
            refusal if REFUSALS.contains(&refusal) && self.asked.is_some() => self.refused(network, number, last),
            _ => return Meaning::Other,
        }
        Meaning::Ours
    }

    /// NICK was refused. A nick that somebody has is watched; one that nobody can have now is asked for again later.
    fn refused(&mut self, network: &str, number: u16, why: &str) {
        let now = Instant::now();
        self.asked = None;
        self.not_before = now + self.held.pause();
        if number != IN_USE {
            self.ask = self.not_before;
        }
        tracing::info!(network, number, why, "the server does not give us our nick yet");
    }
}

fn is_due(moment: Option<Instant>) -> bool {
    moment.is_some_and(|moment| moment <= Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::irc::Login;
    use crate::irc::tests::world::network;
    use proptest::prelude::*;
    use tokio::time::sleep_until;

    /// What may be said while the nick is not ours, in any order.
    const SAID: [&str; 20] = [
        ":irc.test 303 pubbot_ :",
        ":irc.test 303 pubbot_ :pubbot",
        ":irc.test 303",
        ":irc.test 730 pubbot_ :pubbot!u@h",
        ":irc.test 731 pubbot_ :pubbot",
        ":irc.test 731 pubbot_ :other,PUBBOT",
        ":irc.test 734 pubbot_ 100 pubbot :Monitor list is full.",
        ":irc.test 421 pubbot_ MONITOR :Unknown command",
        ":irc.test 421 pubbot_ ISON :Unknown command",
        ":irc.test 433 pubbot_ pubbot :Nickname is already in use.",
        ":irc.test 437 pubbot_ pubbot :Nick/channel is temporarily unavailable",
        ":irc.test 432 pubbot_ pubbot :Services reserved nickname",
        ":irc.test 401 pubbot_ NickServ :No such nick",
        ":pubbot!u@h QUIT :bye",
        ":pubbot!u@h NICK other",
        ":other!u@h NICK pubbot",
        ":NickServ!s@services NOTICE pubbot_ :Unknown command REGAIN.",
        ":NickServ!s@services NOTICE pubbot_ :Access denied.",
        ":NickServ!s@services NOTICE pubbot_ :pubbot has been ghosted.",
        ":irc.test 900 pubbot_ pubbot_!u@h bot :You are now logged in as bot",
    ];
    /// The most lines in any minute, whatever is said.
    const LINES_A_MINUTE: usize = 24;

    /// What is sent while this is said, each after so many ms, and when; and nothing is due for ever.
    async fn sends(said: &[(&str, u64)], standing: Standing<'_>, took_password: bool) -> Vec<(Instant, String)> {
        let login = Login { nickserv_password: Some(Secret::new("sesame")), ..Login::default() };
        let network = Network { login, ..network() };
        let mut regain = Regain::new(Arc::new(network), Losses::default());
        regain.nickserv_answered(!took_password);
        regain.lacks();
        let mut sent = Vec::new();
        for (line, pause) in said {
            let until = Instant::now() + Duration::from_millis(*pause);
            while let Some(at) = regain.next().filter(|at| *at <= until) {
                sleep_until(at).await;
                let lines = regain.due(standing, None);
                let texts = lines.iter().map(|line| String::from_utf8_lossy(line.bytes()).trim_end().to_owned());
                sent.extend(texts.map(|line| (Instant::now(), line)));
                assert!(regain.next().is_none_or(|next| next > Instant::now()), "it is due again at once");
            }
            sleep_until(until).await;
            regain.hear(&line.parse().unwrap(), "pubbot_", |nick| nick.eq_ignore_ascii_case("pubbot"));
        }
        sent
    }

    proptest! {
        #[test]
        fn whatever_is_said_it_neither_floods_nor_tells_nor_puts_anybody_out_without_the_lock(
            said in proptest::collection::vec((proptest::sample::select(&SAID[..]), 0..20_000u64), 0..60),
            (monitor, logged_in, has_lock, took_password) in any::<(bool, bool, bool, bool)>(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let sent = {
                let standing = Standing { nick: "pubbot", monitor, logged_in, has_lock };
                runtime.block_on(sends(&said, standing, took_password))
            };
            for (from, _) in &sent {
                let minute = *from + Duration::from_secs(60);
                let lines = sent.iter().filter(|(at, _)| at >= from && *at < minute).count();
                prop_assert!(lines <= LINES_A_MINUTE, "{lines}: {sent:?}");
            }
            let says = |what: &str| sent.iter().any(|(_, line)| line.contains(what));
            prop_assert!(has_lock || !says("NickServ"));
            prop_assert!((took_password && !logged_in) || !says("sesame"));
            prop_assert!(monitor || !says("MONITOR"));
        }
    }
}
