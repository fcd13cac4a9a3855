//! Several documents of one source as one list.

use std::collections::BTreeMap;

use veriboot_wire::{Configured, ConfiguredSecurity, InventoryFacts, InventoryFormat};

use crate::{MAX_ITEMS, ReadError};

/// Notes that are kept.
const MAX_NOTES: usize = 20;

/// What a document lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The format that was read.
    pub format: InventoryFormat,
    /// The VMs, in the order of the document; in that of their keys after [`merge`].
    pub items: Vec<InventoryFacts>,
    /// Scale sets whose members stand in other documents.
    pub scale_sets: Vec<ScaleSetModel>,
    /// What was left out, and why: sentences for people, at most 20.
    pub notes: Vec<String>,
}

/// What a cloud says about a scale set as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleSetModel {
    /// Its group.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Members that it is meant to have.
    pub capacity: Option<u64>,
    /// Operating system of its members.
    pub os: Option<String>,
    /// Security type of its members.
    pub security_type: ConfiguredSecurity,
    /// Technology of confidential members.
    pub confidential_kind: Option<String>,
    /// Secure Boot of its members.
    pub secure_boot: Configured,
    /// vTPM of its members.
    pub vtpm: Configured,
}

impl Listing {
    pub(crate) fn new(format: InventoryFormat) -> Self {
        Self { format, items: Vec::new(), scale_sets: Vec::new(), notes: Vec::new() }
    }

    /// Adds an item, and what was left out of it. Fails when there are too many.
    pub(crate) fn push(&mut self, item: InventoryFacts, note: Option<String>) -> Result<(), ReadError> {
        if self.items.len() >= MAX_ITEMS {
            return Err(ReadError::TooMany { max: MAX_ITEMS });
        }
        self.items.push(item);
        if let Some(note) = note {
            self.note(note);
        }
        Ok(())
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note.into());
        }
    }
}

/// Puts the documents of one source together: in the order of their keys, each VM once, with what its scale set says
/// where it says nothing itself. The format is that of the first document.
///
/// # Errors
/// [`ReadError::Duplicate`] when two VMs have one key, [`ReadError::TooMany`].
pub fn merge(listings: Vec<Listing>) -> Result<Listing, ReadError> {
    let format = listings.first().map_or(InventoryFormat::Declarative, |listing| listing.format);
    let mut all = Listing::new(format);
    for listing in listings {
        if all.items.len().saturating_add(listing.items.len()) > MAX_ITEMS {
            return Err(ReadError::TooMany { max: MAX_ITEMS });
        }
        all.items.extend(listing.items);
        all.scale_sets.extend(listing.scale_sets);
        for note in listing.notes {
            all.note(note);
        }
    }
    all.items.sort_by(|a, b| a.key.cmp(&b.key));
    let mut merged: Vec<InventoryFacts> = Vec::with_capacity(all.items.len());
    for item in std::mem::take(&mut all.items) {
        match merged.last_mut().filter(|known| known.key == item.key) {
            // The same VM in two documents: the one of them may know what the other does not.
            Some(known) => {
                if !same(known, &item) {
                    let (key, first, second) = (item.key, known.name.clone(), item.name);
                    return Err(ReadError::Duplicate { key, first, second });
                }
                fill(known, &item);
            }
            None => merged.push(item),
        }
    }
    all.items = merged;
    inherit(&mut all);
    Ok(all)
}

/// Whether two may be what two documents say about one VM: nothing that both know differs.
fn same(a: &InventoryFacts, b: &InventoryFacts) -> bool {
    let known = |a: Configured, b: Configured| a == b || a == Configured::Unknown || b == Configured::Unknown;
    a.name == b.name
        && a.group == b.group
        && a.platform == b.platform
        && (a.machine_uuid.is_none() || b.machine_uuid.is_none() || a.machine_uuid == b.machine_uuid)
        && known(a.secure_boot, b.secure_boot)
        && known(a.vtpm, b.vtpm)
}

fn fill(known: &mut InventoryFacts, other: &InventoryFacts) {
    use veriboot_wire::PowerState;
    let option = |mine: &mut Option<String>, theirs: &Option<String>| {
        if mine.is_none() {
            mine.clone_from(theirs);
        }
    };
    option(&mut known.scale_set, &other.scale_set);
    option(&mut known.os, &other.os);
    option(&mut known.region, &other.region);
    option(&mut known.machine_uuid, &other.machine_uuid);
    option(&mut known.ek_sha256, &other.ek_sha256);
    option(&mut known.confidential_kind, &other.confidential_kind);
    if known.power == PowerState::Unknown {
        known.power = other.power;
    }
    if known.secure_boot == Configured::Unknown {
        known.secure_boot = other.secure_boot;
    }
    if known.vtpm == Configured::Unknown {
        known.vtpm = other.vtpm;
    }
    if known.security_type == ConfiguredSecurity::Unknown {
        known.security_type = other.security_type;
    }
}

/// Members say what their scale set says, where they say nothing themselves; and sets that have more members than are
/// listed are told.
fn inherit(all: &mut Listing) {
    let sets = std::mem::take(&mut all.scale_sets);
    let mut by_name: BTreeMap<(&str, &str), (&ScaleSetModel, u64)> = BTreeMap::new();
    for set in &sets {
        by_name.insert((&set.group, &set.name), (set, 0));
    }
    for item in &mut all.items {
        let Some(name) = &item.scale_set else { continue };
        let Some((set, members)) = by_name.get_mut(&(item.group.as_str(), name.as_str())) else { continue };
        *members = members.saturating_add(1);
        if item.security_type == ConfiguredSecurity::Unknown {
            item.security_type = set.security_type;
            item.secure_boot = set.secure_boot;
            item.vtpm = set.vtpm;
        }
        if item.os.is_none() {
            item.os.clone_from(&set.os);
        }
        if item.confidential_kind.is_none() {
            item.confidential_kind.clone_from(&set.confidential_kind);
        }
    }
    let mut notes = Vec::new();
    for ((group, name), (set, members)) in &by_name {
        if let Some(capacity) = set.capacity.filter(|capacity| capacity > members) {
            notes.push(format!(
                "scale set {name} of {group} has {capacity} instances and {members} are listed: add the output of \
                 `az vmss list-instances -g {group} -n {name} -o json`"
            ));
        }
    }
    for note in notes {
        all.note(note);
    }
    all.scale_sets = sets;
}
