//! What the digest of an event proves about its content, as far as rules and classes of change ask.
//!
//! Only events count whose digest is taken over the data that is read here, and whose data has that digest in every bank
//! of the log. Everything else in a log is a claim.

use std::fmt;

use serde::{Deserialize, Serialize};
use veriboot_eventlog::decode::ipl::Ipl;
use veriboot_eventlog::decode::signature_list::{Signature, SignatureDatabase};
use veriboot_eventlog::decode::sipa::{TaggedEvents, TaggedValue};
use veriboot_eventlog::decode::tagged::Tagged;
use veriboot_eventlog::decode::variable::{Content as VariableContent, Variable};
use veriboot_eventlog::sbat::Sbat;
use veriboot_eventlog::{Decoded, Digest, Event, EventLog, EventType, Guid, HashAlg, guids};

use crate::rule::{Authority, StateFlag};
use crate::structure_checks::{SECURE_BOOT_PCR, SHIM_STATE_PCR};
use crate::text::{certificate_name, shortened};

/// The PCR of command lines, credentials and configuration that systemd-stub takes over.
pub(crate) const STUB_PCR: u32 = 12;
/// Certificates of one list that are kept; a list with more counts as one that could not be read whole.
const MAX_CERTIFICATES: usize = 64;
/// Signatures of one list that are kept.
const MAX_SIGNATURES: usize = 16_384;
/// Characters of a subject.
const MAX_SUBJECT_CHARS: usize = 200;

/// What an event proves to have been measured.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Content {
    /// Nothing that can be read, or nothing that anybody asks about.
    #[default]
    Opaque,
    /// PK, KEK, db, dbx and their relatives: the variable as it is. Most boots are never asked for its members.
    Signatures(Box<[u8]>),
    /// What admitted an image.
    Authority(Box<Admission>),
    /// The SBAT level that shim applies.
    Sbat(Box<Sbat>),
    /// Settings, sorted.
    Settings(Box<[(StateFlag, bool)]>),
    /// Text that is measured as it is: a command of the boot loader, a kernel command line, an action.
    Text,
    /// shim's list of keys, with the vendor's certificate alone or empty: nobody enrolled a machine owner key.
    VendorKeysOnly,
}

/// What admitted an image: a certificate, or without one a bare hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The variable that has it: `db`, `Shim`, `MokList`.
    pub variable: String,
    /// The certificate.
    pub certificate: Option<Authority>,
}

impl Content {
    /// Members of a signature list.
    pub fn signatures(&self) -> Option<Signatures> {
        match self {
            Self::Signatures(raw) => Some(signatures(&SignatureDatabase(raw))),
            _ => None,
        }
    }

    /// The certificate that admitted an image.
    pub fn certificate(&self) -> Option<&Authority> {
        match self {
            Self::Authority(admission) => admission.certificate.as_ref(),
            _ => None,
        }
    }

    /// Bytes that it has on the heap, estimated from above.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Opaque | Self::Text | Self::VendorKeysOnly => 0,
            Self::Signatures(raw) => raw.len(),
            Self::Authority(admission) => {
                let subject = admission.certificate.as_ref().map_or(0, |authority| authority.subject.len());
                size_of::<Admission>() + admission.variable.len() + subject
            }
            Self::Sbat(level) => {
                let names: usize =
                    level.generations.keys().map(|name| 2 * size_of::<String>() + name.len()).sum();
                size_of::<Sbat>() + names
            }
            Self::Settings(settings) => size_of_val::<[(StateFlag, bool)]>(settings),
        }
    }
}

/// Members of a signature list.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Signatures {
    /// Its certificates, in order.
    pub certificates: Vec<Authority>,
    /// All of its members, sorted.
    pub members: Vec<SignatureId>,
    /// Whether everything in it could be read.
    pub complete: bool,
}

/// A member of a signature list: the first half of its SHA-256. Of a revoked image hash, the first half of that hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignatureId([u8; 16]);

impl SignatureId {
    /// The id of a hash, or of a certificate by its SHA-256.
    pub fn of_digest(digest: &[u8]) -> Option<Self> {
        digest.first_chunk().copied().map(Self)
    }

    fn of(signature: &Signature<'_>) -> Option<Self> {
        match signature.kind_name() {
            "sha256" => Self::of_digest(signature.data),
            "x509" => Self::of_digest(HashAlg::Sha256.hash(&[certificate_bytes(signature.data)]).as_ref()),
            other => Self::of_digest(HashAlg::Sha256.hash(&[other.as_bytes(), signature.data]).as_ref()),
        }
    }
}

fn certificate_bytes(data: &[u8]) -> &[u8] {
    veriboot_eventlog::Certificate::parse(data).map_or(data, |certificate| certificate.der)
}

