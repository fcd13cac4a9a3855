//! DSSE envelopes against OpenSSL and against those who edit them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use veriboot_appraisal::{
    BASELINE_PAYLOAD_TYPE, Envelope, EnvelopeError, EnvelopeKey, KeyAlgorithm, MAX_ENVELOPE_BYTES,
    VerifyingKey, pae,
};

fn openssl(dir: &Path, args: &[&str]) -> Vec<u8> {
    let out = Command::new("openssl").current_dir(dir).args(args).output().expect("openssl runs");
    assert!(out.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// The three kinds of keys as OpenSSL makes them, PKCS #8 and SubjectPublicKeyInfo in DER.
const KINDS: [(KeyAlgorithm, &[&str]); 3] = [
    (KeyAlgorithm::Es256, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    (KeyAlgorithm::Es384, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    (KeyAlgorithm::Ed25519, &["-algorithm", "ED25519"]),
];

fn key(dir: &Path, args: &[&str]) -> (EnvelopeKey, Vec<u8>) {
    openssl(dir, &[&["genpkey"], args, &["-out", "key.pem"]].concat());
    openssl(dir, &["pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "DER", "-out", "key.der"]);
    openssl(dir, &["pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "pub.der"]);
    openssl(dir, &["pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem"]);
    let spki = std::fs::read(dir.join("pub.der")).unwrap();
    (EnvelopeKey::from_pkcs8(&std::fs::read(dir.join("key.der")).unwrap()).unwrap(), spki)
}

/// The example of the DSSE protocol description.
#[test]
fn what_is_signed_is_what_dsse_says() {
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    // Lengths count bytes.
    assert_eq!(pae("é", b""), "DSSEv1 2 é 0 ".as_bytes());
}

#[test]
fn openssl_and_we_agree_both_ways() {
    for (algorithm, args) in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (key, spki) = key(dir, args);
        assert_eq!((key.public().spki(), key.public().algorithm()), (&*spki, algorithm));
        let digest = String::from_utf8(openssl(dir, &["dgst", "-sha256", "-r", "pub.der"])).unwrap();
        assert_eq!(digest.split(' ').next(), Some(key.public().id()), "the key id is SHA-256 of the key");

        // Ours, checked by OpenSSL.
        let payload = br#"{"schema":"veriboot-baseline/2"}"#;
        let envelope: Value = serde_json::from_str(
            &Envelope::sign(BASELINE_PAYLOAD_TYPE, payload, &key).unwrap().to_json().unwrap(),
        )
        .unwrap();
        let signature = STANDARD.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap();
        assert_eq!(STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap(), payload);
        let by_hand = format!("DSSEv1 38 {BASELINE_PAYLOAD_TYPE} 32 {{\"schema\":\"veriboot-baseline/2\"}}");
        std::fs::write(dir.join("pae"), by_hand).unwrap();
        std::fs::write(dir.join("sig"), signature).unwrap();
        let verify: &[&str] = match algorithm {
            KeyAlgorithm::Es256 => &["dgst", "-sha256", "-verify", "pub.pem", "-signature", "sig", "pae"],
            KeyAlgorithm::Es384 => &["dgst", "-sha384", "-verify", "pub.pem", "-signature", "sig", "pae"],
            KeyAlgorithm::Ed25519 => &[
                "pkeyutl", "-verify", "-pubin", "-inkey", "pub.pem", "-rawin", "-in", "pae", "-sigfile",
                "sig",
            ],
        };
        openssl(dir, verify);

        // OpenSSL's, checked by us.
        let sign: &[&str] = match algorithm {
            KeyAlgorithm::Es256 => &["dgst", "-sha256", "-sign", "key.pem", "-out", "theirs", "pae"],
            KeyAlgorithm::Es384 => &["dgst", "-sha384", "-sign", "key.pem", "-out", "theirs", "pae"],
            KeyAlgorithm::Ed25519 => {
                &["pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-in", "pae", "-out", "theirs"]
            }
        };
        openssl(dir, sign);
        let theirs = json!({
            "payload": URL_SAFE.encode(payload),
            "payloadType": BASELINE_PAYLOAD_TYPE,
            "signatures": [{ "keyid": key.public().id(), "sig": STANDARD.encode(std::fs::read(dir.join("theirs")).unwrap()) }],
        });
        let read = Envelope::from_json(theirs.to_string().as_bytes()).unwrap();
        let verified = read.verify(BASELINE_PAYLOAD_TYPE, &[key.public()]).unwrap();
        assert_eq!((&*verified.payload, &*verified.key_id), (&payload[..], key.public().id()));
    }
}

fn signed() -> (EnvelopeKey, Value) {
    let key = EnvelopeKey::from_pkcs8(&EnvelopeKey::generate_pkcs8().unwrap()).unwrap();
    let envelope = Envelope::sign(BASELINE_PAYLOAD_TYPE, b"{}", &key).unwrap();
    let json = serde_json::from_str(&envelope.to_json().unwrap()).unwrap();
    (key, json)
}

fn verdict(envelope: &Value, keys: &[&VerifyingKey]) -> Result<Vec<u8>, &'static str> {
    Envelope::from_json(envelope.to_string().as_bytes())
        .and_then(|e| e.verify(BASELINE_PAYLOAD_TYPE, keys))
        .map(|v| v.payload)
        .map_err(|e| e.code())
}

#[test]
fn an_edited_envelope_is_not_believed() {
    let (key, good) = signed();
    let (other, foreign) = signed();
    let trusted = [key.public()];
    assert_eq!(verdict(&good, &trusted), Ok(b"{}".to_vec()));
    assert_eq!(verdict(&good, &[]), Err("signed-by-unknown-key"));
    assert_eq!(verdict(&foreign, &trusted), Err("signed-by-unknown-key"));

    let edited = |member: &str, value: Value| {
        let mut envelope = good.clone();
        envelope[member] = value;
        verdict(&envelope, &trusted)
    };
    assert_eq!(edited("payload", json!(STANDARD.encode("[]"))), Err("signature-invalid"));
    assert_eq!(edited("payloadType", json!("application/json")), Err("envelope-payload-type"));
    assert_eq!(edited("signatures", json!([])), Err("unsigned"));
    assert_eq!(edited("extra", json!(1)), Err("envelope-malformed"));
    assert_eq!(edited("payload", json!("not base64")), Err("envelope-malformed"));

    // Another key's signature under the name of a trusted one.
    let mut stolen = foreign["signatures"].clone();
    stolen[0]["keyid"] = json!(key.public().id());
    assert_eq!(edited("signatures", stolen), Err("signature-invalid"));
    // A good signature beside one that does not hold: somebody edited the envelope.
    let mut doubtful = good["signatures"].as_array().unwrap().clone();
    doubtful.push(json!({ "keyid": key.public().id(), "sig": "AAAA" }));
    assert_eq!(edited("signatures", json!(doubtful)), Err("signature-invalid"));
    // Of two signers, one is enough; what the other says is not asked.
    let both = json!([foreign["signatures"][0], good["signatures"][0]]);
    assert_eq!(edited("signatures", both), Ok(b"{}".to_vec()));
    assert_eq!(
        edited("signatures", json!(vec![good["signatures"][0].clone(); 17])),
        Err("envelope-too-large")
    );
    // The same bytes signed as another type.
    let cross = Envelope::sign("application/vnd.veriboot.profile+json", b"{}", &key).unwrap();
    assert!(matches!(cross.verify(BASELINE_PAYLOAD_TYPE, &trusted), Err(EnvelopeError::PayloadType(_))));
    let mut cross: Value = serde_json::from_str(&cross.to_json().unwrap()).unwrap();
    cross["payloadType"] = json!(BASELINE_PAYLOAD_TYPE);
    assert_eq!(verdict(&cross, &trusted), Err("signature-invalid"));

    let text = good.to_string();
    let doubled = text.replacen('{', r#"{"payload":"e30=","#, 1);
    assert_eq!(Envelope::from_json(doubled.as_bytes()).unwrap_err().code(), "envelope-malformed");
    for cut in 0..text.len() {
        assert!(Envelope::from_json(&text.as_bytes()[..cut]).is_err());
    }
    let large = vec![b' '; MAX_ENVELOPE_BYTES + 1];
    assert_eq!(Envelope::from_json(&large), Err(EnvelopeError::TooLarge));
    assert_ne!(key.public().id(), other.public().id());
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for args in [
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"],
    ] {
        openssl(dir, &[&["genpkey"], args, &["-out", "key.pem"]].concat());
        openssl(dir, &["pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "pub.der"]);
        assert!(VerifyingKey::from_spki(&std::fs::read(dir.join("pub.der")).unwrap()).is_err(), "{args:?}");
    }
    let (key, _) = signed();
    let spki = key.public().spki();
    assert!(VerifyingKey::from_spki(&spki[..spki.len() - 1]).is_err());
    assert!(VerifyingKey::from_spki(&[spki, &[0]].concat()).is_err());
    // Not a point of the curve.
    let mut off = spki.to_vec();
    *off.last_mut().unwrap() ^= 1;
    assert!(VerifyingKey::from_spki(&off).is_err());
}
