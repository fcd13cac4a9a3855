//! Row 6 of the attack list and quirk 18: certificates of endorsement keys, good, bent and wrong. Made on the spot,
//! those that no careful library would make by the openssl tool.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SignatureAlgorithm,
};
use veriboot_tpm::Certificate;
use veriboot_tpm::chain::{
    Anchors, ChainError, Expiry, Path as ChainPath, Policy, Purpose, Warning, verify_chain,
};

const NOW: u64 = 1_790_000_000;
const EKU_EK: &[u64] = &[2, 23, 133, 8, 1];
const EKU_AK: &[u64] = &[2, 23, 133, 8, 3];
const EK: Policy = Policy {
    purpose: Purpose::EndorsementKey,
    at_unix_s: Some(NOW),
    expiry: Expiry::Refuse,
    allow_sha1: false,
};
const AK: Policy = Policy { purpose: Purpose::AttestationKey, ..EK };

/// A certificate with its key.
struct Made {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    if !name.is_empty() {
        subject.push(DnType::CommonName, name);
    }
    params.distinguished_name = subject;
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}

fn authority(name: &str, limit: BasicConstraints) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(limit);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn leaf(name: &str, usage: &[&[u64]]) -> CertificateParams {
    let mut params = params(name);
    params.extended_key_usages =
        usage.iter().map(|oid| ExtendedKeyUsagePurpose::Other(oid.to_vec())).collect();
    params
}

fn issue_with(
    params: CertificateParams,
    issuer: Option<&Made>,
    algorithm: &'static SignatureAlgorithm,
) -> Made {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let made = match issuer {
        Some(issuer) => params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key)).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Made { certificate: Certificate::from_der(made.der()).unwrap(), params, key }
}

fn issue(params: CertificateParams, issuer: Option<&Made>) -> Made {
    issue_with(params, issuer, &rcgen::PKCS_ECDSA_P256_SHA256)
}

fn anchors(certificates: &[&Certificate]) -> Anchors {
    let pem: String = certificates
        .iter()
        .map(|c| {
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(c.der()))
        })
        .collect();
    Anchors::from_pem_or_der(pem.as_bytes()).unwrap()
}

/// A root, an authority below it, and a leaf below that.
struct Pki {
    root: Made,
    middle: Made,
}

impl Pki {
    fn new() -> Self {
        let root = issue(authority("Maker Root", BasicConstraints::Unconstrained), None);
        let middle = issue(authority("Maker EK CA", BasicConstraints::Constrained(0)), Some(&root));
        Self { root, middle }
    }

    fn verify(&self, leaf: &Certificate, policy: &Policy) -> Result<ChainPath, ChainError> {
        let intermediates = [self.middle.certificate.clone()];
        verify_chain(leaf, &intermediates, &anchors(&[&self.root.certificate]), policy)
    }

    fn refuses(&self, leaf: &Certificate, policy: &Policy, code: &str) {
        assert_eq!(self.verify(leaf, policy).unwrap_err().code(), code);
    }
}

#[test]
fn a_good_chain_is_accepted() {
    let pki = Pki::new();
    let mut nameless = leaf("", &[EKU_EK]);
    nameless.serial_number = Some(0x1234_u64.into());
    let ek = issue(nameless, Some(&pki.middle));
    let path = pki.verify(&ek.certificate, &EK).unwrap();
    assert_eq!(path.subjects, ["serial number 1234", "CN=Maker EK CA", "CN=Maker Root"]);
    assert_eq!(path.warnings, []);
    let ak = issue(leaf("ak", &[EKU_AK]), Some(&pki.middle));
    assert!(pki.verify(&ak.certificate, &AK).is_ok());
    // Intermediates may come from the operator's file as well, in any order.
    let given = anchors(&[&pki.middle.certificate, &pki.root.certificate]);
    assert_eq!(given.roots(), 1);
    assert!(verify_chain(&ek.certificate, &[], &given, &EK).is_ok());
}

