//! VMs are judged again in the order of their ids: neighbours in it are neighbours in the tables and in most indexes.

pub(super) const DDL: &[&str] = &[
    "CREATE INDEX vms_by_group ON vms (group_name, id)",
    "CREATE INDEX vms_of_image ON vms (image, group_name, id) WHERE image IS NOT NULL",
    "ALTER TABLE reappraisals RENAME COLUMN after_name TO after_id",
    // Going over a VM twice changes nothing.
    "UPDATE reappraisals SET after_id = '', done = 0, turned = 0, failed = 0 WHERE finished_at IS NULL",
];
