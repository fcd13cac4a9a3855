//! Device paths in text (UEFI 2.11, section 10.6).

use std::fmt;

use serde::{Serialize, Serializer};

use crate::limits::MAX_DEVICE_PATH_NODES;
use crate::reader::Reader;
use crate::text::{Guid, Hex, Text, Utf16};

/// A device path; shown as text, nodes separated by `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevicePath<'a>(pub &'a [u8]);

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// Type: hardware 1, ACPI 2, messaging 3, media 4, BIOS boot 5, end 0x7F.
    pub kind: u8,
    /// Sub-type.
    pub sub_kind: u8,
    /// Data after the header.
    pub data: &'a [u8],
}

impl<'a> DevicePath<'a> {
    /// Nodes up to the end node, a malformed one, or [`MAX_DEVICE_PATH_NODES`].
    pub fn nodes(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || {
            let (kind, sub_kind, len) = (reader.u8()?, reader.u8()?, reader.u16()?);
            let data = reader.take(usize::from(len).checked_sub(4)?)?;
            (kind != 0x7F || sub_kind != 0xFF).then_some(Node { kind, sub_kind, data })
        })
        .take(MAX_DEVICE_PATH_NODES)
    }

    /// File path nodes, joined, as a file on its device: `\EFI\debian\shimx64.efi`.
    pub fn file(&self) -> Option<FilePath<'a>> {
        self.nodes().any(|node| node.is_file()).then_some(FilePath(*self))
    }

    /// Whether the image comes from a firmware volume.
    pub fn is_in_firmware(&self) -> bool {
        self.nodes().any(|node| node.kind == 4 && matches!(node.sub_kind, 6 | 7))
    }

    /// GUID of the vendor media node, where there is one.
    pub fn vendor_media(&self) -> Option<Guid> {
        self.nodes().find_map(|n| {
            if n.kind == 4 && n.sub_kind == 3 { Reader::new(n.data).array().map(Guid) } else { None }
        })
    }

    /// Whether it names anything.
    pub fn is_empty(&self) -> bool {
        self.nodes().next().is_none()
    }
}

impl Node<'_> {
    fn is_file(&self) -> bool {
        self.kind == 4 && self.sub_kind == 4
    }
}

impl fmt::Display for DevicePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes().enumerate() {
            if i > 0 {
                f.write_str(if node.kind == 0x7F { "," } else { "/" })?;
            }
            if node.kind != 0x7F {
                node.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl crate::text::Shown for DevicePath<'_> {
    fn push_plain(&self, text: &mut String, max: usize) -> bool {
        let mut nodes = self.nodes();
        match (nodes.next(), nodes.next()) {
            (Some(node), None) if node.is_file() => Utf16::c_string(node.data).push_plain(text, max),
            _ => false,
        }
    }
}

impl crate::text::Shown for FilePath<'_> {
    fn push_plain(&self, text: &mut String, max: usize) -> bool {
        let mut files = self.0.nodes().filter(Node::is_file);
        match (files.next(), files.next()) {
            (Some(file), None) => Utf16::c_string(file.data).push_plain(text, max),
            _ => false,
        }
    }
}

impl Serialize for DevicePath<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The file path nodes of a device path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePath<'a>(DevicePath<'a>);

impl fmt::Display for FilePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.0.nodes().filter(Node::is_file).enumerate() {
            let part = Utf16::c_string(node.data);
            if i > 0 && part.units().next() != Some(u16::from(b'\\')) {
                f.write_str("\\")?;
            }
            part.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match self.kind {
            1 => self.hardware(f),
            2 => self.acpi(f),
            3 => self.messaging(f),
            4 => self.media(f),
            5 => self.bios(f),
            _ => None,
        };
        shown.unwrap_or_else(|| self.generic(f))
    }
}

/// `None`: the node is too short for its type.
type Shown = Option<fmt::Result>;