#[test]
fn every_accepted_signature_algorithm() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_RSA_SHA384,
        &rcgen::PKCS_RSA_SHA512,
    ] {
        let root = issue_with(authority("root", BasicConstraints::Unconstrained), None, algorithm);
        let ek = issue(leaf("ek", &[EKU_EK]), Some(&root));
        let given = anchors(&[&root.certificate]);
        assert!(verify_chain(&ek.certificate, &[], &given, &EK).is_ok(), "{algorithm:?}");
        // Any bit of the signed part or of the signature.
        for at in (30..ek.certificate.der().len()).step_by(7) {
            let mut bent = ek.certificate.der().to_vec();
            bent[at] ^= 1;
            if let Ok(bent) = Certificate::from_der(&bent) {
                assert!(verify_chain(&bent, &[], &given, &EK).is_err(), "byte {at}");
            }
        }
    }
}

#[test]
fn row_06_unknown_root() {
    let (pki, other) = (Pki::new(), Pki::new());
    let ek = issue(leaf("ek", &[EKU_EK]), Some(&pki.middle));
    // The other maker uses the same names: only the signature tells them apart.
    other.refuses(&ek.certificate, &EK, "chain-signature-invalid");
    let stranger =
        anchors(&[&issue(authority("Stranger", BasicConstraints::Unconstrained), None).certificate]);
    assert_eq!(
        verify_chain(&ek.certificate, &[], &stranger, &EK).unwrap_err().code(),
        "chain-unknown-issuer"
    );
    assert_eq!(
        verify_chain(&ek.certificate, &[], &Anchors::default(), &EK).unwrap_err().code(),
        "chain-no-roots"
    );
    // A self-signed certificate is its own root only where the operator says so.
    let own = issue(leaf("own", &[EKU_EK]), None);
    pki.refuses(&own.certificate, &EK, "chain-unknown-issuer");
    assert!(verify_chain(&own.certificate, &[], &anchors(&[&own.certificate]), &EK).is_ok());
    // An intermediate that comes with the evidence is never a root, even when it calls itself one.
    let evil = issue(authority("Evil Root", BasicConstraints::Unconstrained), None);
    let ek = issue(leaf("ek", &[EKU_EK]), Some(&evil));
    let given = anchors(&[&pki.root.certificate]);
    let result = verify_chain(&ek.certificate, &[evil.certificate], &given, &EK);
    assert_eq!(result.unwrap_err().code(), "chain-unknown-issuer");
}

#[test]
fn row_06_expired_and_not_yet_valid() {
    let pki = Pki::new();
    let ek = |from, to| {
        let mut params = leaf("ek", &[EKU_EK]);
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        issue(params, Some(&pki.middle)).certificate
    };
    let (expired, early) = (ek(2020, 2021), ek(2039, 2040));
    pki.refuses(&expired, &EK, "chain-expired");
    pki.refuses(&early, &EK, "chain-not-yet-valid");
    let warn = Policy { expiry: Expiry::Warn, ..EK };
    assert_eq!(pki.verify(&expired, &warn).unwrap().warnings, [Warning::Expired("CN=ek".to_owned())]);
    assert_eq!(pki.verify(&early, &warn).unwrap().warnings, [Warning::NotYetValid("CN=ek".to_owned())]);
    // The issuers count too.
    let late = Policy { at_unix_s: Some(2_300_000_000), ..EK };
    pki.refuses(&ek(2020, 4000), &late, "chain-expired");
    assert!(pki.verify(&expired, &Policy { at_unix_s: None, ..EK }).is_ok());
}

#[test]
fn row_06_wrong_usage() {
    let pki = Pki::new();
    let make = |usage: &[&[u64]]| issue(leaf("x", usage), Some(&pki.middle)).certificate;
    let server = make(&[&[1, 3, 6, 1, 5, 5, 7, 3, 1]]);
    pki.refuses(&server, &EK, "chain-wrong-usage");
    pki.refuses(&server, &AK, "chain-wrong-usage");
    pki.refuses(&make(&[EKU_AK]), &EK, "chain-wrong-usage");
    assert!(pki.verify(&make(&[]), &EK).is_ok(), "no usage means any");
    let mut params = leaf("ak", &[EKU_AK]);
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    pki.refuses(&issue(params, Some(&pki.middle)).certificate, &AK, "chain-wrong-usage");
}

