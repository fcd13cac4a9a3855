//! Quotes of real machines, from the folder that `VERIBOOT_CORPUS` names: what `quotes.json` says about each is
//! reproduced, including those that must not verify.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/forge.rs"]
mod forge;
#[path = "support/real.rs"]
mod real;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forge::sized;
use real::{Evidence, azure_ak, cloud_vtpm, corpus, evidence_of, google, json, read, rsassa};
use serde_json::Value;
use veriboot_tpm::chain::{self, Anchors, Expiry, Policy, Purpose};
use veriboot_tpm::{AttestationKey, Certificate, EndorsementKey, Expectation, alg, verify_quote};

/// What the row says about the quote is what we find.
fn check(row: &Value, evidence: &Evidence) {
    let ak = AttestationKey::from_any(&evidence.key).unwrap().key;
    let file = row["file"].as_str().unwrap();
    let nonce = row["nonce"].as_str().unwrap();
    let nonce = hex::decode(nonce).unwrap_or_else(|_| nonce.as_bytes().to_vec());
    let expect = Expectation { nonce: (!nonce.is_empty()).then_some(&nonce[..]), selection: None };
    let quote = verify_quote(&ak, &evidence.quote, &evidence.signature, &expect);
    assert_eq!(quote.is_ok(), row["sig_ok"].as_bool().unwrap(), "{file}: {quote:?}");
    let Ok(quote) = quote else {
        assert_eq!(quote.unwrap_err().code(), "quote-signature-invalid");
        return;
    };
    assert_eq!(quote.nonce, nonce, "{file}");
    assert_eq!(quote.digest_alg, alg::SHA256);
    let matches = quote.pcr_digest_matches(|bank, pcr| evidence.pcrs.get(&(bank, pcr)));
    assert_eq!(matches, row["pcr_digest_ok"] == true || row["pcr_digest_ok"] == "sha256", "{file}");

    if let Some(selections) = row["pcr_sel"].as_array() {
        for (selection, said) in quote.selections.iter().zip(selections) {
            assert_eq!(u64::from(selection.alg), said[0].as_u64().unwrap(), "{file}");
            match &said[1] {
                Value::Array(list) => {
                    let list: Vec<_> =
                        list.iter().map(|n| u8::try_from(n.as_u64().unwrap()).unwrap()).collect();
                    assert_eq!(selection.pcrs.iter().collect::<Vec<_>>(), list, "{file}");
                }
                count => assert_eq!(selection.pcrs.len() as u64, count.as_u64().unwrap(), "{file}"),
            }
        }
        assert_eq!(quote.selections.len(), selections.len(), "{file}");
    }
    for (key, seen) in [
        ("clock", quote.clock_ms),
        ("reset", u64::from(quote.reset_count)),
        ("restart", u64::from(quote.restart_count)),
        ("safe", u64::from(quote.safe)),
    ] {
        if let Some(said) = row[key].as_u64() {
            assert_eq!(seen, said, "{file}: {key}");
        }
    }
    if let Some(firmware) = row["fw"].as_str() {
        assert_eq!(format!("0x{:016x}", quote.firmware_version), firmware, "{file}");
    }

    // One bit anywhere, and it is over.
    for at in [0, 5, 40, evidence.quote.len() - 1] {
        let mut bent = evidence.quote.clone();
        bent[at] ^= 1;
        assert!(verify_quote(&ak, &bent, &evidence.signature, &expect).is_err());
    }
    if let Some(((bank, pcr), _)) = evidence.pcrs.first_key_value() {
        let mut bent = evidence.pcrs.clone();
        bent.get_mut(&(*bank, *pcr)).unwrap()[0] ^= 1;
        assert!(!quote.pcr_digest_matches(|bank, pcr| bent.get(&(bank, pcr))));
    }
}

