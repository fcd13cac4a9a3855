//! The table of events of `log show --events`.

use std::collections::BTreeMap;

use veriboot_eventlog::{ComponentKind, DigestMismatch, EventLog, HashAlg, Measurement, measurements};

use crate::error::CliError;
use crate::output::{Output, Styled, Tone};

/// Prints the events of one register, or all.
pub fn table(
    log: &EventLog<'_>,
    bank: HashAlg,
    mismatches: &[DigestMismatch],
    pcr: Option<u32>,
    out: Output,
) -> Result<(), CliError> {
    let measured: BTreeMap<u32, Measurement> =
        measurements(log, bank).into_iter().map(|m| (m.event, m)).collect();
    let mut rows = Vec::new();
    for event in &log.events {
        if pcr.is_some_and(|pcr| pcr != event.pcr) {
            continue;
        }
        let measurement = measured.get(&event.index);
        let register = if event.extends() { event.pcr.to_string() } else { "-".to_owned() };
        let broken = mismatches.iter().any(|m| m.event == event.index && m.quirk.is_none());
        let digest = measurement.map(|m| m.digest.to_string()).unwrap_or_default();
        let component = measurement.map_or("information", |m| m.kind.title());
        rows.push(vec![
            Styled::from(event.index.to_string()),
            Styled::from(register),
            Styled::new(component, measurement.map_or(Tone::Dim, |m| tone(m.kind))),
            Styled::from(what(event, measurement)),
            Styled::new(crate::output::short(&digest), if broken { Tone::Bad } else { Tone::Dim }),
            Styled::new(event.event_type.to_string().trim_start_matches("EV_"), Tone::Dim),
        ]);
    }
    let empty = "No events.";
    out.table(
        &[
            "#",
            if log.format == veriboot_eventlog::Format::Ccel { "REG" } else { "PCR" },
            "COMPONENT",
            "WHAT",
            "DIGEST",
            "TYPE",
        ],
        rows,
        empty,
    )
}

fn what(event: &veriboot_eventlog::Event<'_>, measurement: Option<&Measurement>) -> String {
    let Some(m) = measurement else {
        return serde_json::to_value(event.decode())
            .ok()
            .and_then(|value| value.pointer("/info/type").and_then(|t| t.as_str()).map(str::to_owned))
            .unwrap_or_default();
    };
    let text = match (&m.value, m.kind) {
        (Some(value), ComponentKind::BootLoaderConfig | ComponentKind::KernelCommandLine) => value.clone(),
        (_, ComponentKind::Shim | ComponentKind::BootLoader | ComponentKind::Kernel) => match &m.signer {
            Some(signer) => format!("{} (admitted by {signer})", m.name),
            None => m.name.to_string(),
        },
        (Some(value), _) if m.name == m.kind.title() => value.clone(),
        (Some(value), _) => format!("{}: {value}", m.name),
        (None, _) => m.name.to_string(),
    };
    clip(&text, 240)
}

/// At most `max` characters.
pub fn clip(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn tone(kind: ComponentKind) -> Tone {
    match kind {
        ComponentKind::Separator | ComponentKind::FirmwareAction | ComponentKind::PlatformConfig => Tone::Dim,
        ComponentKind::Unknown => Tone::Warn,
        _ => Tone::Plain,
    }
}
