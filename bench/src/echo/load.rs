//! The built-in IRC server: one bot, ten users in five channels, no limits, and as little work as possible beside the
//! bot's own. The users are only names here, and one thread writes what they say and reads what the bot answers; so the
//! server adds no switch between threads to what is measured.
//!
//! Every line asked for is numbered, and each channel's answers must come back in order, each once, letter by letter:
//! anything else fails the bench.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::failure::{Context, Failure, Result};

/// Where the users talk.
pub(super) const CHANNELS: [&str; 5] = ["#bench0", "#bench1", "#bench2", "#bench3", "#bench4"];
/// Users, two in each channel.
const USERS: usize = 10;
/// What an echo is asked for, after its number: it makes a line of usual length.
const TEXT: &str = "is the number of a line that somebody said";
/// What nobody answers, before and after its number.
const CHATTER: (&str, &str) = ("line ", "is one of those that people say to each other");
/// Asked until a bot answers for the first time.
const PROBE: &str = "are you there?";

/// How long a bot may take to connect and join, and to answer for the first time.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long the first answer is waited for before it is asked for again.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How long any answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Left out at the beginning of a measurement with many lines outstanding.
const SETTLING: Duration = Duration::from_millis(250);
/// How long nothing may come when everything is answered.
const SILENCE: Duration = Duration::from_millis(200);
const READ_BYTES: usize = 256 * 1024;

/// A port that a bot will connect to.
pub(super) struct Server {
    listener: TcpListener,
    port: u16,
}

impl Server {
    pub(super) fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port for the IRC server")?;
        let address = listener.local_addr().context("no address for the IRC server")?;
        listener.set_nonblocking(true).context("the IRC server's socket")?;
        Ok(Server { listener, port: address.port() })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the bot has connected, joined every channel, and answers.
    pub(super) fn welcome(self) -> Result<Room> {
        let until = Instant::now() + READY_WITHIN;
        let mut room = Room::new(self.accept(until)?)?;
        room.wait_at_most(PROBE_EVERY)?;
        while room.joined < CHANNELS.len() {
            room.read()?;
            in_time(until, "the bot did not join every channel within 30 s")?;
        }
        while !room.probed {
            room.probe()?;
            in_time(until, "the bot did not answer within 30 s")?;
        }
        room.wait_at_most(ANSWER_WITHIN)?;
        Ok(room)
    }

    fn accept(&self, until: Instant) -> Result<TcpStream> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => return Ok(socket),
                Err(why) if why.kind() != ErrorKind::WouldBlock => {
                    return Err(why).context("accepting the bot");
                }
                Err(_) => {
                    in_time(until, "the bot did not connect within 30 s")?;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
}

/// The channels with the bot in them.
pub(super) struct Room {
    socket: TcpStream,
    /// Bytes received, the last line perhaps incomplete.
    received: Vec<u8>,
    buffer: Vec<u8>,
    /// What goes out with the next write.
    out: Vec<u8>,
    /// How each user's lines begin.
    prefixes: Vec<String>,
    nick: String,
    joined: usize,
    /// The next line's number.
    next: u64,
    /// The numbers that each channel still has to answer.
    asked: [VecDeque<u64>; CHANNELS.len()],
    /// Answers of the last read.
    answered: usize,
    probed: bool,
}

impl Room {
    fn new(socket: TcpStream) -> Result<Self> {
        socket.set_nonblocking(false).context("the bot's socket")?;
        socket.set_nodelay(true).context("the bot's socket")?;
        let user = |n: usize| format!(":user{n}!user{n}@bench.example PRIVMSG {} :", CHANNELS[n % CHANNELS.len()]);
        Ok(Room {
            socket,
            received: Vec::with_capacity(READ_BYTES),
            buffer: vec![0; READ_BYTES],
            out: Vec::with_capacity(READ_BYTES),
            prefixes: (0..USERS).map(user).collect(),
            nick: "*".to_owned(),
            joined: 0,
            next: 0,
            asked: Default::default(),
            answered: 0,
            probed: false,
        })
    }

    /// How long each line took to be answered, one after another: at least so many lines, and for at least so long.
    pub(super) fn latencies(&mut self, lines: usize, time: Duration) -> Result<Vec<Duration>> {
        let (mut latencies, until) = (Vec::with_capacity(lines), Instant::now() + time);
        while latencies.len() < lines || Instant::now() < until {
            let start = Instant::now();
            self.ask(1)?;
            self.drain()?;
            latencies.push(start.elapsed());
        }
        Ok(latencies)
    }

    /// Keeps so many lines outstanding for a while: answers a second. In the end everything is answered.
    pub(super) fn saturate(&mut self, window: usize, time: Duration) -> Result<f64> {
        self.ask(window)?;
        self.exchange_for(SETTLING)?;
        let start = Instant::now();
        let answers = self.exchange_for(time)?;
        let rate = answers as f64 / start.elapsed().as_secs_f64();
        self.drain()?;
        Ok(rate)
    }

