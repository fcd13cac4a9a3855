//! The inventory: documents become items in one transaction, whoever brings them.
//!
//! | question | file |
//! |---|---|
//! | What does a file or folder list? | `files.rs` |
//! | Which sources does the service read by itself, and when? | `configured.rs` |
//! | When was a document made, and what is it taken for? | `made.rs` |
//! | Who contradicts whom about a VM? | `disagree.rs` |
//! | What does a list show beside an item? | `rows.rs` |

pub mod files;

pub(crate) mod configured;
mod disagree;
mod made;
mod rows;

pub use configured::look as read_configured;
pub(crate) use disagree::{DISAGREEMENTS, disagreements};
pub(crate) use rows::{of_vm, rows};

use serde_json::json;
use veriboot_inventory::Listing;
use veriboot_store::inventory::{self, NewSource, Outcome, Sync};
use veriboot_store::{Tx, assessments, audit, events};
use veriboot_wire::{InventoryFormat, InventorySource, InventorySynced, PowerState, Severity, Time, counted};

use crate::problem::kinds;
use crate::{ApiError, AppState, posture, silence};

/// A complete document may make at most half of the known items go, and any number below this.
const SHRINK_LEAST: u64 = 10;

/// Items that a sync assesses itself.
const ASSESSED_AT_ONCE: usize = 1000;

/// A document, read and put together.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// The source.
    pub source: String,
    /// What it lists, merged.
    pub listing: Listing,
    /// Whether what is missing is gone.
    pub complete: bool,
    /// Whether nothing is written.
    pub dry_run: bool,
    /// Takes a document in which most are missing.
    pub allow_shrink: bool,
    /// Who brings it.
    pub by: String,
    /// When the document was made, where that is said.
    pub exported_at: Option<Time>,
    /// SHA-256 of the bytes, where the same need not be read again.
    pub document_sha256: Option<String>,
}

/// The refusal that a document gets which cannot be read.
pub(crate) fn unreadable(error: &veriboot_inventory::ReadError) -> ApiError {
    use veriboot_inventory::ReadError as E;
    let kind = match error {
        E::TooLarge { .. } => &kinds::INVENTORY_TOO_LARGE,
        E::NotUtf8 { .. } => &kinds::INVENTORY_NOT_UTF8,
        E::Unrecognised { .. } => &kinds::INVENTORY_FORMAT_UNKNOWN,
        E::Syntax { .. } => &kinds::INVENTORY_MALFORMED,
        E::Element { .. } => &kinds::INVENTORY_ELEMENT,
        E::TooMany { .. } => &kinds::INVENTORY_TOO_MANY,
        E::Duplicate { .. } | E::DuplicateElement { .. } => &kinds::INVENTORY_DUPLICATE,
    };
    ApiError::new(kind, error.to_string()).hint(error.hint())
}

/// The refusal for a source that is no longer used.
pub(crate) fn check_used(source: &InventorySource) -> Result<(), ApiError> {
    match source.retired_at {
        Some(at) => {
            let message = format!("source {} is no longer used since {at}", source.name);
            Err(ApiError::new(&kinds::INVENTORY_SOURCE_RETIRED, message))
        }
        None => Ok(()),
    }
}

/// Brings the items of a source up to a document, and makes the source when it is new.
///
/// # Errors
/// `inventory-source-retired`, `inventory-shrinks`, or what became of the database; nothing is written then.
pub(crate) async fn apply(state: &AppState, look: Look) -> Result<InventorySynced, ApiError> {
    let now = state.clock.now();
    let look = std::sync::Arc::new(look);
    let work = std::sync::Arc::clone(&look);
    let synced = state.write(move |tx| written(tx, &work, now)).await?;
    if !synced.dry_run && changes(&synced) > 0 {
        let InventorySynced { source, added, changed, gone, returned, .. } = &synced;
        tracing::info!(source, by = look.by, added, changed, gone, returned, "inventory synced");
    }
    Ok(synced)
}

fn changes(synced: &InventorySynced) -> u64 {
    synced.added + synced.changed + synced.gone + synced.returned
}

