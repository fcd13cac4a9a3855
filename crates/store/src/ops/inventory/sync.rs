//! One look at a source, written in one transaction: what is new, different, gone and there again.
//!
//! The items that are said and those that are known are walked side by side in the order of their keys, and written in
//! batches: the number of statements grows with the batches, and no more than one batch of known items is held.
//!
//! What a document says was so when it was made, not when it is synced: what is stopped or gone is so as of then
//! (`stopped_as_of`, `gone_as_of`). Where a document does not say when it was made, the next one that does tells.

use std::collections::BTreeMap;

use veriboot_wire::{
    InventoryChange, InventoryChangeKind, InventoryDifference, InventoryFacts, InventoryItem, MatchedBy,
    PowerState, Time,
};

use super::changes::{NewChange, note};
use super::{COLUMNS, read_item, rows_at_once, tuples};
use crate::tx::{Param, Tx, json, params};
use crate::{StoreError, new_id};

/// Changes that a sync shows at most; all of them are noted.
pub const MAX_SHOWN_CHANGES: usize = 1000;
/// Items that are read or written by one statement.
const BATCH: usize = 500;
/// Columns that are written.
const WIDTH: usize = 29;

/// What is to be synced.
#[derive(Clone, Copy, Debug)]
pub struct Sync<'a> {
    /// The source.
    pub source: &'a str,
    /// What it says, in the order of the keys, each key once.
    pub items: &'a [InventoryFacts],
    /// Whether items that are missing are gone.
    pub complete: bool,
    /// Whether nothing is written.
    pub dry_run: bool,
    /// When the document was made, at the latest `at`; `None` when that is not known, or a newer one was synced before.
    pub exported_at: Option<Time>,
    /// Who syncs.
    pub by: &'a str,
    /// When.
    pub at: Time,
}

/// What a sync did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// New items.
    pub added: u64,
    /// Different ones.
    pub changed: u64,
    /// Missing ones.
    pub gone: u64,
    /// Ones that were gone.
    pub returned: u64,
    /// Same as before.
    pub unchanged: u64,
    /// Items that are an enrolled VM now and were not before.
    pub matched: u64,
    /// Items that were there before.
    pub before: u64,
    /// The first changes, by key.
    pub changes: Vec<InventoryChange>,
    /// Changes beyond those.
    pub more_changes: u64,
    /// Items that are there, and new or different, and are the same VM or none as before.
    pub touched: Vec<String>,
    /// Items that are gone, or are another VM than before.
    pub moved: Vec<String>,
    /// VMs that an item no longer is.
    pub left: Vec<String>,
    /// Items that were stopped or gone before, and it is known now as of when.
    pub dated: u64,
}

/// Items that this document says nothing new of, but as of when they are stopped, or gone.
#[derive(Default)]
struct Undated {
    stopped: Vec<String>,
    gone: Vec<String>,
}

/// An item to write.
struct Pending<'a> {
    known: Option<InventoryItem>,
    /// What is said; `None`: it is gone.
    said: Option<&'a InventoryFacts>,
}

/// Brings the items of a source up to what it says. The source must exist, except for a dry run.
pub fn sync(tx: &mut dyn Tx, sync: &Sync<'_>) -> Result<Outcome, StoreError> {
    let mut outcome = Outcome::default();
    let mut waiting: Vec<Pending<'_>> = Vec::with_capacity(BATCH);
    let mut undated = Undated::default();
    let mut said = sync.items.iter().peekable();
    let mut after = String::new();
    let sql = format!(
        "SELECT {COLUMNS} FROM inventory_vms i WHERE i.source = $1 AND i.item_key > $2 ORDER BY i.item_key LIMIT $3"
    );
    let batch = i64::try_from(BATCH).unwrap_or(i64::MAX);
    loop {
        let rows = tx.query(&sql, params![sync.source, &after, batch])?;
        let last_page = rows.len() < BATCH;
        for row in rows {
            let known = read_item(row)?;
            after.clone_from(&known.facts.key);
            outcome.before += u64::from(known.gone_at.is_none());
            while let Some(new) = said.next_if(|facts| facts.key < known.facts.key) {
                waiting.push(Pending { known: None, said: Some(new) });
            }
            match said.next_if(|facts| facts.key == known.facts.key) {
                Some(same) if known.gone_at.is_none() && known.facts == *same => {
                    outcome.unchanged += 1;
                    if known.stopped_at.is_some() && known.stopped_as_of.is_none() {
                        undated.stopped.push(known.id);
                    }
                }
                Some(other) => waiting.push(Pending { known: Some(known), said: Some(other) }),
                None if sync.complete && known.gone_at.is_none() => {
                    waiting.push(Pending { known: Some(known), said: None });
                }
                None if sync.complete && known.gone_as_of.is_none() => undated.gone.push(known.id),
                None => {}
            }
            if waiting.len() >= BATCH {
                write(tx, sync, &mut waiting, &mut outcome)?;
            }
        }
        date(tx, sync, &mut undated, &mut outcome)?;
        if last_page {
            break;
        }
    }
    for new in said {
        waiting.push(Pending { known: None, said: Some(new) });
        if waiting.len() >= BATCH {
            write(tx, sync, &mut waiting, &mut outcome)?;
        }
    }
    write(tx, sync, &mut waiting, &mut outcome)?;
    if !sync.dry_run {
        let there = outcome.unchanged + outcome.added + outcome.changed + outcome.returned;
        let there = if sync.complete { there } else { outcome.before + outcome.added + outcome.returned };
        tx.execute("UPDATE inventory_sources SET items = $2 WHERE name = $1", params![sync.source, there])?;
    }
    Ok(outcome)
}

