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
    // The list that firmware is built with has one entry that revokes nothing, or none.
    let dbx = report.first(ComponentKind::RevocationDb);
    if dbx.is_some_and(|dbx| dbx.items.iter().all(|i| i == "1 hash")) {
        list.push(VmRecommendation {
            check: "dbx-current".to_owned(),
            text: "dbx revokes nothing: loaders with known holes are accepted. Install the current revocation list."
                .to_owned(),
            command: Some("fwupdmgr update".to_owned()),
        });
    }
    let level = report.first(ComponentKind::SbatLevel).and_then(|e| e.value.as_deref()).and_then(sbat_date);
    if level.is_some_and(|date| date < SBAT_LEVEL_NEEDED) {
        list.push(VmRecommendation {
            check: "sbat-current".to_owned(),
            text: "The SBAT level is older than January 2024: it does not revoke shim before 15.8 (CVE-2023-40547). Update \
                   shim and let it install its current SBAT level."
                .to_owned(),
            command: Some("mokutil --set-sbat-policy latest".to_owned()),
        });
    }
}

/// The SBAT level that revokes shim below generation 4 (shim 15.8), from shim's SbatLevel_Variable.txt.
const SBAT_LEVEL_NEEDED: u64 = 2_024_010_900;

/// Date stamp of an SBAT level, `sbat,1,2023012900`.
fn sbat_date(level: &str) -> Option<u64> {
    let digits: String = level.strip_prefix("sbat,1,")?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
