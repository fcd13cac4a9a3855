//! What posture asks of an event log, in a small form that is stored with the VM.

use serde::{Deserialize, Serialize};
use veriboot_appraisal::{Content, Entry, LogReport, SignatureId};
use veriboot_eventlog::ComponentKind;

use crate::references::{AUTHORITIES_OF_2011, DBX_REVISIONS};

/// The PCR of Secure Boot's lists and of shim's SBAT level.
const SECURE_BOOT_PCR: u32 = 7;
/// Kernel command lines of one log that are looked at.
const MAX_COMMAND_LINES: usize = 64;

/// What an event log shows. Only what a digest of the log proves counts; whether the log itself is proven by a quote is
/// for the caller to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogFacts {
    /// Version of this shape: facts of another version are read from the log again.
    pub version: u32,
    /// Whether Secure Boot is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
    /// Whether shim was told not to verify what it starts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shim_validation_off: bool,
    /// Different entries of dbx; `None` when it is not measured or cannot be read whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbx_entries: Option<u32>,
    /// Date of the newest of [`DBX_REVISIONS`] that dbx has something of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbx_revision: Option<String>,
    /// Date stamp of the SBAT level that shim applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbat_level: Option<u64>,
    /// Microsoft's certificates in KEK and db; `None` when one of the lists is not measured or cannot be read whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub microsoft_keys: Option<MicrosoftKeys>,
    /// Whether a kernel command line is measured: Linux ran.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub command_line: bool,
    /// The level that `lockdown=` asks for: `integrity` or `confidentiality`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockdown: Option<String>,
    /// Whether `module.sig_enforce` is given.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub module_signatures: bool,
}

/// Which of Microsoft's certificates KEK and db have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MicrosoftKeys {
    /// Microsoft Corporation KEK CA 2011, in KEK.
    pub kek_2011: bool,
    /// Microsoft Corporation KEK 2K CA 2023, in KEK.
    pub kek_2023: bool,
    /// Microsoft Corporation UEFI CA 2011, in db.
    pub uefi_2011: bool,
    /// Microsoft UEFI CA 2023, in db.
    pub uefi_2023: bool,
    /// Microsoft Windows Production PCA 2011, in db.
    pub windows_2011: bool,
    /// Windows UEFI CA 2023, in db.
    pub windows_2023: bool,
}

impl LogFacts {
    /// Version of this shape.
    pub const VERSION: u32 = 2;

    /// Reads the facts of an examined log.
    pub fn of(report: &LogReport) -> Self {
        let mut facts = Self {
            version: Self::VERSION,
            secure_boot: report.secure_boot,
            shim_validation_off: report.shim_validation_off,
            dbx_entries: dbx_entries(report),
            dbx_revision: dbx_revision(report),
            sbat_level: sbat_level(report),
            microsoft_keys: microsoft_keys(report),
            ..Self::default()
        };
        for line in command_lines(report).take(MAX_COMMAND_LINES) {
            facts.command_line = true;
            for parameter in line.split_ascii_whitespace() {
                facts.parameter(parameter);
            }
        }
        facts
    }

    /// Notes a parameter of the kernel. A later `lockdown=` only ever raises the level; `module.sig_enforce` is never
    /// taken back.
    fn parameter(&mut self, parameter: &str) {
        match parameter.split_once('=') {
            Some(("lockdown", level @ ("integrity" | "confidentiality")))
                if self.lockdown.as_deref() != Some("confidentiality") =>
            {
                self.lockdown = Some(level.to_owned());
            }
            Some(("module.sig_enforce", "1" | "y" | "Y")) => self.module_signatures = true,
            None if parameter == "module.sig_enforce" => self.module_signatures = true,
            _ => {}
        }
    }
}

/// The lists of one kind, where they are measured as what they are.
fn lists(report: &LogReport, kind: ComponentKind) -> impl Iterator<Item = &Entry> {
    report.entries.iter().filter(move |entry| entry.kind == kind && entry.pcr == SECURE_BOOT_PCR)
}

