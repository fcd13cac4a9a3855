//! What each extending event measures.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::label::{Label, Labels};
use crate::{ComponentKind, Digest, Event, EventLog, HashAlg};

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
    pub name: Cow<'static, str>,
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
    let add = |all: &mut Vec<Measurement>, event: &Event<'_>, label: &mut Label| {
        let Some(digest) = event.digest(bank).and_then(Digest::new) else { return };
        all.push(Measurement {
            event: event.index,
            pcr: event.pcr,
            kind: label.kind,
            name: std::mem::take(&mut label.name),
            value: label.value.take(),
            digest,
            signer: label.signer.take(),
        });
    };
    labelled(
        log,
        |_| Known::Nothing,
        add,
        |measurement, event| (measurement.event == event).then_some(&mut measurement.signer),
    )
}

/// What the caller of [`labelled`] knows of an event from one with the same type, register and data.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// SHA-256 of the certificate that it measures.
    Fingerprint(Digest),
    /// Its label, or that it is not wanted now; only for events that [`Event::stands_alone`].
    Label,
}

/// Hands every event of the last session that extends a register to `add`, with its label, which `add` may empty, and
/// what was added so far. A signer may become known when the thing that it signed was added already: `signer` gives the
/// place of the signer in what was added for the event of this index. An event whose label is known comes with a blank one.
pub fn labelled<'l, 'a, T>(
    log: &'l EventLog<'a>,
    known: impl Fn(&Event<'a>) -> Known,
    mut add: impl FnMut(&mut Vec<T>, &'l Event<'a>, &mut Label),
    signer: impl Fn(&mut T, u32) -> Option<&mut Option<String>>,
) -> Vec<T> {
    let session = log.session();
    let mut labels = Labels::new(session);
    let mut all: Vec<T> = Vec::with_capacity(session.len());
    for event in session.iter().filter(|event| event.extends()) {
        let mut label = Label::blank();
        match known(event) {
            Known::Label if event.stands_alone() => {
                add(&mut all, event, &mut label);
                continue;
            }
            Known::Fingerprint(sha256) => label.fingerprint = Some(sha256),
            Known::Label | Known::Nothing => {}
        }
        labels.next(event, &mut label);
        if let Some(subject) = label.signs_previous_image.take()
            && let Some(at) = labels.last_image()
            && let Some(place) = all.iter_mut().rev().find_map(|added| signer(added, at))
        {
            place.get_or_insert(subject);
        }
        add(&mut all, event, &mut label);
    }
    all
}
