//! What all machines of one cache folder share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::accel::Accel;
use super::firmware;
use super::initramfs::{self, GuestFile};
use super::packages::{Package, Repository};
use super::process;

/// Debian releases beside bookworm, which the lab stands on.
const RELEASE_BEFORE: &str = "bullseye";
const RELEASE_AFTER: &str = "trixie";

/// What a lab needs beyond the boot chain of every machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LabOptions {
    /// Fetch what [`Variants`] names too.
    pub variants: bool,
}

/// A kernel package.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The package.
    pub package: Package,
    /// Release as `uname -r` says it.
    pub release: String,
    /// The signed image.
    pub image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    pub(super) fn of(package: Package) -> Result<Self> {
        let release = package.name.trim_start_matches("linux-image-").to_owned();
        let image = package.path(&format!("boot/vmlinuz-{release}"))?;
        let modules = ["usr/lib/modules", "lib/modules"]
            .into_iter()
            .map(|folder| package.root.join(folder).join(&release))
            .find(|folder| folder.is_dir())
            .with_context(|| format!("{} has no modules", package.name))?;
        Ok(Self { package, release, image, modules })
    }

    /// Content of a module, unpacked; `None` when the kernel has it built in or does not have it.
    pub fn module(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let mut folders = vec![self.modules.join("kernel")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let Some(file) = path.file_name().and_then(|file| file.to_str()) else { continue };
                // File names use `-` and `_` at will.
                let Some((stem, suffix)) = file.split_once('.') else { continue };
                if stem.replace('-', "_") != name {
                    continue;
                }
                return Ok(Some(match suffix {
                    "ko" => fs::read(&path)?,
                    "ko.xz" => process::output(Command::new("xz").arg("-dc").arg(&path))?,
                    "ko.zst" => process::output(Command::new("zstd").arg("-dc").arg(&path))?,
                    _ => continue,
                }));
            }
        }
        Ok(None)
    }

    /// Content of a module without its signature: what is behind the ELF file (scripts/sign-file.c of Linux) is cut off.
    /// `None` when the kernel has no such module, or it is not signed.
    pub fn unsigned_module(&self, name: &str) -> Result<Option<Vec<u8>>> {
        const MARKER: &[u8] = b"~Module signature appended~\n";
        // struct module_signature; its last four bytes are the length of the signature before it.
        const INFORMATION_BYTES: usize = 12;
        let Some(mut module) = self.module(name)? else { return Ok(None) };
        let information = module.strip_suffix(MARKER).and_then(|signed| signed.split_last_chunk::<4>());
        let Some((rest, length)) = information else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some(end) = (rest.len() + 4).checked_sub(INFORMATION_BYTES.saturating_add(length)) else {
            return Ok(None);
        };
        module.truncate(end);
        Ok(Some(module))
    }
}

/// Shared parts of machines. Preparing it twice, at once or in a row, is safe and cheap.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    /// Accelerator of all machines.
    pub accel: Accel,
    /// Why this accelerator.
    pub accel_because: String,
    /// OVMF.
    pub ovmf: Package,
    /// Signed shim.
    pub shim: Package,
    /// Signed GRUB.
    pub grub: Package,
    /// Static busybox.
    pub busybox: Package,
    /// The kernel that machines boot by default.
    pub kernel: Kernel,
    /// With [`LabOptions::variants`].
    pub variants: Option<Variants>,
}

/// Other versions and further programs, for boots that differ from the usual one.
#[derive(Clone, Debug)]
pub struct Variants {
    /// Another kernel.
    pub kernel: Kernel,
    /// systemd-boot and its UKI stub.
    pub systemd_boot: Package,
    /// An older OVMF of the same release.
    pub ovmf: Package,
    /// An older GRUB of the same release.
    pub grub: Package,
    /// The shim of the release before.
    pub shim: Package,
    /// The OVMF of the release after.
    pub next_ovmf: Package,
    /// fwupd's EFI program, which returns at once when there is no update.
    pub fwupd: Package,
    /// What EFI programs are built with.
    pub gnu_efi: Package,
}

