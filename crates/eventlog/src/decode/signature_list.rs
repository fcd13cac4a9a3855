//! EFI signature databases: PK, KEK, db, dbx and their relatives (UEFI 2.11, section 32.4.1).

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::der::Certificate;
use crate::limits::MAX_SIGNATURE_LISTS;
use crate::reader::Reader;
use crate::text::{Guid, Hex, guids};

/// A concatenation of EFI_SIGNATURE_LIST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureDatabase<'a>(pub &'a [u8]);

/// One EFI_SIGNATURE_DATA with the type of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// Type of the list.
    pub kind: Guid,
    /// Who added it.
    pub owner: Guid,
    /// Certificate or digest.
    pub data: &'a [u8],
}

impl<'a> SignatureDatabase<'a> {
    /// Every signature. Ends at the first malformed list; see [`SignatureDatabase::is_well_formed`].
    pub fn signatures(&self) -> impl Iterator<Item = Signature<'a>> + use<'a> {
        lists(self.0).flat_map(of_list)
    }

    /// Every X.509 certificate that can be read.
    pub fn certificates(&self) -> impl Iterator<Item = Certificate<'a>> + use<'a> {
        let of_certificates = lists(self.0).filter(|(kind, _, _)| *kind == guids::CERT_X509);
        of_certificates.flat_map(of_list).filter_map(|signature| Certificate::parse(signature.data))
    }

    /// How many digests there are.
    pub fn hash_count(&self) -> usize {
        lists(self.0)
            .filter(|(kind, _, _)| {
                !matches!(*kind, guids::CERT_X509 | guids::CERT_RSA2048 | guids::CERT_PKCS7)
            })
            .map(|(_, size, data)| data.len() / size)
            .sum()
    }

    /// Whether all bytes belong to well-formed lists.
    pub fn is_well_formed(&self) -> bool {
        let mut reader = Reader::new(self.0);
        let mut count = 0;
        while !reader.is_empty() {
            count += 1;
            if count > MAX_SIGNATURE_LISTS || next_list(&mut reader).is_none() {
                return false;
            }
        }
        true
    }
}

/// Type, size of one signature (never below 16) and signatures of a list.
type List<'a> = (Guid, usize, &'a [u8]);

fn of_list<'a>((kind, size, data): List<'a>) -> impl Iterator<Item = Signature<'a>> {
    data.chunks_exact(size).filter_map(move |entry| {
        let (owner, data) = entry.split_first_chunk::<16>()?;
        Some(Signature { kind, owner: Guid(*owner), data })
    })
}

fn lists(bytes: &[u8]) -> impl Iterator<Item = List<'_>> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || next_list(&mut reader)).take(MAX_SIGNATURE_LISTS)
}

fn next_list<'a>(reader: &mut Reader<'a>) -> Option<List<'a>> {
    let kind = Guid(reader.array()?);
    let list_size = usize::try_from(reader.u32()?).ok()?;
    let header_size = usize::try_from(reader.u32()?).ok()?;
    let size = usize::try_from(reader.u32()?).ok()?;
    let mut body = Reader::new(reader.take(list_size.checked_sub(28)?)?);
    body.take(header_size)?;
    (size >= 16 && body.rest().len().is_multiple_of(size)).then_some((kind, size, body.rest()))
}

impl Signature<'_> {
    /// Word for the type of the signature.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            guids::CERT_X509 => "x509",
            guids::CERT_SHA1 => "sha1",
            guids::CERT_SHA256 if self.owner == guids::DBX_SVN_OWNER => "svn",
            guids::CERT_SHA256 => "sha256",
            guids::CERT_SHA384 => "sha384",
            guids::CERT_SHA512 => "sha512",
            guids::CERT_RSA2048 => "rsa2048",
            guids::CERT_X509_SHA256 => "x509-sha256",
            guids::CERT_X509_SHA384 => "x509-sha384",
            guids::CERT_X509_SHA512 => "x509-sha512",
            guids::CERT_PKCS7 => "pkcs7",
            _ => "unknown",
        }
    }
}

impl Serialize for Signature<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Signature", 3)?;
        out.serialize_field("type", self.kind_name())?;
        out.serialize_field("owner", &self.owner)?;
        match Certificate::parse(self.data).filter(|_| self.kind == guids::CERT_X509) {
            Some(certificate) => out.serialize_field("certificate", &certificate)?,
            None => out.serialize_field("data", &Hex(self.data))?,
        }
        out.end()
    }
}

impl Serialize for SignatureDatabase<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.signatures())
    }
}
