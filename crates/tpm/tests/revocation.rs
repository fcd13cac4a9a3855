//! Revocation lists: whose they are, what they take back, and lists that cannot be believed. Made on the spot.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use veriboot_tpm::chain::{Anchors, ChainError, Expiry, Policy, Purpose, verify_chain};
use veriboot_tpm::{Certificate, RevocationError};

const NOW: u64 = 1_790_000_000;
const EK: Policy = Policy {
    purpose: Purpose::EndorsementKey,
    at_unix_s: Some(NOW),
    expiry: Expiry::Refuse,
    allow_sha1: false,
};

struct Made {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Made {
    fn certificate(&self) -> Certificate {
        Certificate::many_from_pem_or_der(self.pem.as_bytes()).unwrap().remove(0)
    }
}

fn make(name: &str, serial: &[u8], ca: bool, issuer: Option<&Made>) -> Made {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(serial));
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2040, 1, 1));
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    }
    let key = KeyPair::generate().unwrap();
    let made = match issuer {
        Some(issuer) => params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key)).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Made { pem: made.pem(), params, key }
}

/// A list of these serial numbers, DER.
fn list(issuer: &Made, serials: &[&[u8]]) -> Vec<u8> {
    let revoked = |serial: &&[u8]| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: rcgen::date_time_ymd(2026, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2027, 1, 1),
        crl_number: SerialNumber::from(7_u64),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&Issuer::from_params(&issuer.params, &issuer.key)).unwrap().der().to_vec()
}

fn anchors(of: &[&Made]) -> Anchors {
    Anchors::from_pem_or_der(of.iter().map(|made| made.pem.as_str()).collect::<String>().as_bytes()).unwrap()
}

fn verify(leaf: &Made, anchors: &Anchors) -> Result<(), ChainError> {
    verify_chain(&leaf.certificate(), &[], anchors, &EK).map(drop)
}

#[test]
fn what_its_issuer_took_back_is_refused_and_nothing_else() {
    let root = make("Maker", &[1], true, None);
    let [bad, good] = [[0x80_u8, 2], [0x80, 3]].map(|serial| make("ek", &serial, false, Some(&root)));
    let mut anchors = anchors(&[&root]);
    assert_eq!(verify(&bad, &anchors), Ok(()));
    let taken = anchors.revoke(&list(&root, &[&[9], &[0x80, 2]])).unwrap();
    assert_eq!((taken[0].issuer.as_str(), taken[0].certificates), ("CN=Maker", 2));
    assert_eq!(taken[0].next_update_unix_s, Some(1_798_761_600));
    let refused = verify(&bad, &anchors).unwrap_err();
    assert_eq!((refused.code(), refused), ("chain-revoked", ChainError::Revoked("CN=ek".to_owned())));
    assert_eq!(verify(&good, &anchors), Ok(()));
    // The same as PEM, beside another list.
    let pem = [list(&root, &[]), list(&root, &[&[0x80, 3]])]
        .map(|der| pem::encode(&pem::Pem::new("X509 CRL", der)))
        .concat();
    assert_eq!(anchors.revoke(pem.as_bytes()).unwrap().len(), 2);
    assert!(verify(&good, &anchors).is_err());
    assert_eq!(anchors.revoke(b"no list in it").unwrap(), []);
}

#[test]
fn an_authority_can_be_taken_back_and_a_list_binds_its_issuer_alone() {
    let root = make("Maker", &[1], true, None);
    let middle = make("Maker CA", &[5], true, Some(&root));
    let other = make("Other", &[1], true, None);
    let ek = make("ek", &[5], false, Some(&middle));
    let mut by_other = anchors(&[&root, &middle, &other]);
    // The serial number is that of a certificate of somebody else.
    by_other.revoke(&list(&other, &[&[5]])).unwrap();
    assert_eq!(verify(&ek, &by_other), Ok(()));
    let mut by_root = anchors(&[&root, &middle]);
    by_root.revoke(&list(&root, &[&[5]])).unwrap();
    assert_eq!(verify(&ek, &by_root), Err(ChainError::Revoked("CN=Maker CA".to_owned())));
    // What a file of trust says stays when another is added.
    let mut both = anchors(&[&other]);
    both.extend(by_root);
    assert_eq!(both.roots(), 2);
    assert!(matches!(verify(&ek, &both), Err(ChainError::Revoked(_))));
}

#[test]
fn a_list_of_a_stranger_or_a_changed_one_is_not_taken() {
    let root = make("Maker", &[1], true, None);
    let forger = make("Maker", &[1], true, None);
    let ek = make("ek", &[5], false, Some(&root));
    let mut anchors = anchors(&[&root]);
    let refused = anchors.revoke(&list(&forger, &[&[5]])).unwrap_err();
    assert_eq!(refused, RevocationError::UnknownIssuer("CN=Maker".to_owned()));
    let sound = list(&root, &[&[5]]);
    for at in 0..sound.len() {
        for change in [1, 0x80] {
            let mut bent = sound.clone();
            bent[at] ^= change;
            // What does not begin as DER is a text without a list in it.
            assert!(!anchors.revoke(&bent).is_ok_and(|taken| !taken.is_empty()), "byte {at}");
        }
        assert!(anchors.revoke(&sound[..at]).is_err() || at == 0);
    }
    assert_eq!(verify(&ek, &anchors), Ok(()));
}

#[test]
fn authorities_of_one_name_are_told_apart_however_many_there_are() {
    // Each hypervisor makes an authority of its own, and all of them have the name of the program.
    let hosts: Vec<Made> = (0..40).map(|_| make("swtpm-localca", &[1], true, None)).collect();
    let all: Vec<&Made> = hosts.iter().collect();
    let of_last = make("ek", &[5], false, hosts.last());
    let of_first = make("ek", &[5], false, hosts.first());
    for order in [all.clone(), all.iter().rev().copied().collect()] {
        let mut anchors = anchors(&order);
        assert_eq!(verify(&of_last, &anchors), Ok(()));
        anchors.revoke(&list(hosts.last().unwrap(), &[&[5]])).unwrap();
        assert!(matches!(verify(&of_last, &anchors), Err(ChainError::Revoked(_))));
        assert_eq!(verify(&of_first, &anchors), Ok(()), "the same serial number, of another authority");
    }
}

#[test]
fn a_list_of_certificates_of_others_is_not_understood() {
    let root = make("Maker", &[1], true, None);
    let mut anchors = anchors(&[&root]);
    let sound = list(&root, &[&[5]]);
    assert!(anchors.revoke(&sound).is_ok());
    // OpenSSL makes one with an issuing distribution point that says that it is indirect.
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("key.pem", &root.key.serialize_pem());
    write("cert.pem", &root.pem);
    write("index.txt", "");
    write("number", "01\n");
    let config = |point: &str| {
        format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=30\ncrlnumber=number\n\
             crl_extensions=e\n[e]\nissuingDistributionPoint=critical,@p\n[p]\n{point}\n"
        )
    };
    let made = |point: &str| {
        write("crl.conf", &config(point));
        let arguments = ["ca", "-gencrl", "-config", "crl.conf", "-keyfile", "key.pem", "-cert", "cert.pem"];
        let output = std::process::Command::new("openssl")
            .current_dir(folder.path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(anchors.revoke(&made("onlyuser=TRUE")).unwrap().len(), 1);
    let refused = anchors.revoke(&made("indirectCRL=TRUE")).unwrap_err();
    assert_eq!(refused, RevocationError::Indirect("CN=Maker".to_owned()));
}
