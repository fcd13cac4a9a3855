//! Items: one by one, in lists, and those of an enrolled VM.

use std::collections::BTreeMap;

use veriboot_wire::{
    Configured, ConfiguredSecurity, Facts, InventoryItem, InventoryQuery, InventorySort, Page, PowerState,
    UnlistedVm, VmStatus,
};

use super::{COLUMNS, read_item, tuples};
use crate::StoreError;
use crate::page::{decode_cursor, decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Param, Row, Tx, params, query_one};

/// Other items that are looked at beside one item.
pub const MAX_CONTRADICTIONS: u32 = 10;
/// Items of one VM that are looked at.
const MAX_ITEMS_OF_VM: u32 = 20;

/// What is known of the enrolled VM of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Enrolled {
    /// The VM.
    pub vm_id: String,
    /// Its name.
    pub name: String,
    /// Its scale set.
    pub scale_set: Option<String>,
    /// Health.
    pub status: VmStatus,
    /// The separate facts.
    pub facts: Facts,
    /// SHA-256 of its endorsement key, hex.
    pub ek_sha256: String,
}

/// SQL: whether something contradicts item `i`, whose enrolled VM is `v`. The members of `facts` are written in one
/// form by [`crate::vms`].
const DISAGREES: &str = "((i.secure_boot = 'on' AND v.facts LIKE '%\"secure_boot\":\"invalid\"%') \
     OR (i.secure_boot IN ('off', 'unsupported') AND v.facts LIKE '%\"secure_boot\":\"valid\"%') \
     OR (i.vtpm IN ('off', 'unsupported') AND v.facts LIKE '%\"vtpm\":\"valid\"%') \
     OR i.scale_set <> v.scale_set OR i.ek_sha256 <> v.ek_sha256 \
     OR EXISTS (SELECT 1 FROM inventory_vms o WHERE o.gone_at IS NULL AND o.id <> i.id \
     AND (o.vm_id = i.vm_id OR o.machine_uuid = i.machine_uuid OR o.ek_sha256 = i.ek_sha256) \
     AND (o.source = i.source OR (o.secure_boot <> i.secure_boot AND o.secure_boot <> 'unknown' AND i.secure_boot <> 'unknown') \
     OR (o.vtpm <> i.vtpm AND o.vtpm <> 'unknown' AND i.vtpm <> 'unknown') \
     OR (o.security_type <> i.security_type AND o.security_type <> 'unknown' AND i.security_type <> 'unknown') \
     OR (o.power <> i.power AND o.power <> 'unknown' AND i.power <> 'unknown'))))";

/// The item with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<InventoryItem>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM inventory_vms i WHERE i.id = $1");
    query_one(tx, &sql, params![id])?.map(read_item).transpose()
}

