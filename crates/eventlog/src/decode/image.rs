//! Images: UEFI_IMAGE_LOAD_EVENT (PC Client Platform Firmware Profile 1.06, section 10.2.3).

use serde::Serialize;

use super::device_path::DevicePath;
use crate::reader::Reader;

/// A loaded PE image. Its digest is the Authenticode digest of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Image<'a> {
    /// Address in memory.
    pub base: u64,
    /// Bytes in memory or in the file.
    pub length: u64,
    /// Link-time address.
    pub link_time_address: u64,
    /// Where it came from.
    pub path: DevicePath<'a>,
}

impl<'a> Image<'a> {
    /// `None` when the event is shorter than its fixed part. A device path longer than the event is cut.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        let (base, length, link_time_address) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let path_len = reader.u64()?;
        let rest = reader.rest();
        let path = usize::try_from(path_len).ok().and_then(|len| rest.get(..len)).unwrap_or(rest);
        Some(Self { base, length, link_time_address, path: DevicePath(path) })
    }
}
