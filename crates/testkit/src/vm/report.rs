//! Reads what a guest reported on its second serial port (the format is at the top of `init.sh`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One command that the job ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Name that the job gave it.
    pub name: String,
    /// Exit code; `None` while it runs.
    pub exit: Option<i32>,
}

/// What one boot reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Commands in the order in which they started.
    pub steps: Vec<Step>,
    /// Files that the guest sent: `NAME.out` and `NAME.err` of every step, and what the job sent itself.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether init was reached.
    pub started: bool,
    /// Whether the job ran to its end.
    pub done: bool,
}

impl Report {
    /// Reads a report, complete or still growing. Lines that are not ours (firmware, kernel) are skipped.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut report = Self::default();
        let mut open: Option<(String, usize, String)> = None;
        for line in text.lines().map(|line| line.trim_end_matches('\r')) {
            let mut words = line.strip_prefix("@@ ").unwrap_or_default().split(' ');
            match (words.next().unwrap_or_default(), open.as_mut()) {
                ("", Some((_, _, body))) => body.push_str(line),
                ("start", _) => report.started = true,
                ("done", _) => report.done = true,
                ("step", _) => {
                    report.steps.push(Step { name: words.next().unwrap_or_default().to_owned(), exit: None })
                }
                ("exit", _) => {
                    let name = words.next().unwrap_or_default();
                    let code = words.next().and_then(|code| code.parse().ok());
                    if let Some(step) = report.steps.iter_mut().rev().find(|step| step.name == name) {
                        step.exit = code;
                    }
                }
                ("file", _) => {
                    let name = words.next().unwrap_or_default().to_owned();
                    let size =
                        words.next().and_then(|size| size.parse().ok()).context("file without size")?;
                    open = Some((name, size, String::new()));
                }
                ("end", _) => {
                    if let Some((name, size, body)) = open.take() {
                        let content = STANDARD
                            .decode(&body)
                            .with_context(|| format!("the serial line garbled {name}"))?;
                        if content.len() != size {
                            bail!("the serial line lost a part of {name}: {} of {size} bytes", content.len());
                        }
                        report.files.insert(name, content);
                    }
                }
                _ => {}
            }
        }
        Ok(report)
    }

    /// Reads a report file; one that is not there yet is empty.
    pub(super) fn read_file(path: &Path) -> Result<Self> {
        Self::read(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default()))
    }

    /// Exit code of the last step of this name.
    pub fn exit_of(&self, step: &str) -> Option<i32> {
        self.steps.iter().rev().find(|s| s.name == step).and_then(|s| s.exit)
    }

    /// A file as text.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.files.get(name).map(Vec::as_slice).unwrap_or_default()).into_owned()
    }

    /// A file that must be there.
    pub fn file(&self, name: &str) -> Result<&[u8]> {
        self.files.get(name).map(Vec::as_slice).with_context(|| format!("the guest sent no {name}"))
    }

    /// All steps with exit codes and output, for error messages.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let exit = step.exit.map_or_else(|| "running".to_owned(), |code| format!("exit {code}"));
            text.push_str(&format!("step {}: {exit}\n", step.name));
            for stream in ["out", "err"] {
                let said = super::process::tail(&self.text(&format!("{}.{stream}", step.name)));
                for line in said.lines() {
                    text.push_str(&format!("  {line}\n"));
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{1b}[2JBdsDxe: loading\r\n@@ start 3.2\n@@ step attest\n@@ file attest.out 6\naGVs\nbG8K\n\
        @@ end attest.out\n@@ exit attest 1\n@@ done\n";

    #[test]
    fn reads_steps_and_files_between_noise() {
        let report = Report::read(TEXT).unwrap();
        assert!(report.started && report.done);
        assert_eq!(report.exit_of("attest"), Some(1));
        assert_eq!(report.text("attest.out"), "hello\n");
    }

    #[test]
    fn every_prefix_is_readable() {
        for (end, _) in TEXT.char_indices() {
            let _ = Report::read(TEXT.get(..end).unwrap());
        }
    }

    #[test]
    fn a_lost_byte_is_noticed() {
        let error = Report::read(&TEXT.replace("bG8K\n", "\n")).unwrap_err();
        assert!(error.to_string().contains("attest.out"));
    }
}
