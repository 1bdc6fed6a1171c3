//! Real IRC servers as networks run them: they carry conversations, have accounts, and stop who speaks too fast.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use servers::{Atheme, Certificate, Hybrid, Inspircd, InspircdLimits, InspircdOptions, IrcUser, Ngircd};

/// `\0alice\0right` and `\0alice\0wrong` in base64, as SASL PLAIN wants it.
const ALICE_RIGHT: &str = "AGFsaWNlAHJpZ2h0";
const ALICE_WRONG: &str = "AGFsaWNlAHdyb25n";

fn is_closed(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
}

/// Two people in a channel hear each other.
fn carries_a_conversation(port: u16) {
    let (alice, bob) = in_a_channel(port);
    let mut names = bob.names("#c");
    names.sort();
    assert_eq!(names, ["@alice", "bob"]);
    alice.say("#c", "hello  : world");
    assert_eq!(bob.hears_from("alice", "#c"), "hello  : world");
    bob.notice("alice", "psst");
    assert_eq!(alice.hears_notice_from("bob", "alice"), "psst");
    alice.send_raw("MODE #c +k secret");
    bob.hears(|line| line.contains("MODE #c"));
    IrcUser::connect(port, "carol").join_with_key("#c", "secret");
}

fn in_a_channel(port: u16) -> (IrcUser, IrcUser) {
    let (alice, bob) = (IrcUser::connect(port, "alice"), IrcUser::connect(port, "bob"));
    alice.join("#c");
    bob.join("#c");
    (alice, bob)
}

/// A thousand lines at once come through, in order.
fn relays_a_thousand_lines(port: u16) {
    let (alice, bob) = in_a_channel(port);
    let start = Instant::now();
    let lines: Vec<String> = (0..1000).map(|number| format!("PRIVMSG #c :line {number}")).collect();
    alice.send_raw(&lines.join("\r\n"));
    for number in 0..1000 {
        assert_eq!(bob.hears_from("alice", "#c"), format!("line {number}"));
    }
    eprintln!("1,000 lines relayed in {:?}", start.elapsed());
}

/// Of so many short lines sent at once the last one comes, but not before `at_least`.
fn slows_down(port: u16, lines: u32, at_least: Duration) {
    let (alice, bob) = in_a_channel(port);
    let start = Instant::now();
    let flood: Vec<String> = (1..=lines).map(|number| format!("PRIVMSG #c :line {number}")).collect();
    alice.send_raw(&flood.join("\r\n"));
    for number in 1..=lines {
        assert_eq!(bob.hears_from("alice", "#c"), format!("line {number}"));
    }
    eprintln!("{lines} lines took {:?}", start.elapsed());
    assert!(start.elapsed() > at_least, "{:?}", start.elapsed());
}

/// Who sends 100 lines of 400 bytes at once is thrown out for this reason, and others see it.
fn throws_out(port: u16, reason: &str) {
    let (alice, bob) = in_a_channel(port);
    let line = format!("PRIVMSG #c :{}", "x".repeat(400));
    alice.send_raw(&vec![line; 100].join("\r\n"));
    let quit = bob.hears(|line| line.contains(" QUIT "));
    assert!(quit.starts_with(":alice!") && quit.ends_with(reason), "{quit}");
}

#[test]
fn inspircd_carries_a_conversation_and_survives_a_kill() {
    let start = Instant::now();
    let mut inspircd = Inspircd::start();
    eprintln!("InspIRCd started in {:?}", start.elapsed());
    let (port, tls_port) = (inspircd.port(), inspircd.tls_port());
    carries_a_conversation(port);
    inspircd.kill();
    assert!(is_closed(port) && is_closed(tls_port));
    inspircd.start_again();
    IrcUser::connect(port, "alice");
    drop(inspircd);
    assert!(is_closed(port) && is_closed(tls_port));
}

