//! No byte of a quote, of its signature or of a public area can change unnoticed, and nothing panics.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/forge.rs"]
mod forge;

use forge::{AK_ATTRIBUTES, Attest, NONCE, Signer, asked, pcr_value};
use proptest::prelude::*;
use veriboot_tpm::{
    AttestationKey, Certificate, EndorsementKey, Expectation, make_credential, peek_selection, verify_quote,
};

/// Whether a verifier would believe this evidence for the key it enrolled.
fn accepts(ak: &AttestationKey, quote: &[u8], signature: &[u8]) -> bool {
    let asked = asked();
    let expect = Expectation { nonce: Some(&NONCE), selection: Some(&asked) };
    verify_quote(ak, quote, signature, &expect)
        .is_ok_and(|quote| quote.pcr_digest_matches(|_, pcr| Some(pcr_value(pcr))))
}

/// Every bit flipped, every byte set to its extremes, every cut, and 16-bit and 32-bit numbers at every offset
/// set to 0, 1, the largest, and one more and less.
fn mutants(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let change = move |at: usize, new: &[u8]| {
        let mut mutant = bytes.to_vec();
        let end = (at + new.len()).min(mutant.len());
        mutant[at..end].copy_from_slice(&new[..end - at]);
        mutant
    };
    let flips =
        (0..bytes.len()).flat_map(move |at| (0..8).map(move |bit| change(at, &[bytes[at] ^ (1 << bit)])));
    let numbers = (0..bytes.len()).flat_map(move |at| {
        let old = u16::from_be_bytes([bytes[at], *bytes.get(at + 1).unwrap_or(&0)]);
        let shorts = [0, 1, old.wrapping_add(1), old.wrapping_sub(1), u16::MAX].map(u16::to_be_bytes);
        let longs = [0, 1, 16, 17, u32::MAX].map(u32::to_be_bytes);
        let shorts = shorts.map(|n| n.to_vec()).into_iter();
        shorts.chain(longs.map(|n| n.to_vec())).map(move |new| change(at, &new)).collect::<Vec<_>>()
    });
    let cuts = (0..bytes.len()).map(|end| bytes[..end].to_vec());
    let grown = [0_u8, 0xFF].into_iter().map(move |tail| [bytes, &[tail]].concat());
    flips.chain(numbers).chain(cuts).chain(grown).filter(move |mutant| mutant != bytes)
}

#[test]
fn no_changed_quote_or_signature_is_accepted() {
    for signer in [Signer::rsa(), Signer::ecc()] {
        let ak = AttestationKey::from_tpm2b(&signer.public(AK_ATTRIBUTES)).unwrap();
        let quote = Attest::sound().bytes();
        let signature = signer.sign(&quote);
        assert!(accepts(&ak, &quote, &signature));
        for mutant in mutants(&quote) {
            assert!(!accepts(&ak, &mutant, &signature), "quote {}", hex::encode(&mutant));
            let _ = peek_selection(&mutant);
        }
        for mutant in mutants(&signature) {
            assert!(!accepts(&ak, &quote, &mutant), "signature {}", hex::encode(&mutant));
        }
    }
}

#[test]
fn a_changed_quote_is_never_accepted_even_when_signed() {
    // The signature is of the changed bytes: only the checks of content are left. A change may only pass where
    // it changes nothing that is checked: signer, clock, counters, firmware version, size of a bitmap.
    let signer = Signer::ecc();
    let ak = AttestationKey::from_tpm2b(&signer.public(AK_ATTRIBUTES)).unwrap();
    let sound = Attest::sound().bytes();
    let signer_at = 6..6 + 2 + 34;
    let clock_at = 42 + 34..42 + 34 + 25;
    for mutant in mutants(&sound) {
        let changed = (0..sound.len()).find(|at| mutant.get(*at) != sound.get(*at)).unwrap_or(sound.len());
        if accepts(&ak, &mutant, &signer.sign(&mutant)) {
            assert!(
                signer_at.contains(&changed) || clock_at.contains(&changed),
                "byte {changed} of {}",
                hex::encode(&mutant)
            );
        }
    }
}

