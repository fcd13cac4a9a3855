//! Whether what a log says about Secure Boot can be true (PC Client Platform Firmware Profile 1.06, sections 3.3.4.8 and
//! 10.4.1).
//!
//! Types and texts of events are in no PCR, digests are. An attacker who runs after firmware can extend PCR 7 and write
//! any log that replays to it, but cannot take back what firmware extended before. So Secure Boot and separators are
//! recognised by digest: their measured bytes are fixed by the specification, and whatever the log calls an event with
//! that digest, it is one. When no finding is made, and the log replays to the quoted PCR 7:
//!
//! 1. nothing in PCR 7 is a measurement of SecureBoot other than "on" (or other than "off");
//! 2. PCR 7 has exactly one separator, and SecureBoot, PK, KEK, db and dbx were measured before it: they are what firmware
//!    read, and not what an operating system extended later;
//! 3. every event in PCR 7 is of a type whose digest is taken over its data (that the two belong together is checked for
//!    every event of the log).

use std::sync::OnceLock;

use veriboot_eventlog::decode::variable::Variable;
use veriboot_eventlog::{ComponentKind, Digest, Event, EventLog, EventType, Format, HashAlg};

use crate::code;
use crate::report::LogReport;
use crate::text::pcr_list;

/// PCRs that firmware closes with a separator.
const FIRMWARE_PCRS: std::ops::RangeInclusive<u32> = 0..=7;
/// The PCR of the Secure Boot configuration.
pub(crate) const SECURE_BOOT_PCR: u32 = 7;
/// The register of a confidential VM that PCR 7 goes to (UEFI 2.11, section 38.4.1).
const SECURE_BOOT_REGISTER: u32 = 1;
/// Separator data that reports an error.
const SEPARATOR_ERROR: [u8; 4] = [1, 0, 0, 0];

/// EFI_GLOBAL_VARIABLE, as UEFI_VARIABLE_DATA has it.
const GLOBAL_VARIABLE: [u8; 16] =
    [0x61, 0xDF, 0xE4, 0x8B, 0xCA, 0x93, 0xD2, 0x11, 0xAA, 0x0D, 0x00, 0xE0, 0x98, 0x03, 0x2B, 0x8C];

/// SHIM_LOCK_GUID.
const SHIM_LOCK: [u8; 16] =
    [0x50, 0xAB, 0x5D, 0x60, 0x46, 0xE0, 0x00, 0x43, 0xAB, 0xB6, 0x3D, 0xD8, 0x10, 0xDD, 0x8B, 0x23];
/// The PCR of shim's state.
pub(crate) const SHIM_STATE_PCR: u32 = 14;

/// UEFI_VARIABLE_DATA of a variable with this content.
fn variable_data(vendor: [u8; 16], name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = vendor.to_vec();
    bytes.extend((name.len() as u64).to_le_bytes());
    bytes.extend((content.len() as u64).to_le_bytes());
    bytes.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
    bytes.extend(content);
    bytes
}

/// Digests of what is known byte by byte, for one bank.
struct Known {
    bank: HashAlg,
    on: Digest,
    /// Content 0, and no content.
    off: [Digest; 2],
    separators: [Digest; 2],
    /// The variable MokSBState with content 1, and this content alone.
    validation_off: Digest,
    one: Digest,
}

impl Known {
    /// The digests are the same for every log.
    fn of(bank: HashAlg) -> &'static Self {
        static BANKS: [OnceLock<Known>; 5] = [const { OnceLock::new() }; 5];
        let [sha1, sha256, sha384, sha512, sm3] = &BANKS;
        let known = match bank {
            HashAlg::Sha1 => sha1,
            HashAlg::Sha256 => sha256,
            HashAlg::Sha384 => sha384,
            HashAlg::Sha512 => sha512,
            HashAlg::Sm3_256 => sm3,
        };
        known.get_or_init(|| Self::new(bank))
    }

    fn new(bank: HashAlg) -> Self {
        let secure_boot =
            |content: &[u8]| bank.hash(&[&variable_data(GLOBAL_VARIABLE, "SecureBoot", content)]);
        Self {
            bank,
            on: secure_boot(&[1]),
            off: [secure_boot(&[0]), secure_boot(&[])],
            separators: [bank.hash(&[&[0; 4]]), bank.hash(&[&[0xFF; 4]])],
            validation_off: bank.hash(&[&variable_data(SHIM_LOCK, "MokSBState", &[1])]),
            one: bank.hash(&[&[1]]),
        }
    }

    fn is(&self, event: &Event<'_>, one_of: &[Digest]) -> bool {
        // Every event is asked, and hardly any is one of them: the first bytes tell most.
        let same = |digest: &[u8], seen: &[u8]| {
            digest.first_chunk::<8>() == seen.first_chunk::<8>() && digest == seen
        };
        event.digest(self.bank).is_some_and(|seen| one_of.iter().any(|digest| same(digest.as_ref(), seen)))
    }
}

