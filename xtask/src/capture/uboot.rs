//! The boot of a machine with U-Boot: the one firmware at hand that measures dbr.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use veriboot_testkit::vm::{
    Capture, DiskPlan, Job, Lab, SeedVariable, SigningKey, UBootLab, UBootMachine, authenticode_of, guid,
    sha256_of, tool_version,
};

use super::parts::{GLOBAL_GUID, IMAGE_SECURITY_GUID, REVOKED};

/// Name of its folder.
pub const NAME: &str = "u-boot";
/// One sentence for people.
pub const ABOUT: &str = "U-Boot on 64-bit Arm with keys of the operator; dbt and dbr are set and measured";

const LIMIT: Duration = Duration::from_secs(300);
const CMDLINE: &str = "console=ttyAMA0 quiet panic=-1";
const BANK: &str = "sha256";
const KERNEL: &str = "EFI/Linux/vmlinuz.efi";
const INITRD: &str = "initrd.img";
/// Owner of what the lab enrols.
const OWNER: &str = "7665726a-626f-6f74-6c61-620000000001";
/// Kinds of signatures (UEFI 2.10, section 32.4.1).
const X509: &str = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072";
const SHA256: &str = "c1c41626-504c-4092-aca9-41f936934328";
const X509_SHA256: &str = "3bd2a492-96c0-4079-b420-fcf98ef103ed";
/// Vendor of the part of a load option that names an initramfs for Linux.
const INITRD_MEDIA: &str = "5568e427-68fc-4f3d-ac74-ca555231cc68";
/// 2 January 2026, 03:04:05, and the same as EFI_TIME (UEFI 2.10, section 8.3).
const TIME: u64 = 1_767_323_045;
const EFI_TIME: [u8; 16] = [0xea, 0x07, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Where things are.
pub struct Place<'a> {
    pub lab: &'a Lab,
    /// The agent, where quotes are wanted.
    pub agent: Option<&'a Path>,
    pub work: &'a Path,
    pub output: &'a Path,
    /// The challenge of the quote, in hex.
    pub nonce: &'a str,
}

