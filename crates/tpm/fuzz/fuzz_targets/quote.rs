//! Quote and signature: 16 bits of length, the quote, the signature. Nothing that a fuzzer makes may verify.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use veriboot_tpm::{AttestationKey, Expectation, peek_selection, verify_quote};

/// The base point of P-256 as public key: its private key is 1, which no fuzzer signs with by chance.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n\
    6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n\
    -----END PUBLIC KEY-----\n";

fuzz_target!(|input: &[u8]| {
    static AK: OnceLock<Option<AttestationKey>> = OnceLock::new();
    let Some(ak) = AK.get_or_init(|| AttestationKey::from_any(KEY.as_bytes()).ok().map(|k| k.key)) else {
        panic!("the key is sound");
    };
    let Some((size, rest)) = input.split_first_chunk::<2>() else { return };
    let (quote, signature) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*size))));
    let _ = peek_selection(quote);
    if let Ok(quote) = verify_quote(ak, quote, signature, &Expectation::default()) {
        let _ = quote.pcr_digest_matches(|_, _| Some([0; 32]));
        panic!("a forged quote was accepted");
    }
});
