//! Indexes of the audit log, each in the order of the list, for who, what, on what and when.

pub(super) const DDL: &[&str] = &[
    "CREATE INDEX audit_by_actor ON audit (actor, sequence)",
    "CREATE INDEX audit_by_action ON audit (action, sequence)",
    "CREATE INDEX audit_by_target ON audit (target, sequence)",
    "CREATE INDEX audit_by_time ON audit (at, sequence)",
];
