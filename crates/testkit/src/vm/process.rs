//! Runs programs so that a failure says which command failed and how its output ended.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Longest tail of a log that an error carries, in lines.
const TAIL_LINES: usize = 15;

/// The command as a person would type it.
pub(crate) fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a command to its end and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    if !output.status.success() {
        let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        bail!(
            "`{}` failed ({}):\n{}",
            describe(command),
            output.status,
            tail(&String::from_utf8_lossy(said))
        );
    }
    Ok(output.stdout)
}

/// The last lines of a text, without control characters.
pub(crate) fn tail(text: &str) -> String {
    let clean: Vec<String> = text
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
        .filter(|line| !line.trim().is_empty())
        .collect();
    let skip = clean.len().saturating_sub(TAIL_LINES);
    clean.into_iter().skip(skip).collect::<Vec<_>>().join("\n")
}

/// The last lines of a log file; a missing file is an empty log.
pub(crate) fn tail_of(path: &Path) -> String {
    tail(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default()))
}

/// A new file.
pub(crate) fn create(path: &Path) -> Result<fs::File> {
    fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

/// A child process that ends with its owner.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
}

impl Guard {
    /// Starts the command with its output in `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = create(log)?;
        Self::start_split(command, file.try_clone()?, file)
    }

    /// Starts the command with standard output and standard error apart.
    pub(crate) fn start_split(command: &mut Command, stdout: fs::File, stderr: fs::File) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start `{}`", describe(command)))?;
        Ok(Self { child })
    }

    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status if the process has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits at most `limit`; `None` when the process still runs.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if start.elapsed() >= limit {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Errors mean that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_last_words() {
        let error =
            output(Command::new("sh").args(["-c", "echo first; echo broken >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("sh -c") && text.contains("broken") && text.contains("exit status: 3"),
            "{text}"
        );
    }

    #[test]
    fn a_tail_is_short_and_printable() {
        let long: String = (0..100).map(|i| format!("line {i}\u{1b}[2J\n")).collect();
        let tail = tail(&long);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 99[2J"));
    }
}
