//! Logging in by SASL (IRCv3 `sasl` 3.1 and 3.2): one mechanism after another, until one works or none is left. Nothing
//! here waits or writes: each thing that the server says is answered by a [`Move`].
//!
//! A refusal (904) is followed by the next mechanism. A server that fails to prove that it knows the password is not
//! told it in another way: that ends the login for good.

use std::collections::VecDeque;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use thiserror::Error;

use crate::Secret;
use crate::irc::register::login::{Login, Mechanism};
use crate::irc::register::scram::{Fault, First, Last, Salting};
use crate::irc::speak::line::Line;

/// How many bytes of base64 stand on a line; exactly so many are followed by more, or by a `+` (IRCv3 `sasl-3.1`).
const CHUNK_BYTES: usize = 400;
/// The longest challenge in base64 bytes: ours are a few hundred.
const MAX_CHALLENGE_BYTES: usize = 8 * 1024;
/// What says "nothing" on a line of its own, and "give it up".
const EMPTY: &str = "+";
const ABORT: &str = "*";

/// Why the bot is not logged in.
#[derive(Debug, Error)]
pub(crate) enum SaslError {
    /// The server knows no SASL, or its services are away.
    #[error(
        "not logged in: the server offers no SASL. Are its services away? With sasl = \"preferred\" the bot goes on \
         without its account"
    )]
    NotOffered,
    /// It knows other mechanisms.
    #[error("not logged in: the server's SASL mechanisms are {0}, and none of them is configured here")]
    NoMechanism(String),
    /// It refused; which mechanism, and its words.
    #[error("not logged in: the server refused {0}. Are account and account_password right?")]
    Refused(String),
    /// What it said is not what a server says that knows the password.
    #[error(
        "not logged in: the server can't be trusted with {mechanism}: {fault}. Is it the right server, and \
         account_password right?"
    )]
    Distrusted {
        /// The mechanism that was under way.
        mechanism: Mechanism,
        /// What is wrong.
        fault: Fault,
    },
    /// It fell silent.
    #[error("not logged in: the server did not go on with SASL within {0} s. Are its services away?")]
    TimedOut(u64),
}

impl SaslError {
    /// Whether to have nothing more to do with this server.
    pub fn is_distrust(&self) -> bool {
        matches!(self, SaslError::Distrusted { .. })
    }
}

/// What to do next.
pub(crate) enum Move {
    /// Wait.
    Nothing,
    /// Send these lines.
    Send(Vec<Line>),
    /// Do this work, and come back with [`Exchange::salted`].
    Salt(Salting),
    /// It is done.
    LoggedIn,
    /// It can't be done.
    Failed(SaslError),
}

/// One login.
pub(crate) struct Exchange {
    account: String,
    password: Option<Secret>,
    nonce: String,
    /// What is still to be tried.
    left: VecDeque<Mechanism>,
    trying: Option<Mechanism>,
    state: State,
    /// What has come of a challenge that is longer than a line.
    challenge: String,
    /// What the server said of those that were tried.
    refusals: Vec<String>,
}

enum State {
    /// Nothing is under way.
    Idle,
    /// The mechanism is named; the server has to ask.
    Named,
    /// SCRAM: the first message is sent.
    Challenge(First),
    /// SCRAM: the proof is being computed.
    Salting,
    /// SCRAM: the proof is sent.
    Proved(Last),
    /// All is said: the server has the word.
    Answered,
}

impl Exchange {
    /// A login by what is configured. `nonce` is random and printable, without a comma.
    pub fn new(login: &Login, nonce: String) -> Self {
        // in PLAIN, NUL stands between the two
        let sound = |text: &str| !text.is_empty() && !text.contains('\0');
        let has_password = login.account.as_deref().is_some_and(sound)
            && login.password.as_ref().is_some_and(|password| sound(password.expose()));
        let can = |mechanism: &Mechanism| match mechanism {
            Mechanism::External => login.has_client_certificate,
            Mechanism::ScramSha256 | Mechanism::Plain => has_password,
        };
        let left = Mechanism::ALL.into_iter().filter(|it| can(it) && login.mechanisms.contains(it)).collect();
        Exchange {
            account: login.account.clone().unwrap_or_default(),
            password: login.password.clone(),
            nonce,
            left,
            trying: None,
            state: State::Idle,
            challenge: String::new(),
            refusals: Vec::new(),
        }
    }

    /// Begins, with the mechanisms that the server has named (`PLAIN,EXTERNAL`), if it has.
    pub fn begin(&mut self, offered: &str) -> Move {
        self.keep(offered);
        if self.left.is_empty() {
            return Move::Failed(SaslError::NoMechanism(offered.to_owned()));
        }
        self.next()
    }

