//! The formats that are read, and how one is told from another.

use super::entry::Entry;
use super::lines::decoded;
use super::{Why, day_in_name, energymech, irssi, json, weechat, znc};

/// How many lines of a file are looked at to tell its format.
const GUESSED_BY: usize = 100;

/// A format of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text of irssi.
    Irssi,
    /// Text of WeeChat.
    Weechat,
    /// Text of EnergyMech; of mIRC, where events are marked with `***`.
    Energymech,
    /// Text of ZNC's module `log`.
    Znc,
    /// JSON lines as the archive writes them ([`json`]).
    Json,
}

impl Format {
    /// The format in which most of the first lines make sense; `None` where none does in any. `head` is the beginning of
    /// the file, of which 100 lines are looked at; `name` its name, by which ZNC is told from EnergyMech.
    ///
    /// ```
    /// use store::logs::Format;
    ///
    /// assert_eq!(Format::guess(b"10:00 < alice> hi\n", "#rust.log"), Some(Format::Irssi));
    /// assert_eq!(Format::guess(b"Dear diary,\n", "#rust.log"), None);
    /// ```
    pub fn guess(head: &[u8], name: &str) -> Option<Format> {
        let text = decoded(head).replace('\r', "");
        let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().take(GUESSED_BY).collect();
        let mut best = (0, None);
        // irssi comes last: it can be told to write its times as the others do
        for format in [Format::Json, Format::Weechat, Format::Energymech, Format::Irssi] {
            let known = lines.iter().filter(|line| format.knows(line)).count();
            best = if known > best.0 { (known, Some(format)) } else { best };
        }
        match best.1 {
            Some(Format::Energymech) if is_of_znc(&lines, name) => Some(Format::Znc),
            None if lines.iter().any(|line| znc::is_noise(line)) => Some(Format::Znc),
            guessed => guessed,
        }
    }

    fn knows(self, line: &str) -> bool {
        match self {
            Format::Json => json::read(line, "", "").is_ok(),
            _ => self.read(line, None).is_ok_and(|entry| entry != Entry::Noise),
        }
    }

    /// What a line of text says. JSON lines are read elsewhere: they say more.
    pub(super) fn read(self, line: &str, channel: Option<&str>) -> Result<Entry, Why> {
        match self {
            Format::Irssi => irssi::read(line, channel),
            Format::Weechat => weechat::read(line, channel),
            Format::Energymech => energymech::read(line, channel),
            Format::Znc => znc::read(line, channel),
            Format::Json => Err(Why::Unknown),
        }
    }
}

/// ZNC names a file for its day and nothing else, and writes of itself.
fn is_of_znc(lines: &[&str], name: &str) -> bool {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let only_a_day = file.len() == "2026-11-28.log".len() && file.ends_with(".log") && day_in_name(file).is_some();
    only_a_day || lines.iter().any(|line| znc::is_noise(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_by_its_lines() {
        let json = r#"{"at":"2026-11-28T10:00:05Z","kind":"chat","nick":"alice","text":"hi"}"#;
        for (head, format) in [
            ("--- Log opened Sat Nov 28 10:00:00 2026\n", Format::Irssi),
            ("10:00 < alice> hi\n10:00 -!- bob [b@h] has joined #c", Format::Irssi),
            ("[10:00] < alice> hi\n[10:00] -!- bob [b@h] has joined #c", Format::Irssi),
            ("2026-11-28 10:00:00\talice\thi\n", Format::Weechat),
            ("\u{feff}[10:00:00] <alice> hi\r\n", Format::Energymech),
            ("[10:00:00] Connected to IRC (irc.example.org 6667)\n[10:00:00] <alice> hi\n", Format::Znc),
            ("[10:00:00] Connected to IRC (irc.example.org 6667)\n", Format::Znc),
            (json, Format::Json),
        ] {
            assert_eq!(Format::guess(head.as_bytes(), "x.log"), Some(format), "{head}");
        }
        assert_eq!(Format::guess(b"[10:00:00] <alice> hi", "a/#c/2026-11-28.log"), Some(Format::Znc));
        assert_eq!(Format::guess(b"[10:00:00] <alice> hi", "a/#c_20261128.log"), Some(Format::Energymech));
    }

    #[test]
    fn what_is_no_log_has_no_format() {
        for head in ["", "\n\n", "Dear diary,\n", "{}", "10:00 tea\n", "\u{0}\u{1}\u{2}"] {
            assert_eq!(Format::guess(head.as_bytes(), "2026-11-28.log"), None, "{head}");
        }
    }
}
