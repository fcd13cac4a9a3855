//! Patterns of names and parameters: text in which `*` stands for any text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Characters of a pattern.
const MAX_PATTERN_CHARS: usize = 1024;

/// A pattern. `*` stands for any text, also none; everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl Pattern {
    /// Whether `text` is met by it. Linear in the text for each `*`.
    pub fn meets(&self, text: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut text) = text.strip_prefix(head) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let tail = parts.pop().unwrap_or_default();
        for part in parts {
            match text.split_once(part) {
                Some((_, after)) => text = after,
                None => return false,
            }
        }
        text.ends_with(tail)
    }

    /// Whether it is met by every text.
    pub fn meets_everything(&self) -> bool {
        self.0.bytes().all(|b| b == b'*')
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.chars().count() {
            0 => Err("a pattern is empty; `*` stands for everything".to_owned()),
            1..=MAX_PATTERN_CHARS if !text.chars().any(char::is_control) => Ok(Self(text)),
            1..=MAX_PATTERN_CHARS => Err("a pattern has control characters".to_owned()),
            _ => Err(format!("a pattern has more than {MAX_PATTERN_CHARS} characters")),
        }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meets(pattern: &str, text: &str) -> bool {
        Pattern::try_from(pattern.to_owned()).unwrap().meets(text)
    }

    #[test]
    fn a_star_is_any_text() {
        assert!(meets("console=*", "console=ttyS0"));
        assert!(meets("console=*", "console="));
        assert!(!meets("console=*", "xconsole=ttyS0"));
        assert!(meets("*", "") && meets("*", "anything"));
        assert!(meets("a*b*c", "a-b-b-c") && !meets("a*b*c", "a-c-b"));
        assert!(!meets("ab*ba", "aba"), "a character is not used twice");
        assert!(meets("ro", "ro") && !meets("ro", "rox"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert!(Pattern::try_from(String::new()).is_err());
        assert!(Pattern::try_from("a\nb".to_owned()).is_err());
        assert!(Pattern::try_from("x".repeat(1025)).is_err());
    }
}
