//! One named test for each quirk of real machines that this crate has to know (ATTACKS.md, second list).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;
use veriboot_eventlog::{
    ComponentKind, Digest, Format, HashAlg, Measurement, StructureReason, check_digests, measurements, parse,
    quirks, replay, story,
};

fn measured(log: &LogBuilder) -> Vec<Measurement> {
    let parsed = parse(&log.bytes).unwrap();
    measurements(&parsed, parsed.active_banks()[0])
}

#[test]
fn quirk_01_register_0xffffffff_is_kept_and_not_replayed() {
    let mut log = LogBuilder::new(&[SHA256]);
    log.event(0, CRTM_VERSION, b"A").raw(u32::MAX, NO_ACTION, &[(SHA256, vec![0; 32])], &windows());
    log.raw(u32::MAX, EVENT_TAG, &[(SHA256, vec![7; 32])], b"x");
    let parsed = parse(&log.bytes).unwrap();
    assert_eq!(parsed.events.len(), 4);
    let replayed = replay(&parsed, HashAlg::Sha256);
    assert_eq!(replayed.extended.len(), 1);
    assert!(replayed.warnings.is_empty(), "{:?}", replayed.warnings);
    assert_eq!(measured(&log).len(), 1);
}

#[test]
fn quirk_02_startup_locality_gives_the_start_value_of_pcr_0() {
    for (locality, start) in [(0_u8, 0_u8), (3, 3), (4, 4), (9, 0)] {
        let mut log = LogBuilder::new(&[SHA256]);
        log.raw(0, NO_ACTION, &[(SHA256, vec![0; 32])], &[&b"StartupLocality\0"[..], &[locality]].concat());
        log.event(0, CRTM_VERSION, b"A");
        let mut register = vec![0; 32];
        register[31] = start;
        let expected = hash(SHA256, &[register, hash(SHA256, b"A")].concat());
        let replayed = replay(&parse(&log.bytes).unwrap(), HashAlg::Sha256);
        assert_eq!(
            replayed.pcrs.get(&0).copied().unwrap(),
            Digest::new(&expected).unwrap(),
            "locality {locality}"
        );
    }
    let mut log = LogBuilder::new(&[SHA256]);
    log.event(0, 0x8000_0010, b"HCRTM");
    assert_eq!(replay(&parse(&log.bytes).unwrap(), HashAlg::Sha256).startup_locality, Some(4));
}

#[test]
fn quirk_03_padding_ends_the_log() {
    for pad in [0x00, 0xFF] {
        for len in [1, 7, 8, 15, 16, 33, 4096, 1 << 20] {
            let mut log = LogBuilder::ccel(SHA384);
            log.event(1, SEPARATOR, &[0; 4]);
            log.bytes.extend(std::iter::repeat_n(pad, len));
            let parsed = parse(&log.bytes).unwrap();
            assert_eq!(
                (parsed.events.len(), parsed.trailing, parsed.cut),
                (2, len, None),
                "{pad:#x} × {len}"
            );
            assert!(parsed.warnings.is_empty());
        }
    }
    let mut log = LogBuilder::ccel(SHA384);
    log.event(1, SEPARATOR, &[0; 4]);
    log.bytes.extend([0; 64]);
    log.bytes.extend(b"hidden");
    assert_eq!(parse(&log.bytes).unwrap().warnings[0].code, "data-after-padding");
}

#[test]
fn quirk_04_a_bank_that_is_never_extended_is_inactive() {
    let mut log = LogBuilder::new(&[SHA1, SHA256]);
    log.raw(0, CRTM_VERSION, &[(SHA256, hash(SHA256, b"A"))], b"A");
    let parsed = parse(&log.bytes).unwrap();
    assert_eq!(parsed.active_banks(), [HashAlg::Sha256]);
    let replayed = replay(&parsed, HashAlg::Sha1);
    assert!(!replayed.active);
    assert_eq!(replayed.warnings[0].code, "inactive-bank");
    assert!(measurements(&parsed, HashAlg::Sha1).is_empty());
}

#[test]
fn quirk_05_an_empty_secure_boot_variable_means_off() {
    for (data, expected) in [(&[][..], Some(false)), (&[0], Some(false)), (&[1], Some(true))] {
        let mut log = LogBuilder::new(&[SHA256]);
        log.event(7, DRIVER_CONFIG, &variable(global(), "SecureBoot", data));
        assert_eq!(story(&parse(&log.bytes).unwrap()).secure_boot, expected);
    }
    let mut log = LogBuilder::new(&[SHA256]);
    log.event(7, SEPARATOR, &[0; 4]);
    assert_eq!(story(&parse(&log.bytes).unwrap()).secure_boot, None);
}

