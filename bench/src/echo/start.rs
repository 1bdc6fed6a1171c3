//! How long it takes from exec until the channel sees the bot come in: `pubbot up` beside a plain client, in turns, on a
//! real ngircd.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use servers::{IrcUser, Ngircd, Program};

use super::systems::{config, median};
use crate::executable;
use crate::failure::{Context, Result};

const CHANNEL: &str = "#start";

/// A shell that becomes the program when it is told to: so nothing is measured but the program's own start.
const ON_COMMAND: &str = "read -r go && exec \"$@\"";

/// Median times in ms.
#[derive(Serialize)]
pub(super) struct Starts {
    pub(super) runs: usize,
    pub(super) up_ms: f64,
    pub(super) raw_ms: f64,
}

pub(super) fn measure(pubbot: &Path, runs: usize) -> Result<Starts> {
    let ngircd = Ngircd::start();
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let config = config(folder.path(), ngircd.port(), "embedded:", &[CHANNEL], None)?;
    let own = executable::own()?;
    let (pubbot, port) = (pubbot.to_string_lossy(), ngircd.port().to_string());
    let up = [&*pubbot, "--config", &config, "up"];
    let raw = [own.as_str(), "raw-echo", "--irc", &port, "--channels", CHANNEL];
    let watcher = IrcUser::connect(ngircd.port(), "watcher");
    watcher.join(CHANNEL);
    let (mut ups, mut raws) = (Vec::new(), Vec::new());
    // the first of each fills the file system's cache
    for run in 0..=runs {
        let times = [once(&up, "pubbot", &watcher), once(&raw, "raw", &watcher)].map(milliseconds);
        if run > 0 {
            ups.push(times[0]);
            raws.push(times[1]);
        }
    }
    Ok(Starts { runs, up_ms: median(&ups), raw_ms: median(&raws) })
}

fn once(command: &[&str], nick: &str, watcher: &IrcUser) -> Duration {
    let mut program = Program::start("sh", &[&["-c", ON_COMMAND, "sh"], command].concat(), &[]);
    // the shell waits for its line by now
    std::thread::sleep(Duration::from_millis(30));
    let prefix = format!(":{nick}!");
    let start = Instant::now();
    program.write_stdin("go\n");
    watcher.hears(|line| line.starts_with(&prefix) && line.contains(" JOIN "));
    let took = start.elapsed();
    program.kill();
    watcher.hears(|line| line.starts_with(&prefix) && line.contains(" QUIT "));
    took
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
