//! What came of the endorsement certificate of a VM's TPM, so that its path is not verified with every attestation; and what
//! contradicted an item of the inventory, so that it is told once. Indexes for lists in other orders.

pub(super) const DDL: &[&str] = &[
    "ALTER TABLE vms ADD COLUMN endorsement TEXT",
    "ALTER TABLE inventory_vms ADD COLUMN contradicted TEXT",
    "CREATE INDEX inventory_contradicted ON inventory_vms (contradicted) WHERE contradicted IS NOT NULL",
    "CREATE INDEX vms_by_status_and_age ON vms (status, id)",
    "CREATE INDEX vms_of_image_by_age ON vms (image, id) WHERE image IS NOT NULL",
    "CREATE INDEX inventory_by_change ON inventory_vms (changed_at, id)",
    "CREATE INDEX inventory_by_source_and_change ON inventory_vms (source, changed_at, id)",
    "CREATE INDEX inventory_by_group_and_change ON inventory_vms (group_name, changed_at, id)",
    "CREATE INDEX incidents_by_activity ON incidents (last_at, id)",
];
