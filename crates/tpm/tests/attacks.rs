//! Rows 5 and 9 to 13 of the attack list, on structures that an attacker could make: every one is validly
//! signed where that is possible, so that only the check under test stands in its way.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/forge.rs"]
mod forge;

use forge::{AK_ATTRIBUTES, Attest, NONCE, Signer, asked, ecc_public, pcr_value, rsa_public, sized};
use veriboot_tpm::{
    AttestationKey, EndorsementKey, Expectation, PcrSelection, Quote, QuoteError, alg, verify_quote,
};

struct Machine {
    signer: Signer,
    ak: AttestationKey,
}

impl Machine {
    fn new(signer: Signer) -> Self {
        let ak = AttestationKey::from_tpm2b(&signer.public(AK_ATTRIBUTES)).unwrap();
        Self { signer, ak }
    }

    /// Both kinds of key.
    fn both() -> [Self; 2] {
        [Self::new(Signer::rsa()), Self::new(Signer::ecc())]
    }

    /// Signs whatever it is given and has it verified against the usual expectation.
    fn present(&self, quote: &[u8]) -> Result<Quote, QuoteError> {
        self.verify(quote, &self.signer.sign(quote))
    }

    fn verify(&self, quote: &[u8], signature: &[u8]) -> Result<Quote, QuoteError> {
        let asked = asked();
        let expect = Expectation { nonce: Some(&NONCE), selection: Some(&asked) };
        verify_quote(&self.ak, quote, signature, &expect)
    }

    fn refuses(&self, quote: &Attest, code: &str) {
        assert_eq!(self.present(&quote.bytes()).unwrap_err().code(), code);
    }
}

#[test]
fn a_sound_quote_is_accepted() {
    for machine in Machine::both() {
        let quote = machine.present(&Attest::sound().bytes()).unwrap();
        assert_eq!(quote.nonce, NONCE);
        assert_eq!(quote.selections, asked());
        assert_eq!((quote.clock_ms, quote.reset_count, quote.restart_count, quote.safe), (1234, 5, 6, true));
        assert_eq!(quote.firmware_version, 0x2019_1023_0016_3636);
        assert_eq!(quote.digest_alg, alg::SHA256);
        assert!(quote.pcr_digest_matches(|_, pcr| Some(pcr_value(pcr))));
        assert!(!quote.covers_resettable());
    }
}

#[test]
fn row_05_ak_attributes() {
    let signer = Signer::rsa();
    let bits = [
        (1, "fixedTPM"),
        (4, "fixedParent"),
        (5, "sensitiveDataOrigin"),
        (16, "restricted"),
        (18, "sign"),
        (17, "decrypt"),
    ];
    for (bit, name) in bits {
        let error = AttestationKey::from_tpm2b(&signer.public(AK_ATTRIBUTES ^ (1 << bit))).unwrap_err();
        assert_eq!(error.code(), "ak-attributes-unfit", "{name}");
        assert!(error.to_string().contains(name), "{error}");
    }
    // Neither a software key (PEM) nor a bare TPMT_PUBLIC passes the door of enrolment.
    assert!(AttestationKey::from_tpm2b(&signer.public(AK_ATTRIBUTES)[2..]).is_err());
    assert!(AttestationKey::from_tpm2b(b"-----BEGIN PUBLIC KEY-----\n").is_err());
}

#[test]
fn row_05_ak_replaced() {
    let [enrolled, _] = Machine::both();
    let other = Machine::new(Signer::rsa());
    let quote = Attest::sound().bytes();
    let error = enrolled.verify(&quote, &other.signer.sign(&quote)).unwrap_err();
    assert_eq!(error.code(), "quote-signature-invalid");
    assert!(!enrolled.ak.is_same_key(&other.ak));
    assert_ne!(enrolled.ak.name(), other.ak.name());
}

#[test]
fn row_05_an_endorsement_key_must_be_a_storage_key() {
    // An attestation key offered as EK: MakeCredential for it would prove nothing.
    let error = EndorsementKey::from_tpm2b(&Signer::rsa().public(AK_ATTRIBUTES)).unwrap_err();
    assert_eq!(error.code(), "ek-attributes-unfit");
    // Right attributes, yet no symmetric algorithm: not a storage key that a TPM would make.
    let error = EndorsementKey::from_tpm2b(&Signer::rsa().public(0x0003_0072)).unwrap_err();
    assert_eq!(error.code(), "ek-unsupported");
}

