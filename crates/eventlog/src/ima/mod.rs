//! The measurement list of Linux IMA: what the kernel measured after the firmware stepped aside.
//!
//! [`parse`] reads the list as `binary_runtime_measurements` or `ascii_runtime_measurements` give it (Linux,
//! security/integrity/ima/ima_fs.c); [`ImaEntry::decode`] gives the fields of a template a meaning; [`replay`] says
//! what the register must hold, in any bank. A list is as hostile as a firmware log: it explains a register, it does
//! not replace it.

mod ascii;
mod list;
mod predict;
mod replay;
mod template;

pub use list::{Encoding, ImaEntry, ImaError, ImaList, ImaReason, parse};
pub use predict::ima_boot_aggregate;
pub use replay::{
    BootAggregate, Extend, ImaReplay, TemplateMismatch, check_boot_aggregate, check_templates, entries_until,
    replay,
};
pub use template::{Field, FileDigest, Signature, Template};

/// The register that kernels extend unless they were built otherwise (CONFIG_IMA_MEASURE_PCR_IDX).
pub const PCR_IMA: u32 = 10;

/// Whether the bytes start like a list, in either encoding.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    ascii::looks_like(bytes) || list::looks_binary(bytes)
}
