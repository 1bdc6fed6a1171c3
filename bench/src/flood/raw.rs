//! What a server allows: clients that do nothing but speak, each with another number of lines that it keeps on their way, the next one
//! written as soon as an observer sees one. The server's own limit is their clock, so the fastest of them is as fast as it lets anybody be.

use std::thread;
use std::time::Duration;

use servers::IrcUser;

use super::seen::Seen;
use super::text;

/// How many lines are on their way.
const AHEAD: [usize; 5] = [1, 2, 3, 4, 8];
/// Until then what the registration has cost is forgiven.
pub(super) const FORGIVEN_AFTER: Duration = Duration::from_secs(20);

/// What one of them could do.
pub(super) struct Raw {
    pub(super) ahead: usize,
    pub(super) seen: Seen,
}

/// The fastest of them, which speak at the same time, in channels of their own.
pub(super) fn best(port: u16, lines: usize) -> Raw {
    thread::scope(|scope| {
        let clients = AHEAD.map(|ahead| scope.spawn(move || Raw { ahead, seen: speak(port, ahead, lines) }));
        let all = clients.into_iter().filter_map(|client| client.join().ok());
        let best = all.max_by(|a, b| a.seen.rate().total_cmp(&b.seen.rate()));
        best.unwrap_or_else(|| panic!("no raw client came to its end"))
    })
}

fn speak(port: u16, ahead: usize, lines: usize) -> Seen {
    let (nick, channel) = (format!("raw{ahead}"), format!("#raw{ahead}"));
    let (client, observer) = (IrcUser::connect(port, &nick), IrcUser::connect(port, &format!("sees{ahead}")));
    client.join(&channel);
    observer.join(&channel);
    thread::sleep(FORGIVEN_AFTER);
    let write = |number| client.say(&channel, &text(number));
    (0..ahead.min(lines)).for_each(write);
    Seen::watch(&observer, &nick, lines, |seen| {
        if seen + ahead <= lines {
            write(seen + ahead - 1);
        }
    })
}