/// Enrolled VMs by endorsement key and group.
type Enrolled = BTreeMap<(String, String), String>;

/// Which enrolled VMs have these endorsement keys.
fn enrolled(tx: &mut dyn Tx, waiting: &[Pending<'_>]) -> Result<Enrolled, StoreError> {
    let keys: Vec<Param<'_>> = waiting
        .iter()
        .filter_map(|pending| pending.said?.ek_sha256.as_ref())
        .map(Param::from)
        .take(waiting.len())
        .collect();
    if keys.is_empty() {
        return Ok(Enrolled::new());
    }
    let sql =
        format!("SELECT ek_sha256, group_name, id FROM vms WHERE ek_sha256 IN {}", tuples(1, 1, keys.len()));
    tx.query(&sql, &keys)?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(((c.text()?, c.text()?), c.text()?))
        })
        .collect()
}

/// Which VM an item is: the one of its group with its endorsement key, else the one that an operator said. Whoever owns a
/// machine of a cloud writes its tags, and must not speak for a VM of another group.
fn matched<'v>(
    known: Option<&'v InventoryItem>,
    said: &InventoryFacts,
    enrolled: &'v Enrolled,
) -> (Option<&'v str>, Option<MatchedBy>, Option<&'v str>) {
    let key = said.ek_sha256.as_ref().map(|ek| (ek.clone(), said.group.clone()));
    if let Some(vm) = key.and_then(|key| enrolled.get(&key)) {
        return (Some(vm), Some(MatchedBy::VerifiedIdentity), None);
    }
    match known {
        Some(item) if matches!(item.matched_by, Some(MatchedBy::Link | MatchedBy::Suggestion)) => {
            (item.vm_id.as_deref(), item.matched_by, item.linked_by.as_deref())
        }
        _ => (None, None, None),
    }
}

/// One change, on its way into the table and the answer.
struct Noted<'a> {
    item_id: String,
    facts: &'a InventoryFacts,
    kind: InventoryChangeKind,
    differences: Vec<InventoryDifference>,
}

