//! Second layer: what the data of a template means (Linux, security/integrity/ima/ima_template.c and
//! ima_template_lib.c). What is not known is a value with its raw bytes.

use std::borrow::Cow;

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use super::list::ImaEntry;
use crate::limits::MAX_IMA_FIELDS;
use crate::reader::Reader;
use crate::text::{Hex, Text};
use crate::{Certificate, Digest, HashAlg};

/// The first template, with a layout and a digest of its own.
pub(super) const ORIGINAL: &[u8] = b"ima";
/// Bytes that the digest of [`ORIGINAL`] takes of a file name, padded with zero bytes.
const ORIGINAL_NAME_BYTES: usize = 256;

/// Identifier and kind of a field.
pub(super) type FieldOf<'a> = (&'a [u8], FieldKind);

/// Templates that the kernel has by name, with their fields.
const TEMPLATES: &[(&[u8], &[FieldOf<'static>])] = &[
    (ORIGINAL, &[(b"d", FieldKind::Digest), (b"n", FieldKind::Name)]),
    (b"ima-ng", &[D_NG, N_NG]),
    (b"ima-sig", &[D_NG, N_NG, SIG]),
    (b"ima-ngv2", &[D_NGV2, N_NG]),
    (b"ima-sigv2", &[D_NGV2, N_NG, SIG]),
    (b"ima-buf", &[D_NG, N_NG, (b"buf", FieldKind::Buffer)]),
    (
        b"ima-modsig",
        &[
            D_NG,
            N_NG,
            SIG,
            (b"d-modsig", FieldKind::AppendedDigest),
            (b"modsig", FieldKind::AppendedSignature),
        ],
    ),
    (
        b"evm-sig",
        &[
            D_NG,
            N_NG,
            (b"evmsig", FieldKind::Signature),
            (b"xattrnames", FieldKind::Text),
            (b"xattrlengths", FieldKind::Hex),
            (b"xattrvalues", FieldKind::Hex),
            (b"iuid", FieldKind::Number { bytes: 4 }),
            (b"igid", FieldKind::Number { bytes: 4 }),
            (b"imode", FieldKind::Number { bytes: 2 }),
        ],
    ),
];
const D_NG: FieldOf<'static> = (b"d-ng", FieldKind::TypedDigest);
const D_NGV2: FieldOf<'static> = (b"d-ngv2", FieldKind::TypedDigest);
const N_NG: FieldOf<'static> = (b"n-ng", FieldKind::Name);
const SIG: FieldOf<'static> = (b"sig", FieldKind::Signature);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    /// Digest without its algorithm.
    Digest,
    /// `sha256:` NUL digest, in version 2 with `ima:` or `verity:` before it.
    TypedDigest,
    Name,
    Signature,
    Buffer,
    AppendedDigest,
    AppendedSignature,
    Text,
    Hex,
    Number {
        bytes: usize,
    },
}

fn kind_of(id: &[u8]) -> Option<FieldKind> {
    Some(match id {
        b"d" => FieldKind::Digest,
        b"d-ng" | b"d-ngv2" => FieldKind::TypedDigest,
        b"n" | b"n-ng" => FieldKind::Name,
        b"sig" | b"evmsig" => FieldKind::Signature,
        b"buf" => FieldKind::Buffer,
        b"d-modsig" => FieldKind::AppendedDigest,
        b"modsig" => FieldKind::AppendedSignature,
        b"xattrnames" => FieldKind::Text,
        b"xattrlengths" | b"xattrvalues" => FieldKind::Hex,
        b"iuid" | b"igid" => FieldKind::Number { bytes: 4 },
        b"imode" => FieldKind::Number { bytes: 2 },
        _ => return None,
    })
}

/// Whether these bytes can name a template: printable ASCII without a blank.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| matches!(b, 0x21..=0x7E))
}

