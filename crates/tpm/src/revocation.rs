//! Which certificates their issuers have taken back: RFC 5280, section 5.
//!
//! A list counts only for the authority whose key signed it. Lists are given by the operator, never by evidence.

use x509_cert::certificate::Raw;
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Header, Reader as _, SliceReader};
use x509_cert::ext::pkix::crl::dp::IssuingDistributionPoint;

use crate::certificate::Certificate;
use crate::chain::{Signed, check_signature};

/// What revoked certificates are known by: the issuer's key and their serial numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Revoked(Vec<OfIssuer>);

#[derive(Clone, Debug)]
struct OfIssuer {
    /// subjectPublicKey. An authority may have several certificates for one key, and write its name in several ways.
    key: Vec<u8>,
    /// Sorted.
    serials: Vec<Vec<u8>>,
}

/// A revocation list that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Whose list it is, as RFC 4514 text.
    pub issuer: String,
    /// Certificates in it.
    pub certificates: usize,
    /// When the issuer makes the next one, in seconds since 1970.
    pub next_update_unix_s: Option<u64>,
}

/// Why a revocation list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// Not a list in DER, or in PEM; or one of version 1, which RFC 5280 does not permit.
    #[error("it is no revocation list of version 2 in DER or PEM: {0}")]
    Malformed(String),
    /// None of the trusted certificates is of its issuer.
    #[error("the revocation list of {0} is signed by none of the trusted certificates")]
    UnknownIssuer(String),
    /// It lists certificates of other issuers than its own.
    #[error(
        "the revocation list of {0} is indirect: it lists certificates of others, which is not understood"
    )]
    Indirect(String),
    /// It has parts that must be understood and are not: a list of changes only, for example.
    #[error("the revocation list of {issuer} has the critical extension {oid}, which is not understood")]
    CriticalExtension {
        /// Whose list.
        issuer: String,
        /// OID of the extension.
        oid: String,
    },
}

impl From<x509_cert::der::Error> for RevocationError {
    fn from(error: x509_cert::der::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// What the list is limited to. It lists no less because of it.
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const KNOWN_EXTENSIONS: [ObjectIdentifier; 1] = [ISSUING_DISTRIBUTION_POINT];

impl Revoked {
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether this certificate is in a list of its issuer.
    pub(crate) fn has(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        let serial = canonical(certificate.parsed.tbs_certificate().serial_number().as_bytes());
        self.0.iter().any(|list| {
            list.key == issuer.key_bits()
                && list.serials.binary_search_by(|listed| listed.as_slice().cmp(serial)).is_ok()
        })
    }

    /// Adds every list of a PEM text, or the one of a DER file. `authorities` may have signed them.
    pub(crate) fn add(
        &mut self,
        bytes: &[u8],
        authorities: &[&Certificate],
    ) -> Result<Vec<RevocationList>, RevocationError> {
        if bytes.first() == Some(&0x30) {
            return Ok(vec![self.add_der(bytes, authorities)?]);
        }
        let blocks = pem::parse_many(bytes).map_err(|e| RevocationError::Malformed(e.to_string()))?;
        let lists = blocks.iter().filter(|block| block.tag() == "X509 CRL");
        lists.map(|block| self.add_der(block.contents(), authorities)).collect()
    }

    fn add_der(
        &mut self,
        der: &[u8],
        authorities: &[&Certificate],
    ) -> Result<RevocationList, RevocationError> {
        let mut reader = SliceReader::new(der)?;
        Header::decode(&mut reader)?;
        let tbs = reader.tlv_bytes()?;
        let list = CertificateList::<Raw>::from_der(der)?;
        let said = &list.tbs_cert_list;
        let issuer = Certificate::name_text(&said.issuer);
        let extensions = said.crl_extensions.as_deref().unwrap_or_default();
        let entries = said.revoked_certificates.as_deref().unwrap_or_default();
        if let Some(unknown) =
            extensions.iter().find(|one| one.critical && !KNOWN_EXTENSIONS.contains(&one.extn_id))
        {
            return Err(RevocationError::CriticalExtension { issuer, oid: unknown.extn_id.to_string() });
        }
        if let Some(foreign) = entries
            .iter()
            .flat_map(|entry| entry.crl_entry_extensions.iter().flatten())
            .find(|one| one.critical)
        {
            return Err(RevocationError::CriticalExtension { issuer, oid: foreign.extn_id.to_string() });
        }
        // Its entries may be certificates of others.
        if let Some(point) = extensions.iter().find(|one| one.extn_id == ISSUING_DISTRIBUTION_POINT)
            && IssuingDistributionPoint::from_der(point.extn_value.as_bytes())?.indirect_crl
        {
            return Err(RevocationError::Indirect(issuer));
        }
        let signed = Signed {
            subject: &issuer,
            content: tbs,
            inner: &said.signature,
            outer: &list.signature_algorithm,
            signature: list.signature.as_bytes(),
        };
        let authority = authorities.iter().find(|authority| {
            *authority.parsed.tbs_certificate().subject() == said.issuer
                && check_signature(&signed, authority, true, &mut Vec::new()).is_ok()
        });
        let Some(authority) = authority else { return Err(RevocationError::UnknownIssuer(issuer)) };
        let mut serials: Vec<Vec<u8>> =
            entries.iter().map(|entry| canonical(entry.serial_number.as_bytes()).to_vec()).collect();
        serials.sort_unstable();
        let taken = RevocationList {
            issuer,
            certificates: serials.len(),
            next_update_unix_s: said.next_update.map(|time| time.to_unix_duration().as_secs()),
        };
        self.0.push(OfIssuer { key: authority.key_bits().to_vec(), serials });
        Ok(taken)
    }
}

/// A serial number without the zeros that some makers put before it.
fn canonical(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}
