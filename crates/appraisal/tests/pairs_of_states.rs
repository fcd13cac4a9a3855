//! One pair of real boots for each class of change (SPEC section 5): keys, revocations, firmware, boot order, Secure Boot.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use common::pairs::*;
use veriboot_appraisal::Profile;
use veriboot_wire::{ChangeClass as C, Finding, Severity};

#[test]
fn sbat_level_raised_and_lowered() {
    let (low, high) =
        ("sbat,1,2025021800; shim,4; grub,5", "sbat,1,2025051000; shim,4; grub,5; grub.proxmox,2");
    proposes("secure-boot", "sbat-raised", &[told(C::SbatUpdate, SBAT, 7, low, high)]);
    fails("sbat-raised", "secure-boot", &[told(C::SbatUpdate, SBAT, 7, high, low)]);
}

#[test]
fn dbx_grown_shrunk_and_emptied() {
    proposes("secure-boot", "dbx-updated", &[told(C::DbxUpdate, DBX, 7, "1 hash", "4 hashes")]);
    fails("dbx-updated", "secure-boot", &[told(C::DbxUpdate, DBX, 7, "4 hashes", "1 hash")]);
    fails("dbx-updated", "dbx-emptied", &[told(C::DbxUpdate, DBX, 7, "4 hashes", "empty")]);
    fails("secure-boot", "dbx-emptied", &[told(C::DbxUpdate, DBX, 7, "1 hash", "empty")]);
}

#[test]
fn certificates_of_2023_added_and_removed() {
    let judgement = fails(
        "secure-boot",
        "microsoft-2023",
        &[
            told(
                C::SecureBootKeyChange,
                KEK,
                7,
                "Microsoft Corporation KEK CA 2011",
                "Microsoft Corporation KEK 2K CA 2023",
            ),
            told(
                C::SecureBootKeyChange,
                DB,
                7,
                "Microsoft Corporation UEFI CA 2011",
                "Microsoft UEFI CA 2023",
            ),
        ],
    );
    for finding in judgement.findings.iter().filter(|f| f.change.is_some()) {
        assert!(finding.message.contains("2023 certificates"), "{}", finding.message);
    }
    let judgement = fails(
        "microsoft-2023",
        "secure-boot",
        &[
            told(C::SecureBootKeyChange, KEK, 7, "Microsoft Corporation KEK 2K CA 2023", "KEK CA 2011"),
            told(C::SecureBootKeyChange, DB, 7, "Windows UEFI CA 2023", "Microsoft Corporation UEFI CA 2011"),
        ],
    );
    for finding in judgement.findings.iter().filter(|f| f.change.is_some()) {
        assert!(finding.message.contains("removed"), "{}", finding.message);
    }
}

#[test]
fn own_keys() {
    let (microsoft, own) = ("Microsoft Corporation UEFI CA 2011", "Veriboot lab db key");
    let findings = |from: &'static str,
                    to: &'static str,
                    pk: (&'static str, &'static str),
                    kek: (&'static str, &'static str)| {
        [
            told(C::SecureBootKeyChange, PK, 7, pk.0, pk.1),
            told(C::SecureBootKeyChange, KEK, 7, kek.0, kek.1),
            told(C::SecureBootKeyChange, DB, 7, from, to),
            told(C::SecureBootKeyChange, "authority that admitted an image", 7, from, to),
        ]
    };
    let (pk, kek) = ("Veriboot lab platform key", "Veriboot lab key exchange key");
    let debian = "Debian UEFI Secure Boot (PK/KEK key)";
    fails("secure-boot", "own-keys", &findings(microsoft, own, (debian, pk), (debian, kek)));
    fails("own-keys", "secure-boot", &findings(own, microsoft, (pk, debian), (kek, debian)));
}

#[test]
fn certificate_added_to_db() {
    fails(
        "secure-boot",
        "operator-db",
        &[told(C::SecureBootKeyChange, DB, 7, "UEFI CA 2011", "Veriboot lab db key")],
    );
    fails(
        "operator-db",
        "secure-boot",
        &[told(C::SecureBootKeyChange, DB, 7, "Veriboot lab db key", "UEFI CA 2011")],
    );
}

#[test]
fn machine_owner_key_enrolled() {
    fails("secure-boot", "mok", &[told(C::MokChange, MOK, 14, "", "")]);
}