#[test]
fn inspircd_offers_what_it_has_of_ircv3() {
    let inspircd = Inspircd::start_with(InspircdOptions { sts: true, ..InspircdOptions::default() });
    let offers = inspircd.offers();
    let offered: Vec<&str> = offers.split(' ').collect();
    for capability in [
        "account-notify",
        "account-tag",
        "away-notify",
        "batch",
        "cap-notify",
        "chghost",
        "echo-message",
        "extended-join",
        "invite-notify",
        "labeled-response",
        "message-tags",
        "multi-prefix",
        "server-time",
        "setname",
        "userhost-in-names",
    ] {
        assert!(offered.contains(&capability), "{capability} is missing in {offers}");
    }
    let sts = offered.iter().find_map(|offer| offer.strip_prefix("sts=")).expect("sts is offered");
    assert!(sts.contains(&format!("port={}", inspircd.tls_port())), "{sts}");
    assert!(!offers.contains("sasl"), "no services, no accounts: {offers}");
}

#[test]
fn inspircd_labels_echoes_and_dates_what_is_said() {
    let inspircd = Inspircd::start();
    let alice = IrcUser::connect(inspircd.port(), "alice");
    alice.send_raw("CAP REQ :batch echo-message labeled-response message-tags server-time");
    alice.hears(|line| line.contains(" ACK "));
    alice.join("#c");
    alice.send_raw("@label=7 PRIVMSG #c :hello");
    let echo = alice.hears(|line| line.contains("PRIVMSG #c :hello"));
    let tags = echo.split(' ').next().unwrap();
    assert!(["label=7", "msgid=", "time="].iter().all(|tag| tags.contains(tag)), "{echo}");
}

#[test]
#[should_panic(expected = "bob was refused")]
fn inspircd_with_a_password_refuses_those_without() {
    let options = InspircdOptions { password: Some("secret".into()), ..InspircdOptions::default() };
    let inspircd = Inspircd::start_with(options);
    IrcUser::connect_with_password(inspircd.port(), "alice", Some("secret"));
    IrcUser::connect(inspircd.port(), "bob");
}

#[test]
fn inspircd_without_limits_relays_a_thousand_lines() {
    relays_a_thousand_lines(Inspircd::start().port());
}

fn inspircd_with(limits: InspircdLimits) -> Inspircd {
    Inspircd::start_with(InspircdOptions { limits, ..InspircdOptions::default() })
}

#[test]
fn inspircd_with_its_limits_slows_a_flood_down() {
    // 8 at once, then one a second.
    slows_down(inspircd_with(InspircdLimits::Kept).port(), 12, Duration::from_secs(3));
}

#[test]
fn inspircd_with_its_limits_throws_out_whose_lines_pile_up() {
    throws_out(inspircd_with(InspircdLimits::Kept).port(), ":RecvQ exceeded");
}

#[test]
fn inspircd_without_fakelag_throws_out_who_floods() {
    let inspircd = inspircd_with(InspircdLimits::WithoutFakelag);
    let (alice, bob) = in_a_channel(inspircd.port());
    alice.send_raw(&["PRIVMSG #c :short"; 30].join("\r\n"));
    assert!(bob.hears(|line| line.contains(" QUIT ")).ends_with(":Excess Flood"));
    alice.hears(|line| line.starts_with("ERROR") && line.contains("Excess Flood"));
}

/// What the server says at the end of SASL PLAIN, before the client has registered; then it registers.
fn logs_in(port: u16, nick: &str, credentials: &str) -> (IrcUser, String) {
    let user = IrcUser::connect_silently(port, nick);
    user.send_raw(&format!("CAP REQ :sasl\r\nNICK {nick}\r\nUSER {nick} 0 * :{nick}\r\nAUTHENTICATE PLAIN"));
    user.hears(|line| line.starts_with("AUTHENTICATE") && line.ends_with('+'));
    user.send_raw(&format!("AUTHENTICATE {credentials}"));
    let end = user.hears(|line| numeric(line).starts_with("90") && numeric(line) != "900");
    user.send_raw("CAP END");
    user.hears(|line| numeric(line) == "001");
    (user, numeric(&end).to_owned())
}

