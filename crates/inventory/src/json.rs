//! JSON with the place of a mistake.

use serde::de::DeserializeOwned;

use crate::ReadError;

/// Characters of a parser's message that are kept: it may quote the document.
const MAX_REASON_CHARS: usize = 300;

/// Reads a whole document.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, ReadError> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize::<_, T>(&mut parser).map_err(|error| {
        let path = error.path().to_string();
        told(&path, error.inner())
    })?;
    parser.end().map_err(|error| told(".", &error))?;
    Ok(value)
}

fn told(path: &str, error: &serde_json::Error) -> ReadError {
    let said = error.to_string();
    // The place stands in its own members.
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(before, _)| before);
    let (line, column, reason) = (error.line(), error.column(), reason(said));
    if error.is_data() {
        let element = if path == "." { "the document".to_owned() } else { self::reason(path) };
        ReadError::Element { element, line, column, reason }
    } else {
        ReadError::Syntax { line, column, reason }
    }
}

/// A parser's words, bounded and on one line.
pub(crate) fn reason(said: &str) -> String {
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON_CHARS).collect()
}