impl Node<'_> {
    fn generic(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            1 => "HardwarePath",
            2 => "AcpiPath",
            3 => "Msg",
            4 => "MediaPath",
            5 => "BbsPath",
            kind => return write!(f, "Path({kind},{},{})", self.sub_kind, Hex(self.data)),
        };
        write!(f, "{name}({},{})", self.sub_kind, Hex(self.data))
    }

    fn vendor(&self, f: &mut fmt::Formatter<'_>, name: &str) -> Shown {
        let mut r = Reader::new(self.data);
        let guid = Guid(r.array()?);
        Some(match r.rest() {
            [] => write!(f, "{name}({guid})"),
            data => write!(f, "{name}({guid},{})", Hex(data)),
        })
    }

    fn hardware(&self, f: &mut fmt::Formatter<'_>) -> Shown {
        let mut r = Reader::new(self.data);
        Some(match self.sub_kind {
            1 => {
                let (function, device) = (r.u8()?, r.u8()?);
                write!(f, "Pci(0x{device:x},0x{function:x})")
            }
            2 => write!(f, "PcCard(0x{:x})", r.u8()?),
            3 => write!(f, "MemoryMapped(0x{:x},0x{:x},0x{:x})", r.u32()?, r.u64()?, r.u64()?),
            4 => return self.vendor(f, "VenHw"),
            5 => write!(f, "Ctrl(0x{:x})", r.u32()?),
            6 => write!(f, "BMC(0x{:x},0x{:x})", r.u8()?, r.u64()?),
            _ => return None,
        })
    }

    fn acpi(&self, f: &mut fmt::Formatter<'_>) -> Shown {
        let mut r = Reader::new(self.data);
        Some(match self.sub_kind {
            1 => {
                let (hid, uid) = (r.u32()?, r.u32()?);
                match hid {
                    0x0a03_41d0 => write!(f, "PciRoot(0x{uid:x})"),
                    0x0a08_41d0 => write!(f, "PcieRoot(0x{uid:x})"),
                    0x0604_41d0 => write!(f, "Floppy(0x{uid:x})"),
                    0x0301_41d0 => write!(f, "Keyboard(0x{uid:x})"),
                    0x0501_41d0 => write!(f, "Serial(0x{uid:x})"),
                    _ => write!(f, "Acpi(0x{hid:x},0x{uid:x})"),
                }
            }
            3 => write!(f, "AcpiAdr(0x{:x})", r.u32()?),
            _ => return None,
        })
    }

    fn messaging(&self, f: &mut fmt::Formatter<'_>) -> Shown {
        let mut r = Reader::new(self.data);
        Some(match self.sub_kind {
            1 => {
                let (primary, slave, lun) = (r.u8()?, r.u8()?, r.u16()?);
                let channel = if primary == 0 { "Primary" } else { "Secondary" };
                let drive = if slave == 0 { "Master" } else { "Slave" };
                write!(f, "Ata({channel},{drive},0x{lun:x})")
            }
            2 => write!(f, "Scsi(0x{:x},0x{:x})", r.u16()?, r.u16()?),
            5 => write!(f, "USB(0x{:x},0x{:x})", r.u8()?, r.u8()?),
            10 => return self.vendor(f, "VenMsg"),
            11 => {
                let address = r.take(32)?;
                let kind = r.u8()?;
                let shown = if matches!(kind, 0 | 1) { address.get(..6)? } else { address };
                write!(f, "MAC({},0x{kind:x})", Hex(shown))
            }
            12 => {
                let (local, remote) = (r.array::<4>()?, r.array::<4>()?);
                let (_, _) = (r.u16()?, r.u16()?);
                let (protocol, fixed) = (r.u16()?, r.u8()?);
                let origin = if fixed == 0 { "DHCP" } else { "Static" };
                let (local, remote) = (std::net::Ipv4Addr::from(local), std::net::Ipv4Addr::from(remote));
                write!(f, "IPv4({remote},0x{protocol:x},{origin},{local})")
            }
            13 => {
                let (local, remote) = (r.array::<16>()?, r.array::<16>()?);
                let (local, remote) = (std::net::Ipv6Addr::from(local), std::net::Ipv6Addr::from(remote));
                write!(f, "IPv6({remote},{local})")
            }
            14 => write!(f, "Uart({},{},{},{})", r.u32().and(r.u64())?, r.u8()?, r.u8()?, r.u8()?),
            15 => write!(
                f,
                "UsbClass(0x{:x},0x{:x},0x{:x},0x{:x},0x{:x})",
                r.u16()?,
                r.u16()?,
                r.u8()?,
                r.u8()?,
                r.u8()?
            ),
            16 => {
                let (interface, vendor, product) = (r.u16()?, r.u16()?, r.u16()?);
                write!(f, "UsbWwid(0x{vendor:x},0x{product:x},0x{interface:x},\"{}\")", Utf16(r.rest()))
            }
            17 => write!(f, "Unit(0x{:x})", r.u8()?),
            18 => write!(f, "Sata(0x{:x},0x{:x},0x{:x})", r.u16()?, r.u16()?, r.u16()?),
            19 => {
                let (_, _, lun) = (r.u16()?, r.u16()?, r.u64()?);
                let _portal_group = r.u16()?;
                write!(f, "iSCSI({},0x{lun:x})", Text::c_string(r.rest()))
            }
            20 => write!(f, "Vlan({})", r.u16()?),
            23 => {
                let namespace = r.u32()?;
                let eui: [u8; 8] = r.array()?;
                let [a, b, c, d, e, g, h, i] = eui;
                write!(
                    f,
                    "NVMe(0x{namespace:x},{i:02X}-{h:02X}-{g:02X}-{e:02X}-{d:02X}-{c:02X}-{b:02X}-{a:02X})"
                )
            }
            24 => write!(f, "Uri({})", Text::trimmed(r.rest())),
            25 => write!(f, "UFS(0x{:x},0x{:x})", r.u8()?, r.u8()?),
            26 => write!(f, "SD(0x{:x})", r.u8()?),
            27 => write!(f, "Bluetooth({})", Hex(r.take(6)?)),
            28 => write!(f, "Wi-Fi({})", Text::c_string(r.take(32)?)),
            29 => write!(f, "eMMC(0x{:x})", r.u8()?),
            31 => write!(f, "Dns({})", Hex(r.rest())),
            _ => return None,
        })
    }

    fn media(&self, f: &mut fmt::Formatter<'_>) -> Shown {
        let mut r = Reader::new(self.data);
        Some(match self.sub_kind {
            1 => {
                let (partition, start, size) = (r.u32()?, r.u64()?, r.u64()?);
                let (signature, _format, kind) = (r.array::<16>()?, r.u8()?, r.u8()?);
                match kind {
                    1 => {
                        let [a, b, c, d, ..] = signature;
                        let mbr = u32::from_le_bytes([a, b, c, d]);
                        write!(f, "HD({partition},MBR,0x{mbr:08x},0x{start:x},0x{size:x})")
                    }
                    2 => write!(f, "HD({partition},GPT,{},0x{start:x},0x{size:x})", Guid(signature)),
                    _ => write!(f, "HD({partition},{kind},0,0x{start:x},0x{size:x})"),
                }
            }
            2 => write!(f, "CDROM(0x{:x},0x{:x},0x{:x})", r.u32()?, r.u64()?, r.u64()?),
            3 => return self.vendor(f, "VenMedia"),
            4 => write!(f, "{}", Utf16::c_string(self.data)),
            5 => write!(f, "Media({})", Guid(r.array()?)),
            6 => write!(f, "FvFile({})", Guid(r.array()?)),
            7 => write!(f, "Fv({})", Guid(r.array()?)),
            8 => {
                r.u32()?;
                write!(f, "Offset(0x{:x},0x{:x})", r.u64()?, r.u64()?)
            }
            9 => write!(f, "RamDisk(0x{:x},0x{:x})", r.u64()?, r.u64()?),
            _ => return None,
        })
    }

    fn bios(&self, f: &mut fmt::Formatter<'_>) -> Shown {
        let mut r = Reader::new(self.data);
        let (kind, _status) = (r.u16()?, r.u16()?);
        Some(write!(f, "BBS(0x{kind:x},{})", Text::c_string(r.rest())))
    }
}
