//! Scale sets: their members by status, and by what they booted.
//!
//! A scale set is what its members say: there is no row of its own. Only members whose present boot is known and
//! believed are compared: the key of the boot is forgotten with evidence that is not believed, and a member that is
//! silent or reports a fault is left out.

use veriboot_wire::{BootGroupMember, Majority, Page, ScaleSet, ScaleSetQuery, VmStatus};

use crate::StoreError;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, params, query_one};

/// Fewer compared members than this have no majority.
const LEAST_COMPARED: u64 = 3;
/// SQL: whether the boot of a member counts.
const COMPARED: &str = "boot_key IS NOT NULL AND status IN ('healthy', 'unhealthy')";
/// From the worst status of a member to the best.
const WORST_FIRST: [VmStatus; 6] = [
    VmStatus::Unhealthy,
    VmStatus::Error,
    VmStatus::Stale,
    VmStatus::Pending,
    VmStatus::Healthy,
    VmStatus::Unmonitored,
];

/// Members that booted the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootKeyGroup {
    /// SHA-256 over everything that is enforced of the boot, hex.
    pub boot_key: String,
    /// Members in it.
    pub size: u64,
}

/// The boot that stands for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupBoot {
    /// The boot.
    pub boot_id: String,
    /// SHA-256 of its log, hex.
    pub log_sha256: String,
}

/// Whether a boot is that of more than half of those that are compared.
pub fn majority(largest: u64, compared: u64) -> Majority {
    match () {
        () if compared < LEAST_COMPARED => Majority::TooFew,
        () if largest.saturating_mul(2) > compared => Majority::Found,
        () => Majority::None,
    }
}

/// Notes what a VM booted, or that it is not known.
pub fn set_boot_key(tx: &mut dyn Tx, vm_id: &str, boot_key: Option<&str>) -> Result<(), StoreError> {
    tx.execute("UPDATE vms SET boot_key = $2 WHERE id = $1", params![vm_id, boot_key])?;
    Ok(())
}

/// SELECT over the members of scale sets; `where_` limits them.
fn head() -> String {
    let by_status: String = WORST_FIRST
        .iter()
        .map(|s| format!(", CAST(SUM(CASE WHEN status = '{s}' THEN n ELSE 0 END) AS BIGINT)"))
        .collect();
    format!(
        "SELECT group_name, scale_set, CAST(SUM(n) AS BIGINT){by_status}, CAST(SUM(compared) AS BIGINT), \
         COUNT(DISTINCT CASE WHEN compared > 0 THEN boot_key END), CAST(MAX(same_boot) AS BIGINT) FROM ("
    )
}

fn inner() -> String {
    format!(
        "SELECT group_name, scale_set, boot_key, status, COUNT(*) AS n, \
         SUM(CASE WHEN {COMPARED} THEN 1 ELSE 0 END) AS compared, \
         SUM(SUM(CASE WHEN {COMPARED} THEN 1 ELSE 0 END)) OVER (PARTITION BY group_name, scale_set, boot_key) \
         AS same_boot FROM vms"
    )
}

const INNER_GROUP: &str = " GROUP BY group_name, scale_set, boot_key, status) members \
     GROUP BY group_name, scale_set ORDER BY group_name, scale_set";

fn read(row: Row) -> Result<ScaleSet, StoreError> {
    let mut c = row.columns();
    let (group, name, members) = (c.text()?, c.text()?, c.u64()?);
    let mut by_status = Vec::with_capacity(WORST_FIRST.len());
    for status in WORST_FIRST {
        by_status.push((status, c.u64()?));
    }
    let (compared, boots, largest) = (c.u64()?, c.u64()?, c.opt_u64()?.unwrap_or(0));
    let majority = majority(largest, compared);
    let count = |of: VmStatus| by_status.iter().find(|(s, _)| *s == of).map_or(0, |(_, n)| *n);
    Ok(ScaleSet {
        group,
        name,
        members,
        healthy: count(VmStatus::Healthy),
        worst: by_status.iter().find(|(_, n)| *n > 0).map_or(VmStatus::Pending, |(s, _)| *s),
        compared,
        boots,
        majority,
        odd: if majority == Majority::Found { compared.saturating_sub(largest) } else { 0 },
    })
}

