//! EV_EVENT_TAG: TCG_PCClientTaggedEvent of the kernel's EFI stub, systemd, Confidential Containers; Windows nests its
//! own (see [`super::sipa`]).

use serde::Serialize;

use super::firmware::Loose;
use super::sipa::TaggedEvents;
use crate::reader::Reader;
use crate::text::Text;

/// A tagged event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "tag", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Tagged<'a> {
    /// Initial RAM disk that the kernel's EFI stub loaded; the digest is that of the file.
    KernelInitrd {
        /// Description.
        text: Loose<'a>,
    },
    /// Kernel command line that the EFI stub got; the digest is that of the UTF-16 text, which the log lacks.
    KernelLoadOptions {
        /// Description.
        text: Loose<'a>,
    },
    /// Configuration file of systemd-boot.
    LoaderConfig {
        /// Name.
        text: Loose<'a>,
    },
    /// Device tree add-on of a UKI.
    DevicetreeAddon {
        /// Name.
        text: Loose<'a>,
    },
    /// Initrd add-on of a UKI.
    InitrdAddon {
        /// Name.
        text: Loose<'a>,
    },
    /// Microcode add-on of a UKI.
    MicrocodeAddon {
        /// Name.
        text: Loose<'a>,
    },
    /// Profile of a UKI that was chosen.
    UkiProfile {
        /// Name.
        text: Loose<'a>,
    },
    /// Record of a Confidential Containers attestation agent.
    AttestationAgent {
        /// Domain, operation and content.
        text: Text<'a>,
    },
    /// Windows.
    Windows {
        /// Events.
        events: TaggedEvents<'a>,
    },
    /// Another tag.
    Other {
        /// Number.
        id: u32,
        /// Text or hex.
        text: Loose<'a>,
    },
    /// Too short for a tag.
    Malformed {
        /// Text or hex.
        text: Loose<'a>,
    },
}

impl<'a> Tagged<'a> {
    /// Never fails.
    pub fn parse(data: &'a [u8]) -> Self {
        if let Some(events) = TaggedEvents::parse(data) {
            return Self::Windows { events };
        }
        let mut r = Reader::new(data);
        let head = (|| {
            let (id, len) = (r.u32()?, usize::try_from(r.u32()?).ok()?);
            Some((id, r.rest().get(..len)?))
        })();
        let Some((id, bytes)) = head else {
            // Early kernels with confidential-computing support wrote the description without a tag.
            return match Text::trimmed(data).0 {
                b"LOADED_IMAGE::LoadOptions" => Self::KernelLoadOptions { text: Loose(data) },
                b"Linux initrd" => Self::KernelInitrd { text: Loose(data) },
                _ => Self::Malformed { text: Loose(data) },
            };
        };
        let text = Loose(bytes);
        match id {
            0x8F3B_22EC => Self::KernelInitrd { text },
            0x8F3B_22ED => Self::KernelLoadOptions { text },
            0xF5BC_582A => Self::LoaderConfig { text },
            0x6C46_F751 => Self::DevicetreeAddon { text },
            0x49DF_FE0F => Self::InitrdAddon { text },
            0xDAC0_8E1A => Self::MicrocodeAddon { text },
            0x13AE_D6DB => Self::UkiProfile { text },
            0x4C41_4541 | 0x4141_454C => Self::AttestationAgent { text: Text::trimmed(bytes) },
            id => Self::Other { id, text },
        }
    }
}
