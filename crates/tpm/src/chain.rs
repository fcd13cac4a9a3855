//! Whether a certificate leads to a root that the operator trusts.
//!
//! This is RFC 5280 path validation, section 6, as far as endorsements need it: signatures, names, CA flags,
//! key usage, path length, critical extensions, validity, extended key usage and the revocation lists that the
//! operator gave ([`Anchors::revoke`]). It is more tolerant than a web browser where the certificates of TPM
//! makers need that, and says so in [`Warning`]s. Nothing is fetched: the verifier has no network here.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::alg::Hash;
use crate::certificate::{Certificate, CertificateError};
use crate::public::Material;
use crate::revocation::{RevocationError, RevocationList, Revoked};
use crate::verify::ecdsa;

/// The most certificates in a path, leaf and root included.
const MAX_PATH: usize = 8;
/// The most signatures of certificates that came with the evidence that are checked for one path: bounds what crafted
/// intermediates can cost.
const MAX_SIGNATURES: usize = 32;

const SHA1_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const SHA256_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");

/// tcg-kp-EKCertificate.
const EKU_EK: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.1");
/// tcg-kp-AIKCertificate.
const EKU_AK: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.3");
const EKU_ANY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// Critical extensions that may be there: those checked below, and those whose content does not limit what
/// the certificate vouches for here (subject alternative name, policies, key identifiers, subject directory
/// attributes, CRL distribution points, inhibitAnyPolicy). Name constraints and policy constraints are not
/// among them: they would have to be processed.
const KNOWN_EXTENSIONS: [ObjectIdentifier; 10] = [
    ObjectIdentifier::new_unwrap("2.5.29.9"),
    ObjectIdentifier::new_unwrap("2.5.29.14"),
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.5.29.17"),
    ObjectIdentifier::new_unwrap("2.5.29.18"),
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.31"),
    ObjectIdentifier::new_unwrap("2.5.29.32"),
    ObjectIdentifier::new_unwrap("2.5.29.35"),
    ObjectIdentifier::new_unwrap("2.5.29.37"),
];

/// What the leaf is a certificate of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An endorsement key.
    EndorsementKey,
    /// An attestation key. Google's older signing certificates name the EK purpose; it is accepted too, since
    /// a key that signs quotes cannot be an endorsement key.
    AttestationKey,
}

/// What happens outside of the validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The path is refused.
    Refuse,
    /// The path is accepted with a [`Warning::Expired`] or [`Warning::NotYetValid`]: stored evidence is looked
    /// at years later, and TPMs outlive their certificates.
    Warn,
}

/// How strict to be.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// What the leaf must be for.
    pub purpose: Purpose,
    /// The time to judge by, in seconds since 1970; `None` leaves validity unchecked.
    pub at_unix_s: Option<u64>,
    /// What happens outside of the validity.
    pub expiry: Expiry,
    /// Accept RSA signatures with SHA-1 by issuers, with a [`Warning::Sha1`]. Only for endorsement
    /// certificates of older TPMs (ATTACKS.md, quirk 18); a collision would need the maker's cooperation.
    pub allow_sha1: bool,
}

/// What the operator trusts: roots, and intermediates that may help to get there.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    roots: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    revoked: Revoked,
}

impl Anchors {
    /// From PEM with any number of certificates, or one in DER. Self-issued certificates are roots; all others
    /// only help to find the way to a root and are trusted no more than if they had come with the evidence.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        let (roots, intermediates) = Certificate::many_from_pem_or_der(bytes)?
            .into_iter()
            .partition(|c| c.parsed.tbs_certificate().subject() == c.parsed.tbs_certificate().issuer());
        Ok(Self { roots, intermediates, revoked: Revoked::default() })
    }

    /// Trusts what `other` trusts as well.
    pub fn extend(&mut self, other: Self) {
        for (mine, more) in [(&mut self.roots, other.roots), (&mut self.intermediates, other.intermediates)] {
            more.into_iter().for_each(|one| {
                if !mine.contains(&one) {
                    mine.push(one)
                }
            });
        }
        self.revoked.extend(other.revoked);
    }

    /// From now on refuses the certificates in these revocation lists: PEM with any number of lists, or one in
    /// DER. Each must be signed by a certificate of these anchors. Gives what was taken.
    ///
    /// # Errors
    /// [`RevocationError`]; lists before the one that cannot be used were taken.
    pub fn revoke(&mut self, lists: &[u8]) -> Result<Vec<RevocationList>, RevocationError> {
        let authorities: Vec<&Certificate> = self.roots.iter().chain(&self.intermediates).collect();
        self.revoked.add(lists, &authorities)
    }

    /// Whether there is neither a root nor another certificate.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.intermediates.is_empty()
    }

    /// How many roots there are.
    pub fn roots(&self) -> usize {
        self.roots.len()
    }
}

