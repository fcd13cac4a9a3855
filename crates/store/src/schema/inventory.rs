//! What sources say about VMs that exist, and what changed between two looks.

pub(super) const DDL: &[&str] = &[];
