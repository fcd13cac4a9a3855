//! `log show` and `log replay` of what ran after the firmware: lists of IMA, logs of user space, all logs of a boot.

use std::path::Path;

use veriboot_eventlog::ima::{BootAggregate, Field, ImaEntry, ImaList, PCR_IMA, check_templates};
use veriboot_eventlog::userspace::{Content, Record, UserSpaceLog, check_words};
use veriboot_eventlog::{BootLogs, LogsDocument};
use veriboot_wire::counted;

use super::events::clip;
use super::load::Loaded;
use super::show::{Options, Page, count};
use crate::error::CliError;
use crate::output::{Output, Styled, Tone};

/// Prints a list or a log of user space.
pub fn show(file: &Path, loaded: &Loaded<'_>, options: &Options, out: Output) -> Result<u8, CliError> {
    let logs = loaded.alone();
    if out.json {
        out.print_json(&LogsDocument::new(&logs))?;
        return Ok(0);
    }
    let page = Page::new(out);
    if let Some(list) = logs.ima {
        page.ima(file, list)?;
        if options.events || options.pcr.is_some() {
            out.line("")?;
            entries(list, options.pcr, out)?;
        }
    }
    if let Some(log) = logs.user_space {
        page.user_space(file, log)?;
        if options.pcr.is_some() || !log.records.is_empty() {
            out.line("")?;
            records(log, options.pcr, out)?;
        }
    }
    loaded.warn_when_cut(file);
    Ok(0)
}

/// The registers after all logs, and who extended them.
pub fn registers(logs: &BootLogs<'_, '_>, out: Output) -> Result<(), CliError> {
    for bank in logs.banks() {
        let replayed = logs.replay(bank);
        out.line(&format!("{bank}:"))?;
        for (pcr, value) in &replayed.pcrs {
            match replayed.extended.get(pcr) {
                Some(by) => {
                    let by: Vec<&str> = by.iter().map(|kind| kind.as_str()).collect();
                    out.line(&format!("  {pcr:>2}  {value}  {}", by.join(" + ")))?;
                }
                None => {
                    let text = format!("  {pcr:>2}  {value}  (not in these logs)");
                    out.line(&out.paint(&text, Tone::Dim))?;
                }
            }
        }
        if let Some(state) = replayed.boot_aggregate {
            let (text, tone) = aggregate(state);
            out.line(&out.paint(&format!("  boot_aggregate: {text}"), tone))?;
        }
        for warning in &replayed.warnings {
            out.line(&out.paint(&format!("  ! {}", warning.message), Tone::Warn))?;
        }
    }
    Ok(())
}

fn aggregate(state: BootAggregate) -> (String, Tone) {
    match state {
        BootAggregate::Absent => ("the list has none".to_owned(), Tone::Warn),
        BootAggregate::Unreadable => ("malformed, or of an unknown algorithm".to_owned(), Tone::Warn),
        BootAggregate::NotComparable { bank } => {
            (format!("of the {bank} registers, which no log here explains"), Tone::Dim)
        }
        BootAggregate::Matches { bank } => {
            (format!("matches the {bank} registers: list and firmware log are of one boot"), Tone::Good)
        }
        BootAggregate::Differs { .. } => (
            "does not match: list and firmware log are of different boots, or one was edited".to_owned(),
            Tone::Bad,
        ),
    }
}

impl Page {
    fn ima(&self, file: &Path, list: &ImaList<'_>) -> Result<(), CliError> {
        let entries = &list.entries;
        self.line(&format!(
            "{}: measurement list of Linux IMA, {}, {} template digests",
            crate::output::safe(&file.display().to_string()),
            counted(entries.len(), "entry"),
            list.digest_alg,
        ))?;
        self.title("What the kernel measured")?;
        let mut templates: Vec<String> = entries.iter().map(|e| clip(&e.template.to_string(), 40)).collect();
        templates.sort_unstable();
        templates.dedup();
        self.item("templates", &templates.join(", "), Tone::Plain)?;
        let signed = entries.iter().filter(|e| e.decode().signature().is_some()).count();
        self.item("files signed", &format!("{signed} of {}", entries.len()), Tone::Plain)?;
        let elsewhere = entries.iter().filter(|e| e.pcr != PCR_IMA).count();
        if elsewhere > 0 {
            self.item("registers", &format!("{elsewhere} not in PCR {PCR_IMA}"), Tone::Warn)?;
        }
        let violations: Vec<&ImaEntry<'_>> = entries.iter().filter(|e| e.is_violation()).collect();
        for entry in violations.iter().take(10) {
            let text = format!(
                "entry {}: {} was written to while it was measured; its content is unknown",
                entry.index,
                name(entry)
            );
            self.item("violation", &text, Tone::Warn)?;
        }
        if violations.len() > 10 {
            self.item("", &counted(violations.len() - 10, "more violation"), Tone::Warn)?;
        }
        self.title("Can this list be believed?")?;
        let edited = check_templates(list);
        for mismatch in edited.iter().take(10) {
            let text = format!("entry {} does not hash to its digest: the list was edited", mismatch.entry);
            self.item("content", &text, Tone::Bad)?;
        }
        if edited.is_empty() {
            self.item("content", "every template digest belongs to its data", Tone::Good)?;
        }
        self.item(
            "origin",
            "a list proves nothing alone: `log replay FIRMWARE-LOG --ima FILE` gives the PCR 10 that a quote must have",
            Tone::Dim,
        )
    }