/// The register of the Secure Boot configuration, and what is recognised in it.
struct SecureBootEvents<'l, 'a> {
    log: &'l EventLog<'a>,
    known: Vec<&'static Known>,
    /// Events of the register.
    events: Vec<&'l Event<'a>>,
}

/// What an event says about SecureBoot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    On,
    Off,
    /// It names the variable, and its digest is that of no known content.
    Unclear,
}

impl<'l, 'a> SecureBootEvents<'l, 'a> {
    fn new(log: &'l EventLog<'a>) -> Self {
        let register = if log.format == Format::Ccel { SECURE_BOOT_REGISTER } else { SECURE_BOOT_PCR };
        let known = log.active_banks().into_iter().map(Known::of).collect();
        let of_register = log.session().iter().filter(|e| e.pcr == register && e.extends());
        Self { log, known, events: of_register.collect() }
    }

    /// Only one bank may be the one that a quote proves, so "off" in any bank is off, and "on" needs all of them.
    fn says(&self, event: &Event<'_>) -> Option<Says> {
        if self.known.iter().any(|known| known.is(event, &known.off)) {
            return Some(Says::Off);
        }
        if self.known.iter().all(|known| known.is(event, &[known.on])) {
            return Some(Says::On);
        }
        let variable = Variable::parse(event.data).filter(|v| v.is_global("SecureBoot"));
        // Some firmware of the TPM 1.2 time measured the content alone (quirk `variable-content-only`).
        let content_alone = |v: &Variable<'_>| {
            self.log.format == Format::Tcg12
                && matches!(v.data, [] | [0])
                && self.known.iter().all(|known| known.is(event, &[known.bank.hash(&[v.data])]))
        };
        if variable.as_ref().is_some_and(content_alone) {
            return Some(Says::Off);
        }
        let partly = self.known.iter().any(|known| known.is(event, &[known.on]));
        (partly || variable.is_some()).then_some(Says::Unclear)
    }

    fn is_separator(&self, event: &Event<'_>) -> bool {
        event.event_type == EventType::EV_SEPARATOR
            || self.known.iter().any(|known| known.is(event, &known.separators))
    }
}

/// Secure Boot as the log shows it; `None` when it shows nothing, something unclear, or both.
fn secure_boot(said: &[(&Event<'_>, Says)]) -> Option<bool> {
    let ((_, first), others) = said.split_first()?;
    if others.iter().any(|(_, next)| next != first) {
        return None;
    }
    match first {
        Says::On => Some(true),
        Says::Off => Some(false),
        Says::Unclear => None,
    }
}

/// Whether shim's verification was switched off (`mokutil --disable-validation`): MokSBState is 1. shim measures the
/// variable in PCR 7 and its content in PCR 14, so it is one when its digest is that in any bank, whatever the log calls
/// it. In PCR 14 the content of MokListTrusted is 1 on most machines: one event may have that name and digest, each time
/// that shim runs. It runs again where the firmware tries a second boot option, and then its lists are measured again
/// first; nothing runs between the variables of one run. The register of a confidential VM that PCR 14 goes to holds
/// too much else for that.
fn shim_validation_off(events: &SecureBootEvents<'_, '_>) -> bool {
    let is = |event: &Event<'_>, digest: fn(&Known) -> Digest| {
        events.known.iter().any(|known| known.is(event, &[digest(known)]))
    };
    let mut trusted_lists = 0;
    let first = events.log.session().iter().find(|e| e.extends() && e.pcr == SHIM_STATE_PCR);
    let begins_again = |event: &Event<'_>| {
        let same = |first: &Event<'_>| {
            events.known.iter().all(|known| first.digest(known.bank) == event.digest(known.bank))
        };
        event.pcr == SHIM_STATE_PCR && first.is_some_and(same)
    };
    events.log.session().iter().filter(|e| e.extends()).any(|event| {
        if is(event, |known| known.validation_off) {
            return true;
        }
        if event.pcr == SHIM_STATE_PCR && is(event, |known| known.one) {
            let named = event.event_type == EventType::EV_IPL && event.data.starts_with(b"MokListTrusted\0");
            trusted_lists += u32::from(named);
            return !named || trusted_lists > 1;
        }
        if begins_again(event) {
            trusted_lists = 0;
        }
        event.event_type == EventType::EV_EFI_VARIABLE_AUTHORITY
            && Variable::parse(event.data)
                .is_some_and(|v| v.name.is("MokSBState") && v.data.iter().any(|byte| *byte != 0))
    })
}

/// Fills in what the log shows about Secure Boot, and adds findings to the report. The registers of a confidential VM mix PCRs, so only the value is checked there.
pub(crate) fn run(report: &mut LogReport, log: &EventLog<'_>) {
    let events = SecureBootEvents::new(log);
    let said: Vec<_> = events.events.iter().filter_map(|e| Some((*e, events.says(e)?))).collect();
    report.secure_boot = secure_boot(&said);
    report.shim_validation_off = shim_validation_off(&events);
    let first = said.first().map(|(_, says)| *says);
    if let Some((event, _)) = said.iter().find(|(_, says)| Some(*says) != first) {
        let mut finding = code::SECURE_BOOT_AMBIGUOUS
            .finding("The log measures the SecureBoot variable several times with different values");
        finding.pcr = Some(event.pcr);
        finding.event = Some(event.index);
        finding.component = Some(ComponentKind::SecureBootState.title().to_owned());
        report.findings.push(finding);
    }
    if log.format == Format::Ccel {
        return;
    }
    separators(report, &events);
    after_separator(report, &events);
    unbound_events(report, &events);
}

