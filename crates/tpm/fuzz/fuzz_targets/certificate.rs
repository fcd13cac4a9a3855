//! Certificates, chains and revocation lists: the input is read as leaf, as intermediate, as root, and as a list.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_tpm::Certificate;
use veriboot_tpm::chain::{Anchors, Expiry, Policy, Purpose, verify_chain};

fuzz_target!(|input: &[u8]| {
    let _ = Anchors::default().revoke(input);
    let Ok(certificate) = Certificate::from_der(input) else { return };
    assert!(certificate.subject().chars().count() <= 256);
    let Ok(anchors) = Anchors::from_pem_or_der(certificate.der()) else { return };
    let policy =
        Policy { purpose: Purpose::AttestationKey, at_unix_s: Some(0), expiry: Expiry::Warn, allow_sha1: true };
    let _ = verify_chain(&certificate, &[certificate.clone()], &anchors, &policy);
});