#[test]
fn row_06_issuer_is_no_authority() {
    let pki = Pki::new();
    // A leaf that signs another certificate: CA:FALSE, or no basicConstraints, or no right to sign certificates.
    let mut explicit = params("Not a CA");
    explicit.is_ca = IsCa::ExplicitNoCa;
    let mut no_right = authority("No right", BasicConstraints::Unconstrained);
    no_right.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    for params in [explicit, params("Not a CA"), no_right] {
        let false_ca = issue(params, Some(&pki.root));
        let ek = issue(leaf("ek", &[EKU_EK]), Some(&false_ca));
        let given = anchors(&[&pki.root.certificate]);
        let result = verify_chain(&ek.certificate, &[false_ca.certificate], &given, &EK);
        assert_eq!(result.unwrap_err().code(), "chain-not-a-ca");
    }
}

#[test]
fn row_06_path_too_long() {
    let pki = Pki::new();
    // pathLen 0: the authority may issue leaves only.
    let below = issue(authority("Below", BasicConstraints::Unconstrained), Some(&pki.middle));
    let ek = issue(leaf("ek", &[EKU_EK]), Some(&below));
    let given = anchors(&[&pki.root.certificate]);
    let intermediates = [pki.middle.certificate.clone(), below.certificate];
    assert_eq!(
        verify_chain(&ek.certificate, &intermediates, &given, &EK).unwrap_err().code(),
        "chain-too-long"
    );

    // Eight certificates are the most, whatever the authorities allow; a loop ends as well.
    let mut chain = vec![issue(authority("CA 0", BasicConstraints::Unconstrained), None)];
    for n in 1..9 {
        let next = issue(authority(&format!("CA {n}"), BasicConstraints::Unconstrained), chain.last());
        chain.push(next);
    }
    let given = anchors(&[&chain[0].certificate]);
    let all: Vec<_> = chain.iter().map(|made| made.certificate.clone()).collect();
    let ek_below = |n: usize| issue(leaf("ek", &[EKU_EK]), Some(&chain[n])).certificate;
    assert!(verify_chain(&ek_below(6), &all, &given, &EK).is_ok());
    assert_eq!(verify_chain(&ek_below(7), &all, &given, &EK).unwrap_err().code(), "chain-too-long");
}

