//! What each extending event measures.

use serde::{Deserialize, Serialize};

use crate::label::Labels;
use crate::{ComponentKind, Digest, EventLog, HashAlg};

/// One measured component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// Index of the event in the log.
    pub event: u32,
    /// Register.
    pub pcr: u32,
    /// Kind of component.
    pub kind: ComponentKind,
    /// What tells several components of one kind apart: variable name, device or file path. Printable, bounded.
    pub name: String,
    /// The content in words, where the event data has it. Printable, bounded. For
    /// [`ComponentKind::KernelCommandLine`] the command line without loader prefix and image path; for Windows the
    /// settings without counters, which differ at every boot.
    pub value: Option<String>,
    /// The digest that was extended.
    pub digest: Digest,
    /// Subject of the certificate that admitted the component.
    pub signer: Option<String>,
}

/// One measurement per event of the last session that extends `bank`, in log order.
pub fn measurements(log: &EventLog<'_>, bank: HashAlg) -> Vec<Measurement> {
    let session = log.session();
    let mut labels = Labels::new(session);
    let mut all: Vec<Measurement> = Vec::with_capacity(session.len());
    for event in session.iter().filter(|event| event.extends()) {
        let label = labels.next(event);
        if let Some(signer) = label.signs_previous_image
            && let Some(image) =
                labels.last_image().and_then(|at| all.iter_mut().rev().find(|m| m.event == at))
            && image.signer.is_none()
        {
            image.signer = Some(signer);
        }
        let Some(digest) = event.digest(bank).and_then(Digest::new) else { continue };
        all.push(Measurement {
            event: event.index,
            pcr: event.pcr,
            kind: label.kind,
            name: label.name,
            value: label.value,
            digest,
            signer: label.signer,
        });
    }
    all
}