    fn user_space(&self, file: &Path, log: &UserSpaceLog<'_>) -> Result<(), CliError> {
        self.line(&format!(
            "{}: log of user space ({}), {}",
            crate::output::safe(&file.display().to_string()),
            log.layout.as_str(),
            count(log.records.len(), "record"),
        ))?;
        let boots: std::collections::BTreeSet<String> = log
            .records
            .iter()
            .filter_map(|r| if let Content::Systemd(content) = r.content() { content.boot_id } else { None })
            .collect();
        if boots.len() > 1 {
            let text = format!("the records are of {} boots; only those of one explain a quote", boots.len());
            self.item("notice", &text, Tone::Warn)?;
        }
        for mismatch in check_words(log).iter().take(10) {
            let text = format!(
                "record {} does not hash to its {} digest: the log was edited",
                mismatch.record, mismatch.bank
            );
            self.item("content", &text, Tone::Bad)?;
        }
        for warning in log.warnings.iter().take(10) {
            self.item("notice", &warning.message, Tone::Warn)?;
        }
        Ok(())
    }
}

fn name(entry: &ImaEntry<'_>) -> String {
    entry.decode().name().map_or_else(|| "?".to_owned(), |name| clip(&name.to_string(), 240))
}

fn entries(list: &ImaList<'_>, pcr: Option<u32>, out: Output) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for entry in list.entries.iter().filter(|e| pcr.is_none_or(|pcr| pcr == e.pcr)) {
        let decoded = entry.decode();
        let digest = decoded.file_digest().map(|d| crate::output::short(&d.digest.to_string()));
        let more = decoded.fields.iter().find_map(|(_, field)| match field {
            Field::Signature(s) => Some(match &s.key_id {
                Some(key) => format!("signed by key {key}"),
                None => "signed".to_owned(),
            }),
            Field::BufferText(text) => Some(clip(&text.to_string(), 240)),
            Field::BufferCertificate(certificate) => Some(format!("certificate {}", certificate.subject)),
            Field::AppendedSignature(_) => Some("appended signature".to_owned()),
            _ => None,
        });
        let violation = entry.is_violation();
        rows.push(vec![
            Styled::from(entry.index.to_string()),
            Styled::from(entry.pcr.to_string()),
            Styled::from(name(entry)),
            Styled::new(digest.unwrap_or_default(), Tone::Dim),
            if violation {
                Styled::new("violation", Tone::Warn)
            } else {
                Styled::from(more.unwrap_or_default())
            },
            Styled::new(clip(&entry.template.to_string(), 40), Tone::Dim),
        ]);
    }
    out.table(&["#", "PCR", "MEASURED", "FILE DIGEST", "MORE", "TEMPLATE"], rows, "No entries.")
}

fn records(log: &UserSpaceLog<'_>, pcr: Option<u32>, out: Output) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for record in log.records.iter().filter(|r| pcr.is_none() || pcr == r.pcr) {
        let (what, words) = said(record);
        let digest = record.digests.last().map(|(_, digest)| crate::output::short(&digest.to_string()));
        rows.push(vec![
            Styled::from(record.index.to_string()),
            Styled::from(record.pcr.map_or_else(|| "-".to_owned(), |pcr| pcr.to_string())),
            Styled::from(what),
            Styled::from(clip(&words, 240)),
            Styled::new(digest.unwrap_or_default(), Tone::Dim),
        ]);
    }
    out.table(&["#", "PCR", "WHAT", "WORDS", "DIGEST"], rows, "No records.")
}

fn said(record: &Record<'_>) -> (String, String) {
    match record.content() {
        Content::Systemd(content) => (content.title().to_owned(), content.string),
        Content::Unknown { content_type: Some(kind), raw } => (clip(&kind.to_string(), 40), raw.to_string()),
        _ => ("measured".to_owned(), String::new()),
    }
}
