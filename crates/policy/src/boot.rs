//! What conditions may say about a boot, from its event log.
//!
//! A log has more to say than a quote proves. Before anything is read from it, every event is set aside that
//! 1. is in a register that the running system extends, so that anybody could have appended it,
//! 2. is not extended at all (EV_NO_ACTION),
//! 3. has a type that is not measured in its register (another version, another SBAT level, settings of Windows),
//! 4. comes after the separator with which firmware or Windows closes a register.
//!
//! Only the bank that is quoted counts. What an event is called is in no digest either, so nothing may become better by
//! calling an event something else: where several values remain and only one can be true, or where an event could be
//! one of those that a variable speaks of, the variable is absent, or the event is among them.

use std::collections::BTreeSet;

use veriboot_appraisal::LogReport;
use veriboot_eventlog::decode::tagged::Tagged;
use veriboot_eventlog::{
    BootStory, Certificate, CertificateStory, ComponentKind, Decoded, Event, EventLog, EventType, FileStory,
    Format, HashAlg, Measurement, WindowsStory, guids, measurements, parse, story,
};

use crate::command_line;
use crate::fact::{Fact, Record};
use crate::limits::MAX_LIST;
use crate::proven::{is_genuine_separator, is_proven_text, settings_of_windows_are_whole};
use crate::variables::{CERTIFICATE, FILE, IMAGE, MODULE, PARAMETER, ROOT, Schema, Type};

/// Registers of firmware and boot loaders, of which a TPM makes no others before the operating system runs.
const BOOT_REGISTERS: std::ops::RangeInclusive<u32> = 0..=14;
/// Registers that are closed by a separator: those of the firmware's own configuration, and those of Windows.
const CLOSED_REGISTERS: [u32; 8] = [0, 1, 2, 3, 11, 12, 13, 14];
/// Registers of the settings and modules of Windows.
const WINDOWS_REGISTERS: std::ops::RangeInclusive<u32> = 11..=14;
/// Register of the applications that ran.
const IMAGE_REGISTER: u32 = 4;

/// The variables that depend on the log alone: all but `findings` and `vm`.
#[derive(Clone, Debug, PartialEq)]
pub struct Boot {
    pub(crate) root: Record,
}

impl Boot {
    /// Reads a log. `report` is the examination of the same bytes; `bank` is the one that the quote proves, `None` the
    /// strongest; `run_time_registers` are those that the profile does not hold against the log. A log that cannot be
    /// read, or does not extend the bank, leaves every variable absent.
    pub fn read(
        log: &[u8],
        report: &LogReport,
        bank: Option<HashAlg>,
        run_time_registers: &BTreeSet<u32>,
    ) -> Self {
        let mut root = Record::new(&ROOT);
        let Ok(mut log) = parse(log) else { return Self { root } };
        let active = log.active_banks();
        let strongest = active.iter().copied().max_by_key(|bank| (bank.size(), *bank));
        let bank = bank.filter(|bank| active.contains(bank)).or(strongest.filter(|_| bank.is_none()));
        let (Some(bank), false) = (bank, report.entries.is_empty() && report.events > 0) else {
            // Nothing that the quote proves, or more events than are judged.
            return Self { root };
        };
        set_aside(&mut log, bank, run_time_registers);
        log.banks = vec![bank];
        let told = story(&log);
        let measured = measurements(&log, bank);
        let has = |kind: ComponentKind| measured.iter().any(|m| m.kind == kind);

        root.set("log", about_log(&told));
        root.set("secure_boot", secure_boot(&told, report));
        root.set(
            "firmware",
            record("firmware")
                .with_some("version", told.firmware.version.clone())
                .with_some("vendor", told.firmware.vendor.clone())
                .with("drivers", told.drivers),
        );
        root.set("keys", keys(&told, &has));
        root.set("dbx", dbx(&told, has(ComponentKind::RevocationDb)));
        root.set("sbat", sbat(&told, &log));
        root.set("mok", record("mok").with("variables", told.mok.clone()));
        root.set_some("authorities", bounded(authorities(&log)));
        root.set_some("images", bounded(images(&log, &measured, bank)));
        root.set("boot_loader", boot_loader(&told, &measured));
        root.set("kernel", kernel(told.kernel.as_ref()));
        root.set_some("initrds", bounded(told.initrds.iter().map(file).collect()));
        let line = command_line::proven(&log, &measured, bank);
        if let Some(line) = &line {
            root.set_some("parameters", bounded(parameters(line)));
        }
        root.set("command_line", record("command_line").with_some("text", line));
        root.set("uki", record("uki").with("sections", told.uki_sections.clone()));
        root.set("boot_order", told.boot_order.clone());
        root.set("windows", windows(told.windows.as_ref(), settings_of_windows_are_whole(&log, bank)));
        root.set("confidential", record("confidential").with_some("technology", told.confidential));
        Self { root }
    }

    /// The variables, as `policy variables --log` shows them.
    pub fn variables(&self) -> &Record {
        &self.root
    }

    /// Bytes that it takes in memory, estimated from above.
    pub fn weight(&self) -> usize {
        self.root.weight()
    }
}

