//! The story of a boot: a summary value computed from the log alone.

use serde::Serialize;

use crate::decode::no_action::NoAction;
use crate::decode::sipa::{TaggedEvents, TaggedValue};
use crate::decode::tagged::Tagged;
use crate::decode::variable::Content;
use crate::limits::MAX_NAME_CHARS;
use crate::linux::kernel_version;
use crate::measurement::measurements;
use crate::sbat::Sbat;
use crate::text::{bounded, guids};
use crate::{ComponentKind, Decoded, Digest, EventLog, EventType, Format, HashAlg, Measurement};

/// What a log says about a boot, for people. All text is printable and bounded.
#[derive(Clone, Debug, Serialize)]
pub struct BootStory {
    /// Layout of the log.
    pub format: Format,
    /// Banks that the log extends.
    pub banks: Vec<HashAlg>,
    /// Events of the last session.
    pub events: usize,
    /// Firmware.
    pub firmware: FirmwareStory,
    /// Whether Secure Boot was on; `None` when the log does not say.
    pub secure_boot: Option<bool>,
    /// Mode of Secure Boot, where the log has the variables: `user`, `setup`, `audit`, `deployed`.
    pub secure_boot_mode: Option<&'static str>,
    /// PK, KEK, db and dbx.
    pub keys: KeyStory,
    /// SBAT revocation level, its first line: `sbat,1,2023012900`.
    pub sbat_level: Option<String>,
    /// SBAT revocation level: date and generation of each component.
    pub sbat: Option<Sbat>,
    /// Which machine-owner-key variables shim measured, in order.
    pub mok: Vec<String>,
    /// Applications that ran, in order.
    pub images: Vec<ImageStory>,
    /// Drivers from option ROMs and disks.
    pub drivers: usize,
    /// Boot entry titles in boot order.
    pub boot_order: Vec<String>,
    /// Kernel, where the log names it.
    pub kernel: Option<FileStory>,
    /// Initial RAM disks.
    pub initrds: Vec<FileStory>,
    /// Kernel command line.
    pub command_line: Option<String>,
    /// Commands that GRUB executed.
    pub boot_loader_commands: usize,
    /// Sections of the unified kernel image.
    pub uki_sections: Vec<String>,
    /// Security state of Windows.
    pub windows: Option<WindowsStory>,
    /// Confidential-computing technology, where firmware names it.
    pub confidential: Option<String>,
    /// Whether the operating system took over; `None` when the log was saved before that or ends earlier.
    pub exit_boot_services: Option<bool>,
}

/// Firmware as it describes itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FirmwareStory {
    /// Version of the static root of trust.
    pub version: Option<String>,
    /// Vendor, where the log names or betrays it.
    pub vendor: Option<String>,
    /// Platform, from a reference manifest event.
    pub platform: Option<String>,
}

/// Keys of Secure Boot.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KeyStory {
    /// Owner of the platform.
    pub pk: Vec<CertificateStory>,
    /// Who may change db and dbx.
    pub kek: Vec<CertificateStory>,
    /// What may run.
    pub db: Vec<CertificateStory>,
    /// Digests in db.
    pub db_hashes: usize,
    /// Certificates that must not be used.
    pub dbx: Vec<CertificateStory>,
    /// Digests in dbx.
    pub dbx_hashes: usize,
    /// SHA-256 of the dbx variable: names its revision.
    pub dbx_sha256: Option<Digest>,
    /// Whether a certificate of Microsoft of 2011 is in KEK or db. They expire in 2026.
    pub microsoft_2011: bool,
    /// Whether a certificate of Microsoft of 2023 is in KEK or db.
    pub microsoft_2023: bool,
}

/// A certificate.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateStory {
    /// Common name.
    pub name: String,
    /// Subject.
    pub subject: String,
    /// Issuer.
    pub issuer: String,
    /// Start of validity.
    pub not_before: String,
    /// End of validity.
    pub not_after: String,
    /// SHA-256 of the certificate.
    pub sha256: Digest,
}

/// An application in the chain from firmware to the operating system.
#[derive(Clone, Debug, Serialize)]
pub struct ImageStory {
    /// Event.
    pub event: u32,
    /// Part it plays.
    pub role: ComponentKind,
    /// Path, or what is known of it.
    pub path: String,
    /// Authenticode digest, of the strongest bank.
    pub digest: Digest,
    /// Certificate that admitted it. One certificate is measured once, so later images may lack it.
    pub admitted_by: Option<String>,
}

