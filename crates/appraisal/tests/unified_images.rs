//! What takes the place of a unified kernel image, or of a kernel that measures what it loads: the same authority signed
//! kernels that measure nothing. Their root user extends PCRs 9, 11 and 12 with what looks best.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use common::boot::{Boot, Ev, digest, judged, told};
use veriboot_appraisal::{Baseline, Profile};
use veriboot_eventlog::{EventType, HashAlg};

/// systemd-boot, and an old kernel of the same signer where the unified image was.
fn started_instead(boot: &Boot) -> Boot {
    let kernel = *boot.images().last().unwrap();
    boot.with(|boot| boot.events[kernel].digest = digest("an old kernel, signed"))
}

/// Sections in PCR 11 as another image of that kind would have them; what the kernel's stub measures agrees.
fn with_sections(boot: &Boot, sections: &[&str]) -> Boot {
    boot.with(|boot| {
        for section in sections {
            // Its name, and what is in it.
            let name: Vec<u8> = section.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let is = |e: &&mut Ev| e.pcr == 11 && e.data.starts_with(&name);
            boot.events.iter_mut().filter(is).nth(1).unwrap().digest = digest(section);
        }
        if sections.contains(&".initrd") {
            let initrd = boot.find(9, b"Linux initrd");
            boot.events[initrd].digest = digest(".initrd");
        }
    })
}

fn refused(baseline: &Baseline, boot: &Boot, profile: &str, why: &str) {
    let judgement = judged(baseline, boot, &Profile::named(profile).unwrap());
    assert!(judgement.proposed.is_none() && !judgement.accepts(), "{profile}: {why}:\n{}", told(&judgement));
}

#[test]
fn a_signed_kernel_is_not_called_a_unified_image() {
    let boot = Boot::of("uki");
    let baseline = boot.baseline();
    let evil = started_instead(&boot);
    let all = [".linux", ".osrel", ".cmdline", ".initrd"];
    let stories = [
        ("PCR 11 as it was", evil.clone()),
        ("PCR 11 of another kernel", with_sections(&evil, &all[..1])),
        ("PCR 11 of another kernel and initrd", with_sections(&evil, &[".linux", ".initrd"])),
        ("another command line as well", with_sections(&evil, &all)),
        ("another initrd alone", with_sections(&evil, &all[3..])),
        ("nothing in PCR 11", evil.with(|boot| boot.events.retain(|e| e.pcr != 11))),
        ("nothing in PCRs 9 and 11", evil.with(|boot| boot.events.retain(|e| !matches!(e.pcr, 9 | 11)))),
    ];
    for (story, boot) in &stories {
        refused(&baseline, boot, "secure-boot-required", story);
        refused(&baseline, boot, "own-keys", story);
    }
    // Who takes initrds on trust takes this as well, where it looks like a unified image at least.
    let updates = Profile::named("distribution-updates").unwrap();
    for (story, boot) in &stories {
        let looks_like_one = story.starts_with("PCR 11 of another kernel");
        let judgement = judged(&baseline, boot, &updates);
        assert_eq!(judgement.proposed.is_some(), looks_like_one, "{story}:\n{}", told(&judgement));
        assert_eq!(judgement.accepts(), looks_like_one, "{story}:\n{}", told(&judgement));
    }
}

/// A baseline of a plain kernel gets no sections: nobody can say that these are of the signed image.
#[test]
fn sections_do_not_appear_beside_a_kernel() {
    let unified = Boot::of("uki");
    let plain = unified.with(|boot| boot.events.retain(|e| e.pcr != 11));
    let baseline = plain.baseline();
    for profile in ["secure-boot-required", "distribution-updates"] {
        refused(&baseline, &unified, profile, "sections");
        let with_kernel = with_sections(&started_instead(&unified), &[".linux"]);
        refused(&baseline, &with_kernel, profile, "sections of another kernel");
    }
}

/// systemd-boot measures no initrd; the kernel that it started did.
#[test]
fn a_kernel_is_not_replaced_behind_a_loader_that_measures_no_initrd() {
    let boot = Boot::of("uki").with(|boot| boot.events.retain(|e| e.pcr != 11));
    refused(&boot.baseline(), &started_instead(&boot), "secure-boot-required", "another kernel");
    // GRUB measures the initrd, so that of another kernel is shown.
    let boot = Boot::of("secure-boot");
    let update = boot.with(|boot| {
        for at in boot.images().split_off(2) {
            boot.events[at].digest = digest("linux 2");
        }
    });
    assert!(judged(&boot.baseline(), &update, &Profile::default()).proposed.is_some());
    // That PCR 9 has files of GRUB is what the baseline says, and not the log.
    let silent = boot.with(|boot| boot.events.retain(|e| !matches!(e.pcr, 8 | 9)));
    refused(&silent.baseline(), &update, "secure-boot-required", "files of GRUB in the log alone");
}

/// One key signed loader and kernel: an old kernel takes the place of the loader, and all else is extended.
#[test]
fn a_key_that_signs_for_one_owner_does_not_show_a_loader() {
    let boot = Boot::of("uki");
    let loader = boot.images()[0];
    let evil = boot.with(|boot| boot.events[loader].digest = digest("an old kernel, signed"));
    refused(&boot.baseline(), &evil, "secure-boot-required", "in place of the loader");
}

/// A loader with SBAT generations that measures nothing, and an old kernel that it starts: what GRUB would have measured is
/// extended later.
#[test]
fn loader_and_kernel_do_not_change_together() {
    let boot = Boot::of("secure-boot");
    let baseline = boot.baseline();
    let both = boot.with(|boot| {
        for at in boot.images().split_off(1) {
            let is = boot.events[at].digest.clone();
            boot.events[at].digest = HashAlg::Sha256.hash(&[&is, b"another"]).as_ref().to_vec();
        }
    });
    refused(&baseline, &both, "secure-boot-required", "loader and kernel");
    let updates = Profile::named("distribution-updates").unwrap();
    assert!(judged(&baseline, &both, &updates).proposed.is_some());
    assert_eq!(boot.events[boot.images()[0]].event_type, EventType::EV_EFI_BOOT_SERVICES_APPLICATION.0);
}
