//! Who signed an EFI image, and by which certificates that is proven (PE Authenticode specification; RFC 2315).
//!
//! A signature is believed only as far as it is checked here: the digest in it is that of the image, the signer's key made
//! it, and a chain of certificates, each signed by the next, ends at a certificate that the caller trusts.

use authenticode::{AttributeCertificateIterator, WIN_CERT_TYPE_PKCS_SIGNED_DATA};
use authenticode::{SPC_INDIRECT_DATA_OBJID, SpcIndirectDataContent};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use cms::cert::x509::Certificate;
use cms::cert::x509::der::asn1::{ObjectIdentifier, OctetString};
use cms::cert::x509::der::{Decode, Encode, Reader as _, SliceReader};
use cms::cert::{CertificateChoices, x509};
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier};
use object::read::pe::{PeFile32, PeFile64};
use serde::Serialize;
use veriboot_eventlog::{Digest, HashAlg};

use super::{Image, PeError};
use crate::limits::{MAX_CERTIFICATES, MAX_SIGNATURE_BYTES, MAX_SIGNATURES};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// Certificates between a signer and an anchor.
const MAX_CHAIN: usize = 8;

/// A certificate that the caller trusts to admit images: from db, from MokList, or built into shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Where it comes from, for people.
    pub from: String,
    /// DER.
    pub der: Vec<u8>,
}

/// How far a signature is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Verified {
    /// A chain ends at this anchor.
    ByAnchor {
        /// Subject of the anchor.
        subject: String,
        /// SHA-256 of the anchor.
        sha256: Digest,
    },
    /// The signer's key made it, but the certificate of this issuer is not at hand.
    IssuerMissing {
        /// Issuer of the last certificate of the chain.
        issuer: String,
    },
    /// It does not belong to this image, or is broken.
    Invalid {
        /// Why.
        why: String,
    },
}

/// One signature of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// Subject of the certificate that signed.
    pub signer: String,
    /// How far that is proven.
    pub verified: Verified,
    /// The certificates of the chain as far as it could be followed, signer first, anchor last.
    pub chain: Vec<ChainLink>,
}

/// A certificate of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainLink {
    /// Subject.
    pub subject: String,
    /// SHA-256 of the certificate.
    pub sha256: Digest,
}

/// The signatures of an image in their order, which is the order in which firmware tries them. Empty for an image that
/// carries none.
pub fn signatures(image: &Image<'_>, anchors: &[Anchor]) -> Result<Vec<Signature>, PeError> {
    let mut blobs = Vec::new();
    let mut add = |pe: &dyn authenticode::PeTrait| -> Result<(), PeError> {
        let table = AttributeCertificateIterator::new(pe).map_err(|e| PeError::Signature(e.to_string()))?;
        for entry in table.into_iter().flatten().take(MAX_SIGNATURES) {
            let entry = entry.map_err(|e| PeError::Signature(e.to_string()))?;
            if entry.data.len() > MAX_SIGNATURE_BYTES {
                return Err(PeError::Signature(format!("it has more than {MAX_SIGNATURE_BYTES} bytes")));
            }
            if entry.certificate_type == WIN_CERT_TYPE_PKCS_SIGNED_DATA {
                blobs.push(entry.data.to_vec());
            }
        }
        Ok(())
    };
    if image.wide {
        add(&PeFile64::parse(image.data).map_err(|e| PeError::NotPe(e.to_string()))?)?;
    } else {
        add(&PeFile32::parse(image.data).map_err(|e| PeError::NotPe(e.to_string()))?)?;
    }
    let anchors: Vec<Certificate> =
        anchors.iter().filter_map(|anchor| Certificate::from_der(&anchor.der).ok()).collect();
    blobs.iter().map(|blob| check(image, blob, &anchors)).collect()
}

fn check(image: &Image<'_>, blob: &[u8], anchors: &[Certificate]) -> Result<Signature, PeError> {
    let broken = |e: x509::der::Error| PeError::Signature(e.to_string());
    // What follows the structure is padding.
    let mut reader = SliceReader::new(blob).map_err(broken)?;
    let info: ContentInfo = reader.decode().map_err(broken)?;
    if info.content_type != SIGNED_DATA {
        return Err(PeError::Signature("it is not PKCS #7 signed data".to_owned()));
    }
    let signed: SignedData = info.content.decode_as().map_err(broken)?;
    let certificates: Vec<&Certificate> = signed
        .certificates
        .iter()
        .flat_map(|set| set.0.iter())
        .filter_map(|choice| match choice {
            CertificateChoices::Certificate(certificate) => Some(certificate),
            CertificateChoices::Other(_) => None,
        })
        .take(MAX_CERTIFICATES)
        .collect();
    let signer = signed.signer_infos.0.iter().next().and_then(|signer| match &signer.sid {
        SignerIdentifier::IssuerAndSerialNumber(id) => certificates.iter().find(|c| {
            c.tbs_certificate.serial_number == id.serial_number && c.tbs_certificate.issuer == id.issuer
        }),
        SignerIdentifier::SubjectKeyIdentifier(_) => None,
    });
    let Some(signer) = signer.copied() else {
        return Ok(Signature {
            signer: "unknown".to_owned(),
            verified: Verified::Invalid { why: "the certificate of the signer is not in it".to_owned() },
            chain: Vec::new(),
        });
    };
    let mut chain = vec![link(signer)?];
    let verified = match made_by(image, &signed, signer) {
        Err(why) => Verified::Invalid { why },
        Ok(()) => follow(signer, &certificates, anchors, &mut chain)?,
    };
    Ok(Signature { signer: subject(signer), verified, chain })
}

