//! How far an import is, on a terminal only: the part of all files' bytes that was read.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use super::counts::Counts;
use crate::terminal::{grouped, tell};

const SHAPE: &str = "{wide_bar} {percent:>3} %  {msg}";

/// A bar at the foot of the terminal; nothing where there is none.
pub struct Progress {
    bar: ProgressBar,
    sizes: std::vec::IntoIter<u64>,
    /// Bytes of the files that are done.
    done: u64,
}

impl Progress {
    /// For an import of these files.
    pub fn over(files: &[PathBuf]) -> Self {
        let size = |file: &PathBuf| file.metadata().map_or(0, |about| about.len());
        let sizes: Vec<u64> = files.iter().map(size).collect();
        let bar = ProgressBar::new(sizes.iter().sum());
        if let Ok(style) = ProgressStyle::with_template(SHAPE) {
            bar.set_style(style);
        }
        Progress { bar, sizes: sizes.into_iter(), done: 0 }
    }

    /// So much of the present file was read.
    pub fn at(&self, bytes: u64, counts: &Counts) {
        self.bar.set_position(self.done + bytes);
        self.bar.set_message(format!("{} events", grouped(counts.imported + counts.there)));
    }

    /// The next file.
    pub fn file_is_done(&mut self) {
        self.done += self.sizes.next().unwrap_or_default();
        self.bar.set_position(self.done);
    }

    /// Tells something above the bar.
    pub fn tell(&self, text: &str) {
        self.bar.suspend(|| tell(text));
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