    /// For each answer asks another line, and counts.
    fn exchange_for(&mut self, time: Duration) -> Result<usize> {
        let (until, mut answers) = (Instant::now() + time, 0);
        while Instant::now() < until {
            self.read_answers()?;
            answers += self.answered;
            self.ask(self.answered)?;
        }
        Ok(answers)
    }

    /// Says what nobody answers, so many lines a second, evenly. When it returns, all of them went their whole way:
    /// how many lines that were.
    pub(super) fn chatter(&mut self, per_second: u32, time: Duration) -> Result<u64> {
        let pause = Duration::from_secs(1) / per_second;
        let (start, first) = (Instant::now(), self.next);
        let mut due = start;
        while due - start < time {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.say_numbered(CHATTER.0, CHATTER.1)?;
            due += pause;
        }
        let lines = self.next - first;
        // one a channel, behind everything that was said there
        self.ask(CHANNELS.len())?;
        self.drain()?;
        Ok(lines)
    }

    /// Reads what came while others were measured, and answers PINGs. An answer would be one too many.
    pub(super) fn attend(&mut self) -> Result<()> {
        self.socket.set_nonblocking(true).context("the bot's socket")?;
        let read = self.read();
        self.socket.set_nonblocking(false).context("the bot's socket")?;
        read.map(drop)
    }

    /// Nothing more may come.
    pub(super) fn rest(&mut self) -> Result<()> {
        std::thread::sleep(SILENCE);
        self.attend()
    }

