//! A server that does what servers do, each thing as late as chance will have it, and the connections to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, ReadBuf, ReadHalf, WriteHalf,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Chance;
use super::truth::Truth;
use super::wire::{Fate, Lane, latency, thinking};
use crate::irc::Server as Place;
use crate::irc::reach::dial::{Dial, DialError, Socket};

const NICK: &str = "pubbot";
const CHANNELS: [&str; 2] = ["#a", "#b"];
/// How often it asks whether its client is there, and how long that may take to answer.
const PING_EVERY: Duration = Duration::from_secs(90);
const PONG_WITHIN: Duration = Duration::from_secs(60);
/// What servers offer.
const OFFERS: [&str; 4] =
    ["", "echo-message", "message-tags batch labeled-response", "message-tags batch labeled-response echo-message"];

/// The server, and whoever is connected to it.
pub struct Server {
    chance: Mutex<Chance>,
    has_sasl: bool,
    /// From then on all goes well.
    calm: Instant,
    truth: Arc<Truth>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: u64,
    /// Who is registered, or about to be, by the connection.
    clients: BTreeMap<u64, Client>,
    /// The bot's end of its last connection.
    bots_end: Weak<()>,
}

#[derive(Clone, Default)]
struct Client {
    nick: String,
    channels: BTreeSet<String>,
}

impl Server {
    pub fn start(chance: Chance, has_sasl: bool, calm: Instant, truth: Arc<Truth>) -> Arc<Self> {
        Arc::new(Server { chance: Mutex::new(chance), has_sasl, calm, truth, state: Mutex::default() })
    }

    /// Its newest client is the bot, under its own nick, in all its channels.
    pub fn has_the_bot(&self) -> bool {
        let state = self.state();
        let newest = state.clients.get(&state.connections);
        newest.is_some_and(|client| client.nick == NICK && client.channels.iter().eq(CHANNELS.iter()))
    }

    pub fn describe(&self) -> String {
        let state = self.state();
        let clients = state.clients.iter().map(|(id, client)| (id, &client.nick, &client.channels));
        format!("connection {}, clients {:?}", state.connections, clients.collect::<Vec<_>>())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn is_calm(&self) -> bool {
        Instant::now() >= self.calm
    }

    /// Gives a nick to a connection, unless another one has it.
    fn names(&self, connection: u64, nick: &str) -> bool {
        let mut state = self.state();
        if state.clients.iter().any(|(id, client)| *id != connection && client.nick == nick) {
            return false;
        }
        state.clients.entry(connection).or_default().nick = nick.to_owned();
        true
    }
}

impl Dial for Arc<Server> {
    async fn dial(&self) -> Result<Socket, DialError> {
        let mut chance = self.chance.lock().unwrap().branch();
        if !self.is_calm() && chance.once_in(4) {
            sleep(chance.up_to(Duration::from_secs(30))).await;
            let why = io::ErrorKind::ConnectionRefused.into();
            return Err(DialError::Refused { server: "irc.test".into(), why });
        }
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (reader, writer) = tokio::io::split(ours);
        let end = Arc::new(());
        let id = {
            let mut state = self.state();
            assert_eq!(state.bots_end.strong_count(), 0, "two connections at once");
            state.bots_end = Arc::downgrade(&end);
            state.connections += 1;
            state.connections
        };
        self.truth.connected();
        let (serving, truth) = (Connection::new(self.clone(), id, chance).serve(theirs), self.truth.clone());
        tokio::spawn(async move {
            if AssertUnwindSafe(serving).catch_unwind().await.is_err() {
                truth.is_violated();
            }
        });
        let (reader, writer) = (Box::new(Reading(reader, end.clone())), Box::new(Writing(writer, end)));
        Ok(Socket {
            reader,
            writer,
            server: Place::plain("irc.test", 6667),
            address: None,
            addresses: Vec::new(),
            certificate: None,
        })
    }
}

/// The bot's ends, which tell by their existence that it has a connection.
struct Reading(ReadHalf<DuplexStream>, #[expect(dead_code, reason = "counted")] Arc<()>);
struct Writing(WriteHalf<DuplexStream>, #[expect(dead_code, reason = "counted")] Arc<()>);

impl AsyncRead for Reading {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, bytes)
    }
}

impl AsyncWrite for Writing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What the server sends: a line, and what it means.
#[derive(Default)]
struct Sent {
    line: String,
    /// The lines that it proves.
    proves: Vec<String>,
    welcomes: bool,
    hangs_up: bool,
}

/// One connection, as the server has it.
struct Connection {
    server: Arc<Server>,
    id: u64,
    chance: Chance,
    fate: Fate,
    /// Lines to the server; `None` is the end of them.
    to_server: Lane<Option<String>>,
    to_bot: Lane<Sent>,
    /// What it thinks about.
    late: Vec<(Instant, Sent)>,
    offer: &'static str,
    /// It knows nothing of capabilities.
    is_old: bool,
    echoes: bool,
    has_user: bool,
    negotiates: bool,
    registered: bool,
    /// The bot has heard that.
    welcomed: bool,
    /// The lines that it took.
    taken: Vec<String>,
    heard_at: Instant,
    pinged: Option<Instant>,
    /// It has hung up, of which the bot may not know yet.
    hung_up: bool,
    is_over: bool,
}

impl Connection {
    fn new(server: Arc<Server>, id: u64, mut chance: Chance) -> Self {
        let fate = if server.is_calm() { Fate::Well } else { Fate::drawn(&mut chance) };
        let offer = chance.one_of(&OFFERS);
        let is_old = !server.has_sasl && chance.once_in(4);
        Connection {
            server,
            id,
            chance,
            fate,
            to_server: Lane::new(true),
            to_bot: Lane::new(false),
            late: Vec::new(),
            offer,
            is_old,
            echoes: false,
            has_user: false,
            negotiates: false,
            registered: false,
            welcomed: false,
            taken: Vec::new(),
            heard_at: Instant::now(),
            pinged: None,
            hung_up: false,
            is_over: false,
        }
    }

