//! Another implementation of the structures as oracle: what both read, both read alike, and what the other one
//! writes is read here. The other one also knows structures that are refused here on purpose.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/forge.rs"]
mod forge;

use forge::{AK_ATTRIBUTES, Attest, Signer};
use proptest::prelude::*;
use tpm2_protocol::data::{Tpm2bPublic, TpmsAttest, TpmtSignature, TpmuAttest, TpmuSignature};
use tpm2_protocol::{TpmMarshal as _, TpmUnmarshal as _, TpmWriter};
use veriboot_tpm::{AttestationKey, Expectation, Quote, alg, verify_quote};

static SIGNER: std::sync::OnceLock<(Signer, AttestationKey)> = std::sync::OnceLock::new();

/// Reads a quote here; the signature is made for it, so that only the structure decides.
fn ours(bytes: &[u8]) -> Option<Quote> {
    let (signer, ak) = SIGNER.get_or_init(|| {
        let signer = Signer::ecc();
        let ak = AttestationKey::from_tpm2b(&signer.public(AK_ATTRIBUTES)).unwrap();
        (signer, ak)
    });
    verify_quote(ak, bytes, &signer.sign(bytes), &Expectation::default()).ok()
}

/// Reads a quote there: the whole of it, with a PCR digest of SHA-256's size.
fn theirs(bytes: &[u8]) -> Option<TpmsAttest> {
    let (attest, rest) = TpmsAttest::unmarshal(bytes).ok()?;
    match &attest.attested {
        TpmuAttest::Quote(info) if rest.is_empty() && info.pcr_digest.len() == 32 => Some(attest),
        _ => None,
    }
}

fn assert_alike(ours: &Quote, theirs: &TpmsAttest) {
    let TpmuAttest::Quote(info) = &theirs.attested else { panic!("not a quote") };
    assert_eq!(ours.nonce, *theirs.extra_data);
    assert_eq!(ours.qualified_signer, *theirs.qualified_signer);
    assert_eq!(ours.clock_ms, theirs.clock_info.clock.value());
    assert_eq!(ours.reset_count, theirs.clock_info.reset_count.value());
    assert_eq!(ours.restart_count, theirs.clock_info.restart_count.value());
    assert_eq!(ours.firmware_version, theirs.firmware_version.value());
    assert_eq!(ours.pcr_digest, *info.pcr_digest);
    assert_eq!(ours.selections.len(), info.pcr_select.len());
    for (ours, theirs) in ours.selections.iter().zip(info.pcr_select.iter()) {
        assert_eq!(ours.alg, theirs.hash.value());
        for pcr in 0..32_u8 {
            let byte = theirs.pcr_select.get(usize::from(pcr / 8)).copied().unwrap_or(0);
            assert_eq!(ours.pcrs.contains(pcr), byte & (1 << (pcr % 8)) != 0);
        }
    }
}

/// Whether the other implementation is known to refuse what is read here: it takes only algorithms of its list
/// and bitmaps of its size.
fn refused_there_by_design(quote: &Quote) -> bool {
    quote.selections.iter().any(|s| alg::bank_digest_size(s.alg).is_none()) || quote.selections.len() > 4
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn mutated_quotes_are_read_alike(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(), keep in any::<bool>(),
    ) {
        let mut bytes = Attest::sound().bytes();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if !keep {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        match (ours(&bytes), theirs(&bytes)) {
            (Some(ours), Some(theirs)) => assert_alike(&ours, &theirs),
            (None, None) => {}
            (Some(ours), None) => {
                let select_sizes = bytes.get(105).copied();
                prop_assert!(
                    refused_there_by_design(&ours) || select_sizes != Some(3),
                    "only we read {}", hex::encode(&bytes)
                );
            }
            (None, Some(_)) => prop_assert!(false, "only they read {}", hex::encode(&bytes)),
        }
    }

    #[test]
    fn mutated_public_areas_are_named_alike(
        at in any::<prop::sample::Index>(), value in any::<u8>(), ecc in any::<bool>(),
    ) {
        static KEYS: std::sync::OnceLock<[Vec<u8>; 2]> = std::sync::OnceLock::new();
        let keys = KEYS.get_or_init(|| [Signer::rsa(), Signer::ecc()].map(|s| s.public(AK_ATTRIBUTES)));
        let mut bytes = keys[usize::from(ecc)].clone();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(ak) = AttestationKey::from_tpm2b(&bytes) {
            let (public, rest) = Tpm2bPublic::unmarshal(&bytes).unwrap();
            prop_assert!(rest.is_empty());
            let mut again = vec![0; 1024];
            let mut writer = TpmWriter::new(&mut again);
            public.marshal(&mut writer).unwrap();
            let length = writer.len();
            prop_assert_eq!(&again[..length], &bytes[..]);
            prop_assert_eq!(&again[2..length], ak.public_area());
        }
    }
}

#[test]
fn signatures_are_read_alike() {
    for signer in [Signer::rsa(), Signer::ecc()] {
        let bytes = signer.sign(b"message");
        let (signature, rest) = TpmtSignature::unmarshal(&bytes).unwrap();
        assert!(rest.is_empty());
        match signature.signature {
            TpmuSignature::Rsassa(rsa) => {
                assert_eq!(rsa.hash.value(), alg::SHA256);
                assert_eq!(*rsa.sig, bytes[6..]);
            }
            TpmuSignature::Ecdsa(ecc) => {
                assert_eq!(*ecc.signature_r, bytes[6..38]);
                assert_eq!(*ecc.signature_s, bytes[40..]);
            }
            other => panic!("{other:?}"),
        }
    }
}
