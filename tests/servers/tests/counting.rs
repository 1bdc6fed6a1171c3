//! The instruments are trusted as far as they find what is wrong: bots that misbehave on purpose, and a relay that misbehaves itself.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use servers::{Counting, FakeIrc, FakeOptions, IrcUser, Program, Relay, Report, Service};

const CHANNELS: [&str; 2] = ["#a", "#b"];

/// What a bot does with the numbered line that it was asked for: whole lines to send, after which it may leave.
type Manner = fn(channel: &str, number: usize) -> Deed;

enum Deed {
    Say(Vec<String>),
    /// Says it so much later.
    Late(Duration, String),
    /// Ends the connection without having answered what it read last.
    Leave,
}

fn say(channel: &str, number: usize) -> String {
    format!("PRIVMSG {channel} :n{number}\r\n")
}

fn perfect(channel: &str, number: usize) -> Deed {
    Deed::Say(vec![say(channel, number)])
}

/// A client that answers each `!echo` in its manner, and PING in its turn.
fn bot(port: u16, nick: &str, manner: Manner) -> JoinHandle<()> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let hello = format!("NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\nJOIN {}\r\n", CHANNELS.join(","));
    (&stream).write_all(hello.as_bytes()).unwrap();
    thread::spawn(move || {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        for line in lines {
            if let Some(token) = line.strip_prefix("PING ") {
                (&stream).write_all(format!("PONG {token}\r\n").as_bytes()).ok();
            }
            let Some((head, number)) = line.split_once(" :!echo n") else { continue };
            match manner(head.rsplit(' ').next().unwrap(), number.parse().unwrap()) {
                Deed::Say(lines) => drop((&stream).write_all(lines.concat().as_bytes())),
                Deed::Late(pause, line) => {
                    let stream = stream.try_clone().unwrap();
                    thread::spawn(move || {
                        thread::sleep(pause);
                        (&stream).write_all(line.as_bytes()).ok();
                    });
                }
                Deed::Leave => return stream.shutdown(std::net::Shutdown::Both).unwrap_or(()),
            }
        }
    })
}

fn report_on(manner: Manner, lines: usize) -> Report {
    let counting = Counting::start(&CHANNELS);
    bot(counting.port(), "bot", manner);
    counting.wait_for_bot();
    counting.say(lines, 1_000);
    counting.settle(Duration::from_secs(3))
}

#[test]
fn a_perfect_bot_is_found_perfect() {
    let report = report_on(perfect, 500);
    report.assert_kept(0);
    assert_eq!((report.said, report.read, report.answered), (500, 500, 500), "{report}");
    assert_eq!(report.by_connection[&1], 500);
}

#[test]
fn a_line_that_was_lost_is_named() {
    let report =
        report_on(|channel, number| if number == 7 { Deed::Say(vec![]) } else { perfect(channel, number) }, 100);
    assert_eq!((report.lost.as_slice(), report.extra(), report.read), ([7].as_slice(), 0, 100), "{report}");
    assert!(std::panic::catch_unwind(|| report.assert_kept(4)).is_err());
}

#[test]
fn a_line_that_was_answered_twice_is_named() {
    let twice = |channel: &str, number| Deed::Say(vec![say(channel, number); if number == 9 { 3 } else { 1 }]);
    let report = report_on(twice, 100);
    assert_eq!((report.lost.len(), report.doubled.len(), report.extra()), (0, 1, 2), "{report}");
    assert_eq!((report.doubled[0].number, report.doubled[0].answers.len()), (9, 3));
    report.assert_kept(2);
    assert!(std::panic::catch_unwind(|| report.assert_kept(1)).is_err());
}

