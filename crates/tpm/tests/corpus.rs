//! Quotes of real machines, from the folder that `VERIBOOT_CORPUS` names: what `quotes.json` says about each is
//! reproduced, including those that must not verify.
#![allow(missing_docs)]

#[path = "support/forge.rs"]
mod forge;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use forge::sized;
use serde_json::Value;
use veriboot_tpm::chain::{self, Anchors, Expiry, Policy, Purpose};
use veriboot_tpm::{AttestationKey, Certificate, EndorsementKey, Expectation, Quote, alg, verify_quote};

/// The corpus; `None`, said plainly, where it is not set.
fn corpus() -> Option<PathBuf> {
    let path = std::env::var_os("VERIBOOT_CORPUS").map(PathBuf::from);
    if path.is_none() {
        eprintln!("SKIPPED: VERIBOOT_CORPUS is not set");
    }
    path
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path.as_ref()).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

/// Bytes that a JSON document holds as numbers, hex or base64 of either alphabet.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Array(numbers) => numbers.iter().map(|n| u8::try_from(n.as_u64().unwrap()).unwrap()).collect(),
        Value::String(text) => hex::decode(text).unwrap_or_else(|_| {
            let text = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
            URL_SAFE_NO_PAD.decode(text).unwrap()
        }),
        other => panic!("not bytes: {other}"),
    }
}

/// TPMT_SIGNATURE from the bare number of an RSASSA signature with SHA-256.
fn rsassa(signature: &[u8]) -> Vec<u8> {
    [&[0, 0x14, 0, 0x0B][..], &sized(signature)].concat()
}

/// TPMT_SIGNATURE from ECDSA in DER.
fn ecdsa(der: &[u8]) -> Vec<u8> {
    let r_len = usize::from(der[3]);
    let r = &der[4..4 + r_len];
    let s = &der[4 + r_len + 2..];
    let trim = |n: &[u8]| n.iter().copied().skip_while(|b| *b == 0).collect::<Vec<_>>();
    [&[0, 0x18, 0, 0x0B][..], &sized(&trim(r)), &sized(&trim(s))].concat()
}

/// SubjectPublicKeyInfo in PEM from DER.
fn pem_of(spki: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki))
}

/// DER: tag, length, content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        n @ 0..0x80 => out.push(u8::try_from(n).unwrap()),
        n => {
            out.push(0x82);
            out.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(content);
    out
}

/// PEM of an RSA key from its modulus.
fn rsa_pem(modulus: &[u8]) -> String {
    let key = der(0x30, &[der(2, &[&[0], modulus].concat()), der(2, &[1, 0, 1])].concat());
    let algorithm = hex::decode("300d06092a864886f70d0101010500").unwrap();
    pem_of(&der(0x30, &[algorithm, der(3, &[&[0], key.as_slice()].concat())].concat()))
}

/// PEM of a P-256 key from its coordinates.
fn p256_pem(x: &[u8], y: &[u8]) -> String {
    let algorithm = hex::decode("301306072a8648ce3d020106082a8648ce3d030107").unwrap();
    pem_of(&der(0x30, &[algorithm, der(3, &[&[0, 4], x, y].concat())].concat()))
}

/// The attestation key that the runtime data of an Azure HCL report names (HCLAkPub).
fn azure_ak(report: &[u8]) -> AttestationKey {
    let runtime = &report[1216..];
    let start = runtime.iter().position(|b| *b == b'{').unwrap();
    let document = serde_json::Deserializer::from_slice(&runtime[start..]).into_iter::<Value>().next();
    let claims = document.unwrap().unwrap();
    let key = claims["keys"].as_array().unwrap().iter().find(|k| k["kid"] == "HCLAkPub").unwrap().clone();
    let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
    AttestationKey::from_any(rsa_pem(&modulus).as_bytes()).unwrap().key
}

/// One row of the corpus in the form that the verifier takes.
struct Evidence {
    ak: AttestationKey,
    quote: Vec<u8>,
    signature: Vec<u8>,
    pcrs: BTreeMap<(u16, u8), Vec<u8>>,
}

impl Evidence {
    fn verify(&self, expect: &Expectation<'_>) -> Result<Quote, veriboot_tpm::QuoteError> {
        verify_quote(&self.ak, &self.quote, &self.signature, expect)
    }
}

fn pcr_list(list: &Value) -> BTreeMap<(u16, u8), Vec<u8>> {
    let values = list.as_array().unwrap().iter();
    (0..).zip(values).map(|(pcr, value)| ((alg::SHA256, pcr), bytes(value))).collect()
}

/// Evidence of Azure confidential VMs, versions 0 to 2 of its format.
fn azure(path: &Path) -> Evidence {
    let document = json(path);
    let quote = document.get("quote").or(document.get("tpm_quote")).unwrap();
    let report = document.get("report").or(document.get("hcl_report")).unwrap();
    Evidence {
        ak: azure_ak(&bytes(report)),
        quote: bytes(&quote["message"]),
        signature: rsassa(&bytes(&quote["signature"])),
        pcrs: pcr_list(&quote["pcrs"]),
    }
}

fn generic(path: &Path) -> Evidence {
    let document = json(path);
    let quote = &document["tpm_quote"];
    let spki = bytes(&document["ak_public"]);
    Evidence {
        ak: AttestationKey::from_any(pem_of(&spki).as_bytes()).unwrap().key,
        quote: bytes(&quote["message"]),
        signature: bytes(&quote["signature"]),
        pcrs: pcr_list(&quote["pcrs"]),
    }
}

