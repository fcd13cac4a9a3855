//! Captures with their quotes: each is accepted by its own baseline alone, and a PCR extended at run time is told.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use common::SHA256;
use common::pairs::*;
use veriboot_appraisal::{
    Baseline, CompiledBaseline, Conclude, Outcome, PreviousBoot, Profile, conclude, judge,
};
use veriboot_eventlog::HashAlg;
use veriboot_tpm::{AttestationKey, Expectation, Quote, verify_quote};
use veriboot_wire::{AlertReason, ChangeClass as C, EvidenceBundle, FactState, Finding, Verdict};

/// A quote of a capture, checked, with the PCR values that came beside it.
fn quoted(variant: &str, file: &str) -> (Quote, EvidenceBundle) {
    let bundle: EvidenceBundle =
        serde_json::from_slice(&std::fs::read(folder(variant).join(file)).unwrap()).unwrap();
    let public = serde_json::to_string(bundle.ak_public.as_ref().unwrap()).unwrap();
    let public: veriboot_wire::Blob = serde_json::from_str(&public).unwrap();
    let ak = AttestationKey::from_tpm2b(&public).unwrap();
    let nonce = hex::decode(bundle.nonce.as_ref().unwrap()).unwrap();
    let expect = Expectation { nonce: Some(&nonce), selection: None };
    let quote = verify_quote(&ak, &bundle.quote, &bundle.signature, &expect).unwrap();
    (quote, bundle)
}

fn concluded(
    variant: &str,
    file: &str,
    baseline: &CompiledBaseline,
    profile: &Profile,
    previous: Option<&PreviousBoot>,
) -> Outcome {
    let (quote, bundle) = quoted(variant, file);
    let report = report(variant);
    let judgement = judge(&report, SHA256, Some(baseline), profile);
    conclude(Conclude {
        quote: Ok(&quote),
        pcr_values: Some(&bundle.pcrs),
        report: Some(&report),
        log_absent_because: None,
        judgement: Some(&judgement),
        profile,
        previous,
    })
}

/// One boot, one log, two quotes: between them a process of the guest extended PCR 9.
#[test]
fn pcr_extended_at_run_time() {
    let variant = "runtime-extend";
    let baseline = Baseline::learn(&report("secure-boot"), SHA256).unwrap().compile();
    let profile = Profile::default();
    let first = concluded(variant, "bundle.json", &baseline, &profile, None);
    assert_eq!(first.verdict, Verdict::Healthy, "{:?}", first.findings);
    let (quote, bundle) = quoted(variant, "bundle.json");
    let log = bundle.event_log.as_ref().unwrap();
    let previous = PreviousBoot {
        reset_count: quote.reset_count,
        restart_count: quote.restart_count,
        clock_ms: quote.clock_ms,
        firmware_version: quote.firmware_version,
        log_sha256: Some(HashAlg::Sha256.hash(&[log]).to_string()),
        // Each call of `veriboot-agent evidence` makes a key of its own.
        ak_replaced: true,
    };
    let later = concluded(variant, "bundle-later.json", &baseline, &profile, Some(&previous));
    assert_eq!(later.verdict, Verdict::Unhealthy);
    assert_eq!(later.reasons, [AlertReason::LogMismatch]);
    let failing: Vec<&Finding> = later.findings.iter().filter(|f| f.fails()).collect();
    assert_eq!(failing.len(), 1, "{failing:?}");
    assert_eq!(
        (failing[0].change, failing[0].pcr),
        (Some(C::RuntimeExtend), Some(9)),
        "{}",
        line(failing[0])
    );
    assert!(failing[0].message.contains("extended after boot"), "{}", failing[0].message);
    assert_eq!(later.facts.log, FactState::Invalid);
    // Without the quote before, nobody can say when: the log does not explain PCR 9.
    let alone = concluded(variant, "bundle-later.json", &baseline, &profile, None);
    let failing: Vec<&Finding> = alone.findings.iter().filter(|f| f.fails()).collect();
    assert_eq!((failing[0].code.as_str(), failing[0].pcr), ("log-mismatch", Some(9)));
}

fn captures() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() > 28, "{names:?}");
    names
}

/// A baseline learned from a boot accepts that boot, quote and log together, and no other boot that differs in what is
/// enforced.
#[test]
fn each_capture_is_accepted_by_its_own_baseline_alone() {
    // What these differ in is not enforced: other banks, boot entries, disks, and what happened after the boot.
    let alike = ["boot-entry", "other-disk", "runtime-extend", "secure-boot", "three-banks"];
    let names = captures();
    for name in &names {
        let baseline = Baseline::learn(&report(name), SHA256).unwrap().compile();
        let outcome = concluded(name, "bundle.json", &baseline, &Profile::measured_only(), None);
        assert_eq!(outcome.verdict, Verdict::Healthy, "{name}: {:?}", outcome.findings);
        assert!(outcome.learnable, "{name}");
        for other in &names {
            let judgement = judge(&report(other), SHA256, Some(&baseline), &Profile::measured_only());
            let same = name == other || (alike.contains(&name.as_str()) && alike.contains(&other.as_str()));
            let differs = judgement.proposed.is_some() || !judgement.accepts();
            assert_eq!(differs, !same, "{name} -> {other}:\n{}", lines(&judgement));
        }
    }
}
