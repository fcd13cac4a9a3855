//! U-Boot as firmware of a 64-bit Arm machine: another vendor's UEFI, which measures what EDK II does not (dbr).
//!
//! It is the distribution's source with the distribution's configuration. Only its variables are ours: U-Boot takes
//! keys from nowhere but its own image (`EFI_VARIABLES_PRESEED`), so it is built with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::lab::{self, Kernel, Lab};
use super::packages::Package;
use super::{gpt, initramfs, process};

/// The release that the lab stands on.
const SUITE: &str = "bookworm";
/// Folder of its packages, apart from those of other machines: a kernel for another processor has the same name.
const PACKAGES: &str = "packages-arm64";
/// What U-Boot does when it starts. It leaves the start-up of the TPM to its commands.
const BOOT_COMMAND: &str = "tpm2 init; tpm2 startup TPM2_SU_CLEAR; bootefi bootmgr";
/// Name of the variable file in the source folder, which the build looks for there.
const SEED: &str = "veriboot.var";
/// First bytes of a variable file, after eight zeros: "UbEfiVa", version 1.
const MAGIC: u64 = 0x0161_5669_6645_6255;

/// What machines with U-Boot share.
#[derive(Debug)]
pub struct UBootLab {
    folder: PathBuf,
    /// The source package.
    pub source: Package,
    /// The cloud kernel for 64-bit Arm.
    pub kernel: Kernel,
    /// Static busybox for 64-bit Arm.
    pub busybox: Package,
}

/// A UEFI variable that is there from the first boot.
#[derive(Clone, Debug)]
pub struct SeedVariable {
    /// Name.
    pub name: &'static str,
    /// Vendor GUID.
    pub guid: &'static str,
    /// Attributes (UEFI 2.10, section 8.2).
    pub attributes: u32,
    /// Time of an authenticated variable, in seconds since 1970.
    pub time: u64,
    /// Content.
    pub data: Vec<u8>,
}

impl UBootLab {
    /// Fetches and unpacks what is missing. `tell` hears what is done.
    pub fn prepare(lab: &Lab, tell: &mut dyn FnMut(&str)) -> Result<Self> {
        for (program, package) in [
            ("qemu-system-aarch64", "qemu-system-arm"),
            ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
            ("swtpm_ioctl", "swtpm-tools"),
            ("dpkg-source", "dpkg-dev"),
            ("bison", "bison"),
            ("flex", "flex"),
        ] {
            if lab::find_program(program).is_none() {
                bail!("{program} is not installed: run `scripts/packages.sh capture` (package {package})");
            }
        }
        let (_lock, repository) = lab::repository_of(lab.folder(), PACKAGES)?;
        tell("source of u-boot, kernel and busybox for arm64");
        let names = repository.kernels_of_arm64(SUITE, "linux-image-cloud-arm64")?;
        let kernel = names.first().context("no cloud kernel for arm64")?;
        Ok(Self {
            folder: lab.folder().to_owned(),
            source: repository.fetch_source(SUITE, "u-boot")?,
            kernel: Kernel::of(repository.fetch_arm64(SUITE, kernel)?)?,
            busybox: repository.fetch_arm64(SUITE, "busybox-static")?,
        })
    }

    /// The initramfs of all machines.
    pub fn initramfs(&self) -> Result<PathBuf> {
        let busybox = lab::busybox_of(&self.busybox)?;
        let folder = self.folder.join("initramfs");
        initramfs::build(&folder, &busybox, &self.kernel, initramfs::ARM64_MODULES, &[], "")
    }