impl Place<'_> {
    /// Builds U-Boot, boots the machine and writes its golden files.
    pub fn capture(&self, say: &dyn Fn(&str)) -> Result<String> {
        let lab = UBootLab::prepare(self.lab, &mut |what| say(what))?;
        let files = self.work.join(format!("{NAME}-files"));
        fs::create_dir_all(&files)?;
        let (kernel, initrd) = (files.join("vmlinuz.efi"), lab.initramfs()?);
        self.key("db", "Veriboot lab db key")?.sign(&lab.kernel.image, &kernel)?;
        let disk = DiskPlan::default().numbered(1).file(KERNEL, &kernel).file(INITRD, &initrd);
        say("builds U-Boot");
        let firmware =
            lab.firmware(&self.variables(&disk, &files)?, &self.work.join(format!("{NAME}-build")))?;
        say("boots");
        let machine = UBootMachine::make(&self.work.join(NAME), &firmware, &disk, &[BANK])?;
        let (report, tpm) = machine.run(&Job::new().capture(), LIMIT)?;
        let capture = Capture::of(&report)?;

        let folder = self.output.join(NAME);
        fs::create_dir_all(&folder)?;
        let log = folder.join("eventlog.bin");
        fs::write(&log, &capture.event_log)?;
        super::write_json(&folder.join("pcrs.json"), &serde_json::to_value(&capture.pcrs)?)?;
        let mut packages = BTreeMap::new();
        for package in [&lab.source, &lab.busybox, &lab.kernel.package] {
            packages.insert(package.name.clone(), package.version.clone());
        }
        for program in ["qemu-system-aarch64", "swtpm"] {
            packages.insert(program.to_owned(), tool_version(program).unwrap_or_default());
        }
        let meta = json!({
            "variant": NAME,
            "about": ABOUT,
            "secure_boot": true,
            "cmdline": CMDLINE,
            "banks": [BANK],
            "nonce": self.nonce,
            "sha256": {"kernel": sha256_of(&kernel)?, "initrd": sha256_of(&initrd)?},
            "authenticode": {"kernel": authenticode_of(self.lab, &kernel)?},
            "packages": packages,
        });
        super::write_json(&folder.join("meta.json"), &meta)?;
        if let Some(agent) = self.agent {
            let bundle = self.quote(agent, &tpm.tpm_address(), &log)?;
            super::write_json(&folder.join("bundle.json"), &bundle)?;
        }
        Ok(format!("event log of {} bytes", capture.event_log.len()))
    }

    /// The agent on the host quotes the TPM of the stopped machine.
    fn quote(&self, agent: &Path, tpm: &str, log: &Path) -> Result<Value> {
        // The agent makes the folder, for itself alone.
        let state = self.work.join(format!("{NAME}-agent"));
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        let output = Command::new(agent)
            .args(["evidence", "--tpm", tpm, "--nonce", self.nonce, "--state-dir"])
            .arg(&state)
            .arg("--event-log")
            .arg(log)
            .output()
            .context("cannot start the agent")?;
        if !output.status.success() {
            bail!("the agent gave no evidence\n{}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("the agent's evidence is not JSON")
    }

    fn key(&self, folder: &str, name: &str) -> Result<SigningKey> {
        SigningKey::in_folder(&self.work.join("keys").join(folder), name)
    }

    /// The variables of the firmware: the operator's keys, one revoked digest, and a boot entry for the kernel.
    fn variables(&self, disk: &DiskPlan, files: &Path) -> Result<Vec<SeedVariable>> {
        let certificate = |folder: &str, name: &str| -> Result<Vec<u8>> {
            der(&self.key(folder, name)?.certificate, &files.join(format!("{folder}.der")))
        };
        let [in_dbx, in_dbt, in_dbr] = REVOKED.map(|byte| vec![byte; 32]);
        let platform = certificate("pk", "Veriboot lab platform key")?;
        let exchange = certificate("kek", "Veriboot lab key exchange key")?;
        let images = certificate("db", "Veriboot lab db key")?;
        let stamps = certificate("dbt", "Veriboot lab time stamp key")?;
        let repair = certificate("dbr", "Veriboot lab recovery key")?;
        // A certificate that is no longer trusted from a time on: the digest of what was signed, and the time.
        let mut until = Sha256::digest(&repair).to_vec();
        until.extend_from_slice(&EFI_TIME);
        let key = |name, guid, lists: Vec<Vec<u8>>| SeedVariable {
            name,
            guid,
            // Non-volatile, for boot services and run time, authenticated by time.
            attributes: 0x27,
            time: TIME,
            data: lists.concat(),
        };
        let plain = |name, data| SeedVariable { name, guid: GLOBAL_GUID, attributes: 7, time: 0, data };
        Ok(vec![
            key("PK", GLOBAL_GUID, vec![list(X509, &platform)?]),
            key("KEK", GLOBAL_GUID, vec![list(X509, &exchange)?]),
            key("db", IMAGE_SECURITY_GUID, vec![list(X509, &images)?]),
            key("dbx", IMAGE_SECURITY_GUID, vec![list(SHA256, &in_dbx)?]),
            key("dbt", IMAGE_SECURITY_GUID, vec![list(X509, &stamps)?, list(SHA256, &in_dbt)?]),
            key(
                "dbr",
                IMAGE_SECURITY_GUID,
                vec![list(X509, &repair)?, list(SHA256, &in_dbr)?, list(X509_SHA256, &until)?],
            ),
            plain("BootOrder", vec![1, 0]),
            plain("Boot0001", load_option(&disk.device_path_node()?)?),
        ])
    }
}

/// A certificate in DER.
fn der(certificate: &Path, target: &Path) -> Result<Vec<u8>> {
    let status = Command::new("openssl")
        .args(["x509", "-outform", "der", "-in"])
        .arg(certificate)
        .arg("-out")
        .arg(target)
        .status()
        .context("cannot start openssl")?;
    if !status.success() {
        bail!("openssl cannot read {}", certificate.display());
    }
    Ok(fs::read(target)?)
}

/// An EFI_SIGNATURE_LIST with one signature (UEFI 2.10, section 32.4.1).
fn list(kind: &str, signature: &[u8]) -> Result<Vec<u8>> {
    let one = u32::try_from(16 + signature.len())?;
    let sizes = [28 + one, 0, one].into_iter().flat_map(u32::to_le_bytes);
    Ok(guid(kind)?.into_iter().chain(sizes).chain(guid(OWNER)?).chain(signature.iter().copied()).collect())
}

/// An active EFI_LOAD_OPTION (UEFI 2.10, section 3.1.3): the kernel, behind it the initramfs, and the command line.
fn load_option(partition: &[u8]) -> Result<Vec<u8>> {
    let ucs2 =
        |text: &str| -> Vec<u8> { text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect() };
    let node = |kind: [u8; 2], content: &[u8]| -> Result<Vec<u8>> {
        Ok([&kind, &u16::try_from(content.len() + 4)?.to_le_bytes()[..], content].concat())
    };
    let file = |path: &str| node([4, 4], &ucs2(&format!("\\{}", path.replace('/', "\\"))));
    let end = node([0x7f, 0xff], &[])?;
    // U-Boot completes a path that is only that of a file. One that starts with the partition it takes as it is, and then
    // measures neither the partition table nor separators.
    let paths = [
        file(KERNEL)?,
        end.clone(),
        node([4, 3], &guid(INITRD_MEDIA)?)?,
        partition.to_vec(),
        file(INITRD)?,
        end,
    ]
    .concat();
    let mut option = 1_u32.to_le_bytes().to_vec();
    option.extend_from_slice(&u16::try_from(paths.len())?.to_le_bytes());
    option.extend_from_slice(&ucs2("Veriboot lab"));
    option.extend_from_slice(&paths);
    option.extend_from_slice(&ucs2(CMDLINE));
    Ok(option)
}
