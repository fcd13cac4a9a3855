//! Small files of the service, written so that a crash leaves the old or the new one.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::StartError;

fn fault(path: &Path) -> impl Fn(std::io::Error) -> StartError + '_ {
    move |source| StartError::DataDir { path: path.to_owned(), source }
}

/// Makes the data folder with mode 0700, and shows that files can be made in it.
pub(crate) fn prepare_dir(dir: &Path) -> Result<(), StartError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fault(dir))?;
    let probe = dir.join(format!(".probe-{}", std::process::id()));
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&probe)
        .and_then(|_| std::fs::remove_file(&probe))
        .map_err(fault(dir))
}

/// Takes the data folder for this process; the lock goes with the file, however the process ends.
pub(crate) fn lock_dir(dir: &Path) -> Result<std::fs::File, StartError> {
    let path = dir.join("lock");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fault(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::DataDirInUse { path: dir.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(StartError::DataDir { path, source }),
    }
}

/// Whether there is something at this path; every doubt is an error.
pub(crate) fn exists(path: &Path) -> Result<bool, StartError> {
    path.try_exists().map_err(fault(path))
}

/// A text file.
pub(crate) fn read_text(path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path).map_err(fault(path))
}

/// Whether anybody but owner and group may read the file. A group is how a key is shared with its renewer.
pub(crate) fn readable_by_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o007 != 0)
}

/// A file with a private key: refused when group or others may read it.
pub(crate) fn read_secret(path: &Path) -> Result<String, StartError> {
    let mode = std::fs::metadata(path).map_err(fault(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(StartError::ExposedKey { path: path.to_owned() });
    }
    read_text(path)
}

/// Writes a file with mode 0600 and moves it into place; durable when it returns.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> Result<(), StartError> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        match std::fs::remove_file(&new) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        match path.parent() {
            Some(dir) => std::fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(fault(path))
}

/// This machine's host name, when it is one that a certificate can hold.
pub(crate) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().to_ascii_lowercase();
    (crate::config::is_host_name(&name) && name != "localhost").then_some(name)
}

/// The soft limit of open files of this process, where the system tells.
pub(crate) fn open_files_limit() -> Option<u32> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|l| l.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
