//! Keys, quotes and credentials of a real TPM implementation (swtpm), driven by tpm2-tools. Golden values come
//! from there and not from this crate.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/tools.rs"]
mod tools;

use tools::{AK_ATTRIBUTES, EK_ATTRIBUTES, Tpm};
use veriboot_tpm::{
    AttestationKey, EndorsementKey, Expectation, KeyAttributes, PcrSelection, alg, make_credential,
    verify_quote,
};

const NONCE: [u8; 32] = [0xC3; 32];

/// Every scheme, hash, key size and bank that is accepted: the quote verifies, covers what was asked, and its
/// digest is that of the values that the TPM says its PCRs have.
#[test]
fn quotes_of_every_accepted_scheme() {
    let Some(tpm) = Tpm::start(&["sha256", "sha384"]) else { return };
    tpm.extend_all("sha256", 32);
    tpm.extend_all("sha384", 48);
    let cases = [
        ("rsa2048:rsassa-sha256:null", "sha256", alg::SHA256),
        ("rsa2048:rsassa-sha512:null", "sha512", alg::SHA512),
        ("rsa2048:rsapss-sha256:null", "sha256", alg::SHA256),
        ("rsa2048:rsapss-sha384:null", "sha384", alg::SHA384),
        ("rsa3072:rsassa-sha384:null", "sha384", alg::SHA384),
        ("ecc256:ecdsa-sha256:null", "sha256", alg::SHA256),
        ("ecc256:ecdsa-sha384:null", "sha384", alg::SHA384),
        ("ecc384:ecdsa-sha256:null", "sha256", alg::SHA256),
        ("ecc384:ecdsa-sha384:null", "sha384", alg::SHA384),
        ("ecc384:ecdsa-sha512:null", "sha512", alg::SHA512),
    ];
    for (n, (algorithm, hash, hash_id)) in cases.into_iter().enumerate() {
        let name = format!("ak{n}");
        let public = tpm.primary(&name, algorithm, AK_ATTRIBUTES);
        let ak = AttestationKey::from_tpm2b(&public).unwrap();
        assert_eq!(ak.name(), tpm.read(&format!("{name}.name")), "{algorithm}");

        for (pcrs, banks) in [
            ("sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", vec![alg::SHA256]),
            ("sha384:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", vec![alg::SHA384]),
        ] {
            let asked: Vec<_> = banks.iter().map(|bank| PcrSelection::new(*bank, 0..16).unwrap()).collect();
            let (quote, signature) =
                tpm.quote(&name, pcrs, &NONCE, &["-g", hash, "--scheme", scheme(algorithm)]);
            let expect = Expectation { nonce: Some(&NONCE), selection: Some(&asked) };
            let said =
                verify_quote(&ak, &quote, &signature, &expect).unwrap_or_else(|e| panic!("{algorithm}: {e}"));
            assert_eq!(said.digest_alg, hash_id);
            assert!(said.pcr_digest_matches(|bank, pcr| tpm.pcr(bank, pcr)), "{algorithm} {pcrs}");
            assert!(!said.pcr_digest_matches(|bank, pcr| tpm.pcr(bank, pcr ^ 1)), "{algorithm} {pcrs}");
            // Qualified name of a primary key: H(hierarchy name || key name) (Part 1, section 26.5).
            let mut parent = vec![0x40, 0, 0, 0x0B];
            parent.extend_from_slice(ak.name());
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &parent);
            assert_eq!(said.qualified_signer, [&[0, 0x0B], digest.as_ref()].concat());
            if n > 0 {
                break;
            }
        }
    }
}

/// `rsapss` of `rsa2048:rsapss-sha256:null`.
fn scheme(algorithm: &str) -> &str {
    algorithm.split([':', '-']).nth(1).unwrap()
}

/// Several banks in one quote; the digest follows the order in which they were asked.
#[test]
fn one_quote_over_several_banks() {
    let Some(tpm) = Tpm::start(&["sha1", "sha256", "sha384"]) else { return };
    for (bank, size) in [("sha1", 20), ("sha256", 32), ("sha384", 48)] {
        tpm.extend_all(bank, size);
    }
    let ak =
        AttestationKey::from_tpm2b(&tpm.primary("ak", "ecc256:ecdsa-sha256:null", AK_ATTRIBUTES)).unwrap();
    let (quote, signature) = tpm.quote("ak", "sha384:0,7+sha1:1,2+sha256:4,5", &NONCE, &["-g", "sha256"]);
    let said = verify_quote(&ak, &quote, &signature, &Expectation::default()).unwrap();
    assert_eq!(said.selections.len(), 3);
    assert!(said.pcr_digest_matches(|bank, pcr| tpm.pcr(bank, pcr)), "{}", said.selection_text());
    let other_order: Vec<_> = said.selections.iter().rev().copied().collect();
    let expect = Expectation { nonce: Some(&NONCE), selection: Some(&other_order) };
    assert_eq!(
        verify_quote(&ak, &quote, &signature, &expect).unwrap_err().code(),
        "quote-selection-mismatch"
    );
    let expect = Expectation { nonce: Some(&NONCE), selection: Some(&said.selections) };
    assert!(verify_quote(&ak, &quote, &signature, &expect).is_ok());
}

