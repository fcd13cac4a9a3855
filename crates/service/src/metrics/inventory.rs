//! What the inventory lists, and how fresh it is.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use veriboot_store::{StoreError, Tx, inventory};
use veriboot_wire::Time;

use super::count;
use crate::inventory::DISAGREEMENTS;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct Inventory {
    contradicted: Family<CodeLabels, Gauge>,
    items: Family<StateLabels, Gauge>,
    sources: Gauge,
    failing: Gauge,
    oldest_sync_age: Gauge,
}

/// What the database says.
#[derive(Default)]
pub(super) struct Listed {
    items: (u64, u64, u64),
    sources: (u64, u64),
    oldest_sync: Option<Time>,
    contradicted: BTreeMap<String, u64>,
}

impl Listed {
    pub(super) fn read(tx: &mut dyn Tx) -> Result<Self, StoreError> {
        Ok(Self {
            items: inventory::counts(tx)?,
            sources: inventory::source_counts(tx)?,
            oldest_sync: inventory::oldest_sync(tx)?,
            contradicted: inventory::contradicted(tx)?,
        })
    }
}

impl Inventory {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let items = Family::default();
        registry.register(
            "inventory_items",
            "VMs that sources list: enrolled, without an agent, and gone",
            items.clone(),
        );
        let sources = Gauge::default();
        registry.register("inventory_sources", "Sources of the inventory in use", sources.clone());
        let failing = Gauge::default();
        registry.register(
            "inventory_sources_failing",
            "Sources of the inventory whose last sync failed",
            failing.clone(),
        );
        let oldest_sync_age = Gauge::default();
        registry.register_with_unit(
            "inventory_oldest_sync_age",
            "Time since the last good sync of the source in use that waits longest; 0 when none ever was synced",
            Unit::Seconds,
            oldest_sync_age.clone(),
        );
        let contradicted = Family::default();
        registry.register(
            "inventory_contradicted",
            "Items of enrolled VMs that evidence or another source contradicts, by code",
            contradicted.clone(),
        );
        Self { contradicted, items, sources, failing, oldest_sync_age }
    }

    pub(super) fn set(&self, listed: &Listed, now: Time) {
        let (enrolled, alone, gone) = listed.items;
        for (state, items) in [("enrolled", enrolled), ("no-agent", alone), ("gone", gone)] {
            self.items.get_or_create(&StateLabels { state }).set(count(items));
        }
        for code in DISAGREEMENTS {
            let items = listed.contradicted.get(code).copied().unwrap_or(0);
            self.contradicted.get_or_create(&CodeLabels { code }).set(count(items));
        }
        self.sources.set(count(listed.sources.0));
        self.failing.set(count(listed.sources.1));
        let age = listed.oldest_sync.map_or(0, |at| now.unix_ms().saturating_sub(at.unix_ms()).max(0) / 1000);
        self.oldest_sync_age.set(age);
    }
}
