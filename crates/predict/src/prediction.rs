//! What a prediction says.

use std::collections::BTreeMap;

use serde::Serialize;
use veriboot_appraisal::{Reference, ReferenceBoot};
use veriboot_eventlog::{ComponentKind, Digest};

use crate::input::Origin;
use crate::pe::{ImageRole, Signature};

/// What the machine will measure when it boots from the files that were given.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// Everything that will be measured in the PCRs that change, in log order.
    pub measurements: Vec<Row>,
    /// What is measured no more.
    pub removed: Vec<Row>,
    /// What is not, or not wholly, predicted. Not empty: the boot is likely to deviate there.
    pub unpredicted: Vec<Unpredicted>,
    /// The EFI images among the files that are used.
    pub images: Vec<ImageReport>,
    /// The files that were given.
    pub from: Vec<Origin>,
    /// The accepted boot that this makes. `None` when nothing that was given changes anything.
    #[serde(skip)]
    pub boot: Option<ReferenceBoot>,
}

impl Prediction {
    /// Whether everything that the files change is predicted.
    pub fn is_complete(&self) -> bool {
        self.unpredicted.is_empty()
    }
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// PCR.
    pub pcr: u32,
    /// Kind of component.
    pub component: ComponentKind,
    /// What tells several of a kind apart.
    pub name: String,
    /// The content in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What will be extended.
    pub digest: Digest,
    /// How it compares with the reference boot.
    pub change: RowChange,
    /// Digest in the reference boot, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
    /// The file that it was computed from; absent for what the reference boot says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// How a measurement compares with the reference boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowChange {
    /// As in the reference boot.
    Same,
    /// Another digest or another text.
    Changed,
    /// Not in the reference boot.
    Added,
    /// Only in the reference boot.
    Removed,
}

/// Something that cannot be predicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unpredicted {
    /// Stable identifier in kebab case.
    pub code: &'static str,
    /// PCR that is affected, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcr: Option<u32>,
    /// Kind of component.
    pub component: ComponentKind,
    /// What is missing, in one sentence.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

/// An EFI image that will be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageReport {
    /// Where it comes from.
    pub from: String,
    /// What it is.
    pub role: ImageRole,
    /// Authenticode digest in the bank of the baseline.
    pub digest: Digest,
    /// Its signatures, as far as they can be followed.
    pub signatures: Vec<Signature>,
    /// The authority of the reference boot that admits it; `None` when none is known to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted_by: Option<Admission>,
    /// Its SBAT section: component and generation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sbat: BTreeMap<String, u32>,
}

/// Which authority admits an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Admission {
    /// Subject of the certificate.
    pub authority: String,
    /// Whether the chain of signatures was followed to it. Otherwise only the name of the issuer says so, because the
    /// certificate itself is not at hand.
    pub proven: bool,
}

/// A measurement in the making.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub reference: Reference,
    pub before: Option<Digest>,
    pub change: RowChange,
    pub from: Option<String>,
}

impl Slot {
    pub fn kept(reference: Reference) -> Self {
        Self { reference, before: None, change: RowChange::Same, from: None }
    }

    /// Puts another digest there. The same digest is no change, but it is known now where it comes from.
    pub fn replace(&mut self, digest: Digest, from: &Origin) {
        if self.reference.digest != digest {
            self.before = Some(self.reference.digest);
            self.reference.digest = digest;
            self.change = RowChange::Changed;
        }
        self.from = Some(from.to_string());
    }

    pub fn row(&self) -> Row {
        Row {
            pcr: self.reference.pcr,
            component: self.reference.kind,
            name: self.reference.name.clone(),
            value: self.reference.value.clone(),
            digest: self.reference.digest,
            change: self.change,
            before: self.before,
            from: self.from.clone(),
        }
    }
}
