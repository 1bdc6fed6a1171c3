//! Each server starts, works, is killed, starts again, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use servers::{
    Atheme, FakeIrc, FakeOptions, Hybrid, Inspircd, IrcUser, Ngircd, NgircdOptions, PostgreSql, Program, RabbitMq,
};

/// The processes whose command line (`cmdline`) or environment (`environ`) names the text. Zombies have neither.
fn processes(file: &str, text: &str) -> Vec<String> {
    let folders = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = folders.filter_map(|folder| fs::read(folder.path().join(file)).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

/// Empty when there is no such process.
fn command_line(pid: u32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn children(pid: u32) -> Vec<u32> {
    let ids = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    ids.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// Whether there is System V shared memory that this process has made.
fn has_shared_memory(pid: u32) -> bool {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    table.lines().any(|line| line.split_whitespace().nth(4) == Some(&pid.to_string()))
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "not after 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_closed(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
}

#[test]
fn rabbitmq_survives_a_kill_and_leaves_nothing_behind() {
    let start = Instant::now();
    let mut rabbitmq = RabbitMq::start();
    eprintln!("RabbitMQ started in {:?}", start.elapsed());
    let port = rabbitmq.port();
    assert_eq!(rabbitmq.url(), format!("amqp://guest:guest@127.0.0.1:{port}/%2f"));
    let node = format!("RABBITMQ_NODENAME=pubbot{port}@localhost");
    let found = processes("environ", &node);
    let epmd_port = found[0].split_once("ERL_EPMD_PORT=").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(!is_closed(epmd_port));
    rabbitmq.kill();
    assert!(is_closed(port));
    let start = Instant::now();
    rabbitmq.start_again();
    eprintln!("RabbitMQ started again in {:?}", start.elapsed());
    rabbitmq.stop();
    assert!(is_closed(port));
    let start = Instant::now();
    rabbitmq.start_again();
    eprintln!("RabbitMQ started in {:?} after a stop", start.elapsed());
    assert!(!is_closed(port));
    drop(rabbitmq);
    assert!(is_closed(port) && is_closed(epmd_port));
    wait_until("Erlang's own children are gone", || processes("environ", &node).is_empty());
}

#[test]
fn ngircd_carries_a_conversation_and_survives_a_kill() {
    let start = Instant::now();
    let mut ngircd = Ngircd::start();
    eprintln!("ngircd started in {:?}", start.elapsed());
    let (alice, bob) = (IrcUser::connect(ngircd.port(), "alice"), IrcUser::connect(ngircd.port(), "bob"));
    alice.join("#c");
    bob.join("#c");
    assert_eq!(bob.names("#c"), ["bob", "@alice"]);
    alice.say("#c", "hello  : world");
    assert_eq!(bob.hears_from("alice", "#c"), "hello  : world");
    bob.notice("alice", "psst");
    assert_eq!(alice.hears_notice_from("bob", "alice"), "psst");
    alice.send_raw("MODE #c +k secret");
    bob.hears(|line| line.contains("MODE #c"));
    IrcUser::connect(ngircd.port(), "carol").join_with_key("#c", "secret");

    ngircd.kill();
    assert!(is_closed(ngircd.port()));
    ngircd.start_again();
    IrcUser::connect(ngircd.port(), "alice");
    let port = ngircd.port();
    drop(ngircd);
    assert!(is_closed(port));
}

#[test]
fn ngircd_without_limits_relays_thousands_of_lines() {
    let ngircd = Ngircd::start();
    let (alice, bob) = (IrcUser::connect(ngircd.port(), "alice"), IrcUser::connect(ngircd.port(), "bob"));
    alice.join("#c");
    bob.join("#c");
    let start = Instant::now();
    for number in 0..5000 {
        alice.say("#c", &format!("line {number}"));
    }
    for number in 0..5000 {
        assert_eq!(bob.hears_from("alice", "#c"), format!("line {number}"));
    }
    eprintln!("ngircd relayed 5000 lines in {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn ngircd_with_limits_slows_a_flood_down() {
    let ngircd = Ngircd::start_with(NgircdOptions { limits: true, password: Some("secret".into()) });
    let alice = IrcUser::connect_with_password(ngircd.port(), "alice", Some("secret"));
    let start = Instant::now();
    for number in 0..10 {
        alice.send_raw(&format!("PRIVMSG alice :{number}\r\nPING fence{number}"));
    }
    alice.hears(|line| line.contains("fence9"));
    assert!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
#[should_panic(expected = "was refused")]
fn ngircd_with_a_password_refuses_those_without() {
    let ngircd = Ngircd::start_with(NgircdOptions { password: Some("secret".into()), ..NgircdOptions::default() });
    IrcUser::connect(ngircd.port(), "alice");
}

#[test]
fn the_fake_server_speaks_with_a_client_and_reports_its_bytes() {
    let irc = FakeIrc::start();
    irc.refuse_nicks(&["taken"]);
    let mut taken = TcpStream::connect((Ipv4Addr::LOCALHOST, irc.port())).unwrap();
    taken.write_all(b"NICK taken\r\n").unwrap();
    let mut answer = String::new();
    BufReader::new(&taken).read_line(&mut answer).unwrap();
    assert_eq!(answer, ":fake.irc 433 * taken :Nickname is already in use\r\n");

    let bot = IrcUser::connect(irc.port(), "bot");
    irc.wait_for_connections(2);
    bot.join("#c");
    assert_eq!(irc.wait_for_join("#C"), "bot");
    irc.say("alice", "#c", "hi");
    assert_eq!(bot.hears_from("alice", "#c"), "hi");
    irc.send(b":x!x@x PRIVMSG #c :\xff\xfe\r\n");
    assert_eq!(bot.hears_from("x", "#c"), "\u{fffd}\u{fffd}");
    bot.say("#c", "one");
    let line = irc.next_said();
    assert_eq!((line.connection, line.bytes.as_slice()), (2, b"PRIVMSG #c :one\r\n".as_slice()));
    assert_eq!(line.said(), Some(("#c".into(), "one".into())));
    bot.send_raw("PING a b");
    bot.hears(|line| line == ":fake.irc PONG fake.irc :a");
    irc.answer_pings(false);
    bot.send_raw("PING silence\r\nNAMES #c");
    bot.hears(|line| line == ":fake.irc 353 bot = #c :bot");
    assert!(!bot.heard().iter().any(|line| line.contains("silence")));

    irc.disconnect();
    irc.wait_for_leave();
    assert_eq!(taken.read(&mut [0; 9]).unwrap(), 0);
    assert_eq!(irc.registered(), 0);
}

#[test]
fn the_fake_server_negotiates_capabilities_and_follows_a_script() {
    let script = |line: &[u8]| line.starts_with(b"WHOIS").then(|| b":fake.irc 318 bot :scripted\r\n".to_vec());
    let capabilities = vec!["echo-message".to_owned(), "labeled-response".to_owned(), "sasl=PLAIN".to_owned()];
    let irc = FakeIrc::start_with(FakeOptions {
        capabilities,
        isupport: "MONITOR=9".into(),
        script: Some(Box::new(script)),
        multiclient: false,
    });
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, irc.port())).unwrap();
    let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
    (&stream).write_all(b"CAP LS 302\r\nNICK bot\r\nUSER bot 0 * :bot\r\nCAP REQ :echo-message labeled-response\r\nCAP REQ :nothing\r\n").unwrap();
    assert_eq!(lines.next().unwrap(), ":fake.irc CAP * LS :echo-message labeled-response sasl=PLAIN");
    assert_eq!(lines.next().unwrap(), ":fake.irc CAP bot ACK :echo-message labeled-response");
    assert_eq!(lines.next().unwrap(), ":fake.irc CAP bot NAK :nothing");
    assert_eq!(irc.registered(), 0);
    (&stream).write_all(b"CAP END\r\n@label=7 PRIVMSG #c :x\r\n@label=8 PING y\r\nWHOIS z\r\nQUIT\r\n").unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(rest[1].contains(" 005 bot CASEMAPPING=ascii ") && rest[1].contains(" MONITOR=9 :are"));
    assert_eq!(
        rest[3..],
        [
            "@label=7 :bot!bot@fake.host PRIVMSG #c :x",
            "@label=8 :fake.irc PONG fake.irc :y",
            ":fake.irc 318 bot :scripted",
            ":fake.irc ERROR :Closing link"
        ]
        .map(|line| line.replace(":fake.irc ERROR", "ERROR"))
    );
}

#[test]
fn the_fake_server_is_fast() {
    let irc = FakeIrc::start();
    let bot = IrcUser::connect(irc.port(), "bot");
    bot.join("#c");
    let start = Instant::now();
    for number in 0..100_000 {
        irc.say("alice", "#c", &format!("line {number}"));
    }
    bot.hears(|line| line.ends_with("line 99999"));
    eprintln!("100,000 lines to a client in {:?}", start.elapsed());
    let start = Instant::now();
    let text = "PRIVMSG #c :hello\r\n".repeat(100_000);
    bot.send_raw(text.trim_end());
    for _ in 0..100_000 {
        irc.next_said();
    }
    eprintln!("100,000 lines from a client in {:?}", start.elapsed());
}

#[test]
fn a_program_is_seen_and_ended() {
    let mut program = Program::start(
        "sh",
        &["-c", "echo ready >&2; read -r line; echo \"got $line, $A, ${PATH:+path}\"; exit 3"],
        &[("A", "a")],
    );
    assert_eq!(program.wait_for_stderr("rea"), "ready");
    program.write_stdin("this\n");
    let output = program.wait();
    assert_eq!(
        (output.status.code(), output.stdout.as_str(), output.stderr.as_str()),
        (Some(3), "got this, a, path\n", "ready\n")
    );

    let mut program =
        Program::start("sh", &["-c", "trap 'echo term; exit 0' TERM; echo up; while :; do sleep 0.05; done"], &[]);
    program.wait_for_stdout("up");
    program.terminate();
    assert_eq!(program.wait().stdout, "up\nterm\n");

    let mut program = Program::start("sleep", &["1234"], &[]);
    assert!(!program.wait_up_to(Duration::from_millis(50)).status.success());
    let mut program = Program::start("cat", &[], &[]);
    program.close_stdin();
    assert!(program.wait().status.success());
}

/// Runs only as the process to be killed in the test below.
#[test]
#[ignore = "the other test runs it"]
fn holds_servers_until_it_is_killed() {
    let inspircd = Inspircd::start();
    let _network = (Atheme::start(&inspircd), inspircd, Hybrid::start());
    let _servers = (RabbitMq::shared(), Ngircd::start(), Program::start("sleep", &["4321"], &[]));
    let mut frozen = PostgreSql::start();
    let pids = [PostgreSql::shared().pid(), frozen.pid()];
    frozen.freeze();
    println!("holding {pids:?} {}", RabbitMq::shared().port());
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn nothing_outlives_a_killed_test_process() {
    let temporary = tempfile::tempdir().unwrap();
    // As root some servers run as `nobody`, who has to come through this folder to their own.
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "--nocapture", "holds_servers_until_it_is_killed"])
        .env("TMPDIR", temporary.path());
    let mut holder = Program::spawn(command);
    let line = holder.wait_for_stdout("holding");
    let pids = line.split_once('[').unwrap().1.split_once(']').unwrap().0.split(", ");
    let mut postgresql: Vec<u32> = pids.map(|pid| pid.parse().unwrap()).collect();
    // The first processes, and those that they have made.
    postgresql.extend(postgresql.clone().into_iter().flat_map(children));
    assert!(postgresql.len() >= 10, "{postgresql:?}");
    let folder = temporary.path().to_str().unwrap();
    // All of them inherit TMPDIR: the holder, three servers of a network, RabbitMQ, epmd, ngircd, two PostgreSQL, the program, and a
    // watchdog for each but the first.
    assert!(processes("environ", folder).len() >= 19);
    holder.kill();
    wait_until("PostgreSQL's processes are gone", || postgresql.iter().all(|pid| command_line(*pid).is_empty()));
    assert!(!postgresql.iter().any(|pid| has_shared_memory(*pid)));
    wait_until("the servers are gone", || {
        processes("environ", folder).is_empty() && processes("cmdline", "sleep 4321").is_empty()
    });
    let is_empty = |folder: &Path| fs::read_dir(folder).unwrap().next().is_none();
    wait_until("their folders are gone", || is_empty(temporary.path()));
}
