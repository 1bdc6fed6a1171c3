//! Where an export goes: standard output, or a file that is there only when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failure::{self, Failure};
use crate::terminal::{Harmless, harmless};

/// Written in pieces of this size.
const BUFFER_BYTES: usize = 64 * 1024;

/// Where it goes.
pub enum Out {
    /// To a program, or a file that the shell opened.
    Stdout(BufWriter<Stdout>),
    /// Before somebody's eyes.
    Terminal(Harmless<BufWriter<Stdout>>),
    /// To a device or a pipe.
    Device(BufWriter<File>),
    /// To a file.
    File(Unfinished),
}

/// A file that has another name until it is complete.
pub struct Unfinished {
    file: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
}

impl Out {
    /// Opens it. What people have said is for nobody else on this machine, so a new file is its owner's only.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            let stdout = BufWriter::with_capacity(BUFFER_BYTES, io::stdout());
            let is_seen = io::stdout().is_terminal();
            return Ok(if is_seen { Out::Terminal(Harmless::new(stdout)) } else { Out::Stdout(stdout) });
        };
        let is_device = path.metadata().is_ok_and(|about| !about.is_file() && !about.is_dir());
        let part = if is_device { path.to_owned() } else { part_of(path) };
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let file = BufWriter::with_capacity(BUFFER_BYTES, file.map_err(|why| cannot(path, &why))?);
        Ok(if is_device { Out::Device(file) } else { Out::File(Unfinished { file, part, path: path.to_owned() }) })
    }

    /// All is written.
    pub fn complete(mut self) -> io::Result<()> {
        self.flush()?;
        match &self {
            Out::File(Unfinished { part, path, .. }) => fs::rename(part, path),
            _ => Ok(()),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Out::Stdout(out) => out.write(bytes),
            Out::Terminal(out) => out.write(bytes),
            Out::Device(file) | Out::File(Unfinished { file, .. }) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::Stdout(out) => out.flush(),
            Out::Terminal(out) => out.flush(),
            Out::Device(file) | Out::File(Unfinished { file, .. }) => file.flush(),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // complete, it has its own name by now
        fs::remove_file(&self.part).ok();
    }
}

/// `archive.jsonl.part` for `archive.jsonl`.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Whoever closed standard output wants no more.
pub fn unless_closed(written: io::Result<()>, path: Option<&Path>) -> Result<(), Failure> {
    match path {
        None => failure::unless_closed(written),
        Some(path) => written.map_err(|why| cannot(path, &why)),
    }
}

fn cannot(path: &Path, why: &io::Error) -> Failure {
    Failure::failed(format!("{} can't be written: {why}", harmless(&path.display().to_string())))
}