    async fn serve(mut self, stream: DuplexStream) {
        let (reader, mut writer) = tokio::io::split(stream);
        let (mut lines, mut open) = (BufReader::new(reader).lines(), true);
        while !self.is_over {
            while !self.is_over
                && let Some(sent) = self.to_bot.arrived()
            {
                self.reaches_the_bot(&sent);
                // it may be gone
                writer.write_all(format!("{}\r\n", sent.line).as_bytes()).await.ok();
                self.is_over |= sent.hangs_up;
            }
            while let Some(line) = self.to_server.arrived() {
                self.hear(line);
            }
            self.act();
            tokio::select! {
                line = lines.next_line(), if open => {
                    let line = line.unwrap_or_default();
                    open = line.is_some();
                    self.written(line);
                }
                () = sleep_until(self.next()) => {}
            }
        }
        self.server.state().clients.remove(&self.id);
    }

    /// The bot writes a line, or closes its end.
    fn written(&mut self, line: Option<String>) {
        self.server.truth.note(self.id, &format!("the bot writes {line:?}"));
        if let Some(line) = &line {
            let for_members =
                ["JOIN ", "PRIVMSG ", "NOTICE "].iter().any(|command| unlabelled(line).1.starts_with(command));
            assert!(!for_members || self.welcomed, "before it was welcome: {line}");
            if let Some((_, text)) = said(line) {
                self.server.truth.written(text);
            }
        }
        let delay = latency(&mut self.chance, self.server.is_calm());
        self.to_server.send(line, delay, self.fate);
    }

    fn reaches_the_bot(&mut self, sent: &Sent) {
        self.server.truth.note(self.id, &format!("the bot gets {:?}", sent.line));
        self.welcomed |= sent.welcomes;
        self.server.truth.proved(&sent.proves);
    }

