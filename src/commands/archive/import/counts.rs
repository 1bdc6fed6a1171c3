//! What came of an import, in numbers, with the first of the lines that made no sense.

use std::io::{self, Write};

use crate::failure::{Failure, unless_closed};
use crate::terminal::{grouped, tell};

/// So many broken lines are shown.
pub const MAX_SHOWN: usize = 10;

/// The numbers.
#[derive(Debug, Default)]
pub struct Counts {
    /// Lines of all files.
    pub lines: u64,
    /// Events that are new in the archive.
    pub imported: u64,
    /// Events that it had, or that it is not to have.
    pub there: u64,
    /// Lines that made no sense.
    pub broken: u64,
    /// Files that could not be read, or not to their ends.
    pub unreadable: u64,
    shown: Vec<String>,
}

/// Lines of one batch that made no sense.
#[derive(Debug, Default)]
pub struct BrokenLines {
    /// How many.
    pub count: u64,
    /// The first of them, with their numbers and what is wrong; nothing in them steers a terminal.
    pub first: Vec<String>,
}

impl Counts {
    /// So many events were handed to the archive, and so many were new to it.
    pub fn add(&mut self, events: usize, new: usize) {
        self.imported += new as u64;
        self.there += events.saturating_sub(new) as u64;
    }

    /// These lines of this file made no sense.
    pub fn add_broken(&mut self, file: &str, broken: BrokenLines) {
        self.broken += broken.count;
        let room = MAX_SHOWN - self.shown.len();
        self.shown.extend(broken.first.iter().take(room).map(|line| format!("{file}: {line}")));
    }

    /// Shows all of it.
    pub fn show(&self) -> Result<(), Failure> {
        self.shown.iter().for_each(|line| tell(line));
        if self.broken > self.shown.len() as u64 {
            tell(&format!("… and {} more broken lines", grouped(self.broken - self.shown.len() as u64)));
        }
        unless_closed(io::stdout().write_all(self.text().as_bytes()))
    }

    fn text(&self) -> String {
        let rows = [
            (self.lines, "lines read"),
            (self.imported, "imported"),
            (self.there, "there already"),
            (self.broken, "broken"),
        ];
        let width = rows.iter().map(|(number, _)| grouped(*number).len()).max().unwrap_or_default();
        rows.iter().map(|(number, what)| format!("{:>width$} {what}\n", grouped(*number))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_stand_one_below_the_other_and_ten_broken_lines_are_shown() {
        let mut counts = Counts { lines: 1_234, ..Counts::default() };
        counts.add(1_000, 900);
        counts.add_broken("a.log", BrokenLines { count: 20, first: vec!["line 1: why".into(); 9] });
        counts.add_broken("b.log", BrokenLines { count: 20, first: vec!["line 1: why".into(); 9] });
        assert_eq!(counts.text(), "1,234 lines read\n  900 imported\n  100 there already\n   40 broken\n");
        assert_eq!(counts.shown.len(), MAX_SHOWN);
        assert_eq!(counts.shown[9], "b.log: line 1: why");
    }
}
