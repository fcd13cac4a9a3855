//! `log show`: a boot in words that an engineer understands who has never seen an event log.

use std::path::Path;

use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
use veriboot_eventlog::{
    BootStory, CertificateStory, DigestMismatch, EventLog, Format, HashAlg, KeyStory, Measurement, Warning,
    WindowsStory, check_digests, ima_boot_aggregate, measurements, replay, story,
};
use veriboot_wire::counted;

use super::events::{self, clip};
use crate::error::CliError;
use crate::output::{Output, Tone};

/// What to show.
pub struct Options {
    /// Every event.
    pub events: bool,
    /// Events of one register.
    pub pcr: Option<u32>,
}

/// `log show --json`.
#[derive(Serialize)]
struct Shown<'a> {
    story: &'a BootStory,
    measurements: Vec<Measurement>,
    digest_mismatches: &'a [DigestMismatch],
    warnings: &'a [Warning],
}

/// Prints the story, then the events where asked.
pub fn show(file: &Path, log: &EventLog<'_>, options: &Options, out: Output) -> Result<u8, CliError> {
    let story = story(log);
    let mismatches = check_digests(log);
    let bank = strongest(log);
    if out.json {
        let mut measurements = measurements(log, bank);
        measurements.retain(|m| options.pcr.is_none_or(|pcr| pcr == m.pcr));
        let shown =
            Shown { story: &story, measurements, digest_mismatches: &mismatches, warnings: &log.warnings };
        out.print_json(&shown)?;
        return Ok(0);
    }
    if options.pcr.is_none() {
        let page = Page::new(out);
        page.head(file, log, &story)?;
        page.firmware(&story)?;
        page.secure_boot(&story)?;
        page.chain(&story)?;
        page.operating_system(&story)?;
        if let Some(windows) = &story.windows {
            page.windows(windows)?;
        }
        page.trust(log, &mismatches)?;
    }
    if options.events || options.pcr.is_some() {
        if options.pcr.is_none() {
            out.line("")?;
        }
        events::table(log, bank, &mismatches, options.pcr, out)?;
    }
    super::warn_when_cut(file, log);
    Ok(0)
}

/// `log replay` for people.
pub fn registers(log: &EventLog<'_>, out: Output) -> Result<(), CliError> {
    for bank in &log.banks {
        let replayed = replay(log, *bank);
        if !replayed.active {
            out.line(&format!("{bank}: named by the header, never extended"))?;
            continue;
        }
        out.line(&format!("{bank}:"))?;
        for (pcr, value) in &replayed.pcrs {
            let note = match replayed.extended.contains(pcr) {
                true => "",
                false => "  (not in this log)",
            };
            let tone = if note.is_empty() { Tone::Plain } else { Tone::Dim };
            let register = match log.format {
                Format::Ccel => format!("{pcr:>2} RTMR {}", pcr.saturating_sub(1)),
                Format::Tcg12 | Format::Tcg2 => format!("{pcr:>2}"),
            };
            out.line(&out.paint(&format!("  {register}  {value}{note}"), tone))?;
        }
        if let Some(value) = ima_boot_aggregate(log, &replayed) {
            out.line(&out.paint(
                &format!("      PCR 10 is {value} if Linux IMA measures nothing but its boot_aggregate"),
                Tone::Dim,
            ))?;
        }
        for warning in &replayed.warnings {
            out.line(&out.paint(&format!("  ! {}", warning.message), Tone::Warn))?;
        }
    }
    Ok(())
}

fn strongest(log: &EventLog<'_>) -> HashAlg {
    log.active_banks().into_iter().max_by_key(|bank| (bank.size(), *bank)).unwrap_or(HashAlg::Sha1)
}

/// Columns of the terminal; 100 where there is none. Lines longer than 120 columns read badly.
fn width() -> usize {
    let columns = comfy_table::Table::new().width().map(usize::from);
    let columns = columns.or_else(|| std::env::var("COLUMNS").ok()?.parse().ok());
    columns.unwrap_or(100).clamp(50, 120)
}

/// A page of titles, labels and values.
pub struct Page {
    out: Output,
    width: usize,
}

const LABEL: usize = 15;