/// A file that was read.
#[derive(Clone, Debug, Serialize)]
pub struct FileStory {
    /// Event.
    pub event: u32,
    /// Path, or what is known of it.
    pub path: String,
    /// Version, where the path has one.
    pub version: Option<String>,
    /// Digest, of the strongest bank.
    pub digest: Digest,
}

/// What Windows says about its own security.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WindowsStory {
    /// Boots counted by Windows.
    pub boot_counter: Option<u64>,
    /// Code integrity.
    pub code_integrity: Option<bool>,
    /// Test-signed code allowed.
    pub test_signing: Option<bool>,
    /// Flight-signed code allowed.
    pub flight_signing: Option<bool>,
    /// Boot debugging.
    pub boot_debugging: Option<bool>,
    /// Kernel debugging.
    pub kernel_debugging: Option<bool>,
    /// Safe mode.
    pub safe_mode: Option<bool>,
    /// Windows PE.
    pub win_pe: Option<bool>,
    /// Data execution prevention.
    pub data_execution_prevention: Option<String>,
    /// Driver load policy.
    pub driver_load_policy: Option<String>,
    /// Hypervisor launch type.
    pub hypervisor: Option<String>,
    /// Virtual secure mode launch type.
    pub virtual_secure_mode: Option<String>,
    /// Virtualisation-based security required by policy.
    pub vbs_required: Option<bool>,
    /// Hypervisor-enforced code integrity, as every policy for it that was measured says; `None` when none was.
    pub hvci: Option<bool>,
    /// How BitLocker was unlocked; 0 means it was not.
    pub bitlocker_unlock: Option<u64>,
    /// Early-launch anti-malware.
    pub elam: Vec<String>,
    /// System root.
    pub system_root: Option<String>,
    /// Modules that were loaded.
    pub modules: Vec<WindowsModuleStory>,
}

/// A Windows module.
#[derive(Clone, Debug, Serialize)]
pub struct WindowsModuleStory {
    /// Path.
    pub path: String,
    /// Authenticode digest, hex.
    pub digest: String,
    /// Who signed it.
    pub publisher: Option<String>,
    /// Whether the signature was valid.
    pub validated: Option<bool>,
}

/// Tells the story of the last session.
pub fn story(log: &EventLog<'_>) -> BootStory {
    let banks = log.active_banks();
    let bank = banks.iter().copied().max_by_key(|bank| (bank.size(), *bank)).unwrap_or(HashAlg::Sha1);
    let mut story = BootStory {
        format: log.format,
        banks,
        events: log.session().len(),
        firmware: FirmwareStory::default(),
        secure_boot: None,
        secure_boot_mode: None,
        keys: KeyStory::default(),
        sbat_level: None,
        sbat: None,
        mok: Vec::new(),
        images: Vec::new(),
        drivers: 0,
        boot_order: Vec::new(),
        kernel: None,
        initrds: Vec::new(),
        command_line: None,
        boot_loader_commands: 0,
        uki_sections: Vec::new(),
        windows: None,
        confidential: None,
        exit_boot_services: None,
    };
    tell_events(log, &mut story);
    for measurement in measurements(log, bank) {
        let at = usize::try_from(measurement.event).ok().and_then(|index| log.events.get(index));
        if at.is_some_and(|event| event.event_type == EventType::EV_EFI_BOOT_SERVICES_APPLICATION) {
            story.images.push(ImageStory::new(&measurement));
        }
        tell_measurement(&mut story, measurement);
    }
    story
}