    /// The server goes on: `AUTHENTICATE` and a part of a challenge.
    pub fn hear(&mut self, part: &str) -> Move {
        if part != EMPTY {
            self.challenge.push_str(part);
        }
        if self.challenge.len() > MAX_CHALLENGE_BYTES {
            return self.distrust(Fault::Malformed);
        }
        if part.len() == CHUNK_BYTES {
            return Move::Nothing;
        }
        match decoded(&std::mem::take(&mut self.challenge)) {
            Some(challenge) => self.answer(&challenge),
            None => self.distrust(Fault::Malformed),
        }
    }

    /// The work is done.
    pub fn salted(&mut self, last: Last) -> Move {
        let lines = chunks(last.message().as_bytes());
        self.state = State::Proved(last);
        Move::Send(lines)
    }

    /// One of the numbers from 902 to 908, and what follows our nick.
    pub fn told(&mut self, number: u16, parameters: &[String]) -> Move {
        let first = parameters.first().map_or("", String::as_str);
        match (number, &self.state) {
            (908, _) => {
                self.keep(first);
                Move::Nothing
            }
            (_, State::Idle) => Move::Nothing,
            // we were logged in already
            (907, _) => self.done(Move::LoggedIn),
            (903, State::Answered) => self.done(Move::LoggedIn),
            (903, _) => self.distrust(Fault::Early),
            (902 | 904..=906, _) => self.refused(number, parameters),
            _ => Move::Nothing,
        }
    }

    /// Gives it up; the line that says so.
    pub fn give_up(&mut self) -> Line {
        (self.state, self.trying) = (State::Idle, None);
        Line::authenticate(ABORT)
    }

    fn answer(&mut self, challenge: &str) -> Move {
        match (std::mem::replace(&mut self.state, State::Answered), self.trying) {
            (State::Named, Some(mechanism)) if challenge.is_empty() => self.introduce(mechanism),
            (State::Challenge(first), _) => match first.challenged(challenge) {
                Ok(salting) => {
                    self.state = State::Salting;
                    Move::Salt(salting)
                }
                Err(fault) => self.distrust(fault),
            },
            (State::Proved(last), _) => match last.verify(challenge) {
                Ok(()) => Move::Send(chunks(b"")),
                Err(fault) => self.distrust(fault),
            },
            // what nobody asked for changes nothing
            (state, _) => {
                self.state = state;
                Move::Nothing
            }
        }
    }

    /// The server has asked for the mechanism's first message.
    fn introduce(&mut self, mechanism: Mechanism) -> Move {
        let password = self.password.clone().unwrap_or_else(|| Secret::new(""));
        Move::Send(match mechanism {
            Mechanism::External => chunks(b""),
            Mechanism::Plain => chunks(format!("{0}\0{0}\0{1}", self.account, password.expose()).as_bytes()),
            Mechanism::ScramSha256 => {
                let first = First::new(&self.account, password, &self.nonce);
                let lines = chunks(first.message().as_bytes());
                self.state = State::Challenge(first);
                lines
            }
        })
    }

    fn refused(&mut self, number: u16, parameters: &[String]) -> Move {
        let (mechanism, why) = (self.trying.map_or("SASL", Mechanism::name), parameters.join(" "));
        self.refusals.push(format!("{mechanism} ({number} {why})"));
        self.next()
    }

    /// Names the next mechanism.
    fn next(&mut self) -> Move {
        self.challenge.clear();
        self.trying = self.left.pop_front();
        match self.trying {
            Some(mechanism) => {
                self.state = State::Named;
                Move::Send(vec![Line::authenticate(mechanism.name())])
            }
            None => self.done(Move::Failed(SaslError::Refused(self.refusals.join(", ")))),
        }
    }

    fn distrust(&mut self, fault: Fault) -> Move {
        let mechanism = self.trying.unwrap_or(Mechanism::Plain);
        self.done(Move::Failed(SaslError::Distrusted { mechanism, fault }))
    }

    fn done(&mut self, end: Move) -> Move {
        (self.state, self.trying) = (State::Idle, None);
        end
    }

    /// Tries none but these; an empty list names none, and leaves all.
    fn keep(&mut self, offered: &str) {
        if !offered.is_empty() {
            self.left.retain(|it| offered.split(',').any(|name| name.eq_ignore_ascii_case(it.name())));
        }
    }
}

/// A challenge as text; `None` if it is none.
fn decoded(challenge: &str) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(challenge).ok()?).ok()
}

