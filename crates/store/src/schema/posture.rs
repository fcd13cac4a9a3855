//! Assessments, what they rest on, and how the score of a group went.

pub(super) const DDL: &[&str] = &[];
