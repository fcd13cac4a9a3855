//! Debian packages, downloaded and unpacked into the cache, never installed.
//!
//! What a name resolved to is remembered: the second run needs no network and uses the same versions.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::process;

/// An unpacked package.
#[derive(Clone, Debug)]
pub struct Package {
    /// Package name.
    pub name: String,
    /// Debian version.
    pub version: String,
    /// Folder with the package's files.
    pub root: PathBuf,
}

impl Package {
    /// A file of the package; an error when it is not there.
    pub fn path(&self, relative: &str) -> Result<PathBuf> {
        let path = self.root.join(relative);
        if !path.exists() {
            bail!("package {} {} has no {relative}", self.name, self.version);
        }
        Ok(path)
    }
}

/// What a request was resolved to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Resolved {
    name: String,
    version: String,
    file: String,
}

/// Downloads and unpacks packages into one folder.
#[derive(Debug)]
pub struct Repository {
    folder: PathBuf,
    /// Whether lists of our own were needed, and are new.
    own_lists: Cell<bool>,
}

impl Repository {
    /// A repository cache in this folder. Two processes must not use it at once: the lab holds a lock.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("archives"))?;
        fs::create_dir_all(folder.join("unpacked"))?;
        Ok(Self { folder: folder.to_owned(), own_lists: Cell::new(false) })
    }

    /// The package of this name, newest version unless one is given.
    pub fn fetch(&self, name: &str, version: Option<&str>) -> Result<Package> {
        let request = version.map_or_else(|| name.to_owned(), |version| format!("{name}={version}"));
        let mut known = self.known();
        if let Some(resolved) = known.get(&request)
            && let Some(package) = self.unpacked(resolved)
        {
            return Ok(package);
        }
        let resolved = self.download(&request)?;
        self.unpack(&resolved)?;
        known.insert(request, resolved.clone());
        let text = serde_json::to_vec_pretty(&known)?;
        fs::write(self.folder.join("resolved.json"), text)?;
        self.unpacked(&resolved).with_context(|| format!("cannot unpack {}", resolved.file))
    }

    /// Names of the real packages behind a kernel meta package, newest version of the meta package first.
    pub fn kernels_of(&self, meta: &str) -> Result<Vec<String>> {
        let record = self.folder.join(format!("{meta}.names"));
        if let Ok(text) = fs::read_to_string(&record) {
            return Ok(text.lines().map(str::to_owned).collect());
        }
        let text = self.apt("apt-cache", &["show", meta])?;
        let mut names: Vec<String> = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("Depends:")) {
            for name in line.split(',').filter_map(|part| part.split_whitespace().next()) {
                if name.starts_with("linux-image-") && !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
        }
        if names.is_empty() {
            bail!("no kernel behind the package {meta}: is this Debian on x86-64?");
        }
        fs::write(record, names.join("\n"))?;
        Ok(names)
    }

    fn known(&self) -> BTreeMap<String, Resolved> {
        fs::read(self.folder.join("resolved.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    fn unpacked(&self, resolved: &Resolved) -> Option<Package> {
        let root = self.folder.join("unpacked").join(&resolved.file);
        root.is_dir().then(|| Package {
            name: resolved.name.clone(),
            version: resolved.version.clone(),
            root,
        })
    }

    fn download(&self, request: &str) -> Result<Resolved> {
        // 'URL' NAME_VERSION_ARCH.deb SIZE HASH
        let line = self.apt("apt-get", &["download", "--print-uris", "-q", request])?;
        let file = line
            .lines()
            .find_map(|line| line.split_whitespace().nth(1).filter(|file| file.ends_with(".deb")))
            .with_context(|| format!("apt knows no package {request}"))?
            .to_owned();
        let mut parts = file.split('_');
        let (Some(name), Some(version)) = (parts.next(), parts.next()) else {
            bail!("apt named a package file that is not understood: {file}");
        };
        let resolved =
            Resolved { name: name.to_owned(), version: version.replace("%3a", ":"), file: file.clone() };
        if !self.folder.join("archives").join(&file).exists() {
            self.apt("apt-get", &["download", "-q", request])?;
        }
        Ok(resolved)
    }

    fn unpack(&self, resolved: &Resolved) -> Result<()> {
        let target = self.folder.join("unpacked").join(&resolved.file);
        if target.is_dir() {
            return Ok(());
        }
        let partial = self.folder.join("unpacked").join(format!("{}.partial", resolved.file));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        let archive = self.folder.join("archives").join(&resolved.file);
        process::output(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&partial))?;
        fs::rename(partial, target)?;
        Ok(())
    }

    /// Runs apt with the system's package lists; when these do not know the answer (absent or old), with
    /// lists of our own, which need no root.
    fn apt(&self, program: &str, args: &[&str]) -> Result<String> {
        let own = self.folder.join("apt");
        let own_args = [
            format!("Dir::State={}", own.join("state").display()),
            format!("Dir::State::lists={}", own.join("state/lists").display()),
            format!("Dir::Cache={}", own.join("cache").display()),
            "Dir::State::status=/var/lib/dpkg/status".to_owned(),
            "Debug::NoLocking=1".to_owned(),
        ];
        let command = |program: &str, own_lists: bool| {
            let mut command = Command::new(program);
            command.current_dir(self.folder.join("archives")).env("LC_ALL", "C");
            if own_lists {
                command.args(own_args.iter().flat_map(|option| ["-o", option]));
            }
            command
        };
        let first = process::output(command(program, self.own_lists.get()).args(args));
        let answer = match first {
            Ok(bytes) if !bytes.is_empty() || args.contains(&"-q") => bytes,
            Err(error) if self.own_lists.get() => return Err(error),
            _ => {
                for folder in ["state/lists/partial", "cache/archives/partial"] {
                    fs::create_dir_all(own.join(folder))?;
                }
                process::output(command("apt-get", true).args(["update", "-q"]))
                    .context("cannot update the package lists")?;
                self.own_lists.set(true);
                process::output(command(program, true).args(args))?
            }
        };
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
