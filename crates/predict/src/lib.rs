//! What files, packages and disk images will measure when they boot.
//!
//! Pure: bytes in, values out. [`Inputs`] takes packages, EFI images, configurations and disk images; [`predict`] puts what
//! they hold into the newest boot that a baseline accepts, and says what it could not predict.
//!
//! 1. [`archive`] and [`disk`] find files, [`pe`] reads EFI images, [`grub`] reads configurations. All of them take hostile
//!    bytes; the bounds are in [`limits`].
//! 2. `engine` replaces measurements: loaders in PCR 4; `grub_part` what GRUB does in PCR 8, 9 and 4; `stub_part` what EFI
//!    stubs do in PCR 9, 11 and 12; `secure_boot` what a new shim does in PCR 7.
//! 3. The result is a partial [`veriboot_appraisal::ReferenceBoot`] for [`veriboot_appraisal::Baseline::with_measurements`].

mod admission;
pub mod archive;
pub mod disk;
mod engine;
pub mod grub;
mod grub_part;
mod input;
mod label;
pub mod limits;
mod loader_entry;
pub mod pe;
mod prediction;
mod secure_boot;
pub mod shim;
mod source;
mod stub_part;

pub use engine::{PredictError, predict};
pub use input::{InputError, InputReason, Inputs, Origin};
pub use loader_entry::{LoaderEntry, LoaderEntryError};
pub use prediction::{Admission, ImageReport, Prediction, Row, RowChange, Unpredicted};
pub use source::{ReadError, Source, sha256_of};
