//! What the CLI says when it cannot do what was asked, and the exit code that goes with it.

use veriboot_wire::Problem;

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
    /// What to do next.
    pub hint: Option<String>,
    /// Exit code of the process.
    pub exit: u8,
}

impl CliError {
    /// Wrong usage or unreadable input.
    pub fn usage(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None, exit: EXIT_USAGE }
    }

    /// The service cannot be reached or trusted.
    pub fn unreachable(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None, exit: EXIT_UNREACHABLE }
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
        Self { code: detail.code, message: detail.message, hint: detail.hint, exit: EXIT_REFUSED }
    }
}
