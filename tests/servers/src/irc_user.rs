//! A person on a real IRC server, as a test plays it: speaks raw IRC, answers PING by itself, remembers all it heard.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::PATIENCE;
use crate::guarded::connect;
use crate::transcript::{Transcript, last};

/// Who may be an operator of the servers here, and how they prove it.
pub(crate) const OPERATOR: &str = "oper";
pub(crate) const OPERATOR_PASSWORD: &str = "operate";

/// A raw IRC client. Its waits last up to 30 s, then panic with what was heard.
pub struct IrcUser {
    nick: String,
    stream: Arc<Mutex<TcpStream>>,
    transcript: Arc<Transcript>,
    /// The index after the line that was last returned by `hears`.
    heard_until: Mutex<usize>,
    reader: Option<JoinHandle<()>>,
}

impl IrcUser {
    /// Connects to 127.0.0.1 and registers. Panics when the server refuses.
    pub fn connect(port: u16, nick: &str) -> Self {
        Self::connect_with_password(port, nick, None)
    }

    /// The same at a server that asks for a password.
    pub fn connect_with_password(port: u16, nick: &str, password: Option<&str>) -> Self {
        let user = Self::connect_silently(port, nick);
        let pass = password.map(|password| format!("PASS {password}\r\n")).unwrap_or_default();
        user.send_raw(&format!("{pass}NICK {nick}\r\nUSER {nick} 0 * :{nick}"));
        let line = user.waits(0, |line| {
            matches!(word(line, 1), "001" | "433" | "432" | "464" | "465") || line.starts_with("ERROR")
        });
        assert!(word(&line, 1) == "001", "{nick} was refused: {line}");
        user
    }

    /// Connects to 127.0.0.1 and says nothing: the test registers, in its own way (`CAP`, `AUTHENTICATE`).
    pub fn connect_silently(port: u16, nick: &str) -> Self {
        let stream = connect(port).unwrap_or_else(|error| panic!("{nick} can't connect to port {port}: {error}"));
        stream.set_read_timeout(None).expect("a socket takes options");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket takes options");
        stream.set_nodelay(true).expect("a socket takes options");
        let transcript = Arc::new(Transcript::default());
        let from = stream.try_clone().expect("a second handle");
        let stream = Arc::new(Mutex::new(stream));
        let reader = thread::spawn({
            let (transcript, stream) = (Arc::clone(&transcript), Arc::clone(&stream));
            move || transcript.record(from, |line| answer_ping(&stream, line))
        });
        Self { nick: nick.to_owned(), stream, transcript, heard_until: Mutex::new(0), reader: Some(reader) }
    }

    /// Its nick as given at first.
    pub fn nick(&self) -> &str {
        &self.nick
    }

    /// Joins, and waits until the server has told who is there.
    pub fn join(&self, channel: &str) {
        self.joins(channel, "");
    }

    /// Joins a channel that has a key.
    pub fn join_with_key(&self, channel: &str, key: &str) {
        self.joins(channel, key);
    }

    fn joins(&self, channel: &str, key: &str) {
        let from = self.transcript.len();
        self.send_raw(format!("JOIN {channel} {key}").trim_end());
        let answer = self.waits(from, |line| {
            let numeric = word(line, 1);
            word(line, 3).eq_ignore_ascii_case(channel) && (numeric == "366" || numeric.starts_with('4'))
        });
        assert!(word(&answer, 1) == "366", "{} can't join {channel}: {answer}", self.nick);
    }

    /// Becomes an operator of the server: may KILL and KLINE.
    pub fn becomes_operator(&self) {
        let from = self.transcript.len();
        self.send_raw(&format!("OPER {OPERATOR} {OPERATOR_PASSWORD}"));
        let answer = self.waits(from, |line| matches!(word(line, 1), "381" | "464" | "481" | "491"));
        assert!(word(&answer, 1) == "381", "{} is no operator: {answer}", self.nick);
    }

    /// Says one line to a channel or a nick.
    pub fn say(&self, target: &str, text: &str) {
        self.send_raw(&format!("PRIVMSG {target} :{text}"));
    }

