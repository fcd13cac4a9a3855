//! What happened, in order, and whom it is still to be told.

pub(super) const DDL: &[&str] = &[];
