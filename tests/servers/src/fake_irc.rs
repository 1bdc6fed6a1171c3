//! An IRC server for what real ones won't do, and for counting: no limits, any bytes, any misbehaviour.
//!
//! A thread accepts; each connection has one thread that reads (a read's lines are handled together) and one that writes (all that has
//! come together since its last write, in one write). Whoever sends only appends to a buffer. That buffer and the list of received lines
//! have no maximum: a test must take what it provokes.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// Sees each line (without its end) before the server answers it: `None` for the usual answer, else the bytes to send instead, none included.
/// It runs on the connection's reading thread.
pub type Script = Box<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// How a fake server differs from the usual one.
#[derive(Default)]
pub struct FakeOptions {
    /// IRCv3 capabilities to offer. `echo-message` and `labeled-response` are acted upon, the others only acknowledged.
    pub capabilities: Vec<String>,
    /// Parameters of 005 besides the usual ones, separated by spaces.
    pub isupport: String,
    /// Answers of the test's own.
    pub script: Option<Script>,
}

/// A line that the bot sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// Which connection sent it; the first is 1.
    pub connection: usize,
    /// The bytes up to and including LF.
    pub bytes: Vec<u8>,
}

impl Line {
    /// Without its end; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(without_end(&self.bytes)).into_owned()
    }

    /// Target and text of a PRIVMSG or a NOTICE.
    pub fn said(&self) -> Option<(String, String)> {
        let text = self.text();
        let message = Message::parse(&text);
        let said = matches!(message.command.as_str(), "PRIVMSG" | "NOTICE");
        said.then(|| (message.parameter(0).to_owned(), message.parameter(1).to_owned()))
    }
}

/// A running fake IRC server; it ends when dropped.
pub struct FakeIrc {
    port: u16,
    shared: Arc<Shared>,
    lines: Mutex<Receiver<Line>>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    options: FakeOptions,
    state: Mutex<State>,
    changed: Condvar,
    silent: AtomicBool,
    refusing: AtomicBool,
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Those that are open.
    connections: Vec<Arc<Connection>>,
    /// How many there ever were.
    count: usize,
    refused_nicks: HashSet<String>,
}

struct Connection {
    number: usize,
    socket: TcpStream,
    who: Mutex<Who>,
    outgoing: Mutex<Outgoing>,
    wake: Condvar,
}

#[derive(Default)]
struct Who {
    nick: String,
    registered: bool,
    /// In lower case.
    channels: HashSet<String>,
}

#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    closed: bool,
}

