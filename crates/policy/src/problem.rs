//! What is wrong with a condition, and where.

use serde::{Deserialize, Serialize};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Good to know; the condition does what it says.
    Note,
    /// The condition works and probably not as meant.
    Warning,
    /// The condition cannot be used.
    Error,
}

impl Level {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Every code, with its level and what it means. docs/policies.md has the same list.
pub const PROBLEMS: &[(&str, Level, &str)] = &[
    ("syntax-error", Level::Error, "The expression is no CEL."),
    ("too-long", Level::Error, "The expression is longer than is allowed."),
    ("too-deep", Level::Error, "Too many brackets, operations or macros are inside one another."),
    ("unknown-variable", Level::Error, "There is no such variable or member."),
    ("unknown-function", Level::Error, "There is no such function, or it takes other arguments."),
    ("type-error", Level::Error, "An operation on values that it does not work on."),
    ("unknown-word", Level::Error, "A comparison with a word that the variable can never be."),
    ("not-a-condition", Level::Error, "The expression is no truth value."),
    ("not-supported", Level::Error, "CEL has it, conditions do not."),
    ("bad-pattern", Level::Error, "A pattern of `matches` that cannot be used, or that is not written out."),
    ("name-taken", Level::Error, "An element has the name of a variable."),
    ("bad-id", Level::Error, "The id is no kebab-case word."),
    ("duplicate-id", Level::Error, "Two conditions have the same id."),
    ("bad-text", Level::Error, "Message or hint is empty, too long, or has control characters."),
    ("too-many-conditions", Level::Error, "There are more conditions than are allowed."),
    ("never-holds", Level::Warning, "No boot that was tried makes the condition true."),
    ("always-holds", Level::Warning, "Every boot that was tried makes the condition true."),
    (
        "passes-when-absent",
        Level::Warning,
        "A boot that fails the condition passes when it does not show something.",
    ),
    (
        "passes-when-empty",
        Level::Warning,
        "A boot that fails the condition passes when a list has no elements.",
    ),
    ("rests-on-a-claim", Level::Note, "It reads words of the log that no digest covers."),
    ("does-not-fail", Level::Note, "The severity is below high: the finding is shown and fails nothing."),
];

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable identifier in kebab case; docs/policies.md lists all of them.
    pub code: &'static str,
    /// How bad it is.
    pub level: Level,
    /// Id of the condition; `None` when it is about the whole policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Line in the expression, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in the line, from 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: &'static str, level: Level, message: impl Into<String>) -> Self {
        debug_assert!(
            PROBLEMS.iter().any(|(known, of, _)| *known == code && *of == level),
            "{code} is not listed"
        );
        Self { code, level, condition: None, line: None, column: None, message: message.into(), hint: None }
    }

    pub(crate) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Level::Error, message)
    }

    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Level::Warning, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn at(mut self, place: Option<(u32, u32)>) -> Self {
        (self.line, self.column) = (place.map(|(line, _)| line), place.map(|(_, column)| column));
        self
    }

    pub(crate) fn of(mut self, condition: &str) -> Self {
        self.condition = Some(printable(condition, 64));
        self
    }
}

/// Text of others in a message: printable, bounded.
pub(crate) fn printable(text: &str, chars: usize) -> String {
    let mut out: String = text
        .chars()
        .take(chars)
        .map(|c| if c.is_control() || !veriboot_appraisal::is_shown_as_it_is(c) { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(chars).is_some() {
        out.push('…');
    }
    out
}
