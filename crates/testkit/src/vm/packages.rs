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

/// Where suites other than the system's come from.
const MIRROR: &str = "http://deb.debian.org/debian";

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
        self.resolve(request, |request| {
            self.download(request, &|program, arguments| self.apt(program, arguments))
        })
    }

    /// The newest version of this package that is older than the one that [`Repository::fetch`] gives.
    pub fn fetch_older(&self, name: &str) -> Result<Package> {
        let newest = self.fetch(name, None)?.version;
        self.resolve(format!("{name}<"), |_| {
            // NAME | VERSION | SOURCE, newest first
            let lines = self.apt("apt-cache", &["madison", name])?;
            let older = lines
                .lines()
                .filter_map(|line| line.split('|').nth(1).map(str::trim))
                .find(|version| *version != newest)
                .with_context(|| format!("the archive has one version of {name} only"))?;
            let request = format!("{name}={older}");
            self.download(&request, &|program, arguments| self.apt(program, arguments))
        })
    }

    /// The package of this name in another suite of the distribution: `bullseye`.
    pub fn fetch_from(&self, suite: &str, name: &str) -> Result<Package> {
        self.resolve(format!("{name}/{suite}"), |_| {
            self.download(name, &|program, arguments| self.apt_of(&Lists::of(suite), program, arguments))
        })
    }

    /// The package of this name for 64-bit Arm.
    pub fn fetch_arm64(&self, suite: &str, name: &str) -> Result<Package> {
        self.resolve(format!("{name}:arm64"), |_| {
            self.download(name, &|program, arguments| self.apt_of(&Lists::arm64(suite), program, arguments))
        })
    }

    /// A source package, unpacked, with the distribution's patches applied.
    pub fn fetch_source(&self, suite: &str, name: &str) -> Result<Package> {
        self.resolve(format!("{name}/source"), |_| {
            let apt = |arguments: &[&str]| self.apt_of(&Lists::arm64(suite), "apt-get", arguments);
            let lines = apt(&["source", "--download-only", "--print-uris", "-q", name])?;
            let file = lines
                .lines()
                .find_map(|line| line.split_whitespace().nth(1).filter(|file| file.ends_with(".dsc")))
                .with_context(|| format!("apt knows no source package {name}"))?;
            apt(&["source", "--download-only", "-q", name])?;
            let version = file.trim_end_matches(".dsc").split('_').nth(1).unwrap_or_default();
            Ok(Resolved { name: name.to_owned(), version: version.to_owned(), file: file.to_owned() })
        })
    }

    /// What this request resolved to the first time, unpacked.
    fn resolve(&self, request: String, download: impl Fn(&str) -> Result<Resolved>) -> Result<Package> {
        let mut known = self.known();
        if let Some(resolved) = known.get(&request)
            && let Some(package) = self.unpacked(resolved)
        {
            return Ok(package);
        }
        let resolved = download(&request)?;
        self.unpack(&resolved)?;
        known.insert(request, resolved.clone());
        let text = serde_json::to_vec_pretty(&known)?;
        fs::write(self.folder.join("resolved.json"), text)?;
        self.unpacked(&resolved).with_context(|| format!("cannot unpack {}", resolved.file))
    }

    /// Names of the real packages behind a kernel meta package, newest version of the meta package first.
    pub fn kernels_of(&self, meta: &str) -> Result<Vec<String>> {
        self.names_behind(meta, &|| self.apt("apt-cache", &["show", meta]))
    }

    /// [`Repository::kernels_of`] for 64-bit Arm.
    pub fn kernels_of_arm64(&self, suite: &str, meta: &str) -> Result<Vec<String>> {
        self.names_behind(meta, &|| self.apt_of(&Lists::arm64(suite), "apt-cache", &["show", meta]))
    }

    fn names_behind(&self, meta: &str, show: &dyn Fn() -> Result<String>) -> Result<Vec<String>> {
        let record = self.folder.join(format!("{meta}.names"));
        if let Ok(text) = fs::read_to_string(&record) {
            return Ok(text.lines().map(str::to_owned).collect());
        }
        let text = show()?;
        let mut names: Vec<String> = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("Depends:")) {
            for name in line.split(',').filter_map(|part| part.split_whitespace().next()) {
                if name.starts_with("linux-image-") && !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
        }
        if names.is_empty() {
            bail!("no kernel behind the package {meta}: is this Debian?");
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

    fn download(&self, request: &str, apt: &dyn Fn(&str, &[&str]) -> Result<String>) -> Result<Resolved> {
        // 'URL' NAME_VERSION_ARCH.deb SIZE HASH
        let line = apt("apt-get", &["download", "--print-uris", "-q", request])?;
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
            apt("apt-get", &["download", "-q", request])?;
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
        if resolved.file.ends_with(".dsc") {
            process::output(Command::new("dpkg-source").arg("-x").arg(archive).arg(&partial))
                .context("cannot unpack a source package (package dpkg-dev)")?;
        } else {
            process::output(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&partial))?;
        }
        fs::rename(partial, target)?;
        Ok(())
    }

    /// Runs apt with the system's package lists; when these do not know the answer (absent or old), with
    /// lists of our own, which need no root.
    fn apt(&self, program: &str, args: &[&str]) -> Result<String> {
        let own = self.folder.join("apt");
        let own_args = own_lists(&own);
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
                make_lists(&own)?;
                process::output(command("apt-get", true).args(["update", "-q"]))
                    .context("cannot update the package lists")?;
                self.own_lists.set(true);
                process::output(command(program, true).args(args))?
            }
        };
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Runs apt with package lists of another suite or architecture.
    fn apt_of(&self, lists: &Lists, program: &str, args: &[&str]) -> Result<String> {
        let own = self.folder.join(&lists.folder);
        let sources = own.join("sources.list");
        let command = |program: &str| {
            let mut command = Command::new(program);
            command.current_dir(self.folder.join("archives")).env("LC_ALL", "C");
            command.args(own_lists(&own).iter().flat_map(|option| ["-o", option]));
            command.arg("-o").arg(format!("Dir::Etc::sourcelist={}", sources.display()));
            // What is installed here would win over an older suite.
            command.args(["-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State::status=/dev/null"]);
            command.args(lists.options.iter().flat_map(|option| ["-o", option]));
            command
        };
        if !sources.exists() {
            make_lists(&own)?;
            let partial = own.join("sources.partial");
            fs::write(&partial, &lists.sources)?;
            process::output(
                command("apt-get")
                    .arg("-o")
                    .arg(format!("Dir::Etc::sourcelist={}", partial.display()))
                    .args(["update", "-q"]),
            )
            .with_context(|| format!("cannot read the package lists {}", lists.folder))?;
            fs::rename(partial, &sources)?;
        }
        Ok(String::from_utf8_lossy(&process::output(command(program).args(args))?).into_owned())
    }
}