#[test]
fn row_09_bad_signature() {
    for machine in Machine::both() {
        let quote = Attest::sound().bytes();
        let mut signature = machine.signer.sign(&quote);
        *signature.last_mut().unwrap() ^= 1;
        assert_eq!(machine.verify(&quote, &signature), Err(QuoteError::SignatureInvalid));
        // A good signature over another quote.
        let mut other = Attest::sound();
        other.reset_count += 1;
        let signature = machine.signer.sign(&other.bytes());
        assert_eq!(machine.verify(&quote, &signature), Err(QuoteError::SignatureInvalid));
        // None at all.
        assert_eq!(machine.verify(&quote, &[]).unwrap_err().code(), "quote-signature-malformed");
    }
}

#[test]
fn row_10_wrong_magic() {
    for machine in Machine::both() {
        for magic in [0, 0xFF54_4346, 0x4743_54FF] {
            machine.refuses(&Attest { magic, ..Attest::sound() }, "quote-not-tpm-generated");
        }
    }
}

#[test]
fn row_10_wrong_type() {
    for machine in Machine::both() {
        // NV, command audit, session audit, certify, time, creation, NV digest.
        for kind in [0x8014, 0x8015, 0x8016, 0x8017, 0x8019, 0x801A, 0x801C, 0, 0x8118] {
            machine.refuses(&Attest { kind, ..Attest::sound() }, "quote-not-a-quote");
        }
    }
}

#[test]
fn row_10_trailing_bytes() {
    for machine in Machine::both() {
        let sound = Attest::sound().bytes();
        for tail in [&[0][..], &[0xFF; 3], &sound] {
            let quote = [&sound, tail].concat();
            assert_eq!(machine.present(&quote).unwrap_err().code(), "quote-trailing-bytes");
            let signature = [machine.signer.sign(&sound).as_slice(), tail].concat();
            assert_eq!(machine.verify(&sound, &signature).unwrap_err().code(), "quote-signature-malformed");
        }
    }
}

#[test]
fn row_10_scheme_or_hash_switched() {
    for machine in Machine::both() {
        let quote = Attest::sound().bytes();
        let sound = machine.signer.sign(&quote);
        let switched = |at: usize, id: u16| {
            let mut signature = sound.clone();
            signature[at..at + 2].copy_from_slice(&id.to_be_bytes());
            machine.verify(&quote, &signature).unwrap_err().code()
        };
        assert_eq!(switched(2, alg::SHA1), "quote-hash-refused");
        assert_eq!(switched(2, alg::NULL), "quote-hash-refused");
        assert_eq!(switched(2, alg::SHA384), "quote-scheme-mismatch");
        assert_eq!(switched(0, alg::NULL), "quote-scheme-refused");
        assert_eq!(switched(0, 0x0005), "quote-scheme-refused"); // HMAC
        assert_eq!(switched(0, alg::ECDAA), "quote-scheme-refused");
        let other = if sound[1] == 0x14 { alg::RSAPSS } else { alg::RSASSA };
        assert!(matches!(switched(0, other), "quote-scheme-mismatch" | "quote-signature-malformed"));
        // NULL signature without a body.
        assert_eq!(machine.verify(&quote, &[0, 0x10]).unwrap_err().code(), "quote-scheme-refused");
    }
    // A key that is bound to SHA-1, or to nothing, is no attestation key at all.
    let signer = Signer::rsa();
    for scheme in
        [&[alg::RSASSA, alg::SHA1][..], &[alg::NULL], &[alg::RSASSA, alg::NULL], &[alg::ECDSA, alg::SHA256]]
    {
        let public = rsa_public(AK_ATTRIBUTES, scheme, 2048, 0, &signer.modulus());
        assert_eq!(AttestationKey::from_tpm2b(&sized(&public)).unwrap_err().code(), "ak-scheme-refused");
    }
}

#[test]
fn row_10_ecdsa_r_or_s_zero() {
    let machine = Machine::new(Signer::ecc());
    let quote = Attest::sound().bytes();
    let sound = machine.signer.sign(&quote);
    let (r, s) = (&sound[6..38], &sound[40..72]);
    // Order of the group of P-256 (SEC 2), also equal to zero.
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    for zero in [&[0; 32][..], &[], &[0], &order] {
        for (r, s) in [(zero, s), (r, zero), (zero, zero)] {
            let signature = [&sound[..4], &sized(r), &sized(s)].concat();
            assert_eq!(machine.verify(&quote, &signature), Err(QuoteError::SignatureInvalid));
        }
    }
    assert!(machine.verify(&quote, &[&sound[..4], &sized(r), &sized(s)].concat()).is_ok());
}

