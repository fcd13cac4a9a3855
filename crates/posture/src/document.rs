//! The document of the checks.

use std::sync::LazyLock;

use veriboot_wire::Check;

/// The checks, read once. The document is part of the program and held by tests: it can be read.
static CHECKS: LazyLock<Vec<Check>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../checks.json")).unwrap_or_default());

/// All checks, most important first.
pub fn checks() -> &'static [Check] {
    &CHECKS
}

/// The check with this id.
pub fn check(id: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.id == id)
}