    /// The same as a notice.
    pub fn notice(&self, target: &str, text: &str) {
        self.send_raw(&format!("NOTICE {target} :{text}"));
    }

    /// Sends this and CRLF. Several lines may be given at once, with CRLF between them.
    pub fn send_raw(&self, line: &str) {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = stream.write_all(format!("{line}\r\n").as_bytes());
        drop(stream);
        if let Err(error) = sent {
            panic!("{} can't send {line:?}: {error}; {}", self.nick, last(&self.heard()));
        }
    }

    /// The next raw line that `wanted` accepts. It looks at the lines after the one returned last, so a test reads as a conversation;
    /// for lines in any order there is [`heard`](Self::heard).
    pub fn hears(&self, wanted: impl FnMut(&str) -> bool) -> String {
        // Not held while waiting: a panic in `wanted` or two threads waiting must not spoil it.
        let from = *self.heard_until.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, line) = self.waits_at(from, wanted);
        *self.heard_until.lock().unwrap_or_else(PoisonError::into_inner) = index + 1;
        line
    }

    /// The text of the next message from that nick to that channel or nick.
    pub fn hears_from(&self, nick: &str, target: &str) -> String {
        self.hears_message("PRIVMSG", nick, target)
    }

    /// The text of the next notice from that nick to that channel or nick.
    pub fn hears_notice_from(&self, nick: &str, target: &str) -> String {
        self.hears_message("NOTICE", nick, target)
    }

    fn hears_message(&self, command: &str, nick: &str, target: &str) -> String {
        let line = self.hears(|line| {
            let source = word(line, 0).trim_start_matches(':').split('!').next().unwrap_or_default();
            source.eq_ignore_ascii_case(nick) && word(line, 1) == command && word(line, 2).eq_ignore_ascii_case(target)
        });
        let text = untagged(&line).splitn(4, ' ').nth(3).unwrap_or_default();
        text.strip_prefix(':').unwrap_or(text).to_owned()
    }

    /// Every line so far, without CRLF; what is not UTF-8 is replaced.
    pub fn heard(&self) -> Vec<String> {
        self.transcript.lines(0)
    }

    /// Who the server says is in the channel, with their prefixes (`@`, `+`).
    pub fn names(&self, channel: &str) -> Vec<String> {
        let from = self.transcript.len();
        self.send_raw(&format!("NAMES {channel}"));
        self.waits(from, |line| word(line, 1) == "366" && word(line, 3).eq_ignore_ascii_case(channel));
        let lines = self.transcript.lines(from);
        let names = lines.iter().filter(|line| word(line, 1) == "353" && word(line, 4).eq_ignore_ascii_case(channel));
        names
            .filter_map(|line| untagged(line).splitn(6, ' ').nth(5))
            .flat_map(|names| names.trim_start_matches(':').split_whitespace())
            .map(str::to_owned)
            .collect()
    }

    fn waits(&self, from: usize, wanted: impl FnMut(&str) -> bool) -> String {
        self.waits_at(from, wanted).1
    }

    fn waits_at(&self, from: usize, wanted: impl FnMut(&str) -> bool) -> (usize, String) {
        let found = self.transcript.wait(from, PATIENCE, wanted);
        found.unwrap_or_else(|why| panic!("{} waited for a line: {why}; {}", self.nick, last(&self.heard())))
    }
}

impl Drop for IrcUser {
    fn drop(&mut self) {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both).ok();
        self.reader.take().map(JoinHandle::join);
    }
}

fn answer_ping(stream: &Mutex<TcpStream>, line: &str) {
    if let Some(token) = untagged(line).strip_prefix("PING ") {
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        // A connection that is gone is noticed by the next read.
        stream.write_all(format!("PONG {}\r\n", token.trim_end()).as_bytes()).ok();
    }
}

/// The words of a line are counted without its tags.
fn word(line: &str, index: usize) -> &str {
    untagged(line).split(' ').nth(index).unwrap_or_default()
}

/// The line without the tags that message-tags and its like put in front.
fn untagged(line: &str) -> &str {
    let tagged = line.strip_prefix('@').and_then(|rest| rest.split_once(' '));
    tagged.map_or(line, |(_, rest)| rest)
}