impl fmt::Debug for SignatureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl From<SignatureId> for String {
    fn from(id: SignatureId) -> Self {
        hex::encode(id.0)
    }
}

impl TryFrom<String> for SignatureId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).map_err(|_| "not 32 hex digits")?;
        Ok(Self(id))
    }
}

/// What the data of an event says, where its type is one whose digest covers the data. The caller checks that it does.
/// `fingerprint` is the SHA-256 of the certificate that the event measures, where it is known.
pub(crate) fn of_event(event: &Event<'_>, fingerprint: Option<Digest>) -> Content {
    match event.event_type {
        EventType::EV_EFI_VARIABLE_DRIVER_CONFIG => {
            Variable::parse(event.data).map_or(Content::Opaque, |variable| configuration(variable, event.pcr))
        }
        EventType::EV_EFI_VARIABLE_AUTHORITY => {
            Variable::parse(event.data).map_or(Content::Opaque, |variable| authority(variable, fingerprint))
        }
        EventType::EV_EVENT_TAG => match event.decode() {
            Decoded::Tagged(Tagged::Windows { events }) => Content::Settings(windows_settings(&events)),
            _ => Content::Opaque,
        },
        // A command or a command line.
        EventType::EV_IPL if event.pcr != STUB_PCR => match Ipl::prefix_len(event.data) {
            Some(_) => Content::Text,
            None => Content::Opaque,
        },
        // systemd-stub measures the command line as it writes it; other texts of that form are names of sections.
        EventType::EV_IPL => match Ipl::parse(event.data) {
            Ipl::Wide { .. } if is_own_text(event) => Content::Text,
            _ => Content::Opaque,
        },
        EventType::EV_SEPARATOR
            if [&[0; 4], &[0xFF; 4], b"WBCL"].iter().any(|known| event.data == *known) =>
        {
            Content::Settings([].into())
        }
        EventType::EV_ACTION | EventType::EV_EFI_ACTION
            if event.data.iter().all(|b| matches!(b, b' '..=b'~')) =>
        {
            Content::Text
        }
        _ => Content::Opaque,
    }
}

/// Whether the digests, which no specification defines here, are those of the data.
fn is_own_text(event: &Event<'_>) -> bool {
    let same =
        |bank: HashAlg| event.digest(bank).is_none_or(|digest| digest == bank.hash(&[event.data]).as_ref());
    HashAlg::ALL.into_iter().all(same)
}

/// In the namespace of the specification only: firmware may measure other variables of the same name. Those in PCR 7 say
/// nothing, unless what admitted an image, or shim's state, is shown as one.
fn configuration(variable: Variable<'_>, pcr: u32) -> Content {
    if !variable.is_secure_boot_configuration() {
        let of_images = variable.vendor == guids::SHIM_LOCK || variable.authority().is_some();
        return match pcr {
            SECURE_BOOT_PCR if !of_images => Content::Settings([].into()),
            _ => Content::Opaque,
        };
    }
    let flag = [
        ("SecureBoot", StateFlag::SecureBoot),
        ("SetupMode", StateFlag::SetupMode),
        ("AuditMode", StateFlag::AuditMode),
        ("DeployedMode", StateFlag::DeployedMode),
    ]
    .into_iter()
    .find(|(name, _)| variable.name.is(name));
    match (flag, variable.content()) {
        (Some((_, flag)), VariableContent::Flag(on)) => Content::Settings([(flag, on == Some(true))].into()),
        (None, VariableContent::Signatures(database)) => Content::Signatures(database.0.into()),
        _ => Content::Opaque,
    }
}

fn signatures(database: &SignatureDatabase<'_>) -> Signatures {
    let certificates: Vec<Authority> =
        database.certificates().take(MAX_CERTIFICATES + 1).map(|c| certificate_of(&c)).collect();
    let mut members: Vec<SignatureId> =
        database.signatures().take(MAX_SIGNATURES + 1).filter_map(|s| SignatureId::of(&s)).collect();
    let complete = database.is_well_formed()
        && certificates.len() <= MAX_CERTIFICATES
        && members.len() <= MAX_SIGNATURES
        && members.len() == database.signatures().take(MAX_SIGNATURES + 1).count();
    members.sort_unstable();
    members.dedup();
    Signatures { certificates, members, complete }
}

fn certificate_of(certificate: &veriboot_eventlog::Certificate<'_>) -> Authority {
    Authority { sha256: certificate.fingerprint(), subject: subject(certificate) }
}

fn subject(certificate: &veriboot_eventlog::Certificate<'_>) -> String {
    certificate_name(certificate, MAX_SUBJECT_CHARS)
}

