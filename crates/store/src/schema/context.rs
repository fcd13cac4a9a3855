//! Attestations keep what their verdict rests on beside evidence, baseline and profile.

pub(super) const DDL: &[&str] = &["ALTER TABLE attestations ADD COLUMN context TEXT"];