/// The fields of a template, by its name or its own description; `None` when one is not known.
pub(super) fn fields_of(name: &[u8]) -> Option<Cow<'_, [FieldOf<'_>]>> {
    if let Some((_, fields)) = TEMPLATES.iter().find(|(known, _)| *known == name) {
        return Some(Cow::Borrowed(*fields));
    }
    let ids = name.split(|b| *b == b'|');
    if ids.clone().take(MAX_IMA_FIELDS + 1).count() > MAX_IMA_FIELDS {
        return None;
    }
    ids.map(|id| Some((id, kind_of(id)?))).collect::<Option<Vec<_>>>().map(Cow::Owned)
}

/// A digest of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FileDigest<'a> {
    /// `ima` (whole file) or `verity` (fs-verity), where the template says it.
    pub of: Option<Text<'a>>,
    /// Algorithm as the list has it; empty in the template `ima`.
    pub algorithm: Text<'a>,
    /// The digest.
    pub digest: Hex<'a>,
}

impl<'a> FileDigest<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let end = data.windows(2).position(|pair| pair == b":\0")?;
        let (head, digest) = (data.get(..end)?, data.get(end + 2..)?);
        let mut parts = head.rsplitn(2, |b| *b == b':');
        let algorithm = Text(parts.next()?);
        Some(Self { of: parts.next().map(Text), algorithm, digest: Hex(digest) })
    }
}

/// A signature in an extended attribute (Linux, security/integrity/integrity.h, signature_v2_hdr).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Signature<'a> {
    /// `file` for EVM_IMA_XATTR_DIGSIG, `verity` for IMA_VERITY_DIGSIG, `portable` for EVM's portable signatures,
    /// `unknown` otherwise.
    pub of: &'static str,
    /// Last four bytes of the key's identifier, where the header has them.
    pub key_id: Option<Hex<'a>>,
    /// All bytes, header included.
    pub bytes: Hex<'a>,
}

impl<'a> Signature<'a> {
    fn new(data: &'a [u8]) -> Self {
        let (of, key_id) = match data {
            [0x03, 2 | 3, _, rest @ ..] => ("file", rest.get(..4)),
            [0x05, 2 | 3, _, rest @ ..] => ("portable", rest.get(..4)),
            [0x06, 2 | 3, _, rest @ ..] => ("verity", rest.get(..4)),
            _ => ("unknown", None),
        };
        Self { of, key_id: key_id.map(Hex), bytes: Hex(data) }
    }
}

