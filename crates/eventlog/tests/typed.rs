//! Every type of event has a meaning that is read from a real log: captures of our own machines, and where those have no
//! such event the logs of `VERIBOOT_CORPUS`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::path::PathBuf;

use veriboot_eventlog::{
    ComponentKind, EventType, EventType as T, HashAlg, check_digests, measurements, parse,
};

/// Where the log is.
enum Log {
    /// A capture of this repository.
    Own(&'static str),
    /// A log of others.
    Others(&'static str),
}

use Log::{Others, Own};

/// Log, type, register, and what its JSON must have.
type Row = (Log, EventType, u32, &'static [&'static str]);

const WINDOWS: &str = "go-attestation--attest_testdata_windows_gcp_shielded_vm.json__Log_Raw.bin";
/// Windows on hardware, with a hypervisor and virtualization-based security.
const WINDOWS_VBS: &str = "go-eventlog--option_rom_eventlog.bin";

const ROWS: &[Row] = &[
    (Own("secure-boot"), T::EV_NO_ACTION, 0, &[r#""type":"spec-id""#, r#""version":"2.0""#]),
    (Others("go-eventlog--glinux-alex.bin"), T::EV_NO_ACTION, 0, &[r#""startup-locality","locality":3"#]),
    (
        Others("go-tpm-tools--confidential-gke-debug-251000_eventlog.bin"),
        T::EV_NO_ACTION,
        0,
        &[
            r#""reference-manifest","version":3"#,
            r#""platform_model":"Google Compute Engine""#,
            "FirmwareRIM",
        ],
    ),
    (Others("python3-uefi-eventlog--ideapad1.bin"), T::EV_NO_ACTION, u32::MAX, &["TRUSTPOINT_AGGREGATION"]),
    (Own("secure-boot"), T::EV_S_CRTM_VERSION, 0, &[r#""kind":"crtm-version""#]),
    (Others("HIRS--TpmLogSHA1.bin"), T::EV_S_CRTM_CONTENTS, 0, &["Boot Guard Measured S-CRTM"]),
    (
        Own("secure-boot"),
        T::EV_EFI_PLATFORM_FIRMWARE_BLOB,
        0,
        &[r#""kind":"firmware-blob","base":8519680,"length":917504"#],
    ),
    (
        Others("attestation-rs--CCEL_data.bin"),
        T::EV_EFI_PLATFORM_FIRMWARE_BLOB2,
        2,
        &[r#""description":"td_payload","base":9441280"#],
    ),
    (Others("HIRS--TPMLog_Altered.bin"), T::EV_EFI_HANDOFF_TABLES, 1, &[r#""name":"SMBIOS 3""#]),
    (
        Others("attestation-rs--tdx_ccel_live.bin"),
        T::EV_EFI_HANDOFF_TABLES2,
        1,
        &[r#""description":"TdxTable""#, "TD hand-off blocks"],
    ),
    (Others("HIRS--TpmLogSHA1.bin"), T::EV_POST_CODE, 0, &[r#""kind":"firmware-blob""#]),
    (Others("HIRS--TPMLog_Altered.bin"), T::EV_POST_CODE, 0, &[r#""description":"ACPI DATA""#]),
    (Others("attestation-rs--tdx_ccel_live.bin"), T::EV_PLATFORM_CONFIG_FLAGS, 1, &["ACPI DATA"]),
    (
        Others("attestation-rs--CCEL_data.bin"),
        T::EV_PLATFORM_CONFIG_FLAGS,
        1,
        &[r#""handed-over","name":"td_hob""#],
    ),
    (
        Others("go-eventlog--option_rom_eventlog.bin"),
        T::EV_CPU_MICROCODE,
        1,
        &["Load microcode revision 000000A1"],
    ),
    (Others("go-tpm-tools--gdc-host.bin"), T::EV_TABLE_OF_DEVICES, 1, &[r#""kind":"platform""#]),
    (
        Others("go-eventlog--coreos_36_shielded_vm_no_secure_boot_eventlog.bin"),
        T::EV_NONHOST_INFO,
        0,
        &[r#""technology":"AMD SEV""#],
    ),
    (Others("python3-uefi-eventlog--intel_svr.bin"), T::EV_TXT_STM_HASH, 0, &[r#""kind":"dynamic-launch""#]),
    // Variables that steer Secure Boot and booting.
    (Own("secure-boot"), T::EV_EFI_VARIABLE_DRIVER_CONFIG, 7, &[r#""name":"SecureBoot","enabled":true"#]),
    (
        Own("secure-boot-disabled"),
        T::EV_EFI_VARIABLE_DRIVER_CONFIG,
        7,
        &[r#""name":"SecureBoot","enabled":false"#],
    ),
    (
        Own("secure-boot"),
        T::EV_EFI_VARIABLE_DRIVER_CONFIG,
        7,
        &[r#""name":"PK""#, "CN=Debian UEFI Secure Boot"],
    ),
    (
        Own("secure-boot"),
        T::EV_EFI_VARIABLE_DRIVER_CONFIG,
        7,
        &[r#""name":"KEK""#, "CN=Microsoft Corporation KEK CA 2011"],
    ),
    (
        Own("secure-boot"),
        T::EV_EFI_VARIABLE_DRIVER_CONFIG,
        7,
        &[r#""name":"db""#, "CN=Microsoft Windows Production PCA 2011", r#""not_after":"2026-10-19""#],
    ),
    (Own("secure-boot"), T::EV_EFI_VARIABLE_DRIVER_CONFIG, 7, &[r#""name":"dbx""#, r#""type":"sha256""#]),
    (
        Others("go-tpm-tools--gdc-host.bin"),
        T::EV_EFI_VARIABLE_DRIVER_CONFIG,
        1,
        &[r#""name":"AuditMode","enabled":false"#],
    ),
    (
        Others("go-tpm-tools--gdc-host.bin"),
        T::EV_EFI_VARIABLE_DRIVER_CONFIG,
        1,
        &[r#""name":"DeployedMode","enabled":true"#],
    ),
    (Own("secure-boot"), T::EV_EFI_VARIABLE_BOOT, 1, &[r#""boot_order":["Boot0001""#]),
    (Own("secure-boot"), T::EV_EFI_VARIABLE_BOOT, 1, &[r#""name":"Boot0000""#, "UiApp", "FvFile(462caa21"]),
    // What admitted images.
    (
        Own("secure-boot"),
        T::EV_EFI_VARIABLE_AUTHORITY,
        7,
        &[
            r#""name":"db","certificate":{"subject":"CN=Microsoft Corporation UEFI CA 2011"#,
            r#""not_before":"2011-06-27""#,
        ],
    ),
    (
        Own("secure-boot"),
        T::EV_EFI_VARIABLE_AUTHORITY,
        7,
        &[r#""name":"SbatLevel","text":"sbat,1,"#, "shim,4"],
    ),
    (
        Own("secure-boot"),
        T::EV_EFI_VARIABLE_AUTHORITY,
        7,
        &[r#""name":"MokListRT""#, "CN=Debian Secure Boot CA"],
    ),
    (
        Own("other-lists"),
        T::EV_EFI_VARIABLE_DRIVER_CONFIG,
        7,
        &[r#""name":"dbt","signatures":[{"type":"sha256""#, "a1a1a1a1"],
    ),
    (
        Own("u-boot"),
        T::EV_EFI_VARIABLE_DRIVER_CONFIG,
        7,
        &[r#""name":"dbt""#, "CN=Veriboot lab time stamp key", "b2b2b2b2"],
    ),
    // EDK II measures no dbr; U-Boot does.
    (
        Own("u-boot"),
        T::EV_EFI_VARIABLE_DRIVER_CONFIG,
        7,
        &[
            r#""name":"dbr""#,
            r#""subject":"CN=Veriboot lab recovery key""#,
            r#"{"type":"sha256""#,
            "c3c3c3c3",
            r#""type":"x509-sha256""#,
            "ea070102030405",
        ],
    ),
    (Own("mok-validation-off"), T::EV_EFI_VARIABLE_AUTHORITY, 7, &[r#""name":"MokSBState","enabled":true"#]),
    (
        Others("go-eventlog--coreos_36_shielded_vm_no_secure_boot_eventlog.bin"),
        T::EV_EFI_VARIABLE_AUTHORITY,
        7,
        &[r#""name":"MokListTrusted""#],
    ),
    (
        Others("HIRS--laptop_badOemInstall_var.1.rimel.bin"),
        T::EV_EFI_VARIABLE_AUTHORITY,
        7,
        &[r#""name":"vendor_db""#, "CN=CentOS Secure Boot CA 2"],
    ),
    (
        Others("HIRS--TpmLogSHA1.bin"),
        T::EV_EFI_VARIABLE_AUTHORITY,
        7,
        &[r#""name":"Shim""#, "CN=Canonical Ltd. Master Certificate"],
    ),
    // Images, partitions, boundaries, actions.
    (
        Own("secure-boot"),
        T::EV_EFI_BOOT_SERVICES_APPLICATION,
        4,
        &["PciRoot(0x0)/Pci(0x1,0x0)/HD(1,GPT,", r"\\EFI\\BOOT\\BOOTX64.EFI"],
    ),
    (
        Others("HIRS--TPMLog_Altered.bin"),
        T::EV_EFI_BOOT_SERVICES_DRIVER,
        2,
        &["Fv(b6ede22c-de30-45fa-bb09-ca202c1654b7)/FvFile("],
    ),
    (
        Own("secure-boot"),
        T::EV_EFI_GPT_EVENT,
        5,
        &[r#""name":"esp""#, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"],
    ),
    (Own("secure-boot"), T::EV_SEPARATOR, 7, &[r#""error":false,"value":"00000000""#]),
    (Own("secure-boot"), T::EV_EFI_ACTION, 4, &["Calling EFI Application from Boot Option"]),
    (Own("secure-boot"), T::EV_EFI_ACTION, 5, &["Exit Boot Services Returned with Success"]),
    // Boot loaders and kernels.
    (Own("mok"), T::EV_IPL, 14, &[r#""type":"mok","name":"MokList""#]),
    (Own("secure-boot"), T::EV_IPL, 8, &[r#""type":"command""#]),
    (Own("secure-boot"), T::EV_IPL, 8, &[r#""type":"kernel-command-line""#, "console=ttyS0"]),
    (Own("secure-boot"), T::EV_IPL, 9, &[r#""type":"file","path":"(hd0,gpt1)/EFI/debian/grub.cfg""#]),
    (
        Others("go-tpm-tools--gdc-host.bin"),
        T::EV_IPL,
        9,
        &[r#""type":"file","path":"(hd0,gpt2)/grub/x86_64-efi/bli.mod""#],
    ),
    (Others("go-eventlog--rhel8-uefi.bin"), T::EV_IPL, 9, &["grub_linuxefi Kernel"]),
    (Own("uki"), T::EV_IPL, 11, &[r#""type":"section","name":".linux""#]),
    (Own("uki"), T::EV_IPL, 11, &[r#""type":"section","name":".osrel""#]),
    (Own("uki"), T::EV_IPL, 12, &[r#""type":"wide","text":"console=ttyS0 quiet"#]),
    (Own("uki-credentials"), T::EV_IPL, 12, &[r#""type":"wide","text":"Credentials initrd""#]),
    (Own("uki-credentials"), T::EV_IPL, 12, &[r#""type":"wide","text":"Global credentials initrd""#]),
    (Own("uki"), T::EV_EVENT_TAG, 9, &[r#""tag":"kernel-initrd","text":"Linux initrd""#]),
    (Own("uki"), T::EV_EVENT_TAG, 9, &[r#""tag":"kernel-load-options""#]),
    (
        Others("trustee--CCEL_AAEL_alibabacloud.bin"),
        T::EV_EVENT_TAG,
        4,
        &[r#""attestation-agent","text":"coco.com some-operation"#],
    ),
    // Windows.
    (Others(WINDOWS), T::EV_COMPACT_HASH, 11, &[r#""kind":"compact-hash""#]),
    (
        Others(WINDOWS),
        T::EV_EVENT_TAG,
        12,
        &["TRUSTBOUNDARY", "BOOTDEBUGGING", "DATAEXECUTIONPREVENTION", "SAFEMODE"],
    ),
    (Others(WINDOWS), T::EV_EVENT_TAG, 12, &["CODEINTEGRITY", "TESTSIGNING", "OSKERNELDEBUG", "WINPE"]),
    (Others(WINDOWS), T::EV_EVENT_TAG, 12, &["BOOTCOUNTER", "LOADEDMODULE_AGGREGATION"]),
    (
        Others(WINDOWS),
        T::EV_EVENT_TAG,
        13,
        &["LOADEDMODULE_AGGREGATION", "FILEPATH", "AUTHENTICODEHASH", "AUTHORITYPUBLISHER"],
    ),
    (
        Others(WINDOWS),
        T::EV_EVENT_TAG,
        13,
        &[
            r#""HASHALGORITHMID","value":32780"#,
            r#""AUTHORITYISSUER","value":"Microsoft Windows Third Party Component CA 2014""#,
            r#""IMAGEVALIDATED","value":true"#,
        ],
    ),
    (Others(WINDOWS_VBS), T::EV_EVENT_TAG, 13, &[r#""HASHALGORITHMID","value":32772"#]),
    (
        Others(WINDOWS),
        T::EV_EVENT_TAG,
        13,
        &[
            r#""BOOT_REVOCATION_LIST","value":"76dea1e54ada0c2e765bdb30099a5739"#,
            r#""OS_REVOCATION_LIST","value":"1bab1978c5b1129914361dc69ea6093a"#,
        ],
    ),
    (
        Others(WINDOWS),
        T::EV_EVENT_TAG,
        12,
        &[r#""FLIGHTSIGNING","value":false"#, r#""BITLOCKER_UNLOCK","value":0"#],
    ),
    (Others(WINDOWS_VBS), T::EV_EVENT_TAG, 12, &[r#""BITLOCKER_UNLOCK","value":4"#]),
    (Others(WINDOWS), T::EV_EVENT_TAG, 12, &[r#""OSDEVICE","value":"partition (65540)""#]),
    (Others(WINDOWS_VBS), T::EV_EVENT_TAG, 12, &[r#""SMT_STATUS","value":"on (1)""#]),
    (Others(WINDOWS), T::EV_EVENT_TAG, 12, &[r#""DRIVER_LOAD_POLICY","value":"good only (1)""#]),
    (
        Others(WINDOWS),
        T::EV_EVENT_TAG,
        12,
        &[
            r#""ELAM_AGGREGATION","events":["#,
            r#""ELAM_KEYNAME","value":"Windows Defender""#,
            r#""ELAM_MEASURED","value":"067d5b9dc5627f97dcf3feff602a342ed698d2cc""#,
        ],
    ),
    (
        Others("python3-uefi-eventlog--ideapad1.bin"),
        T::EV_EVENT_TAG,
        12,
        &[r#""ELAM_KEYNAME","value":"Symantec""#, r#""ELAM_CONFIGURATION","value":"3d7409d8c4b43df0"#],
    ),
    (
        Others(WINDOWS),
        T::EV_EVENT_TAG,
        12,
        &[r#""HYPERVISOR_LAUNCH_TYPE","value":"off (0)""#, r#""VSM_LAUNCH_TYPE","value":"off (0)""#],
    ),
    // No log of Windows that we have holds it: the lab's program had OVMF measure it (docs/lab.md).
    (
        Own("windows-events"),
        T::EV_EVENT_TAG,
        12,
        &[r#""VBS_VSM_REQUIRED","value":true"#, r#""VBS_HVCI_POLICY","value":1"#],
    ),
    (
        Others(WINDOWS_VBS),
        T::EV_EVENT_TAG,
        12,
        &[
            r#""HYPERVISOR_LAUNCH_TYPE","value":"on (1)""#,
            r#""VSM_LAUNCH_TYPE","value":"on (1)""#,
            r#""VBS_VSM_REQUIRED","value":true"#,
            r#""VBS_SECUREBOOT_REQUIRED","value":true"#,
            r#""VBS_MMIO_NX_REQUIRED","value":true"#,
            r#""VBS_MSR_FILTERING_REQUIRED","value":true"#,
            r#""VBS_MICROSOFT_BOOT_CHAIN_REQUIRED","value":true"#,
        ],
    ),
    (
        Others(WINDOWS_VBS),
        T::EV_EVENT_TAG,
        12,
        &[
            r#""HYPERVISOR_DEBUG","value":false"#,
            r#""HYPERVISOR_IOMMU_POLICY","value":"default (0)""#,
            r#""HYPERVISOR_MMIO_NX_POLICY","value":"enabled (1)""#,
            r#""HYPERVISOR_MSR_FILTER_POLICY","value":"enabled (1)""#,
        ],
    ),
];

fn path(log: &Log) -> Option<PathBuf> {
    match log {
        Own(variant) => {
            let captures = common::captures().into_iter();
            let found = captures.filter(|(name, _)| name == variant).map(|(_, path)| path).next();
            Some(found.unwrap_or_else(|| panic!("no capture {variant}")).join("eventlog.bin"))
        }
        Others(name) => Some(common::corpus()?.join("logs").join(name)),
    }
}

#[test]
fn every_type_of_event_is_read_from_a_real_log() {
    let mut missing = Vec::new();
    for (log, event_type, register, wanted) in ROWS {
        let Some(path) = path(log) else { continue };
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let log = parse(&bytes).unwrap();
        let events = log.events.iter().filter(|e| e.event_type == *event_type && e.pcr == *register);
        let decoded: Vec<String> = events.map(|e| serde_json::to_string(&e.decode()).unwrap()).collect();
        if !decoded.iter().any(|json| wanted.iter().all(|text| json.contains(text))) {
            let seen: Vec<String> =
                decoded.iter().take(8).map(|json| json.chars().take(200).collect()).collect();
            missing.push(format!("{}: {event_type} in {register}: {wanted:?}\n{seen:#?}", path.display()));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// What U-Boot measured of the list of recovery keys: a certificate, the digest of an image, and a certificate that is
/// not trusted from a time on.
#[test]
fn a_list_of_recovery_keys_is_read_as_its_neighbours_are() {
    let bytes = std::fs::read(path(&Own("u-boot")).unwrap()).unwrap();
    let log = parse(&bytes).unwrap();
    assert_eq!(check_digests(&log), []);
    let measured = measurements(&log, HashAlg::Sha256);
    let named = |name: &str| measured.iter().find(|m| m.name == name).unwrap();
    let (stamps, recovery) = (named("dbt"), named("dbr"));
    assert_eq!((stamps.kind, stamps.pcr), (ComponentKind::SecureBootVariable, 7));
    assert_eq!((recovery.kind, recovery.pcr), (ComponentKind::SecureBootVariable, 7));
    assert_eq!(recovery.value.as_deref(), Some("Veriboot lab recovery key, 2 hashes"));
    let event = &log.events[recovery.event as usize];
    assert_eq!(event.event_type, T::EV_EFI_VARIABLE_DRIVER_CONFIG);
    let vendor: [u8; 16] = event.data[..16].try_into().unwrap();

    // Only its name tells what an empty list is, and only its vendor that it belongs to Secure Boot wherever it is.
    let mut made = common::LogBuilder::new(&[common::SHA256]);
    made.event(1, common::DRIVER_CONFIG, &common::variable(vendor, "dbr", &[]));
    let log = parse(&made.bytes).unwrap();
    let empty = &measurements(&log, HashAlg::Sha256)[0];
    assert_eq!((empty.kind, empty.value.as_deref()), (ComponentKind::SecureBootVariable, Some("empty")));
    let json = serde_json::to_string(&log.events[1].decode()).unwrap();
    assert!(json.contains(r#""name":"dbr","signatures":[]"#), "{json}");
}