fn tell_events(log: &EventLog<'_>, story: &mut BootStory) {
    let mut flags = ModeFlags::default();
    let mut entries: Vec<(u16, String)> = Vec::new();
    let mut order: Vec<u16> = Vec::new();
    // Secure Boot variables count in their register and before its separator: what comes later was not firmware's.
    let secure_boot_register = if log.format == Format::Ccel { 1 } else { 7 };
    let mut configuring = true;
    for event in log.session() {
        if event.event_type == EventType::EV_SEPARATOR && event.pcr == secure_boot_register {
            configuring = false;
        }
        match event.decode() {
            Decoded::NoAction { info: NoAction::ReferenceManifest(manifest) } => {
                story.firmware.vendor =
                    manifest.firmware_manufacturer.filter(|t| !t.0.is_empty()).map(|t| short(&t));
                let (maker, model) = (manifest.platform_manufacturer, manifest.platform_model);
                story.firmware.platform =
                    maker.zip(model).map(|(maker, model)| short(&format_args!("{maker} {model}")));
            }
            Decoded::CrtmVersion { version }
                if story.firmware.version.is_none() && version.0.iter().any(|b| *b != 0) =>
            {
                story.firmware.version = Some(short(&version));
            }
            Decoded::ConfidentialTechnology { technology } => {
                story.confidential = Some(technology.to_owned())
            }
            Decoded::HandoffTables(tables)
                if tables.tables.iter().any(|(guid, _)| guid == guids::TDX_HOB) =>
            {
                story.confidential = Some("Intel TDX".to_owned());
            }
            Decoded::SecureBootVariable(variable)
                if configuring
                    && event.pcr == secure_boot_register
                    && variable.is_secure_boot_configuration() =>
            {
                match variable.content() {
                    Content::Flag(flag) => flags.note(&short(&variable.name), flag.unwrap_or(false), story),
                    Content::Signatures(_) => story.keys.note(&variable),
                    _ => {}
                }
            }
            Decoded::Authority(authority)
                if authority.0.vendor == guids::SHIM_LOCK && authority.0.name.is("SbatLevel") =>
            {
                story.sbat = Sbat::parse(authority.0.data);
            }
            Decoded::BootVariable(variable) => match (variable.content(), variable.boot_number()) {
                (Content::BootOrder(numbers), _) => order = numbers,
                (Content::BootEntry(entry), Some(number)) if entries.len() < 1_024 => {
                    entries.push((number, short(&entry.description)));
                }
                _ => {}
            },
            Decoded::Tagged(Tagged::Windows { events }) => {
                story.windows.get_or_insert_default().note(&events);
            }
            Decoded::Action { text } if text.0 == crate::replay::EXIT_BOOT_SERVICES_SUCCESS => {
                story.exit_boot_services = Some(true);
            }
            _ => {}
        }
    }
    story.secure_boot_mode = flags.mode();
    story.boot_order = order
        .iter()
        .filter_map(|number| entries.iter().find(|(entry, _)| entry == number))
        .map(|(number, title)| format!("Boot{number:04X} {title}"))
        .collect();
    if story.firmware.vendor.is_none() {
        story.firmware.vendor = story.firmware.version.as_deref().and_then(vendor_of).map(str::to_owned);
    }
}

fn tell_measurement(story: &mut BootStory, m: Measurement) {
    match m.kind {
        ComponentKind::SbatLevel => {
            story.sbat_level = m.value.and_then(|v| v.split("\\u{a}").next().map(str::to_owned));
        }
        ComponentKind::MokState if !story.mok.iter().any(|name| *name == m.name) => {
            story.mok.push(m.name.into_owned());
        }
        ComponentKind::OptionRom => story.drivers += 1,
        ComponentKind::BootLoaderConfig if m.name.starts_with("GRUB command") => {
            story.boot_loader_commands += 1
        }
        ComponentKind::UkiSection if !m.name.ends_with(" (name)") => {
            story.uki_sections.push(m.name.into_owned());
        }
        ComponentKind::KernelCommandLine if m.value.is_some() => story.command_line = m.value,
        ComponentKind::Initrd => {
            story.initrds.push(FileStory {
                event: m.event,
                version: None,
                path: m.name.into_owned(),
                digest: m.digest,
            });
        }
        ComponentKind::Kernel => {
            let version = kernel_version(&m.name).map(str::to_owned);
            // A file path says more than the image that the boot loader starts from memory.
            if story.kernel.as_ref().is_none_or(|known| known.version.is_none() && version.is_some()) {
                story.kernel =
                    Some(FileStory { event: m.event, path: m.name.into_owned(), version, digest: m.digest });
            }
        }
        _ => {}
    }
}

impl ImageStory {
    fn new(m: &Measurement) -> Self {
        Self {
            event: m.event,
            role: m.kind,
            path: m.name.clone().into_owned(),
            digest: m.digest,
            admitted_by: m.signer.clone(),
        }
    }
}

#[derive(Default)]
struct ModeFlags {
    setup: Option<bool>,
    audit: Option<bool>,
    deployed: Option<bool>,
}

impl ModeFlags {
    fn note(&mut self, name: &str, on: bool, story: &mut BootStory) {
        match name {
            // Measured twice with different values means off: fail closed (ATTACKS row 17).
            "SecureBoot" => story.secure_boot = Some(on && story.secure_boot != Some(false)),
            "SetupMode" => self.setup = Some(on),
            "AuditMode" => self.audit = Some(on),
            "DeployedMode" => self.deployed = Some(on),
            _ => {}
        }
    }

    /// UEFI 2.11, section 32.3.
    fn mode(&self) -> Option<&'static str> {
        match (self.deployed, self.audit, self.setup) {
            (Some(true), _, _) => Some("deployed"),
            (_, Some(true), _) => Some("audit"),
            (_, _, Some(true)) => Some("setup"),
            (Some(false), Some(false), _) | (_, _, Some(false)) => Some("user"),
            _ => None,
        }
    }
}

