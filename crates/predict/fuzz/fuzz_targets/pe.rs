//! Any bytes as an EFI image: sections, digests, SBAT, signatures, what shim carries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_eventlog::HashAlg;
use veriboot_predict::pe::{Image, signatures};
use veriboot_predict::shim;

fuzz_target!(|bytes: &[u8]| {
    let Ok(image) = Image::parse(bytes) else { return };
    let _ = (image.role("x.efi"), image.sbat(), image.sections());
    let digest = image.authenticode(HashAlg::Sha256);
    assert_eq!(digest, image.authenticode(HashAlg::Sha256));
    let _ = signatures(&image, &shim::vendor_certificates(&image));
    let _ = shim::automatic_level(&image);
});