/// The lines of a message.
fn chunks(message: &[u8]) -> Vec<Line> {
    let encoded = BASE64_STANDARD.encode(message);
    let (whole, rest) = encoded.split_at(encoded.len() / CHUNK_BYTES * CHUNK_BYTES);
    // base64 is ASCII: every byte is a character's end
    let whole = whole.as_bytes().chunks(CHUNK_BYTES).filter_map(|chunk| std::str::from_utf8(chunk).ok());
    let rest = if rest.is_empty() { EMPTY } else { rest };
    whole.chain([rest]).map(Line::authenticate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mechanism::{External, Plain, ScramSha256};

    // RFC 7677, section 3
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn login() -> Login {
        let (account, password) = (Some("user".to_owned()), Some(Secret::new("pencil")));
        Login { account, password, has_client_certificate: true, ..Login::default() }
    }

    fn exchange(login: &Login) -> Exchange {
        Exchange::new(login, NONCE.to_owned())
    }

    fn only(mechanism: Mechanism) -> Exchange {
        exchange(&Login { mechanisms: vec![mechanism], ..login() })
    }

    /// What is sent, decoded where it is no mechanism's name.
    fn sent(next: Move) -> Vec<String> {
        match next {
            Move::Send(lines) => lines.iter().map(|line| text(line).to_owned()).collect(),
            Move::Nothing => vec!["nothing".into()],
            Move::Salt(_) => vec!["work".into()],
            Move::LoggedIn => vec!["logged in".into()],
            Move::Failed(why) => vec![why.to_string()],
        }
    }

    fn text(line: &Line) -> &str {
        let text = std::str::from_utf8(line.bytes()).unwrap();
        text.strip_prefix("AUTHENTICATE ").and_then(|text| text.strip_suffix("\r\n")).unwrap()
    }

    fn told(exchange: &mut Exchange, number: u16, text: &str) -> Vec<String> {
        sent(exchange.told(number, &[text.to_owned()]))
    }

    fn encoded(text: &str) -> String {
        BASE64_STANDARD.encode(text)
    }

    #[test]
    fn plain_sends_the_password_once_it_is_asked_for_and_not_before() {
        let mut exchange = only(Plain);
        assert_eq!(sent(exchange.begin("")), ["PLAIN"]);
        assert_eq!(sent(exchange.hear("eA==")), ["nothing"]);
        assert_eq!(sent(exchange.hear("+")), [encoded("user\0user\0pencil")]);
        assert_eq!(sent(exchange.hear("+")), ["nothing"]);
        assert_eq!(told(&mut exchange, 903, "done"), ["logged in"]);
        assert_eq!(told(&mut exchange, 904, "too late"), ["nothing"]);
    }

    #[test]
    fn external_says_nothing_but_its_name() {
        let mut exchange = only(External);
        assert_eq!(sent(exchange.begin("EXTERNAL")), ["EXTERNAL"]);
        assert_eq!(sent(exchange.hear("+")), ["+"]);
        assert_eq!(told(&mut exchange, 903, "done"), ["logged in"]);
    }

    /// SCRAM up to the proof.
    fn proved() -> Exchange {
        let mut exchange = only(ScramSha256);
        assert_eq!(sent(exchange.begin("PLAIN,SCRAM-SHA-256")), ["SCRAM-SHA-256"]);
        assert_eq!(sent(exchange.hear("+")), [encoded("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")]);
        let Move::Salt(salting) = exchange.hear(&encoded(CHALLENGE)) else { panic!("no work") };
        let proof = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(sent(exchange.salted(salting.work())), [encoded(proof)]);
        exchange
    }

    #[test]
    fn scram_is_the_conversation_of_rfc_7677() {
        let mut exchange = proved();
        assert_eq!(sent(exchange.hear(&encoded(SIGNATURE))), ["+"]);
        assert_eq!(told(&mut exchange, 903, "done"), ["logged in"]);
    }

    #[test]
    fn a_server_that_proves_nothing_is_not_told_the_password_in_another_way() {
        let mut exchange = Exchange { left: [ScramSha256, Plain].into(), ..proved() };
        let wrong = sent(exchange.hear(&encoded("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8=")));
        assert!(wrong[0].contains("it does not know the password"), "{wrong:?}");
        assert_eq!(told(&mut exchange, 904, "failed"), ["nothing"]);

        let mut exchange = proved();
        let unproved = told(&mut exchange, 903, "you are in, believe me");
        assert!(unproved[0].contains("before anything was proved"), "{unproved:?}");
        let mut exchange = only(Plain);
        exchange.begin("");
        assert!(told(&mut exchange, 903, "no password needed")[0].contains("before anything was proved"));

        let mut exchange = exchange_with_all();
        exchange.left = [ScramSha256, Plain].into();
        exchange.begin("");
        exchange.hear("+");
        let foreign = sent(exchange.hear(&encoded(&CHALLENGE.replace("r=rOpr", "r=xOpr"))));
        assert!(foreign[0].contains("its nonce"), "{foreign:?}");
        assert_eq!(sent(exchange.hear("+")), ["nothing"]);
    }

    fn exchange_with_all() -> Exchange {
        exchange(&login())
    }

    #[test]
    fn a_refusal_is_followed_by_the_next_mechanism_and_the_last_one_is_told() {
        let mut exchange = exchange_with_all();
        assert_eq!(sent(exchange.begin("")), ["EXTERNAL"]);
        assert_eq!(told(&mut exchange, 904, "SASL authentication failed"), ["SCRAM-SHA-256"]);
        assert_eq!(told(&mut exchange, 908, "PLAIN,EXTERNAL"), ["nothing"]);
        assert_eq!(told(&mut exchange, 904, "unknown mechanism"), ["PLAIN"]);
        exchange.hear("+");
        let refused = told(&mut exchange, 904, "SASL authentication failed");
        assert!(refused[0].contains("PLAIN (904 SASL authentication failed)"), "{refused:?}");
        assert!(refused[0].contains("EXTERNAL (904") && refused[0].contains("account_password"), "{refused:?}");
        assert!(!refused[0].contains("pencil"), "{refused:?}");
    }

    #[test]
    fn only_what_is_offered_is_tried() {
        assert_eq!(sent(exchange_with_all().begin("PLAIN,ECDSA-NIST256P-CHALLENGE")), ["PLAIN"]);
        let none = sent(exchange_with_all().begin("ECDSA-NIST256P-CHALLENGE"));
        assert!(none[0].contains("ECDSA-NIST256P-CHALLENGE"), "{none:?}");
        let mut exchange = exchange_with_all();
        exchange.begin("");
        assert_eq!(told(&mut exchange, 908, "PLAIN"), ["nothing"]);
        assert_eq!(told(&mut exchange, 904, "failed"), ["PLAIN"]);
        let bare = Login { mechanisms: Mechanism::ALL.to_vec(), ..Login::default() };
        assert!(sent(self::exchange(&bare).begin("PLAIN"))[0].contains("none of them is configured"));
    }

    #[test]
    fn who_is_logged_in_already_is_logged_in() {
        let mut exchange = only(ScramSha256);
        exchange.begin("");
        assert_eq!(told(&mut exchange, 907, "You have already authenticated"), ["logged in"]);
    }

    #[test]
    fn a_long_message_goes_in_parts_of_400_bytes_and_a_whole_last_part_is_followed_by_a_plus() {
        let lengths =
            |bytes: usize| -> Vec<usize> { chunks(&vec![b'x'; bytes]).iter().map(|line| text(line).len()).collect() };
        assert_eq!(lengths(0), [1]);
        assert_eq!(lengths(299), [400, 1]);
        assert_eq!(lengths(300), [400, 1]);
        assert_eq!(lengths(301), [400, 4]);
        assert_eq!(lengths(600), [400, 400, 1]);
        assert_eq!(text(&chunks(&[b'x'; 300])[1]), "+");
    }

    #[test]
    fn a_challenge_may_come_in_parts_and_has_an_end() {
        let long = format!("{}{CHALLENGE}", "x".repeat(300 - CHALLENGE.len()));
        let whole = encoded(&long);
        assert_eq!(whole.len(), CHUNK_BYTES);
        let mut exchange = only(ScramSha256);
        exchange.begin("");
        exchange.hear("+");
        assert_eq!(sent(exchange.hear(&whole)), ["nothing"]);
        assert!(sent(exchange.hear("+"))[0].contains("no SCRAM message"));

        let mut exchange = only(ScramSha256);
        exchange.begin("");
        let endless = (0..100).map(|_| sent(exchange.hear(&"x".repeat(CHUNK_BYTES)))).find(|it| it != &["nothing"]);
        assert!(endless.unwrap()[0].contains("no SCRAM message"));
    }

    #[test]
    fn what_is_given_up_is_over() {
        let mut exchange = only(Plain);
        exchange.begin("");
        assert_eq!(text(&exchange.give_up()), "*");
        assert_eq!(sent(exchange.hear("+")), ["nothing"]);
        assert_eq!(told(&mut exchange, 906, "aborted"), ["nothing"]);
    }

    #[test]
    fn an_account_that_would_leave_its_place_is_not_sent() {
        let broken = Login { account: Some("a\0b".into()), has_client_certificate: false, ..login() };
        assert!(sent(exchange(&broken).begin("PLAIN"))[0].contains("none of them is configured"));
    }
}
