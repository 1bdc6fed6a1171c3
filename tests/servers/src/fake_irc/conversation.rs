//! What the server answers to a client's lines: one thread a connection, with what only it has to know.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::message::Message;
use super::{Connection, Line, Shared, lock, without_end};

/// What the reading thread of a connection knows.
pub(super) struct Conversation {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    sender: Sender<Line>,
    user: bool,
    negotiating: bool,
    capabilities: HashSet<String>,
    /// Batches so far: each has a reference of its own.
    batches: usize,
    /// The answers to the line at hand.
    answers: Vec<String>,
    /// The answers to the lines of one read.
    out: Vec<u8>,
}

impl Conversation {
    pub fn new(shared: Arc<Shared>, connection: Arc<Connection>, sender: Sender<Line>) -> Self {
        let (user, negotiating, capabilities, batches, answers, out) = Default::default();
        Self { shared, connection, sender, user, negotiating, capabilities, batches, answers, out }
    }

    pub fn run(mut self) {
        let mut buffer = vec![0; 256 * 1024];
        let mut bytes = Vec::new();
        while let Ok(count @ 1..) = (&self.connection.socket).read(&mut buffer) {
            let at = Instant::now();
            lock(&self.connection.who).heard = Some(at);
            let searched = bytes.len();
            bytes.extend_from_slice(&buffer[..count]);
            let Some(end) = bytes[searched..].iter().rposition(|byte| *byte == b'\n') else { continue };
            for line in bytes[..=searched + end].split_inclusive(|byte| *byte == b'\n') {
                self.line(line);
                // The test may have dropped its end.
                self.sender.send(Line { at, connection: self.connection.number, bytes: line.to_vec() }).ok();
            }
            bytes.drain(..=searched + end);
            self.flush();
        }
        self.connection.close();
        self.shared.part_with(&self.connection, "Connection closed");
    }

    fn line(&mut self, line: &[u8]) {
        let line = without_end(line);
        if let Some(instead) = self.shared.options.script.as_ref().and_then(|script| script(line)) {
            self.out.extend_from_slice(&instead);
            return;
        }
        let text = String::from_utf8_lossy(line);
        let message = Message::parse(&text);
        self.answer(&message);
        self.put_answers(message.label);
        self.register();
        self.put_answers(None);
    }

    fn answer(&mut self, message: &Message) {
        match message.command.as_str() {
            "PING" if self.shared.silent.load(Ordering::Relaxed) => {}
            "PING" => self.say(&format!(":fake.irc PONG fake.irc :{}", message.parameter(0))),
            "PRIVMSG" | "NOTICE" => self.said(message),
            "CAP" => self.negotiate(message),
            "NICK" => self.nick(message.parameter(0)),
            "USER" => self.user = true,
            "JOIN" => self.each_channel(message, Self::join),
            "PART" => self.each_channel(message, Self::part),
            "NAMES" => self.each_channel(message, Self::names),
            "MODE" => self.numeric("324", &format!("{} +nt", message.parameter(0))),
            "WHO" => self.numeric("315", &format!("{} :End of WHO list", message.parameter(0))),
            "QUIT" => self.quit(),
            "" | "PONG" | "PASS" | "USERHOST" | "AWAY" | "TOPIC" => {}
            other => self.numeric("421", &format!("{other} :Unknown command")),
        }
    }

    fn nick(&mut self, nick: &str) {
        if self.shared.is_taken(nick, self.connection.number) {
            return self.numeric("433", &format!("{nick} :Nickname is already in use"));
        }
        let source = self.source();
        let mut who = lock(&self.connection.who);
        let changed = who.registered && who.nick != nick;
        nick.clone_into(&mut who.nick);
        drop(who);
        if changed {
            let line = format!("{source} NICK :{nick}");
            self.shared.tell_neighbours(&self.connection, &line);
            self.say(&line);
            self.shared.tell_change();
        }
    }