/// Package lists beside the system's.
struct Lists {
    /// Their folder.
    folder: String,
    /// Lines of `sources.list`.
    sources: String,
    /// Further options of apt.
    options: &'static [&'static str],
}

impl Lists {
    /// Those of another suite.
    fn of(suite: &str) -> Self {
        Self { folder: format!("apt-{suite}"), sources: format!("deb {MIRROR} {suite} main\n"), options: &[] }
    }

    /// Those for 64-bit Arm, with source packages.
    fn arm64(suite: &str) -> Self {
        Self {
            folder: format!("apt-{suite}-arm64"),
            sources: format!("deb [arch=arm64] {MIRROR} {suite} main\ndeb-src {MIRROR} {suite} main\n"),
            options: &["APT::Architecture=arm64", "APT::Architectures=arm64"],
        }
    }
}

/// Options that make apt use lists in this folder.
fn own_lists(folder: &Path) -> [String; 5] {
    [
        format!("Dir::State={}", folder.join("state").display()),
        format!("Dir::State::lists={}", folder.join("state/lists").display()),
        format!("Dir::Cache={}", folder.join("cache").display()),
        "Dir::State::status=/var/lib/dpkg/status".to_owned(),
        "Debug::NoLocking=1".to_owned(),
    ]
}

fn make_lists(folder: &Path) -> Result<()> {
    for part in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(part))?;
    }
    Ok(())
}
