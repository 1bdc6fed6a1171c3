//! The socket's file: made so that at no moment anybody but its owner can connect, replaced when its process is dead,
//! removed when its process ends.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// A socket that is bound and listens. Dropped, its file is removed.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: UnixListener,
    path: PathBuf,
    /// Device and inode: somebody else's file of the same name is left alone.
    identity: (u64, u64),
}

impl Listener {
    /// Listens on `path`, readable and writable by the owner only (mode 0600). A file that a dead process left there
    /// is replaced.
    ///
    /// # Errors
    /// `AddrInUse` when a living process listens there; `InvalidInput` when the path is too long for a socket (107
    /// bytes on Linux, some of which a temporary name takes); else what the file system says. Each names the path.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        Self::try_bind(path).await.map_err(|why| io::Error::new(why.kind(), format!("{}: {why}", path.display())))
    }

    async fn try_bind(path: &Path) -> io::Result<Self> {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
        }
        // with a longer path nobody could connect
        SocketAddr::from_pathname(path)?;
        refuse_other_files(path)?;
        let folder = PrivateFolder::beside(path)?;
        let temporary = folder.0.join("s");
        let socket = UnixListener::bind(&temporary)?;
        fs::set_permissions(&temporary, Permissions::from_mode(0o600))?;
        let identity = identity(&temporary)?;
        fs::rename(&temporary, path)?;
        Ok(Listener { socket, path: path.to_owned(), identity })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // it was ours; when it can't be removed, the next process replaces it
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Renaming would replace anything.
fn refuse_other_files(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
        }
        _ => Ok(()),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// A folder that nobody else can enter, in which a new socket has its first moments. Dropped, it is removed.
struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn beside(path: &Path) -> io::Result<Self> {
        // one for each process; a path of a socket has to be short
        let folder = path.with_file_name(format!(".s{:x}", std::process::id()));
        fs::remove_dir_all(&folder).or_else(|why| match why.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(why),
        })?;
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(PrivateFolder(folder))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // an empty folder that stays does no harm
        fs::remove_dir_all(&self.0).ok();
    }
}
