//! Bad input: from the broker, and from the IRC server.

use std::time::Duration;

use super::observer::Observer;
use super::outside::Outside;
use super::stage::{RECOVERY, Stage, wait_until};
use crate::world::Kind;

/// What nobody can make sense of.
const MALFORMED: [(&str, &[u8]); 8] = [
    ("chat.irc.#one.chat", b""),
    ("chat.irc.#one.chat", b"{"),
    ("chat.irc.#one.chat", b"null"),
    ("chat.irc.#one.chat", b"[1,2]"),
    ("chat.irc.#one.chat", br#"{"content": 7}"#),
    ("chat.irc.#one.chat", br#"{"channel":"one","content":["x"]}"#),
    ("chat.irc.#one.chat", b"\xff\xfe\x00"),
    ("music.track", br#""Blue""#),
];

fn row_14(kind: Kind) {
    let stage = Stage::set(kind);
    let outside = Outside::connect(&stage.world);
    let dead = outside.dead_letters();
    let report = stage.talk_through(1, |_| {
        for (number, (key, body)) in MALFORMED.into_iter().enumerate() {
            outside.publish(key, Some(&format!("malformed-{number}")), body);
        }
    });
    report.assert_kept(0);
    wait_until("the malformed are dead", RECOVERY, || dead.count() >= MALFORMED.len());
    assert_eq!(dead.count(), MALFORMED.len(), "{:?}", dead.bodies());
}

#[test]
fn row_14_malformed_events_are_buried_at_once_and_disturb_nobody() {
    row_14(Kind::Spread);
}

#[test]
fn row_14_malformed_events_are_buried_at_once_and_disturb_nobody_with_up() {
    row_14(Kind::Up);
}

fn unknown_fields(kind: Kind) {
    let stage = Stage::set(kind);
    let outside = Outside::connect(&stage.world);
    let tail = stage.world.tail(&["music.#"]);
    outside.publish(
        "music.track",
        None,
        br#"{"id":"0190b0a0-0000-7000-8000-000000000001","title":"Blue","mood":{"deep":[1]}}"#,
    );
    let seen: serde_json::Value = serde_json::from_str(&tail.wait_for_stdout("music.track")).unwrap();
    assert_eq!(seen["mood"]["deep"][0], 1, "kept");
    assert_eq!(outside.dead_letters().bodies(), Vec::<String>::new(), "and no reason to be buried");
}

#[test]
fn row_14_unknown_fields_are_kept() {
    unknown_fields(Kind::Spread);
}

#[test]
fn row_14_unknown_fields_are_kept_by_up() {
    unknown_fields(Kind::Up);
}

/// Memory that a connector may take for the worst that a server sends.
const MEMORY_KIB: u64 = 2 * 1024;

fn row_15(kind: Kind) {
    let stage = Stage::set(kind);
    let observer = Observer::watch(&stage.world);
    stage.counting.say(500, 500);
    stage.counting.settle(RECOVERY);
    let irc = stage.counting.irc();
    let mut long = b":u!u@h PRIVMSG #one :".to_vec();
    long.resize(1_000_000, b'x');
    let bad = |number: usize| match number {
        0 => irc.send(&[&long[..], b"\r\n"].concat()),
        1 => irc.send(b":u!u@h PRIVMSG #one :!echo \xff\xfe\x80\r\n"),
        2 => irc.send(b":u!u@h PRIVMSG #one :a\0b\r\n\0\0\0\r\n\r\r\n:\r\n: \r\n@\r\n@a= :b\r\nPRIVMSG\r\n"),
        // a line that goes on and on: it ends here only so that the others can be read
        _ => (0..20).for_each(|_| irc.send(&long)),
    };
    // what many good lines take, in bounded memories of what was said, is not the bad ones' fault
    let resident = || servers::resident_kib(stage.connector().pid());
    let mut grown = 0;
    let report = stage.talk_through_settled(4, |number| {
        let before = resident();
        bad(number);
        if number == 3 {
            irc.send(b"\r\n");
        }
        std::thread::sleep(Duration::from_millis(300));
        grown += resident().saturating_sub(before);
    });
    // the undecodable text is answered too: that is one strange line, and only that
    assert!(report.lost.is_empty() && report.extra() == 0 && report.strange_count == 1, "{report}");
    assert!(grown < MEMORY_KIB, "{grown} KiB more");
    observer.assert_no_gap();
    assert_eq!(irc.connections(), 1, "it was never thrown off its stride");
}

#[test]
fn row_15_no_line_is_too_much() {
    row_15(Kind::Spread);
}

#[test]
fn row_15_no_line_is_too_much_for_up() {
    row_15(Kind::Up);
}
