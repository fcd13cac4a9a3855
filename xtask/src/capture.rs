//! `cargo xtask capture`: boots variants of a machine and saves what firmware, TPM and agent say as golden
//! files. PCR values come from the TPM, digests of files from coreutils: nothing here is our own opinion.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use veriboot_testkit::vm::{
    BootChain, CMDLINE, Capture, GuestFile, Job, Kernel, Lab, LabOptions, MachineBuilder, SigningKey,
    UkiParts, VarsEdit, build_uki, sha256_of, tool_version,
};

use crate::build;
use crate::steps::Steps;

const LIMIT: Duration = Duration::from_secs(240);
/// Machines that run at once.
const AT_ONCE: usize = 2;

/// Arguments of `capture`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these variants
    variants: Vec<String>,
    /// Folder of the golden files
    #[arg(long, default_value = "crates/testkit/corpus")]
    output: PathBuf,
    /// Save logs and PCR values only, without the agent
    #[arg(long)]
    no_quotes: bool,
}

/// What one variant changes.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    about: &'static str,
    chain: Chain,
    secure_boot: bool,
    other_kernel: bool,
    other_initrd: bool,
    cmdline: &'static str,
    mok: bool,
    banks: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chain {
    ShimGrub,
    SystemdBoot,
    Direct,
}

/// shim, GRUB, cloud kernel, Secure Boot with Microsoft's keys, one SHA-256 bank.
const PLAIN: Variant = Variant {
    name: "secure-boot",
    about: "shim, GRUB and cloud kernel with Secure Boot and Microsoft's keys",
    chain: Chain::ShimGrub,
    secure_boot: true,
    other_kernel: false,
    other_initrd: false,
    cmdline: "",
    mok: false,
    banks: "sha256",
};

const VARIANTS: &[Variant] = &[
    PLAIN,
    Variant {
        name: "secure-boot-off",
        about: "firmware without keys, Secure Boot off; GRUB starts the kernel with `linuxefi`",
        secure_boot: false,
        ..PLAIN
    },
    Variant { name: "other-kernel", about: "another signed kernel", other_kernel: true, ..PLAIN },
    Variant {
        name: "cmdline",
        about: "another kernel command line in the GRUB configuration",
        cmdline: "init=/bin/sh lockdown=none",
        ..PLAIN
    },
    Variant {
        name: "initrd",
        about: "another initramfs: one text file differs",
        other_initrd: true,
        ..PLAIN
    },
    Variant { name: "mok", about: "a machine owner key enrolled", mok: true, ..PLAIN },
    Variant {
        name: "uki",
        about: "systemd-boot and a unified kernel image, signed with a key in db; Secure Boot on",
        chain: Chain::SystemdBoot,
        ..PLAIN
    },
    Variant {
        name: "direct-kernel",
        about: "kernel and initramfs handed over by QEMU, started through the EFI stub; Secure Boot off",
        chain: Chain::Direct,
        secure_boot: false,
        ..PLAIN
    },
    Variant {
        name: "three-banks",
        about: "SHA-1, SHA-256 and SHA-384 banks active",
        banks: "sha1,sha256,sha384",
        ..PLAIN
    },
];

