//! The profile `by-authority` on day one: no baseline, real logs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use veriboot_appraisal::{Judgement, LogReport, Profile, examine, judge};
use veriboot_eventlog::HashAlg;

fn report(path: &Path) -> LogReport {
    examine(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

fn capture(variant: &str) -> LogReport {
    report(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant).join("eventlog.bin"),
    )
}

fn judged(report: &LogReport) -> Judgement {
    let banks = [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha1, HashAlg::Sm3_256];
    let bank = banks.into_iter().find(|bank| report.bank(*bank).is_some()).unwrap_or(HashAlg::Sha256);
    judge(report, bank, None, &Profile::named("by-authority").unwrap())
}

fn failing(judgement: &Judgement) -> String {
    let fails = judgement.findings.iter().filter(|f| f.fails());
    fails.map(|f| format!("{}: {}\n", f.code, f.message)).collect()
}

/// Why a log of the evidence folder with Secure Boot on is refused: parts of what is told, all of them. Hardware vendors
/// put keys of their own into db; shims from before 2021 apply no SBAT and are revoked.
const OWN_DB: &str = "allowed signatures (db) has certificates that no rule names";
const NO_SBAT: &str = "No SBAT level is measured";
const STRANGER: &str = "An authority that no rule names admitted something";
const MOK: &str = "shim's list of keys (MokList) cannot be shown";

const EVIDENCE: &[(&str, &[&str])] = &[
    // Windows Server on a cloud; Red Hat CoreOS on QEMU; Container-Optimized OS.
    ("go-attestation--attest_testdata_windows_gcp_shielded_vm.json__Log_Raw.bin", &[]),
    ("python3-uefi-eventlog--rhcos.bin", &[]),
    ("go-eventlog--cos-101-amd-sev.bin", &[]),
    ("go-tpm-tools--confidential-gke-debug-251000_eventlog.bin", &[]),
    ("go-tpm-tools--eventlogwithsp800155.bin", &[]),
    // shim from before 15.3.
    ("go-eventlog--rhel8-uefi.bin", &[NO_SBAT]),
    ("go-eventlog--debian-10.bin", &[NO_SBAT, MOK]),
    ("go-eventlog--cos-85-amd-sev.bin", &[NO_SBAT]),
    ("go-eventlog--cos-93-amd-sev.bin", &[NO_SBAT]),
    ("go-tpm-tools--gce-cos-85-no-nonce.pb__event_log.bin", &[NO_SBAT]),
    // A machine owner key beside Canonical's.
    ("python3-uefi-eventlog--css-flex14vm4-bootlog.bin", &[MOK]),
    // Keys of the machine's vendor in db.
    ("python3-uefi-eventlog--ideapad1.bin", &[OWN_DB]),
    ("python3-uefi-eventlog--p511.bin", &[OWN_DB]),
    ("HIRS--laptop_badOemInstall_oem.1.rimel.bin", &[OWN_DB, NO_SBAT]),
    ("HIRS--laptop_badVarInstall_oem.1.rimel.bin", &[OWN_DB, NO_SBAT]),
    ("HIRS--TpmLogSHA1.bin", &[OWN_DB, NO_SBAT, MOK]),
    ("HIRS--laptop_empty_binary_bios_measurements.bin", &[OWN_DB, STRANGER, NO_SBAT, MOK]),
    ("python3-uefi-eventlog--201123-eventlog.bin", &[OWN_DB, STRANGER, NO_SBAT, MOK]),
    ("python3-uefi-eventlog--bootlog-5.0.0-rhel-20210423T133156Z_8b0347a.bin", &[OWN_DB, NO_SBAT, MOK]),
    // The same, and option ROMs that Microsoft signed for others: nothing shows that no shim ran.
    (
        "go-eventlog--option_rom_eventlog.bin",
        &[OWN_DB, NO_SBAT, MOK, "hides what the boot loader did: its text cannot be shown"],
    ),
    // Own keys, and a dbx that revokes nothing.
    ("python3-uefi-eventlog--intel_svr.bin", &[OWN_DB, STRANGER, "(dbx) revokes too little", NO_SBAT, MOK]),
];

#[test]
fn real_machines() {
    let Some(corpus) = std::env::var_os("VERIBOOT_CORPUS") else {
        println!("skipped: VERIBOOT_CORPUS is not set");
        return;
    };
    let expected: BTreeMap<&str, &[&str]> = EVIDENCE.iter().copied().collect();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(Path::new(&corpus).join("logs")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let mut seen = 0;
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let report = report(&path);
        let judgement = judged(&report);
        let told = failing(&judgement);
        if report.secure_boot != Some(true) {
            assert!(!judgement.accepts(), "{name} is accepted without Secure Boot");
            continue;
        }
        // A register of a confidential VM mixes authorities with what no digest explains.
        if report.format == Some(veriboot_eventlog::Format::Ccel) {
            assert!(told.contains("the registers of a confidential VM mix authorities"), "{name}: {told}");
            continue;
        }
        seen += 1;
        let reasons = expected.get(name).unwrap_or_else(|| panic!("{name} is not listed:\n{told}"));
        for reason in *reasons {
            assert!(told.contains(reason), "{name}: no `{reason}` in\n{told}");
        }
        assert_eq!(told.lines().count(), reasons.len(), "{name}:\n{told}");
    }
    assert_eq!(seen, EVIDENCE.len());
}

/// Captures of Debian on QEMU that nothing weakens, from the lab.
#[test]
fn captures_that_nothing_weakens() {
    for variant in [
        "secure-boot",
        "three-banks",
        "other-kernel",
        "initrd",
        "microsoft-2023",
        "sbat-raised",
        "dbx-updated",
        "firmware-next",
        "boot-entry",
        "other-disk",
    ] {
        let judgement = judged(&capture(variant));
        assert!(judgement.accepts(), "{variant}:\n{}", failing(&judgement));
        let covered = judgement.findings.iter().find(|f| f.code == "not-covered").unwrap();
        assert!(covered.message.contains("initial RAM disk"), "{variant}: {}", covered.message);
    }
}

#[test]
fn captures_that_are_weakened() {
    for (variant, reason) in [
        ("secure-boot-off", "Secure Boot is off"),
        ("secure-boot-disabled", "Secure Boot is off"),
        ("own-keys", STRANGER),
        ("operator-db", OWN_DB),
        ("extra-program", STRANGER),
        ("uki", STRANGER),
        ("dbx-emptied", "(dbx) revokes too little: it has 0 entries"),
        ("mok", MOK),
        ("mok-validation-off", "verification by shim is off and must be on"),
        ("cmdline", "`init=/bin/sh` starts another program"),
        ("cmdline", "`lockdown=none` switches kernel lockdown off"),
    ] {
        let judgement = judged(&capture(variant));
        assert!(!judgement.accepts(), "{variant} is accepted");
        assert!(judgement.proposed.is_none(), "{variant} is proposed");
        assert!(failing(&judgement).contains(reason), "{variant}:\n{}", failing(&judgement));
    }
}