    /// What the server does by itself.
    fn act(&mut self) {
        let now = Instant::now();
        self.is_over |= matches!(self.fate, Fate::Breaks(at) if at <= now);
        if self.hung_up {
            return;
        }
        match self.fate {
            Fate::Closes(at) if at <= now => self.hang_up("Server shutting down"),
            _ => {}
        }
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= now);
        self.late = late;
        for (_, sent) in due {
            self.send(sent);
        }
        match self.pinged {
            Some(at) if at + PONG_WITHIN <= now => self.hang_up("Ping timeout"),
            None if self.heard_at + PING_EVERY <= now => {
                self.pinged = Some(now);
                self.say("PING :irc.test");
            }
            _ => {}
        }
    }

    fn hang_up(&mut self, why: &str) {
        let line = format!("ERROR :Closing Link: bot.host ({why})");
        self.send(Sent { line, hangs_up: true, ..Sent::default() });
        // it is a ghost no more, whether the bot hears of it or not
        self.server.state().clients.remove(&self.id);
        self.hung_up = true;
    }

    /// When there is something to do next.
    fn next(&self) -> Instant {
        let of_fate = match self.fate {
            Fate::Breaks(at) => Some(at),
            Fate::Closes(at) if !self.hung_up => Some(at),
            _ => None,
        };
        let late = self.late.iter().map(|(at, _)| *at).min().filter(|_| !self.hung_up);
        let ping = self.pinged.map_or(self.heard_at + PING_EVERY, |at| at + PONG_WITHIN);
        let ping = if self.hung_up { Instant::now() + PING_EVERY } else { ping };
        let others = [self.to_server.next(), self.to_bot.next(), late, of_fate];
        others.into_iter().flatten().fold(ping, Instant::min)
    }

    fn send(&mut self, sent: Sent) {
        let delay = latency(&mut self.chance, self.server.is_calm());
        self.to_bot.send(sent, delay, self.fate);
    }

    fn say(&mut self, line: impl Into<String>) {
        self.send(Sent { line: line.into(), ..Sent::default() });
    }

    /// Says it when it has thought about it.
    fn say_late(&mut self, sent: impl IntoIterator<Item = Sent>) {
        let at = Instant::now() + thinking(&mut self.chance, self.server.is_calm());
        self.late.extend(sent.into_iter().map(|sent| (at, sent)));
    }

    fn nick(&self) -> String {
        self.server.state().clients.get(&self.id).map_or_else(|| "*".to_owned(), |client| client.nick.clone())
    }

    fn hear(&mut self, line: Option<String>) {
        self.server.truth.note(self.id, &format!("the server gets {line:?}"));
        let Some(line) = line else {
            self.is_over = true;
            return;
        };
        if self.hung_up {
            return;
        }
        (self.heard_at, self.pinged) = (Instant::now(), None);
        let (label, bare) = unlabelled(&line);
        if let Some((target, text)) = said(&line) {
            return self.take(label, target, text);
        }
        let (command, rest) = bare.split_once(' ').unwrap_or((bare, ""));
        match command {
            "CAP" => self.negotiate(rest),
            "NICK" => self.rename(rest),
            "USER" => {
                self.has_user = true;
                self.register();
            }
            "AUTHENTICATE" => self.log_in(rest),
            "PING" => {
                let line = format!(":irc.test PONG irc.test {rest}");
                self.send(Sent { line, proves: self.taken.clone(), ..Sent::default() });
            }
            "JOIN" => rest.split(' ').next().unwrap_or_default().split(',').for_each(|channel| self.join(channel)),
            "QUIT" => self.hang_up("Quit"),
            "PONG" | "MODE" | "NOTICE" | "WHO" | "WHOIS" => {}
            other => panic!("what does {other} mean? {line}"),
        }
    }

    fn negotiate(&mut self, rest: &str) {
        if self.is_old {
            return;
        }
        let sasl = if self.server.has_sasl { " sasl=PLAIN" } else { "" };
        match rest {
            "LS 302" => {
                self.negotiates = true;
                let line = format!(":irc.test CAP * LS :{}{sasl}", self.offer);
                self.say_late([Sent { line, ..Sent::default() }]);
            }
            "END" => {
                self.negotiates = false;
                self.register();
            }
            request => {
                let list = request.strip_prefix("REQ :").unwrap_or_else(|| panic!("CAP {request}"));
                self.echoes |= list.split(' ').any(|name| name == "echo-message");
                let line = format!(":irc.test CAP * ACK :{list}");
                self.say_late([Sent { line, ..Sent::default() }]);
            }
        }
    }

