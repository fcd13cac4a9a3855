//! How answers look: tables for people, JSON for programs.

mod csv;
mod locale;
mod safe;
mod table;
mod tone;
mod wrap;

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;
use veriboot_wire::{Finding, Time, counted};

use crate::error::CliError;
pub use csv::{cell, print_csv, print_csv_list};
pub use safe::safe;
use safe::steers_nothing;
pub use tone::{Styled, Tone, fact_tone, severity_tone, status_tone, verdict_tone};
use wrap::{MIN_SENTENCE_WIDTH, known_width, visible_width, wrapped};

/// When to use colour.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON instead of tables.
    pub json: bool,
    /// Colour in tables.
    pub color: bool,
    /// The time against which "2 min ago" is said.
    pub now: Time,
}

impl Output {
    /// An output for standard output at `now`.
    pub fn new(json: bool, choice: ColorChoice, now: Time) -> Self {
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        Self { json, color, now }
    }

    /// Prints `value` as indented JSON.
    pub fn print_json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| CliError::usage("cannot-encode", format!("cannot encode the answer: {e}")))?;
        self.line(&steers_nothing(text))
    }

    /// Prints the rows of a list as JSON; where there are more than `limit`, standard error says so.
    pub fn print_json_list<T: Serialize>(
        &self,
        rows: &[T],
        more: bool,
        limit: usize,
        what: &str,
    ) -> Result<(), CliError> {
        self.print_json(&rows)?;
        if more {
            cut(limit, what);
        }
        Ok(())
    }

    /// Says below a table that there are more rows than were asked for.
    pub fn more(&self, more: bool, limit: usize, what: &str) -> Result<(), CliError> {
        if more { self.line(&more_than(limit, what)) } else { Ok(()) }
    }

    /// Prints one line of text. A closed pipe (`| head`) is no error.
    pub fn line(&self, text: &str) -> Result<(), CliError> {
        match locale::shows_unicode() {
            true => print(&format!("{text}\n")),
            false => print(&format!("{}\n", locale::plain(text))),
        }
    }

    /// Prints a sentence behind `start`; on a terminal it is wrapped, and goes on below where it began.
    pub fn sentence(&self, start: &str, text: &str) -> Result<(), CliError> {
        let indent = visible_width(start);
        let width =
            known_width().map_or(usize::MAX, |width| width.saturating_sub(indent).max(MIN_SENTENCE_WIDTH));
        for (nth, line) in wrapped(text, width).iter().enumerate() {
            match nth {
                0 => self.line(&format!("{start}{line}"))?,
                _ => self.line(&format!("{:indent$}{line}", ""))?,
            }
        }
        Ok(())
    }

    /// Prints names and values below each other.
    pub fn fields(&self, fields: &[(&str, String)]) -> Result<(), CliError> {
        let width = fields.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        fields.iter().try_for_each(|(name, value)| {
            self.sentence(&format!("{name}{:1$}  ", "", width.saturating_sub(name.width())), value)
        })
    }

    /// `text` in `color`, when colour is on.
    pub fn paint(&self, text: &str, tone: Tone) -> String {
        match (self.color, tone.ansi()) {
            (true, Some(code)) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }

    /// `2 min ago`, or `-`.
    pub fn ago(&self, time: Option<Time>) -> String {
        let Some(time) = time else { return "-".to_owned() };
        let seconds = (self.now.unix_ms().saturating_sub(time.unix_ms())) / 1000;
        match seconds {
            ..0 => time.to_string(),
            0..=4 => "just now".to_owned(),
            5..=119 => format!("{seconds} s ago"),
            120..=7199 => format!("{} min ago", seconds / 60),
            7200..=172_799 => format!("{} h ago", seconds / 3600),
            _ => format!("{} d ago", seconds / 86_400),
        }
    }

    /// Prints findings, most severe first.
    pub fn findings(&self, findings: &[Finding]) -> Result<(), CliError> {
        let mut sorted: Vec<&Finding> = findings.iter().collect();
        sorted.sort_by_key(|f| std::cmp::Reverse(f.severity));
        self.findings_in_order(sorted)
    }

    /// Prints findings as they come.
    pub fn findings_in_order<'f>(
        &self,
        findings: impl IntoIterator<Item = &'f Finding>,
    ) -> Result<(), CliError> {
        for finding in findings {
            let tone = severity_tone(finding.severity);
            let severity = self.paint(&format!("{:<8}", finding.severity.as_str()), tone);
            self.sentence(&format!("  {severity} "), &safe(&finding.message))?;
            let mut place = vec![finding.code.clone()];
            place.extend(finding.change.map(|c| c.to_string()));
            place.extend(finding.action.map(|a| a.to_string()));
            place.extend(finding.pcr.map(|p| format!("PCR {p}")));
            place.extend(finding.event.map(|e| format!("event {e}")));
            place.extend(finding.signer.as_deref().map(|s| format!("signed by {}", safe(s))));
            self.sentence("           ", &place.join(" · "))?;
            let parts = [
                ("expected  ", &finding.expected),
                ("seen      ", &finding.seen),
                ("risk: ", &finding.risk),
                ("hint: ", &finding.hint),
            ];
            for (name, text) in parts {
                if let Some(text) = text {
                    self.sentence(&format!("           {name}"), &safe(text))?;
                }
            }
        }
        Ok(())
    }
}

/// Says on standard error that CSV or JSON has not all rows: on standard output it would be one of them.
pub fn cut(limit: usize, what: &str) {
    eprintln!("{}", more_than(limit, what));
}

fn more_than(limit: usize, what: &str) -> String {
    format!("… more than {}: raise --limit or filter", counted(limit, what))
}

/// Writes text to standard output as it is. A closed pipe (`| head`) is no error.
pub fn print(text: &str) -> Result<(), CliError> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            CLOSED.store(true, Ordering::Relaxed);
            Ok(())
        }
        done => {
            done.map_err(|e| CliError::usage("cannot-write", format!("cannot write to standard output: {e}")))
        }
    }
}

/// Whether nobody reads standard output any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether nobody reads standard output any more, as far as writing has shown: what has no end may end then.
pub fn nobody_reads() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// The first characters of a hex digest or an id, for tables.
pub fn short(text: &str) -> String {
    text.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_naturally() {
        let at = |s: i64| Some(Time::from_unix_ms(1_000_000_000 - s * 1000));
        let out = Output { json: false, color: false, now: Time::from_unix_ms(1_000_000_000) };
        let said: Vec<String> = [0, 30, 600, 7200, 864_000].map(|s| out.ago(at(s))).to_vec();
        assert_eq!(said, ["just now", "30 s ago", "10 min ago", "2 h ago", "10 d ago"]);
        assert_eq!(out.ago(None), "-");
    }
}
