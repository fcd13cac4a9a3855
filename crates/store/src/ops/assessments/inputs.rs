//! What the checks of a VM rest on, without its keys and secrets.

use veriboot_wire::{Facts, InventoryItem, KernelReport, MachineInfo, SecurityType, VmStatus};

use super::super::inventory::{COLUMNS as ITEM, read_columns};
use crate::StoreError;
use crate::rows::{query_in, update_rows};
use crate::tx::{Backend, Row, Tx, params, query_one};
use crate::vms::{Endorsement, KernelSaid};

/// What is stored about a VM that checks ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct VmInputs {
    /// UUIDv7.
    pub id: String,
    /// Unique within its group.
    pub name: String,
    /// Group.
    pub group: String,
    /// Scale set.
    pub scale_set: Option<String>,
    /// Health.
    pub status: VmStatus,
    /// One sentence that explains the status.
    pub status_detail: Option<String>,
    /// The separate facts.
    pub facts: Facts,
    /// Security type.
    pub security_type: SecurityType,
    /// What the agent says about the machine (advisory).
    pub machine: MachineInfo,
    /// What the agent says about the running kernel (advisory).
    pub kernel: Option<KernelReport>,
    /// Whether the TPM gave an EK certificate.
    pub ek_certificate: bool,
    /// SHA-256 of the EK's public area, hex.
    pub ek_sha256: String,
    /// What came of that certificate.
    pub endorsement: Option<Endorsement>,
    /// SHA-256 of the log of the last trusted quote, hex.
    pub log_sha256: Option<String>,
    /// Hash over what the last assessment rested on.
    pub posture_key: Option<String>,
    /// What the log with [`Self::log_sha256`] shows, JSON; absent while it was not read for posture.
    pub log_facts: Option<String>,
}

const HEAD: &str = "SELECT v.id, v.name, v.group_name, v.scale_set, v.status, v.status_detail, v.facts, \
     v.security_type, v.machine, v.kernel, CASE WHEN v.ek_certificate IS NULL THEN 0 ELSE 1 END, v.ek_sha256, v.endorsement, v.log_sha256, \
     v.posture_key, (SELECT f.facts FROM vm_log_facts f WHERE f.vm_id = v.id AND f.log_sha256 = v.log_sha256) \
     FROM vms v";

fn read(row: Row) -> Result<VmInputs, StoreError> {
    let mut c = row.columns();
    Ok(VmInputs {
        id: c.text()?,
        name: c.text()?,
        group: c.text()?,
        scale_set: c.opt_text()?,
        status: c.word()?,
        status_detail: c.opt_text()?,
        facts: c.json()?,
        security_type: c.word()?,
        machine: c.json()?,
        kernel: c.opt_json::<KernelSaid>()?.map(|said| said.report),
        ek_certificate: c.bool()?,
        ek_sha256: c.text()?,
        endorsement: c.opt_json()?,
        log_sha256: c.opt_text()?,
        posture_key: c.opt_text()?,
        log_facts: c.opt_text()?,
    })
}

/// For transactions that look at many resources by their ids: until its end, PostgreSQL finds each of them by an index. What it
/// knows of tables that have just grown lets it expect a large part of them for a few ids and read all, and a plan that it
/// made while a table was small it keeps. The plans outlive the transaction on their connection: a look-up by id is none the
/// worse for it.
pub fn read_along_indexes(tx: &mut dyn Tx) -> Result<(), StoreError> {
    if tx.backend() == Backend::Postgres {
        let sql = "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), \
                   set_config('enable_mergejoin', 'off', true)";
        tx.query(sql, &[])?;
    }
    Ok(())
}

/// Of one VM.
pub fn inputs_of(tx: &mut dyn Tx, vm_id: &str) -> Result<Option<VmInputs>, StoreError> {
    query_one(tx, &format!("{HEAD} WHERE v.id = $1"), params![vm_id])?.map(read).transpose()
}

/// Of VMs in the order of their ids, from the first one behind `after_id` on, at most `limit`.
pub fn inputs_after(tx: &mut dyn Tx, after_id: &str, limit: u32) -> Result<Vec<VmInputs>, StoreError> {
    let sql = format!("{HEAD} WHERE v.id > $1 ORDER BY v.id LIMIT $2");
    tx.query(&sql, params![after_id, limit])?.into_iter().map(read).collect()
}

/// Of these VMs, as far as there are any, ordered by id.
pub fn inputs_of_all(tx: &mut dyn Tx, vm_ids: &[String]) -> Result<Vec<VmInputs>, StoreError> {
    let ids: Vec<&str> = vm_ids.iter().map(String::as_str).collect();
    let found = query_in(tx, &format!("{HEAD} WHERE v.id"), "", &[], &ids)?.into_iter().map(read);
    let mut found = found.collect::<Result<Vec<_>, StoreError>>()?;
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

/// An item of the inventory that is an enrolled VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemInputs {
    /// The item.
    pub item: InventoryItem,
    /// Codes of what contradicted it when that was told last, sorted, with commas.
    pub contradicted: Option<String>,
}

/// What the inventory says about these VMs. Where several sources know one, the one that knew it first comes first.
pub fn items_of_vms(tx: &mut dyn Tx, vm_ids: &[&str]) -> Result<Vec<ItemInputs>, StoreError> {
    let head = format!("SELECT {ITEM}, i.contradicted FROM inventory_vms i WHERE i.vm_id");
    query_in(tx, &head, " AND i.gone_at IS NULL ORDER BY i.vm_id, i.id", &[], vm_ids)?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(ItemInputs { item: read_columns(&mut c)?, contradicted: c.opt_text()? })
        })
        .collect()
}

/// Notes what contradicts items, so that it is told once: ids and codes.
pub fn set_contradicted(tx: &mut dyn Tx, items: &[(&str, Option<&str>)]) -> Result<(), StoreError> {
    update_rows(tx, ("UPDATE inventory_vms SET contradicted = :2", "id = :1"), &[], items, |(id, codes)| {
        *params![*id, *codes]
    })?;
    Ok(())
}

/// Notes what the last assessment of each of these VMs rested on: id and key.
pub fn set_keys(tx: &mut dyn Tx, keys: &[(&str, String)]) -> Result<(), StoreError> {
    update_rows(tx, ("UPDATE vms SET posture_key = :2", "id = :1"), &[], keys, |(vm_id, key)| {
        *params![*vm_id, key]
    })?;
    Ok(())
}

/// Keeps what the log of a VM shows, in place of what an earlier one showed.
pub fn put_log_facts(tx: &mut dyn Tx, vm_id: &str, log_sha256: &str, facts: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO vm_log_facts (vm_id, log_sha256, facts) VALUES ($1, $2, $3) \
               ON CONFLICT (vm_id) DO UPDATE SET log_sha256 = excluded.log_sha256, facts = excluded.facts";
    tx.execute(sql, params![vm_id, log_sha256, facts])?;
    Ok(())
}
