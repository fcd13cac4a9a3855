//! Whether the events of a log can be in this order (PC Client Platform Firmware Profile 1.06, sections 3.3.4 and
//! 8.2.4): separators end what firmware measures, and the Secure Boot configuration is measured once, before that.

use veriboot_eventlog::{ComponentKind, Event, EventLog, EventType, Format};

use crate::code;
use crate::report::{Entry, LogReport};
use crate::text::pcr_list;

/// PCRs that firmware closes with a separator.
const FIRMWARE_PCRS: std::ops::RangeInclusive<u32> = 0..=7;
/// The PCR of the Secure Boot configuration.
pub(crate) const SECURE_BOOT_PCR: u32 = 7;
/// Separator data that reports an error (section 10.4.1, EV_SEPARATOR).
const SEPARATOR_ERROR: [u8; 4] = [1, 0, 0, 0];

/// Secure Boot as the log shows it: every measurement of the variable must say the same.
pub(crate) fn secure_boot(log: &EventLog<'_>, entries: &[Entry]) -> Option<bool> {
    if ambiguous(log, entries) {
        return None;
    }
    veriboot_eventlog::story(log).secure_boot
}

/// Adds findings to the report. The registers of a confidential VM mix PCRs, so their separators are not counted.
pub(crate) fn run(report: &mut LogReport, log: &EventLog<'_>) {
    if ambiguous(log, &report.entries) {
        let mut finding = code::SECURE_BOOT_AMBIGUOUS
            .finding("The log measures the SecureBoot variable several times with different values");
        finding.pcr = Some(SECURE_BOOT_PCR);
        finding.event = secure_boot_events(log, &report.entries).nth(1).map(|e| e.index);
        finding.component = Some(ComponentKind::SecureBootState.title().to_owned());
        report.findings.push(finding);
    }
    if log.format == Format::Ccel {
        return;
    }
    separators(report, log);
    after_separator(report, log);
}

fn separators(report: &mut LogReport, log: &EventLog<'_>) {
    let mut seen = [0_u32; 8];
    let mut doubled = Vec::new();
    let mut doubled_event = None;
    for event in log.session().iter().filter(|e| is_firmware_separator(e)) {
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

fn after_separator(report: &mut LogReport, log: &EventLog<'_>) {
    let Some(separator) =
        log.session().iter().find(|e| e.pcr == SECURE_BOOT_PCR && is_firmware_separator(e)).map(|e| e.index)
    else {
        return;
    };
    let late = report.entries.iter().find(|e| {
        e.pcr == SECURE_BOOT_PCR
            && e.event > separator
            && e.event_type == EventType::EV_EFI_VARIABLE_DRIVER_CONFIG
            && is_configuration(e.kind)
    });
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

fn is_firmware_separator(event: &Event<'_>) -> bool {
    event.event_type == EventType::EV_SEPARATOR && FIRMWARE_PCRS.contains(&event.pcr)
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

fn secure_boot_events<'l, 'a>(
    log: &'l EventLog<'a>,
    entries: &'l [Entry],
) -> impl Iterator<Item = &'l Event<'a>> {
    entries
        .iter()
        .filter(|e| e.kind == ComponentKind::SecureBootState)
        .filter_map(|e| log.events.get(usize::try_from(e.event).ok()?))
}

fn ambiguous(log: &EventLog<'_>, entries: &[Entry]) -> bool {
    let mut values = secure_boot_events(log, entries).map(|e| e.data);
    let first = values.next();
    values.any(|value| Some(value) != first)
}
