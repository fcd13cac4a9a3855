//! Evidence of real machines under QEMU, quoted by a real (software) TPM: signature, PCRs, log and baseline together.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

use std::path::Path;

use veriboot_appraisal::{
    Baseline, Conclude, Outcome, PreviousBoot, Profile, components, conclude, examine, judge,
};
use veriboot_eventlog::HashAlg;
use veriboot_tpm::{AttestationKey, Expectation, Quote, QuoteError, verify_quote};
use veriboot_wire::{AlertReason, EvidenceBundle, FactState, Verdict};

const SHA256: HashAlg = HashAlg::Sha256;

struct Evidence {
    bundle: EvidenceBundle,
    ak: AttestationKey,
    log: Vec<u8>,
}

impl Evidence {
    fn of(variant: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant);
        let json = std::fs::read(folder.join("bundle.json")).unwrap_or_else(|e| panic!("{variant}: {e}"));
        let bundle: EvidenceBundle = serde_json::from_slice(&json).unwrap();
        let public = serde_json::to_string(bundle.ak_public.as_ref().unwrap()).unwrap();
        let public: veriboot_wire::Blob = serde_json::from_str(&public).unwrap();
        let log = bundle.event_log.as_ref().unwrap().to_vec();
        assert_eq!(log, std::fs::read(folder.join("eventlog.bin")).unwrap());
        Self { ak: AttestationKey::from_tpm2b(&public).unwrap(), bundle, log }
    }

    fn quote(&self) -> Result<Quote, QuoteError> {
        let nonce = hex::decode(self.bundle.nonce.as_ref().unwrap()).unwrap();
        let expect = Expectation { nonce: Some(&nonce), selection: None };
        verify_quote(&self.ak, &self.bundle.quote, &self.bundle.signature, &expect)
    }

    fn appraise(
        &self,
        log: &[u8],
        baseline: Option<&veriboot_appraisal::CompiledBaseline>,
        profile: &Profile,
        previous: Option<&PreviousBoot>,
    ) -> Outcome {
        let report = examine(log);
        let judgement = judge(&report, SHA256, baseline, profile);
        conclude(Conclude {
            quote: self.quote().as_ref(),
            pcr_values: Some(&self.bundle.pcrs),
            report: Some(&report),
            log_absent_because: None,
            judgement: Some(&judgement),
            profile,
            previous,
        })
    }
}

fn codes(outcome: &Outcome) -> Vec<&str> {
    outcome.findings.iter().map(|f| f.code.as_str()).collect()
}

#[test]
fn every_capture_is_proven_and_accepted_by_its_own_baseline() {
    for variant in [
        "secure-boot",
        "cmdline",
        "initrd",
        "other-kernel",
        "mok",
        "uki",
        "three-banks",
        "secure-boot-off",
        "direct-kernel",
    ] {
        let evidence = Evidence::of(variant);
        let baseline = Baseline::learn(&examine(&evidence.log), SHA256).unwrap().compile();
        let outcome = evidence.appraise(&evidence.log, Some(&baseline), &Profile::measured_only(), None);
        assert_eq!(outcome.verdict, Verdict::Healthy, "{variant}: {:?}", outcome.findings);
        assert_eq!(outcome.facts.log, FactState::Valid, "{variant}");
        assert_eq!(outcome.facts.baseline, FactState::Valid, "{variant}");
        assert!(outcome.learnable, "{variant}: {:?}", codes(&outcome));

        let strict = evidence.appraise(&evidence.log, Some(&baseline), &Profile::default(), None);
        let off = matches!(variant, "secure-boot-off" | "direct-kernel");
        assert_eq!(
            strict.primary().map(|f| f.code.as_str()),
            off.then_some("secure-boot-disabled"),
            "{variant}"
        );
    }
}

#[test]
fn what_was_changed_is_what_is_named() {
    let baseline = Baseline::learn(&examine(&Evidence::of("secure-boot").log), SHA256).unwrap().compile();
    for (variant, component) in [
        ("cmdline", "kernel command line"),
        ("initrd", "initial RAM disk (initrd)"),
        ("other-kernel", "kernel"),
        ("secure-boot-off", "Secure Boot state"),
    ] {
        let evidence = Evidence::of(variant);
        let outcome = evidence.appraise(&evidence.log, Some(&baseline), &Profile::default(), None);
        assert_eq!(outcome.reasons, [AlertReason::BaselineDeviation], "{variant}");
        assert_eq!(outcome.primary().unwrap().component.as_deref(), Some(component), "{variant}");
    }
}

/// Evidence of one machine, log of another.
#[test]
fn the_log_of_another_capture_does_not_replay() {
    let evidence = Evidence::of("cmdline");
    let outcome = evidence.appraise(&Evidence::of("secure-boot").log, None, &Profile::default(), None);
    let finding = outcome.primary().unwrap();
    assert_eq!(finding.code, "log-mismatch");
    assert!(finding.message.contains("PCRs 8 and 9"), "{}", finding.message);
}

/// Row 15 on real evidence: one bit of the log changed, at every byte. With an earlier attestation of the same boot none
/// passes. Without one, those pass that change nothing but what no digest covers and no finding or baseline speaks of
/// (addresses of images in memory): then what is said about the boot is still what was measured.
#[test]
fn one_bit_of_the_log_changed() {
    let evidence = Evidence::of("secure-boot");
    let report = examine(&evidence.log);
    let baseline = Baseline::learn(&report, SHA256).unwrap().compile();
    let quote = evidence.quote().unwrap();
    let previous = PreviousBoot {
        reset_count: quote.reset_count,
        restart_count: quote.restart_count,
        clock_ms: quote.clock_ms,
        firmware_version: quote.firmware_version,
        log_sha256: Some(report.sha256.clone()),
        ak_replaced: false,
    };
    let profile = Profile::default();
    let said = components(&report);
    let mut harmless = 0;
    for at in 0..evidence.log.len() {
        let mut log = evidence.log.clone();
        log[at] ^= 1 << (at % 8);
        let edited = examine(&log);
        let judgement = judge(&edited, SHA256, Some(&baseline), &profile);
        let conclude = |previous| {
            conclude(Conclude {
                quote: Ok(&quote),
                pcr_values: Some(&evidence.bundle.pcrs),
                report: Some(&edited),
                log_absent_because: None,
                judgement: Some(&judgement),
                profile: &profile,
                previous,
            })
        };
        assert_eq!(conclude(Some(&previous)).verdict, Verdict::Unhealthy, "byte {at}");
        let alone = conclude(None);
        if alone.verdict == Verdict::Healthy {
            harmless += 1;
            assert_eq!(components(&edited), said, "byte {at}: {:?}", codes(&alone));
        }
    }
    println!("{harmless} of {} bytes are covered by nothing but the log's own digest", evidence.log.len());
    assert!(harmless < evidence.log.len() / 20, "{harmless}");
}
