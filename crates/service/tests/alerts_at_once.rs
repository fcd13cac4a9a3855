//! What many attestations do to alerts at once: to those of each VM what its own does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use agent_support::World;
use veriboot_appraisal::Outcome;
use veriboot_service::alerts;
use veriboot_wire::{AlertReason, Facts, Finding, Severity, Verdict, VmStatus};

on_both!(many_attestations_at_once_are_each_their_own);

mod scenario {
    use super::*;

    pub fn many_attestations_at_once_are_each_their_own(world: &World) {
        use AlertReason::{AgentSilent, BaselineDeviation, LogMismatch};
        let ids: Vec<String> = (0..4).map(|n| world.healthy_guest(&format!("web-{n}")).vm_id()).collect();
        let at = world.clock.now();
        let finding = |reason, code: &str| {
            let mut finding = Finding::new(code, Severity::High, code);
            finding.reason = Some(reason);
            finding
        };
        let outcome = |verdict, findings: &[Finding]| Outcome {
            verdict,
            facts: Facts::UNKNOWN,
            findings: findings.to_vec(),
            reasons: findings.iter().filter_map(|finding| finding.reason).collect(),
            learnable: false,
        };
        // What follows from a log that is not believed is no alert of its own.
        let unbelieved =
            [finding(LogMismatch, "log-mismatch"), finding(BaselineDeviation, "secure-boot-unknown")];
        let two = [finding(LogMismatch, "log-mismatch"), finding(BaselineDeviation, "component-changed")];
        let healthy = outcome(Verdict::Healthy, &[]);
        let outcomes = [
            outcome(Verdict::Unhealthy, &unbelieved),
            healthy.clone(),
            healthy,
            outcome(Verdict::Unhealthy, &two),
        ];
        let deviates = outcome(Verdict::Unhealthy, &two[1..]);
        world.write(move |tx| {
            let attested = |n: usize, outcome, before| alerts::Attested {
                vm_id: &ids[n],
                before,
                outcome,
                attestation_id: "none",
                quote_believed: true,
                reopen_window_s: 0,
                at,
            };
            let silent = alerts::agent_silent(tx, &ids[0], "nothing was heard", 0, at)?.opened[0].1.clone();
            let open = alerts::after_attestation(tx, &attested(1, &deviates, VmStatus::Healthy))?.opened;
            let before = [VmStatus::Stale, VmStatus::Unhealthy, VmStatus::Healthy, VmStatus::Healthy];
            let all: Vec<_> = (0..4).map(|n| attested(n, &outcomes[n], before[n])).collect();
            let changes = alerts::after_attestations(tx, &all)?;
            let reasons: Vec<&[AlertReason]> =
                changes.iter().map(|changes| changes.raised.as_slice()).collect();
            assert_eq!(reasons, [&[LogMismatch][..], &[], &[], &[LogMismatch, BaselineDeviation]]);
            let resolved: Vec<&[String]> =
                changes.iter().map(|changes| changes.resolved.as_slice()).collect();
            assert_eq!(resolved, [&[silent.clone()][..], &[open[0].1.clone()], &[], &[]]);
            for (id, changes) in ids.iter().zip(&changes) {
                for (reason, alert) in &changes.opened {
                    let alert = veriboot_store::alerts::by_id(tx, alert)?.unwrap();
                    assert_eq!((&alert.vm_id, alert.reason), (id, *reason));
                    assert_eq!(alert.findings.len(), 1, "the findings of its reason");
                }
            }
            assert!(veriboot_store::alerts::open_for(tx, &ids[0], AgentSilent)?.is_none());
            // Once more: each of its own is counted, and nothing is opened.
            let again = alerts::after_attestations(tx, &all)?;
            let raised: Vec<usize> = again.iter().map(|changes| changes.raised.len()).collect();
            assert_eq!(raised, [1, 0, 0, 2]);
            assert!(again.iter().all(|changes| changes.opened.is_empty() && changes.resolved.is_empty()));
            Ok(())
        });
    }
}