/// A bank that is not active: the TPM answers with another selection, and that is an error.
#[test]
fn a_quote_of_an_inactive_bank_is_refused() {
    let Some(tpm) = Tpm::start(&["sha256"]) else { return };
    let ak =
        AttestationKey::from_tpm2b(&tpm.primary("ak", "ecc256:ecdsa-sha256:null", AK_ATTRIBUTES)).unwrap();
    let arguments = [
        "quote",
        "-c",
        "ak.ctx",
        "-l",
        "sha384:0,7",
        "-m",
        "quote",
        "-s",
        "signature",
        "-q",
        "aa",
        "-g",
        "sha256",
    ];
    if !tpm.try_tpm2(&arguments).0 {
        return; // Refused by the TPM or the tool already.
    }
    let asked = [PcrSelection::new(alg::SHA384, [0, 7]).unwrap()];
    let expect = Expectation { nonce: Some(&[0xAA]), selection: Some(&asked) };
    let result = verify_quote(&ak, &tpm.read("quote"), &tpm.read("signature"), &expect);
    assert_eq!(result.unwrap_err().code(), "quote-selection-mismatch");
}

/// Row 18 and row 14: an extension changes the digest; a power cycle changes the counters.
#[test]
fn extensions_and_resets_show() {
    let Some(tpm) = Tpm::start(&["sha256"]) else { return };
    let ak =
        AttestationKey::from_tpm2b(&tpm.primary("ak", "ecc256:ecdsa-sha256:null", AK_ATTRIBUTES)).unwrap();
    let quote = |nonce: &[u8]| {
        let (quote, signature) = tpm.quote("ak", "sha256:0,1,2", nonce, &["-g", "sha256"]);
        verify_quote(&ak, &quote, &signature, &Expectation { nonce: Some(nonce), selection: None }).unwrap()
    };
    let first = quote(&[1]);
    let second = quote(&[2]);
    assert_eq!(first.pcr_digest, second.pcr_digest);
    assert_eq!((first.reset_count, first.restart_count), (second.reset_count, second.restart_count));
    assert!(second.clock_ms >= first.clock_ms);
    tpm.swtpm.extend(2, "sha256", &[9; 32]).unwrap();
    assert_ne!(quote(&[3]).pcr_digest, second.pcr_digest);
    tpm.swtpm.reboot().unwrap();
    tpm.primary("ak", "ecc256:ecdsa-sha256:null", AK_ATTRIBUTES);
    let after = quote(&[4]);
    assert_eq!(after.reset_count, second.reset_count.wrapping_add(1));
    assert_eq!(after.pcr_digest, first.pcr_digest);
}

