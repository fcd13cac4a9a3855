//! What to change about a VM, as far as its log shows it (checks of SPEC section 6).

use veriboot_eventlog::ComponentKind;
use veriboot_wire::{FactState, VmRecommendation};

use crate::conclude::Outcome;
use crate::report::LogReport;

/// Recommendations for one VM after an attestation, most important first. Nothing is recommended from a log that the
/// quote does not prove.
pub fn recommendations(outcome: &Outcome, report: Option<&LogReport>) -> Vec<VmRecommendation> {
    let mut list = Vec::new();
    if outcome.facts.secure_boot == FactState::Invalid {
        list.push(VmRecommendation {
            check: "secure-boot-enabled".to_owned(),
            text: crate::deviation::SWITCH_ON.to_owned(),
            command: None,
        });
    }
    let Some(report) = report.filter(|_| outcome.facts.log == FactState::Valid) else { return list };
    if outcome.facts.secure_boot == FactState::Valid {
        keys(report, &mut list);
    }
    list
}

fn keys(report: &LogReport, list: &mut Vec<VmRecommendation>) {
    let members = |kind| report.entries.iter().filter(move |e| e.kind == kind).flat_map(|e| &e.items);
    let microsoft = |year: &'static str| {
        move |item: &&String| item.contains(year) && (item.contains("Microsoft") || item.contains("Windows"))
    };
    let old = members(ComponentKind::SignatureDb).any(|i| microsoft("2011")(&i));
    let new = members(ComponentKind::SignatureDb).any(|i| microsoft("2023")(&i));
    if old && !new {
        list.push(VmRecommendation {
            check: "secure-boot-ca-2023".to_owned(),
            text: "db has only Microsoft's 2011 certificates, which expire in 2026: loaders signed from then on will not \
                   boot. Add the 2023 certificates to db and KEK."
                .to_owned(),
            command: Some("fwupdmgr update".to_owned()),
        });
    }
    let dbx = report.first(ComponentKind::RevocationDb);
    if dbx.is_some_and(|dbx| dbx.items.is_empty() && dbx.value.is_none()) && list.is_empty() {
        // An empty list shows neither members nor text.
        list.push(VmRecommendation {
            check: "dbx-current".to_owned(),
            text: "dbx is empty: loaders with known holes are accepted. Install the current revocation list."
                .to_owned(),
            command: Some("fwupdmgr update".to_owned()),
        });
    }
}
