//! What the CLI says when it cannot do what was asked, and the exit code that goes with it.

use std::io::ErrorKind;
use std::path::Path;

use veriboot_wire::Problem;

use crate::output::safe;
use crate::words;

/// Exit code: the answer is "no" (not trusted, deviates, differs).
pub const EXIT_NEGATIVE: u8 = 1;
/// Exit code: wrong usage, or a file that cannot be read.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: the service cannot be reached or trusted.
pub const EXIT_UNREACHABLE: u8 = 3;
/// Exit code: the service refused.
pub const EXIT_REFUSED: u8 = 4;

/// A failure with everything a person needs: what, and what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// Stable identifier.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Lines that belong below it: the place of a mistake, as the library that read the file shows it.
    pub below: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// Exit code of the process.
    pub exit: u8,
}

impl CliError {
    /// Wrong usage or unreadable input.
    pub fn usage(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            below: Vec::new(),
            hint: None,
            exit: EXIT_USAGE,
        }
    }

    /// The service cannot be reached or trusted.
    pub fn unreachable(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            below: Vec::new(),
            hint: None,
            exit: EXIT_UNREACHABLE,
        }
    }

    /// What cannot be read: the code of its command, and what to do for the reason that the system gives.
    pub fn unreadable(code: &str, path: &Path, error: &std::io::Error) -> Self {
        let hint = match error.kind() {
            ErrorKind::NotFound => "check the path; a relative one begins in the present folder",
            ErrorKind::PermissionDenied => {
                "check the file's permissions, or run it as a user that may read it"
            }
            ErrorKind::IsADirectory => "name a file in this folder",
            ErrorKind::InvalidData => "the file must be UTF-8 text",
            _ => "check the path and its permissions",
        };
        let name = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
        Self::usage(code, format!("cannot read {name}: {error}")).hint(hint)
    }

    /// Prints it to standard error; nothing in it steers a terminal, and no line of it looks like another part.
    pub fn print(&self) {
        eprintln!("error: {} [{}]", safe(&self.message), safe(&self.code));
        for line in &self.below {
            eprintln!("{}", safe(line));
        }
        if let Some(hint) = &self.hint {
            eprintln!("hint: {}", safe(hint));
        }
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        let detail = problem.error;
        let hint = match detail.code.as_str() {
            "not-found" if detail.message.starts_with("there is no such check") => Some(checks()),
            code => known_hint(code, &detail.message).map(str::to_owned),
        };
        // Documents have members of the same names as the API; what is said about them stays as it is.
        let said = |text: String| match of_a_document(&detail.code) {
            true => text,
            false => words::of_the_cli(&text),
        };
        let hint = hint.or(detail.hint.map(said));
        Self { message: said(detail.message), code: detail.code, below: Vec::new(), hint, exit: EXIT_REFUSED }
    }
}

/// What to do on the command line about a refusal, where that is not what the API says.
fn known_hint(code: &str, message: &str) -> Option<&'static str> {
    Some(match code {
        "unauthenticated" => {
            "run `veriboot login`, or give another token with VERIBOOT_TOKEN or --token-file"
        }
        "no-such-route" | "method-not-allowed" => {
            "the service does not know this request: it is older than this program (`veriboot --version`); upgrade the \
             service first"
        }
        "version-conflict" => "look at the present version, then try again",
        "precondition-failed" => "look at it again, then try again without --etag or with the present one",
        "count-differs" => "they became more or fewer meanwhile: run it again and look at what it finds",
        "inventory-source-retired" => {
            "use it again with `veriboot inventory sources set NAME`, or sync as another source"
        }
        _ => return list_of(message),
    })
}

/// The checks that this release knows.
fn checks() -> String {
    let ids: Vec<&str> = veriboot_posture::checks().iter().map(|check| check.id.as_str()).collect();
    format!("the checks are {}", ids.join(", "))
}

/// Whether a refusal is about the content of a file.
fn of_a_document(code: &str) -> bool {
    ["baseline-", "profile-", "policy-", "envelope-", "inventory-", "conditions-"]
        .iter()
        .any(|start| code.starts_with(start))
}

/// The command that shows what there is, where the service says that something is not.
fn list_of(message: &str) -> Option<&'static str> {
    let what = message.strip_prefix("there is no such ")?;
    Some(match what.split(": ").next()? {
        "VM" | "VM in this group" => "`veriboot vm list` shows all of them",
        "alert" => "`veriboot alert list --all` shows all of them",
        "baseline" => "`veriboot baseline list --all` shows all of them",
        "boot" => "`veriboot boot list VM` shows those of a VM",
        "inventory item" => "`veriboot inventory list --all` shows all of them",
        "inventory source" => "`veriboot inventory sources list --all` shows all of them",
        "join token" => "`veriboot token list` shows all of them",
        "notification target" => "`veriboot notify target list` shows all of them",
        "profile" => "`veriboot profile list` shows all of them",
        "proposal" => "`veriboot proposal list --all` shows all of them",
        "re-appraisal" => "`veriboot baseline progress` shows the last ones",
        "scale set" => {
            "`veriboot scale-set list` shows all of them and their groups; --group is `default` unless given"
        }
        "incident" => "`veriboot incident list --all` shows all of them",
        "maintenance window" => "`veriboot maintenance list --all` shows all of them",
        "suppression rule" => "`veriboot suppression list --all` shows all of them",
        _ => return None,
    })
}
