//! What real machines do that the specifications do not say. Quirks are data: docs/quirks.md is made from this table.

use serde::Serialize;

use crate::{Event, EventType};

/// One known behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quirk {
    /// Stable identifier in kebab case.
    pub id: &'static str,
    /// Who does it.
    pub who: &'static str,
    /// What is seen.
    pub seen: &'static str,
    /// What this crate does about it.
    pub handling: &'static str,
}

/// Every quirk that this crate knows.
pub const QUIRKS: &[Quirk] = &[
    Quirk {
        id: "pcr-not-extended",
        who: "Windows",
        seen: "events with PCR index 0xFFFFFFFF",
        handling: "kept and decoded, not replayed",
    },
    Quirk {
        id: "startup-locality",
        who: "firmware with an H-CRTM or a measured launch",
        seen: "PCR 0 starts at 0x00…03 or 0x00…04",
        handling: "start value from the StartupLocality or H-CRTM event",
    },
    Quirk {
        id: "padded-tail",
        who: "CCEL areas, Linux securityfs copies",
        seen: "0x00 or 0xFF after the last event, up to 1 MiB",
        handling: "reading ends there; other bytes after it give the warning data-after-padding",
    },
    Quirk {
        id: "inactive-bank",
        who: "firmware with a disabled bank",
        seen: "a bank in the header that no event has a digest for",
        handling: "warning inactive-bank; the bank is not compared",
    },
    Quirk {
        id: "secure-boot-empty",
        who: "machines without Secure Boot",
        seen: "variable SecureBoot of length 0",
        handling: "means off",
    },
    Quirk {
        id: "sha1-format",
        who: "Windows and older Linux on TPM 2.0",
        seen: "TCG 1.2 records although the TPM has more banks",
        handling: "read as SHA-1 bank",
    },
    Quirk {
        id: "exit-boot-services-missing",
        who: "logs saved before the operating system took over",
        seen: "PCR 5 lacks the ExitBootServices events",
        handling: "Replay::pcr5_with_exit_boot_services gives the value with them",
    },
    Quirk {
        id: "several-sessions",
        who: "Windows, one log per boot or resume",
        seen: "several logs in one file",
        handling: "only the last one is replayed and measured",
    },
    Quirk {
        id: "rtmr-index",
        who: "CCEL",
        seen: "register index is RTMR + 1",
        handling: "format ccel; indices kept as the log has them",
    },
    Quirk {
        id: "no-action-index",
        who: "CCEL, Windows",
        seen: "EV_NO_ACTION with an index that is not 0",
        handling: "never replayed",
    },
    Quirk {
        id: "stray-byte",
        who: "shim before 15.3; GRUB of Red Hat, Anolis and Alibaba",
        seen: "one byte after the variable or the NUL that was not measured",
        handling: "left out of names; both forms accepted by the digest check",
    },
    Quirk {
        id: "bare-certificate",
        who: "shim",
        seen: "authority without the owner GUID",
        handling: "certificate read from the first byte",
    },
    Quirk {
        id: "authority-order",
        who: "shim before and from 15.3",
        seen: "authority after or before the image that it admitted",
        handling: "attached to the image that lacks one",
    },
    Quirk {
        id: "intel-txt",
        who: "Intel TXT",
        seen: "event types 0x401… also in PCR 0",
        handling: "named; PCR 17 to 22 start at zero when the log extends one of them",
    },
    Quirk {
        id: "post-code-text",
        who: "QEMU, AMI",
        seen: "EV_POST_CODE and EV_PLATFORM_CONFIG_FLAGS with text such as ACPI DATA",
        handling: "text and address both understood",
    },
    Quirk {
        id: "command-line-places",
        who: "GRUB, systemd-boot, systemd-stub, the kernel's EFI stub, td-shim, QEMU",
        seen: "the kernel command line in PCR 8, 9, 11 or 12, as text, as UTF-16, or only as digest",
        handling: "all give kernel-command-line; the value is given where the log has it",
    },
    Quirk {
        id: "application-before-boot",
        who: "Dell, network boot",
        seen: "applications in PCR 4 before the boot attempt",
        handling: "listed in the story; no error",
    },
    Quirk {
        id: "crtm-version-digest",
        who: "Dell",
        seen: "digest of EV_S_CRTM_VERSION is not that of its data",
        handling: "mismatch reported with this quirk",
    },
    Quirk {
        id: "variable-content-only",
        who: "Lenovo, TPM 1.2 time",
        seen: "digest of EV_EFI_VARIABLE_DRIVER_CONFIG covers the content alone",
        handling: "accepted in SHA-1 logs",
    },
    Quirk {
        id: "empty-log",
        who: "Azure Trusted Launch Linux guests",
        seen: "a log of zero bytes",
        handling: "StructureReason::Empty, so that `no log` is told apart from a bad log",
    },
    Quirk {
        id: "wbcl-separator",
        who: "Windows",
        seen: "EV_SEPARATOR with the text WBCL in PCR 12 to 14",
        handling: "not an error value",
    },
    Quirk {
        id: "ima-boot-aggregate",
        who: "Linux with IMA",
        seen: "PCR 10 is extended by the kernel with a digest of PCR 0 to 9; no firmware log has it",
        handling: "predicted by ima_boot_aggregate; never part of Replay",
    },
];

/// The quirk that explains a digest that does not belong to its data.
pub(crate) fn explains_mismatch(event: &Event<'_>) -> Option<&'static str> {
    (event.event_type == EventType::EV_S_CRTM_VERSION).then_some("crtm-version-digest")
}