impl Page {
    /// A page as wide as the terminal.
    pub fn new(out: Output) -> Self {
        Self { out, width: width() }
    }

    /// A line as it is.
    pub fn line(&self, text: &str) -> Result<(), CliError> {
        self.out.line(text)
    }

    /// A heading after an empty line.
    pub fn title(&self, text: &str) -> Result<(), CliError> {
        self.out.line("")?;
        let bold = if self.out.color { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() };
        self.out.line(&bold)
    }

    /// A label and its value; the value is wrapped and indented under itself.
    pub fn item(&self, label: &str, value: &str, tone: Tone) -> Result<(), CliError> {
        let room = self.width.saturating_sub(LABEL + 4);
        let mut label = label;
        for line in wrap(value, room) {
            self.out.line(format!("  {label:<LABEL$}  {}", self.out.paint(&line, tone)).trim_end())?;
            label = "";
        }
        Ok(())
    }

    fn head(&self, file: &Path, log: &EventLog<'_>, story: &BootStory) -> Result<(), CliError> {
        let banks: Vec<&str> = story.banks.iter().map(|bank| bank.name()).collect();
        let format = match story.format {
            Format::Tcg12 => "TCG 1.2 (SHA-1)",
            Format::Tcg2 => "TCG 2.0",
            Format::Ccel => "CCEL (confidential VM)",
        };
        self.out.line(&format!(
            "{}: {format} event log, {}, {}",
            crate::output::safe(&file.display().to_string()),
            counted(story.events, "event"),
            if banks.is_empty() { "no active bank".to_owned() } else { banks.join(" + ") },
        ))?;
        if log.sessions > 1 {
            let text = format!(
                "holds {} logs; this is the last one, from event {}",
                log.sessions, log.session_start
            );
            self.out.line(&self.out.paint(&text, Tone::Warn))?;
        }
        Ok(())
    }

    fn firmware(&self, story: &BootStory) -> Result<(), CliError> {
        self.title("Machine")?;
        let firmware = &story.firmware;
        let text = match (&firmware.version, &firmware.vendor) {
            (Some(version), Some(vendor)) => format!("{version} ({vendor})"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) => "not named by this log".to_owned(),
        };
        self.item("firmware", &clip(&text, 200), Tone::Plain)?;
        if let Some(platform) = &firmware.platform {
            self.item("platform", platform, Tone::Plain)?;
        }
        if let Some(technology) = &story.confidential {
            self.item("confidential", technology, Tone::Plain)?;
        }
        if story.drivers > 0 {
            self.item(
                "option ROMs",
                &format!("{} loaded from devices", count(story.drivers, "driver")),
                Tone::Plain,
            )?;
        }
        if !story.boot_order.is_empty() {
            self.item("boot order", &story.boot_order.join(", "), Tone::Plain)?;
        }
        Ok(())
    }

    fn secure_boot(&self, story: &BootStory) -> Result<(), CliError> {
        self.title("Secure Boot")?;
        let mode = story.secure_boot_mode.map(|mode| format!(", {mode} mode")).unwrap_or_default();
        let (state, tone) = match story.secure_boot {
            Some(true) => (format!("on{mode}"), Tone::Good),
            Some(false) => (format!("OFF{mode}: firmware runs any boot loader"), Tone::Bad),
            None => ("not in this log".to_owned(), Tone::Warn),
        };
        self.item("state", &state, tone)?;
        let keys = &story.keys;
        if story.secure_boot.is_some() {
            self.item("platform key", &names(&keys.pk, 0), Tone::Plain)?;
            self.item("KEK", &names(&keys.kek, 0), Tone::Plain)?;
            self.item("allowed (db)", &names(&keys.db, keys.db_hashes), Tone::Plain)?;
            let revision = keys
                .dbx_sha256
                .filter(|_| keys.dbx_hashes + keys.dbx.len() > 0)
                .map(|d| format!(" (SHA-256 {})", clip(&d.to_string(), 16)))
                .unwrap_or_default();
            self.item(
                "revoked (dbx)",
                &format!("{}{revision}", names(&keys.dbx, keys.dbx_hashes)),
                Tone::Plain,
            )?;
            self.microsoft(keys)?;
        }
        if let Some(level) = &story.sbat {
            let date = level.date_text().map_or_else(String::new, |date| format!("of {date}"));
            let demands = level.generations_text();
            let demands = match demands.as_str() {
                "" => "revokes nothing".to_owned(),
                demands => format!("demands at least {demands}"),
            };
            self.item(
                "SBAT level",
                &clip(format!("{date}, {demands}").trim_start_matches(", "), 400),
                Tone::Plain,
            )?;
        } else if let Some(level) = &story.sbat_level {
            self.item("SBAT level", level, Tone::Plain)?;
        }
        if !story.mok.is_empty() {
            self.item("MOK measured", &story.mok.join(", "), Tone::Plain)?;
        }
        Ok(())
    }

