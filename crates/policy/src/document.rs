//! A file with conditions: a profile, or nothing but conditions, as TOML or JSON.

use serde::Deserialize;
use veriboot_appraisal::Condition;

use crate::limits::MAX_DOCUMENT_BYTES;
use crate::problem::printable;

/// Why a file holds no conditions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Too long.
    #[error("the file has {0} bytes; {MAX_DOCUMENT_BYTES} are allowed")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("the file is not text")]
    NotText,
    /// Neither TOML nor JSON, or other members than a condition has.
    #[error("the file cannot be read: {0}")]
    Malformed(String),
    /// No conditions in it.
    #[error("the file has no conditions")]
    Empty,
}

impl DocumentError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "policy-too-large",
            Self::NotText => "policy-not-text",
            Self::Malformed(_) => "policy-malformed",
            Self::Empty => "policy-empty",
        }
    }
}

/// What is read of the file; other members are those of a profile and not looked at.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    conditions: Vec<Condition>,
}

/// Reads the conditions of a file: TOML, or JSON when it starts with a brace.
///
/// # Errors
/// [`DocumentError`].
pub fn read_conditions(bytes: &[u8]) -> Result<Vec<Condition>, DocumentError> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(DocumentError::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DocumentError::NotText)?;
    let document: Result<Document, String> = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text).map_err(|e| e.to_string()),
        false => toml::from_str(text).map_err(|e| {
            let line = e.span().and_then(|span| text.get(..span.start)).map(|t| t.matches('\n').count() + 1);
            match line {
                Some(line) => format!("line {line}: {}", e.message()),
                None => e.message().to_owned(),
            }
        }),
    };
    let document = document.map_err(|why| DocumentError::Malformed(printable(&why, 300)))?;
    if document.conditions.is_empty() {
        return Err(DocumentError::Empty);
    }
    Ok(document.conditions)
}