/// Rows 5 and 10 with structures that a real TPM made and signed.
#[test]
fn row_05_and_10_other_keys_and_other_attestations() {
    let Some(tpm) = Tpm::start(&["sha256"]) else { return };
    // Not restricted: the TPM would sign a forged TPMS_ATTEST with it.
    let attributes = AK_ATTRIBUTES.replace("|restricted", "");
    let public = tpm.primary("loose", "ecc256:ecdsa-sha256:null", &attributes);
    let error = AttestationKey::from_tpm2b(&public).unwrap_err();
    assert_eq!(error.to_string(), "attestation key: restricted must be set");
    let offline = AttestationKey::from_any(&public).unwrap();
    assert_eq!(offline.attributes, KeyAttributes::Unfit(error));
    // Its quote over a forged structure verifies, which is why the attribute matters.
    let (quote, signature) = tpm.quote("loose", "sha256:0", &NONCE, &["-g", "sha256"]);
    assert!(verify_quote(&offline.key, &quote, &signature, &Expectation::default()).is_ok());

    // Not fixed to this TPM.
    let attributes = AK_ATTRIBUTES.replace("fixedtpm|fixedparent|", "");
    let (made, _) = tpm.try_tpm2(&[
        "createprimary",
        "-C",
        "e",
        "-G",
        "ecc256:ecdsa-sha256:null",
        "-a",
        &attributes,
        "-c",
        "m.ctx",
    ]);
    if made {
        tpm.tpm2(&["readpublic", "-c", "m.ctx", "-o", "m.pub"]);
        let error = AttestationKey::from_tpm2b(&tpm.read("m.pub")).unwrap_err();
        assert_eq!(error.to_string(), "attestation key: fixedTPM must be set");
    }

    // A storage key, and an endorsement key offered as attestation key.
    let ek = tpm.primary("ek", "ecc256:null:aes128cfb", EK_ATTRIBUTES);
    assert_eq!(AttestationKey::from_tpm2b(&ek).unwrap_err().code(), "ak-attributes-unfit");

    // Time and certification, signed by a good attestation key over the right qualifying data.
    let ak =
        AttestationKey::from_tpm2b(&tpm.primary("ak", "rsa2048:rsassa-sha256:null", AK_ATTRIBUTES)).unwrap();
    let nonce = hex::encode(NONCE);
    tpm.tpm2(&[
        "gettime",
        "-c",
        "ak.ctx",
        "-g",
        "sha256",
        "-q",
        &nonce,
        "--attestation",
        "time",
        "-o",
        "time.sig",
    ]);
    let expect = Expectation { nonce: Some(&NONCE), selection: None };
    let result = verify_quote(&ak, &tpm.read("time"), &tpm.read("time.sig"), &expect);
    assert_eq!(result.unwrap_err().code(), "quote-not-a-quote");
    tpm.tpm2(&[
        "certify",
        "-c",
        "loose.ctx",
        "-C",
        "ak.ctx",
        "-g",
        "sha256",
        "-o",
        "certify",
        "-s",
        "certify.sig",
    ]);
    let result = verify_quote(&ak, &tpm.read("certify"), &tpm.read("certify.sig"), &Expectation::default());
    assert_eq!(result.unwrap_err().code(), "quote-not-a-quote");

    // SHA-1, by a key that allows it: neither the key nor the signature is accepted.
    let public = tpm.primary("sha1", "rsa2048:rsassa-sha1:null", AK_ATTRIBUTES);
    assert_eq!(AttestationKey::from_tpm2b(&public).unwrap_err().code(), "ak-scheme-refused");
    let (quote, signature) = tpm.quote("sha1", "sha256:0", &NONCE, &["-g", "sha1"]);
    assert_eq!(
        verify_quote(&ak, &quote, &signature, &Expectation::default()).unwrap_err().code(),
        "quote-hash-refused"
    );
}

/// Every form of SPEC section 10 verifies the same quote; PEM and certificate do not know the attributes.
#[test]
fn every_form_of_the_key() {
    let Some(tpm) = Tpm::start(&["sha256"]) else { return };
    for (name, algorithm, hash) in [
        ("rsa", "rsa2048:rsassa-sha256:null", "sha256"),
        ("pss", "rsa2048:rsapss-sha256:null", "sha256"),
        ("ecc", "ecc384:ecdsa-sha384:null", "sha384"),
    ] {
        let public = tpm.primary(name, algorithm, AK_ATTRIBUTES);
        let context = format!("{name}.ctx");
        tpm.tpm2(&["readpublic", "-c", &context, "-f", "pem", "-o", "ak.pem"]);
        let (quote, signature) =
            tpm.quote(name, "sha256:0,1", &NONCE, &["-g", hash, "--scheme", scheme(algorithm)]);
        let pem = tpm.read("ak.pem");
        let with_space = [b"\n  ".as_slice(), &pem].concat();
        for (form, attributes) in [
            (&public[..], KeyAttributes::Fit),
            (&public[2..], KeyAttributes::Fit),
            (&pem, KeyAttributes::Unknown),
            (&with_space, KeyAttributes::Unknown),
        ] {
            let offline = AttestationKey::from_any(form).unwrap();
            assert_eq!(offline.attributes, attributes);
            assert!(offline.key.is_same_key(&AttestationKey::from_tpm2b(&public).unwrap()));
            verify_quote(&offline.key, &quote, &signature, &Expectation::default())
                .unwrap_or_else(|e| panic!("{algorithm}: {e}"));
        }
    }
}

/// Opens a credential with TPM2_ActivateCredential; the secret, or what the tool said.
fn activate(tpm: &Tpm, ek: &str, ak: &str, credential: &veriboot_tpm::Credential) -> Result<Vec<u8>, String> {
    // File format of tpm2-tools: magic, version, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET.
    let mut file = vec![0xBA, 0xDC, 0xC0, 0xDE, 0, 0, 0, 1];
    file.extend_from_slice(&credential.blob);
    file.extend_from_slice(&credential.encrypted_secret);
    std::fs::write(tpm.path("credential"), file).unwrap();
    let _ = std::fs::remove_file(tpm.path("secret"));
    let (ek, ak) = (format!("{ek}.ctx"), format!("{ak}.ctx"));
    let (ok, text) =
        tpm.try_tpm2(&["activatecredential", "-c", &ak, "-C", &ek, "-i", "credential", "-o", "secret"]);
    if ok { Ok(tpm.read("secret")) } else { Err(text) }
}

