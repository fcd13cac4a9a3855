//! What is: VMs, alerts, proposals and baselines, counted in the database when somebody asks.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use veriboot_wire::{AlertReason, FleetSummary, ScopeKind, VmStatus};

use super::count;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabels {
    scope: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct Fleet {
    vms: Family<StatusLabels, Gauge>,
    alerts_open: Family<ReasonLabels, Gauge>,
    proposals_open: Family<ClassLabels, Gauge>,
    baselines: Family<ScopeLabels, Gauge>,
}

impl Fleet {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let vms = Family::default();
        registry.register("vms", "VMs by status", vms.clone());
        let alerts_open = Family::default();
        registry.register(
            "alerts_open",
            "Alerts that are active or in progress, by reason",
            alerts_open.clone(),
        );
        let proposals_open = Family::default();
        registry.register(
            "proposals_open",
            "Proposals that wait for a decision, by class of change; one with several classes counts in each",
            proposals_open.clone(),
        );
        let baselines = Family::default();
        registry.register("baselines", "Baselines that judge, by kind of scope", baselines.clone());
        Self { vms, alerts_open, proposals_open, baselines }
    }

    /// What the database says.
    pub(super) fn read(
        &self,
        counts: &FleetSummary,
        proposals: impl IntoIterator<Item = (&'static str, u64)>,
        by_scope: &BTreeMap<ScopeKind, u64>,
    ) {
        for status in VmStatus::ALL {
            let vms = counts.by_status.get(status.as_str()).copied().unwrap_or(0);
            self.vms.get_or_create(&StatusLabels { status: status.as_str() }).set(count(vms));
        }
        for reason in AlertReason::ALL {
            let alerts = counts.open_alerts_by_reason.get(reason.as_str()).copied().unwrap_or(0);
            self.alerts_open.get_or_create(&ReasonLabels { reason: reason.as_str() }).set(count(alerts));
        }
        for (class, open) in proposals {
            self.proposals_open.get_or_create(&ClassLabels { class }).set(count(open));
        }
        for scope in ScopeKind::ALL {
            let judging = by_scope.get(scope).copied().unwrap_or(0);
            self.baselines.get_or_create(&ScopeLabels { scope: scope.as_str() }).set(count(judging));
        }
    }
}