/// A page of items, by [`InventoryQuery::sort`].
pub fn list(tx: &mut dyn Tx, query: &InventoryQuery) -> Result<Page<InventoryItem>, StoreError> {
    // Above every name that starts with the prefix, since TEXT is ordered by bytes.
    let prefix_end = query.name_prefix.as_ref().map(|p| format!("{p}\u{10ffff}"));
    let limit = page_rows(query.limit);
    let disagrees = query.disagrees == Some(true);
    let from =
        if disagrees { "inventory_vms i LEFT JOIN vms v ON v.id = i.vm_id" } else { "inventory_vms i" };
    let head = format!("SELECT {COLUMNS} FROM {from}");
    let mut select = Select::new(&head);
    select
        .and_if("i.source = ?", query.source.as_ref())
        .and_if("i.group_name = ?", query.group.as_ref())
        .and_if("i.scale_set = ?", query.scale_set.as_ref())
        .and_if("i.platform = ?", query.platform.as_ref())
        .and_if("i.name >= ?", query.name_prefix.as_ref())
        .and_if("i.name < ?", prefix_end.as_ref())
        .and_if("i.power = ?", query.power.map(PowerState::as_str))
        .and_if("i.security_type = ?", query.security_type.map(ConfiguredSecurity::as_str))
        .and_if("i.secure_boot = ?", query.secure_boot.map(Configured::as_str))
        .and_if("i.vtpm = ?", query.vtpm.map(Configured::as_str));
    match query.matched {
        Some(true) => select.and("i.vm_id IS NOT NULL", &[]),
        Some(false) => select.and("i.vm_id IS NULL", &[]),
        None => &mut select,
    };
    match (query.gone, query.all) {
        (Some(true), _) => select.and("i.gone_at IS NOT NULL", &[]),
        (_, Some(true)) => &mut select,
        _ => select.and("i.gone_at IS NULL", &[]),
    };
    if disagrees {
        select.and(DISAGREES, &[]);
    }
    match query.sort.unwrap_or(InventorySort::Name) {
        InventorySort::Name => {
            let key: Option<[String; 3]> = decode_cursor("inventory", query.cursor.as_deref())?;
            if let Some([group, name, id]) = &key {
                select.and("(i.group_name, i.name, i.id) > (?, ?, ?)", params![group, name, id]);
            }
            let rows = select.page(tx, " ORDER BY i.group_name, i.name, i.id", limit)?;
            page(rows, limit, read_item, |i| {
                encode_cursor("inventory", &[&i.facts.group, &i.facts.name, &i.id])
            })
        }
        InventorySort::Changed => {
            let key = decode_time_cursor("inventory-changed", query.cursor.as_deref())?;
            if let Some((at, id)) = &key {
                select.and("(i.changed_at, i.id) < (?, ?)", params![*at, id]);
            }
            let rows = select.page(tx, " ORDER BY i.changed_at DESC, i.id DESC", limit)?;
            page(rows, limit, read_item, |i| {
                encode_cursor("inventory-changed", &[&i.changed_at.unix_ms().to_string(), &i.id])
            })
        }
    }
}

/// Every item of a VM, one of each source that lists or listed it: those that are there first, then by how surely they
/// are it, then the oldest.
pub fn items_for_vm(tx: &mut dyn Tx, vm_id: &str) -> Result<Vec<InventoryItem>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM inventory_vms i JOIN inventory_sources s ON s.name = i.source \
         WHERE i.vm_id = $1 AND s.retired_at IS NULL \
         ORDER BY CASE WHEN i.gone_at IS NULL THEN 0 ELSE 1 END, \
         CASE WHEN i.matched_by = 'verified-identity' THEN 0 ELSE 1 END, i.first_seen_at, i.id LIMIT $2"
    );
    tx.query(&sql, params![vm_id, MAX_ITEMS_OF_VM])?.into_iter().map(read_item).collect()
}

/// The item that speaks for a VM: the first of [`items_for_vm`].
pub fn item_for_vm(tx: &mut dyn Tx, vm_id: &str) -> Result<Option<InventoryItem>, StoreError> {
    Ok(items_for_vm(tx, vm_id)?.into_iter().next())
}

/// Items that are there and are no enrolled VM, ordered by id, from the first one behind `after` on (empty: from the
/// beginning); at most `limit`. Those of sources that are no longer used are gone.
pub fn unmatched(tx: &mut dyn Tx, after: &str, limit: u32) -> Result<Vec<InventoryItem>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM inventory_vms i WHERE i.vm_id IS NULL AND i.gone_at IS NULL AND i.id > $1 \
         ORDER BY i.id LIMIT $2"
    );
    tx.query(&sql, params![after, limit])?.into_iter().map(read_item).collect()
}