/// Credentials for every kind of endorsement key are opened by the TPM, with the right attestation key only.
#[test]
fn row_01_credentials_open_for_the_named_key_only() {
    let Some(tpm) = Tpm::start(&["sha256"]) else { return };
    let ak =
        AttestationKey::from_tpm2b(&tpm.primary("ak", "ecc256:ecdsa-sha256:null", AK_ATTRIBUTES)).unwrap();
    let other = tpm.primary("other", "ecc384:ecdsa-sha384:null", AK_ATTRIBUTES);
    let other = AttestationKey::from_tpm2b(&other).unwrap();
    for (name, algorithm, name_alg, kind) in [
        ("ek-rsa", "rsa2048:null:aes128cfb", "sha256", "RSA-2048"),
        ("ek-ecc", "ecc256:null:aes128cfb", "sha256", "ECC P-256"),
        ("ek-rsa3072", "rsa3072:null:aes256cfb", "sha384", "RSA-3072"),
        ("ek-ecc384", "ecc384:null:aes256cfb", "sha384", "ECC P-384"),
        ("ek-sha512", "ecc384:null:aes256cfb", "sha512", "ECC P-384"),
    ] {
        let public = tpm.primary_named(name, algorithm, EK_ATTRIBUTES, name_alg);
        let ek = EndorsementKey::from_tpm2b(&public).unwrap();
        assert_eq!(ek.kind(), kind);
        assert_eq!(ek.name(), tpm.read(&format!("{name}.name")));
        for secret in [vec![0x11; 32], vec![0x22], (0..32).collect::<Vec<u8>>()] {
            let credential = make_credential(&ek, ak.name(), &secret).unwrap();
            assert_eq!(activate(&tpm, name, "ak", &credential).as_deref(), Ok(&secret[..]), "{algorithm}");
        }
        let secret = [0x33; 32];
        let credential = make_credential(&ek, ak.name(), &secret).unwrap();
        assert!(activate(&tpm, name, "other", &credential).is_err(), "another key opened it");
        let for_other = make_credential(&ek, other.name(), &secret).unwrap();
        assert!(activate(&tpm, name, "ak", &for_other).is_err(), "another name opened it");
        for at in [4, credential.blob.len() - 1] {
            let mut bent = credential.clone();
            bent.blob[at] ^= 1;
            assert!(activate(&tpm, name, "ak", &bent).is_err(), "a bent blob opened");
        }
        // Two credentials never share a seed.
        let again = make_credential(&ek, ak.name(), &secret).unwrap();
        assert_ne!(again.encrypted_secret, credential.encrypted_secret);
        assert_ne!(again.blob, credential.blob);
    }
}

/// The standard EK templates, whose use needs a policy session.
#[test]
fn credentials_for_the_standard_templates() {
    let Some(tpm) = Tpm::start(&["sha256"]) else { return };
    for algorithm in ["rsa", "ecc"] {
        let name = format!("ek-{algorithm}");
        let (context, public) = (format!("{name}.ctx"), format!("{name}.pub"));
        tpm.tpm2(&["createek", "-G", algorithm, "-c", &context, "-u", &public]);
        tpm.tpm2(&[
            "createak", "-C", &context, "-G", "ecc", "-g", "sha256", "-s", "ecdsa", "-c", "ak.ctx", "-u",
            "ak.pub", "-n", "ak.name",
        ]);
        let ek = EndorsementKey::from_tpm2b(&tpm.read(&public)).unwrap();
        let ak = AttestationKey::from_tpm2b(&tpm.read("ak.pub")).unwrap();
        assert_eq!(ak.name(), tpm.read("ak.name"));
        let secret = [0x44; 32];
        let credential = make_credential(&ek, ak.name(), &secret).unwrap();
        let mut file = vec![0xBA, 0xDC, 0xC0, 0xDE, 0, 0, 0, 1];
        file.extend_from_slice(&credential.blob);
        file.extend_from_slice(&credential.encrypted_secret);
        std::fs::write(tpm.path("credential"), file).unwrap();
        tpm.tpm2(&["startauthsession", "--policy-session", "-S", "session"]);
        tpm.tpm2(&["policysecret", "-S", "session", "-c", "e"]);
        tpm.tpm2(&[
            "activatecredential",
            "-c",
            "ak.ctx",
            "-C",
            &context,
            "-i",
            "credential",
            "-o",
            "secret",
            "-P",
            "session:session",
        ]);
        assert_eq!(tpm.read("secret"), secret);
        tpm.tpm2(&["flushcontext", "session"]);
    }
}
