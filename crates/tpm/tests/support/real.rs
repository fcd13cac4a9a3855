//! Evidence of real machines, from the folder that `VERIBOOT_CORPUS` names, in the form that a bundle takes.
#![allow(dead_code, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use veriboot_tpm::alg;

/// The corpus; `None`, said plainly, where it is not set.
pub fn corpus() -> Option<PathBuf> {
    let path = std::env::var_os("VERIBOOT_CORPUS").map(PathBuf::from);
    if path.is_none() {
        eprintln!("SKIPPED: VERIBOOT_CORPUS is not set");
    }
    path
}

pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path.as_ref()).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

pub fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

/// Bytes that a JSON document holds as numbers, hex or base64 of either alphabet.
pub fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Array(numbers) => numbers.iter().map(|n| u8::try_from(n.as_u64().unwrap()).unwrap()).collect(),
        Value::String(text) => hex::decode(text).unwrap_or_else(|_| {
            let text = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
            URL_SAFE_NO_PAD.decode(text).unwrap()
        }),
        other => panic!("not bytes: {other}"),
    }
}

/// A TPM2B.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// TPMT_SIGNATURE from the bare number of an RSASSA signature with SHA-256.
pub fn rsassa(signature: &[u8]) -> Vec<u8> {
    [&[0, 0x14, 0, 0x0B][..], &sized(signature)].concat()
}

/// TPMT_SIGNATURE from ECDSA in DER.
pub fn ecdsa(der: &[u8]) -> Vec<u8> {
    let r_len = usize::from(der[3]);
    let r = &der[4..4 + r_len];
    let s = &der[4 + r_len + 2..];
    let trim = |n: &[u8]| n.iter().copied().skip_while(|b| *b == 0).collect::<Vec<_>>();
    [&[0, 0x18, 0, 0x0B][..], &sized(&trim(r)), &sized(&trim(s))].concat()
}

/// SubjectPublicKeyInfo in PEM from DER.
pub fn pem_of(spki: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki))
}

