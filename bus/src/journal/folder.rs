//! The folder of a journal: who uses it, and which files are in it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The file whose lock says that a living process uses the folder. It stays when the process is gone.
const LOCK: &str = "lock";
/// How segments' names end, and begin of what is set aside and written anew.
const SEGMENT: &str = ".log";
const DAMAGED: &str = ".damaged";
const SALVAGED: &str = ".salvaged";
/// So many damaged files are kept for people to look at; the oldest go first.
const KEPT_DAMAGED: usize = 4;

/// A folder that is ours, as long as this lives; the system gives it back however the process ends.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// A file of the journal, as its name tells it: which one it is, and the number that its checksums begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub number: u64,
    pub salt: u32,
}

impl Folder {
    /// Makes the folder, if it is not there, for its owner alone, and takes it; `None` when another process has it.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Folder { path: path.to_owned(), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(why)) => Err(why),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of this name is.
    pub fn file(&self, name: Name) -> PathBuf {
        self.path.join(format!("{:016x}-{:08x}{SEGMENT}", name.number, name.salt))
    }

    /// The journal's files, the oldest first. What a process was doing here when it was killed is brought to its end.
    pub fn segments(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let file = entry?.file_name().to_string_lossy().into_owned();
            if let Some(stem) = file.strip_suffix(SALVAGED) {
                self.end_salvage(stem)?;
                names.extend(Name::parse(stem));
            }
            names.extend(file.strip_suffix(SEGMENT).and_then(Name::parse));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// A salvage was cut off: with the damaged file still in place it begins anew.
    fn end_salvage(&self, stem: &str) -> io::Result<()> {
        let (salvaged, segment) =
            (self.path.join(format!("{stem}{SALVAGED}")), self.path.join(format!("{stem}{SEGMENT}")));
        if segment.exists() { fs::remove_file(salvaged) } else { fs::rename(salvaged, segment) }
    }

    /// Puts these records, which is all that is whole of a file, into its place, and sets the damaged file aside. With
    /// none, the file only goes.
    pub fn salvage(&self, name: Name, whole: &[u8]) -> io::Result<()> {
        let segment = self.file(name);
        let (salvaged, damaged) = (segment.with_extension(&SALVAGED[1..]), segment.with_extension(&DAMAGED[1..]));
        if whole.is_empty() {
            fs::rename(&segment, damaged)?;
        } else {
            let file = File::create(&salvaged)?;
            io::Write::write_all(&mut &file, whole).and_then(|()| file.sync_data()).inspect_err(|_| {
                // what is half written would be taken for all of it
                fs::remove_file(&salvaged).ok();
            })?;
            fs::rename(&segment, damaged)?;
            fs::rename(&salvaged, &segment)?;
        }
        self.forget_old_damage()
    }

    fn forget_old_damage(&self) -> io::Result<()> {
        let files = fs::read_dir(&self.path)?.map(|entry| entry.map(|entry| entry.path()));
        let mut damaged = files.collect::<io::Result<Vec<_>>>()?;
        damaged.retain(|path| path.extension().is_some_and(|extension| extension == &DAMAGED[1..]));
        damaged.sort();
        let surplus = damaged.len().saturating_sub(KEPT_DAMAGED);
        damaged.iter().take(surplus).try_for_each(fs::remove_file)
    }
}

impl Name {
    fn parse(stem: &str) -> Option<Self> {
        let (number, salt) = stem.split_once('-')?;
        let hexadecimal = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
        let sound = hexadecimal(number, 16) && hexadecimal(salt, 8);
        let name = Name { number: u64::from_str_radix(number, 16).ok()?, salt: u32::from_str_radix(salt, 16).ok()? };
        sound.then_some(name)
    }
}
