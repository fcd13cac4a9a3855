//! The kernel command line, as far as a log proves exactly one.
//!
//! Its text is covered by the digest; what the log calls that text is not. So every text of the registers where boot
//! loaders measure command lines is looked at: one that is not proven by its digest could be anything, and of two that
//! could be the command line neither is believed.

use std::collections::BTreeSet;

use veriboot_eventlog::decode::ipl::Ipl;
use veriboot_eventlog::{ComponentKind, Decoded, Event, EventLog, EventType, HashAlg, Measurement};

use crate::proven::is_genuine_separator;

/// Registers of command lines: GRUB and older systemd-stub, newer systemd-stub.
const REGISTERS: [u32; 2] = [8, 12];
/// Longer texts are cut by the reader of logs.
const MAX_CHARS: usize = 16_000;

/// The command line without the path of the image.
pub(crate) fn proven(log: &EventLog<'_>, measured: &[Measurement], bank: HashAlg) -> Option<String> {
    let mut lines: BTreeSet<String> = BTreeSet::new();
    for event in log.session().iter().filter(|e| e.extends() && REGISTERS.contains(&e.pcr)) {
        if is_genuine_separator(event, bank) {
            continue;
        }
        // Boot loaders have one type of event for all of this; another one would hide what it is.
        if event.event_type != EventType::EV_IPL || !text_is_proven(event, bank) {
            return None;
        }
        if let Some(line) = could_be(event) {
            let labelled = measured.iter().find(|m| m.event == event.index);
            let value = labelled
                .filter(|m| m.kind == ComponentKind::KernelCommandLine)
                .and_then(|m| m.value.clone())
                .unwrap_or(line);
            lines.insert(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    match (lines.pop_first(), lines.is_empty()) {
        (Some(line), true) if line.chars().count() < MAX_CHARS => Some(line),
        _ => None,
    }
}

/// Text that may be a command line whatever the log calls it: GRUB's starts with the path of the image, which no command
/// of GRUB does.
fn could_be(event: &Event<'_>) -> Option<String> {
    let Decoded::Ipl(ipl) = event.decode() else { return None };
    let text = match ipl {
        Ipl::Command { text } if matches!(text.0, [b'/' | b'(', ..]) => text,
        Ipl::KernelCommandLine { text } | Ipl::ModuleCommandLine { text } => text,
        Ipl::Command { .. } => return None,
        Ipl::Wide { text } => return Some(text.to_string()),
        other => return serde_json::to_string(&other).ok(),
    };
    let text = text.to_string();
    Some(text.split_once(' ').map_or(String::new(), |(_, rest)| rest.to_owned()))
}

/// Whether the digest is that of the text: with or without the NUL that ends it, with or without the loader's prefix.
fn text_is_proven(event: &Event<'_>, bank: HashAlg) -> bool {
    let Some(digest) = event.digest(bank) else { return false };
    let is = |parts: &[&[u8]]| bank.hash(parts).as_ref() == digest;
    let data = event.data;
    let text = match event.decode() {
        Decoded::Ipl(
            Ipl::Command { text } | Ipl::KernelCommandLine { text } | Ipl::ModuleCommandLine { text },
        ) => text.0,
        _ => data,
    };
    let end = data.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    // UTF-16 text ends on an even byte.
    let trimmed = data.get(..end + end % 2).unwrap_or(data);
    is(&[text]) || is(&[text, &[0]]) || is(&[data]) || is(&[trimmed])
}

/// Parameters with their values, as the kernel splits them: at white space outside of double quotes.
pub(crate) fn parameters(line: &str) -> impl Iterator<Item = (String, Option<String>)> {
    let mut in_quotes = false;
    line.split(move |c: char| {
        in_quotes ^= c == '"';
        !in_quotes && c.is_ascii_whitespace()
    })
    .filter(|parameter| !parameter.is_empty())
    .map(|parameter| {
        let plain = |text: &str| text.chars().filter(|c| *c != '"').collect::<String>();
        match parameter.split_once('=') {
            Some((name, value)) => (plain(name), Some(plain(value))),
            None => (plain(parameter), None),
        }
    })
}
