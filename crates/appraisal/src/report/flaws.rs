//! What is wrong with a log by itself, before any baseline.

use veriboot_eventlog::{DigestMismatch, EventLog, HashAlg};
use veriboot_wire::counted;

use super::{LogReport, MAX_EVENTS};
use crate::code;
use crate::content::Content;
use crate::text::{self, shortened};

/// Warnings and digest mismatches that become findings of their own; the rest is counted.
pub(super) const MAX_LISTED: usize = 16;

/// Adds what is wrong with the log: its length, registers that do not `exist`, where it was cut, digests of other texts.
pub(super) fn find(
    report: &mut LogReport,
    log: &EventLog<'_>,
    mismatches: Vec<DigestMismatch>,
    exists: impl Fn(u32) -> bool,
) {
    too_many_events(report);
    if log.session().iter().any(|event| event.extends() && !exists(event.pcr)) {
        unknown_registers(report, log);
    }
    cut_off(report, log);
    digest_mismatches(report, mismatches);
}

fn too_many_events(report: &mut LogReport) {
    if report.events > MAX_EVENTS {
        report.findings.push(code::TOO_MANY_EVENTS.finding(format!(
            "The event log has {} events; logs with more than {MAX_EVENTS} are not judged",
            report.events
        )));
    }
}

/// Firmware has no such event, and no quote can say anything about it.
fn unknown_registers(report: &mut LogReport, log: &EventLog<'_>) {
    let Some(registers) = report.banks.first().map(|bank| &bank.replay.pcrs) else { return };
    let mut unknown =
        log.session().iter().filter(|e| e.extends() && !registers.contains_key(&e.pcr)).peekable();
    let Some((pcr, index)) = unknown.peek().map(|e| (e.pcr, e.index)) else { return };
    let count = unknown.count();
    let mut finding = code::REGISTER_UNKNOWN.finding(match count {
        1 => format!("An event of the log extends register {pcr}, which does not exist"),
        _ => format!("{count} events of the log extend registers that do not exist, such as {pcr}"),
    });
    finding.event = Some(index);
    finding.component = Some("event log".to_owned());
    report.findings.push(finding);
}

fn cut_off(report: &mut LogReport, log: &EventLog<'_>) {
    if let Some(cut) = &log.cut {
        let mut finding = code::LOG_CUT.finding(format!(
            "Reading the event log stopped after {}: {cut}",
            counted(log.events.len(), "event")
        ));
        finding.hint =
            Some("Read the log again from the firmware; a log that stays cut was damaged or edited.".into());
        report.findings.push(finding);
    }
}

/// Held against the data in every bank: an edit that fits one bank's digest must not hide behind it while another bank is
/// the one that the quote proves.
fn digest_mismatches(report: &mut LogReport, mut mismatches: Vec<DigestMismatch>) {
    mismatches.sort_by_key(|m| m.event);
    mismatches.dedup_by_key(|m| m.event);
    for mismatch in &mismatches {
        if let Ok(at) = report.entries.binary_search_by_key(&mismatch.event, |entry| entry.event)
            && let Some(entry) = report.entries.get_mut(at)
        {
            entry.set_content(Content::Opaque);
        }
    }
    let (known, mismatches): (Vec<_>, Vec<_>) = mismatches.into_iter().partition(|m| m.quirk.is_some());
    for mismatch in known.into_iter().take(MAX_LISTED) {
        let mut finding = code::LOG_WARNING.finding(format!(
            "The digest of event {} is not that of its text, as some firmware does it; its text is not proven",
            mismatch.event
        ));
        finding.pcr = Some(mismatch.pcr);
        finding.event = Some(mismatch.event);
        report.findings.push(finding);
    }
    let total = mismatches.len();
    for mismatch in mismatches.into_iter().take(MAX_LISTED) {
        let entry = report.entries.iter().find(|e| e.event == mismatch.event);
        let what = entry.map_or("an unknown component", |e| e.kind.title());
        let mut finding = code::DIGEST_MISMATCH.finding(format!(
            "The log's text about the {what} (PCR {}, event {}) does not have the digest that stands beside it: the log was edited{}",
            mismatch.pcr,
            mismatch.event,
            if total > MAX_LISTED { format!("; {total} events are affected in all") } else { String::new() },
        ));
        finding.pcr = Some(mismatch.pcr);
        finding.event = Some(mismatch.event);
        finding.component = Some(what.to_owned());
        finding.expected = Some(mismatch.expected.to_string());
        finding.seen = Some(mismatch.seen.to_string());
        report.findings.push(finding);
    }
}

/// Banks that nothing extends, and what reading and replaying the log wondered about.
pub(super) fn warnings(report: &mut LogReport, log: &EventLog<'_>) {
    let inactive: Vec<HashAlg> = log.banks.iter().copied().filter(|b| report.bank(*b).is_none()).collect();
    for bank in inactive {
        report.findings.push(code::BANK_INACTIVE.finding(format!(
            "The log names the {} bank, but no event extends it; it is not compared",
            bank.name()
        )));
    }
    let of_replay = report.banks.iter().flat_map(|b| &b.replay.warnings);
    let all: Vec<_> = log.warnings.iter().chain(of_replay).cloned().collect();
    for warning in all.iter().take(MAX_LISTED) {
        let mut finding = code::LOG_WARNING.finding(text::capitalised(&shortened(&warning.message, 512)));
        finding.event = warning.event;
        report.findings.push(finding);
    }
    if let Some(more) = all.len().checked_sub(MAX_LISTED).filter(|n| *n > 0) {
        report
            .findings
            .push(code::LOG_WARNING.finding(format!("{} like these", counted(more, "more warning"))));
    }
}
