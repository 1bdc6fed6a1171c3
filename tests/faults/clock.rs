//! The wall clock jumps. A preloaded library (`clock.c`) sets it for the bot's processes alone, while they run.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use super::stage::Stage;
use crate::world::Kind;

/// An hour, in seconds.
const HOUR: i32 = 3_600;

/// Builds the library into the folder of a world: its path.
fn library(folder: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/clock.c");
    let path = format!("{folder}.so");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o", &path]).arg(source).arg("-ldl").status();
    assert!(built.is_ok_and(|status| status.success()), "cc, which Rust links with, can't build a library");
    path
}

/// Lines under way at the jump may have expired by the new clock, so none is said meanwhile.
fn row_16(hours: i32) {
    let mut stage = Stage::set(Kind::Spread);
    let (library, file) = (library(&stage.world.path("clock")), stage.world.path("shift"));
    let environment = [("LD_PRELOAD", &*library), ("CLOCK_SHIFT_FILE", &*file)];
    stage.workers = (0..2).map(|_| stage.world.service(&["worker"], &environment)).collect();
    stage.connectors.clear();
    stage.counting.irc().wait_for_leave();
    stage.connectors.push(stage.world.service(&["connector"], &environment));
    stage.counting.wait_for_bot();
    let folder = stage.world.path("data-standby");
    let standby = [&environment[..], &[("PUBBOT_DATA_DIR", &*folder)]].concat();
    stage.connectors.push(stage.world.service(&["connector"], &standby));
    sleep(Duration::from_secs(3));
    let report = stage.talk_through_settled(2, |number| {
        stage.counting.settle(Duration::from_secs(10));
        std::fs::write(&file, if number == 0 { (hours * HOUR).to_string() } else { "0".to_owned() }).unwrap();
        // a standby that took the lock for free would have it by then
        sleep(Duration::from_secs(8));
    });
    report.assert_kept(0);
    assert_eq!(report.by_connection.keys().collect::<Vec<_>>(), [&2], "one speaker: {report}");
}

#[test]
fn row_16_a_clock_set_forward_changes_no_speaker() {
    row_16(1);
}

#[test]
fn row_16_a_clock_set_back_changes_no_speaker() {
    row_16(-1);
}