/// What one field of a template holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Field<'a> {
    /// Digest of the measured file.
    Digest(FileDigest<'a>),
    /// Path of the file, or the event: `boot_aggregate`, `kexec-cmdline`, the name of a key ring.
    Name(Text<'a>),
    /// Signature of the file.
    Signature(Signature<'a>),
    /// The measured bytes, where they are text.
    BufferText(Text<'a>),
    /// The measured bytes, where they are a certificate (keys added to a key ring).
    BufferCertificate(Certificate<'a>),
    /// The measured bytes.
    Buffer(Hex<'a>),
    /// Digest that an appended signature covers.
    AppendedDigest(FileDigest<'a>),
    /// Signature appended to a module or kernel.
    AppendedSignature(Hex<'a>),
    /// Other text.
    Text(Text<'a>),
    /// A number: owner, group, mode.
    Number(u64),
    /// Empty or not understood.
    Raw(Hex<'a>),
}

/// The fields of an entry, each with its identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template<'a> {
    /// Identifier and value, in order. An unknown template gives its data under the identifier `data`.
    pub fields: Vec<(Text<'a>, Field<'a>)>,
    /// Whether the fields are known and fill the data exactly.
    pub well_formed: bool,
}

impl<'a> Template<'a> {
    /// File or event that was measured.
    pub fn name(&self) -> Option<Text<'a>> {
        self.fields
            .iter()
            .find_map(|(_, field)| if let Field::Name(name) = field { Some(*name) } else { None })
    }

    /// Digest of what was measured.
    pub fn file_digest(&self) -> Option<FileDigest<'a>> {
        self.fields.iter().find_map(|(_, f)| if let Field::Digest(digest) = f { Some(*digest) } else { None })
    }

    /// Signature of the file, where it has one.
    pub fn signature(&self) -> Option<Signature<'a>> {
        self.fields.iter().find_map(|(_, f)| if let Field::Signature(sig) = f { Some(*sig) } else { None })
    }
}

impl Serialize for Template<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Named<'f, 'a> {
            field: Text<'a>,
            #[serde(flatten)]
            value: &'f Field<'a>,
        }
        let mut out = serializer.serialize_seq(Some(self.fields.len()))?;
        for (field, value) in &self.fields {
            out.serialize_element(&Named { field: *field, value })?;
        }
        out.end()
    }
}

impl ImaEntry<'_> {
    /// The fields of the entry. Never fails: what is not known is given raw.
    pub fn decode(&self) -> Template<'_> {
        let data = self.data.as_deref().unwrap_or_default();
        let unknown =
            || Template { fields: vec![(Text(b"data"), Field::Raw(Hex(data)))], well_formed: false };
        let Some(kinds) = fields_of(self.template.0).filter(|_| self.data.is_some()) else {
            return unknown();
        };
        let mut reader = Reader::new(data);
        let mut fields = Vec::with_capacity(3);
        for (id, kind) in kinds.iter().copied() {
            let value = if kind == FieldKind::Digest && self.template.0 == ORIGINAL {
                reader.take(HashAlg::Sha1.size())
            } else {
                let len = reader.u32().map(|len| if self.big_endian { len.swap_bytes() } else { len });
                len.and_then(|len| usize::try_from(len).ok()).and_then(|len| reader.take(len))
            };
            let Some(value) = value else { return unknown() };
            fields.push((Text(id), field(kind, value, self.big_endian)));
        }
        Template { fields, well_formed: reader.is_empty() }
    }

    /// Digest of the template data in any algorithm: what IMA extends into that bank. `None` when the data is not
    /// known.
    pub fn template_digest(&self, alg: HashAlg) -> Option<Digest> {
        let data = self.data.as_deref()?;
        if self.template.0 != ORIGINAL {
            return Some(alg.hash(&[data]));
        }
        let (digest, name) = data.split_at_checked(HashAlg::Sha1.size())?;
        let name = name.get(4..)?;
        let padding = [0_u8; ORIGINAL_NAME_BYTES];
        let padding = padding.get(..ORIGINAL_NAME_BYTES.saturating_sub(name.len()))?;
        Some(alg.hash(&[digest, name, padding]))
    }
}

fn field(kind: FieldKind, value: &[u8], big_endian: bool) -> Field<'_> {
    let raw = Field::Raw(Hex(value));
    if value.is_empty() {
        return raw;
    }
    match kind {
        FieldKind::Digest => Field::Digest(FileDigest { of: None, algorithm: Text(b""), digest: Hex(value) }),
        FieldKind::TypedDigest => FileDigest::parse(value).map_or(raw, Field::Digest),
        FieldKind::AppendedDigest => FileDigest::parse(value).map_or(raw, Field::AppendedDigest),
        FieldKind::Name => Field::Name(Text::trimmed(value)),
        FieldKind::Text => Field::Text(Text::trimmed(value)),
        FieldKind::Signature => Field::Signature(Signature::new(value)),
        FieldKind::AppendedSignature => Field::AppendedSignature(Hex(value)),
        FieldKind::Hex => raw,
        FieldKind::Buffer => {
            if let Some(certificate) = Certificate::parse(value) {
                return Field::BufferCertificate(certificate);
            }
            match Text::trimmed(value) {
                text if text.is_plain() => Field::BufferText(text),
                _ => Field::Buffer(Hex(value)),
            }
        }
        FieldKind::Number { bytes } if bytes == value.len() => {
            let shift = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
            Field::Number(match big_endian {
                true => value.iter().fold(0, shift),
                false => value.iter().rev().fold(0, shift),
            })
        }
        FieldKind::Number { .. } => raw,
    }
}