/// Makes events that conditions must not believe say nothing.
fn set_aside(log: &mut EventLog<'_>, bank: HashAlg, run_time_registers: &BTreeSet<u32>) {
    let confidential = log.format == Format::Ccel;
    let mut closed = BTreeSet::new();
    let start = log.session_start;
    for event in log.events.iter_mut().skip(start) {
        let believed = match confidential {
            true => event.event_type != EventType::EV_NO_ACTION,
            false => {
                event.extends()
                    && event.digest(bank).is_some()
                    && BOOT_REGISTERS.contains(&event.pcr)
                    && !run_time_registers.contains(&event.pcr)
                    && !closed.contains(&event.pcr)
                    && is_in_its_register(event)
            }
        };
        if CLOSED_REGISTERS.contains(&event.pcr) && is_genuine_separator(event, bank) {
            closed.insert(event.pcr);
        }
        if !believed {
            event.event_type = EventType::EV_NO_ACTION;
            event.data = &[];
        }
    }
}

/// Types whose content a condition reads, in the registers where the specification puts them.
fn is_in_its_register(event: &Event<'_>) -> bool {
    match event.event_type {
        EventType::EV_S_CRTM_VERSION => event.pcr == 0,
        EventType::EV_EFI_VARIABLE_DRIVER_CONFIG => matches!(event.pcr, 1 | 3 | 7),
        EventType::EV_EFI_VARIABLE_AUTHORITY => event.pcr == 7,
        EventType::EV_EFI_VARIABLE_BOOT | EventType::EV_EFI_VARIABLE_BOOT2 => {
            event.pcr == 1 || event.pcr == 5
        }
        EventType::EV_EFI_BOOT_SERVICES_APPLICATION => event.pcr == 4,
        EventType::EV_EVENT_TAG => match event.decode() {
            Decoded::Tagged(Tagged::Windows { .. }) => WINDOWS_REGISTERS.contains(&event.pcr),
            _ => event.pcr >= 8,
        },
        EventType::EV_IPL => event.pcr >= 4,
        _ => true,
    }
}

/// An empty record of a top-level variable.
pub(crate) fn record(name: &str) -> Record {
    let schema: Option<&'static Schema> = ROOT.find(name).and_then(|(_, member)| match member.ty {
        Type::Object(schema) => Some(schema),
        _ => None,
    });
    debug_assert!(schema.is_some(), "{name} is no record");
    Record::new(schema.unwrap_or(&ROOT))
}

fn bounded(list: Vec<Fact>) -> Option<Fact> {
    (list.len() <= MAX_LIST).then_some(Fact::List(list))
}

fn about_log(told: &BootStory) -> Record {
    record("log")
        .with("format", told.format.as_str())
        .with("banks", told.banks.iter().map(|bank| bank.name()).collect::<Vec<_>>())
        .with("events", told.events)
}

/// The appraisal's own reading, which goes by digests.
fn secure_boot(told: &BootStory, report: &LogReport) -> Record {
    record("secure_boot")
        .with_some("enabled", report.secure_boot)
        .with("shim_validates", !report.shim_validation_off)
        .with_some("mode", told.secure_boot_mode)
}

fn certificate(story: &CertificateStory) -> Fact {
    Record::new(&CERTIFICATE)
        .with("name", story.name.clone())
        .with("subject", story.subject.clone())
        .with("issuer", story.issuer.clone())
        .with("not_after", story.not_after.clone())
        .with("sha256", story.sha256.to_string())
        .into()
}

fn certificates(stories: &[CertificateStory]) -> Fact {
    Fact::List(stories.iter().map(certificate).collect())
}

fn keys(told: &BootStory, has: &impl Fn(ComponentKind) -> bool) -> Record {
    let mut keys = record("keys");
    let (db, kek) = (has(ComponentKind::SignatureDb), has(ComponentKind::KeyExchangeKey));
    if has(ComponentKind::PlatformKey) {
        keys.set("pk", certificates(&told.keys.pk));
    }
    if kek {
        keys.set("kek", certificates(&told.keys.kek));
    }
    if db {
        keys.set("db", certificates(&told.keys.db));
        keys.set("db_hashes", told.keys.db_hashes);
    }
    if db || kek {
        keys.set("microsoft_2011", told.keys.microsoft_2011);
        keys.set("microsoft_2023", told.keys.microsoft_2023);
    }
    keys
}

fn dbx(told: &BootStory, measured: bool) -> Record {
    let mut dbx = record("dbx");
    if measured {
        dbx.set("certificates", certificates(&told.keys.dbx));
        dbx.set("hashes", told.keys.dbx_hashes);
        dbx.set_some("sha256", told.keys.dbx_sha256.map(|digest| digest.to_string()));
    }
    dbx
}

