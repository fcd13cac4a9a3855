//! What is wrong with a baseline that can be read.

use super::document::{Baseline, Unlisted};

/// Something that a baseline should not say.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Flaw {
    /// Stable identifier in kebab case.
    pub code: &'static str,
    /// Whether the baseline must not judge. What is not refused is a warning.
    pub refused: bool,
    /// Where in the document: `rules[2]`, `boots[0]`; empty for the whole.
    pub place: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

impl Baseline {
    /// Everything that is wrong with it; those that are `refused` first.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        if self.boots.is_empty() && self.rules.is_empty() {
            let (code, message) = match self.unlisted {
                Unlisted::Fail => {
                    ("baseline-empty", "It has no boot and no rule, so it accepts no boot at all")
                }
                Unlisted::Note => (
                    "baseline-accepts-everything",
                    "It has no boot and no rule, and `unlisted = \"note\"` accepts everything else",
                ),
            };
            flaws.push(Flaw {
                code,
                refused: true,
                place: String::new(),
                message: message.to_owned(),
                hint: "learn it from a boot (`veriboot baseline learn`), or write rules",
            });
        }
        flaws
    }
}
