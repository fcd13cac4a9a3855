//! Boots that were captured from real machines in QEMU, measured once more into the software TPM of a guest: the same
//! digests in the same registers, so that the captured log replays to a quote of this guest.

use veriboot_eventlog::{HashAlg, parse};
use veriboot_testkit::corpus;

use super::Guest;
use super::boot::{Measured, encode_one, measure};

/// A captured log, and what is measured after it.
#[derive(Clone, Debug)]
pub struct Captured {
    log: Vec<u8>,
    events: Vec<Measured>,
}

impl Captured {
    /// The boot of this variant of docs/lab.md.
    pub fn named(variant: &str) -> Self {
        let log = corpus::golden(variant).expect("the corpus has it").event_log;
        let events = parse(&log)
            .expect("a captured log is readable")
            .events
            .iter()
            .filter(|event| event.extends())
            .map(|event| Measured {
                pcr: event.pcr,
                kind: event.event_type.0,
                data: event.data.to_vec(),
                digest: event.digest(HashAlg::Sha256).expect("of this bank").to_vec(),
            })
            .collect();
        Self { log, events }
    }

    /// One more event at the end.
    pub fn and(mut self, event: Measured) -> Self {
        self.log.extend(encode_one(&event));
        self.events.push(event);
        self
    }

    /// Replaces bytes of the log alone, as whoever owns the guest can: what was measured stays.
    pub fn relabelled(mut self, from: &[u8], to: &[u8]) -> Self {
        assert_eq!(from.len(), to.len());
        let places: Vec<usize> =
            self.log.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(at, _)| at).collect();
        assert!(!places.is_empty(), "there is nothing to relabel");
        for at in places {
            self.log[at..at + to.len()].copy_from_slice(to);
        }
        self
    }

    /// Changes what is measured, in the log and in the TPM.
    pub fn with(mut self, change: impl Fn(&mut Measured)) -> Self {
        let before = self.events.clone();
        self.events.iter_mut().for_each(change);
        for (old, new) in before.iter().zip(&self.events) {
            if old.digest != new.digest {
                let at =
                    self.log.windows(32).position(|w| w == old.digest).expect("the digest is in the log");
                self.log[at..at + 32].copy_from_slice(&new.digest);
            }
        }
        self
    }

    /// Reboots a guest into this.
    pub fn boot(&self, guest: &Guest) {
        guest.tpm.reboot().expect("the TPM restarts");
        measure(&guest.tpm, &self.events);
        guest.set_log(&self.log);
    }
}