/// Of several levels, none: what runs now can append one.
fn sbat(told: &BootStory, log: &EventLog<'_>) -> Record {
    let mut sbat = record("sbat");
    let levels: BTreeSet<&[u8]> = log
        .session()
        .iter()
        .filter_map(|event| match event.decode() {
            Decoded::Authority(a) if a.0.vendor == guids::SHIM_LOCK && a.0.name.is("SbatLevel") => {
                Some(a.0.data)
            }
            _ => None,
        })
        .collect();
    if let (1, Some(level)) = (levels.len(), &told.sbat) {
        sbat.set_some("level", told.sbat_level.clone());
        sbat.set_some("date", level.date_text());
        let generations = level.generations.iter().map(|(name, n)| (name.clone(), Fact::Int(i64::from(*n))));
        sbat.set("generations", Fact::Map(generations.collect()));
    }
    sbat
}

/// Certificates in PCR 7 that admitted something.
fn authorities(log: &EventLog<'_>) -> Vec<Fact> {
    let shown = |certificate: &Certificate<'_>| {
        Record::new(&CERTIFICATE)
            .with("name", text(&certificate.short_name()))
            .with("subject", text(&certificate.subject))
            .with("issuer", text(&certificate.issuer))
            .with("not_after", text(&certificate.not_after))
            .with("sha256", certificate.fingerprint().to_string())
            .into()
    };
    log.session()
        .iter()
        .filter_map(|event| match event.decode() {
            Decoded::Authority(authority) => authority.0.authority().as_ref().map(shown),
            _ => None,
        })
        .collect()
}

/// Printable and bounded.
fn text(shown: &impl std::fmt::Display) -> String {
    shown.to_string().chars().filter(|c| !c.is_control()).take(512).collect()
}

/// Everything in PCR 4 but separators and actions whose text is proven: an image that the log calls something else is still
/// an image. The registers of a confidential VM hold several PCRs; there only what is called an application is one.
fn images(log: &EventLog<'_>, measured: &[Measurement], bank: HashAlg) -> Vec<Fact> {
    let confidential = log.format == Format::Ccel;
    let ran = |event: &&Event<'_>| match confidential {
        true => event.event_type == EventType::EV_EFI_BOOT_SERVICES_APPLICATION,
        false => {
            event.extends()
                && event.pcr == IMAGE_REGISTER
                && !is_genuine_separator(event, bank)
                && !is_proven_text(event, bank)
        }
    };
    log.session()
        .iter()
        .filter(ran)
        .filter_map(|event| measured.iter().find(|m| m.event == event.index))
        .map(|image| {
            Record::new(&IMAGE)
                .with("role", image.kind.as_str())
                .with("path", image.name.to_string())
                .with("digest", image.digest.to_string())
                .with_some("authority", image.signer.clone())
                .into()
        })
        .collect()
}

fn boot_loader(told: &BootStory, measured: &[Measurement]) -> Record {
    let image = measured.iter().find(|m| m.kind == ComponentKind::BootLoader);
    record("boot_loader")
        .with_some("path", image.map(|m| m.name.to_string()))
        .with_some("digest", image.map(|m| m.digest.to_string()))
        .with("commands", told.boot_loader_commands)
}

fn kernel(told: Option<&FileStory>) -> Record {
    record("kernel")
        .with_some("path", told.map(|kernel| kernel.path.clone()))
        .with_some("version", told.and_then(|kernel| kernel.version.clone()))
        .with_some("digest", told.map(|kernel| kernel.digest.to_string()))
}

fn file(told: &FileStory) -> Fact {
    Record::new(&FILE).with("path", told.path.clone()).with("digest", told.digest.to_string()).into()
}

fn parameters(line: &str) -> Vec<Fact> {
    command_line::parameters(line)
        .map(|(name, value)| Record::new(&PARAMETER).with("name", name).with_some("value", value).into())
        .collect()
}

/// Of settings that may have been called something else, none is shown.
fn windows(told: Option<&WindowsStory>, whole: bool) -> Record {
    let out = record("windows").with("measured", told.is_some());
    let Some(told) = told.filter(|_| whole) else { return out };
    let modules = told.modules.iter().map(|module| {
        Record::new(&MODULE)
            .with("path", module.path.clone())
            .with("digest", module.digest.clone())
            .with_some("publisher", module.publisher.clone())
            .with_some("validated", module.validated)
            .into()
    });
    out.with_some("code_integrity", told.code_integrity)
        .with_some("test_signing", told.test_signing)
        .with_some("flight_signing", told.flight_signing)
        .with_some("boot_debugging", told.boot_debugging)
        .with_some("kernel_debugging", told.kernel_debugging)
        .with_some("safe_mode", told.safe_mode)
        .with_some("win_pe", told.win_pe)
        .with_some("data_execution_prevention", told.data_execution_prevention.clone())
        .with_some("driver_load_policy", told.driver_load_policy.clone())
        .with_some("hypervisor", told.hypervisor.clone())
        .with_some("virtual_secure_mode", told.virtual_secure_mode.clone())
        .with_some("vbs_required", told.vbs_required)
        .with_some("hvci", told.hvci)
        .with_some("bitlocker_unlock", told.bitlocker_unlock)
        .with("elam", told.elam.clone())
        .with_some("modules", bounded(modules.collect()))
}
