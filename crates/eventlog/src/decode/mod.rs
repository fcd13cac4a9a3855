//! Second layer: what event data means. Unknown is a value, never an error.
//!
//! Everything is borrowed from the log; text is made printable when it is shown or serialised.

pub mod device_path;
pub mod firmware;
pub mod gpt;
pub mod image;
pub mod ipl;
pub mod load_option;
pub mod no_action;
pub mod signature_list;
pub mod sipa;
pub mod tagged;
pub mod variable;

use serde::Serialize;

use self::firmware::{Blob, HandedOver, HandoffTables, Loose};
use self::gpt::PartitionTable;
use self::image::Image;
use self::ipl::Ipl;
use self::no_action::NoAction;
use self::tagged::Tagged;
use self::variable::{Authority, Variable};
use crate::text::{Hex, Text};
use crate::{Event, EventType};

/// Meaning of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Decoded<'a> {
    /// EV_NO_ACTION.
    NoAction {
        /// What it informs about.
        info: NoAction<'a>,
    },
    /// Version of the static root of trust.
    CrtmVersion {
        /// Text, GUID or hex.
        version: Loose<'a>,
    },
    /// Code of the static root of trust.
    CrtmContents {
        /// Text, address or hex.
        description: Loose<'a>,
    },
    /// Firmware code at an address.
    FirmwareBlob(Blob<'a>),
    /// Code or data that firmware describes with text: POST codes, microcode, non-host code, platform flags.
    Platform {
        /// Text or hex.
        description: Loose<'a>,
    },
    /// Configuration that td-shim or QEMU hands over.
    HandedOver(HandedOver<'a>),
    /// Configuration tables.
    HandoffTables(HandoffTables<'a>),
    /// A variable that steers Secure Boot.
    SecureBootVariable(Variable<'a>),
    /// A variable that steers booting.
    BootVariable(Variable<'a>),
    /// What admitted an image, or a variable that shim measures beside its authorities.
    Authority(Authority<'a>),
    /// An application in PCR 4 or a driver in PCR 2.
    Image(Image<'a>),
    /// Partition table.
    PartitionTable(PartitionTable<'a>),
    /// Boundary.
    Separator {
        /// Whether it marks an error: anything but 0x00000000, 0xFFFFFFFF and the `WBCL` of Windows.
        error: bool,
        /// Data.
        value: Hex<'a>,
    },
    /// What firmware did.
    Action {
        /// In its words.
        text: Text<'a>,
    },
    /// A boot loader.
    Ipl(Ipl<'a>),
    /// A tagged event.
    Tagged(Tagged<'a>),
    /// EV_COMPACT_HASH: BitLocker on Windows.
    CompactHash {
        /// Text or hex.
        text: Loose<'a>,
    },
    /// Which confidential-computing technology runs the VM, as Google's firmware tells it.
    ConfidentialTechnology {
        /// In words.
        technology: &'static str,
    },
    /// Intel TXT or Secure Launch.
    DynamicLaunch {
        /// Text or hex.
        text: Loose<'a>,
    },
    /// Not known, or malformed for its type.
    Unknown {
        /// Text or hex; the raw bytes are in [`Event::data`].
        text: Loose<'a>,
    },
}

impl<'a> Event<'a> {
    /// Gives the event data its meaning.
    pub fn decode(&self) -> Decoded<'a> {
        let data = self.data;
        let unknown = Decoded::Unknown { text: Loose(data) };
        match self.event_type {
            EventType::EV_NO_ACTION => Decoded::NoAction { info: NoAction::parse(data) },
            EventType::EV_S_CRTM_VERSION => Decoded::CrtmVersion { version: Loose(data) },
            EventType::EV_S_CRTM_CONTENTS | EventType::EV_EFI_HCRTM_EVENT => match Blob::parse(data) {
                Some(blob) if !Loose(data).is_text() => Decoded::FirmwareBlob(blob),
                _ => Decoded::CrtmContents { description: Loose(data) },
            },
            EventType::EV_EFI_PLATFORM_FIRMWARE_BLOB | EventType::EV_POST_CODE => match Blob::parse(data) {
                Some(blob) if !Loose(data).is_text() => Decoded::FirmwareBlob(blob),
                _ => Decoded::Platform { description: Loose(data) },
            },
            EventType::EV_EFI_PLATFORM_FIRMWARE_BLOB2 | EventType::EV_POST_CODE2 => Blob::parse2(data)
                .map_or(Decoded::Platform { description: Loose(data) }, Decoded::FirmwareBlob),
            EventType::EV_EFI_HANDOFF_TABLES => {
                HandoffTables::parse(data).map_or(unknown, Decoded::HandoffTables)
            }
            EventType::EV_EFI_HANDOFF_TABLES2 => {
                HandoffTables::parse2(data).map_or(unknown, Decoded::HandoffTables)
            }
            EventType::EV_EFI_VARIABLE_DRIVER_CONFIG => {
                Variable::parse(data).map_or(unknown, Decoded::SecureBootVariable)
            }
            EventType::EV_EFI_VARIABLE_BOOT | EventType::EV_EFI_VARIABLE_BOOT2 => {
                Variable::parse(data).map_or(unknown, Decoded::BootVariable)
            }
            EventType::EV_EFI_VARIABLE_AUTHORITY => {
                Variable::parse(data).map_or(unknown, |v| Decoded::Authority(Authority(v)))
            }
            EventType::EV_EFI_BOOT_SERVICES_APPLICATION
            | EventType::EV_EFI_BOOT_SERVICES_DRIVER
            | EventType::EV_EFI_RUNTIME_SERVICES_DRIVER => Image::parse(data).map_or(unknown, Decoded::Image),
            EventType::EV_EFI_GPT_EVENT | EventType::EV_EFI_GPT_EVENT2 => {
                PartitionTable::parse(data).map_or(unknown, Decoded::PartitionTable)
            }
            EventType::EV_SEPARATOR => Decoded::Separator {
                error: !matches!(data, [0, 0, 0, 0] | [0xFF, 0xFF, 0xFF, 0xFF] | b"WBCL"),
                value: Hex(data),
            },
            EventType::EV_EFI_ACTION | EventType::EV_ACTION => Decoded::Action { text: Text::trimmed(data) },
            EventType::EV_IPL => Decoded::Ipl(Ipl::parse(data)),
            EventType::EV_EVENT_TAG => Decoded::Tagged(Tagged::parse(data)),
            EventType::EV_COMPACT_HASH => Decoded::CompactHash { text: Loose(data) },
            EventType::EV_NONHOST_INFO => match firmware::gce_technology(data) {
                Some(technology) => Decoded::ConfidentialTechnology { technology },
                None => Decoded::Platform { description: Loose(data) },
            },
            EventType::EV_PLATFORM_CONFIG_FLAGS => match HandedOver::parse(data) {
                Some(config) => Decoded::HandedOver(config),
                None => Decoded::Platform { description: Loose(data) },
            },
            EventType::EV_CPU_MICROCODE
            | EventType::EV_TABLE_OF_DEVICES
            | EventType::EV_NONHOST_CODE
            | EventType::EV_NONHOST_CONFIG
            | EventType::EV_OMIT_BOOT_DEVICE_EVENTS => Decoded::Platform { description: Loose(data) },
            EventType(0x400..=0x5FF) => Decoded::DynamicLaunch { text: Loose(data) },
            _ => unknown,
        }
    }
}