#[test]
fn quirk_06_sha1_records_are_read_as_a_sha1_bank() {
    let mut bytes = Vec::new();
    sha1_event(&mut bytes, 0, NO_ACTION, &[0; 20], b"Spec ID Event00\0\0\0\0\0\x02\x01\0\x02\0");
    sha1_event(&mut bytes, 0, CRTM_VERSION, &hash(SHA1, b"A").try_into().unwrap(), b"A");
    let parsed = parse(&bytes).unwrap();
    assert_eq!((parsed.format, parsed.events.len()), (Format::Tcg12, 2));
    assert!(replay(&parsed, HashAlg::Sha1).active);
}

#[test]
fn quirk_07_exit_boot_services_events_can_be_missing() {
    let mut saved_early = LogBuilder::new(&[SHA256]);
    saved_early.event(5, SEPARATOR, &[0; 4]);
    let mut whole = saved_early.clone();
    whole.event(5, ACTION, b"Exit Boot Services Invocation");
    whole.event(5, ACTION, b"Exit Boot Services Returned with Success");
    let (early, whole) = (parse(&saved_early.bytes).unwrap(), parse(&whole.bytes).unwrap());
    let expected = replay(&whole, HashAlg::Sha256).pcrs.get(&5).copied().unwrap();
    assert_eq!(replay(&early, HashAlg::Sha256).pcr5_with_exit_boot_services(&early), Some(expected));
    assert_eq!(replay(&whole, HashAlg::Sha256).pcr5_with_exit_boot_services(&whole), None);
}

#[test]
fn quirk_08_only_the_last_of_several_logs_is_replayed() {
    let mut log = LogBuilder::new(&[SHA1, SHA256]);
    log.event(0, CRTM_VERSION, b"first boot").event(4, SEPARATOR, &[0; 4]);
    log.banks = vec![SHA256];
    log.header(0);
    log.event(0, CRTM_VERSION, b"A");
    let parsed = parse(&log.bytes).unwrap();
    assert_eq!((parsed.sessions, parsed.session_start, parsed.cut), (2, 3, None));
    assert_eq!(parsed.banks, [HashAlg::Sha256]);
    let replayed = replay(&parsed, HashAlg::Sha256);
    assert_eq!(
        replayed.pcrs.get(&0).copied().unwrap(),
        Digest::new(&hash(SHA256, &[vec![0; 32], hash(SHA256, b"A")].concat())).unwrap()
    );
    assert_eq!(replayed.extended.len(), 1);
    assert_eq!(measurements(&parsed, HashAlg::Sha256).len(), 1);
}

#[test]
fn quirk_09_banks_are_replayed_apart() {
    let mut log = LogBuilder::new(&[SHA256, SHA384]);
    log.event(0, CRTM_VERSION, b"A");
    let parsed = parse(&log.bytes).unwrap();
    assert_eq!(replay(&parsed, HashAlg::Sha256).pcrs.get(&0).copied().unwrap().as_ref().len(), 32);
    assert_eq!(replay(&parsed, HashAlg::Sha384).pcrs.get(&0).copied().unwrap().as_ref().len(), 48);
}