#[test]
fn every_quote_of_the_corpus() {
    let Some(corpus) = corpus() else { return };
    let rows = json(corpus.join("quotes.json"));
    let mut seen = BTreeMap::<&str, usize>::new();
    for row in rows.as_array().unwrap() {
        let kind = row["kind"].as_str().unwrap();
        let Some(evidence) = evidence_of(&corpus, row) else { continue };
        check(row, &evidence);
        if let Some(certificate) = &evidence.certificate {
            let certificate = Certificate::from_der(certificate).unwrap();
            let ak = AttestationKey::from_any(&evidence.key).unwrap().key;
            assert_eq!(ak.matches_certificate(&certificate).ok(), row["ak_cert_matches"].as_bool());
        }
        *seen.entry(kind).or_default() += 1;
    }
    let expected = [
        ("azure-cvm", 6),
        ("cloud vTPM", 3),
        ("generic tpm", 1),
        ("go-tpm-tools Attestation", 6),
        ("raw quote+HCL", 1),
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

/// `tee/azure-hcl/quote.bin` is signed by `akpub.pem` and not by the key of the HCL report beside it. The file is
/// bincode: lengths of 64 bits, little-endian, before signature, message and each PCR value.
#[test]
fn row_05_the_key_in_the_report_is_not_the_key_that_signed() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("tee/azure-hcl");
    let file = read(folder.join("quote.bin"));
    let part = |at: usize| {
        let size = usize::try_from(u64::from_le_bytes(file[at..at + 8].try_into().unwrap())).unwrap();
        &file[at + 8..at + 8 + size]
    };
    let (signature, message) = (part(0), part(8 + part(0).len()));
    let pem = read(folder.join("akpub.pem"));
    let signed_by = AttestationKey::from_any(&pem).unwrap().key;
    let expect = Expectation::default();
    assert!(verify_quote(&signed_by, message, &rsassa(signature), &expect).is_ok());
    let in_report = azure_ak(&read(folder.join("hcl-report-snp.bin")));
    let in_report = AttestationKey::from_any(in_report.as_bytes()).unwrap().key;
    let error = verify_quote(&in_report, message, &rsassa(signature), &expect).unwrap_err();
    assert_eq!(error.code(), "quote-signature-invalid");
    assert!(!in_report.is_same_key(&signed_by));
}

/// The certificates of Google's attestation keys lead to Google's roots, through the intermediates, and to
/// nobody else's root.
#[test]
fn certificate_chains_of_the_corpus() {
    let Some(corpus) = corpus() else { return };
    let gce = corpus.join("quotes/gce");
    let policy = Policy {
        purpose: Purpose::AttestationKey,
        at_unix_s: Some(1_790_000_000),
        expiry: Expiry::Refuse,
        allow_sha1: false,
    };
    let parts = |names: &[&str]| {
        names
            .iter()
            .flat_map(|name| Certificate::many_from_pem_or_der(&read(gce.join(name))).unwrap())
            .collect::<Vec<_>>()
    };
    let pem = |names: &[&str]| {
        let text: String = parts(names)
            .iter()
            .map(|c| {
                format!(
                    "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                    STANDARD.encode(c.der())
                )
            })
            .collect();
        Anchors::from_pem_or_der(text.as_bytes()).unwrap()
    };
    let old = pem(&["tpm_ek_root_1.cer", "tpm_ek_intermediate_2.crt", "tpm_ek_intermediate_3.crt"]);
    let new = pem(&["gcp_ek_ak_ca_root.crt", "gcp_ek_ak_ca_intermediate_v3.crt"]);
    let only_root = pem(&["gcp_ek_ak_ca_root.crt"]);

    for name in ["gce-cos-85-no-nonce.pb", "gce-cos-85-nonce9009.pb"] {
        let certificate = google(&gce.join(name), alg::SHA256).certificate.unwrap();
        let certificate = Certificate::from_der(&certificate).unwrap();
        let path = chain::verify_chain(&certificate, &[], &old, &policy).unwrap();
        assert_eq!(path.subjects.len(), 3);
        assert_eq!(path.warnings, []);
        let error = chain::verify_chain(&certificate, &[], &new, &policy).unwrap_err();
        assert_eq!(error.code(), "chain-unknown-issuer");
    }
    for (names, anchors) in [
        (["uca_tpm_rsa_sign_cert.pem", "uca_tpm_ecc_sign_cert.pem"], &old),
        (["pca_tpm_rsa_sign_cert.pem", "pca_tpm_ecc_sign_cert.pem"], &new),
    ] {
        for certificate in parts(&names) {
            assert!(
                chain::verify_chain(&certificate, &[], anchors, &policy).is_ok(),
                "{}",
                certificate.subject()
            );
        }
    }
    let leaf = &parts(&["pca_tpm_ecc_sign_cert.pem"])[0];
    assert_eq!(
        chain::verify_chain(leaf, &[], &only_root, &policy).unwrap_err().code(),
        "chain-unknown-issuer"
    );
    let intermediates = parts(&["gcp_ek_ak_ca_intermediate_v3.crt"]);
    assert!(chain::verify_chain(leaf, &intermediates, &only_root, &policy).is_ok());
    let ek_policy = Policy { purpose: Purpose::EndorsementKey, ..policy };
    for certificate in parts(&["uca_tpm_rsa_enc_cert.pem", "uca_tpm_ecc_enc_cert.pem"]) {
        assert!(chain::verify_chain(&certificate, &[], &old, &ek_policy).is_ok());
    }
    let late = Policy { at_unix_s: Some(4_900_000_000), ..policy };
    assert_eq!(
        chain::verify_chain(leaf, &intermediates, &only_root, &late).unwrap_err().code(),
        "chain-expired"
    );
    let warn = Policy { expiry: Expiry::Warn, ..late };
    assert_eq!(chain::verify_chain(leaf, &intermediates, &only_root, &warn).unwrap().warnings.len(), 3);

    // Google's machine evidence carries its own chain.
    for name in ["test-gcp-amd-fixture.json", "test-gcp-tdx-fixture.json"] {
        let path = corpus.join("quotes/cloud-vtpm").join(name);
        let document = json(&path);
        let text = document["attestation"]["gcp"]["ak_cert_chain"].as_str().unwrap();
        let certificates = Certificate::many_from_pem_or_der(text.as_bytes()).unwrap();
        let (leaf, rest) = certificates.split_first().unwrap();
        assert!(chain::verify_chain(leaf, rest, &only_root, &policy).is_ok());
        assert!(chain::verify_chain(leaf, rest, &old, &policy).is_err());
        let ak = AttestationKey::from_any(&cloud_vtpm(&path).key).unwrap().key;
        assert_eq!(ak.matches_certificate(leaf), Ok(true));
    }
}

/// Every certificate of the corpus is read, and no endorsement key is found in the wrong one.
#[test]
fn every_certificate_of_the_corpus_is_read() {
    let Some(corpus) = corpus() else { return };
    let mut count = 0;
    for folder in ["quotes/gce", "quotes/cloud-vtpm", "tee/snp", "tee/snp-ms", "tee/snp-go-sev-guest"] {
        for entry in std::fs::read_dir(corpus.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let is_certificate = path
                .extension()
                .is_some_and(|e| ["pem", "crt", "cer", "der", "testcer"].iter().any(|known| e == *known));
            if !is_certificate || path.to_string_lossy().contains("invalid") {
                continue;
            }
            let content = read(&path);
            for certificate in Certificate::many_from_pem_or_der(&content).unwrap() {
                assert!(!certificate.issuer().is_empty(), "{}", path.display());
                count += 1;
                // With the filler of an NV index behind it.
                let mut padded = certificate.der().to_vec();
                padded.extend([0xFF; 100]);
                assert_eq!(Certificate::from_der(&padded).unwrap(), certificate);
                padded.push(7);
                assert!(Certificate::from_der(&padded).is_err());
            }
        }
    }
    assert!(count > 30, "{count}");
    // The modulus in Google's EK certificate is the one of the EK template with it, and of no other.
    let certificate = read(corpus.join("quotes/gce/uca_tpm_rsa_enc_cert.pem"));
    let certificate = &Certificate::many_from_pem_or_der(&certificate).unwrap()[0];
    let modulus_at = certificate.der().windows(4).position(|w| w == [0x02, 0x82, 0x01, 0x01]).unwrap() + 5;
    let ek_of = |modulus: &[u8]| {
        let template = "0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa00060080004300100800";
        let tpmt = [hex::decode(template).unwrap(), vec![0; 4], sized(modulus)].concat();
        EndorsementKey::from_tpm2b(&sized(&tpmt)).unwrap()
    };
    let mut modulus = certificate.der()[modulus_at..modulus_at + 256].to_vec();
    assert_eq!(ek_of(&modulus).matches_certificate(certificate.der()), Ok(true));
    modulus[100] ^= 1;
    assert_eq!(ek_of(&modulus).matches_certificate(certificate.der()), Ok(false));
}