fn write<'a>(
    tx: &mut dyn Tx,
    sync: &Sync<'a>,
    waiting: &mut Vec<Pending<'a>>,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let enrolled = enrolled(tx, waiting)?;
    let mut noted: Vec<Noted<'_>> = Vec::with_capacity(waiting.len());
    let mut upserts: Vec<InventoryItem> = Vec::with_capacity(waiting.len());
    let mut gone: Vec<&str> = Vec::new();
    for pending in waiting.iter() {
        let known = pending.known.as_ref();
        let (Some(said), id) = (pending.said, known.map_or_else(|| new_id(sync.at), |item| item.id.clone()))
        else {
            let Some(item) = known else { continue };
            outcome.gone += 1;
            gone.push(&item.id);
            outcome.moved.push(item.id.clone());
            let kind = InventoryChangeKind::Gone;
            noted.push(Noted { item_id: item.id.clone(), facts: &item.facts, kind, differences: Vec::new() });
            continue;
        };
        let (kind, differences) = match known {
            None => (InventoryChangeKind::Added, Vec::new()),
            Some(item) if item.gone_at.is_some() => {
                (InventoryChangeKind::Returned, differences(&item.facts, said))
            }
            Some(item) => (InventoryChangeKind::Changed, differences(&item.facts, said)),
        };
        match kind {
            InventoryChangeKind::Added => outcome.added += 1,
            InventoryChangeKind::Returned => outcome.returned += 1,
            _ => outcome.changed += 1,
        }
        noted.push(Noted { item_id: id.clone(), facts: said, kind, differences });
        let (vm_id, matched_by, linked_by) = matched(known, said, &enrolled);
        let linked = known.filter(|_| linked_by.is_some());
        // What was gone and is there again, stopped, is stopped from now on.
        let (stopped_at, stopped_as_of) =
            stopped(said.power, known.filter(|item| item.gone_at.is_none()), sync);
        let before = known.and_then(|item| item.vm_id.as_deref());
        if vm_id == before && known.is_none_or(|item| item.gone_at.is_none()) {
            outcome.touched.push(id.clone());
        } else {
            outcome.moved.push(id.clone());
        }
        if vm_id != before {
            outcome.left.extend(before.map(str::to_owned));
            outcome.matched += u64::from(vm_id.is_some());
            let kind = match vm_id {
                Some(_) => InventoryChangeKind::Linked,
                None => InventoryChangeKind::Unlinked,
            };
            let difference = InventoryDifference {
                field: "vm_id".to_owned(),
                from: before.map(str::to_owned),
                to: vm_id.map(str::to_owned),
            };
            noted.push(Noted { item_id: id.clone(), facts: said, kind, differences: vec![difference] });
        }
        upserts.push(InventoryItem {
            id,
            source: sync.source.to_owned(),
            facts: said.clone(),
            first_seen_at: known.map_or(sync.at, |item| item.first_seen_at),
            changed_at: sync.at,
            gone_at: None,
            stopped_at,
            gone_as_of: None,
            stopped_as_of,
            vm_id: vm_id.map(str::to_owned),
            matched_by,
            linked_by: linked_by.map(str::to_owned),
            agreed_by: linked.map(|item| item.agreed_by.clone()).unwrap_or_default(),
            revision: known.map_or(1, |item| item.revision.saturating_add(1)),
        });
    }
    if !sync.dry_run {
        for part in upserts.chunks(rows_at_once(tx.backend())) {
            upsert(tx, part)?;
        }
        mark_gone(tx, &gone, sync)?;
    }
    tell(tx, sync, noted, outcome)?;
    waiting.clear();
    Ok(())
}

/// Notes changes in the table and shows the first of them.
fn tell(
    tx: &mut dyn Tx,
    sync: &Sync<'_>,
    noted: Vec<Noted<'_>>,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    let mut ids = Vec::new();
    if !sync.dry_run {
        let rows: Vec<NewChange<'_>> = noted
            .iter()
            .map(|n| NewChange {
                at: sync.at,
                source: sync.source,
                item_id: &n.item_id,
                key: &n.facts.key,
                name: &n.facts.name,
                group: &n.facts.group,
                kind: n.kind,
                differences: &n.differences,
                by: sync.by,
            })
            .collect();
        ids = note(tx, &rows)?;
    }
    let mut ids = ids.into_iter();
    for n in noted {
        let id = ids.next();
        if outcome.changes.len() >= MAX_SHOWN_CHANGES {
            outcome.more_changes += 1;
            continue;
        }
        outcome.changes.push(InventoryChange {
            item_id: id.as_ref().map(|_| n.item_id),
            id,
            at: sync.at,
            source: sync.source.to_owned(),
            key: n.facts.key.clone(),
            name: n.facts.name.clone(),
            group: n.facts.group.clone(),
            kind: n.kind,
            differences: n.differences,
            by: sync.by.to_owned(),
        });
    }
    Ok(())
}