#[test]
fn a_late_answer_is_measured_and_one_that_comes_too_late_is_lost() {
    let late = |channel: &str, number| match number {
        3 => Deed::Late(Duration::from_millis(1_500), say(channel, number)),
        4 => Deed::Late(Duration::from_secs(20), say(channel, number)),
        _ => perfect(channel, number),
    };
    let report = report_on(late, 100);
    assert_eq!(report.lost, [4], "{report}");
    let (number, wait) = report.slowest.unwrap();
    assert!(number == 3 && wait >= Duration::from_millis(1_500), "{report}");
}

#[test]
fn answers_to_nobody_are_counted_as_strange() {
    let strange = |channel: &str, number| match number {
        1 => Deed::Say(vec![say("#elsewhere", 1)]),
        2 => Deed::Say(vec![say(channel, 2), say(channel, 999_999), format!("PRIVMSG {channel} :sorry\r\n")]),
        _ => perfect(channel, number),
    };
    let report = report_on(strange, 50);
    assert_eq!((report.lost.as_slice(), report.strange_count, report.extra()), ([1].as_slice(), 3, 0), "{report}");
    assert!(std::panic::catch_unwind(|| report.assert_kept(4)).is_err());
}

/// What a bot read is answered by its successor; what it may not have read is not asked of anybody.
#[test]
fn lines_that_nobody_is_proved_to_have_read_may_stay_unanswered() {
    let counting = Counting::start(&CHANNELS);
    bot(counting.port(), "first", |channel, number| if number < 55 { perfect(channel, number) } else { Deed::Leave });
    counting.wait_for_bot();
    let load = counting.begin("!echo", Some(200), 500);
    counting.irc().wait_for_leave();
    bot(counting.port(), "second", perfect);
    load.wait();
    let report = counting.settle(Duration::from_secs(3));
    report.assert_kept(0);
    assert_eq!(report.said, 200);
    // at most what was said after the last mark, and what was under way
    assert!(report.read >= 180 && report.read < 200, "{report}");
    assert_eq!(report.by_connection.len(), 2, "{report}");
    assert_eq!(report.answered, report.by_connection.values().sum::<usize>());
}

#[test]
fn a_line_read_before_the_end_must_be_answered_by_somebody() {
    // The bot proves that it has read everything, answers the first 20, and dies.
    let silent = |channel: &str, number| match number {
        0..20 => perfect(channel, number),
        99 => Deed::Leave,
        _ => Deed::Say(vec![]),
    };
    let report = report_on_then_leave(silent);
    assert!(report.lost.len() >= 60 && report.lost[0] == 20, "{report}");
    assert!(!report.lost.contains(&99), "{report}");
}

fn report_on_then_leave(manner: Manner) -> Report {
    let counting = Counting::start(&CHANNELS);
    bot(counting.port(), "bot", manner);
    counting.wait_for_bot();
    counting.say(100, 200);
    counting.settle(Duration::from_secs(1))
}

#[test]
fn two_bots_that_both_answer_are_found_out() {
    let counting = Counting::start(&CHANNELS);
    bot(counting.port(), "one", perfect);
    bot(counting.port(), "two", perfect);
    counting.irc().wait_for_connections(2);
    while counting.irc().registered() < 2 {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(200));
    counting.say(50, 500);
    let report = counting.settle(Duration::from_secs(3));
    assert_eq!((report.extra(), report.by_connection.len()), (50, 2), "{report}");
}

struct Raw {
    stream: TcpStream,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Raw {
    fn connect(port: u16, hello: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let raw = Raw { stream, lines: Box::new(lines) };
        raw.send(hello);
        raw
    }

    fn send(&self, lines: &str) {
        (&self.stream).write_all(lines.as_bytes()).unwrap();
    }

    fn hears(&mut self, part: &str) -> String {
        self.lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("never heard {part:?}"))
    }
}

fn hello(nick: &str) -> String {
    format!("NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\n")
}