fn dbx_entries(report: &LogReport) -> Option<u32> {
    let list = lists(report, ComponentKind::RevocationDb).next()?.content.signatures()?;
    list.complete.then(|| u32::try_from(list.members.len()).unwrap_or(u32::MAX))
}

fn dbx_revision(report: &LogReport) -> Option<String> {
    let list = lists(report, ComponentKind::RevocationDb).next()?.content.signatures()?;
    let has = |image: &str| {
        let id = hex::decode(image).ok().and_then(|digest| SignatureId::of_digest(&digest));
        id.is_some_and(|id| list.members.contains(&id))
    };
    let found = DBX_REVISIONS.iter().rev().find(|revision| list.complete && has(revision.image));
    found.map(|revision| revision.date.to_owned())
}

fn sbat_level(report: &LogReport) -> Option<u64> {
    report.entries.iter().filter(|entry| entry.pcr == SECURE_BOOT_PCR).find_map(|entry| {
        match &entry.content {
            Content::Sbat(_) => entry.value.as_deref().and_then(date_stamp),
            _ => None,
        }
    })
}

/// Date stamp of an SBAT level: `sbat,1,2023012900`.
fn date_stamp(level: &str) -> Option<u64> {
    let digits: String = level.strip_prefix("sbat,1,")?.chars().take_while(char::is_ascii_digit).collect();
    (digits.len() == 10).then(|| digits.parse().ok()).flatten()
}

fn microsoft_keys(report: &LogReport) -> Option<MicrosoftKeys> {
    let has = |kind| {
        let mut certificates = Vec::new();
        let mut there = false;
        for entry in lists(report, kind) {
            let list = entry.content.signatures().filter(|list| list.complete)?;
            certificates.extend(list.certificates.into_iter().map(|c| c.sha256.to_string()));
            there = true;
        }
        there.then_some(certificates)
    };
    let (kek, db) = (has(ComponentKind::KeyExchangeKey)?, has(ComponentKind::SignatureDb)?);
    let [exchange, uefi, windows] = AUTHORITIES_OF_2011;
    let is_in = |list: &[String], sha256: &str| list.iter().any(|c| c == sha256);
    Some(MicrosoftKeys {
        kek_2011: is_in(&kek, exchange.old),
        kek_2023: is_in(&kek, exchange.new),
        uefi_2011: is_in(&db, uefi.old),
        uefi_2023: is_in(&db, uefi.new),
        windows_2011: is_in(&db, windows.old),
        windows_2023: is_in(&db, windows.new),
    })
}

/// Kernel command lines whose text is measured.
fn command_lines(report: &LogReport) -> impl Iterator<Item = &str> {
    let proven = |entry: &&Entry| {
        entry.kind == ComponentKind::KernelCommandLine && matches!(entry.content, Content::Text)
    };
    report.entries.iter().filter(proven).filter_map(|entry| entry.value.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str) -> LogFacts {
        let mut facts = LogFacts::default();
        line.split_ascii_whitespace().for_each(|parameter| facts.parameter(parameter));
        facts
    }

    #[test]
    fn parameters_count_as_the_kernel_takes_them() {
        let read = |line: &str| {
            let facts = after(line);
            (facts.lockdown, facts.module_signatures)
        };
        assert_eq!(read("ro quiet"), (None, false));
        assert_eq!(read("lockdown=integrity"), (Some("integrity".into()), false));
        assert_eq!(read("lockdown=confidentiality lockdown=integrity").0.as_deref(), Some("confidentiality"));
        assert_eq!(read("lockdown=none x.lockdown=integrity"), (None, false));
        assert_eq!(read("module.sig_enforce module.sig_enforce=0"), (None, true));
        assert_eq!(read("module.sig_enforce=0"), (None, false));
    }

    #[test]
    fn a_date_stamp_has_ten_digits() {
        assert_eq!(date_stamp("sbat,1,2024010900\nshim,4"), Some(2_024_010_900));
        for bad in ["sbat,1,2024", "sbat,2,2024010900", "", "sbat,1,20240109001"] {
            assert_eq!(date_stamp(bad), None, "{bad}");
        }
    }
}
