//! What each extending event measures.

use serde::{Deserialize, Serialize};

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
    /// [`ComponentKind::KernelCommandLine`] the command line without loader prefix and image path.
    pub value: Option<String>,
    /// The digest that was extended.
    pub digest: Digest,
    /// Subject of the certificate that admitted the component.
    pub signer: Option<String>,
}

/// One measurement per event of the last session that extends `bank`, in log order.
pub fn measurements(log: &EventLog<'_>, bank: HashAlg) -> Vec<Measurement> {
    log.session()
        .iter()
        .filter(|event| event.extends())
        .filter_map(|event| {
            Some(Measurement {
                event: event.index,
                pcr: event.pcr,
                kind: ComponentKind::Unknown,
                name: event.event_type.to_string(),
                value: None,
                digest: Digest::new(event.digest(bank)?)?,
                signer: None,
            })
        })
        .collect()
}
