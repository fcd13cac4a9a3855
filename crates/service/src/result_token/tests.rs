use std::process::Command;

use super::*;
use veriboot_wire::Severity;

fn facts() -> Facts {
    Facts {
        secure_boot: FactState::Valid,
        vtpm: FactState::Valid,
        quote: FactState::Valid,
        log: FactState::Valid,
        baseline: FactState::Valid,
        endorsement: FactState::Unknown,
        tee: FactState::NotApplicable,
    }
}

fn issuer() -> Issuer {
    Issuer { url: "https://veriboot.example:8443".into(), audience: "veriboot".into(), lifetime_s: 660 }
}

fn appraised<'a>(facts: &'a Facts, verdict: Verdict, findings: &'a [Finding]) -> Appraised<'a> {
    Appraised {
        verdict,
        at: Time::from_unix_ms(1_795_000_000_999),
        vm_id: "0193b1c0-0000-7000-8000-000000000001",
        vm_name: "web-0",
        group: "default",
        scale_set: Some("web"),
        boot_id: Some("0193b1c0-0000-7000-8000-000000000002"),
        attestation_id: "0193b1c0-0000-7000-8000-000000000003",
        facts,
        baseline: Some("scale-set/default/web@1"),
        findings,
    }
}

#[test]
fn claims_of_a_healthy_vm() {
    let notes = [Finding::new("b-note", Severity::Low, "x"), Finding::new("a-note", Severity::Info, "y")];
    let claims = claims(&issuer(), &appraised(&facts(), Verdict::Healthy, &notes)).unwrap();
    let mut json = serde_json::to_value(&claims).unwrap();
    json["ear.verifier-id"]["build"] = "[version]".into();
    insta::assert_json_snapshot!(json);
    assert_eq!(claims.iat, 1_795_000_000);
}

#[test]
fn nothing_but_healthy_makes_a_token() {
    assert_eq!(claims(&issuer(), &appraised(&facts(), Verdict::Unhealthy, &[])), None);
    let failing = [Finding::new("kernel-changed", Severity::High, "x")];
    assert_eq!(claims(&issuer(), &appraised(&facts(), Verdict::Healthy, &failing)), None);
    for bad in [FactState::Invalid, FactState::Unknown, FactState::NotApplicable] {
        let facts = Facts { quote: bad, ..facts() };
        assert_eq!(claims(&issuer(), &appraised(&facts, Verdict::Healthy, &[])), None, "{bad}");
    }
}

#[test]
fn what_was_not_shown_is_never_affirming() {
    assert_eq!(TrustVector::of(&facts()).status(), EarStatus::Affirming);
    for bad in [FactState::Invalid, FactState::Unknown, FactState::NotApplicable] {
        for weaker in [
            Facts { secure_boot: bad, ..facts() },
            Facts { log: bad, ..facts() },
            Facts { baseline: bad, ..facts() },
        ] {
            assert_eq!(TrustVector::of(&weaker).status(), EarStatus::Warning);
        }
        assert_eq!(TrustVector::of(&Facts { vtpm: bad, ..facts() }).status(), EarStatus::Contraindicated);
    }
    let lost = Facts { endorsement: FactState::Invalid, ..facts() };
    assert_eq!(TrustVector::of(&lost).status(), EarStatus::Contraindicated);
}

#[test]
fn lifetime_is_bounded() {
    assert_eq!((default_lifetime_s(300), default_lifetime_s(86_400)), (660, MAX_LIFETIME_S));
    let long = Issuer { lifetime_s: u32::MAX, ..issuer() };
    let claims = claims(&long, &appraised(&facts(), Verdict::Healthy, &[])).unwrap();
    assert_eq!(claims.exp - claims.iat, i64::from(MAX_LIFETIME_S));
}

/// Signature, key and thumbprint as OpenSSL sees them.
#[test]
fn openssl_verifies_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::from_pkcs8(&generate_pkcs8().unwrap()).unwrap();
    let token = key.sign(&claims(&issuer(), &appraised(&facts(), Verdict::Healthy, &[])).unwrap()).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let header: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!(header, serde_json::json!({"typ": "JWT", "alg": "ES256", "kid": key.kid()}));

    // SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480).
    let mut spki = hex::decode("3059301306072a8648ce3d020106082a8648ce3d03010703420004").unwrap();
    spki.extend(URL_SAFE_NO_PAD.decode(&key.jwk().x).unwrap());
    spki.extend(URL_SAFE_NO_PAD.decode(&key.jwk().y).unwrap());
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        dir.path().join(name)
    };
    let (spki, sig) = (file("key.der", &spki), file("sig.der", &der_signature(&raw)));
    let verify = |message: &str| {
        Command::new("openssl")
            .args(["dgst", "-sha256", "-keyform", "DER", "-verify"])
            .arg(&spki)
            .arg("-signature")
            .arg(&sig)
            .arg(file("message", message.as_bytes()))
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(verify(signed));
    assert!(!verify(&signed.replace("eyJ", "eyK")));
}

/// SEQUENCE of two INTEGERs, as X9.62 has it.
fn der_signature(raw: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let mut value: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
        if value[0] >= 0x80 {
            value.insert(0, 0);
        }
        [&[2, u8::try_from(value.len()).unwrap()], value.as_slice()].concat()
    };
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
}

/// The generator point of P-256; the thumbprint is from Python's hashlib.
#[test]
fn thumbprint_is_rfc_7638() {
    let point = hex::decode(concat!(
        "04",
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    ))
    .unwrap();
    assert_eq!(jwk(&point).unwrap().kid, "xx0BcA-wMohw8atYDJOe6peGModklG2wRHBlXHMvl0M");
    assert_eq!(jwk(&point[..64]), None);
    assert_eq!(jwk(&point[1..]), None);
}