fn cloud_vtpm(path: &Path) -> Evidence {
    let document = json(path);
    let key = &document["ak_pubkeys"]["ecc_p256"];
    let evidence = &document["attestation"]["tpm"]["ecc_p256"];
    let mut pcrs = BTreeMap::new();
    for (bank, values) in document["pcrs"].as_object().unwrap() {
        let bank = if bank == "sha256" { alg::SHA256 } else { alg::SHA384 };
        for (pcr, value) in values.as_object().unwrap() {
            pcrs.insert((bank, pcr.parse().unwrap()), bytes(value));
        }
    }
    Evidence {
        ak: AttestationKey::from_any(p256_pem(&bytes(&key["x"]), &bytes(&key["y"])).as_bytes()).unwrap().key,
        quote: bytes(&evidence["attest_data"]),
        signature: ecdsa(&bytes(&evidence["signature"])),
        pcrs,
    }
}

/// Fields of a protobuf message: number and content (varints as 8 bytes).
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = message.split_first().unwrap();
            *message = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut out = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let content = match key & 7 {
            0 => varint(&mut message).to_be_bytes().to_vec(),
            2 => {
                let size = usize::try_from(varint(&mut message)).unwrap();
                let (content, rest) = message.split_at(size);
                message = rest;
                content.to_vec()
            }
            wire => panic!("wire type {wire}"),
        };
        out.push((key >> 3, content));
    }
    out
}

fn first(fields: &[(u64, Vec<u8>)], number: u64) -> Vec<u8> {
    fields.iter().find(|(n, _)| *n == number).map(|(_, content)| content.clone()).unwrap_or_default()
}

fn number(content: &[u8]) -> u16 {
    content.last_chunk::<2>().map_or(0, |n| u16::from_be_bytes(*n))
}

/// The quote of one bank in an attestation of Google's tools, and the certificate of the key.
fn google(path: &Path, bank: u16) -> (Evidence, Certificate) {
    let attestation = fields(&read(path));
    let ak = first(&attestation, 1);
    for (_, content) in attestation.iter().filter(|(n, _)| *n == 2) {
        let quote = fields(content);
        let pcrs = fields(&first(&quote, 3));
        if number(&first(&pcrs, 1)) != bank {
            continue;
        }
        let values = pcrs.iter().filter(|(n, _)| *n == 2).map(|(_, entry)| {
            let entry = fields(entry);
            ((bank, u8::try_from(number(&first(&entry, 1))).unwrap()), first(&entry, 2))
        });
        let offline = AttestationKey::from_any(&ak).unwrap();
        let evidence = Evidence {
            ak: offline.key,
            quote: first(&quote, 1),
            signature: first(&quote, 2),
            pcrs: values.collect(),
        };
        return (evidence, Certificate::from_der(&first(&attestation, 6)).unwrap());
    }
    panic!("no quote of bank 0x{bank:04x}");
}

/// What the row says about the quote is what we find.
fn check(row: &Value, evidence: &Evidence) {
    let file = row["file"].as_str().unwrap();
    let nonce = hex::decode(row["nonce"].as_str().unwrap()).unwrap();
    let expect = Expectation { nonce: (!nonce.is_empty()).then_some(&nonce[..]), selection: None };
    let quote = evidence.verify(&expect);
    assert_eq!(quote.is_ok(), row["sig_ok"].as_bool().unwrap(), "{file}: {quote:?}");
    let quote = quote.unwrap();
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
        assert!(verify_quote(&evidence.ak, &bent, &evidence.signature, &expect).is_err());
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
        let file = row["file"].as_str().unwrap();
        let name = file.rsplit('/').next().unwrap();
        match kind {
            "azure-cvm" => {
                let folder = if file.contains("az-tdx-vtpm") { "az-tdx-vtpm" } else { "az-snp-vtpm" };
                check(row, &azure(&corpus.join("tee").join(folder).join(name)));
            }
            "generic tpm" => check(row, &generic(&corpus.join("quotes/generic-tpm-evidence.json"))),
            "cloud vTPM" => check(row, &cloud_vtpm(&corpus.join("quotes/cloud-vtpm").join(name))),
            "go-tpm-tools Attestation" => {
                let bank = u16::from_str_radix(&row["bank"].as_str().unwrap()[2..], 16).unwrap();
                let (evidence, certificate) = google(&corpus.join("quotes/gce").join(name), bank);
                check(row, &evidence);
                assert_eq!(evidence.ak.matches_certificate(&certificate), Ok(true));
                assert!(row["ak_cert_matches"].as_bool().unwrap());
            }
            "raw quote+HCL" => {
                let folder = corpus.join("tee/az-snp-vtpm");
                let evidence = Evidence {
                    ak: azure_ak(&read(folder.join("hcl-report.bin"))),
                    quote: read(folder.join("tpm-quote.msg")),
                    signature: rsassa(&read(folder.join("tpm-quote.sig"))),
                    pcrs: BTreeMap::new(),
                };
                assert_eq!(row["sig_ok"], false);
                let error = evidence.verify(&Expectation::default()).unwrap_err();
                assert_eq!(error.code(), "quote-signature-invalid");
            }
            _ => continue,
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
        let (_, certificate) = google(&gce.join(name), alg::SHA256);
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
        assert_eq!(cloud_vtpm(&path).ak.matches_certificate(leaf), Ok(true));
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
