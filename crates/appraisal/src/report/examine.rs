//! How a log is read: once, with the help of what earlier logs said.

use std::sync::{Arc, OnceLock};

use veriboot_eventlog::{
    ComponentKind, Digest, Event, EventLog, EventType, HashAlg, Hashes, Known, Label, LoaderCommand,
    hashes_knowing, labelled, parse,
};

use super::entry::{Component, Entry, Later, Said, command, is_command, is_separator, separator};
use super::flaws::{self, MAX_LISTED};
use super::{BankReport, LogReport, MAX_EVENTS};
use crate::memo::{Memo, Seen};
use crate::{code, content, structure_checks};

/// Room for commands of the boot loader, when there is one: a menu has so many bytes of them.
const COMMANDS_BYTES: usize = 8 * 1024;

/// Examines a log. Never fails: a log that cannot be read is a finding in the report.
pub fn examine(bytes: &[u8]) -> LogReport {
    examine_with(bytes, &Memo::new(0)).report
}

/// An examined log, and what of it is worth to be learned.
#[derive(Debug)]
pub struct Examined {
    /// What the log says. The same whatever the memo has.
    pub report: LogReport,
    /// How many events were found in the memo.
    pub known: usize,
    /// Indices of events that were not found in the memo, for [`Memo::learn`].
    pub unknown: Vec<u32>,
}

/// Examines a log with the help of what earlier logs said. Never fails.
pub fn examine_with(bytes: &[u8], memo: &Memo) -> Examined {
    examine_known(bytes, None, memo)
}

/// [`examine_with`] for a log whose SHA-256 the caller has computed from these bytes.
pub fn examine_known(bytes: &[u8], sha256: Option<Digest>, memo: &Memo) -> Examined {
    let mut report = LogReport {
        sha256: String::new(),
        bytes: bytes.len(),
        events: 0,
        format: None,
        secure_boot: None,
        shim_validation_off: false,
        findings: Vec::new(),
        entries: Vec::new(),
        banks: Vec::new(),
    };
    let (mut known, mut unknown) = (0, Vec::new());
    match parse(bytes) {
        Ok(log) => {
            let remembered = Remembered::of(&log, memo);
            let hashes = hashes_knowing(bytes, &log, sha256, |event| remembered.get(event).is_some());
            report.sha256 = hashes.sha256.to_string();
            let mismatches: Vec<u32> = hashes.mismatches.iter().take(MAX_LISTED).map(|m| m.event).collect();
            fill(&mut report, &log, hashes, &remembered);
            known = remembered.seen.iter().flatten().count();
            unknown = new_events(&report.entries, &log, &remembered, memo);
            unknown.retain(|index| !mismatches.contains(index));
        }
        Err(error) => {
            report.sha256 = sha256.unwrap_or_else(|| HashAlg::Sha256.hash(&[bytes])).to_string();
            let blank = bytes.iter().all(|b| *b == 0) || bytes.iter().all(|b| *b == 0xFF);
            let mut finding = if blank {
                code::LOG_MISSING.finding(format!("There is no event log: {}", error.reason))
            } else {
                code::LOG_UNREADABLE.finding(format!("The event log cannot be read: {error}"))
            };
            finding.seen = Some(format!("{} bytes", bytes.len()));
            report.findings.push(finding);
        }
    }
    Examined { report, known, unknown }
}

/// Events of a log that a memo has.
struct Remembered<'m> {
    /// Of each event of the last session; empty when the memo has none.
    seen: Vec<Option<&'m Seen>>,
    /// Index of the first of them.
    from: usize,
}

impl<'m> Remembered<'m> {
    fn of(log: &EventLog<'_>, memo: &'m Memo) -> Self {
        let seen = match memo.is_empty() {
            true => Vec::new(),
            false => log.session().iter().map(|event| memo.find(event)).collect(),
        };
        Self { seen, from: log.session_start }
    }