#[test]
fn quirk_10_ccel_registers_are_rtmr_plus_one() {
    let mut log = LogBuilder::ccel(SM3);
    log.event(1, SEPARATOR, &[0; 4]).raw(3, NO_ACTION, &[(SM3, vec![1; 32])], b"x").event(4, EVENT_TAG, b"x");
    let parsed = parse(&log.bytes).unwrap();
    assert_eq!((parsed.format, parsed.banks[0]), (Format::Ccel, HashAlg::Sm3_256));
    let replayed = replay(&parsed, HashAlg::Sm3_256);
    assert_eq!(replayed.pcrs.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(replayed.extended.iter().copied().collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn quirk_11_stray_bytes_and_new_names_of_shim() {
    let mut log = LogBuilder::new(&[SHA256]);
    log.event_over(14, IPL, b"MokList\0\xAF", b"mok");
    log.event(7, AUTHORITY, &variable(shim_lock(), "MokListFuture", &[1]));
    let data = variable(shim_lock(), "SbatLevel", b"sbat,1,2024010900\n");
    log.event_over(7, AUTHORITY, &[&data[..], &[0x5A]].concat(), &data);
    log.event_over(8, IPL, b"grub_cmd set a=1\0\x9F", b"set a=1\0");
    let measured = measured(&log);
    let seen: Vec<_> = measured.iter().map(|m| (m.kind, &*m.name)).collect();
    assert_eq!(
        seen,
        [
            (ComponentKind::MokState, "MokList"),
            (ComponentKind::MokState, "MokListFuture"),
            (ComponentKind::SbatLevel, "SbatLevel"),
            (ComponentKind::BootLoaderConfig, "GRUB command set"),
        ]
    );
    assert_eq!(measured[3].value.as_deref(), Some("set a=1"));
    assert_eq!(check_digests(&parse(&log.bytes).unwrap()), []);
}

#[test]
fn quirk_12_intel_txt_post_code_text_and_platform_flags() {
    let mut log = LogBuilder::new(&[SHA256]);
    log.event(17, 0x401, &[1; 4]).event_over(0, 1, b"ACPI DATA", b"tables").event_over(
        1,
        10,
        b"ACPI DATA",
        b"tables",
    );
    log.event(18, 0x40C, &[]);
    let parsed = parse(&log.bytes).unwrap();
    let replayed = replay(&parsed, HashAlg::Sha256);
    let expected = hash(SHA256, &[vec![0; 32], hash(SHA256, &[1; 4])].concat());
    assert_eq!(
        replayed.pcrs.get(&17).copied().unwrap(),
        Digest::new(&expected).unwrap(),
        "a dynamic launch resets PCR 17 to zero"
    );
    assert_eq!(replayed.pcrs.get(&19).copied().unwrap().to_string(), "00".repeat(32));
    let kinds: Vec<_> = measured(&log).into_iter().map(|m| (m.kind, m.name)).collect();
    assert_eq!(kinds[0], (ComponentKind::Firmware, "EV_TXT_PCR_MAPPING".into()));
    assert_eq!(kinds[1], (ComponentKind::PlatformConfig, "ACPI DATA".into()));
    assert_eq!(kinds[2], kinds[1]);
}

#[test]
fn quirk_13_the_kernel_command_line_in_all_its_places() {
    let mut stub_tag = 0x8F3B_22ED_u32.to_le_bytes().to_vec();
    stub_tag.extend(26_u32.to_le_bytes());
    stub_tag.extend(b"LOADED_IMAGE::LoadOptions\0");
    let mut handed_over = b"td_payload_info\0".to_vec();
    handed_over.extend(16_u32.to_le_bytes());
    handed_over.extend(b"root=/dev/vda1\0\0");
    let places: [(u32, u32, Vec<u8>, Option<&str>); 7] = [
        (8, IPL, b"kernel_cmdline: /vmlinuz root=/dev/vda1\0".to_vec(), Some("root=/dev/vda1")),
        (8, IPL, b"grub_cmd: linux /vmlinuz root=/dev/vda1\0".to_vec(), Some("root=/dev/vda1")),
        (8, IPL, b"grub_kernel_cmdline /vmlinuz root=/dev/vda1\0".to_vec(), Some("root=/dev/vda1")),
        (12, IPL, utf16("root=/dev/vda1\0"), Some("root=/dev/vda1")),
        (9, EVENT_TAG, stub_tag, None),
        (9, EVENT_TAG, b"LOADED_IMAGE::LoadOptions\0".to_vec(), None),
        (2, 10, handed_over, Some("root=/dev/vda1")),
    ];
    for (pcr, kind, data, expected) in places {
        let mut log = LogBuilder::new(&[SHA256]);
        log.event(pcr, kind, &data);
        let m = measured(&log).remove(0);
        assert_eq!((m.kind, m.value.as_deref()), (ComponentKind::KernelCommandLine, expected), "{}", m.name);
    }
}

#[test]
fn quirk_14_applications_before_the_boot_attempt_and_retries() {
    let mut log = LogBuilder::new(&[SHA256]);
    log.event_over(4, APPLICATION, &image("\\efi\\vendor\\setup.efi"), b"setup");
    log.event(7, ACTION, b"DMA Protection Disabled");
    log.event(4, ACTION, b"Calling EFI Application from Boot Option");
    log.event(4, SEPARATOR, &[0; 4]);
    log.event(4, ACTION, b"Returning from EFI Application from Boot Option");
    log.event(4, ACTION, b"Calling EFI Application from Boot Option");
    log.event_over(4, APPLICATION, &image("\\EFI\\debian\\shimx64.efi"), b"shim");
    let parsed = parse(&log.bytes).unwrap();
    assert!(parsed.warnings.is_empty());
    let roles: Vec<_> = story(&parsed).images.into_iter().map(|i| i.role).collect();
    assert_eq!(roles, [ComponentKind::BootLoader, ComponentKind::Shim]);
}

#[test]
fn quirk_15_a_version_digest_that_is_not_that_of_the_version() {
    let mut log = LogBuilder::new(&[SHA256]);
    log.event_over(0, CRTM_VERSION, &utf16("2.3.5\0"), b"something else");
    let mismatches = check_digests(&parse(&log.bytes).unwrap());
    assert_eq!((mismatches.len(), mismatches[0].quirk), (1, Some("crtm-version-digest")));
}

#[test]
fn quirk_16_run_time_registers_are_not_in_the_log() {
    let mut log = LogBuilder::new(&[SHA256]);
    log.event(0, CRTM_VERSION, b"A");
    let replayed = replay(&parse(&log.bytes).unwrap(), HashAlg::Sha256);
    for pcr in [10, 11, 15] {
        assert!(!replayed.extended.contains(&pcr));
    }
}

#[test]
fn quirk_17_an_empty_log_has_its_own_reason() {
    let error = parse(b"").unwrap_err();
    assert_eq!((error.reason, error.code()), (StructureReason::Empty, "log-empty"));
}

/// Quirk 18 is about certificates of TPMs; here it is the certificates in logs that must be read leniently.
#[test]
fn quirk_18_certificates_are_named_without_being_judged() {
    // Version 3, SHA-1 signature, expiry 9999-12-31, T61String and BMPString names: built as DER here.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag, 0x82];
        out.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        out.extend(content);
        out
    }
    let attribute =
        |oid: &[u8], tag: u8, text: &[u8]| der(0x31, &der(0x30, &[der(0x06, oid), der(tag, text)].concat()));
    let issuer = der(0x30, &attribute(&[0x55, 4, 3], 0x14, b"Pr\xFCfer"));
    let subject = der(
        0x30,
        &[attribute(&[0x55, 4, 10], 0x0C, b"A, B"), attribute(&[0x55, 4, 3], 0x1E, b"\0T\0P\0M")].concat(),
    );
    let validity = der(0x30, &[der(0x17, b"110627212245Z"), der(0x18, b"99991231235959Z")].concat());
    let tbs = der(
        0x30,
        &[der(0xA0, &der(2, &[2])), der(2, &[1, 2]), der(0x30, &[]), issuer, validity, subject].concat(),
    );
    let certificate = der(0x30, &[tbs, der(0x30, &[]), der(3, &[0])].concat());

    let mut log = LogBuilder::new(&[SHA256]);
    let owned = [&[0x11; 16][..], &certificate, &[0x5A]].concat();
    log.event(7, AUTHORITY, &variable(veriboot_eventlog::guids::IMAGE_SECURITY_DATABASE.0, "db", &owned));
    log.event(7, AUTHORITY, &variable(shim_lock(), "Shim", &certificate));
    let measured = measured(&log);
    assert_eq!(measured[0].signer.as_deref(), Some("TPM"));
    assert_eq!(measured[1].signer.as_deref(), Some("TPM"), "shim leaves the owner out");

    let parsed = veriboot_eventlog::Certificate::parse(&certificate).unwrap();
    assert_eq!(parsed.subject.to_string(), "CN=TPM,O=A\\, B");
    assert_eq!(parsed.issuer.to_string(), "CN=Prüfer");
    assert_eq!(
        (parsed.not_before.to_string(), parsed.not_after.to_string()),
        ("2011-06-27".into(), "9999-12-31".into())
    );
}

#[test]
fn every_quirk_is_described_once() {
    let mut ids: Vec<_> = quirks::QUIRKS.iter().map(|q| q.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), quirks::QUIRKS.len());
}

#[test]
fn the_document_is_the_table() {
    let mut expected = String::from(
        "# Quirks of real machines\n\nMade from the table in `src/quirks.rs`; a test compares the two.\n\n\
         | id | who | what is seen | what is done about it |\n|---|---|---|---|\n",
    );
    for quirk in quirks::QUIRKS {
        expected += &format!("| `{}` | {} | {} | {} |\n", quirk.id, quirk.who, quirk.seen, quirk.handling);
    }
    assert_eq!(include_str!("../docs/quirks.md"), expected, "docs/quirks.md is out of date");
}