#[test]
fn row_10_curve_or_key_size_downgrade_and_exponent_one() {
    let code = |tpmt: Vec<u8>| AttestationKey::from_tpm2b(&sized(&tpmt)).unwrap_err().code();
    let modulus = Signer::rsa().modulus();
    let rsa = [alg::RSASSA, alg::SHA256];
    let mut small = modulus[..128].to_vec();
    small[127] |= 1;
    assert_eq!(code(rsa_public(AK_ATTRIBUTES, &rsa, 1024, 0, &small)), "ak-weak-key");
    // Says 2048 and holds less; holds leading zeros; says less than it holds.
    assert_eq!(code(rsa_public(AK_ATTRIBUTES, &rsa, 2048, 0, &small)), "ak-weak-key");
    assert_eq!(
        code(rsa_public(AK_ATTRIBUTES, &rsa, 2048, 0, &[&[0; 128][..], &small].concat())),
        "ak-weak-key"
    );
    assert_eq!(code(rsa_public(AK_ATTRIBUTES, &rsa, 1024, 0, &modulus)), "ak-weak-key");
    assert_eq!(code(rsa_public(AK_ATTRIBUTES, &rsa, 2048, 0, &[])), "ak-weak-key");
    for exponent in [1, 2, 3, 17, 65536, 65539, u32::MAX] {
        assert_eq!(code(rsa_public(AK_ATTRIBUTES, &rsa, 2048, exponent, &modulus)), "ak-weak-key");
    }
    let mut even = modulus.clone();
    even[255] &= 0xFE;
    assert_eq!(code(rsa_public(AK_ATTRIBUTES, &rsa, 2048, 0, &even)), "ak-key-invalid");
    assert!(
        AttestationKey::from_tpm2b(&sized(&rsa_public(AK_ATTRIBUTES, &rsa, 2048, 65537, &modulus))).is_ok()
    );

    let ecdsa = [alg::ECDSA, alg::SHA256];
    // P-192, P-224, P-521, BN-256, SM2.
    for curve in [0x0001, 0x0002, 0x0005, 0x0010, 0x0020, 0xFFFF] {
        assert_eq!(code(ecc_public(AK_ATTRIBUTES, &ecdsa, curve, &[1; 24], &[1; 24])), "ak-unsupported");
    }
    // Not on the curve, the point at infinity, coordinates of another curve.
    assert_eq!(code(ecc_public(AK_ATTRIBUTES, &ecdsa, 3, &[1; 32], &[1; 32])), "ak-key-invalid");
    assert_eq!(code(ecc_public(AK_ATTRIBUTES, &ecdsa, 3, &[], &[])), "ak-key-invalid");
    assert_eq!(code(ecc_public(AK_ATTRIBUTES, &ecdsa, 3, &[1; 48], &[1; 48])), "ak-malformed");
}

#[test]
fn row_10_name_algorithm_sha1_or_null() {
    let signer = Signer::rsa();
    for name_alg in [alg::SHA1, alg::NULL] {
        let mut public = signer.public(AK_ATTRIBUTES);
        public[4..6].copy_from_slice(&name_alg.to_be_bytes());
        assert_eq!(AttestationKey::from_tpm2b(&public).unwrap_err().code(), "ak-unsupported");
    }
}

#[test]
fn row_11_qualifying_data() {
    for machine in Machine::both() {
        let stale = vec![0x5A; 32];
        let padded = [&NONCE[..], &[0]].concat();
        for nonce in [vec![], stale, NONCE[..31].to_vec(), padded] {
            machine.refuses(&Attest { nonce, ..Attest::sound() }, "quote-nonce-mismatch");
        }
        // A verifier that lost its challenge must not accept a quote without one.
        let quote = Attest { nonce: vec![], ..Attest::sound() }.bytes();
        let expect = Expectation { nonce: Some(&[]), selection: None };
        let result = verify_quote(&machine.ak, &quote, &machine.signer.sign(&quote), &expect);
        assert_eq!(result, Err(QuoteError::NonceMismatch));
    }
}

