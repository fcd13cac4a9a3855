//! Which replicas live, when none did, and for whom monitoring is switched on.

pub(super) const DDL: &[&str] = &[];