/// Other items that are there and name the same VM: by enrolled VM, machine UUID or endorsement key.
pub fn contradicting(tx: &mut dyn Tx, item: &InventoryItem) -> Result<Vec<InventoryItem>, StoreError> {
    let parts = [
        ("vm_id", item.vm_id.as_deref()),
        ("machine_uuid", item.facts.machine_uuid.as_deref()),
        ("ek_sha256", item.facts.ek_sha256.as_deref()),
    ];
    let mut values: Vec<Param<'_>> = params![&item.id, MAX_CONTRADICTIONS].to_vec();
    let mut found = Vec::new();
    for (column, value) in parts {
        let Some(value) = value else { continue };
        values.push(value.into());
        let n = values.len();
        found.push(format!(
            "SELECT {COLUMNS} FROM inventory_vms i WHERE i.{column} = ${n} AND i.id <> $1 AND i.gone_at IS NULL"
        ));
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!("{} ORDER BY 2, 1 LIMIT $2", found.join(" UNION "));
    tx.query(&sql, &values)?.into_iter().map(read_item).collect()
}

/// Name, status and facts of these VMs; those that do not exist are left out.
pub fn enrolled(tx: &mut dyn Tx, vm_ids: &[&str]) -> Result<Vec<Enrolled>, StoreError> {
    if vm_ids.is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<Param<'_>> = vm_ids.iter().map(|id| Param::from(*id)).collect();
    let sql = format!(
        "SELECT id, name, scale_set, status, facts, ek_sha256 FROM vms WHERE id IN {}",
        tuples(1, 1, values.len())
    );
    tx.query(&sql, &values)?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(Enrolled {
                vm_id: c.text()?,
                name: c.text()?,
                scale_set: c.opt_text()?,
                status: c.word()?,
                facts: c.json()?,
                ek_sha256: c.text()?,
            })
        })
        .collect()
}

fn read_unlisted(row: Row) -> Result<UnlistedVm, StoreError> {
    let mut c = row.columns();
    Ok(UnlistedVm {
        vm_id: c.text()?,
        name: c.text()?,
        group: c.text()?,
        scale_set: c.opt_text()?,
        status: c.word()?,
        last_attested_at: c.opt_time()?,
        gone_at: c.opt_time()?,
    })
}

/// A page of enrolled VMs that no source lists now, ordered by group, then name.
pub fn unlisted(
    tx: &mut dyn Tx,
    group: Option<&str>,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<UnlistedVm>, StoreError> {
    let key: Option<[String; 2]> = decode_cursor("inventory-unlisted", cursor)?;
    let limit = page_rows(limit);
    let mut select = Select::new(
        "SELECT v.id, v.name, v.group_name, v.scale_set, v.status, v.last_attested_at, \
         (SELECT MAX(i.gone_at) FROM inventory_vms i WHERE i.vm_id = v.id) FROM vms v",
    );
    select
        .and("NOT EXISTS (SELECT 1 FROM inventory_vms i WHERE i.vm_id = v.id AND i.gone_at IS NULL)", &[])
        .and_if("v.group_name = ?", group);
    if let Some([group, name]) = &key {
        select.and("(v.group_name, v.name) > (?, ?)", params![group, name]);
    }
    let rows = select.page(tx, " ORDER BY v.group_name, v.name", limit)?;
    page(rows, limit, read_unlisted, |v| encode_cursor("inventory-unlisted", &[&v.group, &v.name]))
}

/// Items that something contradicts, by code; an item counts once for each of its codes.
pub fn contradicted(tx: &mut dyn Tx) -> Result<BTreeMap<String, u64>, StoreError> {
    let sql = "SELECT contradicted, COUNT(*) FROM inventory_vms WHERE contradicted IS NOT NULL AND gone_at IS NULL \
               AND vm_id IS NOT NULL GROUP BY contradicted";
    let mut by_code = BTreeMap::new();
    for row in tx.query(sql, &[])? {
        let mut c = row.columns();
        let (codes, items) = (c.text()?, c.u64()?);
        for code in codes.split(',') {
            *by_code.entry(code.to_owned()).or_default() += items;
        }
    }
    Ok(by_code)
}

/// Items by state: those with an agent, those without, and those that are gone.
pub fn counts(tx: &mut dyn Tx) -> Result<(u64, u64, u64), StoreError> {
    let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN gone_at IS NULL AND vm_id IS NOT NULL THEN 1 ELSE 0 END), 0) AS BIGINT), \
               CAST(COALESCE(SUM(CASE WHEN gone_at IS NULL AND vm_id IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT), \
               CAST(COALESCE(SUM(CASE WHEN gone_at IS NOT NULL THEN 1 ELSE 0 END), 0) AS BIGINT) FROM inventory_vms";
    let Some(row) = query_one(tx, sql, &[])? else { return Ok((0, 0, 0)) };
    let mut c = row.columns();
    Ok((c.u64()?, c.u64()?, c.u64()?))
}