/// DER: tag, length, content.
pub fn der(tag: u8, content: &[u8]) -> Vec<u8> {
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
pub fn rsa_pem(modulus: &[u8]) -> String {
    let key = der(0x30, &[der(2, &[&[0], modulus].concat()), der(2, &[1, 0, 1])].concat());
    let algorithm = hex::decode("300d06092a864886f70d0101010500").unwrap();
    pem_of(&der(0x30, &[algorithm, der(3, &[&[0], key.as_slice()].concat())].concat()))
}

/// PEM of a P-256 key from its coordinates.
pub fn p256_pem(x: &[u8], y: &[u8]) -> String {
    let algorithm = hex::decode("301306072a8648ce3d020106082a8648ce3d030107").unwrap();
    pem_of(&der(0x30, &[algorithm, der(3, &[&[0, 4], x, y].concat())].concat()))
}

/// The attestation key that the runtime data of an Azure HCL report names (HCLAkPub).
pub fn azure_ak(report: &[u8]) -> String {
    let runtime = &report[1216..];
    let start = runtime.iter().position(|b| *b == b'{').unwrap();
    let document = serde_json::Deserializer::from_slice(&runtime[start..]).into_iter::<Value>().next();
    let claims = document.unwrap().unwrap();
    let key = claims["keys"].as_array().unwrap().iter().find(|k| k["kid"] == "HCLAkPub").unwrap().clone();
    let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
    rsa_pem(&modulus)
}

/// One row of the corpus in the form that a bundle takes.
pub struct Evidence {
    /// The key in any form of SPEC section 10.
    pub key: Vec<u8>,
    pub certificate: Option<Vec<u8>>,
    pub quote: Vec<u8>,
    pub signature: Vec<u8>,
    pub pcrs: BTreeMap<(u16, u8), Vec<u8>>,
    pub log: Option<Vec<u8>>,
}

impl Evidence {
    fn new(key: String, quote: Vec<u8>, signature: Vec<u8>, pcrs: BTreeMap<(u16, u8), Vec<u8>>) -> Self {
        Self { key: key.into_bytes(), certificate: None, quote, signature, pcrs, log: None }
    }
}

pub fn pcr_list(list: &Value) -> BTreeMap<(u16, u8), Vec<u8>> {
    let values = list.as_array().unwrap().iter();
    (0..).zip(values).map(|(pcr, value)| ((alg::SHA256, pcr), bytes(value))).collect()
}

/// Evidence of Azure confidential VMs, versions 0 to 2 of its format.
pub fn azure(path: &Path) -> Evidence {
    let document = json(path);
    let quote = document.get("quote").or(document.get("tpm_quote")).unwrap();
    let report = document.get("report").or(document.get("hcl_report")).unwrap();
    let signature = rsassa(&bytes(&quote["signature"]));
    Evidence::new(azure_ak(&bytes(report)), bytes(&quote["message"]), signature, pcr_list(&quote["pcrs"]))
}

pub fn generic(path: &Path) -> Evidence {
    let document = json(path);
    let quote = &document["tpm_quote"];
    let key = pem_of(&bytes(&document["ak_public"]));
    Evidence::new(key, bytes(&quote["message"]), bytes(&quote["signature"]), pcr_list(&quote["pcrs"]))
}

pub fn cloud_vtpm(path: &Path) -> Evidence {
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
    let pem = p256_pem(&bytes(&key["x"]), &bytes(&key["y"]));
    Evidence::new(pem, bytes(&evidence["attest_data"]), ecdsa(&bytes(&evidence["signature"])), pcrs)
}

/// Fields of a protobuf message: number and content (varints as 8 bytes).
pub fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
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

pub fn first(fields: &[(u64, Vec<u8>)], number: u64) -> Vec<u8> {
    fields.iter().find(|(n, _)| *n == number).map(|(_, content)| content.clone()).unwrap_or_default()
}

pub fn number(content: &[u8]) -> u16 {
    content.last_chunk::<2>().map_or(0, |n| u16::from_be_bytes(*n))
}

/// The quote of one bank in an attestation of Google's tools, with the certificate of the key and the log.
pub fn google(path: &Path, bank: u16) -> Evidence {
    let attestation = fields(&read(path));
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
        return Evidence {
            key: first(&attestation, 1),
            certificate: Some(first(&attestation, 6)),
            quote: first(&quote, 1),
            signature: first(&quote, 2),
            pcrs: values.collect(),
            log: Some(first(&attestation, 3)),
        };
    }
    panic!("no quote of bank 0x{bank:04x}");
}

/// The evidence that a row of `quotes.json` describes; `None` for rows that are no TPM quotes.
pub fn evidence_of(corpus: &Path, row: &Value) -> Option<Evidence> {
    let file = row["file"].as_str().unwrap();
    let name = file.rsplit('/').next().unwrap();
    Some(match row["kind"].as_str().unwrap() {
        "azure-cvm" => {
            let folder = if file.contains("az-tdx-vtpm") { "az-tdx-vtpm" } else { "az-snp-vtpm" };
            azure(&corpus.join("tee").join(folder).join(name))
        }
        "generic tpm" => generic(&corpus.join("quotes/generic-tpm-evidence.json")),
        "cloud vTPM" => cloud_vtpm(&corpus.join("quotes/cloud-vtpm").join(name)),
        "go-tpm-tools Attestation" => {
            let bank =
                u16::from_str_radix(row["bank"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
            google(&corpus.join("quotes/gce").join(name), bank)
        }
        "raw quote+HCL" => {
            let folder = corpus.join("tee/az-snp-vtpm");
            let signature = rsassa(&read(folder.join("tpm-quote.sig")));
            let key = azure_ak(&read(folder.join("hcl-report.bin")));
            Evidence::new(key, read(folder.join("tpm-quote.msg")), signature, BTreeMap::new())
        }
        _ => return None,
    })
}
