//! Public areas and every other form of a key. A key that is accepted keeps its public area and makes credentials.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_tpm::{AttestationKey, EndorsementKey, make_credential};

fuzz_target!(|input: &[u8]| {
    if let Ok(ak) = AttestationKey::from_tpm2b(input) {
        assert_eq!(ak.public_area(), &input[2..]);
    }
    let _ = AttestationKey::from_any(input);
    if let Ok(ek) = EndorsementKey::from_tpm2b(input) {
        let name = [&[0, 0x0B][..], &[1; 32]].concat();
        let _ = make_credential(&ek, &name, &[7; 32]);
    }
});
