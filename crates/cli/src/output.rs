//! How answers look: tables for people, JSON for programs.

mod locale;
mod table;

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use comfy_table::{Cell, Color, Table};
use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
use veriboot_wire::{FactState, Finding, Severity, Time, Verdict, VmStatus, counted, csv_record};

use crate::error::CliError;

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

/// Prints rows as CSV below a header; where there are more than `limit`, standard error says so.
pub fn print_csv_list(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    more: bool,
    limit: usize,
    what: &str,
) -> Result<(), CliError> {
    let mut text = csv_record(header.iter().copied());
    for row in rows {
        text.push_str(&csv_record(row.iter().map(String::as_str)));
    }
    print_csv(&text)?;
    if more {
        cut(limit, what);
    }
    Ok(())
}

/// A cell of what may not be there.
pub fn cell(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Prints CSV as it is; on a terminal nothing in it steers that.
pub fn print_csv(text: &str) -> Result<(), CliError> {
    if std::io::stdout().is_terminal() {
        return text.split_terminator("\r\n").try_for_each(|line| print(&format!("{}\n", safe(line))));
    }
    print(text)
}

/// JSON that means the same, with what a terminal or a person could stumble over escaped: serde_json leaves C1 controls,
/// DEL and direction overrides as they are. They occur in strings only.
fn steers_nothing(json: String) -> String {
    if !json.chars().any(steers) {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && steers(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that steer a terminal, or hide or turn around what stands beside them.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
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

/// A sentence narrower than this goes below its row.
const MIN_SENTENCE_WIDTH: usize = 40;

/// What `COLUMNS` asks for, or the terminal's width.
fn known_width() -> Option<usize> {
    let asked = std::env::var("COLUMNS").ok().and_then(|w| w.parse().ok());
    asked.filter(|w| (20..=1000).contains(w)).or_else(|| Table::new().width().map(usize::from))
}

/// Lines of at most `width` columns of a terminal, broken between words; a longer word, such as an id, has a line of its own
/// and stays whole. Spaces inside a line stay. Where nobody writes spaces, in Chinese and Japanese, any two characters may be
/// torn apart.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ').flat_map(unbroken) {
        let length = visible_width(word.trim_end());
        if used > 0 && used + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
        used += visible_width(word);
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// A word, in parts between which a line may end: before and behind each wide character.
fn unbroken(word: &str) -> Vec<&str> {
    let wide = |c: char| c.width() == Some(2);
    if !word.contains(wide) {
        return vec![word];
    }
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, c) in word.char_indices() {
        // What has no width of its own belongs to the character before it.
        if at > from
            && (wide(c)
                || word.get(from..at).is_some_and(|part| part.ends_with(wide) && c.width() == Some(1)))
        {
            parts.extend(word.get(from..at));
            from = at;
        }
    }
    parts.extend(word.get(from..));
    parts
}

/// Columns of a terminal that text takes, which may be painted: two for a wide character, none for an accent on its own.
fn visible_width(text: &str) -> usize {
    let mut width = 0;
    for (nth, part) in text.split('\u{1b}').enumerate() {
        let shown = if nth == 0 { part } else { part.split_once('m').map_or("", |(_, shown)| shown) };
        width += shown.width();
    }
    width
}

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
    const fn ansi(self) -> Option<&'static str> {
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
    text: String,
    tone: Tone,
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

    fn into_cell(self, color: bool) -> Cell {
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

/// Makes control characters and direction overrides visible: what comes from a guest never steers a terminal. Ends of lines
/// and tabs, as they are or as the service spells them, are shown as signs: menus of boot loaders are full of them.
pub fn safe(text: &str) -> String {
    let text = text.replace("\\u{a}", LINE_END).replace("\\u{9}", TAB);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => {
                out.push_str(LINE_END);
                continue;
            }
            '\t' => {
                out.push_str(TAB);
                continue;
            }
            _ => {}
        }
        if steers(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Stands for the end of a line.
const LINE_END: &str = "↵";
/// Stands for a tab.
const TAB: &str = "⇥";

/// The first characters of a hex digest or an id, for tables.
pub fn short(text: &str) -> String {
    text.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_steer_the_terminal() {
        assert_eq!(safe("a\u{1b}[31mb\r\n\u{202e}c"), "a\\u{1b}[31mb\\u{d}↵\\u{202e}c");
    }

    #[test]
    fn json_means_the_same_and_steers_nothing() {
        let value = serde_json::json!({ "name": "a\u{9b}31m\u{202e}b\u{e0041}\u{7f}é", "next": [1, 2] });
        let text = steers_nothing(serde_json::to_string_pretty(&value).unwrap());
        assert!(text.contains("\"a\\u009b31m\\u202eb\\udb40\\udc41\\u007fé\""), "{text}");
        assert!(!text.chars().any(|c| c != '\n' && steers(c)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn menus_are_readable() {
        let menu = "menuentry Linux {\\u{a}\\u{9}linux /vmlinuz\n\t}";
        assert_eq!(safe(menu), "menuentry Linux {↵⇥linux /vmlinuz↵⇥}");
    }

    #[test]
    fn sentences_are_wrapped_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a averyverylongword b", 4), ["a", "averyverylongword", "b"]);
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(wrapped("x  y", usize::MAX), ["x  y"]);
        assert_eq!(visible_width("  \u{1b}[31mhigh\u{1b}[0m "), 7);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(visible_width("測試"), 4);
        assert_eq!(visible_width("\u{1b}[31m測e\u{301}\u{1b}[0m"), 3);
        assert_eq!(wrapped("機器不健康 web-0", 6), ["機器不", "健康", "web-0"]);
        assert_eq!(wrapped("a機b", 3), ["a機", "b"]);
        // An accent stays with its letter, and punctuation that is narrow moves on.
        assert_eq!(wrapped("測e\u{301}試", 3), ["測e\u{301}", "試"]);
        for line in wrapped(&"漢字 mixed with words and ".repeat(20), 30) {
            assert!(visible_width(&line) <= 30, "{line}");
        }
    }

    #[test]
    fn ages_read_naturally() {
        let at = |s: i64| Some(Time::from_unix_ms(1_000_000_000 - s * 1000));
        let out = Output { json: false, color: false, now: Time::from_unix_ms(1_000_000_000) };
        let said: Vec<String> = [0, 30, 600, 7200, 864_000].map(|s| out.ago(at(s))).to_vec();
        assert_eq!(said, ["just now", "30 s ago", "10 min ago", "2 h ago", "10 d ago"]);
        assert_eq!(out.ago(None), "-");
    }
}
