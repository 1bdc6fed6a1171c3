//! Logging in, from outside: where the account is required and the server refuses it, the bot joins nothing, says why,
//! and shows its password to nobody who has not asked for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use servers::{FakeIrc, FakeOptions};

use crate::world::{Kind, World};

const PASSWORD: &str = "hunter2";
/// `bot NUL bot NUL hunter2` in base64.
const PLAIN: &str = "AUTHENTICATE Ym90AGJvdABodW50ZXIy";
const NETWORK: &str = "channels = [\"#room\"]\naccount = \"bot\"\naccount_password = \"hunter2\"";

/// A server that takes PLAIN, and asks for the password once it is told to; then it says this.
fn server(asks: &Arc<AtomicBool>, verdict: &'static str) -> FakeIrc {
    let asks = Arc::clone(asks);
    let script = move |line: &[u8]| match line {
        b"AUTHENTICATE PLAIN" if asks.load(Ordering::Relaxed) => Some(b"AUTHENTICATE +\r\n".to_vec()),
        b"AUTHENTICATE PLAIN" => Some(Vec::new()),
        _ if line.starts_with(b"AUTHENTICATE ") => Some(format!(":fake.irc {verdict}\r\n").into_bytes()),
        _ => None,
    };
    let capabilities = vec!["multi-prefix".to_owned(), "sasl=PLAIN".to_owned()];
    FakeIrc::start_with(FakeOptions { capabilities, script: Some(Box::new(script)), ..FakeOptions::default() })
}

/// The bot's lines up to the one that begins so.
fn lines_until(irc: &FakeIrc, beginning: &str) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.starts_with(beginning)) {
        lines.push(irc.next_line().text());
    }
    lines
}

fn hold_the_password(lines: &[String]) -> bool {
    lines.iter().any(|line| line == PLAIN || line.contains(PASSWORD))
}

#[test]
fn a_refused_login_fails_closed_and_the_password_waits_until_it_is_asked_for() {
    let asks = Arc::new(AtomicBool::new(false));
    let irc = server(&asks, "904 pubbot :SASL authentication failed");
    let world = World::new(Kind::Up, irc.port(), &[]);
    world.configure(NETWORK, "");
    let bot = world.bot(1);
    // the server does not ask
    let mut lines = lines_until(&irc, "AUTHENTICATE ");
    while let Some(line) = irc.try_next_line(Duration::from_secs(1)) {
        lines.push(line.text());
    }
    assert!(!hold_the_password(&lines), "{lines:?}");
    asks.store(true, Ordering::Relaxed);
    irc.disconnect();
    // it asks, and refuses
    lines.extend(lines_until(&irc, PLAIN));
    let told = bot[0].wait_for_stderr("not logged in");
    assert!(told.contains("PLAIN (904 SASL authentication failed)"), "{told}");
    irc.wait_for_connections(3);
    lines.extend(lines_until(&irc, PLAIN));
    irc.wait_for_leave();
    while let Some(line) = irc.try_next_line(Duration::from_millis(100)) {
        lines.push(line.text());
    }
    assert!(lines.iter().all(|line| !line.starts_with("JOIN") && !line.starts_with("CAP END")), "{lines:?}");
    assert!(irc.visits().iter().all(|visit| visit.registered.is_none()));
    drop(irc);
    assert!(!bot[0].stderr().contains(PASSWORD), "{}", bot[0].stderr());
}

#[test]
fn a_login_that_is_taken_is_followed_by_the_channels() {
    let asks = Arc::new(AtomicBool::new(true));
    let irc = server(&asks, "903 pubbot :SASL authentication successful");
    let world = World::new(Kind::Up, irc.port(), &[]);
    world.configure(NETWORK, "");
    let _bot = world.bot(1);
    let lines = lines_until(&irc, "JOIN #room");
    let place = |wanted: &str| lines.iter().position(|line| line == wanted);
    assert!(place("AUTHENTICATE PLAIN") < place(PLAIN) && place(PLAIN) < place("CAP END"), "{lines:?}");
    assert!(place("AUTHENTICATE PLAIN").is_some(), "{lines:?}");
    irc.wait_for_join("#room");
    irc.say("alice", "#room", "!ping");
    assert_eq!(irc.next_said().said().unwrap().1, "alice: pong!");
}