    fn microsoft(&self, keys: &KeyStory) -> Result<(), CliError> {
        if keys.microsoft_2011 && !keys.microsoft_2023 {
            let text = "only Microsoft's certificates of 2011, which expire in 2026; none of 2023";
            self.item("", text, Tone::Warn)?;
        }
        Ok(())
    }

    fn chain(&self, story: &BootStory) -> Result<(), CliError> {
        self.title("What ran before the operating system, in order")?;
        if story.images.is_empty() {
            return self.out.line("  nothing in this log");
        }
        for image in &story.images {
            let role = if image.role == veriboot_eventlog::ComponentKind::Unknown {
                "application"
            } else {
                image.role.title()
            };
            self.item(role, &image.path, Tone::Plain)?;
            let digest = clip(&image.digest.to_string(), 16);
            let admitted = match (&image.admitted_by, story.secure_boot) {
                (Some(by), _) => format!("admitted by {by}; "),
                (None, Some(true)) => "authority measured earlier or not at all; ".to_owned(),
                (None, _) => String::new(),
            };
            self.item("", &format!("{admitted}digest {digest} (event {})", image.event), Tone::Dim)?;
        }
        Ok(())
    }

    fn operating_system(&self, story: &BootStory) -> Result<(), CliError> {
        let linux = story.kernel.is_some() || story.command_line.is_some() || !story.initrds.is_empty();
        if !linux && story.uki_sections.is_empty() {
            return Ok(());
        }
        self.title("Operating system")?;
        if let Some(kernel) = &story.kernel {
            let version = kernel.version.as_ref().map(|v| format!("Linux {v}, ")).unwrap_or_default();
            self.item("kernel", &format!("{version}{}", kernel.path), Tone::Plain)?;
            self.item(
                "",
                &format!("digest {} (event {})", clip(&kernel.digest.to_string(), 16), kernel.event),
                Tone::Dim,
            )?;
        }
        for initrd in &story.initrds {
            self.item("initrd", &initrd.path, Tone::Plain)?;
            self.item(
                "",
                &format!("digest {} (event {})", clip(&initrd.digest.to_string(), 16), initrd.event),
                Tone::Dim,
            )?;
        }
        match &story.command_line {
            Some(line) => self.item("command line", line, Tone::Plain)?,
            None => self.item("command line", "measured as a digest only, or not at all", Tone::Dim)?,
        }
        if !story.uki_sections.is_empty() {
            self.item("UKI sections", &story.uki_sections.join(", "), Tone::Plain)?;
        }
        if story.boot_loader_commands > 0 {
            self.item("GRUB", &format!("{} commands executed", story.boot_loader_commands), Tone::Plain)?;
        }
        if story.exit_boot_services != Some(true) {
            self.item(
                "hand-over",
                "not in this log: it was saved before the firmware stepped aside",
                Tone::Dim,
            )?;
        }
        Ok(())
    }