#[test]
fn a_nick_belongs_to_one_connection_until_that_ends() {
    let irc = FakeIrc::start();
    let first = Raw::connect(irc.port(), &hello("bot"));
    irc.wait_for_connections(1);
    while irc.registered() < 1 {
        thread::sleep(Duration::from_millis(5));
    }
    let mut second = Raw::connect(irc.port(), &hello("bot"));
    second.hears(" 433 * bot :");
    second.send("NICK bot_\r\nJOIN #c\r\n");
    second.hears(" 366 bot_ ");
    second.send("NICK bot\r\n");
    second.hears(" 433 bot_ bot :");
    drop(first);
    loop {
        second.send("NICK bot\r\nPING done\r\n");
        let answer = second.lines.next().unwrap();
        second.hears("done");
        if answer.contains(" NICK :bot") {
            break;
        }
    }
    assert!(irc.is_in("bot", "#C") && !irc.is_in("bot_", "#c"));
    let visits = irc.visits();
    assert!(visits[0].ended.is_some() && visits[1].ended.is_none() && visits[1].nick == "bot");
}

#[test]
fn a_server_for_many_clients_lets_a_second_session_in_where_the_first_is() {
    let irc = FakeIrc::start_with(FakeOptions { multiclient: true, ..FakeOptions::default() });
    let mut first = Raw::connect(irc.port(), &format!("{}JOIN #c\r\n", hello("bot")));
    first.hears(" 366 bot #c");
    let mut second = Raw::connect(irc.port(), &hello("bot"));
    second.hears(":bot!bot@fake.host JOIN #c");
    second.send("PRIVMSG #c :hi\r\n");
    first.hears(":bot!bot@fake.host PRIVMSG #c :hi");
    assert_eq!(irc.registered(), 2);
}

#[test]
fn clients_hear_each_other_and_come_and_go() {
    let irc = FakeIrc::start();
    let (alice, bob) = (IrcUser::connect(irc.port(), "alice"), IrcUser::connect(irc.port(), "bob"));
    alice.join("#c");
    bob.join("#c");
    alice.hears(|line| line == ":bob!bob@fake.host JOIN #c");
    bob.say("#C", "hi");
    assert_eq!(alice.hears_from("bob", "#C"), "hi");
    bob.say("alice", "psst");
    assert_eq!(alice.hears_from("bob", "alice"), "psst");
    drop(bob);
    alice.hears(|line| line.starts_with(":bob!bob@fake.host QUIT"));
}

#[test]
fn a_client_that_answers_no_ping_is_disconnected() {
    let irc = FakeIrc::start();
    irc.ping_clients(Duration::from_millis(200), Duration::from_millis(300));
    let _alive = IrcUser::connect(irc.port(), "alive");
    let mut dead = Raw::connect(irc.port(), &hello("dead"));
    dead.hears("PING :fake.irc");
    dead.hears("ERROR :Closing link (Ping timeout)");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(irc.registered(), 1);
}

#[test]
fn refusals_echoes_and_labels_are_as_the_specifications_say() {
    let capabilities = ["echo-message", "labeled-response", "batch", "message-tags"].map(str::to_owned).to_vec();
    let irc = FakeIrc::start_with(FakeOptions { capabilities, ..FakeOptions::default() });
    irc.refuse_messages(&[("#Quiet", 404), ("nobody", 401)]);
    let caps = "CAP LS 302\r\nCAP REQ :labeled-response batch message-tags\r\n";
    let mut bot = Raw::connect(irc.port(), &format!("{caps}{}CAP END\r\n", hello("bot")));
    bot.hears(" 376 ");
    bot.send(
        "@label=a PRIVMSG #c :x\r\n@label=b PRIVMSG #quiet :x\r\n@label=c NOTICE #quiet :x\r\nPRIVMSG nobody :x\r\n",
    );
    bot.send("@label=d JOIN #c\r\n");
    let expected = [
        "@label=a :fake.irc ACK",
        "@label=b :fake.irc 404 bot #quiet :Cannot send to channel",
        "@label=c :fake.irc ACK",
        ":fake.irc 401 bot nobody :No such nick/channel",
        "@label=d :fake.irc BATCH +1 labeled-response",
        "@batch=1 :bot!bot@fake.host JOIN #c",
        "@batch=1 :fake.irc 353 bot = #c :bot",
        "@batch=1 :fake.irc 366 bot #c :End of NAMES list",
        ":fake.irc BATCH -1",
    ];
    for expected in expected {
        assert_eq!(bot.lines.next().unwrap(), expected);
    }
    bot.send("CAP REQ :echo-message\r\nCAP REQ :-labeled-response\r\n@label=e PRIVMSG #c :y\r\n");
    bot.hears("ACK :-labeled-response");
    assert_eq!(bot.lines.next().unwrap(), ":bot!bot@fake.host PRIVMSG #c :y");
}