/// A service first says other things, too: that the nick is registered, who has logged in.
fn hears_notice(user: &IrcUser, service: &str, text: &str) {
    user.hears(|line| line.starts_with(&format!(":{service}!")) && line.contains(" NOTICE ") && line.contains(text));
}

fn numeric(line: &str) -> &str {
    line.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn accounts_are_logged_in_to_with_sasl_plain() {
    let inspircd = Inspircd::start();
    let start = Instant::now();
    let atheme = Atheme::start(&inspircd);
    eprintln!("Atheme started in {:?}", start.elapsed());
    atheme.register("alice", "right");
    assert!(inspircd.offers().split(' ').any(|offer| offer == "sasl=PLAIN,EXTERNAL"), "{}", inspircd.offers());
    assert_eq!(logs_in(inspircd.port(), "wrong", ALICE_WRONG).1, "904");
    let (alice, end) = logs_in(inspircd.port(), "alice", ALICE_RIGHT);
    assert_eq!(end, "903");
    alice.send_raw("WHOIS alice");
    alice.hears(|line| numeric(line) == "330" && line.contains(" alice "));
}

#[test]
fn services_come_and_go_and_keep_their_accounts() {
    let inspircd = Inspircd::start();
    let watcher = IrcUser::connect_silently(inspircd.port(), "watcher");
    watcher.send_raw("CAP LS 302");
    let mut atheme = Atheme::start(&inspircd);
    watcher.hears(|line| line.ends_with(" NEW :sasl=PLAIN,EXTERNAL"));
    atheme.register("alice", "right");
    atheme.stop();
    assert!(!inspircd.offers().contains("sasl"));
    atheme.start_again();
    assert_eq!(logs_in(inspircd.port(), "alice2", ALICE_RIGHT).1, "903");
}

#[test]
fn services_link_again_when_inspircd_was_killed() {
    let options = InspircdOptions { password: Some("secret".into()), ..InspircdOptions::default() };
    let mut inspircd = Inspircd::start_with(options);
    let atheme = Atheme::start(&inspircd);
    inspircd.start_again();
    atheme.wait_until_linked();
    atheme.register("alice", "right");
}

#[test]
fn nicks_are_taken_back_by_ghost_regain_and_recover() {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    atheme.register("alice", "right");
    atheme.register("carol", "right");
    let port = inspircd.port();
    let thief = IrcUser::connect(port, "alice");
    let user = IrcUser::connect(port, "user");
    user.say("NickServ", "GHOST alice wrong");
    hears_notice(&user, "NickServ", "Invalid password");
    user.say("NickServ", "GHOST alice right");
    hears_notice(&user, "NickServ", "has been ghosted");
    thief.hears(|line| line.starts_with("ERROR") && line.contains("GHOST"));
    for (command, nick) in [("REGAIN", "alice"), ("RECOVER", "carol")] {
        let thief = IrcUser::connect(port, nick);
        user.say("NickServ", &format!("{command} {nick} right"));
        user.hears(|line| numeric(line) == "NICK" && line.ends_with(&format!(":{nick}")));
        thief.hears(|line| line.starts_with(&format!(":{nick}!")) && line.contains(" NICK :Guest"));
    }
}

#[test]
fn channels_are_registered_and_their_founder_gets_op() {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    atheme.register("alice", "right");
    let alice = IrcUser::connect(inspircd.port(), "alice");
    alice.say("NickServ", "IDENTIFY right");
    hears_notice(&alice, "NickServ", "You are now identified");
    alice.join("#c");
    alice.say("ChanServ", "REGISTER #c");
    hears_notice(&alice, "ChanServ", "is now registered");
    alice.send_raw("MODE #c -o alice");
    alice.say("ChanServ", "OP #c");
    alice.hears(|line| line.starts_with(":ChanServ!") && line.contains("MODE #c +o"));
}

/// A client over TLS that trusts this server's certificate only, and shows one of its own.
struct TlsUser(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl TlsUser {
    fn connect(port: u16, server: &Certificate, name: &str, own: &Certificate) -> Self {
        let mut trusted = RootCertStore::empty();
        trusted.add(CertificateDer::from_pem_slice(server.pem().as_bytes()).unwrap()).unwrap();
        let certificate = CertificateDer::from_pem_slice(own.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(own.key_pem().as_bytes()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(trusted);
        let config = config.with_client_auth_cert(vec![certificate], key).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(servers::PATIENCE)).unwrap();
        Self(BufReader::new(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)))
    }

    fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    fn hears(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the server has closed the connection");
            if wanted(line.trim_end()) {
                return line.trim_end().to_owned();
            }
        }
    }
}

#[test]
fn a_client_certificate_logs_in_with_sasl_external() {
    let names = vec!["chat.example".to_owned(), "127.0.0.1".to_owned()];
    let inspircd = Inspircd::start_with(InspircdOptions { names, ..InspircdOptions::default() });
    let atheme = Atheme::start(&inspircd);
    let (known, unknown) = (Certificate::for_names(&["bot"]), Certificate::for_names(&["other"]));
    atheme.register("alice", "right");
    atheme.add_fingerprint("alice", "right", known.fingerprint());
    for (name, own, expected) in [("chat.example", &known, "903"), ("127.0.0.1", &unknown, "904")] {
        let mut user = TlsUser::connect(inspircd.tls_port(), inspircd.certificate(), name, own);
        user.send("CAP REQ :sasl\r\nNICK alice\r\nUSER alice 0 * :alice\r\nAUTHENTICATE EXTERNAL");
        user.hears(|line| line.starts_with("AUTHENTICATE") && line.ends_with('+'));
        user.send("AUTHENTICATE +");
        let end = user.hears(|line| numeric(line).starts_with("90") && numeric(line) != "900");
        assert_eq!(numeric(&end), expected, "{end}");
        user.send("QUIT");
        user.hears(|line| line.starts_with("ERROR"));
    }
}

#[test]
fn hybrid_carries_a_conversation_and_survives_a_kill() {
    let start = Instant::now();
    let mut hybrid = Hybrid::start();
    eprintln!("ircd-hybrid started in {:?}", start.elapsed());
    let port = hybrid.port();
    carries_a_conversation(port);
    hybrid.kill();
    assert!(is_closed(port));
    hybrid.start_again();
    IrcUser::connect(port, "alice");
    drop(hybrid);
    assert!(is_closed(port));
}

/// An operator throws out and keeps out whom they want; what the server says of it.
fn an_operator_kills_and_klines(port: u16, kline: &str) {
    let (alice, bob) = in_a_channel(port);
    alice.becomes_operator();
    alice.send_raw("KILL bob :enough");
    let error = bob.hears(|line| line.starts_with("ERROR"));
    assert!(error.to_lowercase().contains("killed"), "{error}");
    alice.send_raw(kline);
    let carol = IrcUser::connect_silently(port, "carol");
    carol.send_raw("NICK carol\r\nUSER banned 0 * :carol");
    let error = carol.hears(|line| line.starts_with("ERROR"));
    eprintln!("{error}");
}

#[test]
fn operators_kill_and_kline() {
    an_operator_kills_and_klines(Ngircd::start().port(), "KLINE *!~banned@* 600 :no bots");
    an_operator_kills_and_klines(Inspircd::start().port(), "KLINE banned@* 600 :no bots");
    an_operator_kills_and_klines(Hybrid::start().port(), "KLINE 10 *banned@* :no bots");
}

#[test]
fn hybrid_without_limits_relays_a_thousand_lines() {
    relays_a_thousand_lines(Hybrid::start().port());
}

#[test]
fn hybrid_with_its_limits_slows_a_flood_down() {
    // 5 at once, then 2 every 2 seconds.
    slows_down(Hybrid::start_with_limits().port(), 10, Duration::from_secs(3));
}

#[test]
fn hybrid_with_its_limits_throws_out_whose_lines_pile_up() {
    throws_out(Hybrid::start_with_limits().port(), ":Excess Flood");
}