#[test]
fn row_06_crafted_intermediates_cost_little() {
    // Many authorities of one name and key, which could sign each other in every order.
    let pki = Pki::new();
    let first = issue(authority("Loop", BasicConstraints::Unconstrained), None);
    let mut intermediates = Vec::new();
    for n in 0..60_u64 {
        let mut params = authority("Loop", BasicConstraints::Unconstrained);
        params.serial_number = Some(n.into());
        let made = params.signed_by(&first.key, &Issuer::from_params(&first.params, &first.key)).unwrap();
        intermediates.push(Certificate::from_der(made.der()).unwrap());
    }
    let ek = issue(leaf("ek", &[EKU_EK]), Some(&first));
    let begin = std::time::Instant::now();
    let result = verify_chain(&ek.certificate, &intermediates, &anchors(&[&pki.root.certificate]), &EK);
    assert!(result.is_err());
    assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn row_06_unknown_critical_extension() {
    let pki = Pki::new();
    let with = |oid: &[u64], critical: bool| {
        let mut extension = CustomExtension::from_oid_content(oid, vec![0x30, 0]);
        extension.set_criticality(critical);
        let mut params = leaf("ek", &[EKU_EK]);
        params.custom_extensions = vec![extension];
        issue(params, Some(&pki.middle)).certificate
    };
    let unknown = &[1, 3, 6, 1, 4, 1, 99999, 1];
    pki.refuses(&with(unknown, true), &EK, "chain-critical-extension");
    assert!(pki.verify(&with(unknown, false), &EK).is_ok());
    // Name constraints limit what an authority vouches for; they are not processed, so they are not accepted.
    pki.refuses(&with(&[2, 5, 29, 30], true), &EK, "chain-critical-extension");
    // Quirk 18: critical certificatePolicies and subject alternative names are.
    assert!(pki.verify(&with(&[2, 5, 29, 32], true), &EK).is_ok());
    assert!(pki.verify(&with(&[2, 5, 29, 17], true), &EK).is_ok());
}

#[test]
fn quirk_18_validity_without_end() {
    let pki = Pki::new();
    let mut params = leaf("ek", &[EKU_EK]);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    let ek = issue(params, Some(&pki.middle)).certificate;
    assert!(pki.verify(&ek, &EK).is_ok());
    assert_eq!(ek.validity_unix_s().1, 253_402_214_400);
}

#[test]
fn row_06_malformed_der() {
    let pki = Pki::new();
    let ek = issue(leaf("ek", &[EKU_EK]), Some(&pki.middle)).certificate;
    let der = ek.der().to_vec();
    // Cut anywhere; lengths grown; indefinite length, which strict parsers refuse and lax ones accept.
    for end in 0..der.len() {
        assert!(Certificate::from_der(&der[..end]).is_err());
    }
    let mut indefinite = vec![0x30, 0x80];
    indefinite.extend_from_slice(&der[4..]);
    indefinite.extend([0, 0]);
    assert!(Certificate::from_der(&indefinite).is_err());
    let mut long_form = vec![0x30, 0x83, 0];
    long_form.extend_from_slice(&der[2..]);
    assert!(Certificate::from_der(&long_form).is_err());
    // Every byte changed: never accepted, never a panic.
    for at in 0..der.len() {
        for value in [0, 0xFF, der[at] ^ 1, der[at] ^ 0x80] {
            let mut bent = der.clone();
            bent[at] = value;
            if bent == der {
                continue;
            }
            if let Ok(bent) = Certificate::from_der(&bent) {
                assert!(pki.verify(&bent, &EK).is_err(), "byte {at} = {value}");
            }
        }
    }
}

/// Runs openssl in `dir`; `None`, said plainly, where it is missing.
fn openssl(dir: &Path, arguments: &[&str]) -> Option<()> {
    let Ok(output) = Command::new("openssl").args(arguments).current_dir(dir).output() else {
        eprintln!("SKIPPED: openssl is not installed");
        return None;
    };
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

/// A root, and an EK certificate that it signed with this hash.
fn by_openssl(dir: &Path, bits: &str, hash: &str) -> Option<(Certificate, Certificate)> {
    std::fs::write(dir.join("ek.ext"), "extendedKeyUsage=2.23.133.8.1\n").unwrap();
    let hash = format!("-{hash}");
    openssl(
        dir,
        &[
            "req",
            "-x509",
            "-newkey",
            &format!("rsa:{bits}"),
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "9000",
            "-subj",
            "/CN=Old Root",
            "-addext",
            "keyUsage=critical,keyCertSign",
        ],
    )?;
    openssl(
        dir,
        &["req", "-newkey", "rsa:2048", "-nodes", "-keyout", "ek.key", "-out", "ek.csr", "-subj", "/CN=ek"],
    )?;
    openssl(
        dir,
        &[
            "x509",
            "-req",
            "-in",
            "ek.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-set_serial",
            "-5",
            &hash,
            "-days",
            "9000",
            "-extfile",
            "ek.ext",
            "-out",
            "ek.pem",
        ],
    )?;
    let read = |name: &str| {
        Certificate::many_from_pem_or_der(&std::fs::read(dir.join(name)).unwrap()).unwrap().remove(0)
    };
    Some((read("ca.pem"), read("ek.pem")))
}

const UNTIMED: Policy = Policy { at_unix_s: None, ..EK };

#[test]
fn row_06_sha1_signed() {
    let dir = tempfile::tempdir().unwrap();
    let Some((root, ek)) = by_openssl(dir.path(), "2048", "sha1") else { return };
    let given = anchors(&[&root]);
    assert_eq!(verify_chain(&ek, &[], &given, &UNTIMED).unwrap_err().code(), "chain-algorithm-refused");
    let tolerant = Policy { allow_sha1: true, ..UNTIMED };
    let path = verify_chain(&ek, &[], &given, &tolerant).unwrap();
    assert_eq!(path.warnings, [Warning::Sha1("CN=ek".to_owned())]);
}

#[test]
fn row_06_rsa_1024() {
    let dir = tempfile::tempdir().unwrap();
    let Some((root, ek)) = by_openssl(dir.path(), "1024", "sha256") else { return };
    let result = verify_chain(&ek, &[], &anchors(&[&root]), &UNTIMED);
    assert_eq!(result.unwrap_err().code(), "certificate-key-refused");
}

/// Quirk 18: a negative serial number, which RFC 5280 forbids, is read.
#[test]
fn quirk_18_strange_serial_number() {
    let dir = tempfile::tempdir().unwrap();
    let Some((root, ek)) = by_openssl(dir.path(), "2048", "sha256") else { return };
    assert!(verify_chain(&ek, &[], &anchors(&[&root]), &UNTIMED).is_ok());
}