fn upsert(tx: &mut dyn Tx, items: &[InventoryItem]) -> Result<(), StoreError> {
    let tags = items
        .iter()
        .map(|item| Ok((json(&item.facts.tags)?, json(&item.agreed_by)?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let mut values: Vec<Param<'_>> = Vec::with_capacity(items.len().saturating_mul(WIDTH));
    for (item, (tags, agreed)) in items.iter().zip(&tags) {
        let f = &item.facts;
        values.extend_from_slice(params![
            &item.id,
            &item.source,
            &f.key,
            &f.name,
            &f.group,
            f.scale_set.as_ref(),
            &f.platform,
            f.os.as_ref(),
            f.region.as_ref(),
            f.power.as_str(),
            f.security_type.as_str(),
            f.confidential_kind.as_ref(),
            f.secure_boot.as_str(),
            f.vtpm.as_str(),
            f.machine_uuid.as_ref(),
            f.cloud_id.as_ref(),
            f.ek_sha256.as_ref(),
            tags,
            item.first_seen_at,
            item.changed_at,
            item.gone_at,
            item.stopped_at,
            item.gone_as_of,
            item.stopped_as_of,
            item.vm_id.as_ref(),
            item.matched_by.map(MatchedBy::as_str),
            item.linked_by.as_ref(),
            agreed,
            item.revision,
        ]);
    }
    let columns: Vec<&str> = COLUMNS.split(", ").map(|c| c.trim().trim_start_matches("i.")).collect();
    let set: Vec<String> = columns
        .iter()
        .filter(|c| !matches!(**c, "id" | "source" | "item_key" | "first_seen_at"))
        .map(|c| format!("{c} = excluded.{c}"))
        // What was told of one VM says nothing about another.
        .chain(std::iter::once(
            "contradicted = CASE WHEN inventory_vms.vm_id = excluded.vm_id THEN inventory_vms.contradicted END"
                .to_owned(),
        ))
        .collect();
    let sql = format!(
        "INSERT INTO inventory_vms ({}) VALUES {} ON CONFLICT (source, item_key) DO UPDATE SET {}",
        columns.join(", "),
        tuples(1, items.len(), WIDTH),
        set.join(", ")
    );
    tx.execute(&sql, &values)?;
    Ok(())
}

/// Since when something is stopped, and as of when that is known.
fn stopped(
    power: PowerState,
    known: Option<&InventoryItem>,
    sync: &Sync<'_>,
) -> (Option<Time>, Option<Time>) {
    match power {
        PowerState::Stopped => {
            let before = known.and_then(|item| item.stopped_at);
            let as_of = known.and_then(|item| item.stopped_as_of).or(sync.exported_at);
            let at = before.unwrap_or(sync.at);
            (Some(as_of.map_or(at, |as_of| as_of.min(at))), as_of)
        }
        PowerState::Running | PowerState::Unknown => (None, None),
    }
}

fn mark_gone(tx: &mut dyn Tx, ids: &[&str], sync: &Sync<'_>) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let since = sync.exported_at.unwrap_or(sync.at);
    let mut values: Vec<Param<'_>> = params![sync.at, since, sync.exported_at].to_vec();
    values.extend(ids.iter().map(|id| Param::from(*id)));
    let sql = format!(
        "UPDATE inventory_vms SET gone_at = $2, gone_as_of = $3, changed_at = $1, revision = revision + 1 WHERE id IN {}",
        tuples(4, 1, ids.len())
    );
    tx.execute(&sql, &values)?;
    Ok(())
}

/// Says of items as of when they are stopped or gone, where no document before this one told.
fn date(
    tx: &mut dyn Tx,
    sync: &Sync<'_>,
    undated: &mut Undated,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    let as_of = sync.exported_at.filter(|_| !sync.dry_run);
    for (column, ids) in [("stopped", &mut undated.stopped), ("gone", &mut undated.gone)] {
        if let Some(as_of) = as_of.filter(|_| !ids.is_empty()) {
            let mut values: Vec<Param<'_>> = params![as_of].to_vec();
            values.extend(ids.iter().map(Param::from));
            let sql = format!(
                "UPDATE inventory_vms SET {column}_as_of = $1, revision = revision + 1, \
                 {column}_at = CASE WHEN {column}_at > $1 THEN $1 ELSE {column}_at END WHERE id IN {}",
                tuples(2, 1, ids.len())
            );
            outcome.dated += tx.execute(&sql, &values)?;
        }
        ids.clear();
    }
    Ok(())
}

/// What is different, in the order of the members.
fn differences(old: &InventoryFacts, new: &InventoryFacts) -> Vec<InventoryDifference> {
    let mut all = Vec::new();
    let mut differ = |field: &str, from: Option<&str>, to: Option<&str>| {
        if from != to {
            all.push(InventoryDifference {
                field: field.to_owned(),
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
            });
        }
    };
    differ("name", Some(&old.name), Some(&new.name));
    differ("group", Some(&old.group), Some(&new.group));
    differ("scale_set", old.scale_set.as_deref(), new.scale_set.as_deref());
    differ("platform", Some(&old.platform), Some(&new.platform));
    differ("os", old.os.as_deref(), new.os.as_deref());
    differ("region", old.region.as_deref(), new.region.as_deref());
    differ("power", Some(old.power.as_str()), Some(new.power.as_str()));
    differ("security_type", Some(old.security_type.as_str()), Some(new.security_type.as_str()));
    differ("confidential_kind", old.confidential_kind.as_deref(), new.confidential_kind.as_deref());
    differ("secure_boot", Some(old.secure_boot.as_str()), Some(new.secure_boot.as_str()));
    differ("vtpm", Some(old.vtpm.as_str()), Some(new.vtpm.as_str()));
    differ("machine_uuid", old.machine_uuid.as_deref(), new.machine_uuid.as_deref());
    differ("cloud_id", old.cloud_id.as_deref(), new.cloud_id.as_deref());
    differ("ek_sha256", old.ek_sha256.as_deref(), new.ek_sha256.as_deref());
    for (name, value) in &old.tags {
        differ(&format!("tags.{name}"), Some(value), new.tags.get(name).map(String::as_str));
    }
    for (name, value) in &new.tags {
        if !old.tags.contains_key(name) {
            differ(&format!("tags.{name}"), None, Some(value));
        }
    }
    all
}