    fn windows(&self, windows: &WindowsStory) -> Result<(), CliError> {
        self.title("Windows")?;
        let switch = |label: &str, value: Option<bool>, good: bool| match value {
            Some(on) => {
                let tone = if on == good { Tone::Good } else { Tone::Bad };
                self.item(label, if on { "on" } else { "off" }, tone)
            }
            None => Ok(()),
        };
        switch("code integrity", windows.code_integrity, true)?;
        switch("test signing", windows.test_signing, false)?;
        switch("flight signing", windows.flight_signing, false)?;
        switch("boot debugging", windows.boot_debugging, false)?;
        switch("kernel debug", windows.kernel_debugging, false)?;
        switch("safe mode", windows.safe_mode, false)?;
        switch("Windows PE", windows.win_pe, false)?;
        switch("HVCI", windows.hvci, true)?;
        for (label, value) in [
            ("memory (DEP)", &windows.data_execution_prevention),
            ("driver policy", &windows.driver_load_policy),
            ("hypervisor", &windows.hypervisor),
            ("secure mode", &windows.virtual_secure_mode),
            ("system root", &windows.system_root),
        ] {
            if let Some(value) = value {
                self.item(label, value, Tone::Plain)?;
            }
        }
        if !windows.elam.is_empty() {
            self.item("anti-malware", &format!("early launch: {}", windows.elam.join(", ")), Tone::Plain)?;
        }
        match windows.bitlocker_unlock {
            Some(0) => self.item("BitLocker", "boot volume not unlocked by BitLocker", Tone::Plain)?,
            Some(method) => self.item("BitLocker", &format!("unlocked, method 0x{method:x}"), Tone::Plain)?,
            None => {}
        }
        if let Some(count) = windows.boot_counter {
            self.item("boots", &count.to_string(), Tone::Plain)?;
        }
        let refused = windows.modules.iter().filter(|m| m.validated == Some(false)).count();
        let mut publishers: Vec<&str> =
            windows.modules.iter().filter_map(|m| m.publisher.as_deref()).collect();
        publishers.sort_unstable();
        publishers.dedup();
        self.item(
            "modules",
            &format!("{} loaded, {refused} not validated", windows.modules.len()),
            if refused > 0 { Tone::Bad } else { Tone::Plain },
        )?;
        if !publishers.is_empty() {
            self.item("signed by", &publishers.join("; "), Tone::Plain)?;
        }
        Ok(())
    }

    fn trust(&self, log: &EventLog<'_>, mismatches: &[DigestMismatch]) -> Result<(), CliError> {
        self.title("Can this log be believed?")?;
        let edited: Vec<&DigestMismatch> = mismatches.iter().filter(|m| m.quirk.is_none()).collect();
        if edited.is_empty() {
            self.item("content", "every digest that can be checked belongs to its event", Tone::Good)?;
        }
        for m in edited.iter().take(10) {
            let text =
                format!("event {} (PCR {}) does not hash to its digest: the log was edited", m.event, m.pcr);
            self.item("content", &text, Tone::Bad)?;
        }
        let mut warnings: Vec<String> = log.warnings.iter().map(|w| w.message.clone()).collect();
        for bank in &log.banks {
            warnings.extend(replay(log, *bank).warnings.into_iter().map(|w| w.message));
        }
        for warning in warnings.iter().take(10) {
            self.item("notice", warning, Tone::Warn)?;
        }
        if warnings.len() > 10 {
            self.item("", &format!("{} more; see `log replay --json`", warnings.len() - 10), Tone::Warn)?;
        }
        self.item(
            "origin",
            "a log proves nothing alone: `evidence verify` holds it against a signed quote",
            Tone::Dim,
        )
    }
}

/// `1 driver`, `2 drivers`.
pub fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn names(certificates: &[CertificateStory], hashes: usize) -> String {
    let mut parts: Vec<String> = certificates.iter().take(20).map(|c| c.name.clone()).collect();
    if certificates.len() > 20 {
        parts.push(format!("{} more", certificates.len() - 20));
    }
    if hashes > 0 {
        parts.push(counted(hashes, "hash"));
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// Breaks text at blanks into lines of at most `room` columns of a terminal; words that are longer are broken.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(10);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let len = word.width();
        if used > 0 && used + 1 + len > room {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            let columns = c.width().unwrap_or(0);
            if used + columns > room {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += columns;
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn wraps_at_blanks_and_breaks_long_words() {
        assert_eq!(wrap("root=UUID=1 ro quiet", 13), ["root=UUID=1", "ro quiet"]);
        assert_eq!(wrap(&"x".repeat(25), 10), ["x".repeat(10), "x".repeat(10), "x".repeat(5)]);
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(wrap("測試測試測試", 11), ["測試測試測", "試"]);
    }
}
