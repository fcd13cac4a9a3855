//! Makes the files that a variant boots, and describes its machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use veriboot_testkit::vm::{
    BootChain, Installed, Kernel, Lab, MachineBuilder, Package, SigningKey, UkiParts, Variants, VarsEdit,
    authenticode_of, build_uki, cmdline_with, sha256_of,
};

use super::variants::{Age, Chain, Edit, Menu, Variant};
use super::{program, windows};

/// Owner of the variables of shim.
const SHIM_GUID: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";
/// Owner of the variables that UEFI defines.
pub const GLOBAL_GUID: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Owner of db, dbx, dbt and dbr.
pub const IMAGE_SECURITY_GUID: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
/// The SBAT level that shim's project published in May 2025; shim 16.1 itself sets that of February 2025.
const SBAT_LEVEL: &str = "sbat,1,2025051000\nshim,4\ngrub,5\ngrub.proxmox,2\n";
/// Digests that nothing has: SHA-256 of nothing the lab boots.
pub const REVOKED: [u8; 3] = [0xa1, 0xb2, 0xc3];
/// Where systemd-stub looks for credentials of one image, and of all.
const CREDENTIALS: [&str; 2] = ["EFI/Linux/veriboot.efi.extra.d/lab.cred", "loader/credentials/all.cred"];
/// Where the extra program is on the boot disk.
const PROGRAM: &str = "EFI/extra/program.efi";
/// What it has the firmware measure, if that is its job (`measure.c`).
const EVENTS: &str = "EFI/extra/events.bin";

/// Files and packages of one variant.
pub struct Parts<'a> {
    lab: &'a Lab,
    others: &'a Variants,
    variant: &'a Variant,
    kernel: &'a Kernel,
    initrd: PathBuf,
    /// Files made for this variant.
    folder: PathBuf,
    /// Keys that all variants of one capture share.
    keys: PathBuf,
    /// SHA-256 of files, by coreutils.
    pub sha256: BTreeMap<String, String>,
    /// Authenticode SHA-256 of EFI images, by virt-firmware.
    pub authenticode: BTreeMap<String, String>,
    /// Versions by name.
    pub packages: BTreeMap<String, String>,
}

impl<'a> Parts<'a> {
    /// Prepares the kernel and initramfs of a variant.
    pub fn new(lab: &'a Lab, variant: &'a Variant, work: &Path) -> Result<Self> {
        let others = lab.variants.as_ref().context("the lab has no variants")?;
        let kernel = if variant.kernel == Age::Older { &others.kernel } else { &lab.kernel };
        let note = if variant.other_initrd { "another initramfs\n" } else { "" };
        let initrd = lab.initramfs(kernel, &[], note)?;
        let folder = work.join(format!("{}-files", variant.name));
        fs::create_dir_all(&folder)?;
        let mut parts = Self {
            lab,
            others,
            variant,
            kernel,
            initrd,
            folder,
            keys: work.join("keys"),
            sha256: BTreeMap::new(),
            authenticode: BTreeMap::new(),
            packages: BTreeMap::new(),
        };
        for package in [&lab.busybox, &kernel.package] {
            parts.uses(package);
        }
        for (name, file) in [("kernel", &kernel.image), ("initrd", &parts.initrd)] {
            parts.sha256.insert(name.to_owned(), sha256_of(file)?);
        }
        parts.authenticode.insert("kernel".to_owned(), authenticode_of(lab, &kernel.image)?);
        Ok(parts)
    }