impl FakeIrc {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::start_with(FakeOptions::default())
    }

    /// Starts one as the options say.
    pub fn start_with(options: FakeOptions) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared {
            options,
            state: Mutex::default(),
            changed: Condvar::new(),
            silent: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let (sender, lines) = mpsc::channel();
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared, &sender)
        });
        Self { port, shared, lines: Mutex::new(lines), acceptor: Some(acceptor) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends these bytes as they are to every registered connection.
    pub fn send(&self, bytes: &[u8]) {
        self.send_where(bytes, |who| who.registered);
    }

    /// Says a line to those who are in the channel, or have this nick.
    pub fn say(&self, nick: &str, target: &str, text: &str) {
        let line = format!(":{nick}!{nick}@fake.host PRIVMSG {target} :{text}\r\n");
        let folded = target.to_ascii_lowercase();
        self.send_where(line.as_bytes(), |who| who.channels.contains(&folded) || who.nick.eq_ignore_ascii_case(target));
    }

    fn send_where(&self, bytes: &[u8], wanted: impl Fn(&Who) -> bool) {
        for connection in &self.shared.state().connections {
            if wanted(&lock(&connection.who)) {
                connection.push(bytes);
            }
        }
    }

    /// The next line of the bot, whatever it is. Panics after 30 s.
    pub fn next_line(&self) -> Line {
        self.try_next_line(PATIENCE).expect("the bot sent no line within 30 s")
    }

    /// The next line of the bot, or `None` after the limit.
    pub fn try_next_line(&self, limit: Duration) -> Option<Line> {
        lock(&self.lines).recv_timeout(limit).ok()
    }

    /// The next PRIVMSG or NOTICE of the bot; lines before it are passed over. Panics after 30 s.
    pub fn next_said(&self) -> Line {
        self.try_next_said(PATIENCE).expect("the bot said nothing within 30 s")
    }

    /// The next PRIVMSG or NOTICE of the bot, or `None` after the limit.
    pub fn try_next_said(&self, limit: Duration) -> Option<Line> {
        let until = Instant::now() + limit;
        loop {
            let line = self.try_next_line(until.saturating_duration_since(Instant::now()))?;
            if line.said().is_some() {
                return Some(line);
            }
        }
    }

    /// Waits until an open connection is in the channel; its nick. Panics after 30 s.
    pub fn wait_for_join(&self, channel: &str) -> String {
        let folded = channel.to_ascii_lowercase();
        let what = format!("joined {channel}");
        self.wait(&what, |state| {
            state
                .connections
                .iter()
                .map(|connection| lock(&connection.who))
                .find(|who| who.channels.contains(&folded))
                .map(|who| who.nick.clone())
        })
    }

    /// Waits until so many connections were accepted since the start. Panics after 30 s.
    pub fn wait_for_connections(&self, count: usize) {
        self.wait(&format!("made connection {count}"), |state| (state.count >= count).then_some(()));
    }

    /// Waits until no connection is open. Panics after 30 s.
    pub fn wait_for_leave(&self) {
        self.wait("left", |state| state.connections.is_empty().then_some(()));
    }

    /// How many connections were accepted since the start.
    pub fn connections(&self) -> usize {
        self.shared.state().count
    }

    /// How many connections are open and registered.
    pub fn registered(&self) -> usize {
        self.shared.state().connections.iter().filter(|connection| lock(&connection.who).registered).count()
    }

    /// Closes every connection; unsent bytes are lost.
    pub fn disconnect(&self) {
        let connections = std::mem::take(&mut self.shared.state().connections);
        for connection in connections {
            connection.close();
        }
    }

    /// Whether PINGs are answered; they are at first.
    pub fn answer_pings(&self, answer: bool) {
        self.shared.silent.store(!answer, Ordering::Relaxed);
    }

    /// Closes new connections at once, while set.
    pub fn refuse_connections(&self, refuse: bool) {
        self.shared.refusing.store(refuse, Ordering::Relaxed);
    }

    /// The nicks that are in use by others (433), instead of those set before.
    pub fn refuse_nicks(&self, nicks: &[&str]) {
        self.shared.state().refused_nicks = nicks.iter().map(|nick| nick.to_ascii_lowercase()).collect();
    }

    fn wait<T>(&self, what: &str, found: impl Fn(&State) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut state = self.shared.state();
        loop {
            if let Some(found) = found(&state) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nobody {what} within 30 s; {} connections were made", state.count);
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for FakeIrc {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
        self.acceptor.take().map(JoinHandle::join);
        self.disconnect();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets those who wait look again. Taking the lock orders it after what they last saw.
    fn tell_change(&self) {
        drop(self.state());
        self.changed.notify_all();
    }
}

impl Connection {
    fn push(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            lock(&self.outgoing).bytes.extend_from_slice(bytes);
            self.wake.notify_one();
        }
    }

    fn close(&self) {
        lock(&self.outgoing).closed = true;
        self.wake.notify_one();
        self.socket.shutdown(Shutdown::Both).ok();
    }

    fn write(&self) {
        let mut batch = Vec::new();
        loop {
            let mut outgoing = lock(&self.outgoing);
            while outgoing.bytes.is_empty() && !outgoing.closed {
                outgoing = self.wake.wait(outgoing).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut batch, &mut outgoing.bytes);
            let closed = outgoing.closed;
            drop(outgoing);
            if (&self.socket).write_all(&batch).is_err() || closed {
                // After QUIT what is left was just written.
                self.socket.shutdown(Shutdown::Both).ok();
                return;
            }
            batch.clear();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, sender: &Sender<Line>) {
    while let Ok((socket, _)) = listener.accept() {
        if shared.closed.load(Ordering::Relaxed) {
            return;
        }
        if shared.refusing.load(Ordering::Relaxed) {
            continue;
        }
        socket.set_nodelay(true).expect("a socket takes options");
        let mut state = shared.state();
        state.count += 1;
        let (who, outgoing, wake) = Default::default();
        let connection = Arc::new(Connection { number: state.count, socket, who, outgoing, wake });
        state.connections.push(Arc::clone(&connection));
        drop(state);
        shared.changed.notify_all();
        let writer = Arc::clone(&connection);
        thread::spawn(move || writer.write());
        let conversation = Conversation {
            shared: Arc::clone(shared),
            connection,
            sender: sender.clone(),
            user: false,
            negotiating: false,
            capabilities: HashSet::new(),
            out: Vec::new(),
        };
        thread::spawn(move || conversation.run());
    }
}

/// What the reading thread of a connection knows.
struct Conversation {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    sender: Sender<Line>,
    user: bool,
    negotiating: bool,
    capabilities: HashSet<String>,
    /// The answers to the lines of one read.
    out: Vec<u8>,
}

impl Conversation {
    fn run(mut self) {
        let mut buffer = vec![0; 256 * 1024];
        let mut bytes = Vec::new();
        while let Ok(count @ 1..) = (&self.connection.socket).read(&mut buffer) {
            let at = Instant::now();
            let searched = bytes.len();
            bytes.extend_from_slice(&buffer[..count]);
            let Some(end) = bytes[searched..].iter().rposition(|byte| *byte == b'\n') else { continue };
            for line in bytes[..=searched + end].split_inclusive(|byte| *byte == b'\n') {
                self.line(line);
                // The test may have dropped its end.
                self.sender.send(Line { at, connection: self.connection.number, bytes: line.to_vec() }).ok();
            }
            bytes.drain(..=searched + end);
            self.connection.push(&self.out);
            self.out.clear();
        }
        self.connection.close();
        self.shared.state().connections.retain(|other| other.number != self.connection.number);
        self.shared.changed.notify_all();
    }

    fn line(&mut self, line: &[u8]) {
        let line = without_end(line);
        if let Some(instead) = self.shared.options.script.as_ref().and_then(|script| script(line)) {
            self.out.extend_from_slice(&instead);
            return;
        }
        let text = String::from_utf8_lossy(line);
        let message = Message::parse(&text);
        match message.command.as_str() {
            "PING" if self.shared.silent.load(Ordering::Relaxed) => {}
            "PING" => self.answer(&message, &format!("PONG fake.irc :{}", message.parameter(0))),
            "PRIVMSG" | "NOTICE" => self.said(&message),
            "CAP" => self.negotiate(&message),
            "NICK" => self.nick(message.parameter(0)),
            "USER" => self.user = true,
            "JOIN" => self.each_channel(&message, Self::join),
            "PART" => self.each_channel(&message, Self::part),
            "NAMES" => self.each_channel(&message, Self::names),
            "MODE" => self.numeric("324", &format!("{} +nt", message.parameter(0))),
            "WHO" => self.numeric("315", &format!("{} :End of WHO list", message.parameter(0))),
            "QUIT" => self.quit(),
            "" | "PONG" | "PASS" | "USERHOST" | "AWAY" | "TOPIC" => {}
            other => self.numeric("421", &format!("{other} :Unknown command")),
        }
        self.register();
    }

    fn nick(&mut self, nick: &str) {
        let refused = self.shared.state().refused_nicks.contains(&nick.to_ascii_lowercase());
        if refused {
            return self.numeric("433", &format!("{nick} :Nickname is already in use"));
        }
        let source = self.source();
        let mut who = lock(&self.connection.who);
        nick.clone_into(&mut who.nick);
        let registered = who.registered;
        drop(who);
        if registered {
            self.put(&format!("{source} NICK :{nick}"));
        }
    }

    fn register(&mut self) {
        let mut who = lock(&self.connection.who);
        if who.registered || who.nick.is_empty() || !self.user || self.negotiating {
            return;
        }
        who.registered = true;
        drop(who);
        let more = self.shared.options.isupport.clone();
        self.numeric("001", ":Welcome");
        let usual = "CASEMAPPING=ascii CHANTYPES=# PREFIX=(ov)@+ CHANMODES=b,k,l,imnst NICKLEN=30 CHANNELLEN=64 MODES=4 NETWORK=Fake";
        self.numeric("005", &format!("{} :are supported by this server", format!("{usual} {more}").trim_end()));
        self.numeric("376", ":End of MOTD");
        self.shared.tell_change();
    }

    fn negotiate(&mut self, message: &Message) {
        let registered = lock(&self.connection.who).registered;
        match message.parameter(0).to_ascii_uppercase().as_str() {
            "LS" => {
                self.negotiating = !registered;
                let offered = self.shared.options.capabilities.join(" ");
                self.numeric("CAP", &format!("LS :{offered}"));
            }
            "REQ" => {
                self.negotiating = !registered;
                let asked = message.parameter(1);
                let offered = &self.shared.options.capabilities;
                // A value is offered as `sasl=PLAIN`, asked for as `sasl`.
                let known = |name: &str| offered.iter().any(|offer| offer.split('=').next() == Some(name));
                let granted = asked.split_whitespace().all(|name| known(name.trim_start_matches('-')));
                if granted {
                    self.capabilities.extend(asked.split_whitespace().map(str::to_owned));
                }
                self.numeric("CAP", &format!("{} :{asked}", if granted { "ACK" } else { "NAK" }));
            }
            "END" => self.negotiating = false,
            _ => {}
        }
    }

    fn said(&mut self, message: &Message) {
        if self.capabilities.contains("echo-message") {
            let echo =
                format!("{} {} {} :{}", self.source(), message.command, message.parameter(0), message.parameter(1));
            self.answer(message, &echo);
        } else if message.label.is_some() && self.capabilities.contains("labeled-response") {
            self.answer(message, "ACK");
        }
    }

    fn each_channel(&mut self, message: &Message, act: fn(&mut Self, &str)) {
        for channel in message.parameter(0).split(',') {
            act(self, channel);
        }
    }

    fn join(&mut self, channel: &str) {
        lock(&self.connection.who).channels.insert(channel.to_ascii_lowercase());
        let source = self.source();
        self.put(&format!("{source} JOIN {channel}"));
        self.names(channel);
        self.shared.tell_change();
    }

    fn part(&mut self, channel: &str) {
        lock(&self.connection.who).channels.remove(&channel.to_ascii_lowercase());
        let source = self.source();
        self.put(&format!("{source} PART {channel}"));
        self.shared.tell_change();
    }

    fn names(&mut self, channel: &str) {
        let folded = channel.to_ascii_lowercase();
        let state = self.shared.state();
        let there = state
            .connections
            .iter()
            .map(|connection| lock(&connection.who))
            .filter(|who| who.channels.contains(&folded));
        let nicks = there.map(|who| who.nick.clone()).collect::<Vec<_>>().join(" ");
        drop(state);
        self.numeric("353", &format!("= {channel} :{nicks}"));
        self.numeric("366", &format!("{channel} :End of NAMES list"));
    }

    fn quit(&mut self) {
        self.put("ERROR :Closing link");
        self.connection.push(&self.out);
        self.out.clear();
        // The writing thread sends what is left and closes.
        lock(&self.connection.outgoing).closed = true;
        self.connection.wake.notify_one();
    }

    fn source(&self) -> String {
        let who = lock(&self.connection.who);
        format!(":{0}!{0}@fake.host", who.nick)
    }

    fn numeric(&mut self, numeric: &str, rest: &str) {
        let who = lock(&self.connection.who);
        let nick = if who.nick.is_empty() { "*" } else { &who.nick };
        let line = format!("{numeric} {nick} {rest}");
        drop(who);
        self.put(&format!(":fake.irc {line}"));
    }

    /// With the label of what it answers, if both sides speak of labels.
    fn answer(&mut self, message: &Message, line: &str) {
        let prefix = if line.starts_with(':') { "" } else { ":fake.irc " };
        match message.label.filter(|_| self.capabilities.contains("labeled-response")) {
            Some(label) => self.put(&format!("@label={label} {prefix}{line}")),
            None => self.put(&format!("{prefix}{line}")),
        }
    }

    fn put(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }
}

/// A client's line: it has tags, but no source.
struct Message<'a> {
    label: Option<&'a str>,
    command: String,
    parameters: Vec<&'a str>,
}

impl<'a> Message<'a> {
    fn parse(line: &'a str) -> Self {
        let (tags, rest) = match line.strip_prefix('@').and_then(|line| line.split_once(' ')) {
            Some((tags, rest)) => (tags, rest),
            None => ("", line),
        };
        let label = tags.split(';').find_map(|tag| tag.strip_prefix("label="));
        let (middle, trailing) = match rest.split_once(" :") {
            Some((middle, trailing)) => (middle, Some(trailing)),
            None => (rest, None),
        };
        let mut words = middle.split(' ').filter(|word| !word.is_empty());
        let command = words.next().unwrap_or_default().to_ascii_uppercase();
        Self { label, command, parameters: words.chain(trailing).collect() }
    }

    fn parameter(&self, index: usize) -> &'a str {
        self.parameters.get(index).copied().unwrap_or_default()
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

// A test that panicked elsewhere leaves nothing half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