/// What shim does not verify, it does not measure either: that follows.
#[test]
fn machine_owner_switched_validation_off() {
    let judgement = fails(
        "secure-boot",
        "mok-validation-off",
        &[
            told(C::MokChange, MOK, 7, "not measured", "01"),
            told(C::MokChange, "shim", 7, "verifies", "verification is off"),
        ],
    );
    assert!(judgement.findings.iter().any(|f| f.code == "shim-validation-disabled"), "{}", lines(&judgement));
}

#[test]
fn firmware_update() {
    for (before, after) in [
        ("firmware-older", "secure-boot"),
        ("secure-boot", "firmware-older"),
        ("secure-boot", "firmware-next"),
    ] {
        let judgement = judged(before, after);
        assert!(judgement.proposed.is_none() && !judgement.accepts());
        let failing: Vec<&Finding> = judgement.findings.iter().filter(|f| f.fails()).collect();
        assert_eq!(failing[0].change, Some(C::FirmwareUpdate), "{}", lines(&judgement));
        assert_eq!((failing[0].pcr, failing[0].component.as_deref()), (Some(0), Some("firmware")));
    }
}

/// Boot entries and partition tables differ harmlessly: they are told, and fail where the profile says so.
#[test]
fn boot_order_and_disk_changed() {
    for after in ["boot-entry", "other-disk"] {
        let judgement = judged("secure-boot", after);
        assert!(judgement.accepts() && judgement.proposed.is_none(), "{}", lines(&judgement));
        assert!(!judgement.findings.is_empty());
        for finding in &judgement.findings {
            assert_eq!(
                (finding.severity, finding.change),
                (Severity::Info, Some(C::BootOrderChange)),
                "{after}: {}",
                line(finding)
            );
        }
    }
    use veriboot_appraisal::Enforcement;
    use veriboot_eventlog::ComponentKind as K;
    let mut strict = Profile::default();
    for kind in [K::BootOrder, K::BootEntry, K::PartitionTable] {
        strict.components.insert(kind, Enforcement::Enforce);
    }
    for (after, pcr) in [("boot-entry", 1), ("other-disk", 5)] {
        let judgement = judged_under("secure-boot", after, &strict);
        assert!(!judgement.accepts() && judgement.proposed.is_none(), "{after}");
        let failing: Vec<&Finding> = judgement.findings.iter().filter(|f| f.fails()).collect();
        assert!(
            failing.iter().all(|f| f.change == Some(C::BootOrderChange) && f.pcr == Some(pcr)),
            "{}",
            lines(&judgement)
        );
    }
}

#[test]
fn secure_boot_disabled() {
    fails(
        "secure-boot",
        "secure-boot-disabled",
        &[told(C::SecureBootDisabled, "Secure Boot state", 7, "on", "off")],
    );
    let judgement = judged("secure-boot", "secure-boot-off");
    assert_eq!(judgement.findings[0].change, Some(C::SecureBootDisabled), "{}", lines(&judgement));
}

/// What is measured is Windows' format with made-up content; firmware and TPM are real (docs/lab.md).
#[test]
fn windows_settings_changed() {
    let judgement = fails(
        "windows-events",
        "windows-events-changed",
        &[told(
            C::WindowsPolicyChange,
            "Windows boot policy boot configuration",
            12,
            "TESTSIGNING=no",
            "TESTSIGNING=yes",
        )],
    );
    let message = &judgement.findings.iter().find(|f| f.change.is_some()).unwrap().message;
    assert_eq!(
        message,
        "Windows boot policy changed: `TESTSIGNING` is `yes` instead of `no`; `VBS_HVCI_POLICY` is `0` instead of `1`"
    );
    // The program that had it measured is the same: only what Windows would have said differs.
    assert_eq!(authenticode("windows-events", "program"), authenticode("windows-events-changed", "program"));
    let judgement = judged("operator-db", "windows-events");
    assert!(!judgement.accepts(), "{}", lines(&judgement));
    for class in [C::UnknownComponent, C::WindowsPolicyChange] {
        assert!(
            judgement.findings.iter().any(|f| f.change == Some(class)),
            "{class}:\n{}",
            lines(&judgement)
        );
    }
}
