//! What the agent of a VM says about the running kernel, beside what it says about the machine.

pub(super) const DDL: &[&str] = &[
    // JSON of a KernelSaid: a KernelReport and which boot it is of; NULL where the agent says nothing.
    "ALTER TABLE vms ADD COLUMN kernel TEXT",
];
