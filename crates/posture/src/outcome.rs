//! What becomes of a check.

use veriboot_wire::AssessmentStatus;

/// Outcome of one check on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it holds.
    pub status: AssessmentStatus,
    /// Why it does not hold or does not apply: an id of the check's document. `None` when it holds.
    pub cause: Option<&'static str>,
    /// One or two sentences with the values that were found.
    pub description: String,
}

impl Outcome {
    pub(crate) fn healthy(description: impl Into<String>) -> Self {
        Self { status: AssessmentStatus::Healthy, cause: None, description: description.into() }
    }

    pub(crate) fn unhealthy(cause: &'static str, description: impl Into<String>) -> Self {
        Self { status: AssessmentStatus::Unhealthy, cause: Some(cause), description: description.into() }
    }

    pub(crate) fn not_applicable(cause: &'static str, description: impl Into<String>) -> Self {
        Self { status: AssessmentStatus::NotApplicable, cause: Some(cause), description: description.into() }
    }
}