#[test]
fn row_12_selection_relabelled() {
    for machine in Machine::both() {
        let cases = [
            // Other PCRs: one less, one more, shifted, PCR 16 to 23 instead.
            vec![(alg::SHA256, vec![0xFE, 0xFF, 0])],
            vec![(alg::SHA256, vec![0xFF, 0xFF, 1])],
            vec![(alg::SHA256, vec![0, 0xFF, 0xFF])],
            vec![(alg::SHA256, vec![0, 0, 0xFF])],
            // Another bank; the asked bank beside another one, in both orders; twice.
            vec![(alg::SHA1, vec![0xFF, 0xFF, 0])],
            vec![(alg::SHA384, vec![0xFF, 0xFF, 0])],
            vec![(alg::SHA256, vec![0xFF, 0xFF, 0]), (alg::SHA1, vec![1, 0, 0])],
            vec![(alg::SHA1, vec![0, 0, 0]), (alg::SHA256, vec![0xFF, 0xFF, 0])],
            vec![(alg::SHA256, vec![0xFF, 0xFF, 0]), (alg::SHA256, vec![0xFF, 0xFF, 0])],
            // Split over two entries.
            vec![(alg::SHA256, vec![0xFF, 0, 0]), (alg::SHA256, vec![0, 0xFF, 0])],
        ];
        for selections in cases {
            machine.refuses(&Attest { selections, ..Attest::sound() }, "quote-selection-mismatch");
        }
        // The same PCRs in a longer or shorter bitmap are the same selection.
        for bitmap in [vec![0xFF, 0xFF], vec![0xFF, 0xFF, 0, 0]] {
            let quote = Attest { selections: vec![(alg::SHA256, bitmap)], ..Attest::sound() };
            assert!(machine.present(&quote.bytes()).is_ok());
        }
    }
}

#[test]
fn row_12_values_shown_for_other_pcrs() {
    let [machine, _] = Machine::both();
    let quote = machine.present(&Attest::sound().bytes()).unwrap();
    assert!(!quote.pcr_digest_matches(|_, pcr| Some(pcr_value(15 - pcr))), "order counts");
    assert!(!quote.pcr_digest_matches(|_, pcr| Some(pcr_value(if pcr == 7 { 4 } else { pcr }))));
    assert!(!quote.pcr_digest_matches(|_, pcr| (pcr != 9).then(|| pcr_value(pcr))), "one value missing");
    assert!(!quote.pcr_digest_matches(|bank, pcr| (bank == alg::SHA1).then(|| pcr_value(pcr))));
    // The same bytes cut at other places: a value must have the size of its bank.
    let all: Vec<u8> = (0..16).flat_map(pcr_value).collect();
    let uneven = |pcr: u8| match pcr {
        0 => all[..31].to_vec(),
        1 => all[31..64].to_vec(),
        _ => pcr_value(pcr),
    };
    assert!(!quote.pcr_digest_matches(|_, pcr| Some(uneven(pcr))));
}

#[test]
fn row_13_empty_selection_and_resettable_pcrs() {
    let [machine, _] = Machine::both();
    let empty = [vec![], vec![(alg::SHA256, vec![0, 0, 0])], vec![(alg::SHA256, vec![])]];
    for selections in empty {
        // The digest of nothing is the right one, so that only the emptiness speaks against it.
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[]).as_ref().to_vec();
        let quote = Attest { selections, digest, ..Attest::sound() };
        machine.refuses(&quote, "quote-selection-mismatch");
        // Even where the selection is not checked, nothing matches an empty selection.
        let bytes = quote.bytes();
        let signature = machine.signer.sign(&bytes);
        let quote = verify_quote(&machine.ak, &bytes, &signature, &Expectation::default()).unwrap();
        assert!(!quote.pcr_digest_matches(|_, pcr| Some(pcr_value(pcr))));
    }
    // The verifier's own mistake: asking for nothing, for PCR 16 or 23, or for a bank that is none.
    let unusable = [
        vec![],
        vec![PcrSelection::new(alg::SHA256, []).unwrap()],
        vec![PcrSelection::new(alg::SHA256, 0..17).unwrap()],
        vec![PcrSelection::new(alg::SHA256, [23]).unwrap()],
        vec![PcrSelection::new(alg::NULL, 0..16).unwrap()],
    ];
    for asked in unusable {
        let selections = asked
            .iter()
            .map(|s| {
                let bits = s.pcrs.iter().fold(0_u32, |bits, pcr| bits | 1 << pcr);
                (s.alg, bits.to_le_bytes()[..3].to_vec())
            })
            .collect();
        let bytes = Attest { selections, ..Attest::sound() }.bytes();
        let expect = Expectation { nonce: Some(&NONCE), selection: Some(&asked) };
        let result = verify_quote(&machine.ak, &bytes, &machine.signer.sign(&bytes), &expect);
        assert_eq!(result.unwrap_err().code(), "quote-selection-unusable");
    }
}

#[test]
fn row_13_digest_of_another_size() {
    let [machine, _] = Machine::both();
    for size in [0, 20, 31, 48, 64] {
        machine.refuses(&Attest { digest: vec![0; size], ..Attest::sound() }, "quote-digest-size");
    }
}