fn written(tx: &mut dyn Tx, look: &Look, now: Time) -> Result<InventorySynced, ApiError> {
    let known = inventory::source(tx, &look.source)?;
    let made = made::of(look.exported_at, known.as_ref(), now)?;
    match &known {
        Some(source) => check_used(source)?,
        None if look.dry_run => {}
        None => {
            let new = NewSource {
                name: &look.source,
                format: None,
                group: None,
                comment: None,
                by: &look.by,
                at: now,
            };
            inventory::put_source(tx, &new)?;
        }
    }
    let sync = Sync {
        source: &look.source,
        items: &look.listing.items,
        complete: look.complete,
        dry_run: look.dry_run,
        exported_at: made.as_of,
        by: &look.by,
        at: now,
    };
    let outcome = inventory::sync(tx, &sync)?;
    let shrinks = outcome.gone >= SHRINK_LEAST && outcome.gone.saturating_mul(2) > outcome.before;
    if shrinks && !look.allow_shrink {
        let message = format!(
            "{} of {} of source {} missing in the document",
            outcome.gone,
            counted(outcome.before, "VM"),
            look.source
        );
        return Err(ApiError::new(&kinds::INVENTORY_SHRINKS, message));
    }
    if !look.dry_run {
        assess(tx, &look.source, &outcome, now)?;
        if outcome.added + outcome.changed + outcome.gone + outcome.returned + outcome.dated > 0 {
            let left = inventory::stale_and_left(tx, &look.source, made.as_of, now)?;
            silence::let_go(tx, &left, now)?;
        }
        inventory::synced(tx, &look.source, look.document_sha256.as_deref(), made.as_of, now)?;
    }
    let absent = outcome.gone > 0 || look.listing.items.iter().any(|item| item.power == PowerState::Stopped);
    let mut synced = told(look, outcome, now);
    synced.exported_at = made.as_of;
    synced.notes.extend(made.note.filter(|_| absent));
    if !look.dry_run && changes(&synced) > 0 {
        tell(tx, &synced, &look.by)?;
    }
    Ok(synced)
}

/// Assesses what changed: at once, or in the background when it is much. What is gone or found its VM loses its own
/// assessments in any case.
fn assess(tx: &mut dyn Tx, source: &str, outcome: &Outcome, now: Time) -> Result<(), ApiError> {
    posture::refresh_items(tx, &outcome.moved, now)?;
    posture::refresh_vms(tx, &outcome.left, now)?;
    if outcome.touched.len() <= ASSESSED_AT_ONCE {
        posture::refresh_items(tx, &outcome.touched, now)?;
    } else {
        assessments::enqueue(tx, &format!("inventory {source} synced"), now)?;
    }
    Ok(())
}

fn told(look: &Look, outcome: Outcome, now: Time) -> InventorySynced {
    InventorySynced {
        source: look.source.clone(),
        format: look.listing.format,
        at: now,
        dry_run: look.dry_run,
        complete: look.complete,
        exported_at: None,
        items: u64::try_from(look.listing.items.len()).unwrap_or(u64::MAX),
        added: outcome.added,
        changed: outcome.changed,
        gone: outcome.gone,
        returned: outcome.returned,
        unchanged: outcome.unchanged,
        matched: outcome.matched,
        changes: outcome.changes,
        more_changes: outcome.more_changes,
        notes: look.listing.notes.clone(),
    }
}

/// Audit entry and event of a sync that changed something.
fn tell(tx: &mut dyn Tx, synced: &InventorySynced, by: &str) -> Result<(), ApiError> {
    let InventorySynced { source, added, changed, gone, returned, items, matched, .. } = synced;
    let detail = json!({
        "format": synced.format, "complete": synced.complete, "items": items, "added": added, "changed": changed,
        "gone": gone, "returned": returned, "matched": matched,
    });
    let entry = audit::NewEntry {
        at: synced.at,
        actor: by,
        action: "inventory.sync",
        target: source,
        detail: &detail,
    };
    audit::append(tx, &entry)?;
    let data = json!({
        "message": format!(
            "inventory {source}: {added} added, {changed} changed, {gone} gone, {returned} returned"
        ),
        "items": items, "added": added, "changed": changed, "gone": gone, "returned": returned, "by": by,
    });
    let event = events::NewEvent {
        at: synced.at,
        kind: "inventory.synced",
        severity: Severity::Info,
        group: None,
        scale_set: None,
        vm_id: None,
        vm_name: None,
        subject: Some(source),
        data: &data,
    };
    events::append(tx, &event)?;
    Ok(())
}

/// Stops using a source: it takes no more documents, and its items are gone. Nothing is deleted.
///
/// # Errors
/// Of the database.
pub(crate) fn retire(tx: &mut dyn Tx, source: &str, by: &str, now: Time) -> Result<u64, ApiError> {
    let sync = Sync { source, items: &[], complete: true, dry_run: false, exported_at: None, by, at: now };
    let outcome = inventory::sync(tx, &sync)?;
    inventory::retire(tx, source, now)?;
    assess(tx, source, &outcome, now)?;
    let detail = json!({ "gone": outcome.gone });
    let entry = audit::NewEntry {
        at: now,
        actor: by,
        action: "inventory.source.retire",
        target: source,
        detail: &detail,
    };
    audit::append(tx, &entry)?;
    if outcome.gone > 0 {
        let listing = Listing {
            format: InventoryFormat::Declarative,
            items: Vec::new(),
            scale_sets: Vec::new(),
            notes: Vec::new(),
        };
        let look = Look {
            source: source.to_owned(),
            listing,
            complete: true,
            dry_run: false,
            allow_shrink: true,
            by: by.to_owned(),
            exported_at: None,
            document_sha256: None,
        };
        tell(tx, &told(&look, outcome.clone(), now), by)?;
    }
    Ok(outcome.gone)
}