/// A path that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Subjects from the leaf to the root.
    pub subjects: Vec<String>,
    /// What was tolerated.
    pub warnings: Vec<Warning>,
}

/// Something that was tolerated, with the subject of the certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The validity is over.
    #[error("the certificate of {0} has expired")]
    Expired(String),
    /// The validity has not begun.
    #[error("the certificate of {0} is not valid yet")]
    NotYetValid(String),
    /// Signed with SHA-1.
    #[error("the certificate of {0} is signed with SHA-1")]
    Sha1(String),
}

/// Why a certificate leads to no trusted root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A certificate on the way cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// No root was given.
    #[error("no trusted root was given")]
    NoRoots,
    /// Nobody with that name is known.
    #[error("the issuer {0} is unknown")]
    UnknownIssuer(String),
    /// The signature is not by the issuer.
    #[error("the signature on the certificate of {0} is not by its issuer")]
    Signature(String),
    /// The signature algorithm is not accepted, or the two places that name it differ.
    #[error("the certificate of {subject} is signed with {algorithm}, which is not accepted")]
    Algorithm {
        /// Whose certificate.
        subject: String,
        /// OID of the algorithm.
        algorithm: String,
    },
    /// The issuer is no certification authority, or may not sign certificates.
    #[error("{0} is not a certification authority")]
    NotACa(String),
    /// More certificates below an authority than it allows, or more than 8 in all.
    #[error("the certification path is too long at {0}")]
    TooLong(String),
    /// The leaf is for something else.
    #[error("the certificate of {0} is not for this purpose")]
    Usage(String),
    /// A critical extension that is not understood.
    #[error("the certificate of {subject} has the unknown critical extension {oid}")]
    CriticalExtension {
        /// Whose certificate.
        subject: String,
        /// OID of the extension.
        oid: String,
    },
    /// An extension that is there twice or cannot be read.
    #[error("an extension in the certificate of {0} is malformed")]
    Extension(String),
    /// The validity is over.
    #[error("the certificate of {0} has expired")]
    Expired(String),
    /// The validity has not begun.
    #[error("the certificate of {0} is not valid yet")]
    NotYetValid(String),
    /// Its issuer has taken it back.
    #[error("the certificate of {0} was revoked by its issuer")]
    Revoked(String),
}

impl ChainError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Certificate(fault) => fault.code(),
            Self::NoRoots => "chain-no-roots",
            Self::UnknownIssuer(_) => "chain-unknown-issuer",
            Self::Signature(_) => "chain-signature-invalid",
            Self::Algorithm { .. } => "chain-algorithm-refused",
            Self::NotACa(_) => "chain-not-a-ca",
            Self::TooLong(_) => "chain-too-long",
            Self::Usage(_) => "chain-wrong-usage",
            Self::CriticalExtension { .. } => "chain-critical-extension",
            Self::Extension(_) => "chain-extension-malformed",
            Self::Expired(_) => "chain-expired",
            Self::NotYetValid(_) => "chain-not-yet-valid",
            Self::Revoked(_) => "chain-revoked",
        }
    }
}

/// Finds a path from `leaf` to a root of `anchors`, through `intermediates` (which came with the evidence and
/// are not trusted) and those of `anchors`, and checks it.
pub fn verify_chain(
    leaf: &Certificate,
    intermediates: &[Certificate],
    anchors: &Anchors,
    policy: &Policy,
) -> Result<Path, ChainError> {
    if anchors.roots.is_empty() {
        return Err(ChainError::NoRoots);
    }
    let mut search = Search { intermediates, anchors, policy, signatures_left: MAX_SIGNATURES };
    let mut warnings = Vec::new();
    check_certificate(leaf, policy, &mut warnings)?;
    check_purpose(leaf, policy.purpose)?;
    let mut path = search.extend(&[leaf])?;
    warnings.append(&mut path.warnings);
    path.warnings = warnings;
    Ok(path)
}

struct Search<'a> {
    intermediates: &'a [Certificate],
    anchors: &'a Anchors,
    policy: &'a Policy,
    signatures_left: usize,
}

