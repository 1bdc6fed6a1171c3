//! What happens on the IRC network: netsplits, and half-open connections.

use std::time::Duration;

use super::observer::Observer;
use super::stage::{CHANNELS, Stage};
use crate::world::Kind;

/// How many leave, and come back.
const SPLIT: usize = 1_000;

fn row_28(kind: Kind) {
    let stage = Stage::set(kind);
    let observer = Observer::watch(&stage.world);
    for number in 0..SPLIT {
        let channel = CHANNELS[number % CHANNELS.len()];
        stage.counting.irc().send(format!(":u{number}!u@split JOIN {channel}\r\n").as_bytes());
    }
    let report = stage.talk_through(2, |turn| {
        let mut lines = String::new();
        for number in 0..SPLIT {
            let channel = CHANNELS[number % CHANNELS.len()];
            lines += &match turn {
                0 => format!(":u{number}!u@split QUIT :hub.example leaf.example\r\n"),
                _ => format!(":u{number}!u@split JOIN {channel}\r\n"),
            };
        }
        stage.counting.irc().send(lines.as_bytes());
    });
    report.assert_kept(0);
    assert!(report.p99 < Duration::from_secs(1), "{report}");
    observer.assert_no_gap();
}

#[test]
fn row_28_a_netsplit_loses_nothing_and_delays_little() {
    row_28(Kind::Spread);
}

#[test]
fn row_28_a_netsplit_loses_nothing_and_delays_little_with_up() {
    row_28(Kind::Up);
}