    /// Builds U-Boot with these variables, in a folder of its own, and gives the image.
    pub fn firmware(&self, variables: &[SeedVariable], folder: &Path) -> Result<PathBuf> {
        let (_lock, _) = lab::repository_of(&self.folder, PACKAGES)?;
        let source = &self.source.root;
        // What was built from another source is of no use to this one.
        let built_from = folder.join("built-from");
        if fs::read(&built_from).ok().as_deref() != Some(source.as_os_str().as_encoded_bytes())
            && folder.exists()
        {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        fs::write(&built_from, source.as_os_str().as_encoded_bytes())?;
        let folder = folder.canonicalize()?;
        fs::write(source.join(SEED), variable_file(variables)?)?;
        let made = process::output(
            Command::new("dpkg-parsechangelog").args(["-S", "Timestamp"]).current_dir(source),
        )?;
        let made = String::from_utf8_lossy(&made).trim().to_owned();
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let make = |target: &str| {
            process::output(
                Command::new("make")
                    .current_dir(source)
                    .env("SOURCE_DATE_EPOCH", &made)
                    .args(["-s", "ARCH=arm", "CROSS_COMPILE=aarch64-linux-gnu-", target])
                    .arg(format!("-j{jobs}"))
                    .arg(format!("O={}", folder.display())),
            )
            .context("cannot build U-Boot (packages gcc-aarch64-linux-gnu, bison, flex, libssl-dev)")
        };
        make("qemu_arm64_defconfig")?;
        // As the distribution names its builds: 2023.01+dfsg-2+deb12u3.
        let local = self.source.version.find('+').and_then(|at| self.source.version.get(at..));
        process::output(
            Command::new(source.join("scripts/config"))
                .arg("--file")
                .arg(folder.join(".config"))
                .args(["--enable", "EFI_VARIABLES_PRESEED", "--set-str", "EFI_VAR_SEED_FILE", SEED])
                .args(["--set-str", "LOCALVERSION", local.unwrap_or_default()])
                .args(["--set-str", "BOOTCOMMAND", BOOT_COMMAND, "--set-val", "BOOTDELAY", "0"]),
        )?;
        make("olddefconfig")?;
        make("u-boot.bin")?;
        Ok(folder.join("u-boot.bin"))
    }
}

/// The file with initial variables, in the format that U-Boot keeps them in (`efi_variable.h`).
fn variable_file(variables: &[SeedVariable]) -> Result<Vec<u8>> {
    let mut entries = Vec::new();
    for variable in variables {
        entries.extend_from_slice(&u32::try_from(variable.data.len())?.to_le_bytes());
        entries.extend_from_slice(&variable.attributes.to_le_bytes());
        entries.extend_from_slice(&variable.time.to_le_bytes());
        entries.extend_from_slice(&guid(variable.guid)?);
        entries.extend(variable.name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        entries.extend_from_slice(&variable.data);
        entries.resize(entries.len().next_multiple_of(8), 0);
    }
    let mut file = vec![0; 8];
    file.extend_from_slice(&MAGIC.to_le_bytes());
    file.extend_from_slice(&u32::try_from(entries.len() + 24)?.to_le_bytes());
    file.extend_from_slice(&gpt::crc32(&entries).to_le_bytes());
    file.extend_from_slice(&entries);
    Ok(file)
}

/// A GUID as UEFI stores it, from its text.
pub fn guid(text: &str) -> Result<[u8; 16]> {
    let bytes: [u8; 16] = hex::decode(text.replace('-', ""))
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .with_context(|| format!("{text:?} is not a GUID"))?;
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    let mut stored = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
    for (to, from) in stored.iter_mut().skip(8).zip(rest) {
        *to = from;
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_stored_with_its_first_fields_turned() {
        let stored = guid("8be4df61-93ca-11d2-aa0d-00e098032b8c").unwrap();
        assert_eq!(hex::encode(stored), "61dfe48bca93d211aa0d00e098032b8c");
        assert!(guid("8be4df61").is_err());
    }

    #[test]
    fn entries_of_a_variable_file_start_at_multiples_of_eight() {
        let variable = |name, bytes: usize| SeedVariable {
            name,
            guid: "d719b2cb-3d3a-4596-a3bc-dad00e67656f",
            attributes: 0x27,
            time: 1,
            data: vec![7; bytes],
        };
        let one = variable_file(&[variable("dbr", 5)]).unwrap();
        // Header 24, entry 32, name 8, content 5, and 3 to the next multiple of 8.
        assert_eq!(one.len(), 72);
        assert_eq!(one.get(8..16), Some(b"UbEfiVa\x01".as_slice()));
        assert_eq!(one.get(16..20), Some([72, 0, 0, 0].as_slice()));
        let two = variable_file(&[variable("dbr", 5), variable("PK", 8)]).unwrap();
        assert_eq!(two.get(72..76), Some([8, 0, 0, 0].as_slice()));
    }
}