    /// The machine, not yet made.
    pub fn machine(&mut self) -> Result<MachineBuilder<'a>> {
        let variant = self.variant;
        let chain = self.chain()?;
        let mut builder = MachineBuilder::new(self.lab, variant.name, chain)
            .secure_boot(variant.keys)
            .cmdline_extra(variant.cmdline)
            .grub_commands(variant.grub_commands)
            .disk_number(variant.disk_number)
            .banks(variant.banks);
        let ovmf = match variant.firmware {
            Age::Older => &self.others.ovmf,
            Age::Next => &self.others.next_ovmf,
            _ => &self.lab.ovmf,
        };
        self.uses(ovmf);
        builder = builder.firmware(ovmf.path("usr/share/OVMF/OVMF_CODE_4M.secboot.fd")?);
        if variant.chain == Chain::ShimGrub {
            builder = builder.shim(self.shim()?).grub(self.grub()?);
        }
        if variant.menu != Menu::None {
            let mut kernels = vec![self.kernel];
            if variant.menu == Menu::Both {
                kernels.push(&self.others.kernel);
            }
            builder =
                builder.installed(kernels.into_iter().map(|k| self.installed(k)).collect::<Result<_>>()?);
        }
        if variant.grub_commands.contains("vmlinuz.unsigned") {
            builder = builder.boot_file("vmlinuz.unsigned", self.unsigned_kernel()?);
        }
        for edit in variant.edits {
            for edit in self.vars_edits(*edit)? {
                builder = builder.edit_vars(edit);
            }
            if *edit == Edit::Credentials {
                for path in CREDENTIALS {
                    builder = builder.boot_file(path, self.credential()?);
                }
            }
            if *edit == Edit::Program {
                builder = builder.boot_file(PROGRAM, self.program()?);
            }
            if let Edit::Windows(settings) = edit {
                let events = self.folder.join("events.bin");
                fs::write(&events, windows::events(*settings))?;
                builder = builder.boot_file(PROGRAM, self.measuring_program()?).boot_file(EVENTS, events);
            }
        }
        if variant.second_disk {
            let kernel = self.kernel.image.clone();
            let chain = BootChain::ShimGrub { kernel, initrd: self.initrd.clone() };
            let usual = MachineBuilder::new(self.lab, "second", chain).disk_number(2);
            builder = builder.second_disk(usual.disk_plan()?).press_enter();
        }
        Ok(builder)
    }

    fn installed(&self, kernel: &Kernel) -> Result<Installed> {
        Ok(Installed {
            release: kernel.release.clone(),
            kernel: kernel.image.clone(),
            initrd: self.lab.initramfs(kernel, &[], "")?,
        })
    }

    fn uses(&mut self, package: &Package) {
        self.packages.insert(package.name.clone(), package.version.clone());
    }

    fn image(&mut self, name: &str, path: &Path) -> Result<()> {
        self.authenticode.insert(name.to_owned(), authenticode_of(self.lab, path)?);
        Ok(())
    }

    fn lab_key(&self) -> Result<SigningKey> {
        SigningKey::in_folder(&self.keys.join("db"), "Veriboot lab db key")
    }

    fn shim(&mut self) -> Result<PathBuf> {
        let older = self.variant.shim == Age::Older;
        let package = if older { &self.others.shim } else { &self.lab.shim };
        self.uses(package);
        let mut shim = package.path("usr/lib/shim/shimx64.efi.signed")?;
        if self.variant.shim == Age::LabSigned {
            let signed = self.folder.join("shim.efi");
            self.lab_key()?.sign(&shim, &signed)?;
            shim = signed;
        }
        self.image("shim", &shim)?;
        Ok(shim)
    }

    fn grub(&mut self) -> Result<PathBuf> {
        let older = self.variant.grub == Age::Older;
        let package = if older { &self.others.grub } else { &self.lab.grub };
        self.uses(package);
        let grub = package.path("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")?;
        self.image("grub", &grub)?;
        Ok(grub)
    }

    fn unsigned_kernel(&mut self) -> Result<PathBuf> {
        let unsigned = self.folder.join("vmlinuz.unsigned");
        fs::copy(&self.kernel.image, &unsigned)?;
        let status = Command::new("sbattach").arg("--remove").arg(&unsigned).status()?;
        if !status.success() {
            bail!("cannot remove the signature of the kernel (package sbsigntool)");
        }
        self.sha256.insert("unsigned-kernel".to_owned(), sha256_of(&unsigned)?);
        Ok(unsigned)
    }

    fn program(&mut self) -> Result<PathBuf> {
        let package = &self.others.fwupd;
        self.uses(package);
        let program = self.folder.join("program.efi");
        let image = package.path("usr/libexec/fwupd/efi/fwupdx64.efi.signed")?;
        self.lab_key()?.sign(&image, &program)?;
        self.image("program", &program)?;
        Ok(program)
    }

    /// The program that has the firmware measure what [`EVENTS`] says.
    fn measuring_program(&mut self) -> Result<PathBuf> {
        let package = &self.others.gnu_efi;
        self.uses(package);
        let program = self.folder.join("program.efi");
        self.lab_key()?.sign(&program::build(package, &self.folder)?, &program)?;
        self.image("program", &program)?;
        Ok(program)
    }

    /// A credential, which nobody encrypted: the stub measures and hands over what is there.
    fn credential(&self) -> Result<PathBuf> {
        let file = self.folder.join("lab.cred");
        fs::write(&file, "a credential of the lab\n")?;
        Ok(file)
    }

    fn chain(&mut self) -> Result<BootChain> {
        let kernel = self.kernel.image.clone();
        let initrd = self.initrd.clone();
        Ok(match self.variant.chain {
            Chain::ShimGrub => BootChain::ShimGrub { kernel, initrd },
            Chain::Direct => BootChain::Direct { kernel, initrd },
            Chain::SystemdBoot => {
                let package = &self.others.systemd_boot;
                self.uses(package);
                let key = self.lab_key()?;
                let unsigned = self.folder.join("unsigned.efi");
                let parts = UkiParts {
                    stub: package.path("usr/lib/systemd/boot/efi/linuxx64.efi.stub")?,
                    kernel,
                    initrd,
                    cmdline: cmdline_with(self.variant.cmdline),
                    os_release: "ID=veriboot-lab\nNAME=\"Veriboot lab\"\nVERSION_ID=1\n".to_owned(),
                    uname: self.kernel.release.clone(),
                };
                build_uki(&parts, &unsigned)?;
                let (uki, loader) = (self.folder.join("uki.efi"), self.folder.join("loader.efi"));
                key.sign(&unsigned, &uki)?;
                key.sign(&package.path("usr/lib/systemd/boot/efi/systemd-bootx64.efi")?, &loader)?;
                self.sha256.insert("uki".to_owned(), sha256_of(&uki)?);
                self.image("uki", &uki)?;
                self.image("loader", &loader)?;
                BootChain::SystemdBoot { loader, uki }
            }
        })
    }

    fn vars_edits(&self, edit: Edit) -> Result<Vec<VarsEdit>> {
        let certificate = |folder: &str, name: &str| -> Result<PathBuf> {
            Ok(SigningKey::in_folder(&self.keys.join(folder), name)?.certificate)
        };
        Ok(match edit {
            Edit::Mok => vec![VarsEdit::EnrollMok(certificate("mok", "Veriboot lab machine owner")?)],
            // Boot services only and non-volatile: shim takes no other.
            Edit::MokValidationOff => {
                vec![VarsEdit::Set { name: "MokSBState", guid: SHIM_GUID, attributes: 3, data: vec![1] }]
            }
            Edit::LabDb => vec![VarsEdit::EnrollDb(self.lab_key()?.certificate)],
            Edit::OwnKeys => vec![
                VarsEdit::Delete("KEK"),
                VarsEdit::Delete("db"),
                VarsEdit::ReplacePlatformKey(certificate("pk", "Veriboot lab platform key")?),
                VarsEdit::EnrollKek(certificate("kek", "Veriboot lab key exchange key")?),
                VarsEdit::EnrollDb(self.lab_key()?.certificate),
            ],
            Edit::Microsoft2023 => vec![VarsEdit::EnrollMicrosoft2023],
            Edit::DbxHashes => {
                REVOKED.iter().map(|byte| VarsEdit::RevokeHash(hex::encode([*byte; 32]))).collect()
            }
            Edit::DbxGone => vec![VarsEdit::Delete("dbx")],
            Edit::Sbat => vec![VarsEdit::SbatLevel(SBAT_LEVEL.to_owned())],
            Edit::SecureBootOff => vec![VarsEdit::SecureBoot(false)],
            Edit::BootEntry => vec![VarsEdit::AppendBootEntry("EFI/other/grubx64.efi".to_owned())],
            Edit::OtherLists => ["dbt", "dbr"]
                .into_iter()
                .zip(REVOKED)
                .map(|(name, byte)| VarsEdit::Set {
                    name,
                    guid: IMAGE_SECURITY_GUID,
                    // Non-volatile, for boot services and run time, authenticated by time.
                    attributes: 0x27,
                    data: digest_list([byte; 32]),
                })
                .collect(),
            // Files of the boot disk.
            Edit::Credentials => Vec::new(),
            Edit::Program | Edit::Windows(_) => {
                let set = |name, data| VarsEdit::Set { name, guid: GLOBAL_GUID, attributes: 7, data };
                vec![
                    set("SysPrep0000", load_option("Extra program", PROGRAM)),
                    set("SysPrepOrder", vec![0, 0]),
                ]
            }
        })
    }
}

