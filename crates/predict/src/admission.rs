//! Who admits the images that will be started: signatures, and the SBAT level.

use veriboot_eventlog::sbat::{Sbat, compare};
use veriboot_eventlog::{ComponentKind as K, Digest};

use crate::disk::PartitionKind;
use crate::engine::{Engine, IMAGES_PCR};
use crate::input::{Artifact, What};
use crate::pe::{Anchor, Image, ImageRole, Verified, signatures};
use crate::prediction::{Admission, ImageReport};
use crate::{secure_boot, shim};

impl Engine<'_> {
    /// Says who admits an image, and whether that is someone of the reference boot.
    pub fn report(&mut self, artifact: &Artifact, image: &Image<'_>, digest: Digest, kind: K) {
        let from = artifact.origin.to_string();
        if self.images.iter().any(|seen| seen.from == from) {
            return;
        }
        let anchors = self.anchors();
        let sbat = image.sbat();
        let mut report = ImageReport {
            from,
            role: image.role(artifact.origin.name()),
            digest,
            signatures: Vec::new(),
            admitted_by: None,
            sbat: sbat.as_ref().map(|sbat| sbat.generations.clone()).unwrap_or_default(),
        };
        match signatures(image, &anchors) {
            Ok(found) => report.signatures = found,
            Err(error) => self.problem(
                error.code(),
                Some(7),
                kind,
                format!("{}: {error}", artifact.origin),
                "get the file again from where it was published",
            ),
        }
        if self.secure_boot == Some(true) {
            self.admission(artifact, &mut report, kind);
            if let Some(sbat) = &sbat {
                self.revocation(artifact, sbat, kind);
            }
        }
        self.images.push(report);
    }

    /// Certificates that may admit images: those that were given, and those inside shim.
    fn anchors(&self) -> Vec<Anchor> {
        let given = self.inputs.artifacts.iter().filter(|a| a.what == What::Image(ImageRole::Shim));
        let on_disk = self.shim_on_disk();
        let inside = given.chain(&on_disk).filter_map(|shim| Image::parse(&shim.bytes).ok());
        let inside = inside.flat_map(|image| shim::vendor_certificates(&image));
        self.inputs.anchors.iter().cloned().chain(inside).collect()
    }

    fn shim_on_disk(&self) -> Option<Artifact> {
        let (_, disk) = self.inputs.disk.as_ref()?;
        let path = self.slots.iter().find(|slot| slot.reference.kind == K::Shim)?.reference.name.clone();
        let places = disk.partitions(PartitionKind::EfiSystem);
        places.into_iter().find_map(|partition| self.inputs.on_disk(Some(partition), &path).ok().flatten())
    }

    /// Which authority of the reference boot admits an image. Another one would be measured in PCR 7.
    fn admission(&mut self, artifact: &Artifact, report: &mut ImageReport, kind: K) {
        let known = secure_boot::authorities(&self.slots);
        let proven = report.signatures.iter().find_map(|signature| {
            if matches!(signature.verified, Verified::Invalid { .. }) {
                return None;
            }
            signature.chain.iter().find_map(|link| known.iter().find(|known| known.sha256 == link.sha256))
        });
        let named = report.signatures.iter().find_map(|signature| match &signature.verified {
            Verified::IssuerMissing { issuer } => known.iter().find(|known| known.subject == *issuer),
            _ => None,
        });
        report.admitted_by = match (proven, named) {
            (Some(known), _) => Some(Admission { authority: known.subject.clone(), proven: true }),
            (None, Some(known)) => Some(Admission { authority: known.subject.clone(), proven: false }),
            (None, None) => None,
        };
        if report.admitted_by.is_some() {
            return;
        }
        let valid: Vec<&str> = report
            .signatures
            .iter()
            .filter(|s| !matches!(s.verified, Verified::Invalid { .. }))
            .map(|s| s.signer.as_str())
            .collect();
        let (code, message) = if report.signatures.is_empty() {
            ("image-not-signed", format!("{} is not signed, and Secure Boot is on", artifact.origin))
        } else if valid.is_empty() {
            ("signature-invalid", format!("No signature of {} belongs to it", artifact.origin))
        } else {
            let signers = valid.join(", ");
            (
                "authority-unknown",
                format!(
                    "{} is signed by {signers}, which no authority of the reference boot is known to admit",
                    artifact.origin
                ),
            )
        };
        self.problem(
            code,
            Some(7),
            kind,
            message,
            "whatever admits it will be measured in PCR 7, or firmware refuses it; give the certificate with --certificate \
             to see how far its signature goes",
        );
    }

    /// Whether the SBAT level that will be in force refuses the image.
    fn revocation(&mut self, artifact: &Artifact, image: &Sbat, kind: K) {
        let Some(level) = secure_boot::level_in_force(self) else { return };
        for revoked in compare(&level, image) {
            self.problem(
                "image-revoked",
                Some(IMAGES_PCR),
                kind,
                format!(
                    "{} has generation {} of {}, and the SBAT level in force asks for {}: shim refuses it",
                    artifact.origin, revoked.has, revoked.component, revoked.needs
                ),
                "use a newer build of the image",
            );
        }
    }
}