    fn register(&mut self) {
        let who = lock(&self.connection.who);
        if who.registered || who.nick.is_empty() || !self.user || self.negotiating {
            return;
        }
        let nick = who.nick.clone();
        drop(who);
        // Of two that asked for one nick at once, the first to be registered has it.
        if self.shared.is_taken(&nick, self.connection.number) {
            lock(&self.connection.who).nick.clear();
            return self.say(&format!(":fake.irc 433 * {nick} :Nickname is already in use"));
        }
        lock(&self.connection.who).registered = true;
        let more = self.shared.options.isupport.clone();
        self.numeric("001", ":Welcome");
        let usual = "CASEMAPPING=ascii CHANTYPES=# PREFIX=(ov)@+ CHANMODES=b,k,l,imnst NICKLEN=30 CHANNELLEN=64 MODES=4 NETWORK=Fake";
        self.numeric("005", &format!("{} :are supported by this server", format!("{usual} {more}").trim_end()));
        self.numeric("376", ":End of MOTD");
        // A bouncer puts a further session of one user where the others are.
        for channel in self.shared.channels_of(&nick, self.connection.number) {
            self.join(&channel);
        }
        self.shared.note_registered(&self.connection);
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
                    self.grant(asked);
                }
                self.numeric("CAP", &format!("{} :{asked}", if granted { "ACK" } else { "NAK" }));
            }
            "LIST" => {
                let mut on: Vec<&str> = self.capabilities.iter().map(String::as_str).collect();
                on.sort_unstable();
                let on = on.join(" ");
                self.numeric("CAP", &format!("LIST :{on}"));
            }
            "END" => self.negotiating = false,
            _ => {}
        }
    }

    fn grant(&mut self, asked: &str) {
        for name in asked.split_whitespace() {
            match name.strip_prefix('-') {
                Some(name) => drop(self.capabilities.remove(name)),
                None => drop(self.capabilities.insert(name.to_owned())),
            }
        }
    }

    fn said(&mut self, message: &Message) {
        let (target, text) = (message.parameter(0), message.parameter(1));
        if let Some(numeric) = self.shared.refusal(target) {
            // A notice is never answered with an error (RFC 2812, section 3.3.2).
            if message.command == "PRIVMSG" {
                self.numeric(&format!("{numeric:03}"), &format!("{target} :{}", reason(numeric)));
            }
            return;
        }
        let line = format!("{} {} {target} :{text}", self.source(), message.command);
        self.shared.relay(&self.connection, target, &line);
        if self.capabilities.contains("echo-message") {
            self.say(&line);
        }
    }

    fn each_channel(&mut self, message: &Message, act: fn(&mut Self, &str)) {
        for channel in message.parameter(0).split(',') {
            act(self, channel);
        }
    }

    fn join(&mut self, channel: &str) {
        lock(&self.connection.who).channels.insert(channel.to_ascii_lowercase());
        let line = format!("{} JOIN {channel}", self.source());
        self.shared.tell_channel(&self.connection, channel, &line);
        self.say(&line);
        self.names(channel);
        self.shared.tell_change();
    }

    fn part(&mut self, channel: &str) {
        lock(&self.connection.who).channels.remove(&channel.to_ascii_lowercase());
        let line = format!("{} PART {channel}", self.source());
        self.shared.tell_channel(&self.connection, channel, &line);
        self.say(&line);
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
        self.say("ERROR :Closing link");
        self.put_answers(None);
        self.flush();
        self.shared.part_with(&self.connection, "Quit");
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
        let line = format!(":fake.irc {numeric} {nick} {rest}");
        drop(who);
        self.say(&line);
    }

    /// Answers the line at hand.
    fn say(&mut self, line: &str) {
        self.answers.push(line.to_owned());
    }

    /// Sends the answers to the line at hand, with its label if both sides speak of labels: a single one carries it, several are
    /// a batch that carries it, none is an ACK.
    fn put_answers(&mut self, label: Option<&str>) {
        let answers = std::mem::take(&mut self.answers);
        let labeled = label.filter(|_| self.capabilities.contains("labeled-response"));
        match (labeled, answers.as_slice()) {
            (None, _) => answers.iter().for_each(|line| self.put(line)),
            (Some(label), []) => self.put(&format!("@label={label} :fake.irc ACK")),
            (Some(label), [one]) => self.put(&format!("@label={label} {one}")),
            (Some(label), several) => {
                self.batches += 1;
                let reference = self.batches;
                self.put(&format!("@label={label} :fake.irc BATCH +{reference} labeled-response"));
                several.iter().for_each(|line| self.put(&format!("@batch={reference} {line}")));
                self.put(&format!(":fake.irc BATCH -{reference}"));
            }
        }
    }

    fn put(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn flush(&mut self) {
        self.connection.push(&self.out);
        self.out.clear();
    }
}

/// What servers say with these numbers.
fn reason(numeric: u16) -> &'static str {
    match numeric {
        401 => "No such nick/channel",
        403 => "No such channel",
        404 => "Cannot send to channel",
        442 => "You're not on that channel",
        _ => "Refused",
    }
}