    fn log_in(&mut self, rest: &str) {
        let lines: &[&str] = match rest {
            "PLAIN" => &["AUTHENTICATE +"],
            "*" => &[":irc.test 906 * :SASL authentication aborted"],
            _ => &[":irc.test 900 * * pub :You are now logged in", ":irc.test 903 * :SASL authentication successful"],
        };
        self.say_late(lines.iter().map(|line| Sent { line: (*line).to_owned(), ..Sent::default() }));
    }

    fn rename(&mut self, nick: &str) {
        let before = self.nick();
        if !self.server.names(self.id, nick) {
            return self.say(format!(":irc.test 433 {before} {nick} :Nickname is already in use"));
        }
        if self.registered {
            return self.say(format!(":{before}!pub@bot.host NICK :{nick}"));
        }
        self.register();
    }

    /// Welcomes whoever has said everything.
    fn register(&mut self) {
        let nick = self.nick();
        if self.registered || self.negotiates || !self.has_user || nick == "*" {
            return;
        }
        self.registered = true;
        let welcome = format!(":irc.test 001 {nick} :Welcome {nick}!pub@bot.host");
        let support = format!(":irc.test 005 {nick} CASEMAPPING=rfc1459 PREFIX=(ov)@+ CHANTYPES=#& :are supported");
        self.say_late([
            Sent { line: welcome, welcomes: true, ..Sent::default() },
            Sent { line: support, ..Sent::default() },
            Sent { line: format!(":irc.test 422 {nick} :There is no message of the day"), ..Sent::default() },
        ]);
    }

    fn join(&mut self, channel: &str) {
        let nick = self.nick();
        if !self.server.is_calm() {
            match self.chance.below(12) {
                0 => return self.say(format!(":irc.test 471 {nick} {channel} :Cannot join channel (+l)")),
                1 => return,
                _ => {}
            }
        }
        if let Some(client) = self.server.state().clients.get_mut(&self.id) {
            client.channels.insert(channel.to_owned());
        }
        self.say(format!(":{nick}!pub@bot.host JOIN {channel}"));
        self.say(format!(":irc.test 353 {nick} = {channel} :{nick} @alice"));
        self.say(format!(":irc.test 366 {nick} {channel} :End of /NAMES list."));
        if !self.server.is_calm() && self.chance.once_in(8) {
            if let Some(client) = self.server.state().clients.get_mut(&self.id) {
                client.channels.remove(channel);
            }
            self.say(format!(":alice!a@h KICK {channel} {nick} :out"));
        }
    }

    /// Takes a line of a reply.
    fn take(&mut self, label: Option<&str>, target: &str, text: &str) {
        if !self.registered {
            return;
        }
        self.server.truth.taken(text);
        self.taken.push(text.to_owned());
        let label = label.map(|label| format!("@label={label} ")).unwrap_or_default();
        let proves = vec![text.to_owned()];
        let line = match (self.echoes, label.is_empty()) {
            (true, _) => format!("{label}:{}!pub@bot.host PRIVMSG {target} :{text}", self.nick()),
            (false, false) => format!("{label}:irc.test ACK"),
            (false, true) => return,
        };
        self.send(Sent { line, proves, ..Sent::default() });
    }
}

/// The label of a line, and the rest.
fn unlabelled(line: &str) -> (Option<&str>, &str) {
    let labelled = line.strip_prefix("@label=").and_then(|rest| rest.split_once(' '));
    labelled.map_or((None, line), |(label, rest)| (Some(label), rest))
}

/// The target and the text of a line that says a reply.
fn said(line: &str) -> Option<(&str, &str)> {
    let (_, line) = unlabelled(line);
    let rest = line.strip_prefix("PRIVMSG ").or_else(|| line.strip_prefix("NOTICE "))?;
    rest.split_once(" :").filter(|(_, text)| !text.starts_with('\x01'))
}
