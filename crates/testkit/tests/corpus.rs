//! Event log replay and quote checks against machines that booted for real. Expected values come from the TPM and
//! from coreutils, not from our own code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use veriboot_eventlog::{HashAlg, parse, replay};
use veriboot_testkit::corpus::{self, Golden};
use veriboot_tpm::{AttestationKey, Expectation, verify_quote};

/// Pre-OS PCRs; 10 is extended by the kernel's IMA after boot and has a log of its own.
fn is_pre_os(pcr: u32) -> bool {
    pcr <= 15 && pcr != 10
}

fn bytes(value: &Value, member: &str) -> Vec<u8> {
    STANDARD.decode(value[member].as_str().expect(member)).expect(member)
}

#[test]
fn replay_gives_the_values_of_the_tpm() {
    for golden in corpus::all().unwrap() {
        let log = parse(&golden.event_log).unwrap();
        assert!(log.cut.is_none(), "{}: {:?}", golden.name, log.cut);
        assert!(!golden.pcrs.is_empty(), "{}: no bank", golden.name);
        for (bank, values) in &golden.pcrs {
            let replayed = replay(&log, HashAlg::from_name(bank).unwrap());
            assert!(replayed.active, "{}: {bank} is not active", golden.name);
            for (pcr, expected) in values.iter().filter(|(pcr, _)| is_pre_os(**pcr)) {
                assert_eq!(
                    replayed.pcrs.get(pcr).copied().unwrap().to_string(),
                    *expected,
                    "{}: {bank} PCR {pcr}",
                    golden.name
                );
            }
        }
    }
}

#[test]
fn quotes_verify_and_cover_the_values_of_the_tpm() {
    for golden in corpus::all().unwrap() {
        let key = AttestationKey::from_tpm2b(&bytes(&golden.bundle, "ak_public")).unwrap();
        let (quote, signature) = (bytes(&golden.bundle, "quote"), bytes(&golden.bundle, "signature"));
        let nonce = hex::decode(golden.meta["nonce"].as_str().unwrap()).unwrap();
        let expect = Expectation { nonce: Some(&nonce), selection: None };
        let quote = verify_quote(&key, &quote, &signature, &expect)
            .unwrap_or_else(|e| panic!("{}: {e}", golden.name));
        let value = |alg: u16, pcr: u8| {
            let bank = HashAlg::from_tpm_id(alg)?.name();
            hex::decode(golden.pcrs.get(bank)?.get(&u32::from(pcr))?).ok()
        };
        assert!(quote.pcr_digest_matches(value), "{}: the quote is over other values", golden.name);
        let wrong = |alg: u16, pcr: u8| {
            let mut value = value(alg, pcr)?;
            if pcr == 7 {
                value[0] ^= 1;
            }
            Some(value)
        };
        assert!(!quote.pcr_digest_matches(wrong), "{}: PCR 7 does not count", golden.name);
    }
}

/// Whether the log has an event with this digest in this PCR.
fn has_event(golden: &Golden, pcr: u32, digest: &str) -> bool {
    let log = parse(&golden.event_log).unwrap();
    log.events.iter().any(|event| {
        event.pcr == pcr && event.digest(HashAlg::Sha256).map(hex::encode).as_deref() == Some(digest)
    })
}

#[test]
fn logs_name_the_files_that_were_booted() {
    let mut seen = 0;
    for golden in corpus::all().unwrap() {
        let digest = |file: &str| golden.meta["sha256"][file].as_str().unwrap().to_owned();
        match golden.name.as_str() {
            // The UKI carries kernel and initramfs in sections.
            name if name.starts_with("uki") => continue,
            // The EFI stub measures the initramfs; the firmware the kernel, by its Authenticode digest.
            "direct-kernel" | "u-boot" => assert!(has_event(&golden, 9, &digest("initrd"))),
            // GRUB measures every file that it reads.
            _ => {
                for file in ["kernel", "initrd"] {
                    assert!(has_event(&golden, 9, &digest(file)), "{}: {file} is not in PCR 9", golden.name);
                }
            }
        }
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} variants");
}

/// Firmware and shim measure the Authenticode digest of each image that they start into PCR 4.
#[test]
fn logs_name_the_images_that_were_started() {
    for golden in corpus::all().unwrap() {
        let images = golden.meta["authenticode"].as_object().unwrap();
        let started = |name: &str| has_event(&golden, 4, images[name].as_str().unwrap());
        let verified = !matches!(
            golden.name.as_str(),
            "secure-boot-off" | "secure-boot-disabled" | "mok-validation-off" | "direct-kernel"
        );
        for name in images.keys() {
            let expected = match name.as_str() {
                // shim measures the kernel when GRUB asks it to verify it. The kernel of a UKI is not started as an
                // image of its own.
                "kernel" if golden.name.starts_with("uki") => continue,
                // QEMU fills in the setup header of a kernel that it hands over, so that its digest is another one.
                "kernel" => verified,
                "grub" => golden.name != "grub-revoked",
                _ => true,
            };
            assert_eq!(started(name), expected, "{}: {name} in PCR 4", golden.name);
        }
    }
}

#[test]
fn variants_differ_from_the_plain_machine_where_they_should() {
    let differing = |before: &str, after: &str| -> Vec<u32> {
        let (before, after) = (corpus::golden(before).unwrap(), corpus::golden(after).unwrap());
        let (a, b) = (&before.pcrs["sha256"], &after.pcrs["sha256"]);
        a.keys().copied().filter(|pcr| is_pre_os(*pcr) && a[pcr] != b[pcr]).collect()
    };
    for (variant, pcrs) in [
        ("cmdline", &[8, 9][..]),
        ("initrd", &[9]),
        ("mok", &[14]),
        ("three-banks", &[]),
        ("runtime-extend", &[]),
    ] {
        assert_eq!(differing("secure-boot", variant), pcrs, "{variant}");
    }
    assert!(differing("secure-boot", "secure-boot-off").contains(&7));
    assert!(differing("secure-boot", "other-kernel").contains(&4), "another kernel image is started");
    assert!(differing("secure-boot", "uki").contains(&11), "systemd-stub measures the sections of a UKI");
}
