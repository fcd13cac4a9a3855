//! Events whose digest proves what they are, whatever the log calls them.

use veriboot_eventlog::decode::tagged::Tagged;
use veriboot_eventlog::{Decoded, Event, EventLog, EventType, HashAlg};

/// Registers of the settings and of the modules of Windows.
const WINDOWS_REGISTERS: [u32; 2] = [12, 13];
/// Longer than any action that the specifications define; no program is so short and plain.
const MAX_ACTION_BYTES: usize = 128;

fn proves(event: &Event<'_>, bank: HashAlg, data: &[u8]) -> bool {
    event.digest(bank).is_some_and(|digest| bank.hash(&[data]).as_ref() == digest)
}

/// A separator of firmware or of Windows.
pub(crate) fn is_genuine_separator(event: &Event<'_>, bank: HashAlg) -> bool {
    event.event_type == EventType::EV_SEPARATOR
        && matches!(event.data, [0, 0, 0, 0] | [0xFF, 0xFF, 0xFF, 0xFF] | b"WBCL")
        && proves(event, bank, event.data)
}

/// A short text, such as what firmware did: the digest is that of the text.
pub(crate) fn is_proven_text(event: &Event<'_>, bank: HashAlg) -> bool {
    matches!(event.event_type, EventType::EV_EFI_ACTION | EventType::EV_ACTION)
        && event.data.len() <= MAX_ACTION_BYTES
        && event.data.iter().all(|byte| (b' '..=b'~').contains(byte))
        && proves(event, bank, event.data)
}

/// Whether every event in the registers of Windows is one of Windows, with the content that its digest proves.
pub(crate) fn settings_of_windows_are_whole(log: &EventLog<'_>, bank: HashAlg) -> bool {
    let in_registers = |event: &&Event<'_>| event.extends() && WINDOWS_REGISTERS.contains(&event.pcr);
    log.session().iter().filter(in_registers).all(|event| match event.event_type {
        EventType::EV_SEPARATOR => is_genuine_separator(event, bank),
        _ => {
            matches!(event.decode(), Decoded::Tagged(Tagged::Windows { .. }))
                && proves(event, bank, event.data)
        }
    })
}