    fn probe(&mut self) -> Result<()> {
        self.out.extend_from_slice(format!("{}!echo {PROBE}\r\n", self.prefixes[0]).as_bytes());
        self.write()?;
        let again = Instant::now() + PROBE_EVERY;
        while !self.probed && Instant::now() < again {
            self.read()?;
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.asked.iter().map(VecDeque::len).sum()
    }

    /// Asks for so many more echoes. Each line goes out by itself, since different users say them.
    fn ask(&mut self, lines: usize) -> Result<()> {
        for _ in 0..lines {
            self.asked[self.next as usize % CHANNELS.len()].push_back(self.next);
            self.say_numbered("!echo ", TEXT)?;
        }
        Ok(())
    }

    /// The next user says this, with the next number in it.
    fn say_numbered(&mut self, before: &str, behind: &str) -> Result<()> {
        let prefix = &self.prefixes[self.next as usize % USERS];
        self.out.extend_from_slice(prefix.as_bytes());
        self.out.extend_from_slice(before.as_bytes());
        push_number(&mut self.out, self.next);
        self.out.push(b' ');
        self.out.extend_from_slice(behind.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.next += 1;
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        let written = self.socket.write_all(&self.out).context("writing to the bot");
        self.out.clear();
        written
    }

    /// Waits until everything is answered.
    fn drain(&mut self) -> Result<()> {
        while self.outstanding() > 0 {
            self.read_answers()?;
        }
        Ok(())
    }

    fn read_answers(&mut self) -> Result<()> {
        if self.read()? {
            return Ok(());
        }
        Err(Failure::new(format!("within 10 s no answer came, and {} are missing", self.outstanding())))
    }

    fn wait_at_most(&self, limit: Duration) -> Result<()> {
        self.socket.set_read_timeout(Some(limit)).context("the bot's socket")
    }

    /// Reads more lines of the bot and checks them; false if there was nothing in time.
    fn read(&mut self) -> Result<bool> {
        match self.socket.read(&mut self.buffer) {
            Ok(0) => return Err(Failure::new("the bot has left")),
            Ok(count) => self.received.extend_from_slice(&self.buffer[..count]),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
            Err(why) => return Err(why).context("reading from the bot"),
        }
        self.take_lines().map(|()| true)
    }

    fn take_lines(&mut self) -> Result<()> {
        self.answered = 0;
        let received = std::mem::take(&mut self.received);
        let mut rest = &received[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            self.take_line(line.trim_ascii_end())?;
            rest = after;
        }
        let taken = received.len() - rest.len();
        self.received = received;
        self.received.drain(..taken);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Result<()> {
        match line.strip_prefix(b"PRIVMSG ") {
            Some(said) => self.take_answer(said),
            None => {
                self.serve(&String::from_utf8_lossy(line));
                self.write()
            }
        }
    }

    /// The answer to the oldest question in its channel, to the letter.
    fn take_answer(&mut self, said: &[u8]) -> Result<()> {
        let wrong = || Failure::new(format!("the bot said what nobody asked for: {}", String::from_utf8_lossy(said)));
        let (channel, text) = split(said).ok_or_else(wrong)?;
        let index = CHANNELS.iter().position(|known| known.as_bytes() == channel).ok_or_else(wrong)?;
        if text == PROBE.as_bytes() {
            self.probed = true;
            return Ok(());
        }
        let number = self.asked[index].front().copied().ok_or_else(wrong)?;
        if !is_answer(text, number) {
            let text = String::from_utf8_lossy(text);
            return Err(Failure::new(format!("line {number} should have been answered, but the bot said: {text}")));
        }
        self.asked[index].pop_front();
        self.answered += 1;
        Ok(())
    }

    /// What a server has to do for a bot to be there.
    fn serve(&mut self, line: &str) {
        let (command, parameters) = line.split_once(' ').unwrap_or((line, ""));
        let first = parameters.split(' ').next().unwrap_or_default();
        match command {
            "NICK" => first.trim_start_matches(':').clone_into(&mut self.nick),
            "CAP" if first == "LS" => self.tell("CAP * LS :"),
            "USER" => self.register(),
            "PING" => self.put(&format!(":bench.example PONG bench.example {parameters}")),
            "JOIN" => first.split(',').for_each(|channel| self.join(channel)),
            "MODE" => self.tell(&format!("324 {} {first} +nt", self.nick)),
            "WHO" => self.tell(&format!("315 {} {first} :End of WHO list", self.nick)),
            _ => {}
        }
    }

    fn register(&mut self) {
        let nick = self.nick.clone();
        self.tell(&format!("001 {nick} :Welcome"));
        let usual = "CASEMAPPING=ascii CHANTYPES=# PREFIX=(ov)@+ CHANMODES=b,k,l,imnst NICKLEN=30 NETWORK=Bench";
        self.tell(&format!("005 {nick} {usual} :are supported by this server"));
        self.tell(&format!("376 {nick} :End of MOTD"));
    }

    fn join(&mut self, channel: &str) {
        let nick = self.nick.clone();
        self.put(&format!(":{nick}!{nick}@bench.example JOIN {channel}"));
        self.tell(&format!("353 {nick} = {channel} :{nick} user0 user1"));
        self.tell(&format!("366 {nick} {channel} :End of NAMES list"));
        self.joined += 1;
    }

    fn tell(&mut self, text: &str) {
        self.put(&format!(":bench.example {text}"));
    }

    fn put(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }
}

fn in_time(until: Instant, late: &str) -> Result<()> {
    if Instant::now() > until { Err(Failure::new(late)) } else { Ok(()) }
}

/// `#channel :text`, the colon not being needed by a single word.
fn split(said: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = said.iter().position(|byte| *byte == b' ')?;
    let text = &said[space + 1..];
    Some((&said[..space], text.strip_prefix(b":").unwrap_or(text)))
}

fn is_answer(text: &[u8], number: u64) -> bool {
    let mut expected = Vec::with_capacity(20 + TEXT.len());
    push_number(&mut expected, number);
    expected.push(b' ');
    expected.extend_from_slice(TEXT.as_bytes());
    text == expected
}

fn push_number(bytes: &mut Vec<u8>, number: u64) {
    // writing to a vector can't fail
    write!(bytes, "{number}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room and the bot's end of its socket.
    fn room() -> (Room, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let bot = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Room::new(listener.accept().unwrap().0).unwrap_or_else(|why| panic!("{why}")), bot)
    }

    fn answer(channel: usize, number: u64) -> String {
        format!("PRIVMSG {} :{number} {TEXT}\r\n", CHANNELS[channel])
    }

    fn takes(room: &mut Room, lines: &str) -> Result<()> {
        room.received.extend_from_slice(lines.as_bytes());
        room.take_lines()
    }

    #[test]
    fn answers_are_counted_when_each_channel_has_its_own_in_order() {
        let (mut room, _bot) = room();
        assert!(room.ask(10).is_ok());
        assert!(takes(&mut room, &[answer(1, 1), answer(0, 0), answer(0, 5)].concat()).is_ok());
        assert_eq!((room.answered, room.outstanding()), (3, 7));
    }

    #[test]
    fn an_answer_that_comes_twice_too_early_wrong_or_unasked_for_is_an_error() {
        for lines in [
            [answer(0, 0), answer(0, 0)].concat(),
            answer(0, 5),
            answer(1, 0),
            answer(0, 0).replace("somebody", "nobody"),
            [answer(0, 0), answer(0, 5), answer(0, 10)].concat(),
            "PRIVMSG #elsewhere :hi\r\n".to_owned(),
        ] {
            let (mut room, _bot) = room();
            assert!(room.ask(10).is_ok());
            assert!(takes(&mut room, &lines).is_err(), "{lines}");
        }
    }

    #[test]
    fn a_line_cut_in_two_is_one_line() {
        let (mut room, _bot) = room();
        assert!(room.ask(1).is_ok());
        let line = answer(0, 0);
        assert!(takes(&mut room, &line[..12]).is_ok());
        assert_eq!(room.answered, 0);
        assert!(takes(&mut room, &line[12..]).is_ok());
        assert_eq!(room.answered, 1);
    }
}