impl KeyStory {
    fn note(&mut self, variable: &crate::decode::variable::Variable<'_>) {
        let Content::Signatures(database) = variable.content() else { return };
        let certificates: Vec<CertificateStory> =
            database.certificates().map(|c| CertificateStory::new(&c)).collect();
        let of = |name: &str| variable.name.is(name);
        if of("KEK") || of("db") {
            // Names of Microsoft's certificate authorities of both generations.
            let named = |year: &str| {
                certificates.iter().any(|c| {
                    c.name.contains("Microsoft") && c.name.ends_with(year)
                        || c.name.contains("Windows UEFI CA") && c.name.ends_with(year)
                })
            };
            self.microsoft_2011 |= named("2011");
            self.microsoft_2023 |= named("2023");
        }
        if of("PK") {
            self.pk = certificates;
        } else if of("KEK") {
            self.kek = certificates;
        } else if of("db") {
            (self.db, self.db_hashes) = (certificates, database.hash_count());
        } else if of("dbx") {
            (self.dbx, self.dbx_hashes) = (certificates, database.hash_count());
            self.dbx_sha256 = Some(HashAlg::Sha256.hash(&[variable.data]));
        }
    }
}

impl CertificateStory {
    fn new(certificate: &crate::Certificate<'_>) -> Self {
        Self {
            name: short(&certificate.short_name()),
            subject: short(&certificate.subject),
            issuer: short(&certificate.issuer),
            not_before: short(&certificate.not_before),
            not_after: short(&certificate.not_after),
            sha256: certificate.fingerprint(),
        }
    }
}

impl WindowsStory {
    fn note(&mut self, events: &TaggedEvents<'_>) {
        events.walk(&mut |event| {
            if let Some(module) = event.module() {
                if let (Some(path), true) = (module.path, self.modules.len() < 4_096) {
                    self.modules.push(WindowsModuleStory {
                        path: short(&path),
                        digest: short(&crate::text::Hex(module.digest.unwrap_or_default())),
                        publisher: module.publisher.map(|p| short(&p)),
                        validated: module.validated,
                    });
                }
                return;
            }
            if let Some(on) = event.hvci() {
                self.hvci = Some(on && self.hvci != Some(false));
                return;
            }
            let value = event.value();
            let flag = if let TaggedValue::Flag(flag) = value { Some(flag) } else { None };
            let number = if let TaggedValue::Number(number) = value { Some(number) } else { None };
            // The strictest reading wins where a setting is measured by boot manager and loader.
            let any = |known: Option<bool>| flag.map_or(known, |flag| Some(flag || known == Some(true)));
            let all = |known: Option<bool>| flag.map_or(known, |flag| Some(flag && known != Some(false)));
            match event.id {
                0x0002_0002 => self.boot_counter = number.or(self.boot_counter),
                0x0002_0005 => self.bitlocker_unlock = number.max(self.bitlocker_unlock),
                0x0004_0001 => self.boot_debugging = any(self.boot_debugging),
                0x0005_0001 => self.kernel_debugging = any(self.kernel_debugging),
                0x0005_0002 => self.code_integrity = all(self.code_integrity),
                0x0005_0003 => self.test_signing = any(self.test_signing),
                0x0005_0004 => self.data_execution_prevention = Some(short(&value)),
                0x0005_0005 => self.safe_mode = any(self.safe_mode),
                0x0005_0006 => self.win_pe = any(self.win_pe),
                0x0005_0009 => self.system_root = Some(short(&value)),
                0x0005_000A => self.hypervisor = Some(short(&value)),
                0x0005_000E => self.driver_load_policy = Some(short(&value)),
                0x0005_0012 => self.virtual_secure_mode = Some(short(&value)),
                0x0005_0021 => self.flight_signing = any(self.flight_signing),
                0x0009_0001 if self.elam.len() < 16 => self.elam.push(short(&value)),
                0x000A_0001 => self.vbs_required = any(self.vbs_required),
                _ => {}
            }
        });
    }
}

fn short(shown: &impl std::fmt::Display) -> String {
    bounded(&format_args!("{shown}"), MAX_NAME_CHARS)
}

/// Vendor that a version string betrays.
fn vendor_of(version: &str) -> Option<&'static str> {
    let starts = |prefix: &str| version.starts_with(prefix);
    if starts("GCE Virtual Firmware") {
        Some("Google")
    } else if starts("edk2-") || starts("EDK II") {
        Some("EDK II (QEMU/OVMF)")
    } else if starts("Hyper-V UEFI") {
        Some("Microsoft")
    } else {
        None
    }
}