/// Events of PCR 7 whose digest says nothing about their data.
fn unbound_events(report: &mut LogReport, events: &SecureBootEvents<'_, '_>) {
    // Without the variable there is nothing to protect: Secure Boot is unknown anyway.
    if report.secure_boot.is_none() {
        return;
    }
    let bound = |event: &Event<'_>| match event.event_type {
        EventType::EV_SEPARATOR | EventType::EV_ACTION | EventType::EV_EFI_ACTION => true,
        EventType::EV_EFI_VARIABLE_DRIVER_CONFIG | EventType::EV_EFI_VARIABLE_AUTHORITY => {
            Variable::parse(event.data).is_some()
        }
        _ => false,
    };
    let Some(stray) = events.events.iter().find(|e| !bound(e)) else { return };
    let mut finding = code::UNBOUND_EVENT.finding(format!(
        "PCR 7 has an event of type {} whose digest does not cover its text: what it was cannot be known",
        stray.event_type
    ));
    finding.pcr = Some(SECURE_BOOT_PCR);
    finding.event = Some(stray.index);
    finding.component = Some(ComponentKind::SecureBootState.title().to_owned());
    report.findings.push(finding);
}

fn separators(report: &mut LogReport, events: &SecureBootEvents<'_, '_>) {
    let mut seen = [0_u32; 8];
    let mut doubled = Vec::new();
    let mut doubled_event = None;
    let session = events.log.session().iter().filter(|e| e.extends());
    for event in session.filter(|e| is_firmware_separator(events, e)) {
        if event.data == SEPARATOR_ERROR {
            let mut finding = code::SEPARATOR_ERROR
                .finding(format!("The separator of PCR {} reports that measuring failed", event.pcr));
            finding.pcr = Some(event.pcr);
            finding.event = Some(event.index);
            finding.component = Some(ComponentKind::Separator.title().to_owned());
            report.findings.push(finding);
        }
        let count = usize::try_from(event.pcr).ok().and_then(|pcr| seen.get_mut(pcr));
        let Some(count) = count else { continue };
        *count += 1;
        if *count == 2 {
            doubled.push(event.pcr);
            doubled_event = doubled_event.or(Some(event.index));
        }
    }
    if !doubled.is_empty() {
        let mut finding = code::SEPARATOR_DOUBLED
            .finding(format!("{} has more than one separator in one boot", pcr_list(&doubled)));
        finding.pcr = doubled.first().copied();
        finding.event = doubled_event;
        finding.component = Some(ComponentKind::Separator.title().to_owned());
        report.findings.push(finding);
    }
    let configured = report.entries.iter().any(|e| e.pcr == SECURE_BOOT_PCR && is_configuration(e.kind));
    if configured && seen.last() == Some(&0) {
        let mut finding = code::SEPARATOR_MISSING
            .finding("PCR 7 has no separator: nothing shows where the firmware's own measurements end");
        finding.pcr = Some(SECURE_BOOT_PCR);
        finding.component = Some(ComponentKind::Separator.title().to_owned());
        report.findings.push(finding);
    }
}

fn after_separator(report: &mut LogReport, events: &SecureBootEvents<'_, '_>) {
    let Some(separator) = events.events.iter().find(|e| events.is_separator(e)).map(|e| e.index) else {
        return;
    };
    let late = report
        .entries
        .iter()
        .find(|e| e.pcr == SECURE_BOOT_PCR && e.event > separator && is_configuration(e.kind));
    let Some(late) = late else { return };
    let mut finding = code::MEASURED_AFTER_SEPARATOR.finding(format!(
        "The {} was measured after the separator of PCR 7: what runs after firmware could have written it",
        late.kind.title()
    ));
    finding.pcr = Some(SECURE_BOOT_PCR);
    finding.event = Some(late.event);
    finding.component = Some(late.kind.title().to_owned());
    report.findings.push(finding);
}

fn is_firmware_separator(events: &SecureBootEvents<'_, '_>, event: &Event<'_>) -> bool {
    match event.pcr {
        SECURE_BOOT_PCR => events.is_separator(event),
        pcr => FIRMWARE_PCRS.contains(&pcr) && event.event_type == EventType::EV_SEPARATOR,
    }
}

/// The five variables that firmware must measure before it starts anything else.
fn is_configuration(kind: ComponentKind) -> bool {
    matches!(
        kind,
        ComponentKind::SecureBootState
            | ComponentKind::PlatformKey
            | ComponentKind::KeyExchangeKey
            | ComponentKind::SignatureDb
            | ComponentKind::RevocationDb
    )
}