/// Boots all variants, two at a time, and writes their golden files.
pub fn run(arguments: &Arguments) -> Result<()> {
    let root = crate::root()?;
    let steps = Steps::start();
    let variants: Vec<Variant> = VARIANTS
        .iter()
        .filter(|variant| {
            arguments.variants.is_empty() || arguments.variants.iter().any(|n| n == variant.name)
        })
        .copied()
        .collect();
    if variants.is_empty() {
        let names: Vec<&str> = VARIANTS.iter().map(|variant| variant.name).collect();
        bail!("no such variant; there are: {}", names.join(", "));
    }
    let agent =
        if arguments.no_quotes { None } else { Some(build::agent(&root, &|what| steps.say("build", what))?) };
    let lab = Lab::prepare(&root.join(".cache/lab"), LabOptions { variants: true }, &mut |what| {
        steps.say("lab", what);
    })?;
    let session =
        Session { lab, agent, work: root.join(".cache/capture"), output: root.join(&arguments.output) };
    let queue = Mutex::new(variants.iter());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(variant) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                    steps.say(variant.name, "boots");
                    match session.capture(variant) {
                        Ok(summary) => steps.say(variant.name, &summary),
                        Err(error) => {
                            steps.say(variant.name, "FAILED");
                            if let Ok(mut failures) = failures.lock() {
                                failures.push(format!("{}: {error:#}", variant.name));
                            }
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_default();
    if !failures.is_empty() {
        bail!("{}", failures.join("\n\n"));
    }
    Ok(())
}

struct Session {
    lab: Lab,
    agent: Option<PathBuf>,
    work: PathBuf,
    output: PathBuf,
}

impl Session {
    fn capture(&self, variant: &Variant) -> Result<String> {
        let folder = self.work.join(variant.name);
        let kernel = if variant.other_kernel {
            self.lab.other_kernel.as_ref().context("no second kernel")?
        } else {
            &self.lab.kernel
        };
        let files: Vec<GuestFile> = self
            .agent
            .iter()
            .map(|agent| GuestFile { path: "bin/veriboot-agent".to_owned(), source: agent.clone() })
            .collect();
        let note = if variant.other_initrd { "another initramfs\n" } else { "" };
        let initrd = self.lab.initramfs(kernel, &files, note)?;
        let inputs =
            Inputs { variant, kernel, initrd, folder: self.work.join(format!("{}-files", variant.name)) };
        let (chain, mut digests) = self.chain(&inputs)?;
        let mut builder = MachineBuilder::new(&self.lab, variant.name, chain)
            .secure_boot(variant.secure_boot)
            .cmdline_extra(variant.cmdline)
            .banks(variant.banks);
        if variant.mok {
            let key = SigningKey::in_folder(&inputs.folder, "Veriboot lab machine owner")?;
            builder = builder.edit_vars(VarsEdit::EnrollMok(key.certificate));
        }
        if variant.chain == Chain::SystemdBoot {
            let key = SigningKey::in_folder(&inputs.folder, "Veriboot lab db key")?;
            builder = builder.edit_vars(VarsEdit::EnrollDb(key.certificate));
        }
        let machine = builder.build(&folder)?;
        let nonce = nonce(variant.name);
        let mut job = Job::new().capture();
        if self.agent.is_some() {
            job = job
                .step("evidence", &format!("veriboot-agent evidence --state-dir /tmp/agent --nonce {nonce}"));
        }
        let report = machine.run(&job, LIMIT, &mut |_| true)?;
        if self.agent.is_some() && report.exit_of("evidence") != Some(0) {
            bail!("the agent gave no evidence\n{}", report.describe());
        }
        let capture = Capture::of(&report)?;
        digests.insert("kernel".to_owned(), sha256_of(&kernel.image)?);
        digests.insert("initrd".to_owned(), sha256_of(&inputs.initrd)?);
        let meta = json!({
            "variant": variant.name,
            "about": variant.about,
            "secure_boot": variant.secure_boot,
            "cmdline": machine.cmdline(),
            "banks": variant.banks.split(',').collect::<Vec<_>>(),
            "nonce": nonce,
            "sha256": digests,
            "packages": self.packages(variant.chain, kernel),
        });
        self.write(variant.name, &capture, report.files.get("evidence.out"), &meta)?;
        Ok(format!("event log of {} bytes", capture.event_log.len()))
    }

    /// The boot chain of a variant and the SHA-256 digests of files made for it.
    fn chain(&self, inputs: &Inputs<'_>) -> Result<(BootChain, BTreeMap<String, String>)> {
        let kernel = inputs.kernel.image.clone();
        let initrd = inputs.initrd.clone();
        let mut digests = BTreeMap::new();
        let chain = match inputs.variant.chain {
            Chain::ShimGrub => BootChain::ShimGrub { kernel, initrd },
            Chain::Direct => BootChain::Direct { kernel, initrd },
            Chain::SystemdBoot => {
                let package = self.lab.systemd_boot.as_ref().context("no systemd-boot")?;
                let key = SigningKey::in_folder(&inputs.folder, "Veriboot lab db key")?;
                let unsigned = inputs.folder.join("unsigned.efi");
                let parts = UkiParts {
                    stub: package.path("usr/lib/systemd/boot/efi/linuxx64.efi.stub")?,
                    kernel,
                    initrd,
                    cmdline: CMDLINE.to_owned(),
                    os_release: "ID=veriboot-lab\nNAME=\"Veriboot lab\"\nVERSION_ID=1\n".to_owned(),
                    uname: inputs.kernel.release.clone(),
                };
                build_uki(&parts, &unsigned)?;
                let (uki, loader) = (inputs.folder.join("uki.efi"), inputs.folder.join("loader.efi"));
                key.sign(&unsigned, &uki)?;
                key.sign(&package.path("usr/lib/systemd/boot/efi/systemd-bootx64.efi")?, &loader)?;
                digests.insert("uki".to_owned(), sha256_of(&uki)?);
                BootChain::SystemdBoot { loader, uki }
            }
        };
        Ok((chain, digests))
    }

    fn packages(&self, chain: Chain, kernel: &Kernel) -> BTreeMap<String, String> {
        let mut packages = BTreeMap::new();
        let loaders = match chain {
            Chain::ShimGrub => vec![&self.lab.shim, &self.lab.grub],
            Chain::SystemdBoot => self.lab.systemd_boot.iter().collect(),
            Chain::Direct => Vec::new(),
        };
        for package in [&self.lab.ovmf, &self.lab.busybox, &kernel.package].into_iter().chain(loaders) {
            packages.insert(package.name.clone(), package.version.clone());
        }
        for program in ["qemu-system-x86_64", "swtpm"] {
            packages.insert(program.to_owned(), tool_version(program).unwrap_or_default());
        }
        packages
    }

    fn write(
        &self,
        name: &str,
        capture: &Capture,
        bundle: Option<&Vec<u8>>,
        meta: &serde_json::Value,
    ) -> Result<()> {
        let folder = self.output.join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("eventlog.bin"), &capture.event_log)?;
        write_json(&folder.join("pcrs.json"), &serde_json::to_value(&capture.pcrs)?)?;
        if let Some(bundle) = bundle {
            let bundle: serde_json::Value =
                serde_json::from_slice(bundle).context("the agent's evidence is not JSON")?;
            write_json(&folder.join("bundle.json"), &bundle)?;
        }
        write_json(&folder.join("meta.json"), meta)
    }
}

struct Inputs<'a> {
    variant: &'a Variant,
    kernel: &'a Kernel,
    initrd: PathBuf,
    /// Files made for this variant, such as a UKI.
    folder: PathBuf,
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A recognisable nonce of 32 bytes, in hex.
fn nonce(variant: &str) -> String {
    let mut bytes = format!("veriboot capture {variant}").into_bytes();
    bytes.resize(32, b'.');
    hex::encode(bytes)
}
