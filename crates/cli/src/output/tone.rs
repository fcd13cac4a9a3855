//! What a colour means, and what has which.

use comfy_table::{Cell, Color};
use veriboot_wire::{FactState, Severity, Verdict, VmStatus};

use super::safe;

/// Meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// No colour.
    Plain,
    /// All is well.
    Good,
    /// Look at it.
    Warn,
    /// Something failed.
    Bad,
    /// Less important.
    Dim,
}

impl Tone {
    pub(super) const fn ansi(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
            Self::Dim => Some("2"),
        }
    }
}

/// A table cell with a tone.
pub struct Styled {
    pub(super) text: String,
    pub(super) tone: Tone,
}

impl Styled {
    /// `text` in `tone`; control characters are made visible.
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: safe(text.as_ref()), tone }
    }

    /// The text, without its tone.
    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_cell(self, color: bool) -> Cell {
        let cell = Cell::new(self.text);
        match self.tone {
            _ if !color => cell,
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Warn => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Dim => cell.fg(Color::DarkGrey),
        }
    }
}

impl From<String> for Styled {
    fn from(text: String) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<&str> for Styled {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// The tone of a status.
pub fn status_tone(status: VmStatus) -> Tone {
    match status {
        VmStatus::Healthy => Tone::Good,
        VmStatus::Unhealthy | VmStatus::Error => Tone::Bad,
        VmStatus::Stale | VmStatus::Pending => Tone::Warn,
        VmStatus::Unmonitored => Tone::Dim,
    }
}

/// The tone of a verdict.
pub fn verdict_tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Healthy => Tone::Good,
        Verdict::Unhealthy => Tone::Bad,
    }
}

/// The tone of a severity.
pub fn severity_tone(severity: Severity) -> Tone {
    match severity {
        Severity::Info => Tone::Dim,
        Severity::Low => Tone::Plain,
        Severity::Medium => Tone::Warn,
        Severity::High | Severity::Critical => Tone::Bad,
    }
}

/// The tone of a fact.
pub fn fact_tone(fact: FactState) -> Tone {
    match fact {
        FactState::Valid => Tone::Good,
        FactState::Invalid => Tone::Bad,
        FactState::Unknown => Tone::Warn,
        FactState::NotApplicable => Tone::Dim,
    }
}
