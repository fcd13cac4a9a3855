//! What files, packages and disk images will measure when they boot.

pub mod archive;
pub mod disk;
pub mod grub;
mod label;
pub mod limits;
pub mod pe;
pub mod shim;
mod source;

pub use source::{ReadError, Source};