/// An EFI_SIGNATURE_LIST with one SHA-256 digest (UEFI 2.10, section 32.4.1).
fn digest_list(digest: [u8; 32]) -> Vec<u8> {
    // EFI_CERT_SHA256_GUID, sizes of the list, of its header and of one signature; no owner.
    const TYPE: [u8; 16] =
        [0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28];
    let sizes = [76_u32, 0, 48].into_iter().flat_map(u32::to_le_bytes);
    TYPE.into_iter().chain(sizes).chain([0; 16]).chain(digest).collect()
}

/// An active EFI_LOAD_OPTION (UEFI 2.10, section 3.1.3) with a short-form file path.
fn load_option(description: &str, path: &str) -> Vec<u8> {
    let ucs2 =
        |text: &str| -> Vec<u8> { text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect() };
    let path = ucs2(&format!("\\{}", path.replace('/', "\\")));
    let node_bytes = u16::try_from(path.len() + 4).unwrap_or(u16::MAX);
    let mut list = vec![4, 4];
    list.extend_from_slice(&node_bytes.to_le_bytes());
    list.extend_from_slice(&path);
    list.extend_from_slice(&[0x7f, 0xff, 4, 0]);
    let list_bytes = u16::try_from(list.len()).unwrap_or(u16::MAX);
    let mut option = 1_u32.to_le_bytes().to_vec();
    option.extend_from_slice(&list_bytes.to_le_bytes());
    option.extend_from_slice(&ucs2(description));
    option.extend_from_slice(&list);
    option
}