#[test]
fn no_changed_public_area_keeps_its_name_or_verifies_for_the_old_key() {
    for signer in [Signer::rsa(), Signer::ecc()] {
        let public = signer.public(AK_ATTRIBUTES);
        let ak = AttestationKey::from_tpm2b(&public).unwrap();
        for mutant in mutants(&public) {
            if let Ok(other) = AttestationKey::from_tpm2b(&mutant) {
                assert_ne!(other.name(), ak.name());
            }
            let _ = AttestationKey::from_any(&mutant);
            let _ = AttestationKey::from_any(&mutant[mutant.len().min(2)..]);
            let _ = EndorsementKey::from_tpm2b(&mutant);
        }
    }
}

#[test]
fn a_changed_endorsement_key_never_panics() {
    // TPMT_PUBLIC of the RSA EK template, built from a signing key's modulus.
    let mut tpmt = hex::decode("0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa00060080004300100800").unwrap();
    tpmt.extend(0_u32.to_be_bytes());
    tpmt.extend(forge::sized(&Signer::rsa().modulus()));
    let public = forge::sized(&tpmt);
    let ek = EndorsementKey::from_tpm2b(&public).unwrap();
    let name = [&[0, 0x0B][..], &[1; 32]].concat();
    assert!(make_credential(&ek, &name, &[1; 32]).is_ok());
    for (n, mutant) in mutants(&public).enumerate() {
        if let Ok(other) = EndorsementKey::from_tpm2b(&mutant) {
            assert_ne!(other.sha256_of_public(), ek.sha256_of_public());
            if n % 16 == 0 {
                let _ = make_credential(&other, &name, &[1; 32]);
            }
        }
    }
    for bad in [&[][..], &[0, 0x0B], &[0, 4, 1, 2, 3], &name[..33], &[&name[..], &[0]].concat()] {
        assert_eq!(make_credential(&ek, bad, &[1; 32]).unwrap_err().code(), "credential-name");
    }
    for size in [0, 33, 1 << 17] {
        let error = make_credential(&ek, &name, &vec![1; size]).unwrap_err();
        assert_eq!(error.code(), "credential-secret-size");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        prop_assert!(AttestationKey::from_tpm2b(&bytes).is_err());
        let _ = AttestationKey::from_any(&bytes);
        prop_assert!(EndorsementKey::from_tpm2b(&bytes).is_err());
        prop_assert!(Certificate::from_der(&bytes).is_err());
        prop_assert!(peek_selection(&bytes).is_err());
    }

    #[test]
    fn fields_come_back_as_they_went_in(
        clock in any::<u64>(), reset_count in any::<u32>(), restart_count in any::<u32>(), safe in 0..2_u8,
        firmware in any::<u64>(), nonce in proptest::collection::vec(any::<u8>(), 0..66),
        banks in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..5)), 0..16),
    ) {
        let attest = Attest {
            clock, reset_count, restart_count, safe, firmware, nonce, selections: banks.clone(), ..Attest::sound()
        };
        let bytes = attest.bytes();
        let signer = SIGNER.get_or_init(Signer::ecc);
        let ak = AttestationKey::from_tpm2b(&signer.public(AK_ATTRIBUTES)).unwrap();
        let quote = verify_quote(&ak, &bytes, &signer.sign(&bytes), &Expectation::default()).unwrap();
        prop_assert_eq!(quote.clock_ms, clock);
        prop_assert_eq!(quote.reset_count, reset_count);
        prop_assert_eq!(quote.restart_count, restart_count);
        prop_assert_eq!(quote.safe, safe == 1);
        prop_assert_eq!(quote.firmware_version, firmware);
        prop_assert_eq!(quote.nonce, attest.nonce);
        prop_assert_eq!(quote.selections.len(), banks.len());
        for (selection, (bank, bitmap)) in quote.selections.iter().zip(&banks) {
            prop_assert_eq!(selection.alg, *bank);
            for pcr in 0..32_u8 {
                let byte = bitmap.get(usize::from(pcr / 8)).copied().unwrap_or(0);
                prop_assert_eq!(selection.pcrs.contains(pcr), byte & (1 << (pcr % 8)) != 0);
            }
        }
    }
}

static SIGNER: std::sync::OnceLock<Signer> = std::sync::OnceLock::new();
