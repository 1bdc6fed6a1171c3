//! Logs of ZNC: lines like EnergyMech's, one file a day, in folders for user, network and channel.

use super::Why;
use super::energymech::{self, bracketed};
use super::entry::Entry;

/// How lines begin that ZNC writes of itself; most of them stand in the log of the window `status`.
const NOISE: [&str; 3] = ["Connected to IRC (", "Disconnected from IRC (", "Broadcast: "];

/// What the line says. `channel` is the one into which the log is read; `None` takes any.
pub(super) fn read(line: &str, channel: Option<&str>) -> Result<Entry, Why> {
    if is_noise(line) { Ok(Entry::Noise) } else { energymech::read(line, channel) }
}

/// Only ZNC writes such a line.
pub(super) fn is_noise(line: &str) -> bool {
    let said = bracketed(line).and_then(|(_, rest)| rest.strip_prefix(' '));
    said.is_some_and(|said| NOISE.iter().any(|noise| said.starts_with(noise)))
}

#[cfg(test)]
mod tests {
    use super::super::reader::samples::{assert_reads, broken};
    use crate::archive::Kind::*;
    use crate::logs::{Format, Why};

    #[test]
    fn a_log_of_znc_is_read() {
        let log = "\
[00:00:01] Connected to IRC (irc.example.org +6697)
[10:00:00] <alice> hi
[10:00:00.250] * alice waves
[10:00:01] -alice- a notice
[10:00:02] *** Joins: bob (~bob@host.example)
[10:00:02] *** Server sets mode: +m \n\
[10:00:03] *** alice changes topic to ''
[10:00:04] *** carol was kicked by alice ()
[10:00:05] *** Parts: bob (~bob@host.example) ()
[10:00:05] *** Quits: dave (~dave@host.example) (Ping timeout: 240 seconds)
[23:59:59] Disconnected from IRC (irc.example.org +6697)
";
        assert_reads(
            Format::Znc,
            log,
            &[
                ("2026-11-28 10:00:00", 0, Chat, "alice", "", "hi"),
                ("2026-11-28 10:00:00.250", 0, Action, "alice", "", "waves"),
                ("2026-11-28 10:00:01", 0, Notice, "alice", "", "a notice"),
                ("2026-11-28 10:00:02", 0, Join, "bob", "", ""),
                ("2026-11-28 10:00:02", 1, Mode, "Server", "", "+m"),
                ("2026-11-28 10:00:03", 0, Topic, "alice", "", ""),
                ("2026-11-28 10:00:04", 0, Kick, "alice", "carol", ""),
                ("2026-11-28 10:00:05", 0, Part, "bob", "", ""),
                ("2026-11-28 10:00:05", 1, Quit, "dave", "", "Ping timeout: 240 seconds"),
            ],
        );
    }

    #[test]
    fn what_is_no_line_of_the_channel_is_counted_with_its_reason() {
        let log = "[10:00:00] Connected\n[25:00:00] <alice> hi\n";
        assert_eq!(broken(Format::Znc, log), [(1, Why::Unknown), (2, Why::NoTime)]);
    }
}