fn authority(variable: Variable<'_>, fingerprint: Option<Digest>) -> Content {
    let name = shortened(&variable.name.to_string(), 64);
    if let Some(certificate) = variable.authority() {
        let sha256 = fingerprint.unwrap_or_else(|| certificate.fingerprint());
        return admission(name, Some(Authority { sha256, subject: subject(&certificate) }));
    }
    if variable.vendor == guids::SHIM_LOCK {
        return match name.as_str() {
            "SbatLevel" => {
                Sbat::parse(variable.data).map_or(Content::Opaque, |level| Content::Sbat(level.into()))
            }
            "MokSBState" => {
                let off = variable.data.iter().any(|byte| *byte != 0);
                Content::Settings([(StateFlag::ShimValidation, !off)].into())
            }
            // Whether the kernel takes over the machine owner's keys; it admits nothing by itself.
            "MokListTrusted" if matches!(variable.data, [0 | 1]) => Content::Settings([].into()),
            // A hash of its lists admitted an image.
            _ => admission(name, None),
        };
    }
    admission(name, None)
}

fn admission(variable: String, certificate: Option<Authority>) -> Content {
    Content::Authority(Admission { variable, certificate }.into())
}

/// Marks shim's list of keys (the first thing that shim measures in PCR 14) when it holds nothing but one certificate
/// that admitted an image of this boot: shim adds the vendor's certificate to the list of the machine's owner. A shim
/// without a certificate of its own measures a list with one hash of zeros.
pub(crate) fn mark_vendor_keys(entries: &mut [crate::report::Entry], log: &EventLog<'_>) {
    let event = |index: u32| log.events.get(usize::try_from(index).ok()?).filter(|e| e.index == index);
    let Some(list) = entries.iter().position(|entry| entry.pcr == SHIM_STATE_PCR) else { return };
    let Some(measured) = entries.get(list).and_then(|entry| event(entry.event)) else { return };
    let is_list = |list: &[u8]| {
        let same = |bank| measured.digest(bank).is_none_or(|digest| digest == bank.hash(&[list]).as_ref());
        HashAlg::ALL.into_iter().all(same)
    };
    let of_shim = |event: &Event<'_>| {
        Variable::parse(event.data)
            .filter(|variable| variable.vendor == guids::SHIM_LOCK)
            .and_then(|variable| variable.authority())
            .is_some_and(|vendor| is_list(&list_of(guids::CERT_X509, vendor.der)))
    };
    let admitted =
        |entry: &&crate::report::Entry| entry.pcr == SECURE_BOOT_PCR && entry.content.certificate().is_some();
    let vendor_alone = is_list(&list_of(guids::CERT_SHA256, &[0; 32]))
        || entries.iter().filter(admitted).filter_map(|e| event(e.event)).any(of_shim);
    if let (true, Some(entry)) = (vendor_alone, entries.get_mut(list)) {
        entry.set_content(Content::VendorKeysOnly);
    }
}

/// EFI_SIGNATURE_LIST with one member, of which shim is the owner.
fn list_of(kind: Guid, member: &[u8]) -> Vec<u8> {
    let size = u32::try_from(member.len()).unwrap_or(u32::MAX).saturating_add(16);
    let mut list = kind.0.to_vec();
    for field in [size.saturating_add(28), 0, size] {
        list.extend(field.to_le_bytes());
    }
    list.extend(guids::SHIM_LOCK.0);
    list.extend(member);
    list
}

fn windows_settings(events: &TaggedEvents<'_>) -> Box<[(StateFlag, bool)]> {
    let mut settings = Vec::new();
    events.walk(&mut |event| {
        if let Some(on) = event.hvci() {
            settings.push((StateFlag::Hvci, on));
            return;
        }
        let flag = match event.id {
            0x0004_0001 => StateFlag::BootDebugging,
            0x0005_0001 => StateFlag::KernelDebugging,
            0x0005_0002 => StateFlag::CodeIntegrity,
            0x0005_0003 => StateFlag::TestSigning,
            0x0005_0005 => StateFlag::SafeMode,
            0x0005_0006 => StateFlag::WinPe,
            0x0005_000D => StateFlag::HypervisorDebugging,
            0x0005_0021 => StateFlag::FlightSigning,
            _ => return,
        };
        if let TaggedValue::Flag(on) = event.value() {
            settings.push((flag, on));
        }
    });
    settings.sort_unstable();
    settings.dedup();
    settings.into()
}

impl Signatures {
    /// Whether the list revokes or admits this hash, or a certificate with this SHA-256.
    pub fn has(&self, digest: &Digest) -> bool {
        SignatureId::of_digest(digest.as_ref()).is_some_and(|id| self.members.binary_search(&id).is_ok())
    }
}
