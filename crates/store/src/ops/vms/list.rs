//! Which VMs there are: summaries, pages, counts.

use veriboot_wire::{Page, VmQuery, VmSort, VmStatus, VmSummary};

use crate::StoreError;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, params, query_one};

/// VMs that are sorted for a page.
const FEW: u32 = 1000;

const SUMMARY: &str = "SELECT v.id, v.name, v.group_name, v.scale_set, v.image, v.status, v.status_detail, v.facts, \
     v.security_type, v.enrolled_at, v.last_attested_at, v.last_seen_at, \
     (SELECT b.first_attested_at FROM boots b WHERE b.id = v.current_boot_id), \
     (SELECT COUNT(*) FROM alerts a WHERE a.vm_id = v.id AND a.is_open = 1), \
     (SELECT COUNT(*) FROM proposals p WHERE p.id = v.proposal_id AND p.state = 'open') FROM vms v";

fn read_summary(row: Row) -> Result<VmSummary, StoreError> {
    let mut c = row.columns();
    Ok(VmSummary {
        id: c.text()?,
        name: c.text()?,
        group: c.text()?,
        scale_set: c.opt_text()?,
        image: c.opt_text()?,
        status: c.word()?,
        status_detail: c.opt_text()?,
        facts: c.json()?,
        security_type: c.word()?,
        enrolled_at: c.time()?,
        last_attested_at: c.opt_time()?,
        last_seen_at: c.opt_time()?,
        last_boot_at: c.opt_time()?,
        open_alerts: c.u32()?,
        open_proposals: c.u32()?,
    })
}

/// What lists show about one VM.
pub fn summary(tx: &mut dyn Tx, id: &str) -> Result<Option<VmSummary>, StoreError> {
    query_one(tx, &format!("{SUMMARY} WHERE v.id = $1"), params![id])?.map(read_summary).transpose()
}

/// A page of VMs, by [`VmQuery::sort`].
pub fn list(tx: &mut dyn Tx, query: &VmQuery) -> Result<Page<VmSummary>, StoreError> {
    let sort = query.sort.unwrap_or(VmSort::Name);
    // Above every name that starts with the prefix, since TEXT is ordered by bytes.
    let prefix_end = query.name_prefix.as_ref().map(|p| format!("{p}\u{10ffff}"));
    let limit = page_rows(query.limit);
    let mut select = Select::new(SUMMARY);
    select
        .and_if("v.group_name = ?", query.group.as_ref())
        .and_if("v.scale_set = ?", query.scale_set.as_ref())
        .and_if("v.image = ?", query.image.as_ref())
        .and_if("v.status = ?", query.status.map(VmStatus::as_str));
    match (&query.name_prefix, &prefix_end) {
        // Few are found by their names and sorted; of many, a page is soon full along the index in the order of the list, which
        // an expression makes the databases take.
        (Some(from), Some(end)) if few_between(tx, from, end)? => {
            select.and("v.name >= ?", params![from]).and("v.name < ?", params![end])
        }
        (Some(from), Some(end)) => {
            select.and("v.name || '' >= ?", params![from]).and("v.name || '' < ?", params![end])
        }
        _ => &mut select,
    };
    match sort {
        VmSort::Name => {
            let key: Option<[String; 2]> = decode_cursor("vms", query.cursor.as_deref())?;
            if let Some([group, name]) = &key {
                select.and("(v.group_name, v.name) > (?, ?)", params![group, name]);
            }
            let rows = select.page(tx, " ORDER BY v.group_name, v.name", limit)?;
            page(rows, limit, read_summary, |vm| encode_cursor("vms", &[&vm.group, &vm.name]))
        }
        // An id begins with the time of the first enrolment.
        VmSort::Enrolled => {
            let key: Option<[String; 1]> = decode_cursor("vms-enrolled", query.cursor.as_deref())?;
            if let Some([id]) = &key {
                select.and("v.id < ?", params![id]);
            }
            let rows = select.page(tx, " ORDER BY v.id DESC", limit)?;
            page(rows, limit, read_summary, |vm| encode_cursor("vms-enrolled", &[&vm.id]))
        }
    }
}

/// Whether there are no more names from `from` on and before `end` than are quickly sorted.
fn few_between(tx: &mut dyn Tx, from: &str, end: &str) -> Result<bool, StoreError> {
    let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM vms WHERE name >= $1 AND name < $2 LIMIT $3) AS found";
    let found = query_one(tx, sql, params![from, end, FEW + 1])?.map_or(Ok(0), |row| row.columns().u32())?;
    Ok(found <= FEW)
}

/// Number of VMs in each status, of one group or of all.
pub fn counts_by_status(tx: &mut dyn Tx, group: Option<&str>) -> Result<Vec<(VmStatus, u64)>, StoreError> {
    let mut select = Select::new("SELECT status, COUNT(*) FROM vms");
    select.and_if("group_name = ?", group);
    let rows = select.page(tx, " GROUP BY status ORDER BY status", 100)?;
    rows.into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok((c.word()?, c.u64()?))
        })
        .collect()
}