impl<'a> Search<'a> {
    /// `path` is checked up to its last certificate, whose issuer is looked for. Warnings of the answer are
    /// those of the certificates above.
    fn extend(&mut self, path: &[&'a Certificate]) -> Result<Path, ChainError> {
        let Some(last) = path.last().copied() else { return Err(ChainError::NoRoots) };
        if self.anchors.roots.contains(last) {
            let subjects = path.iter().map(|c| c.subject()).collect();
            return Ok(Path { subjects, warnings: Vec::new() });
        }
        if path.len() >= MAX_PATH {
            return Err(ChainError::TooLong(last.subject()));
        }
        let may_be = |c: &&'a Certificate| may_have_issued(c, last) && !path.contains(c);
        let given = self.anchors.roots.iter().chain(&self.anchors.intermediates).filter(may_be);
        let brought = self.intermediates.iter().filter(may_be);
        let candidates: Vec<(&'a Certificate, bool)> =
            given.map(|c| (c, false)).chain(brought.map(|c| (c, true))).collect();
        let mut why = None;
        for (issuer, brought) in candidates {
            match self.step(path, last, issuer, brought) {
                Ok(found) => return Ok(found),
                // Authorities of one name: the one that signed the certificate knows best.
                Err(error @ ChainError::Revoked(_)) => why = Some(error),
                Err(error) => why = why.or(Some(error)),
            }
        }
        Err(why.unwrap_or_else(|| ChainError::UnknownIssuer(last.issuer())))
    }

    fn step(
        &mut self,
        path: &[&'a Certificate],
        last: &'a Certificate,
        issuer: &'a Certificate,
        brought: bool,
    ) -> Result<Path, ChainError> {
        let mut warnings = Vec::new();
        // Of certificates that the operator gave there may be as many as there are hypervisors.
        if brought {
            self.signatures_left =
                self.signatures_left.checked_sub(1).ok_or_else(|| ChainError::TooLong(last.subject()))?;
        }
        let signed = Signed {
            subject: &last.subject(),
            content: last.tbs(),
            inner: last.parsed.tbs_certificate().signature(),
            outer: last.parsed.signature_algorithm(),
            signature: last.parsed.signature().as_bytes(),
        };
        check_signature(&signed, issuer, self.policy.allow_sha1, &mut warnings)?;
        if self.anchors.revoked.has(last, issuer) {
            return Err(ChainError::Revoked(last.subject()));
        }
        check_certificate(issuer, self.policy, &mut warnings)?;
        // Intermediates between this issuer and the leaf.
        check_authority(issuer, path.len() - 1, self.anchors.roots.contains(issuer))?;
        let mut longer = path.to_vec();
        longer.push(issuer);
        let mut found = self.extend(&longer)?;
        warnings.append(&mut found.warnings);
        found.warnings = warnings;
        Ok(found)
    }
}

/// Whether a certificate is of the issuer that another one names: by name and, where both say it, by the id of the key. Many
/// authorities may have one name.
fn may_have_issued(issuer: &Certificate, of: &Certificate) -> bool {
    let (issuer, of) = (issuer.parsed.tbs_certificate(), of.parsed.tbs_certificate());
    if issuer.subject() != of.issuer() {
        return false;
    }
    let own = issuer.get_extension::<SubjectKeyIdentifier>().ok().flatten().map(|(_, id)| id.0);
    let named = of.get_extension::<AuthorityKeyIdentifier>().ok().flatten();
    match (own, named.and_then(|(_, id)| id.key_identifier)) {
        (Some(own), Some(named)) => own == named,
        _ => true,
    }
}

/// Validity and critical extensions.
fn check_certificate(
    certificate: &Certificate,
    policy: &Policy,
    warnings: &mut Vec<Warning>,
) -> Result<(), ChainError> {
    let extensions = certificate.parsed.tbs_certificate().extensions().map_or(&[][..], |e| e.as_slice());
    for extension in extensions {
        if extension.critical && !KNOWN_EXTENSIONS.contains(&extension.extn_id) {
            return Err(ChainError::CriticalExtension {
                subject: certificate.subject(),
                oid: extension.extn_id.to_string(),
            });
        }
    }
    let Some(at) = policy.at_unix_s else { return Ok(()) };
    let (from, to) = certificate.validity_unix_s();
    let subject = || certificate.subject();
    match policy.expiry {
        Expiry::Refuse if at < from => return Err(ChainError::NotYetValid(subject())),
        Expiry::Refuse if at > to => return Err(ChainError::Expired(subject())),
        Expiry::Warn if at < from => warnings.push(Warning::NotYetValid(subject())),
        Expiry::Warn if at > to => warnings.push(Warning::Expired(subject())),
        _ => {}
    }
    Ok(())
}

/// RFC 5280, section 4.2.1.9 and 4.2.1.3. A root without basicConstraints (version 1) is an authority because
/// the operator says so.
fn check_authority(issuer: &Certificate, below: usize, is_root: bool) -> Result<(), ChainError> {
    let tbs = issuer.parsed.tbs_certificate();
    let malformed = |_| ChainError::Extension(issuer.subject());
    match tbs.get_extension::<BasicConstraints>().map_err(malformed)? {
        Some((_, constraints)) if constraints.ca => {
            if constraints.path_len_constraint.is_some_and(|limit| below > usize::from(limit)) {
                return Err(ChainError::TooLong(issuer.subject()));
            }
        }
        None if is_root => {}
        _ => return Err(ChainError::NotACa(issuer.subject())),
    }
    match tbs.get_extension::<KeyUsage>().map_err(malformed)? {
        Some((_, usage)) if !usage.key_cert_sign() => Err(ChainError::NotACa(issuer.subject())),
        _ => Ok(()),
    }
}

/// Extended key usage of the leaf. Absent means any; present must name the purpose.
fn check_purpose(leaf: &Certificate, purpose: Purpose) -> Result<(), ChainError> {
    let tbs = leaf.parsed.tbs_certificate();
    let malformed = |_| ChainError::Extension(leaf.subject());
    let accepted: &[ObjectIdentifier] = match purpose {
        Purpose::EndorsementKey => &[EKU_EK, EKU_ANY],
        Purpose::AttestationKey => &[EKU_AK, EKU_EK, EKU_ANY],
    };
    if let Some((_, usage)) = tbs.get_extension::<ExtendedKeyUsage>().map_err(malformed)?
        && !usage.0.iter().any(|oid| accepted.contains(oid))
    {
        return Err(ChainError::Usage(leaf.subject()));
    }
    if purpose == Purpose::AttestationKey
        && let Some((_, usage)) = tbs.get_extension::<KeyUsage>().map_err(malformed)?
        && !usage.digital_signature()
    {
        return Err(ChainError::Usage(leaf.subject()));
    }
    Ok(())
}

/// Something with a signature that an authority may have made.
pub(crate) struct Signed<'a> {
    /// Whose certificate or list.
    pub subject: &'a str,
    /// The signed part, byte for byte.
    pub content: &'a [u8],
    /// The algorithm that the signed part names.
    pub inner: &'a AlgorithmIdentifierOwned,
    /// The algorithm that stands beside the signature.
    pub outer: &'a AlgorithmIdentifierOwned,
    /// Absent when it is no whole number of bytes.
    pub signature: Option<&'a [u8]>,
}

pub(crate) fn check_signature(
    signed: &Signed<'_>,
    issuer: &Certificate,
    allow_sha1: bool,
    warnings: &mut Vec<Warning>,
) -> Result<(), ChainError> {
    let Signed { outer, content, .. } = *signed;
    let subject = || signed.subject.to_owned();
    let refused = || ChainError::Algorithm { subject: subject(), algorithm: outer.oid.to_string() };
    if outer != signed.inner {
        return Err(refused());
    }
    let invalid = || ChainError::Signature(subject());
    let signature = signed.signature.ok_or_else(invalid)?;
    match issuer.material()? {
        Material::Rsa { modulus } => {
            let parameters: &RsaParameters = match outer.oid {
                SHA256_RSA => &RSA_PKCS1_2048_8192_SHA256,
                SHA384_RSA => &RSA_PKCS1_2048_8192_SHA384,
                SHA512_RSA => &RSA_PKCS1_2048_8192_SHA512,
                SHA1_RSA if allow_sha1 => {
                    warnings.push(Warning::Sha1(subject()));
                    &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY
                }
                _ => return Err(refused()),
            };
            RsaPublicKeyComponents { n: modulus.as_slice(), e: &[1_u8, 0, 1][..] }
                .verify(parameters, content, signature)
                .map_err(|_| invalid())
        }
        Material::Ecc { curve, point } => {
            let hash = match outer.oid {
                ECDSA_SHA256 => Hash::Sha256,
                ECDSA_SHA384 => Hash::Sha384,
                ECDSA_SHA512 => Hash::Sha512,
                _ => return Err(refused()),
            };
            UnparsedPublicKey::new(ecdsa(curve, hash), point)
                .verify(content, signature)
                .map_err(|_| invalid())
        }
    }
}