/// A page of scale sets, ordered by group, then name. Names of the next page's sets are found by index; only members of
/// the sets on the page are counted.
pub fn list(tx: &mut dyn Tx, query: &ScaleSetQuery) -> Result<Page<ScaleSet>, StoreError> {
    let key: Option<[String; 2]> = decode_cursor("scale-sets", query.cursor.as_deref())?;
    let limit = page_rows(query.limit);
    let (head, inner) = (head(), inner());
    let mut names = Select::new("SELECT group_name, scale_set FROM vms");
    names.and("scale_set IS NOT NULL", &[]).and_if("group_name = ?", query.group.as_ref());
    if let Some([group, name]) = &key {
        names.and("(group_name, scale_set) > (?, ?)", params![group, name]);
    }
    let names = names.page(tx, " GROUP BY group_name, scale_set ORDER BY group_name, scale_set", limit)?;
    let (Some(first), Some(last)) = (names.first().cloned(), names.last().cloned()) else {
        return Ok(Page { items: Vec::new(), next_cursor: None });
    };
    let ((mut first, mut last), sql) = (
        (first.columns(), last.columns()),
        format!(
            "{head}{inner} WHERE scale_set IS NOT NULL AND (group_name, scale_set) >= ($1, $2) \
             AND (group_name, scale_set) <= ($3, $4){INNER_GROUP}"
        ),
    );
    let rows = tx.query(&sql, params![&first.text()?, &first.text()?, &last.text()?, &last.text()?])?;
    page(rows, limit, read, |s| encode_cursor("scale-sets", &[&s.group, &s.name]))
}

/// One scale set; `None` when it has no members.
pub fn by_name(tx: &mut dyn Tx, group: &str, name: &str) -> Result<Option<ScaleSet>, StoreError> {
    let sql = format!("{}{} WHERE group_name = $1 AND scale_set = $2{INNER_GROUP}", head(), inner());
    query_one(tx, &sql, params![group, name])?.map(read).transpose()
}

/// Compared members of a scale set by what they booted, largest group first; at most `limit` groups.
pub fn boot_groups(
    tx: &mut dyn Tx,
    group: &str,
    name: &str,
    limit: u32,
) -> Result<Vec<BootKeyGroup>, StoreError> {
    let sql = format!(
        "SELECT boot_key, COUNT(*) FROM vms WHERE group_name = $1 AND scale_set = $2 AND {COMPARED} \
         GROUP BY boot_key ORDER BY COUNT(*) DESC, boot_key LIMIT $3"
    );
    let rows = tx.query(&sql, params![group, name, limit])?;
    rows.into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(BootKeyGroup { boot_key: c.text()?, size: c.u64()? })
        })
        .collect()
}

/// Compared members of a scale set that booted this, at most `limit`, by name.
pub fn group_members(
    tx: &mut dyn Tx,
    group: &str,
    name: &str,
    boot_key: &str,
    limit: u32,
) -> Result<Vec<BootGroupMember>, StoreError> {
    let sql = format!(
        "SELECT id, name, status FROM vms WHERE group_name = $1 AND scale_set = $2 AND boot_key = $3 AND {COMPARED} \
         ORDER BY name LIMIT $4"
    );
    let rows = tx.query(&sql, params![group, name, boot_key, limit])?;
    rows.into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(BootGroupMember { vm_id: c.text()?, vm_name: c.text()?, status: c.word()? })
        })
        .collect()
}

/// The boot that stands for a group: that of its member with the lowest id, so that it stays the same while the group
/// does.
pub fn group_boot(
    tx: &mut dyn Tx,
    group: &str,
    name: &str,
    boot_key: &str,
) -> Result<Option<GroupBoot>, StoreError> {
    let sql = format!(
        "SELECT current_boot_id, log_sha256 FROM vms WHERE group_name = $1 AND scale_set = $2 AND boot_key = $3 \
         AND {COMPARED} AND current_boot_id IS NOT NULL AND log_sha256 IS NOT NULL ORDER BY id LIMIT 1"
    );
    let Some(row) = query_one(tx, &sql, params![group, name, boot_key])? else { return Ok(None) };
    let mut c = row.columns();
    Ok(Some(GroupBoot { boot_id: c.text()?, log_sha256: c.text()? }))
}

/// Compared members of a scale set that booted this.
pub fn group_size(tx: &mut dyn Tx, group: &str, name: &str, boot_key: &str) -> Result<u64, StoreError> {
    let sql = format!(
        "SELECT COUNT(*) FROM vms WHERE group_name = $1 AND scale_set = $2 AND boot_key = $3 AND {COMPARED}"
    );
    query_one(tx, &sql, params![group, name, boot_key])?.map_or(Ok(0), |row| row.columns().u64())
}
