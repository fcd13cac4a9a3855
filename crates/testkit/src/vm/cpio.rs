//! Writes `newc` cpio archives, the format of an initramfs (Linux `Documentation/driver-api/early-userspace/
//! buffer-format.rst`). Same input, same bytes: owner, time and inode numbers do not come from the host.

use anyhow::{Result, bail};

const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_FILE: u32 = 0o100_000;

/// An archive in the making.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a folder. Parents come first.
    pub(super) fn directory(&mut self, path: &str) -> Result<()> {
        self.entry(path, MODE_DIRECTORY | 0o755, &[])
    }

    /// Adds a file with its permission bits.
    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> Result<()> {
        self.entry(path, MODE_FILE | (permissions & 0o7777), content)
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let Ok(size) = u32::try_from(content.len()) else { bail!("{path} is too large for an initramfs") };
        let Ok(name_size) = u32::try_from(path.len() + 1) else { bail!("name too long for an initramfs") };
        self.entries += 1;
        let links = if mode & MODE_DIRECTORY == MODE_DIRECTORY { 2 } else { 1 };
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn archive() -> Vec<u8> {
        let mut archive = Archive::default();
        archive.directory("bin").unwrap();
        archive.file("bin/hello", 0o755, b"#!/bin/sh\necho hi\n").unwrap();
        archive.file("odd", 0o644, b"abc").unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn busybox_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(mut cpio) = Command::new("busybox")
            .args(["cpio", "-i", "-d"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
        else {
            println!("skipped: busybox is not installed");
            return;
        };
        cpio.stdin.take().unwrap().write_all(&archive()).unwrap();
        assert!(cpio.wait().unwrap().success());
        assert_eq!(std::fs::read(folder.path().join("odd")).unwrap(), b"abc");
        let hello = Command::new(folder.path().join("bin/hello")).output().unwrap();
        assert_eq!(hello.stdout, b"hi\n");
    }

    #[test]
    fn same_input_same_bytes() {
        assert_eq!(archive(), archive());
        assert_eq!(archive().len() % 4, 0);
    }
}