/// A server that sends back what it gets.
fn echo_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut &stream).ok());
        }
    });
    port
}

fn ask(stream: &TcpStream, text: &str) -> std::io::Result<String> {
    (&*stream).write_all(text.as_bytes())?;
    let mut answer = vec![0; text.len()];
    (&*stream).read_exact(&mut answer)?;
    Ok(String::from_utf8(answer).unwrap())
}

fn through(relay: &Relay) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream
}

#[test]
fn a_relay_carries_delays_holds_and_cuts() {
    let relay = Relay::to(echo_server());
    let stream = through(&relay);
    assert_eq!(ask(&stream, "one").unwrap(), "one");
    assert_eq!(relay.carried(), (3, 3));

    relay.delay(Duration::from_millis(50));
    let start = Instant::now();
    assert_eq!(ask(&stream, "two").unwrap(), "two");
    assert!(start.elapsed() >= Duration::from_millis(100), "each way");
    relay.delay(Duration::ZERO);

    relay.hold();
    assert!(ask(&stream, "three").is_err(), "nothing arrives");
    let held = through(&relay);
    assert!(ask(&held, "late").is_err(), "on new connections neither");
    assert_eq!(relay.open(), 2);
    relay.heal();
    let mut late = [0; 9];
    (&stream).read_exact(&mut late[..5]).unwrap();
    (&held).read_exact(&mut late[5..]).unwrap();
    assert_eq!(&late, b"threelate");

    relay.hold();
    relay.abandon();
    assert!(ask(&stream, "lost").is_err(), "an abandoned connection stays as it is");
    assert_eq!(ask(&through(&relay), "new").unwrap(), "new");
    assert!(relay.wait_until_left(Duration::from_millis(100)).is_none());
    drop((stream, held));

    let stream = through(&relay);
    relay.cut();
    assert!(ask(&stream, "x").is_err() && ask(&through(&relay), "x").is_err());
    relay.heal();
    let stream = through(&relay);
    assert_eq!(ask(&stream, "well").unwrap(), "well");
    relay.reset();
    assert!(ask(&stream, "x").is_err());
    assert_eq!(ask(&through(&relay), "well").unwrap(), "well");
}

#[test]
fn a_service_is_started_again_whenever_it_ends() {
    let script = "echo up $$ >&2; trap 'exit 0' TERM; while :; do sleep 0.02; done";
    let service = Service::start("loop", move || Program::start("sh", &["-c", script], &[]));
    let limit = Duration::from_secs(10);
    service.wait_for_stderr("up", limit);
    let first = service.pid();
    service.kill();
    while service.starts() < 2 {
        thread::sleep(Duration::from_millis(5));
    }
    service.wait_for_stderr("up", limit);
    assert_ne!(service.pid(), first);
    assert!(service.terminate(limit).is_some());
    while service.starts() < 3 {
        thread::sleep(Duration::from_millis(5));
    }
    service.wait_for_stderr("up", limit);
    let codes: Vec<_> = service.past().iter().map(|output| output.status.code()).collect();
    assert_eq!(codes, [None, Some(0)]);
    assert_eq!(service.stderr().matches("up").count(), 3);
}