/// Whether the key of this certificate signed this image.
fn made_by(image: &Image<'_>, signed: &SignedData, signer: &Certificate) -> Result<(), String> {
    let info = signed.signer_infos.0.iter().next().ok_or("there is no signer")?;
    let content = signed.encap_content_info.econtent.as_ref().ok_or("there is no content")?;
    if signed.encap_content_info.econtent_type != SPC_INDIRECT_DATA_OBJID {
        return Err("it does not sign an image".to_owned());
    }
    let claimed: SpcIndirectDataContent =
        content.decode_as().map_err(|e| format!("the signed content cannot be read: {e}"))?;
    let alg = hash_of(&claimed.message_digest.digest_algorithm.oid).ok_or("its hash is not SHA-2")?;
    let actual = image.authenticode(alg).map_err(|e| e.to_string())?;
    if actual.as_ref() != claimed.message_digest.digest.as_bytes() {
        return Err("it belongs to another image".to_owned());
    }
    let alg = hash_of(&info.digest_alg.oid).ok_or("its hash is not SHA-2")?;
    let signed_bytes = match &info.signed_attrs {
        None => content.value().to_vec(),
        Some(attributes) => {
            let digest = attributes
                .iter()
                .find(|attribute| attribute.oid == MESSAGE_DIGEST)
                .and_then(|attribute| attribute.values.iter().next())
                .and_then(|value| value.decode_as::<OctetString>().ok())
                .ok_or("the digest of the content is missing")?;
            if alg.hash(&[content.value()]).as_ref() != digest.as_bytes() {
                return Err("the signed content was changed".to_owned());
            }
            attributes.to_der().map_err(|e| e.to_string())?
        }
    };
    if verify(signer, alg, &signed_bytes, info.signature.as_bytes()) {
        Ok(())
    } else {
        Err("the key of the signer did not make it".to_owned())
    }
}

/// Follows issuers from a certificate whose key is proven.
fn follow(
    signer: &Certificate,
    inside: &[&Certificate],
    anchors: &[Certificate],
    chain: &mut Vec<ChainLink>,
) -> Result<Verified, PeError> {
    let mut current = signer;
    for _ in 0..MAX_CHAIN {
        if let Some(anchor) = anchors.iter().find(|anchor| *anchor == current) {
            let at = link(anchor)?;
            return Ok(Verified::ByAnchor { subject: at.subject, sha256: at.sha256 });
        }
        let next = anchors.iter().chain(inside.iter().copied()).find(|candidate| {
            *candidate != current
                && candidate.tbs_certificate.subject == current.tbs_certificate.issuer
                && issued(candidate, current)
        });
        match next {
            Some(next) => {
                chain.push(link(next)?);
                current = next;
            }
            None => break,
        }
    }
    Ok(Verified::IssuerMissing { issuer: name(&current.tbs_certificate.issuer) })
}

fn issued(issuer: &Certificate, certificate: &Certificate) -> bool {
    let Ok(signed) = certificate.tbs_certificate.to_der() else { return false };
    let alg = match certificate.signature_algorithm.oid.to_string().as_str() {
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => HashAlg::Sha256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => HashAlg::Sha384,
        "1.2.840.113549.1.1.13" => HashAlg::Sha512,
        _ => return false,
    };
    certificate.signature.as_bytes().is_some_and(|signature| verify(issuer, alg, &signed, signature))
}

fn verify(certificate: &Certificate, alg: HashAlg, message: &[u8], signature: &[u8]) -> bool {
    let key = &certificate.tbs_certificate.subject_public_key_info;
    let elliptic = key.algorithm.oid == EC_PUBLIC_KEY;
    let algorithm: &'static dyn VerificationAlgorithm = match (elliptic, alg) {
        (false, HashAlg::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
        (false, HashAlg::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
        (false, HashAlg::Sha512) => &RSA_PKCS1_2048_8192_SHA512,
        (true, HashAlg::Sha256) => &ECDSA_P256_SHA256_ASN1,
        (true, HashAlg::Sha384) => &ECDSA_P384_SHA384_ASN1,
        _ => return false,
    };
    let Some(bits) = key.subject_public_key.as_bytes() else { return false };
    UnparsedPublicKey::new(algorithm, bits).verify(message, signature).is_ok()
}

fn hash_of(oid: &ObjectIdentifier) -> Option<HashAlg> {
    match *oid {
        SHA256 => Some(HashAlg::Sha256),
        SHA384 => Some(HashAlg::Sha384),
        SHA512 => Some(HashAlg::Sha512),
        _ => None,
    }
}

fn link(certificate: &Certificate) -> Result<ChainLink, PeError> {
    let der = certificate.to_der().map_err(|e| PeError::Signature(e.to_string()))?;
    Ok(ChainLink { subject: subject(certificate), sha256: HashAlg::Sha256.hash(&[&der]) })
}

fn subject(certificate: &Certificate) -> String {
    let Ok(der) = certificate.to_der() else { return "unreadable".to_owned() };
    match veriboot_eventlog::Certificate::parse(&der) {
        Some(parsed) => parsed.short_name().to_string(),
        None => name(&certificate.tbs_certificate.subject),
    }
}

/// The common name where there is one: the same words that event logs are told in.
fn name(name: &x509::name::Name) -> String {
    let text = name.to_string();
    let common = text.split(',').find_map(|part| part.trim().strip_prefix("CN="));
    let shown = common.unwrap_or(&text);
    shown.chars().filter(|c| !c.is_control()).take(256).collect()
}