impl Lab {
    /// Fetches and unpacks what is missing and finds out which accelerator works. `tell` hears what is done.
    pub fn prepare(folder: &Path, options: LabOptions, tell: &mut dyn FnMut(&str)) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        for (program, package) in [
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("swtpm", "swtpm"),
            ("swtpm_setup", "swtpm-tools"),
            ("mformat", "mtools"),
            ("dpkg-deb", "dpkg"),
        ] {
            if find_program(program).is_none() {
                bail!("{program} is not installed: run `make packages` (package {package})");
            }
        }
        let (_lock, repository) = repository_of(&folder, "packages")?;
        let mut fetch = |name: &str| {
            tell(&format!("package {name}"));
            repository.fetch(name, None)
        };
        let ovmf = fetch("ovmf")?;
        let shim = fetch("shim-signed")?;
        let grub = fetch("grub-efi-amd64-signed")?;
        let busybox = fetch("busybox-static")?;
        let names = repository.kernels_of("linux-image-cloud-amd64")?;
        let first = names.first().context("no cloud kernel")?;
        let kernel = Kernel::of(fetch(first)?)?;
        let variants =
            if options.variants { Some(fetch_variants(&repository, &names, &mut fetch)?) } else { None };
        let code = firmware::code(&ovmf)?;
        let vars = ovmf.path("usr/share/OVMF/OVMF_VARS_4M.ms.fd")?;
        let (accel, accel_because) = Accel::detect(&code, &vars)?;
        Ok(Self { folder, accel, accel_because, ovmf, shim, grub, busybox, kernel, variants })
    }

    /// The initramfs for a kernel with these files in it. `note` makes it differ on purpose.
    pub fn initramfs(&self, kernel: &Kernel, files: &[GuestFile], note: &str) -> Result<PathBuf> {
        let busybox = busybox_of(&self.busybox)?;
        initramfs::build(&self.folder.join("initramfs"), &busybox, kernel, &[], files, note)
    }

    /// The cache folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The packages in this folder of a cache folder, and the lock that keeps other processes away from them.
pub(super) fn repository_of(folder: &Path, packages: &str) -> Result<(fs::File, Repository)> {
    let lock = fs::File::create(folder.join("lock"))?;
    lock.lock()?;
    Ok((lock, Repository::open(&folder.join(packages))?))
}

/// Fetches what only variants need. `cloud_kernels` are the cloud kernels of the release, newest first.
fn fetch_variants(
    repository: &Repository,
    cloud_kernels: &[String],
    fetch: &mut dyn FnMut(&str) -> Result<Package>,
) -> Result<Variants> {
    let second = match cloud_kernels.get(1) {
        Some(name) => name.clone(),
        None => repository.kernels_of("linux-image-amd64")?.into_iter().next().context("no second kernel")?,
    };
    Ok(Variants {
        kernel: Kernel::of(fetch(&second)?)?,
        systemd_boot: fetch("systemd-boot-efi")?,
        ovmf: repository.fetch_older("ovmf")?,
        grub: repository.fetch_older("grub-efi-amd64-signed")?,
        shim: repository.fetch_from(RELEASE_BEFORE, "shim-signed")?,
        next_ovmf: repository.fetch_from(RELEASE_AFTER, "ovmf")?,
        fwupd: fetch("fwupd-amd64-signed")?,
        gnu_efi: fetch("gnu-efi")?,
    })
}

/// The program in the package of busybox.
pub(super) fn busybox_of(package: &Package) -> Result<PathBuf> {
    package.path("bin/busybox").or_else(|_| package.path("usr/bin/busybox"))
}

/// A program on the search path.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// SHA-256 of a file in hex, by coreutils: a second opinion, not our own code.
pub fn sha256_of(path: &Path) -> Result<String> {
    let text = process::output(Command::new("sha256sum").arg("-b").arg(path))?;
    let text = String::from_utf8_lossy(&text);
    let digest = text.split_whitespace().next().unwrap_or_default().trim_start_matches('\\');
    if digest.len() != 64 {
        bail!("sha256sum gave no digest of {}", path.display());
    }
    Ok(digest.to_owned())
}

/// What a program says about its version, first line.
pub fn tool_version(program: &str) -> Result<String> {
    let text = process::output(Command::new(program).arg("--version"))?;
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
}