    fn get(&self, event: &Event<'_>) -> Option<&'m Seen> {
        let at = usize::try_from(event.index).ok()?.checked_sub(self.from)?;
        self.seen.get(at).copied().flatten()
    }

    fn known(&self, event: &Event<'_>) -> Known {
        match self.get(event) {
            None if is_separator(event) || is_command(event) => Known::Label,
            None => Known::Nothing,
            Some(_) if event.stands_alone() => Known::Label,
            Some(seen) => {
                seen.component.content.certificate().map_or(Known::Nothing, |c| Known::Fingerprint(c.sha256))
            }
        }
    }
}

/// Events that the memo should have.
fn new_events(entries: &[Entry], log: &EventLog<'_>, remembered: &Remembered<'_>, memo: &Memo) -> Vec<u32> {
    if !memo.keeps_anything() {
        return Vec::new();
    }
    let is_new = |entry: &&Entry| match &entry.said {
        // Found in the memo, or the separator.
        Said::Shared(_) => false,
        Said::Own(_) | Said::Later(_) => event(log, entry.event)
            .is_some_and(|event| remembered.get(event).is_none() && memo.would_keep(event)),
    };
    entries.iter().filter(is_new).map(|entry| entry.event).collect()
}

fn fill(report: &mut LogReport, log: &EventLog<'_>, hashes: Hashes, remembered: &Remembered<'_>) {
    let Hashes { replays, mismatches, .. } = hashes;
    report.format = Some(log.format);
    report.events = log.session().len();
    let active: Vec<HashAlg> = replays.iter().map(|replay| replay.bank).collect();
    let primary = active.iter().copied().find(|b| *b == HashAlg::Sha256).or_else(|| active.first().copied());
    // Registers are below 32.
    let registers = replays.first().into_iter().flat_map(|replay| replay.pcrs.keys());
    let registers = registers.fold(0_u32, |all, pcr| all | 1_u32.checked_shl(*pcr).unwrap_or(0));
    let exists = |pcr: u32| 1_u32.checked_shl(pcr).is_some_and(|pcr| registers & pcr != 0);
    if report.events <= MAX_EVENTS {
        for bank in primary.into_iter().chain(active.iter().copied().filter(|b| Some(*b) != primary)) {
            add_entries(report, log, bank, remembered, exists);
        }
    }
    for replay in replays {
        let digest = |entry: &Entry| Digest::new(event(log, entry.event)?.digest(replay.bank)?);
        let digests = report.entries.iter().map(digest).collect();
        let pcr5_after_exit = replay.pcr5_with_exit_boot_services(log);
        report.banks.push(BankReport { replay, digests, pcr5_after_exit });
    }
    same_image_twice(report);

    flaws::find(report, log, mismatches, exists);
    content::mark_vendor_keys(&mut report.entries, log);
    structure_checks::run(report, log);
    flaws::warnings(report, log);
}

/// GRUB loads the kernel through firmware and shim, so it is measured twice, the second time without a name.
fn same_image_twice(report: &mut LogReport) {
    let Some(bank) = report.banks.first() else { return };
    let kernel = report.entries.iter().zip(&bank.digests).find_map(|(entry, digest)| {
        digest.filter(|_| {
            entry.kind == ComponentKind::Kernel
                && entry.event_type == EventType::EV_EFI_BOOT_SERVICES_APPLICATION
        })
    });
    let Some(kernel) = kernel else { return };
    for (entry, digest) in report.entries.iter_mut().zip(&bank.digests) {
        if entry.kind == ComponentKind::BootLoader && *digest == Some(kernel) {
            entry.kind = ComponentKind::Kernel;
        }
    }
}

/// Adds what `bank` measures and no bank before it did; normally every event has a digest for every bank.
fn add_entries(
    report: &mut LogReport,
    log: &EventLog<'_>,
    bank: HashAlg,
    remembered: &Remembered<'_>,
    exists: impl Fn(u32) -> bool,
) {
    let extends = |e: &&Event<'_>| e.extends() && exists(e.pcr) && e.digest(bank).is_some();
    let extending = log.session().iter().filter(extends).map(|e| e.index);
    let known: Vec<u32> = report.entries.iter().map(|e| e.event).collect();
    if !known.is_empty() && extending.clone().all(|index| known.binary_search(&index).is_ok()) {
        return;
    }
    let (texts, mut commands) = (Arc::new(OnceLock::new()), Vec::new());
    let add = |all: &mut Vec<Entry>, event: &Event<'_>, label: &mut Label| {
        if !extends(&event) || known.binary_search(&event.index).is_ok() {
            return;
        }
        // Each way makes the entry in its place.
        let mut push = |kind, said| {
            all.push(Entry { event: event.index, pcr: event.pcr, event_type: event.event_type, kind, said });
        };
        if let Some(seen) = remembered.get(event).filter(|_| event.stands_alone()) {
            push(seen.kind, Said::Shared(Arc::clone(&seen.component)));
        } else if let Some(command) = command(event) {
            if commands.is_empty() {
                commands.reserve(COMMANDS_BYTES);
            }
            let from = commands.len();
            commands.extend_from_slice(command.text());
            let (texts, to) = (Arc::clone(&texts), commands.len());
            push(LoaderCommand::KIND, Said::Later(Later { texts, from, to, words: OnceLock::new() }));
        } else if is_separator(event) {
            push(ComponentKind::Separator, Said::Shared(Arc::clone(separator(event))));
        } else {
            push(label.kind, Said::Own(Component::of(event, label)));
        }
    };
    let known_label = |event: &Event<'_>| remembered.known(event);
    let measured =
        labelled(
            log,
            known_label,
            add,
            |entry, event| {
                if entry.event == event { entry.signer_mut() } else { None }
            },
        );
    commands.shrink_to_fit();
    let _ = texts.set(commands);
    if known.is_empty() {
        report.entries = measured;
    } else {
        report.entries.extend(measured);
        report.entries.sort_by_key(|e| e.event);
    }
}

fn event<'l, 'a>(log: &'l EventLog<'a>, index: u32) -> Option<&'l Event<'a>> {
    let at = usize::try_from(index).ok()?;
    log.events.get(at).filter(|e| e.index == index)
}
