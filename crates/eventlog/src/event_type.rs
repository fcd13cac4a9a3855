//! Event types and their names (TCG PC Client Platform Firmware Profile 1.06, section 10.4.1; Intel TXT SDG,
//! appendix G).

use std::fmt;

use serde::{Serialize, Serializer};

/// The type of an event. Any number is a value; [`EventType::name`] knows the registered ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(pub u32);

macro_rules! event_types {
    ($($(#[$meta:meta])* $name:ident = $value:literal,)+) => {
        #[allow(missing_docs, reason = "the names are those of the specification")]
        impl EventType {
            $($(#[$meta])* pub const $name: Self = Self($value);)+

            /// Name in the specification, `None` for a type that is not registered.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($value => Some(stringify!($name)),)+ _ => None }
            }

            /// Every registered type.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

event_types! {
    EV_PREBOOT_CERT = 0x0000_0000,
    EV_POST_CODE = 0x0000_0001,
    EV_UNUSED = 0x0000_0002,
    EV_NO_ACTION = 0x0000_0003,
    EV_SEPARATOR = 0x0000_0004,
    EV_ACTION = 0x0000_0005,
    EV_EVENT_TAG = 0x0000_0006,
    EV_S_CRTM_CONTENTS = 0x0000_0007,
    EV_S_CRTM_VERSION = 0x0000_0008,
    EV_CPU_MICROCODE = 0x0000_0009,
    EV_PLATFORM_CONFIG_FLAGS = 0x0000_000A,
    EV_TABLE_OF_DEVICES = 0x0000_000B,
    EV_COMPACT_HASH = 0x0000_000C,
    EV_IPL = 0x0000_000D,
    EV_IPL_PARTITION_DATA = 0x0000_000E,
    EV_NONHOST_CODE = 0x0000_000F,
    EV_NONHOST_CONFIG = 0x0000_0010,
    EV_NONHOST_INFO = 0x0000_0011,
    EV_OMIT_BOOT_DEVICE_EVENTS = 0x0000_0012,
    EV_POST_CODE2 = 0x0000_0013,
    EV_TXT_EVENT_BASE = 0x0000_0400,
    EV_TXT_PCR_MAPPING = 0x0000_0401,
    EV_TXT_HASH_START = 0x0000_0402,
    EV_TXT_COMBINED_HASH = 0x0000_0403,
    EV_TXT_MLE_HASH = 0x0000_0404,
    EV_TXT_BIOSAC_REG_DATA = 0x0000_040A,
    EV_TXT_CPU_SCRTM_STAT = 0x0000_040B,
    EV_TXT_LCP_CONTROL_HASH = 0x0000_040C,
    EV_TXT_ELEMENTS_HASH = 0x0000_040D,
    EV_TXT_STM_HASH = 0x0000_040E,
    EV_TXT_OSSINITDATA_CAP_HASH = 0x0000_040F,
    EV_TXT_SINIT_PUBKEY_HASH = 0x0000_0410,
    EV_TXT_LCP_HASH = 0x0000_0411,
    EV_TXT_LCP_DETAILS_HASH = 0x0000_0412,
    EV_TXT_LCP_AUTHORITIES_HASH = 0x0000_0413,
    EV_TXT_NV_INFO_HASH = 0x0000_0414,
    EV_TXT_COLD_BOOT_BIOS_HASH = 0x0000_0415,
    EV_TXT_KM_HASH = 0x0000_0416,
    EV_TXT_BPM_HASH = 0x0000_0417,
    EV_TXT_KM_INFO_HASH = 0x0000_0418,
    EV_TXT_BPM_INFO_HASH = 0x0000_0419,
    EV_TXT_BOOT_POL_HASH = 0x0000_041A,
    EV_TXT_RANDOM_VALUE = 0x0000_04FE,
    EV_TXT_CAP_VALUE = 0x0000_04FF,
    /// Linux Secure Launch: the kernel measures into PCR 17 and 18.
    EV_TXT_SLAUNCH = 0x0000_0502,
    EV_TXT_SLAUNCH_START = 0x0000_0503,
    EV_TXT_SLAUNCH_END = 0x0000_0504,
    EV_EFI_EVENT_BASE = 0x8000_0000,
    EV_EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001,
    EV_EFI_VARIABLE_BOOT = 0x8000_0002,
    EV_EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003,
    EV_EFI_BOOT_SERVICES_DRIVER = 0x8000_0004,
    EV_EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005,
    EV_EFI_GPT_EVENT = 0x8000_0006,
    EV_EFI_ACTION = 0x8000_0007,
    EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008,
    EV_EFI_HANDOFF_TABLES = 0x8000_0009,
    EV_EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000A,
    EV_EFI_HANDOFF_TABLES2 = 0x8000_000B,
    EV_EFI_VARIABLE_BOOT2 = 0x8000_000C,
    EV_EFI_GPT_EVENT2 = 0x8000_000D,
    EV_EFI_HCRTM_EVENT = 0x8000_0010,
    EV_EFI_VARIABLE_AUTHORITY = 0x8000_00E0,
    EV_EFI_SPDM_FIRMWARE_BLOB = 0x8000_00E1,
    EV_EFI_SPDM_FIRMWARE_CONFIG = 0x8000_00E2,
    EV_EFI_SPDM_DEVICE_POLICY = 0x8000_00E3,
    EV_EFI_SPDM_DEVICE_AUTHORITY = 0x8000_00E4,
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => f.pad(&format!("0x{:08x}", self.0)),
        }
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
