//! Alerts with a cause in common, rules that dismiss them, and declared maintenance.

pub(super) const DDL: &[&str] = &[];
